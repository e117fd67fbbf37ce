/* settings.h: the keys app.… of the order service. */
#ifndef ASSENT_CONSUMERS_ORDER_SETTINGS_H
#define ASSENT_CONSUMERS_ORDER_SETTINGS_H

#include <assent/config.h>

struct settings {
        const char *listen; /* NULL: no HTTP; this and the next two are the configuration's */
        const char *port_file, *tokens;
        int64_t wait_ms;       /* how long a POST waits if it does not say */
        int64_t timeout_ms;    /* of a transaction */
        int64_t key_expiry_ms; /* an Idempotency-Key is honoured for so long after its request has ended */
        int64_t events_kept;   /* for GET /v1/events */
        int64_t waiting_max;   /* requests */
        int64_t connections_max;
        int64_t streams_max; /* of events, at once */
        int64_t backlog_max; /* new events that may wait for the reader of a stream */
        int64_t threads; /* of the HTTP server */
};

#define SETTINGS_WAIT_MS_MAX 30000

/* Returns ASSENT_OK, or ASSENT_E_CONFIG (said in the log). */
enum assent_err settings_read(const struct assent_config *config, struct settings *out);

#endif
