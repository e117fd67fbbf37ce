/* The relay of the outbox in a participant's own loop (P1, P2): what becomes a record, in which order, how often. */
#include "runtime_participant.h"

#include "base/hash.h"

#define EVENTS "order.events"
#define WINDOW 1024 /* as in outbox.c */

static int events; /* the topic */
static int published, sent_before;
static const char *topic_name, *key;
static size_t value_size;

static enum assent_err publish_one(struct assent_tx *tx)
{
        char value[300000];
        memset(value, '.', sizeof value);
        int size = snprintf(value, sizeof value, "%d", ++published);
        const struct assent_event event = {.topic = topic_name,
                                           .type = "order.placed",
                                           .content_type = "text/plain",
                                           .key = assent_bytes_of(key),
                                           .value = {value, value_size ? value_size : (size_t)size}};
        return assent_tx_publish(tx, &event);
}

static void publish_in_prepare(struct assent_tx *tx)
{
        cr_assert_eq(publish_one(tx), ASSENT_OK);
}

static enum assent_result run_publish(void *context, struct assent_tx *tx)
{
        for (int i = 0; i < *(const int *)context; i++)
                cr_assert_eq(publish_one(tx), ASSENT_OK);
        return ASSENT_RESULT_DONE;
}

static enum assent_result run_publish_and_undo(void *context, struct assent_tx *tx)
{
        run_publish(context, tx);
        return ASSENT_RESULT_RETRY;
}

static void ignore(void *context, enum assent_err err)
{
        (void)context, (void)err;
}

static void submit_work(enum assent_result (*run)(void *, struct assent_tx *), const int *count)
{
        const struct assent_work work = {.run = run, .done = ignore, .context = (void *)(uintptr_t)count};
        cr_assert_eq(assent_participant_submit(participant, &work), ASSENT_OK);
}

/* Events that are committed, and offered to the broker by the turn after it. */
static void publish_many(int count)
{
        submit_work(run_publish, &count);
        step();
        step();
}

static void set_up_outbox(void)
{
        set_up();
        events = broker_make("assent." EVENTS);
        topic_name = EVENTS;
        key = "k";
        value_size = 0;
}

TestSuite(outbox, .init = set_up_outbox, .fini = tear_down);

/* What was sent to a topic, by its place in the order; -1: nothing more. */
static int sent_to(int topic, int nth)
{
        for (int i = sent_before; i < broker.sent_count; i++)
                if (broker.sent[i].topic == topic && nth-- == 0)
                        return i;
        return -1;
}

static int sent_number(int topic, int nth)
{
        int number = 0, i = sent_to(topic, nth);
        for (size_t at = 0; i >= 0 && at < broker.sent[i].size && broker.sent[i].value[at] >= '0'; at++)
                number = 10 * number + broker.sent[i].value[at] - '0';
        return i < 0 ? -1 : number;
}

static int sent_total(int topic)
{
        int count = 0;
        while (sent_to(topic, count) >= 0)
                count++;
        return count;
}

/* As start, with one event that has arrived, so that its partition takes many; it is counted nowhere. */
static void start_open(void)
{
        start();
        publish_many(1);
        step_later();
        published = 0;
        sent_before = broker.sent_count;
}

static const char *header_of(int sent, const char *name)
{
        for (size_t i = 0; i < broker.sent[sent].headers_count; i++)
                if (strcmp(broker.sent[sent].headers[i].name, name) == 0)
                        return broker.sent[sent].headers[i].value;
        return "";
}

static int64_t rows(void)
{
        return ask("SELECT count(*) FROM assent_outbox WHERE refused IS NULL");
}

/* ---- what becomes a record ---- */

static void row_is_there(const struct broker_sent *sent)
{
        if (sent->topic == events)
                cr_expect_eq(rows(), 1, "sent before it was committed");
}

Test(outbox, event_is_sent_after_the_commit_and_goes_after_the_acknowledgement)
{
        broker.on_send = row_is_there;
        broker.holds = true;
        in_prepare = publish_in_prepare;
        command(born(T0, 1), ASSENT_PREPARE, T0 + 123, DEADLINE);
        start();
        step();
        cr_assert_eq(sent_total(events), 0);
        step();
        int sent = sent_to(events, 0);
        cr_assert_geq(sent, 0);
        cr_expect_str_eq(header_of(sent, "ce_specversion"), "1.0");
        cr_expect_str_eq(header_of(sent, "ce_source"), "/pay");
        cr_expect_str_eq(header_of(sent, "ce_type"), "order.placed");
        cr_expect_str_eq(header_of(sent, "content-type"), "text/plain");
        cr_expect_str_eq(header_of(sent, "ce_time"), "2023-11-14T22:13:20.123Z", "log time");
        cr_expect_eq(strlen(header_of(sent, "ce_id")), 36);
        cr_expect_eq(header_of(sent, "ce_id")[14], '5');
        cr_expect_str_eq(broker.sent[sent].key, "k");
        cr_expect_eq(sent_number(events, 0), 1);
        step_later();
        cr_assert_eq(rows(), 1);
        cr_assert_eq(sent_total(events), 1, "sent twice");
        broker_report(sent, ASSENT_OK);
        step_later();
        cr_assert_eq(rows(), 0);
        cr_assert_eq(ask("SELECT value FROM assent_identity WHERE key = 'event'"), 1);
}

Test(outbox, nothing_of_what_is_rolled_back_is_sent)
{
        static const int three = 3;
        in_prepare = publish_in_prepare;
        vote = ASSENT_VOTE_NO;
        command(born(T0, 1), ASSENT_PREPARE, T0 + 1, DEADLINE);
        start();
        submit_work(run_publish_and_undo, &three);
        step();
        step_later();
        cr_assert_eq(published, 4);
        cr_assert_eq(sent_total(events), 0);
        cr_assert_eq(rows(), 0);
        publish_many(1);
        cr_assert_eq(sent_number(events, 0), 5);
}

static enum assent_err publish_in_setup(void *app, struct assent_tx *tx)
{
        (void)app;
        cr_assert_eq(sqlite3_exec(assent_tx_sqlite(tx), "CREATE TABLE IF NOT EXISTS mine(x)", NULL, NULL, NULL), SQLITE_OK);
        return publish_one(tx);
}

Test(outbox, event_of_setup_is_sent_without_a_time)
{
        in_setup = publish_in_setup;
        start();
        step();
        cr_assert_eq(sent_total(events), 1);
        cr_assert_str_eq(header_of(sent_to(events, 0), "ce_time"), "");
        cr_assert_eq(broker.sent[sent_to(events, 0)].headers_count, 5);
}

Test(outbox, partition_is_the_one_that_kafkas_own_producers_take)
{
        static const struct {
                const char *key;
                int32_t murmur2; /* as Java's client has them in its own tests */
        } known[] = {{"21", -973932308},
                     {"foobar", -790332482},
                     {"a-little-bit-long-string", -985981536},
                     {"a-little-bit-longer-string", -1486304829},
                     {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971}};
        broker.topics[events].lanes = 7;
        start();
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
                key = known[i].key;
                publish_many(1);
                cr_expect_eq(broker.sent[sent_to(events, (int)i)].lane, (known[i].murmur2 & 0x7fffffff) % 7, "%s", key);
        }
        cr_assert_eq(broker.lookups, 1, "the number of partitions is asked for once");
}

/* ---- ids ---- */

Test(outbox, repeated_event_keeps_its_id_and_no_other_has_it)
{
        char first[40], second[40];
        start_open();
        broker.holds = true;
        publish_many(2);
        snprintf(first, sizeof first, "%s", header_of(sent_to(events, 0), "ce_id"));
        snprintf(second, sizeof second, "%s", header_of(sent_to(events, 1), "ce_id"));
        cr_assert_str_neq(first, second);
        crash();
        start();
        step();
        broker.holds = false;
        step();
        step();
        cr_assert_eq(sent_total(events), 4);
        cr_assert(same_bytes(&broker.sent[sent_to(events, 0)], &broker.sent[sent_to(events, 2)]));
        cr_assert_str_eq(header_of(sent_to(events, 2), "ce_id"), first);
        cr_assert_str_eq(header_of(sent_to(events, 3), "ce_id"), second);
        cr_assert_str_eq(header_of(sent_to(events, 0), "ce_time"), header_of(sent_to(events, 2), "ce_time"));
        step_later();
        cr_assert_eq(rows(), 0);
        crash();
        start();
        publish_many(1); /* all rows were gone: the numbers go on */
        cr_assert_str_neq(header_of(sent_to(events, 4), "ce_id"), first);
        cr_assert_str_neq(header_of(sent_to(events, 4), "ce_id"), second);
}

Test(outbox, acknowledged_but_not_taken_away_is_sent_once_more)
{
        start();
        publish_many(1); /* reported in the turn that sent it */
        cr_assert_eq(rows(), 1, "no local transaction for one row");
        crash();
        start();
        step();
        cr_assert_eq(sent_total(events), 2);
        step_later();
        step_later();
        cr_assert_eq(rows(), 0);
        crash();
        start();
        step();
        cr_assert_eq(sent_total(events), 2);
}

/* ---- batches, and what goes with them ---- */

Test(outbox, acknowledged_rows_go_with_the_next_local_transaction)
{
        start_open();
        publish_many(3);
        cr_assert_eq(rows(), 3);
        int64_t version = ask("PRAGMA data_version");
        command(born(T0, 1), ASSENT_PREPARE, T0 + 1, DEADLINE);
        step();
        cr_assert_eq(rows(), 0);
        cr_assert_eq(ask("PRAGMA data_version"), version + 1);
}

Test(outbox, half_a_window_of_acknowledged_rows_does_not_wait)
{
        start_open();
        publish_many(WINDOW / 2 - 1);
        step();
        cr_assert_eq(rows(), WINDOW / 2 - 1);
        step_later();
        cr_assert_eq(rows(), 0);
        publish_many(WINDOW / 2);
        cr_assert_eq(rows(), 0);
}

Test(outbox, turns_are_short_while_rows_wait_to_be_taken_away)
{
        start();
        assent_participant_step(participant, 5000);
        cr_assert_gt(broker.waited_ms, 100);
        publish_many(1);
        broker.now_ms += 10;
        assent_participant_step(participant, 5000);
        cr_assert_leq(broker.waited_ms, 50);
        cr_assert_gt(broker.waited_ms, 0);
}

Test(outbox, first_event_of_a_partition_arrives_before_the_second_is_sent)
{
        broker.topics[events].lanes = 2;
        broker.holds = true;
        start();
        publish_many(2);
        step_later();
        cr_assert_eq(sent_total(events), 1);
        broker_report(sent_to(events, 0), ASSENT_E_DENIED);
        broker.now_ms += 20;
        step();
        cr_assert_eq(sent_total(events), 2, "and again when it did not arrive");
        broker_report(sent_to(events, 1), ASSENT_OK);
        step();
        cr_assert_eq(sent_total(events), 3);
        publish_many(2);
        cr_assert_eq(sent_total(events), 5, "now it takes many");
        int32_t other = 1 - broker.sent[sent_to(events, 0)].lane;
        for (key = "a"; (int32_t)((assent_murmur2(key, 1) & 0x7fffffff) % 2) != other;)
                key = key[0] == 'a' ? "b" : key[0] == 'b' ? "c" : "d";
        publish_many(2);
        cr_assert_eq(sent_total(events), 6, "the other one does not");
}

Test(outbox, window_bounds_what_is_on_its_way_and_keeps_the_order)
{
        start_open();
        broker.holds = true;
        publish_many(WINDOW + 500);
        step_later();
        cr_assert_eq(sent_total(events), WINDOW);
        for (int i = 0; i < 300; i++)
                broker_report(sent_to(events, i), ASSENT_OK);
        step_later();
        step();
        cr_assert_eq(sent_total(events), WINDOW + 300);
        broker.holds = false;
        for (int i = 0; i < 4; i++)
                step_later();
        cr_assert_eq(sent_total(events), WINDOW + 500);
        for (int i = 0; i < WINDOW + 500; i++)
                cr_assert_eq(sent_number(events, i), i + 1);
        cr_assert_eq(rows(), 0);
}

Test(outbox, large_events_are_bounded_by_their_bytes)
{
        enum { SIZE = 262143, FIT = (16 << 20) / (SIZE + 1) };
        start_open();
        broker.holds = true;
        value_size = SIZE;
        publish_many(FIT + 1);
        cr_assert_eq(sent_total(events), FIT);
        broker_report(sent_to(events, 0), ASSENT_OK);
        step();
        cr_assert_eq(sent_total(events), FIT + 1);
}

Test(outbox, full_queue_breaks_off_and_goes_on_in_order)
{
        start_open();
        broker.full = 1;
        publish_many(3);
        cr_assert_eq(sent_total(events), 0);
        step();
        cr_assert_eq(sent_total(events), 3);
        for (int i = 0; i < 3; i++)
                cr_assert_eq(sent_number(events, i), i + 1);
}

/* ---- what waits ---- */

Test(outbox, missing_topic_waits_and_holds_back_only_itself)
{
        start();
        topic_name = "nowhere.yet";
        publish_many(2);
        int lookups = broker.lookups;
        topic_name = EVENTS;
        publish_many(1);
        cr_assert_eq(sent_total(events), 1);
        int nowhere = broker_make("assent.nowhere.yet");
        step();
        cr_assert_eq(broker.lookups, lookups + 1, "asked again before the back-off was over");
        cr_assert_eq(sent_total(nowhere), 0);
        broker.now_ms += 20;
        broker.holds = true;
        step();
        cr_assert_eq(sent_total(nowhere), 1, "one goes first");
        broker_report(sent_to(nowhere, 0), ASSENT_OK);
        step();
        cr_assert_eq(sent_total(nowhere), 2);
        cr_assert(sent_number(nowhere, 0) == 1 && sent_number(nowhere, 1) == 2);
}

Test(outbox, back_off_doubles_to_its_limit)
{
        broker_set("assent.retry_max_ms=60");
        topic_name = "nowhere";
        start();
        publish_many(1);
        int before = broker.lookups;
        static const int waits[] = {20, 40, 60, 60};
        for (size_t i = 0; i < 4; i++) {
                broker.now_ms += waits[i] - 1;
                assent_participant_step(participant, 5000);
                cr_assert_eq(broker.lookups, before + (int)i);
                cr_assert_eq(broker.waited_ms, 1);
                broker.now_ms += 1;
                step();
                cr_assert_eq(broker.lookups, before + (int)i + 1);
        }
}

static struct assent_bus_ops hanging; /* the broker's, with a look-up that nobody answers */

static enum assent_err lookup_hangs(struct assent_bus *bus, const char *topic, int *lanes)
{
        (void)bus, (void)topic;
        cr_expect_eq(sent_total(events), 1, "what goes without waits for a look-up");
        broker.now_ms += 1000; /* as long as the bus waits for the cluster */
        broker.lookups++;
        *lanes = 0;
        return ASSENT_E_BROKER;
}

static enum assent_result run_publish_to_four(void *context, struct assent_tx *tx)
{
        static const char *const names[] = {"a.topic", "b.topic", EVENTS, "z.topic"};
        (void)context;
        for (size_t i = 0; i < 4; i++) {
                topic_name = names[i];
                cr_expect_eq(publish_one(tx), ASSENT_OK);
        }
        return ASSENT_RESULT_DONE;
}

Test(outbox, look_ups_are_one_a_turn_and_hold_back_nothing_else)
{
        broker_set("assent.retry_ms=5000");
        start_open();
        hanging = *broker.bus.ops;
        hanging.lookup = lookup_hangs;
        const struct assent_bus_ops *answering = broker.bus.ops;
        broker.bus.ops = &hanging;
        int before = broker.lookups;
        submit_work(run_publish_to_four, NULL);
        step();
        for (int turn = 1; turn <= 3; turn++) {
                int64_t began_ms = broker.now_ms;
                cr_assert_eq(assent_participant_step(participant, 5000), ASSENT_OK);
                cr_assert_eq(broker.lookups, before + turn);
                cr_assert_eq(broker.now_ms, began_ms + 1000);
                cr_assert_eq(broker.waited_ms == 0, turn < 3, "the next look-up waits for something else");
        }
        step();
        cr_assert_eq(broker.lookups, before + 3, "asked again before the back-off was over");
        broker.bus.ops = answering;
        int topics[] = {broker_make("assent.a.topic"), broker_make("assent.b.topic"), broker_make("assent.z.topic")};
        broker.now_ms += 5000;
        for (int turn = 1; turn <= 3; turn++) {
                step();
                cr_assert_eq(sent_total(topics[0]) + sent_total(topics[1]) + sent_total(topics[2]), turn);
        }
        step_later();
        cr_assert_eq(rows(), 0);
}

Test(outbox, denied_topic_is_tried_again_from_the_first_that_came_back)
{
        start_open();
        broker.topics[events].verdict = ASSENT_E_DENIED;
        publish_many(3);
        cr_assert_eq(sent_total(events), 3);
        step();
        cr_assert_eq(sent_total(events), 3, "tried again before the back-off was over");
        broker.now_ms += 20;
        step();
        cr_assert_eq(sent_total(events), 4, "one alone asks");
        broker.topics[events].verdict = ASSENT_OK;
        broker.now_ms += 40;
        step();
        step();
        cr_assert_eq(sent_total(events), 7);
        for (int i = 4; i < 7; i++)
                cr_assert_eq(sent_number(events, i), i - 3);
        cr_assert_eq(ask("SELECT count(*) FROM assent_outbox WHERE refused IS NOT NULL"), 0);
        step_later();
        cr_assert_eq(rows(), 0);
}

Test(outbox, the_fate_of_all_is_known_before_one_is_sent_again)
{
        start_open();
        broker.holds = true;
        publish_many(3);
        broker_report(sent_to(events, 0), ASSENT_E_DENIED);
        broker.now_ms += 1000;
        step();
        cr_assert_eq(sent_total(events), 3);
        broker_report(sent_to(events, 1), ASSENT_E_DENIED);
        broker_report(sent_to(events, 2), ASSENT_E_DENIED);
        broker.now_ms += 1000;
        step();
        cr_assert_eq(sent_total(events), 4);
        cr_assert_eq(sent_number(events, 3), 1);
}

/* ---- what is refused for good ---- */

static int64_t refused_rows(void)
{
        return ask("SELECT count(*) FROM assent_outbox WHERE refused IS NOT NULL");
}

Test(outbox, too_large_event_is_set_aside_and_holds_back_nobody)
{
        start();
        broker.topics[events].size_max = 100;
        publish_many(1);
        value_size = 101;
        publish_many(1);
        value_size = 100;
        publish_many(2);
        for (int i = 0; i < 6; i++)
                step_later();
        cr_assert_eq(rows(), 0);
        cr_assert_eq(refused_rows(), 1);
        cr_assert_eq(ask("SELECT sequence FROM assent_outbox WHERE refused LIKE '%large%'"), 2);
        cr_assert_eq(assent_intake_events(participant->intake)->refused, 1);
        int sent = sent_total(events);
        cr_assert_eq(sent_number(events, sent - 2), 3);
        cr_assert_eq(sent_number(events, sent - 1), 4);
        crash();
        start();
        step();
        step_later();
        cr_assert_eq(sent_total(events), sent, "it is not offered again");
        cr_assert_eq(refused_rows(), 1);
}

Test(outbox, refusal_of_a_batch_is_believed_only_of_one_sent_alone)
{
        start_open();
        broker.holds = true;
        publish_many(3);
        for (int i = 0; i < 3; i++) /* a broker refuses the batch */
                broker_report(sent_to(events, i), ASSENT_E_TOO_LARGE);
        broker.holds = false;
        for (int i = 0; i < 8; i++)
                step_later();
        cr_assert_eq(refused_rows(), 0);
        cr_assert_eq(rows(), 0);
        cr_assert_eq(sent_total(events), 6);
        for (int i = 0; i < 3; i++)
                cr_assert_eq(sent_number(events, 3 + i), i + 1);
}

Test(outbox, refusals_of_a_client_that_has_failed_do_not_count)
{
        broker.holds = true;
        start();
        publish_many(1);
        broker_report(sent_to(events, 0), ASSENT_E_KAFKA);
        step();
        cr_assert_eq(sent_total(events), 2);
        broker_report(sent_to(events, 1), ASSENT_E_KAFKA); /* alone: believed … */
        broker.failed = true;                              /* … but it was the client's end */
        broker.now_ms += 60;
        cr_assert_eq(assent_participant_step(participant, 0), ASSENT_E_KAFKA);
        crash();
        cr_assert_eq(refused_rows(), 0);
        cr_assert_eq(rows(), 1);
}

/* ---- limits ---- */

Test(outbox, topics_have_a_limit)
{
        enum { LIMIT = 256 };
        char name[16], full[32];
        start();
        topic_name = name;
        for (int i = 0; i <= LIMIT; i++) {
                snprintf(name, sizeof name, "t%03d", i);
                snprintf(full, sizeof full, "assent.%s", name);
                broker_make(full);
                publish_many(1);
        }
        step_later();
        step_later();
        cr_assert_eq(sent_total(broker_topic(&broker.bus, "assent.t255")), 1);
        cr_assert_eq(sent_total(broker_topic(&broker.bus, "assent.t256")), 0);
        cr_assert_eq(rows(), 1);
        crash();
        start();
        step();
        cr_assert_eq(sent_total(broker_topic(&broker.bus, "assent.t256")), 1, "a restart has room for it");
}

static enum assent_result run_publish_at_the_limit(void *context, struct assent_tx *tx)
{
        (void)context;
        value_size = 1023; /* and one byte of key */
        cr_expect_eq(publish_one(tx), ASSENT_OK);
        value_size = 1024;
        cr_expect_eq(publish_one(tx), ASSENT_E_LIMIT);
        return ASSENT_RESULT_DONE;
}

Test(outbox, record_limit_is_the_prefixes)
{
        free(broker.topics[inbox].records[0].value);
        broker.topics[inbox].high = 0;
        broker_set("assent.record_bytes_max=1024");
        append_settings(T0, "rules=1 schema=1 lanes=1 window_ms=1000 skew_ms=100 timeout_max_ms=200 grace_ms=100 "
                            "branches_max=64 record_bytes_max=1024");
        start();
        submit_work(run_publish_at_the_limit, NULL);
        step();
        step();
        cr_assert_eq(sent_total(events), 1);
}

/* ---- the end ---- */

Test(outbox, stop_sends_and_takes_away_what_is_committed)
{
        static const int three = 3;
        start();
        submit_work(run_publish, &three);
        assent_participant_stop(participant);
        cr_assert_eq(assent_participant_run(participant), ASSENT_OK);
        cr_assert_eq(sent_total(events), 3);
        cr_assert_eq(rows(), 0);
}
