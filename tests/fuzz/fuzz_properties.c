/* fuzz_properties.c: any bytes as a properties file, as one assignment, as the environment, as a password's file. What
 * is taken is what its key allows, said a second time, and can be written down and taken again with the same result;
 * what is refused is refused with a printable sentence. */
#include <ctype.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <assent/config.h>
#include <assent/log.h>

#include "base/buffer.h"
#include "base/config_table.h"
#include "fuzz.h"
#include "kafka/topics.h"

enum { VARIABLES = 16, PATH_SIZE = 64 };

static int file_of(const void *data, size_t size, bool owner_only, char path[PATH_SIZE])
{
        int fd = memfd_create("properties", MFD_CLOEXEC);
        ASSENT_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
        ASSENT_ASSERT(fchmod(fd, owner_only ? 0600 : 0644) == 0);
        snprintf(path, PATH_SIZE, "/proc/self/fd/%d", fd);
        return fd;
}

static enum assent_err load(struct assent_config *config, const void *data, size_t size, bool owner_only)
{
        char path[PATH_SIZE];
        int fd = file_of(data, size, owner_only, path);
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

/* A secret is shown as asterisks only, and only a variable can have a value with blanks at its ends; both are left out.
 */
static void write_line(void *context, const char *key, const char *value, const char *origin)
{
        struct assent_buffer *text = context;
        if (strcmp(origin, "default") == 0 || strcmp(value, "********") == 0)
                return;
        if (*value && (strchr(" \t\r", *value) || strchr(" \t\r", value[strlen(value) - 1])))
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

/* ---- what a value may be ---- */

static bool prefix_fine(const char *value)
{
        size_t size = strlen(value);
        for (size_t i = 0; i < size; i++) {
                char c = value[i];
                if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
                        return false;
                if (c == '.' && (i + 1 == size || value[i + 1] == '.'))
                        return false;
        }
        return size >= 1 && size <= 64;
}

static void value_fine(const struct assent_config *config, const struct assent_config_key *key)
{
        const char *value = assent_config_get(config, key->name), *word = key->words;
        ASSENT_ASSERT(value && strlen(value) <= ASSENT_CONFIG_VALUE_SIZE_MAX);
        if (key->type == ASSENT_CONFIG_INT) {
                char *end;
                int64_t number = strtoll(value, &end, 10);
                ASSENT_ASSERT(isdigit((unsigned char)*value) && !*end && number >= key->min && number <= key->max);
                ASSENT_ASSERT(assent_config_int(config, key->name) == number);
        } else if (key->type == ASSENT_CONFIG_BOOL) {
                bool yes = assent_config_bool(config, key->name);
                ASSENT_ASSERT(strcmp(value, yes ? "true" : "false") == 0);
        } else if (key->type == ASSENT_CONFIG_WORD) {
                for (size_t size = strlen(value); strncmp(word, value, size) != 0 || (word[size] != '|' && word[size]);)
                        ASSENT_ASSERT((word = strchr(word, '|')) && *++word);
        } else if (strcmp(key->name, "assent.prefix") == 0) {
                ASSENT_ASSERT(prefix_fine(value));
        }
}

/* The names that follow from a prefix fit, and no two are the same. */
static void topics_fine(const struct assent_config *config)
{
        char inbox[ASSENT_TOPIC_SIZE_MAX], commands[ASSENT_TOPIC_SIZE_MAX], letters[ASSENT_TOPIC_SIZE_MAX];
        const char *prefix = assent_config_get(config, "assent.prefix");
        size_t size = strlen(prefix);
        assent_topic_inbox(config, inbox);
        ASSENT_ASSERT(strncmp(inbox, prefix, size) == 0 && strcmp(inbox + size, ".inbox") == 0);
        assent_topic_commands(config, assent_bytes_of("0123456789-abcdefghijklmnopqrstuvwxyz-89"), commands);
        ASSENT_ASSERT(strncmp(commands, prefix, size) == 0);
        ASSENT_ASSERT(strcmp(commands + size, ".0123456789-abcdefghijklmnopqrstuvwxyz-89.commands") == 0);
        assent_topic_dead_letters(commands, letters);
        ASSENT_ASSERT(strncmp(letters, commands, strlen(commands)) == 0 &&
                      strcmp(letters + strlen(commands), "-dlt") == 0);
}

static void fine(const struct assent_config *config)
{
        for (size_t i = 0; i < assent_config_keys_count; i++)
                value_fine(config, &assent_config_keys[i]);
        topics_fine(config);
}

/* ---- the environment ---- */

static void variable_of(const char *key, const char *prefix, char name[ASSENT_CONFIG_KEY_SIZE_MAX + 16])
{
        size_t size = (size_t)snprintf(name, ASSENT_CONFIG_KEY_SIZE_MAX + 16, "%s%s", prefix, key);
        for (size_t i = strlen(prefix); i < size; i++)
                name[i] = name[i] == '.' ? '_' : (char)toupper((unsigned char)name[i]);
}

/* A value with a variable's name as its origin is that of the newest variable of that name. What follows the refused
 * one is cut off. */
static void from_variable(void *context, const char *key, const char *value, const char *origin)
{
        char *const *variables = context;
        const char *newest = NULL;
        char name[ASSENT_CONFIG_KEY_SIZE_MAX + 16];
        if (strcmp(origin, "default") == 0)
                return;
        for (; *variables; variables++)
                if (strncmp(*variables, origin, strlen(origin)) == 0 && (*variables)[strlen(origin)] == '=')
                        newest = *variables + strlen(origin) + 1;
        ASSENT_ASSERT(newest && (strcmp(newest, value) == 0 || strcmp(value, "********") == 0));
        variable_of(key, strncmp(key, "assent.", 7) == 0 ? "" : "ASSENT_KAFKA_", name);
        ASSENT_ASSERT(strcmp(name, origin) == 0 ||
                      (strcmp(key, "assent.brokers") == 0 && strcmp(origin, "ASSENT_KAFKA_BOOTSTRAP_SERVERS") == 0));
}

static bool refuses(char *variable)
{
        char *const alone[] = {variable, NULL};
        struct assent_config *config;
        ASSENT_ASSERT(assent_config_open(&config) == ASSENT_OK);
        enum assent_err err = assent_config_environment(config, alone);
        assent_config_close(config);
        return err;
}

/* Lines of the input as variables. */
static enum assent_err environment(struct assent_config *config, const uint8_t *data, size_t size)
{
        char *variables[VARIABLES + 1] = {NULL}, *text = strndup((const char *)data, size), *rest = text;
        ASSENT_ASSERT(text);
        for (int i = 0; i < VARIABLES && rest; i++) {
                variables[i] = rest;
                rest = strchr(rest, '\n');
                if (rest)
                        *rest++ = '\0';
        }
        enum assent_err err = assent_config_environment(config, variables);
        size_t taken = 0;
        while (err && !refuses(variables[taken]))
                taken++;
        if (err)
                variables[taken] = NULL;
        assent_config_each(config, from_variable, variables);
        free(text);
        return err;
}

/* ---- a password's file ---- */

static enum assent_err password(struct assent_config *config, const uint8_t *data, size_t size, bool owner_only)
{
        char path[PATH_SIZE], assignment[PATH_SIZE + 32];
        int fd = file_of(data, size, owner_only, path);
        snprintf(assignment, sizeof assignment, "assent.sasl_password_file=%s", path);
        ASSENT_ASSERT(assent_config_set(config, assignment, "--set") == ASSENT_OK);
        enum assent_err err = assent_config_finish(config);
        close(fd);
        size_t line = size;
        line -= line && data[line - 1] == '\n';
        line -= line && data[line - 1] == '\r';
        bool good = owner_only && line >= 1 && line <= ASSENT_CONFIG_VALUE_SIZE_MAX;
        for (size_t i = 0; i < line; i++)
                good = good && (data[i] == '\t' || (data[i] >= ' ' && data[i] != 0x7f));
        ASSENT_ASSERT(good == (err == ASSENT_OK));
        const char *taken = assent_config_get(config, "sasl.password");
        ASSENT_ASSERT(good ? strlen(taken) == line && memcmp(taken, data, line) == 0 : !taken);
        return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct assent_config *config;
        enum assent_err err;
        if (size < 1)
                return 0;
        assent_log_setup(ASSENT_LOG_ERROR, ASSENT_LOG_LOGFMT, NULL);
        ASSENT_ASSERT(assent_config_open(&config) == ASSENT_OK);
        if (data[0] & 2) {
                char *assignment = strndup((const char *)data + 1, size - 1);
                ASSENT_ASSERT(assignment);
                err = assent_config_set(config, assignment, data[0] & 4 ? "--set" : "test");
                free(assignment);
        } else if (data[0] & 8) {
                err = environment(config, data + 1, size - 1);
        } else if (data[0] & 16) {
                err = password(config, data + 1, size - 1, data[0] & 1);
        } else {
                err = load(config, data + 1, size - 1, data[0] & 1);
        }
        ASSENT_ASSERT(err == ASSENT_OK || err == ASSENT_E_CONFIG);
        if (err != ASSENT_OK)
                printable(assent_config_errmsg(config));
        fine(config);
        comes_back(config); /* what stood before the refused line was taken */
        assent_config_close(config);
        return 0;
}
