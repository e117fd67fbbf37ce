/* config_table.h: which keys there are. The tables behind config.h. */
#ifndef ASSENT_BASE_CONFIG_TABLE_H
#define ASSENT_BASE_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ASSENT_CONFIG_KEY_SIZE_MAX   128
#define ASSENT_CONFIG_VALUE_SIZE_MAX 4096
#define ASSENT_CONFIG_LINE_SIZE_MAX  8192
#define ASSENT_CONFIG_FILE_SIZE_MAX  (1024 * 1024)
#define ASSENT_CONFIG_KEYS_MAX       512 /* set or with a default */

enum assent_config_type {
        ASSENT_CONFIG_TEXT,
        ASSENT_CONFIG_WORD,
        ASSENT_CONFIG_INT,
        ASSENT_CONFIG_BOOL
};

struct assent_config_key {
        const char *name;
        enum assent_config_type type;
        const char *value; /* the default */
        int64_t min, max;  /* INT */
        const char *words; /* WORD: "kafka|embedded" */
        const char *help;
        const char *(*wrong)(
            const char *value); /* TEXT: NULL, or says what the value must be; may itself be NULL */
};

/* A key of librdkafka's that may not be set, and what to do instead. */
struct assent_config_denied {
        const char *name;
        const char *hint;
};

extern const struct assent_config_key assent_config_keys[];
extern const size_t assent_config_keys_count;
extern const char *const assent_config_kafka_keys[];
extern const size_t assent_config_kafka_keys_count;
extern const struct assent_config_denied assent_config_denied[];
extern const size_t assent_config_denied_count;

const struct assent_config_key *
assent_config_key_find(const char *name); /* NULL: not in the table */
bool assent_config_kafka_allowed(const char *name);
const char *assent_config_denied_hint(const char *name); /* NULL: no hint */
bool assent_config_secret(const char *name);

/* The position of `word` in "a|b|c", or -1. */
int assent_config_word_index(const char *words, const char *word);

/* The key that ASSENT_… stands for, or NULL. */
const char *assent_config_variable_key(const char *variable, size_t size);

/* "key=" or "variable=" checked: what the value must be, into `text`; false when it is fine.
 * *number gets the value of an INT or BOOL. */
bool assent_config_value_wrong(const struct assent_config_key *key, const char *value,
                               int64_t *number, char *text, size_t text_size);

#endif
