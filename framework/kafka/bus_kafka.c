/* bus_kafka.c: the bus on librdkafka: its producer, its questions to the cluster. Consumers are in bus_consumer.c. */
#include "kafka/bus_kafka.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <assent/log.h>

#include "base/clock.h"
#include "base/panic.h"
#include "kafka/client.h"
#include "kafka/errors.h"

#define REFUSED_MAX  1024
#define ASK_PAUSE_MS 50
#define HEADERS_MAX  8 /* of a record sent here; a dead letter has the most */

_Static_assert(sizeof(uintptr_t) >= sizeof(uint64_t), "a tag travels as the message's opaque pointer");

static const struct assent_bus_ops operations;

struct assent_bus_kafka *assent_bus_kafka(struct assent_bus *bus)
{
        ASSENT_ASSERT(bus && bus->ops == &operations);
        return (struct assent_bus_kafka *)bus;
}

enum assent_err assent_bus_kafka_fail(struct assent_bus_kafka *bus, enum assent_err err, const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(bus->errmsg, sizeof bus->errmsg, format, arguments);
        va_end(arguments);
        return err;
}

void assent_bus_kafka_error(rd_kafka_t *client, int err, const char *reason, void *opaque)
{
        struct assent_bus_kafka *bus = opaque;
        assent_kafka_warn(rd_kafka_name(client), rd_kafka_err2name((rd_kafka_resp_err_t)err), reason);
        if (err == RD_KAFKA_RESP_ERR__FATAL) {
                char text[512];
                rd_kafka_fatal_error(client, text, sizeof text);
                bus->failed = true;
                assent_bus_kafka_fail(bus, ASSENT_E_KAFKA,
                                      "the Kafka client failed for good: %s; it must be opened again", text);
        }
}

bool assent_bus_kafka_present(struct assent_bus_kafka *bus)
{
        int64_t left_ms = bus->away_until_ms ? bus->away_until_ms - assent_clock_ms() : 0;
        ASSENT_ASSERT(left_ms <= ASSENT_AWAY_MS);
        if (!bus->running || bus->taking || left_ms <= 0)
                return true;
        assent_bus_kafka_fail(bus, ASSENT_E_BROKER, "no broker answered; it is asked again in %lld ms",
                              (long long)left_ms);
        return false;
}

void assent_bus_kafka_heard(struct assent_bus_kafka *bus, rd_kafka_resp_err_t err)
{
        bool silent = err == RD_KAFKA_RESP_ERR__TIMED_OUT || err == RD_KAFKA_RESP_ERR__TRANSPORT ||
                      err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
        if (silent)
                bus->away_until_ms = assent_clock_ms() + ASSENT_AWAY_MS;
        else if (err >= RD_KAFKA_RESP_ERR_UNKNOWN) /* below are the client's own errors, which prove nothing */
                bus->away_until_ms = 0;
}

static void report_make(struct assent_bus_kafka *bus, const struct assent_report *report)
{
        bus->reports_count++;
        if (bus->delivered)
                bus->delivered(bus->context, report);
}

static enum assent_err refused_put(struct assent_bus_kafka *bus, const struct assent_outgoing *outgoing,
                                   enum assent_err err)
{
        size_t key_size = outgoing->key.size, value_size = outgoing->value.size;
        if (bus->refused_count == REFUSED_MAX)
                return assent_bus_kafka_fail(bus, ASSENT_AGAIN, "%d refused records wait for their reports",
                                             REFUSED_MAX);
        char *copy = malloc(key_size + value_size + 1);
        if (!copy)
                return assent_bus_kafka_fail(bus, ASSENT_AGAIN, "out of memory for the report of a refused record");
        if (key_size)
                memcpy(copy, outgoing->key.data, key_size);
        if (value_size)
                memcpy(copy + key_size, outgoing->value.data, value_size);
        bus->refused[bus->refused_count++] =
            (struct assent_bus_refused){.report = {.err = err,
                                                   .tag = outgoing->tag,
                                                   .offset = -1,
                                                   .topic = outgoing->topic,
                                                   .lane = outgoing->lane,
                                                   .key = {.data = copy, .size = key_size},
                                                   .value = {.data = copy + key_size, .size = value_size}},
                                        .copy = copy};
        bus->sent_count++;
        return ASSENT_OK;
}

static void refused_report(struct assent_bus_kafka *bus)
{
        size_t count = bus->refused_count; /* `delivered` may not send, so none is added */
        for (size_t i = 0; i < count; i++) {
                report_make(bus, &bus->refused[i].report);
                free(bus->refused[i].copy);
        }
        ASSENT_ASSERT(bus->refused_count == count);
        bus->refused_count = 0;
}

void assent_bus_kafka_reports(struct assent_bus_kafka *bus)
{
        refused_report(bus);
        rd_kafka_poll(bus->producer, 0);
}

static void bus_close(struct assent_bus *base)
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        ASSENT_ASSERT(bus->consumers_count == 0);
        for (size_t i = 0; i < bus->topics_count; i++)
                rd_kafka_topic_destroy(bus->topics[i]);
        for (size_t i = 0; i < bus->refused_count; i++)
                free(bus->refused[i].copy);
        free(bus->refused);
        if (bus->main_queue) {
                rd_kafka_queue_io_event_enable(bus->main_queue, -1, NULL, 0);
                rd_kafka_queue_destroy(bus->main_queue);
        }
        if (bus->wake_fd >= 0)
                close(bus->wake_fd);
        bus->statistics = NULL; /* whoever wanted them goes */
        if (bus->producer)
                assent_kafka_destroy(bus->producer, bus, bus->close_timeout_ms);
        else
                free(bus);
}

static const char *bus_errmsg(const struct assent_bus *base)
{
        return ((const struct assent_bus_kafka *)base)->errmsg;
}

static int bus_topic(struct assent_bus *base, const char *name)
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        for (size_t i = 0; i < bus->topics_count; i++) {
                if (strcmp(rd_kafka_topic_name(bus->topics[i]), name) == 0)
                        return (int)i;
        }
        if (bus->topics_count == ASSENT_BUS_TOPICS_MAX) {
                assent_bus_kafka_fail(bus, ASSENT_E_LIMIT, "more than %d topics in one process", ASSENT_BUS_TOPICS_MAX);
                return -1;
        }
        rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(bus->producer);
        rd_kafka_topic_conf_set_opaque(conf, (void *)(intptr_t)bus->topics_count);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(bus->producer, name, conf);
        if (!topic) {
                assent_bus_kafka_fail(bus, ASSENT_E_ARGUMENT, "topic %.249s: %s", name,
                                      rd_kafka_err2str(rd_kafka_last_error()));
                rd_kafka_topic_conf_destroy(conf);
                return -1;
        }
        bus->topics[bus->topics_count] = topic;
        return (int)bus->topics_count++;
}

static enum assent_err bus_lookup(struct assent_bus *base, const char *name, int *lanes)
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        const struct rd_kafka_metadata *metadata = NULL;
        *lanes = 0;
        if (!assent_bus_kafka_present(bus))
                return ASSENT_E_BROKER;
        rd_kafka_resp_err_t err = rd_kafka_metadata(bus->producer, 1, NULL, &metadata, bus->query_timeout_ms);
        assent_bus_kafka_heard(bus, err);
        if (err)
                return assent_bus_kafka_fail(bus, ASSENT_E_BROKER, "no broker tells which topics there are: %s",
                                             rd_kafka_err2str(err));
        for (int i = 0; i < metadata->topic_cnt; i++) {
                if (strcmp(metadata->topics[i].topic, name) == 0)
                        *lanes = metadata->topics[i].partition_cnt;
        }
        rd_kafka_metadata_destroy(metadata);
        if (*lanes > 0)
                return ASSENT_OK;
        return assent_bus_kafka_fail(bus, ASSENT_E_NOT_FOUND, "the cluster has no topic %s", name);
}

static int produce_with_headers(struct assent_bus_kafka *bus, const struct assent_outgoing *outgoing)
{
        rd_kafka_headers_t *headers = rd_kafka_headers_new(outgoing->headers_count);
        for (size_t i = 0; i < outgoing->headers_count; i++) {
                const struct assent_header *header = &outgoing->headers[i];
                rd_kafka_header_add(headers, header->name, -1, header->value.data, (ssize_t)header->value.size);
        }
        /* Ready-made headers: inline ones are freed twice when the lane does not exist. */
        rd_kafka_resp_err_t err =
            rd_kafka_producev(bus->producer, RD_KAFKA_V_RKT(bus->topics[outgoing->topic]),
                              RD_KAFKA_V_PARTITION(outgoing->lane), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                              RD_KAFKA_V_VALUE((void *)(uintptr_t)outgoing->value.data, outgoing->value.size),
                              RD_KAFKA_V_KEY(outgoing->key.data, outgoing->key.size), RD_KAFKA_V_HEADERS(headers),
                              RD_KAFKA_V_OPAQUE((void *)(uintptr_t)outgoing->tag), RD_KAFKA_V_END);
        if (err)
                rd_kafka_headers_destroy(headers);
        return (int)err;
}

static int produce(struct assent_bus_kafka *bus, const struct assent_outgoing *outgoing)
{
        if (outgoing->headers_count)
                return produce_with_headers(bus, outgoing);
        int failed = rd_kafka_produce(bus->topics[outgoing->topic], outgoing->lane, RD_KAFKA_MSG_F_COPY,
                                      (void *)(uintptr_t)outgoing->value.data, outgoing->value.size, outgoing->key.data,
                                      outgoing->key.size, (void *)(uintptr_t)outgoing->tag);
        return failed ? (int)rd_kafka_last_error() : 0;
}

/* What failed the client also takes for acknowledged when a later batch of that lane is, and then tells no offset. It may be in
 * no log: a leader just elected may refuse a producer's first batch and take its second. Copies do no harm. */
static void send_again(struct assent_bus_kafka *bus, const struct assent_report *report, const rd_kafka_message_t *message)
{
        struct assent_header headers[HEADERS_MAX];
        struct assent_outgoing outgoing = {.topic = report->topic,
                                           .lane = report->lane,
                                           .key = report->key,
                                           .value = report->value,
                                           .headers = headers,
                                           .tag = report->tag};
        rd_kafka_headers_t *carried;
        if (!rd_kafka_message_headers(message, &carried)) {
                size_t i = 0;
                for (; i < HEADERS_MAX; i++) {
                        const void *data;
                        if (rd_kafka_header_get_all(carried, i, &headers[i].name, &data, &headers[i].value.size))
                                break;
                        headers[i].value.data = data;
                }
                outgoing.headers_count = i;
        }
        int refusal = produce(bus, &outgoing);
        if (refusal) { /* as good as lost: it must not count as sent */
                bus->failed = true;
                assent_bus_kafka_fail(bus, ASSENT_E_KAFKA,
                                      "the Kafka client failed for good: a record cannot be sent again: %s; it must be "
                                      "opened again",
                                      rd_kafka_err2str((rd_kafka_resp_err_t)refusal));
        }
}

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
        struct assent_bus_kafka *bus = opaque;
        struct assent_report report = {.err = assent_kafka_produce_err(message->err),
                                       .tag = (uintptr_t)message->_private,
                                       .offset = message->err ? -1 : message->offset,
                                       .topic = (int)(intptr_t)rd_kafka_topic_opaque(message->rkt),
                                       .lane = message->partition,
                                       .key = {.data = message->key, .size = message->key_len},
                                       .value = {.data = message->payload, .size = message->len}};
        (void)client;
        if (!message->err)
                assent_bus_kafka_heard(bus, RD_KAFKA_RESP_ERR_NO_ERROR);
        if (!message->err && message->offset < 0) { /* the copy makes the report */
                send_again(bus, &report, message);
                return;
        }
        if (report.err)
                assent_bus_kafka_fail(bus, report.err, "topic %s lane %d: a record of %zu bytes was refused: %s",
                                      rd_kafka_topic_name(message->rkt), message->partition, message->len,
                                      rd_kafka_err2str(message->err));
        report_make(bus, &report);
}

static enum assent_err bus_send(struct assent_bus *base, const struct assent_outgoing *outgoing)
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        ASSENT_ASSERT(outgoing->topic >= 0 && (size_t)outgoing->topic < bus->topics_count);
        ASSENT_ASSERT(outgoing->lane >= 0);
        rd_kafka_resp_err_t refusal = (rd_kafka_resp_err_t)produce(bus, outgoing);
        if (!refusal) {
                bus->sent_count++;
                return ASSENT_OK;
        }
        if (refusal == RD_KAFKA_RESP_ERR__QUEUE_FULL)
                return assent_bus_kafka_fail(bus, ASSENT_AGAIN, "the client's queue is full");
        enum assent_err err = assent_kafka_produce_err(refusal);
        assent_bus_kafka_fail(bus, err, "topic %s lane %d: a record of %zu bytes was refused: %s",
                              rd_kafka_topic_name(bus->topics[outgoing->topic]), outgoing->lane, outgoing->value.size,
                              rd_kafka_err2str(refusal));
        if (err == ASSENT_E_NOT_FOUND || err == ASSENT_E_DENIED)
                return refused_put(bus, outgoing, err);
        return err;
}

static enum assent_err bus_poll(struct assent_bus *base, int timeout_ms)
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        bool waiting = bus->refused_count > 0;
        refused_report(bus);
        rd_kafka_poll(bus->producer, waiting ? 0 : timeout_ms);
        return bus->failed ? ASSENT_E_KAFKA : ASSENT_OK;
}

/* A loop is about to end when it flushes: it waits only as long as something still comes. */
static rd_kafka_resp_err_t flush_within(struct assent_bus_kafka *bus, int timeout_ms)
{
        int64_t deadline_ms = assent_clock_ms() + timeout_ms, left_ms = timeout_ms;
        for (;;) {
                uint64_t reports_before = bus->reports_count;
                if (bus->running && left_ms > bus->close_timeout_ms)
                        left_ms = bus->close_timeout_ms;
                rd_kafka_resp_err_t err = rd_kafka_flush(bus->producer, (int)left_ms);
                bool silent = bus->reports_count == reports_before;
                if (err && silent && left_ms >= bus->query_timeout_ms)
                        assent_bus_kafka_heard(bus, err);
                left_ms = deadline_ms - assent_clock_ms();
                if (!err || silent || left_ms <= 0)
                        return err;
        }
}

static enum assent_err bus_flush(struct assent_bus *base, int timeout_ms)
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        refused_report(bus);
        rd_kafka_resp_err_t err = flush_within(bus, assent_bus_kafka_present(bus) ? timeout_ms : 0);
        if (bus->failed)
                return ASSENT_E_KAFKA;
        if (err)
                return assent_bus_kafka_fail(bus, ASSENT_TIMED_OUT, "%d records are not acknowledged after %d ms",
                                             rd_kafka_outq_len(bus->producer), timeout_ms);
        return ASSENT_OK;
}

static enum assent_err query_result(struct assent_bus_kafka *bus, rd_kafka_resp_err_t err, const char *what,
                                    const char *topic, int32_t lane)
{
        if (!err)
                return ASSENT_OK;
        return assent_bus_kafka_fail(bus, assent_kafka_query_err(err), "topic %s lane %d: %s: %s", topic, lane, what,
                                     rd_kafka_err2str(err));
}

/* A leader that has moved says so; while the client finds the new one, the question is asked again. */
static bool ask_again(rd_kafka_resp_err_t err, int64_t deadline_ms)
{
        if (err < RD_KAFKA_RESP_ERR_NO_ERROR || assent_kafka_query_err(err) != ASSENT_E_BROKER ||
            assent_clock_ms() + ASK_PAUSE_MS >= deadline_ms)
                return false;
        nanosleep(&(struct timespec){.tv_nsec = ASK_PAUSE_MS * 1000000L}, NULL);
        return true;
}

/* The first offset whose timestamp is at least `time_ms`, -1 if there is none; or what RD_KAFKA_OFFSET_BEGINNING and
 * RD_KAFKA_OFFSET_END stand for, which travel in the same field. rd_kafka_query_watermark_offsets asks just that, but
 * in 2.0.2 its wait heeds no limit: it lasts while the request is tried again. */
static rd_kafka_resp_err_t offset_ask(struct assent_bus_kafka *bus, const char *topic, int32_t lane, int64_t time_ms,
                                      int64_t deadline_ms, int64_t *offset)
{
        /* Of a topic without a handle 2.0.2 remembers the leaders it was once told, though they refuse and though they die. */
        bus_topic(&bus->bus, topic);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_t *asked = rd_kafka_topic_partition_list_add(list, topic, lane);
        rd_kafka_resp_err_t err;
        do {
                int64_t left_ms = deadline_ms - assent_clock_ms();
                asked->offset = time_ms;
                err = rd_kafka_offsets_for_times(bus->producer, list, left_ms > 0 ? (int)left_ms : 0);
                if (!err)
                        err = asked->err;
        } while (ask_again(err, deadline_ms));
        *offset = asked->offset;
        rd_kafka_topic_partition_list_destroy(list);
        assent_bus_kafka_heard(bus, err);
        return err;
}

static enum assent_err bus_watermarks(struct assent_bus *base, const char *topic, int32_t lane, int64_t *low,
                                      int64_t *high)
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        int64_t deadline_ms = assent_clock_ms() + bus->query_timeout_ms;
        if (!assent_bus_kafka_present(bus))
                return ASSENT_E_BROKER;
        rd_kafka_resp_err_t err = offset_ask(bus, topic, lane, RD_KAFKA_OFFSET_BEGINNING, deadline_ms, low);
        if (!err)
                err = offset_ask(bus, topic, lane, RD_KAFKA_OFFSET_END, deadline_ms, high);
        return query_result(bus, err, "no broker tells its first and last offset", topic, lane);
}

static enum assent_err bus_offset_for_time(struct assent_bus *base, const char *topic, int32_t lane, int64_t time_ms,
                                           int64_t *offset)
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        int64_t deadline_ms = assent_clock_ms() + bus->query_timeout_ms;
        if (bus->embedded)
                return assent_bus_kafka_fail(bus, ASSENT_E_UNSUPPORTED,
                                             "the embedded broker cannot look offsets up by time");
        if (!assent_bus_kafka_present(bus))
                return ASSENT_E_BROKER;
        rd_kafka_resp_err_t err = offset_ask(bus, topic, lane, time_ms > 0 ? time_ms : 0, deadline_ms, offset);
        if (!err && *offset < 0) /* nothing that late */
                err = offset_ask(bus, topic, lane, RD_KAFKA_OFFSET_END, deadline_ms, offset);
        return query_result(bus, err, "no broker looks its offsets up by time", topic, lane);
}

static int64_t bus_monotonic_ms(struct assent_bus *base)
{
        (void)base;
        return assent_clock_ms();
}

/* The flag first: who reads the eventfd looks at it next. Writing fails only when there is plenty to be read. */
static void bus_wake(struct assent_bus *base)
{
        struct assent_bus_kafka *bus = (struct assent_bus_kafka *)base;
        atomic_store(&bus->woken, true);
        ssize_t written = write(bus->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
        (void)written;
}

static const struct assent_bus_ops operations = {
    .close = bus_close,
    .errmsg = bus_errmsg,
    .topic = bus_topic,
    .lookup = bus_lookup,
    .send = bus_send,
    .poll = bus_poll,
    .flush = bus_flush,
    .watermarks = bus_watermarks,
    .offset_for_time = bus_offset_for_time,
    .consumer_open = assent_bus_kafka_consumer_open,
    .consumer_close = assent_bus_kafka_consumer_close,
    .consume = assent_bus_kafka_consume,
    .pause = assent_bus_kafka_pause,
    .seek = assent_bus_kafka_seek,
    .commit = assent_bus_kafka_commit,
    .committed = assent_bus_kafka_committed,
    .header = assent_bus_kafka_header,
    .monotonic_ms = bus_monotonic_ms,
    .wake = bus_wake,
};

static int statistics(rd_kafka_t *client, char *json, size_t size, void *opaque)
{
        struct assent_bus_kafka *bus = opaque;
        (void)client;
        (void)size;
        if (!bus->statistics)
                return 0;
        bus->statistics(bus->statistics_context, false, json);
        return 1;
}

static enum assent_err producer_open(struct assent_bus_kafka *bus)
{
        rd_kafka_conf_t *conf =
            assent_kafka_conf(bus->config, RD_KAFKA_PRODUCER, bus->client_id, NULL, bus->errmsg, sizeof bus->errmsg);
        if (!conf)
                return ASSENT_E_CONFIG;
        rd_kafka_conf_set_opaque(conf, bus);
        rd_kafka_conf_set_error_cb(conf, assent_bus_kafka_error);
        rd_kafka_conf_set_dr_msg_cb(conf, delivered);
        if (bus->statistics)
                assent_kafka_statistics(conf, bus->config, statistics);
        bus->producer = assent_kafka_client(RD_KAFKA_PRODUCER, conf, bus->errmsg, sizeof bus->errmsg);
        if (!bus->producer)
                return ASSENT_E_CONFIG;
        bus->main_queue = rd_kafka_queue_get_main(bus->producer);
        static const uint64_t one = 1;
        rd_kafka_queue_io_event_enable(bus->main_queue, bus->wake_fd, &one, sizeof one);
        return ASSENT_OK;
}

enum assent_err assent_bus_kafka_open(const struct assent_bus_options *options, struct assent_bus **out)
{
        struct assent_bus_kafka *bus = calloc(1, sizeof *bus);
        *out = NULL;
        if (!bus)
                return ASSENT_E_MEMORY;
        *out = &bus->bus;
        bus->bus.ops = &operations;
        bus->config = options->config;
        snprintf(bus->client_id, sizeof bus->client_id, "%s", options->client_id);
        bus->delivered = options->delivered;
        bus->context = options->context;
        bus->statistics = options->statistics;
        bus->statistics_context = options->statistics_context;
        bus->start_timeout_ms = (int)assent_config_int(options->config, "assent.start_timeout_ms");
        bus->query_timeout_ms =
            bus->start_timeout_ms < ASSENT_QUERY_START_MS ? bus->start_timeout_ms : ASSENT_QUERY_START_MS;
        bus->stop_timeout_ms = (int)assent_config_int(options->config, "assent.stop_timeout_ms");
        bus->close_timeout_ms = bus->stop_timeout_ms / 4;
        bus->embedded = assent_kafka_embedded(options->config);
        bus->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        bus->refused = calloc(REFUSED_MAX, sizeof *bus->refused);
        if (bus->wake_fd < 0 || !bus->refused)
                return assent_bus_kafka_fail(bus, ASSENT_E_MEMORY, "cannot make an eventfd: %s", strerror(errno));
        return producer_open(bus);
}
