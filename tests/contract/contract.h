/* contract.h: what the contract tests share. Each Criterion test is a process of its own: it gets a broker (the one
 * that ASSENT_TEST_BROKERS names, else an embedded one inside the process), a configuration, a bus, and topics with
 * names that no other test uses. With -DCONTRACT_SIM the broker is the simulated cluster, which must do as a real Kafka does,
 * on the clock of the simulator. */
#ifndef ASSENT_TESTS_CONTRACT_H
#define ASSENT_TESTS_CONTRACT_H

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "kafka/bus.h"

#ifdef CONTRACT_SIM
#include "sim/sim.h"
#define assent_clock_ms()      sim_now_ms()
#define assent_clock_wall_ms() (SIM_EPOCH_MS + sim_now_ms())

void sim_count(enum sim_fault fault)
{
        (void)fault; /* none is asked for here */
}
#else
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

static rd_kafka_t *contract_home; /* the mock cluster's, or the admin client of a real Kafka */
static rd_kafka_mock_cluster_t *contract_mock;
#endif

#define LANES       4
#define REPORTS_MAX 100000

static struct assent_config *config;
static struct assent_bus *bus;

static struct {
        uint64_t tag;
        int64_t offset;
        enum assent_err err;
        int topic;
        int32_t lane;
        char value[8]; /* its beginning */
} reports[REPORTS_MAX];
static size_t reports_count;

static inline bool contract_real(void)
{
#ifdef CONTRACT_SIM
        return true;
#else
        return getenv("ASSENT_TEST_BROKERS") != NULL;
#endif
}

static inline void contract_set(const char *assignment)
{
        cr_assert_eq(assent_config_set(config, assignment, "test"), ASSENT_OK, "%s", assent_config_errmsg(config));
}

#ifdef CONTRACT_SIM
static inline void contract_cluster(void)
{
        sim_world_open(&(struct sim_options){.seed = 1, .calm = true, .lanes = LANES});
        sim_cluster_open();
        cr_assert_eq(assent_config_open(&config), ASSENT_OK);
        contract_set("assent.brokers=simulated:9092");
}
#else
static inline void contract_cluster(void)
{
        char errmsg[512], brokers[512];
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_set(conf, "log_level", "3", errmsg, sizeof errmsg);
        if (contract_real())
                rd_kafka_conf_set(conf, "bootstrap.servers", getenv("ASSENT_TEST_BROKERS"), errmsg, sizeof errmsg);
        contract_home = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errmsg, sizeof errmsg);
        cr_assert_not_null(contract_home, "%s", errmsg);
        cr_assert_eq(assent_config_open(&config), ASSENT_OK);
        if (contract_real()) {
                snprintf(brokers, sizeof brokers, "assent.brokers=%s", getenv("ASSENT_TEST_BROKERS"));
        } else {
                contract_mock = rd_kafka_mock_cluster_new(contract_home, 1);
                cr_assert_not_null(contract_mock);
                snprintf(brokers, sizeof brokers, "assent.brokers=%s", rd_kafka_mock_cluster_bootstraps(contract_mock));
                contract_set("assent.broker=embedded");
        }
        contract_set(brokers);
        contract_set("assent.dev=true");
        contract_set("assent.replication=1");
        contract_set("assent.min_insync_replicas=1");
}
#endif

static inline void contract_report(void *context, const struct assent_report *report)
{
        (void)context;
        cr_assert(reports_count < REPORTS_MAX);
        reports[reports_count].tag = report->tag;
        reports[reports_count].offset = report->offset;
        reports[reports_count].err = report->err;
        reports[reports_count].topic = report->topic;
        reports[reports_count].lane = report->lane;
        snprintf(reports[reports_count].value, sizeof reports[0].value, "%.*s", (int)report->value.size,
                 (const char *)report->value.data);
        reports_count++;
}

static inline void contract_bus(void)
{
        struct assent_bus_options options = {.config = config, .client_id = "contract", .delivered = contract_report};
        cr_assert_eq(assent_bus_kafka_open(&options, &bus), ASSENT_OK, "%s", assent_bus_errmsg(bus));
}

static inline void contract_open(void)
{
        contract_cluster();
        contract_bus();
}

static inline void contract_close(void)
{
        assent_bus_close(bus);
        assent_config_close(config);
#ifdef CONTRACT_SIM
        sim_world_close();
        sim_cluster_close();
#else
        if (contract_mock)
                rd_kafka_mock_cluster_destroy(contract_mock);
        rd_kafka_destroy(contract_home);
#endif
}

/* "<base>-<time>-<pid>": a real broker remembers the topics of earlier runs. */
static inline const char *contract_name(const char *base, char name[128])
{
        snprintf(name, 128, "%s-%" PRIx64 "-%d", base, (uint64_t)assent_clock_wall_ms(), (int)getpid());
        return name;
}

#ifndef CONTRACT_SIM
/* `settings`: "key=value" strings, ended by NULL; NULL for none. */
static inline void contract_topic_admin(const char *name, int lanes, const char *const *settings)
{
        char errmsg[512];
        rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, lanes, 1, errmsg, sizeof errmsg);
        for (size_t i = 0; settings && settings[i]; i++) {
                char key[128];
                const char *value = strchr(settings[i], '=') + 1;
                snprintf(key, sizeof key, "%.*s", (int)(value - settings[i] - 1), settings[i]);
                rd_kafka_NewTopic_set_config(topic, key, value);
        }
        rd_kafka_queue_t *queue = rd_kafka_queue_new(contract_home);
        rd_kafka_CreateTopics(contract_home, &topic, 1, NULL, queue);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
        cr_assert_not_null(event);
        size_t count = 0;
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        cr_assert_eq(count, 1);
        cr_assert_eq(rd_kafka_topic_result_error(results[0]), 0, "%s", rd_kafka_topic_result_error_string(results[0]));
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
        rd_kafka_NewTopic_destroy(topic);
}
#endif

/* Until the broker that is asked has heard of it. */
static inline void contract_topic_await(const char *name, int lanes)
{
        int found = 0;
        for (int tries = 0; tries < 100 && found != lanes; tries++) {
                assent_bus_lookup(bus, name, &found);
                if (found != lanes)
                        usleep(50000);
        }
        cr_assert_eq(found, lanes, "%s", assent_bus_errmsg(bus));
        /* Metadata may come before the leaders know that they lead. */
        for (int32_t lane = 0; lane < lanes; lane++) {
                int64_t low, high;
                enum assent_err err = ASSENT_E_BROKER;
                for (int tries = 0; tries < 100 && err; tries++) {
                        err = assent_bus_watermarks(bus, name, lane, &low, &high);
                        if (err)
                                usleep(50000);
                }
                cr_assert_eq(err, ASSENT_OK, "%s", assent_bus_errmsg(bus));
        }
}

static inline void contract_topic(const char *name, int lanes)
{
#ifdef CONTRACT_SIM
        cr_assert_eq(lanes, LANES);
        sim_topic(name);
#else
        if (contract_real())
                contract_topic_admin(
                    name, lanes,
                    (const char *const[]){"message.timestamp.type=LogAppendTime", "max.message.bytes=266240", NULL});
        else
                cr_assert_eq(rd_kafka_mock_topic_create(contract_mock, name, lanes, 1), 0);
#endif
        contract_topic_await(name, lanes);
}

static inline void contract_send(int topic, int32_t lane, const void *data, size_t size, uint64_t tag)
{
        struct assent_outgoing outgoing = {.topic = topic,
                                           .lane = lane,
                                           .key = {.data = "key", .size = 3},
                                           .value = {.data = data, .size = size},
                                           .tag = tag};
        enum assent_err err;
        while ((err = assent_bus_send(bus, &outgoing)) == ASSENT_AGAIN)
                assent_bus_poll(bus, 10);
        cr_assert_eq(err, ASSENT_OK, "%s", assent_bus_errmsg(bus));
}

static inline void contract_send_text(int topic, int32_t lane, const char *text)
{
        contract_send(topic, lane, text, strlen(text), 0);
}

static inline void contract_flush(void)
{
        cr_assert_eq(assent_bus_flush(bus, 30000), ASSENT_OK, "%s", assent_bus_errmsg(bus));
}

/* What `assigned` and `revoked` saw; start -1: from the committed offset, or 0. */
struct contract_lanes {
        int64_t start;
        enum assent_err err;
        int assigned, revoked, lost;
        bool held[LANES];
        int64_t committed[LANES];
        char metadata[LANES][4000];
        size_t metadata_size[LANES];
};

static inline enum assent_err contract_assigned(void *context, int32_t lane, const struct assent_committed *committed,
                                                int64_t *start)
{
        struct contract_lanes *lanes = context;
        cr_assert(lane >= 0 && lane < LANES);
        cr_assert_not(lanes->held[lane]);
        cr_assert_lt(committed->metadata.size, sizeof lanes->metadata[0]);
        lanes->assigned++;
        lanes->committed[lane] = committed->offset;
        lanes->metadata_size[lane] = committed->metadata.size;
        if (committed->metadata.size)
                memcpy(lanes->metadata[lane], committed->metadata.data, committed->metadata.size);
        *start = lanes->start >= 0 ? lanes->start : committed->offset >= 0 ? committed->offset : 0;
        lanes->held[lane] = !lanes->err;
        return lanes->err;
}

static inline void contract_revoked(void *context, int32_t lane, bool lost)
{
        struct contract_lanes *lanes = context;
        cr_assert(lane >= 0 && lane < LANES && lanes->held[lane]);
        lanes->held[lane] = false;
        lanes->revoked++;
        lanes->lost += lost;
}

/* group NULL: none; lanes_count 0: subscribed. */
static inline struct assent_bus_consumer *contract_consumer(const char *topic, const char *group, size_t lanes_count,
                                                            struct contract_lanes *lanes)
{
        static const int32_t all[LANES] = {0, 1, 2, 3};
        struct assent_bus_consumer_options options = {.topic = topic,
                                                      .group = group,
                                                      .lanes = lanes_count ? all : NULL,
                                                      .lanes_count = lanes_count,
                                                      .assigned = contract_assigned,
                                                      .revoked = contract_revoked,
                                                      .context = lanes};
        struct assent_bus_consumer *consumer;
        cr_assert_eq(assent_bus_consumer_open(bus, &options, &consumer), ASSENT_OK, "%s", assent_bus_errmsg(bus));
        return consumer;
}

/* One record within ten seconds, copied as text; its lane and offset. */
static inline int64_t contract_read(struct assent_bus_consumer *consumer, char text[64], int32_t *lane)
{
        int64_t deadline_ms = assent_clock_ms() + 10000;
        struct assent_record record;
        size_t count = 0;
        while (count == 0 && assent_clock_ms() < deadline_ms)
                cr_assert_eq(assent_bus_consume(bus, consumer, &record, 1, 100, &count), ASSENT_OK, "%s",
                             assent_bus_errmsg(bus));
        cr_assert_eq(count, 1, "no record within 10 s");
        snprintf(text, 64, "%.*s", (int)record.value.size, (const char *)record.value.data);
        if (lane)
                *lane = record.lane;
        return record.offset;
}

static inline void contract_silence(struct assent_bus_consumer *consumer, int timeout_ms)
{
        struct assent_record record;
        size_t count;
        int64_t deadline_ms = assent_clock_ms() + timeout_ms;
        do {
                cr_assert_eq(assent_bus_consume(bus, consumer, &record, 1, 50, &count), ASSENT_OK);
                cr_assert_eq(count, 0, "a record at lane %d offset %" PRId64, record.lane, record.offset);
        } while (assent_clock_ms() < deadline_ms);
}

#endif
