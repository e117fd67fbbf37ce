/* The inventory service's handlers. */
#include "services.h"

#include "../../consumers/inventory/inventory.c"

#define STATE "SELECT sku, on_hand, reserved FROM stock WHERE sku <> 'bolt' ORDER BY sku"

static struct inventory app;
static struct bench bench;

static void open_seeded(void)
{
        app.seed = true;
        bench_open(&bench, &inventory_handlers, &app, inventory_setup);
}

static void close_all(void)
{
        service_finalize(app.sql, INVENTORY_SQL_COUNT);
        bench_close(&bench);
}

TestSuite(inventory, .init = open_seeded, .fini = close_all);

static int reserve(uint8_t txn, const char *payload)
{
        return bench_prepare(&bench, txn, 0, "reserve", payload);
}

static void refuses(const char *payload, const char *reason)
{
        cr_expect_eq(reserve(200, payload), ASSENT_VOTE_NO, "%s", payload);
        cr_expect_str_eq(bench.reason, reason);
        cr_expect_str_eq(bench_rows(&bench, STATE), "desk|2|0 lamp|20|0");
}

Test(inventory, the_last_piece_is_reserved_and_shipped)
{
        cr_assert_eq(reserve(1, "{\"items\":[{\"sku\":\"desk\",\"quantity\":2},{\"sku\":\"lamp\","
                                "\"quantity\":1}]}"),
                     ASSENT_VOTE_YES);
        cr_assert_str_eq(bench_rows(&bench, STATE), "desk|2|2 lamp|20|1");
        cr_assert_eq(bench_decide(&bench, 1, 0, true), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, STATE), "desk|0|0 lamp|19|0");
        cr_assert_str_eq(bench_rows(&bench, "SELECT line, sku, quantity FROM shipments ORDER BY line"),
                         "0|desk|2 1|lamp|1");
        cr_assert_str_eq(bench_rows(&bench, "SELECT count(*) FROM reservations"), "0");
        cr_assert_eq(bench_decide(&bench, 1, 0, true), ASSENT_RESULT_RETRY);
        cr_assert_str_eq(bench_rows(&bench, STATE), "desk|0|0 lamp|19|0");
}

Test(inventory, one_piece_more_than_left_is_refused_with_all_its_lines)
{
        refuses("{\"items\":[{\"sku\":\"lamp\",\"quantity\":1},{\"sku\":\"desk\",\"quantity\":3}]}",
                "2 of 'desk' left, 3 wanted");
        refuses("{\"items\":[{\"sku\":\"desk\",\"quantity\":1},{\"sku\":\"desk\",\"quantity\":2}]}",
                "1 of 'desk' left, 2 wanted");
}

Test(inventory, one_sku_on_two_lines_is_summed)
{
        cr_assert_eq(reserve(1, "{\"items\":[{\"sku\":\"lamp\",\"quantity\":3},{\"sku\":\"lamp\","
                                "\"quantity\":4}]}"),
                     ASSENT_VOTE_YES);
        cr_assert_str_eq(bench_rows(&bench, STATE), "desk|2|0 lamp|20|7");
        cr_assert_eq(bench_decide(&bench, 1, 0, true), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, STATE), "desk|2|0 lamp|13|0");
}

Test(inventory, abort_releases_everything)
{
        cr_assert_eq(reserve(1, "{\"items\":[{\"sku\":\"lamp\",\"quantity\":3},{\"sku\":\"desk\","
                                "\"quantity\":1}]}"),
                     ASSENT_VOTE_YES);
        cr_assert_eq(bench_decide(&bench, 1, 0, false), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, STATE), "desk|2|0 lamp|20|0");
        cr_assert_str_eq(
            bench_rows(&bench, "SELECT count(*) FROM reservations UNION ALL SELECT count(*) FROM shipments"), "0 0");
}

Test(inventory, bad_payloads_are_refused_with_a_reason)
{
        refuses("{\"items\":[]}", "items is not an array of 1 to 100 lines");
        refuses("{\"items\":[{\"sku\":\"lamp\"}]}", "line 0 of items is not {\"sku\", \"quantity\"}");
        refuses("{\"items\":[{\"sku\":\"lamp\",\"quantity\":0}]}", "quantity is 0, 1 to 1000000000 are allowed");
        refuses("{\"items\":[{\"sku\":\"lamp\",\"quantity\":1000000001}]}",
                "quantity is 1000000001, 1 to 1000000000 are allowed");
        refuses("{\"items\":[{\"sku\":\"lamp\",\"quantity\":1000000000}]}", "20 of 'lamp' left, 1000000000 wanted");
        refuses("{\"items\":[{\"sku\":\"sofa\",\"quantity\":1}]}", "unknown sku 'sofa'");
}

/* A reservation of `lines` lines of one bolt each. */
static int reserve_lines(uint8_t txn, int lines)
{
        static char payload[101 * 40];
        size_t used = (size_t)snprintf(payload, sizeof payload, "{\"items\":[");

        for (int i = 0; i < lines; i++)
                used += (size_t)snprintf(payload + used, sizeof payload - used, "%s{\"sku\":\"bolt\",\"quantity\":1}",
                                         i ? "," : "");
        snprintf(payload + used, sizeof payload - used, "]}");
        return reserve(txn, payload);
}

Test(inventory, a_hundred_lines_are_taken_and_one_more_is_refused)
{
        cr_assert_eq(reserve_lines(1, 100), ASSENT_VOTE_YES);
        cr_assert_eq(reserve_lines(2, 101), ASSENT_VOTE_NO);
        cr_assert_str_eq(bench.reason, "items is not an array of 1 to 100 lines");
        cr_assert_str_eq(bench_rows(&bench, "SELECT reserved FROM stock WHERE sku = 'bolt'"), "100");
}
