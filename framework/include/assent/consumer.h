/* consumer.h: an idempotent consumer of any topic: message id from a header or a callback, the handler in the same local
 * transaction as the dedup row and the position, so each id has its effect once. */
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
        /* Instead of a header; returns false when the record has no id: it is skipped, counted and dead-lettered. */
        bool (*message_id)(void *app, const struct assent_delivery *delivery, struct assent_bytes *id);
        /* DONE: effect and dedup row commit. RETRY: rolled back; the lane waits and tries again with back-off. */
        enum assent_result (*handle)(void *app, struct assent_tx *tx, const struct assent_delivery *delivery);
        enum assent_err (*setup)(void *app, struct assent_tx *tx);
        void *app;
        const struct assent_config *config; /* assent.db, assent.lanes; assent.horizon_ms is the user's promise (P12) */
};
#define ASSENT_CONSUMER_OPTIONS_INIT {.struct_size = sizeof(struct assent_consumer_options)}

struct assent_consumer;

/* As in participant.h. A message whose id is known is skipped and counted; the same id with other bytes is a CONFLICT:
 * counted, logged, skipped. Ids are forgotten assent.horizon_ms of log time after they were seen; log time is the running
 * maximum of the records' timestamps, so on a topic with CreateTime a producer whose clock is ahead makes them forgotten
 * early. */
ASSENT_API enum assent_err assent_consumer_open(const struct assent_consumer_options *options, struct assent_consumer **out);
ASSENT_API enum assent_err assent_consumer_step(struct assent_consumer *consumer, int timeout_ms);
ASSENT_API enum assent_err assent_consumer_run(struct assent_consumer *consumer);
ASSENT_API void assent_consumer_stop(struct assent_consumer *consumer);
ASSENT_API const char *assent_consumer_errmsg(const struct assent_consumer *consumer);
ASSENT_API void assent_consumer_close(struct assent_consumer *consumer);

#ifdef __cplusplus
}
#endif
#endif
