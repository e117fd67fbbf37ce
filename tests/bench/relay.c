/* relay: what a transaction costs when nothing is done but move its records: those of a commit with so many
 * participants, of the sizes that assent's have, through topics of the same layout, with the same client settings unless --set
 * says otherwise; no database, no dedup, no Avro, no rules. What assent reaches is told as a share of this.
 *
 *   relay --config FILE [--services LIST] [--protocol 3pc] [--in-flight N | --rate R] [--ms N] [--count N]
 *
 * The topics of FILE's prefix must exist. A thread each plays client, coordinator and every participant, with a
 * producer and a consumer of its own. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/panic.h"
#include "core/message.h"
#include "kafka/client.h"
#include "kafka/topics.h"
#include "../../producers/load/histogram.h"

#define LANES_MAX        1024
#define COUNT_MAX        10000000 /* with those of the warm-up */
#define PARTICIPANTS_MAX 16
#define KEY_SIZE         36 /* a transaction id as text */
#define BODY_MAX         1024
#define WAIT_MS          100
#define NAP_US           100
#define STALLED_MS       20000 /* nothing came for so long: given up */
/* From the first outcome on so long it is not measured, because a client's first send to a topic can take a second. */
#define WARM_UP_US 500000

enum topic { INBOX, OUTCOMES, COMMANDS, TOPICS_MAX = COMMANDS + PARTICIPANTS_MAX };
enum type { BEGIN, PREPARE, VOTE, PRE_COMMIT, PRE_ACK, COMMIT, ACK, OUTCOME, TYPES };

/* Bytes of the values that assent-load's default transaction has (payment and inventory, no reason); of a BEGIN,
 * without its branches. */
static const size_t sizes[TYPES] = {[BEGIN] = 54,   [PREPARE] = 116, [VOTE] = 66, [PRE_COMMIT] = 73,
                                    [PRE_ACK] = 70, [COMMIT] = 69,   [ACK] = 66,  [OUTCOME] = 62};
#define BRANCH_SIZE 56

/* What the receivers need; the rest of a value is filling. */
struct body {
        uint64_t number;
        uint8_t type;
};

struct relay {
        const struct assent_config *config;
        uint64_t count, in_flight; /* count: to measure */
        int64_t duration_us;       /* to measure */
        double rate;               /* 0: a closed loop */
        int participants, phases;  /* 2 or 3 of them */
        int lanes;
        char topics[TOPICS_MAX][ASSENT_TOPIC_SIZE_MAX];
        uint8_t *replies;  /* by transaction: votes, then those to PRE_COMMIT */
        int64_t *begun_us; /* as scheduled, if there is a rate */
        uint64_t begun, done, unmeasured;
        _Atomic uint64_t total; /* UINT64_MAX until everything is begun */
        int64_t open_us, first_us, start_us, end_us, start_cpu_us;
        struct histogram latencies_us;
};

struct role {
        struct relay *relay;
        char name[ASSENT_SERVICE_SIZE_MAX + 1];
        enum topic reads;
        void (*take)(struct role *role, const struct body *body);
        uint64_t share; /* records of one transaction that it takes */
        rd_kafka_t *producer, *consumer;
        rd_kafka_topic_t *topics[TOPICS_MAX];
        pthread_t thread;
};

static _Noreturn void die(const char *what, const char *why)
{
        fprintf(stderr, "relay: %s: %s\n", what, why);
        exit(1);
}

/* ---- the roles ---- */

static void put(struct role *role, enum topic topic, enum type type, uint64_t number)
{
        char value[BODY_MAX] = {0}, key[KEY_SIZE] = {0};
        struct body body = {.number = number, .type = (uint8_t)type};
        size_t size = sizes[type] + (type == BEGIN ? (size_t)role->relay->participants * BRANCH_SIZE : 0);

        ASSENT_ASSERT(size >= sizeof body && size <= sizeof value);
        memcpy(value, &body, sizeof body);
        memcpy(key, &number, sizeof number);
        while (rd_kafka_produce(role->topics[topic], (int32_t)(number % (uint64_t)role->relay->lanes),
                                RD_KAFKA_MSG_F_COPY, value, size, key, sizeof key, NULL)) {
                if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                        die(role->name, rd_kafka_err2str(rd_kafka_last_error()));
                rd_kafka_poll(role->producer, 1);
        }
}

static void put_all(struct role *role, enum type type, uint64_t number)
{
        for (int i = 0; i < role->relay->participants; i++)
                put(role, (enum topic)(COMMANDS + i), type, number);
}

static int64_t cpu_us(void)
{
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
               usage.ru_stime.tv_usec;
}

/* When the next transaction is to begin, in an open model. */
static int64_t due_us(const struct relay *relay)
{
        return relay->open_us + (int64_t)((double)relay->begun * 1e6 / relay->rate);
}

static bool begun_all(const struct relay *relay, int64_t now)
{
        if (relay->begun == COUNT_MAX)
                return true;
        return relay->start_us &&
               (relay->begun - relay->unmeasured == relay->count || now >= relay->start_us + relay->duration_us);
}

static void begin_due(struct role *role)
{
        struct relay *relay = role->relay;
        for (;;) {
                int64_t now = assent_clock_us(), due = relay->rate > 0 ? due_us(relay) : now;
                if (begun_all(relay, now)) {
                        relay->total = relay->begun;
                        return;
                }
                if (due > now || (relay->rate <= 0 && relay->begun - relay->done >= relay->in_flight))
                        return;
                relay->begun_us[relay->begun] = due;
                put(role, INBOX, BEGIN, relay->begun++);
        }
}

static void client_take(struct role *role, const struct body *body)
{
        struct relay *relay = role->relay;
        int64_t now = assent_clock_us();

        ASSENT_ASSERT(body->type == OUTCOME);
        relay->done++;
        if (!relay->first_us)
                relay->first_us = now;
        if (relay->start_us && body->number >= relay->unmeasured) {
                relay->end_us = now;
                histogram_record(&relay->latencies_us, now - relay->begun_us[body->number]);
        } else if (!relay->start_us && now - relay->first_us >= WARM_UP_US) {
                relay->start_us = now;
                relay->start_cpu_us = cpu_us();
                relay->unmeasured = relay->begun;
        }
}

static void coordinator_take(struct role *role, const struct body *body)
{
        const struct relay *relay = role->relay;
        uint64_t number = body->number;

        if (body->type == BEGIN) {
                put_all(role, PREPARE, number);
        } else if (body->type != ACK && ++relay->replies[number] == relay->participants * (relay->phases - 1)) {
                put_all(role, COMMIT, number);
                put(role, OUTCOMES, OUTCOME, number);
        } else if (body->type == VOTE && relay->replies[number] == relay->participants) {
                put_all(role, PRE_COMMIT, number);
        }
}

static void participant_take(struct role *role, const struct body *body)
{
        static const enum type answers[TYPES] = {[PREPARE] = VOTE, [PRE_COMMIT] = PRE_ACK, [COMMIT] = ACK};

        ASSENT_ASSERT(answers[body->type]);
        put(role, INBOX, answers[body->type], body->number);
}

static void take(struct role *role, const rd_kafka_message_t *message)
{
        struct body body;
        if (message->err)
                die(role->name, rd_kafka_message_errstr(message));
        ASSENT_ASSERT(message->len >= sizeof body);
        memcpy(&body, message->payload, sizeof body);
        ASSENT_ASSERT(body.number < COUNT_MAX && body.type < TYPES);
        role->take(role, &body);
}

/* The client of an open model waits for its schedule too: in milliseconds, or if that is too long, asleep. */
static int wait_ms(const struct role *role)
{
        const struct relay *relay = role->relay;
        if (role->reads != OUTCOMES || relay->rate <= 0 || relay->total != UINT64_MAX)
                return WAIT_MS;
        int64_t left_us = due_us(relay) - assent_clock_us();
        if (left_us >= 1000)
                return left_us < WAIT_MS * 1000 ? (int)(left_us / 1000) : WAIT_MS;
        if (left_us > 0)
                usleep((useconds_t)(left_us < NAP_US ? left_us : NAP_US));
        return 0;
}

/* True once the role has taken its records of all transactions. */
static bool ended(const struct role *role, uint64_t taken)
{
        uint64_t total = role->relay->total;
        return total != UINT64_MAX && taken == role->share * total;
}

static void *run(void *context)
{
        struct role *role = context;
        int64_t last_ms = assent_clock_ms();
        uint64_t taken = 0;

        while (!ended(role, taken)) {
                if (role->reads == OUTCOMES && role->relay->total == UINT64_MAX)
                        begin_due(role);
                rd_kafka_message_t *message = rd_kafka_consumer_poll(role->consumer, wait_ms(role));
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
        for (int i = 0; i < COMMANDS + relay->participants; i++)
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
        for (int i = 0; i < COMMANDS + role->relay->participants; i++)
                rd_kafka_topic_destroy(role->topics[i]);
        rd_kafka_destroy(role->producer);
        rd_kafka_destroy(role->consumer);
}

static void report(const struct relay *relay)
{
        const struct histogram *latencies = &relay->latencies_us;
        double count = (double)latencies->count, seconds = (double)(relay->end_us - relay->start_us) / 1e6;
        printf("{\"tx_per_s\":%.1f,\"seconds\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f,"
               "\"cpu_us_per_tx\":%.1f,\"count\":%.0f,\"played\":%" PRIu64 "}\n",
               count / seconds, seconds, (double)histogram_percentile(latencies, 50) / 1e3,
               (double)histogram_percentile(latencies, 99) / 1e3, (double)histogram_percentile(latencies, 99.9) / 1e3,
               (double)latencies->max / 1e3, (double)(cpu_us() - relay->start_cpu_us) / count, count, relay->begun);
}

static void play(struct relay *relay)
{
        struct role roles[2 + PARTICIPANTS_MAX] = {
            {.name = "client", .reads = OUTCOMES, .take = client_take, .share = 1},
            {.name = "coordinator", .reads = INBOX, .take = coordinator_take}};
        uint64_t phases = (uint64_t)relay->phases;
        int count = 2 + relay->participants;

        roles[1].share = 1 + phases * (uint64_t)relay->participants;
        for (int i = 2; i < count; i++) {
                snprintf(roles[i].name, sizeof roles[i].name, "participant-%d", i - 1);
                roles[i].reads = (enum topic)(COMMANDS + i - 2);
                roles[i].take = participant_take;
                roles[i].share = phases;
        }
        for (int i = 0; i < count; i++) {
                roles[i].relay = relay;
                role_open(&roles[i]);
        }
        relay->total = UINT64_MAX;
        relay->open_us = assent_clock_us();
        for (int i = 0; i < count; i++)
                if (pthread_create(&roles[i].thread, NULL, run, &roles[i]))
                        die(roles[i].name, "no thread");
        for (int i = 0; i < count; i++)
                pthread_join(roles[i].thread, NULL);
        report(relay);
        for (int i = 0; i < count; i++)
                role_close(&roles[i]);
}

/* ---- what is asked for ---- */

static uint64_t number_of(const struct assent_config *config, const char *key, uint64_t fallback, uint64_t max)
{
        const char *text = assent_config_get(config, key);
        char *end = NULL;
        uint64_t value = text ? strtoull(text, &end, 10) : fallback;
        if (text && (end == text || *end || value < 1 || value > max))
                die(key, "is no whole number, or out of bounds");
        return value;
}

static void topics_name(struct relay *relay)
{
        const char *services = assent_config_get(relay->config, "app.services");

        assent_topic_inbox(relay->config, relay->topics[INBOX]);
        assent_topic_outcomes(relay->config, relay->topics[OUTCOMES]);
        for (const char *at = services ? services : "payment,inventory"; *at; at += strspn(at, ",")) {
                struct assent_bytes name = {at, strcspn(at, ",")};
                if (relay->participants == PARTICIPANTS_MAX || name.size < 1 || name.size > ASSENT_SERVICE_SIZE_MAX)
                        die("services", "too many, or no names");
                assent_topic_commands(relay->config, name, relay->topics[COMMANDS + relay->participants++]);
                at += name.size;
        }
}

int main(int argc, char **argv)
{
        static const struct assent_flag flags[] = {
            {"services", "LIST", "app.services", "the participants (default payment,inventory)"},
            {"protocol", "P", "app.protocol", "2pc or 3pc (default 2pc)"},
            {"in-flight", "N", "app.in_flight", "transactions kept in flight (default 256, at most 100000)"},
            {"rate", "R", "app.rate", "open model: begin so many a second"},
            {"ms", "N", "app.ms", "measure those begun in so many milliseconds (default an hour)"},
            {"count", "N", "app.count", "measure no more than so many (default 10000000)"},
            {NULL, NULL, NULL, NULL}};
        static struct relay relay;
        struct assent_config *config;
        int first;

        if (assent_config_open(&config))
                return 1;
        int status = assent_config_arguments(config, argc, argv, "[OPTION]…",
                                             "moves the records of transactions, and nothing more", flags, &first);
        if (status >= 0)
                return status;
        const char *protocol = assent_config_get(config, "app.protocol");
        relay.config = config;
        relay.phases = protocol && strcmp(protocol, "3pc") == 0 ? 3 : 2;
        relay.in_flight = number_of(config, "app.in_flight", 256, 100000);
        relay.rate = (double)number_of(config, "app.rate", 0, 1000000);
        relay.duration_us = (int64_t)number_of(config, "app.ms", 3600000, 3600000) * 1000;
        relay.count = number_of(config, "app.count", COUNT_MAX, COUNT_MAX);
        relay.replies = calloc(COUNT_MAX, sizeof *relay.replies);
        relay.begun_us = calloc(COUNT_MAX, sizeof *relay.begun_us);
        if (!relay.replies || !relay.begun_us)
                die("count", "out of memory");
        topics_name(&relay);
        play(&relay);
        free(relay.replies);
        free(relay.begun_us);
        assent_config_close(config);
        return 0;
}
