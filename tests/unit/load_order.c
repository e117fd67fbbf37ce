/* Small parts of the way in that places orders; what it does with answers is tests/e2e/e2e_load.py's. */
#include <criterion/criterion.h>

#include "../../producers/load/order.c"

static int lost, rejected;

void load_ended(struct load *load, const struct assent_uuid *txn_id, bool committed, struct assent_bytes reason)
{
        (void)load, (void)txn_id, (void)committed, (void)reason;
}

void load_lost(struct load *load, const struct assent_uuid *txn_id, struct assent_bytes why)
{
        (void)load, (void)txn_id, (void)why;
        lost++;
}

void load_copy_rejected(struct load *load, const struct assent_uuid *txn_id, struct assent_bytes reason)
{
        (void)load, (void)txn_id, (void)reason;
        rejected++;
}

void load_copy_answered(struct load *load)
{
        (void)load;
}

void load_absorbed(struct load *load, bool measured)
{
        (void)load, (void)measured;
}

Test(load_order, a_version_is_a_number_in_quotes)
{
        static const char *const none[] = {"", "\"\"", "1",
                                           "\"1", "\"01\"", "\"-1\"", "\"1\"x", "W/\"1\"", "\"1234567890123456789\""};

        cr_assert_eq(order_version("\"0\""), 0);
        cr_assert_eq(order_version("\"2\""), 2);
        cr_assert_eq(order_version("\"123456789012345678\""), INT64_C(123456789012345678));
        for (size_t i = 0; i < sizeof none / sizeof *none; i++)
                cr_assert_eq(order_version(none[i]), -1, "%s", none[i]);
}

Test(load_order, all_faults_are_counted_and_the_first_are_kept)
{
        static struct order_faults faults;

        for (int i = 0; i <= ORDER_FAULTS_SHOWN_MAX; i++)
                order_fault(&faults, "fault %d", i);
        cr_assert_eq(faults.count, ORDER_FAULTS_SHOWN_MAX + 1);
        cr_assert_str_eq(faults.shown[ORDER_FAULTS_SHOWN_MAX - 1], "fault 9");
}

/* An answer of the greatest size is kept whole; a byte more ends the transfer. */
Test(load_order, an_answer_has_a_limit)
{
        static char byte[ANSWER_SIZE_MAX];
        struct call call = {0};

        cr_assert_eq(take_body(byte, 1, 1000, &call), 1000);
        cr_assert_eq(take_body(byte, 1, ANSWER_SIZE_MAX - 1000, &call), ANSWER_SIZE_MAX - 1000);
        cr_assert_eq(take_body(byte, 1, 1, &call), 0);
        cr_assert_eq(call.answer.size, ANSWER_SIZE_MAX);
        free(call.answer.body);
}

static struct placing *placing_of(bool refused, const char *interim)
{
        struct placing *placing = calloc(1, sizeof *placing);

        cr_assert_not_null(placing);
        placing->refused = refused;
        snprintf(placing->interim, sizeof placing->interim, "%s", interim);
        return placing;
}

Test(load_order, what_was_taken_once_is_never_counted_as_refused)
{
        static struct order order;

        placing_end(&order, placing_of(true, ""));
        cr_assert(rejected == 1 && lost == 0 && order.records_count == 0);
        placing_end(&order, placing_of(false, ""));
        cr_assert(rejected == 1 && lost == 1 && order.records_count == 0);
        placing_end(&order, placing_of(true, "/v1/transactions/x"));
        cr_assert(rejected == 1 && lost == 2 && order.records_count == 1);
        cr_assert_str_eq(order.records[0].path, "/v1/transactions/x");
        cr_assert_not(order.records[0].known);
        free(order.records);
}

/* Doubled from one to the next, up to a limit, unless it arrived and is answered for good. */
Test(load_order, pauses_grow_to_a_limit)
{
        static const long for_good[] = {200, 201, 400, 401, 404, 413, 422}, again[] = {202, 409, 429, 500, 503};
        struct call call = {.easy = curl_easy_init(), .pause_ms = PAUSE_MIN_MS};

        cr_assert_eq(pause_ms(&call, false), 50);
        cr_assert_eq(pause_ms(&call, false), 100);
        for (int i = 0; i < 10; i++)
                pause_ms(&call, false);
        cr_assert_eq(pause_ms(&call, false), PAUSE_MAX_MS);
        for (size_t i = 0; i < sizeof for_good / sizeof *for_good; i++) {
                call.answer.status = for_good[i];
                cr_assert_eq(pause_ms(&call, true), -1, "%ld", for_good[i]);
        }
        for (size_t i = 0; i < sizeof again / sizeof *again; i++) {
                call.answer.status = again[i];
                cr_assert_eq(pause_ms(&call, true), PAUSE_MAX_MS, "%ld", again[i]);
        }
        curl_easy_cleanup(call.easy);
}
