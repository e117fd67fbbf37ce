#include <criterion/criterion.h>
#include <string.h>

#include "runtime/checkpoint.h"
#include "runtime/lane_list.h"
#include "runtime/open_branches.h"
#include "runtime/outbound.h"
#include "runtime/service.h"

Test(tracker, low_end_waits_for_the_eldest_unacknowledged_send)
{
        struct assent_tracker t = {0};
        cr_assert_eq(assent_tracker_low(&t, 77), 77);
        uint64_t a = assent_tracker_add(&t, 5), b = assent_tracker_add(&t, 5), c = assent_tracker_add(&t, 9);
        assent_tracker_ack(&t, b);
        assent_tracker_ack(&t, c);
        cr_assert_eq(assent_tracker_low(&t, 77), 5);
        assent_tracker_ack(&t, a);
        cr_assert_eq(assent_tracker_low(&t, 77), 77);
        assent_tracker_free(&t);
}

Test(tracker, grows_over_wrapped_rings_and_keeps_order)
{
        struct assent_tracker t = {0};
        uint64_t next_ack = 0;
        for (int64_t i = 0; i < 100000; i++) {
                uint64_t sequence = assent_tracker_add(&t, i);
                cr_assert_eq(sequence, (uint64_t)i);
                if (i % 3 == 0)
                        assent_tracker_ack(&t, next_ack++);
                cr_assert_eq(assent_tracker_low(&t, -1), (int64_t)next_ack > i ? -1 : (int64_t)next_ack);
        }
        while (next_ack < 100000)
                assent_tracker_ack(&t, next_ack++);
        cr_assert_eq(assent_tracker_low(&t, -1), -1);
        assent_tracker_free(&t);
}

Test(tracker, tags_carry_kind_lane_and_sequence)
{
        uint64_t tag = assent_tag(ASSENT_TAG_OTHER, 1023, ASSENT_TAG_SEQUENCE_MASK);
        cr_assert_eq(assent_tag_kind(tag), ASSENT_TAG_OTHER);
        cr_assert_eq(assent_tag_lane(tag), 1023);
        cr_assert_eq(assent_tag_sequence(tag), ASSENT_TAG_SEQUENCE_MASK);
}

Test(lane_list, accepts_lists_ranges_and_words)
{
        struct assent_lane_list list;
        cr_assert_null(assent_lane_list_parse("0-2,7,2", "all", 8, &list));
        cr_assert_eq(list.count, 4);
        cr_assert_eq(list.lanes[3], 7);
        cr_assert_null(assent_lane_list_parse("", "all", 3, &list));
        cr_assert_eq(list.count, 3);
        cr_assert_null(assent_lane_list_parse("subscribe", "all", 3, &list));
        cr_assert(list.subscribe);
        cr_assert_null(assent_lane_list_parse("1023", "all", 1024, &list));
}

Test(lane_list, refuses_what_is_none)
{
        struct assent_lane_list list;
        static const char *const bad[] = {"x", "1-", "-1", "3-1", "8", "0,,1", "0;1", "0-8", "99999999999", "1024"};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
                cr_assert_not_null(assent_lane_list_parse(bad[i], "all", 8, &list), "%s", bad[i]);
        cr_assert_null(assent_lane_list_parse("all", "all", ASSENT_LANES_MAX, &list));
        cr_assert_not_null(assent_lane_list_parse("all", "all", ASSENT_LANES_MAX + 1, &list));
}

static struct assent_checkpoint sample(void)
{
        return (struct assent_checkpoint){
                .start = 17,
                .tau_ms = 1700000000123,
                .next = 4711,
                .digest = UINT64_C(0x0123456789abcdef),
                .has_settings = true,
                .settings = {.rules_version = ASSENT_RULES_VERSION,
                             .schema_version = ASSENT_SCHEMA_VERSION,
                             .lanes = 4,
                             .window_ms = 90000,
                             .skew_ms = 5000,
                             .timeout_max_ms = 30000,
                             .grace_ms = 2000,
                             .branches_max = 64,
                             .record_bytes_max = 262144},
        };
}

Test(checkpoint, reads_back_what_it_wrote)
{
        struct assent_checkpoint c = sample(), d;
        char text[ASSENT_CHECKPOINT_SIZE_MAX];
        size_t size = assent_checkpoint_format(&c, text);
        cr_assert(assent_checkpoint_parse((struct assent_bytes){text, size}, 17, &d));
        cr_assert_eq(d.next, c.next);
        cr_assert_eq(d.tau_ms, c.tau_ms);
        cr_assert_eq(d.digest, c.digest);
        cr_assert_eq(d.settings.window_ms, c.settings.window_ms);
        c.has_settings = false;
        c.start = 0;
        c.tau_ms = INT64_MIN;
        size = assent_checkpoint_format(&c, text);
        cr_assert_not(assent_checkpoint_parse((struct assent_bytes){text, size}, 17, &d), "only the log's start has no time");
        cr_assert(assent_checkpoint_parse((struct assent_bytes){text, size}, 0, &d));
        cr_assert_not(d.has_settings);
        cr_assert_eq(d.tau_ms, INT64_MIN);
}

Test(checkpoint, refuses_anything_else)
{
        struct assent_checkpoint c = sample(), d;
        char text[ASSENT_CHECKPOINT_SIZE_MAX];
        size_t size = assent_checkpoint_format(&c, text);
        cr_assert_not(assent_checkpoint_parse((struct assent_bytes){NULL, 0}, 17, &d), "an offset-reset tool's");
        cr_assert_not(assent_checkpoint_parse((struct assent_bytes){text, size}, 4712, &d), "N below L");
        c.tau_ms = INT64_C(1) << 48;
        size = assent_checkpoint_format(&c, text);
        cr_assert_not(assent_checkpoint_parse((struct assent_bytes){text, size}, 17, &d), "no append time is that late");
        c.tau_ms--;
        size = assent_checkpoint_format(&c, text);
        cr_assert(assent_checkpoint_parse((struct assent_bytes){text, size}, 17, &d));
        for (size_t cut = 0; cut <= size - strlen("262144"); cut++)
                cr_assert_not(assent_checkpoint_parse((struct assent_bytes){text, cut}, 17, &d), "cut at %zu", cut);
        for (size_t i = 0; i < size; i++) { /* every byte counts, though another number is a number */
                char kept = text[i];
                text[i] = '~';
                cr_assert_not(assent_checkpoint_parse((struct assent_bytes){text, size}, 17, &d), "byte %zu", i);
                text[i] = kept;
        }
}

Test(open_branches, orders_by_what_is_due_and_finds_by_key)
{
        struct assent_open_branches table;
        cr_assert(assent_open_branches_open(&table, (size_t)64 << 20));
        for (uint32_t i = 0; i < 10000; i++) {
                struct assent_uuid id = {{(uint8_t)(i >> 8), (uint8_t)i}};
                struct assent_open_branch *entry = assent_open_branches_add(&table, &id, (uint16_t)(i % 3), 1);
                cr_assert_not_null(entry);
                assent_open_branches_due(&table, entry, (int64_t)(i * 7919u % 10000));
        }
        int64_t last = -1;
        for (uint32_t i = 0; i < 10000; i++) {
                struct assent_open_branch *entry = assent_open_branches_first(&table);
                cr_assert_eq(assent_open_branches_find(&table, &entry->txn_id, entry->branch), entry);
                cr_assert(entry->due_ms >= last);
                last = entry->due_ms;
                struct assent_uuid id = entry->txn_id;
                uint16_t branch = entry->branch;
                assent_open_branches_remove(&table, entry);
                cr_assert_null(assent_open_branches_find(&table, &id, branch));
        }
        cr_assert_null(assent_open_branches_first(&table));
        assent_open_branches_close(&table);
}

Test(service, log_lines_are_limited_by_the_second)
{
        int64_t state[2] = {0};
        int allowed = 0;
        for (int i = 0; i < 100; i++)
                allowed += assent_service_may_log(state, 5000 + i, 10);
        cr_assert_eq(allowed, 10);
        cr_assert(assent_service_may_log(state, 6001, 10));
}
