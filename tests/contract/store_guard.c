/* A handler cannot split the local transaction (P1): every way to try it through the handle. */
#include "store_fixture.h"

#include <assent/store.h>
#include <sqlite3.h>

#define DENIED(db, sql) cr_assert_neq(sqlite3_exec((db), (sql), NULL, NULL, NULL), SQLITE_OK, "%s", (sql))
#define DONE(db, sql)                                                                                                  \
        cr_assert_eq(sqlite3_exec((db), (sql), NULL, NULL, NULL), SQLITE_OK, "%s: %s", (sql), sqlite3_errmsg(db))

static struct sqlite3 *lend(struct fixture *fixture)
{
        OK(assent_store_begin(fixture->store));
        OK(assent_store_savepoint(fixture->store));
        struct sqlite3 *db = assent_tx_sqlite(assent_store_enter(fixture->store, 77));
        DONE(db, "CREATE TABLE IF NOT EXISTS stock(item PRIMARY KEY, count)");
        DONE(db, "INSERT OR IGNORE INTO stock VALUES('apple', 5)");
        return db;
}

/* Nothing that the application did in this batch may be found afterwards. */
static void broken(struct fixture *fixture, const char *word)
{
        cr_assert_eq(assent_store_leave(fixture->store), ASSENT_E_HANDLER);
        cr_assert_not_null(strstr(assent_store_errmsg(fixture->store), word), "%s",
                           assent_store_errmsg(fixture->store));
        cr_assert_eq(assent_store_commit(fixture->store), ASSENT_E_STORE);
        cr_assert_not_null(strstr(assent_store_errmsg(fixture->store), word));
        assent_store_rollback(fixture->store);
        cr_assert_eq(assent_store_begin(fixture->store), ASSENT_E_STORE);
}

static void gone(struct fixture *fixture)
{
        sqlite3 *reader = NULL;

        if (!fixture->folder[0])
                return;
        fixture_reopen(fixture);
        cr_assert_eq(sqlite3_open(fixture->path, &reader), SQLITE_OK);
        DENIED(reader, "SELECT * FROM stock"); /* no such table */
        sqlite3_close(reader);
}

CONTRACT(store_guard, statements_that_end_or_nest_a_transaction_are_denied)
{
        static const char *const tries[] = {
            "BEGIN",
            "BEGIN EXCLUSIVE",
            "COMMIT",
            "END",
            "ROLLBACK",
            "SAVEPOINT mine",
            "RELEASE assent_message",
            "RELEASE SAVEPOINT assent_message",
            "ROLLBACK TO assent_message",
            "ROLLBACK TRANSACTION TO SAVEPOINT assent_message",
            "ATTACH ':memory:' AS other",
            "DETACH main",
            "PRAGMA journal_mode=DELETE",
            "PRAGMA synchronous=OFF",
            "PRAGMA user_version=9",
            "PRAGMA wal_checkpoint",
            "PRAGMA writable_schema=ON",

            "SELECT 1; COMMIT",
            "EXPLAIN COMMIT",

        };
        struct sqlite3 *db = lend(fixture);

        for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++)
                cr_assert_eq(sqlite3_exec(db, tries[i], NULL, NULL, NULL), SQLITE_AUTH, "%s", tries[i]);
        DENIED(db, "VACUUM");
        DENIED(db, "VACUUM INTO '/tmp/never-written'");
        DENIED(db, "SELECT load_extension('x')");
        DENIED(db, "SELECT * FROM pragma_user_version");
        OK(assent_store_leave(fixture->store));
        OK(assent_store_release(fixture->store));
        OK(assent_store_commit(fixture->store));
}

CONTRACT(store_guard, tables_of_the_framework_are_read_only)
{
        static const char *const tries[] = {
            "DELETE FROM assent_branch",
            "UPDATE assent_position SET next = 0",
            "INSERT INTO Assent_Identity VALUES('a', 'b')",
            "DROP TABLE assent_parking",
            "DROP INDEX assent_dedup_seen",
            "ALTER TABLE assent_branch RENAME TO stolen",
            "ALTER TABLE main.assent_branch ADD COLUMN x",
            "CREATE INDEX mine ON assent_branch(state)",
            "CREATE TRIGGER mine AFTER INSERT ON assent_branch BEGIN SELECT 1; END",
            "CREATE TEMP TRIGGER mine AFTER INSERT ON main.assent_branch BEGIN SELECT 1; END",
            "CREATE TABLE assent_more(x)",
            "CREATE TEMP TABLE assent_position(x)",
            "CREATE TEMP VIEW assent_branch AS SELECT 1",
            "CREATE VIRTUAL TABLE assent_search USING fts5(x)",
            ("CREATE TRIGGER mine AFTER INSERT ON stock BEGIN DELETE FROM assent_branch; END;"
             "INSERT INTO stock VALUES('pear', 1)"),
            "UPDATE sqlite_schema SET sql = ''",
            "DELETE FROM assent_outbox",
        };
        struct sqlite3 *db = lend(fixture);

        for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++)
                DENIED(db, tries[i]);
        DONE(db, "SELECT * FROM assent_branch");
        DONE(db, "CREATE TEMP TABLE scratch(assent_note); UPDATE temp.scratch SET assent_note = 1");
        OK(assent_store_leave(fixture->store));
        OK(assent_store_release(fixture->store));
        OK(assent_store_commit(fixture->store));
}

CONTRACT(store_guard, or_rollback_is_found_out)
{
        struct sqlite3 *db = lend(fixture);

        DENIED(db, "INSERT OR ROLLBACK INTO stock VALUES('apple', 6)");
        broken(fixture, "OR ROLLBACK");
        gone(fixture);
}

CONTRACT(store_guard, raise_rollback_is_found_out)
{
        struct sqlite3 *db = lend(fixture);

        DONE(db, "CREATE TRIGGER no BEFORE DELETE ON stock BEGIN SELECT RAISE(ROLLBACK, 'no'); END");
        DENIED(db, "DELETE FROM stock");
        broken(fixture, "RAISE(ROLLBACK)");
        gone(fixture);
}

CONTRACT(store_guard, writes_after_a_hidden_rollback_do_not_commit_by_themselves)
{
        struct sqlite3 *db = lend(fixture);

        DENIED(db, "INSERT OR ROLLBACK INTO stock VALUES('apple', 6)");
        DENIED(db, "CREATE TABLE stock(x)"); /* now in autocommit: the hook refuses */
        broken(fixture, "OR ROLLBACK");
        gone(fixture);
}

CONTRACT(store_guard, commit_without_the_authorizer_is_turned_into_a_rollback)
{
        struct sqlite3 *db = lend(fixture);

        sqlite3_set_authorizer(db, NULL, NULL);
        DENIED(db, "COMMIT");
        broken(fixture, "COMMIT");
        gone(fixture);
}

CONTRACT(store_guard, rollback_and_begin_without_the_authorizer_are_found_out)
{
        struct sqlite3 *db = lend(fixture);

        sqlite3_set_authorizer(db, NULL, NULL);
        DONE(db, "ROLLBACK; BEGIN IMMEDIATE");
        broken(fixture, "ROLLBACK");
        gone(fixture);
}

CONTRACT(store_guard, commit_with_no_guard_left_is_at_least_reported)
{
        struct sqlite3 *db = lend(fixture);

        sqlite3_set_authorizer(db, NULL, NULL);
        sqlite3_commit_hook(db, NULL, NULL);
        DONE(db, "COMMIT");
        broken(fixture, "behind");
}

CONTRACT(store_guard, commit_cannot_be_prepared_for_later)
{
        static const char *const texts[] = {"COMMIT", "SAVEPOINT x", "PRAGMA user_version"};
        struct sqlite3 *db = lend(fixture); /* as in setup */

        for (int i = 0; i < 3; i++) {
                sqlite3_stmt *statement = NULL;
                cr_assert_eq(sqlite3_prepare_v2(db, texts[i], -1, &statement, NULL), SQLITE_AUTH);
                cr_assert_null(statement);
        }
        OK(assent_store_leave(fixture->store));
}

CONTRACT(store_guard, kept_statements_survive_schema_changes_on_both_sides)
{
        struct sqlite3 *db = lend(fixture);
        sqlite3_stmt *kept = NULL;
        struct assent_uuid id = {{1}};
        struct assent_branch_row row;

        cr_assert_eq(sqlite3_prepare_v2(db, "UPDATE stock SET count = count - 1", -1, &kept, NULL), SQLITE_OK);
        for (int i = 0; i < 3; i++) {
                char sql[64];
                snprintf(sql, sizeof(sql), "CREATE TABLE more%d(x)", i);
                DONE(db, sql);
                cr_assert_eq(sqlite3_step(kept), SQLITE_DONE);
                sqlite3_reset(kept);
                OK(assent_store_leave(fixture->store));
                cr_assert_eq(assent_store_branch(fixture->store, &id, 0, &row), ASSENT_E_NOT_FOUND);
                OK(assent_store_release(fixture->store));
                OK(assent_store_commit(fixture->store));
                OK(assent_store_begin(fixture->store));
                OK(assent_store_savepoint(fixture->store));
                db = assent_tx_sqlite(assent_store_enter(fixture->store, 1));
        }
        sqlite3_finalize(kept);
        OK(assent_store_leave(fixture->store));
}

CONTRACT(store_guard, statements_left_open_do_not_bar_the_commit)
{
        struct sqlite3 *db = lend(fixture);
        sqlite3_stmt *reader = NULL, *writer = NULL;

        sqlite3_prepare_v2(db, "SELECT * FROM stock", -1, &reader, NULL);
        sqlite3_prepare_v2(db, "INSERT INTO stock VALUES('fig', 1), ('nut', 2) RETURNING item", -1, &writer, NULL);
        cr_assert_eq(sqlite3_step(reader), SQLITE_ROW);
        cr_assert_eq(sqlite3_step(writer), SQLITE_ROW);
        OK(assent_store_leave(fixture->store));
        OK(assent_store_release(fixture->store));
        OK(assent_store_commit(fixture->store));
        cr_assert_not(sqlite3_stmt_busy(reader));
        sqlite3_finalize(reader);
        sqlite3_finalize(writer);
}

/* A kept statement that the program steps between two batches would be an effect without a
 * position. */
CONTRACT(store_guard, a_write_outside_of_any_batch_does_not_commit)
{
        struct sqlite3 *db = lend(fixture);
        sqlite3_stmt *kept = NULL;

        sqlite3_prepare_v2(db, "UPDATE stock SET count = 0", -1, &kept, NULL);
        OK(assent_store_leave(fixture->store));
        OK(assent_store_release(fixture->store));
        OK(assent_store_commit(fixture->store));
        cr_assert_neq(sqlite3_step(kept), SQLITE_DONE);
        sqlite3_finalize(kept);
        OK(assent_store_begin(fixture->store));
        db = assent_tx_sqlite(assent_store_enter(fixture->store, 1));
        sqlite3_stmt *count = NULL;
        sqlite3_prepare_v2(db, "SELECT count FROM stock", -1, &count, NULL);
        cr_assert_eq(sqlite3_step(count), SQLITE_ROW);
        cr_assert_eq(sqlite3_column_int(count, 0), 5);
        sqlite3_finalize(count);
        OK(assent_store_leave(fixture->store));
}

Test(store_guard, second_connection_is_locked_out_and_sees_nothing)
{
        struct fixture fixture_ = fixture_open(true), *fixture = &fixture_;
        sqlite3 *other = NULL;

        lend(fixture);
        cr_assert_eq(sqlite3_open(fixture->path, &other), SQLITE_OK);
        cr_assert_eq(sqlite3_exec(other, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_BUSY);
        cr_assert_eq(sqlite3_exec(other, "DELETE FROM assent_branch", NULL, NULL, NULL), SQLITE_BUSY);
        DENIED(other, "SELECT * FROM stock"); /* not committed yet */
        sqlite3_close(other);
        OK(assent_store_leave(fixture->store));
        OK(assent_store_release(fixture->store));
        OK(assent_store_commit(fixture->store));
        fixture_close(fixture);
}

CONTRACT(store_guard, refusal_is_the_last_one_cut_on_a_character)
{
        char text[ASSENT_REASON_SIZE_MAX + 3];

        OK(assent_store_begin(fixture->store));
        struct assent_tx *tx = assent_store_enter(fixture->store, 77);
        cr_assert_eq(assent_tx_time_ms(tx), 77);
        cr_assert_eq(assent_store_refusal(fixture->store).size, 0);
        assent_tx_refuse(tx, "first");
        memset(text, 'a', sizeof(text));
        memcpy(text + ASSENT_REASON_SIZE_MAX - 1, "\xc3\xa9", 3);
        assent_tx_refuse(tx, text);
        OK(assent_store_leave(fixture->store));
        struct assent_bytes refusal = assent_store_refusal(fixture->store);
        cr_assert_eq(refusal.size, ASSENT_REASON_SIZE_MAX - 1);
        cr_assert_eq(memcmp(refusal.data, text, refusal.size), 0);
        assent_store_enter(fixture->store, 78);
        cr_assert_eq(assent_store_refusal(fixture->store).size, 0);
        OK(assent_store_leave(fixture->store));
}

static const struct assent_event event = {
    .topic = "t", .type = "x", .content_type = "y", .key = {"k", 1}, .value = {"v", 1}};

CONTRACT(store_guard, publishing_is_not_seen_by_the_applications_own_statements)
{
        struct sqlite3 *db = lend(fixture);

        OK(assent_store_leave(fixture->store));
        struct assent_tx *tx = assent_store_enter(fixture->store, 1);
        DONE(db, "CREATE TABLE later(x)"); /* the framework's statement is prepared again, and by itself */
        cr_assert_eq(assent_tx_publish(tx, &event), ASSENT_OK);
        DONE(db, "INSERT INTO later(rowid, x) VALUES(41, 1)");
        cr_assert_eq(assent_tx_publish(tx, &event), ASSENT_OK);
        cr_assert_eq(sqlite3_last_insert_rowid(db), 41);
        OK(assent_store_leave(fixture->store));
        OK(assent_store_release(fixture->store));
        OK(assent_store_commit(fixture->store));
}

Test(store_guard, event_that_meets_a_full_disk_ends_the_batch)
{
        struct fixture fixture_ = fixture_open(true), *fixture = &fixture_;
        static uint8_t large[200 * 1024];
        struct assent_event big = event;
        enum assent_err err = ASSENT_OK;

        OK(assent_store_begin(fixture->store));
        struct assent_tx *tx = assent_store_enter(fixture->store, 1);
        struct sqlite3 *db = assent_tx_sqlite(tx);
        sqlite3_set_authorizer(db, NULL, NULL); /* only to set the limit that stands for the disk */
        cr_assert_eq(sqlite3_exec(db, "PRAGMA max_page_count=100", NULL, NULL, NULL), SQLITE_OK);
        big.value = (struct assent_bytes){large, sizeof(large)};
        for (int i = 0; i < 4 && err == ASSENT_OK; i++)
                err = assent_tx_publish(tx, &big);
        cr_assert_eq(err, ASSENT_E_STORE);
        cr_assert_eq(assent_tx_publish(tx, &event), ASSENT_E_STORE, "and for good");
        sqlite3_exec(db, "SELECT 1", NULL, NULL, NULL); /* the application goes on as if nothing had been */
        cr_assert_eq(assent_store_leave(fixture->store), ASSENT_E_STORE);
        cr_assert_not_null(strstr(assent_store_errmsg(fixture->store), "full"));
        cr_assert_eq(assent_store_commit(fixture->store), ASSENT_E_STORE);
        fixture_close(fixture);
}
