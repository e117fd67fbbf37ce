/* bus_positions.c: where a reader starts, commits, pauses, seeks; what the cluster tells about a topic. */
#include "contract.h"

TestSuite(bus_positions, .init = contract_open, .fini = contract_close, .timeout = 120);

static int topic;
static char name[128], group[128], text[64];

static void filled(int records)
{
        contract_topic(contract_name("positions", name), LANES);
        contract_name("group", group);
        topic = assent_bus_topic(bus, name);
        for (int i = 0; i < records; i++) {
                snprintf(text, sizeof text, "%d", i);
                contract_send_text(topic, 0, text);
        }
        contract_flush();
}

Test(bus_positions, an_assigned_lane_starts_where_its_owner_says)
{
        filled(10);
        struct contract_lanes lanes = {.start = 6};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, 1, &lanes);
        cr_assert_eq(lanes.assigned, 1); /* before open returned */
        cr_assert_eq(lanes.committed[0], -1);
        cr_assert_eq(contract_read(consumer, text, NULL), 6);
        cr_assert_str_eq(text, "6");
        assent_bus_consumer_close(bus, consumer);
        cr_assert_eq(lanes.revoked, 1);
        cr_assert_eq(lanes.lost, 0);
}

Test(bus_positions, an_error_of_the_owner_comes_back_from_open)
{
        filled(1);
        static const int32_t zero = 0;
        struct contract_lanes lanes = {.err = ASSENT_E_CHECKPOINT};
        struct assent_bus_consumer_options options = {.topic = name,
                                                      .lanes = &zero,
                                                      .lanes_count = 1,
                                                      .assigned = contract_assigned,
                                                      .revoked = contract_revoked,
                                                      .context = &lanes};
        struct assent_bus_consumer *consumer;
        cr_assert_eq(assent_bus_consumer_open(bus, &options, &consumer), ASSENT_E_CHECKPOINT);
        cr_assert_null(consumer);
        cr_assert_eq(lanes.revoked, 0);
}

static void commit_and_read_again(size_t metadata_size, bool wait)
{
        static char metadata[3500];
        memset(metadata, 'm', sizeof metadata);
        filled(5);
        struct contract_lanes first = {.start = -1}, second = {.start = -1};
        struct assent_bus_consumer *consumer = contract_consumer(name, group, LANES, &first);
        cr_assert_eq(first.committed[0], -1);
        cr_assert_eq(first.metadata_size[0], 0);
        enum assent_err err = ASSENT_AGAIN; /* a group's first commit may find its coordinator still loading */
        for (int tries = 0; tries < 50 && err; tries++) {
                err = assent_bus_commit(bus, consumer, 0, 3, (struct assent_bytes){metadata, metadata_size}, wait);
                if (err)
                        usleep(100000);
        }
        cr_assert_eq(err, ASSENT_OK, "%s", assent_bus_errmsg(bus));
        struct assent_committed now = {.offset = wait ? 3 : -1};
        if (!wait)
                contract_read(consumer, text, NULL);
        for (int tries = 0; tries < 100 && now.offset != 3; tries++) { /* one in the background that fails is told to nobody */
                usleep(100000);
                cr_assert_eq(assent_bus_committed(bus, consumer, 0, &now), ASSENT_OK, "%s", assent_bus_errmsg(bus));
                if (now.offset != 3)
                        assent_bus_commit(bus, consumer, 0, 3, (struct assent_bytes){metadata, metadata_size}, wait);
        }
        assent_bus_consumer_close(bus, consumer);
        consumer = contract_consumer(name, group, LANES, &second);
        cr_assert_eq(assent_bus_committed(bus, consumer, 0, &now), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        cr_assert(now.offset == 3 && now.metadata.size == metadata_size);
        cr_assert_eq(memcmp(now.metadata.data, metadata, metadata_size), 0);
        cr_assert_eq(assent_bus_committed(bus, consumer, 1, &now), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        cr_assert(now.offset == -1 && now.metadata.size == 0);
        cr_assert_eq(second.committed[0], 3);
        cr_assert_eq(second.committed[1], -1);
        cr_assert_eq(second.metadata_size[0], metadata_size);
        cr_assert_eq(memcmp(second.metadata[0], metadata, metadata_size), 0);
        cr_assert_eq(contract_read(consumer, text, NULL), 3);
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_positions, a_commit_with_the_longest_metadata_comes_back)
{
        commit_and_read_again(3500, true);
}

Test(bus_positions, a_commit_without_metadata_comes_back)
{
        commit_and_read_again(0, true);
}

Test(bus_positions, a_commit_in_the_background_comes_back)
{
        commit_and_read_again(20, false);
}

/* On the embedded broker a join takes three seconds and each rebalance most of a session; it is tested on a real one.
 */
Test(bus_positions, a_subscribed_group_hands_lanes_over)
{
        if (!contract_real())
                return;
        contract_set("session.timeout.ms=10000"); /* nobody is thrown out, however slow the machine is */
        contract_set("heartbeat.interval.ms=200");
        filled(5);
        struct contract_lanes first = {.start = -1}, second = {.start = -1};
        struct assent_bus_consumer *one = contract_consumer(name, group, 0, &first), *two;
        cr_assert_eq(first.assigned, 0); /* it runs within consume */
        cr_assert_eq(contract_read(one, text, NULL), 0);
        cr_assert_eq(first.assigned, LANES);
        cr_assert_eq(assent_bus_commit(bus, one, 0, 1, (struct assent_bytes){"m", 1}, true), ASSENT_OK, "%s",
                     assent_bus_errmsg(bus));
        /* A standby may look, and may not commit beside a living member (R19). */
        struct contract_lanes looking = {.start = 0};
        struct assent_bus_consumer *standby = contract_consumer(name, group, LANES, &looking);
        struct assent_committed now;
        cr_assert_eq(assent_bus_committed(bus, standby, 0, &now), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        cr_assert_eq(now.offset, 1);
        cr_assert_eq(assent_bus_commit(bus, standby, 0, 2, (struct assent_bytes){"s", 1}, true), ASSENT_AGAIN);
        assent_bus_consumer_close(bus, standby);
        two = contract_consumer(name, group, 0, &second);
        struct assent_record record;
        size_t count;
        int64_t deadline_ms = assent_clock_ms() + 20000;
        while (second.assigned == 0 && assent_clock_ms() < deadline_ms) {
                cr_assert_eq(assent_bus_consume(bus, one, &record, 1, 20, &count), ASSENT_OK);
                cr_assert_eq(assent_bus_consume(bus, two, &record, 1, 20, &count), ASSENT_OK);
        }
        while (first.assigned < LANES + 2 && assent_clock_ms() < deadline_ms)
                cr_assert_eq(assent_bus_consume(bus, one, &record, 1, 20, &count), ASSENT_OK);
        cr_assert_eq(first.revoked, LANES); /* eager: all of them go, half come back */
        cr_assert_eq(first.assigned, LANES + 2);
        cr_assert_eq(second.assigned, 2);
        cr_assert_eq(first.lost, 0);
        for (int lane = 0; lane < LANES; lane++)
                cr_assert_neq(first.held[lane], second.held[lane]);
        struct contract_lanes *owner = first.held[0] ? &first : &second;
        cr_assert_eq(owner->committed[0], 1);
        cr_assert_eq(owner->metadata_size[0], 1);
        assent_bus_consumer_close(bus, one);
        assent_bus_consumer_close(bus, two);
        cr_assert_eq(first.revoked, LANES + 2);
        cr_assert_eq(second.revoked, 2);
}

Test(bus_positions, an_error_of_the_owner_comes_back_from_consume)
{
        if (!contract_real()) /* as above */
                return;
        filled(5);
        struct contract_lanes lanes = {.start = -1, .err = ASSENT_E_DIGEST};
        struct assent_bus_consumer *consumer = contract_consumer(name, group, 0, &lanes);
        struct assent_record record;
        size_t count;
        enum assent_err err = ASSENT_OK;
        for (int tries = 0; tries < 200 && !err; tries++) {
                err = assent_bus_consume(bus, consumer, &record, 1, 100, &count);
                cr_assert_eq(count, 0);
        }
        cr_assert_eq(err, ASSENT_E_DIGEST);
        cr_assert_eq(lanes.assigned, 1);
        assent_bus_consumer_close(bus, consumer);
        cr_assert_eq(lanes.revoked, 0);
}

Test(bus_positions, a_seek_goes_back_and_forward)
{
        filled(100);
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, 1, &lanes);
        cr_assert_eq(contract_read(consumer, text, NULL), 0);
        cr_assert_eq(contract_read(consumer, text, NULL), 1);
        usleep(300000); /* everything is read ahead now */
        cr_assert_eq(assent_bus_seek(bus, consumer, 0, 50), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        for (int64_t i = 50; i < 60; i++)
                cr_assert_eq(contract_read(consumer, text, NULL), i);
        cr_assert_eq(assent_bus_seek(bus, consumer, 0, 0), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        for (int64_t i = 0; i < 100; i++)
                cr_assert_eq(contract_read(consumer, text, NULL), i);
        contract_silence(consumer, 200);
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_positions, a_seek_right_after_open_counts)
{
        filled(10);
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, 1, &lanes);
        cr_assert_eq(assent_bus_seek(bus, consumer, 0, 5), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        for (int64_t i = 5; i < 10; i++)
                cr_assert_eq(contract_read(consumer, text, NULL), i);
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_positions, a_paused_lane_is_silent_and_loses_nothing)
{
        filled(100);
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, LANES, &lanes);
        for (int64_t i = 0; i < 10; i++)
                cr_assert_eq(contract_read(consumer, text, NULL), i);
        cr_assert_eq(assent_bus_pause(bus, consumer, 0, false), ASSENT_OK); /* was not paused: changes nothing */
        cr_assert_eq(assent_bus_pause(bus, consumer, 0, true), ASSENT_OK);
        cr_assert_eq(assent_bus_pause(bus, consumer, 0, true), ASSENT_OK);
        contract_silence(consumer, 500);
        contract_send_text(topic, 1, "other");
        int32_t lane;
        cr_assert_eq(contract_read(consumer, text, &lane), 0);
        cr_assert_eq(lane, 1); /* the others go on */
        cr_assert_eq(assent_bus_pause(bus, consumer, 0, false), ASSENT_OK);
        for (int64_t i = 10; i < 100; i++)
                cr_assert_eq(contract_read(consumer, text, NULL), i);
        contract_silence(consumer, 200);
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_positions, a_seek_while_paused_counts_after_the_resume)
{
        filled(100);
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, 1, &lanes);
        for (int64_t i = 0; i < 10; i++)
                cr_assert_eq(contract_read(consumer, text, NULL), i);
        cr_assert_eq(assent_bus_pause(bus, consumer, 0, true), ASSENT_OK);
        cr_assert_eq(assent_bus_seek(bus, consumer, 0, 40), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        contract_silence(consumer, 300);
        cr_assert_eq(assent_bus_pause(bus, consumer, 0, false), ASSENT_OK);
        for (int64_t i = 40; i < 50; i++)
                cr_assert_eq(contract_read(consumer, text, NULL), i);
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_positions, a_pause_right_after_a_seek_keeps_the_new_position)
{
        filled(100);
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, 1, &lanes);
        for (int64_t i = 0; i < 10; i++)
                cr_assert_eq(contract_read(consumer, text, NULL), i);
        cr_assert_eq(assent_bus_seek(bus, consumer, 0, 40), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        cr_assert_eq(assent_bus_pause(bus, consumer, 0, true), ASSENT_OK);
        contract_silence(consumer, 300);
        cr_assert_eq(assent_bus_pause(bus, consumer, 0, false), ASSENT_OK);
        for (int64_t i = 40; i < 50; i++)
                cr_assert_eq(contract_read(consumer, text, NULL), i);
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_positions, an_offset_outside_the_log_stops_the_reader)
{
        filled(5);
        struct contract_lanes lanes = {.start = 1000};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, 1, &lanes);
        struct assent_record record;
        size_t count;
        enum assent_err err = ASSENT_OK;
        for (int tries = 0; tries < 100 && !err; tries++)
                err = assent_bus_consume(bus, consumer, &record, 1, 100, &count);
        cr_assert_eq(err, ASSENT_E_POSITION);
        cr_assert_not_null(strstr(assent_bus_errmsg(bus), name));
        cr_assert_not_null(strstr(assent_bus_errmsg(bus), "lane 0: offset 1000 "), "%s", assent_bus_errmsg(bus));
        cr_assert_eq(assent_bus_consume(bus, consumer, &record, 1, 0, &count), ASSENT_E_POSITION); /* for good */
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_positions, watermarks_are_the_log_start_and_the_next_offset)
{
        int64_t low = -1, high = -1;
        filled(7);
        cr_assert_eq(assent_bus_watermarks(bus, name, 0, &low, &high), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        cr_assert_eq(low, 0);
        cr_assert_eq(high, 7);
        cr_assert_eq(assent_bus_watermarks(bus, name, 1, &low, &high), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        cr_assert_eq(high, 0);
        cr_assert_eq(assent_bus_watermarks(bus, name, LANES, &low, &high), ASSENT_E_NOT_FOUND);
        cr_assert_not_null(strstr(assent_bus_errmsg(bus), "lane 4"));
}

#ifndef CONTRACT_SIM /* a foreign client needs a broker to talk to */
/* Somebody else's transactional producer, which never ends its transaction; real Kafka only. */
Test(bus_positions, an_open_foreign_transaction_does_not_hide_the_end)
{
        char errmsg[512], id[128];
        int64_t low, high;
        if (!contract_real())
                return;
        filled(2);
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_set(conf, "bootstrap.servers", getenv("ASSENT_TEST_BROKERS"), errmsg, sizeof errmsg);
        rd_kafka_conf_set(conf, "transactional.id", contract_name("foreign", id), errmsg, sizeof errmsg);
        rd_kafka_t *foreign = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errmsg, sizeof errmsg);
        cr_assert_not_null(foreign, "%s", errmsg);
        cr_assert_null(rd_kafka_init_transactions(foreign, 30000));
        cr_assert_null(rd_kafka_begin_transaction(foreign));
        cr_assert_eq(rd_kafka_producev(foreign, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_VALUE("open", 4), RD_KAFKA_V_END),
                     0);
        cr_assert_eq(rd_kafka_flush(foreign, 30000), 0);
        cr_assert_eq(assent_bus_watermarks(bus, name, 0, &low, &high), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        cr_assert_eq(high, 3);
        rd_kafka_abort_transaction(foreign, 30000);
        rd_kafka_destroy(foreign);
}
#endif

Test(bus_positions, a_time_leads_to_an_offset_or_is_unsupported)
{
        int64_t offset = -1;
        filled(3);
        usleep(20000);
        int64_t between_ms = assent_clock_wall_ms();
        usleep(20000);
        contract_send_text(topic, 0, "later");
        contract_flush();
        enum assent_err err = assent_bus_offset_for_time(bus, name, 0, between_ms, &offset);
        if (!contract_real()) {
                cr_assert_eq(err, ASSENT_E_UNSUPPORTED);
                return;
        }
        cr_assert_eq(err, ASSENT_OK, "%s", assent_bus_errmsg(bus));
        cr_assert_eq(offset, 3);
        cr_assert_eq(assent_bus_offset_for_time(bus, name, 0, 0, &offset), ASSENT_OK);
        cr_assert_eq(offset, 0);
        cr_assert_eq(assent_bus_offset_for_time(bus, name, 0, between_ms + 3600000, &offset), ASSENT_OK);
        cr_assert_eq(offset, 4); /* none so late: the high watermark */
}

Test(bus_positions, looking_for_a_topic_does_not_make_it)
{
        int lanes = 99;
        contract_name("typo", name);
        cr_assert_eq(assent_bus_lookup(bus, name, &lanes), ASSENT_E_NOT_FOUND);
        cr_assert_eq(lanes, 0);
        cr_assert_not_null(strstr(assent_bus_errmsg(bus), name));
        usleep(300000);
        cr_assert_eq(assent_bus_lookup(bus, name, &lanes), ASSENT_E_NOT_FOUND);
}

#ifndef CONTRACT_SIM /* librdkafka's properties */
Test(bus_positions, a_refused_property_names_itself)
{
        struct assent_bus *refused;
        struct assent_bus_options options = {.config = config, .client_id = "refused"};
        contract_set("linger.ms=abc");
        cr_assert_eq(assent_bus_kafka_open(&options, &refused), ASSENT_E_CONFIG);
        cr_assert_not_null(strstr(assent_bus_errmsg(refused), "linger.ms"));
        assent_bus_close(refused);
        contract_set("linger.ms=1");
        contract_set("batch.size=262145");
        cr_assert_eq(assent_bus_kafka_open(&options, &refused), ASSENT_E_CONFIG);
        cr_assert_not_null(
            strstr(assent_bus_errmsg(refused), "batch.size=262145 is above assent.record_bytes_max=262144"));
        assent_bus_close(refused);
        contract_set("batch.size=262144");
        cr_assert_eq(assent_bus_kafka_open(&options, &refused), ASSENT_OK, "%s", assent_bus_errmsg(refused));
        assent_bus_close(refused);
        assent_bus_close(NULL);
}
#endif
