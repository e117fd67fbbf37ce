/* relay: what a transaction costs when nothing is done but move its records: the ten records of a 2PC with two
 * participants, of the sizes that assent's have, through topics of the same layout, with the same client settings; no
 * database, no dedup, no Avro, no rules. What assent reaches is told as a share of this.
 *
 *   relay --config FILE --count N --in-flight N      (the topics of FILE's prefix must exist)
 *
 * Four threads play client, coordinator and the two participants, each with a producer and a consumer of its own. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/panic.h"
#include "core/message.h"
#include "kafka/client.h"
#include "kafka/topics.h"
#include "../../producers/load/histogram.h"

#define LANES_MAX 1024
#define COUNT_MAX 10000000
#define KEY_SIZE  36 /* a transaction id as text */
#define BODY_MAX  256
#define WAIT_MS   100
/* Played before the clock runs, because a client's first send to a topic can take a second. */
#define WARM_COUNT     1000
#define WARM_IN_FLIGHT 100
#define STALLED_MS     20000 /* nothing came for so long: given up */
#define PARTICIPANTS   2

enum topic { INBOX, COMMANDS, OUTCOMES = COMMANDS + PARTICIPANTS, TOPICS };
enum type { BEGIN, PREPARE, VOTE, COMMIT, ACK, OUTCOME, TYPES };

/* Bytes of the values that assent-load's default transaction has (payment and inventory, no reason). */
static const size_t sizes[TYPES] = {
    [BEGIN] = 166, [PREPARE] = 116, [VOTE] = 66, [COMMIT] = 69, [ACK] = 66, [OUTCOME] = 62};

/* What the receivers need; the rest of a value is filling. */
struct body {
        uint64_t number;
        uint8_t type;
};

struct relay {
        const struct assent_config *config;
        uint64_t count, in_flight; /* count: with those of the warm-up */
        int lanes;
        char topics[TOPICS][ASSENT_TOPIC_SIZE_MAX];
        uint8_t *votes; /* by transaction */
        int64_t *begun_us;
        uint64_t begun, begun_max, done;
        int64_t start_us, end_us, start_cpu_us;
        struct histogram latencies_us;
};

struct role {
        struct relay *relay;
        const char *name;
        enum topic reads;
        void (*take)(struct role *role, const struct body *body);
        uint64_t expected; /* records, then it ends */
        rd_kafka_t *producer, *consumer;
        rd_kafka_topic_t *topics[TOPICS];
        pthread_t thread;
};

static _Noreturn void die(const char *what, const char *why)
{
        fprintf(stderr, "relay: %s: %s\n", what, why);
        exit(1);
}

/* ---- the four roles ---- */

static void put(struct role *role, enum topic topic, enum type type, uint64_t number)
{
        char value[BODY_MAX] = {0}, key[KEY_SIZE] = {0};
        struct body body = {.number = number, .type = (uint8_t)type};

        ASSENT_ASSERT(sizes[type] >= sizeof body && sizes[type] <= sizeof value);
        memcpy(value, &body, sizeof body);
        memcpy(key, &number, sizeof number);
        while (rd_kafka_produce(role->topics[topic], (int32_t)(number % (uint64_t)role->relay->lanes),
                                RD_KAFKA_MSG_F_COPY, value, sizes[type], key, sizeof key, NULL)) {
                if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                        die(role->name, rd_kafka_err2str(rd_kafka_last_error()));
                rd_kafka_poll(role->producer, 1);
        }
}

static void begin_next(struct role *role)
{
        struct relay *relay = role->relay;
        if (relay->begun == relay->begun_max)
                return;
        relay->begun_us[relay->begun] = assent_clock_us();
        put(role, INBOX, BEGIN, relay->begun++);
}

static void begin_many(struct role *role, uint64_t count, uint64_t in_flight)
{
        role->relay->begun_max += count;
        for (uint64_t i = 0; i < in_flight; i++)
                begin_next(role);
}

static int64_t cpu_us(void)
{
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
               usage.ru_stime.tv_usec;
}

static void client_take(struct role *role, const struct body *body)
{
        struct relay *relay = role->relay;
        ASSENT_ASSERT(body->type == OUTCOME);
        relay->end_us = assent_clock_us();
        if (body->number >= WARM_COUNT)
                histogram_record(&relay->latencies_us, relay->end_us - relay->begun_us[body->number]);
        if (++relay->done == WARM_COUNT) {
                relay->start_us = relay->end_us;
                relay->start_cpu_us = cpu_us();
                begin_many(role, relay->count - WARM_COUNT, relay->in_flight);
        } else {
                begin_next(role);
        }
}

static void coordinator_take(struct role *role, const struct body *body)
{
        if (body->type == BEGIN) {
                for (enum topic i = 0; i < PARTICIPANTS; i++)
                        put(role, COMMANDS + i, PREPARE, body->number);
        } else if (body->type == VOTE && ++role->relay->votes[body->number] == PARTICIPANTS) {
                for (enum topic i = 0; i < PARTICIPANTS; i++)
                        put(role, COMMANDS + i, COMMIT, body->number);
                put(role, OUTCOMES, OUTCOME, body->number);
        }
}

static void participant_take(struct role *role, const struct body *body)
{
        ASSENT_ASSERT(body->type == PREPARE || body->type == COMMIT);
        put(role, INBOX, body->type == PREPARE ? VOTE : ACK, body->number);
}

static void take(struct role *role, const rd_kafka_message_t *message)
{
        struct body body;
        if (message->err)
                die(role->name, rd_kafka_message_errstr(message));
        ASSENT_ASSERT(message->len >= sizeof body);
        memcpy(&body, message->payload, sizeof body);
        ASSENT_ASSERT(body.number < role->relay->count && body.type < TYPES);
        role->take(role, &body);
}

static void *run(void *context)
{
        struct role *role = context;
        int64_t last_ms = assent_clock_ms();
        uint64_t taken = 0;

        if (role->reads == OUTCOMES)
                begin_many(role, WARM_COUNT, WARM_IN_FLIGHT);
        while (taken < role->expected) {
                rd_kafka_message_t *message = rd_kafka_consumer_poll(role->consumer, WAIT_MS);
                if (message) {
                        take(role, message);
                        rd_kafka_message_destroy(message);
                        taken++;
                } else {
                        rd_kafka_poll(role->producer, 0);
                }
                if (message && taken % 1024 != 0)
                        continue;
                if (message)
                        last_ms = assent_clock_ms();
                else if (assent_clock_ms() - last_ms > STALLED_MS)
                        die(role->name, "no record came for 20 s");
        }
        return NULL;
}

/* ---- birth and death ---- */

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
        (void)opaque;
        if (message->err)
                die(rd_kafka_name(client), rd_kafka_err2str(message->err));
}

static rd_kafka_t *client_open(const struct role *role, rd_kafka_type_t type)
{
        char errmsg[512];
        rd_kafka_conf_t *conf =
            assent_kafka_conf(role->relay->config, type, role->name, "relay", errmsg, sizeof errmsg);
        if (!conf)
                die(role->name, errmsg);
        if (type == RD_KAFKA_PRODUCER) {
                rd_kafka_conf_set(conf, "delivery.report.only.error", "true", NULL, 0);
                rd_kafka_conf_set_dr_msg_cb(conf, delivered);
        }
        rd_kafka_t *client = assent_kafka_client(type, conf, errmsg, sizeof errmsg);
        if (!client)
                die(role->name, errmsg);
        return client;
}

static int lanes_of(rd_kafka_t *client, const char *topic)
{
        const struct rd_kafka_metadata *metadata;
        int lanes = 0;
        rd_kafka_resp_err_t err = rd_kafka_metadata(client, 1, NULL, &metadata, 10000);
        if (err)
                die(topic, rd_kafka_err2str(err));
        for (int i = 0; i < metadata->topic_cnt; i++)
                if (strcmp(metadata->topics[i].topic, topic) == 0)
                        lanes = metadata->topics[i].partition_cnt;
        rd_kafka_metadata_destroy(metadata);
        if (lanes < 1 || lanes > LANES_MAX)
                die(topic, "no such topic: make it with `assentctl topics apply`");
        return lanes;
}

/* Reads from the end: what is in the topics already is not of this run. */
static void role_open(struct role *role)
{
        struct relay *relay = role->relay;
        const char *topic = relay->topics[role->reads];
        role->producer = client_open(role, RD_KAFKA_PRODUCER);
        role->consumer = client_open(role, RD_KAFKA_CONSUMER);
        relay->lanes = lanes_of(role->producer, topic);
        for (int i = 0; i < TOPICS; i++)
                role->topics[i] = rd_kafka_topic_new(role->producer, relay->topics[i], NULL);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(relay->lanes);
        for (int32_t lane = 0; lane < relay->lanes; lane++) {
                int64_t low, end;
                rd_kafka_resp_err_t err =
                    rd_kafka_query_watermark_offsets(role->producer, topic, lane, &low, &end, 10000);
                if (err)
                        die(topic, rd_kafka_err2str(err));
                rd_kafka_topic_partition_list_add(list, topic, lane)->offset = end;
        }
        rd_kafka_assign(role->consumer, list);
        rd_kafka_topic_partition_list_destroy(list);
        rd_kafka_poll_set_consumer(role->consumer);
}

static void role_close(struct role *role)
{
        rd_kafka_flush(role->producer, 10000);
        for (int i = 0; i < TOPICS; i++)
                rd_kafka_topic_destroy(role->topics[i]);
        rd_kafka_destroy(role->producer);
        rd_kafka_destroy(role->consumer);
}

static void report(const struct relay *relay)
{
        double count = (double)(relay->count - WARM_COUNT), seconds = (double)(relay->end_us - relay->start_us) / 1e6;
        printf("{\"tx_per_s\":%.1f,\"seconds\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"cpu_us_per_tx\":%.1f,"
               "\"played\":%" PRIu64 "}\n",
               count / seconds, seconds, (double)histogram_percentile(&relay->latencies_us, 50) / 1e3,
               (double)histogram_percentile(&relay->latencies_us, 99) / 1e3,
               (double)(cpu_us() - relay->start_cpu_us) / count, relay->count);
}

static void play(struct relay *relay)
{
        struct role roles[] = {
            {.name = "client", .reads = OUTCOMES, .take = client_take, .expected = relay->count},
            {.name = "coordinator", .reads = INBOX, .take = coordinator_take, .expected = 5 * relay->count},
            {.name = "payment", .reads = COMMANDS, .take = participant_take, .expected = 2 * relay->count},
            {.name = "inventory", .reads = COMMANDS + 1, .take = participant_take, .expected = 2 * relay->count}};
        size_t count = sizeof roles / sizeof *roles;

        for (size_t i = 0; i < count; i++) {
                roles[i].relay = relay;
                role_open(&roles[i]);
        }
        for (size_t i = 0; i < count; i++)
                if (pthread_create(&roles[i].thread, NULL, run, &roles[i]))
                        die(roles[i].name, "no thread");
        for (size_t i = 0; i < count; i++)
                pthread_join(roles[i].thread, NULL);
        report(relay);
        for (size_t i = 0; i < count; i++)
                role_close(&roles[i]);
}

static uint64_t number_of(const struct assent_config *config, const char *key, uint64_t fallback, uint64_t max)
{
        const char *text = assent_config_get(config, key);
        char *end = NULL;
        uint64_t value = text ? strtoull(text, &end, 10) : fallback;
        if (text && (end == text || *end || value < 1 || value > max))
                die(key, "is no whole number, or out of bounds");
        return value;
}

int main(int argc, char **argv)
{
        static const struct assent_flag flags[] = {
            {"count", "N", "app.count", "transactions to play (default 10000, at most 10000000)"},
            {"in-flight", "N", "app.in_flight", "transactions kept in flight (default 256, at most 100000)"},
            {NULL, NULL, NULL, NULL}};
        static struct relay relay;
        struct assent_config *config;
        int first;

        if (assent_config_open(&config))
                return 1;
        int status = assent_config_arguments(config, argc, argv, "[--count N] [--in-flight N] …",
                                             "moves the records of transactions, and nothing more", flags, &first);
        if (status >= 0)
                return status;
        relay.config = config;
        relay.count = number_of(config, "app.count", 10000, COUNT_MAX) + WARM_COUNT;
        relay.in_flight = number_of(config, "app.in_flight", 256, 100000);
        relay.votes = calloc(relay.count, sizeof *relay.votes);
        relay.begun_us = calloc(relay.count, sizeof *relay.begun_us);
        if (!relay.votes || !relay.begun_us)
                die("count", "out of memory");
        assent_topic_inbox(config, relay.topics[INBOX]);
        assent_topic_outcomes(config, relay.topics[OUTCOMES]);
        assent_topic_commands(config, assent_bytes_of("payment"), relay.topics[COMMANDS]);
        assent_topic_commands(config, assent_bytes_of("inventory"), relay.topics[COMMANDS + 1]);
        play(&relay);
        free(relay.votes);
        free(relay.begun_us);
        assent_config_close(config);
        return 0;
}
