#include "runtime/watch.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/panic.h"
#include "core/ids.h"

#define SERVICE_SHOWN_MAX 200

static void set_time(int64_t *gauge, int64_t value)
{
        __atomic_store_n(gauge, value, __ATOMIC_RELAXED);
}

static int64_t time_of(const int64_t *gauge)
{
        return __atomic_load_n(gauge, __ATOMIC_RELAXED);
}

static double counted(const uint64_t *counter)
{
        return (double)assent_counted(counter);
}

/* The words of the rules as labels have them. */
static const char *lower(char memory[32], const char *word)
{
        size_t i = 0;
        for (; word[i] && i < 31; i++)
                memory[i] = (char)tolower((unsigned char)word[i]);
        memory[i] = '\0';
        return memory;
}

bool assent_watch_open(struct assent_watch *watch, const char *role, const char *service)
{
        char name[SERVICE_SHOWN_MAX + 32], shown[SERVICE_SHOWN_MAX + 1], labels[ASSENT_LABELS_SIZE_MAX];
        snprintf(shown, sizeof shown, "%s", service ? service : role);
        snprintf(name, sizeof name, "%s%s%s", role, service ? " " : "", service ? shown : "");
        watch->name = strdup(name);
        watch->labels = strdup(assent_labels(labels, "", "service", shown, NULL));
        watch->statistics = assent_statistics_open();
        return watch->name && watch->labels && watch->statistics;
}

bool assent_watch_lanes(struct assent_watch *watch, int32_t count)
{
        watch->lanes = calloc((size_t)count, sizeof *watch->lanes);
        watch->lanes_count = watch->lanes ? count : 0;
        return watch->lanes;
}

void assent_watch_close(struct assent_watch *watch)
{
        free(watch->name);
        free(watch->labels);
        assent_statistics_close(watch->statistics);
        free(watch->lanes);
}

void assent_watch_statistics(void *context, bool consumer, char *json)
{
        struct assent_watch *watch = context;
        assent_statistics_put(watch->statistics, consumer, json);
}

/* ---- gauges ---- */

bool assent_watch_begin(struct assent_watch *watch, int64_t now_ms)
{
        if (now_ms < watch->next_ms)
                return false;
        watch->next_ms = now_ms + ASSENT_WATCH_MS;
        watch->now_ms = now_ms;
        watch->wall_ms = assent_clock_wall_ms();
        watch->oldest_ms = 0;
        watch->ready_now = watch->recovering_now = 0;
        return true;
}

void assent_watch_lane(struct assent_watch *watch, int32_t number, const struct assent_watched_lane *seen)
{
        struct assent_watch_lane *lane = &watch->lanes[number];
        lane->seen = true;
        *(seen->ready ? &watch->ready_now : &watch->recovering_now) += 1;
        if (seen->tau_ms != INT64_MIN)
                set_time(&lane->behind_ms, watch->wall_ms - (watch->now_ms - seen->heard_ms) - seen->tau_ms);
        assent_watch_set(&lane->heard, seen->tau_ms != INT64_MIN);
        if (!lane->since_ms || seen->committed != lane->committed || seen->next <= seen->committed) {
                lane->committed = seen->committed;
                lane->since_ms = watch->now_ms;
        } else if (!watch->oldest_ms || lane->since_ms < watch->oldest_ms) {
                watch->oldest_ms = lane->since_ms;
        }
}

void assent_watch_end(struct assent_watch *watch)
{
        for (int32_t i = 0; i < watch->lanes_count; i++) {
                assent_watch_set(&watch->lanes[i].held, watch->lanes[i].seen);
                watch->lanes[i].seen = false;
        }
        assent_watch_set(&watch->ready, watch->ready_now);
        assent_watch_set(&watch->recovering, watch->recovering_now);
        set_time(&watch->uncovered_since_ms, watch->oldest_ms);
}

/* ---- the listener's side ---- */

/* Families of one sample, whose labels are the watch's. */
static void expose_count(const struct assent_watch *watch, struct assent_exposition *out, const char *name, const char *help,
                         const uint64_t *counter)
{
        assent_expose_one(out, name, ASSENT_COUNTER, help, watch->labels, counted(counter));
}

static void expose_gauge(const struct assent_watch *watch, struct assent_exposition *out, const char *name, const char *help,
                         double value)
{
        assent_expose_one(out, name, ASSENT_GAUGE, help, watch->labels, value);
}

static void labelled(const struct assent_watch *watch, struct assent_exposition *out, const char *name, const char *value,
                     double number)
{
        char memory[ASSENT_LABELS_SIZE_MAX];
        assent_expose_value(out, assent_labels(memory, watch->labels, name, value, NULL), number);
}

void assent_watch_expose(const struct assent_watch *watch, struct assent_exposition *out)
{
        assent_expose(out, "assent_lanes", ASSENT_GAUGE, "Lanes held: ready, or recovering (replayed, or resent).");
        labelled(watch, out, "state", "ready", counted(&watch->ready));
        labelled(watch, out, "state", "recovering", counted(&watch->recovering));
        assent_expose(out, "assent_lane_log_time_lag_seconds", ASSENT_GAUGE,
                      "How far log time was behind this machine's clock when the lane's newest record was handled.");
        for (int32_t i = 0; i < watch->lanes_count; i++) {
                char number[16];
                snprintf(number, sizeof number, "%" PRId32, i);
                if (assent_counted(&watch->lanes[i].held) && assent_counted(&watch->lanes[i].heard))
                        labelled(watch, out, "lane", number, (double)time_of(&watch->lanes[i].behind_ms) / 1e3);
        }
        int64_t since_ms = time_of(&watch->uncovered_since_ms);
        expose_gauge(watch, out, "assent_checkpoint_age_seconds",
                     "How long a lane has had work that its group's offset does not cover, without that moving; 0: none has.",
                     since_ms ? (double)(assent_clock_ms() - since_ms) / 1e3 : 0);
        expose_count(watch, out, "assent_dlt_messages_total", "Records copied to a dead-letter topic.", &watch->dead_letters);
        assent_statistics_expose(watch->statistics, watch->labels, out);
}

bool assent_watch_ready(void *context, char why[ASSENT_READY_SIZE_MAX])
{
        const struct assent_watch *watch = context;
        uint64_t recovering = assent_counted(&watch->recovering);
        bool none = !recovering && !assent_counted(&watch->ready) && !assent_counted(&watch->shared);
        if (assent_counted(&watch->failed))
                snprintf(why, ASSENT_READY_SIZE_MAX, "failed; the log says why");
        else if (assent_counted(&watch->stopping))
                snprintf(why, ASSENT_READY_SIZE_MAX, "stopping");
        else if (assent_counted(&watch->unwritable))
                snprintf(why, ASSENT_READY_SIZE_MAX, "store not writable: its disk is full or read-only");
        else if (recovering)
                snprintf(why, ASSENT_READY_SIZE_MAX, "%" PRIu64 " lanes are replayed or resent", recovering);
        else if (none)
                snprintf(why, ASSENT_READY_SIZE_MAX, "no lane was taken yet");
        else
                return true;
        return false;
}

/* ---- the coordinator's ---- */

enum { COMMITTED, ABORTED, TIMED_OUT };

void assent_coordinator_decided(struct assent_coordinator_watch *watch, const struct assent_trace *trace)
{
        static const char timeout[] = "TIMEOUT"; /* R8's reason */
        bool committed = trace->outcome == ASSENT_COMMITTED;
        bool timed_out = !committed && trace->reason.size == sizeof timeout - 1 &&
                         memcmp(trace->reason.data, timeout, trace->reason.size) == 0;
        int outcome = committed ? COMMITTED : timed_out ? TIMED_OUT : ABORTED;
        assent_count(&watch->decided[trace->protocol == ASSENT_3PC][outcome], 1);
        assent_durations_add(committed ? &watch->committed : &watch->aborted,
                             1000 * (trace->tau_ms - assent_txn_id_birth_ms(&trace->txn_id)));
}

static void expose_transactions(const struct assent_coordinator_watch *watch, struct assent_exposition *out)
{
        static const char *const outcomes[] = {[COMMITTED] = "committed", [ABORTED] = "aborted", [TIMED_OUT] = "timed_out"};
        const struct assent_watch *common = &watch->common;
        char memory[ASSENT_LABELS_SIZE_MAX];
        assent_expose(out, "assent_transactions_total", ASSENT_COUNTER, "Transactions decided.");
        for (int protocol = 0; protocol < 2; protocol++)
                for (int outcome = COMMITTED; outcome <= TIMED_OUT; outcome++)
                        assent_expose_value(out,
                                            assent_labels(memory, common->labels, "protocol", protocol ? "3pc" : "2pc",
                                                          "outcome", outcomes[outcome], NULL),
                                            counted(&watch->decided[protocol][outcome]));
        assent_expose(out, "assent_transaction_duration_seconds", ASSENT_HISTOGRAM,
                      "From a transaction's birth, by its client's clock, to the log time of its decision.");
        assent_expose_durations(out, assent_labels(memory, common->labels, "outcome", "committed", NULL), &watch->committed);
        assent_expose_durations(out, assent_labels(memory, common->labels, "outcome", "aborted", NULL), &watch->aborted);
        assent_expose(out, "assent_transactions_in_flight", ASSENT_GAUGE,
                      "Transactions not decided, and those decided that miss acknowledgements.");
        labelled(common, out, "state", "undecided", counted(&watch->undecided));
        labelled(common, out, "state", "decided", counted(&watch->waiting));
}

/* What hardly ever happens has no sample before it does. */
static void expose_message(const struct assent_watch *watch, struct assent_exposition *out, const char *type,
                           const char *result, const uint64_t *counter)
{
        char memory[ASSENT_LABELS_SIZE_MAX], word[32];
        bool usual = strcmp(result, "APPLIED") == 0 || strcmp(result, "DUPLICATE") == 0;
        if (!usual && !assent_counted(counter))
                return;
        assent_expose(out, "assent_messages_total", ASSENT_COUNTER, "Messages read, by what was made of them.");
        assent_expose_value(out, assent_labels(memory, watch->labels, "type", type, "result", lower(word, result), NULL),
                            counted(counter));
}

void assent_coordinator_metrics(void *context, struct assent_exposition *out)
{
        static const char *const types[ASSENT_WATCH_TYPES] = {"undecodable",
                                                              [ASSENT_BEGIN] = "begin",
                                                              [ASSENT_COMMAND] = "command",
                                                              [ASSENT_REPLY] = "reply",
                                                              [ASSENT_OUTCOME] = "outcome",
                                                              [ASSENT_CONTROL] = "control"};
        const struct assent_coordinator_watch *watch = context;
        const struct assent_watch *common = &watch->common;
        expose_transactions(watch, out);
        for (int type = 0; type < ASSENT_WATCH_TYPES; type++)
                for (int verdict = 0; verdict < ASSENT_VERDICT_COUNT; verdict++)
                        expose_message(common, out, types[type], assent_verdict_name((enum assent_verdict)verdict),
                                       &watch->messages[type][verdict]);
        expose_count(common, out, "assent_undeliverable_commands_total", "Commands dropped because nobody can get them (R18).",
                     &watch->undeliverable);
        assent_expose(out, "assent_cancels_total", ASSENT_COUNTER, "Transactions that the log was asked to abort.");
        labelled(common, out, "reason", "overload", counted(&watch->overload));
        labelled(common, out, "reason", "undeliverable", counted(&watch->cancelled_undeliverable));
        expose_gauge(common, out, "assent_refused_decisions", "Decisions that the broker refused and gets again (R18).",
                     counted(&watch->refusals));
        assent_expose(out, "assent_recovery_duration_seconds", ASSENT_HISTOGRAM, "From taking a lane to the proof at N (R13).");
        assent_expose_durations(out, common->labels, &watch->recovery);
        expose_gauge(common, out, "assent_standby_acting", "Lanes that this standby acts for (R19).", counted(&watch->acting));
        assent_watch_expose(common, out);
}

/* ---- a participant's, and a consumer's ---- */

static void expose_file(const struct assent_intake_watch *watch, struct assent_exposition *out, const char *file,
                        const char *suffix)
{
        char path[4200];
        struct stat status;
        snprintf(path, sizeof path, "%s%s", watch->path, suffix);
        if (stat(path, &status) == 0)
                labelled(&watch->common, out, "file", file, (double)status.st_size);
}

static void expose_intake(const struct assent_intake_watch *watch, struct assent_exposition *out)
{
        const struct assent_watch *common = &watch->common;
        assent_expose(out, "assent_store_commit_duration_seconds", ASSENT_HISTOGRAM,
                      "Commits of the local transaction, each with its fsync.");
        assent_expose_durations(out, common->labels, &watch->commit);
        assent_expose(out, "assent_store_bytes", ASSENT_GAUGE, "Size of the database and of its write-ahead log.");
        expose_file(watch, out, "db", "");
        expose_file(watch, out, "wal", "-wal");
        expose_count(common, out, "assent_retries_total", "Times that a handler asked for RETRY.", &watch->retries);
        expose_count(common, out, "assent_outbox_sent_total", "Events of the outbox that the broker has.", &watch->outbox_sent);
        expose_count(common, out, "assent_outbox_refused_total", "Events of the outbox that the broker refused for good.",
                     &watch->outbox_refused);
        expose_gauge(common, out, "assent_outbox_rows", "Events in the outbox that the broker does not have, at most 100,000.",
                     counted(&watch->outbox_rows));
        assent_watch_expose(common, out);
}

void assent_participant_voted(struct assent_participant_watch *watch, enum assent_answer vote)
{
        ASSENT_ASSERT(vote >= ASSENT_YES && vote <= ASSENT_READ_ONLY);
        assent_count(&watch->votes[vote - ASSENT_YES], 1);
}

void assent_participant_doubts(struct assent_participant_watch *watch, uint64_t in_doubt, uint64_t parked, int64_t oldest_ms)
{
        assent_watch_set(&watch->in_doubt, in_doubt);
        assent_watch_set(&watch->parked, parked);
        set_time(&watch->oldest_ms, oldest_ms);
}

void assent_participant_metrics(const struct assent_participant_watch *watch, struct assent_exposition *out)
{
        static const char *const votes[] = {"yes", "no", "read_only"};
        const struct assent_watch *common = &watch->intake.common;
        for (int verdict = 0; verdict < ASSENT_PV_COUNT; verdict++)
                expose_message(common, out, "command",
                               assent_participant_verdict_name((enum assent_participant_verdict)verdict),
                               &watch->verdicts[verdict]);
        assent_expose(out, "assent_votes_total", ASSENT_COUNTER, "Votes given, each branch's once.");
        for (int vote = 0; vote < 3; vote++)
                labelled(common, out, "vote", votes[vote], counted(&watch->votes[vote]));
        expose_gauge(common, out, "assent_in_doubt_transactions", "Branches that voted YES and do not know the outcome.",
                     counted(&watch->in_doubt));
        expose_gauge(common, out, "assent_in_doubt_oldest_timestamp_seconds",
                     "When the oldest transaction in doubt was born, in seconds since the Unix epoch; 0: none is.",
                     (double)time_of(&watch->oldest_ms) / 1e3);
        expose_gauge(common, out, "assent_parked_branches", "Branches whose handler asked for RETRY and that wait (P9).",
                     counted(&watch->parked));
        expose_gauge(common, out, "assent_frozen_branches", "Branches frozen by a contradiction (P8).",
                     counted(&watch->frozen));
        expose_count(common, out, "assent_inquiries_total", "Questions to the log about branches in doubt (P10).",
                     &watch->inquired);
        expose_count(common, out, "assent_terminations_total", "Decisions found by evaluating the lane (P10).",
                     &watch->terminated);
        expose_intake(&watch->intake, out);
}

void assent_consumer_metrics(void *context, struct assent_exposition *out)
{
        const struct assent_consumer_watch *watch = context;
        const struct assent_watch *common = &watch->intake.common;
        expose_message(common, out, "record", "APPLIED", &watch->handled);
        expose_message(common, out, "record", "DUPLICATE", &watch->duplicates);
        expose_message(common, out, "record", "CONFLICT", &watch->conflicts);
        expose_message(common, out, "record", "NO_MESSAGE_ID", &watch->without_id);
        expose_intake(&watch->intake, out);
}
