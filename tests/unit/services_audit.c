/* The audit: a clean run of the real handlers has no violation, and each planted fault is found and
 * named. */
#include "services.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The services' sources use the same file-local names. */
#define schema payment_schema
#define seeds  payment_seeds
#define texts  payment_texts
#define settle payment_settle
#include "../../consumers/payment/payment.c"
#undef schema
#undef seeds
#undef texts
#undef settle
#define schema inventory_schema
#define seeds  inventory_seeds
#define texts  inventory_texts
#define settle inventory_settle
#include "../../consumers/inventory/inventory.c"
#undef schema
#undef seeds
#undef texts
#undef settle
#include "../../consumers/order/order.c"
#define check audit_check
#include "../../producers/audit/audit.c"

static char folder[] = "/tmp/assent-audit-XXXXXX";
static char paths[AUDIT_SERVICES][64];
static struct audit_options options;
static char other_path[64];
static struct bench benches[AUDIT_SERVICES];
static struct order order_app;
static struct payment payment_app = {.seed = true};
static struct inventory inventory_app = {.seed = true};
static struct audit_report report;

static void service_open(enum audit_service service, const struct assent_handlers *handlers, void *app,
                         enum assent_err (*setup)(void *app, struct assent_tx *tx))
{
        struct bench *bench = &benches[service];

        snprintf(paths[service], sizeof paths[service], "%s/%s.db", folder, audit_service_name(service));
        options.paths[service] = paths[service];
        *bench = (struct bench){.handlers = handlers, .app = app};
        cr_assert_eq(assent_store_open(paths[service], &bench->store), ASSENT_OK);
        cr_assert_eq(assent_store_begin(bench->store), ASSENT_OK);
        struct assent_tx *tx = assent_store_enter(bench->store, BENCH_TIME_MS);
        bench->db = assent_tx_sqlite(tx);
        cr_assert_eq(setup(app, tx), ASSENT_OK);
        cr_assert_eq(assent_store_leave(bench->store), ASSENT_OK);
        cr_assert_eq(assent_store_commit(bench->store), ASSENT_OK);
}

/* The framework's row of a branch, as it is after `state`. */
static void row(enum audit_service service, uint8_t txn, enum assent_branch_state state)
{
        struct assent_branch share = bench_branch(txn, (uint16_t)service);
        struct assent_branch_row branch = {
            .txn_id = share.txn_id, .branch = share.branch, .branches_count = 3, .state = state, .offset = txn};

        cr_assert_eq(assent_store_begin(benches[service].store), ASSENT_OK);
        cr_assert_eq(assent_store_branch_put(benches[service].store, &branch), ASSENT_OK);
        cr_assert_eq(assent_store_commit(benches[service].store), ASSENT_OK);
}

/* Somebody changes the database behind the service's back. */
static void tamper(enum audit_service service, const char *sql)
{
        sqlite3 *db;

        cr_assert_eq(sqlite3_open(paths[service], &db), SQLITE_OK);
        cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
        sqlite3_close(db);
}

static void prepare_all(uint8_t txn, const char *order)
{
        char payload[160];

        snprintf(payload, sizeof payload,
                 "{\"order_id\":\"%s\",\"customer\":\"alice\",\"total_cents\":100,\"items\":"
                 "[{\"sku\":\"lamp\",\"quantity\":2}]}",
                 order);
        cr_assert_eq(bench_prepare(&benches[AUDIT_ORDER], txn, 0, "place", payload), ASSENT_VOTE_YES);
        cr_assert_eq(
            bench_prepare(&benches[AUDIT_PAYMENT], txn, 1, "charge", "{\"account\":\"alice\",\"amount_cents\":100}"),
            ASSENT_VOTE_YES);
        cr_assert_eq(bench_prepare(&benches[AUDIT_INVENTORY], txn, 2, "reserve",
                                   "{\"items\":[{\"sku\":\"lamp\",\"quantity\":2}]}"),
                     ASSENT_VOTE_YES);
        for (int service = 0; service < AUDIT_SERVICES; service++)
                row((enum audit_service)service, txn, ASSENT_BRANCH_PREPARED);
}

static void decide_one(enum audit_service service, uint8_t txn, bool commit)
{
        cr_assert_eq(bench_decide(&benches[service], txn, (uint16_t)service, commit), ASSENT_RESULT_DONE);
        row(service, txn, commit ? ASSENT_BRANCH_COMMITTED : ASSENT_BRANCH_ABORTED);
}

static void decide_all(uint8_t txn, bool commit)
{
        for (int service = 0; service < AUDIT_SERVICES; service++)
                decide_one((enum audit_service)service, txn, commit);
}

static void open_all(void)
{
        cr_assert_not_null(mkdtemp(folder));
        service_open(AUDIT_ORDER, &order_handlers, &order_app, order_setup);
        service_open(AUDIT_PAYMENT, &payment_handlers, &payment_app, payment_setup);
        service_open(AUDIT_INVENTORY, &inventory_handlers, &inventory_app, inventory_setup);
        prepare_all(1, "o-1");
        decide_all(1, true);
        prepare_all(2, "o-2");
        decide_all(2, false);
}

static void close_all(void)
{
        static const char *const ends[] = {"", "-wal", "-shm", ".owner"};

        service_finalize(order_app.sql, ORDER_SQL_COUNT);
        service_finalize(payment_app.sql, PAYMENT_SQL_COUNT);
        service_finalize(inventory_app.sql, INVENTORY_SQL_COUNT);
        for (int service = 0; service < AUDIT_SERVICES; service++) {
                bench_close(&benches[service]);
                for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
                        char path[sizeof paths + 8];
                        snprintf(path, sizeof path, "%s%s", paths[service], ends[i]);
                        unlink(path);
                }
        }
        for (size_t i = 0; i < sizeof ends / sizeof *ends && other_path[0]; i++) {
                char path[sizeof other_path + 8];
                snprintf(path, sizeof path, "%s%s", other_path, ends[i]);
                unlink(path);
        }
        rmdir(folder);
}

TestSuite(audit, .init = open_all, .fini = close_all);

/* The audit's violations, all of them and in order. */
static void finds(const char *const *wanted)
{
        uint64_t count = 0;

        cr_assert(audit_run(&options, &report), "%s", report.errmsg);
        for (; wanted[count]; count++) {
                cr_assert_lt(count, report.violations, "not found: %s", wanted[count]);
                cr_expect_str_eq(report.shown[count].text, wanted[count]);
        }
        cr_expect_eq(report.violations, count, "one more: %s", report.shown[count].text);
}
#define FINDS(...) finds((const char *const[]){__VA_ARGS__, NULL})

Test(audit, clean_databases_have_no_violation)
{
        finds((const char *const[]){NULL});
        cr_assert_eq(report.transactions, 2);
        cr_assert_eq(report.committed, 1);
        cr_assert_eq(report.aborted, 1);
        cr_assert_eq(report.databases[AUDIT_PAYMENT].effects, 1);
        cr_assert_eq(report.databases[AUDIT_PAYMENT].opening, 50000 + 4000 + 1000 * INT64_C(100000000));
        cr_assert_eq(report.databases[AUDIT_PAYMENT].now, report.databases[AUDIT_PAYMENT].opening);
        cr_assert_eq(report.databases[AUDIT_INVENTORY].now, report.databases[AUDIT_INVENTORY].opening);
}

Test(audit, a_split_outcome_is_found)
{
        prepare_all(3, "o-3");
        decide_one(AUDIT_ORDER, 3, true);
        decide_one(AUDIT_PAYMENT, 3, true);
        decide_one(AUDIT_INVENTORY, 3, false);
        FINDS("SPLIT: committed in order, payment, aborted in inventory");
        cr_assert_str_eq(report.shown[0].txn_id, "00000000-0000-7000-8000-000000000003");
        cr_assert_str_eq(report.shown[0].service, "order, payment, inventory");
}

Test(audit, what_is_in_doubt_is_found)
{
        prepare_all(3, "o-3");
        decide_one(AUDIT_ORDER, 3, true);
        decide_one(AUDIT_PAYMENT, 3, true);
        FINDS("branch 2 is in doubt (PREPARED)");
        cr_assert_eq(report.in_doubt, 1);
        cr_assert_eq(report.databases[AUDIT_INVENTORY].held, 1);
}

Test(audit, a_lost_branch_is_found)
{
        prepare_all(3, "o-3");
        decide_all(3, true);
        tamper(AUDIT_INVENTORY, "DELETE FROM assent_branch WHERE txn_id = x'00000000000070008000000000000003';"
                                "DELETE FROM shipments WHERE txn_id = x'00000000000070008000000000000003';"
                                "UPDATE stock SET on_hand = on_hand + 2 WHERE sku = 'lamp'");
        options.complete = true;
        FINDS("committed, but only 2 of its 3 branches are in these databases");
        cr_assert_eq(report.elsewhere, 0);
        options.complete = false; /* somewhere else is allowed when not everything is shown */
        finds((const char *const[]){NULL});
        cr_assert_eq(report.elsewhere, 1);
        cr_assert_eq(report.committed, 2);
}

/* Transaction 3 has a fourth branch, of a participant that the audit knows nothing about. */
static void other_open(enum assent_branch_state state, bool parked)
{
        struct assent_branch_row branch = {.txn_id = bench_branch(3, 3).txn_id,
                                           .branch = 3,
                                           .branches_count = 4,
                                           .state = state,
                                           .parked = parked,
                                           .offset = 3};
        struct assent_store *store;

        snprintf(other_path, sizeof other_path, "%s/order.db.of-shipping", folder);
        cr_assert_eq(assent_store_open(other_path, &store), ASSENT_OK);
        cr_assert_eq(assent_store_begin(store), ASSENT_OK);
        cr_assert_eq(assent_store_branch_put(store, &branch), ASSENT_OK);
        cr_assert_eq(assent_store_commit(store), ASSENT_OK);
        assent_store_close(store);
        prepare_all(3, "o-3");
        decide_all(3, true);
        for (int service = 0; service < AUDIT_SERVICES; service++)
                tamper((enum audit_service)service, "UPDATE assent_branch SET branches_count = 4 WHERE "
                                                    "txn_id = x'00000000000070008000000000000003'");
}

static void other_give(size_t count)
{
        static const char *others[AUDIT_OTHERS_MAX + 1];

        for (size_t i = 0; i < count; i++)
                others[i] = other_path;
        options.others = others;
        options.others_count = count;
}

Test(audit, a_branch_in_a_database_that_is_not_given_is_noted)
{
        other_open(ASSENT_BRANCH_COMMITTED, false);
        finds((const char *const[]){NULL});
        cr_assert_eq(report.elsewhere, 1);
        options.complete = true;
        FINDS("committed, but only 3 of its 4 branches are in these databases");
        other_give(1);
        finds((const char *const[]){NULL});
        cr_assert_eq(report.elsewhere, 0);
        cr_assert_eq(report.transactions, 3);
        cr_assert_eq(report.databases[AUDIT_SERVICES].committed, 1);
        cr_assert_str_eq(report.databases[AUDIT_SERVICES].name, "order.db.of-shipping");
}

Test(audit, another_database_alone_is_audited)
{
        other_open(ASSENT_BRANCH_COMMITTED, false);
        memset(options.paths, 0, sizeof options.paths);
        other_give(1);
        finds((const char *const[]){NULL});
        cr_assert_eq(report.transactions, 1);
        cr_assert_eq(report.elsewhere, 1);
}

Test(audit, a_split_with_another_database_is_found)
{
        other_open(ASSENT_BRANCH_REFUSED, false);
        other_give(1);
        FINDS("SPLIT: committed in order, payment, inventory, aborted in order.db.of-shipping");
        cr_assert_str_eq(report.shown[0].service, "order, payment, inventory, order.db.of-shipping");
}

Test(audit, what_is_in_doubt_and_parked_in_another_database_is_found)
{
        other_open(ASSENT_BRANCH_PREPARED, true);
        other_give(1);
        FINDS("branch 3 has parked messages", "branch 3 is in doubt (PREPARED)");
        cr_assert_str_eq(report.shown[0].service, "order.db.of-shipping");
}

Test(audit, as_many_other_databases_as_there_is_room_for)
{
        other_open(ASSENT_BRANCH_COMMITTED, false);
        other_give(AUDIT_OTHERS_MAX);
        cr_assert(audit_run(&options, &report), "%s", report.errmsg);
        cr_assert_eq(report.violations, AUDIT_OTHERS_MAX - 1, "each but the first holds the branch too");
        cr_assert_eq(report.databases[AUDIT_DATABASES_MAX - 1].branches, 1);
        other_give(AUDIT_OTHERS_MAX + 1);
        cr_assert_not(audit_run(&options, &report));
        cr_assert_str_eq(report.errmsg, "62 other databases are given; at most 61 are taken");
}

Test(audit, a_lost_effect_is_found)
{
        tamper(AUDIT_PAYMENT, "DELETE FROM ledger");
        FINDS("branch 1 is committed and has no effect", "alice: balance is 49900 cents, opening and ledger make 50000",
              "shop: balance is 100 cents, opening and ledger make 0");
}

Test(audit, an_effect_of_an_aborted_branch_is_found)
{
        tamper(AUDIT_INVENTORY, "INSERT INTO shipments VALUES(x'00000000000070008000000000000002', "
                                "2, 0, 'lamp', 1, 1)");
        FINDS("branch 2 has its effect and is ABORTED", "lamp: 18 on hand, opening and shipments make 17");
        tamper(AUDIT_INVENTORY, "DELETE FROM shipments WHERE txn_id = x'00000000000070008000000000000002'");
        tamper(AUDIT_ORDER, "UPDATE orders SET state = 'CONFIRMED' WHERE order_id = 'o-2'");
        FINDS("branch 0 has its effect and is ABORTED");
}

Test(audit, an_effect_applied_twice_is_found)
{
        tamper(AUDIT_PAYMENT, "UPDATE accounts SET balance_cents = balance_cents + 100 WHERE account = 'shop'");
        FINDS("shop: balance is 200 cents, opening and ledger make 100",
              "all accounts: 100000054000 cents at the start, 100000054100 now");
        tamper(AUDIT_PAYMENT, "UPDATE accounts SET balance_cents = balance_cents - 100 WHERE account = 'shop';"
                              "INSERT INTO holds SELECT txn_id, branch, account, amount_cents, payee FROM ledger");
        FINDS("branch 1 has more than one effect", "branch 1 still holds something",
              "alice: 0 cents held, its holds make 100");
}

Test(audit, frozen_and_parked_branches_are_found)
{
        tamper(AUDIT_PAYMENT, "UPDATE assent_branch SET frozen = 1 WHERE state = 4;"
                              "UPDATE assent_branch SET parked = 1 WHERE state = 5");
        FINDS("branch 1 is frozen: it saw contradicting decisions", "branch 1 has parked messages");
}

Test(audit, an_order_at_a_wrong_version_is_found)
{
        tamper(AUDIT_ORDER, "UPDATE orders SET version = 3 WHERE order_id = 'o-1'");
        FINDS("o-1: is CONFIRMED at version 3");
}

Test(audit, forgotten_branches_are_judged_by_their_effects)
{
        for (int service = 0; service < AUDIT_SERVICES; service++)
                tamper((enum audit_service)service, "DELETE FROM assent_branch");
        finds((const char *const[]){NULL});
        cr_assert_eq(report.committed, 1);
}

Test(audit, more_violations_than_are_shown_are_counted)
{
        for (uint8_t txn = 3; txn < 3 + AUDIT_SHOWN_MAX + 1; txn++)
                row(AUDIT_PAYMENT, txn, ASSENT_BRANCH_PREPARED);
        cr_assert(audit_run(&options, &report));
        cr_assert_eq(report.violations, AUDIT_SHOWN_MAX + 1);
}

Test(audit, a_database_of_something_else_is_an_error)
{
        options.paths[AUDIT_PAYMENT] = options.paths[AUDIT_ORDER];
        cr_assert_not(audit_run(&options, &report));
        cr_assert_not_null(strstr(report.errmsg, "no such table: "), "%s", report.errmsg);
        options.paths[AUDIT_PAYMENT] = "/nonexistent/payment.db";
        cr_assert_not(audit_run(&options, &report));
        cr_assert_not_null(strstr(report.errmsg, "unable to open database file"));
}

Test(audit, durations_are_read_up_to_an_hour)
{
        int64_t ms = -1;

        cr_assert(audit_duration_parse("0s", &ms) && ms == 0);
        cr_assert(audit_duration_parse("500ms", &ms) && ms == 500);
        cr_assert(audit_duration_parse("60m", &ms) && ms == 3600000);
        cr_assert_not(audit_duration_parse("61m", &ms));
        cr_assert_not(audit_duration_parse("3600001ms", &ms));
        cr_assert_not(audit_duration_parse("30", &ms));
        cr_assert_not(audit_duration_parse("-1s", &ms));
        cr_assert_not(audit_duration_parse("99999999999999999999s", &ms));
        cr_assert_not(audit_duration_parse("", &ms));
}
