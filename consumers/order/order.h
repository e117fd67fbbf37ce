/* order.h: orders with a version. kind "place", payload {"order_id": "o-1", "customer": "alice",
 * "total_cents": 9900, "items": [{"sku": "lamp", "quantity": 1}]}. prepare writes version 1,
 * PENDING; commit and abort write version 2, CONFIRMED or CANCELLED. An order id is used once: a
 * cancelled order is not placed again under the same id. */
#ifndef ASSENT_CONSUMERS_ORDER_H
#define ASSENT_CONSUMERS_ORDER_H

#include <sqlite3.h>

#include <assent/participant.h>

enum order_sql {
        ORDER_PLACE,
        ORDER_SETTLE, /* PENDING to a final state */
        ORDER_SQL_COUNT
};

struct order {
        sqlite3_stmt *sql[ORDER_SQL_COUNT];
};

extern const struct assent_handlers order_handlers;

enum assent_err order_setup(void *app, struct assent_tx *tx);

#endif
