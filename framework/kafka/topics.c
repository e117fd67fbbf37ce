/* topics.c: the names of a prefix's topics, and what is asked of them before anything is read (R17). */
#include "kafka/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <assent/log.h>

#include "base/clock.h"
#include "base/panic.h"
#include "kafka/client.h"
#include "kafka/topics_admin.h"

#define RETRY_PAUSE_MS  200
#define FIRST_ANSWER_MS 1000 /* whoever waits longer is told what for */
#define REPLICATION_MIN 3
#define MIN_INSYNC_MIN  2

static void name_put(char name[ASSENT_TOPIC_SIZE_MAX], const char *first, struct assent_bytes middle, const char *last)
{
        int size = snprintf(name, ASSENT_TOPIC_SIZE_MAX, "%s%s%.*s%s", first, middle.size ? "." : "", (int)middle.size,
                            middle.size ? (const char *)middle.data : "", last);
        ASSENT_ASSERT(size > 0 && size < ASSENT_TOPIC_SIZE_MAX);
}

void assent_topic_inbox(const struct assent_config *config, char name[ASSENT_TOPIC_SIZE_MAX])
{
        name_put(name, assent_config_get(config, "assent.prefix"), (struct assent_bytes){0}, ".inbox");
}

void assent_topic_outcomes(const struct assent_config *config, char name[ASSENT_TOPIC_SIZE_MAX])
{
        name_put(name, assent_config_get(config, "assent.prefix"), (struct assent_bytes){0}, ".outcomes");
}

void assent_topic_commands(const struct assent_config *config, struct assent_bytes service,
                           char name[ASSENT_TOPIC_SIZE_MAX])
{
        ASSENT_ASSERT(service.size > 0 && service.size <= ASSENT_SERVICE_SIZE_MAX);
        name_put(name, assent_config_get(config, "assent.prefix"), service, ".commands");
}

void assent_topic_dead_letters(const char *topic, char name[ASSENT_TOPIC_SIZE_MAX])
{
        name_put(name, topic, (struct assent_bytes){0}, "-dlt");
}

void assent_group_coordinator(const struct assent_config *config, char name[ASSENT_TOPIC_SIZE_MAX])
{
        name_put(name, assent_config_get(config, "assent.prefix"), (struct assent_bytes){0}, ".coordinator");
}

void assent_group_service(const struct assent_config *config, struct assent_bytes service,
                          char name[ASSENT_TOPIC_SIZE_MAX])
{
        ASSENT_ASSERT(service.size > 0 && service.size <= ASSENT_SERVICE_SIZE_MAX);
        name_put(name, assent_config_get(config, "assent.prefix"), service, "");
}

static int64_t setting_number(const struct assent_topic_facts *facts, int setting)
{
        return strtoll(facts->settings[setting], NULL, 10);
}

/* A setting that must have one value. False: a sentence was written. */
static bool setting_is(const struct assent_topic_facts *facts, int setting, const char *wanted, char *sentence,
                       size_t size)
{
        if (strcmp(facts->settings[setting], wanted) == 0)
                return true;
        snprintf(sentence, size, "%s is %s, must be %s: change it on the broker, or start a new prefix",
                 assent_topic_settings[setting], facts->settings[setting], wanted);
        return false;
}

/* What may never be otherwise: the log must not lose or re-time records that somebody still has to read. */
static bool lasting_right(const struct assent_config *config, const struct assent_topic_facts *facts, char *sentence,
                          size_t size)
{
        int64_t keep_ms = assent_config_int(config, "assent.window_ms") + assent_config_int(config, "assent.skew_ms") +
                          assent_config_int(config, "assent.timeout_max_ms");
        int64_t retention_ms = setting_number(facts, ASSENT_TOPIC_RETENTION_MS);
        int64_t bytes = setting_number(facts, ASSENT_TOPIC_MESSAGE_BYTES);
        char bytes_wanted[64];
        assent_topic_setting_wanted(config, facts->name, ASSENT_TOPIC_MESSAGE_BYTES, bytes_wanted);
        if (!setting_is(facts, ASSENT_TOPIC_TIMESTAMP_TYPE, "LogAppendTime", sentence, size) ||
            !setting_is(facts, ASSENT_TOPIC_CLEANUP_POLICY, "delete", sentence, size) ||
            !setting_is(facts, ASSENT_TOPIC_RETENTION_BYTES, "-1", sentence, size))
                return false;
        if (retention_ms >= 0 && retention_ms <= keep_ms) {
                snprintf(sentence, size,
                         "retention.ms is %" PRId64 ", must exceed window_ms + skew_ms + timeout_max_ms = %" PRId64
                         " and the longest outage: raise it on the broker",
                         retention_ms, keep_ms);
                return false;
        }
        if (bytes < strtoll(bytes_wanted, NULL, 10)) {
                snprintf(sentence, size,
                         "max.message.bytes is %" PRId64 ", must be at least %s for assent.record_bytes_max=%" PRId64
                         ": raise it on the broker",
                         bytes, bytes_wanted, assent_config_int(config, "assent.record_bytes_max"));
                return false;
        }
        return true;
}

/* What a production set-up needs and a development one may lack. */
static bool durable_right(const struct assent_topic_facts *facts, char *sentence, size_t size)
{
        if (facts->replication < REPLICATION_MIN) {
                snprintf(sentence, size, "replication is %d, must be at least %d: one broken disk would lose decisions",
                         facts->replication, REPLICATION_MIN);
                return false;
        }
        if (setting_number(facts, ASSENT_TOPIC_MIN_INSYNC) < MIN_INSYNC_MIN) {
                snprintf(sentence, size,
                         "min.insync.replicas is %s, must be at least %d: one broken disk would lose decisions",
                         facts->settings[ASSENT_TOPIC_MIN_INSYNC], MIN_INSYNC_MIN);
                return false;
        }
        return setting_is(facts, ASSENT_TOPIC_UNCLEAN, "false", sentence, size);
}

/* ASSENT_OK, or ASSENT_E_TOPIC with a sentence. `lanes` 0: any number. A sentence with ASSENT_OK is a warning. */
static enum assent_err judge(const struct assent_config *config, const struct assent_topic_facts *facts, int lanes,
                             char *sentence, size_t size)
{
        sentence[0] = '\0';
        if (!facts->exists) {
                snprintf(sentence, size, "missing: make it with assentctl topics apply");
                return ASSENT_E_TOPIC;
        }
        if (lanes && facts->lanes != lanes) {
                snprintf(sentence, size, "it has %d lanes, the inbox has %d: they must be equal; start a new prefix",
                         facts->lanes, lanes);
                return ASSENT_E_TOPIC;
        }
        if (assent_kafka_embedded(config))
                return ASSENT_OK;
        if (!lasting_right(config, facts, sentence, size))
                return ASSENT_E_TOPIC;
        if (durable_right(facts, sentence, size) || assent_config_bool(config, "assent.dev"))
                return ASSENT_OK;
        size_t used = strlen(sentence);
        snprintf(sentence + used, size - used, " (assent.dev=true accepts it)");
        return ASSENT_E_TOPIC;
}

/* The client library's own warnings name a thread and an errno, not how long it will go on. */
static void tell_waiting(const struct assent_bus_kafka *bus)
{
        char sentence[512];
        const char *brokers = assent_config_get(bus->config, "assent.brokers");
        ASSENT_ASSERT(brokers);
        snprintf(sentence, sizeof sentence, "no broker at %.400s yet, trying for %d s", brokers,
                 (bus->start_timeout_ms + 999) / 1000);
        assent_log(ASSENT_LOG_WARN, sentence, ASSENT_INT("start_timeout_ms", bus->start_timeout_ms));
}

static enum assent_err facts_await(struct assent_bus_kafka *bus, struct assent_topic_facts *facts, size_t count,
                                   char errmsg[1024])
{
        const int64_t start_ms = assent_clock_ms(), deadline_ms = start_ms + bus->start_timeout_ms;
        const int query_timeout_ms = bus->query_timeout_ms;
        int64_t now_ms = start_ms;
        enum assent_err err;
        bool told = false;
        do {
                /* The client library keeps a question for all of its time, whether or not there is anybody to ask. */
                int64_t limit_ms = told ? deadline_ms - now_ms : FIRST_ANSWER_MS;
                if (limit_ms < query_timeout_ms)
                        bus->query_timeout_ms = (int)limit_ms;
                err = assent_topics_facts(bus, facts, count, errmsg);
                bus->query_timeout_ms = query_timeout_ms;
                if (err != ASSENT_E_BROKER)
                        break;
                if (!told && assent_clock_ms() - start_ms >= FIRST_ANSWER_MS) {
                        tell_waiting(bus);
                        told = true;
                }
                nanosleep(&(struct timespec){.tv_nsec = RETRY_PAUSE_MS * 1000000L}, NULL);
                now_ms = assent_clock_ms();
        } while (now_ms < deadline_ms);
        return err == ASSENT_E_DENIED ? ASSENT_E_TOPIC : err;
}

static void cluster_id_read(struct assent_bus_kafka *bus, char cluster_id[64])
{
        char *id = bus->embedded ? NULL : rd_kafka_clusterid(bus->producer, bus->query_timeout_ms);
        snprintf(cluster_id, 64, "%s", id ? id : "");
        rd_kafka_mem_free(bus->producer, id);
}

enum assent_err assent_topics_check(struct assent_bus *base, const struct assent_config *config,
                                    struct assent_bytes service, struct assent_topics_report *report)
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        struct assent_topic_facts facts[3] = {0};
        size_t count = 2, used = 0;
        char accepted[2048] = ""; /* what assent.dev=true lets pass, in one line */
        memset(report, 0, sizeof *report);
        assent_topic_inbox(config, facts[0].name);
        assent_topic_outcomes(config, facts[1].name);
        if (service.size)
                assent_topic_commands(config, service, facts[count++].name);
        enum assent_err err = facts_await(bus, facts, count, report->errmsg);
        for (size_t i = 0; i < count && !err; i++) {
                char sentence[512];
                err = judge(config, &facts[i], i ? facts[0].lanes : 0, sentence, sizeof sentence);
                if (err)
                        snprintf(report->errmsg, sizeof report->errmsg, "topic %.249s: %.700s", facts[i].name,
                                 sentence);
                else if (sentence[0] && used < sizeof accepted)
                        used += (size_t)snprintf(accepted + used, sizeof accepted - used, "%s%s: %s",
                                                 used ? "; " : "accepted because assent.dev=true: ", facts[i].name,
                                                 sentence);
        }
        if (!err) {
                if (accepted[0])
                        assent_log(ASSENT_LOG_INFO, accepted, ASSENT_INT("lanes", facts[0].lanes));
                report->lanes = (uint32_t)facts[0].lanes;
                cluster_id_read(bus, report->cluster_id);
        }
        return err;
}

static bool protocol_name(const char *start, const char *name)
{
        const char *rest = name + strlen(start);
        size_t size = strlen(rest);
        return strcmp(rest, "inbox") == 0 || strcmp(rest, "outcomes") == 0 ||
               (size > 9 && strcmp(rest + size - 9, ".commands") == 0) ||
               (size > 4 && strcmp(rest + size - 4, "-dlt") == 0);
}

static void state_fill(struct assent_topic_state *state, const struct assent_config *config, const char *start,
                       const struct assent_topic_facts *facts, int lanes)
{
        size_t used = 0;
        memset(state, 0, sizeof *state);
        memcpy(state->name, facts->name, sizeof state->name);
        state->exists = facts->exists;
        state->lanes = facts->lanes;
        state->replication = facts->replication;
        for (int i = 0; i < ASSENT_TOPIC_SETTINGS && facts->settings[i][0]; i++)
                used += (size_t)snprintf(state->settings + used, sizeof state->settings - used, "%s%s=%s", i ? " " : "",
                                         assent_topic_settings[i], facts->settings[i]);
        ASSENT_ASSERT(used < sizeof state->settings);
        if (!protocol_name(start, facts->name))
                snprintf(state->verdict, sizeof state->verdict, "not of the protocol");
        else if (!facts->exists)
                snprintf(state->verdict, sizeof state->verdict, "missing");
        else if (!judge(config, facts, lanes, state->verdict, sizeof state->verdict))
                snprintf(state->verdict, sizeof state->verdict, "ok");
}

/* The topics that the prefix must have: inbox, outcomes, each service's commands, and dead letters of what is decoded.
 */
static size_t names_fill(const struct assent_config *config, const char *const *services, size_t services_count,
                         struct assent_topic_facts *facts)
{
        size_t count = 0;
        assent_topic_inbox(config, facts[count++].name);
        assent_topic_dead_letters(facts[0].name, facts[count++].name);
        assent_topic_outcomes(config, facts[count++].name);
        for (size_t i = 0; i < services_count; i++) {
                struct assent_bytes service = {.data = services[i], .size = strlen(services[i])};
                assent_topic_commands(config, service, facts[count++].name);
                assent_topic_dead_letters(facts[count - 1].name, facts[count].name);
                count++;
        }
        return count;
}

enum assent_err assent_topics_list(struct assent_bus *base, const struct assent_config *config,
                                   const char *const *services, size_t services_count,
                                   struct assent_topic_state *states, size_t states_max, size_t *count,
                                   char errmsg[1024])
{
        struct assent_bus_kafka *bus = assent_bus_kafka(base);
        char start[ASSENT_TOPIC_SIZE_MAX];
        *count = 0;
        if (states_max < 3 + 2 * services_count) {
                snprintf(errmsg, 1024, "more than %zu topics", states_max);
                return ASSENT_E_LIMIT;
        }
        struct assent_topic_facts *facts = calloc(states_max, sizeof *facts);
        if (!facts) {
                snprintf(errmsg, 1024, "out of memory");
                return ASSENT_E_MEMORY;
        }
        snprintf(start, sizeof start, "%s.", assent_config_get(config, "assent.prefix"));
        size_t found = names_fill(config, services, services_count, facts);
        enum assent_err err = facts_await(bus, facts, found, errmsg); /* waits for the brokers */
        if (!err)
                err = assent_topics_others(bus, start, facts, states_max, &found, errmsg);
        if (!err)
                err = assent_topics_facts(bus, facts, found, errmsg);
        for (size_t i = 0; i < found && !err; i++)
                state_fill(&states[i], config, start, &facts[i], facts[0].exists ? facts[0].lanes : 0);
        if (!err)
                *count = found;
        free(facts);
        return err;
}
