/* bus_records.c: sending, reading, order, sizes and refusals, on whichever broker contract.h gives. */
#include "contract.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "core/message.h"

TestSuite(bus_records, .init = contract_open, .fini = contract_close, .timeout = 120);

Test(bus_records, lanes_keep_their_order)
{
        char name[128], text[64];
        int next[LANES] = {0};
        contract_topic(contract_name("order", name), LANES);
        int topic = assent_bus_topic(bus, name);
        for (int i = 0; i < 400; i++) {
                snprintf(text, sizeof text, "%d", i / LANES);
                contract_send_text(topic, i % LANES, text);
        }
        contract_flush();
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, LANES, &lanes);
        for (int i = 0; i < 400; i++) {
                int32_t lane;
                int64_t offset = contract_read(consumer, text, &lane);
                cr_assert_eq(offset, next[lane]);
                cr_assert_eq(strtoll(text, NULL, 10), next[lane]);
                next[lane]++;
        }
        contract_silence(consumer, 200);
        assent_bus_consumer_close(bus, consumer);
        cr_assert_eq(lanes.revoked, LANES);
}

Test(bus_records, topic_handles_are_the_same_for_the_same_name)
{
        char name[128], other[128];
        contract_name("one", name);
        contract_name("two", other);
        int topic = assent_bus_topic(bus, name);
        cr_assert_geq(topic, 0);
        cr_assert_neq(assent_bus_topic(bus, other), topic);
        cr_assert_eq(assent_bus_topic(bus, name), topic);
}

Test(bus_records, reports_carry_tag_offset_and_the_record)
{
        char name[128];
        contract_topic(contract_name("report", name), LANES);
        int topic = assent_bus_topic(bus, name);
        for (uint64_t i = 0; i < 10; i++)
                contract_send(topic, 2, "abc", 3, UINT64_MAX - i);
        contract_flush();
        cr_assert_eq(reports_count, 10);
        for (size_t i = 0; i < 10; i++) {
                cr_assert_eq(reports[i].err, ASSENT_OK);
                cr_assert_eq(reports[i].tag, UINT64_MAX - i);
                cr_assert_eq(reports[i].offset, (int64_t)i);
                cr_assert_eq(reports[i].topic, topic);
                cr_assert_eq(reports[i].lane, 2);
                cr_assert_str_eq(reports[i].value, "abc");
        }
}

Test(bus_records, a_report_ends_the_wait_for_records)
{
        char name[128], quiet[128];
        contract_topic(contract_name("sent", name), LANES);
        contract_topic(contract_name("quiet", quiet), LANES);
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(quiet, NULL, LANES, &lanes);
        struct assent_record record;
        size_t count;
        contract_send_text(assent_bus_topic(bus, name), 0, "x");
        int64_t began_ms = assent_clock_ms();
        while (reports_count == 0)
                cr_assert_eq(assent_bus_consume(bus, consumer, &record, 1, 20000, &count), ASSENT_OK);
        cr_assert_lt(assent_clock_ms() - began_ms, 15000);
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_records, a_batch_holds_at_most_what_was_asked)
{
        char name[128];
        struct assent_record records[7];
        contract_topic(contract_name("batch", name), LANES);
        int topic = assent_bus_topic(bus, name);
        for (int i = 0; i < 20; i++)
                contract_send_text(topic, 1, "x");
        contract_flush();
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, LANES, &lanes);
        int64_t next = 0;
        while (next < 20) {
                size_t count;
                cr_assert_eq(assent_bus_consume(bus, consumer, records, 7, 5000, &count), ASSENT_OK);
                cr_assert_leq(count, 7);
                for (size_t i = 0; i < count; i++) {
                        cr_assert_eq(records[i].offset, next++);
                        cr_assert_eq(records[i].key.size, 3);
                        cr_assert_eq(memcmp(records[i].value.data, "x", 1), 0);
                        cr_assert_eq(records[i].append_time, contract_real());
                        cr_assert_lt(llabs(records[i].timestamp_ms - assent_clock_wall_ms()), 60000);
                }
        }
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_records, consuming_nothing_returns_in_time)
{
        char name[128];
        struct assent_record record;
        size_t count = 1;
        contract_topic(contract_name("empty", name), LANES);
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, LANES, &lanes);
        int64_t began_ms = assent_clock_ms();
        cr_assert_eq(assent_bus_consume(bus, consumer, &record, 1, 0, &count), ASSENT_OK);
        cr_assert_eq(count, 0);
        cr_assert_lt(assent_clock_ms() - began_ms, 1000);
        began_ms = assent_clock_ms();
        cr_assert_eq(assent_bus_consume(bus, consumer, &record, 1, 1500, &count), ASSENT_OK);
        cr_assert_eq(count, 0);
        cr_assert_geq(assent_clock_ms() - began_ms, 1490);
        cr_assert_lt(assent_clock_ms() - began_ms, 5000);
        assent_bus_consumer_close(bus, consumer);
}

Test(bus_records, headers_travel_and_the_last_of_a_name_counts)
{
        char name[128];
        contract_topic(contract_name("headers", name), LANES);
        struct assent_header headers[] = {{.name = "ce_id", .value = {.data = "one", .size = 3}},
                                          {.name = "ce_id", .value = {.data = "two", .size = 3}},
                                          {.name = "empty", .value = {.data = "", .size = 0}}};
        struct assent_outgoing outgoing = {.topic = assent_bus_topic(bus, name),
                                           .lane = 3,
                                           .value = {.data = "v", .size = 1},
                                           .headers = headers,
                                           .headers_count = 3};
        cr_assert_eq(assent_bus_send(bus, &outgoing), ASSENT_OK);
        contract_flush();
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, LANES, &lanes);
        struct assent_record record;
        struct assent_bytes value;
        size_t count = 0;
        while (count == 0)
                cr_assert_eq(assent_bus_consume(bus, consumer, &record, 1, 1000, &count), ASSENT_OK);
        cr_assert_eq(record.key.size, 0);
        cr_assert(assent_bus_header(bus, &record, "ce_id", &value));
        cr_assert_eq(value.size, 3);
        cr_assert_eq(memcmp(value.data, "two", 3), 0);
        cr_assert(assent_bus_header(bus, &record, "empty", &value));
        cr_assert_eq(value.size, 0);
        cr_assert_not(assent_bus_header(bus, &record, "other", &value));
        assent_bus_consumer_close(bus, consumer);
}

/* As the outbox sends them. */
Test(bus_records, records_with_headers_keep_their_order_and_each_its_own)
{
        enum { COUNT = 1000, BATCH = 100 };
        static struct assent_record records[BATCH];
        char name[128], key[128], number[16];
        contract_topic(contract_name("events", name), LANES);
        int topic = assent_bus_topic(bus, name);
        memset(key, 'k', sizeof key);
        for (int i = 0; i < COUNT; i++) {
                snprintf(number, sizeof number, "%d", i);
                const struct assent_header headers[] = {{"ce_specversion", assent_bytes_of("1.0")},
                                                        {"ce_id", assent_bytes_of(number)},
                                                        {"content-type", assent_bytes_of("text/plain")}};
                const struct assent_outgoing outgoing = {.topic = topic,
                                                         .lane = 1,
                                                         .key = {key, sizeof key},
                                                         .value = {number, i % 2 ? strlen(number) : 0},
                                                         .headers = headers,
                                                         .headers_count = 3};
                cr_assert_eq(assent_bus_send(bus, &outgoing), ASSENT_OK);
        }
        contract_flush();
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, LANES, &lanes);
        for (int got = 0; got < COUNT;) {
                size_t count;
                cr_assert_eq(assent_bus_consume(bus, consumer, records, BATCH, 5000, &count), ASSENT_OK);
                cr_assert_gt(count, 0);
                for (size_t i = 0; i < count; i++, got++) {
                        struct assent_bytes id, type;
                        int size = snprintf(number, sizeof number, "%d", got);
                        cr_assert(assent_bus_header(bus, &records[i], "ce_id", &id));
                        cr_assert(id.size == (size_t)size && memcmp(id.data, number, id.size) == 0, "record %d", got);
                        cr_assert(assent_bus_header(bus, &records[i], "content-type", &type));
                        cr_assert_eq(type.size, 10);
                        cr_assert_eq(records[i].key.size, sizeof key);
                        cr_assert_eq(records[i].value.size, got % 2 ? (size_t)size : 0);
                }
        }
        assent_bus_consumer_close(bus, consumer);
}

/* ---- waking ---- */

static int64_t consume_nothing(struct assent_bus_consumer *consumer, int timeout_ms)
{
        struct assent_record record;
        size_t count;
        int64_t began_ms = assent_clock_ms();
        cr_assert_eq(assent_bus_consume(bus, consumer, &record, 1, timeout_ms, &count), ASSENT_OK);
        cr_assert_eq(count, 0);
        return assent_clock_ms() - began_ms;
}

Test(bus_records, a_wake_between_two_consumes_ends_the_next_one_and_no_other)
{
        char name[128];
        contract_topic(contract_name("wake", name), LANES);
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, LANES, &lanes);
        for (int i = 0; i < 3; i++) {
                assent_bus_wake(bus);
                assent_bus_wake(bus);
                cr_assert_lt(consume_nothing(consumer, 60000), 15000);
                cr_assert_geq(consume_nothing(consumer, 1100), 1090);
        }
        assent_bus_consumer_close(bus, consumer);
}

#ifndef CONTRACT_SIM /* one thread */
static void *wake_while_it_waits(void *argument)
{
        atomic_bool *waits = argument;
        while (!atomic_load(waits))
                sched_yield();
        assent_bus_wake(bus);
        return NULL;
}

Test(bus_records, a_wake_by_another_thread_ends_the_wait)
{
        char name[128];
        contract_topic(contract_name("thread", name), LANES);
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, LANES, &lanes);
        atomic_bool waits;
        for (int i = 0; i < 100; i++) { /* before the wait, at its beginning, in it */
                pthread_t thread;
                atomic_store(&waits, false);
                cr_assert_eq(pthread_create(&thread, NULL, wake_while_it_waits, &waits), 0);
                atomic_store(&waits, true);
                cr_assert_lt(consume_nothing(consumer, 60000), 15000);
                pthread_join(thread, NULL);
        }
        assent_bus_consumer_close(bus, consumer);
}
#endif

Test(bus_records, a_backlog_is_read_completely_and_in_order)
{
        enum { COUNT = 50000, BATCH = 1000 };
        static struct assent_record records[BATCH];
        char name[128], value[64];
        int64_t next[LANES] = {0};
        contract_topic(contract_name("backlog", name), LANES);
        int topic = assent_bus_topic(bus, name);
        for (int i = 0; i < COUNT; i++) {
                snprintf(value, sizeof value, "%063d", i / LANES);
                contract_send(topic, i % LANES, value, 64, 0);
        }
        contract_flush();
        cr_assert_eq(reports_count, COUNT);
        struct contract_lanes lanes = {.start = 0};
        struct assent_bus_consumer *consumer = contract_consumer(name, NULL, LANES, &lanes);
        for (int got = 0; got < COUNT;) {
                size_t count;
                cr_assert_eq(assent_bus_consume(bus, consumer, records, BATCH, 5000, &count), ASSENT_OK);
                cr_assert_gt(count, 0, "%d of %d records within 5 s", got, COUNT);
                for (size_t i = 0; i < count; i++) {
                        cr_assert_eq(records[i].offset, next[records[i].lane]);
                        cr_assert_eq(atoll(records[i].value.data), next[records[i].lane]);
                        next[records[i].lane]++;
                }
                got += (int)count;
        }
        assent_bus_consumer_close(bus, consumer);
}

/* R18 believes a refusal for size; so it may only ever hit the record that is too large. The embedded broker takes any.
 */
Test(bus_records, a_record_too_large_for_the_topic_is_refused_and_its_neighbours_live)
{
        static char large[268000];
        char name[128];
        contract_topic(contract_name("large", name), LANES);
        int topic = assent_bus_topic(bus, name);
        for (uint64_t i = 0; i < 1000; i++)
                contract_send(topic, 0, large, i == 500 ? sizeof large : 500, i);
        contract_flush();
        cr_assert_eq(reports_count, 1000);
        for (size_t i = 0; i < 1000; i++)
                cr_assert_eq(reports[i].err, contract_real() && reports[i].tag == 500 ? ASSENT_E_TOO_LARGE : ASSENT_OK,
                             "tag %" PRIu64, reports[i].tag);
}

Test(bus_records, a_record_too_large_for_the_client_is_refused_at_once)
{
        static char large[300000];
        char name[128];
        contract_topic(contract_name("huge", name), LANES);
        struct assent_outgoing outgoing = {.topic = assent_bus_topic(bus, name),
                                           .value = {.data = large, .size = sizeof large}};
        cr_assert_eq(assent_bus_send(bus, &outgoing), ASSENT_E_TOO_LARGE);
        cr_assert_not_null(strstr(assent_bus_errmsg(bus), name));
        cr_assert_not_null(strstr(assent_bus_errmsg(bus), "300000 bytes"));
        contract_flush();
        cr_assert_eq(reports_count, 0);
}

Test(bus_records, the_largest_record_of_the_rules_passes)
{
        static char large[262144];
        char name[128];
        contract_topic(contract_name("limit", name), LANES);
        contract_send(assent_bus_topic(bus, name), 0, large, sizeof large, 7);
        contract_flush();
        cr_assert_eq(reports_count, 1);
        cr_assert_eq(reports[0].err, ASSENT_OK);
}

/* Only on a real Kafka: the embedded broker makes any topic that is asked for. */
Test(bus_records, a_missing_topic_is_reported)
{
        char name[128];
        int lanes;
        if (!contract_real())
                return;
        contract_send(assent_bus_topic(bus, contract_name("absent", name)), 0, "x", 1, 9);
        for (int tries = 0; tries < 300 && reports_count == 0; tries++)
                assent_bus_poll(bus, 100);
        cr_assert_eq(reports_count, 1);
        cr_assert_eq(reports[0].tag, 9);
        cr_assert_eq(reports[0].err, ASSENT_E_NOT_FOUND);
        cr_assert_eq(assent_bus_lookup(bus, name, &lanes), ASSENT_E_NOT_FOUND);
}

Test(bus_records, a_missing_lane_is_reported)
{
        char name[128];
        contract_topic(contract_name("lane", name), LANES);
        int topic = assent_bus_topic(bus, name);
        contract_send(topic, 0, "x", 1, 1);
        contract_flush();
        contract_send(topic, LANES, "x", 1, 2);
        for (int tries = 0; tries < 300 && reports_count < 2; tries++)
                assent_bus_poll(bus, 100);
        cr_assert_eq(reports_count, 2);
        cr_assert_eq(reports[1].tag, 2);
        cr_assert_eq(reports[1].err, ASSENT_E_NOT_FOUND);
        cr_assert_eq(reports[1].lane, LANES);
        cr_assert_str_eq(reports[1].value, "x");
}

#ifndef CONTRACT_SIM /* the simulated cluster has no addresses, so none of them can be wrong */
Test(bus_records, a_flush_without_a_broker_times_out)
{
        struct assent_bus *lonely;
        contract_set("assent.brokers=127.0.0.1:1");
        contract_set("assent.stop_timeout_ms=3000");
        struct assent_bus_options options = {.config = config, .client_id = "lonely"};
        cr_assert_eq(assent_bus_kafka_open(&options, &lonely), ASSENT_OK);
        struct assent_outgoing outgoing = {.topic = assent_bus_topic(lonely, "x"), .value = {.data = "x", .size = 1}};
        cr_assert_eq(assent_bus_send(lonely, &outgoing), ASSENT_OK);
        cr_assert_eq(assent_bus_flush(lonely, 300), ASSENT_TIMED_OUT);
        cr_assert_str_eq(assent_bus_errmsg(lonely), "1 records are not acknowledged after 300 ms");
        int64_t began_ms = assent_clock_ms();
        assent_bus_close(lonely);
        cr_assert_lt(assent_clock_ms() - began_ms, 6000);
}
#endif
