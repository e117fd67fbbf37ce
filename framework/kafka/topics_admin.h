/* topics_admin.h: what the cluster says about topics, and making one. */
#ifndef ASSENT_KAFKA_TOPICS_ADMIN_H
#define ASSENT_KAFKA_TOPICS_ADMIN_H

#include "kafka/bus_kafka.h"
#include "kafka/topics.h"

/* The settings that the rules care for, in the order of assent_topic_settings. */
enum {
        ASSENT_TOPIC_TIMESTAMP_TYPE,
        ASSENT_TOPIC_CLEANUP_POLICY,
        ASSENT_TOPIC_RETENTION_MS,
        ASSENT_TOPIC_RETENTION_BYTES,
        ASSENT_TOPIC_MESSAGE_BYTES,
        ASSENT_TOPIC_MIN_INSYNC,
        ASSENT_TOPIC_UNCLEAN,
        ASSENT_TOPIC_COMPRESSION,
        ASSENT_TOPIC_SETTINGS
};
extern const char *const assent_topic_settings[ASSENT_TOPIC_SETTINGS];

struct assent_topic_facts {
        char name[ASSENT_TOPIC_SIZE_MAX];
        bool exists;
        int lanes, replication;
        char settings[ASSENT_TOPIC_SETTINGS][64]; /* "" on the embedded broker */
};

/* Fills in facts[0 … count) for the names that stand there; one question to the cluster, no retry.
 * ASSENT_OK, ASSENT_E_BROKER, ASSENT_E_DENIED. */
enum assent_err assent_topics_facts(struct assent_bus_kafka *bus, struct assent_topic_facts *facts, size_t count,
                                    char errmsg[1024]);

/* Adds to facts[*count …] the cluster's other topics that begin with `start`. ASSENT_OK, ASSENT_E_BROKER,
 * ASSENT_E_LIMIT. */
enum assent_err assent_topics_others(struct assent_bus_kafka *bus, const char *start, struct assent_topic_facts *facts,
                                     size_t facts_max, size_t *count, char errmsg[1024]);

/* The value that a new topic gets. */
void assent_topic_setting_wanted(const struct assent_config *config, const char *name, int setting, char value[64]);

#endif
