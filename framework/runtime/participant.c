/* participant.c: a participant's loop around the pure core: decode → judge → handler → store → publish; and what is due by
 * time: parked messages (P9), branches in doubt (P10), forgetting (P12). */
#include <assent/participant.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <assent/log.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/panic.h"
#include "codec/codec.h"
#include "core/ids.h"
#include "core/participant.h"
#include "core/settings.h"
#include "runtime/intake.h"
#include "runtime/lanes.h"
#include "runtime/open_branches.h"
#include "runtime/service.h"
#include "runtime/settings.h"
#include "runtime/terminate.h"
#include "runtime/watch.h"
#include "runtime/work.h"

#define HOUSEKEEPING_MS    50
#define OPEN_FROM_MS       1000  /* how often each lane's least open branch is looked up anew */
#define FORGET_ROWS_MAX    5000  /* rows looked at in one turn */
#define FORGET_PASS_MS     10000 /* between two passes over the dedup log */
#define OPEN_MEMORY_MAX    ((size_t)4 << 30) /* address space for open branches, not memory */
#define GRACE_LEAST_MS     200   /* between an INQUIRE and the evaluation */
#define SILENCE_MS         2000
#define DUE_MAX            1000  /* open branches looked at in one turn */
#define ELECTION_TRIES     10 /* a lane without settings is looked at so often, ELECTION_WAIT_MS apart */
#define ELECTION_WAIT_MS   300
#define LOG_LINES_MAX      10 /* a second and verdict */

/* An acknowledged answer whose *unpublished* mark can go (P2). */
struct mark {
        struct assent_uuid txn_id;
        uint16_t branch;
        int slot;
};

struct assent_participant {
        struct assent_participant_options options;
        struct assent_bus *bus;
        struct assent_store *store;
        struct assent_codec *codec, *peek; /* `peek` reads reports while `codec` lends a message */
        struct assent_intake *intake;
        struct assent_settings settings;
        struct assent_topics_report report;
        struct assent_bytes service;
        char commands[ASSENT_TOPIC_SIZE_MAX], group[ASSENT_TOPIC_SIZE_MAX];
        int inbox_topic, dead_letters_topic;
        struct assent_open_branches open;
        struct mark *marks;
        size_t marks_count, marks_max;
        bool in_tx;
        bool effects; /* a handler or work ran in the open local transaction */
        bool cut_off_commits;
        int64_t horizon_ms, grace_ms, retry_ms, retry_max_ms;
        int64_t housekeeping_ms, open_from_ms, forget_ms; /* when next */
        struct assent_uuid forget_from;
        uint64_t forgotten;
        int64_t log_state[ASSENT_PV_COUNT][2];
        struct assent_works works;
        volatile int stopping;
        enum assent_err failed;
        char errmsg[2560];
        struct assent_participant_watch watch;
};

__attribute__((format(printf, 3, 4))) static enum assent_err fail(struct assent_participant *p, enum assent_err err,
                                                                  const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(p->errmsg, sizeof p->errmsg, format, arguments);
        va_end(arguments);
        p->failed = err;
        assent_watch_set(&p->watch.intake.common.failed, 1);
        return err;
}

static enum assent_err store_failed(struct assent_participant *p, enum assent_err err)
{
        return fail(p, err, "%s", assent_store_errmsg(p->store));
}

static int64_t now_ms(const struct assent_participant *p)
{
        return assent_bus_monotonic_ms(p->bus);
}

/* ---- what is open ---- */

/* When a branch in doubt may ask: past its deadline, by the estimate of log time, and the grace on a local clock (P10). */
static int64_t doubt_due(const struct assent_participant *p, const struct assent_branch_row *row)
{
        const struct assent_intake_lane *lane = assent_intake_lane(p->intake, row->lane);
        int64_t estimate = lane ? assent_intake_estimate(p->intake, lane) : INT64_MIN;
        int64_t left = estimate == INT64_MIN ? 0 : row->deadline_ms - estimate, longest = 2 * p->settings.timeout_max_ms;
        if (left < 0)
                left = 0;
        if (left > longest)
                left = longest;
        return now_ms(p) + left + p->grace_ms + 1;
}

/* Keeps the table true after every move of a row, and `open_from` at or below every open branch. */
static enum assent_err track(struct assent_participant *p, const struct assent_branch_row *row)
{
        struct assent_open_branch *entry = assent_open_branches_find(&p->open, &row->txn_id, row->branch);
        bool in_doubt = assent_branch_in_doubt(row);
        if (!assent_branch_open(row)) {
                if (entry)
                        assent_open_branches_remove(&p->open, entry);
                return ASSENT_OK;
        }
        struct assent_intake_lane *lane = assent_intake_lane(p->intake, row->lane);
        if (lane && memcmp(&row->txn_id, &lane->position.open_from, sizeof row->txn_id) < 0) {
                lane->position.open_from = row->txn_id;
                lane->dirty = true;
        }
        if (!entry)
                entry = assent_open_branches_add(&p->open, &row->txn_id, row->branch, row->lane);
        if (!entry)
                return fail(p, ASSENT_E_MEMORY, "too many open branches (%zu)", assent_open_branches_count(&p->open));
        if (entry->parked == (row->parked > 0) && entry->in_doubt == in_doubt && entry->deadline_ms == row->deadline_ms)
                return ASSENT_OK;
        entry->deadline_ms = row->deadline_ms; /* PRE_COMMIT brings a later one */
        entry->parked = row->parked > 0;
        entry->in_doubt = in_doubt;
        entry->wait_ms = 0;
        entry->said = -1;
        int64_t due = INT64_MAX;
        if (entry->parked)
                due = now_ms(p) + p->retry_ms;
        else if (in_doubt)
                due = doubt_due(p, row);
        assent_open_branches_due(&p->open, entry, due);
        return ASSENT_OK;
}

/* Goes through all that is open; what operators see of it is counted on the way. */
static void lower_bounds(struct assent_participant *p)
{
        uint64_t in_doubt = 0, parked = 0;
        int64_t oldest_ms = 0;
        for (int32_t i = 0; i < assent_intake_lanes(p->intake); i++) {
                struct assent_intake_lane *lane = assent_intake_lane(p->intake, i);
                if (lane)
                        memset(&lane->position.open_from, 0xff, sizeof lane->position.open_from);
        }
        for (size_t i = 0; i < assent_open_branches_count(&p->open); i++) {
                const struct assent_open_branch *entry = assent_open_branches_at(&p->open, i);
                struct assent_intake_lane *lane = assent_intake_lane(p->intake, entry->lane);
                if (lane && memcmp(&entry->txn_id, &lane->position.open_from, sizeof entry->txn_id) < 0)
                        lane->position.open_from = entry->txn_id;
                int64_t birth_ms = assent_txn_id_birth_ms(&entry->txn_id);
                if (entry->in_doubt && (!in_doubt++ || birth_ms < oldest_ms))
                        oldest_ms = birth_ms;
                parked += entry->parked;
        }
        assent_participant_doubts(&p->watch, in_doubt, parked, oldest_ms);
}

/* ---- answers ---- */

static enum assent_err queue_reply(struct assent_participant *p, int32_t lane_number, const struct assent_message *reply,
                                   int64_t tracked_offset)
{
        struct assent_bytes value;
        enum assent_err err = assent_codec_encode(p->codec, reply, &value);
        if (err)
                return fail(p, err, "encoding a reply: %s", assent_err_text(err));
        uint64_t tag = assent_tag(ASSENT_TAG_UNTRACKED, lane_number, 0);
        struct assent_intake_lane *lane = assent_intake_lane(p->intake, lane_number);
        if (tracked_offset >= 0 && lane)
                tag = assent_tag(ASSENT_TAG_TRACKED, lane_number, assent_tracker_add(&lane->sent, tracked_offset));
        assent_intake_queue(p->intake, p->inbox_topic, lane_number, &reply->txn_id, value, tag);
        return ASSENT_OK;
}

/* An answer that the resend cursor will bring back is tracked by its record; the others by their mark (P2). */
static enum assent_err answer(struct assent_participant *p, const struct assent_branch_row *row, int slot, int64_t offset)
{
        struct assent_message reply;
        assent_branch_reply(row, slot, p->service, &reply);
        return queue_reply(p, row->lane, &reply, row->slots[slot].unpublished ? -1 : offset);
}

static void delivered(void *context, const struct assent_report *report)
{
        struct assent_participant *p = context;
        enum assent_tag_kind kind = assent_tag_kind(report->tag);
        if (kind == ASSENT_TAG_TRACKED || kind == ASSENT_TAG_EVENT) {
                assent_intake_delivered(p->intake, report);
                return;
        }
        struct assent_message message;
        if (report->err && kind == ASSENT_TAG_UNTRACKED) { /* only a restart sends it again */
                assent_intake_delivered(p->intake, report);
                return;
        }
        if (report->err) {
                assent_log(ASSENT_LOG_WARN, "record not delivered", ASSENT_INT("lane", report->lane),
                           ASSENT_TEXT("why", assent_err_text(report->err)));
                return; /* an INQUIRE is repeated */
        }
        if (kind == ASSENT_TAG_DEAD_LETTER || assent_codec_decode(p->peek, report->value, &message) != ASSENT_DECODE_NONE)
                return;
        if (message.type == ASSENT_CONTROL) {
                struct assent_open_branch *entry =
                        assent_open_branches_find(&p->open, &message.txn_id, (uint16_t)message.body.control.branch);
                if (entry)
                        entry->inquire_offset = report->offset >= 0 ? report->offset : INT64_MAX;
                return;
        }
        if (p->marks_count == p->marks_max) {
                p->marks_max = p->marks_max ? p->marks_max * 2 : 256;
                p->marks = realloc(p->marks, p->marks_max * sizeof *p->marks);
                ASSENT_NEED(p->marks);
        }
        p->marks[p->marks_count++] = (struct mark){.txn_id = message.txn_id,
                                                   .branch = message.body.reply.branch,
                                                   .slot = assent_slot_of(message.body.reply.phase)};
}

/* ---- one command ---- */

/* A command on its way through the core. */
struct handling {
        struct assent_branch_row row;
        const struct assent_message *command;
        enum assent_source source;
        int64_t offset;   /* of its record in the lane; -1: none */
        int64_t sequence; /* in the parking table */
        bool redelivered;
        struct assent_bytes record;
        struct assent_judgement judgement;
};

static bool said_of(enum assent_action action, int returned, enum assent_said *said)
{
        if (action == ASSENT_RUN_PREPARE) {
                static const enum assent_said votes[] = {[ASSENT_VOTE_YES] = ASSENT_SAID_YES,
                                                         [ASSENT_VOTE_NO] = ASSENT_SAID_NO,
                                                         [ASSENT_VOTE_READ_ONLY] = ASSENT_SAID_READ_ONLY,
                                                         [ASSENT_VOTE_RETRY] = ASSENT_SAID_RETRY};
                if (returned < ASSENT_VOTE_YES || returned > ASSENT_VOTE_RETRY)
                        return false;
                *said = votes[returned];
                return true;
        }
        *said = returned == ASSENT_RESULT_RETRY ? ASSENT_SAID_RETRY : ASSENT_SAID_DONE;
        return returned == ASSENT_RESULT_DONE || returned == ASSENT_RESULT_RETRY;
}

static int call_handler(struct assent_participant *p, enum assent_action action, struct assent_tx *tx,
                        const struct assent_branch *branch)
{
        const struct assent_handlers *handlers = p->options.handlers;
        switch (action) {
        case ASSENT_RUN_PREPARE:
                return (int)handlers->prepare(p->options.app, tx, branch);
        case ASSENT_RUN_PRE_COMMIT:
                return handlers->pre_commit ? (int)handlers->pre_commit(p->options.app, tx, branch) : ASSENT_RESULT_DONE;
        case ASSENT_RUN_COMMIT:
                return (int)handlers->commit(p->options.app, tx, branch);
        default:
                ASSENT_ASSERT(action == ASSENT_RUN_ABORT);
                return (int)handlers->abort(p->options.app, tx, branch);
        }
}

/* The handler's effect and the row's move stand or fall together (P1); what a NO or a RETRY wrote is rolled back. */
static enum assent_err run_handler(struct assent_participant *p, struct handling *h, int64_t tau_ms)
{
        const struct assent_message *m = h->command;
        const struct assent_branch branch = {.txn_id = m->txn_id,
                                             .branch = m->body.command.branch,
                                             .branches_count = m->body.command.branches_count,
                                             .deadline_ms = m->body.command.deadline_ms,
                                             .kind = m->body.command.kind,
                                             .payload = m->body.command.payload};
        enum assent_action action = h->judgement.action;
        enum assent_err err = assent_store_savepoint(p->store);
        if (err)
                return store_failed(p, err);
        int returned = call_handler(p, action, assent_store_enter(p->store, tau_ms), &branch);
        p->effects = true;
        ASSENT_CRASH_POINT(participant_after_handler); /* its effect is rolled back with the batch: it runs again */
        err = assent_store_leave(p->store);
        if (err)
                return store_failed(p, err);
        enum assent_said said;
        if (!said_of(action, returned, &said)) {
                char txn[ASSENT_UUID_TEXT_SIZE];
                assent_uuid_format(&m->txn_id, txn);
                return fail(p, ASSENT_E_HANDLER,
                            "the %s handler returned %d for branch %d of transaction %s, which is no answer",
                            assent_phase_name(m->body.command.phase), returned, m->body.command.branch, txn);
        }
        assent_count(&p->watch.intake.retries, said == ASSENT_SAID_RETRY);
        bool keeps = said != ASSENT_SAID_NO && said != ASSENT_SAID_RETRY;
        err = keeps ? assent_store_release(p->store) : assent_store_undo(p->store);
        if (err)
                return store_failed(p, err);
        h->judgement = assent_branch_settle(&h->row, m, said, assent_store_refusal(p->store), h->source);
        return ASSENT_OK;
}

static void alarm_frozen(const struct handling *h)
{
        assent_log(ASSENT_LOG_ERROR, "CONTRADICTION: branch frozen, an operator must look (P8)",
                   ASSENT_UUID("txn", &h->row.txn_id), ASSENT_INT("branch", h->row.branch), ASSENT_INT("lane", h->row.lane),
                   ASSENT_TEXT("state", assent_branch_state_name(h->row.state)),
                   ASSENT_TEXT("command", assent_phase_name(h->command->body.command.phase)), ASSENT_INT("offset", h->offset));
}

static void count(struct assent_participant *p, enum assent_participant_verdict verdict, int32_t lane, int64_t offset,
                  const struct assent_uuid *txn_id)
{
        assent_count(&p->watch.verdicts[verdict], 1);
        if (verdict == ASSENT_PV_APPLIED || verdict == ASSENT_PV_DUPLICATE || verdict == ASSENT_PV_REDELIVERED)
                return;
        if (assent_service_may_log(p->log_state[verdict], now_ms(p), LOG_LINES_MAX))
                assent_log(ASSENT_LOG_WARN, "command not applied as it came", ASSENT_INT("lane", lane),
                           ASSENT_INT("offset", offset), ASSENT_TEXT("verdict", assent_participant_verdict_name(verdict)),
                           ASSENT_UUID("txn", txn_id));
}

/* Does what was judged: row, parking table, answer. */
static enum assent_err carry_out(struct assent_participant *p, struct handling *h)
{
        enum assent_action action = h->judgement.action;
        bool parked_source = h->source == ASSENT_FROM_PARKING;
        bool put = action == ASSENT_STORE || action == ASSENT_FREEZE || action == ASSENT_QUEUE ||
                   (action == ASSENT_RESEND && !h->redelivered) || (action == ASSENT_SKIP && parked_source);
        enum assent_err err = put ? assent_store_branch_put(p->store, &h->row) : ASSENT_OK;
        if (!err && action == ASSENT_QUEUE && h->source == ASSENT_FROM_LANE) {
                struct assent_parked parked = {.lane = h->row.lane,
                                               .txn_id = h->row.txn_id,
                                               .branch = h->row.branch,
                                               .offset = h->offset,
                                               .record = h->record};
                err = assent_store_park(p->store, &parked);
                ASSENT_CRASH_POINT(participant_after_park); /* rolled back: the record is read and parked again */
        }
        if (!err && parked_source && action != ASSENT_QUEUE) {
                err = assent_store_unpark(p->store, h->sequence);
                ASSENT_CRASH_POINT(participant_after_unpark); /* rolled back: it is parked still, and due at start */
        }
        if (err)
                return store_failed(p, err);
        if (action == ASSENT_FREEZE) {
                alarm_frozen(h);
                assent_count(&p->watch.frozen, 1);
        }
        if (action == ASSENT_STORE && h->judgement.slot == ASSENT_SLOT_FIRST)
                assent_participant_voted(&p->watch, h->row.slots[ASSENT_SLOT_FIRST].answer);
        if (put)
                err = track(p, &h->row);
        if (!err && (action == ASSENT_STORE || action == ASSENT_RESEND))
                err = answer(p, &h->row, h->judgement.slot, h->source == ASSENT_FROM_LANE ? h->offset : -1);
        if (!err && action == ASSENT_ANSWER) {
                struct assent_message reply;
                assent_command_done(h->command, &reply);
                reply.body.reply.service = p->service;
                err = queue_reply(p, h->row.lane, &reply, h->offset);
        }
        count(p, h->judgement.verdict, h->row.lane, h->offset, &h->command->txn_id);
        return err;
}

static enum assent_err handle(struct assent_participant *p, struct handling *h, int64_t tau_ms)
{
        const struct assent_message *m = h->command;
        enum assent_err err = assent_store_branch(p->store, &m->txn_id, m->body.command.branch, &h->row);
        if (err && err != ASSENT_E_NOT_FOUND)
                return store_failed(p, err);
        h->row.lane = assent_lane_of(&m->txn_id, p->settings.lanes);
        h->judgement =
                assent_branch_judge(&h->row, m, h->offset, tau_ms, p->horizon_ms, h->redelivered, h->source);
        if (h->judgement.action >= ASSENT_RUN_PREPARE && h->judgement.action <= ASSENT_RUN_ABORT) {
                err = run_handler(p, h, tau_ms);
                if (err)
                        return err;
        }
        return carry_out(p, h);
}

static enum assent_err reject(struct assent_participant *p, const struct assent_record *record,
                              enum assent_participant_verdict verdict, const char *why, bool redelivered)
{
        const struct assent_uuid none = {{0}};
        count(p, verdict, record->lane, record->offset, &none);
        if (!redelivered) {
                assent_dead_letter(p->bus, p->dead_letters_topic, p->commands, record, why);
                assent_count(&p->watch.intake.common.dead_letters, 1);
        }
        ASSENT_CRASH_POINT(participant_after_dead_letter); /* the position has not moved: it is copied a second time */
        return ASSENT_OK;
}

/* FORGED and MISROUTED are sorted out before the core sees a command (P4b). */
static enum assent_err process(void *context, struct assent_intake_lane *lane, const struct assent_record *record,
                               bool redelivered)
{
        struct assent_participant *p = context;
        struct assent_message message;
        enum assent_decode_fault fault = assent_codec_decode(p->codec, record->value, &message);
        if (fault)
                return reject(p, record, ASSENT_PV_MALFORMED, assent_decode_fault_name(fault), redelivered);
        if (message.type != ASSENT_COMMAND)
                return reject(p, record, ASSENT_PV_FOREIGN, "FOREIGN", redelivered);
        if (!assent_message_id_holds(&message) || message.body.command.branch >= message.body.command.branches_count ||
            message.body.command.branches_count > ASSENT_BRANCHES_MAX)
                return reject(p, record, ASSENT_PV_FORGED, "FORGED", redelivered);
        struct assent_bytes service = message.body.command.service;
        if (service.size != p->service.size || memcmp(service.data, p->service.data, service.size) != 0 ||
            assent_lane_of(&message.txn_id, p->settings.lanes) != record->lane)
                return reject(p, record, ASSENT_PV_MISROUTED, "MISROUTED", redelivered);
        struct handling h = {.command = &message,
                             .source = ASSENT_FROM_LANE,
                             .offset = record->offset,
                             .redelivered = redelivered,
                             .record = record->value};
        return handle(p, &h, lane->position.tau_ms);
}

/* ---- the work of others ---- */

static bool work_waits(void *context)
{
        struct assent_participant *p = context;
        return assent_works_waiting(&p->works);
}

static enum assent_err run_work(struct assent_participant *p, const struct assent_work *work, bool *undone)
{
        enum assent_err err = assent_store_savepoint(p->store);
        if (err)
                return store_failed(p, err);
        enum assent_result returned = work->run(work->context, assent_store_enter(p->store, assent_clock_wall_ms()));
        p->effects = true;
        ASSENT_CRASH_POINT(participant_after_work); /* rolled back; nobody was told that it is done */
        err = assent_store_leave(p->store);
        if (err)
                return store_failed(p, err);
        if (returned != ASSENT_RESULT_DONE && returned != ASSENT_RESULT_RETRY)
                return fail(p, ASSENT_E_HANDLER, "work that was submitted returned %d, which is no answer", (int)returned);
        *undone = returned == ASSENT_RESULT_RETRY;
        err = *undone ? assent_store_undo(p->store) : assent_store_release(p->store);
        return err ? store_failed(p, err) : ASSENT_OK;
}

static enum assent_err run_works(void *context)
{
        struct assent_participant *p = context;
        size_t count;
        const struct assent_work *works = assent_works_take(&p->works, &count);
        enum assent_err err = ASSENT_OK;
        for (size_t i = 0; i < count && !err; i++)
                err = run_work(p, &works[i], &p->works.undone[i]);
        return err;
}

static void durable(void *context)
{
        struct assent_participant *p = context;
        if (!p->effects)
                return;
        p->effects = false;
        ASSENT_CRASH_POINT(participant_before_done); /* it is done, and who handed it in does not know: he must look */
        assent_works_tell(&p->works);
        if (p->options.committed)
                p->options.committed(p->options.app);
}

/* ---- what is due by time ---- */

/* Most turns have nothing to write: the local transaction is opened by the first that has. */
static enum assent_err need_tx(struct assent_participant *p)
{
        if (p->in_tx)
                return ASSENT_OK;
        enum assent_err err = assent_intake_begin(p->intake);
        if (err)
                return fail(p, err, "%s", assent_intake_errmsg(p->intake));
        p->in_tx = true;
        return ASSENT_OK;
}

static enum assent_err end_tx(struct assent_participant *p)
{
        if (!p->in_tx || p->failed) /* what failed half-way is rolled back by the close */
                return p->failed;
        p->in_tx = false;
        enum assent_err err = assent_intake_finish(p->intake);
        return err ? fail(p, err, "%s", assent_intake_errmsg(p->intake)) : ASSENT_OK;
}

static enum assent_err clear_marks(struct assent_participant *p)
{
        enum assent_err err = p->marks_count ? need_tx(p) : ASSENT_OK;
        for (size_t i = 0; i < p->marks_count && !err; i++) {
                struct assent_branch_row row;
                err = assent_store_branch(p->store, &p->marks[i].txn_id, p->marks[i].branch, &row);
                if (err == ASSENT_E_NOT_FOUND || (!err && !row.slots[p->marks[i].slot].unpublished)) {
                        err = ASSENT_OK;
                        continue;
                }
                row.slots[p->marks[i].slot].unpublished = false;
                if (!err)
                        err = assent_store_branch_put(p->store, &row);
                ASSENT_CRASH_POINT(participant_mark_cleared); /* rolled back: the answer is sent once more at start */
                if (err)
                        return store_failed(p, err);
                err = track(p, &row);
        }
        p->marks_count = 0;
        return err;
}

/* The next back-off: exponential, capped, with a jitter derived from the branch (P9). */
static int64_t back_off(const struct assent_participant *p, struct assent_open_branch *entry, int64_t least_ms)
{
        entry->wait_ms = entry->wait_ms ? entry->wait_ms * 2 : least_ms;
        if (entry->wait_ms > p->retry_max_ms)
                entry->wait_ms = p->retry_max_ms;
        return entry->wait_ms + entry->wait_ms * entry->txn_id.bytes[15] / 1024;
}

/* P9: the parked messages of one branch, in their order, until one must wait again. */
static enum assent_err retry_parked(struct assent_participant *p, const struct assent_open_branch *entry)
{
        struct assent_intake_lane *lane = assent_intake_lane(p->intake, entry->lane);
        struct assent_uuid txn_id = entry->txn_id;
        uint16_t branch = entry->branch;
        enum assent_err err = lane ? need_tx(p) : ASSENT_AGAIN;
        while (!err) {
                struct assent_parked parked;
                err = assent_store_parked_first(p->store, &txn_id, branch, &parked);
                if (err == ASSENT_E_NOT_FOUND)
                        return ASSENT_OK;
                if (err)
                        return store_failed(p, err);
                struct assent_message message;
                enum assent_decode_fault fault = assent_codec_decode(p->codec, parked.record, &message);
                ASSENT_ASSERT(fault == ASSENT_DECODE_NONE); /* it was decoded before it was parked */
                struct handling h = {.command = &message,
                                     .source = ASSENT_FROM_PARKING,
                                     .offset = parked.offset,
                                     .sequence = parked.sequence};
                err = handle(p, &h, lane->position.tau_ms);
                if (!err && h.judgement.action == ASSENT_QUEUE)
                        return ASSENT_AGAIN;
        }
        return err;
}

static enum assent_err inquire(struct assent_participant *p, struct assent_open_branch *entry)
{
        struct assent_message message = {.type = ASSENT_CONTROL, .txn_id = entry->txn_id, .lamport = 1};
        message.body.control.kind = ASSENT_INQUIRE;
        message.body.control.branch = entry->branch;
        message.body.control.attempt = entry->attempt++;
        assent_message_seal(&message);
        struct assent_bytes value;
        enum assent_err err = assent_codec_encode(p->codec, &message, &value);
        ASSENT_ASSERT(!err);
        char key[ASSENT_UUID_TEXT_SIZE];
        assent_uuid_format(&entry->txn_id, key);
        const struct assent_outgoing outgoing = {.topic = p->inbox_topic,
                                                 .lane = entry->lane,
                                                 .key = {key, ASSENT_UUID_TEXT_SIZE - 1},
                                                 .value = value,
                                                 .tag = assent_tag(ASSENT_TAG_OTHER, entry->lane, 0)};
        entry->inquire_offset = -1;
        assent_count(&p->watch.inquired, 1);
        ASSENT_CRASH_POINT(participant_before_inquire); /* in doubt still: found so at start, and asked after the grace */
        err = assent_send(p->bus, &outgoing);
        ASSENT_CRASH_POINT(participant_after_inquire); /* the same; asked once more under the same id */
        assent_log(ASSENT_LOG_INFO, "in doubt, asking the log", ASSENT_UUID("txn", &entry->txn_id),
                   ASSENT_INT("branch", entry->branch), ASSENT_INT("attempt", entry->attempt));
        return err ? fail(p, err, "asking about a transaction: %s", assent_bus_errmsg(p->bus)) : ASSENT_OK;
}

/* Applies decisions found by evaluating the lane, as if they had come by it. */
static enum assent_err apply_decisions(struct assent_participant *p, const struct assent_decisions *decisions, int32_t number)
{
        struct assent_intake_lane *lane = assent_intake_lane(p->intake, number);
        enum assent_err err = decisions->count ? need_tx(p) : ASSENT_OK;
        if (decisions->count)
                ASSENT_CRASH_POINT(participant_before_decision); /* nothing was applied: it asks and finds it again */
        for (size_t i = 0; i < decisions->count && !err; i++) {
                struct handling h = {
                        .command = &decisions->commands[i], .source = ASSENT_FROM_EVALUATION, .offset = -1};
                err = handle(p, &h, lane->position.tau_ms);
                assent_count(&p->watch.terminated, 1);
                assent_log(ASSENT_LOG_INFO, "in doubt no more: the lane says",
                           ASSENT_UUID("txn", &decisions->commands[i].txn_id),
                           ASSENT_TEXT("decision", assent_phase_name(decisions->commands[i].body.command.phase)));
        }
        return err;
}

/* P10: evaluates one lane for all its branches in doubt, from the eldest that is due to the newest INQUIRE among them. */
static enum assent_err evaluate(struct assent_participant *p, int32_t lane, const struct assent_uuid *eldest, int64_t end)
{
        struct assent_decisions decisions;
        enum assent_err err = assent_terminate(p->bus, p->codec, p->options.config, &p->settings, p->service, eldest, end,
                                               &p->open, &decisions);
        if (err) /* also when the reader's own client failed: the next one gets another */
                assent_log(ASSENT_LOG_WARN, "evaluating the lane failed, trying again later", ASSENT_INT("lane", lane),
                           ASSENT_TEXT("why", decisions.errmsg));
        else
                apply_decisions(p, &decisions, lane);
        assent_decisions_free(&decisions);
        return p->failed;
}

/* P7: cut off from the broker in PRE_COMMITTED, the outcome can only be COMMIT; whether to act on it is configured. */
static enum assent_err commit_cut_off(struct assent_participant *p, const struct assent_open_branch *entry)
{
        struct assent_branch_row row;
        enum assent_err err = assent_store_branch(p->store, &entry->txn_id, entry->branch, &row);
        if (err || row.state != ASSENT_BRANCH_PRE_COMMITTED || row.frozen || row.parked)
                return err && err != ASSENT_E_NOT_FOUND ? store_failed(p, err) : ASSENT_OK;
        struct assent_message command = {.type = ASSENT_COMMAND, .txn_id = row.txn_id, .lamport = row.lamport};
        command.body.command.branch = row.branch;
        command.body.command.branches_count = row.branches_count;
        command.body.command.service = p->service;
        command.body.command.phase = ASSENT_COMMIT;
        command.body.command.deadline_ms = row.deadline_ms;
        assent_message_seal(&command);
        err = need_tx(p);
        if (err)
                return err;
        struct assent_intake_lane *lane = assent_intake_lane(p->intake, row.lane);
        struct handling h = {.command = &command, .source = ASSENT_FROM_CUT_OFF, .offset = -1};
        assent_log(ASSENT_LOG_WARN, "cut off from the broker in PRE_COMMITTED: committing (pre_commit_cut_off=commit)",
                   ASSENT_UUID("txn", &row.txn_id), ASSENT_INT("branch", row.branch));
        ASSENT_CRASH_POINT(participant_before_cut_off_commit); /* PRE_COMMITTED still: COMMIT by the lane, or by P7 again */
        return handle(p, &h, lane->position.tau_ms);
}

/* What a lane's branches in doubt want this turn. */
struct doubt {
        bool checked, cut_off;
        int64_t high, read, silent_ms, asked_ms; /* of the commands' lane; asked_ms: what the question took */
        struct assent_uuid eldest;
        int64_t newest; /* INQUIRE among them; -1: nothing to evaluate */
};

/* Before asking, everything that was already said must have been read (P10). A lane that has been silent for long is read to
 * its end, whatever the offsets say: foreign transactions leave markers that no reader gets. */
static void check_lane(struct assent_participant *p, int32_t number, struct doubt *doubt)
{
        const struct assent_intake_lane *lane = assent_intake_lane(p->intake, number);
        int64_t low, high;
        doubt->checked = true;
        doubt->newest = -1;
        int64_t began_ms = now_ms(p);
        doubt->cut_off = assent_bus_watermarks(p->bus, p->commands, number, &low, &high) != ASSENT_OK;
        doubt->asked_ms = now_ms(p) - began_ms;
        doubt->high = doubt->cut_off ? 0 : high;
        doubt->read = lane->read_next;
        doubt->silent_ms = now_ms(p) - lane->last_record_ms;
}

static enum assent_err resolve_doubt(struct assent_participant *p, struct assent_open_branch *entry, struct doubt *doubt)
{
        if (!doubt->checked)
                check_lane(p, entry->lane, doubt);
        if (!doubt->cut_off && entry->said < 0)
                entry->said = doubt->high;
        if (doubt->cut_off || (doubt->read < entry->said && doubt->silent_ms < SILENCE_MS)) {
                struct assent_uuid txn_id = entry->txn_id;
                uint16_t branch = entry->branch;
                /* While a question takes seconds to fail, most of the time is for the others. */
                assent_open_branches_due(&p->open, entry, now_ms(p) + GRACE_LEAST_MS + 10 * doubt->asked_ms);
                entry = assent_open_branches_find(&p->open, &txn_id, branch);
                return doubt->cut_off && p->cut_off_commits ? commit_cut_off(p, entry) : ASSENT_OK;
        }
        if (entry->inquire_offset >= 0) {
                if (doubt->newest < 0 || memcmp(&entry->txn_id, &doubt->eldest, sizeof entry->txn_id) < 0)
                        doubt->eldest = entry->txn_id;
                if (entry->inquire_offset > doubt->newest)
                        doubt->newest = entry->inquire_offset;
                entry->inquire_offset = -1; /* undecided there: asked again after the back-off */
                assent_open_branches_due(&p->open, entry, now_ms(p) + back_off(p, entry, GRACE_LEAST_MS));
                return ASSENT_OK;
        }
        int64_t wait = p->grace_ms > GRACE_LEAST_MS ? p->grace_ms : GRACE_LEAST_MS;
        assent_open_branches_due(&p->open, entry, now_ms(p) + back_off(p, entry, wait));
        return inquire(p, entry);
}

static enum assent_err run_due(struct assent_participant *p)
{
        struct doubt doubts[ASSENT_LANES_MAX];
        memset(doubts, 0, sizeof(struct doubt) * (size_t)assent_intake_lanes(p->intake));
        int64_t now = now_ms(p);
        struct assent_open_branch *entry;
        for (int turns = 0; turns < DUE_MAX && !p->failed; turns++) {
                entry = assent_open_branches_first(&p->open);
                if (!entry || entry->due_ms > now)
                        break;
                if (!entry->parked) {
                        resolve_doubt(p, entry, &doubts[entry->lane]);
                        continue;
                }
                struct assent_uuid txn_id = entry->txn_id;
                uint16_t branch = entry->branch;
                enum assent_err err = retry_parked(p, entry);
                entry = assent_open_branches_find(&p->open, &txn_id, branch);
                if (err == ASSENT_AGAIN && entry)
                        assent_open_branches_due(&p->open, entry, now + back_off(p, entry, p->retry_ms));
        }
        end_tx(p); /* reading a lane takes its time */
        for (int32_t i = 0; i < assent_intake_lanes(p->intake) && !p->failed; i++)
                if (doubts[i].checked && doubts[i].newest >= 0)
                        evaluate(p, i, &doubts[i].eldest,
                                 doubts[i].newest == INT64_MAX ? -1 : doubts[i].newest + 1);
        return p->failed;
}

/* P12. A scan must not write: it collects, the caller deletes. */
struct forgetting {
        struct assent_participant *p;
        struct {
                struct assent_uuid txn_id;
                uint16_t branch;
        } keys[FORGET_ROWS_MAX];
        size_t count, seen;
        struct assent_uuid last;
        int64_t newest_ms; /* the greatest τ of all lanes */
        bool young;
};

static bool consider(void *context, const struct assent_branch_row *row)
{
        struct forgetting *f = context;
        struct assent_participant *p = f->p;
        const struct assent_intake_lane *lane = assent_intake_lane(p->intake, row->lane);
        f->seen++;
        f->last = row->txn_id;
        int64_t tau = lane ? lane->position.tau_ms : INT64_MIN;
        if (assent_txn_id_birth_ms(&row->txn_id) > f->newest_ms - p->horizon_ms) {
                f->young = true; /* keys are in time order: nothing after it is old enough */
                return false;
        }
        if (lane && assent_branch_forgettable(row, lane->cursor, tau, p->horizon_ms, p->settings.timeout_max_ms)) {
                f->keys[f->count].txn_id = row->txn_id;
                f->keys[f->count++].branch = row->branch;
        }
        return true;
}

static enum assent_err forget(struct assent_participant *p)
{
        struct forgetting *f = calloc(1, sizeof *f);
        ASSENT_NEED(f);
        f->p = p;
        for (int32_t i = 0; i < assent_intake_lanes(p->intake); i++) {
                const struct assent_intake_lane *lane = assent_intake_lane(p->intake, i);
                if (lane && lane->position.tau_ms > f->newest_ms)
                        f->newest_ms = lane->position.tau_ms;
        }
        enum assent_err err = assent_store_branch_scan(p->store, -1, &p->forget_from, FORGET_ROWS_MAX, consider, f);
        if (!err && f->count)
                err = need_tx(p);
        for (size_t i = 0; i < f->count && !err; i++) {
                err = assent_store_branch_delete(p->store, &f->keys[i].txn_id, f->keys[i].branch);
                ASSENT_CRASH_POINT(participant_forgetting); /* rolled back: the next pass finds the rows again */
        }
        p->forgotten += f->count;
        p->forget_from = f->last;
        if (f->young || f->seen < FORGET_ROWS_MAX) { /* the pass is over */
                memset(&p->forget_from, 0, sizeof p->forget_from);
                p->forget_ms = now_ms(p) + FORGET_PASS_MS;
        }
        free(f);
        return err && !p->failed ? store_failed(p, err) : p->failed;
}

static enum assent_err housekeeping(struct assent_participant *p)
{
        int64_t now = now_ms(p);
        if (now < p->housekeeping_ms)
                return p->failed;
        p->housekeeping_ms = now + HOUSEKEEPING_MS;
        enum assent_err err = clear_marks(p);
        if (!err)
                err = run_due(p);
        if (!err && now >= p->forget_ms)
                err = forget(p);
        if (!err && now >= p->open_from_ms) {
                lower_bounds(p);
                p->open_from_ms = now + OPEN_FROM_MS;
        }
        return err ? err : end_tx(p);
}

static enum assent_err turn(struct assent_participant *p, int timeout_ms)
{
        const struct assent_open_branch *first = assent_open_branches_first(&p->open);
        int64_t due = first ? first->due_ms - now_ms(p) : INT64_MAX;
        if (p->marks_count && due > HOUSEKEEPING_MS)
                due = HOUSEKEEPING_MS;
        if (due < timeout_ms)
                timeout_ms = due > 1 ? (int)due : 1;
        enum assent_err err = assent_intake_step(p->intake, timeout_ms);
        if (err)
                return p->failed ? p->failed : fail(p, err, "%s", assent_intake_errmsg(p->intake));
        return housekeeping(p);
}

enum assent_err assent_participant_step(struct assent_participant *p, int timeout_ms)
{
        enum assent_err err = p->failed ? p->failed : turn(p, timeout_ms);
        if (err)
                assent_works_fail(&p->works, err);
        return err;
}

/* ---- birth and death ---- */

static enum assent_err check_identity(struct assent_participant *p, const char *key, const char *value)
{
        const char *stored = assent_store_identity(p->store, key);
        if (stored && strcmp(stored, value) != 0)
                return fail(p, strcmp(key, "settings") == 0 ? ASSENT_E_SETTINGS : ASSENT_E_POSITION,
                            "database %s belongs to %s \"%s\", this process to \"%s\": start it with the configuration it was "
                            "made with, or give this one a database of its own",
                            assent_config_get(p->options.config, "assent.db"), key, stored, value);
        enum assent_err err = stored ? ASSENT_OK : assent_store_identity_put(p->store, key, value);
        return err ? store_failed(p, err) : ASSENT_OK;
}

/* R17: every lane's settings are those of this configuration; what was verified once stands in the identity row. */
static enum assent_err verify_settings(struct assent_participant *p)
{
        if (assent_store_identity(p->store, "settings"))
                return ASSENT_OK; /* compared by check_identity */
        for (int32_t lane = 0; lane < (int32_t)p->report.lanes; lane++) {
                struct assent_settings settings;
                int64_t log_start = 0;
                char why[ASSENT_LANES_ERRMSG_SIZE_MAX];
                enum assent_err err = ASSENT_E_NOT_FOUND;
                for (int tries = 0; tries < ELECTION_TRIES && err == ASSENT_E_NOT_FOUND && log_start == 0; tries++) {
                        if (tries) /* a new leader may show an old end for a moment */
                                usleep(ELECTION_WAIT_MS * 1000);
                        err = assent_lane_settings(p->bus, p->codec, p->options.config, lane, &settings, &log_start, why);
                }
                if (!err && !assent_settings_agree(&p->settings, &settings, why, sizeof why))
                        err = ASSENT_E_SETTINGS;
                if (err)
                        return fail(p, err == ASSENT_E_NOT_FOUND ? ASSENT_E_TOPIC : err, "%s", why);
        }
        return ASSENT_OK;
}

static enum assent_err open_store(struct assent_participant *p)
{
        const char *path = assent_config_get(p->options.config, "assent.db");
        if (!path || !*path)
                return fail(p, ASSENT_E_CONFIG, "assent.db is not set: name the database file (--db FILE)");
        enum assent_err err = assent_store_open(path, &p->store);
        if (err)
                return fail(p, err, "%s", p->store ? assent_store_errmsg(p->store) : assent_err_text(err));
        assent_store_record_bytes_max(p->store, p->settings.record_bytes_max);
        return ASSENT_OK;
}

static enum assent_err write_identity(struct assent_participant *p)
{
        char settings[ASSENT_SETTINGS_SIZE_MAX];
        assent_settings_format(&p->settings, settings);
        enum assent_err err = assent_store_begin(p->store);
        if (err)
                return store_failed(p, err);
        err = check_identity(p, "service", p->options.service);
        if (!err)
                err = check_identity(p, "prefix", assent_config_get(p->options.config, "assent.prefix"));
        if (!err && p->report.cluster_id[0])
                err = check_identity(p, "cluster", p->report.cluster_id);
        if (!err)
                err = check_identity(p, "settings", settings);
        if (!err && p->options.setup) {
                enum assent_err said = p->options.setup(p->options.app, assent_store_enter(p->store, 0));
                err = assent_store_leave(p->store);
                if (err)
                        store_failed(p, err);
                else if (said)
                        err = fail(p, said, "the setup callback of %s failed: %s", p->options.service, assent_err_text(said));
        }
        if (err) {
                assent_store_rollback(p->store);
                return err;
        }
        err = assent_store_commit(p->store);
        ASSENT_CRASH_POINT(participant_after_identity); /* the database is the service's; no lane has a mark or position */
        return err ? store_failed(p, err) : ASSENT_OK;
}

static enum assent_err connect_bus(struct assent_participant *p)
{
        const struct assent_bus_options options = {.config = p->options.config,
                                                   .client_id = p->options.service,
                                                   .delivered = delivered,
                                                   .statistics = assent_watch_statistics,
                                                   .statistics_context = &p->watch,
                                                   .context = p};
        enum assent_err err = assent_bus_kafka_open(&options, &p->bus);
        if (err)
                return fail(p, err, "%s", p->bus ? assent_bus_errmsg(p->bus) : assent_err_text(err));
        err = assent_topics_check(p->bus, p->options.config, p->service, &p->report);
        if (err)
                return fail(p, err, "%s", p->report.errmsg);
        if (p->report.lanes != p->settings.lanes)
                return fail(p, ASSENT_E_SETTINGS, "the topics have %" PRIu32 " lanes, assent.lanes_count is %" PRIu32
                            "; set it to what the topics were made with", p->report.lanes, p->settings.lanes);
        char inbox[ASSENT_TOPIC_SIZE_MAX], dead_letters[ASSENT_TOPIC_SIZE_MAX];
        assent_topic_inbox(p->options.config, inbox);
        assent_topic_commands(p->options.config, p->service, p->commands);
        assent_topic_dead_letters(p->commands, dead_letters);
        assent_group_service(p->options.config, p->service, p->group);
        p->inbox_topic = assent_bus_topic(p->bus, inbox);
        p->dead_letters_topic = assent_bus_topic(p->bus, dead_letters);
        return ASSENT_OK;
}

/* Found again at start: a branch that is open, and its answers that may not have been published (P2). */
static bool reopen(void *context, const struct assent_branch_row *row)
{
        struct assent_participant *p = context;
        if (!assent_branch_open(row))
                return true;
        if (row->frozen) {
                assent_count(&p->watch.frozen, 1);
                assent_log(ASSENT_LOG_ERROR, "branch frozen by a contradiction (P8)", ASSENT_UUID("txn", &row->txn_id),
                           ASSENT_INT("branch", row->branch), ASSENT_TEXT("state", assent_branch_state_name(row->state)));
        }
        if (track(p, row))
                return false;
        for (int slot = 0; slot < ASSENT_SLOTS && !p->failed; slot++)
                if (row->slots[slot].unpublished)
                        answer(p, row, slot, -1);
        return !p->failed;
}

static enum assent_err take_lanes(struct assent_participant *p)
{
        const struct assent_intake_options options = {.config = p->options.config,
                                                      .bus = p->bus,
                                                      .store = p->store,
                                                      .topic = p->commands,
                                                      .group = p->group,
                                                      .source = p->options.service,
                                                      .lanes = (int)p->report.lanes,
                                                      .incarnation = assent_store_identity(p->store, "incarnation"),
                                                      .process = process,
                                                      .waiting = work_waits,
                                                      .work = run_works,
                                                      .durable = durable,
                                                      .watch = &p->watch.intake,
                                                      .context = p};
        enum assent_err err = assent_intake_open(&options, &p->intake);
        if (err)
                return fail(p, err, "%s", p->intake ? assent_intake_errmsg(p->intake) : assent_err_text(err));
        for (int32_t i = 0; i < (int32_t)p->report.lanes && !p->failed; i++) {
                const struct assent_intake_lane *lane = assent_intake_lane(p->intake, i);
                struct assent_uuid from;
                if (!lane)
                        continue;
                from = lane->position.open_from;
                err = assent_store_branch_scan(p->store, i, &from, 0, reopen, p);
                if (err && !p->failed)
                        store_failed(p, err);
        }
        ASSENT_CRASH_POINT(participant_reopened); /* what was open is found again, with its unpublished answers */
        if (!p->failed)
                need_tx(p);
        return p->failed ? p->failed : end_tx(p); /* sends what reopen queued */
}

static enum assent_err open_all(struct assent_participant *p)
{
        const struct assent_config *config = p->options.config;
        p->service = assent_bytes_of(p->options.service);
        if (!assent_service_valid(p->service))
                return fail(p, ASSENT_E_ARGUMENT, "service name \"%.64s\" is not [a-z0-9-]{1,40}", p->options.service);
        assent_settings_of(config, &p->settings);
        const char *wrong = assent_settings_wrong(&p->settings);
        if (wrong)
                return fail(p, ASSENT_E_CONFIG, "%s", wrong);
        p->horizon_ms = assent_config_int(config, "assent.horizon_ms");
        int64_t least = p->settings.window_ms + p->settings.skew_ms + 2 * p->settings.timeout_max_ms;
        if (p->horizon_ms <= least)
                return fail(p, ASSENT_E_CONFIG, "assent.horizon_ms is %" PRId64 "; it must exceed window_ms + skew_ms + "
                            "2 * timeout_max_ms = %" PRId64 " (P12)", p->horizon_ms, least);
        p->grace_ms = p->settings.grace_ms;
        p->retry_ms = assent_config_int(config, "assent.retry_ms");
        p->retry_max_ms = assent_config_int(config, "assent.retry_max_ms");
        p->cut_off_commits = strcmp(assent_config_get(config, "assent.pre_commit_cut_off"), "commit") == 0;
        p->codec = assent_codec_open(p->settings.record_bytes_max);
        p->peek = assent_codec_open(p->settings.record_bytes_max);
        if (!p->codec || !p->peek || !assent_open_branches_open(&p->open, OPEN_MEMORY_MAX) || assent_works_open(&p->works) ||
            !assent_watch_open(&p->watch.intake.common, "participant", p->options.service))
                return fail(p, ASSENT_E_MEMORY, "out of memory");
        enum assent_err err = open_store(p);
        if (!err)
                err = connect_bus(p);
        if (!err)
                err = verify_settings(p);
        if (!err)
                err = write_identity(p);
        return err ? err : take_lanes(p);
}

enum assent_err assent_participant_open(const struct assent_participant_options *options, struct assent_participant **out)
{
        struct assent_participant *p = calloc(1, sizeof *p);
        *out = p;
        if (!p)
                return ASSENT_E_MEMORY;
        if (options->struct_size != sizeof *options || !options->service || !options->config || !options->handlers ||
            !options->handlers->prepare || !options->handlers->commit || !options->handlers->abort)
                return fail(p, ASSENT_E_ARGUMENT, "options need ASSENT_PARTICIPANT_OPTIONS_INIT, a service, a config, and the "
                                                  "handlers prepare, commit and abort");
        p->options = *options;
        return open_all(p);
}

static enum assent_err drain(struct assent_participant *p, enum assent_err err)
{
        assent_works_close(&p->works);
        if (!err)
                err = assent_participant_step(p, 0); /* what was let in before */
        if (!err)
                assent_intake_drain(p->intake, (int)assent_config_int(p->options.config, "assent.stop_timeout_ms"));
        return err;
}

static enum assent_err turn_object(void *object)
{
        return assent_participant_step(object, 100);
}

enum assent_err assent_participant_run(struct assent_participant *p)
{
        enum assent_err err = p->failed;
        while (!err && !p->stopping)
                err = turn_object(p);
        return drain(p, err);
}

enum assent_err assent_participant_submit(struct assent_participant *p, const struct assent_work *work)
{
        if (!work->run || !work->done || p->stopping)
                return ASSENT_E_ARGUMENT;
        enum assent_err err = assent_works_put(&p->works, work);
        if (!err)
                assent_bus_wake(p->bus);
        return err;
}

void assent_participant_stop(struct assent_participant *p)
{
        p->stopping = 1;
        assent_watch_set(&p->watch.intake.common.stopping, 1);
}

static void metrics(void *context, struct assent_exposition *out)
{
        struct assent_participant *p = context;
        assent_participant_metrics(&p->watch, out);
        if (p->options.metrics)
                p->options.metrics(p->options.app, out);
}

static bool ready(void *context, char why[ASSENT_READY_SIZE_MAX])
{
        struct assent_participant *p = context;
        return assent_watch_ready(&p->watch.intake.common, why);
}

void assent_participant_source(struct assent_participant *p, struct assent_observer_source *source)
{
        *source = (struct assent_observer_source){
                .name = p->watch.intake.common.name, .metrics = metrics, .ready = ready, .context = p};
}

const char *assent_participant_errmsg(const struct assent_participant *p)
{
        return p->errmsg;
}

static void log_counts(const struct assent_participant *p)
{
        const struct assent_outbox_counts *events = assent_intake_events(p->intake);
        struct assent_field fields[ASSENT_PV_COUNT + 6];
        size_t count = 0;
        for (int i = 0; i < ASSENT_PV_COUNT; i++)
                fields[count++] = ASSENT_INT(assent_participant_verdict_name((enum assent_participant_verdict)i),
                                             p->watch.verdicts[i]);
        fields[count++] = ASSENT_INT("inquired", p->watch.inquired);
        fields[count++] = ASSENT_INT("terminated", p->watch.terminated);
        fields[count++] = ASSENT_INT("forgotten", p->forgotten);
        fields[count++] = ASSENT_INT("events", events->acknowledged);
        fields[count++] = ASSENT_INT("events_refused", events->refused);
        fields[count++] = ASSENT_INT("open", assent_open_branches_count(&p->open));
        assent_log_write(ASSENT_LOG_INFO, "stopped", fields, count);
}

void assent_participant_close(struct assent_participant *p)
{
        if (!p)
                return;
        if (p->intake && assent_log_enabled(ASSENT_LOG_INFO))
                log_counts(p);
        if (p->works.opened)
                assent_works_fail(&p->works, p->failed ? p->failed : ASSENT_E_ARGUMENT);
        assent_works_free(&p->works);
        assent_store_close(p->store); /* before the consumer: nothing may run after the owner lock is gone */
        assent_intake_close(p->intake);
        assent_bus_close(p->bus);
        assent_open_branches_close(&p->open);
        assent_codec_close(p->codec);
        assent_codec_close(p->peek);
        assent_watch_close(&p->watch.intake.common);
        free(p->marks);
        free(p);
}

static void stop_object(void *object)
{
        assent_participant_stop(object);
}

int assent_participant_main(int argc, char **argv, const char *description, const struct assent_flag *flags,
                            struct assent_participant_options *options,
                            enum assent_err (*configured)(void *app, const struct assent_config *config))
{
        struct assent_config *config;
        if (assent_config_open(&config))
                return 1;
        int first;
        int status = assent_config_arguments(config, argc, argv, "[OPTION]…", description, flags, &first);
        if (status < 0) {
                options->config = config;
                struct assent_participant *p = NULL;
                struct assent_observer *observer = NULL;
                struct assent_observer_source source = {0};
                assent_service_signals(NULL, NULL);
                assent_store_process();
                enum assent_err err = configured ? configured(options->app, config) : ASSENT_OK;
                if (!err)
                        err = assent_observer_open(config, program_invocation_short_name, &observer);
                if (!err)
                        err = assent_participant_open(options, &p);
                if (!err && options->opened)
                        err = options->opened(options->app, p);
                bool opened = !err;
                if (!err) {
                        assent_participant_source(p, &source);
                        assent_observer_add(observer, &source);
                        assent_service_signals(stop_object, p);
                        assent_log(ASSENT_LOG_INFO, "ready", ASSENT_TEXT("topic", p->commands),
                                   ASSENT_INT("lanes", p->report.lanes),
                                   ASSENT_INT("open", assent_open_branches_count(&p->open)));
                        err = drain(p, assent_service_run(&source, turn_object, p, &p->stopping));
                }
                if (err)
                        assent_service_failed(err, p ? assent_participant_errmsg(p) : assent_observer_errmsg(observer));
                assent_service_signals(NULL, NULL);
                assent_observer_remove(observer, source.context);
                if (opened && options->closing)
                        options->closing(options->app);
                assent_participant_close(p);
                assent_observer_close(observer);
                status = err ? 1 : 0;
        }
        assent_config_close(config);
        return status;
}
