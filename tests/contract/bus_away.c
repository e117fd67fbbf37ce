/* What the bus does while the brokers are away: every wait ends at its limit, and everything goes on when they are
 * back. On an embedded broker of the test's own: nobody stops somebody else's Kafka. */
#include "contract.h"

#include "kafka/bus_kafka.h"

#define SLACK_MS 900 /* the machine's, not the bus's */
#define PRODUCE  0   /* Kafka's number of the request */

TestSuite(bus_away, .init = contract_open, .fini = contract_close, .timeout = 60);

static char name[128];
static int topic;
static struct contract_lanes lanes = {.start = -1};

static int64_t since_ms(int64_t began_ms)
{
        return assent_clock_ms() - began_ms;
}

static void topic_open(void)
{
        contract_topic(contract_name("away", name), LANES);
        topic = assent_bus_topic(bus, name);
        contract_send_text(topic, 0, "first");
        contract_flush();
}

/* A loop that reads for a group, as coordinators and participants are. */
static struct assent_bus_consumer *loop_open(void)
{
        topic_open();
        struct assent_bus_consumer *consumer = contract_consumer(name, "away", LANES, &lanes);
        char text[64];
        cr_assert_eq(contract_read(consumer, text, NULL), 0);
        return consumer;
}

/* Connected, but silent: what a broker looks like whose process is stopped. */
static void silence_begin(void)
{
        cr_assert_eq(rd_kafka_mock_broker_set_rtt(contract_mock, 1, 5000), 0);
}

static enum assent_err ask(int64_t *took_ms)
{
        int64_t low, high, began_ms = assent_clock_ms();
        enum assent_err err = assent_bus_watermarks(bus, name, 0, &low, &high);
        *took_ms = since_ms(began_ms);
        return err;
}

Test(bus_away, a_question_at_the_start_ends_at_its_limit)
{
        int64_t took_ms;
        int found;
        topic_open();
        cr_assert_eq(rd_kafka_mock_broker_set_down(contract_mock, 1), 0);
        cr_assert_eq(ask(&took_ms), ASSENT_E_BROKER);
        cr_assert_geq(took_ms, ASSENT_QUERY_START_MS - 1);
        cr_assert_lt(took_ms, ASSENT_QUERY_START_MS + SLACK_MS);
        int64_t began_ms = assent_clock_ms(); /* it waits each time: a start has nothing better to do */
        cr_assert_eq(assent_bus_lookup(bus, name, &found), ASSENT_E_BROKER);
        cr_assert_geq(since_ms(began_ms), ASSENT_QUERY_START_MS - 1);
        cr_assert_lt(since_ms(began_ms), ASSENT_QUERY_START_MS + SLACK_MS);
        cr_assert_eq(rd_kafka_mock_broker_set_up(contract_mock, 1), 0);
        cr_assert_eq(ask(&took_ms), ASSENT_OK, "%s", assent_bus_errmsg(bus));
}

Test(bus_away, a_loop_waits_once_and_then_goes_on)
{
        int64_t took_ms;
        int found;
        struct assent_bus_consumer *consumer = loop_open();
        cr_assert_eq(ask(&took_ms), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        silence_begin();
        cr_assert_eq(ask(&took_ms), ASSENT_E_BROKER);
        cr_assert_geq(took_ms, ASSENT_QUERY_RUN_MS - 1);
        cr_assert_lt(took_ms, ASSENT_QUERY_RUN_MS + SLACK_MS);
        int64_t began_ms = assent_clock_ms();
        contract_send_text(topic, 0, "second");
        cr_assert_eq(ask(&took_ms), ASSENT_E_BROKER);
        cr_assert_not_null(strstr(assent_bus_errmsg(bus), "it is asked again in "), "%s", assent_bus_errmsg(bus));
        cr_assert_eq(assent_bus_lookup(bus, name, &found), ASSENT_E_BROKER);
        cr_assert_eq(assent_bus_commit(bus, consumer, 0, 1, (struct assent_bytes){"m", 1}, true), ASSENT_AGAIN);
        cr_assert_eq(assent_bus_flush(bus, 30000), ASSENT_TIMED_OUT);
        cr_assert_eq(assent_bus_pause(bus, consumer, 0, true), ASSENT_OK);
        cr_assert_eq(assent_bus_pause(bus, consumer, 0, false), ASSENT_OK);
        cr_assert_eq(assent_bus_seek(bus, consumer, 0, 0), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        cr_assert_lt(since_ms(began_ms), SLACK_MS);
        usleep((ASSENT_AWAY_MS + 50) * 1000); /* and then it asks again */
        cr_assert_eq(ask(&took_ms), ASSENT_E_BROKER);
        cr_assert_geq(took_ms, ASSENT_QUERY_RUN_MS - 1);
        assent_bus_consumer_close(bus, consumer);
}

/* A topic that the bus neither writes nor reads. */
Test(bus_away, a_question_follows_the_leader)
{
        char brokers[512];
        int64_t took_ms;
        assent_bus_close(bus);
        rd_kafka_mock_cluster_destroy(contract_mock);
        contract_mock = rd_kafka_mock_cluster_new(contract_home, 2);
        snprintf(brokers, sizeof brokers, "assent.brokers=%s", rd_kafka_mock_cluster_bootstraps(contract_mock));
        contract_set(brokers);
        contract_bus();
        cr_assert_eq(rd_kafka_mock_topic_create(contract_mock, contract_name("away", name), LANES, 2), 0);
        contract_topic_await(name, LANES);
        for (int32_t leader = 1; leader <= 2; leader++) {
                cr_assert_eq(rd_kafka_mock_partition_set_leader(contract_mock, name, 0, leader), 0);
                cr_assert_eq(ask(&took_ms), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        }
        /* One that dies is not asked for ever either. */
        cr_assert_eq(rd_kafka_mock_partition_set_leader(contract_mock, name, 0, 1), 0);
        cr_assert_eq(rd_kafka_mock_broker_set_down(contract_mock, 2), 0);
        enum assent_err err = ask(&took_ms);
        for (int tries = 0; tries < 3 && err; tries++)
                err = ask(&took_ms);
        cr_assert_eq(err, ASSENT_OK, "%s", assent_bus_errmsg(bus));
}

/* A leader that refuses a producer's first batch and takes the second, both being under way. */
Test(bus_away, a_batch_refused_before_another_is_not_lost)
{
        int64_t low, high;
        contract_topic(contract_name("away", name), LANES);
        topic = assent_bus_topic(bus, name);
        cr_assert_eq(rd_kafka_mock_broker_push_request_error_rtts(contract_mock, 1, PRODUCE, 2,
                                                                  RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 500,
                                                                  RD_KAFKA_RESP_ERR_NO_ERROR, 500),
                     0);
        contract_send_text(topic, 0, "first");
        for (int64_t began_ms = assent_clock_ms(); since_ms(began_ms) < 200;) /* long enough to be a batch of its own */
                assent_bus_poll(bus, 10);
        contract_send_text(topic, 0, "second");
        contract_flush();
        cr_assert_eq(reports_count, 2);
        bool first = false, second = false;
        for (size_t i = 0; i < 2; i++) {
                cr_assert(!reports[i].err && reports[i].offset >= 0, "report %zu: offset %" PRId64, i, reports[i].offset);
                first |= strcmp(reports[i].value, "first") == 0;
                second |= strcmp(reports[i].value, "second") == 0;
        }
        cr_assert(first && second);
        cr_assert_eq(assent_bus_watermarks(bus, name, 0, &low, &high), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        cr_assert_eq(high, 2);
}

Test(bus_away, a_sign_of_the_broker_ends_the_silence)
{
        int64_t took_ms;
        struct assent_bus_consumer *consumer = loop_open();
        cr_assert_eq(rd_kafka_mock_broker_set_down(contract_mock, 1), 0);
        contract_send_text(topic, 0, "second");
        cr_assert_eq(ask(&took_ms), ASSENT_E_BROKER);
        int64_t began_ms = assent_clock_ms();
        cr_assert_eq(rd_kafka_mock_broker_set_up(contract_mock, 1), 0);
        size_t before = reports_count;
        while (reports_count == before && since_ms(began_ms) < ASSENT_AWAY_MS)
                assent_bus_poll(bus, 10);
        cr_assert_lt(since_ms(began_ms), ASSENT_AWAY_MS - 100, "too late to tell");
        cr_assert_eq(ask(&took_ms), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        char text[64];
        cr_assert_eq(contract_read(consumer, text, NULL), 1);
        cr_assert_str_eq(text, "second");
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_away, a_commit_that_waits_ends_at_its_limit)
{
        struct assent_bus_consumer *consumer = loop_open();
        struct assent_bytes metadata = {"m", 1};
        cr_assert_eq(assent_bus_commit(bus, consumer, 0, 1, metadata, true), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        silence_begin();
        int64_t began_ms = assent_clock_ms();
        cr_assert_eq(assent_bus_commit(bus, consumer, 0, 2, metadata, true), ASSENT_AGAIN);
        cr_assert_lt(since_ms(began_ms), ASSENT_QUERY_RUN_MS + SLACK_MS);
        cr_assert_eq(assent_bus_commit(bus, consumer, 1, 1, metadata, false), ASSENT_OK);
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_away, a_flush_of_a_loop_gives_up_when_nothing_comes)
{
        struct assent_bus_consumer *consumer = loop_open();
        int quarter_ms = (int)assent_config_int(config, "assent.stop_timeout_ms") / 4;
        silence_begin();
        contract_send_text(topic, 0, "second");
        int64_t began_ms = assent_clock_ms();
        cr_assert_eq(assent_bus_flush(bus, 30000), ASSENT_TIMED_OUT);
        cr_assert_geq(since_ms(began_ms), quarter_ms - 1);
        cr_assert_lt(since_ms(began_ms), quarter_ms + SLACK_MS);
        assent_bus_consumer_close(bus, consumer);
}

/* With a commit in the air, which is what a client of a silent broker does not end for by itself. */
static void closing(struct assent_bus_consumer *consumer)
{
        struct assent_bytes metadata = {"m", 1};
        int64_t stop_timeout_ms = assent_config_int(config, "assent.stop_timeout_ms");
        silence_begin();
        contract_send_text(topic, 0, "second");
        for (int lane = 0; lane < LANES; lane++)
                cr_assert_eq(assent_bus_commit(bus, consumer, lane, 1, metadata, false), ASSENT_OK);
        int64_t began_ms = assent_clock_ms();
        assent_bus_flush(bus, (int)stop_timeout_ms);
        for (int lane = 0; lane < LANES; lane++)
                cr_assert_eq(assent_bus_commit(bus, consumer, lane, 1, metadata, true), ASSENT_AGAIN);
        assent_bus_consumer_close(bus, consumer);
        assent_bus_close(bus);
        cr_assert_lt(since_ms(began_ms), stop_timeout_ms);
        bus = NULL;
}

Test(bus_away, the_end_of_an_assigned_loop_keeps_to_its_limit)
{
        closing(loop_open());
}

Test(bus_away, the_end_of_a_subscribed_loop_keeps_to_its_limit)
{
        char text[64];
        topic_open();
        struct assent_bus_consumer *consumer = contract_consumer(name, "away", 0, &lanes);
        cr_assert_eq(contract_read(consumer, text, NULL), 0);
        closing(consumer);
}
