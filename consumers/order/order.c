/* order.c: the four functions of the order service, three of them needed. */
#include "order.h"

#include <stdlib.h>

#include "../service.h"

/* The index finds an order by its transaction (commit and abort know nothing else) and is what the
 * audit walks along. */
static const char schema[] = "CREATE TABLE IF NOT EXISTS orders("
                             " order_id TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL,"
                             " state TEXT NOT NULL CHECK(state IN ('PENDING', 'CONFIRMED', 'CANCELLED')),"
                             " customer TEXT NOT NULL, total_cents INTEGER NOT NULL, items TEXT NOT NULL,"
                             " txn_id BLOB NOT NULL, branch INTEGER NOT NULL, updated_ms INTEGER NOT NULL) STRICT;"
                             "CREATE UNIQUE INDEX IF NOT EXISTS orders_txn ON orders(txn_id, branch);";

static const char *const texts[ORDER_SQL_COUNT] = {
    [ORDER_PLACE] = "INSERT INTO orders"
                    "(txn_id, branch, order_id, version, state, customer, total_cents, items,"
                    " updated_ms) VALUES(?1, ?2, ?3, 1, 'PENDING', ?4, ?5, ?6, ?7)"
                    " ON CONFLICT(order_id) DO NOTHING",
    [ORDER_SETTLE] = "UPDATE orders SET state = ?3, version = version + 1, updated_ms = ?4"
                     " WHERE txn_id = ?1 AND branch = ?2 AND state = 'PENDING'",
};

enum assent_err order_setup(void *app, struct assent_tx *tx)
{
        struct order *order = app;
        enum assent_err err = service_schema(tx, schema);

        if (err == ASSENT_OK)
                err = service_prepare(tx, texts, order->sql, ORDER_SQL_COUNT);
        return err;
}

static enum assent_vote place(struct order *order, struct assent_tx *tx, const struct assent_branch *branch,
                              const json_t *payload)
{
        const char *order_id = service_name(tx, payload, "order_id");
        const char *customer = order_id ? service_name(tx, payload, "customer") : NULL;
        int64_t total_cents = customer ? service_count(tx, payload, "total_cents", SERVICE_CENTS_MAX) : 0;
        const json_t *items = total_cents ? service_items(tx, payload) : NULL;
        sqlite3_stmt *insert = order->sql[ORDER_PLACE];
        int changed;

        if (!items)
                return ASSENT_VOTE_NO; /* the first of the four that failed said why */
        char *items_text = json_dumps(items, JSON_COMPACT);
        if (!items_text)
                return ASSENT_VOTE_RETRY;
        service_bind_branch(insert, branch);
        sqlite3_bind_text(insert, 3, order_id, -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 4, customer, -1, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 5, total_cents);
        sqlite3_bind_text(insert, 6, items_text, -1, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 7, assent_tx_time_ms(tx));
        bool ran = service_run(tx, insert, &changed);
        free(items_text);
        if (!ran)
                return ASSENT_VOTE_RETRY;
        if (changed == 0)
                return service_refuse(tx, "order '%s' already exists", order_id);
        return ASSENT_VOTE_YES;
}

static enum assent_vote prepare_order(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        static const char *const fields[] = {"order_id", "customer", "total_cents", "items", NULL};
        enum assent_vote vote = ASSENT_VOTE_NO;
        json_t *payload;

        if (!service_kind_is(branch, "place"))
                return service_refuse_kind(tx, branch, "place");
        payload = service_payload(tx, branch, fields, &vote);
        if (!payload)
                return vote;
        vote = place(app, tx, branch, payload);
        json_decref(payload);
        return vote;
}

static enum assent_result settle(struct order *order, struct assent_tx *tx, const struct assent_branch *branch,
                                 const char *state)
{
        sqlite3_stmt *update = order->sql[ORDER_SETTLE];
        int changed;

        service_bind_branch(update, branch);
        sqlite3_bind_text(update, 3, state, -1, SQLITE_STATIC);
        sqlite3_bind_int64(update, 4, assent_tx_time_ms(tx));
        if (!service_run(tx, update, &changed))
                return ASSENT_RESULT_RETRY;
        assert(changed == 0 || changed == 1); /* orders_txn is unique */
        return changed ? ASSENT_RESULT_DONE : service_gone(branch, "pending order");
}

static enum assent_result commit_order(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        return settle(app, tx, branch, "CONFIRMED");
}

static enum assent_result abort_order(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        return settle(app, tx, branch, "CANCELLED");
}

const struct assent_handlers order_handlers = {.prepare = prepare_order, .commit = commit_order, .abort = abort_order};
