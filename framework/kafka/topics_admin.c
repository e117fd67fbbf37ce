#include "kafka/topics_admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/panic.h"
#include "kafka/client.h"
#include "kafka/errors.h"

#define SETTLE_PAUSE_MS 50
#define ANSWER_SLACK_MS 1000
#define CREATION_MAX_MS 10000

const char *const assent_topic_settings[ASSENT_TOPIC_SETTINGS] = {
    [ASSENT_TOPIC_TIMESTAMP_TYPE] = "message.timestamp.type",
    [ASSENT_TOPIC_CLEANUP_POLICY] = "cleanup.policy",
    [ASSENT_TOPIC_RETENTION_MS] = "retention.ms",
    [ASSENT_TOPIC_RETENTION_BYTES] = "retention.bytes",
    [ASSENT_TOPIC_MESSAGE_BYTES] = "max.message.bytes",
    [ASSENT_TOPIC_MIN_INSYNC] = "min.insync.replicas",
    [ASSENT_TOPIC_UNCLEAN] = "unclean.leader.election.enable",
    [ASSENT_TOPIC_COMPRESSION] = "compression.type",
};

void assent_topic_setting_wanted(const struct assent_config *config, const char *name, int setting, char value[64])
{
        size_t size = strlen(name);
        bool dead_letters = size > 4 && strcmp(name + size - 4, "-dlt") == 0;
        int64_t bytes = assent_config_int(config, "assent.record_bytes_max") +
                        (dead_letters ? ASSENT_DEAD_LETTER_OVERHEAD : ASSENT_TOPIC_OVERHEAD);
        static const char *const fixed[ASSENT_TOPIC_SETTINGS] = {
            [ASSENT_TOPIC_TIMESTAMP_TYPE] = "LogAppendTime", [ASSENT_TOPIC_CLEANUP_POLICY] = "delete",
            [ASSENT_TOPIC_RETENTION_BYTES] = "-1",           [ASSENT_TOPIC_UNCLEAN] = "false",
            [ASSENT_TOPIC_COMPRESSION] = "producer",
        };
        ASSENT_ASSERT(setting >= 0 && setting < ASSENT_TOPIC_SETTINGS);
        if (fixed[setting])
                snprintf(value, 64, "%s", fixed[setting]);
        else if (setting == ASSENT_TOPIC_RETENTION_MS)
                snprintf(value, 64, "%" PRId64, assent_config_int(config, "assent.retention_ms"));
        else if (setting == ASSENT_TOPIC_MESSAGE_BYTES)
                snprintf(value, 64, "%" PRId64, bytes);
        else
                snprintf(value, 64, "%" PRId64, assent_config_int(config, "assent.min_insync_replicas"));
}

/* The request has its own timeout, which must not be the only one. NULL: no answer. */
static rd_kafka_event_t *answer_await(rd_kafka_queue_t *queue, int timeout_ms)
{
        return rd_kafka_queue_poll(queue, timeout_ms + ANSWER_SLACK_MS);
}

static rd_kafka_resp_err_t answer_err(rd_kafka_event_t *event)
{
        return event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
}

static enum assent_err broker_silent(rd_kafka_resp_err_t err, char errmsg[1024])
{
        snprintf(errmsg, 1024, "no broker answers a question about topics: %s; see assent.brokers",
                 rd_kafka_err2str(err));
        return assent_kafka_query_err(err) == ASSENT_E_DENIED ? ASSENT_E_DENIED : ASSENT_E_BROKER;
}

static void facts_fill(struct assent_topic_facts *facts, const struct rd_kafka_metadata_topic *topic)
{
        facts->exists = topic->partition_cnt > 0;
        facts->lanes = topic->partition_cnt;
        facts->replication = topic->partition_cnt > 0 ? topic->partitions[0].replica_cnt : 0;
        for (int i = 1; i < topic->partition_cnt; i++) { /* the least replicated lane is what counts */
                if (topic->partitions[i].replica_cnt < facts->replication)
                        facts->replication = topic->partitions[i].replica_cnt;
        }
}

static struct assent_topic_facts *facts_find(struct assent_topic_facts *facts, size_t count, const char *name)
{
        for (size_t i = 0; i < count; i++) {
                if (strcmp(facts[i].name, name) == 0)
                        return &facts[i];
        }
        return NULL;
}

static void settings_fill(struct assent_topic_facts *facts, const rd_kafka_ConfigResource_t *resource)
{
        size_t count = 0;
        const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
        for (size_t i = 0; i < count; i++) {
                const char *value = rd_kafka_ConfigEntry_value(entries[i]);
                for (int setting = 0; setting < ASSENT_TOPIC_SETTINGS; setting++) {
                        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), assent_topic_settings[setting]) == 0)
                                snprintf(facts->settings[setting], sizeof facts->settings[setting], "%s",
                                         value ? value : "");
                }
        }
}

static enum assent_err settings_read(rd_kafka_event_t *event, struct assent_topic_facts *facts, size_t count,
                                     char errmsg[1024])
{
        size_t resources_count = 0;
        if (answer_err(event))
                return broker_silent(answer_err(event), errmsg);
        const rd_kafka_ConfigResource_t **resources =
            rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &resources_count);
        for (size_t i = 0; i < resources_count; i++) {
                const char *name = rd_kafka_ConfigResource_name(resources[i]);
                rd_kafka_resp_err_t err = rd_kafka_ConfigResource_error(resources[i]);
                struct assent_topic_facts *found = facts_find(facts, count, name);
                if (err) {
                        snprintf(errmsg, 1024, "topic %s: its settings cannot be read: %s", name,
                                 rd_kafka_err2str(err));
                        return assent_kafka_query_err(err) == ASSENT_E_DENIED ? ASSENT_E_DENIED : ASSENT_E_BROKER;
                }
                if (found)
                        settings_fill(found, resources[i]);
        }
        return ASSENT_OK;
}

static enum assent_err settings_ask(struct assent_bus_kafka *bus, struct assent_topic_facts *facts, size_t count,
                                    char errmsg[1024])
{
        rd_kafka_ConfigResource_t **resources = calloc(count, sizeof *resources);
        size_t asked = 0;
        enum assent_err err = ASSENT_OK;
        if (!resources) {
                snprintf(errmsg, 1024, "out of memory");
                return ASSENT_E_BROKER;
        }
        for (size_t i = 0; i < count; i++) {
                if (facts[i].exists)
                        resources[asked++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, facts[i].name);
        }
        if (asked > 0) {
                rd_kafka_queue_t *queue = rd_kafka_queue_new(bus->producer);
                rd_kafka_AdminOptions_t *options =
                    rd_kafka_AdminOptions_new(bus->producer, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
                rd_kafka_AdminOptions_set_request_timeout(options, bus->query_timeout_ms, NULL, 0);
                rd_kafka_DescribeConfigs(bus->producer, resources, asked, options, queue);
                rd_kafka_event_t *event = answer_await(queue, bus->query_timeout_ms);
                err = settings_read(event, facts, count, errmsg);
                rd_kafka_event_destroy(event);
                rd_kafka_AdminOptions_destroy(options);
                rd_kafka_queue_destroy(queue);
        }
        rd_kafka_ConfigResource_destroy_array(resources, asked);
        free(resources);
        return err;
}

enum assent_err assent_topics_facts(struct assent_bus_kafka *bus, struct assent_topic_facts *facts, size_t count,
                                    char errmsg[1024])
{
        const struct rd_kafka_metadata *metadata = NULL;
        /* All topics: asking for one by name may create it. */
        rd_kafka_resp_err_t err = rd_kafka_metadata(bus->producer, 1, NULL, &metadata, bus->query_timeout_ms);
        ASSENT_ASSERT(count > 0);
        if (err)
                return broker_silent(err, errmsg);
        for (int i = 0; i < metadata->topic_cnt; i++) {
                struct assent_topic_facts *found = facts_find(facts, count, metadata->topics[i].topic);
                if (found)
                        facts_fill(found, &metadata->topics[i]);
        }
        rd_kafka_metadata_destroy(metadata);
        return bus->embedded ? ASSENT_OK : settings_ask(bus, facts, count, errmsg);
}

enum assent_err assent_topics_others(struct assent_bus_kafka *bus, const char *start, struct assent_topic_facts *facts,
                                     size_t facts_max, size_t *count, char errmsg[1024])
{
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_resp_err_t err = rd_kafka_metadata(bus->producer, 1, NULL, &metadata, bus->query_timeout_ms);
        enum assent_err result = ASSENT_OK;
        if (err)
                return broker_silent(err, errmsg);
        for (int i = 0; i < metadata->topic_cnt; i++) {
                const char *name = metadata->topics[i].topic;
                if (strncmp(name, start, strlen(start)) != 0 || facts_find(facts, *count, name))
                        continue;
                if (*count == facts_max) {
                        snprintf(errmsg, 1024, "more than %zu topics begin with %s", facts_max, start);
                        result = ASSENT_E_LIMIT;
                        break;
                }
                memset(&facts[*count], 0, sizeof facts[*count]);
                snprintf(facts[(*count)++].name, ASSENT_TOPIC_SIZE_MAX, "%s", name);
        }
        rd_kafka_metadata_destroy(metadata);
        return result;
}

/* The broker's answer to a creation. */
static enum assent_err creation_read(rd_kafka_event_t *event, const char *name, char errmsg[1024])
{
        size_t count = 0;
        if (answer_err(event))
                return broker_silent(answer_err(event), errmsg);
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        ASSENT_ASSERT(count == 1);
        rd_kafka_resp_err_t err = rd_kafka_topic_result_error(results[0]);
        if (!err || err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
                return ASSENT_OK;
        const char *text = rd_kafka_topic_result_error_string(results[0]);
        snprintf(errmsg, 1024, "topic %s was not created: %s%s", name, text ? text : rd_kafka_err2str(err),
                 err == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR
                     ? "; with fewer brokers lower assent.replication and assent.min_insync_replicas"
                     : "");
        return assent_kafka_query_err(err) == ASSENT_E_DENIED ? ASSENT_E_DENIED : ASSENT_E_TOPIC;
}

static enum assent_err create_on_kafka(struct assent_bus_kafka *bus, const struct assent_config *config,
                                       const char *name, char errmsg[1024])
{
        int lanes = (int)assent_config_int(config, "assent.lanes_count");
        int replication = (int)assent_config_int(config, "assent.replication");
        int timeout_ms = bus->start_timeout_ms < CREATION_MAX_MS ? bus->start_timeout_ms : CREATION_MAX_MS;
        rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, lanes, replication, errmsg, 1024);
        if (!topic)
                return ASSENT_E_TOPIC;
        for (int setting = 0; setting < ASSENT_TOPIC_SETTINGS; setting++) {
                char value[64];
                assent_topic_setting_wanted(config, name, setting, value);
                rd_kafka_NewTopic_set_config(topic, assent_topic_settings[setting], value);
        }
        rd_kafka_queue_t *queue = rd_kafka_queue_new(bus->producer);
        rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(bus->producer, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, NULL, 0);
        rd_kafka_AdminOptions_set_operation_timeout(options, timeout_ms, NULL, 0);
        rd_kafka_CreateTopics(bus->producer, &topic, 1, options, queue);
        rd_kafka_event_t *event = answer_await(queue, timeout_ms);
        enum assent_err err = creation_read(event, name, errmsg);
        rd_kafka_event_destroy(event);
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_queue_destroy(queue);
        rd_kafka_NewTopic_destroy(topic);
        return err;
}

/* The embedded broker makes a topic, with four lanes, when it is asked for it by name. */
static enum assent_err create_on_embedded(struct assent_bus_kafka *bus, const char *name, char errmsg[1024])
{
        const struct rd_kafka_metadata *metadata = NULL;
        int topic = bus->bus.ops->topic(&bus->bus, name);
        if (topic < 0) {
                snprintf(errmsg, 1024, "%s", bus->errmsg);
                return ASSENT_E_TOPIC;
        }
        rd_kafka_resp_err_t err =
            rd_kafka_metadata(bus->producer, 0, bus->topics[topic], &metadata, bus->query_timeout_ms);
        if (err)
                return broker_silent(err, errmsg);
        rd_kafka_metadata_destroy(metadata);
        return ASSENT_OK;
}

static enum assent_err creation_await(struct assent_bus_kafka *bus, const char *name, int *lanes, char errmsg[1024])
{
        int64_t deadline_ms = assent_clock_ms() + bus->start_timeout_ms;
        for (;;) {
                enum assent_err err = bus->bus.ops->lookup(&bus->bus, name, lanes);
                if (!err)
                        return ASSENT_OK;
                if (assent_clock_ms() >= deadline_ms) {
                        snprintf(errmsg, 1024, "topic %s was created but is not seen after %d ms: %.600s", name,
                                 bus->start_timeout_ms, bus->errmsg);
                        return ASSENT_E_BROKER;
                }
                nanosleep(&(struct timespec){.tv_nsec = SETTLE_PAUSE_MS * 1000000L}, NULL);
        }
}

enum assent_err assent_topics_create(struct assent_bus *base, const struct assent_config *config, const char *name,
                                     char errmsg[1024])
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        int64_t replication = assent_config_int(config, "assent.replication"), lanes_wanted;
        int64_t min_insync = assent_config_int(config, "assent.min_insync_replicas");
        int lanes = 0;
        if (min_insync > replication && !bus->embedded) {
                snprintf(errmsg, 1024,
                         "assent.min_insync_replicas=%" PRId64 " is above assent.replication=%" PRId64
                         ": nothing could ever be written; lower it",
                         min_insync, replication);
                return ASSENT_E_TOPIC;
        }
        enum assent_err err =
            bus->embedded ? create_on_embedded(bus, name, errmsg) : create_on_kafka(bus, config, name, errmsg);
        if (!err)
                err = creation_await(bus, name, &lanes, errmsg);
        lanes_wanted = assent_config_int(config, "assent.lanes_count");
        if (!err && bus->embedded && lanes != lanes_wanted) {
                snprintf(errmsg, 1024,
                         "topic %s has %d lanes, assent.lanes_count=%" PRId64
                         ": the embedded broker makes topics with 4 by itself; name this one when it starts: "
                         "assent-devbroker --lanes %" PRId64 " --topic %s",
                         name, lanes, lanes_wanted, lanes_wanted, name);
                return ASSENT_E_TOPIC;
        }
        return err;
}
