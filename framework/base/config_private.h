/* config_private.h: what the files of the configuration share. */
#ifndef ASSENT_BASE_CONFIG_PRIVATE_H
#define ASSENT_BASE_CONFIG_PRIVATE_H

#include <assent/config.h>

#include "base/config_table.h"

#define ASSENT_CONFIG_ERRMSG_SIZE 1024

struct assent_config_entry {
        char *key;
        char *value;
        char *origin;
        int64_t number; /* of an INT or BOOL */
};

struct assent_config {
        struct assent_config_entry entries[ASSENT_CONFIG_KEYS_MAX]; /* sorted by key */
        size_t entries_count;
        char errmsg[ASSENT_CONFIG_ERRMSG_SIZE];
};

/* Sets one key, judged. `origin` stands in front of every message. */
enum assent_err assent_config_put(struct assent_config *config, const char *key, const char *value,
                                  const char *origin);

/* Sets errmsg to "origin: sentence" and returns ASSENT_E_CONFIG. */
enum assent_err assent_config_refuse(struct assent_config *config, const char *origin,
                                     const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Foreign text for a message: printable ASCII, cut. */
#define ASSENT_CONFIG_SHOWN_SIZE 164
const char *assent_config_shown(const char *text, size_t size, char out[ASSENT_CONFIG_SHOWN_SIZE]);

/* "key=value" of `size` bytes: split at the first '=', blanks trimmed, put. */
enum assent_err assent_config_assign(struct assent_config *config, const char *text, size_t size,
                                     const char *origin);

#endif
