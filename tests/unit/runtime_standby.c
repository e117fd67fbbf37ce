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

Test(standby, held_emissions_come_out_in_order_and_have_a_limit)
{
        struct assent_held held = {.bytes_max = 100000};
        int64_t source, added = 0, dropped = 0;
        struct assent_bytes message;
        char text[64];
        for (int round = 0; round < 2000; round++) {
                int size = snprintf(text, sizeof text, "emission %d", (int)added);
                cr_assert(assent_held_add(&held, added++, (struct assent_bytes){text, (size_t)size}));
                if (round % 3 == 0)
                        continue;
                cr_assert(assent_held_first(&held, &source, &message));
                snprintf(text, sizeof text, "emission %d", (int)dropped);
                cr_assert_eq(source, dropped++);
                cr_assert(message.size == strlen(text) && memcmp(message.data, text, message.size) == 0);
                assent_held_drop(&held);
        }
        cr_assert_eq(held.count, added - dropped);
        while (assent_held_add(&held, added, (struct assent_bytes){text, 8}))
                added++;
        cr_assert_leq(held.end - held.first, 100000);
        cr_assert_gt(held.end - held.first, 100000 - 24);
        while (assent_held_first(&held, &source, &message))
                assent_held_drop(&held);
        cr_assert(assent_held_add(&held, added, (struct assent_bytes){text, 8}), "there is room again");
        assent_held_free(&held);
}
