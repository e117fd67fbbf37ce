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

/* What clients did, for metrics: moved by a client's thread, read from any. Zeroed memory is empty. */
struct assent_client_counts {
        uint64_t sent, held, refused, dropped; /* begins: queued; of those what the broker has, has refused, never answered */
        uint64_t outcomes[ASSENT_REJECTED + 1]; /* records of the prefix, by enum assent_outcome; 0: unreadable ones */
        uint64_t expired; /* waits that ended without an outcome: of await, or of a service that waits in its own way */
};

struct assent_client_options {
        size_t struct_size;
        const struct assent_config *config; /* borrowed until close */
        /* Called in step and await, on the calling thread, for every outcome record of every transaction of the prefix
         * (the outcomes topic is shared; look your transaction up by its id). The same outcome may come more than
         * once. */
        void (*outcome)(void *context, const struct assent_notice *notice);
        /* Called in step and await when the broker holds the begin (ASSENT_OK) or refused it for good:
         * ASSENT_E_TOO_LARGE, ASSENT_E_NOT_FOUND, ASSENT_E_DENIED, ASSENT_E_KAFKA. */
        void (*began)(void *context, const struct assent_uuid *txn_id, enum assent_err err);
        void *context;
        struct assent_client_counts *counts; /* goes on counting there; borrowed until close. NULL: nobody wants to know */
};
#define ASSENT_CLIENT_OPTIONS_INIT {.struct_size = sizeof(struct assent_client_options)}

/* Connects, checks the topics, and notes the end of every lane of <prefix>.outcomes, from where it reads.
 * Ownership: *out is set even when the call fails (then only errmsg and close), unless memory ran out or the options
 * were not valid.
 * Blocks: until the broker answers, at most assent.start_timeout_ms for each thing asked. Thread: a client is used by
 * one thread at a time.
 * Returns ASSENT_OK, ASSENT_E_ARGUMENT, ASSENT_E_CONFIG, ASSENT_E_BROKER, ASSENT_E_DENIED, ASSENT_E_TOPIC,
 * ASSENT_E_KAFKA, ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_client_open(const struct assent_client_options *options, struct assent_client **out);
/* Queues a BEGIN and returns; `began` reports it.
 * Ownership: nothing of `begin` is kept. Durability: none before `began` says ASSENT_OK. Blocks: no.
 * Repeat: the same begin under the same txn id is the same transaction (C1).
 * Returns ASSENT_OK, ASSENT_AGAIN (queue full: step, then again), ASSENT_E_ARGUMENT, ASSENT_E_LIMIT (a size or
 * assent.branches_max, see errmsg), ASSENT_E_NOT_FOUND or ASSENT_E_DENIED (the inbox), ASSENT_E_KAFKA. */
ASSENT_API enum assent_err assent_client_send(struct assent_client *client, const struct assent_begin *begin);
/* As assent_client_send, but returns when the broker holds the BEGIN (C2).
 * Durability: acks=all; after ASSENT_OK a crash of the caller loses nothing. Blocks: at most `timeout_ms`.
 * Returns as send, and ASSENT_TIMED_OUT (it may or may not begin: try again with the same txn id), ASSENT_AGAIN also
 * after assent_client_stop, ASSENT_E_TOO_LARGE (the broker allows less than this prefix). */
ASSENT_API enum assent_err assent_client_begin(struct assent_client *client, const struct assent_begin *begin,
                                               int timeout_ms);
/* Waits for the outcome of one transaction begun or asked about through this client. COMMITTED and ABORTED end the
 * wait; so do COMPLETED and UNCONFIRMED. A REJECTED ends it only when no other copy was begun here (C2).
 * Ownership: the notice's reason is the client's, until the next call. Blocks: at most `timeout_ms`; calls the
 * callbacks.
 * Returns ASSENT_OK, ASSENT_TIMED_OUT (says nothing about the outcome, C2), ASSENT_AGAIN (stopped), ASSENT_E_POSITION
 * (the outcomes still to be read are gone from the log), ASSENT_E_KAFKA. */
ASSENT_API enum assent_err assent_client_await(struct assent_client *client, const struct assent_uuid *txn_id,
                                               int timeout_ms, struct assent_notice *notice);
/* Asks for ABORT; has an effect only before all votes are in (R7). `reason` may be NULL.
 * Durability: as begin. Blocks: at most `timeout_ms`. Repeat: safe.
 * Returns ASSENT_OK (the broker holds it: then await), ASSENT_TIMED_OUT, ASSENT_AGAIN (stopped), ASSENT_E_ARGUMENT,
 * ASSENT_E_LIMIT (the reason is longer than ASSENT_REASON_SIZE_MAX), ASSENT_E_TOO_LARGE, ASSENT_E_NOT_FOUND,
 * ASSENT_E_DENIED, ASSENT_E_KAFKA. */
ASSENT_API enum assent_err assent_client_cancel(struct assent_client *client, const struct assent_uuid *txn_id,
                                                const char *reason, int timeout_ms);
/* Asks for the outcome to be published again (R10).
 * Durability, Blocks, Repeat, Returns: as cancel. */
ASSENT_API enum assent_err assent_client_inquire(struct assent_client *client, const struct assent_uuid *txn_id,
                                                 int timeout_ms);
/* Evaluates the lane itself, with no coordinator alive (C3). It asks first, as inquire does: the question's own
 * timestamp settles a transaction that is overdue (R8).
 * Ownership: the notice's reason is the client's, until the next call.
 * Blocks: at most assent.start_timeout_ms for the question, then while the lane is read from the transaction's
 * birth on.
 * Repeat: safe.
 * Returns ASSENT_OK with the notice, ASSENT_AGAIN (not decided yet, or stopped), ASSENT_TIMED_OUT (the question was not
 * confirmed), ASSENT_E_NOT_FOUND (the lane holds no accepted begin of it), ASSENT_E_ARGUMENT, ASSENT_E_SETTINGS (R17),
 * ASSENT_E_POSITION (records that decide it may be gone), ASSENT_E_BROKER, ASSENT_E_DENIED, ASSENT_E_TOO_LARGE,
 * ASSENT_E_CONFIG, ASSENT_E_KAFKA, ASSENT_E_MEMORY (assent.memory_bytes_max). */
ASSENT_API enum assent_err assent_client_evaluate(struct assent_client *client, const struct assent_uuid *txn_id,
                                                  struct assent_notice *notice);
/* One turn: sends, reads outcomes, calls the callbacks, `began` before `outcome`.
 * Blocks: for at most `timeout_ms` while nothing comes.
 * Returns ASSENT_OK, ASSENT_AGAIN (stopped), ASSENT_E_POSITION, ASSENT_E_KAFKA: then close and open again. */
ASSENT_API enum assent_err assent_client_step(struct assent_client *client, int timeout_ms);
/* Makes step, and every call that waits for an outcome or a confirmation, return ASSENT_AGAIN, now and from now on.
 * Thread: any; also from a signal handler. */
ASSENT_API void assent_client_stop(struct assent_client *client);
/* Makes the step that runs now, or else the next one, return early. Thread: any. */
ASSENT_API void assent_client_wake(struct assent_client *client);
/* Writes the families assent_client_… of a page, from a source of an observer. Thread: any, while a client counts too. */
struct assent_exposition; /* of observe.h */
ASSENT_API void assent_client_metrics(const struct assent_client_counts *counts, struct assent_exposition *out);
/* The sentence about the newest failure; "" when there was none. Ownership: the client's, until the next call. */
ASSENT_API const char *assent_client_errmsg(const struct assent_client *client);
/* Sends what is queued and disconnects; no callback is called. NULL is fine; right also after a failed open.
 * Durability: what no broker confirms in time is dropped, and a warning logged.
 * Blocks: at most assent.stop_timeout_ms. Thread: none may be in another call. */
ASSENT_API void assent_client_close(struct assent_client *client);

#ifdef __cplusplus
}
#endif
#endif
