/* Every row that can be × every command, time, source and delivery, judged by the core and by a
 * second statement of the rules (P3 to P9, P12) that shares no line with it. */
#include <criterion/criterion.h>
#include <string.h>

#include "../lib/participant_rules.h"
#include "core/ids.h"
#include "core/participant.h"

enum { DEADLINE = 1000, HORIZON = 500, LAMPORT = 7, OFFSET = 40 };

static struct assent_message command_of(enum assent_phase phase, uint16_t branches_count)
{
        struct assent_message message = {.type = ASSENT_COMMAND, .lamport = LAMPORT};

        message.txn_id.bytes[0] = 1;
        message.body.command.branch = 3;
        message.body.command.branches_count = branches_count; /* another count is another digest */
        message.body.command.service = assent_bytes_of("payment");
        message.body.command.phase = phase;
        message.body.command.deadline_ms = DEADLINE;
        assent_message_seal(&message);
        return message;
}

static void answered(struct assent_branch_row *row, enum assent_phase phase,
                     enum assent_answer answer)
{
        struct assent_message message = command_of(phase, 5);

        row->slots[assent_slot_of(phase)] =
            (struct assent_slot){.phase = phase,
                                 .answer = answer,
                                 .digest = assent_message_digest(&message),
                                 .lamport = 9};
}

enum { SHAPES = 14 };

/* The rows that the rules can lead to, one a shape. */
static struct assent_branch_row row_of(int shape)
{
        static const struct {
                enum assent_branch_state state;
                enum assent_answer vote;
                bool pre_commit;
                enum assent_phase decision;
        } shapes[SHAPES] = {
            {ASSENT_BRANCH_NONE, 0, false, 0},
            {ASSENT_BRANCH_PARKED, 0, false, 0},
            {ASSENT_BRANCH_PREPARED, ASSENT_YES, false, 0},
            {ASSENT_BRANCH_PRE_COMMITTED, ASSENT_YES, true, 0},
            {ASSENT_BRANCH_COMMITTED, ASSENT_YES, false, ASSENT_COMMIT},
            {ASSENT_BRANCH_COMMITTED, ASSENT_YES, true, ASSENT_COMMIT},
            {ASSENT_BRANCH_ABORTED, ASSENT_YES, false, ASSENT_ABORT},
            {ASSENT_BRANCH_REFUSED, ASSENT_NO, false, 0},
            {ASSENT_BRANCH_REFUSED, ASSENT_NO, false, ASSENT_ABORT},
            {ASSENT_BRANCH_READ_ONLY, ASSENT_READ_ONLY, false, 0},
            {ASSENT_BRANCH_READ_ONLY, ASSENT_READ_ONLY, false, ASSENT_ABORT},
            {ASSENT_BRANCH_TOMBSTONE, 0, false, ASSENT_ABORT},
            {ASSENT_BRANCH_TOMBSTONE, ASSENT_NO, false, ASSENT_ABORT},
            {ASSENT_BRANCH_COMMITTED, ASSENT_YES, true, ASSENT_COMMIT},
        };
        struct assent_branch_row row = {.state = shapes[shape].state, .offset = -1};

        if (row.state == ASSENT_BRANCH_NONE)
                return row;
        row.txn_id.bytes[0] = 1;
        row.branch = 3;
        row.branches_count = 5;
        row.deadline_ms = DEADLINE;
        row.lamport = 5;
        row.offset = 20;
        if (shapes[shape].vote)
                answered(&row, ASSENT_PREPARE, shapes[shape].vote);
        if (shapes[shape].pre_commit)
                answered(&row, ASSENT_PRE_COMMIT, ASSENT_DONE);
        if (shapes[shape].decision)
                answered(&row, shapes[shape].decision, ASSENT_DONE);
        if (shape == SHAPES - 1) /* decided by P7 */
                row.slots[ASSENT_SLOT_DECISION].digest = 0;
        return row;
}

static void compare(const struct assent_branch_row *before, const struct assent_message *command,
                    int64_t tau, bool redelivered, enum assent_source source)
{
        struct assent_branch_row row = *before;
        struct verdict want = rules(before, command, tau, HORIZON, redelivered, source);
        struct assent_judgement got =
            assent_branch_judge(&row, command, OFFSET, tau, HORIZON, redelivered, source);
        const struct assent_slot *slot = &row.slots[got.slot];

        cr_assert(got.action == want.action && got.verdict == want.verdict &&
                      row.state == want.state && row.frozen == want.frozen &&
                      row.parked == want.parked,
                  "%s frozen %d parked %d, %s at %lld, source %d redelivered %d: "
                  "action %d %s, state %s parked %d; wanted action %d %s, state %s parked %d",
                  assent_branch_state_name(before->state), before->frozen, before->parked,
                  assent_phase_name(command->body.command.phase), (long long)tau, (int)source,
                  redelivered, (int)got.action, assent_participant_verdict_name(got.verdict),
                  assent_branch_state_name(row.state), row.parked, (int)want.action,
                  assent_participant_verdict_name(want.verdict),
                  assent_branch_state_name(want.state), want.parked);
        if (redelivered)
                cr_assert_eq(memcmp(&row, before, sizeof(row)), 0, "a redelivery changed the row");
        if (got.action == ASSENT_STORE) {
                cr_assert_eq(slot->answer, want.answer);
                cr_assert_eq(slot->phase, command->body.command.phase);
                cr_assert_eq(slot->digest, assent_message_digest(command));
                cr_assert_eq(slot->lamport, LAMPORT + 1);
                cr_assert_eq(slot->unpublished, source != ASSENT_FROM_LANE); /* P2 */
        }
        if (got.action == ASSENT_RESEND && !redelivered)
                cr_assert_eq(slot->digest, assent_message_digest(command));
}

/* One shape of row against all commands; returns how many were compared. */
static int sweep(const struct assent_branch_row *row)
{
        static const int64_t taus[] = {0, DEADLINE, DEADLINE + 1, DEADLINE + HORIZON,
                                       DEADLINE + HORIZON + 1};
        int count = 0;

        for (enum assent_phase phase = ASSENT_PREPARE; phase <= ASSENT_ABORT; phase++)
                for (uint16_t branches = 5; branches <= 6; branches++)
                        for (size_t t = 0; t < 5; t++) {
                                struct assent_message command = command_of(phase, branches);
                                compare(row, &command, taus[t], false, ASSENT_FROM_LANE);
                                compare(row, &command, taus[t], true, ASSENT_FROM_LANE);
                                compare(row, &command, taus[t], false, ASSENT_FROM_EVALUATION);
                                count += 3;
                                /* the head of a PARKED branch's queue is its first phase */
                                if (row->parked == 0 || (row->state == ASSENT_BRANCH_PARKED &&
                                                         !assent_phase_is_first(phase)))
                                        continue;
                                compare(row, &command, taus[t], false, ASSENT_FROM_PARKING);
                                count++;
                        }
        return count;
}

Test(participant_core_table, every_state_event_source_and_delivery_follows_the_rules)
{
        static const uint8_t queues[] = {0, 1, ASSENT_PARKED_MAX - 1, ASSENT_PARKED_MAX};
        int count = 0;

        for (int shape = 0; shape < SHAPES; shape++)
                for (int frozen = 0; frozen < 2; frozen++)
                        for (size_t q = 0; q < 4; q++) {
                                struct assent_branch_row row = row_of(shape);
                                row.frozen = frozen;
                                row.parked = queues[q];
                                if ((row.state == ASSENT_BRANCH_NONE && row.parked) ||
                                    (row.state == ASSENT_BRANCH_PARKED && (!row.parked || frozen)))
                                        continue;
                                count += sweep(&row);
                        }
        cr_assert_eq(count, 18810, "%d combinations", count);
}

/* What each handler's word does, from every state in which it can be asked. */
Test(participant_core_table, every_word_of_a_handler_moves_the_row)
{
        static const struct {
                int shape;
                enum assent_phase phase;
                enum assent_said said;
                enum assent_branch_state next;
                enum assent_answer answer; /* 0: QUEUE */
        } words[] = {
            {0, ASSENT_PREPARE, ASSENT_SAID_YES, ASSENT_BRANCH_PREPARED, ASSENT_YES},
            {0, ASSENT_PREPARE, ASSENT_SAID_NO, ASSENT_BRANCH_REFUSED, ASSENT_NO},
            {0, ASSENT_CAN_COMMIT, ASSENT_SAID_READ_ONLY, ASSENT_BRANCH_READ_ONLY,
             ASSENT_READ_ONLY},
            {0, ASSENT_CAN_COMMIT, ASSENT_SAID_RETRY, ASSENT_BRANCH_PARKED, 0},
            {1, ASSENT_PREPARE, ASSENT_SAID_YES, ASSENT_BRANCH_PREPARED, ASSENT_YES},
            {1, ASSENT_PREPARE, ASSENT_SAID_NO, ASSENT_BRANCH_REFUSED, ASSENT_NO},
            {1, ASSENT_PREPARE, ASSENT_SAID_READ_ONLY, ASSENT_BRANCH_READ_ONLY, ASSENT_READ_ONLY},
            {1, ASSENT_PREPARE, ASSENT_SAID_RETRY, ASSENT_BRANCH_PARKED, 0},
            {2, ASSENT_PRE_COMMIT, ASSENT_SAID_DONE, ASSENT_BRANCH_PRE_COMMITTED, ASSENT_DONE},
            {2, ASSENT_PRE_COMMIT, ASSENT_SAID_RETRY, ASSENT_BRANCH_PREPARED, 0},
            {2, ASSENT_COMMIT, ASSENT_SAID_DONE, ASSENT_BRANCH_COMMITTED, ASSENT_DONE},
            {2, ASSENT_COMMIT, ASSENT_SAID_RETRY, ASSENT_BRANCH_PREPARED, 0},
            {2, ASSENT_ABORT, ASSENT_SAID_DONE, ASSENT_BRANCH_ABORTED, ASSENT_DONE},
            {2, ASSENT_ABORT, ASSENT_SAID_RETRY, ASSENT_BRANCH_PREPARED, 0},
            {3, ASSENT_COMMIT, ASSENT_SAID_DONE, ASSENT_BRANCH_COMMITTED, ASSENT_DONE},
            {3, ASSENT_COMMIT, ASSENT_SAID_RETRY, ASSENT_BRANCH_PRE_COMMITTED, 0},
        };
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
                for (enum assent_source source = ASSENT_FROM_LANE; source <= ASSENT_FROM_PARKING;
                     source++) {
                        struct assent_branch_row row = row_of(words[i].shape);
                        row.parked = source == ASSENT_FROM_PARKING || words[i].shape == 1 ? 2 : 0;
                        if (words[i].shape == 0 && source == ASSENT_FROM_PARKING)
                                continue;
                        if (words[i].shape == 1 && source == ASSENT_FROM_LANE)
                                continue;
                        struct assent_message command = command_of(words[i].phase, 5);
                        int parked = row.parked;
                        struct assent_judgement got =
                            assent_branch_judge(&row, &command, OFFSET, 0, HORIZON, false, source);
                        cr_assert(got.action <= ASSENT_RUN_ABORT, "word %zu", i);
                        got = assent_branch_settle(&row, &command, words[i].said,
                                                   assent_bytes_of("why"), source);
                        cr_assert_eq(row.state, words[i].next, "word %zu", i);
                        cr_assert_eq(got.action, words[i].answer ? ASSENT_STORE : ASSENT_QUEUE);
                        cr_assert_eq(got.verdict,
                                     words[i].answer ? ASSENT_PV_APPLIED : ASSENT_PV_PARKED);
                        cr_assert_eq(row.slots[got.slot].answer, words[i].answer);
                        cr_assert_eq(row.slots[got.slot].unpublished,
                                     words[i].answer && source == ASSENT_FROM_PARKING);
                        cr_assert_eq(row.reason_size, words[i].answer == ASSENT_NO ? 3 : 0);
                        int change =
                            source == ASSENT_FROM_LANE ? !words[i].answer : -!!words[i].answer;
                        cr_assert_eq(row.parked, parked + change, "word %zu", i);
                }
}
