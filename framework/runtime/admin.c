#include <assent/admin.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/panic.h"
#include "codec/codec.h"
#include "core/ids.h"
#include "core/narrate.h"
#include "kafka/bus.h"
#include "kafka/topics.h"
#include "runtime/lane_ends.h"
#include "runtime/lanes.h"
#include "runtime/settings.h"

enum {
        TOPICS_MAX = 512,
        RECORDS_MAX = 256,
        TURN_MS = 100,
        QUIET_MS = 5000, /* tail: nothing for so long before the end of a lane is a gap */
        LINE_SIZE_MAX = 4096,
        HEAD_SIZE = 32, /* bytes shown of a record that does not decode */
};

struct assent_admin {
        const struct assent_config *config;
        struct assent_settings settings; /* what this configuration asks for */
        struct assent_bus *bus;
        struct assent_codec *codec;
        char inbox[ASSENT_TOPIC_SIZE_MAX], outcomes[ASSENT_TOPIC_SIZE_MAX];
        bool delivered;
        enum assent_err delivered_err;
        atomic_bool stopped;
        char errmsg[ASSENT_LANES_ERRMSG_SIZE_MAX];
};

__attribute__((format(printf, 3, 4))) static enum assent_err fail(struct assent_admin *admin, enum assent_err err,
                                                                  const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(admin->errmsg, sizeof admin->errmsg, format, arguments);
        va_end(arguments);
        return err;
}

__attribute__((format(printf, 3, 4))) static void say(assent_line line, void *context, const char *format, ...)
{
        char text[LINE_SIZE_MAX];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        line(context, text);
}

static void note_delivery(void *context, const struct assent_report *report)
{
        struct assent_admin *admin = context;
        admin->delivered = true;
        admin->delivered_err = report->err;
}

enum assent_err assent_admin_open(const struct assent_config *config, struct assent_admin **out)
{
        ASSENT_ASSERT(config && out);
        struct assent_admin *admin = *out = calloc(1, sizeof *admin);
        if (!admin)
                return ASSENT_E_MEMORY;
        admin->config = config;
        assent_settings_of(config, &admin->settings);
        const char *wrong = assent_settings_wrong(&admin->settings);
        if (wrong)
                return fail(admin, ASSENT_E_CONFIG, "the settings of this configuration are not valid: %s", wrong);
        assent_topic_inbox(config, admin->inbox);
        assent_topic_outcomes(config, admin->outcomes);
        admin->codec = assent_codec_open(admin->settings.record_bytes_max);
        if (!admin->codec)
                return fail(admin, ASSENT_E_MEMORY, "out of memory");
        const struct assent_bus_options options = {
            .config = config, .client_id = "assentctl", .delivered = note_delivery, .context = admin};
        enum assent_err err = assent_bus_kafka_open(&options, &admin->bus);
        if (err != ASSENT_OK)
                return fail(admin, err, "%s", admin->bus ? assent_bus_errmsg(admin->bus) : "out of memory");
        return ASSENT_OK;
}

const char *assent_admin_errmsg(const struct assent_admin *admin)
{
        return admin->errmsg;
}

void assent_admin_close(struct assent_admin *admin)
{
        if (!admin)
                return;
        assent_bus_close(admin->bus);
        assent_codec_close(admin->codec);
        free(admin);
}

void assent_admin_stop(struct assent_admin *admin)
{
        atomic_store(&admin->stopped, true);
}

/* The number of lanes of a topic, or a sentence about why there is none. */
static enum assent_err look_up(struct assent_admin *admin, const char *topic, int *lanes)
{
        enum assent_err err = assent_bus_lookup(admin->bus, topic, lanes);
        if (err == ASSENT_E_NOT_FOUND)
                return fail(admin, err, "there is no topic %s; run assentctl topics apply, or check --prefix", topic);
        return err == ASSENT_OK ? err : fail(admin, err, "%s", assent_bus_errmsg(admin->bus));
}

static enum assent_err lane_ends(struct assent_admin *admin, const char *topic, int32_t lane, int64_t *low,
                                 int64_t *high)
{
        enum assent_err err = assent_lane_ends(admin->bus, admin->config, topic, lane, low, high);
        return err == ASSENT_OK ? err : fail(admin, err, "%s", assent_bus_errmsg(admin->bus));
}

/* --- topics --- */

static enum assent_err check_services(struct assent_admin *admin, const char *const *services, size_t count)
{
        /* Two topics a service, and two each for the inbox and the outcomes. */
        if (2 * count + 4 > TOPICS_MAX)
                return fail(admin, ASSENT_E_LIMIT, "%zu services; at most %d at once", count, (TOPICS_MAX - 4) / 2);
        for (size_t i = 0; i < count; i++)
                if (!assent_service_valid(assent_bytes_of(services[i])))
                        return fail(admin, ASSENT_E_ARGUMENT,
                                    "\"%.60s\" is not a service name: 1 to %d of the letters a-z, "
                                    "digits and '-'",
                                    services[i], ASSENT_SERVICE_SIZE_MAX);
        return ASSENT_OK;
}

/* What a lane's settings are: R17 for operators. ASSENT_E_NOT_FOUND: none yet, and one may be
 * appended. */
static enum assent_err check_lane_settings(struct assent_admin *admin, int32_t lane, struct assent_settings *theirs)
{
        int64_t log_start = 0, high = 0;
        enum assent_err err = lane_ends(admin, admin->inbox, lane, &log_start, &high);
        if (err != ASSENT_OK)
                return err;
        err = assent_lane_settings(admin->bus, admin->codec, admin->config, lane, theirs, &log_start, admin->errmsg);
        if (err == ASSENT_E_NOT_FOUND && log_start > 0)
                return ASSENT_E_SETTINGS;
        if (err != ASSENT_OK)
                return err;
        char why[ASSENT_LANES_ERRMSG_SIZE_MAX - 100];
        if (assent_settings_agree(&admin->settings, theirs, why, sizeof why))
                return ASSENT_OK;
        return fail(admin, ASSENT_E_SETTINGS, "lane %d of %s: %s", lane, admin->inbox, why);
}

static enum assent_err list_topics(struct assent_admin *admin, const char *const *services, size_t services_count,
                                   struct assent_topic_state **states, size_t *count)
{
        char errmsg[1024] = "";
        enum assent_err err = check_services(admin, services, services_count);
        if (err != ASSENT_OK)
                return err;
        *states = calloc(TOPICS_MAX, sizeof **states);
        if (!*states)
                return fail(admin, ASSENT_E_MEMORY, "out of memory");
        err =
            assent_topics_list(admin->bus, admin->config, services, services_count, *states, TOPICS_MAX, count, errmsg);
        return err == ASSENT_OK ? err : fail(admin, err, "%s", errmsg);
}

/* An inbox with another number of lanes belongs to other settings: nothing may be made beside it.
 */
static enum assent_err check_lanes(struct assent_admin *admin)
{
        int lanes = 0;
        enum assent_err err = assent_bus_lookup(admin->bus, admin->inbox, &lanes);
        if (err == ASSENT_E_NOT_FOUND)
                return ASSENT_OK;
        if (err != ASSENT_OK)
                return fail(admin, err, "%s", assent_bus_errmsg(admin->bus));
        if (lanes == (int)admin->settings.lanes)
                return ASSENT_OK;
        return fail(admin, ASSENT_E_TOPIC,
                    "%s has %d lanes, this configuration asks for %" PRIu32
                    " (assent.lanes_count); lanes never change: set assent.lanes_count=%d, or use "
                    "another prefix",
                    admin->inbox, lanes, admin->settings.lanes, lanes);
}

enum fate { CREATE, KEEP, IGNORE, REFUSE };

/* What apply does about a topic. Others may have topics under the prefix, too: business events, for one. */
static enum fate fate_of(const struct assent_topic_state *state)
{
        if (!state->exists)
                return CREATE;
        if (strcmp(state->verdict, "ok") == 0)
                return KEEP;
        return strcmp(state->verdict, "not of the protocol") == 0 ? IGNORE : REFUSE;
}

/* Nothing is made beside a topic that is not as it must be: that is somebody else's, or other settings'. */
static enum assent_err refuse_topics(struct assent_admin *admin, const struct assent_topic_state *states, size_t count,
                                     assent_line line, void *context)
{
        size_t refused = 0;
        for (size_t i = 0; i < count; i++) {
                if (fate_of(&states[i]) != REFUSE)
                        continue;
                say(line, context, "REFUSED  %s: %s", states[i].name, states[i].verdict);
                refused++;
        }
        if (refused == 0)
                return ASSENT_OK;
        return fail(
            admin, ASSENT_E_TOPIC,
            "%zu of the topics are not set up as they must be; apply never changes a topic: correct them with the "
            "broker's own tools, or use another prefix",
            refused);
}

static enum assent_err plan_settings(struct assent_admin *admin, assent_line line, void *context)
{
        char mine[ASSENT_SETTINGS_SIZE_MAX];
        assent_settings_format(&admin->settings, mine);
        int lanes = 0;
        enum assent_err err = assent_bus_lookup(admin->bus, admin->inbox, &lanes);
        if (err == ASSENT_E_NOT_FOUND) {
                say(line, context, "append  SETTINGS to every lane of %s", admin->inbox);
                say(line, context, "settings: %s", mine);
                return ASSENT_OK;
        }
        if (err != ASSENT_OK)
                return fail(admin, err, "%s", assent_bus_errmsg(admin->bus));
        for (int32_t lane = 0; lane < lanes; lane++) {
                struct assent_settings theirs;
                err = check_lane_settings(admin, lane, &theirs);
                if (err == ASSENT_E_NOT_FOUND)
                        say(line, context, "append  SETTINGS to lane %d of %s", lane, admin->inbox);
                else if (err != ASSENT_OK)
                        return err;
                else
                        say(line, context, "keep    SETTINGS of lane %d of %s", lane, admin->inbox);
        }
        say(line, context, "settings: %s", mine);
        return ASSENT_OK;
}

enum assent_err assent_admin_topics_plan(struct assent_admin *admin, const char *const *services, size_t services_count,
                                         assent_line line, void *context)
{
        struct assent_topic_state *states = NULL;
        size_t count = 0;
        enum assent_err err = list_topics(admin, services, services_count, &states, &count);
        for (size_t i = 0; i < count && err == ASSENT_OK; i++) {
                const enum fate fate = fate_of(&states[i]);
                if (fate == CREATE)
                        say(line, context, "create  %s  (%" PRIu32 " lanes)", states[i].name, admin->settings.lanes);
                else if (fate == KEEP)
                        say(line, context, "keep    %s  (%d lanes)", states[i].name, states[i].lanes);
        }
        if (err == ASSENT_OK)
                err = refuse_topics(admin, states, count, line, context);
        free(states);
        if (err == ASSENT_OK)
                err = check_lanes(admin);
        return err == ASSENT_OK ? plan_settings(admin, line, context) : err;
}

static enum assent_err make_topics(struct assent_admin *admin, const struct assent_topic_state *states, size_t count,
                                   assent_line line, void *context)
{
        enum assent_err err = refuse_topics(admin, states, count, line, context);
        for (size_t i = 0; i < count && err == ASSENT_OK; i++) {
                char errmsg[1024] = "";
                const enum fate fate = fate_of(&states[i]);
                if (fate == KEEP)
                        say(line, context, "kept     %s  (%d lanes)", states[i].name, states[i].lanes);
                if (fate != CREATE)
                        continue;
                err = assent_topics_create(admin->bus, admin->config, states[i].name, errmsg);
                if (err != ASSENT_OK)
                        fail(admin, err, "%s: %s", states[i].name, errmsg);
                else
                        say(line, context, "created  %s  (%" PRIu32 " lanes)", states[i].name, admin->settings.lanes);
        }
        return err;
}

static enum assent_err append_settings(struct assent_admin *admin, int32_t lane)
{
        char text[ASSENT_SETTINGS_SIZE_MAX];
        const size_t size = assent_settings_format(&admin->settings, text);
        struct assent_message message = {.type = ASSENT_CONTROL, .lamport = 1};
        message.body.control.kind = ASSENT_SETTINGS;
        message.body.control.branch = ASSENT_NO_BRANCH;
        message.body.control.settings = (struct assent_bytes){text, size};
        assent_message_seal(&message);

        struct assent_outgoing outgoing = {.topic = assent_bus_topic(admin->bus, admin->inbox), .lane = lane};
        enum assent_err err = assent_codec_encode(admin->codec, &message, &outgoing.value);
        ASSENT_ASSERT(err == ASSENT_OK); /* some 200 bytes */
        admin->delivered = false;
        err = assent_bus_send(admin->bus, &outgoing);
        if (err == ASSENT_OK)
                err = assent_bus_flush(admin->bus, (int)assent_config_int(admin->config, "assent.start_timeout_ms"));
        if (err == ASSENT_OK && admin->delivered)
                err = admin->delivered_err;
        if (err == ASSENT_OK)
                return ASSENT_OK;
        return fail(admin, err, "appending SETTINGS to lane %d of %s: %s; apply may be repeated", lane, admin->inbox,
                    err == ASSENT_TIMED_OUT ? "no broker has confirmed it in time" : assent_err_text(err));
}

static enum assent_err apply_settings(struct assent_admin *admin, assent_line line, void *context)
{
        for (int32_t lane = 0; lane < (int32_t)admin->settings.lanes; lane++) {
                struct assent_settings theirs;
                enum assent_err err = check_lane_settings(admin, lane, &theirs);
                const bool append = err == ASSENT_E_NOT_FOUND;
                if (append && (err = append_settings(admin, lane)) == ASSENT_OK)
                        err = check_lane_settings(admin, lane, &theirs); /* somebody else's may have been first */
                if (err != ASSENT_OK)
                        return err;
                say(line, context, "%s SETTINGS of lane %d of %s", append ? "appended" : "kept    ", lane,
                    admin->inbox);
        }
        char text[ASSENT_SETTINGS_SIZE_MAX];
        assent_settings_format(&admin->settings, text);
        say(line, context, "settings: %s", text);
        return ASSENT_OK;
}

static enum assent_err check_topics(struct assent_admin *admin, const char *const *services, size_t count)
{
        for (size_t i = 0; i < (count ? count : 1); i++) {
                struct assent_topics_report report;
                const struct assent_bytes service = assent_bytes_of(count ? services[i] : NULL);
                enum assent_err err = assent_topics_check(admin->bus, admin->config, service, &report);
                if (err != ASSENT_OK)
                        return fail(admin, err, "%s", report.errmsg);
        }
        return ASSENT_OK;
}

enum assent_err assent_admin_topics_apply(struct assent_admin *admin, const char *const *services,
                                          size_t services_count, assent_line line, void *context)
{
        struct assent_topic_state *states = NULL;
        size_t count = 0;
        enum assent_err err = list_topics(admin, services, services_count, &states, &count);
        if (err == ASSENT_OK)
                err = check_lanes(admin);
        if (err == ASSENT_OK)
                err = make_topics(admin, states, count, line, context);
        free(states);
        if (err == ASSENT_OK)
                err = apply_settings(admin, line, context);
        if (err == ASSENT_OK)
                err = check_topics(admin, services, services_count);
        return err;
}

enum assent_err assent_admin_topics_events(struct assent_admin *admin, const char *name, assent_line line, void *context)
{
        static const char legal[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
        const char *prefix = assent_config_get(admin->config, "assent.prefix");
        char topics[2][ASSENT_TOPIC_SIZE_MAX], errmsg[1024] = "";
        enum assent_err err = ASSENT_OK;
        if (!*name || name[strspn(name, legal)] || strlen(prefix) + strlen(name) + sizeof ".-dlt" > ASSENT_TOPIC_SIZE_MAX)
                return fail(admin, ASSENT_E_ARGUMENT,
                            "\"%.60s\" is not a name for a topic of events: letters, digits, '.', '_' and '-', with the prefix "
                            "at most %d characters", name, ASSENT_TOPIC_SIZE_MAX - 6);
        snprintf(topics[0], sizeof topics[0], "%s.%s", prefix, name);
        assent_topic_dead_letters(topics[0], topics[1]);
        for (int i = 0; i < 2 && err == ASSENT_OK; i++) {
                int lanes = 0;
                err = assent_bus_lookup(admin->bus, topics[i], &lanes);
                if (err == ASSENT_OK) {
                        say(line, context, "kept     %s  (%d lanes)", topics[i], lanes);
                        continue;
                }
                if (err != ASSENT_E_NOT_FOUND)
                        return fail(admin, err, "%s", assent_bus_errmsg(admin->bus));
                err = assent_topics_create(admin->bus, admin->config, topics[i], errmsg);
                if (err != ASSENT_OK)
                        return fail(admin, err, "%s: %s", topics[i], errmsg);
                say(line, context, "created  %s  (%" PRIu32 " lanes)", topics[i], admin->settings.lanes);
        }
        return err;
}

static enum assent_err describe_lane(struct assent_admin *admin, int32_t lane, assent_line line, void *context)
{
        int64_t low = 0, high = 0, log_start = 0;
        enum assent_err err = lane_ends(admin, admin->inbox, lane, &low, &high);
        if (err != ASSENT_OK)
                return err;
        struct assent_settings theirs;
        char text[ASSENT_SETTINGS_SIZE_MAX] = "none";
        char *errmsg = admin->errmsg;
        err = assent_lane_settings(admin->bus, admin->codec, admin->config, lane, &theirs, &log_start, errmsg);
        if (err == ASSENT_OK)
                assent_settings_format(&theirs, text);
        else if (err == ASSENT_E_SETTINGS)
                snprintf(text, sizeof text, "not readable by this build");
        else if (err != ASSENT_E_NOT_FOUND)
                return err;
        say(line, context, "lane %d  offsets %" PRId64 " to %" PRId64 "  settings: %s", lane, low, high, text);
        return ASSENT_OK;
}

enum assent_err assent_admin_topics_describe(struct assent_admin *admin, assent_line line, void *context)
{
        struct assent_topic_state *states = NULL;
        size_t count = 0;
        enum assent_err err = list_topics(admin, NULL, 0, &states, &count);
        for (size_t i = 0; i < count && err == ASSENT_OK; i++) {
                const struct assent_topic_state *state = &states[i];
                if (!state->exists)
                        say(line, context, "%s: %s", state->name, state->verdict);
                else
                        say(line, context, "%s: %s; lanes=%d replication=%d %s", state->name, state->verdict,
                            state->lanes, state->replication, state->settings);
        }
        free(states);
        int lanes = 0;
        if (err == ASSENT_OK)
                err = look_up(admin, admin->inbox, &lanes);
        for (int32_t lane = 0; lane < lanes && err == ASSENT_OK; lane++)
                err = describe_lane(admin, lane, line, context);
        return err;
}

/* --- txn show --- */

/* "2026-11-22T12:58:12.130Z", or from the 11th character on the time alone. */
static void format_time(int64_t time_ms, char text[32])
{
        const time_t seconds = (time_t)(time_ms / 1000);
        struct tm parts;
        size_t size = 0;
        if (time_ms >= 0 && gmtime_r(&seconds, &parts))
                size = strftime(text, 24, "%Y-%m-%dT%H:%M:%S", &parts);
        if (size == 0)
                snprintf(text, 32, "%" PRId64 " ms", time_ms); /* beyond the calendar: a foreign clock */
        else
                snprintf(text + size, 32 - size, ".%03dZ", (int)(time_ms % 1000));
}

struct show {
        struct assent_uuid txn_id;
        int32_t lane;
        const char *topic;
        int64_t birth_ms;
        assent_line line;
        void *context;
        size_t lines;
        bool touched; /* this record was about it */
        struct assent_core_view view;
        size_t votes, acks, rejected;
        bool forgotten;
        int64_t forgotten_offset;
};

static void ignore_emission(void *context, const struct assent_message *message)
{
        (void)context;
        (void)message;
}

static void show_heading(const struct show *show)
{
        char birth[32], id[ASSENT_UUID_TEXT_SIZE];
        format_time(show->birth_ms, birth);
        assent_uuid_format(&show->txn_id, id);
        say(show->line, show->context, "transaction %s, lane %d of %s", id, show->lane, show->topic);
        say(show->line, show->context, "born %s; times with a sign count from there", birth);
        say(show->line, show->context, "%10s  %-24s  %7s  %s", "offset", "log time", "Lamport", "what happened");
}

static void show_trace(void *context, const struct assent_trace *trace)
{
        struct show *show = context;
        const struct assent_message *message = trace->message;
        const bool about = memcmp(&trace->txn_id, &show->txn_id, sizeof show->txn_id) == 0;
        if (!about && !(message && memcmp(&message->txn_id, &show->txn_id, sizeof show->txn_id) == 0 &&
                        trace->kind == ASSENT_T_VERDICT))
                return;
        show->touched = true;
        show->votes += trace->kind == ASSENT_T_VOTE;
        show->acks += trace->kind == ASSENT_T_ACK;
        show->rejected += trace->kind == ASSENT_T_REJECTED;
        if (trace->kind == ASSENT_T_FORGOTTEN) {
                show->forgotten = true;
                show->forgotten_offset = trace->offset;
        }
        if (show->lines++ == 0)
                show_heading(show);
        char time[32], lamport[24] = "-", sentence[1024];
        format_time(trace->tau_ms, time);
        /* A Lamport time belongs to the record's own message; what a timeout does to others has
         * none. */
        if (message && memcmp(&message->txn_id, &show->txn_id, sizeof show->txn_id) == 0)
                snprintf(lamport, sizeof lamport, "%" PRIu64, message->lamport);
        assent_narrate(trace, show->birth_ms, sentence, sizeof sentence);
        say(show->line, show->context, "%10" PRId64 "  %-24s  %7s  %s", trace->offset, time, lamport, sentence);
}

static bool show_more(void *context, const struct assent_core *core)
{
        struct show *show = context;
        struct assent_core_view view;
        if (show->touched && assent_core_find(core, &show->txn_id, &view))
                show->view = view;
        show->touched = false;
        return !show->forgotten;
}

static void show_undecided(const struct show *show)
{
        char time[32], id[ASSENT_UUID_TEXT_SIZE];
        format_time(show->view.deadline_ms, time);
        if (show->view.pre_commit)
                say(show->line, show->context, "state: pre-commit; it can only commit, at %s at the latest", time);
        else
                say(show->line, show->context,
                    "state: voting; %zu of %u votes are in, and it aborts at %s unless all are", show->votes,
                    show->view.branches_count, time);
        if (assent_clock_wall_ms() <= show->view.deadline_ms)
                return;
        assent_uuid_format(&show->txn_id, id);
        say(show->line, show->context,
            "that time has passed: the next record in the lane settles it; assentctl txn inquire "
            "%s appends one",
            id);
}

static void show_state(const struct show *show, const struct assent_story *story)
{
        if (story->cut || (story->at_log_start && !story->accepted))
                say(show->line, show->context,
                    "warning: the lane's log starts at offset %" PRId64
                    "; earlier records about it may be gone, so this "
                    "need not be the whole story",
                    story->from);
        if (!story->accepted) {
                say(show->line, show->context, "state: not running; %s",
                    show->rejected ? "every begin of it that is still in the lane was rejected"
                                   : "the lane holds no begin of it");
                return;
        }
        if (!show->view.decided) {
                show_undecided(show);
                return;
        }
        say(show->line, show->context, "state: %s; %s", assent_outcome_name(show->view.outcome),
            show->view.finished ? "every participant that held something has confirmed"
                                : "not every participant has confirmed yet");
        if (show->forgotten)
                say(show->line, show->context,
                    "records about it after offset %" PRId64 " change nothing: assentctl tail inbox --lane %d --from "
                    "%" PRId64 " shows them",
                    show->forgotten_offset, story->lane, show->forgotten_offset + 1);
}

enum assent_err assent_admin_txn_show(struct assent_admin *admin, const struct assent_uuid *txn_id, assent_line line,
                                      void *context)
{
        if (!assent_txn_id_valid(txn_id))
                return fail(admin, ASSENT_E_ARGUMENT, "not a transaction id: those are UUIDs of version 7");
        int lanes = 0;
        enum assent_err err = look_up(admin, admin->inbox, &lanes);
        if (err != ASSENT_OK)
                return err;
        const int32_t lane = assent_lane_of(txn_id, (uint32_t)lanes);
        struct assent_settings settings;
        err = check_lane_settings(admin, lane, &settings);
        if (err == ASSENT_E_NOT_FOUND) /* nothing can have begun there yet; what came too early is
                                          told all the same */
                settings = admin->settings;
        else if (err != ASSENT_OK)
                return err;
        struct show show = {.txn_id = *txn_id,
                            .lane = lane,
                            .topic = admin->inbox,
                            .birth_ms = assent_txn_id_birth_ms(txn_id),
                            .line = line,
                            .context = context};
        struct assent_story story = {.settings = &settings,
                                     .txn_id = *txn_id,
                                     .end_offset = -1,
                                     .emit = ignore_emission,
                                     .trace = show_trace,
                                     .more = show_more,
                                     .context = &show};
        err = assent_lane_story(admin->bus, admin->codec, admin->config, &story);
        if (err != ASSENT_OK)
                return fail(admin, err, "%s", story.errmsg);
        if (show.lines == 0)
                return fail(admin, ASSENT_E_NOT_FOUND,
                            "lane %d of %s holds nothing about it (read from offset %" PRId64 " to %" PRId64 "%s)",
                            lane, admin->inbox, story.from, story.next,
                            story.at_log_start ? "; the log's beginning is gone, so it may have been there" : "");
        show_state(&show, &story);
        return ASSENT_OK;
}

/* --- tail --- */

struct tailing {
        struct assent_admin *admin;
        const struct assent_tail *tail;
        char topic[ASSENT_TOPIC_SIZE_MAX];
        assent_line line;
        void *context;
        struct assent_buffer text;
        uint64_t count;
        int lanes_left; /* whose end is not reached */
        int64_t starts[ASSENT_LANES_MAX], ends[ASSENT_LANES_MAX]; /* 0: reached */
};

static enum assent_err tail_from(void *context, int32_t lane, const struct assent_committed *committed, int64_t *start)
{
        (void)committed;
        *start = ((const struct tailing *)context)->starts[lane];
        return ASSENT_OK;
}

/* "inbox" is short for "<prefix>.inbox", and so on; anything else is a full name. */
static enum assent_err find_topic(struct tailing *tailing, int *lanes)
{
        struct assent_admin *admin = tailing->admin;
        const char *name = tailing->tail->topic;
        if (!name || !*name || strlen(name) >= ASSENT_TOPIC_SIZE_MAX)
                return fail(admin, ASSENT_E_ARGUMENT, "no topic named, or its name is too long");
        const char *prefix = assent_config_get(admin->config, "assent.prefix");
        const int size = snprintf(tailing->topic, sizeof tailing->topic, "%s.%s", prefix, name);
        enum assent_err err = ASSENT_E_NOT_FOUND;
        if (size < (int)sizeof tailing->topic)
                err = assent_bus_lookup(admin->bus, tailing->topic, lanes);
        if (err == ASSENT_E_NOT_FOUND) {
                snprintf(tailing->topic, sizeof tailing->topic, "%s", name);
                err = assent_bus_lookup(admin->bus, tailing->topic, lanes);
        }
        if (err == ASSENT_E_NOT_FOUND)
                return fail(admin, err, "there is no topic %s.%s and no topic %s; assentctl topics describe lists them",
                            prefix, name, name);
        return err == ASSENT_OK ? err : fail(admin, err, "%s", assent_bus_errmsg(admin->bus));
}

/* Where each lane's reading starts and ends. */
static enum assent_err find_ends(struct tailing *tailing, const int32_t *lanes, size_t count)
{
        const struct assent_tail *tail = tailing->tail;
        struct assent_admin *admin = tailing->admin;
        for (size_t i = 0; i < count; i++) {
                const int32_t lane = lanes[i];
                int64_t low = 0, high = 0;
                enum assent_err err = lane_ends(admin, tailing->topic, lane, &low, &high);
                if (err != ASSENT_OK)
                        return err;
                int64_t from = tail->from == -1 ? high : tail->from == -2 ? low : tail->from;
                if (from < low || from > high)
                        return fail(admin, ASSENT_E_POSITION,
                                    "lane %d of %s holds the offsets %" PRId64 " to %" PRId64 ", not %" PRId64, lane,
                                    tailing->topic, low, high, from);
                tailing->starts[lane] = from;
                tailing->ends[lane] = tail->follow ? INT64_MAX : from < high ? high : 0;
                tailing->lanes_left += tailing->ends[lane] != 0;
        }
        return ASSENT_OK;
}

static enum assent_err tail_record(struct tailing *tailing, const struct assent_record *record)
{
        struct assent_buffer *text = &tailing->text;
        struct assent_codec *codec = tailing->admin->codec;
        struct assent_message message;
        char time[32];
        format_time(record->timestamp_ms, time);
        assent_buffer_clear(text);
        assent_buffer_text(text, "{\"topic\":");
        assent_buffer_json(text, tailing->topic, strlen(tailing->topic));
        assent_buffer_printf(text,
                             ",\"lane\":%d,\"offset\":%" PRId64 ",\"time\":\"%s\",\"size\":%zu,\"key\":", record->lane,
                             record->offset, time, record->value.size);
        assent_buffer_json(text, record->key.data, record->key.size);
        const enum assent_decode_fault fault = assent_codec_decode(codec, record->value, &message);
        if (fault == ASSENT_DECODE_NONE) {
                if (!assent_message_id_holds(&message))
                        assent_buffer_text(text, ",\"forged\":true");
                assent_buffer_printf(text, ",\"message\":%s}", assent_codec_json(codec, &message));
        } else {
                const uint8_t *bytes = record->value.data;
                assent_buffer_printf(text, ",\"fault\":\"%s\",\"head\":\"", assent_decode_fault_name(fault));
                for (size_t i = 0; i < record->value.size && i < HEAD_SIZE; i++)
                        assent_buffer_printf(text, "%02x", bytes[i]);
                assent_buffer_text(text, "\"}");
        }
        if (text->err != ASSENT_OK)
                return fail(tailing->admin, text->err, "a line of JSON does not fit in memory");
        tailing->line(tailing->context, assent_buffer_string(text));
        tailing->count++;
        return ASSENT_OK;
}

/* Whether the record is to be shown. More may come behind a lane's end, which is reached once. */
static bool tail_shows(struct tailing *tailing, const struct assent_record *record)
{
        int64_t *end = &tailing->ends[record->lane];
        bool shows = record->offset < *end;
        if (*end != 0 && record->offset + 1 >= *end) {
                *end = 0;
                tailing->lanes_left--;
        }
        return shows;
}

/* False: over. */
static bool tail_goes_on(const struct tailing *tailing)
{
        const uint64_t max = tailing->tail->count;
        return tailing->lanes_left > 0 && !(max > 0 && tailing->count >= max) && !atomic_load(&tailing->admin->stopped);
}

static enum assent_err tail_lanes(struct tailing *tailing, struct assent_bus_consumer *consumer)
{
        struct assent_bus *bus = tailing->admin->bus;
        struct assent_record records[RECORDS_MAX];
        int64_t heard_ms = assent_bus_monotonic_ms(bus);
        while (tail_goes_on(tailing)) {
                size_t count = 0;
                enum assent_err err = assent_bus_consume(bus, consumer, records, RECORDS_MAX, TURN_MS, &count);
                if (err != ASSENT_OK)
                        return fail(tailing->admin, err, "%s", assent_bus_errmsg(bus));
                const int64_t now_ms = assent_bus_monotonic_ms(bus);
                if (count > 0)
                        heard_ms = now_ms;
                else if (!tailing->tail->follow && now_ms - heard_ms > QUIET_MS)
                        break;
                for (size_t i = 0; i < count && tail_goes_on(tailing); i++) {
                        if (tail_shows(tailing, &records[i]) && (err = tail_record(tailing, &records[i])) != ASSENT_OK)
                                return err;
                        if (tailing->ends[records[i].lane] == 0)
                                assent_bus_pause(bus, consumer, records[i].lane, true);
                }
        }
        return ASSENT_OK;
}

enum assent_err assent_admin_tail(struct assent_admin *admin, const struct assent_tail *tail, assent_line line,
                                  void *context)
{
        ASSENT_ASSERT(tail && tail->struct_size == sizeof *tail);
        struct tailing *tailing = calloc(1, sizeof *tailing);
        if (!tailing)
                return fail(admin, ASSENT_E_MEMORY, "out of memory");
        *tailing = (struct tailing){.admin = admin, .tail = tail, .line = line, .context = context};
        assent_buffer_init(&tailing->text, (size_t)1 << 20);
        int32_t lanes[ASSENT_LANES_MAX];
        int count = 0;
        enum assent_err err = find_topic(tailing, &count);
        if (err == ASSENT_OK && (count > ASSENT_LANES_MAX || tail->lane >= count))
                err = fail(admin, ASSENT_E_ARGUMENT, "%s has %d lanes, numbered from 0; there is no lane %d",
                           tailing->topic, count, tail->lane);
        if (err == ASSENT_OK && tail->lane >= 0) {
                lanes[0] = tail->lane;
                count = 1;
        } else if (err == ASSENT_OK) {
                for (int i = 0; i < count; i++)
                        lanes[i] = i;
        }
        if (err == ASSENT_OK)
                err = find_ends(tailing, lanes, (size_t)count);
        if (err == ASSENT_OK && tailing->lanes_left > 0) {
                const struct assent_bus_consumer_options options = {.topic = tailing->topic,
                                                                    .lanes = lanes,
                                                                    .lanes_count = (size_t)count,
                                                                    .assigned = tail_from,
                                                                    .context = tailing};
                struct assent_bus_consumer *consumer = NULL;
                err = assent_bus_consumer_open(admin->bus, &options, &consumer);
                if (err != ASSENT_OK)
                        fail(admin, err, "%s", assent_bus_errmsg(admin->bus));
                else
                        err = tail_lanes(tailing, consumer);
                assent_bus_consumer_close(admin->bus, consumer);
        }
        assent_buffer_close(&tailing->text);
        free(tailing);
        return err;
}
