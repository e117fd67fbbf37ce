/* kafka.c: the cluster: its logs, their leaders, and how a record gets from a sender into a log as with acks=all and an
 * idempotent producer. See kafka.h. */
#include "kafka.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/panic.h"
#include "kafka/client.h"
#include "kafka/topics.h"

#define CHUNK_SIZE       (256 * 1024)
#define SPARE_MAX        256 /* chunks kept for the next cluster: fresh pages are dear */
#define HEALTHY_US       300 /* the greatest delay of a healthy link */
#define UNREPORTED_MAX   20000
#define TOPIC_BYTES_MAX  (262144 + ASSENT_TOPIC_OVERHEAD)
#define TOPICS_MAX       1024 /* of one bus */
#define QUERY_START_US   INT64_C(5000000)
#define QUERY_RUN_US     INT64_C(1000000)
#define AWAY_US          INT64_C(4000000)
#define STRAY_US         INT64_C(2000000) /* so much later may arrive what a dead sender left on its way */
#define OLD_END_US       500000
#define OLD_END_RECORDS  20
#define NEVER            INT64_MAX

struct chunk {
        struct chunk *next;
        size_t used, size;
        max_align_t bytes[];
};

struct bus_topic {
        char name[ASSENT_TOPIC_SIZE_MAX];
        struct channel **channels; /* by lane */
        int32_t channels_count;
};

void (*sim_appended)(const struct sim_log *log, int64_t offset, const struct sim_process *sender);
void (*sim_refused)(const struct sim_log *log, struct assent_bytes value);
struct sim_cluster_faults sim_cluster_faults;

static struct {
        struct chunk *chunks;
        struct delivery *free_deliveries;
        struct topic *topics;
        int64_t clock_ms;
} cluster;

static struct {
        struct chunk *first;
        size_t count;
} spare;

/* ---- memory ---- */

static struct chunk *chunk_new(size_t size)
{
        struct chunk *chunk = spare.first;
        if (chunk && size == CHUNK_SIZE) {
                spare.first = chunk->next;
                spare.count--;
        } else {
                chunk = malloc(sizeof *chunk + size);
                ASSENT_ASSERT(chunk);
        }
        *chunk = (struct chunk){.size = size};
        return chunk;
}

static void chunks_free(void)
{
        for (struct chunk *chunk = cluster.chunks, *next; chunk; chunk = next) {
                next = chunk->next;
                if (chunk->size != CHUNK_SIZE || spare.count == SPARE_MAX) {
                        free(chunk);
                        continue;
                }
                chunk->next = spare.first;
                spare.first = chunk;
                spare.count++;
        }
}

void *kafka_room(size_t size)
{
        struct chunk *chunk = cluster.chunks;
        size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
        bool large = size > CHUNK_SIZE / 4;
        if (!chunk || (!large && chunk->size - chunk->used < size)) {
                chunk = chunk_new(CHUNK_SIZE);
                chunk->next = cluster.chunks;
                cluster.chunks = chunk;
        }
        if (large) { /* gets its own, behind the one in use */
                struct chunk *own = chunk_new(size);
                own->next = chunk->next;
                chunk->next = own;
                chunk = own;
        }
        void *room = (uint8_t *)chunk->bytes + chunk->used;
        chunk->used += size;
        return memset(room, 0, size);
}

static void push(struct queue *queue, struct delivery *delivery)
{
        delivery->next = NULL;
        if (queue->first)
                queue->last->next = delivery;
        else
                queue->first = delivery;
        queue->last = delivery;
}

static void push_front(struct queue *queue, struct delivery *delivery)
{
        delivery->next = queue->first;
        if (!queue->first)
                queue->last = delivery;
        queue->first = delivery;
}

static struct delivery *pop(struct queue *queue)
{
        struct delivery *first = queue->first;
        if (first)
                queue->first = first->next;
        return first;
}

static struct delivery *delivery_new(struct channel *channel, struct letter *letter)
{
        struct delivery *delivery = cluster.free_deliveries;
        if (delivery)
                cluster.free_deliveries = delivery->next;
        else
                delivery = kafka_room(sizeof *delivery);
        *delivery = (struct delivery){.channel = channel, .letter = letter, .fault = SIM_FAULT_COUNT};
        return delivery;
}

static void delivery_free(struct delivery *delivery)
{
        delivery->next = cluster.free_deliveries;
        cluster.free_deliveries = delivery;
}

/* Frees what is left in a queue. */
static void queue_drop(struct queue *queue, enum sim_fault fault)
{
        for (struct delivery *delivery; (delivery = pop(queue)) != NULL; delivery_free(delivery))
                sim_count(fault);
}

static void put(uint8_t **at, const void *data, size_t size)
{
        if (size)
                memcpy(*at, data, size);
        *at += size;
}

static struct letter *letter_new(const struct assent_outgoing *outgoing)
{
        size_t headers_size = 0;
        for (size_t i = 0; i < outgoing->headers_count; i++)
                headers_size += strlen(outgoing->headers[i].name) + 1 + sizeof(uint32_t) + outgoing->headers[i].value.size;
        struct letter *letter = kafka_room(sizeof *letter + outgoing->key.size + outgoing->value.size + headers_size);
        letter->sent_ms = sim_now_ms();
        letter->key_size = (uint32_t)outgoing->key.size;
        letter->size = (uint32_t)outgoing->value.size;
        letter->headers_size = (uint32_t)headers_size;
        uint8_t *at = letter->bytes;
        put(&at, outgoing->key.data, outgoing->key.size);
        put(&at, outgoing->value.data, outgoing->value.size);
        for (size_t i = 0; i < outgoing->headers_count; i++) {
                const struct assent_header *header = &outgoing->headers[i];
                uint32_t size = (uint32_t)header->value.size;
                put(&at, header->name, strlen(header->name) + 1);
                put(&at, &size, sizeof size);
                put(&at, header->value.data, size);
        }
        return letter;
}

/* ---- delays ---- */

static int64_t spread(int64_t greatest_us)
{
        if (greatest_us < HEALTHY_US || sim_below(4)) /* most of them are short all the same */
                greatest_us = HEALTHY_US;
        return sim_between(100, greatest_us);
}

int64_t kafka_delay(const struct sim_process *process, int64_t greatest_us)
{
        return spread(greatest_us) + (process ? process->link_us : 0);
}

/* ---- logs ---- */

struct topic *kafka_topic(const char *name)
{
        for (struct topic *topic = cluster.topics; topic; topic = topic->next)
                if (strcmp(topic->lanes[0]->log.topic, name) == 0)
                        return topic;
        return NULL;
}

struct lane *kafka_lane(const char *name, int32_t number)
{
        const struct topic *topic = kafka_topic(name);
        return topic && number >= 0 && number < topic->lanes_count ? topic->lanes[number] : NULL;
}

struct sim_log *sim_log_of(const char *topic, int lane)
{
        struct lane *found = kafka_lane(topic, lane);
        return found ? &found->log : NULL;
}

void sim_topic(const char *name)
{
        sim_topic_of(name, sim_options.lanes, TOPIC_BYTES_MAX);
}

void sim_topic_of(const char *name, int lanes, size_t bytes_max)
{
        ASSENT_ASSERT(lanes > 0 && !kafka_topic(name));
        struct topic *topic = kafka_room(sizeof *topic + (size_t)lanes * sizeof(struct lane *));
        topic->lanes_count = lanes;
        for (int i = 0; i < topic->lanes_count; i++) {
                struct lane *lane = topic->lanes[i] = kafka_room(sizeof *lane);
                snprintf(lane->log.topic, sizeof lane->log.topic, "%s", name);
                lane->log.lane = i;
                lane->bytes_max = bytes_max;
                lane->clock_ms = cluster.clock_ms;
        }
        topic->next = cluster.topics;
        cluster.topics = topic;
}

static void trace_append(const struct lane *lane, const struct sim_record *record)
{
        const struct sim_log *log = &lane->log;
        const struct {
                int64_t lane, offset, timestamp_ms;
                uint64_t topic, bytes;
        } seen = {log->lane, log->high, record->timestamp_ms, assent_hash64(log->topic, strlen(log->topic), 0),
                  assent_hash64(record->bytes, record->key_size + record->size, record->marker)};
        sim_trace(&seen, sizeof seen);
}

static void acknowledge(struct delivery *delivery);

static const struct sim_process *sender_of(const struct letter *letter)
{
        const struct sim_process *sender = letter->sender;
        return sender && sender->running && !sender->ghost && sender->lives == letter->life ? sender : NULL;
}

/* The followers have all of the tail: readers may see it, its senders are told. */
static void show(void *argument)
{
        struct lane *lane = argument;
        if (!kafka_leads(lane)) {
                sim_at(lane->leader_us + spread(0), show, lane);
                return;
        }
        lane->showing = false;
        for (struct delivery *delivery; (delivery = pop(&lane->tail)) != NULL;) {
                lane->log.visible = delivery->offset + 1;
                if (delivery->letter && sim_appended)
                        sim_appended(&lane->log, delivery->offset, sender_of(delivery->letter));
                acknowledge(delivery);
        }
        kafka_kick(lane);
}

static void append(struct lane *lane, struct delivery *delivery)
{
        struct sim_log *log = &lane->log;
        if (log->high == lane->records_max) {
                lane->records_max = lane->records_max ? 2 * lane->records_max : 256;
                log->records = realloc(log->records, (size_t)lane->records_max * sizeof *log->records);
                ASSENT_ASSERT(log->records);
        }
        const struct letter *letter = delivery->letter;
        struct sim_record *record = &log->records[log->high];
        *record = (struct sim_record){.timestamp_ms = SIM_EPOCH_MS + sim_now_ms() + lane->clock_ms, .marker = !letter};
        if (letter) {
                record->bytes = letter->bytes;
                record->key_size = letter->key_size;
                record->size = letter->size;
                record->headers_size = letter->headers_size;
                if (sim_options.embedded)
                        record->timestamp_ms = SIM_EPOCH_MS + letter->sent_ms;
        }
        trace_append(lane, record);
        delivery->offset = log->high++;
        push(&lane->tail, delivery);
        if (!lane->showing) {
                lane->showing = true;
                sim_at(sim_now_us() + spread(sim_cluster_faults.send_us), show, lane);
        }
}

int64_t sim_append(struct sim_log *log, const char *key, struct assent_bytes value)
{
        const struct assent_outgoing outgoing = {.key = {key, key ? strlen(key) : 0}, .value = value};
        struct delivery *delivery = delivery_new(NULL, letter_new(&outgoing));
        append((struct lane *)log, delivery);
        return delivery->offset;
}

void sim_cluster_gap(struct sim_log *log, int count)
{
        for (int i = 0; i < count; i++)
                append((struct lane *)log, delivery_new(NULL, NULL));
        sim_count(SIM_GAP);
}

void sim_cluster_retain(struct sim_log *log, int64_t low)
{
        if (low > log->visible)
                low = log->visible;
        if (low <= log->low)
                return;
        sim_note("%s lane %d: what is below offset %" PRId64 " is removed", log->topic, log->lane, low);
        log->low = low;
        sim_count(SIM_RETENTION);
}

/* ---- from a sender to a log ---- */

static void pump(void *argument);

static void pump_at(struct channel *channel, int64_t time_us)
{
        if (channel->pump_us <= time_us)
                return;
        channel->pump_us = time_us;
        sim_at(time_us, pump, channel);
}

/* A letter once more: the client's or the network's doing, not its sender's. */
static void append_again(void *argument)
{
        struct delivery *delivery = argument;
        struct lane *lane = delivery->channel->lane;
        if (!kafka_leads(lane)) {
                sim_at(kafka_again_us(), append_again, delivery);
                return;
        }
        delivery->channel = NULL;
        sim_count((enum sim_fault)delivery->fault);
        append(lane, delivery);
}

static void repeat(const struct delivery *delivery, enum sim_fault fault, int64_t delay_us)
{
        struct delivery *copy = delivery_new(delivery->channel, delivery->letter);
        copy->fault = fault;
        sim_at(sim_now_us() + delay_us, append_again, copy);
}

static void report_later(struct delivery *delivery, int64_t delay_us);

static bool is_commands(const char *topic)
{
        const char *last = strrchr(topic, '.');
        return last && strcmp(last, ".commands") == 0;
}

/* What is denied to this sender: another coordinator's copy, on its way since before, may be taken all the same. */
static void refuse(struct channel *channel, struct delivery *delivery)
{
        const struct letter *letter = delivery->letter;
        sim_count(SIM_REFUSED);
        sim_note("%s lane %" PRId32 ": a record is refused", channel->topic, channel->number);
        if (sim_below(2))
                repeat(delivery, SIM_REPLAY, sim_between(0, sim_cluster_faults.replay_us));
        if (channel->bus && sim_refused)
                sim_refused(&channel->lane->log, (struct assent_bytes){letter->bytes + letter->key_size, letter->size});
        delivery->err = ASSENT_E_DENIED;
        delivery->offset = -1;
        report_later(delivery, kafka_delay(channel->process, 0));
}

static void arrive(struct channel *channel, struct delivery *delivery)
{
        if (!channel->bus)
                sim_count(SIM_SEND_LATE);
        if (!channel->lane || delivery->letter->key_size + delivery->letter->size > channel->lane->bytes_max) {
                delivery->err = channel->lane ? ASSENT_E_TOO_LARGE : ASSENT_E_NOT_FOUND;
                delivery->offset = -1;
                report_later(delivery, kafka_delay(channel->process, 0));
                return;
        }
        if (sim_chance(sim_cluster_faults.refuse) && is_commands(channel->topic)) {
                refuse(channel, delivery);
                return;
        }
        if (sim_chance(sim_cluster_faults.duplicate))
                repeat(delivery, SIM_DUPLICATE, spread(sim_cluster_faults.send_us));
        if (sim_chance(sim_cluster_faults.replay))
                repeat(delivery, SIM_REPLAY, sim_between(0, sim_cluster_faults.replay_us));
        append(channel->lane, delivery);
}

static bool stopped(const struct sim_process *process)
{
        return process && process->paused_until_us > sim_now_us();
}

/* What arrives while nobody listens is sent again by a client that lives, and lost without one. */
static bool blocked(const struct channel *channel)
{
        if (channel->lane && !kafka_leads(channel->lane))
                return true;
        return channel->bus && channel->process &&
               (channel->process->cut_out || (channel->retries && stopped(channel->process)));
}

static void pump(void *argument)
{
        struct channel *channel = argument;
        if (channel->pump_us > sim_now_us())
                return; /* stale */
        channel->pump_us = NEVER;
        if (!channel->lane)
                channel->lane = kafka_lane(channel->topic, channel->number);
        while (channel->sending.first && channel->sending.first->due_us <= sim_now_us()) {
                channel->retries = blocked(channel);
                if (!channel->retries) {
                        arrive(channel, pop(&channel->sending));
                } else if (channel->bus) {
                        channel->sending.first->due_us = kafka_again_us();
                } else {
                        queue_drop(&channel->sending, SIM_SEND_LOST);
                }
        }
        if (channel->sending.first)
                pump_at(channel, channel->sending.first->due_us);
}

/* ---- the acknowledgement's way back ---- */

static void bring_acks(void *argument)
{
        struct channel *channel = argument;
        struct sim_process *process = channel->process;
        bool came = false;
        channel->acks = false;
        while (channel->acking.first && channel->acking.first->due_us <= sim_now_us()) {
                if (process && process->cut_in) {
                        channel->acking.first->due_us = kafka_again_us();
                        break;
                }
                push(&channel->bus->reports, pop(&channel->acking));
                came = true;
        }
        if (channel->acking.first) {
                channel->acks = true;
                sim_at(channel->acking.first->due_us, bring_acks, channel);
        }
        if (came && process)
                sim_wake(process);
}

static void report_later(struct delivery *delivery, int64_t delay_us)
{
        struct channel *channel = delivery->channel;
        if (!channel->bus) {
                sim_count(SIM_ACK_LOST);
                delivery_free(delivery);
                return;
        }
        if (channel->ack_us < sim_now_us() + delay_us)
                channel->ack_us = sim_now_us() + delay_us;
        delivery->due_us = channel->ack_us;
        push(&channel->acking, delivery);
        if (!channel->acks) {
                channel->acks = true;
                sim_at(delivery->due_us, bring_acks, channel);
        }
}

static void acknowledge(struct delivery *delivery)
{
        if (!delivery->channel) {
                delivery_free(delivery);
                return;
        }
        int64_t delay_us = kafka_delay(delivery->channel->process, 0);
        if (sim_chance(sim_cluster_faults.ack_late)) {
                sim_count(SIM_ACK_DELAYED);
                delay_us += sim_between(0, sim_cluster_faults.ack_us);
        }
        report_later(delivery, delay_us);
}

/* The sender is gone. What it left on its way arrives up to a point, or not at all. */
static void channel_close(struct channel *channel)
{
        size_t count = 0;
        int64_t delay_us = 0;
        for (const struct delivery *delivery = channel->sending.first; delivery; delivery = delivery->next)
                count++;
        channel->bus = NULL;
        queue_drop(&channel->acking, SIM_ACK_LOST);
        size_t arriving = count && !(channel->process && channel->process->cut_out) ? sim_below(count + 1) : 0;
        if (sim_cluster_faults.send_us && !sim_below(4))
                delay_us = sim_between(0, STRAY_US);
        struct queue all = channel->sending;
        channel->sending = (struct queue){0};
        for (; arriving > 0; arriving--) {
                all.first->due_us += delay_us;
                push(&channel->sending, pop(&all));
        }
        queue_drop(&all, SIM_SEND_LOST);
        if (channel->sending.first)
                pump_at(channel, channel->sending.first->due_us);
}

/* ---- what befalls the cluster ---- */

static void set_clock(struct lane *lane, int64_t offset_ms)
{
        if (offset_ms != lane->clock_ms)
                sim_count(offset_ms > lane->clock_ms ? SIM_CLOCK_AHEAD : SIM_CLOCK_BACK);
        lane->clock_ms = offset_ms;
}

void sim_cluster_clock(int64_t offset_ms)
{
        sim_note("the brokers' clocks are %" PRId64 " ms off", offset_ms);
        cluster.clock_ms = offset_ms;
        for (struct topic *topic = cluster.topics; topic; topic = topic->next)
                for (int i = 0; i < topic->lanes_count; i++)
                        set_clock(topic->lanes[i], offset_ms);
}

/* The end of the log from `end` on is gone. What a living sender does not know to be there it sends again. */
static void lose_tail(struct lane *lane, int64_t end)
{
        struct queue kept = {0}, lost = {0};
        for (struct delivery *delivery; (delivery = pop(&lane->tail)) != NULL;) {
                if (delivery->offset < end)
                        push(&kept, delivery);
                else
                        push_front(&lost, delivery); /* the last of them first */
        }
        lane->tail = kept;
        if (lost.first)
                sim_note("%s lane %d: what is above offset %" PRId64 " is lost", lane->log.topic, lane->log.lane, end);
        for (struct delivery *delivery; (delivery = pop(&lost)) != NULL;) {
                struct channel *channel = delivery->channel;
                sim_count(SIM_TAIL_LOST);
                if (channel && channel->bus) {
                        delivery->due_us = lane->leader_us + kafka_delay(channel->process, sim_cluster_faults.send_us);
                        push_front(&channel->sending, delivery);
                        pump_at(channel, delivery->due_us);
                        continue;
                }
                if (channel)
                        sim_count(SIM_SEND_LOST);
                delivery_free(delivery);
        }
        lane->log.high = end;
        sim_trace(&end, sizeof end);
}

void sim_cluster_leader(struct sim_log *log, int64_t away_us, int64_t clock_ms, bool loses_tail)
{
        struct lane *lane = (struct lane *)log;
        sim_note("%s lane %d: its leader goes, for %" PRId64 " ms there is none", log->topic, log->lane, away_us / 1000);
        sim_count(SIM_LEADER);
        set_clock(lane, clock_ms);
        if (lane->leader_us < sim_now_us() + away_us)
                lane->leader_us = sim_now_us() + away_us;
        if (loses_tail)
                lose_tail(lane, log->visible);
        lane->old_end_until_us = 0;
        if (sim_chance(sim_cluster_faults.old_end)) {
                lane->old_end = log->visible - (int64_t)sim_below(OLD_END_RECORDS);
                lane->old_end_until_us = lane->leader_us + sim_between(0, OLD_END_US);
        }
}

void sim_cluster_truncate(struct sim_log *log, int64_t end)
{
        struct lane *lane = (struct lane *)log;
        ASSENT_ASSERT(end >= log->low && end <= log->high);
        lose_tail(lane, end);
        if (log->visible > end)
                log->visible = end;
        kafka_forget(lane, end);
}

void sim_cluster_cut(struct sim_process *process, bool in, bool out)
{
        static const char *const words[] = {"is connected", "is not heard", "hears nothing", "is cut off"};
        if (in == process->cut_in && out == process->cut_out)
                return;
        process->cut_in = in;
        process->cut_out = out;
        sim_note("%s %s", process->name, words[2 * in + out]);
        if (in || out)
                sim_count(in && out ? SIM_CUT : in ? SIM_CUT_IN : SIM_CUT_OUT);
}

void sim_cluster_slow(struct sim_process *process, int64_t extra_us)
{
        process->link_us = extra_us;
        if (extra_us)
                sim_count(SIM_SLOW);
}

/* ---- a bus ---- */

static struct sim_bus *bus_of(struct assent_bus *base)
{
        return (struct sim_bus *)base;
}

bool kafka_enter(void)
{
        if (sim_at_point && sim_self() && !sim_ghost())
                sim_at_point(sim_self(), NULL);
        return !sim_ghost();
}

enum assent_err kafka_fail(struct sim_bus *bus, enum assent_err err, const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(bus->errmsg, sizeof bus->errmsg, format, arguments);
        va_end(arguments);
        return err;
}

bool kafka_present(struct sim_bus *bus)
{
        int64_t left_us = bus->away_until_us - sim_now_us();
        if (!bus->running || bus->taking || left_us <= 0)
                return true;
        kafka_fail(bus, ASSENT_E_BROKER, "no broker answered; it is asked again in %" PRId64 " ms", left_us / 1000);
        return false;
}

void kafka_heard(struct sim_bus *bus, bool answered)
{
        bus->away_until_us = answered ? 0 : sim_now_us() + AWAY_US;
}

static bool sleep_until(int64_t time_us, int64_t deadline_us)
{
        sim_wait(time_us < deadline_us ? time_us : deadline_us, NULL, NULL);
        return time_us <= deadline_us && !sim_ghost();
}

bool kafka_reach(struct sim_bus *bus, const struct lane *lane, int64_t deadline_us)
{
        for (;;) {
                if (!sleep_until(sim_now_us() + kafka_delay(bus->process, 0), deadline_us))
                        return false;
                if (!(bus->process && bus->process->cut_out) && !(lane && !kafka_leads(lane)))
                        return true;
                if (!sleep_until(kafka_again_us(), deadline_us))
                        return false;
        }
}

bool kafka_return(struct sim_bus *bus, int64_t deadline_us)
{
        while (sleep_until(sim_now_us() + kafka_delay(bus->process, 0), deadline_us)) {
                if (!(bus->process && bus->process->cut_in))
                        return true;
                if (!sleep_until(kafka_again_us(), deadline_us))
                        break;
        }
        return false;
}

void kafka_reports(struct sim_bus *bus)
{
        for (struct delivery *delivery; (delivery = pop(&bus->reports)) != NULL; delivery_free(delivery)) {
                const struct letter *letter = delivery->letter;
                const struct channel *channel = delivery->channel;
                const struct assent_report report = {.err = delivery->err,
                                                     .tag = delivery->tag,
                                                     .offset = delivery->offset,
                                                     .topic = channel->handle,
                                                     .lane = channel->number,
                                                     .key = {letter->bytes, letter->key_size},
                                                     .value = {letter->bytes + letter->key_size, letter->size}};
                if (report.err)
                        kafka_fail(bus, report.err, "topic %s lane %" PRId32 ": a record of %zu bytes was refused: %s",
                                   channel->topic, report.lane, report.value.size, assent_err_text(report.err));
                bus->unreported--;
                bus->reports_count++;
                kafka_heard(bus, true);
                if (bus->delivered)
                        bus->delivered(bus->context, &report);
        }
}

static bool has_reports(void *argument)
{
        return ((const struct sim_bus *)argument)->reports.first != NULL;
}

static void bus_close(struct assent_bus *base)
{
        struct sim_bus *bus = bus_of(base);
        kafka_enter();
        for (size_t i = 0; i < bus->topics_count; i++) {
                for (int32_t lane = 0; lane < bus->topics[i].channels_count; lane++)
                        if (bus->topics[i].channels[lane])
                                channel_close(bus->topics[i].channels[lane]);
                free(bus->topics[i].channels);
        }
        queue_drop(&bus->reports, SIM_ACK_LOST);
        sim_hold(bus->process, SIM_BUS, -1);
        free(bus->topics);
        free(bus);
}

static const char *bus_errmsg(const struct assent_bus *base)
{
        return ((const struct sim_bus *)base)->errmsg;
}

static int bus_topic(struct assent_bus *base, const char *name)
{
        struct sim_bus *bus = bus_of(base);
        for (size_t i = 0; i < bus->topics_count; i++)
                if (strcmp(bus->topics[i].name, name) == 0)
                        return (int)i;
        if (bus->topics_count == TOPICS_MAX) {
                kafka_fail(bus, ASSENT_E_LIMIT, "more than %d topics in one process", TOPICS_MAX);
                return -1;
        }
        bus->topics = realloc(bus->topics, (bus->topics_count + 1) * sizeof *bus->topics);
        ASSENT_ASSERT(bus->topics && strlen(name) < sizeof bus->topics->name);
        struct bus_topic *topic = &bus->topics[bus->topics_count];
        *topic = (struct bus_topic){0};
        snprintf(topic->name, sizeof topic->name, "%s", name);
        return (int)bus->topics_count++;
}

static struct channel *channel_of(struct sim_bus *bus, int handle, int32_t number)
{
        ASSENT_ASSERT(handle >= 0 && (size_t)handle < bus->topics_count && number >= 0 && number < ASSENT_LANES_MAX);
        struct bus_topic *topic = &bus->topics[handle];
        if (number >= topic->channels_count) {
                topic->channels = realloc(topic->channels, (size_t)(number + 1) * sizeof(struct channel *));
                ASSENT_ASSERT(topic->channels);
                while (topic->channels_count <= number)
                        topic->channels[topic->channels_count++] = NULL;
        }
        struct channel *channel = topic->channels[number];
        if (!channel) {
                size_t size = strlen(topic->name) + 1;
                channel = topic->channels[number] = kafka_room(sizeof *channel);
                *channel = (struct channel){.bus = bus, .process = bus->process, .handle = handle, .number = number};
                channel->topic = memcpy(kafka_room(size), topic->name, size);
                channel->pump_us = NEVER;
        }
        return channel;
}

static enum assent_err bus_send(struct assent_bus *base, const struct assent_outgoing *outgoing)
{
        struct sim_bus *bus = bus_of(base);
        if (!kafka_enter())
                return ASSENT_OK;
        struct channel *channel = channel_of(bus, outgoing->topic, outgoing->lane);
        size_t size = outgoing->key.size + outgoing->value.size;
        for (size_t i = 0; i < outgoing->headers_count; i++)
                size += strlen(outgoing->headers[i].name) + outgoing->headers[i].value.size;
        if (size > bus->send_bytes_max)
                return kafka_fail(bus, ASSENT_E_TOO_LARGE, "topic %s lane %" PRId32 ": a record of %zu bytes was refused",
                                  channel->topic, outgoing->lane, outgoing->value.size);
        bool full = sim_chance(sim_cluster_faults.queue_full);
        if (full)
                sim_count(SIM_QUEUE_FULL);
        if (full || bus->unreported >= (sim_cluster_faults.queue_max ? sim_cluster_faults.queue_max : UNREPORTED_MAX))
                return kafka_fail(bus, ASSENT_AGAIN, "the client's queue is full");
        struct delivery *delivery = delivery_new(channel, letter_new(outgoing));
        delivery->tag = outgoing->tag;
        delivery->letter->sender = bus->process;
        delivery->letter->life = bus->process ? bus->process->lives : 0;
        int64_t due_us = sim_now_us() + kafka_delay(bus->process, sim_cluster_faults.send_us);
        if (due_us > channel->arrive_us && (channel->arrive_us <= sim_now_us() || sim_below(2)))
                channel->arrive_us = due_us; /* else it travels with the one before it */
        delivery->due_us = channel->arrive_us;
        push(&channel->sending, delivery);
        pump_at(channel, channel->sending.first->due_us);
        bus->unreported++;
        return ASSENT_OK;
}

static enum assent_err bus_poll(struct assent_bus *base, int timeout_ms)
{
        struct sim_bus *bus = bus_of(base);
        if (!kafka_enter())
                return ASSENT_E_KAFKA;
        if (timeout_ms > 0)
                sim_wait(sim_now_us() + timeout_ms * INT64_C(1000), has_reports, bus);
        if (sim_ghost())
                return ASSENT_E_KAFKA;
        kafka_reports(bus);
        return ASSENT_OK;
}

/* A loop is about to end when it flushes: it waits only as long as something still comes. */
static enum assent_err bus_flush(struct assent_bus *base, int timeout_ms)
{
        struct sim_bus *bus = bus_of(base);
        if (!kafka_enter())
                return ASSENT_TIMED_OUT;
        kafka_reports(bus);
        int64_t patience_us = bus->running ? bus->stop_timeout_us / 4 : NEVER;
        int64_t began_us = sim_now_us(), deadline_us = began_us;
        if (kafka_present(bus))
                deadline_us += timeout_ms * INT64_C(1000);
        while (bus->unreported > 0 && sim_now_us() < deadline_us) {
                int64_t left_us = deadline_us - sim_now_us();
                if (left_us > patience_us)
                        left_us = patience_us;
                bool silent = !sim_wait(sim_now_us() + left_us, has_reports, bus);
                if (sim_ghost())
                        return ASSENT_TIMED_OUT;
                kafka_reports(bus);
                if (silent && left_us >= bus->query_timeout_us)
                        kafka_heard(bus, false);
                if (silent)
                        break;
        }
        if (bus->unreported == 0)
                return ASSENT_OK;
        return kafka_fail(bus, ASSENT_TIMED_OUT, "%zu records are not acknowledged after %d ms", bus->unreported, timeout_ms);
}

/* ---- questions ---- */

static enum assent_err silent(struct sim_bus *bus, const char *topic, int32_t lane)
{
        kafka_heard(bus, false);
        return kafka_fail(bus, ASSENT_E_BROKER, "topic %s lane %" PRId32 ": no broker answers", topic, lane);
}

static enum assent_err bus_lookup(struct assent_bus *base, const char *name, int *lanes)
{
        struct sim_bus *bus = bus_of(base);
        *lanes = 0;
        if (!kafka_enter())
                return ASSENT_E_NOT_FOUND;
        if (!kafka_present(bus))
                return ASSENT_E_BROKER;
        int64_t deadline_us = sim_now_us() + bus->query_timeout_us;
        bool answered = kafka_reach(bus, NULL, deadline_us);
        const struct topic *topic = answered ? kafka_topic(name) : NULL;
        answered = answered && kafka_return(bus, deadline_us);
        if (sim_ghost())
                return ASSENT_E_NOT_FOUND;
        kafka_heard(bus, answered);
        if (!answered)
                return kafka_fail(bus, ASSENT_E_BROKER, "no broker tells which topics there are");
        if (!topic)
                return kafka_fail(bus, ASSENT_E_NOT_FOUND, "the cluster has no topic %s", name);
        *lanes = topic->lanes_count;
        return ASSENT_OK;
}

static enum assent_err no_lane(struct sim_bus *bus, const char *topic, int32_t lane)
{
        kafka_heard(bus, true);
        return kafka_fail(bus, ASSENT_E_NOT_FOUND, "topic %s lane %" PRId32 ": there is no such lane", topic, lane);
}

static enum assent_err bus_watermarks(struct assent_bus *base, const char *topic, int32_t number, int64_t *low, int64_t *high)
{
        struct sim_bus *bus = bus_of(base);
        if (!kafka_enter() || !kafka_present(bus))
                return ASSENT_E_BROKER;
        int64_t deadline_us = sim_now_us() + bus->query_timeout_us;
        const struct lane *lane = kafka_lane(topic, number);
        if (!kafka_reach(bus, lane, deadline_us))
                return silent(bus, topic, number);
        if (lane) {
                *low = lane->log.low;
                *high = lane->log.visible;
                if (sim_now_us() < lane->old_end_until_us && lane->old_end < *high && lane->old_end >= *low) {
                        *high = lane->old_end;
                        sim_count(SIM_OLD_END);
                }
        }
        if (!kafka_return(bus, deadline_us))
                return silent(bus, topic, number);
        if (!lane)
                return no_lane(bus, topic, number);
        kafka_heard(bus, true);
        return ASSENT_OK;
}

static enum assent_err bus_offset_for_time(struct assent_bus *base, const char *topic, int32_t number, int64_t time_ms,
                                           int64_t *offset)
{
        struct sim_bus *bus = bus_of(base);
        if (!kafka_enter())
                return ASSENT_E_BROKER;
        if (sim_options.embedded)
                return kafka_fail(bus, ASSENT_E_UNSUPPORTED, "the embedded broker cannot look offsets up by time");
        if (!kafka_present(bus))
                return ASSENT_E_BROKER;
        int64_t deadline_us = sim_now_us() + bus->query_timeout_us;
        const struct lane *lane = kafka_lane(topic, number);
        if (!kafka_reach(bus, lane, deadline_us))
                return silent(bus, topic, number);
        if (lane) {
                const struct sim_log *log = &lane->log;
                for (*offset = log->low; *offset < log->visible && log->records[*offset].timestamp_ms < time_ms;)
                        ++*offset;
        }
        if (!kafka_return(bus, deadline_us))
                return silent(bus, topic, number);
        if (!lane)
                return no_lane(bus, topic, number);
        kafka_heard(bus, true);
        return ASSENT_OK;
}

static bool find_header(const uint8_t *at, size_t headers_size, const char *name, struct assent_bytes *value)
{
        const uint8_t *end = at + headers_size;
        bool found = false;
        while (at < end) {
                const char *this = (const char *)at;
                uint32_t size;
                at += strlen(this) + 1;
                memcpy(&size, at, sizeof size);
                at += sizeof size;
                if (strcmp(this, name) == 0) {
                        *value = (struct assent_bytes){at, size};
                        found = true;
                }
                at += size;
        }
        return found;
}

bool sim_record_header(const struct sim_record *record, const char *name, struct assent_bytes *value)
{
        return find_header(record->bytes + record->key_size + record->size, record->headers_size, name, value);
}

static bool bus_header(const struct assent_record *record, const char *name, struct assent_bytes *value)
{
        const struct letter *letter = record->native;
        return find_header(letter->bytes + letter->key_size + letter->size, letter->headers_size, name, value);
}

/* Clocks of different processes have nothing to do with each other. */
static int64_t bus_monotonic_ms(struct assent_bus *base)
{
        const struct sim_process *process = bus_of(base)->process;
        return sim_now_ms() + (process ? INT64_C(1000003) * (process->index + 1) : 0);
}

static void bus_wake(struct assent_bus *base)
{
        struct sim_bus *bus = bus_of(base);
        bus->woken = true;
        if (bus->process)
                sim_wake(bus->process);
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
        .consumer_open = kafka_consumer_open,
        .consumer_close = kafka_consumer_close,
        .consume = kafka_consume,
        .pause = kafka_pause,
        .seek = kafka_seek,
        .commit = kafka_commit,
        .committed = kafka_committed,
        .header = bus_header,
        .monotonic_ms = bus_monotonic_ms,
        .wake = bus_wake,
};

/* ---- what the linker wraps ---- */

enum assent_err __wrap_assent_bus_kafka_open(const struct assent_bus_options *options, struct assent_bus **out);
enum assent_err __wrap_assent_topics_check(struct assent_bus *base, const struct assent_config *config,
                                           struct assent_bytes service, struct assent_topics_report *report);

enum assent_err __wrap_assent_bus_kafka_open(const struct assent_bus_options *options, struct assent_bus **out)
{
        const struct assent_config *config = options->config;
        struct sim_bus *bus = calloc(1, sizeof *bus);
        ASSENT_ASSERT(bus);
        *out = &bus->base;
        bus->base.ops = &operations;
        bus->process = sim_self();
        sim_hold(bus->process, SIM_BUS, 1);
        bus->delivered = options->delivered;
        bus->context = options->context;
        bus->send_bytes_max = (size_t)assent_config_int(config, "assent.record_bytes_max") + ASSENT_CLIENT_OVERHEAD;
        bus->start_timeout_us = assent_config_int(config, "assent.start_timeout_ms") * 1000;
        bus->stop_timeout_us = assent_config_int(config, "assent.stop_timeout_ms") * 1000;
        bus->query_timeout_us = bus->start_timeout_us < QUERY_START_US ? bus->start_timeout_us : QUERY_START_US;
        return ASSENT_OK;
}

/* Topics are as they must be, or are not there. */
enum assent_err __wrap_assent_topics_check(struct assent_bus *base, const struct assent_config *config,
                                           struct assent_bytes service, struct assent_topics_report *report)
{
        struct sim_bus *bus = bus_of(base);
        char names[3][ASSENT_TOPIC_SIZE_MAX] = {{0}};
        int64_t deadline_us = sim_now_us() + bus->start_timeout_us;
        memset(report, 0, sizeof *report);
        assent_topic_inbox(config, names[0]);
        assent_topic_outcomes(config, names[1]);
        if (service.size)
                assent_topic_commands(config, service, names[2]);
        if (!kafka_enter() || !kafka_reach(bus, NULL, deadline_us) || !kafka_return(bus, deadline_us)) {
                snprintf(report->errmsg, sizeof report->errmsg, "no broker answers");
                return ASSENT_E_BROKER;
        }
        for (int i = 0; i < 3; i++) {
                if (!names[i][0] || kafka_topic(names[i]))
                        continue;
                snprintf(report->errmsg, sizeof report->errmsg, "topic %s: missing", names[i]);
                return ASSENT_E_TOPIC;
        }
        report->lanes = (uint32_t)kafka_topic(names[0])->lanes_count;
        snprintf(report->cluster_id, sizeof report->cluster_id, "%s", sim_options.embedded ? "" : "simulated");
        return ASSENT_OK;
}

/* ---- a cluster's life ---- */

void sim_cluster_open(void)
{
        memset(&sim_cluster_faults, 0, sizeof sim_cluster_faults);
}

void sim_cluster_close(void)
{
        kafka_groups_close();
        for (const struct topic *topic = cluster.topics; topic; topic = topic->next)
                for (int i = 0; i < topic->lanes_count; i++)
                        free(topic->lanes[i]->log.records);
        chunks_free();
        memset(&cluster, 0, sizeof cluster);
}
