/* consumer.h: an idempotent consumer of any topic: message id from a header or a callback, the handler in the same
 * local transaction as the dedup row and the position, so each id has its effect once. */
#ifndef ASSENT_CONSUMER_H
#define ASSENT_CONSUMER_H

#include <assent/config.h>
#include <assent/store.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ASSENT_MESSAGE_ID_SIZE_MAX 128

struct assent_delivery {
        const char *topic;
        int32_t lane; /* the partition */
        int64_t offset;
        int64_t timestamp_ms; /* the record's own; use assent_tx_time_ms for effects */
        struct assent_bytes key, value;
        struct assent_bytes message_id; /* 1 … ASSENT_MESSAGE_ID_SIZE_MAX bytes */
};

struct assent_consumer_options {
        size_t struct_size;
        const char *topic;
        const char *group;
        const char *id_header; /* where the message id stands; NULL: "ce_id" */
        /* Instead of a header; may be NULL. Returns false when the record has no id: it is skipped, counted and copied
         * to <topic>-dlt. *id borrows from the record, or lives until the next call. */
        bool (*message_id)(void *app, const struct assent_delivery *delivery, struct assent_bytes *id);
        /* DONE: effect and dedup row commit. RETRY: rolled back; the lane waits and tries again with back-off. */
        enum assent_result (*handle)(void *app, struct assent_tx *tx, const struct assent_delivery *delivery);
        /* Called once per open in a local transaction of its own; may be NULL. */
        enum assent_err (*setup)(void *app, struct assent_tx *tx);
        void *app;
        /* Borrowed until close, as are `topic`, `group` and `id_header`: assent.db, assent.lanes; assent.horizon_ms is
         * the user's promise that no id comes again later than that (P12). */
        const struct assent_config *config;
};
#define ASSENT_CONSUMER_OPTIONS_INIT {.struct_size = sizeof(struct assent_consumer_options)}

struct assent_consumer;

/* Opens the database (owner lock, P13), finds the topic, runs `setup`, checks the position (P11) and takes its lanes.
 * Ownership: *out is set even when the call fails (then only errmsg and close), unless memory ran out.
 * Blocks: until the broker answers, at most assent.start_timeout_ms for each thing asked.
 * Returns ASSENT_OK, ASSENT_E_ARGUMENT, ASSENT_E_CONFIG, ASSENT_E_BROKER, ASSENT_E_TOPIC, ASSENT_E_DENIED,
 * ASSENT_E_POSITION (also: the database belongs to another group), ASSENT_E_OWNER, ASSENT_E_STORE, ASSENT_E_HANDLER,
 * ASSENT_E_KAFKA, ASSENT_E_MEMORY, or what `setup` returned. */
ASSENT_API enum assent_err assent_consumer_open(const struct assent_consumer_options *options,
                                                struct assent_consumer **out);
/* One turn: reads up to assent.batch_max records, handles them, advances the group offset, and now and then forgets.
 * Durability: dedup rows, effects and position of the turn's records commit together (P1), the group offset after them
 * (P2).
 * Repeat: a message whose id is known is skipped and counted (P3); the same id with other bytes is a CONFLICT: counted,
 * logged, skipped. Ids are forgotten assent.horizon_ms of log time after they were seen; log time is the running
 * maximum of the records' timestamps, so on a topic with CreateTime a producer whose clock is ahead makes them
 * forgotten early.
 * Blocks: for at most `timeout_ms` (milliseconds) while there is nothing to read. Thread: one at a time.
 * Returns ASSENT_OK, or for good: ASSENT_E_POSITION (P11), ASSENT_E_STORE, ASSENT_E_HANDLER, ASSENT_E_KAFKA,
 * ASSENT_E_MEMORY: close and open again. */
ASSENT_API enum assent_err assent_consumer_step(struct assent_consumer *consumer, int timeout_ms);
/* Turns until assent_consumer_stop, then commits the group offset of what the database holds (P2).
 * Blocks: until then, and at most assent.stop_timeout_ms more. Thread: as step.
 * Returns ASSENT_OK after a stop, or what step returned. */
ASSENT_API enum assent_err assent_consumer_run(struct assent_consumer *consumer);
/* Makes run return after the turn it is in. Thread: any; also from a signal handler. Repeat: safe. */
ASSENT_API void assent_consumer_stop(struct assent_consumer *consumer);
/* What operators see of it: hand it to assent_observer_add, and its context to assent_observer_remove before the close. Ready
 * when it has its lanes. Thread: any, between an open that succeeded and close. */
struct assent_observer_source; /* of observe.h */
ASSENT_API void assent_consumer_source(struct assent_consumer *consumer, struct assent_observer_source *source);
/* The sentence about the newest failure: what, where, what to do; "" when there was none.
 * Ownership: the consumer's, until the next call. */
ASSENT_API const char *assent_consumer_errmsg(const struct assent_consumer *consumer);
/* Gives back database, lanes and clients. NULL is fine; right also after a failed open.
 * Blocks: at most assent.stop_timeout_ms. Thread: none may be in step or run. */
ASSENT_API void assent_consumer_close(struct assent_consumer *consumer);

#ifdef __cplusplus
}
#endif
#endif
