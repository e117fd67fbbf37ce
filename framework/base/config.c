/* config.c: the bag itself: a sorted array of judged keys, each with its origin. */
#include "base/config_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "base/nearest.h"
#include "base/panic.h"

#define MASK "********"

const char *assent_config_shown(const char *text, size_t size, char out[ASSENT_CONFIG_SHOWN_SIZE])
{
        assent_escape_text(text, size, out, ASSENT_CONFIG_SHOWN_SIZE);
        return out;
}

enum assent_err assent_config_refuse(struct assent_config *config, const char *origin,
                                     const char *format, ...)
{
        char where[ASSENT_CONFIG_SHOWN_SIZE];
        int at = snprintf(config->errmsg, sizeof config->errmsg,
                          "%s: ", assent_config_shown(origin, strlen(origin), where));
        ASSENT_ASSERT(at > 0 && (size_t)at < sizeof config->errmsg);
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(config->errmsg + at, sizeof config->errmsg - (size_t)at, format, arguments);
        va_end(arguments);
        return ASSENT_E_CONFIG;
}

/* One value, two names: librdkafka's is the one that files shared with other tools have. */
static const char *canonical(const char *key)
{
        return strcmp(key, "bootstrap.servers") == 0 ? "assent.brokers" : key;
}

/* Where the key stands in the array, or would stand. */
static size_t position_of(const struct assent_config *config, const char *key, bool *found)
{
        size_t low = 0;
        size_t high = config->entries_count;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = strcmp(config->entries[middle].key, key);
                if (order == 0) {
                        *found = true;
                        return middle;
                }
                if (order < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        *found = false;
        return low;
}

static const struct assent_config_entry *entry_of(const struct assent_config *config,
                                                  const char *key)
{
        bool found;
        size_t at = position_of(config, canonical(key), &found);
        return found ? &config->entries[at] : NULL;
}

static void entry_free(struct assent_config_entry *entry)
{
        if (entry->key != NULL && entry->value != NULL && assent_config_secret(entry->key))
                explicit_bzero(entry->value, strlen(entry->value));
        free(entry->key);
        free(entry->value);
        free(entry->origin);
}

/* Puts an entry in, which it then owns. */
static void entry_insert(struct assent_config *config, const struct assent_config_entry *entry)
{
        bool found;
        size_t at = position_of(config, entry->key, &found);
        if (found) {
                entry_free(&config->entries[at]);
        } else {
                ASSENT_ASSERT(config->entries_count < ASSENT_CONFIG_KEYS_MAX);
                memmove(&config->entries[at + 1], &config->entries[at],
                        (config->entries_count - at) * sizeof *config->entries);
                config->entries_count++;
        }
        config->entries[at] = *entry;
}

static enum assent_err store(struct assent_config *config, const char *key, const char *value,
                             int64_t number, const char *origin)
{
        bool found;
        position_of(config, key, &found);
        if (!found && config->entries_count == ASSENT_CONFIG_KEYS_MAX)
                return assent_config_refuse(config, origin,
                                            "%s would be one key too many: at most %d may be set",
                                            key, ASSENT_CONFIG_KEYS_MAX);
        struct assent_config_entry entry = {
            .key = strdup(key), .value = strdup(value), .origin = strdup(origin), .number = number};
        if (entry.key == NULL || entry.value == NULL || entry.origin == NULL) {
                entry_free(&entry);
                assent_config_refuse(config, origin, "out of memory");
                return ASSENT_E_MEMORY;
        }
        entry_insert(config, &entry);
        return ASSENT_OK;
}

static enum assent_err refuse_unknown(struct assent_config *config, const char *key,
                                      const char *origin)
{
        const char *hint = assent_config_denied_hint(key);
        if (hint != NULL)
                return assent_config_refuse(config, origin, "%s may not be set: %s", key, hint);

        struct assent_nearest nearest;
        assent_nearest_init(&nearest, key);
        for (size_t i = 0; i < assent_config_keys_count; i++)
                assent_nearest_offer(&nearest, assent_config_keys[i].name);
        for (size_t i = 0; i < assent_config_kafka_keys_count; i++)
                assent_nearest_offer(&nearest, assent_config_kafka_keys[i]);
        if (nearest.best != NULL)
                return assent_config_refuse(config, origin, "unknown key %s; did you mean %s?", key,
                                            nearest.best);
        if (strncmp(key, "assent.", strlen("assent.")) == 0)
                return assent_config_refuse(config, origin,
                                            "unknown key %s; --help-config lists all keys", key);
        return assent_config_refuse(
            config, origin,
            "%s is neither a key of assent's nor a librdkafka setting that may be set; "
            "remove it, or call it app.%s; --help-config lists all keys",
            key, key);
}

/* False with errmsg set when the key is no key or the value cannot be a value, whatever the key. */
static bool form_right(struct assent_config *config, const char *key, const char *value,
                       const char *origin)
{
        char shown[ASSENT_CONFIG_SHOWN_SIZE];
        size_t key_size = strlen(key);
        size_t value_size = strlen(value);
        assent_config_shown(key, key_size, shown);
        if (key_size == 0)
                assent_config_refuse(config, origin,
                                     "the key before '=' is missing; write key=value");
        else if (key_size > ASSENT_CONFIG_KEY_SIZE_MAX)
                assent_config_refuse(config, origin,
                                     "the key %s has %zu bytes; at most %d are allowed", shown,
                                     key_size, ASSENT_CONFIG_KEY_SIZE_MAX);
        else if (strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789._-") != key_size)
                assent_config_refuse(config, origin,
                                     "the key %s has characters other than a-z 0-9 . _ -", shown);
        else if (value_size > ASSENT_CONFIG_VALUE_SIZE_MAX)
                assent_config_refuse(config, origin,
                                     "the value of %s has %zu bytes; at most %d are allowed", shown,
                                     value_size, ASSENT_CONFIG_VALUE_SIZE_MAX);
        else
                return true;
        return false;
}

enum assent_err assent_config_put(struct assent_config *config, const char *key, const char *value,
                                  const char *origin)
{
        if (!form_right(config, key, value, origin))
                return ASSENT_E_CONFIG;
        key = canonical(key);
        /* Whoever may list processes can read their arguments. */
        if (assent_config_secret(key) && origin[0] == '-')
                return assent_config_refuse(
                    config, origin,
                    "%s may not stand on a command line, where others can read it; put it into a "
                    "file that only its owner may read, and name that with --config%s",
                    key, strcmp(key, "sasl.password") == 0 ? " or assent.sasl_password_file" : "");
        int64_t number = 0;
        const struct assent_config_key *known = assent_config_key_find(key);
        if (known != NULL) {
                char wrong[160];
                char shown[ASSENT_CONFIG_SHOWN_SIZE];
                if (assent_config_value_wrong(known, value, &number, wrong, sizeof wrong))
                        return assent_config_refuse(
                            config, origin, "%s %s, not \"%s\" (default %s)", key, wrong,
                            assent_config_shown(value, strlen(value), shown), known->value);
        } else if (strncmp(key, "app.", strlen("app.")) != 0 && !assent_config_kafka_allowed(key)) {
                return refuse_unknown(config, key, origin);
        }
        return store(config, key, value, number, origin);
}

enum assent_err assent_config_open(struct assent_config **out)
{
        struct assent_config *config = calloc(1, sizeof *config);
        *out = config;
        if (config == NULL)
                return ASSENT_E_MEMORY;
        for (size_t i = 0; i < assent_config_keys_count; i++) {
                enum assent_err err = assent_config_put(config, assent_config_keys[i].name,
                                                        assent_config_keys[i].value, "default");
                ASSENT_ASSERT(err == ASSENT_OK ||
                              err == ASSENT_E_MEMORY); /* the table satisfies itself */
                if (err != ASSENT_OK) {
                        assent_config_close(config);
                        *out = NULL;
                        return err;
                }
        }
        return ASSENT_OK;
}

void assent_config_close(struct assent_config *config)
{
        if (config == NULL)
                return;
        for (size_t i = 0; i < config->entries_count; i++)
                entry_free(&config->entries[i]);
        free(config);
}

enum assent_err assent_config_set(struct assent_config *config, const char *assignment,
                                  const char *origin)
{
        return assent_config_assign(config, assignment, strlen(assignment), origin);
}

const char *assent_config_get(const struct assent_config *config, const char *key)
{
        const struct assent_config_entry *entry = entry_of(config, key);
        return entry != NULL ? entry->value : NULL;
}

/* The number of a key of the table; anything else is a bug of the program that asks. */
static int64_t number_of(const struct assent_config *config, const char *key,
                         enum assent_config_type type)
{
        const struct assent_config_key *known = assent_config_key_find(key);
        ASSENT_ASSERT(known != NULL && known->type == type);
        const struct assent_config_entry *entry = entry_of(config, key);
        ASSENT_ASSERT(entry != NULL); /* every key of the table has a default */
        return entry->number;
}

int64_t assent_config_int(const struct assent_config *config, const char *key)
{
        return number_of(config, key, ASSENT_CONFIG_INT);
}

bool assent_config_bool(const struct assent_config *config, const char *key)
{
        return number_of(config, key, ASSENT_CONFIG_BOOL) != 0;
}

const char *assent_config_origin(const struct assent_config *config, const char *key)
{
        const struct assent_config_entry *entry = entry_of(config, key);
        return entry != NULL ? entry->origin : NULL;
}

void assent_config_each(const struct assent_config *config,
                        void (*each)(void *context, const char *key, const char *value,
                                     const char *origin),
                        void *context)
{
        for (size_t i = 0; i < config->entries_count; i++) {
                const struct assent_config_entry *entry = &config->entries[i];
                each(context, entry->key, assent_config_secret(entry->key) ? MASK : entry->value,
                     entry->origin);
        }
}

const char *assent_config_errmsg(const struct assent_config *config)
{
        return config->errmsg;
}

static void reference_key(const struct assent_config_key *key,
                          void (*line)(void *context, const char *text), void *context)
{
        char text[512];
        char range[80] = "text";
        if (key->type == ASSENT_CONFIG_INT && key->max < INT64_MAX)
                snprintf(range, sizeof range, "%" PRId64 " to %" PRId64, key->min, key->max);
        else if (key->type == ASSENT_CONFIG_INT)
                snprintf(range, sizeof range, "at least %" PRId64, key->min);
        else if (key->type == ASSENT_CONFIG_WORD)
                snprintf(range, sizeof range, "%s", key->words);
        else if (key->type == ASSENT_CONFIG_BOOL)
                snprintf(range, sizeof range, "true|false");
        snprintf(text, sizeof text, "# %s (%s)", key->help, range);
        line(context, text);
        snprintf(text, sizeof text, "#%s=%s", key->name, key->value);
        line(context, text);
        line(context, "");
}

void assent_config_reference(void (*line)(void *context, const char *text), void *context)
{
        line(context, "# Every key with its default. A later place wins: $ASSENT_CONFIG, --config "
                      "files, the environment,");
        line(context, "# flags. assent.window_ms is also the variable ASSENT_WINDOW_MS and --set "
                      "assent.window_ms=VALUE.");
        line(context, "");
        for (size_t i = 0; i < assent_config_keys_count; i++)
                reference_key(&assent_config_keys[i], line, context);
        line(context, "# Keys app.… belong to the program. These of librdkafka's may be set as "
                      "they are, or as the variable");
        line(context, "# ASSENT_KAFKA_… (sasl.username is ASSENT_KAFKA_SASL_USERNAME):");
        for (size_t i = 0; i < assent_config_kafka_keys_count; i++) {
                char text[ASSENT_CONFIG_KEY_SIZE_MAX + 8];
                snprintf(text, sizeof text, "#   %s", assent_config_kafka_keys[i]);
                line(context, text);
        }
}
