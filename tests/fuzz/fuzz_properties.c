/* fuzz_properties.c: any bytes as a properties file, and as one assignment. What is taken can be written down and taken
 * again with the same result; what is refused is refused with a printable sentence. */
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <assent/config.h>

#include "base/buffer.h"
#include "fuzz.h"

static enum assent_err load(struct assent_config *config, const void *data, size_t size, bool owner_only)
{
        char path[64];
        int fd = memfd_create("properties", MFD_CLOEXEC);
        ASSENT_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
        ASSENT_ASSERT(fchmod(fd, owner_only ? 0600 : 0644) == 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        enum assent_err err = assent_config_load(config, path);
        close(fd);
        return err;
}

static void printable(const char *sentence)
{
        ASSENT_ASSERT(sentence[0]);
        for (; *sentence; sentence++)
                ASSENT_ASSERT((unsigned char)*sentence >= 0x20 && (unsigned char)*sentence < 0x7f);
}

/* A secret is shown as asterisks only; it is left out. */
static void write_line(void *context, const char *key, const char *value, const char *origin)
{
        struct assent_buffer *text = context;
        if (strcmp(origin, "default") == 0 || strcmp(value, "********") == 0)
                return;
        assent_buffer_append(text, key, strlen(key));
        assent_buffer_append(text, "=", 1);
        assent_buffer_append(text, value, strlen(value));
        assent_buffer_append(text, "\n", 1);
}

static void written(const struct assent_config *config, struct assent_buffer *text)
{
        assent_buffer_init(text, 4u << 20);
        assent_config_each(config, write_line, text);
        ASSENT_ASSERT(text->err == ASSENT_OK);
}

static void comes_back(const struct assent_config *config)
{
        struct assent_config *again;
        struct assent_buffer first, second;
        ASSENT_ASSERT(assent_config_open(&again) == ASSENT_OK);
        written(config, &first);
        enum assent_err err = load(again, assent_buffer_string(&first), first.size, false);
        if (err != ASSENT_OK)
                fprintf(stderr, "%s\n", assent_config_errmsg(again));
        ASSENT_ASSERT(err == ASSENT_OK);
        written(again, &second);
        ASSENT_ASSERT(
            fuzz_same((struct assent_bytes){first.data, first.size}, (struct assent_bytes){second.data, second.size}));
        assent_buffer_close(&first);
        assent_buffer_close(&second);
        assent_config_close(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct assent_config *config;
        enum assent_err err;
        if (size < 1)
                return 0;
        ASSENT_ASSERT(assent_config_open(&config) == ASSENT_OK);
        if (data[0] & 2) {
                char *assignment = strndup((const char *)data + 1, size - 1);
                ASSENT_ASSERT(assignment);
                err = assent_config_set(config, assignment, data[0] & 4 ? "--set" : "test");
                free(assignment);
        } else {
                err = load(config, data + 1, size - 1, data[0] & 1);
        }
        ASSENT_ASSERT(err == ASSENT_OK || err == ASSENT_E_CONFIG);
        if (err != ASSENT_OK)
                printable(assent_config_errmsg(config));
        comes_back(config); /* what stood before the refused line was taken */
        assent_config_close(config);
        return 0;
}
