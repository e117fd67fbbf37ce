/* client.h: begin a transaction and learn its outcome (C1 to C3 in framework/DESIGN.md). */
#ifndef ASSENT_CLIENT_H
#define ASSENT_CLIENT_H

#include <assent/config.h>

#ifdef __cplusplus
extern "C" {
#endif

struct assent_client;

struct assent_begin_branch {
        const char *service; /* [a-z0-9-]{1,40} */
        const char *kind;
        struct assent_bytes payload;
};

struct assent_begin {
        size_t struct_size;
        struct assent_uuid txn_id; /* mint it once with assent_txn_id_new and keep it for retries (C1) */
        enum assent_protocol protocol;
        uint32_t timeout_ms;   /* from the begin's arrival in the log; the prefix's timeout_max caps it */
        bool notify_completed; /* also report COMPLETED (all participants applied it) or UNCONFIRMED */
        const struct assent_begin_branch *branches;
        size_t branches_count; /* 1 … ASSENT_BRANCHES_MAX */
};
#define ASSENT_BEGIN_INIT {.struct_size = sizeof(struct assent_begin), .protocol = ASSENT_2PC, .timeout_ms = 10000}

/* One outcome record, as it is read. `reason` is valid until the callback returns. */
struct assent_notice {
        struct assent_uuid txn_id;
        enum assent_outcome outcome;
        struct assent_bytes reason;
        int64_t decided_at_ms; /* log time */
        uint64_t lamport;
};

struct assent_client_options {
        size_t struct_size;
        const struct assent_config *config;
        /* Called in step and await, on the calling thread, for every outcome record of every transaction of the prefix
         * (the outcomes topic is shared; look your transaction up by its id). The same outcome may come more than once. */
        void (*outcome)(void *context, const struct assent_notice *notice);
        /* Called in step and await when the broker holds the begin (ASSENT_OK) or refused it for good. */
        void (*began)(void *context, const struct assent_uuid *txn_id, enum assent_err err);
        void *context;
};
#define ASSENT_CLIENT_OPTIONS_INIT {.struct_size = sizeof(struct assent_client_options)}

/* Connects, checks topics and settings, and notes the end of every lane of <prefix>.outcomes, from where it reads. */
ASSENT_API enum assent_err assent_client_open(const struct assent_client_options *options, struct assent_client **out);
/* Queues a BEGIN and returns; `began` reports it. ASSENT_OK, ASSENT_AGAIN (queue full: step, then again),
 * ASSENT_E_ARGUMENT, ASSENT_E_LIMIT (see errmsg), ASSENT_E_KAFKA. Nothing of `begin` is kept. */
ASSENT_API enum assent_err assent_client_send(struct assent_client *client, const struct assent_begin *begin);
/* As assent_client_send, but returns when the broker holds the BEGIN (acks=all), so a crash of the caller loses nothing.
 * Also ASSENT_TIMED_OUT, after which the transaction may or may not begin. */
ASSENT_API enum assent_err assent_client_begin(struct assent_client *client, const struct assent_begin *begin, int timeout_ms);
/* Waits for the outcome of one transaction begun or asked about through this client. COMMITTED and ABORTED end the wait;
 * so do COMPLETED and UNCONFIRMED. A REJECTED ends it only when no other copy was begun here (C2). The notice's reason is
 * valid until the next call. Returns ASSENT_OK, ASSENT_TIMED_OUT, ASSENT_E_KAFKA. */
ASSENT_API enum assent_err assent_client_await(struct assent_client *client, const struct assent_uuid *txn_id, int timeout_ms,
                                               struct assent_notice *notice);
/* Asks for ABORT; has an effect only before all votes are in (R7). Returns when the broker holds it. */
ASSENT_API enum assent_err assent_client_cancel(struct assent_client *client, const struct assent_uuid *txn_id,
                                                const char *reason, int timeout_ms);
/* Asks for the outcome to be published again (R10). Returns when the broker holds the question; then await. */
ASSENT_API enum assent_err assent_client_inquire(struct assent_client *client, const struct assent_uuid *txn_id,
                                                 int timeout_ms);
/* Evaluates the lane itself, with no coordinator alive (C3). ASSENT_OK with the notice; ASSENT_AGAIN: not decided yet, or
 * ASSENT_E_NOT_FOUND: the lane holds no accepted begin of it. */
ASSENT_API enum assent_err assent_client_evaluate(struct assent_client *client, const struct assent_uuid *txn_id,
                                                  struct assent_notice *notice);
/* One turn: sends, reads outcomes, calls the callbacks. */
ASSENT_API enum assent_err assent_client_step(struct assent_client *client, int timeout_ms);
ASSENT_API void assent_client_stop(struct assent_client *client); /* async-signal-safe: step and await return ASSENT_AGAIN */
ASSENT_API const char *assent_client_errmsg(const struct assent_client *client);
/* NULL is fine; right also after a failed open. What is queued is sent first: blocks until the broker holds it, at most
 * assent.stop_timeout_ms, after which the rest is dropped and a warning logged. No callback is called. */
ASSENT_API void assent_client_close(struct assent_client *client);

#ifdef __cplusplus
}
#endif
#endif
