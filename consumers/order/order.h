/* order.h: orders with a version, and what changes them. All of it runs in the participant's local transaction and on its
 * thread; reads are in reads.h.
 *
 * An order comes by the log, kind "place", payload {"order_id": "o-1", "customer": "alice", "total_cents": 9900, "items":
 * [{"sku": "lamp", "quantity": 1}]}: prepare writes version 1, PENDING. Or it comes by HTTP: then its row is written first,
 * together with the claim of its idempotency key, and prepare finds it. Commit makes it CONFIRMED, abort CANCELLED, each one
 * version more. An order id is used once: a cancelled order is not placed again under the same id. */
#ifndef ASSENT_CONSUMERS_ORDER_H
#define ASSENT_CONSUMERS_ORDER_H

#include <sqlite3.h>

#include <assent/idempotency.h>
#include <assent/participant.h>

#include "../order_event.h"

#define ORDER_PATH "/v1/orders/"

enum order_sql {
        ORDER_PLACE,
        ORDER_SETTLE, /* PENDING to a final state */
        ORDER_TELL,   /* the reason of an abort, and that all is known now */
        ORDER_NOTE,
        ORDER_DELETE,
        ORDER_BY_BRANCH,
        ORDER_BY_ID,
        ORDER_EVENT,
        ORDER_PRUNE,
        ORDER_SQL_COUNT
};

/* An order whose transaction was begun here and is settled: what its POST is answered with. */
struct order_settled {
        struct assent_uuid txn_id;
        unsigned status;
        int64_t version;
        char location[sizeof ORDER_PATH + SERVICE_NAME_SIZE_MAX];
        char *body; /* owned */
};

struct order {
        sqlite3_stmt *sql[ORDER_SQL_COUNT];
        /* The rows of order_events that are kept. 0: orders come by the log alone and nobody is told about them. */
        int64_t events_kept;
        bool told; /* of a new version, since this was last looked at */
        struct order_event_codec codec;
        struct order_settled *settled; /* in this local transaction; for whoever waits, once it is durable */
        size_t settled_count, settled_max;
};

/* A row of `orders`, as others see it and what else it holds. */
struct order_row {
        struct order_event seen;
        int64_t number;     /* of the row; grows in the order of placing */
        int64_t settled_ms; /* the outcome is known, with its reason, and told; 0: not yet */
        int64_t timeout_ms; /* of the transaction; 0: somebody else began it */
        char reason[ASSENT_REASON_SIZE_MAX + 1]; /* of an abort */
        bool cancelled;     /* CANCELLED, or DELETED after that */
};
#define ORDER_COLUMNS                                                                                              \
        "order_id, version, CASE WHEN deleted_ms > 0 THEN 'DELETED' ELSE state END, customer, total_cents, items," \
        " note, txn_id, created_ms, updated_ms, rowid, settled_ms, timeout_ms, reason, state = 'CANCELLED'"
/* Reads the row that a statement of ORDER_COLUMNS stands on. Ownership: row->seen is the caller's, order_event_clear.
 * Returns ASSENT_OK, ASSENT_E_STORE (no row that this program wrote), ASSENT_E_MEMORY. */
enum assent_err order_row_read(sqlite3_stmt *statement, struct order_row *row);

extern const struct assent_handlers order_handlers;

enum assent_err order_setup(void *app, struct assent_tx *tx);
void order_close(struct order *order);

/* ---- by HTTP; of the results only ASSENT_OK keeps what was written ---- */

/* What a POST asks for. */
struct order_placing {
        struct assent_idempotency claim; /* txn_id: of the new order */
        enum assent_idempotency_state state;
        char order_id[SERVICE_NAME_SIZE_MAX + 1]; /* of the new order */
        char customer[SERVICE_NAME_SIZE_MAX + 1];
        char *items; /* JSON */
        int64_t total_cents, timeout_ms, now_ms, expires_ms;
};
/* Claims the key, and if it is new writes the order. Returns ASSENT_OK, ASSENT_E_STORE, ASSENT_E_MEMORY. */
enum assent_err order_claim(struct order *order, struct assent_tx *tx, struct order_placing *placing);
/* A transaction that was begun here has aborted: its order is CANCELLED if it is not yet, and the reason is told. Does
 * nothing for any other transaction, or a second time. */
enum assent_err order_aborted(struct order *order, struct assent_tx *tx, const struct assent_uuid *txn_id, const char *reason,
                              int64_t now_ms);
/* Changes the note of version `version`. ASSENT_E_NOT_FOUND: that is not the version there is. */
enum assent_err order_annotate(struct order *order, struct assent_tx *tx, const char *order_id, int64_t version,
                               const char *note, int64_t now_ms, struct order_row *after);
/* Deletes a cancelled order likewise. */
enum assent_err order_delete(struct order *order, struct assent_tx *tx, const char *order_id, int64_t version, int64_t now_ms);

/* Whether an order may be deleted now: cancelled, and whoever placed it has been told. */
static inline bool order_deletable(const struct order_row *row)
{
        return row->cancelled && row->settled_ms > 0;
}

#endif
