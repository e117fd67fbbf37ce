#include "settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <assent/log.h>

static const struct number {
        const char *key;
        size_t at;
        int64_t usual, least, most;
} numbers[] = {
    {"app.wait_ms", offsetof(struct settings, wait_ms), 5000, 0, SETTINGS_WAIT_MS_MAX},
    {"app.timeout_ms", offsetof(struct settings, timeout_ms), 10000, 100, 600000},
    {"app.key_expiry_ms", offsetof(struct settings, key_expiry_ms), 86400000, 1000, INT64_C(2592000000)},
    {"app.events_kept", offsetof(struct settings, events_kept), 10000, 1, 10000000},
    {"app.waiting_max", offsetof(struct settings, waiting_max), 10000, 1, 100000},
    {"app.connections_max", offsetof(struct settings, connections_max), 12000, 1, 100000},
    {"app.streams_max", offsetof(struct settings, streams_max), 1000, 1, 100000},
    {"app.backlog_max", offsetof(struct settings, backlog_max), 1000, 1, 10000000},
    {"app.threads", offsetof(struct settings, threads), 2, 1, 16},
};

enum assent_err settings_read(const struct assent_config *config, struct settings *out)
{
        const char *listen = assent_config_get(config, "app.listen");

        *out = (struct settings){.listen = listen && strcmp(listen, "off") != 0 ? listen : NULL,
                                 .port_file = assent_config_get(config, "app.port_file"),
                                 .tokens = assent_config_get(config, "app.tokens")};
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
                const struct number *number = &numbers[i];
                const char *text = assent_config_get(config, number->key);
                char *end = NULL;
                int64_t *value = (int64_t *)(void *)((char *)out + number->at);
                errno = 0;
                *value = text ? (int64_t)strtoll(text, &end, 10) : number->usual;
                if (text && (errno != 0 || end == text || *end || *value < number->least || *value > number->most)) {
                        assent_log(ASSENT_LOG_ERROR, "a setting of the order service is outside its range",
                                   ASSENT_TEXT("key", number->key), ASSENT_TEXT("value", text),
                                   ASSENT_INT("least", number->least), ASSENT_INT("most", number->most),
                                   ASSENT_TEXT("from", assent_config_origin(config, number->key)));
                        return ASSENT_E_CONFIG;
                }
        }
        return ASSENT_OK;
}
