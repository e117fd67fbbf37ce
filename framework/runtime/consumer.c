/* consumer.c: the idempotent consumer: a dedup row, the effect and the position in one local transaction. */
#include <assent/consumer.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <assent/log.h>

#include "base/crash.h"
#include "base/hash.h"
#include "base/panic.h"
#include "runtime/intake.h"
#include "runtime/service.h"
#include "runtime/watch.h"

#define HOUSEKEEPING_MS 1000
#define FORGET_ROWS_MAX 5000
#define LOG_LINES_MAX   10

struct assent_consumer {
        struct assent_consumer_options options;
        struct assent_bus *bus;
        struct assent_store *store;
        struct assent_intake *intake;
        int dead_letters_topic;
        int64_t horizon_ms, housekeeping_ms;
        uint64_t forgotten;
        int64_t log_state[2];
        volatile int stopping;
        enum assent_err failed;
        char errmsg[2560];
        struct assent_consumer_watch watch;
};

__attribute__((format(printf, 3, 4))) static enum assent_err fail(struct assent_consumer *c, enum assent_err err,
                                                                  const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(c->errmsg, sizeof c->errmsg, format, arguments);
        va_end(arguments);
        c->failed = err;
        assent_watch_set(&c->watch.intake.common.failed, 1);
        return err;
}

static enum assent_err store_failed(struct assent_consumer *c, enum assent_err err)
{
        return fail(c, err, "%s", assent_store_errmsg(c->store));
}

static bool find_id(struct assent_consumer *c, const struct assent_record *record, struct assent_delivery *delivery)
{
        const char *header = c->options.id_header ? c->options.id_header : "ce_id";
        bool found = c->options.message_id ? c->options.message_id(c->options.app, delivery, &delivery->message_id)
                                           : assent_bus_header(c->bus, record, header, &delivery->message_id);
        return found && delivery->message_id.size > 0 && delivery->message_id.size <= ASSENT_MESSAGE_ID_SIZE_MAX;
}

static void refuse(struct assent_consumer *c, const struct assent_record *record, const char *why)
{
        if (assent_service_may_log(c->log_state, assent_bus_monotonic_ms(c->bus), LOG_LINES_MAX))
                assent_log(ASSENT_LOG_WARN, "message skipped", ASSENT_TEXT("topic", c->options.topic),
                           ASSENT_INT("lane", record->lane), ASSENT_INT("offset", record->offset), ASSENT_TEXT("why", why));
}

/* Known: skipped. True: not known, and its dedup row is written beside the effect to come. */
static enum assent_err first_time(struct assent_consumer *c, const struct assent_intake_lane *lane,
                                  const struct assent_delivery *delivery, const struct assent_record *record, bool *first)
{
        uint64_t digest = assent_hash64(delivery->value.data, delivery->value.size, 0), seen;
        enum assent_err err = assent_store_dedup_find(c->store, c->options.topic, delivery->message_id, &seen);
        *first = err == ASSENT_E_NOT_FOUND;
        if (*first)
                return assent_store_dedup_put(c->store, c->options.topic, record->lane, delivery->message_id, digest,
                                              lane->position.tau_ms);
        if (!err && seen == digest)
                assent_count(&c->watch.duplicates, 1);
        if (!err && seen != digest) {
                assent_count(&c->watch.conflicts, 1);
                refuse(c, record, "CONFLICT: this message id came with other bytes before");
        }
        return err;
}

static enum assent_err process(void *context, struct assent_intake_lane *lane, const struct assent_record *record,
                               bool redelivered)
{
        struct assent_consumer *c = context;
        if (redelivered)
                return ASSENT_OK; /* below the position: its effect is in the database */
        struct assent_delivery delivery = {.topic = c->options.topic,
                                           .lane = record->lane,
                                           .offset = record->offset,
                                           .timestamp_ms = record->timestamp_ms,
                                           .key = record->key,
                                           .value = record->value};
        if (!find_id(c, record, &delivery)) {
                assent_count(&c->watch.without_id, 1);
                refuse(c, record, "no message id, or one that is too long");
                assent_dead_letter(c->bus, c->dead_letters_topic, c->options.topic, record, "NO_MESSAGE_ID");
                assent_count(&c->watch.intake.common.dead_letters, 1);
                return ASSENT_OK;
        }
        enum assent_err err = assent_store_savepoint(c->store);
        if (err)
                return store_failed(c, err);
        bool first = false;
        err = first_time(c, lane, &delivery, record, &first);
        if (err)
                return store_failed(c, err);
        enum assent_result result = ASSENT_RESULT_DONE;
        if (first) {
                result = c->options.handle(c->options.app, assent_store_enter(c->store, lane->position.tau_ms), &delivery);
                ASSENT_CRASH_POINT(consumer_after_handler); /* dedup row and effect are rolled back together: it runs again */
                err = assent_store_leave(c->store);
                if (err)
                        return store_failed(c, err);
        }
        if (result != ASSENT_RESULT_DONE && result != ASSENT_RESULT_RETRY)
                return fail(c, ASSENT_E_HANDLER, "the handler of %s returned %d at lane %" PRId32 ", offset %" PRId64
                            ", which is no answer", c->options.topic, (int)result, record->lane, record->offset);
        err = result == ASSENT_RESULT_DONE ? assent_store_release(c->store) : assent_store_undo(c->store);
        if (err)
                return store_failed(c, err);
        assent_count(&c->watch.handled, first && result == ASSENT_RESULT_DONE);
        assent_count(&c->watch.intake.retries, result == ASSENT_RESULT_RETRY);
        return result == ASSENT_RESULT_DONE ? ASSENT_OK : ASSENT_AGAIN;
}

static void delivered(void *context, const struct assent_report *report)
{
        struct assent_consumer *c = context;
        if (assent_tag_kind(report->tag) == ASSENT_TAG_EVENT)
                assent_intake_delivered(c->intake, report);
        else if (report->err)
                assent_log(ASSENT_LOG_WARN, "dead letter not delivered", ASSENT_INT("lane", report->lane),
                           ASSENT_TEXT("why", assent_err_text(report->err)));
}

static enum assent_err forget(struct assent_consumer *c)
{
        enum assent_err err = assent_intake_begin(c->intake);
        if (err)
                return fail(c, err, "%s", assent_intake_errmsg(c->intake));
        for (int32_t i = 0; i < assent_intake_lanes(c->intake); i++) {
                const struct assent_intake_lane *lane = assent_intake_lane(c->intake, i);
                size_t count = 0;
                if (!lane || lane->position.tau_ms == INT64_MIN)
                        continue;
                err = assent_store_dedup_forget(c->store, c->options.topic, i, lane->position.tau_ms - c->horizon_ms,
                                                FORGET_ROWS_MAX, &count);
                if (err)
                        return store_failed(c, err);
                if (count)
                        ASSENT_CRASH_POINT(consumer_forgetting); /* rolled back: forgotten a second later */
                c->forgotten += count;
        }
        err = assent_intake_finish(c->intake);
        return err ? fail(c, err, "%s", assent_intake_errmsg(c->intake)) : ASSENT_OK;
}

enum assent_err assent_consumer_step(struct assent_consumer *c, int timeout_ms)
{
        if (c->failed)
                return c->failed;
        enum assent_err err = assent_intake_step(c->intake, timeout_ms);
        if (err)
                return c->failed ? c->failed : fail(c, err, "%s", assent_intake_errmsg(c->intake));
        int64_t now = assent_bus_monotonic_ms(c->bus);
        if (now < c->housekeeping_ms)
                return ASSENT_OK;
        c->housekeeping_ms = now + HOUSEKEEPING_MS;
        return forget(c);
}

static enum assent_err run_setup(struct assent_consumer *c)
{
        enum assent_err err = assent_store_begin(c->store);
        if (err)
                return store_failed(c, err);
        const char *group = assent_store_identity(c->store, "group");
        if (group && strcmp(group, c->options.group) != 0)
                return fail(c, ASSENT_E_POSITION, "database %s belongs to group \"%s\", this process to \"%s\"",
                            assent_config_get(c->options.config, "assent.db"), group, c->options.group);
        if (!group)
                err = assent_store_identity_put(c->store, "group", c->options.group);
        if (err)
                return store_failed(c, err);
        if (c->options.setup) {
                enum assent_err said = c->options.setup(c->options.app, assent_store_enter(c->store, 0));
                err = assent_store_leave(c->store);
                if (err)
                        return store_failed(c, err);
                if (said)
                        return fail(c, said, "the setup callback failed: %s", assent_err_text(said));
        }
        err = assent_store_commit(c->store);
        ASSENT_CRASH_POINT(consumer_after_setup); /* the database belongs to the group; no lane has a mark or position */
        return err ? store_failed(c, err) : ASSENT_OK;
}

static enum assent_err open_all(struct assent_consumer *c)
{
        const char *path = assent_config_get(c->options.config, "assent.db");
        if (!path || !*path)
                return fail(c, ASSENT_E_CONFIG, "assent.db is not set: name the database file (--db FILE)");
        enum assent_err err = assent_store_open(path, &c->store);
        if (err)
                return fail(c, err, "%s", c->store ? assent_store_errmsg(c->store) : assent_err_text(err));
        assent_store_record_bytes_max(c->store, (size_t)assent_config_int(c->options.config, "assent.record_bytes_max"));
        if (!assent_watch_open(&c->watch.intake.common, "consumer", c->options.group))
                return fail(c, ASSENT_E_MEMORY, "out of memory");
        const struct assent_bus_options bus = {.config = c->options.config,
                                               .client_id = c->options.group,
                                               .delivered = delivered,
                                               .statistics = assent_watch_statistics,
                                               .statistics_context = &c->watch,
                                               .context = c};
        err = assent_bus_kafka_open(&bus, &c->bus);
        if (err)
                return fail(c, err, "%s", c->bus ? assent_bus_errmsg(c->bus) : assent_err_text(err));
        int lanes = 0;
        int64_t until = assent_bus_monotonic_ms(c->bus) + assent_config_int(c->options.config, "assent.start_timeout_ms");
        while ((err = assent_bus_lookup(c->bus, c->options.topic, &lanes)) == ASSENT_E_BROKER &&
               assent_bus_monotonic_ms(c->bus) < until)
                assent_bus_poll(c->bus, 100);
        if (err)
                return fail(c, err == ASSENT_E_NOT_FOUND ? ASSENT_E_TOPIC : err, "topic %s: %s", c->options.topic,
                            assent_bus_errmsg(c->bus));
        char dead_letters[ASSENT_TOPIC_SIZE_MAX];
        assent_topic_dead_letters(c->options.topic, dead_letters);
        c->dead_letters_topic = assent_bus_topic(c->bus, dead_letters);
        err = run_setup(c);
        if (err)
                return err;
        const struct assent_intake_options intake = {.config = c->options.config,
                                                     .bus = c->bus,
                                                     .store = c->store,
                                                     .topic = c->options.topic,
                                                     .group = c->options.group,
                                                     .source = c->options.group,
                                                     .lanes = lanes,
                                                     .incarnation = assent_store_identity(c->store, "incarnation"),
                                                     .any_time = true,
                                                     .process = process,
                                                     .watch = &c->watch.intake,
                                                     .context = c};
        err = assent_intake_open(&intake, &c->intake);
        return err ? fail(c, err, "%s", c->intake ? assent_intake_errmsg(c->intake) : assent_err_text(err)) : ASSENT_OK;
}

enum assent_err assent_consumer_open(const struct assent_consumer_options *options, struct assent_consumer **out)
{
        struct assent_consumer *c = calloc(1, sizeof *c);
        *out = c;
        if (!c)
                return ASSENT_E_MEMORY;
        if (options->struct_size != sizeof *options || !options->topic || !options->group || !options->handle ||
            !options->config)
                return fail(c, ASSENT_E_ARGUMENT,
                            "options need ASSENT_CONSUMER_OPTIONS_INIT, a topic, a group, a handler and a config");
        if (strlen(options->topic) + strlen("-dlt") >= ASSENT_TOPIC_SIZE_MAX)
                return fail(c, ASSENT_E_ARGUMENT,
                            "topic %s: a name of more than %d characters leaves no room for its dead letters", options->topic,
                            ASSENT_TOPIC_SIZE_MAX - 1 - (int)strlen("-dlt"));
        c->options = *options;
        c->horizon_ms = assent_config_int(options->config, "assent.horizon_ms");
        return open_all(c);
}

enum assent_err assent_consumer_run(struct assent_consumer *c)
{
        enum assent_err err = c->failed;
        while (!err && !c->stopping)
                err = assent_consumer_step(c, 100);
        if (!err)
                assent_intake_drain(c->intake, (int)assent_config_int(c->options.config, "assent.stop_timeout_ms"));
        return err;
}

void assent_consumer_stop(struct assent_consumer *c)
{
        c->stopping = 1;
        assent_watch_set(&c->watch.intake.common.stopping, 1);
}

void assent_consumer_source(struct assent_consumer *c, struct assent_observer_source *source)
{
        *source = (struct assent_observer_source){.name = c->watch.intake.common.name,
                                                  .metrics = assent_consumer_metrics,
                                                  .ready = assent_watch_ready,
                                                  .context = &c->watch};
}

const char *assent_consumer_errmsg(const struct assent_consumer *c)
{
        return c->errmsg;
}

void assent_consumer_close(struct assent_consumer *c)
{
        if (!c)
                return;
        if (c->intake && !c->failed)
                assent_log(ASSENT_LOG_INFO, "stopped", ASSENT_INT("handled", c->watch.handled),
                           ASSENT_INT("duplicates", c->watch.duplicates), ASSENT_INT("conflicts", c->watch.conflicts),
                           ASSENT_INT("without_id", c->watch.without_id), ASSENT_INT("forgotten", c->forgotten),
                           ASSENT_INT("events", assent_intake_events(c->intake)->acknowledged));
        assent_store_close(c->store);
        assent_intake_close(c->intake);
        assent_bus_close(c->bus);
        assent_watch_close(&c->watch.intake.common);
        free(c);
}
