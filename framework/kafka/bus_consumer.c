/* bus_consumer.c: reading on librdkafka. Records come by rd_kafka_consumer_poll only: the batch calls of 2.0.2 skip
 * offsets around a pause. One wait serves records and delivery reports, by an eventfd that both clients write to. */
#include "kafka/bus_kafka.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <assent/log.h>

#include "base/clock.h"
#include "base/panic.h"
#include "kafka/client.h"
#include "kafka/errors.h"

#define HURRY_MAX          64   /* unsent records that are not left to linger */
#define HURRY_AGAIN_MS     10
#define WAIT_MAX_MS        1000 /* one look even if no wake-up came, in case a client forgets one */
#define COMMITTED_PAUSE_MS 50

struct held_lane {
        int32_t lane;
        bool paused;
};

struct assent_bus_consumer {
        struct assent_bus_kafka *bus;
        rd_kafka_t *client;
        rd_kafka_queue_t *queue;
        rd_kafka_topic_t *handle; /* for seek */
        char topic[256];
        bool grouped, subscribed, closing;
        assent_lane_assigned assigned;
        assent_lane_revoked revoked;
        void (*shared)(void *context);
        void *context;
        struct held_lane *lanes; /* `assigned` was called and said OK */
        size_t lanes_count, lanes_max;
        rd_kafka_message_t **messages; /* handed out by the last consume */
        size_t messages_count, messages_max;
        rd_kafka_topic_partition_list_t *committed; /* lent by the last committed */
        enum assent_err err; /* sticky: this consumer has failed */
};

static void messages_release(struct assent_bus_consumer *consumer)
{
        for (size_t i = 0; i < consumer->messages_count; i++)
                rd_kafka_message_destroy(consumer->messages[i]);
        consumer->messages_count = 0;
}

static void committed_release(struct assent_bus_consumer *consumer)
{
        if (consumer->committed)
                rd_kafka_topic_partition_list_destroy(consumer->committed);
        consumer->committed = NULL;
}

static bool messages_reserve(struct assent_bus_consumer *consumer, size_t count)
{
        if (count <= consumer->messages_max)
                return true;
        rd_kafka_message_t **grown = realloc(consumer->messages, count * sizeof *grown);
        if (!grown)
                return false;
        consumer->messages = grown;
        consumer->messages_max = count;
        return true;
}

static struct held_lane *lane_find(struct assent_bus_consumer *consumer, int32_t lane)
{
        for (size_t i = 0; i < consumer->lanes_count; i++) {
                if (consumer->lanes[i].lane == lane)
                        return &consumer->lanes[i];
        }
        return NULL;
}

static bool lanes_reserve(struct assent_bus_consumer *consumer, size_t count)
{
        if (count <= consumer->lanes_max)
                return true;
        struct held_lane *grown = realloc(consumer->lanes, count * sizeof *grown);
        if (!grown)
                return false;
        consumer->lanes = grown;
        consumer->lanes_max = count;
        return true;
}

static rd_kafka_resp_err_t lane_pause(struct assent_bus_consumer *consumer, int32_t lane, bool paused)
{
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, consumer->topic, lane);
        rd_kafka_resp_err_t err = paused ? rd_kafka_pause_partitions(consumer->client, list)
                                         : rd_kafka_resume_partitions(consumer->client, list);
        if (!err)
                err = list->elems[0].err;
        rd_kafka_topic_partition_list_destroy(list);
        return err;
}

static void lanes_drop(struct assent_bus_consumer *consumer, bool lost)
{
        while (consumer->lanes_count > 0) {
                struct held_lane held = consumer->lanes[--consumer->lanes_count];
                if (held.paused) /* else it would still be paused when it comes back */
                        lane_pause(consumer, held.lane, false);
                if (consumer->revoked)
                        consumer->revoked(consumer->context, held.lane, lost);
        }
}

static enum assent_err fail(struct assent_bus_consumer *consumer, enum assent_err err, const char *what,
                            const char *why)
{
        return assent_bus_kafka_fail(consumer->bus, err, "topic %s: %s: %s", consumer->topic, what, why);
}

/* A coordinator that is loading or moving answers soon; while there is none there is nothing to fall back on. */
static enum assent_err committed_read(struct assent_bus_consumer *consumer, rd_kafka_topic_partition_list_t *list)
{
        struct assent_bus_kafka *bus = consumer->bus;
        bool urgent = bus->running && bus->stop_timeout_ms < bus->start_timeout_ms;
        int64_t deadline_ms = assent_clock_ms() + (urgent ? bus->stop_timeout_ms : bus->start_timeout_ms);
        for (;;) {
                rd_kafka_resp_err_t err = rd_kafka_committed(consumer->client, list, bus->query_timeout_ms);
                for (int i = 0; i < list->cnt && !err; i++)
                        err = list->elems[i].err;
                if (!err)
                        return ASSENT_OK;
                if (assent_kafka_query_err(err) == ASSENT_E_DENIED || assent_clock_ms() >= deadline_ms)
                        return fail(consumer, ASSENT_E_KAFKA, "the group's committed offsets cannot be read",
                                    rd_kafka_err2str(err));
                nanosleep(&(struct timespec){.tv_nsec = COMMITTED_PAUSE_MS * 1000000L}, NULL);
        }
}

/* Asks the owner where each lane starts and writes it into the list. */
static enum assent_err starts_ask(struct assent_bus_consumer *consumer, rd_kafka_topic_partition_list_t *list)
{
        enum assent_err err = consumer->grouped ? committed_read(consumer, list) : ASSENT_OK;
        if (err)
                return err;
        if (!lanes_reserve(consumer, (size_t)list->cnt))
                return fail(consumer, ASSENT_E_MEMORY, "lanes cannot be taken", "out of memory");
        for (int i = 0; i < list->cnt; i++) {
                rd_kafka_topic_partition_t *lane = &list->elems[i];
                bool found = consumer->grouped && lane->offset >= 0;
                struct assent_committed committed = {.offset = found ? lane->offset : -1};
                if (found)
                        committed.metadata = (struct assent_bytes){.data = lane->metadata, .size = lane->metadata_size};
                int64_t start = -1;
                err = consumer->assigned(consumer->context, lane->partition, &committed, &start);
                if (err)
                        return err; /* the owner has its own sentence */
                ASSENT_ASSERT(start >= 0);
                lane->offset = start;
                consumer->lanes[consumer->lanes_count++] = (struct held_lane){.lane = lane->partition};
        }
        return ASSENT_OK;
}

static enum assent_err lanes_take(struct assent_bus_consumer *consumer, rd_kafka_topic_partition_list_t *list)
{
        ASSENT_ASSERT(consumer->lanes_count == 0 && !consumer->bus->taking);
        consumer->bus->taking = true;
        enum assent_err err = starts_ask(consumer, list);
        consumer->bus->taking = false;
        rd_kafka_resp_err_t refusal = rd_kafka_assign(consumer->client, err ? NULL : list);
        if (!err && refusal)
                err = fail(consumer, ASSENT_E_KAFKA, "lanes cannot be taken", rd_kafka_err2str(refusal));
        return err;
}

/* Eager: everything is revoked before anything is assigned. */
static void rebalanced(rd_kafka_t *client, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
        struct assent_bus_consumer *consumer = opaque;
        if (consumer->closing) { /* on the thread that ends the client; the lanes were dropped before */
                rd_kafka_assign(client, NULL);
                return;
        }
        if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
                enum assent_err taken = lanes_take(consumer, list);
                if (taken)
                        consumer->err = taken;
                else if (consumer->shared)
                        consumer->shared(consumer->context);
                return;
        }
        lanes_drop(consumer, rd_kafka_assignment_lost(client));
        rd_kafka_assign(client, NULL);
}

static void failed(rd_kafka_t *client, int err, const char *reason, void *opaque)
{
        struct assent_bus_consumer *consumer = opaque;
        if (!consumer->closing)
                assent_bus_kafka_error(client, err, reason, consumer->bus);
}

static void committed_in_background(rd_kafka_t *client, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list,
                                    void *opaque)
{
        (void)list;
        (void)opaque;
        if (err && err != RD_KAFKA_RESP_ERR__NO_OFFSET)
                assent_kafka_warn(rd_kafka_name(client), "COMMIT", rd_kafka_err2str(err));
}

static int statistics(rd_kafka_t *client, char *json, size_t size, void *opaque)
{
        struct assent_bus_consumer *consumer = opaque;
        (void)client;
        (void)size;
        if (consumer->closing)
                return 0;
        consumer->bus->statistics(consumer->bus->statistics_context, true, json);
        return 1;
}

static enum assent_err client_open(struct assent_bus_consumer *consumer, const char *group)
{
        struct assent_bus_kafka *bus = consumer->bus;
        char unused[160];
        /* librdkafka wants a group even of a consumer that joins and commits to none. */
        snprintf(unused, sizeof unused, "%s-reader", bus->client_id);
        rd_kafka_conf_t *conf = assent_kafka_conf(bus->config, RD_KAFKA_CONSUMER, bus->client_id,
                                                  group ? group : unused, bus->errmsg, sizeof bus->errmsg);
        if (!conf)
                return ASSENT_E_CONFIG;
        rd_kafka_conf_set_opaque(conf, consumer);
        rd_kafka_conf_set_error_cb(conf, failed);
        rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
        rd_kafka_conf_set_offset_commit_cb(conf, committed_in_background);
        if (bus->statistics && group && bus->consumers_count == 1)
                assent_kafka_statistics(conf, bus->config, statistics);
        consumer->client = assent_kafka_client(RD_KAFKA_CONSUMER, conf, bus->errmsg, sizeof bus->errmsg);
        if (!consumer->client)
                return ASSENT_E_CONFIG;
        rd_kafka_poll_set_consumer(consumer->client);
        consumer->queue = rd_kafka_queue_get_consumer(consumer->client);
        static const uint64_t one = 1;
        rd_kafka_queue_io_event_enable(consumer->queue, bus->wake_fd, &one, sizeof one);
        consumer->handle = rd_kafka_topic_new(consumer->client, consumer->topic, NULL);
        return consumer->handle
                   ? ASSENT_OK
                   : fail(consumer, ASSENT_E_KAFKA, "cannot be read", rd_kafka_err2str(rd_kafka_last_error()));
}

static enum assent_err lanes_begin(struct assent_bus_consumer *consumer,
                                   const struct assent_bus_consumer_options *options)
{
        size_t count = consumer->subscribed ? 1 : options->lanes_count;
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
        enum assent_err err = ASSENT_OK;
        if (consumer->subscribed) {
                rd_kafka_topic_partition_list_add(list, consumer->topic, RD_KAFKA_PARTITION_UA);
                rd_kafka_resp_err_t refusal = rd_kafka_subscribe(consumer->client, list);
                if (refusal)
                        err = fail(consumer, ASSENT_E_KAFKA, "cannot be subscribed", rd_kafka_err2str(refusal));
        } else {
                for (size_t i = 0; i < count; i++)
                        rd_kafka_topic_partition_list_add(list, consumer->topic, options->lanes[i]);
                err = lanes_take(consumer, list);
        }
        rd_kafka_topic_partition_list_destroy(list);
        return err;
}

enum assent_err assent_bus_kafka_consumer_open(struct assent_bus *base,
                                               const struct assent_bus_consumer_options *options,
                                               struct assent_bus_consumer **out)
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        ASSENT_ASSERT(options->assigned && strlen(options->topic) < sizeof((*out)->topic));
        ASSENT_ASSERT(options->group || options->lanes_count > 0);
        *out = NULL;
        struct assent_bus_consumer *consumer = calloc(1, sizeof *consumer);
        if (!consumer)
                return assent_bus_kafka_fail(bus, ASSENT_E_MEMORY, "out of memory");
        consumer->bus = bus;
        snprintf(consumer->topic, sizeof consumer->topic, "%s", options->topic);
        consumer->grouped = options->group != NULL;
        consumer->subscribed = options->lanes_count == 0;
        consumer->assigned = options->assigned;
        consumer->revoked = options->revoked;
        consumer->shared = options->shared;
        consumer->context = options->context;
        bus->consumers_count++;
        enum assent_err err = client_open(consumer, options->group);
        if (!err)
                err = lanes_begin(consumer, options);
        if (err) {
                assent_bus_kafka_consumer_close(consumer);
                return err;
        }
        *out = consumer;
        return ASSENT_OK;
}

void assent_bus_kafka_consumer_close(struct assent_bus_consumer *consumer)
{
        struct assent_bus_kafka *bus = consumer->bus;
        ASSENT_ASSERT(!consumer->closing && bus->consumers_count > 0);
        messages_release(consumer); /* one left over would keep the client from ending */
        committed_release(consumer);
        lanes_drop(consumer, false);
        consumer->closing = true;
        bus->consumers_count--;
        free(consumer->lanes);
        free(consumer->messages);
        if (consumer->handle)
                rd_kafka_topic_destroy(consumer->handle);
        if (consumer->queue) {
                rd_kafka_queue_io_event_enable(consumer->queue, -1, NULL, 0);
                rd_kafka_queue_destroy(consumer->queue);
        }
        if (consumer->client)
                assent_kafka_destroy(consumer->client, consumer, bus->close_timeout_ms);
        else
                free(consumer);
}

/* An error event instead of a record. */
static void event(struct assent_bus_consumer *consumer, const rd_kafka_message_t *message)
{
        enum assent_err err = assent_kafka_consume_err(message->err);
        if (err == ASSENT_E_POSITION)
                assent_bus_kafka_fail(consumer->bus, err,
                                      "topic %s lane %d: offset %lld is not in the log (any more): %s; see the topic's "
                                      "retention and first offset",
                                      consumer->topic, message->partition, (long long)message->offset,
                                      rd_kafka_message_errstr(message));
        else if (err)
                assent_bus_kafka_fail(consumer->bus, err, "topic %s lane %d cannot be read: %s", consumer->topic,
                                      message->partition, rd_kafka_message_errstr(message));
        else
                assent_kafka_warn(rd_kafka_name(consumer->client), rd_kafka_err2name(message->err),
                                  rd_kafka_message_errstr(message));
        if (err)
                consumer->err = err;
}

static void record_fill(struct assent_record *record, rd_kafka_message_t *message)
{
        rd_kafka_timestamp_type_t type;
        record->timestamp_ms = rd_kafka_message_timestamp(message, &type);
        record->append_time = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
        record->lane = message->partition;
        record->offset = message->offset;
        record->key = (struct assent_bytes){.data = message->key, .size = message->key_len};
        record->value = (struct assent_bytes){.data = message->payload, .size = message->len};
        record->native = message;
}

/* What is in the client's queue, until it is empty or records_max are there. */
static void records_take(struct assent_bus_consumer *consumer, struct assent_record *records, size_t records_max)
{
        while (consumer->messages_count < records_max && !consumer->err) {
                rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->client, 0);
                if (!message)
                        return;
                if (message->err) {
                        event(consumer, message);
                        rd_kafka_message_destroy(message);
                        continue;
                }
                assent_bus_kafka_heard(consumer->bus, RD_KAFKA_RESP_ERR_NO_ERROR);
                record_fill(&records[consumer->messages_count], message);
                consumer->messages[consumer->messages_count++] = message;
        }
}

/* False: a signal came, the caller may want to stop. */
static bool wake_wait(struct assent_bus_kafka *bus, int64_t timeout_ms)
{
        struct pollfd wake = {.fd = bus->wake_fd, .events = POLLIN};
        int ready = poll(&wake, 1, timeout_ms < WAIT_MAX_MS ? (int)timeout_ms : WAIT_MAX_MS);
        uint64_t wakes;
        if (ready > 0 && read(bus->wake_fd, &wakes, sizeof wakes) < 0)
                ASSENT_ASSERT(errno == EAGAIN || errno == EINTR);
        return ready >= 0;
}

/* The start is over: from now on a loop must go on, and end when it is told to. */
static void running(struct assent_bus_kafka *bus)
{
        bus->running = true;
        if (bus->query_timeout_ms > ASSENT_QUERY_RUN_MS)
                bus->query_timeout_ms = ASSENT_QUERY_RUN_MS;
}

enum assent_err assent_bus_kafka_consume(struct assent_bus_consumer *consumer, struct assent_record *records,
                                         size_t records_max, int timeout_ms, size_t *count)
{
        struct assent_bus_kafka *bus = consumer->bus;
        int64_t deadline_ms = timeout_ms > 0 ? assent_clock_ms() + timeout_ms : 0;
        ASSENT_ASSERT(records_max > 0);
        *count = 0;
        if (consumer->grouped)
                running(bus);
        messages_release(consumer);
        if (!messages_reserve(consumer, records_max))
                return fail(consumer, ASSENT_E_KAFKA, "cannot be read", "out of memory");
        uint64_t reports_before = bus->reports_count;
        bool hurried = false;
        for (;;) {
                assent_bus_kafka_reports(bus);
                records_take(consumer, records, records_max);
                bool reported = bus->reports_count != reports_before; /* the caller may be waiting for just that */
                bool woken = atomic_exchange(&bus->woken, false);
                if (consumer->messages_count > 0 || reported || woken || consumer->err || bus->failed || timeout_ms <= 0)
                        break;
                /* Nothing left to read: a few records that linger would wait for company that does not come. A flush makes
                 * linger.ms count as 0 while it runs. Not while records of the last one are on their way: a broker that takes
                 * longer under load gets fewer and fuller requests (as in RFC 896). The client's threads may miss one. */
                uint64_t unsent = bus->sent_count - bus->reports_count;
                if (!hurried && unsent > 0 && unsent <= HURRY_MAX &&
                    (bus->reports_count >= bus->hurried_to || assent_clock_ms() - bus->hurried_ms >= HURRY_AGAIN_MS)) {
                        hurried = true;
                        bus->hurried_to = bus->sent_count;
                        bus->hurried_ms = assent_clock_ms();
                        rd_kafka_flush(bus->producer, 1);
                        continue;
                }
                int64_t left_ms = deadline_ms - assent_clock_ms();
                if (left_ms <= 0 || !wake_wait(bus, left_ms))
                        break;
        }
        *count = consumer->messages_count;
        if (*count > 0) /* an error waits for the next call */
                return ASSENT_OK;
        if (consumer->err)
                return consumer->err;
        return bus->failed ? ASSENT_E_KAFKA : ASSENT_OK;
}

enum assent_err assent_bus_kafka_pause(struct assent_bus_consumer *consumer, int32_t lane, bool paused)
{
        struct held_lane *held = lane_find(consumer, lane);
        ASSENT_ASSERT(held != NULL);
        if (held->paused == paused) /* resume only what was paused: 2.0.2 moves the position otherwise */
                return ASSENT_OK;
        rd_kafka_resp_err_t err = lane_pause(consumer, lane, paused);
        if (err)
                return fail(consumer, ASSENT_E_KAFKA, paused ? "a lane cannot be paused" : "a lane cannot be resumed",
                            rd_kafka_err2str(err));
        held->paused = paused;
        return ASSENT_OK;
}

enum assent_err assent_bus_kafka_seek(struct assent_bus_consumer *consumer, int32_t lane, int64_t offset)
{
        ASSENT_ASSERT(lane_find(consumer, lane) != NULL && offset >= 0);
        /* Not rd_kafka_seek_partitions, whose time limit is a thousand times too short in 2.0.2. */
        rd_kafka_resp_err_t err = rd_kafka_seek(consumer->handle, lane, offset, consumer->bus->query_timeout_ms);
        if (err)
                return fail(consumer, ASSENT_E_KAFKA, "a lane cannot be read from another offset",
                            rd_kafka_err2str(err));
        return ASSENT_OK;
}

/* rd_kafka_commit would wait without limit. What comes too late goes nowhere: the queue is gone by then. */
static rd_kafka_resp_err_t commit_and_wait(struct assent_bus_consumer *consumer, rd_kafka_topic_partition_list_t *list)
{
        struct assent_bus_kafka *bus = consumer->bus;
        if (!assent_bus_kafka_present(bus))
                return RD_KAFKA_RESP_ERR__TIMED_OUT;
        rd_kafka_queue_t *answers = rd_kafka_queue_new(consumer->client);
        rd_kafka_resp_err_t err = rd_kafka_commit_queue(consumer->client, list, answers, NULL, NULL);
        rd_kafka_event_t *event = err ? NULL : rd_kafka_queue_poll(answers, bus->query_timeout_ms);
        if (event) {
                const rd_kafka_topic_partition_list_t *answered = rd_kafka_event_topic_partition_list(event);
                err = rd_kafka_event_error(event);
                if (!err && answered)
                        err = answered->elems[0].err;
                rd_kafka_event_destroy(event);
        } else if (!err) {
                err = RD_KAFKA_RESP_ERR__TIMED_OUT;
        }
        rd_kafka_queue_destroy(answers);
        assent_bus_kafka_heard(bus, err);
        return err;
}

enum assent_err assent_bus_kafka_commit(struct assent_bus_consumer *consumer, int32_t lane, int64_t offset,
                                        struct assent_bytes metadata, bool wait)
{
        ASSENT_ASSERT(consumer->grouped && metadata.size <= ASSENT_COMMIT_METADATA_MAX && offset >= 0);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_t *committed = rd_kafka_topic_partition_list_add(list, consumer->topic, lane);
        enum assent_err err = ASSENT_OK;
        committed->offset = offset;
        if (metadata.size) {
                committed->metadata = malloc(metadata.size); /* freed with the list */
                if (!committed->metadata) {
                        err = fail(consumer, ASSENT_AGAIN, "an offset cannot be committed", "out of memory");
                        goto out;
                }
                memcpy(committed->metadata, metadata.data, metadata.size);
                committed->metadata_size = metadata.size;
        }
        rd_kafka_resp_err_t refusal =
            wait ? commit_and_wait(consumer, list) : rd_kafka_commit(consumer->client, list, true);
        if (refusal)
                err = fail(consumer, ASSENT_AGAIN, "an offset was not committed", rd_kafka_err2str(refusal));
out:
        rd_kafka_topic_partition_list_destroy(list);
        return err;
}

enum assent_err assent_bus_kafka_committed(struct assent_bus_consumer *consumer, int32_t lane,
                                           struct assent_committed *committed)
{
        ASSENT_ASSERT(consumer->grouped);
        if (!assent_bus_kafka_present(consumer->bus))
                return ASSENT_E_BROKER;
        committed_release(consumer);
        consumer->committed = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_t *found = rd_kafka_topic_partition_list_add(consumer->committed, consumer->topic, lane);
        rd_kafka_resp_err_t err = rd_kafka_committed(consumer->client, consumer->committed, consumer->bus->query_timeout_ms);
        if (!err)
                err = found->err;
        assent_bus_kafka_heard(consumer->bus, err);
        if (err)
                return fail(consumer, ASSENT_E_BROKER, "the group's committed offset cannot be read", rd_kafka_err2str(err));
        *committed = (struct assent_committed){.offset = found->offset >= 0 ? found->offset : -1};
        if (committed->offset >= 0)
                committed->metadata = (struct assent_bytes){found->metadata, found->metadata_size};
        return ASSENT_OK;
}

bool assent_bus_kafka_header(const struct assent_record *record, const char *name, struct assent_bytes *value)
{
        rd_kafka_headers_t *headers;
        const void *data;
        size_t size;
        ASSENT_ASSERT(record->native != NULL);
        if (rd_kafka_message_headers(record->native, &headers) || rd_kafka_header_get_last(headers, name, &data, &size))
                return false;
        *value = (struct assent_bytes){.data = data, .size = size};
        return true;
}
