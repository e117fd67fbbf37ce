/* services.h: runs the handlers of a sample service in the framework's own local transaction, as
 * its runtime would. */
#ifndef ASSENT_TESTS_SERVICES_H
#define ASSENT_TESTS_SERVICES_H

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include <assent/participant.h>

#include "store/store.h"

struct bench {
        struct assent_store *store;
        sqlite3 *db;
        const struct assent_handlers *handlers;
        void *app;
        char reason[ASSENT_REASON_SIZE_MAX + 1]; /* of the last NO */
};

#define BENCH_TIME_MS INT64_C(1700000000000)

static inline void bench_open(struct bench *bench, const struct assent_handlers *handlers, void *app,
                              enum assent_err (*setup)(void *app, struct assent_tx *tx))
{
        *bench = (struct bench){.handlers = handlers, .app = app};
        cr_assert_eq(assent_store_open(":memory:", &bench->store), ASSENT_OK);
        cr_assert_eq(assent_store_begin(bench->store), ASSENT_OK);
        struct assent_tx *tx = assent_store_enter(bench->store, BENCH_TIME_MS);
        bench->db = assent_tx_sqlite(tx);
        cr_assert_eq(setup(app, tx), ASSENT_OK);
        cr_assert_eq(assent_store_leave(bench->store), ASSENT_OK);
        cr_assert_eq(assent_store_commit(bench->store), ASSENT_OK);
}

static inline void bench_close(struct bench *bench)
{
        assent_store_close(bench->store);
}

/* Transaction number `txn`, branch `branch`. */
static inline struct assent_branch bench_branch(uint8_t txn, uint16_t branch)
{
        struct assent_branch share = {.branch = branch, .branches_count = 3, .deadline_ms = BENCH_TIME_MS + 1000};
        share.txn_id.bytes[6] = 0x70;
        share.txn_id.bytes[8] = 0x80;
        share.txn_id.bytes[15] = txn;
        return share;
}

/* What a handler wrote is kept after YES or DONE and rolled back otherwise. */
static inline int bench_prepare(struct bench *bench, uint8_t txn, uint16_t branch, const char *kind,
                                const char *payload)
{
        struct assent_branch share = bench_branch(txn, branch);

        share.kind = (struct assent_bytes){kind, strlen(kind)};
        share.payload = (struct assent_bytes){payload, strlen(payload)};
        cr_assert_eq(assent_store_begin(bench->store), ASSENT_OK);
        cr_assert_eq(assent_store_savepoint(bench->store), ASSENT_OK);
        struct assent_tx *tx = assent_store_enter(bench->store, BENCH_TIME_MS);
        enum assent_vote vote = bench->handlers->prepare(bench->app, tx, &share);
        cr_assert_eq(assent_store_leave(bench->store), ASSENT_OK);
        struct assent_bytes reason = assent_store_refusal(bench->store);
        snprintf(bench->reason, sizeof bench->reason, "%.*s", (int)reason.size,
                 reason.size ? (const char *)reason.data : "");
        cr_assert_eq(vote == ASSENT_VOTE_YES ? assent_store_release(bench->store) : assent_store_undo(bench->store),
                     ASSENT_OK);
        cr_assert_eq(assent_store_commit(bench->store), ASSENT_OK);
        return (int)vote;
}

static inline int bench_decide(struct bench *bench, uint8_t txn, uint16_t branch, bool commit)
{
        struct assent_branch share = bench_branch(txn, branch);

        cr_assert_eq(assent_store_begin(bench->store), ASSENT_OK);
        cr_assert_eq(assent_store_savepoint(bench->store), ASSENT_OK);
        struct assent_tx *tx = assent_store_enter(bench->store, BENCH_TIME_MS);
        enum assent_result result =
            commit ? bench->handlers->commit(bench->app, tx, &share) : bench->handlers->abort(bench->app, tx, &share);
        cr_assert_eq(assent_store_leave(bench->store), ASSENT_OK);
        cr_assert_eq(result == ASSENT_RESULT_DONE ? assent_store_release(bench->store)
                                                  : assent_store_undo(bench->store),
                     ASSENT_OK);
        cr_assert_eq(assent_store_commit(bench->store), ASSENT_OK);
        return (int)result;
}

/* The rows of a query as "a|b c|d". Valid until the next call. */
static inline const char *bench_rows(struct bench *bench, const char *sql)
{
        static char text[1024];
        sqlite3_stmt *statement;
        size_t used = 0;

        text[0] = '\0';
        cr_assert_eq(sqlite3_prepare_v2(bench->db, sql, -1, &statement, NULL), SQLITE_OK, "%s",
                     sqlite3_errmsg(bench->db));
        while (sqlite3_step(statement) == SQLITE_ROW)
                for (int i = 0; i < sqlite3_column_count(statement); i++) {
                        const unsigned char *value = sqlite3_column_text(statement, i);
                        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s",
                                                 i      ? "|"
                                                 : used ? " "
                                                        : "",
                                                 value ? (const char *)value : "NULL");
                        cr_assert_lt(used, sizeof text);
                }
        sqlite3_finalize(statement);
        return text;
}

#endif
