/* order.c: the functions of the order service, and the changes that come by HTTP. Whatever gives an order a new version also
 * leaves an event, for the topic and for the table that GET /v1/events reads. */
#include "order.h"

/* The first index finds an order by its transaction (commit and abort know nothing else) and is what the audit walks along;
 * the second lists by state; the third is what is begun here and not settled. */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS orders("
    " order_id TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL,"
    " state TEXT NOT NULL CHECK(state IN ('PENDING', 'CONFIRMED', 'CANCELLED')),"
    " customer TEXT NOT NULL, total_cents INTEGER NOT NULL, items TEXT NOT NULL,"
    " txn_id BLOB NOT NULL, branch INTEGER NOT NULL, updated_ms INTEGER NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX IF NOT EXISTS orders_txn ON orders(txn_id, branch);";

/* Columns that older databases lack. `edits` counts the changes of the note: with it the version follows from the rest. */
static const char upgrade[] = "ALTER TABLE orders ADD COLUMN note TEXT NOT NULL DEFAULT '';"
                              "ALTER TABLE orders ADD COLUMN reason TEXT NOT NULL DEFAULT '';"
                              "ALTER TABLE orders ADD COLUMN edits INTEGER NOT NULL DEFAULT 0;"
                              "ALTER TABLE orders ADD COLUMN timeout_ms INTEGER NOT NULL DEFAULT 0;"
                              "ALTER TABLE orders ADD COLUMN created_ms INTEGER NOT NULL DEFAULT 0;"
                              "ALTER TABLE orders ADD COLUMN settled_ms INTEGER NOT NULL DEFAULT 0;"
                              "ALTER TABLE orders ADD COLUMN deleted_ms INTEGER NOT NULL DEFAULT 0;"
                              "UPDATE orders SET created_ms = updated_ms,"
                              " settled_ms = CASE state WHEN 'PENDING' THEN 0 ELSE updated_ms END;";

static const char later_schema[] = "CREATE INDEX IF NOT EXISTS orders_listed ON orders(state) WHERE deleted_ms = 0;"
                                   "CREATE INDEX IF NOT EXISTS orders_begun ON orders(txn_id)"
                                   " WHERE settled_ms = 0 AND timeout_ms > 0;"
                                   "CREATE TABLE IF NOT EXISTS order_events("
                                   " seq INTEGER PRIMARY KEY, type TEXT NOT NULL, data TEXT NOT NULL) STRICT;";

static const char *const texts[ORDER_SQL_COUNT] = {
    [ORDER_PLACE] = "INSERT INTO orders(txn_id, branch, order_id, version, state, customer, total_cents, items, updated_ms,"
                    " created_ms, timeout_ms) VALUES(?1, ?2, ?3, 1, 'PENDING', ?4, ?5, ?6, ?7, ?7, ?8) ON CONFLICT DO NOTHING",
    /* The reason of an abort is not known here where the transaction was begun by this service: ORDER_TELL follows. */
    [ORDER_SETTLE] = "UPDATE orders SET state = ?3, version = version + 1, updated_ms = ?4,"
                     " settled_ms = CASE WHEN ?3 = 'CANCELLED' AND timeout_ms > 0 THEN 0 ELSE ?4 END"
                     " WHERE txn_id = ?1 AND branch = ?2 AND state = 'PENDING' RETURNING timeout_ms",
    [ORDER_TELL] = "UPDATE orders SET reason = ?3, settled_ms = ?4 WHERE txn_id = ?1 AND branch = ?2",
    [ORDER_NOTE] = "UPDATE orders SET note = ?3, version = version + 1, edits = edits + 1, updated_ms = ?4"
                   " WHERE order_id = ?1 AND version = ?2 AND deleted_ms = 0",
    [ORDER_DELETE] = "UPDATE orders SET deleted_ms = ?3, version = version + 1, updated_ms = ?3"
                     " WHERE order_id = ?1 AND version = ?2 AND deleted_ms = 0 AND state = 'CANCELLED' AND settled_ms > 0",
    [ORDER_BY_BRANCH] = "SELECT " ORDER_COLUMNS " FROM orders WHERE txn_id = ?1 AND branch = ?2",
    [ORDER_BY_ID] = "SELECT " ORDER_COLUMNS " FROM orders WHERE order_id = ?1",
    [ORDER_EVENT] = "INSERT INTO order_events(type, data) VALUES(?1, ?2)",
    [ORDER_PRUNE] = "DELETE FROM order_events WHERE seq <= (SELECT max(seq) FROM order_events) - ?1",
};

/* A pragma would tell, but is denied here. */
static bool has_column(struct assent_tx *tx, const char *probe)
{
        sqlite3_stmt *statement = NULL;
        bool has = sqlite3_prepare_v2(assent_tx_sqlite(tx), probe, -1, &statement, NULL) == SQLITE_OK;
        sqlite3_finalize(statement);
        return has;
}

enum assent_err order_setup(void *app, struct assent_tx *tx)
{
        struct order *order = app;
        enum assent_err err = service_schema(tx, schema);

        if (err == ASSENT_OK && !has_column(tx, "SELECT deleted_ms FROM orders"))
                err = service_schema(tx, upgrade);
        if (err == ASSENT_OK)
                err = service_schema(tx, later_schema);
        if (err == ASSENT_OK)
                err = assent_idempotency_setup(tx);
        if (err == ASSENT_OK && order->events_kept > 0)
                err = order_event_codec_open(&order->codec);
        if (err == ASSENT_OK)
                err = service_prepare(tx, texts, order->sql, ORDER_SQL_COUNT);
        return err;
}

void order_close(struct order *order)
{
        service_finalize(order->sql, ORDER_SQL_COUNT);
        order_event_codec_close(&order->codec);
        for (size_t i = 0; i < order->settled_count; i++)
                free(order->settled[i].body);
        free(order->settled);
        order->settled = NULL;
        order->settled_count = order->settled_max = 0;
}

/* ---- rows ---- */

static bool column_text(sqlite3_stmt *statement, int column, char *out, size_t size)
{
        const unsigned char *text = sqlite3_column_text(statement, column);
        size_t length = text ? (size_t)sqlite3_column_bytes(statement, column) : size;

        if (length >= size)
                return false;
        memcpy(out, text, length + 1);
        return true;
}

/* In the order of the members that the event has, whatever the payload had. */
static json_t *column_items(sqlite3_stmt *statement, int column)
{
        json_t *given = json_loads((const char *)sqlite3_column_text(statement, column), 0, NULL), *items = json_array(), *line;
        size_t i;

        json_array_foreach(given, i, line)
                json_array_append_new(items, json_pack("{s:O, s:O}", "sku", json_object_get(line, "sku"), "quantity",
                                                       json_object_get(line, "quantity")));
        if (json_array_size(items) != json_array_size(given) || json_array_size(items) == 0) {
                json_decref(items);
                items = NULL;
        }
        json_decref(given);
        return items;
}

enum assent_err order_row_read(sqlite3_stmt *statement, struct order_row *row)
{
        struct order_event *seen = &row->seen;
        const void *txn_id = sqlite3_column_blob(statement, 7);

        *row = (struct order_row){.number = sqlite3_column_int64(statement, 10),
                                  .settled_ms = sqlite3_column_int64(statement, 11),
                                  .timeout_ms = sqlite3_column_int64(statement, 12),
                                  .cancelled = sqlite3_column_int(statement, 14) != 0};
        seen->version = sqlite3_column_int64(statement, 1);
        seen->total_cents = sqlite3_column_int64(statement, 4);
        seen->created_ms = sqlite3_column_int64(statement, 8);
        seen->updated_ms = sqlite3_column_int64(statement, 9);
        if (!txn_id || sqlite3_column_bytes(statement, 7) != sizeof seen->txn_id.bytes ||
            !column_text(statement, 0, seen->order_id, sizeof seen->order_id) ||
            !column_text(statement, 2, seen->state, sizeof seen->state) ||
            !column_text(statement, 3, seen->customer, sizeof seen->customer) ||
            !column_text(statement, 6, seen->note, sizeof seen->note) ||
            !column_text(statement, 13, row->reason, sizeof row->reason))
                return ASSENT_E_STORE;
        memcpy(seen->txn_id.bytes, txn_id, sizeof seen->txn_id.bytes);
        seen->items = column_items(statement, 5);
        return seen->items ? ASSENT_OK : ASSENT_E_MEMORY; /* what was written can be read */
}

/* The one row of a statement whose parameters are bound. */
static enum assent_err find(struct assent_tx *tx, sqlite3_stmt *statement, struct order_row *row)
{
        int code = sqlite3_step(statement);
        enum assent_err err = code == SQLITE_ROW ? order_row_read(statement, row) : ASSENT_E_NOT_FOUND;

        if (code != SQLITE_ROW && code != SQLITE_DONE) {
                service_sql_failed(tx, sqlite3_sql(statement));
                err = ASSENT_E_STORE;
        }
        sqlite3_reset(statement);
        return err;
}

static enum assent_err find_branch(struct order *order, struct assent_tx *tx, const struct assent_branch *branch,
                                   struct order_row *row)
{
        service_bind_branch(order->sql[ORDER_BY_BRANCH], branch);
        return find(tx, order->sql[ORDER_BY_BRANCH], row);
}

static enum assent_err find_id(struct order *order, struct assent_tx *tx, const char *order_id, struct order_row *row)
{
        sqlite3_bind_text(order->sql[ORDER_BY_ID], 1, order_id, -1, SQLITE_TRANSIENT);
        return find(tx, order->sql[ORDER_BY_ID], row);
}

/* ---- what others are told ---- */

static enum assent_err publish(struct order *order, struct assent_tx *tx, const struct order_event *seen, const char *type)
{
        struct assent_bytes value;
        enum assent_err err = order_event_encode(&order->codec, seen, &value);

        if (err != ASSENT_OK)
                return err;
        const struct assent_event event = {.topic = ORDER_EVENT_TOPIC,
                                           .type = type,
                                           .content_type = "application/avro",
                                           .key = {seen->order_id, strlen(seen->order_id)},
                                           .value = value};
        err = assent_tx_publish(tx, &event);
        free((void *)value.data);
        return err;
}

/* An order has a new version, which `row` holds. */
static enum assent_err tell(struct order *order, struct assent_tx *tx, const struct order_row *row, const char *type)
{
        sqlite3_stmt *insert = order->sql[ORDER_EVENT], *prune = order->sql[ORDER_PRUNE];
        int changed;

        if (order->events_kept == 0)
                return ASSENT_OK;
        char *data = order_event_text(&row->seen);
        if (!data)
                return ASSENT_E_MEMORY;
        sqlite3_bind_text(insert, 1, type, -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 2, data, -1, SQLITE_STATIC);
        sqlite3_bind_int64(prune, 1, order->events_kept);
        bool ran = service_run(tx, insert, &changed) && service_run(tx, prune, &changed);
        free(data);
        order->told = true;
        return ran ? publish(order, tx, &row->seen, type) : ASSENT_E_STORE;
}

/* The answer to the POST: the order, and what became of it. */
static char *outcome_text(const struct order_row *row, const char *outcome)
{
        json_t *body = order_event_json(&row->seen);
        char *text = NULL;

        if (body && json_object_set_new(body, "outcome", json_string(outcome)) == 0 &&
            (!row->cancelled || json_object_set_new(body, "reason", json_string(row->reason)) == 0))
                text = json_dumps(body, JSON_COMPACT);
        json_decref(body);
        return text;
}

/* The last thing in a handler: what it notes must not be rolled back. */
static enum assent_err finish(struct order *order, struct assent_tx *tx, const struct order_row *row)
{
        char etag[24];

        if (order->settled_count == order->settled_max) {
                size_t max = order->settled_max ? 2 * order->settled_max : 64;
                struct order_settled *more = realloc(order->settled, max * sizeof *more);
                if (!more)
                        return ASSENT_E_MEMORY;
                order->settled = more;
                order->settled_max = max;
        }
        struct order_settled *settled = &order->settled[order->settled_count];
        *settled = (struct order_settled){.txn_id = row->seen.txn_id,
                                          .status = row->cancelled ? 200 : 201,
                                          .version = row->seen.version,
                                          .body = outcome_text(row, row->cancelled ? "aborted" : "committed")};
        if (!settled->body)
                return ASSENT_E_MEMORY;
        snprintf(settled->location, sizeof settled->location, ORDER_PATH "%s", row->seen.order_id);
        snprintf(etag, sizeof etag, "%" PRId64, settled->version);
        enum assent_err err = assent_idempotency_finish(tx, &settled->txn_id, settled->status, settled->location, etag,
                                                        (struct assent_bytes){settled->body, strlen(settled->body)});
        if (err == ASSENT_OK)
                order->settled_count++;
        else
                free(settled->body);
        return err;
}

/* ---- by the log ---- */

/* The row is there: by HTTP, before its transaction was begun. */
static enum assent_vote placed_before(struct order *order, struct assent_tx *tx, const struct assent_branch *branch,
                                      const char *order_id, const struct order_placing *asked, const json_t *items)
{
        struct order_row row = {0};
        enum assent_err err = find_id(order, tx, order_id, &row);
        enum assent_vote vote = ASSENT_VOTE_YES;

        if (err == ASSENT_E_STORE || err == ASSENT_E_MEMORY)
                vote = ASSENT_VOTE_RETRY;
        else if (err == ASSENT_E_NOT_FOUND || row.timeout_ms == 0 || branch->branch != 0 ||
                 memcmp(&row.seen.txn_id, &branch->txn_id, sizeof branch->txn_id) != 0)
                vote = service_refuse(tx, "order '%s' already exists", order_id);
        else if (strcmp(row.seen.state, "PENDING") != 0)
                vote = service_refuse(tx, "order '%s' is %s", order_id, row.seen.state);
        else if (strcmp(row.seen.customer, asked->customer) != 0 || row.seen.total_cents != asked->total_cents ||
                 !json_equal(row.seen.items, items))
                vote = service_refuse(tx, "order '%s' was asked for with other contents", order_id);
        order_event_clear(&row.seen);
        return vote;
}

/* Writes the row; *changed is 0 when it, or another one in its place, is there. */
static bool insert(struct order *order, struct assent_tx *tx, const struct assent_branch *branch, const char *order_id,
                   const struct order_placing *placing, int *changed)
{
        sqlite3_stmt *statement = order->sql[ORDER_PLACE];

        service_bind_branch(statement, branch);
        sqlite3_bind_text(statement, 3, order_id, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 4, placing->customer, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 5, placing->total_cents);
        sqlite3_bind_text(statement, 6, placing->items, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 7, placing->now_ms);
        sqlite3_bind_int64(statement, 8, placing->timeout_ms);
        return service_run(tx, statement, changed);
}

static enum assent_err tell_placed(struct order *order, struct assent_tx *tx, const struct assent_branch *branch)
{
        struct order_row row = {0};
        enum assent_err err = order->events_kept ? find_branch(order, tx, branch, &row) : ASSENT_OK;

        if (err == ASSENT_OK)
                err = tell(order, tx, &row, "order.placed");
        order_event_clear(&row.seen);
        return err;
}

static enum assent_vote place(struct order *order, struct assent_tx *tx, const struct assent_branch *branch,
                              const json_t *payload)
{
        const char *order_id = service_name(tx, payload, "order_id");
        const char *customer = order_id ? service_name(tx, payload, "customer") : NULL;
        int64_t total_cents = customer ? service_count(tx, payload, "total_cents", SERVICE_CENTS_MAX) : 0;
        const json_t *items = total_cents ? service_items(tx, payload) : NULL;
        struct order_placing placing = {.total_cents = total_cents, .now_ms = assent_tx_time_ms(tx)};
        int changed;

        if (!items)
                return ASSENT_VOTE_NO; /* the first of the four that failed said why */
        snprintf(placing.customer, sizeof placing.customer, "%s", customer);
        placing.items = json_dumps(items, JSON_COMPACT);
        if (!placing.items)
                return ASSENT_VOTE_RETRY;
        bool ran = insert(order, tx, branch, order_id, &placing, &changed);
        free(placing.items);
        if (!ran)
                return ASSENT_VOTE_RETRY;
        if (changed == 0)
                return placed_before(order, tx, branch, order_id, &placing, items);
        return tell_placed(order, tx, branch) == ASSENT_OK ? ASSENT_VOTE_YES : ASSENT_VOTE_RETRY;
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

/* PENDING becomes final, and others are told. *changed says whether it was PENDING; *row is read unless nobody needs it: an
 * order that came by the log, of which nobody is told, and that was PENDING. */
static enum assent_err settle(struct order *order, struct assent_tx *tx, const struct assent_branch *branch, bool commit,
                              int64_t now_ms, bool *changed, struct order_row *row)
{
        sqlite3_stmt *update = order->sql[ORDER_SETTLE];
        int64_t timeout_ms = 0;

        service_bind_branch(update, branch);
        sqlite3_bind_text(update, 3, commit ? "CONFIRMED" : "CANCELLED", -1, SQLITE_STATIC);
        sqlite3_bind_int64(update, 4, now_ms);
        int code = sqlite3_step(update);
        *changed = code == SQLITE_ROW;
        if (*changed) {
                timeout_ms = sqlite3_column_int64(update, 0);
                code = sqlite3_step(update);
                assert(code != SQLITE_ROW); /* orders_txn is unique */
        }
        if (code != SQLITE_DONE)
                service_sql_failed(tx, sqlite3_sql(update));
        sqlite3_reset(update);
        if (code != SQLITE_DONE)
                return ASSENT_E_STORE;
        if (*changed && order->events_kept == 0 && timeout_ms == 0)
                return ASSENT_OK;
        enum assent_err err = find_branch(order, tx, branch, row);
        if (err == ASSENT_OK && *changed)
                err = tell(order, tx, row, commit ? "order.confirmed" : "order.cancelled");
        return err;
}

/* A second abort changes nothing: the outcome, with its reason, may have come before the command. */
static enum assent_result conclude(struct order *order, struct assent_tx *tx, const struct assent_branch *branch, bool commit)
{
        struct order_row row = {0};
        bool changed = false;
        enum assent_err err = settle(order, tx, branch, commit, assent_tx_time_ms(tx), &changed, &row);

        if (err == ASSENT_OK && !changed && (commit || !row.cancelled))
                err = ASSENT_E_NOT_FOUND;
        if (err == ASSENT_OK && commit && row.timeout_ms > 0)
                err = finish(order, tx, &row);
        order_event_clear(&row.seen);
        if (err == ASSENT_E_NOT_FOUND)
                return service_gone(branch, "pending order");
        return err == ASSENT_OK ? ASSENT_RESULT_DONE : ASSENT_RESULT_RETRY;
}

static enum assent_result commit_order(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        return conclude(app, tx, branch, true);
}

static enum assent_result abort_order(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        return conclude(app, tx, branch, false);
}

const struct assent_handlers order_handlers = {.prepare = prepare_order, .commit = commit_order, .abort = abort_order};

/* ---- by HTTP ---- */

enum assent_err order_claim(struct order *order, struct assent_tx *tx, struct order_placing *placing)
{
        const struct assent_branch branch = {.txn_id = placing->claim.txn_id};
        int changed = 0;
        enum assent_err err = assent_idempotency_claim(tx, &placing->claim, placing->expires_ms, &placing->state);

        if (err != ASSENT_OK || placing->state != ASSENT_IDEMPOTENCY_NEW)
                return err;
        if (!insert(order, tx, &branch, placing->order_id, placing, &changed) || changed != 1)
                return ASSENT_E_STORE; /* its id is ours and new */
        return tell_placed(order, tx, &branch);
}

enum assent_err order_aborted(struct order *order, struct assent_tx *tx, const struct assent_uuid *txn_id, const char *reason,
                              int64_t now_ms)
{
        const struct assent_branch branch = {.txn_id = *txn_id};
        sqlite3_stmt *update = order->sql[ORDER_TELL];
        struct order_row row = {0};
        bool changed;
        enum assent_err err = find_branch(order, tx, &branch, &row);

        const bool open = err == ASSENT_OK && row.timeout_ms > 0 && row.settled_ms == 0;
        order_event_clear(&row.seen);
        if (!open)
                return err == ASSENT_E_NOT_FOUND ? ASSENT_OK : err;
        err = settle(order, tx, &branch, false, now_ms, &changed, &row);
        if (err == ASSENT_OK) {
                service_bind_branch(update, &branch);
                sqlite3_bind_text(update, 3, reason, -1, SQLITE_STATIC);
                sqlite3_bind_int64(update, 4, now_ms);
                snprintf(row.reason, sizeof row.reason, "%s", reason);
                err = service_run_one(tx, update) ? finish(order, tx, &row) : ASSENT_E_STORE;
        }
        order_event_clear(&row.seen);
        return err;
}

/* Runs a change of one order at one version, and tells. */
static enum assent_err change(struct order *order, struct assent_tx *tx, enum order_sql sql, const char *order_id,
                              int64_t version, const char *type, struct order_row *row)
{
        int changed;

        sqlite3_bind_text(order->sql[sql], 1, order_id, -1, SQLITE_STATIC);
        sqlite3_bind_int64(order->sql[sql], 2, version);
        if (!service_run(tx, order->sql[sql], &changed))
                return ASSENT_E_STORE;
        if (changed == 0)
                return ASSENT_E_NOT_FOUND;
        enum assent_err err = find_id(order, tx, order_id, row);
        return err == ASSENT_OK ? tell(order, tx, row, type) : err;
}

enum assent_err order_annotate(struct order *order, struct assent_tx *tx, const char *order_id, int64_t version,
                               const char *note, int64_t now_ms, struct order_row *after)
{
        *after = (struct order_row){0};
        sqlite3_bind_text(order->sql[ORDER_NOTE], 3, note, -1, SQLITE_STATIC);
        sqlite3_bind_int64(order->sql[ORDER_NOTE], 4, now_ms);
        return change(order, tx, ORDER_NOTE, order_id, version, "order.changed", after);
}

enum assent_err order_delete(struct order *order, struct assent_tx *tx, const char *order_id, int64_t version, int64_t now_ms)
{
        struct order_row after = {0};

        sqlite3_bind_int64(order->sql[ORDER_DELETE], 3, now_ms);
        enum assent_err err = change(order, tx, ORDER_DELETE, order_id, version, "order.deleted", &after);
        order_event_clear(&after.seen);
        return err;
}
