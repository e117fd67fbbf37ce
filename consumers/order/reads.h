/* reads.h: connections that only read the order database, beside the one that writes. They never checkpoint: that is the
 * writer's. A connection is used by one thread at a time. */
#ifndef ASSENT_CONSUMERS_ORDER_READS_H
#define ASSENT_CONSUMERS_ORDER_READS_H

#include "order.h"

struct read;

/* Returns ASSENT_OK, ASSENT_E_STORE (said in the log), ASSENT_E_MEMORY. */
enum assent_err read_open(const char *path, struct read **out);
void read_close(struct read *read); /* NULL is fine */
sqlite3 *read_db(const struct read *read);

/* One order, by its id or its transaction's (of several orders of one transaction: the one of the lowest branch).
 * Ownership: row->seen is the caller's, order_event_clear.
 * Returns ASSENT_OK, ASSENT_E_NOT_FOUND, ASSENT_E_STORE, ASSENT_E_MEMORY. */
enum assent_err read_order(struct read *read, const char *order_id, struct order_row *row);
enum assent_err read_txn(struct read *read, const struct assent_uuid *txn_id, struct order_row *row);

/* Up to `limit` orders that are not deleted, the newest first, placed before the row `below`. `state` may be NULL.
 * `each` takes over row->seen; false ends it. */
enum assent_err read_orders(struct read *read, const char *state, int64_t below, int limit,
                            bool (*each)(void *context, struct order_row *row), void *context);
/* The next transaction after *txn_id that was begun here, is not settled, and was born at or before `born_ms`.
 * Returns ASSENT_OK with *txn_id, ASSENT_E_NOT_FOUND, ASSENT_E_STORE. */
enum assent_err read_begun(struct read *read, int64_t born_ms, struct assent_uuid *txn_id);
/* Whether a transaction was begun here and is not settled. */
bool read_is_begun(struct read *read, const struct assent_uuid *txn_id);

/* An event as it stands in the table; the texts live until the next call. */
struct read_event {
        int64_t number;
        const char *type, *data;
};
/* The first event after number `after`. ASSENT_OK, ASSENT_E_NOT_FOUND, ASSENT_E_STORE. */
enum assent_err read_event(struct read *read, int64_t after, struct read_event *event);
void read_event_done(struct read *read);
/* The oldest and the newest number that are kept; both 0 when there is none. */
enum assent_err read_event_range(struct read *read, int64_t *oldest, int64_t *newest);

/* ---- a connection for each thread that asks ---- */

struct read_pool;
enum assent_err read_pool_open(const char *path, size_t count, struct read_pool **out);
void read_pool_close(struct read_pool *pool); /* NULL is fine; none may be lent */
/* Blocks while all are lent. */
struct read *read_take(struct read_pool *pool);
void read_give(struct read_pool *pool, struct read *read);

#endif
