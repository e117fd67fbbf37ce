/* participant.c: what a command means for a branch (P3 to P9, P12). The table that decides stands
 * in states.c; here is what comes before it (answers already given, frozen branches, queues) and
 * what a move does to the row. */
#include "core/participant.h"

#include <string.h>

#include "base/panic.h"
#include "base/text.h"
#include "core/ids.h"
#include "core/states.h"

int assent_slot_of(enum assent_phase phase)
{
        ASSENT_ASSERT(phase >= ASSENT_PREPARE && phase <= ASSENT_ABORT);
        if (assent_phase_is_first(phase))
                return ASSENT_SLOT_FIRST;
        return phase == ASSENT_PRE_COMMIT ? ASSENT_SLOT_PRE_COMMIT : ASSENT_SLOT_DECISION;
}

/* Past by more than the horizon, in a form that no deadline from the wire can overflow. */
static bool beyond_horizon(int64_t deadline_ms, int64_t tau_ms, int64_t horizon_ms)
{
        ASSENT_ASSERT(horizon_ms >= 0);
        return tau_ms >= INT64_MIN + horizon_ms && deadline_ms < tau_ms - horizon_ms;
}

static uint32_t clamp_lamport(uint64_t lamport)
{
        return lamport < ASSENT_LAMPORT_MAX ? (uint32_t)lamport : ASSENT_LAMPORT_MAX;
}

uint16_t assent_reason_copy(char out[ASSENT_REASON_SIZE_MAX], struct assent_bytes reason)
{
        const char *text = reason.data;
        size_t size = 0;

        while (size < reason.size && text[size])
                size++;
        size = assent_utf8_cut(text, size, ASSENT_REASON_SIZE_MAX);
        ASSENT_ASSERT(size <= ASSENT_REASON_SIZE_MAX);
        if (size > 0)
                memcpy(out, text, size);
        return (uint16_t)size;
}

/* P2: what came by the lane is read again from the resend cursor; nothing else is. */
static void store_answer(struct assent_branch_row *row, const struct assent_message *command,
                         enum assent_answer answer, struct assent_bytes reason,
                         enum assent_source source)
{
        struct assent_slot *slot = &row->slots[assent_slot_of(command->body.command.phase)];

        ASSENT_ASSERT(!slot->phase);
        slot->phase = command->body.command.phase;
        slot->answer = answer;
        slot->digest = source == ASSENT_FROM_CUT_OFF ? 0 : assent_message_digest(command);
        slot->lamport = clamp_lamport((uint64_t)row->lamport + 1); /* R-LAMPORT */
        slot->unpublished = source != ASSENT_FROM_LANE;
        if (answer == ASSENT_NO)
                row->reason_size = assent_reason_copy(row->reason, reason);
}

/* Does what the table says, and keeps count of the branch's queue. */
static struct assent_judgement move(struct assent_branch_row *row,
                                    const struct assent_message *command,
                                    enum assent_branch_event event, struct assent_bytes reason,
                                    enum assent_source source)
{
        const struct assent_branch_move *step = assent_branch_move(row->state, event);
        struct assent_judgement judgement = {
            .action = step->action,
            .verdict = step->verdict,
            .slot = assent_slot_of(command->body.command.phase),
        };
        ASSENT_ASSERT(step->action);

        bool runs = step->action >= ASSENT_RUN_PREPARE && step->action <= ASSENT_RUN_ABORT;
        if (step->action == ASSENT_STORE)
                store_answer(row, command, step->answer,
                             step->reason ? assent_bytes_of(step->reason) : reason, source);
        if (step->action == ASSENT_FREEZE)
                row->frozen = true; /* P8 */
        if (step->action == ASSENT_QUEUE && source == ASSENT_FROM_LANE)
                row->parked++;
        if (step->action != ASSENT_QUEUE && !runs && source == ASSENT_FROM_PARKING)
                row->parked--;
        row->state = step->next;
        assent_branch_check(row);
        return judgement;
}

/* What the row remembers of a command whatever comes of it. */
static void note(struct assent_branch_row *row, const struct assent_message *command,
                 int64_t offset)
{
        uint32_t lamport = clamp_lamport(command->lamport);

        if (offset > row->offset)
                row->offset = offset;
        if (lamport > row->lamport)
                row->lamport = lamport;
        if (command->body.command.deadline_ms > row->deadline_ms)
                row->deadline_ms = command->body.command.deadline_ms;
}

static struct assent_judgement skip(struct assent_branch_row *row,
                                    enum assent_participant_verdict verdict, int slot,
                                    enum assent_source source)
{
        if (source == ASSENT_FROM_PARKING)
                row->parked--;
        assent_branch_check(row);
        return (struct assent_judgement){.action = ASSENT_SKIP, .verdict = verdict, .slot = slot};
}

/* P3, for a phase that has an answer. The same id under another digest is never applied. */
static struct assent_judgement repeat(struct assent_branch_row *row,
                                      const struct assent_message *command, int64_t offset,
                                      enum assent_source source)
{
        int index = assent_slot_of(command->body.command.phase);
        struct assent_slot *slot = &row->slots[index];
        uint64_t digest = assent_message_digest(command);

        if (slot->phase != command->body.command.phase || (slot->digest && slot->digest != digest))
                return skip(row, ASSENT_PV_CONFLICT, index, source);
        slot->digest = digest; /* P7 answered without one */
        note(row, command, offset);
        if (source == ASSENT_FROM_PARKING)
                row->parked--;
        assent_branch_check(row);
        return (struct assent_judgement){
            .action = ASSENT_RESEND, .verdict = ASSENT_PV_DUPLICATE, .slot = index};
}

/* P9: the queue keeps the lane's order. What has no record cannot wait in it, and comes again
 * (P10). */
static struct assent_judgement queue(struct assent_branch_row *row,
                                     const struct assent_message *command, int64_t offset,
                                     enum assent_source source)
{
        int slot = assent_slot_of(command->body.command.phase);

        ASSENT_ASSERT(source != ASSENT_FROM_PARKING);
        if (source != ASSENT_FROM_LANE || row->parked >= ASSENT_PARKED_MAX)
                return skip(row, ASSENT_PV_PARKED, slot, source);
        note(row, command, offset);
        row->parked++;
        assent_branch_check(row);
        return (struct assent_judgement){
            .action = ASSENT_QUEUE, .verdict = ASSENT_PV_PARKED, .slot = slot};
}

/* P11: what was read before is answered as it was then; the row stays untouched. */
static struct assent_judgement redeliver(const struct assent_branch_row *row,
                                         const struct assent_message *command)
{
        int index = assent_slot_of(command->body.command.phase);
        const struct assent_slot *slot = &row->slots[index];
        bool same = slot->phase == command->body.command.phase &&
                    (!slot->digest || slot->digest == assent_message_digest(command));

        return (struct assent_judgement){.action = same ? ASSENT_RESEND : ASSENT_SKIP,
                                         .verdict = ASSENT_PV_REDELIVERED,
                                         .slot = index};
}

/* The horizon matters only where no row remembers (P4, P12). */
static enum assent_branch_event event_of(const struct assent_branch_row *row,
                                         const struct assent_message *command, int64_t tau_ms,
                                         int64_t horizon_ms)
{
        int64_t deadline_ms = command->body.command.deadline_ms;
        bool late =
            row->state == ASSENT_BRANCH_NONE && beyond_horizon(deadline_ms, tau_ms, horizon_ms);

        if (assent_phase_is_first(command->body.command.phase)) {
                if (late)
                        return ASSENT_EVENT_PREPARE_LATE;
                return tau_ms > deadline_ms ? ASSENT_EVENT_PREPARE_EXPIRED : ASSENT_EVENT_PREPARE;
        }
        if (late)
                return ASSENT_EVENT_COPY_LATE;
        if (command->body.command.phase == ASSENT_PRE_COMMIT)
                return ASSENT_EVENT_PRE_COMMIT;
        return command->body.command.phase == ASSENT_COMMIT ? ASSENT_EVENT_COMMIT
                                                            : ASSENT_EVENT_ABORT;
}

/* A row's identity (P4b); the lane is the caller's to set. */
static void found(struct assent_branch_row *row, const struct assent_message *command)
{
        row->txn_id = command->txn_id;
        row->branch = command->body.command.branch;
        row->branches_count = command->body.command.branches_count;
        row->deadline_ms = command->body.command.deadline_ms;
}

struct assent_judgement assent_branch_judge(struct assent_branch_row *row,
                                            const struct assent_message *command, int64_t offset,
                                            int64_t tau_ms, int64_t horizon_ms, bool redelivered,
                                            enum assent_source source)
{
        ASSENT_ASSERT(command->type == ASSENT_COMMAND);
        ASSENT_ASSERT(!redelivered || source == ASSENT_FROM_LANE);
        ASSENT_ASSERT(source != ASSENT_FROM_PARKING || row->parked > 0);
        assent_branch_check(row);

        enum assent_phase phase = command->body.command.phase;
        int slot = assent_slot_of(phase);
        enum assent_phase answered = row->slots[slot].phase;
        if (source == ASSENT_FROM_CUT_OFF) /* P7: in PREPARED it never decides alone */
                ASSENT_ASSERT(phase == ASSENT_COMMIT && !row->frozen && !row->parked &&
                              row->state == ASSENT_BRANCH_PRE_COMMITTED);

        if (redelivered)
                return redeliver(row, command);
        if (row->state == ASSENT_BRANCH_NONE)
                found(row, command);
        /* COMMIT and ABORT share a slot and an id: one after the other is more than a conflict
         * (P8). */
        bool contrary = slot == ASSENT_SLOT_DECISION && answered && answered != phase;
        if (answered && !contrary)
                return repeat(row, command, offset, source);
        if (row->frozen)
                return skip(row, ASSENT_PV_FROZEN, slot, source);
        if (row->parked > 0 && source != ASSENT_FROM_PARKING)
                return queue(row, command, offset, source);
        note(row, command, offset);
        return move(row, command, event_of(row, command, tau_ms, horizon_ms),
                    (struct assent_bytes){0}, source);
}

static enum assent_branch_event said_event(enum assent_phase phase, enum assent_said said)
{
        bool first = assent_phase_is_first(phase);

        if (said == ASSENT_SAID_RETRY)
                return first ? ASSENT_EVENT_PREPARE_RETRY : ASSENT_EVENT_LATER_RETRY;
        ASSENT_ASSERT(first == (said != ASSENT_SAID_DONE));
        switch (said) {
        case ASSENT_SAID_YES:
                return ASSENT_EVENT_YES;
        case ASSENT_SAID_NO:
                return ASSENT_EVENT_NO;
        case ASSENT_SAID_READ_ONLY:
                return ASSENT_EVENT_READ_ONLY;
        default:
                ASSENT_ASSERT(said == ASSENT_SAID_DONE);
        }
        if (phase == ASSENT_PRE_COMMIT)
                return ASSENT_EVENT_PRE_COMMIT_DONE;
        return phase == ASSENT_COMMIT ? ASSENT_EVENT_COMMIT_DONE : ASSENT_EVENT_ABORT_DONE;
}

struct assent_judgement assent_branch_settle(struct assent_branch_row *row,
                                             const struct assent_message *command,
                                             enum assent_said said, struct assent_bytes reason,
                                             enum assent_source source)
{
        ASSENT_ASSERT(command->type == ASSENT_COMMAND && !row->frozen);
        enum assent_phase phase = command->body.command.phase;
        bool recorded = source == ASSENT_FROM_LANE || source == ASSENT_FROM_PARKING;

        if (said == ASSENT_SAID_RETRY && !recorded)
                return skip(row, ASSENT_PV_PARKED, assent_slot_of(phase), source);
        return move(row, command, said_event(phase, said), reason, source);
}

bool assent_branch_in_doubt(const struct assent_branch_row *row)
{
        return !row->frozen &&
               (row->state == ASSENT_BRANCH_PREPARED || row->state == ASSENT_BRANCH_PRE_COMMITTED);
}

static bool unpublished(const struct assent_branch_row *row)
{
        for (int i = 0; i < ASSENT_SLOTS; i++)
                if (row->slots[i].unpublished)
                        return true;
        return false;
}

bool assent_branch_forgettable(const struct assent_branch_row *row, int64_t cursor, int64_t tau_ms,
                               int64_t horizon_ms, int64_t timeout_max_ms)
{
        bool pre_commit_may_come = row->slots[ASSENT_SLOT_FIRST].phase == ASSENT_CAN_COMMIT &&
                                   !row->slots[ASSENT_SLOT_PRE_COMMIT].phase;

        return assent_branch_state_final(row->state) && !row->frozen && row->parked == 0 &&
               !unpublished(row) && row->offset < cursor &&
               beyond_horizon(row->deadline_ms, tau_ms,
                              horizon_ms + (pre_commit_may_come ? timeout_max_ms : 0));
}

bool assent_branch_open(const struct assent_branch_row *row)
{
        return assent_branch_in_doubt(row) || row->parked > 0 || unpublished(row) || row->frozen;
}

void assent_branch_reply(const struct assent_branch_row *row, int slot, struct assent_bytes service,
                         struct assent_message *reply)
{
        ASSENT_ASSERT(slot >= 0 && slot < ASSENT_SLOTS);
        const struct assent_slot *stored = &row->slots[slot];
        ASSENT_ASSERT(stored->phase);

        *reply = (struct assent_message){
            .type = ASSENT_REPLY, .txn_id = row->txn_id, .lamport = stored->lamport};
        reply->body.reply.branch = row->branch;
        reply->body.reply.service = service;
        reply->body.reply.phase = stored->phase;
        reply->body.reply.answer = stored->answer;
        if (stored->answer == ASSENT_NO)
                reply->body.reply.reason =
                    (struct assent_bytes){.data = row->reason, .size = row->reason_size};
        assent_message_seal(reply);
}

void assent_command_done(const struct assent_message *command, struct assent_message *reply)
{
        ASSENT_ASSERT(command->type == ASSENT_COMMAND);
        ASSENT_ASSERT(!assent_phase_is_first(command->body.command.phase));

        *reply = (struct assent_message){.type = ASSENT_REPLY,
                                         .txn_id = command->txn_id,
                                         .lamport = clamp_lamport(command->lamport + 1)};
        reply->body.reply.branch = command->body.command.branch;
        reply->body.reply.service = command->body.command.service;
        reply->body.reply.phase = command->body.command.phase;
        reply->body.reply.answer = ASSENT_DONE;
        assent_message_seal(reply);
}
