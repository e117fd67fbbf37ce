/* config_load.c: where values come from: properties files, the environment, a password's own file.
 */
#include "base/config_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <assent/log.h>

#include "base/buffer.h"
#include "base/panic.h"

/* '\r' is one of them, for files that were written elsewhere. */
static bool blank(char c)
{
        return c == ' ' || c == '\t' || c == '\r';
}

/* Blanks at both ends off. */
static void trim(const char **text, size_t *size)
{
        while (*size > 0 && blank(**text)) {
                (*text)++;
                (*size)--;
        }
        while (*size > 0 && blank((*text)[*size - 1]))
                (*size)--;
}

/* NUL would cut a value silently; the others have no business in one and would travel into messages
 * and file names. */
static bool has_control(const char *text, size_t size)
{
        for (size_t i = 0; i < size; i++) {
                unsigned char byte = (unsigned char)text[i];
                if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
                        return true;
        }
        return false;
}

enum assent_err assent_config_assign(struct assent_config *config, const char *text, size_t size,
                                     const char *origin)
{
        if (size > ASSENT_CONFIG_LINE_SIZE_MAX)
                return assent_config_refuse(
                    config, origin, "%zu bytes are too long for a line; at most %d are allowed",
                    size, ASSENT_CONFIG_LINE_SIZE_MAX);
        const char *equals = memchr(text, '=', size);
        if (equals == NULL) /* not shown: it may be a password */
                return assent_config_refuse(config, origin,
                                            "there is no '=' in it; write key=value");
        const char *key = text;
        size_t key_size = (size_t)(equals - text);
        const char *value = equals + 1;
        size_t value_size = size - key_size - 1;
        trim(&key, &key_size);
        trim(&value, &value_size);

        char key_text[ASSENT_CONFIG_LINE_SIZE_MAX + 1];
        char value_text[ASSENT_CONFIG_LINE_SIZE_MAX + 1];
        snprintf(key_text, sizeof key_text, "%.*s", (int)key_size, key);
        if (has_control(key, key_size) || has_control(value, value_size))
                return assent_config_refuse(config, origin,
                                            "there is a control character in this line; remove it");
        snprintf(value_text, sizeof value_text, "%.*s", (int)value_size, value);
        enum assent_err err = assent_config_put(config, key_text, value_text, origin);
        explicit_bzero(value_text, value_size); /* it may have been a secret */
        return err;
}

/* Reads a file whole, up to size_max bytes. `owner_only` tells whether group and world are kept
 * out. */
static enum assent_err read_whole(struct assent_config *config, const char *path,
                                  const char *origin, struct assent_buffer *out, bool *owner_only)
{
        enum assent_err err = ASSENT_OK;
        struct stat status;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &status) != 0) {
                err = assent_config_refuse(config, origin, "cannot be opened: %s", strerror(errno));
                goto out;
        }
        *owner_only = (status.st_mode & (S_IRWXG | S_IRWXO)) == 0;
        for (;;) {
                char chunk[4096];
                ssize_t got = read(fd, chunk, sizeof chunk);
                if (got > 0)
                        assent_buffer_append(out, chunk, (size_t)got);
                explicit_bzero(chunk, sizeof chunk);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0) {
                        err = assent_config_refuse(config, origin, "cannot be read: %s",
                                                   strerror(errno));
                } else if (out->err == ASSENT_E_LIMIT) {
                        err = assent_config_refuse(config, origin,
                                                   "is too long; at most %zu bytes are allowed",
                                                   out->size_max);
                } else if (out->err == ASSENT_E_MEMORY) {
                        assent_config_refuse(config, origin, "out of memory");
                        err = ASSENT_E_MEMORY;
                }
                if (got <= 0 || err != ASSENT_OK)
                        break;
        }
out:
        if (fd >= 0)
                close(fd);
        return err;
}

static void secret_buffer_close(struct assent_buffer *buffer)
{
        if (buffer->data != NULL)
                explicit_bzero(buffer->data, buffer->capacity);
        assent_buffer_close(buffer);
}

/* The keys of this line may be a secret's, which a file that others can read does not keep. */
static bool names_secret(const char *line, size_t size)
{
        static const char *const secrets[] = {"sasl.password", "ssl.key.password"};
        const char *equals = memchr(line, '=', size);
        size_t key_size = equals != NULL ? (size_t)(equals - line) : size;
        trim(&line, &key_size);
        for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
                ASSENT_ASSERT(assent_config_secret(secrets[i]));
                if (key_size == strlen(secrets[i]) && memcmp(line, secrets[i], key_size) == 0)
                        return true;
        }
        return false;
}

static enum assent_err load_line(struct assent_config *config, const char *line, size_t size,
                                 const char *origin, bool owner_only)
{
        const char *text = line;
        size_t text_size = size;
        trim(&text, &text_size);
        if (size <= ASSENT_CONFIG_LINE_SIZE_MAX && (text_size == 0 || text[0] == '#'))
                return ASSENT_OK;
        if (!owner_only && names_secret(line, size))
                return assent_config_refuse(
                    config, origin, "a secret stands in a file that others can read; chmod 600 it");
        return assent_config_assign(config, line, size, origin);
}

enum assent_err assent_config_load(struct assent_config *config, const char *path)
{
        struct assent_buffer file;
        bool owner_only = false;
        assent_buffer_init(&file, ASSENT_CONFIG_FILE_SIZE_MAX);
        enum assent_err err = read_whole(config, path, path, &file, &owner_only);
        const char *line = assent_buffer_string(&file);
        const char *end = line + file.size;
        for (size_t number = 1; err == ASSENT_OK && line < end; number++) {
                const char *newline = memchr(line, '\n', (size_t)(end - line));
                const char *line_end = newline != NULL ? newline : end;
                char origin[4096 + 32];
                snprintf(origin, sizeof origin, "%.4095s:%zu", path, number);
                err = load_line(config, line, (size_t)(line_end - line), origin, owner_only);
                line = line_end + 1;
        }
        secret_buffer_close(&file);
        return err;
}

enum assent_err assent_config_environment(struct assent_config *config, char *const *environment)
{
        static const char ours[] = "ASSENT_";
        static char *const none[] = {NULL};
        /* clearenv(3) leaves a process without even an empty list. */
        for (environment = environment != NULL ? environment : none; *environment != NULL;
             environment++) {
                const char *equals = strchr(*environment, '=');
                if (equals == NULL || strncmp(*environment, ours, sizeof ours - 1) != 0)
                        continue;
                size_t name_size = (size_t)(equals - *environment);
                if (name_size == strlen("ASSENT_CONFIG") &&
                    memcmp(*environment, "ASSENT_CONFIG", name_size) == 0)
                        continue; /* names a file; see config_arguments.c */
                const char *key = assent_config_variable_key(*environment, name_size);
                if (key == NULL) {
                        struct assent_bytes name = {.data = *environment, .size = name_size};
                        assent_log(ASSENT_LOG_WARN, "unknown variable ignored",
                                   ASSENT_BYTES("variable", name));
                        continue;
                }
                char origin[ASSENT_CONFIG_KEY_SIZE_MAX];
                snprintf(origin, sizeof origin, "%.*s", (int)name_size, *environment);
                const char *value = equals + 1;
                if (has_control(value, strlen(value)))
                        return assent_config_refuse(
                            config, origin, "there is a control character in it; remove it");
                enum assent_err err = assent_config_put(config, key, value, origin);
                if (err != ASSENT_OK)
                        return err;
        }
        return ASSENT_OK;
}

enum assent_err assent_config_finish(struct assent_config *config)
{
        static const char file_key[] = "assent.sasl_password_file";
        const char *path = assent_config_get(config, file_key);
        ASSENT_ASSERT(path != NULL);
        if (path[0] == '\0')
                return ASSENT_OK;
        const char *other = assent_config_origin(config, "sasl.password");
        if (other != NULL && strcmp(other, file_key) != 0)
                return assent_config_refuse(config, assent_config_origin(config, file_key),
                                            "both sasl.password (%s) and %s are set; remove one",
                                            other, file_key);
        struct assent_buffer file;
        bool owner_only = false;
        assent_buffer_init(&file,
                           ASSENT_CONFIG_VALUE_SIZE_MAX + 2); /* a value and its line's end */
        enum assent_err err = read_whole(config, path, path, &file, &owner_only);
        size_t size = file.size;
        if (size > 0 && file.data[size - 1] == '\n')
                size--;
        if (size > 0 && file.data[size - 1] == '\r')
                size--;
        if (err == ASSENT_OK && !owner_only)
                err = assent_config_refuse(
                    config, path, "others than its owner can read this password; chmod 600 it");
        if (err == ASSENT_OK && (size == 0 || has_control(file.data, size)))
                err = assent_config_refuse(config, path, "must hold one line, the password");
        if (err == ASSENT_OK) {
                assent_buffer_cut(&file, size);
                err = assent_config_put(config, "sasl.password", assent_buffer_string(&file),
                                        file_key);
        }
        secret_buffer_close(&file);
        return err;
}
