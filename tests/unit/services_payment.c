/* The payment service's handlers: every refusal at its limit and one past it, and money that is
 * moved once. */
#include "services.h"

#include "../../consumers/payment/payment.c"

#define STATE                                                                                                          \
        "SELECT account, balance_cents, held_cents FROM accounts WHERE account IN ('alice', "                          \
        "'bob', 'shop')"

static struct payment app;
static struct bench bench;

static void open_seeded(void)
{
        app.seed = true;
        bench_open(&bench, &payment_handlers, &app, payment_setup);
}

static void close_all(void)
{
        service_finalize(app.sql, PAYMENT_SQL_COUNT);
        bench_close(&bench);
}

TestSuite(payment, .init = open_seeded, .fini = close_all);

static int charge(uint8_t txn, const char *payload)
{
        return bench_prepare(&bench, txn, 0, "charge", payload);
}

static void refuses(const char *payload, const char *reason)
{
        cr_expect_eq(charge(200, payload), ASSENT_VOTE_NO, "%s", payload);
        cr_expect_str_eq(bench.reason, reason);
        cr_expect_str_eq(bench_rows(&bench, STATE), "alice|50000|0 bob|4000|0 shop|0|0");
}

Test(payment, all_of_the_balance_is_held_then_moved_once)
{
        cr_assert_eq(charge(1, "{\"account\":\"bob\",\"amount_cents\":4000}"), ASSENT_VOTE_YES);
        cr_assert_str_eq(bench_rows(&bench, STATE), "alice|50000|0 bob|4000|4000 shop|0|0");
        cr_assert_eq(bench_decide(&bench, 1, 0, true), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, STATE), "alice|50000|0 bob|0|0 shop|4000|0");
        cr_assert_str_eq(bench_rows(&bench, "SELECT branch, account, amount_cents, payee, applied_ms FROM ledger"),
                         "0|bob|4000|shop|1700000000000");
        /* The framework never calls it twice; if somebody did, nothing would move. */
        cr_assert_eq(bench_decide(&bench, 1, 0, true), ASSENT_RESULT_RETRY);
        cr_assert_str_eq(bench_rows(&bench, STATE), "alice|50000|0 bob|0|0 shop|4000|0");
}

Test(payment, one_cent_more_than_the_balance_is_refused)
{
        refuses("{\"account\":\"bob\",\"amount_cents\":4001}", "balance 40.00 is short of 40.01");
        refuses("{\"account\":\"bob\",\"amount_cents\":9900}", "balance 40.00 is short of 99.00");
}

Test(payment, what_is_held_cannot_be_held_again)
{
        cr_assert_eq(charge(1, "{\"account\":\"bob\",\"amount_cents\":3000}"), ASSENT_VOTE_YES);
        cr_assert_eq(charge(2, "{\"account\":\"bob\",\"amount_cents\":1001}"), ASSENT_VOTE_NO);
        cr_assert_str_eq(bench.reason, "balance 10.00 is short of 10.01");
        cr_assert_eq(charge(3, "{\"account\":\"bob\",\"amount_cents\":1000}"), ASSENT_VOTE_YES);
}

Test(payment, abort_releases_the_hold_and_leaves_no_ledger_row)
{
        cr_assert_eq(charge(1, "{\"account\":\"alice\",\"amount_cents\":100,\"payee\":\"bob\"}"), ASSENT_VOTE_YES);
        cr_assert_eq(bench_decide(&bench, 1, 0, false), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, STATE), "alice|50000|0 bob|4000|0 shop|0|0");
        cr_assert_str_eq(bench_rows(&bench, "SELECT count(*) FROM ledger UNION ALL SELECT count(*) FROM holds"), "0 0");
}

Test(payment, amounts_outside_their_limits_are_refused)
{
        refuses("{\"account\":\"alice\",\"amount_cents\":0}", "amount_cents is 0, 1 to 1000000000000 are allowed");
        refuses("{\"account\":\"alice\",\"amount_cents\":-5}", "amount_cents is -5, 1 to 1000000000000 are allowed");
        refuses("{\"account\":\"alice\",\"amount_cents\":1000000000000}", "balance 500.00 is short of 10000000000.00");
        refuses("{\"account\":\"alice\",\"amount_cents\":1000000000001}",
                "amount_cents is 1000000000001, 1 to 1000000000000 are allowed");
        refuses("{\"account\":\"alice\",\"amount_cents\":99.0}", "amount_cents is not a whole number");
        refuses("{\"account\":\"alice\",\"amount_cents\":99999999999999999999}",
                "payload is not JSON: too big integer near '99999999999999999999' (byte 54)");
}

Test(payment, bad_payloads_are_refused_with_a_reason)
{
        refuses("", "payload is not JSON: '[' or '{' expected near end of file (byte 0)");
        refuses("[]", "payload is not a JSON object");
        refuses("{}", "account is missing");
        refuses("{\"account\":7}", "account is not a text");
        refuses("{\"account\":\"\",\"amount_cents\":1}", "account has 0 bytes, 1 to 64 are allowed");
        refuses("{\"account\":\"bob\"}", "amount_cents is missing");
        refuses("{\"account\":\"bob\",\"amount_cents\":1,\"tip\":1}", "payload has an unknown field 'tip'");
        refuses("{\"account\":\"bob\",\"account\":\"alice\",\"amount_cents\":1}",
                "payload is not JSON: duplicate object key near '\"account\"' (byte 26)");
        refuses("{\"account\":\"carol\",\"amount_cents\":1}", "unknown account 'carol'");
        refuses("{\"account\":\"bob\",\"amount_cents\":1,\"payee\":\"carol\"}", "unknown payee 'carol'");
        refuses("{\"account\":\"bob\",\"amount_cents\":1,\"payee\":\"bob\"}", "account and payee are both 'bob'");
        cr_assert_eq(bench_prepare(&bench, 1, 0, "refund", "{}"), ASSENT_VOTE_NO);
        cr_assert_str_eq(bench.reason, "unknown kind 'refund', known is 'charge'");
}

Test(payment, names_at_the_limit_are_looked_up_and_one_past_it_refused)
{
        char name[66], payload[128], reason[128];

        memset(name, 'a', sizeof name);
        name[64] = '\0';
        snprintf(payload, sizeof payload, "{\"account\":\"%s\",\"amount_cents\":1}", name);
        snprintf(reason, sizeof reason, "unknown account '%s'", name);
        refuses(payload, reason);
        name[64] = 'a';
        name[65] = '\0';
        snprintf(payload, sizeof payload, "{\"account\":\"%s\",\"amount_cents\":1}", name);
        refuses(payload, "account has 65 bytes, 1 to 64 are allowed");
}

Test(payment, two_branches_of_one_transaction_are_two_charges)
{
        cr_assert_eq(bench_prepare(&bench, 1, 0, "charge", "{\"account\":\"bob\",\"amount_cents\":1}"),
                     ASSENT_VOTE_YES);
        cr_assert_eq(bench_prepare(&bench, 1, 63, "charge", "{\"account\":\"bob\",\"amount_cents\":2}"),
                     ASSENT_VOTE_YES);
        cr_assert_eq(bench_decide(&bench, 1, 63, true), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, STATE), "alice|50000|0 bob|3998|1 shop|2|0");
        cr_assert_eq(bench_decide(&bench, 1, 0, true), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, STATE), "alice|50000|0 bob|3997|0 shop|3|0");
}

Test(payment, a_second_start_seeds_nothing)
{
        struct payment again = {.seed = true};

        cr_assert_eq(charge(1, "{\"account\":\"bob\",\"amount_cents\":4000}"), ASSENT_VOTE_YES);
        cr_assert_eq(bench_decide(&bench, 1, 0, true), ASSENT_RESULT_DONE);
        cr_assert_eq(assent_store_begin(bench.store), ASSENT_OK);
        cr_assert_eq(payment_setup(&again, assent_store_enter(bench.store, 1)), ASSENT_OK);
        cr_assert_eq(assent_store_leave(bench.store), ASSENT_OK);
        cr_assert_eq(assent_store_commit(bench.store), ASSENT_OK);
        service_finalize(again.sql, PAYMENT_SQL_COUNT);
        cr_assert_str_eq(bench_rows(&bench, STATE), "alice|50000|0 bob|0|0 shop|4000|0");
        cr_assert_str_eq(bench_rows(&bench, "SELECT count(*), min(account), max(account) FROM accounts"
                                            " WHERE account LIKE 'load-%'"),
                         "1000|load-000|load-999");
}
