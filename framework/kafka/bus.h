/* bus.h: records in, records out. What the runtimes need of Kafka, and nothing else; bus_kafka.c implements it on
 * librdkafka, a simulator implements it in tests. One bus per thread: every call but wake, and every callback, is on that
 * thread. */
#ifndef ASSENT_KAFKA_BUS_H
#define ASSENT_KAFKA_BUS_H

#include <assent/config.h>

/* A record as it was read. Valid until the next consume on the same consumer. */
struct assent_record {
        int32_t lane;
        int64_t offset;
        int64_t timestamp_ms;
        bool append_time;        /* the broker stamped it (LogAppendTime) */
        struct assent_bytes key;
        struct assent_bytes value;
        void *native;            /* for assent_bus_header */
};

struct assent_header {
        const char *name;
        struct assent_bytes value;
};

struct assent_outgoing {
        int topic;               /* from assent_bus_topic */
        int32_t lane;            /* always named; never left to a partitioner */
        struct assent_bytes key; /* copied, as is the value */
        struct assent_bytes value;
        const struct assent_header *headers; /* NULL for none */
        size_t headers_count;
        uint64_t tag;            /* handed back with the delivery report */
};

struct assent_committed {
        int64_t offset;               /* -1: the group has none */
        struct assent_bytes metadata; /* empty when none */
};

/* A lane is taken: set *start to the first offset to read (at least 0). Anything but ASSENT_OK makes the running consume
 * call (or consumer_open) return it. */
typedef enum assent_err (*assent_lane_assigned)(void *context, int32_t lane, const struct assent_committed *committed,
                                                int64_t *start);
/* A lane goes. `lost`: another owner may have it already; commits are pointless. */
typedef void (*assent_lane_revoked)(void *context, int32_t lane, bool lost);

struct assent_bus_consumer_options {
        const char *topic;
        const char *group;       /* NULL: reads without a group; committed.offset is -1, commit is not allowed */
        const int32_t *lanes;    /* assigned lanes; NULL with lanes_count 0: subscribed, balanced by the group */
        size_t lanes_count;
        assent_lane_assigned assigned;
        assent_lane_revoked revoked; /* may be NULL; also called for every lane at close */
        void (*shared)(void *context); /* subscribed: the group has told this member its lanes, perhaps none; may be NULL */
        void *context;
};

/* What became of a record that was sent. The pointers are valid until the callback returns. */
struct assent_report {
        enum assent_err err; /* ASSENT_OK, or for good: ASSENT_E_TOO_LARGE, ASSENT_E_NOT_FOUND (no such topic or lane),
                              * ASSENT_E_DENIED, ASSENT_E_KAFKA */
        uint64_t tag;
        int64_t offset; /* -1 if unknown */
        int topic;
        int32_t lane;
        struct assent_bytes key, value; /* as sent, so that a caller may send it again later */
};

struct assent_bus;
struct assent_bus_consumer;

struct assent_bus_options {
        const struct assent_config *config;
        const char *client_id;
        /* One per record sent. Called from poll, consume and flush; must not send. */
        void (*delivered)(void *context, const struct assent_report *report);
        void *context;
        /* Statistics of the producer, or of the first consumer with a group, every assent.statistics_ms; `json` is freed by who
         * gets it. Called as `delivered` is; NULL: none are made. */
        void (*statistics)(void *context, bool consumer, char *json);
        void *statistics_context;
};

struct assent_bus_ops {
        void (*close)(struct assent_bus *bus);
        const char *(*errmsg)(const struct assent_bus *bus);
        int (*topic)(struct assent_bus *bus, const char *name);
        enum assent_err (*lookup)(struct assent_bus *bus, const char *topic, int *lanes);
        enum assent_err (*send)(struct assent_bus *bus, const struct assent_outgoing *outgoing);
        enum assent_err (*poll)(struct assent_bus *bus, int timeout_ms);
        enum assent_err (*flush)(struct assent_bus *bus, int timeout_ms);
        enum assent_err (*watermarks)(struct assent_bus *bus, const char *topic, int32_t lane, int64_t *low, int64_t *high);
        enum assent_err (*offset_for_time)(struct assent_bus *bus, const char *topic, int32_t lane, int64_t time_ms,
                                           int64_t *offset);
        enum assent_err (*consumer_open)(struct assent_bus *bus, const struct assent_bus_consumer_options *options,
                                         struct assent_bus_consumer **out);
        void (*consumer_close)(struct assent_bus_consumer *consumer);
        enum assent_err (*consume)(struct assent_bus_consumer *consumer, struct assent_record *records, size_t records_max,
                                   int timeout_ms, size_t *count);
        enum assent_err (*pause)(struct assent_bus_consumer *consumer, int32_t lane, bool paused);
        enum assent_err (*seek)(struct assent_bus_consumer *consumer, int32_t lane, int64_t offset);
        enum assent_err (*commit)(struct assent_bus_consumer *consumer, int32_t lane, int64_t offset,
                                  struct assent_bytes metadata, bool wait);
        enum assent_err (*committed)(struct assent_bus_consumer *consumer, int32_t lane, struct assent_committed *committed);
        bool (*header)(const struct assent_record *record, const char *name, struct assent_bytes *value);
        int64_t (*monotonic_ms)(struct assent_bus *bus);
        void (*wake)(struct assent_bus *bus);
};

/* Every implementation begins with this. */
struct assent_bus {
        const struct assent_bus_ops *ops;
};

/* Connects lazily. *out is set even on failure (then only errmsg and close), unless memory ran out.
 * Returns ASSENT_OK, ASSENT_E_CONFIG (a librdkafka property), ASSENT_E_MEMORY. */
enum assent_err assent_bus_kafka_open(const struct assent_bus_options *options, struct assent_bus **out);

/* NULL is fine. What is still unsent is dropped: flush first. */
static inline void assent_bus_close(struct assent_bus *bus)
{
        if (bus)
                bus->ops->close(bus);
}

/* What went wrong last, for people: what, on which topic, lane and offset, what to do. */
static inline const char *assent_bus_errmsg(const struct assent_bus *bus)
{
        return bus->ops->errmsg(bus);
}

/* A handle for sending to a topic, the same for the same name; -1 when the table of topics is full. No I/O. */
static inline int assent_bus_topic(struct assent_bus *bus, const char *name)
{
        return bus->ops->topic(bus, name);
}

/* Whatever waits for the cluster does so for at most five seconds while a program starts, and for one second from the first
 * consume for a group on, so that a loop goes on while the brokers are away. In such a loop, for four seconds after nobody
 * answered, nothing is asked and nothing waited for: lookup, watermarks, offset_for_time and committed return
 * ASSENT_E_BROKER, a commit with `wait` ASSENT_AGAIN, a flush what it can do without waiting. It is asked again at once when
 * the cluster is heard of. */

/* The number of lanes of a topic, from the cluster's full metadata, so that asking never creates it (R18). Blocks.
 * ASSENT_OK, ASSENT_E_NOT_FOUND, ASSENT_E_BROKER. */
static inline enum assent_err assent_bus_lookup(struct assent_bus *bus, const char *topic, int *lanes)
{
        return bus->ops->lookup(bus, topic, lanes);
}

/* Queues a record; order is kept per lane of a topic. ASSENT_OK, ASSENT_AGAIN (queue full: poll, then again),
 * ASSENT_E_TOO_LARGE (refused at once, no report), ASSENT_E_KAFKA. */
static inline enum assent_err assent_bus_send(struct assent_bus *bus, const struct assent_outgoing *outgoing)
{
        return bus->ops->send(bus, outgoing);
}

/* Serves delivery reports. ASSENT_OK, or ASSENT_E_KAFKA when the client has failed for good. */
static inline enum assent_err assent_bus_poll(struct assent_bus *bus, int timeout_ms)
{
        return bus->ops->poll(bus, timeout_ms);
}

/* Waits until everything sent is reported. A bus that reads for a group gives up sooner, when no report comes for a quarter
 * of assent.stop_timeout_ms: nothing else could keep its end within that limit. ASSENT_OK, ASSENT_TIMED_OUT,
 * ASSENT_E_KAFKA. */
static inline enum assent_err assent_bus_flush(struct assent_bus *bus, int timeout_ms)
{
        return bus->ops->flush(bus, timeout_ms);
}

/* The log start and the next offset to be written, asked from the broker. Blocks. ASSENT_OK, ASSENT_E_NOT_FOUND,
 * ASSENT_E_BROKER. */
static inline enum assent_err assent_bus_watermarks(struct assent_bus *bus, const char *topic, int32_t lane, int64_t *low,
                                                    int64_t *high)
{
        return bus->ops->watermarks(bus, topic, lane, low, high);
}

/* The first offset whose timestamp is at least time_ms (the high watermark when there is none). Blocks. ASSENT_OK,
 * ASSENT_E_BROKER, ASSENT_E_UNSUPPORTED (the embedded broker: read from the log start). */
static inline enum assent_err assent_bus_offset_for_time(struct assent_bus *bus, const char *topic, int32_t lane,
                                                         int64_t time_ms, int64_t *offset)
{
        return bus->ops->offset_for_time(bus, topic, lane, time_ms, offset);
}

/* With lanes given, `assigned` has run for each before this returns; subscribed, it runs within consume. */
static inline enum assent_err assent_bus_consumer_open(struct assent_bus *bus,
                                                       const struct assent_bus_consumer_options *options,
                                                       struct assent_bus_consumer **out)
{
        return bus->ops->consumer_open(bus, options, out);
}

static inline void assent_bus_consumer_close(struct assent_bus *bus, struct assent_bus_consumer *consumer)
{
        if (consumer)
                bus->ops->consumer_close(consumer);
}

/* Reads up to records_max records in offset order per lane; waits at most timeout_ms for the first and takes what is there
 * without waiting for more. Also serves delivery reports and rebalances; a report that was made ends the wait, as do a
 * signal and assent_bus_wake. An error comes after the records before it, and then for good. ASSENT_OK (*count may be 0), what
 * an `assigned` callback returned, ASSENT_E_POSITION (the wanted offset is no longer in the log), ASSENT_E_KAFKA. */
static inline enum assent_err assent_bus_consume(struct assent_bus *bus, struct assent_bus_consumer *consumer,
                                                 struct assent_record *records, size_t records_max, int timeout_ms,
                                                 size_t *count)
{
        return bus->ops->consume(consumer, records, records_max, timeout_ms, count);
}

/* Stops or resumes delivery of a lane; records already handed out stay valid, none is lost. */
static inline enum assent_err assent_bus_pause(struct assent_bus *bus, struct assent_bus_consumer *consumer, int32_t lane,
                                               bool paused)
{
        return bus->ops->pause(consumer, lane, paused);
}

/* Continues a lane of this consumer at another offset; nothing read ahead is delivered any more. */
static inline enum assent_err assent_bus_seek(struct assent_bus *bus, struct assent_bus_consumer *consumer, int32_t lane,
                                              int64_t offset)
{
        return bus->ops->seek(consumer, lane, offset);
}

/* Commits a group offset with metadata (copied; at most 3,500 bytes). `wait` false: sent in the background, a failure is
 * logged only. ASSENT_OK, ASSENT_AGAIN (a rebalance is in progress, or this member was fenced: the next one will do). */
static inline enum assent_err assent_bus_commit(struct assent_bus *bus, struct assent_bus_consumer *consumer, int32_t lane,
                                                int64_t offset, struct assent_bytes metadata, bool wait)
{
        return bus->ops->commit(consumer, lane, offset, metadata, wait);
}

/* The group's offset of a lane as the broker has it now, whoever committed it. Blocks. The metadata is valid until the next
 * call on this consumer. ASSENT_OK, ASSENT_E_BROKER. */
static inline enum assent_err assent_bus_committed(struct assent_bus *bus, struct assent_bus_consumer *consumer, int32_t lane,
                                                   struct assent_committed *committed)
{
        return bus->ops->committed(consumer, lane, committed);
}

/* The last header of that name. False when there is none. */
static inline bool assent_bus_header(struct assent_bus *bus, const struct assent_record *record, const char *name,
                                     struct assent_bytes *value)
{
        return bus->ops->header(record, name, value);
}

/* The clock that runtimes use for back-off and grace: milliseconds, never steps back. Simulated in the simulator. */
static inline int64_t assent_bus_monotonic_ms(struct assent_bus *bus)
{
        return bus->ops->monotonic_ms(bus);
}

/* The consume that waits now, or else the next one, returns early. Thread: any, while the bus is open. */
static inline void assent_bus_wake(struct assent_bus *bus)
{
        bus->ops->wake(bus);
}

#endif
