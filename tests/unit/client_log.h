/* client_log.h: one lane of the inbox in memory, behind the bus interface: enough of a broker for
 * evaluators and clients. */
#ifndef CLIENT_LOG_H
#define CLIENT_LOG_H

#include <stdio.h>
#include <string.h>

#include "codec/codec.h"
#include "core/ids.h"
#include "kafka/bus.h"

enum { LOG_RECORDS_MAX = 64, LOG_VALUE_SIZE_MAX = 8192 };

struct log_record {
        int64_t offset, timestamp_ms;
        size_t size;
        uint8_t value[LOG_VALUE_SIZE_MAX];
};

struct log_bus {
        struct assent_bus bus;
        struct log_record records[LOG_RECORDS_MAX];
        size_t count;
        int64_t next_offset, low;
        bool times;   /* the broker can look up times */
        bool gone;    /* no broker answers */
        int refusals; /* so often watermarks are refused, as by a broker that does not lead the lane yet */
        enum assent_err refusal;
        int64_t now_ms; /* grows by what is waited for */
        int opens;
        const char *metadata; /* of the group's committed offset; NULL: the group has none */
        /* What was sent; `send_err` is what send says, `report_err` what the report will say. */
        enum assent_err send_err, report_err;
        struct assent_outgoing sent;
        uint8_t sent_value[LOG_VALUE_SIZE_MAX];
        char sent_key[64];
        size_t sends, unreported;
        void (*delivered)(void *context, const struct assent_report *report);
        void *context;
};

struct assent_bus_consumer {
        struct log_bus *log;
        int64_t position;
};

static struct assent_bus_consumer log_consumer;

static inline struct log_bus *log_of(struct assent_bus *bus)
{
        return (struct log_bus *)bus;
}

static void log_close(struct assent_bus *bus)
{
        (void)bus;
}

static const char *log_errmsg(const struct assent_bus *bus)
{
        (void)bus;
        return "the bus says why";
}

static enum assent_err log_lookup(struct assent_bus *bus, const char *topic, int *lanes)
{
        *lanes = 1;
        return log_of(bus)->gone ? ASSENT_E_BROKER : strstr(topic, "nosuch") ? ASSENT_E_NOT_FOUND : ASSENT_OK;
}

static enum assent_err log_pause(struct assent_bus_consumer *consumer, int32_t lane, bool paused)
{
        (void)lane;
        if (paused)
                consumer->position = INT64_MAX;
        return ASSENT_OK;
}

static enum assent_err log_send(struct assent_bus *bus, const struct assent_outgoing *outgoing)
{
        struct log_bus *log = log_of(bus);
        if (log->send_err != ASSENT_OK)
                return log->send_err;
        log->sent = *outgoing;
        memcpy(log->sent_value, outgoing->value.data, outgoing->value.size);
        snprintf(log->sent_key, sizeof log->sent_key, "%.*s", (int)outgoing->key.size,
                 (const char *)outgoing->key.data);
        log->sends++;
        log->unreported++;
        return ASSENT_OK;
}

static enum assent_err log_poll(struct assent_bus *bus, int timeout_ms)
{
        struct log_bus *log = log_of(bus);
        log->now_ms += timeout_ms;
        if (log->unreported > 0 && !log->gone) {
                const struct assent_report report = {.err = log->report_err,
                                                     .tag = log->sent.tag,
                                                     .offset = 7,
                                                     .key = {log->sent_key, strlen(log->sent_key)}};
                log->unreported = 0;
                log->delivered(log->context, &report);
        }
        return ASSENT_OK;
}

static enum assent_err log_flush(struct assent_bus *bus, int timeout_ms)
{
        log_poll(bus, log_of(bus)->gone ? timeout_ms : 1);
        return log_of(bus)->unreported == 0 ? ASSENT_OK : ASSENT_TIMED_OUT;
}

static enum assent_err log_watermarks(struct assent_bus *bus, const char *topic, int32_t lane, int64_t *low,
                                      int64_t *high)
{
        (void)topic;
        (void)lane;
        if (log_of(bus)->refusals > 0) {
                log_of(bus)->refusals--;
                return log_of(bus)->refusal;
        }
        *low = log_of(bus)->low;
        *high = log_of(bus)->next_offset;
        return log_of(bus)->gone ? ASSENT_E_BROKER : ASSENT_OK;
}

static enum assent_err log_offset_for_time(struct assent_bus *bus, const char *topic, int32_t lane, int64_t time_ms,
                                           int64_t *offset)
{
        (void)topic;
        (void)lane;
        const struct log_bus *log = log_of(bus);
        if (!log->times)
                return ASSENT_E_UNSUPPORTED;
        *offset = log->next_offset;
        for (size_t i = log->count; i-- > 0;)
                if (log->records[i].offset >= log->low && log->records[i].timestamp_ms >= time_ms)
                        *offset = log->records[i].offset;
        return ASSENT_OK;
}

static enum assent_err log_consumer_open(struct assent_bus *bus, const struct assent_bus_consumer_options *options,
                                         struct assent_bus_consumer **out)
{
        const char *metadata = log_of(bus)->metadata;
        const struct assent_committed committed = {.offset = options->group && metadata ? log_of(bus)->low : -1,
                                                   .metadata = {metadata, metadata ? strlen(metadata) : 0}};
        log_consumer.log = log_of(bus);
        log_consumer.log->opens++;
        *out = &log_consumer;
        return options->assigned(options->context, options->lanes[0], &committed, &log_consumer.position);
}

static void log_consumer_close(struct assent_bus_consumer *consumer)
{
        consumer->log->opens--;
}

/* Two records at a time, so that batches end in odd places. */
static enum assent_err log_consume(struct assent_bus_consumer *consumer, struct assent_record *records,
                                   size_t records_max, int timeout_ms, size_t *count)
{
        struct log_bus *log = consumer->log;
        *count = 0;
        for (size_t i = 0; i < log->count && *count < 2 && *count < records_max; i++) {
                const struct log_record *record = &log->records[i];
                if (record->offset < consumer->position || record->offset < log->low || log->gone)
                        continue;
                records[(*count)++] = (struct assent_record){.offset = record->offset,
                                                             .timestamp_ms = record->timestamp_ms,
                                                             .append_time = true,
                                                             .value = {record->value, record->size}};
        }
        if (*count > 0)
                consumer->position = records[*count - 1].offset + 1;
        else
                log_poll(&log->bus, timeout_ms);
        return ASSENT_OK;
}

static int64_t log_monotonic_ms(struct assent_bus *bus)
{
        return log_of(bus)->now_ms;
}

static void log_open(struct log_bus *log)
{
        static const struct assent_bus_ops ops = {.close = log_close,
                                                  .errmsg = log_errmsg,
                                                  .lookup = log_lookup,
                                                  .pause = log_pause,
                                                  .send = log_send,
                                                  .poll = log_poll,
                                                  .flush = log_flush,
                                                  .watermarks = log_watermarks,
                                                  .offset_for_time = log_offset_for_time,
                                                  .consumer_open = log_consumer_open,
                                                  .consumer_close = log_consumer_close,
                                                  .consume = log_consume,
                                                  .monotonic_ms = log_monotonic_ms};
        memset(log, 0, sizeof *log);
        log->bus.ops = &ops;
        log->times = true;
}

static inline void log_append_bytes(struct log_bus *log, int64_t timestamp_ms, const void *data, size_t size)
{
        struct log_record *record = &log->records[log->count++];
        record->offset = log->next_offset++;
        record->timestamp_ms = timestamp_ms;
        record->size = size;
        memcpy(record->value, data, size);
}

static inline void log_append(struct log_bus *log, struct assent_codec *codec, int64_t timestamp_ms,
                              struct assent_message *message)
{
        struct assent_bytes bytes;
        assent_message_seal(message);
        if (assent_codec_encode(codec, message, &bytes) == ASSENT_OK)
                log_append_bytes(log, timestamp_ms, bytes.data, bytes.size);
}

#endif
