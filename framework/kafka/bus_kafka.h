/* bus_kafka.h: what the parts of the librdkafka bus share, and what topics.c needs of it. */
#ifndef ASSENT_KAFKA_BUS_KAFKA_H
#define ASSENT_KAFKA_BUS_KAFKA_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "kafka/bus.h"

#define ASSENT_BUS_TOPICS_MAX      1024
#define ASSENT_COMMIT_METADATA_MAX 3500

/* The limit of one question to the cluster: while a program starts; once it reads for a group, whose loop must go on.
 */
#define ASSENT_QUERY_START_MS 5000
#define ASSENT_QUERY_RUN_MS   1000
/* So long no loop asks again after a question that nobody answered, unless the cluster is heard of before: a loop that
 * serves many lanes would otherwise wait for each of them. */
#define ASSENT_AWAY_MS 4000

/* A record that never got as far as the client's queue; its report waits for the next poll, consume or flush. */
struct assent_bus_refused {
        struct assent_report report;
        void *copy; /* of key and value */
};

struct assent_bus_kafka {
        struct assent_bus bus; /* first */
        const struct assent_config *config;
        char client_id[128];
        void (*delivered)(void *context, const struct assent_report *report);
        void *context;
        void (*statistics)(void *context, bool consumer, char *json); /* NULL: none wanted, or no longer */
        void *statistics_context;
        rd_kafka_t *producer;
        rd_kafka_queue_t *main_queue; /* the producer's; for wake_fd */
        rd_kafka_topic_t *topics[ASSENT_BUS_TOPICS_MAX];
        size_t topics_count;
        struct assent_bus_refused *refused;
        size_t refused_count;
        size_t consumers_count;
        uint64_t sent_count;    /* taken by `send` so far; each has its report, some day */
        uint64_t reports_count; /* made so far */
        uint64_t hurried_to;    /* so many there will be when all that was hurried has its own */
        int64_t hurried_ms;     /* when */
        int wake_fd;            /* an eventfd: something came for the producer or a consumer of this bus */
        atomic_bool woken;      /* by assent_bus_wake, since the last consume */
        int start_timeout_ms, stop_timeout_ms;
        int query_timeout_ms; /* of one question to the cluster; never longer than start_timeout_ms */
        int close_timeout_ms; /* of one step of the way out: drain, commit, consumer and producer fit in stop_timeout_ms
                               */
        int64_t away_until_ms; /* nobody answered; 0: somebody did */
        bool running;          /* reads for a group */
        bool taking;           /* within `assigned`, which has its own patience */
        bool embedded, failed; /* failed: the producer, for good */
        char errmsg[1024];
};

/* The bus behind an assent_bus made by assent_bus_kafka_open (asserted). */
struct assent_bus_kafka *assent_bus_kafka(struct assent_bus *bus);

/* Keeps a sentence for errmsg and hands `err` back. */
__attribute__((format(printf, 3, 4))) enum assent_err
assent_bus_kafka_fail(struct assent_bus_kafka *bus, enum assent_err err, const char *format, ...);

/* Whether it makes sense to wait for the cluster now; if not, with a sentence. */
bool assent_bus_kafka_present(struct assent_bus_kafka *bus);

/* How waiting for the cluster ended; RD_KAFKA_RESP_ERR_NO_ERROR also when it was heard of in any other way. */
void assent_bus_kafka_heard(struct assent_bus_kafka *bus, rd_kafka_resp_err_t err);

/* Makes every delivery report that is there, without waiting. */
void assent_bus_kafka_reports(struct assent_bus_kafka *bus);

/* error_cb of a bus's clients: logs; a fatal error of the producer fails the bus. */
void assent_bus_kafka_error(rd_kafka_t *client, int err, const char *reason, void *opaque);

/* The operations of bus_consumer.c. */
enum assent_err assent_bus_kafka_consumer_open(struct assent_bus *bus,
                                               const struct assent_bus_consumer_options *options,
                                               struct assent_bus_consumer **out);
void assent_bus_kafka_consumer_close(struct assent_bus_consumer *consumer);
enum assent_err assent_bus_kafka_consume(struct assent_bus_consumer *consumer, struct assent_record *records,
                                         size_t records_max, int timeout_ms, size_t *count);
enum assent_err assent_bus_kafka_pause(struct assent_bus_consumer *consumer, int32_t lane, bool paused);
enum assent_err assent_bus_kafka_seek(struct assent_bus_consumer *consumer, int32_t lane, int64_t offset);
enum assent_err assent_bus_kafka_commit(struct assent_bus_consumer *consumer, int32_t lane, int64_t offset,
                                        struct assent_bytes metadata, bool wait);
enum assent_err assent_bus_kafka_committed(struct assent_bus_consumer *consumer, int32_t lane,
                                           struct assent_committed *committed);
bool assent_bus_kafka_header(const struct assent_record *record, const char *name, struct assent_bytes *value);

#endif
