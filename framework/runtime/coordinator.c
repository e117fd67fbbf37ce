/* coordinator.c: the coordinator's loop: poll → decode → step → publish → checkpoint. It owns no database; what it knows it
 * replays (R12, R13). Several may run at once: what they publish is the same. A standby (R19) is one that keeps back what it
 * would publish for as long as the owner's checkpoints move.
 *
 * Order is law here: emissions of a record are queued in the core's order; a checkpoint with next offset N is committed only
 * when everything emitted before N is acknowledged (R12), so a crash at any line repeats messages, with the same ids and
 * bytes, and loses none. */
#include <assent/coordinator.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <assent/log.h>

#include "base/crash.h"
#include "base/panic.h"
#include "codec/codec.h"
#include "core/coordinator.h"
#include "core/ids.h"
#include "core/narrate.h"
#include "kafka/topics.h"
#include "runtime/checkpoint.h"
#include "runtime/held.h"
#include "runtime/lane_list.h"
#include "runtime/outbound.h"
#include "runtime/service.h"
#include "runtime/settings.h"
#include "runtime/watch.h"

#define SAMPLES_MAX      1024
#define SERVICES_MAX     1000 /* one process's table of topics holds 1024 */
#define ABSENT_MAX       64 /* services looked up in vain, remembered for ABSENT_MS */
#define ABSENT_MS        1000
#define RESEND_MS        1000 /* a refused decision is tried again so often (R18) */
#define TICK_RETRY_MS    500
#define TICK_BEHIND_MS   20
#define SILENCE_MS       2000
#define FLUSH_MS         2000
#define REFUSALS_MAX     1000000
#define ELECTION_TRIES   10 /* a log end below N is looked at so often, ELECTION_WAIT_MS apart (R13) */
#define ELECTION_WAIT_MS 300
#define LOG_LINES_MAX    10 /* a second and verdict */
#define HELD_BYTES_MAX   ((size_t)256 << 20) /* of a standby's lane; beyond it, it acts */
#define LOOKS            5 /* at the owner's checkpoint, in takeover_ms */
#define STANDBY_COMMIT_MS 1000

/* A possible replay start: τ was tau_ms before the record at `offset` (R12). */
struct sample {
        int64_t offset, tau_ms;
};

struct lane {
        struct assent_coordinator *owner;
        int32_t number;
        bool held;
        struct assent_core *core; /* kept when the lane goes: it needs no replay if it comes back (R13) */
        int64_t next;             /* the next offset to read */
        int64_t stepping;         /* the offset being applied */
        int64_t emit_from;        /* N of the checkpoint: nothing below it is emitted */
        bool proving;             /* at emit_from the digest must be `proof` */
        uint64_t proof;
        int64_t taken_ms, last_record_ms, revoked_ms; /* monotonic */
        struct sample samples[SAMPLES_MAX];           /* ascending; [0] is where this owner's knowledge begins */
        size_t samples_count;
        struct assent_tracker sent;
        struct assent_checkpoint candidate;
        bool has_candidate;
        int64_t committed_next, committed_ms, candidate_ms;
        int64_t tick_after_ms; /* no TICK before */
        /* A standby's (R19). */
        struct assent_held kept; /* what is to be said, from the owner's newest N on */
        bool acting;             /* the owner stands still: emissions are published */
        int64_t owner_next;      /* the owner's N, as seen last; -1: none yet */
        int64_t look_ms;         /* when next to look at it */
        int64_t still_ms;        /* since when it stands still with something to publish */
        int64_t log_state[ASSENT_VERDICT_COUNT][2];
};

struct service {
        char name[ASSENT_SERVICE_SIZE_MAX + 1];
        int topic, lanes; /* -1, 0: looked up in vain */
        int64_t expires_ms; /* of a finding in `absent` */
};

/* A CANCEL to append at the end of the turn. */
struct cancel {
        struct cancel *next;
        struct assent_uuid txn_id;
        const char *reason;
        int32_t lane;
};

/* A refused record, to be sent again until it is taken (R18). */
struct refusal {
        struct refusal *next;
        int64_t source; /* the offset that it follows from: N waits there */
        uint64_t sequence;
        int64_t due_ms;
        int topic;
        int32_t lane;
        bool sent, done; /* sent and not reported yet; taken, or nobody's any more */
        size_t key_size, value_size;
        char bytes[]; /* key, value */
};

struct assent_coordinator {
        const struct assent_config *config;
        struct assent_bus *bus;
        struct assent_bus_consumer *consumer;
        struct assent_codec *codec, *peek; /* `peek` reads reports while `codec` lends a message */
        struct assent_settings settings;
        char inbox[ASSENT_TOPIC_SIZE_MAX];
        int inbox_topic, outcomes_topic, dead_letters_topic;
        struct lane *lanes;
        int32_t lanes_count;
        struct assent_record *records;
        size_t batch_max;
        int64_t checkpoint_ms, checkpoint_idle_ms;
        uint64_t in_flight_soft, in_flight_max;
        bool embedded, standby;
        bool shared; /* its group has given out its lanes */
        int64_t takeover_ms;
        struct assent_codec *kept_codec; /* lends what was kept while the others are in use */
        struct service services[SERVICES_MAX], absent[ABSENT_MAX];
        size_t services_count, absent_next;
        struct cancel *cancels;
        struct refusal *refusals;
        size_t refusals_count;
        uint64_t refusals_sequence;
        bool flush_failed; /* at a revoke: the other lanes need not try */
        int64_t lookup_log[2];
        volatile int stopping;
        enum assent_err failed; /* found inside a callback; step returns it */
        char errmsg[2048];
        struct assent_coordinator_watch watch;
};

__attribute__((format(printf, 3, 4))) static enum assent_err fail(struct assent_coordinator *c, enum assent_err err,
                                                                  const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(c->errmsg, sizeof c->errmsg, format, arguments);
        va_end(arguments);
        c->failed = err;
        assent_watch_set(&c->watch.common.failed, 1);
        return err;
}

/* What it says now is kept back (R19). */
static bool stands_by(const struct lane *lane)
{
        return lane->owner->standby && !lane->acting;
}

/* ---- what waits ---- */

/* The log decides: shedding (R16) and undeliverable commands (R18) become CANCEL records, which R7 judges. */
static void cancel_later(struct assent_coordinator *c, int32_t lane, const struct assent_uuid *txn_id, const char *reason,
                         uint64_t *counter)
{
        struct cancel *cancel = malloc(sizeof *cancel);
        assent_count(counter, 1);
        ASSENT_NEED(cancel);
        *cancel = (struct cancel){.next = c->cancels, .txn_id = *txn_id, .reason = reason, .lane = lane};
        c->cancels = cancel;
}

static void resend_later(struct assent_coordinator *c, const struct assent_report *report, int64_t source)
{
        if (c->refusals_count == REFUSALS_MAX) {
                fail(c, ASSENT_E_MEMORY,
                     "%d decisions were refused and wait to be taken; find out why this coordinator may not write to the "
                     "topics that its errors name",
                     REFUSALS_MAX);
                return;
        }
        struct refusal *refusal = calloc(1, sizeof *refusal + report->key.size + report->value.size);
        ASSENT_NEED(refusal);
        refusal->next = c->refusals;
        refusal->source = source;
        refusal->sequence = c->refusals_sequence++;
        refusal->due_ms = assent_bus_monotonic_ms(c->bus) + RESEND_MS;
        refusal->topic = report->topic;
        refusal->lane = report->lane;
        refusal->key_size = report->key.size;
        refusal->value_size = report->value.size;
        memcpy(refusal->bytes, report->key.data, report->key.size);
        memcpy(refusal->bytes + report->key.size, report->value.data, report->value.size);
        c->refusals = refusal;
        c->refusals_count++;
}

/* ---- sending ---- */

static enum assent_err send_message(struct assent_coordinator *c, int topic, int32_t lane, uint64_t tag,
                                    const struct assent_message *message)
{
        struct assent_bytes value;
        enum assent_err err = assent_codec_encode(c->codec, message, &value);
        if (err)
                return err;
        char key[ASSENT_UUID_TEXT_SIZE];
        assent_uuid_format(&message->txn_id, key);
        const struct assent_outgoing outgoing = {
                .topic = topic, .lane = lane, .key = {key, ASSENT_UUID_TEXT_SIZE - 1}, .value = value, .tag = tag};
        return assent_send(c->bus, &outgoing);
}

/* CANCEL and TICK: appended to the lane itself. */
static enum assent_err append_control(struct assent_coordinator *c, int32_t lane, enum assent_control_kind kind,
                                      const struct assent_uuid *txn_id, const char *reason)
{
        struct assent_message message = {.type = ASSENT_CONTROL, .lamport = 1};
        if (txn_id)
                message.txn_id = *txn_id;
        message.body.control.kind = kind;
        message.body.control.branch = ASSENT_NO_BRANCH;
        message.body.control.reason = assent_bytes_of(reason);
        assent_message_seal(&message);
        enum assent_err err =
                send_message(c, c->inbox_topic, lane, assent_tag(ASSENT_TAG_OTHER, lane, 0), &message);
        if (err)
                return fail(c, err, "appending %s to lane %" PRId32 " of %s: %s", assent_control_kind_name(kind), lane,
                            c->inbox, assent_bus_errmsg(c->bus));
        return ASSENT_OK;
}

/* A service's topic, looked up in the cluster's metadata before the first publish to it, because sending to a typo might create
 * it (R18). Its topic is -1 when it does not exist. */
static const struct service *find_service(struct assent_coordinator *c, struct assent_bytes name)
{
        for (size_t i = 0; i < c->services_count; i++)
                if (strlen(c->services[i].name) == name.size && memcmp(c->services[i].name, name.data, name.size) == 0)
                        return &c->services[i];
        int64_t now = assent_bus_monotonic_ms(c->bus);
        for (size_t i = 0; i < ABSENT_MAX; i++)
                if (c->absent[i].expires_ms > now && strlen(c->absent[i].name) == name.size &&
                    memcmp(c->absent[i].name, name.data, name.size) == 0)
                        return &c->absent[i];

        static const struct service nowhere = {.topic = -1};
        struct service found = {.topic = -1, .expires_ms = now + ABSENT_MS};
        ASSENT_ASSERT(name.size < sizeof found.name);
        memcpy(found.name, name.data, name.size);
        char topic[ASSENT_TOPIC_SIZE_MAX];
        assent_topic_commands(c->config, name, topic);
        enum assent_err err;
        while ((err = assent_bus_lookup(c->bus, topic, &found.lanes)) != ASSENT_OK && err != ASSENT_E_NOT_FOUND) {
                if (c->stopping) {
                        fail(c, ASSENT_E_KAFKA, "stopped while looking up topic %s; what it was for is replayed", topic);
                        return &nowhere;
                }
                if (assent_service_may_log(c->lookup_log, assent_bus_monotonic_ms(c->bus), 1))
                        assent_log(ASSENT_LOG_WARN, "topic lookup failed, trying again", ASSENT_TEXT("topic", topic),
                                   ASSENT_TEXT("why", assent_bus_errmsg(c->bus)));
                assent_bus_poll(c->bus, 200);
        }
        if (err == ASSENT_E_NOT_FOUND) {
                struct service *absent = &c->absent[c->absent_next++ % ABSENT_MAX];
                *absent = found;
                return absent;
        }
        found.topic = c->services_count < SERVICES_MAX ? assent_bus_topic(c->bus, topic) : -1;
        if (found.topic < 0) {
                fail(c, ASSENT_E_MEMORY, "more than %d services in one prefix", SERVICES_MAX);
                return &nowhere;
        }
        c->services[c->services_count] = found;
        return &c->services[c->services_count++];
}

/* R18: a first-phase command that can never be delivered counts as delivered, and the log is asked to abort. A decision for a
 * topic that does not exist has no reader. */
static void undeliverable(struct lane *lane, const struct assent_message *command, const char *why)
{
        struct assent_coordinator *c = lane->owner;
        assent_count(&c->watch.undeliverable, 1);
        assent_log(ASSENT_LOG_ERROR, "command undeliverable", ASSENT_INT("lane", lane->number),
                   ASSENT_UUID("txn", &command->txn_id), ASSENT_BYTES("service", command->body.command.service),
                   ASSENT_TEXT("phase", assent_phase_name(command->body.command.phase)), ASSENT_TEXT("why", why));
        if (assent_phase_is_first(command->body.command.phase))
                cancel_later(c, lane->number, &command->txn_id, "UNDELIVERABLE", &c->watch.cancelled_undeliverable);
}

/* Publishes one emission that follows from the record at `source`. */
static void publish(struct lane *lane, int64_t source, const struct assent_message *message)
{
        struct assent_coordinator *c = lane->owner;
        int topic = c->outcomes_topic;
        if (message->type == ASSENT_COMMAND) {
                const struct service *service = find_service(c, message->body.command.service);
                bool first = assent_phase_is_first(message->body.command.phase);
                topic = service->topic;
                /* A decision goes wherever somebody may be reading; a participant refuses to read other lanes than ours. */
                if (topic < 0 || lane->number >= service->lanes || (first && service->lanes != c->lanes_count)) {
                        if (!c->failed)
                                undeliverable(lane, message, "no such topic, or with another number of lanes");
                        return;
                }
        }
        uint64_t sequence = assent_tracker_add(&lane->sent, source);
        enum assent_err err =
                send_message(c, topic, lane->number, assent_tag(ASSENT_TAG_TRACKED, lane->number, sequence), message);
        if (err == ASSENT_E_TOO_LARGE && message->type == ASSENT_COMMAND) {
                assent_tracker_ack(&lane->sent, sequence);
                undeliverable(lane, message, "larger than the topic takes");
        } else if (err) {
                fail(c, err, "publishing for offset %" PRId64 " of lane %" PRId32 " of %s: %s", source, lane->number, c->inbox,
                     assent_bus_errmsg(c->bus));
        }
        ASSENT_CRASH_POINT(coordinator_between_emissions); /* the record's others are not queued: all go out again */
}

static bool to_be_told(enum assent_verdict verdict, bool *copied)
{
        *copied = verdict == ASSENT_V_MALFORMED || verdict == ASSENT_V_FORGED || verdict == ASSENT_V_FOREIGN;
        return *copied || verdict == ASSENT_V_CONFLICT || verdict == ASSENT_V_MISROUTED || verdict == ASSENT_V_STALE ||
               verdict == ASSENT_V_FUTURE || verdict == ASSENT_V_LIMIT || verdict == ASSENT_V_NO_SETTINGS;
}

/* R15. `type` is 0 where there is no message. */
static void tell(struct lane *lane, const struct assent_record *record, int type, enum assent_verdict verdict, const char *why)
{
        struct assent_coordinator *c = lane->owner;
        bool copied;
        assent_count(&c->watch.messages[type][verdict], 1);
        if (!to_be_told(verdict, &copied))
                return;
        if (copied) {
                assent_dead_letter(c->bus, c->dead_letters_topic, c->inbox, record, why);
                assent_count(&c->watch.common.dead_letters, 1);
                ASSENT_CRASH_POINT(coordinator_after_dead_letter); /* read again from N, it is copied a second time */
        }
        if (assent_service_may_log(lane->log_state[verdict], assent_bus_monotonic_ms(c->bus), LOG_LINES_MAX))
                assent_log(ASSENT_LOG_WARN, "record refused", ASSENT_INT("lane", lane->number),
                           ASSENT_INT("offset", record->offset), ASSENT_TEXT("verdict", assent_verdict_name(verdict)),
                           ASSENT_TEXT("why", why), ASSENT_BYTES("key", record->key));
}

/* R19: from its newest N on, whatever the owner did not publish; and from now on everything, until it moves again. */
static void act(struct lane *lane, int64_t now)
{
        struct assent_coordinator *c = lane->owner;
        struct assent_held_item item;
        assent_log(ASSENT_LOG_WARN, "the owner stands still: acting for it", ASSENT_INT("lane", lane->number),
                   ASSENT_INT("from", lane->emit_from), ASSENT_INT("held", lane->kept.count),
                   ASSENT_INT("still_ms", now - lane->still_ms));
        lane->acting = true;
        while (!c->failed && assent_held_first(&lane->kept, &item)) {
                struct assent_message message;
                if (item.why) {
                        const struct assent_record record = {.lane = lane->number,
                                                             .offset = item.source,
                                                             .timestamp_ms = item.timestamp_ms,
                                                             .key = item.key,
                                                             .value = item.value};
                        tell(lane, &record, item.type, (enum assent_verdict)item.verdict, item.why);
                } else {
                        bool decoded = assent_codec_decode(c->kept_codec, item.value, &message) == ASSENT_DECODE_NONE;
                        ASSENT_ASSERT(decoded); /* we wrote it */
                        publish(lane, item.source, &message);
                }
                assent_held_drop(&lane->kept);
        }
}

/* False when nothing more can be kept: it may act at any time, and does. */
static bool keep(struct lane *lane, const struct assent_held_item *item)
{
        int64_t now = assent_bus_monotonic_ms(lane->owner->bus);
        if (lane->kept.count == 0)
                lane->still_ms = now;
        if (assent_held_add(&lane->kept, item))
                return true;
        act(lane, now);
        return false;
}

static void keep_message(struct lane *lane, const struct assent_message *message)
{
        struct assent_coordinator *c = lane->owner;
        struct assent_held_item item = {.source = lane->stepping};
        enum assent_err err = assent_codec_encode(c->codec, message, &item.value);
        if (err)
                fail(c, err, "encoding an emission of lane %" PRId32 ": %s", lane->number, assent_err_text(err));
        else if (!keep(lane, &item))
                publish(lane, lane->stepping, message);
}

static void keep_refused(struct lane *lane, const struct assent_record *record, int type, enum assent_verdict verdict,
                         const char *why)
{
        bool copied;
        if (!to_be_told(verdict, &copied))
                return;
        const struct assent_held_item item = {.source = record->offset,
                                              .why = why,
                                              .verdict = (int)verdict,
                                              .type = type,
                                              .timestamp_ms = record->timestamp_ms,
                                              .key = record->key,
                                              .value = copied ? record->value : (struct assent_bytes){0}};
        if (!keep(lane, &item))
                tell(lane, record, type, verdict, why);
}

/* The core's emissions, in its order. */
static void emit(void *context, const struct assent_message *message)
{
        struct lane *lane = context;
        struct assent_coordinator *c = lane->owner;
        if (lane->stepping < lane->emit_from || c->failed)
                return;
        if (stands_by(lane))
                keep_message(lane, message);
        else
                publish(lane, lane->stepping, message);
}

/* A tracked send was refused for good. It leaves the tracker: what cannot be sent must not hold up the ring. */
static void refused(struct assent_coordinator *c, struct lane *lane, const struct assent_report *report)
{
        struct assent_message message;
        bool decoded = assent_codec_decode(c->peek, report->value, &message) == ASSENT_DECODE_NONE;
        ASSENT_ASSERT(decoded); /* we wrote it */
        int64_t source = assent_tracker_offset(&lane->sent, assent_tag_sequence(report->tag));
        assent_tracker_ack(&lane->sent, assent_tag_sequence(report->tag));
        if (message.type == ASSENT_COMMAND && assent_phase_is_first(message.body.command.phase)) {
                undeliverable(lane, &message, assent_err_text(report->err));
                return;
        }
        assent_log(ASSENT_LOG_ERROR, "a decision was refused; N waits, trying again", ASSENT_INT("lane", lane->number),
                   ASSENT_UUID("txn", &message.txn_id), ASSENT_TEXT("why", assent_err_text(report->err)));
        resend_later(c, report, source);
}

static void refusal_reported(struct assent_coordinator *c, const struct assent_report *report)
{
        for (struct refusal *refusal = c->refusals; refusal; refusal = refusal->next) {
                if (!refusal->sent || refusal->sequence != assent_tag_sequence(report->tag))
                        continue;
                refusal->sent = false;
                refusal->done = !report->err;
                return;
        }
}

static void delivered(void *context, const struct assent_report *report)
{
        struct assent_coordinator *c = context;
        if (report->err == ASSENT_E_KAFKA && !c->failed)
                fail(c, report->err, "the Kafka producer failed for good: %s", assent_bus_errmsg(c->bus));
        if (assent_tag_kind(report->tag) == ASSENT_TAG_UNTRACKED)
                refusal_reported(c, report);
        if (assent_tag_kind(report->tag) != ASSENT_TAG_TRACKED) {
                if (report->err)
                        assent_log(ASSENT_LOG_WARN, "record not delivered", ASSENT_INT("lane", report->lane),
                                   ASSENT_TEXT("why", assent_err_text(report->err)));
                return;
        }
        struct lane *lane = &c->lanes[assent_tag_lane(report->tag)];
        if (!report->err)
                assent_tracker_ack(&lane->sent, assent_tag_sequence(report->tag));
        else if (!c->failed)
                refused(c, lane, report);
}

/* R18: a decision is dropped only if its topic does not exist. Asked at most once in RESEND_MS and service. */
static bool topic_gone(struct assent_coordinator *c, int topic_handle, int64_t now)
{
        for (size_t i = 0; i < c->services_count; i++) {
                struct service *service = &c->services[i];
                if (service->topic != topic_handle)
                        continue;
                if (service->expires_ms <= now) {
                        char topic[ASSENT_TOPIC_SIZE_MAX];
                        int lanes = 0;
                        assent_topic_commands(c->config, assent_bytes_of(service->name), topic);
                        enum assent_err err = assent_bus_lookup(c->bus, topic, &lanes);
                        service->lanes = err == ASSENT_E_NOT_FOUND ? 0 : err ? service->lanes : lanes;
                        service->expires_ms = now + RESEND_MS;
                }
                return service->lanes == 0;
        }
        return false;
}

static void send_again(struct assent_coordinator *c, struct refusal *refusal, int64_t now)
{
        if (topic_gone(c, refusal->topic, now)) {
                assent_log(ASSENT_LOG_ERROR, "decision dropped: its topic does not exist", ASSENT_INT("lane", refusal->lane),
                           ASSENT_BYTES("txn", ((struct assent_bytes){refusal->bytes, refusal->key_size})));
                assent_count(&c->watch.undeliverable, 1);
                refusal->done = true;
                return;
        }
        const struct assent_outgoing outgoing = {
                .topic = refusal->topic,
                .lane = refusal->lane,
                .key = {refusal->bytes, refusal->key_size},
                .value = {refusal->bytes + refusal->key_size, refusal->value_size},
                .tag = assent_tag(ASSENT_TAG_UNTRACKED, refusal->lane, refusal->sequence)};
        refusal->sent = true;
        refusal->due_ms = now + RESEND_MS;
        ASSENT_CRASH_POINT(coordinator_before_resend); /* N still waits at its source: a replay emits the decision again */
        enum assent_err err = assent_send(c->bus, &outgoing);
        if (err == ASSENT_E_TOO_LARGE)
                refusal->sent = false;
        else if (err)
                fail(c, err, "sending again to lane %" PRId32 ": %s", refusal->lane, assent_bus_errmsg(c->bus));
}

/* Reports come while this sends: they mark, and what is marked goes here. */
static void send_waiting(struct assent_coordinator *c, int64_t now)
{
        while (c->cancels && !c->failed) {
                struct cancel *cancel = c->cancels;
                c->cancels = cancel->next;
                ASSENT_CRASH_POINT(coordinator_before_cancel); /* the haste is lost: the transaction ends by votes or by time */
                append_control(c, cancel->lane, ASSENT_CANCEL, &cancel->txn_id, cancel->reason);
                free(cancel);
        }
        for (struct refusal *refusal = c->refusals; refusal && !c->failed; refusal = refusal->next)
                if (!refusal->sent && !refusal->done && refusal->due_ms <= now)
                        send_again(c, refusal, now);
        for (struct refusal **link = &c->refusals; *link;) {
                struct refusal *refusal = *link;
                if (!refusal->done) {
                        link = &refusal->next;
                        continue;
                }
                *link = refusal->next;
                c->refusals_count--;
                free(refusal);
        }
}

/* ---- a lane comes and goes ---- */

static void trace(void *context, const struct assent_trace *t)
{
        struct lane *lane = context;
        struct assent_coordinator *c = lane->owner;
        if (assent_log_enabled(ASSENT_LOG_DEBUG)) {
                char text[512];
                assent_narrate(t, t->tau_ms, text, sizeof text);
                assent_log(ASSENT_LOG_DEBUG, "step", ASSENT_INT("lane", lane->number), ASSENT_INT("offset", t->offset),
                           ASSENT_UUID("txn", &t->txn_id), ASSENT_TEXT("story", text));
        }
        char why[1200];
        if (t->kind == ASSENT_T_SETTINGS &&
            !assent_settings_agree(&c->settings, assent_core_settings(lane->core), why, sizeof why))
                fail(c, ASSENT_E_SETTINGS, "lane %" PRId32 " of %s: %s", lane->number, c->inbox, why);
        if (lane->stepping < lane->emit_from)
                return;
        if (t->kind == ASSENT_T_DECIDED && !stands_by(lane))
                assent_coordinator_decided(&c->watch, t);
        if (t->kind != ASSENT_T_ACCEPTED)
                return;
        struct assent_core_counts counts;
        assent_core_counts(lane->core, &counts);
        uint64_t in_flight = counts.undecided + counts.decided;
        if (in_flight > c->in_flight_max)
                fail(c, ASSENT_E_MEMORY,
                     "lane %" PRId32 " of %s has %" PRIu64 " transactions in flight; raise assent.in_flight_max (now %" PRIu64
                     ") on every coordinator, or find out why participants do not answer",
                     lane->number, c->inbox, in_flight, c->in_flight_max);
        else if (in_flight > c->in_flight_soft && !stands_by(lane))
                cancel_later(c, lane->number, &t->txn_id, "OVERLOAD", &c->watch.overload);
}

static enum assent_err lane_begin(struct lane *lane, int64_t start, int64_t tau_ms, const struct assent_settings *settings)
{
        struct assent_coordinator *c = lane->owner;
        assent_core_close(lane->core);
        const struct assent_core_options options = {
                .lane = lane->number,
                .tau_ms = tau_ms,
                .floor_ms = tau_ms == ASSENT_TIME_NONE ? ASSENT_TIME_NONE : tau_ms + c->settings.skew_ms,
                .settings = settings,
                .memory_max = (size_t)assent_config_int(c->config, "assent.memory_bytes_max"),
                .emit = emit,
                .trace = trace,
                .context = lane,
        };
        lane->core = assent_core_open(&options);
        if (!lane->core)
                return fail(c, ASSENT_E_MEMORY, "cannot reserve %zu bytes for lane %" PRId32 "; lower assent.memory_bytes_max",
                            options.memory_max, lane->number);
        lane->next = lane->emit_from = start;
        lane->proving = false;
        assent_held_free(&lane->kept);
        lane->kept.bytes_max = HELD_BYTES_MAX;
        lane->acting = false;
        lane->samples[0] = (struct sample){.offset = start, .tau_ms = tau_ms};
        lane->samples_count = 1;
        return ASSENT_OK;
}

/* R13: at N the state must be the one that was committed. */
static enum assent_err prove(struct lane *lane)
{
        struct assent_coordinator *c = lane->owner;
        uint64_t digest = assent_core_digest(lane->core);
        lane->proving = false;
        int64_t took = assent_bus_monotonic_ms(c->bus) - lane->taken_ms;
        assent_durations_add(&c->watch.recovery, 1000 * took);
        if (digest == lane->proof) {
                assent_log(ASSENT_LOG_INFO, "takeover proved", ASSENT_INT("lane", lane->number),
                           ASSENT_INT("offset", lane->emit_from),
                           ASSENT_INT("replayed", lane->emit_from - lane->samples[0].offset), ASSENT_INT("ms", took));
                ASSENT_CRASH_POINT(coordinator_proved); /* nothing emitted yet: the next owner replays and proves the same */
                return ASSENT_OK;
        }
        struct assent_lane_list list;
        const char *override = assent_config_get(c->config, "assent.takeover_override");
        if (*override && !assent_lane_list_parse(override, "", c->lanes_count, &list)) {
                for (size_t i = 0; i < list.count; i++) {
                        if (list.lanes[i] != lane->number)
                                continue;
                        assent_log(ASSENT_LOG_ERROR, "takeover NOT proved, overridden by assent.takeover_override",
                                   ASSENT_INT("lane", lane->number), ASSENT_INT("offset", lane->emit_from));
                        return ASSENT_OK;
                }
        }
        return fail(c, ASSENT_E_DIGEST,
                    "lane %" PRId32 " of %s: replayed from offset %" PRId64 " to %" PRId64 ", the state has digest %016" PRIx64
                    ", the checkpoint says %016" PRIx64
                    ". The log or the rules are not what they were. Compare with an untouched replica of the topic; to go on "
                    "all the same, name the lane: assent.takeover_override=%" PRId32,
                    lane->number, c->inbox, lane->samples[0].offset, lane->emit_from, digest, lane->proof, lane->number);
}

/* The log must reach from the checkpoint's start to its N; an election may take a moment to show the end (R13). */
static enum assent_err check_log(struct lane *lane, int64_t start, int64_t next)
{
        struct assent_coordinator *c = lane->owner;
        int64_t low = 0, high = 0;
        for (int tries = 0;; tries++) {
                enum assent_err err = assent_bus_watermarks(c->bus, c->inbox, lane->number, &low, &high);
                if (!err && high >= next)
                        break;
                if (tries >= ELECTION_TRIES)
                        return err ? fail(c, err, "%s", assent_bus_errmsg(c->bus))
                                   : fail(c, ASSENT_E_CHECKPOINT,
                                          "lane %" PRId32 " of %s ends at offset %" PRId64
                                          ", but a coordinator has acted on records up to %" PRId64
                                          ": the log has lost acknowledged records. Restore the partition from a replica; "
                                          "participants that already committed say so in their databases",
                                          lane->number, c->inbox, high, next);
                usleep(ELECTION_WAIT_MS * 1000);
        }
        if (low > start)
                return fail(c, ASSENT_E_CHECKPOINT,
                            "lane %" PRId32 " of %s begins at offset %" PRId64 ", but the replay must begin at %" PRId64
                            ": retention has removed records that are still needed. Move to a new assent.prefix; raise "
                            "retention.ms above the longest coordinator outage",
                            lane->number, c->inbox, low, start);
        return ASSENT_OK;
}

/* A lane that this owner kept: go on from where it stands, silently up to what another owner has done meanwhile. False: it must
 * be replayed, or c->failed says why not. A replay that was not proved is nothing to go on from: the group may stand at an
 * older checkpoint by now. */
static bool lane_resume(struct lane *lane, const struct assent_checkpoint *checkpoint)
{
        struct assent_coordinator *c = lane->owner;
        int64_t low, high, now = assent_bus_monotonic_ms(c->bus);
        if (!lane->core || lane->proving || now - lane->revoked_ms > c->settings.window_ms ||
            assent_bus_watermarks(c->bus, c->inbox, lane->number, &low, &high) || low > lane->next ||
            (high < lane->next && check_log(lane, lane->next, lane->next)))
                return false;
        if (checkpoint && checkpoint->next > lane->next) {
                lane->emit_from = checkpoint->next;
                lane->proof = checkpoint->digest;
                lane->proving = true;
        }
        assent_log(ASSENT_LOG_INFO, "lane taken again", ASSENT_INT("lane", lane->number), ASSENT_INT("offset", lane->next));
        return true;
}

static enum assent_err lane_replay(struct lane *lane, const struct assent_checkpoint *checkpoint)
{
        struct assent_coordinator *c = lane->owner;
        char why[1200];
        if (checkpoint->has_settings && !assent_settings_agree(&c->settings, &checkpoint->settings, why, sizeof why))
                return fail(c, ASSENT_E_SETTINGS, "checkpoint of lane %" PRId32 " of %s: %s", lane->number, c->inbox, why);
        enum assent_err err = check_log(lane, checkpoint->start, checkpoint->next);
        /* From the log's beginning the lane's own SETTINGS record counts again, for begins before it were rejected (R17). */
        bool given = checkpoint->has_settings && checkpoint->tau_ms != ASSENT_TIME_NONE;
        if (!err)
                err = lane_begin(lane, checkpoint->start, checkpoint->tau_ms, given ? &checkpoint->settings : NULL);
        if (err)
                return err;
        lane->emit_from = lane->committed_next = checkpoint->next;
        lane->proof = checkpoint->digest;
        lane->proving = true;
        assent_log(ASSENT_LOG_INFO, "lane taken, replaying", ASSENT_INT("lane", lane->number),
                   ASSENT_INT("from", checkpoint->start), ASSENT_INT("to", checkpoint->next));
        return checkpoint->next == checkpoint->start ? prove(lane) : ASSENT_OK;
}

static enum assent_err lane_assigned(void *context, int32_t number, const struct assent_committed *committed, int64_t *start)
{
        struct assent_coordinator *c = context;
        ASSENT_ASSERT(number >= 0 && number < c->lanes_count);
        struct lane *lane = &c->lanes[number];
        struct assent_checkpoint checkpoint;
        bool has_checkpoint = committed->offset >= 0;
        if (has_checkpoint && !assent_checkpoint_parse(committed->metadata, committed->offset, &checkpoint))
                return fail(c, ASSENT_E_CHECKPOINT,
                            "the group's offset %" PRId64 " of lane %" PRId32 " of %s carries no checkpoint of ours: an "
                            "offset-reset tool or another build was here. If the log still begins at offset 0, delete the "
                            "group's offset (kafka-consumer-groups --delete-offsets) and it is replayed from there; else "
                            "move to a new assent.prefix",
                            committed->offset, number, c->inbox);
        enum assent_err err = ASSENT_OK;
        lane->taken_ms = lane->last_record_ms = assent_bus_monotonic_ms(c->bus);
        if (!lane_resume(lane, has_checkpoint ? &checkpoint : NULL)) {
                if (c->failed) {
                        err = c->failed;
                } else if (has_checkpoint) {
                        err = lane_replay(lane, &checkpoint);
                } else {
                        err = check_log(lane, 0, 0);
                        if (!err)
                                err = lane_begin(lane, 0, ASSENT_TIME_NONE, NULL);
                        lane->committed_next = -1;
                        if (!err)
                                assent_log(ASSENT_LOG_INFO, "lane taken, no checkpoint", ASSENT_INT("lane", number));
                }
        }
        c->flush_failed = false;
        lane->owner_next = has_checkpoint ? checkpoint.next : -1;
        lane->held = !err;
        lane->has_candidate = false;
        lane->tick_after_ms = 0;
        ASSENT_CRASH_POINT(coordinator_lane_taken); /* only read so far: the next owner finds the same checkpoint */
        *start = lane->next;
        return err;
}

/* ---- checkpoints (R12) ---- */

/* Replay starts need not be exact, any earlier one is right: when the table is full every other sample goes. */
static void take_sample(struct lane *lane, int64_t offset)
{
        struct sample *last = &lane->samples[lane->samples_count - 1];
        int64_t tau = assent_core_tau(lane->core);
        if (offset <= last->offset || tau == ASSENT_TIME_NONE ||
            (last->tau_ms != ASSENT_TIME_NONE && tau - last->tau_ms < lane->owner->settings.window_ms / (SAMPLES_MAX / 4)))
                return;
        if (lane->samples_count == SAMPLES_MAX) {
                for (size_t i = 1; 2 * i < SAMPLES_MAX; i++)
                        lane->samples[i] = lane->samples[2 * i];
                lane->samples_count = SAMPLES_MAX / 2;
        }
        lane->samples[lane->samples_count++] = (struct sample){.offset = offset, .tau_ms = tau};
}

/* The last sample whose τ lies below the hold, or the one this owner began with; what lies before it is not needed again. */
static const struct sample *replay_start(struct lane *lane)
{
        int64_t hold = assent_core_hold(lane->core);
        size_t best = 0;
        while (hold != ASSENT_TIME_NONE && best + 1 < lane->samples_count && lane->samples[best + 1].tau_ms < hold)
                best++;
        lane->samples_count -= best;
        memmove(lane->samples, lane->samples + best, lane->samples_count * sizeof *lane->samples);
        return &lane->samples[0];
}

static void take_candidate(struct lane *lane, int64_t now)
{
        const struct assent_settings *settings = assent_core_settings(lane->core);
        const struct sample *start = replay_start(lane);
        lane->candidate = (struct assent_checkpoint){.start = start->offset,
                                                     .tau_ms = start->tau_ms,
                                                     .next = lane->next,
                                                     .digest = assent_core_digest(lane->core),
                                                     .has_settings = settings != NULL};
        if (settings)
                lane->candidate.settings = *settings;
        lane->has_candidate = true;
        lane->candidate_ms = now;
}

/* Everything emitted before N is acknowledged: a crash from here on replays from L and emits from N. */
static void commit_candidate(struct lane *lane, int64_t now, bool wait)
{
        struct assent_coordinator *c = lane->owner;
        if (assent_tracker_low(&lane->sent, lane->candidate.next) < lane->candidate.next)
                return;
        for (const struct refusal *refusal = c->refusals; refusal; refusal = refusal->next)
                if (!refusal->done && refusal->lane == lane->number && refusal->source < lane->candidate.next)
                        return; /* R18: N waits */
        char text[ASSENT_CHECKPOINT_SIZE_MAX];
        size_t size = assent_checkpoint_format(&lane->candidate, text);
        ASSENT_CRASH_POINT(coordinator_before_checkpoint); /* the older one is replayed: more repeats, nothing else */
        enum assent_err err = assent_bus_commit(c->bus, c->consumer, lane->number, lane->candidate.start,
                                                (struct assent_bytes){text, size}, wait);
        ASSENT_CRASH_POINT(coordinator_after_checkpoint); /* handed to the client, there or not: either one is right */
        lane->has_candidate = false;
        if (err)
                return; /* a rebalance, or fenced: any committed checkpoint is right, the next one will do */
        lane->committed_next = lane->candidate.next;
        lane->committed_ms = now;
}

/* A standby that acts commits too, more seldom: the brokers refuse it while the group has a living member. */
static void checkpoint_lane(struct lane *lane, int64_t now)
{
        struct assent_coordinator *c = lane->owner;
        if (c->failed || stands_by(lane)) /* what act could not publish is nobody's: N must stay below it */
                return;
        bool moved = lane->next != lane->committed_next && lane->next > 0;
        bool idle = lane->committed_next >= 0 && now - lane->committed_ms >= c->checkpoint_idle_ms;
        if (!lane->has_candidate && lane->next >= lane->emit_from && !lane->proving && (moved || idle) &&
            now - lane->candidate_ms >= (c->standby ? STANDBY_COMMIT_MS : c->checkpoint_ms))
                take_candidate(lane, now);
        if (lane->has_candidate)
                commit_candidate(lane, now, c->standby);
}

static void lane_revoked(void *context, int32_t number, bool lost)
{
        struct assent_coordinator *c = context;
        struct lane *lane = &c->lanes[number];
        if (!lane->held)
                return;
        lane->revoked_ms = assent_bus_monotonic_ms(c->bus);
        if (!lost && !c->failed && !lane->proving && lane->next >= lane->emit_from && !stands_by(lane)) {
                bool pending = assent_tracker_low(&lane->sent, INT64_MAX) != INT64_MAX;
                if (pending && !c->flush_failed)
                        c->flush_failed = assent_bus_flush(c->bus, FLUSH_MS) != ASSENT_OK;
                if (lane->next != lane->committed_next && lane->next > 0) {
                        ASSENT_CRASH_POINT(coordinator_before_last_checkpoint); /* the next owner replays from the older one */
                        take_candidate(lane, lane->revoked_ms);
                        commit_candidate(lane, lane->revoked_ms, true);
                }
        }
        lane->held = false;
        if (lost) {
                c->shared = false;
                assent_watch_set(&c->watch.common.shared, 0);
        }
        assent_log(ASSENT_LOG_INFO, "lane gone", ASSENT_INT("lane", number), ASSENT_INT("offset", lane->next),
                   ASSENT_INT("lost", lost));
}

/* Also of a member that got no lane: there are more members than lanes. */
static void lanes_shared(void *context)
{
        struct assent_coordinator *c = context;
        c->shared = true;
}

/* ---- ticks (R14) ---- */

/* Milliseconds until the lane's next deadline by this owner's estimate of log time; INT64_MAX without one. A standby leaves the
 * owner time to say it. */
static int64_t deadline_in(const struct lane *lane, int64_t now)
{
        int64_t deadline;
        if (lane->next < lane->emit_from || !assent_core_deadline(lane->core, &deadline))
                return INT64_MAX;
        return deadline + 1 - assent_core_tau(lane->core) - (now - lane->last_record_ms) +
               (stands_by(lane) ? lane->owner->takeover_ms : 0);
}

/* An owner that lags must not time out what it has not read: the record in question may be the missing vote. */
static enum assent_err tick_lane(struct lane *lane, int64_t now)
{
        struct assent_coordinator *c = lane->owner;
        if (now < lane->tick_after_ms || deadline_in(lane, now) > 0)
                return ASSENT_OK;
        int64_t low, high;
        /* Foreign transactions leave markers that no reader gets: a silent lane is read to its end, whatever offsets say. */
        enum assent_err err = assent_bus_watermarks(c->bus, c->inbox, lane->number, &low, &high);
        int64_t asked_ms = assent_bus_monotonic_ms(c->bus);
        if (err || (high > lane->next && asked_ms - lane->last_record_ms < SILENCE_MS)) {
                /* While a question takes seconds to fail, most of the time is for the other lanes. */
                lane->tick_after_ms = asked_ms + TICK_BEHIND_MS + (err ? 10 * (asked_ms - now) : 0);
                return ASSENT_OK;
        }
        lane->tick_after_ms = asked_ms + TICK_RETRY_MS;
        ASSENT_CRASH_POINT(coordinator_before_tick); /* the next owner's estimate starts at τ: the deadline is noticed later */
        return append_control(c, lane->number, ASSENT_TICK, NULL, NULL);
}

/* ---- standing by (R19) ---- */

/* The owner has a newer checkpoint: what follows from records below its N stands in the topics. */
static void owner_moved(struct lane *lane, const struct assent_checkpoint *checkpoint, int64_t now)
{
        struct assent_held_item item;
        if (lane->acting)
                assent_log(ASSENT_LOG_WARN, "the owner moves again: standing by", ASSENT_INT("lane", lane->number),
                           ASSENT_INT("offset", checkpoint->next));
        lane->acting = lane->has_candidate = false;
        lane->owner_next = checkpoint->next;
        lane->still_ms = now;
        while (assent_held_first(&lane->kept, &item) && item.source < checkpoint->next)
                assent_held_drop(&lane->kept);
        if (checkpoint->next > lane->next) { /* it is ahead; there both must agree */
                lane->emit_from = checkpoint->next;
                lane->proof = checkpoint->digest;
                lane->proving = true;
        }
}

/* Whether it matters where the owner stands. */
static bool must_look(const struct lane *lane)
{
        return lane->kept.count > 0 || lane->acting;
}

static void look(struct lane *lane, int64_t now)
{
        struct assent_coordinator *c = lane->owner;
        struct assent_committed committed;
        struct assent_checkpoint checkpoint;
        enum assent_err err = assent_bus_committed(c->bus, c->consumer, lane->number, &committed);
        int64_t asked_ms = assent_bus_monotonic_ms(c->bus);
        /* While a question takes seconds to fail, most of the time is for the other lanes. */
        lane->look_ms = asked_ms + c->takeover_ms / LOOKS + (err ? 10 * (asked_ms - now) : 0);
        if (err)
                return; /* nobody can tell whether it stands still */
        now = asked_ms;
        if (committed.offset >= 0 && assent_checkpoint_parse(committed.metadata, committed.offset, &checkpoint) &&
            checkpoint.next != lane->owner_next && !(lane->acting && checkpoint.next == lane->committed_next))
                owner_moved(lane, &checkpoint, now);
        else if (!lane->acting && now - lane->still_ms >= c->takeover_ms)
                act(lane, now);
}

/* ---- the loop ---- */

static enum assent_err apply(struct lane *lane, const struct assent_record *record)
{
        struct assent_coordinator *c = lane->owner;
        enum assent_err err = ASSENT_OK;
        if (lane->proving && record->offset >= lane->emit_from)
                err = prove(lane);
        if (err || record->offset < lane->next)
                return err;
        take_sample(lane, record->offset);

        struct assent_message message;
        enum assent_decode_fault fault = assent_codec_decode(c->codec, record->value, &message);
        int64_t timestamp_ms = record->append_time || c->embedded ? record->timestamp_ms : ASSENT_TIME_NONE; /* R1 */
        enum assent_verdict verdict;
        lane->stepping = record->offset;
        if (!assent_core_step(lane->core, record->offset, timestamp_ms, fault ? NULL : &message, &verdict))
                return fail(c, ASSENT_E_MEMORY,
                            "lane %" PRId32 " of %s: the state no longer fits; raise assent.memory_bytes_max (now %" PRId64
                            ") or lower assent.in_flight_soft",
                            lane->number, c->inbox, assent_config_int(c->config, "assent.memory_bytes_max"));
        if (record->offset < lane->emit_from)
                ASSENT_CRASH_POINT(coordinator_replaying); /* nothing below N is emitted: replayed once more */
        ASSENT_CRASH_POINT(coordinator_after_step); /* emissions queued, perhaps sent, no checkpoint: they are emitted again */
        if (c->failed)
                return c->failed;
        if (verdict == ASSENT_V_MALFORMED && !fault && message.type == ASSENT_CONTROL &&
            message.body.control.kind == ASSENT_SETTINGS && !assent_core_settings(lane->core))
                return fail(c, ASSENT_E_SETTINGS, /* R17: another build's rules; an old one must not evaluate them */
                            "lane %" PRId32 " of %s, offset %" PRId64 ": the SETTINGS record \"%.*s\" is not one that this "
                            "build (rules=%d schema=%d) can follow; use the build that the prefix was made with",
                            lane->number, c->inbox, record->offset, (int)message.body.control.settings.size,
                            (const char *)message.body.control.settings.data, ASSENT_RULES_VERSION, ASSENT_SCHEMA_VERSION);
        if (record->offset >= lane->emit_from) {
                const char *why = fault ? assent_decode_fault_name(fault) : assent_verdict_name(verdict);
                int type = fault ? 0 : (int)message.type;
                if (stands_by(lane))
                        keep_refused(lane, record, type, verdict, why);
                else
                        tell(lane, record, type, verdict, why);
        }
        lane->next = record->offset + 1;
        lane->last_record_ms = assent_bus_monotonic_ms(c->bus);
        return lane->proving && lane->next == lane->emit_from ? prove(lane) : ASSENT_OK;
}

static int wait_ms(const struct assent_coordinator *c, int timeout_ms)
{
        int64_t wait = timeout_ms, now = assent_bus_monotonic_ms(c->bus);
        if (c->cancels)
                wait = 0;
        if (c->refusals && wait > RESEND_MS / 10)
                wait = RESEND_MS / 10;
        for (int32_t i = 0; i < c->lanes_count; i++) {
                const struct lane *lane = &c->lanes[i];
                if (!lane->held)
                        continue;
                if (lane->next != lane->committed_next && wait > c->checkpoint_ms && !c->standby)
                        wait = c->checkpoint_ms;
                if (must_look(lane) && wait > lane->look_ms - now)
                        wait = lane->look_ms > now ? lane->look_ms - now : 0;
                int64_t tick = deadline_in(lane, now);
                if (tick < lane->tick_after_ms - now)
                        tick = lane->tick_after_ms - now;
                if (tick < wait)
                        wait = tick > 1 ? tick : 1;
        }
        return (int)wait;
}

/* What operators see. A standby's checkpoints are its own affair: the owner commits. */
static void show(struct assent_coordinator *c, int64_t now)
{
        uint64_t undecided = 0, decided = 0, acting = 0;
        if (!assent_watch_begin(&c->watch.common, now))
                return;
        for (int32_t i = 0; i < c->lanes_count; i++) {
                const struct lane *lane = &c->lanes[i];
                struct assent_core_counts counts;
                if (!lane->held)
                        continue;
                bool ready = !lane->proving && lane->next >= lane->emit_from;
                bool due = ready && !stands_by(lane);
                const struct assent_watched_lane seen = {.tau_ms = assent_core_tau(lane->core),
                                                         .heard_ms = lane->last_record_ms,
                                                         .committed = lane->committed_next > 0 ? lane->committed_next : 0,
                                                         .next = due ? lane->next : 0,
                                                         .ready = ready};
                assent_watch_lane(&c->watch.common, i, &seen);
                assent_core_counts(lane->core, &counts);
                undecided += counts.undecided;
                decided += counts.decided;
                acting += lane->acting;
        }
        assent_watch_set(&c->watch.undecided, undecided);
        assent_watch_set(&c->watch.waiting, decided);
        assent_watch_set(&c->watch.acting, acting);
        assent_watch_set(&c->watch.refusals, c->refusals_count);
        assent_watch_end(&c->watch.common);
        assent_watch_set(&c->watch.common.shared, c->shared); /* last: who has lanes to replay is not ready */
}

static enum assent_err housekeeping(struct assent_coordinator *c)
{
        int64_t now = assent_bus_monotonic_ms(c->bus);
        show(c, now);
        if (c->cancels || c->refusals)
                send_waiting(c, now);
        for (int32_t i = 0; i < c->lanes_count && !c->failed; i++) {
                struct lane *lane = &c->lanes[i];
                if (lane->held) {
                        if (must_look(lane) && lane->look_ms <= now)
                                look(lane, now);
                        checkpoint_lane(lane, now);
                        tick_lane(lane, now);
                } else if (lane->core && now - lane->revoked_ms > c->settings.window_ms) {
                        assent_core_close(lane->core); /* too old to be taken up again */
                        lane->core = NULL;
                }
        }
        return c->failed;
}

enum assent_err assent_coordinator_step(struct assent_coordinator *c, int timeout_ms)
{
        if (c->failed)
                return c->failed;
        size_t count = 0;
        enum assent_err err =
                assent_bus_consume(c->bus, c->consumer, c->records, c->batch_max, wait_ms(c, timeout_ms), &count);
        if (err)
                return c->failed ? c->failed : fail(c, err, "%s", assent_bus_errmsg(c->bus));
        for (size_t i = 0; i < count && !err; i++) {
                struct lane *lane = &c->lanes[c->records[i].lane];
                if (lane->held)
                        err = apply(lane, &c->records[i]);
        }
        return err ? err : housekeeping(c);
}

static enum assent_err take_lanes(struct assent_coordinator *c)
{
        char group[ASSENT_TOPIC_SIZE_MAX];
        assent_group_coordinator(c->config, group);
        struct assent_lane_list list;
        const char *wrong = assent_lane_list_parse(assent_config_get(c->config, "assent.lanes"),
                                                   c->embedded || c->standby ? "all" : "subscribe", c->lanes_count, &list);
        if (!wrong && c->standby && list.subscribe)
                wrong = "assent.lanes=subscribe would make a standby an owner (R19): say \"all\", or which it stands by for";
        if (wrong)
                return fail(c, ASSENT_E_CONFIG, "%s", wrong);
        const struct assent_bus_consumer_options options = {
                .topic = c->inbox,
                .group = group,
                .lanes = list.subscribe ? NULL : list.lanes,
                .lanes_count = list.count,
                .assigned = lane_assigned,
                .revoked = lane_revoked,
                .shared = lanes_shared,
                .context = c,
        };
        enum assent_err err = assent_bus_consumer_open(c->bus, &options, &c->consumer);
        if (err && !c->failed)
                fail(c, err, "%s", assent_bus_errmsg(c->bus));
        return c->failed;
}

static enum assent_err connect_bus(struct assent_coordinator *c)
{
        const struct assent_bus_options options = {.config = c->config,
                                                   .client_id = "assent-coordinator",
                                                   .delivered = delivered,
                                                   .statistics = assent_watch_statistics,
                                                   .statistics_context = &c->watch.common,
                                                   .context = c};
        enum assent_err err = assent_bus_kafka_open(&options, &c->bus);
        if (err)
                return fail(c, err, "%s", c->bus ? assent_bus_errmsg(c->bus) : assent_err_text(err));
        struct assent_topics_report report;
        err = assent_topics_check(c->bus, c->config, assent_bytes_of(NULL), &report);
        if (err)
                return fail(c, err, "%s", report.errmsg);
        c->lanes_count = (int32_t)report.lanes;
        char outcomes[ASSENT_TOPIC_SIZE_MAX], dead_letters[ASSENT_TOPIC_SIZE_MAX];
        assent_topic_inbox(c->config, c->inbox);
        assent_topic_outcomes(c->config, outcomes);
        assent_topic_dead_letters(c->inbox, dead_letters);
        c->inbox_topic = assent_bus_topic(c->bus, c->inbox);
        c->outcomes_topic = assent_bus_topic(c->bus, outcomes);
        c->dead_letters_topic = assent_bus_topic(c->bus, dead_letters);
        return ASSENT_OK;
}

static enum assent_err open_all(struct assent_coordinator *c)
{
        assent_settings_of(c->config, &c->settings);
        const char *wrong = assent_settings_wrong(&c->settings);
        if (wrong)
                return fail(c, ASSENT_E_CONFIG, "%s", wrong);
        c->embedded = strcmp(assent_config_get(c->config, "assent.broker"), "embedded") == 0;
        c->standby = assent_config_bool(c->config, "assent.standby");
        c->takeover_ms = assent_config_int(c->config, "assent.takeover_ms");
        c->batch_max = (size_t)assent_config_int(c->config, "assent.batch_max");
        c->checkpoint_ms = assent_config_int(c->config, "assent.checkpoint_ms");
        c->checkpoint_idle_ms = assent_config_int(c->config, "assent.checkpoint_idle_ms");
        c->in_flight_soft = (uint64_t)assent_config_int(c->config, "assent.in_flight_soft");
        c->in_flight_max = (uint64_t)assent_config_int(c->config, "assent.in_flight_max");
        if (!assent_watch_open(&c->watch.common, "coordinator", NULL))
                return fail(c, ASSENT_E_MEMORY, "out of memory");
        enum assent_err err = connect_bus(c);
        if (err)
                return err;
        if ((uint32_t)c->lanes_count != c->settings.lanes)
                return fail(c, ASSENT_E_SETTINGS, "%s has %" PRId32 " lanes, assent.lanes_count is %" PRIu32
                            "; set assent.lanes_count to what the topics were made with", c->inbox, c->lanes_count,
                            c->settings.lanes);
        c->codec = assent_codec_open(c->settings.record_bytes_max);
        c->peek = assent_codec_open(c->settings.record_bytes_max);
        c->kept_codec = assent_codec_open(c->settings.record_bytes_max);
        c->records = calloc(c->batch_max, sizeof *c->records);
        c->lanes = calloc((size_t)c->lanes_count, sizeof *c->lanes);
        if (!c->codec || !c->peek || !c->kept_codec || !c->records || !c->lanes ||
            !assent_watch_lanes(&c->watch.common, c->lanes_count))
                return fail(c, ASSENT_E_MEMORY, "out of memory");
        for (int32_t i = 0; i < c->lanes_count; i++) {
                c->lanes[i].owner = c;
                c->lanes[i].number = i;
        }
        return take_lanes(c);
}

enum assent_err assent_coordinator_open(const struct assent_coordinator_options *options, struct assent_coordinator **out)
{
        struct assent_coordinator *c = calloc(1, sizeof *c);
        *out = c;
        if (!c)
                return ASSENT_E_MEMORY;
        c->config = options->config;
        if (options->struct_size != sizeof *options || !options->config)
                return fail(c, ASSENT_E_ARGUMENT, "options were not made with ASSENT_COORDINATOR_OPTIONS_INIT, or lack config");
        return open_all(c);
}

enum assent_err assent_coordinator_run(struct assent_coordinator *c)
{
        enum assent_err err = c->failed;
        while (!err && !c->stopping)
                err = assent_coordinator_step(c, 100);
        return err;
}

void assent_coordinator_stop(struct assent_coordinator *c)
{
        c->stopping = 1;
        assent_watch_set(&c->watch.common.stopping, 1);
}

void assent_coordinator_source(struct assent_coordinator *c, struct assent_observer_source *source)
{
        *source = (struct assent_observer_source){.name = c->watch.common.name,
                                               .metrics = assent_coordinator_metrics,
                                               .ready = assent_watch_ready,
                                               .context = &c->watch};
}

const char *assent_coordinator_errmsg(const struct assent_coordinator *c)
{
        return c->errmsg;
}

/* What came of every record read since the start, over all lanes. */
static void log_counts(const struct assent_coordinator *c)
{
        struct assent_field fields[ASSENT_VERDICT_COUNT + 4];
        struct assent_core_counts sum = {0};
        size_t count = 0;
        for (int32_t i = 0; i < c->lanes_count; i++) {
                struct assent_core_counts counts;
                if (!c->lanes[i].core)
                        continue;
                assent_core_counts(c->lanes[i].core, &counts);
                for (int v = 0; v < ASSENT_VERDICT_COUNT; v++)
                        sum.verdicts[v] += counts.verdicts[v];
                sum.committed += counts.committed;
                sum.aborted += counts.aborted;
                sum.timed_out += counts.timed_out;
        }
        for (int v = 0; v < ASSENT_VERDICT_COUNT; v++)
                fields[count++] = ASSENT_INT(assent_verdict_name((enum assent_verdict)v), sum.verdicts[v]);
        fields[count++] = ASSENT_INT("committed", sum.committed);
        fields[count++] = ASSENT_INT("aborted", sum.aborted);
        fields[count++] = ASSENT_INT("timed_out", sum.timed_out);
        fields[count++] = ASSENT_INT("undeliverable", c->watch.undeliverable);
        assent_log_write(ASSENT_LOG_INFO, "stopped", fields, count);
}

void assent_coordinator_close(struct assent_coordinator *c)
{
        if (!c)
                return;
        if (c->bus)
                assent_bus_consumer_close(c->bus, c->consumer); /* revokes: flushes and commits last checkpoints */
        if (c->lanes && assent_log_enabled(ASSENT_LOG_INFO))
                log_counts(c);
        for (int32_t i = 0; c->lanes && i < c->lanes_count; i++)
                assent_core_close(c->lanes[i].core);
        assent_bus_close(c->bus);
        for (int32_t i = 0; c->lanes && i < c->lanes_count; i++) {
                assent_tracker_free(&c->lanes[i].sent);
                assent_held_free(&c->lanes[i].kept);
        }
        while (c->cancels) {
                struct cancel *cancel = c->cancels;
                c->cancels = cancel->next;
                free(cancel);
        }
        while (c->refusals) {
                struct refusal *refusal = c->refusals;
                c->refusals = refusal->next;
                free(refusal);
        }
        assent_codec_close(c->codec);
        assent_codec_close(c->peek);
        assent_codec_close(c->kept_codec);
        free(c->records);
        free(c->lanes);
        assent_watch_close(&c->watch.common);
        free(c);
}

static void stop_object(void *object)
{
        assent_coordinator_stop(object);
}

static enum assent_err turn(void *object)
{
        return assent_coordinator_step(object, 100);
}

int assent_coordinator_main(int argc, char **argv)
{
        struct assent_config *config;
        if (assent_config_open(&config))
                return 1;
        int first;
        int status = assent_config_arguments(config, argc, argv, "[OPTION]…",
                                             "Decides transactions: evaluates the lanes of <prefix>.inbox.", NULL, &first);
        if (status < 0) {
                struct assent_coordinator_options options = ASSENT_COORDINATOR_OPTIONS_INIT;
                options.config = config;
                struct assent_coordinator *c = NULL;
                struct assent_observer *observer;
                struct assent_observer_source source = {0};
                assent_service_signals(NULL, NULL);
                enum assent_err err = assent_observer_open(config, program_invocation_short_name, &observer);
                if (!err)
                        err = assent_coordinator_open(&options, &c);
                if (!err) {
                        assent_coordinator_source(c, &source);
                        assent_observer_add(observer, &source);
                        assent_service_signals(stop_object, c);
                        assent_log(ASSENT_LOG_INFO, "ready", ASSENT_TEXT("inbox", c->inbox),
                                   ASSENT_INT("lanes", c->lanes_count));
                        err = assent_service_run(&source, turn, c, &c->stopping);
                }
                if (err)
                        assent_service_failed(err, c ? assent_coordinator_errmsg(c) : assent_observer_errmsg(observer));
                assent_service_signals(NULL, NULL);
                assent_observer_remove(observer, source.context);
                assent_coordinator_close(c);
                assent_observer_close(observer);
                status = err ? 1 : 0;
        }
        assent_config_close(config);
        return status;
}
