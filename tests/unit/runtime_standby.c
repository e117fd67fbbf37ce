/* A standby's own loop (R19), on a broker in memory: what it keeps back, when it acts for the owner, when it stops. */
#define RUNTIME_UNDER_TEST "runtime/coordinator.c"
#include "runtime_bus.h"

static struct assent_coordinator *standby;

static enum assent_err open_standby(void)
{
        struct assent_coordinator_options options = ASSENT_COORDINATOR_OPTIONS_INIT;
        options.config = config;
        return assent_coordinator_open(&options, &standby);
}

static void start(void)
{
        enum assent_err err = open_standby();
        cr_assert_eq(err, ASSENT_OK, "%s", assent_coordinator_errmsg(standby));
}

static void step_after(int64_t wait_ms)
{
        broker.now_ms += wait_ms;
        enum assent_err err = assent_coordinator_step(standby, 0);
        cr_assert_eq(err, ASSENT_OK, "%s", assent_coordinator_errmsg(standby));
}

/* Looks are a hundred milliseconds apart. */
static void steps_for(int64_t ms)
{
        for (; ms > 0; ms -= 50)
                step_after(50);
}

static void set_up(void)
{
        broker_setup();
        broker_set("assent.standby=true");
        broker_set("assent.takeover_ms=500");
        append_settings(T0, SETTINGS);
}

static void tear_down(void)
{
        assent_coordinator_close(standby);
        broker_teardown();
}

TestSuite(standby, .init = set_up, .fini = tear_down);

static void begin(int number)
{
        append(inbox, T0 + number, begin_of(born(T0, number)));
}

/* What an owner commits, with the digest of nobody. */
static void owner_commits(int64_t next)
{
        struct assent_checkpoint checkpoint = {.tau_ms = INT64_MIN, .next = next, .digest = 1};
        struct broker_commit *commit = &broker_group("assent.coordinator")->commit;
        commit->offset = 0;
        commit->size = assent_checkpoint_format(&checkpoint, commit->metadata);
}

static int sent_to(int topic)
{
        int count = 0;
        for (int i = 0; i < broker.sent_count; i++)
                count += broker.sent[i].topic == topic;
        return count;
}

Test(standby, keeps_back_until_the_owner_stands_still)
{
        begin(1);
        start();
        steps_for(450);
        cr_assert_eq(broker.sent_count, 0);
        steps_for(150);
        cr_assert_eq(sent_to(commands), 1);
        append(inbox, T0 + 2, reply_of(born(T0, 1), ASSENT_PREPARE, ASSENT_YES));
        step_after(0);
        cr_assert_eq(sent_to(commands), 2, "who acts publishes at once");
        cr_assert_eq(sent_to(outcomes), 1);
}

Test(standby, keeps_quiet_while_checkpoints_move)
{
        begin(1);
        start();
        for (int next = 2; next < 20; next++) {
                begin(next);
                steps_for(300);
                owner_commits(next);
        }
        steps_for(100);
        cr_assert_eq(broker.sent_count, 0);
}

Test(standby, what_the_owner_has_published_is_dropped)
{
        begin(1);
        begin(2);
        start();
        steps_for(300);
        owner_commits(2); /* PREPARE of the first stands in its topic */
        steps_for(400);
        cr_assert_eq(sent_to(commands), 0);
        steps_for(200);
        cr_assert_eq(sent_to(commands), 1);
        struct assent_uuid second = born(T0, 2);
        for (int i = 0; i < broker.sent_count; i++)
                if (broker.sent[i].topic == commands)
                        cr_assert_arr_eq(sent_message(i).txn_id.bytes, second.bytes, 16);
}

Test(standby, owner_that_moves_again_is_left_alone)
{
        begin(1);
        start();
        steps_for(700);
        begin(2);
        steps_for(50);
        cr_assert_eq(sent_to(commands), 2);
        owner_commits(3);
        steps_for(200);
        begin(3);
        steps_for(400);
        cr_assert_eq(sent_to(commands), 2, "kept back again");
        steps_for(300);
        cr_assert_eq(sent_to(commands), 3);
}

Test(standby, owner_ahead_must_agree)
{
        begin(1);
        broker.limit = 1;
        start();
        begin(2);
        broker.limit = 2;
        steps_for(100);
        owner_commits(3);
        steps_for(200);
        broker.limit = INT64_MAX;
        cr_assert_eq(assent_coordinator_step(standby, 0), ASSENT_E_DIGEST);
}

Test(standby, deadline_is_the_owners_to_notice_first)
{
        begin(1); /* its deadline is 200 ms later */
        start();
        owner_commits(2);
        steps_for(600);
        cr_assert_eq(sent_to(inbox), 0);
        steps_for(200);
        cr_assert_eq(sent_to(inbox), 1, "a TICK");
}

Test(standby, commits_only_while_it_acts)
{
        begin(1);
        start();
        steps_for(450);
        cr_assert_eq(broker.commits_count, 0);
        steps_for(1500);
        cr_assert_gt(broker.commits_count, 0);
        cr_assert_eq(sent_to(commands), 1);
        begin(2);
        step_after(0);
        cr_assert_eq(sent_to(commands), 2, "its own checkpoint is not the owner's");
}

Test(standby, would_not_be_one_of_the_group)
{
        broker_set("assent.lanes=subscribe");
        cr_assert_eq(open_standby(), ASSENT_E_CONFIG);
        cr_assert(strstr(assent_coordinator_errmsg(standby), "R19"));
}

/* R15: what nobody has told of while the owner stood still. */
Test(standby, who_acts_tells_what_it_has_read_while_it_stood_by)
{
        int dead_letters = broker_make("assent.inbox-dlt");
        broker_append_bytes(inbox, T0 + 1, assent_bytes_of("no message"));
        start();
        broker_append_bytes(inbox, T0 + 7, assent_bytes_of("nor this"));
        steps_for(450);
        cr_assert_eq(broker.sent_count, 0);
        steps_for(150);
        cr_assert_eq(sent_to(dead_letters), 2);
        const struct broker_sent *second = &broker.sent[1];
        cr_assert(second->size == 8 && memcmp(second->value, "nor this", 8) == 0);
        cr_assert_str_eq(second->headers[2].name, "kafka_dlt-original-offset");
        cr_assert_str_eq(second->headers[2].value, "2");
        cr_assert_str_eq(second->headers[3].value, "1700000000007", "its time in the log");
        steps_for(1000);
        cr_assert_eq(sent_to(dead_letters), 2, "once");
}

Test(standby, what_the_owner_has_told_of_is_dropped)
{
        int dead_letters = broker_make("assent.inbox-dlt");
        broker_append_bytes(inbox, T0 + 1, assent_bytes_of("no message"));
        start();
        steps_for(300);
        owner_commits(2);
        steps_for(2000);
        cr_assert_eq(sent_to(dead_letters), 0);
}

static bool hold(struct assent_held *held, int64_t source, const char *key, const char *value)
{
        return assent_held_add(held, &(struct assent_held_item){.source = source,
                                                                .why = key ? "for a reason" : NULL,
                                                                .key = assent_bytes_of(key),
                                                                .value = assent_bytes_of(value)});
}

Test(standby, what_is_held_comes_out_in_order_and_has_a_limit)
{
        struct assent_held held = {.bytes_max = 100000};
        struct assent_held_item item;
        int64_t added = 0, dropped = 0;
        char text[64];
        for (int round = 0; round < 2000; round++) {
                snprintf(text, sizeof text, "emission %d", (int)added);
                cr_assert(hold(&held, added, added % 7 == 0 ? "a key" : NULL, text));
                added++;
                if (round % 3 == 0)
                        continue;
                cr_assert(assent_held_first(&held, &item));
                snprintf(text, sizeof text, "emission %d", (int)dropped);
                cr_assert(item.value.size == strlen(text) && memcmp(item.value.data, text, item.value.size) == 0);
                cr_assert_eq(item.key.size, dropped % 7 == 0 ? 5 : 0);
                cr_assert(memcmp(item.key.data, "a key", item.key.size) == 0);
                cr_assert_eq(item.source, dropped++);
                assent_held_drop(&held);
        }
        cr_assert_eq(held.count, added - dropped);
        while (hold(&held, added, NULL, "12345678"))
                added++;
        cr_assert_leq(held.end - held.first, 100000);
        cr_assert_gt(held.end - held.first, 100000 - sizeof item - 8);
        while (assent_held_first(&held, &item))
                assent_held_drop(&held);
        cr_assert(hold(&held, added, NULL, "12345678"), "there is room again");
        assent_held_free(&held);
}

/* ---- when something fails, or two do the same ---- */

static struct assent_bus_ops failing; /* the broker's, with one that is not */

static void fails(void)
{
        failing = *broker.bus.ops;
        broker.bus.ops = &failing;
}

static enum assent_err lookup_fails(struct assent_bus *bus, const char *topic, int *lanes)
{
        (void)bus, (void)topic, (void)lanes;
        assent_coordinator_stop(standby); /* a signal, meanwhile */
        return ASSENT_E_BROKER;
}

Test(standby, what_could_not_be_published_is_not_committed)
{
        begin(1);
        start();
        steps_for(450);
        fails();
        failing.lookup = lookup_fails;
        enum assent_err err = ASSENT_OK;
        for (int i = 0; i < 10 && !err; i++) {
                broker.now_ms += 500;
                err = assent_coordinator_step(standby, 0);
        }
        cr_assert_eq(err, ASSENT_E_KAFKA);
        assent_coordinator_close(standby);
        standby = NULL;
        cr_assert_eq(sent_to(commands), 0);
        cr_assert_eq(broker.commits_count, 0, "N is beyond a PREPARE that was never sent");
}

static enum assent_err committed_hangs(struct assent_bus_consumer *consumer, int32_t lane, struct assent_committed *committed)
{
        (void)consumer, (void)lane, (void)committed;
        broker.now_ms += 1000;
        return ASSENT_E_BROKER;
}

Test(standby, time_is_for_the_lanes_while_nobody_tells_of_the_owner)
{
        begin(1);
        start();
        steps_for(700);
        cr_assert_eq(sent_to(commands), 1);
        fails();
        failing.committed = committed_hangs;
        int64_t began_ms = broker.now_ms;
        for (int i = 0; i < 100; i++)
                step_after(10);
        cr_assert_leq(broker.now_ms - began_ms, 5000);
}

/* Twice: what is left of the first time does no harm. */
Test(standby, acts_a_second_time_and_commits_only_what_is_acknowledged)
{
        begin(1);
        start();
        broker.holds = true;
        steps_for(1700);
        cr_assert_eq(sent_to(commands), 1);
        cr_assert_eq(broker.commits_count, 0, "PREPARE is not acknowledged");
        owner_commits(2);
        steps_for(200);
        broker.holds = false;
        steps_for(1500);
        cr_assert_eq(broker.commits_count, 0, "standing by");
        broker.holds = true;
        begin(3);
        begin(4);
        steps_for(2000);
        cr_assert_eq(sent_to(commands), 3);
        cr_assert_eq(broker.commits_count, 0, "held: not acknowledged");
        for (int i = 0, n = 0; i < broker.sent_count; i++)
                if (broker.sent[i].state == WAITING && broker.sent[i].topic == commands && n++ == 0)
                        broker_report(i, ASSENT_OK);
        steps_for(2000);
        cr_assert_eq(broker.commits_count, 0, "only the first of two is");
        broker.holds = false;
        steps_for(2000);
        cr_assert_gt(broker.commits_count, 0);
}

Test(standby, closed_while_standing_by_it_commits_nothing)
{
        begin(1);
        start();
        steps_for(300);
        assent_coordinator_close(standby);
        standby = NULL;
        cr_assert_eq(broker.commits_count, 0, "what it keeps back is nobody's below that N");
}

/* What one record follows with is more than there is room for: nothing is lost, and the order stays. */
Test(standby, without_room_it_acts)
{
        begin(1);
        begin(2);
        begin(3);
        broker.limit = 2;
        start();
        step_after(0);
        cr_assert_eq(sent_to(commands), 0);
        standby->lanes[0].kept.bytes_max = standby->lanes[0].kept.end;
        broker.limit = INT64_MAX;
        step_after(0);
        cr_assert_eq(sent_to(commands), 3);
        for (int i = 0, n = 1; i < broker.sent_count; i++)
                if (broker.sent[i].topic == commands)
                        cr_assert_arr_eq(sent_message(i).txn_id.bytes, born(T0, n++).bytes, 16);
}

static bool silent;

static enum assent_err committed_or_not(struct assent_bus_consumer *consumer, int32_t lane,
                                        struct assent_committed *committed)
{
        return silent ? ASSENT_E_BROKER : broker_committed(consumer, lane, committed);
}

/* Who cannot see the owner does not know that it stands still. */
Test(standby, does_not_act_on_what_it_cannot_see)
{
        begin(1);
        start();
        fails();
        failing.committed = committed_or_not;
        silent = true;
        steps_for(3000);
        cr_assert_eq(sent_to(commands), 0);
        owner_commits(2);
        silent = false;
        steps_for(1000);
        cr_assert_eq(sent_to(commands), 0);
}

/* Standing by, it copies no record to the dead letters: the owner does. */
Test(standby, leaves_dead_letters_to_the_owner)
{
        broker_append_bytes(inbox, T0 + 1, assent_bytes_of("garbage"));
        start();
        steps_for(300);
        cr_assert_eq(broker.sent_count, 0);
}

/* Shedding (R16) is the owner's. */
Test(standby, sheds_nothing_while_it_stands_by)
{
        broker_set("assent.in_flight_soft=1");
        for (int i = 1; i < 4; i++)
                begin(i);
        start();
        steps_for(100);
        cr_assert_eq(sent_to(inbox), 0);
        steps_for(600);
        begin(4);
        steps_for(100);
        cr_assert_geq(sent_to(inbox), 1, "who acts sheds");
}
