/* The order of effects in a coordinator's own loop: what is sent, asked and refused, and when (R12, R14, R16 to R18),
 * on a broker in memory. Takeovers stand in runtime_order_takeover.c. */
#define RUNTIME_UNDER_TEST "runtime/coordinator.c"
#include "runtime_bus.h"

static struct assent_coordinator *coordinator;

static enum assent_err open_coordinator(void)
{
        struct assent_coordinator_options options = ASSENT_COORDINATOR_OPTIONS_INIT;
        options.config = config;
        return assent_coordinator_open(&options, &coordinator);
}

static void start(void)
{
        enum assent_err err = open_coordinator();
        cr_assert_eq(err, ASSENT_OK, "%s", assent_coordinator_errmsg(coordinator));
}

static void step(void)
{
        enum assent_err err = assent_coordinator_step(coordinator, 0);
        cr_assert_eq(err, ASSENT_OK, "%s", assent_coordinator_errmsg(coordinator));
}

static void step_after(int64_t wait_ms)
{
        broker.now_ms += wait_ms;
        step();
}

static struct assent_checkpoint parsed(const struct broker_commit *commit)
{
        struct assent_checkpoint checkpoint;
        cr_assert(assent_checkpoint_parse((struct assent_bytes){commit->metadata, commit->size}, commit->offset,
                                          &checkpoint));
        return checkpoint;
}

/* N of the newest checkpoint; -1: there is none. */
static int64_t committed_next(void)
{
        return broker.commits_count ? parsed(&broker.commits[broker.commits_count - 1]).next : -1;
}

/* R12, at every checkpoint of every test here: whatever follows from a record below N was acknowledged, at its first
 * sending or at another, or its topic does not exist. First phases that are refused are the exception (R18). */
static void all_acknowledged_below(const struct broker_commit *commit)
{
        int64_t next = parsed(commit).next;
        for (int i = 0; i < broker.sent_count; i++) {
                const struct broker_sent *sent = &broker.sent[i];
                bool settled = sent->topic == inbox || sent->source >= next || !broker.topics[sent->topic].exists;
                for (int j = i; j < broker.sent_count && !settled; j++)
                        settled = broker.sent[j].state == ACKNOWLEDGED && same_bytes(sent, &broker.sent[j]);
                if (!settled && sent->state == REFUSED)
                        settled = sent_message(i).body.command.phase == ASSENT_PREPARE;
                cr_expect(settled, "N is %d, but message %d, of offset %d, is not acknowledged", (int)next, i,
                          (int)sent->source);
        }
}

static void set_up(void)
{
        broker_setup();
        broker_set("assent.checkpoint_ms=250");
        broker.batch_max = 1; /* so that what is sent follows from the record handed over last */
        broker.on_commit = all_acknowledged_below;
        append_settings(T0, SETTINGS);
}

static void tear_down(void)
{
        assent_coordinator_close(coordinator);
        broker_teardown();
}

TestSuite(order_coordinator, .init = set_up, .fini = tear_down);

static int sent_to(int topic)
{
        int count = 0;
        for (int i = 0; i < broker.sent_count; i++)
                count += broker.sent[i].topic == topic;
        return count;
}

static void begin(int number)
{
        append(inbox, T0 + number, begin_of(born(T0, number)));
}

/* ---- R12 ---- */

Test(order_coordinator, checkpoint_waits_until_all_before_it_is_acknowledged)
{
        broker.holds = true;
        begin(1);
        append(inbox, T0 + 2, reply_of(born(T0, 1), ASSENT_PREPARE, ASSENT_YES));
        start();
        step();
        step(); /* PREPARE */
        step(); /* COMMIT, outcome */
        cr_assert_eq(broker.sent_count, 3);
        step_after(250); /* the candidate of N = 3 */
        step_after(250);
        cr_assert_lt(committed_next(), 2);
        broker_report(1, ASSENT_OK);
        broker_report(2, ASSENT_OK);
        step_after(250);
        cr_assert_lt(committed_next(), 2, "PREPARE is still on its way");
        broker_report(0, ASSENT_OK);
        step_after(250);
        step_after(250);
        cr_assert_eq(committed_next(), 3);
}

Test(order_coordinator, last_checkpoint_of_a_close_waits_too)
{
        broker.holds = true;
        begin(1);
        start();
        step();
        step();
        cr_assert_eq(broker.sent_count, 1);
        assent_coordinator_close(coordinator);
        coordinator = NULL;
        cr_assert_lt(committed_next(), 2);
}

Test(order_coordinator, idle_lane_is_committed_again)
{
        broker_set("assent.checkpoint_idle_ms=1000");
        start();
        step();
        step_after(250);
        int first = broker.commits_count;
        cr_assert_eq(committed_next(), 1);
        cr_assert_eq(first, 1);
        step_after(749);
        cr_assert_eq(broker.commits_count, 1);
        step_after(1 + 250);
        cr_assert_eq(broker.commits_count, 2);
        cr_assert_eq(committed_next(), 1);
        step_after(250);
        cr_assert_eq(broker.commits_count, 2);
}

/* ---- R14 ---- */

Test(order_coordinator, tick_waits_for_the_end_of_the_lane)
{
        begin(1); /* deadline: T0 + 201 */
        append(inbox, T0 + 2, begin_of(born(T0, 2)));
        broker.limit = 2;
        start();
        step();
        step();
        step_after(200);
        cr_assert_eq(sent_to(inbox), 0, "not past the deadline by the estimate");
        step_after(1);
        step_after(500);
        cr_assert_eq(sent_to(inbox), 0, "a record stands between");
        broker.limit = 3;
        step(); /* τ is T0 + 2, heard just now: the estimate begins anew */
        cr_assert_eq(sent_to(inbox), 0);
        step_after(199);
        cr_assert_eq(sent_to(inbox), 0);
        step_after(1);
        cr_assert_eq(sent_to(inbox), 1);
        struct assent_message tick = sent_message(broker.sent_count - 1);
        cr_assert_eq(tick.body.control.kind, ASSENT_TICK);
        step_after(499);
        cr_assert_eq(sent_to(inbox), 1, "its answer takes a while");
        step_after(1);
        cr_assert_eq(sent_to(inbox), 2);
}

Test(order_coordinator, tick_of_a_silent_lane_does_not_wait_for_its_end)
{
        begin(1);
        begin(2);
        broker.limit = 2;
        start();
        step();
        step();
        step_after(1999);
        cr_assert_eq(sent_to(inbox), 0);
        step_after(20);
        cr_assert_eq(sent_to(inbox), 1);
}

/* ---- R16 ---- */

Test(order_coordinator, overload_cancels_above_soft_and_stops_above_max)
{
        broker_set("assent.in_flight_soft=2");
        broker_set("assent.in_flight_max=3");
        for (int i = 1; i <= 4; i++)
                begin(i);
        start();
        step();
        step();
        step();
        cr_assert_eq(sent_to(inbox), 0, "at the limit");
        step();
        cr_assert_eq(sent_to(inbox), 1, "one past it");
        struct assent_message cancel = sent_message(broker.sent_count - 1);
        struct assent_uuid third = born(T0, 3);
        cr_assert_eq(cancel.body.control.kind, ASSENT_CANCEL);
        cr_assert_eq(cancel.body.control.reason.size, 8);
        cr_assert_eq(memcmp(cancel.body.control.reason.data, "OVERLOAD", 8), 0);
        cr_assert_eq(memcmp(&cancel.txn_id, &third, sizeof third), 0);
        cr_assert_eq(assent_coordinator_step(coordinator, 0), ASSENT_E_MEMORY);
        cr_assert_neq(strstr(assent_coordinator_errmsg(coordinator), "assent.in_flight_max"), NULL);
        cr_assert_eq(assent_coordinator_step(coordinator, 0), ASSENT_E_MEMORY, "and for good");
}

/* ---- R17 ---- */

static void stops_for_settings(const char *text)
{
        free(broker.topics[inbox].records[0].value);
        broker.topics[inbox].high = 0; /* and others in their place */
        append_settings(T0, text);
        begin(1);
        start();
        cr_assert_eq(assent_coordinator_step(coordinator, 0), ASSENT_E_SETTINGS);
        cr_assert_eq(assent_coordinator_step(coordinator, 0), ASSENT_E_SETTINGS);
        cr_assert_eq(broker.sent_count, 0);
        cr_assert_eq(broker.commits_count, 0);
}

Test(order_coordinator, other_settings_stop_it)
{
        stops_for_settings("rules=1 schema=1 lanes=1 window_ms=2000 skew_ms=100 timeout_max_ms=200 grace_ms=100 "
                           "branches_max=64 record_bytes_max=262144");
}

Test(order_coordinator, unreadable_settings_stop_it)
{
        stops_for_settings("rules=2 schema=1 lanes=1 window_ms=1000 skew_ms=100 timeout_max_ms=200 grace_ms=100 "
                           "branches_max=64 record_bytes_max=262144");
}

Test(order_coordinator, checkpoint_with_other_settings_refuses_the_start)
{
        start();
        step();
        step_after(250);
        cr_assert_eq(committed_next(), 1);
        assent_coordinator_close(coordinator);
        broker_set("assent.skew_ms=99");
        cr_assert_eq(open_coordinator(), ASSENT_E_SETTINGS);
}

/* ---- R18 ---- */

/* A transaction is decided, and the broker does not let its COMMIT in. */
static void denied_decision(void)
{
        begin(1);
        append(inbox, T0 + 2, reply_of(born(T0, 1), ASSENT_PREPARE, ASSENT_YES));
        start();
        step();
        step();
        broker.verdict = ASSENT_E_DENIED;
        broker.holds = true; /* PREPARE is in already */
        broker_report(0, ASSENT_OK);
        step();
        broker.holds = false;
        step();
        cr_assert_eq(sent_to(commands), 2);
        cr_assert_eq(broker.sent[1].state, REFUSED);
        step_after(999);
        cr_assert_eq(sent_to(commands), 2);
        step_after(1);
        cr_assert_eq(sent_to(commands), 3, "again after a second");
        cr_assert(same_bytes(&broker.sent[1], &broker.sent[broker.sent_count - 1]));
        step();
        cr_assert_lt(committed_next(), 3);
        cr_assert_eq(sent_to(inbox), 0, "a decision is not cancelled");
}

Test(order_coordinator, refused_decision_is_sent_until_taken_and_N_waits)
{
        denied_decision();
        begin(3); /* the lane goes on deciding */
        step();
        cr_assert_eq(sent_to(commands), 4);
        broker.holds = true;
        broker.verdict = ASSENT_OK;
        step_after(1000);
        cr_assert_eq(sent_to(commands), 5);
        cr_assert_lt(committed_next(), 3, "on its way is not acknowledged");
        broker.holds = false;
        step_after(250);
        step_after(250);
        cr_assert_eq(committed_next(), 4);
        step_after(1000);
        cr_assert_eq(sent_to(commands), 5, "taken, it is not sent any more");
}

Test(order_coordinator, refused_decision_is_dropped_only_without_a_topic)
{
        denied_decision();
        step_after(1000);
        step();
        cr_assert_lt(committed_next(), 3);
        int before = sent_to(commands);
        cr_assert_eq(before, 4);
        broker.topics[commands].exists = false;
        for (int turns = 0; turns < 3; turns++)
                step_after(1000);
        cr_assert_eq(sent_to(commands), before);
        cr_assert_eq(committed_next(), 3);
}

static void cancelled_as_undeliverable(void)
{
        cr_assert_eq(sent_to(inbox), 1);
        struct assent_message cancel = sent_message(broker.sent_count - 1);
        cr_assert_eq(cancel.body.control.kind, ASSENT_CANCEL);
        cr_assert_eq(cancel.body.control.reason.size, 13);
        cr_assert_eq(memcmp(cancel.body.control.reason.data, "UNDELIVERABLE", 13), 0);
        step_after(250);
        step_after(250);
        cr_assert_eq(committed_next(), 2, "it counts as delivered");
}

Test(order_coordinator, refused_prepare_asks_the_log_to_abort)
{
        broker.verdict = ASSENT_E_DENIED;
        begin(1);
        start();
        step();
        step();
        step();
        cr_assert_eq(sent_to(commands), 1);
        cancelled_as_undeliverable();
        cr_assert_eq(sent_to(commands), 1, "and it is not sent again");
}

Test(order_coordinator, prepare_for_a_missing_topic_is_never_sent)
{
        broker.topics[commands].exists = false;
        begin(1);
        start();
        step();
        step();
        cr_assert_eq(sent_to(commands), 0);
        cancelled_as_undeliverable();
}
