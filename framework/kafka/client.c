#include "kafka/client.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <assent/log.h>

#include "base/clock.h"
#include "base/panic.h"

#define LOG_LINES_PER_SECOND 20

struct property {
        const char *name, *value;
};

/* Both kinds of client. Short back-offs, because a leader that moved should cost tens of milliseconds, not seconds. */
static const struct property profile[] = {
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    {"socket.timeout.ms", "10000"},
    {"reconnect.backoff.ms", "20"},
    {"reconnect.backoff.max.ms", "1000"},
    {"retry.backoff.ms", "20"},
    {"topic.metadata.refresh.fast.interval.ms", "50"},
    {"topic.metadata.propagation.max.ms", "5000"},
    {"log.connection.close", "false"},
};

static const struct property profile_producer[] = {
    {"linger.ms", "5"}, /* under load; a few records on their own do not wait (bus_consumer.c) */
    {"request.timeout.ms", "5000"},
    {"queue.buffering.max.messages", "1000000"},
    {"queue.buffering.max.kbytes", "1048576"},
};

/* A consumer whose queue is at one of its two limits is looked at again only a second later, so both lie above what one
 * second's work takes out. */
static const struct property profile_consumer[] = {
    {"fetch.error.backoff.ms", "20"}, {"queued.min.messages", "500000"}, {"queued.max.messages.kbytes", "524288"},
    {"session.timeout.ms", "6000"},   {"heartbeat.interval.ms", "1000"},
};

/* A record must be neither lost, doubled nor reordered by the client, however long the cluster is away. */
static const struct property fixed_producer[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"message.timeout.ms", "0"},
    /* The producer's client asks for the ends of lanes: where the log ends, not where a foreign open transaction
     * begins. */
    {"isolation.level", "read_uncommitted"},
};

/* Positions are ours (P11, R13), evaluators must see the same records, and a topic is made only on purpose. */
static const struct property fixed_consumer[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"isolation.level", "read_uncommitted"},
    {"check.crcs", "true"},
    {"enable.partition.eof", "false"},
    {"partition.assignment.strategy", "range"},
};

struct setter {
        rd_kafka_conf_t *conf;
        const struct assent_config *config;
        char *errmsg;
        size_t errmsg_size;
        bool failed;
};

static void set(struct setter *setter, const char *name, const char *value)
{
        if (setter->failed)
                return;
        if (rd_kafka_conf_set(setter->conf, name, value, setter->errmsg, setter->errmsg_size) != RD_KAFKA_CONF_OK)
                setter->failed = true;
}

static void set_all(struct setter *setter, const struct property *properties, size_t count)
{
        for (size_t i = 0; i < count; i++)
                set(setter, properties[i].name, properties[i].value);
}

static void set_number(struct setter *setter, const char *name, int64_t value)
{
        char text[24];
        snprintf(text, sizeof text, "%lld", (long long)value);
        set(setter, name, text);
}

static void set_user(void *context, const char *key, const char *value, const char *origin)
{
        struct setter *setter = context;
        (void)value; /* a secret is masked there */
        if (setter->failed || strncmp(key, "assent.", 7) == 0 || strncmp(key, "app.", 4) == 0)
                return;
        set(setter, key, assent_config_get(setter->config, key));
        if (setter->failed) {
                size_t used = strlen(setter->errmsg);
                snprintf(setter->errmsg + used, setter->errmsg_size - used, " (%s, from %s)", key, origin);
        }
}

static int64_t number_of(const struct setter *setter, const char *name)
{
        char text[64];
        size_t size = sizeof text;
        ASSENT_ASSERT(rd_kafka_conf_get(setter->conf, name, text, &size) == RD_KAFKA_CONF_OK);
        return strtoll(text, NULL, 10);
}

/* R18 believes "too large" only of a record sent alone. That is guaranteed here: a batch of several records never grows
 * beyond batch.size, which no topic of the prefix refuses (topics.c checks their max.message.bytes). */
static void sizes_check(struct setter *setter)
{
        int64_t record = assent_config_int(setter->config, "assent.record_bytes_max");
        if (setter->failed)
                return;
        if (number_of(setter, "batch.size") > record) {
                snprintf(setter->errmsg, setter->errmsg_size,
                         "batch.size=%lld is above assent.record_bytes_max=%lld: a topic might refuse a whole batch "
                         "for its size; lower batch.size",
                         (long long)number_of(setter, "batch.size"), (long long)record);
                setter->failed = true;
        } else if (number_of(setter, "message.max.bytes") < record + ASSENT_CLIENT_OVERHEAD) {
                snprintf(setter->errmsg, setter->errmsg_size,
                         "message.max.bytes=%lld is below assent.record_bytes_max + %d = %lld: records that the rules "
                         "allow could not be sent; remove message.max.bytes",
                         (long long)number_of(setter, "message.max.bytes"), ASSENT_CLIENT_OVERHEAD,
                         (long long)record + ASSENT_CLIENT_OVERHEAD);
                setter->failed = true;
        }
}

static void set_by_type(struct setter *setter, rd_kafka_type_t type)
{
        bool embedded = assent_kafka_embedded(setter->config);
        int64_t record = assent_config_int(setter->config, "assent.record_bytes_max");
        set_all(setter, profile, sizeof profile / sizeof *profile);
        if (type == RD_KAFKA_PRODUCER) {
                set_all(setter, profile_producer, sizeof profile_producer / sizeof *profile_producer);
                set_number(setter, "batch.size", record);
                set_number(setter, "message.max.bytes", record + ASSENT_CLIENT_OVERHEAD);
        } else {
                set_all(setter, profile_consumer, sizeof profile_consumer / sizeof *profile_consumer);
                /* A Kafka answers a waiting fetch as soon as there is something; the embedded broker only when the
                 * wait is over. */
                set(setter, "fetch.wait.max.ms", embedded ? "5" : "500");
        }
}

/* librdkafka's own threads call this. The level is syslog's; trouble with a broker is a warning, because it passes. */
static void logged(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
        bool idle_talk = level > 5 || strcmp(facility, "CONFWARN") == 0;
        if (idle_talk)
                assent_log(ASSENT_LOG_DEBUG, "kafka client", ASSENT_TEXT("client", rd_kafka_name(client)),
                           ASSENT_TEXT("facility", facility), ASSENT_TEXT("text", text));
        else
                assent_kafka_warn(rd_kafka_name(client), facility, text);
}

rd_kafka_conf_t *assent_kafka_conf(const struct assent_config *config, rd_kafka_type_t type, const char *client_id,
                                   const char *group, char *errmsg, size_t errmsg_size)
{
        struct setter setter = {
            .conf = rd_kafka_conf_new(), .config = config, .errmsg = errmsg, .errmsg_size = errmsg_size};
        const char *brokers = assent_config_get(config, "assent.brokers");
        ASSENT_ASSERT(errmsg_size >= 256);
        if (!brokers || !*brokers) {
                snprintf(errmsg, errmsg_size, "assent.brokers is not set: name the Kafka brokers, host:port,host:port");
                setter.failed = true;
        }
        set(&setter, "bootstrap.servers", brokers);
        set(&setter, "client.id", client_id);
        if (!setter.failed)
                set_by_type(&setter, type);
        if (!setter.failed)
                assent_config_each(config, set_user, &setter);
        /* The embedded broker speaks a version in which a client cannot ask it not to make topics. */
        set(&setter, "allow.auto.create.topics", assent_kafka_embedded(config) ? "true" : "false");
        if (type == RD_KAFKA_PRODUCER) {
                set_all(&setter, fixed_producer, sizeof fixed_producer / sizeof *fixed_producer);
                sizes_check(&setter);
        } else {
                set_all(&setter, fixed_consumer, sizeof fixed_consumer / sizeof *fixed_consumer);
        }
        if (group)
                set(&setter, "group.id", group);
        if (setter.failed) {
                rd_kafka_conf_destroy(setter.conf);
                return NULL;
        }
        rd_kafka_conf_set_log_cb(setter.conf, logged);
        return setter.conf;
}

void assent_kafka_statistics(rd_kafka_conf_t *conf, const struct assent_config *config,
                             int (*told)(rd_kafka_t *client, char *json, size_t size, void *opaque))
{
        const char *interval_ms = assent_config_get(config, "assent.statistics_ms");
        rd_kafka_conf_set_stats_cb(conf, told);
        ASSENT_ASSERT(rd_kafka_conf_set(conf, "statistics.interval.ms", interval_ms, NULL, 0) == RD_KAFKA_CONF_OK);
}

rd_kafka_t *assent_kafka_client(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *errmsg, size_t errmsg_size)
{
        rd_kafka_t *client = rd_kafka_new(type, conf, errmsg, errmsg_size);
        if (!client)
                rd_kafka_conf_destroy(conf);
        return client;
}

struct ending {
        pthread_mutex_t lock;
        pthread_cond_t done_changed;
        bool done, left; /* the client is gone; nobody waits any more */
        rd_kafka_t *client;
        void *owned;
};

static void ending_free(struct ending *ending)
{
        pthread_cond_destroy(&ending->done_changed);
        pthread_mutex_destroy(&ending->lock);
        free(ending);
}

static void *ending_run(void *context)
{
        struct ending *ending = context;
        rd_kafka_destroy(ending->client); /* closes a consumer first */
        free(ending->owned);
        pthread_mutex_lock(&ending->lock);
        ending->done = true;
        bool left = ending->left;
        pthread_cond_signal(&ending->done_changed);
        pthread_mutex_unlock(&ending->lock);
        if (left)
                ending_free(ending);
        return NULL;
}

static bool ending_wait(struct ending *ending, int timeout_ms)
{
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += timeout_ms / 1000;
        until.tv_nsec += (timeout_ms % 1000) * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
                until.tv_sec++;
                until.tv_nsec -= 1000000000L;
        }
        pthread_mutex_lock(&ending->lock);
        while (!ending->done && pthread_cond_timedwait(&ending->done_changed, &ending->lock, &until) != ETIMEDOUT)
                ;
        bool done = ending->done;
        ending->left = !done;
        pthread_mutex_unlock(&ending->lock);
        return done;
}

void assent_kafka_destroy(rd_kafka_t *client, void *owned, int timeout_ms)
{
        struct ending *ending = calloc(1, sizeof *ending);
        pthread_condattr_t monotonic;
        pthread_t thread;
        if (!ending) { /* unbounded, but right */
                rd_kafka_destroy(client);
                free(owned);
                return;
        }
        ending->client = client;
        ending->owned = owned;
        pthread_mutex_init(&ending->lock, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&ending->done_changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
        if (pthread_create(&thread, NULL, ending_run, ending)) {
                ending_run(ending);
                ending_free(ending);
                return;
        }
        if (ending_wait(ending, timeout_ms)) {
                pthread_join(thread, NULL);
                ending_free(ending);
        } else {
                pthread_detach(thread);
                assent_log(ASSENT_LOG_WARN, "a Kafka client does not end and is left behind",
                           ASSENT_INT("timeout_ms", timeout_ms));
        }
}

void assent_kafka_warn(const char *client, const char *what, const char *text)
{
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        static int64_t second;
        static int lines, swallowed;
        pthread_mutex_lock(&lock);
        int64_t now = assent_clock_ms() / 1000;
        int told = 0;
        if (now != second) {
                second = now;
                lines = 0;
                told = swallowed;
                swallowed = 0;
        }
        bool spoken = lines < LOG_LINES_PER_SECOND;
        if (spoken)
                lines++;
        else
                swallowed++;
        pthread_mutex_unlock(&lock);
        if (told)
                assent_log(ASSENT_LOG_WARN, "kafka client: more lines were not shown", ASSENT_INT("lines", told));
        if (spoken)
                assent_log(ASSENT_LOG_WARN, "kafka client", ASSENT_TEXT("client", client),
                           ASSENT_TEXT("facility", what), ASSENT_TEXT("text", text));
}

bool assent_kafka_embedded(const struct assent_config *config)
{
        return strcmp(assent_config_get(config, "assent.broker"), "embedded") == 0;
}
