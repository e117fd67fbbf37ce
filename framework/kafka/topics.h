/* topics.h: the topics of a prefix: their names, their making, their checking (protocol settings of DESIGN.md, "Topics"). */
#ifndef ASSENT_KAFKA_TOPICS_H
#define ASSENT_KAFKA_TOPICS_H

#include "kafka/bus.h"

#define ASSENT_TOPIC_SIZE_MAX 250

/* "<prefix>.inbox", "<prefix>.outcomes", "<prefix>.<service>.commands", "<topic>-dlt"; "<prefix>.coordinator" and
 * "<prefix>.<service>" for groups. */
void assent_topic_inbox(const struct assent_config *config, char name[ASSENT_TOPIC_SIZE_MAX]);
void assent_topic_outcomes(const struct assent_config *config, char name[ASSENT_TOPIC_SIZE_MAX]);
void assent_topic_commands(const struct assent_config *config, struct assent_bytes service,
                           char name[ASSENT_TOPIC_SIZE_MAX]);
void assent_topic_dead_letters(const char *topic, char name[ASSENT_TOPIC_SIZE_MAX]);
void assent_group_coordinator(const struct assent_config *config, char name[ASSENT_TOPIC_SIZE_MAX]);
void assent_group_service(const struct assent_config *config, struct assent_bytes service,
                          char name[ASSENT_TOPIC_SIZE_MAX]);

/* What a start-up check found; errmsg holds the sentence (both values printed, and what to do). */
struct assent_topics_report {
        uint32_t lanes;           /* of the inbox, and so of every topic of the prefix */
        char cluster_id[64];      /* "" where the broker has none (the embedded broker) */
        char errmsg[1024];
};

/* Checks what R17 and the table of topics ask for, before anything is read: the inbox, the outcomes topic and, when
 * `service` is not empty, its commands topic exist, have equal lane counts, LogAppendTime, cleanup.policy=delete, retention
 * above the window, max.message.bytes that fit; warns about replication below 3, min.insync.replicas below 2 and unclean
 * elections, and refuses them unless assent.dev=true. With assent.broker=embedded only existence and lanes are checked.
 * Retries while no broker answers, for at most assent.start_timeout_ms.
 * Returns ASSENT_OK, ASSENT_E_TOPIC, ASSENT_E_BROKER. */
enum assent_err assent_topics_check(struct assent_bus *bus, const struct assent_config *config, struct assent_bytes service,
                                    struct assent_topics_report *report);

struct assent_topic_state {
        char name[ASSENT_TOPIC_SIZE_MAX];
        bool exists;
        int lanes, replication;
        char verdict[256]; /* "ok", "missing", or what is wrong with it */
        char settings[512]; /* "message.timestamp.type=LogAppendTime cleanup.policy=delete …" */
};

/* The state of every topic of the prefix for these services (and of those of the prefix that exist besides). */
enum assent_err assent_topics_list(struct assent_bus *bus, const struct assent_config *config, const char *const *services,
                                   size_t services_count, struct assent_topic_state *states, size_t states_max,
                                   size_t *count, char errmsg[1024]);

/* Creates one topic of the prefix with the settings it must have (waits until its metadata is there); on the embedded
 * broker by auto-creation. Repeat: ASSENT_OK when it exists. */
enum assent_err assent_topics_create(struct assent_bus *bus, const struct assent_config *config, const char *name,
                                     char errmsg[1024]);

#endif
