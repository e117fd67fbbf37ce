/* inventory.c: the four functions of the inventory service, three of them needed. */
#include "inventory.h"

#include "../service.h"

/* `shipments` has one row for each committed line: what the audit joins by. */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS stock("
    " sku TEXT NOT NULL PRIMARY KEY, opening INTEGER NOT NULL,"
    " on_hand INTEGER NOT NULL CHECK(on_hand >= reserved),"
    " reserved INTEGER NOT NULL CHECK(reserved >= 0),"
    " version INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS reservations("
    " txn_id BLOB NOT NULL, branch INTEGER NOT NULL, line INTEGER NOT NULL, sku TEXT NOT NULL,"
    " quantity INTEGER NOT NULL, PRIMARY KEY(txn_id, branch, line)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS shipments("
    " txn_id BLOB NOT NULL, branch INTEGER NOT NULL, line INTEGER NOT NULL, sku TEXT NOT NULL,"
    " quantity INTEGER NOT NULL, applied_ms INTEGER NOT NULL, PRIMARY KEY(txn_id, branch, line))"
    " STRICT, WITHOUT ROWID;";

/* Sample data, once: a second start with --seed changes nothing. "bolt" is what the load generator
 * reserves. */
static const char seeds[] = "INSERT INTO stock VALUES('lamp', 20, 20, 0, 1), ('desk', 2, 2, 0, 1),"
                            " ('bolt', 1000000000000, 1000000000000, 0, 1) ON CONFLICT DO NOTHING;";

static const char load_seeds[] = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 999)"
                                 " INSERT INTO stock SELECT format('load-%03d', i), 1000000000, 1000000000, 0, 1 FROM n"
                                 " WHERE true ON CONFLICT DO NOTHING;";
_Static_assert(SERVICE_LOAD_ACCOUNTS == 1000, "as many items as accounts, with bolt for the first");

/* DEDUCT and RELEASE take all lines of the branch at once; a SKU that stands on two lines is
 * summed. */
#define OF_BRANCH                                                                                                      \
        " FROM (SELECT sku AS line_sku, sum(quantity) AS quantity FROM reservations"                                   \
        " WHERE txn_id = ?1 AND branch = ?2 GROUP BY sku) WHERE sku = line_sku"

static const char *const texts[INVENTORY_SQL_COUNT] = {
    [INVENTORY_STOCK] = "SELECT on_hand - reserved FROM stock WHERE sku = ?1",
    [INVENTORY_RESERVE] = "UPDATE stock SET reserved = reserved + ?2, version = version + 1 WHERE sku = ?1",
    [INVENTORY_LINE] = "INSERT INTO reservations VALUES(?1, ?2, ?3, ?4, ?5)",
    [INVENTORY_DEDUCT] = "UPDATE stock SET on_hand = on_hand - quantity, reserved = reserved - quantity,"
                         " version = version + 1" OF_BRANCH,
    [INVENTORY_SHIP] = "INSERT INTO shipments SELECT txn_id, branch, line, sku, quantity, ?3 FROM reservations"
                       " WHERE txn_id = ?1 AND branch = ?2",
    [INVENTORY_RELEASE] = "UPDATE stock SET reserved = reserved - quantity, version = version + 1" OF_BRANCH,
    [INVENTORY_FORGET] = "DELETE FROM reservations WHERE txn_id = ?1 AND branch = ?2",
};

enum assent_err inventory_setup(void *app, struct assent_tx *tx)
{
        struct inventory *inventory = app;
        enum assent_err err = service_schema(tx, schema);

        if (err == ASSENT_OK && inventory->seed)
                err = service_schema(tx, seeds);
        if (err == ASSENT_OK && inventory->seed_load)
                err = service_schema(tx, load_seeds);
        if (err == ASSENT_OK)
                err = service_prepare(tx, texts, inventory->sql, INVENTORY_SQL_COUNT);
        return err;
}

/* One line. A NO undoes the lines before it too: the framework rolls back whatever this branch
 * wrote. */
static enum assent_vote reserve_line(struct inventory *inventory, struct assent_tx *tx,
                                     const struct assent_branch *branch, size_t line, const json_t *item)
{
        const char *sku = json_string_value(json_object_get(item, "sku"));
        int64_t quantity = json_integer_value(json_object_get(item, "quantity"));
        sqlite3_stmt *find = inventory->sql[INVENTORY_STOCK];
        sqlite3_stmt *reserve = inventory->sql[INVENTORY_RESERVE], *insert = inventory->sql[INVENTORY_LINE];

        assert(sku && quantity > 0); /* service_items has checked every line */
        sqlite3_bind_text(find, 1, sku, -1, SQLITE_STATIC);
        int code = sqlite3_step(find);
        int64_t left = code == SQLITE_ROW ? sqlite3_column_int64(find, 0) : 0;
        sqlite3_reset(find);
        if (code == SQLITE_DONE)
                return service_refuse(tx, "unknown sku '%s'", sku);
        if (code != SQLITE_ROW) {
                service_sql_failed(tx, "find stock");
                return ASSENT_VOTE_RETRY;
        }
        if (left < quantity)
                return service_refuse(tx, "%lld of '%s' left, %lld wanted", (long long)left, sku, (long long)quantity);

        sqlite3_bind_text(reserve, 1, sku, -1, SQLITE_STATIC);
        sqlite3_bind_int64(reserve, 2, quantity);
        service_bind_branch(insert, branch);
        sqlite3_bind_int64(insert, 3, (int64_t)line);
        sqlite3_bind_text(insert, 4, sku, -1, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 5, quantity);
        if (!service_run_one(tx, reserve) || !service_run_one(tx, insert))
                return ASSENT_VOTE_RETRY;
        return ASSENT_VOTE_YES;
}

static enum assent_vote prepare_reservation(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        static const char *const fields[] = {"items", NULL};
        enum assent_vote vote = ASSENT_VOTE_NO;
        json_t *payload;

        if (!service_kind_is(branch, "reserve"))
                return service_refuse_kind(tx, branch, "reserve");
        payload = service_payload(tx, branch, fields, &vote);
        if (!payload)
                return vote;
        const json_t *items = service_items(tx, payload);
        if (items)
                vote = ASSENT_VOTE_YES;
        for (size_t i = 0; i < json_array_size(items) && vote == ASSENT_VOTE_YES; i++)
                vote = reserve_line(app, tx, branch, i, json_array_get(items, i));
        json_decref(payload);
        return vote;
}

/* Applies the decision to all lines of the branch, then removes them. */
static enum assent_result settle(struct inventory *inventory, struct assent_tx *tx, const struct assent_branch *branch,
                                 enum inventory_sql change, bool ship)
{
        sqlite3_stmt *insert = inventory->sql[INVENTORY_SHIP], *forget = inventory->sql[INVENTORY_FORGET];
        int changed, lines;

        service_bind_branch(inventory->sql[change], branch);
        if (!service_run(tx, inventory->sql[change], &changed))
                return ASSENT_RESULT_RETRY;
        if (ship) {
                service_bind_branch(insert, branch);
                sqlite3_bind_int64(insert, 3, assent_tx_time_ms(tx));
                if (!service_run(tx, insert, &lines))
                        return ASSENT_RESULT_RETRY;
        }
        service_bind_branch(forget, branch);
        if (!service_run(tx, forget, &lines))
                return ASSENT_RESULT_RETRY;
        assert(changed <= lines); /* a SKU may stand on several lines */
        return lines ? ASSENT_RESULT_DONE : service_gone(branch, "reservation");
}

static enum assent_result commit_reservation(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        return settle(app, tx, branch, INVENTORY_DEDUCT, true);
}

static enum assent_result abort_reservation(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        return settle(app, tx, branch, INVENTORY_RELEASE, false);
}

const struct assent_handlers inventory_handlers = {
    .prepare = prepare_reservation, .commit = commit_reservation, .abort = abort_reservation};
