/* The participant's rules one by one, each as the situation it was made for. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "core/ids.h"
#include "core/participant.h"

enum { DEADLINE = 1000, HORIZON = 500, TIMEOUT_MAX = 50 };

static struct assent_message command_of(enum assent_phase phase, uint64_t lamport)
{
        struct assent_message message = {.type = ASSENT_COMMAND, .lamport = lamport};

        message.txn_id.bytes[0] = 1;
        message.body.command.branch = 3;
        message.body.command.branches_count = 5;
        message.body.command.service = assent_bytes_of("payment");
        message.body.command.phase = phase;
        message.body.command.deadline_ms = DEADLINE;
        assent_message_seal(&message);
        return message;
}

static struct assent_judgement judge(struct assent_branch_row *row, enum assent_phase phase,
                                     int64_t offset, int64_t tau, enum assent_source source)
{
        struct assent_message command = command_of(phase, 1);
        return assent_branch_judge(row, &command, offset, tau, HORIZON, false, source);
}

static struct assent_judgement settle(struct assent_branch_row *row, enum assent_phase phase,
                                      enum assent_said said, enum assent_source source)
{
        struct assent_message command = command_of(phase, 1);
        return assent_branch_settle(row, &command, said, assent_bytes_of("no stock"), source);
}

static struct assent_branch_row nothing(void)
{
        return (struct assent_branch_row){.offset = -1};
}

static struct assent_branch_row prepared(void)
{
        struct assent_branch_row row = nothing();

        cr_assert_eq(judge(&row, ASSENT_PREPARE, 10, 0, ASSENT_FROM_LANE).action,
                     ASSENT_RUN_PREPARE);
        cr_assert_eq(settle(&row, ASSENT_PREPARE, ASSENT_SAID_YES, ASSENT_FROM_LANE).action,
                     ASSENT_STORE);
        return row;
}

static struct assent_branch_row pre_committed(void)
{
        struct assent_branch_row row = prepared();

        judge(&row, ASSENT_PRE_COMMIT, 11, 0, ASSENT_FROM_LANE);
        settle(&row, ASSENT_PRE_COMMIT, ASSENT_SAID_DONE, ASSENT_FROM_LANE);
        return row;
}

Test(participant_core_rules, p3_same_command_again_gets_the_same_reply)
{
        struct assent_branch_row row = prepared();
        struct assent_message before, after;

        assent_branch_reply(&row, ASSENT_SLOT_FIRST, assent_bytes_of("payment"), &before);
        struct assent_message late = command_of(ASSENT_PREPARE, 1);
        struct assent_judgement got =
            assent_branch_judge(&row, &late, 99, 1 << 30, HORIZON, false, ASSENT_FROM_LANE);
        assent_branch_reply(&row, got.slot, assent_bytes_of("payment"), &after);
        cr_assert_eq(got.action, ASSENT_RESEND);
        cr_assert_eq(assent_message_digest(&before), assent_message_digest(&after));
        cr_assert_eq(before.lamport, after.lamport);
        cr_assert(assent_message_id_holds(&after));
        cr_assert_eq(row.offset, 99);
}

Test(participant_core_rules, p3_other_content_under_a_known_id_is_a_conflict)
{
        struct assent_branch_row row = prepared();
        struct assent_branch_row before = row;
        struct assent_message other = command_of(ASSENT_PREPARE, 1);

        other.body.command.payload = assent_bytes_of("other");
        struct assent_judgement got =
            assent_branch_judge(&row, &other, 99, 0, HORIZON, false, ASSENT_FROM_LANE);
        cr_assert_eq(got.action, ASSENT_SKIP);
        cr_assert_eq(got.verdict, ASSENT_PV_CONFLICT);
        cr_assert_eq(memcmp(&row, &before, sizeof(row)), 0);
}

Test(participant_core_rules, p4_deadline_is_the_last_moment_that_counts)
{
        struct assent_branch_row row = nothing();
        cr_assert_eq(judge(&row, ASSENT_PREPARE, 1, DEADLINE, ASSENT_FROM_LANE).action,
                     ASSENT_RUN_PREPARE);
        row = nothing();
        struct assent_judgement got =
            judge(&row, ASSENT_PREPARE, 1, DEADLINE + 1, ASSENT_FROM_LANE);
        cr_assert_eq(got.action, ASSENT_STORE);
        cr_assert_eq(got.verdict, ASSENT_PV_EXPIRED);
        cr_assert_eq(row.slots[got.slot].answer, ASSENT_NO);
        cr_assert_eq(row.reason_size, strlen("deadline passed"));
        cr_assert_eq(memcmp(row.reason, "deadline passed", row.reason_size), 0);
}

Test(participant_core_rules, p4_prepare_beyond_the_horizon_leaves_no_trace)
{
        struct assent_branch_row row = nothing();
        struct assent_judgement got =
            judge(&row, ASSENT_PREPARE, 1, DEADLINE + HORIZON, ASSENT_FROM_LANE);
        cr_assert_eq(got.action, ASSENT_STORE);
        row = nothing();
        got = judge(&row, ASSENT_CAN_COMMIT, 1, DEADLINE + HORIZON + 1, ASSENT_FROM_LANE);
        cr_assert_eq(got.action, ASSENT_SKIP);
        cr_assert_eq(got.verdict, ASSENT_PV_LATE_PREPARE);
        cr_assert_eq(row.state, ASSENT_BRANCH_NONE);
}

Test(participant_core_rules, p4_deadlines_at_the_ends_of_time_do_not_overflow)
{
        static const int64_t ends[] = {INT64_MIN, INT64_MAX};
        for (int d = 0; d < 2; d++)
                for (int t = 0; t < 2; t++) {
                        struct assent_branch_row row = nothing();
                        struct assent_message command = command_of(ASSENT_PREPARE, 1);
                        command.body.command.deadline_ms = ends[d];
                        struct assent_judgement got = assent_branch_judge(
                            &row, &command, 1, ends[t], HORIZON, false, ASSENT_FROM_LANE);
                        bool late = ends[d] < ends[t];
                        cr_assert_eq(got.action, late ? ASSENT_SKIP : ASSENT_RUN_PREPARE);
                }
}

Test(participant_core_rules, p6_prepare_after_its_abort_is_refused)
{
        struct assent_branch_row row = nothing();
        struct assent_judgement got = judge(&row, ASSENT_ABORT, 1, 0, ASSENT_FROM_LANE);
        cr_assert_eq(got.action, ASSENT_STORE);
        cr_assert_eq(row.state, ASSENT_BRANCH_TOMBSTONE);
        got = judge(&row, ASSENT_PREPARE, 2, 0, ASSENT_FROM_LANE);
        cr_assert_eq(got.action, ASSENT_STORE);
        cr_assert_eq(row.slots[ASSENT_SLOT_FIRST].answer, ASSENT_NO);
        cr_assert_eq(row.state, ASSENT_BRANCH_TOMBSTONE);
        cr_assert_eq(judge(&row, ASSENT_PREPARE, 3, 0, ASSENT_FROM_LANE).action, ASSENT_RESEND);
}

Test(participant_core_rules, p7_cut_off_commit_takes_the_digest_of_the_first_real_one)
{
        struct assent_branch_row row = pre_committed();

        cr_assert_eq(judge(&row, ASSENT_COMMIT, -1, 0, ASSENT_FROM_CUT_OFF).action,
                     ASSENT_RUN_COMMIT);
        settle(&row, ASSENT_COMMIT, ASSENT_SAID_DONE, ASSENT_FROM_CUT_OFF);
        cr_assert_eq(row.state, ASSENT_BRANCH_COMMITTED);
        cr_assert_eq(row.slots[ASSENT_SLOT_DECISION].digest, 0);
        cr_assert(row.slots[ASSENT_SLOT_DECISION].unpublished);

        struct assent_message real = command_of(ASSENT_COMMIT, 1), other = real;
        cr_assert_eq(judge(&row, ASSENT_COMMIT, 20, 0, ASSENT_FROM_LANE).action, ASSENT_RESEND);
        cr_assert_eq(row.slots[ASSENT_SLOT_DECISION].digest, assent_message_digest(&real));
        other.body.command.deadline_ms++;
        cr_assert_eq(
            assent_branch_judge(&row, &other, 21, 0, HORIZON, false, ASSENT_FROM_LANE).verdict,
            ASSENT_PV_CONFLICT);
}

/* In PREPARED a participant never decides alone: asking for it is a bug of ours and ends the
 * process. */
Test(participant_core_rules, p7_cut_off_in_prepared_is_refused, .signal = SIGABRT)
{
        struct assent_branch_row row = prepared();
        judge(&row, ASSENT_COMMIT, -1, 0, ASSENT_FROM_CUT_OFF);
}

Test(participant_core_rules, p8_frozen_branch_moves_no_more_and_still_answers)
{
        struct assent_branch_row row = pre_committed();

        struct assent_judgement got = judge(&row, ASSENT_ABORT, 12, 0, ASSENT_FROM_LANE);
        cr_assert_eq(got.action, ASSENT_FREEZE);
        cr_assert_eq(row.state, ASSENT_BRANCH_PRE_COMMITTED);
        cr_assert(row.frozen && assent_branch_open(&row) && !assent_branch_in_doubt(&row));
        cr_assert_eq(judge(&row, ASSENT_COMMIT, 13, 0, ASSENT_FROM_LANE).verdict, ASSENT_PV_FROZEN);
        cr_assert_eq(judge(&row, ASSENT_COMMIT, -1, 0, ASSENT_FROM_EVALUATION).verdict,
                     ASSENT_PV_FROZEN);
        cr_assert_eq(judge(&row, ASSENT_PREPARE, 14, 0, ASSENT_FROM_LANE).action, ASSENT_RESEND);
        cr_assert_not(assent_branch_forgettable(&row, INT64_MAX, INT64_MAX, HORIZON, TIMEOUT_MAX));
}

Test(participant_core_rules, p8_commit_of_an_unknown_branch_leaves_a_frozen_row)
{
        struct assent_branch_row row = nothing();
        struct assent_judgement got =
            judge(&row, ASSENT_COMMIT, 1, DEADLINE + HORIZON, ASSENT_FROM_LANE);

        cr_assert_eq(got.action, ASSENT_FREEZE);
        cr_assert(row.frozen);
        cr_assert_eq(row.txn_id.bytes[0], 1);
        cr_assert_eq(row.branch, 3);
        /* not even the horizon turns it into P12's DONE, nor a PREPARE into a vote */
        cr_assert_eq(judge(&row, ASSENT_COMMIT, 2, 1 << 30, ASSENT_FROM_LANE).action, ASSENT_SKIP);
        cr_assert_eq(judge(&row, ASSENT_PREPARE, 3, 0, ASSENT_FROM_LANE).action, ASSENT_SKIP);
}

Test(participant_core_rules, p8_abort_and_commit_in_either_order_freeze)
{
        struct assent_branch_row row = prepared();
        judge(&row, ASSENT_COMMIT, 11, 0, ASSENT_FROM_LANE);
        settle(&row, ASSENT_COMMIT, ASSENT_SAID_DONE, ASSENT_FROM_LANE);
        cr_assert_eq(judge(&row, ASSENT_ABORT, 12, 0, ASSENT_FROM_LANE).action, ASSENT_FREEZE);

        row = prepared();
        judge(&row, ASSENT_ABORT, 11, 0, ASSENT_FROM_LANE);
        settle(&row, ASSENT_ABORT, ASSENT_SAID_DONE, ASSENT_FROM_LANE);
        cr_assert_eq(judge(&row, ASSENT_COMMIT, 12, 0, ASSENT_FROM_LANE).action, ASSENT_FREEZE);
}

Test(participant_core_rules, p9_parked_prepare_keeps_its_abort_waiting_until_it_has_answered)
{
        struct assent_branch_row row = nothing();

        judge(&row, ASSENT_PREPARE, 1, 0, ASSENT_FROM_LANE);
        cr_assert_eq(settle(&row, ASSENT_PREPARE, ASSENT_SAID_RETRY, ASSENT_FROM_LANE).action,
                     ASSENT_QUEUE);
        cr_assert_eq(judge(&row, ASSENT_ABORT, 2, 0, ASSENT_FROM_LANE).action, ASSENT_QUEUE);
        cr_assert_eq(row.parked, 2);

        /* gives up: NO without a handler; the ABORT behind it has nothing to undo */
        struct assent_branch_row late = row;
        struct assent_judgement got =
            judge(&late, ASSENT_PREPARE, 1, DEADLINE + 1, ASSENT_FROM_PARKING);
        cr_assert_eq(got.action, ASSENT_STORE);
        cr_assert_eq(late.state, ASSENT_BRANCH_REFUSED);
        cr_assert(late.slots[ASSENT_SLOT_FIRST].unpublished);
        cr_assert_eq(judge(&late, ASSENT_ABORT, 2, 0, ASSENT_FROM_PARKING).action, ASSENT_STORE);
        cr_assert_eq(late.parked, 0);

        /* retried with success: the ABORT behind it undoes the hold */
        judge(&row, ASSENT_PREPARE, 1, 0, ASSENT_FROM_PARKING);
        settle(&row, ASSENT_PREPARE, ASSENT_SAID_YES, ASSENT_FROM_PARKING);
        cr_assert_eq(judge(&row, ASSENT_ABORT, 2, 0, ASSENT_FROM_PARKING).action, ASSENT_RUN_ABORT);
        settle(&row, ASSENT_ABORT, ASSENT_SAID_DONE, ASSENT_FROM_PARKING);
        cr_assert_eq(row.state, ASSENT_BRANCH_ABORTED);
        cr_assert_eq(row.parked, 0);
}

Test(participant_core_rules, p9_queue_is_bounded)
{
        struct assent_branch_row row = prepared();

        judge(&row, ASSENT_COMMIT, 11, 0, ASSENT_FROM_LANE);
        settle(&row, ASSENT_COMMIT, ASSENT_SAID_RETRY, ASSENT_FROM_LANE);
        while (row.parked < ASSENT_PARKED_MAX)
                cr_assert_eq(judge(&row, ASSENT_COMMIT, 12, 0, ASSENT_FROM_LANE).action,
                             ASSENT_QUEUE);
        struct assent_judgement got = judge(&row, ASSENT_COMMIT, 13, 0, ASSENT_FROM_LANE);
        cr_assert_eq(got.action, ASSENT_SKIP);
        cr_assert_eq(got.verdict, ASSENT_PV_PARKED);
        cr_assert_eq(row.parked, ASSENT_PARKED_MAX);

        judge(&row, ASSENT_COMMIT, 11, 0, ASSENT_FROM_PARKING);
        settle(&row, ASSENT_COMMIT, ASSENT_SAID_DONE, ASSENT_FROM_PARKING);
        while (row.parked > 0) /* the copies find the answer */
                cr_assert_eq(judge(&row, ASSENT_COMMIT, 12, 0, ASSENT_FROM_PARKING).action,
                             ASSENT_RESEND);
}

Test(participant_core_rules, p10_own_evaluation_stores_a_real_digest_and_waits_for_no_queue)
{
        struct assent_branch_row row = prepared();
        struct assent_message commit = command_of(ASSENT_COMMIT, 1);

        cr_assert_eq(judge(&row, ASSENT_COMMIT, -1, 0, ASSENT_FROM_EVALUATION).action,
                     ASSENT_RUN_COMMIT);
        struct assent_judgement got =
            settle(&row, ASSENT_COMMIT, ASSENT_SAID_RETRY, ASSENT_FROM_EVALUATION);
        cr_assert_eq(got.action, ASSENT_SKIP);
        cr_assert_eq(row.parked, 0);
        cr_assert_eq(row.state, ASSENT_BRANCH_PREPARED);
        settle(&row, ASSENT_COMMIT, ASSENT_SAID_DONE, ASSENT_FROM_EVALUATION);
        cr_assert_eq(row.slots[ASSENT_SLOT_DECISION].digest, assent_message_digest(&commit));
        cr_assert(row.slots[ASSENT_SLOT_DECISION].unpublished);
        cr_assert_eq(row.offset, 10);
}

Test(participant_core_rules, p11_redelivery_never_runs_and_never_changes)
{
        struct assent_branch_row row = prepared(), before = row;
        struct assent_message prepare = command_of(ASSENT_PREPARE, 1);
        struct assent_message commit = command_of(ASSENT_COMMIT, 1);

        cr_assert_eq(
            assent_branch_judge(&row, &prepare, 99, 0, HORIZON, true, ASSENT_FROM_LANE).action,
            ASSENT_RESEND);
        cr_assert_eq(
            assent_branch_judge(&row, &commit, 99, 0, HORIZON, true, ASSENT_FROM_LANE).action,
            ASSENT_SKIP);
        cr_assert_eq(memcmp(&row, &before, sizeof(row)), 0);
        row = nothing();
        cr_assert_eq(
            assent_branch_judge(&row, &commit, 1, 0, HORIZON, true, ASSENT_FROM_LANE).verdict,
            ASSENT_PV_REDELIVERED);
}

Test(participant_core_rules, p12_late_copy_of_a_decision_without_a_row_is_answered_done)
{
        static const enum assent_phase phases[] = {ASSENT_PRE_COMMIT, ASSENT_COMMIT, ASSENT_ABORT};
        for (int i = 0; i < 3; i++) {
                struct assent_branch_row row = nothing();
                struct assent_message command = command_of(phases[i], ASSENT_LAMPORT_MAX), reply;
                struct assent_judgement got = assent_branch_judge(
                    &row, &command, 1, DEADLINE + HORIZON + 1, HORIZON, false, ASSENT_FROM_LANE);
                cr_assert_eq(got.action, ASSENT_ANSWER);
                assent_command_done(&command, &reply);
                cr_assert_eq(reply.body.reply.answer, ASSENT_DONE);
                cr_assert_eq(reply.body.reply.phase, phases[i]);
                cr_assert_eq(reply.lamport, ASSENT_LAMPORT_MAX);
                cr_assert(assent_message_id_holds(&reply));
        }
}

Test(participant_core_rules, p12_a_row_is_forgotten_only_when_nothing_needs_it)
{
        struct assent_branch_row row = prepared();
        const int64_t late = DEADLINE + HORIZON + 1;

        cr_assert_not(assent_branch_forgettable(&row, 100, late, HORIZON, TIMEOUT_MAX)); /* not final */
        judge(&row, ASSENT_COMMIT, 50, 0, ASSENT_FROM_LANE);
        settle(&row, ASSENT_COMMIT, ASSENT_SAID_DONE, ASSENT_FROM_LANE);
        cr_assert(assent_branch_forgettable(&row, 51, late, HORIZON, TIMEOUT_MAX));
        cr_assert_not(assent_branch_forgettable(&row, 50, late, HORIZON, TIMEOUT_MAX)); /* above the cursor */
        cr_assert_not(assent_branch_forgettable(&row, 51, late - 1, HORIZON, TIMEOUT_MAX));
        row.slots[ASSENT_SLOT_DECISION].unpublished = true;
        cr_assert_not(assent_branch_forgettable(&row, 51, late, HORIZON, TIMEOUT_MAX));
        cr_assert(assent_branch_open(&row));
        row.slots[ASSENT_SLOT_DECISION].unpublished = false;
        cr_assert_not(assent_branch_open(&row));
        row.parked = 1;
        cr_assert_not(assent_branch_forgettable(&row, 51, late, HORIZON, TIMEOUT_MAX));
}

/* P10 decided it; the PRE_COMMIT of a coordinator that was away comes with a deadline of its own. */
Test(participant_core_rules, p12_a_row_waits_for_the_pre_commit_that_may_come)
{
        struct assent_branch_row row = nothing();
        const int64_t late = DEADLINE + HORIZON + 1;

        judge(&row, ASSENT_CAN_COMMIT, 10, 0, ASSENT_FROM_LANE);
        settle(&row, ASSENT_CAN_COMMIT, ASSENT_SAID_YES, ASSENT_FROM_LANE);
        judge(&row, ASSENT_COMMIT, -1, 0, ASSENT_FROM_EVALUATION);
        settle(&row, ASSENT_COMMIT, ASSENT_SAID_DONE, ASSENT_FROM_EVALUATION);
        row.slots[ASSENT_SLOT_DECISION].unpublished = false;
        cr_assert_not(assent_branch_forgettable(&row, 11, late + TIMEOUT_MAX - 1, HORIZON, TIMEOUT_MAX));
        cr_assert(assent_branch_forgettable(&row, 11, late + TIMEOUT_MAX, HORIZON, TIMEOUT_MAX));

        judge(&row, ASSENT_PRE_COMMIT, 11, 0, ASSENT_FROM_LANE);
        cr_assert(assent_branch_forgettable(&row, 12, late, HORIZON, TIMEOUT_MAX));
}

Test(participant_core_rules, lamport_is_one_above_the_greatest_seen_and_stays)
{
        struct assent_branch_row row = nothing();
        struct assent_message prepare = command_of(ASSENT_PREPARE, 41);
        struct assent_message commit = command_of(ASSENT_COMMIT, 7);

        assent_branch_judge(&row, &prepare, 1, 0, HORIZON, false, ASSENT_FROM_LANE);
        assent_branch_settle(&row, &prepare, ASSENT_SAID_YES, (struct assent_bytes){0},
                             ASSENT_FROM_LANE);
        cr_assert_eq(row.slots[ASSENT_SLOT_FIRST].lamport, 42);
        assent_branch_judge(&row, &commit, 2, 0, HORIZON, false, ASSENT_FROM_LANE);
        assent_branch_settle(&row, &commit, ASSENT_SAID_DONE, (struct assent_bytes){0},
                             ASSENT_FROM_LANE);
        cr_assert_eq(row.slots[ASSENT_SLOT_DECISION].lamport, 42);

        row = nothing();
        prepare = command_of(ASSENT_PREPARE, ASSENT_LAMPORT_MAX);
        assent_branch_judge(&row, &prepare, 1, 0, HORIZON, false, ASSENT_FROM_LANE);
        assent_branch_settle(&row, &prepare, ASSENT_SAID_YES, (struct assent_bytes){0},
                             ASSENT_FROM_LANE);
        cr_assert_eq(row.slots[ASSENT_SLOT_FIRST].lamport, ASSENT_LAMPORT_MAX);
}

Test(participant_core_rules, reason_ends_at_a_nul_and_on_a_character)
{
        char text[ASSENT_REASON_SIZE_MAX + 2], out[ASSENT_REASON_SIZE_MAX];

        memset(text, 'a', sizeof(text));
        cr_assert_eq(assent_reason_copy(out, (struct assent_bytes){text, ASSENT_REASON_SIZE_MAX}),
                     ASSENT_REASON_SIZE_MAX);
        cr_assert_eq(assent_reason_copy(out, (struct assent_bytes){text, sizeof(text)}),
                     ASSENT_REASON_SIZE_MAX);
        memcpy(text + ASSENT_REASON_SIZE_MAX - 1, "\xc3\xa9", 2); /* é across the limit */
        cr_assert_eq(assent_reason_copy(out, (struct assent_bytes){text, sizeof(text)}),
                     ASSENT_REASON_SIZE_MAX - 1);
        cr_assert_eq(assent_reason_copy(out, (struct assent_bytes){"no\0stock", 8}), 2);
        cr_assert_eq(assent_reason_copy(out, (struct assent_bytes){0}), 0);
}

Test(participant_core_rules, every_state_and_verdict_has_a_name)
{
        for (int state = 0; state <= ASSENT_BRANCH_TOMBSTONE; state++)
                cr_assert_str_neq(assent_branch_state_name((enum assent_branch_state)state), "?");
        cr_assert_str_eq(assent_branch_state_name((enum assent_branch_state)9), "?");
        cr_assert_str_eq(assent_participant_verdict_name(ASSENT_PV_FOREIGN), "FOREIGN");
        cr_assert_str_eq(assent_participant_verdict_name(ASSENT_PV_COUNT), "?");
}
