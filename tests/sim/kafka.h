/* kafka.h: what the two files of the simulated cluster share. kafka.c has the logs with their leaders and the way of a record
 * from a sender into a log, kafka_group.c the consumers and their groups.
 *
 * What an event may still name after its owner is gone (letters, deliveries, channels, readings, members) lives as long as the
 * cluster; only buses and consumers are freed when they are closed. */
#ifndef SIM_KAFKA_H
#define SIM_KAFKA_H

#include "kafka/bus.h"
#include "sim.h"

#define KAFKA_RETRY_US 20000 /* until something that did not get through is tried again, and up to as much later */

/* A record's bytes: copied once, when it is sent. */
struct letter {
        struct sim_process *sender; /* NULL: the broker itself */
        unsigned life;              /* of the sender */
        int64_t sent_ms;            /* CreateTime, without the epoch */
        uint32_t key_size, size, headers_size;
        uint8_t bytes[]; /* key, value, headers: name, NUL, 32 bits of size, value */
};

/* One append: on its way, in the log's unacknowledged tail, or its acknowledgement on the way back. */
struct delivery {
        struct delivery *next;
        struct channel *channel; /* NULL: nobody waits for an acknowledgement */
        struct letter *letter;   /* NULL: a marker */
        uint64_t tag;
        int64_t offset, due_us;
        enum assent_err err;
        int fault; /* what this append is, if not the first of its letter; else SIM_FAULT_COUNT */
};

struct queue {
        struct delivery *first, *last;
};

/* What one bus sends to one lane, in order. */
struct channel {
        struct sim_bus *bus; /* NULL: closed, or its process is gone */
        struct sim_process *process;
        const char *topic;
        int handle;
        int32_t number;
        struct lane *lane; /* NULL: not known, or there is none */
        struct queue sending, acking;
        int64_t arrive_us, ack_us; /* of the last in each queue */
        int64_t pump_us;           /* when the head is looked at next */
        bool acks, retries;        /* an event for `acking` is under way; the head did not get through */
};

struct lane {
        struct sim_log log; /* first */
        int64_t records_max;
        size_t bytes_max; /* of a record */
        struct queue tail; /* appended, not yet visible */
        bool showing;      /* an event for `tail` is under way */
        int64_t leader_us; /* there is no leader before */
        int64_t clock_ms, old_end, old_end_until_us;
        struct reading *readers;
};

struct topic {
        struct topic *next;
        int lanes_count;
        struct lane *lanes[];
};

struct sim_bus {
        struct assent_bus base; /* first */
        struct sim_process *process;
        void (*delivered)(void *context, const struct assent_report *report);
        void *context;
        struct bus_topic *topics;
        size_t topics_count;
        struct queue reports; /* to be made by the next poll, consume or flush */
        size_t unreported;
        uint64_t reports_count; /* made so far */
        size_t send_bytes_max;
        int64_t start_timeout_us, stop_timeout_us, query_timeout_us;
        int64_t away_until_us; /* nobody answered */
        bool running, taking;  /* reads for a group; is within `assigned` */
        bool woken;            /* since the last consume */
        char errmsg[1024];
};

/* ---- kafka.c ---- */

/* Memory until the cluster is closed, cleared. */
void *kafka_room(size_t size);
/* How long something travels between the process (may be NULL) and a broker. */
int64_t kafka_delay(const struct sim_process *process, int64_t greatest_us);
/* The beginning of every call of a bus. False: it is a ghost's. */
bool kafka_enter(void);
__attribute__((format(printf, 3, 4))) enum assent_err kafka_fail(struct sim_bus *bus, enum assent_err err, const char *format,
                                                                 ...);
/* Whether it makes sense to wait for the cluster now; if not, with a sentence. */
bool kafka_present(struct sim_bus *bus);
void kafka_heard(struct sim_bus *bus, bool answered);
/* A question's way to a broker, the lane's leader unless NULL, and the answer's way back. False: not until the deadline, or the
 * process is a ghost. In between, what the broker says is looked up. */
bool kafka_reach(struct sim_bus *bus, const struct lane *lane, int64_t deadline_us);
bool kafka_return(struct sim_bus *bus, int64_t deadline_us);
/* Makes the reports that are due. */
void kafka_reports(struct sim_bus *bus);
struct topic *kafka_topic(const char *name);
struct lane *kafka_lane(const char *topic, int32_t number);
static inline bool kafka_leads(const struct lane *lane)
{
        return lane->leader_us <= sim_now_us();
}
static inline int64_t kafka_again_us(void)
{
        return sim_now_us() + KAFKA_RETRY_US + (int64_t)sim_below(KAFKA_RETRY_US);
}

/* ---- kafka_group.c ---- */

enum assent_err kafka_consumer_open(struct assent_bus *base, const struct assent_bus_consumer_options *options,
                                    struct assent_bus_consumer **out);
void kafka_consumer_close(struct assent_bus_consumer *consumer);
enum assent_err kafka_consume(struct assent_bus_consumer *consumer, struct assent_record *records, size_t records_max,
                              int timeout_ms, size_t *count);
enum assent_err kafka_pause(struct assent_bus_consumer *consumer, int32_t number, bool paused);
enum assent_err kafka_seek(struct assent_bus_consumer *consumer, int32_t number, int64_t offset);
enum assent_err kafka_commit(struct assent_bus_consumer *consumer, int32_t number, int64_t offset, struct assent_bytes metadata,
                             bool wait);
enum assent_err kafka_committed(struct assent_bus_consumer *consumer, int32_t number, struct assent_committed *committed);
/* There is something new for the lane's readers, or what they stand on is gone. */
void kafka_kick(struct lane *lane);
/* The log was cut at `end`: nothing that was read ahead from there on is delivered. */
void kafka_forget(struct lane *lane, int64_t end);
void kafka_groups_close(void);

#endif
