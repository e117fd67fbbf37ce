/* store.h: the local database transaction that a handler works in. It also holds the dedup row, the answer and the
 * position (P1), so it commits or vanishes with them; nothing a handler can do ends it early. */
#ifndef ASSENT_STORE_H
#define ASSENT_STORE_H

#include <assent/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sqlite3;
struct assent_tx;

/* What a handler made of it: DONE keeps what it wrote; RETRY rolls it back, and it is called again after a back-off. */
enum assent_result { ASSENT_RESULT_DONE = 1, ASSENT_RESULT_RETRY = 2 };

/* The connection the local transaction runs on. BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE, ATTACH, DETACH and PRAGMA are
 * denied on it, also in statements prepared earlier; "OR ROLLBACK" ends the process, because it would take other messages'
 * effects with it. Statements may be prepared in `setup` and kept; the program finalizes them when it is done with them,
 * before or after it closes the participant or consumer. Tables named assent_… belong to the framework.
 * Ownership: the framework's. Thread: only inside setup and the handlers, on the thread that calls them. */
ASSENT_API struct sqlite3 *assent_tx_sqlite(struct assent_tx *tx);

/* The reason that travels with a NO. Copied; cut at ASSENT_REASON_SIZE_MAX bytes on a UTF-8 boundary; last call wins. */
ASSENT_API void assent_tx_refuse(struct assent_tx *tx, const char *reason);

/* An event that becomes a record of <prefix>.<topic> if, and only if, the local transaction commits (an outbox). Of one key
 * they are sent in the order of the calls; again after a crash, under the same message id, so consumers deduplicate (P1, P2).
 * An event that the broker refuses for good is set aside with an alarm and holds back no other. */
struct assent_event {
        const char *topic;         /* "order.events", 1 … 184 bytes; must exist, with any number of partitions */
        const char *type;          /* header ce_type: "order.confirmed", 1 … 128 bytes */
        const char *content_type;  /* header content-type: "application/avro", 1 … 128 bytes */
        struct assent_bytes key;   /* 1 … 128 bytes; names the partition as Kafka's own producers do (murmur2) */
        struct assent_bytes value; /* with key at most assent.record_bytes_max; empty: a record without a value */
};
/* Ownership: all copied. Durability: the local transaction's. Thread: inside setup, handlers and work.
 * Returns ASSENT_OK, ASSENT_E_LIMIT (a size), ASSENT_E_ARGUMENT (no name of a topic: a-z A-Z 0-9 . _ -), ASSENT_E_STORE (then
 * the local transaction fails). */
ASSENT_API enum assent_err assent_tx_publish(struct assent_tx *tx, const struct assent_event *event);

/* The lane's log time τ in milliseconds since the Unix epoch: the time to use in effects, the same at every replay. */
ASSENT_API int64_t assent_tx_time_ms(const struct assent_tx *tx);

#ifdef __cplusplus
}
#endif
#endif
