/* fuzz_participant.c: bytes become the life of one branch: commands from the lane, copies, redeliveries, a parking
 * queue, evaluations, a cut-off, handlers that say anything. The core is held against the second statement of the rules
 * (lib/participant_rules.h) at every command; answers, once given, never change. */
#include "../lib/participant_rules.h"
#include "core/ids.h"
#include "core/participant.h"
#include "core/states.h"
#include "fuzz.h"

enum { STEPS = 200, HORIZON = 500, TIMEOUT_MAX = 50, DEADLINE = 1000 };

struct life {
        struct fuzz_input input;
        struct assent_branch_row row;
        int64_t tau_ms, offset;
        struct assent_message queue[ASSENT_PARKED_MAX]; /* the parking table, first in front */
        int queued;
        uint64_t answers[ASSENT_SLOTS]; /* digests of the replies; 0: none yet */
};

static struct assent_message command_of(struct fuzz_input *input, enum assent_phase phase)
{
        static const int64_t deadlines[] = {0, 0, 0, 0, -400, 300, 1}; /* another deadline: another digest */
        struct assent_message m = {.type = ASSENT_COMMAND};
        unsigned how = fuzz_byte(input);
        m.txn_id.bytes[0] = 1;
        m.lamport = how & 63;
        m.body.command.branch = 3;
        m.body.command.branches_count = 5;
        m.body.command.service = assent_bytes_of("payment");
        m.body.command.phase = phase;
        m.body.command.deadline_ms = DEADLINE;
        if (how & 64)
                m.body.command.deadline_ms += deadlines[fuzz_below(input, sizeof deadlines / sizeof *deadlines)];
        if (phase == ASSENT_PRE_COMMIT)
                m.body.command.deadline_ms += 200; /* d2 */
        assent_message_seal(&m);
        return m;
}

/* What the handler's word makes of the row. */
struct word {
        bool stored;
        enum assent_branch_state state;
        enum assent_answer answer;
        int parked;
};

static struct word word_of(const struct assent_branch_row *row, enum assent_phase phase, enum assent_said said,
                           enum assent_source source)
{
        static const enum assent_branch_state voted[] = {[ASSENT_SAID_YES] = ASSENT_BRANCH_PREPARED,
                                                         [ASSENT_SAID_NO] = ASSENT_BRANCH_REFUSED,
                                                         [ASSENT_SAID_READ_ONLY] = ASSENT_BRANCH_READ_ONLY};
        static const enum assent_answer votes[] = {
            [ASSENT_SAID_YES] = ASSENT_YES, [ASSENT_SAID_NO] = ASSENT_NO, [ASSENT_SAID_READ_ONLY] = ASSENT_READ_ONLY};
        bool first = phase == ASSENT_PREPARE || phase == ASSENT_CAN_COMMIT;
        struct word word = {.stored = said != ASSENT_SAID_RETRY, .state = row->state, .parked = row->parked};
        if (!word.stored) { /* P9 */
                word.state = first ? ASSENT_BRANCH_PARKED : row->state;
                word.parked += source == ASSENT_FROM_LANE;
                return word;
        }
        word.parked -= source == ASSENT_FROM_PARKING;
        word.answer = first ? votes[said] : ASSENT_DONE;
        word.state = first                        ? voted[said]
                     : phase == ASSENT_PRE_COMMIT ? ASSENT_BRANCH_PRE_COMMITTED
                     : phase == ASSENT_COMMIT     ? ASSENT_BRANCH_COMMITTED
                                                  : ASSENT_BRANCH_ABORTED;
        return word;
}

/* Runs the handler. Returns the last word on the message. */
static enum assent_action handle(struct life *life, const struct assent_message *command, enum assent_source source)
{
        enum assent_phase phase = command->body.command.phase;
        bool first = phase == ASSENT_PREPARE || phase == ASSENT_CAN_COMMIT;
        unsigned how = fuzz_byte(&life->input);
        enum assent_said said = how & 1 ? ASSENT_SAID_RETRY : ASSENT_SAID_DONE;
        if (first)
                said = (enum assent_said[]){ASSENT_SAID_YES, ASSENT_SAID_YES, ASSENT_SAID_NO, ASSENT_SAID_READ_ONLY,
                                            ASSENT_SAID_RETRY}[how % 5];
        struct word want = word_of(&life->row, phase, said, source);
        struct assent_judgement got =
            assent_branch_settle(&life->row, command, said, assent_bytes_of(how & 128 ? "why" : ""), source);
        bool of_record = source == ASSENT_FROM_LANE || source == ASSENT_FROM_PARKING;
        const struct assent_slot *slot = &life->row.slots[got.slot];
        ASSENT_ASSERT(got.action == (want.stored ? ASSENT_STORE : of_record ? ASSENT_QUEUE : ASSENT_SKIP));
        ASSENT_ASSERT(life->row.state == want.state && life->row.parked == want.parked);
        if (want.stored) {
                ASSENT_ASSERT(slot->phase == phase && slot->answer == want.answer);
                ASSENT_ASSERT(slot->unpublished == (source != ASSENT_FROM_LANE)); /* P2 */
                ASSENT_ASSERT(slot->digest ==
                              (source == ASSENT_FROM_CUT_OFF ? 0 : assent_message_digest(command))); /* P7 */
        }
        return got.action;
}

static void compare(const struct assent_branch_row *before, const struct assent_branch_row *row,
                    const struct verdict *want, struct assent_judgement got, const struct assent_message *command)
{
        bool same = got.action == want->action && got.verdict == want->verdict && row->state == want->state &&
                    row->frozen == want->frozen && row->parked == want->parked;
        if (!same)
                fprintf(stderr, "%s parked %d, %s: action %d %s, state %s parked %d; wanted %d %s, %s parked %d\n",
                        assent_branch_state_name(before->state), before->parked,
                        assent_phase_name(command->body.command.phase), (int)got.action,
                        assent_participant_verdict_name(got.verdict), assent_branch_state_name(row->state), row->parked,
                        (int)want->action, assent_participant_verdict_name(want->verdict),
                        assent_branch_state_name(want->state), want->parked);
        ASSENT_ASSERT(same);
        if (got.action == ASSENT_STORE)
                ASSENT_ASSERT(row->slots[got.slot].answer == want->answer);
        if (got.action == ASSENT_RESEND)
                ASSENT_ASSERT(row->slots[got.slot].phase == command->body.command.phase);
        if (got.action == ASSENT_ANSWER) { /* P12 */
                struct assent_message done;
                assent_command_done(command, &done);
                ASSENT_ASSERT(assent_message_id_holds(&done) && done.body.reply.answer == ASSENT_DONE);
                ASSENT_ASSERT(done.body.reply.phase == command->body.command.phase && done.body.reply.branch == 3);
                ASSENT_ASSERT(done.lamport == command->lamport + 1);
        }
}

/* One command, from wherever. Returns whether it stays, or is now, in the parking table. */
static bool give(struct life *life, const struct assent_message *command, int64_t offset, bool redelivered,
                 enum assent_source source)
{
        const struct assent_branch_row before = life->row;
        struct verdict want = rules(&before, command, life->tau_ms, HORIZON, redelivered, source);
        struct assent_judgement got =
            assent_branch_judge(&life->row, command, offset, life->tau_ms, HORIZON, redelivered, source);
        compare(&before, &life->row, &want, got, command);
        if (redelivered)
                ASSENT_ASSERT(memcmp(&before, &life->row, sizeof before) == 0);
        enum assent_action last = got.action <= ASSENT_RUN_ABORT ? handle(life, command, source) : got.action;
        if ((last == ASSENT_SKIP || last == ASSENT_ANSWER) && source != ASSENT_FROM_PARKING)
                life->row = before; /* nothing is put */
        ASSENT_ASSERT(life->row.frozen >= before.frozen);
        if (assent_branch_state_final(before.state))
                ASSENT_ASSERT(life->row.state == before.state);
        return last == ASSENT_QUEUE;
}

/* P3: what was answered stays answered so, byte for byte. And the words that others ask the core for. */
static void settled(struct life *life)
{
        const struct assent_branch_row *row = &life->row;
        bool unpublished = false;
        for (int slot = 0; slot < ASSENT_SLOTS; slot++) {
                struct assent_message reply;
                unpublished = unpublished || row->slots[slot].unpublished;
                if (!row->slots[slot].phase) {
                        ASSENT_ASSERT(!life->answers[slot]);
                        continue;
                }
                assent_branch_reply(row, slot, assent_bytes_of("payment"), &reply);
                ASSENT_ASSERT(assent_message_id_holds(&reply));
                uint64_t print = assent_message_digest(&reply) ^ (reply.lamport << 32);
                ASSENT_ASSERT(!life->answers[slot] || life->answers[slot] == print);
                life->answers[slot] = print;
        }
        bool doubt = row->state == ASSENT_BRANCH_PREPARED || row->state == ASSENT_BRANCH_PRE_COMMITTED;
        bool final = row->state >= ASSENT_BRANCH_COMMITTED;
        if (row->state != ASSENT_BRANCH_NONE || row->frozen)
                assent_branch_check(row);
        ASSENT_ASSERT(row->parked == life->queued);
        ASSENT_ASSERT(assent_branch_in_doubt(row) == (doubt && !row->frozen));
        ASSENT_ASSERT(assent_branch_open(row) == (doubt || row->frozen || row->parked || unpublished));
        bool pre_commit = row->slots[0].phase == ASSENT_CAN_COMMIT && !row->slots[1].phase;
        ASSENT_ASSERT(assent_branch_forgettable(row, life->offset, life->tau_ms, HORIZON, TIMEOUT_MAX) ==
                      (final && !row->frozen && !row->parked && !unpublished && row->offset < life->offset &&
                       row->deadline_ms < life->tau_ms - HORIZON - (pre_commit ? TIMEOUT_MAX : 0))); /* P12 */
}

static void unpark(struct life *life)
{
        struct assent_message head = life->queue[0];
        if (give(life, &head, -1, false, ASSENT_FROM_PARKING))
                return;
        life->queued--;
        memmove(life->queue, life->queue + 1, (size_t)life->queued * sizeof head);
}

static void turn(struct life *life)
{
        static const int64_t steps[] = {0, 1, 10, 100, 500, 900};
        struct fuzz_input *in = &life->input;
        unsigned op = fuzz_byte(in);
        enum assent_phase phase = (enum assent_phase)(ASSENT_PREPARE + (op >> 4) % 5);
        enum assent_phase decision = op & 16 ? ASSENT_COMMIT : ASSENT_ABORT;
        struct assent_message m;
        switch (op & 7) {
        default:
                m = command_of(in, phase);
                if (give(life, &m, life->offset++, false, ASSENT_FROM_LANE))
                        life->queue[life->queued++] = m;
                break;
        case 4:
                m = command_of(in, phase);
                give(life, &m, life->offset > 0 ? life->offset - 1 : 0, true, ASSENT_FROM_LANE);
                break;
        case 5:
                if (life->queued)
                        unpark(life);
                break;
        case 6:
                m = command_of(in, decision);
                if (life->row.state == ASSENT_BRANCH_PRE_COMMITTED && !life->row.frozen && !life->queued && op & 8) {
                        m.body.command.phase = ASSENT_COMMIT;
                        give(life, &m, -1, false, ASSENT_FROM_CUT_OFF);
                } else if (assent_branch_in_doubt(&life->row)) {
                        give(life, &m, -1, false, ASSENT_FROM_EVALUATION);
                }
                break;
        case 7:
                life->tau_ms += steps[(op >> 3) % (sizeof steps / sizeof *steps)];
                for (int slot = 0; slot < ASSENT_SLOTS; slot++)
                        life->row.slots[slot].unpublished = life->row.slots[slot].unpublished && op & 128;
                break;
        }
        settled(life);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct life life;
        memset(&life, 0, sizeof life);
        life.input = (struct fuzz_input){data, size, 0};
        life.row.offset = -1;
        for (int i = 0; i < STEPS && fuzz_more(&life.input); i++)
                turn(&life);
        return 0;
}
