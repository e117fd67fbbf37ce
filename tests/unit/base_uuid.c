/* UUID text and transaction ids; the clocks that they rest on. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <assent/types.h>

#include "base/clock.h"

#define TEXT "017f22e2-79b0-7cc3-98c4-dc0c0c07398f" /* RFC 9562, appendix A.6 */

Test(uuid, text_round_trips_in_either_case)
{
        struct assent_uuid id;
        char text[ASSENT_UUID_TEXT_SIZE];
        cr_assert_eq(assent_uuid_parse(TEXT, 36, &id), ASSENT_OK);
        assent_uuid_format(&id, text);
        cr_assert_str_eq(text, TEXT);
        cr_assert_eq(assent_uuid_parse("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", 36, &id), ASSENT_OK);
        assent_uuid_format(&id, text);
        cr_assert_str_eq(text, TEXT);
        cr_assert(assent_txn_id_valid(&id));
        cr_assert_eq(assent_txn_id_birth_ms(&id), INT64_C(0x017f22e279b0));
}

Test(uuid, anything_else_is_refused_and_leaves_the_output_alone)
{
        static const char *const wrong[] = {
            "",
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398",   /* 35 */
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0", /* 37 */
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
            "017f22e2-79b0-7cc3-98c4+dc0c0c07398f",
            "017f22e2079b0-7cc3-98c4-dc0c0c07398f",
            "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
            " 17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        };
        struct assent_uuid id, before;
        memset(&id, 0x5a, sizeof id);
        before = id;
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                cr_assert_eq(assent_uuid_parse(wrong[i], strlen(wrong[i]), &id), ASSENT_E_ARGUMENT,
                             "%s", wrong[i]);
                cr_assert_eq(memcmp(&id, &before, sizeof id), 0);
        }
}

Test(txn_id, other_versions_and_variants_are_not_valid)
{
        struct assent_uuid id;
        for (unsigned version = 0; version < 16; version++) {
                for (unsigned variant = 0; variant < 4; variant++) {
                        assent_uuid_parse(TEXT, 36, &id);
                        id.bytes[6] = (uint8_t)(version << 4 | 3);
                        id.bytes[8] = (uint8_t)(variant << 6 | 5);
                        cr_assert_eq(assent_txn_id_valid(&id), version == 7 && variant == 2);
                }
        }
}

#define IDS     100000
#define THREADS 4

static void *mint(void *ids)
{
        for (size_t i = 0; i < IDS / THREADS; i++)
                assent_txn_id_new((struct assent_uuid *)ids + i);
        return NULL;
}

static int by_bytes(const void *a, const void *b)
{
        return memcmp(a, b, sizeof(struct assent_uuid));
}

Test(txn_id, hundred_thousand_are_strictly_increasing_and_born_now)
{
        struct assent_uuid last = {{0}};
        int64_t start_ms = assent_clock_wall_ms();
        for (int i = 0; i < IDS; i++) {
                struct assent_uuid id;
                assent_txn_id_new(&id);
                cr_assert_lt(by_bytes(&last, &id), 0);
                cr_assert(assent_txn_id_valid(&id));
                last = id;
        }
        cr_assert_geq(assent_txn_id_birth_ms(&last), start_ms);
        cr_assert_leq(assent_txn_id_birth_ms(&last), assent_clock_wall_ms());
}

Test(txn_id, four_threads_never_share_one_and_each_sees_them_grow)
{
        static struct assent_uuid ids[THREADS][IDS / THREADS];
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, mint, ids[i]), 0);
        for (int i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
        for (int i = 0; i < THREADS; i++) {
                for (int j = 1; j < IDS / THREADS; j++)
                        cr_assert_lt(by_bytes(&ids[i][j - 1], &ids[i][j]), 0);
        }
        qsort(ids, IDS, sizeof ids[0][0], by_bytes);
        struct assent_uuid *sorted = &ids[0][0];
        for (int i = 1; i < IDS; i++)
                /* The first ten bytes hold time and counter: they alone are unique, whatever the
                 * noise. */
                cr_assert_lt(memcmp(&sorted[i - 1], &sorted[i], 10), 0);
}

Test(clock, units_agree_and_never_go_back)
{
        int64_t before_us = assent_clock_us();
        int64_t now_ms = assent_clock_ms();
        int64_t after_us = assent_clock_us();
        cr_assert_leq(before_us / 1000, now_ms);
        cr_assert_leq(now_ms, after_us / 1000);
        cr_assert_gt(assent_clock_wall_ms(), INT64_C(1600000000000));
}
