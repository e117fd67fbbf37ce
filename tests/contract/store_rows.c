/* What every store must do with the framework's rows. */
#include "store_fixture.h"

static struct assent_uuid id_of(unsigned number)
{
        struct assent_uuid id = {{0}};

        id.bytes[14] = (uint8_t)(number >> 8);
        id.bytes[15] = (uint8_t)number;
        return id;
}

static struct assent_branch_row row_of(unsigned number, int32_t lane)
{
        struct assent_branch_row row = {
            .txn_id = id_of(number),
            .branch = UINT16_MAX,
            .branches_count = 64,
            .lane = lane,
            .state = ASSENT_BRANCH_TOMBSTONE,
            .frozen = true,
            .parked = UINT8_MAX,
            .deadline_ms = INT64_MIN,
            .offset = INT64_MAX,
            .lamport = ASSENT_LAMPORT_MAX,
        };
        row.slots[ASSENT_SLOT_FIRST] = (struct assent_slot){ASSENT_CAN_COMMIT, ASSENT_NO,
                                                            UINT64_MAX, ASSENT_LAMPORT_MAX, true};
        row.slots[ASSENT_SLOT_DECISION] =
            (struct assent_slot){ASSENT_ABORT, ASSENT_DONE, 1, 2, true};
        row.reason_size = 9;
        memcpy(row.reason, "no\0stock\xff", 9); /* bytes, whatever they are */
        return row;
}

/* The store keeps rows that it wrote; after an undo it reads them. */
static void forget_kept(struct fixture *fixture)
{
        struct assent_branch_row other = row_of(60000, 0);

        OK(assent_store_savepoint(fixture->store));
        OK(assent_store_branch_put(fixture->store, &other));
        OK(assent_store_undo(fixture->store));
}

CONTRACT(store_rows, branch_comes_back_as_it_was_put)
{
        struct assent_branch_row row = row_of(1, 3), got;

        OK(assent_store_begin(fixture->store));
        OK(assent_store_branch_put(fixture->store, &row));
        OK(assent_store_branch(fixture->store, &row.txn_id, row.branch, &got));
        cr_assert_eq(memcmp(&row, &got, sizeof(row)), 0, "kept");
        forget_kept(fixture);
        OK(assent_store_branch(fixture->store, &row.txn_id, row.branch, &got));
        cr_assert_eq(memcmp(&row, &got, sizeof(row)), 0);
        memset(&row.slots, 0, sizeof(row.slots));
        row.state = ASSENT_BRANCH_PARKED;
        row.reason_size = 0;
        memset(row.reason, 0, sizeof(row.reason));
        row.frozen = false;
        OK(assent_store_branch_put(fixture->store, &row));
        OK(assent_store_branch(fixture->store, &row.txn_id, row.branch, &got));
        cr_assert_eq(memcmp(&row, &got, sizeof(row)), 0, "kept");
        forget_kept(fixture);
        OK(assent_store_commit(fixture->store));
        OK(assent_store_branch(fixture->store, &row.txn_id, row.branch, &got));
        cr_assert_eq(memcmp(&row, &got, sizeof(row)), 0);
}

CONTRACT(store_rows, longest_reason_fits)
{
        struct assent_branch_row row = row_of(1, 3), got;

        row.reason_size = ASSENT_REASON_SIZE_MAX;
        memset(row.reason, 'x', sizeof(row.reason));
        OK(assent_store_begin(fixture->store));
        OK(assent_store_branch_put(fixture->store, &row));
        forget_kept(fixture);
        OK(assent_store_branch(fixture->store, &row.txn_id, row.branch, &got));
        cr_assert_eq(memcmp(&row, &got, sizeof(row)), 0);
}

CONTRACT(store_rows, unknown_branch_is_an_empty_row)
{
        struct assent_branch_row row = row_of(1, 3), got = row;

        OK(assent_store_begin(fixture->store));
        OK(assent_store_branch_put(fixture->store, &row));
        cr_assert_eq(assent_store_branch(fixture->store, &row.txn_id, 0, &got), ASSENT_E_NOT_FOUND);
        cr_assert_eq(got.state, ASSENT_BRANCH_NONE);
        cr_assert_eq(got.offset, -1);
        OK(assent_store_branch_delete(fixture->store, &row.txn_id, row.branch));
        cr_assert_eq(assent_store_branch(fixture->store, &row.txn_id, row.branch, &got),
                     ASSENT_E_NOT_FOUND);
}

struct seen {
        unsigned ids[16];
        size_t count, stop_at;
};

static bool see(void *context, const struct assent_branch_row *row)
{
        struct seen *seen = context;

        seen->ids[seen->count++] = row->txn_id.bytes[15];
        return seen->count != seen->stop_at;
}

CONTRACT(store_rows, scan_goes_in_time_order_by_lane_from_and_limit)
{
        struct assent_uuid zero = id_of(0), four = id_of(4);
        struct seen all = {0}, odd = {0}, two = {0}, one = {.stop_at = 1};

        OK(assent_store_begin(fixture->store));
        for (unsigned i = 6; i >= 1; i--) {
                struct assent_branch_row row = row_of(i, (int32_t)(i % 2));
                OK(assent_store_branch_put(fixture->store, &row));
        }
        OK(assent_store_branch_scan(fixture->store, -1, &zero, 0, see, &all));
        cr_assert_eq(all.count, 6);
        for (unsigned i = 0; i < 6; i++)
                cr_assert_eq(all.ids[i], i + 1);
        OK(assent_store_branch_scan(fixture->store, 0, &four, 0, see, &odd));
        cr_assert(odd.count == 2 && odd.ids[0] == 4 && odd.ids[1] == 6);
        OK(assent_store_branch_scan(fixture->store, 1, &zero, 2, see, &two));
        cr_assert(two.count == 2 && two.ids[1] == 3);
        OK(assent_store_branch_scan(fixture->store, -1, &zero, 0, see, &one));
        cr_assert_eq(one.count, 1);
        OK(assent_store_commit(fixture->store));
}

CONTRACT(store_rows, position_moves_only_from_where_its_owner_left_it)
{
        struct assent_position position = {.lane = 2,
                                           .next = 0,
                                           .chain = UINT64_MAX,
                                           .tau_ms = INT64_MIN,
                                           .acked = -1,
                                           .open_from = id_of(9)};
        struct assent_position got;

        cr_assert_eq(assent_store_position(fixture->store, "t", 2, &got), ASSENT_E_NOT_FOUND);
        OK(assent_store_begin(fixture->store));
        cr_assert_eq(assent_store_position_set(fixture->store, "t", &position, 0),
                     ASSENT_E_POSITION);
        OK(assent_store_position_set(fixture->store, "t", &position, -1));
        cr_assert_eq(assent_store_position_set(fixture->store, "t", &position, -1),
                     ASSENT_E_POSITION);
        OK(assent_store_position(fixture->store, "t", 2, &got));
        cr_assert_eq(got.chain, UINT64_MAX);
        cr_assert_eq(got.tau_ms, INT64_MIN);
        cr_assert_eq(got.acked, -1);
        cr_assert_eq(memcmp(&got.open_from, &position.open_from, 16), 0);
        position.next = 7;
        OK(assent_store_position_set(fixture->store, "t", &position, 0));
        cr_assert_eq(assent_store_position_set(fixture->store, "t", &position, 0),
                     ASSENT_E_POSITION);
        cr_assert_eq(assent_store_position(fixture->store, "u", 2, &got), ASSENT_E_NOT_FOUND);
        OK(assent_store_position(fixture->store, "t", 2, &got));
        cr_assert_eq(got.next, 7);
        OK(assent_store_commit(fixture->store));
}

CONTRACT(store_rows, parked_messages_keep_their_order_and_bytes)
{
        static uint8_t large[256 * 1024];
        struct assent_parked got, parked = {.lane = 1, .txn_id = id_of(1), .branch = 2};
        struct assent_bytes records[3] = {{large, sizeof(large)}, {"b", 1}, {NULL, 0}};

        memset(large, 0xab, sizeof(large));
        OK(assent_store_begin(fixture->store));
        for (int i = 0; i < 3; i++) {
                parked.offset = i;
                parked.record = records[i];
                OK(assent_store_park(fixture->store, &parked));
        }
        parked.txn_id = id_of(2);
        OK(assent_store_park(fixture->store, &parked));
        struct assent_uuid one = id_of(1);
        for (int i = 0; i < 3; i++) {
                OK(assent_store_parked_first(fixture->store, &one, 2, &got));
                cr_assert_eq(got.offset, i);
                cr_assert_eq(got.lane, 1);
                cr_assert_eq(got.record.size, records[i].size);
                cr_assert(!got.record.size ||
                          memcmp(got.record.data, records[i].data, got.record.size) == 0);
                OK(assent_store_unpark(fixture->store, got.sequence));
        }
        cr_assert_eq(assent_store_parked_first(fixture->store, &one, 2, &got), ASSENT_E_NOT_FOUND);
        cr_assert_eq(assent_store_parked_first(fixture->store, &one, 1, &got), ASSENT_E_NOT_FOUND);
        OK(assent_store_commit(fixture->store));
}

CONTRACT(store_rows, dedup_remembers_an_id_per_topic_until_it_is_forgotten)
{
        struct assent_bytes id = {"a\0b", 3};
        uint64_t digest = 0;
        size_t count = 0;

        OK(assent_store_begin(fixture->store));
        OK(assent_store_dedup_put(fixture->store, "t", 0, id, UINT64_MAX, 100));
        OK(assent_store_dedup_put(fixture->store, "u", 0, id, 5, 100));
        OK(assent_store_dedup_put(fixture->store, "t", 0, assent_bytes_of("b"), 6, 100));
        OK(assent_store_dedup_put(fixture->store, "t", 1, assent_bytes_of("c"), 7, 100));
        OK(assent_store_dedup_find(fixture->store, "t", id, &digest));
        cr_assert_eq(digest, UINT64_MAX);
        cr_assert_eq(assent_store_dedup_find(fixture->store, "t", assent_bytes_of("a"), &digest),
                     ASSENT_E_NOT_FOUND);
        OK(assent_store_dedup_forget(fixture->store, "t", 0, 100, 10, &count));
        cr_assert_eq(count, 0);
        OK(assent_store_dedup_forget(fixture->store, "t", 0, 101, 1, &count));
        cr_assert_eq(count, 1);
        OK(assent_store_dedup_forget(fixture->store, "t", 0, 101, 10, &count));
        cr_assert_eq(count, 1);
        cr_assert_eq(assent_store_dedup_find(fixture->store, "t", id, &digest), ASSENT_E_NOT_FOUND);
        OK(assent_store_dedup_find(fixture->store, "u", id, &digest));
        OK(assent_store_dedup_find(fixture->store, "t", assent_bytes_of("c"), &digest));
        OK(assent_store_commit(fixture->store));
}

static struct assent_event event_of(const char *topic, const char *value)
{
        return (struct assent_event){.topic = topic,
                                     .type = "order.placed",
                                     .content_type = "text/plain",
                                     .key = {"k\0y", 3},
                                     .value = assent_bytes_of(value)};
}

static void publish(struct fixture *fixture, struct assent_event event, enum assent_err wanted)
{
        struct assent_tx *tx = assent_store_enter(fixture->store, 77);

        cr_assert_eq(assent_tx_publish(tx, &event), wanted);
        OK(assent_store_leave(fixture->store));
}

struct rows {
        int64_t sequences[16];
        size_t count, stop_at;
        char values[64];
};

static bool see_row(void *context, const struct assent_outbox_row *row)
{
        struct rows *rows = context;

        cr_assert_eq(row->time_ms, 77);
        cr_assert(row->type.size == 12 && memcmp(row->type.data, "order.placed", 12) == 0);
        cr_assert(row->content_type.size == 10 && memcmp(row->content_type.data, "text/plain", 10) == 0);
        cr_assert(row->key.size == 3 && memcmp(row->key.data, "k\0y", 3) == 0);
        strncat(rows->values, row->value.size ? row->value.data : "-", row->value.size + 1);
        rows->sequences[rows->count++] = row->sequence;
        return rows->count != rows->stop_at;
}

static struct rows rows_of(struct fixture *fixture, const char *topic, int64_t after, size_t rows_max, size_t stop_at)
{
        struct rows rows = {.stop_at = stop_at};

        OK(assent_store_outbox_scan(fixture->store, topic, after, rows_max, see_row, &rows));
        return rows;
}

CONTRACT(store_rows, events_come_in_their_order_by_topic)
{
        char topic[ASSENT_EVENT_TOPIC_SIZE_MAX + 1] = "";

        cr_assert_eq(assent_store_outbox_topic(fixture->store, topic), ASSENT_E_NOT_FOUND);
        OK(assent_store_begin(fixture->store));
        publish(fixture, event_of("b", "1"), ASSENT_OK);
        publish(fixture, event_of("a", "2"), ASSENT_OK);
        publish(fixture, event_of("b", "3"), ASSENT_OK);
        publish(fixture, event_of("b", ""), ASSENT_OK);
        OK(assent_store_commit(fixture->store));
        cr_assert_eq(assent_store_outbox_written(fixture->store), 4);
        OK(assent_store_outbox_topic(fixture->store, topic));
        cr_assert_str_eq(topic, "a");
        OK(assent_store_outbox_topic(fixture->store, topic));
        cr_assert_str_eq(topic, "b");
        cr_assert_eq(assent_store_outbox_topic(fixture->store, topic), ASSENT_E_NOT_FOUND);
        struct rows rows = rows_of(fixture, "b", 0, 10, 0);
        cr_assert_eq(rows.count, 3);
        cr_assert_str_eq(rows.values, "13-");
        cr_assert(rows.sequences[0] < rows.sequences[1] && rows.sequences[1] < rows.sequences[2]);
        cr_assert_str_eq(rows_of(fixture, "b", rows.sequences[0], 1, 0).values, "3");
        cr_assert_str_eq(rows_of(fixture, "b", 0, 10, 2).values, "13");
        cr_assert_eq(rows_of(fixture, "c", 0, 10, 0).count, 0);
}

CONTRACT(store_rows, settled_events_are_not_read_again)
{
        char topic[ASSENT_EVENT_TOPIC_SIZE_MAX + 1] = "";

        OK(assent_store_begin(fixture->store));
        publish(fixture, event_of("t", "1"), ASSENT_OK);
        publish(fixture, event_of("t", "2"), ASSENT_OK);
        struct rows rows = rows_of(fixture, "t", 0, 10, 0);
        OK(assent_store_outbox_delete(fixture->store, rows.sequences[1]));
        OK(assent_store_outbox_refuse(fixture->store, rows.sequences[0], "too large"));
        OK(assent_store_commit(fixture->store));
        cr_assert_eq(rows_of(fixture, "t", 0, 10, 0).count, 0);
        cr_assert_eq(assent_store_outbox_topic(fixture->store, topic), ASSENT_E_NOT_FOUND);
        OK(assent_store_begin(fixture->store));
        publish(fixture, event_of("t", "3"), ASSENT_OK);
        OK(assent_store_commit(fixture->store));
        cr_assert_gt(rows_of(fixture, "t", 0, 10, 0).sequences[0], rows.sequences[1], "a number is used again");
}

CONTRACT(store_rows, event_goes_with_its_savepoint)
{
        OK(assent_store_begin(fixture->store));
        OK(assent_store_savepoint(fixture->store));
        publish(fixture, event_of("t", "1"), ASSENT_OK);
        OK(assent_store_undo(fixture->store));
        OK(assent_store_savepoint(fixture->store));
        publish(fixture, event_of("t", "2"), ASSENT_OK);
        OK(assent_store_release(fixture->store));
        OK(assent_store_commit(fixture->store));
        cr_assert_str_eq(rows_of(fixture, "t", 0, 10, 0).values, "2");
}

CONTRACT(store_rows, events_have_limits)
{
        static char text[ASSENT_EVENT_TOPIC_SIZE_MAX + 2], large[262144];
        struct assent_event event;

        memset(text, 'x', sizeof(text) - 1);
        OK(assent_store_begin(fixture->store));
#define TRY(field, size_max)                                                                                                   \
        do {                                                                                                                   \
                event = event_of("t", "1");                                                                                    \
                event.field = text + sizeof(text) - 1 - (size_max);                                                            \
                publish(fixture, event, ASSENT_OK);                                                                            \
                event.field--;                                                                                                 \
                publish(fixture, event, ASSENT_E_LIMIT);                                                                       \
                event.field = "";                                                                                              \
                publish(fixture, event, ASSENT_E_LIMIT);                                                                       \
        } while (0)
        TRY(topic, ASSENT_EVENT_TOPIC_SIZE_MAX);
        TRY(type, ASSENT_EVENT_WORD_SIZE_MAX);
        TRY(content_type, ASSENT_EVENT_WORD_SIZE_MAX);
#undef TRY
        event = event_of("t", "1");
        event.key = (struct assent_bytes){text, ASSENT_EVENT_KEY_SIZE_MAX};
        publish(fixture, event, ASSENT_OK);
        event.key.size++;
        publish(fixture, event, ASSENT_E_LIMIT);
        event.key.size = 0;
        publish(fixture, event, ASSENT_E_LIMIT);
        event = event_of("t", "1");
        event.value = (struct assent_bytes){large, sizeof(large) - event.key.size};
        publish(fixture, event, ASSENT_OK);
        event.value.size++;
        publish(fixture, event, ASSENT_E_LIMIT);
        assent_store_record_bytes_max(fixture->store, 5);
        event.value.size = 2;
        publish(fixture, event, ASSENT_OK);
        event.value.size = 3;
        publish(fixture, event, ASSENT_E_LIMIT);
        OK(assent_store_commit(fixture->store));
}

CONTRACT(store_rows, events_topic_is_one_that_kafka_allows)
{
        static const char *const wrong[] = {"order events", "a/b", "caf\xc3\xa9", "a\n"};

        OK(assent_store_begin(fixture->store));
        publish(fixture, event_of("aZ09._-", "1"), ASSENT_OK);
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                publish(fixture, event_of(wrong[i], "1"), ASSENT_E_ARGUMENT);
        OK(assent_store_commit(fixture->store));
}

CONTRACT(store_rows, identity_has_an_incarnation_and_is_replaced_by_put)
{
        const char *incarnation = assent_store_identity(fixture->store, "incarnation");

        cr_assert_not_null(incarnation);
        cr_assert_eq(strlen(incarnation), 32);
        cr_assert_null(assent_store_identity(fixture->store, "service"));
        OK(assent_store_begin(fixture->store));
        OK(assent_store_identity_put(fixture->store, "service", "payment"));
        OK(assent_store_identity_put(fixture->store, "service", "order"));
        OK(assent_store_commit(fixture->store));
        cr_assert_str_eq(assent_store_identity(fixture->store, "service"), "order");
        cr_assert_eq(incarnation[0], assent_store_identity(fixture->store, "incarnation")[0]);
}

CONTRACT(store_rows, undo_takes_back_one_message_and_rollback_all)
{
        struct assent_branch_row one = row_of(1, 0), two = row_of(2, 0), got;

        OK(assent_store_begin(fixture->store));
        OK(assent_store_savepoint(fixture->store));
        OK(assent_store_branch_put(fixture->store, &one));
        OK(assent_store_release(fixture->store));
        OK(assent_store_savepoint(fixture->store));
        OK(assent_store_branch_put(fixture->store, &two));
        OK(assent_store_undo(fixture->store));
        OK(assent_store_commit(fixture->store));
        OK(assent_store_branch(fixture->store, &one.txn_id, one.branch, &got));
        cr_assert_eq(assent_store_branch(fixture->store, &two.txn_id, two.branch, &got),
                     ASSENT_E_NOT_FOUND);
        OK(assent_store_begin(fixture->store));
        OK(assent_store_branch_delete(fixture->store, &one.txn_id, one.branch));
        assent_store_rollback(fixture->store);
        OK(assent_store_branch(fixture->store, &one.txn_id, one.branch, &got));
}

CONTRACT(store_rows, kept_rows_are_those_of_the_table)
{
        enum { PLACES = 4096 };
        struct assent_branch_row one = row_of(1, 0), same = row_of(1 + PLACES, 1), next = row_of(2, 2), got;

        next.branch = (uint16_t)(one.branch - 1); /* the ids and branches of all lead to one place */
        OK(assent_store_begin(fixture->store));
        OK(assent_store_branch_put(fixture->store, &one));
        cr_assert_eq(assent_store_branch(fixture->store, &same.txn_id, same.branch, &got), ASSENT_E_NOT_FOUND);
        cr_assert_eq(assent_store_branch(fixture->store, &one.txn_id, (uint16_t)(one.branch - PLACES), &got),
                     ASSENT_E_NOT_FOUND);
        OK(assent_store_branch_put(fixture->store, &same));
        OK(assent_store_branch_put(fixture->store, &next));
        const struct assent_branch_row *const all[] = {&one, &same, &next};
        for (size_t i = 0; i < 3; i++) {
                OK(assent_store_branch(fixture->store, &all[i]->txn_id, all[i]->branch, &got));
                cr_assert_eq(got.lane, all[i]->lane);
        }
        OK(assent_store_savepoint(fixture->store));
        next.lane = 7;
        OK(assent_store_branch_put(fixture->store, &next));
        OK(assent_store_undo(fixture->store));
        OK(assent_store_branch(fixture->store, &next.txn_id, next.branch, &got));
        cr_assert_eq(got.lane, 2);
        OK(assent_store_branch_put(fixture->store, &next));
        OK(assent_store_branch_delete(fixture->store, &next.txn_id, next.branch));
        cr_assert_eq(assent_store_branch(fixture->store, &next.txn_id, next.branch, &got), ASSENT_E_NOT_FOUND);
        OK(assent_store_branch_put(fixture->store, &next));
        assent_store_rollback(fixture->store);
        cr_assert_eq(assent_store_branch(fixture->store, &next.txn_id, next.branch, &got), ASSENT_E_NOT_FOUND);
}

/* Message ids follow from the numbers. */
Test(store_rows, number_of_an_event_is_never_used_again)
{
        struct fixture fixture_ = fixture_open(true), *fixture = &fixture_;
        int64_t last = 0;

        for (int i = 0; i < 4; i++) {
                OK(assent_store_begin(fixture->store));
                publish(fixture, event_of("t", "1"), ASSENT_OK);
                publish(fixture, event_of("t", "2"), ASSENT_OK);
                OK(assent_store_commit(fixture->store));
                struct rows rows = rows_of(fixture, "t", 0, 10, 0);
                cr_assert_eq(rows.count, 2);
                cr_assert_gt(rows.sequences[0], last);
                last = rows.sequences[1];
                OK(assent_store_begin(fixture->store));
                OK(assent_store_outbox_delete(fixture->store, rows.sequences[1]));
                OK(assent_store_outbox_delete(fixture->store, rows.sequences[0]));
                OK(assent_store_commit(fixture->store));
                if (i % 2)
                        fixture_reopen(fixture);
        }
        fixture_close(fixture);
}

Test(store_rows, what_is_committed_is_there_after_reopening_and_nothing_else)
{
        struct fixture fixture_ = fixture_open(true), *fixture = &fixture_;
        struct assent_branch_row one = row_of(1, 0), two = row_of(2, 0), got;

        OK(assent_store_begin(fixture->store));
        OK(assent_store_branch_put(fixture->store, &one));
        OK(assent_store_commit(fixture->store));
        OK(assent_store_begin(fixture->store));
        OK(assent_store_branch_put(fixture->store, &two));
        fixture_reopen(fixture);
        OK(assent_store_branch(fixture->store, &one.txn_id, one.branch, &got));
        cr_assert_eq(memcmp(&one, &got, sizeof(one)), 0);
        cr_assert_eq(assent_store_branch(fixture->store, &two.txn_id, two.branch, &got),
                     ASSENT_E_NOT_FOUND);
        fixture_close(fixture);
}
