/* The order service's handlers. */
#include "services.h"

#include "../../consumers/order/order.c"

#define PLACE(id)                                                                                                      \
        "{\"order_id\":\"" id "\",\"customer\":\"alice\",\"total_cents\":9900,\"items\":[{"                            \
        "\"sku\":\"lamp\",\"quantity\":1}]}"
#define STATE "SELECT order_id, version, state, total_cents, items, updated_ms FROM orders"

static struct order app;
static struct bench bench;

static void open_empty(void)
{
        bench_open(&bench, &order_handlers, &app, order_setup);
}

static void close_all(void)
{
        service_finalize(app.sql, ORDER_SQL_COUNT);
        bench_close(&bench);
}

TestSuite(order, .init = open_empty, .fini = close_all);

static void refuses(const char *payload, const char *reason)
{
        cr_expect_eq(bench_prepare(&bench, 200, 0, "place", payload), ASSENT_VOTE_NO, "%s", payload);
        cr_expect_str_eq(bench.reason, reason);
}

Test(order, placed_order_is_confirmed_by_commit)
{
        cr_assert_eq(bench_prepare(&bench, 1, 0, "place", PLACE("o-1")), ASSENT_VOTE_YES);
        cr_assert_str_eq(bench_rows(&bench, STATE),
                         "o-1|1|PENDING|9900|[{\"sku\":\"lamp\",\"quantity\":1}]|1700000000000");
        cr_assert_eq(bench_decide(&bench, 1, 0, true), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, "SELECT version, state FROM orders"), "2|CONFIRMED");
        cr_assert_eq(bench_decide(&bench, 1, 0, false), ASSENT_RESULT_RETRY);
        cr_assert_str_eq(bench_rows(&bench, "SELECT version, state FROM orders"), "2|CONFIRMED");
}

Test(order, placed_order_is_cancelled_by_abort_and_its_id_stays_used)
{
        cr_assert_eq(bench_prepare(&bench, 1, 0, "place", PLACE("o-1")), ASSENT_VOTE_YES);
        cr_assert_eq(bench_decide(&bench, 1, 0, false), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, "SELECT version, state FROM orders"), "2|CANCELLED");
        refuses(PLACE("o-1"), "order 'o-1' already exists");
        cr_assert_str_eq(bench_rows(&bench, "SELECT version, state FROM orders"), "2|CANCELLED");
}

Test(order, bad_payloads_are_refused_with_a_reason)
{
        refuses("{\"order_id\":\"o\"", "payload is not JSON: '}' expected near end of file (byte 15)");
        refuses("{}", "order_id is missing");
        refuses("{\"order_id\":\"o\"}", "customer is missing");
        refuses("{\"order_id\":\"o\",\"customer\":\"a\"}", "total_cents is missing");
        refuses("{\"order_id\":\"o\",\"customer\":\"a\",\"total_cents\":1}", "items is not an array of 1 to 100 lines");
        refuses("{\"order_id\":\"o\",\"customer\":\"a\",\"total_cents\":1,\"items\":[1]}",
                "line 0 of items is not {\"sku\", \"quantity\"}");
        cr_assert_eq(bench_prepare(&bench, 1, 0, "", "{}"), ASSENT_VOTE_NO);
        cr_assert_str_eq(bench.reason, "unknown kind '', known is 'place'");
        cr_assert_str_eq(bench_rows(&bench, "SELECT count(*) FROM orders"), "0");
}
