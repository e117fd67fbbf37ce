#include "runtime/outbound.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <assent/log.h>

#include "base/panic.h"

static void grow(struct assent_tracker *t)
{
        size_t capacity = t->capacity ? t->capacity * 2 : 1024;
        int64_t *ring = malloc(capacity * sizeof *ring);
        ASSENT_NEED(ring);
        for (uint64_t i = t->head; i != t->tail; i++)
                ring[i & (capacity - 1)] = t->ring[i & (t->capacity - 1)];
        free(t->ring);
        t->ring = ring;
        t->capacity = capacity;
}

uint64_t assent_tracker_add(struct assent_tracker *t, int64_t offset)
{
        ASSENT_ASSERT(offset >= 0);
        if (t->tail - t->head == t->capacity)
                grow(t);
        t->ring[t->tail & (t->capacity - 1)] = offset * 2;
        return t->tail++;
}

/* A tag carries the low bits only; the ring is far shorter than their range. */
static int64_t *entry(const struct assent_tracker *t, uint64_t sequence)
{
        uint64_t i = t->head + ((sequence - t->head) & ASSENT_TAG_SEQUENCE_MASK);
        ASSENT_ASSERT(i < t->tail);
        return &t->ring[i & (t->capacity - 1)];
}

int64_t assent_tracker_offset(const struct assent_tracker *t, uint64_t sequence)
{
        return *entry(t, sequence) / 2;
}

void assent_tracker_ack(struct assent_tracker *t, uint64_t sequence)
{
        *entry(t, sequence) |= 1;
        while (t->head != t->tail && t->ring[t->head & (t->capacity - 1)] & 1)
                t->head++;
}

int64_t assent_tracker_low(const struct assent_tracker *t, int64_t none)
{
        return t->head == t->tail ? none : t->ring[t->head & (t->capacity - 1)] / 2;
}

void assent_tracker_free(struct assent_tracker *t)
{
        free(t->ring);
        memset(t, 0, sizeof *t);
}

enum assent_err assent_send(struct assent_bus *bus, const struct assent_outgoing *outgoing)
{
        for (;;) {
                enum assent_err err = assent_bus_send(bus, outgoing);
                if (err != ASSENT_AGAIN)
                        return err;
                err = assent_bus_poll(bus, 10);
                if (err)
                        return err;
        }
}

void assent_dead_letter(struct assent_bus *bus, int dead_letters, const char *topic, const struct assent_record *record,
                        const char *why)
{
        char lane[16], offset[24], timestamp[24];
        snprintf(lane, sizeof lane, "%" PRId32, record->lane);
        snprintf(offset, sizeof offset, "%" PRId64, record->offset);
        snprintf(timestamp, sizeof timestamp, "%" PRId64, record->timestamp_ms);
        const struct assent_header headers[] = {
                {"kafka_dlt-original-topic", assent_bytes_of(topic)},
                {"kafka_dlt-original-partition", assent_bytes_of(lane)},
                {"kafka_dlt-original-offset", assent_bytes_of(offset)},
                {"kafka_dlt-original-timestamp", assent_bytes_of(timestamp)},
                {"kafka_dlt-exception-message", assent_bytes_of(why)},
        };
        const struct assent_outgoing copy = {
                .topic = dead_letters,
                .lane = record->lane,
                .key = record->key,
                .value = record->value,
                .headers = headers,
                .headers_count = sizeof headers / sizeof *headers,
                .tag = assent_tag(ASSENT_TAG_DEAD_LETTER, record->lane, 0),
        };
        enum assent_err err = assent_send(bus, &copy);
        assent_log(ASSENT_LOG_WARN, "record dead-lettered", ASSENT_TEXT("topic", topic), ASSENT_INT("lane", record->lane),
                   ASSENT_INT("offset", record->offset), ASSENT_INT("size", record->value.size), ASSENT_TEXT("why", why),
                   ASSENT_TEXT("result", assent_err_name(err)));
}
