#include "observe/statistics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { PRODUCER, CONSUMER, CLIENTS };

struct assent_statistics {
        pthread_mutex_t lock;
        char *fresh[CLIENTS];   /* under the lock: not read yet */
        json_t *known[CLIENTS]; /* of the thread that exposes */
};

struct assent_statistics *assent_statistics_open(void)
{
        struct assent_statistics *statistics = calloc(1, sizeof *statistics);
        if (statistics)
                pthread_mutex_init(&statistics->lock, NULL);
        return statistics;
}

void assent_statistics_close(struct assent_statistics *statistics)
{
        if (!statistics)
                return;
        for (int i = 0; i < CLIENTS; i++) {
                free(statistics->fresh[i]);
                json_decref(statistics->known[i]);
        }
        pthread_mutex_destroy(&statistics->lock);
        free(statistics);
}

void assent_statistics_put(struct assent_statistics *statistics, bool consumer, char *json)
{
        char **place = &statistics->fresh[consumer ? CONSUMER : PRODUCER];
        pthread_mutex_lock(&statistics->lock);
        char *before = *place;
        *place = json;
        pthread_mutex_unlock(&statistics->lock);
        free(before);
}

static void read_fresh(struct assent_statistics *statistics)
{
        char *fresh[CLIENTS];
        pthread_mutex_lock(&statistics->lock);
        memcpy(fresh, statistics->fresh, sizeof fresh);
        memset(statistics->fresh, 0, sizeof statistics->fresh);
        pthread_mutex_unlock(&statistics->lock);
        for (int i = 0; i < CLIENTS; i++) {
                if (!fresh[i])
                        continue;
                json_decref(statistics->known[i]);
                statistics->known[i] = json_loads(fresh[i], 0, NULL);
                free(fresh[i]);
        }
}

/* Their texts are other people's: a member that is missing or of another type reads as -1. */
static double number_of(const json_t *object, const char *name)
{
        const json_t *value = json_object_get(object, name);
        return json_is_number(value) ? json_number_value(value) : -1;
}

static bool word_is(const json_t *object, const char *name, const char *word)
{
        const char *value = json_string_value(json_object_get(object, name));
        return value && strcmp(value, word) == 0;
}

/* From the record that the program was handed last to the end of the log. The client's own "consumer_lag" counts from the
 * group's offset, which for a coordinator is where a replay would begin. */
static double lag_of(const json_t *partition)
{
        double end = number_of(partition, "hi_offset"), at = number_of(partition, "app_offset");
        if (at < 0)
                at = number_of(partition, "next_offset");
        if (end < 0 || at < 0 || !word_is(partition, "fetch_state", "active"))
                return -1;
        return end > at ? end - at : 0;
}

static void expose_lag(json_t *consumer, const char *labels, struct assent_exposition *out, double *fetched)
{
        char memory[ASSENT_LABELS_SIZE_MAX];
        const char *topic, *number;
        json_t *of_topic, *partition;
        assent_expose(out, "assent_kafka_consumer_lag", ASSENT_GAUGE, "Records from the one handled last to the log's end.");
        json_object_foreach(json_object_get(consumer, "topics"), topic, of_topic) {
                json_object_foreach(json_object_get(of_topic, "partitions"), number, partition) {
                        double lag = lag_of(partition), waiting = number_of(partition, "fetchq_cnt");
                        *fetched += waiting > 0 ? waiting : 0;
                        if (lag >= 0)
                                assent_expose_value(
                                        out, assent_labels(memory, labels, "topic", topic, "partition", number, NULL), lag);
                }
        }
}

static void expose_brokers(json_t *producer, const char *labels, struct assent_exposition *out)
{
        char memory[ASSENT_LABELS_SIZE_MAX], number[32];
        const char *name;
        json_t *broker;
        double connected = 0;
        assent_expose(out, "assent_kafka_broker_rtt_seconds", ASSENT_GAUGE,
                      "What 99 in 100 of the producer's requests took at most, in the last assent.statistics_ms.");
        json_object_foreach(json_object_get(producer, "brokers"), name, broker) {
                const json_t *rtt = json_object_get(broker, "rtt");
                connected += word_is(broker, "state", "UP") && !word_is(broker, "source", "logical");
                if (number_of(rtt, "cnt") <= 0 || number_of(broker, "nodeid") < 0)
                        continue;
                snprintf(number, sizeof number, "%.0f", number_of(broker, "nodeid"));
                assent_expose_value(out, assent_labels(memory, labels, "broker", number, NULL), number_of(rtt, "p99") / 1e6);
        }
        assent_expose_one(out, "assent_kafka_brokers_connected", ASSENT_GAUGE, "Brokers that the producer has a connection to.",
                          labels, connected);
}

void assent_statistics_expose(struct assent_statistics *statistics, const char *labels, struct assent_exposition *out)
{
        char memory[ASSENT_LABELS_SIZE_MAX];
        double fetched = 0;
        read_fresh(statistics);
        json_t *producer = statistics->known[PRODUCER], *consumer = statistics->known[CONSUMER];
        const json_t *group = json_object_get(consumer, "cgrp");
        if (consumer)
                expose_lag(consumer, labels, out, &fetched);
        if (producer)
                expose_brokers(producer, labels, out);
        assent_expose(out, "assent_kafka_queue_messages", ASSENT_GAUGE, "Records in the client: to be sent, or to be handled.");
        if (producer)
                assent_expose_value(out, assent_labels(memory, labels, "queue", "produce", NULL),
                                    number_of(producer, "msg_cnt"));
        if (consumer)
                assent_expose_value(out, assent_labels(memory, labels, "queue", "fetch", NULL), fetched);
        assent_expose(out, "assent_kafka_rebalances_total", ASSENT_COUNTER, "Times that the group shared its lanes out anew.");
        if (number_of(group, "rebalance_cnt") >= 0)
                assent_expose_value(out, labels, number_of(group, "rebalance_cnt"));
}
