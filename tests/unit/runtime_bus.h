/* runtime_bus.h: a broker in memory behind the bus interface, for tests that drive a coordinator's or a participant's
 * own loop. Nothing happens in it by itself: the clock, the reports, the watermarks and rebalances are the test's to
 * move. Topics, group offsets and what was sent outlive a bus, so a test may crash a runtime and open the next one.
 *
 * RUNTIME_UNDER_TEST names the runtime's .c file, which is included here with the broker in the place of Kafka. */
#ifndef RUNTIME_BUS_H
#define RUNTIME_BUS_H

#define assent_bus_kafka_open broker_bus_open
#define assent_topics_check   broker_topics_check

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <assent/log.h>

#include "codec/codec.h"
#include "core/ids.h"
#include "core/settings.h"
#include "kafka/topics.h"
#include RUNTIME_UNDER_TEST

#define T0 INT64_C(1700000000000) /* log time at which the tests begin */

enum {
        TOPICS_MAX = 300,
        GROUPS_MAX = 2,
        RECORDS_MAX = 512,
        SENT_MAX = 4096,
        KEY_SIZE_MAX = 136,
        HEADERS_MAX = 8,
        COMMITS_MAX = 1024,
        METADATA_SIZE_MAX = 1100
};
enum broker_state { WAITING, ACKNOWLEDGED, REFUSED, LOST };

struct broker_record {
        int64_t timestamp_ms;
        size_t size;
        uint8_t *value;
};

struct broker_topic {
        char name[ASSENT_TOPIC_SIZE_MAX];
        bool exists;
        int lanes;               /* 0: one */
        enum assent_err verdict; /* of what is sent to it, if it is no service's */
        size_t size_max;         /* of a value; 0: any */
        struct broker_record records[RECORDS_MAX];
        int64_t high;
};

struct broker_sent {
        int topic;
        enum broker_state state;
        uint64_t tag;
        int64_t source; /* the offset that the runtime had been handed last */
        size_t size;
        uint8_t *value;
        char key[KEY_SIZE_MAX];
        int32_t lane;
        struct {
                char name[40], value[260];
        } headers[HEADERS_MAX];
        size_t headers_count;
};

struct broker_commit {
        int64_t offset;
        size_t size;
        char metadata[METADATA_SIZE_MAX];
};

struct broker_group {
        char name[ASSENT_TOPIC_SIZE_MAX];
        struct broker_commit commit; /* offset -1: none */
};

struct assent_bus_consumer {
        struct assent_bus_consumer_options options;
        int topic;
        struct broker_group *group;
        int64_t next;
        bool held, paused;
};

static struct broker {
        struct assent_bus bus; /* first */
        struct broker_topic topics[TOPICS_MAX];
        int topics_count;
        struct broker_group groups[GROUPS_MAX];
        int groups_count;
        struct broker_sent sent[SENT_MAX];
        int sent_count;
        struct broker_commit commits[COMMITS_MAX];
        int commits_count;
        int64_t now_ms, source;
        int64_t limit;           /* a group's reader gets no record at or above it */
        size_t batch_max;        /* nor more at once */
        bool holds;              /* reports wait for broker_report */
        int full;                /* so many sends find the queue full */
        bool failed;             /* the client, for good */
        int lookups;
        bool appends;            /* what is acknowledged stands in its topic */
        enum assent_err verdict; /* of what is sent to services while it is not ASSENT_OK */
        int64_t append_ms;       /* the time of such records */
        bool revoke, assign;     /* at the next consume */
        bool woken;              /* since the last consume */
        const char *cluster_id;  /* NULL: "cluster" */
        int waited_ms;           /* what the last consume of a group would have waited */
        void (*delivered)(void *context, const struct assent_report *report);
        void *context;
        void (*on_send)(const struct broker_sent *sent);
        void (*on_commit)(const struct broker_commit *commit);
} broker;

static struct assent_codec *codec; /* the test's own */
static struct assent_config *config;

/* ---- the bus ---- */

static void broker_close(struct assent_bus *bus)
{
        (void)bus;
        for (int i = 0; i < broker.sent_count; i++)
                if (broker.sent[i].state == WAITING)
                        broker.sent[i].state = LOST;
        broker.delivered = NULL;
}

static const char *broker_errmsg(const struct assent_bus *bus)
{
        (void)bus;
        return "the bus says why";
}

static int broker_topic(struct assent_bus *bus, const char *name)
{
        (void)bus;
        for (int i = 0; i < broker.topics_count; i++)
                if (strcmp(broker.topics[i].name, name) == 0)
                        return i;
        cr_assert_lt(broker.topics_count, TOPICS_MAX);
        snprintf(broker.topics[broker.topics_count].name, ASSENT_TOPIC_SIZE_MAX, "%s", name);
        return broker.topics_count++;
}

static enum assent_err broker_lookup(struct assent_bus *bus, const char *topic, int *lanes)
{
        const struct broker_topic *found = &broker.topics[broker_topic(bus, topic)];
        broker.lookups++;
        *lanes = !found->exists ? 0 : found->lanes ? found->lanes : 1;
        return found->exists ? ASSENT_OK : ASSENT_E_NOT_FOUND;
}

static void broker_append_bytes(int topic, int64_t timestamp_ms, struct assent_bytes value)
{
        struct broker_topic *t = &broker.topics[topic];
        cr_assert_lt(t->high, RECORDS_MAX);
        struct broker_record *record = &t->records[t->high++];
        *record = (struct broker_record){timestamp_ms, value.size, malloc(value.size)};
        memcpy(record->value, value.data, value.size);
}

static enum assent_err broker_send(struct assent_bus *bus, const struct assent_outgoing *outgoing)
{
        (void)bus;
        if (broker.full > 0 && broker.full--)
                return ASSENT_AGAIN;
        cr_assert_lt(broker.sent_count, SENT_MAX);
        struct broker_sent *sent = &broker.sent[broker.sent_count++];
        *sent = (struct broker_sent){.topic = outgoing->topic,
                                     .tag = outgoing->tag,
                                     .source = broker.source,
                                     .lane = outgoing->lane,
                                     .size = outgoing->value.size,
                                     .value = malloc(outgoing->value.size)};
        if (sent->size)
                memcpy(sent->value, outgoing->value.data, sent->size);
        cr_assert_leq(outgoing->headers_count, HEADERS_MAX);
        sent->headers_count = outgoing->headers_count;
        for (size_t i = 0; i < outgoing->headers_count; i++) {
                const struct assent_header *header = &outgoing->headers[i];
                snprintf(sent->headers[i].name, sizeof sent->headers[i].name, "%s", header->name);
                snprintf(sent->headers[i].value, sizeof sent->headers[i].value, "%.*s", (int)header->value.size,
                         (const char *)header->value.data);
        }
        snprintf(sent->key, sizeof sent->key, "%.*s", (int)outgoing->key.size, (const char *)outgoing->key.data);
        if (broker.on_send)
                broker.on_send(sent);
        return ASSENT_OK;
}

/* Makes the report of one record that was sent. */
static void broker_report(int index, enum assent_err err)
{
        struct broker_sent *sent = &broker.sent[index];
        cr_assert_eq(sent->state, WAITING);
        sent->state = err ? REFUSED : ACKNOWLEDGED;
        const struct assent_report report = {.err = err,
                                             .tag = sent->tag,
                                             .offset = err ? -1 : broker.topics[sent->topic].high,
                                             .topic = sent->topic,
                                             .key = {sent->key, strlen(sent->key)},
                                             .value = {sent->value, sent->size}};
        if (!err && broker.appends)
                broker_append_bytes(sent->topic, broker.append_ms, report.value);
        broker.delivered(broker.context, &report);
}

static bool broker_is_service(int topic)
{
        return strstr(broker.topics[topic].name, ".commands") != NULL;
}

static enum assent_err broker_says(const struct broker_sent *sent)
{
        const struct broker_topic *topic = &broker.topics[sent->topic];
        if (broker_is_service(sent->topic))
                return broker.verdict;
        return topic->size_max && sent->size > topic->size_max ? ASSENT_E_TOO_LARGE : topic->verdict;
}

static enum assent_err broker_poll(struct assent_bus *bus, int timeout_ms)
{
        (void)bus, (void)timeout_ms;
        for (int i = 0; i < broker.sent_count && !broker.holds; i++)
                if (broker.sent[i].state == WAITING)
                        broker_report(i, broker_says(&broker.sent[i]));
        return broker.failed ? ASSENT_E_KAFKA : ASSENT_OK;
}

static enum assent_err broker_flush(struct assent_bus *bus, int timeout_ms)
{
        broker_poll(bus, timeout_ms);
        return broker.holds ? ASSENT_TIMED_OUT : ASSENT_OK;
}

static enum assent_err broker_watermarks(struct assent_bus *bus, const char *topic, int32_t lane, int64_t *low,
                                         int64_t *high)
{
        (void)lane;
        *low = 0;
        *high = broker.topics[broker_topic(bus, topic)].high;
        return ASSENT_OK;
}

static enum assent_err broker_offset_for_time(struct assent_bus *bus, const char *topic, int32_t lane, int64_t time_ms,
                                              int64_t *offset)
{
        (void)lane;
        const struct broker_topic *t = &broker.topics[broker_topic(bus, topic)];
        for (*offset = 0; *offset < t->high && t->records[*offset].timestamp_ms < time_ms;)
                ++*offset;
        return ASSENT_OK;
}

static struct broker_group *broker_group(const char *name)
{
        for (int i = 0; i < broker.groups_count; i++)
                if (strcmp(broker.groups[i].name, name) == 0)
                        return &broker.groups[i];
        cr_assert_lt(broker.groups_count, GROUPS_MAX);
        struct broker_group *group = &broker.groups[broker.groups_count++];
        snprintf(group->name, sizeof group->name, "%s", name);
        group->commit.offset = -1;
        return group;
}

static enum assent_err broker_take(struct assent_bus_consumer *consumer)
{
        struct assent_committed committed = {.offset = -1};
        if (consumer->group)
                committed = (struct assent_committed){consumer->group->commit.offset,
                                                      {consumer->group->commit.metadata, consumer->group->commit.size}};
        consumer->held = true;
        return consumer->options.assigned(consumer->options.context, 0, &committed, &consumer->next);
}

static enum assent_err broker_consumer_open(struct assent_bus *bus, const struct assent_bus_consumer_options *options,
                                            struct assent_bus_consumer **out)
{
        struct assent_bus_consumer *consumer = calloc(1, sizeof *consumer);
        consumer->options = *options;
        consumer->topic = broker_topic(bus, options->topic);
        consumer->group = options->group ? broker_group(options->group) : NULL;
        *out = consumer;
        return broker_take(consumer);
}

static void broker_consumer_close(struct assent_bus_consumer *consumer)
{
        if (consumer->held && consumer->options.revoked)
                consumer->options.revoked(consumer->options.context, 0, false);
        free(consumer);
}

static enum assent_err broker_consume(struct assent_bus_consumer *consumer, struct assent_record *records,
                                      size_t records_max, int timeout_ms, size_t *count)
{
        *count = 0;
        broker_poll(&broker.bus, 0);
        if (consumer->group)
                broker.waited_ms = broker.woken ? 0 : timeout_ms;
        broker.woken = false;
        if (consumer->group && broker.revoke) {
                broker.revoke = consumer->held = false;
                consumer->options.revoked(consumer->options.context, 0, false);
        }
        enum assent_err err = ASSENT_OK;
        if (consumer->group && broker.assign) {
                broker.assign = false;
                err = broker_take(consumer);
        }
        const struct broker_topic *topic = &broker.topics[consumer->topic];
        int64_t end = consumer->group && broker.limit < topic->high ? broker.limit : topic->high;
        if (records_max > broker.batch_max)
                records_max = broker.batch_max;
        for (; !err && consumer->held && !consumer->paused && *count < records_max && consumer->next < end; ++*count) {
                const struct broker_record *record = &topic->records[consumer->next];
                records[*count] = (struct assent_record){.offset = consumer->next++,
                                                         .timestamp_ms = record->timestamp_ms,
                                                         .append_time = true,
                                                         .value = {record->value, record->size}};
                if (consumer->group)
                        broker.source = records[*count].offset;
        }
        if (!*count && !consumer->group)
                broker.now_ms += timeout_ms; /* a reader gives up by time */
        return err;
}

static enum assent_err broker_pause(struct assent_bus_consumer *consumer, int32_t lane, bool paused)
{
        (void)lane;
        consumer->paused = paused;
        return ASSENT_OK;
}

static enum assent_err broker_seek(struct assent_bus_consumer *consumer, int32_t lane, int64_t offset)
{
        (void)lane;
        consumer->next = offset;
        return ASSENT_OK;
}

static enum assent_err broker_commit(struct assent_bus_consumer *consumer, int32_t lane, int64_t offset,
                                     struct assent_bytes metadata, bool wait)
{
        (void)lane, (void)wait;
        cr_assert_lt(metadata.size, METADATA_SIZE_MAX);
        cr_assert_lt(broker.commits_count, COMMITS_MAX);
        struct broker_commit *commit = &broker.commits[broker.commits_count++];
        *commit = (struct broker_commit){.offset = offset, .size = metadata.size};
        memcpy(commit->metadata, metadata.data, metadata.size);
        consumer->group->commit = *commit;
        if (broker.on_commit)
                broker.on_commit(commit);
        return ASSENT_OK;
}

static enum assent_err broker_committed(struct assent_bus_consumer *consumer, int32_t lane, struct assent_committed *committed)
{
        const struct broker_commit *commit = &consumer->group->commit;
        (void)lane;
        *committed = (struct assent_committed){commit->offset, {commit->metadata, commit->size}};
        return ASSENT_OK;
}

static int64_t broker_monotonic_ms(struct assent_bus *bus)
{
        (void)bus;
        return broker.now_ms;
}

static void broker_wake(struct assent_bus *bus)
{
        (void)bus;
        broker.woken = true;
}

enum assent_err broker_bus_open(const struct assent_bus_options *options, struct assent_bus **out)
{
        static const struct assent_bus_ops ops = {.close = broker_close,
                                                  .errmsg = broker_errmsg,
                                                  .topic = broker_topic,
                                                  .lookup = broker_lookup,
                                                  .send = broker_send,
                                                  .poll = broker_poll,
                                                  .flush = broker_flush,
                                                  .watermarks = broker_watermarks,
                                                  .offset_for_time = broker_offset_for_time,
                                                  .consumer_open = broker_consumer_open,
                                                  .consumer_close = broker_consumer_close,
                                                  .consume = broker_consume,
                                                  .pause = broker_pause,
                                                  .seek = broker_seek,
                                                  .commit = broker_commit,
                                                  .committed = broker_committed,
                                                  .monotonic_ms = broker_monotonic_ms,
                                                  .wake = broker_wake};
        broker.bus.ops = &ops;
        broker.delivered = options->delivered;
        broker.context = options->context;
        *out = &broker.bus;
        return ASSENT_OK;
}

enum assent_err broker_topics_check(struct assent_bus *bus, const struct assent_config *of, struct assent_bytes service,
                                    struct assent_topics_report *report)
{
        (void)bus, (void)of, (void)service;
        *report = (struct assent_topics_report){.lanes = 1};
        snprintf(report->cluster_id, sizeof report->cluster_id, "%s", broker.cluster_id ? broker.cluster_id : "cluster");
        return ASSENT_OK;
}

/* ---- what the tests put into it ---- */

static int inbox, outcomes, commands;

static void broker_set(const char *assignment)
{
        cr_assert_eq(assent_config_set(config, assignment, "test"), ASSENT_OK, "%s", assent_config_errmsg(config));
}

static int broker_make(const char *name)
{
        int topic = broker_topic(&broker.bus, name);
        broker.topics[topic].exists = true;
        return topic;
}

static void broker_setup(void)
{
        assent_log_setup(ASSENT_LOG_ERROR, ASSENT_LOG_LOGFMT, NULL);
        memset(&broker, 0, sizeof broker);
        broker.now_ms = 1000;
        broker.limit = INT64_MAX;
        broker.batch_max = SIZE_MAX;
        codec = assent_codec_open(262144);
        cr_assert_eq(assent_config_open(&config), ASSENT_OK);
        broker_set("assent.lanes_count=1");
        broker_set("assent.lanes=all");
        broker_set("assent.window_ms=1000");
        broker_set("assent.skew_ms=100");
        broker_set("assent.timeout_max_ms=200");
        broker_set("assent.grace_ms=100");
        broker_set("assent.memory_bytes_max=16777216");
        inbox = broker_make("assent.inbox");
        outcomes = broker_make("assent.outcomes");
        commands = broker_make("assent.pay.commands");
}

static void broker_teardown(void)
{
        for (int i = 0; i < broker.sent_count; i++)
                free(broker.sent[i].value);
        for (int i = 0; i < broker.topics_count; i++)
                for (int64_t o = 0; o < broker.topics[i].high; o++)
                        free(broker.topics[i].records[o].value);
        assent_codec_close(codec);
        assent_config_close(config);
}

static void append(int topic, int64_t timestamp_ms, struct assent_message message)
{
        struct assent_bytes bytes;
        assent_message_seal(&message);
        cr_assert_eq(assent_codec_encode(codec, &message, &bytes), ASSENT_OK);
        broker_append_bytes(topic, timestamp_ms, bytes);
}

static void append_settings(int64_t timestamp_ms, const char *text)
{
        struct assent_message m = {.type = ASSENT_CONTROL, .lamport = 1};
        m.body.control.kind = ASSENT_SETTINGS;
        m.body.control.branch = ASSENT_NO_BRANCH;
        m.body.control.settings = assent_bytes_of(text);
        append(inbox, timestamp_ms, m);
}

#define SETTINGS                                                                                                       \
        "rules=1 schema=1 lanes=1 window_ms=1000 skew_ms=100 timeout_max_ms=200 grace_ms=100 branches_max=64 "         \
        "record_bytes_max=262144"

static struct assent_uuid born(int64_t birth_ms, int number)
{
        struct assent_uuid id = {{0}};
        for (int i = 0; i < 6; i++)
                id.bytes[i] = (uint8_t)(birth_ms >> (40 - 8 * i));
        id.bytes[6] = 0x70;
        id.bytes[8] = 0x80;
        id.bytes[14] = (uint8_t)(number >> 8);
        id.bytes[15] = (uint8_t)number;
        return id;
}

static inline struct assent_message begin_of(struct assent_uuid id)
{
        static const struct assent_branch_request branch = {.service = {"pay", 3}, .kind = {"charge", 6}};
        struct assent_message m = {.type = ASSENT_BEGIN, .txn_id = id, .lamport = 1};
        m.body.begin.protocol = ASSENT_2PC;
        m.body.begin.timeout_ms = 200;
        m.body.begin.branches_count = 1;
        m.body.begin.branches = &branch;
        return m;
}

static inline struct assent_message reply_of(struct assent_uuid id, enum assent_phase phase, enum assent_answer answer)
{
        struct assent_message m = {.type = ASSENT_REPLY, .txn_id = id, .lamport = 3};
        m.body.reply.service = assent_bytes_of("pay");
        m.body.reply.phase = phase;
        m.body.reply.answer = answer;
        return m;
}

/* The message that was sent; borrows from the codec until the next. */
static inline struct assent_message sent_message(int index)
{
        struct assent_message m;
        const struct broker_sent *sent = &broker.sent[index];
        cr_assert_eq(assent_codec_decode(codec, (struct assent_bytes){sent->value, sent->size}, &m),
                     ASSENT_DECODE_NONE);
        return m;
}

static inline bool same_bytes(const struct broker_sent *a, const struct broker_sent *b)
{
        return a->topic == b->topic && a->size == b->size && memcmp(a->value, b->value, a->size) == 0;
}

#endif
