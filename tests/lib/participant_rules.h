/* participant_rules.h: what P3 to P9 and P12 make of a command, said a second time and sharing no line with the core.
 * For the test of the whole table and for the fuzz target. */
#ifndef PARTICIPANT_RULES_H
#define PARTICIPANT_RULES_H

#include "core/ids.h"
#include "core/participant.h"

struct verdict {
        enum assent_action action;
        enum assent_participant_verdict verdict;
        enum assent_branch_state state;
        enum assent_answer answer; /* STORE */
        bool frozen;
        int parked;
};

/* The rules again, as prose in order. */
static inline struct verdict rules(const struct assent_branch_row *row, const struct assent_message *command,
                                   int64_t tau, int64_t horizon, bool redelivered, enum assent_source source)
{
        enum assent_phase phase = command->body.command.phase;
        int64_t deadline = command->body.command.deadline_ms;
        bool first = phase == ASSENT_PREPARE || phase == ASSENT_CAN_COMMIT;
        bool decision = phase == ASSENT_COMMIT || phase == ASSENT_ABORT;
        const struct assent_slot *slot = &row->slots[first ? 0 : decision ? 2 : 1];
        bool same = slot->phase == phase && (slot->digest == 0 || slot->digest == assent_message_digest(command));
        struct verdict v = {.state = row->state, .frozen = row->frozen, .parked = row->parked};
#define SAY(a, why) (v.action = ASSENT_##a, v.verdict = ASSENT_PV_##why, v)
        if (redelivered)
                return same ? SAY(RESEND, REDELIVERED) : SAY(SKIP, REDELIVERED);
        if (source == ASSENT_FROM_PARKING)
                v.parked--;
        if (same)
                return SAY(RESEND, DUPLICATE);
        if (slot->phase == phase || (slot->phase && first))
                return SAY(SKIP, CONFLICT);
        if (row->frozen)
                return SAY(SKIP, FROZEN);
        if (row->parked && source != ASSENT_FROM_PARKING) {
                if (source == ASSENT_FROM_EVALUATION || row->parked == ASSENT_PARKED_MAX)
                        return SAY(SKIP, PARKED);
                v.parked++;
                return SAY(QUEUE, PARKED);
        }
        bool none = row->state == ASSENT_BRANCH_NONE;
        if (none && tau > deadline + horizon)
                return first ? SAY(SKIP, LATE_PREPARE) : SAY(ANSWER, BEYOND_HORIZON);
        if (first) {
                v.answer = ASSENT_NO;
                if (row->state == ASSENT_BRANCH_TOMBSTONE)
                        return SAY(STORE, TOMBSTONE);
                if (tau > deadline) {
                        v.state = ASSENT_BRANCH_REFUSED;
                        return SAY(STORE, EXPIRED);
                }
                v.parked = row->parked; /* the handler has the word */
                return SAY(RUN_PREPARE, APPLIED);
        }
        v.answer = ASSENT_DONE;
        if (phase == ASSENT_ABORT) {
                if (none) {
                        v.state = ASSENT_BRANCH_TOMBSTONE;
                        return SAY(STORE, TOMBSTONE);
                }
                if (row->state == ASSENT_BRANCH_REFUSED || row->state == ASSENT_BRANCH_READ_ONLY)
                        return SAY(STORE, APPLIED);
                if (row->state == ASSENT_BRANCH_PREPARED) {
                        v.parked = row->parked;
                        return SAY(RUN_ABORT, APPLIED);
                }
        } else if (row->state == ASSENT_BRANCH_PREPARED ||
                   (phase == ASSENT_COMMIT && row->state == ASSENT_BRANCH_PRE_COMMITTED)) {
                v.parked = row->parked;
                return phase == ASSENT_COMMIT ? SAY(RUN_COMMIT, APPLIED) : SAY(RUN_PRE_COMMIT, APPLIED);
        } else if (phase == ASSENT_PRE_COMMIT && row->state == ASSENT_BRANCH_COMMITTED) {
                return SAY(STORE, APPLIED);
        }
        v.frozen = true;
        return SAY(FREEZE, CONTRADICTION);
#undef SAY
}

#endif
