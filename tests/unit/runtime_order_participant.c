/* The order of effects in a participant's own loop (P1, P2, P4, P11): a real database file, a broker in memory. */
#include "runtime_participant.h"

#include "base/hash.h"

#define FIRST_LOOK_MS 5000 /* as in intake.c */

TestSuite(order_participant, .init = set_up, .fini = tear_down);

/* ---- P2: the database first ---- */

static int64_t expected_next, expected_answers;

static void look_into_the_database(const struct broker_sent *sent)
{
        (void)sent;
        cr_expect_eq(ask("SELECT next FROM assent_position"), expected_next);
        cr_expect_eq(ask("SELECT count(*) FROM assent_branch WHERE first_answer = 1"), 3);
        cr_expect_eq(ask("SELECT count(*) FROM assent_branch WHERE decision_answer = 4"), expected_answers);
}

Test(order_participant, what_is_sent_stands_in_the_database)
{
        three_prepares();
        start();
        broker.on_send = look_into_the_database;
        expected_next = 3;
        step();
        cr_assert_eq(broker.sent_count, 3);
        command(born(T0, 1), ASSENT_COMMIT, T0 + 4, DEADLINE);
        command(born(T0, 2), ASSENT_ABORT, T0 + 5, DEADLINE);
        expected_next = 5;
        expected_answers = 2;
        step();
        cr_assert_eq(broker.sent_count, 5);
}

/* ---- P2: the group offset last ---- */

static void behind_every_answer(const struct broker_commit *commit)
{
        for (int i = 0; i < broker.sent_count; i++)
                if (broker.sent[i].state != ACKNOWLEDGED)
                        cr_expect_leq(commit->offset, i, "answer %d is not acknowledged", i);
}

static int64_t group_offset(void)
{
        return broker_group("assent.pay")->commit.offset;
}

Test(order_participant, group_offset_stays_below_the_first_unacknowledged_answer)
{
        broker.holds = true;
        broker.on_commit = behind_every_answer;
        three_prepares();
        start();
        step();
        step_later();
        cr_assert_eq(group_offset(), 0);
        broker_report(1, ASSENT_OK);
        step_later();
        cr_assert_eq(group_offset(), 0);
        broker_report(0, ASSENT_OK);
        step_later();
        cr_assert_eq(group_offset(), 2);
        broker_report(2, ASSENT_OK);
        step_later();
        cr_assert_eq(group_offset(), 3);
}

/* ---- P2: after a crash ---- */

/* Three answers, of which the first is acknowledged and the group offset stands behind it. */
static void one_of_three(void)
{
        broker.holds = true;
        three_prepares();
        start();
        step();
        broker_report(0, ASSENT_OK);
        step_later();
        cr_assert_eq(group_offset(), 1);
}

Test(order_participant, answers_from_the_cursor_to_the_position_are_sent_again)
{
        one_of_three();
        crash();
        start();
        step();
        cr_assert_eq(broker.sent_count, 5);
        cr_assert(same_bytes(&broker.sent[1], &broker.sent[3]));
        cr_assert(same_bytes(&broker.sent[2], &broker.sent[4]));
        cr_assert_eq(prepares, 3, "a handler ran again");
        step_later();
        cr_assert_eq(group_offset(), 1, "a resent answer holds the offset as the first one did");
        broker_report(3, ASSENT_OK);
        broker_report(4, ASSENT_OK);
        step_later();
        cr_assert_eq(group_offset(), 3);
}

Test(order_participant, expired_group_offset_is_replaced_by_the_position_row)
{
        one_of_three();
        command(born(T0, 4), ASSENT_PREPARE, T0 + 4, DEADLINE);
        step(); /* writes the row, with the cursor in it */
        crash();
        broker_group("assent.pay")->commit = (struct broker_commit){.offset = -1};
        start();
        step();
        cr_assert_eq(broker.sent_count, 7);
        for (int i = 1; i <= 3; i++)
                cr_assert(same_bytes(&broker.sent[i], &broker.sent[i + 3]));
        cr_assert_eq(prepares, 4);
}

/* What no record brings back is sent again at start until it is acknowledged, and never after. */
static void sent_again_until_acknowledged(int original)
{
        int before = broker.sent_count, marks = (int)ask("SELECT unpublished FROM assent_branch");
        cr_assert_gt(marks, 0);
        crash();
        start();
        cr_assert_eq(broker.sent_count, before + 1, "open itself sends it");
        cr_assert(same_bytes(&broker.sent[original], &broker.sent[before]));
        step_later();
        step_later();
        cr_assert_eq(ask("SELECT unpublished FROM assent_branch"), marks, "not acknowledged, but the mark is gone");
        broker_report(before, ASSENT_OK);
        step_later();
        cr_assert_eq(ask("SELECT unpublished FROM assent_branch"), 0);
        crash();
        start();
        cr_assert_eq(broker.sent_count, before + 1);
}

Test(order_participant, answer_of_a_parked_message_is_sent_again_until_acknowledged)
{
        broker.holds = true;
        vote = ASSENT_VOTE_RETRY;
        command(born(T0, 1), ASSENT_PREPARE, T0 + 1, DEADLINE);
        start();
        step();
        step_later();
        cr_assert_eq(broker.sent_count, 0);
        cr_assert_eq(group_offset(), 1, "parked in the database, it needs no record");
        vote = ASSENT_VOTE_YES;
        step_later();
        cr_assert_eq(broker.sent_count, 1);
        sent_again_until_acknowledged(0);
        cr_assert_eq(commits, 0);
}

Test(order_participant, answer_to_an_evaluation_is_sent_again_until_acknowledged)
{
        struct assent_uuid id = born(T0, 1);
        broker.appends = true;
        broker.append_ms = T0 + 10;
        append(inbox, T0 + 1, begin_of(id));
        command(id, ASSENT_PREPARE, T0 + 2, T0 + 201);
        start();
        step();
        step();
        cr_assert_eq(broker.sent_count, 1);
        broker.holds = true;
        for (int turns = 0; turns < 20 && broker.sent_count == 1;
             turns++) /* past the deadline and the grace: INQUIRE */
                step_later();
        cr_assert_eq(broker.sent_count, 2);
        cr_assert_eq(sent_message(1).body.control.kind, ASSENT_INQUIRE);
        broker_report(1, ASSENT_OK);
        for (int turns = 0; turns < 20 && !commits; turns++)
                step_later();
        cr_assert_eq(commits, 1);
        cr_assert_eq(broker.sent_count, 3);
        cr_assert_eq(sent_message(2).body.reply.phase, ASSENT_COMMIT);
        sent_again_until_acknowledged(2);
        cr_assert_eq(commits, 1);
}

/* ---- P4 ---- */

Test(order_participant, late_prepare_is_refused_by_the_lanes_time)
{
        command(born(T0, 1), ASSENT_PREPARE, T0 + 1000, T0 + 1200);
        command(born(T0, 2), ASSENT_PREPARE, T0 + 100, T0 + 999);  /* its own time steps back, below its deadline */
        command(born(T0, 3), ASSENT_PREPARE, T0 + 100, T0 + 1000); /* not past */
        start();
        step();
        cr_assert_eq(broker.sent_count, 3);
        cr_assert_eq(sent_message(0).body.reply.answer, ASSENT_YES);
        cr_assert_eq(sent_message(1).body.reply.answer, ASSENT_NO);
        cr_assert_eq(sent_message(2).body.reply.answer, ASSENT_YES);
        cr_assert_eq(prepares, 2);
}

/* ---- P11 ---- */

Test(order_participant, another_owner_of_the_position_row_stops_it)
{
        start();
        three_prepares();
        step();
        cr_assert_eq(broker.sent_count, 3);
        cr_assert_eq(sqlite3_exec(reader, "UPDATE assent_position SET next = next + 1", NULL, NULL, NULL), SQLITE_OK);
        command(born(T0, 4), ASSENT_PREPARE, T0 + 4, DEADLINE);
        cr_assert_eq(assent_participant_step(participant, 0), ASSENT_E_POSITION);
        cr_assert_eq(assent_participant_step(participant, 0), ASSENT_E_POSITION, "and for good");
        cr_assert_eq(broker.sent_count, 3);
        crash();
        cr_assert_eq(ask("SELECT count(*) FROM assent_branch"), 3);
        cr_assert_eq(ask("SELECT next FROM assent_position"), 4);
}

static void foreign_mark(void)
{
        struct broker_commit *commit = &broker_group("assent.pay")->commit;
        *commit = (struct broker_commit){.size = 32, .metadata = "00000000000000000000000000000000"};
}

Test(order_participant, mark_of_another_database_refuses_the_start)
{
        foreign_mark();
        cr_assert_eq(open_participant(), ASSENT_E_POSITION);
        cr_assert_neq(strstr(assent_participant_errmsg(participant), "Two databases"), NULL);
        cr_assert_eq(broker.commits_count, 0);
}

Test(order_participant, another_cluster_refuses_the_start)
{
        start();
        crash();
        broker.cluster_id = "another";
        cr_assert_eq(open_participant(), ASSENT_E_POSITION);
        cr_assert_neq(strstr(assent_participant_errmsg(participant), "belongs to cluster \"cluster\""), NULL);
}

Test(order_participant, mark_overwritten_meanwhile_stops_it)
{
        start();
        foreign_mark();
        broker.now_ms += FIRST_LOOK_MS - 1;
        step();
        broker.now_ms += 1;
        cr_assert_eq(assent_participant_step(participant, 0), ASSENT_E_POSITION);
}

Test(order_participant, chain_runs_over_the_records_of_the_lane)
{
        three_prepares();
        start();
        uint64_t chain = 0;
        broker.limit = 2;
        for (int64_t i = 0; i < 2; i++) {
                const struct broker_record *record = &broker.topics[commands].records[i];
                chain = assent_hash64_chain(chain, record->value, record->size);
        }
        step();
        cr_assert_eq((uint64_t)ask("SELECT chain FROM assent_position"), chain);
        crash();
        start(); /* redelivered records are not counted twice */
        broker.limit = 3;
        step();
        const struct broker_record *record = &broker.topics[commands].records[2];
        chain = assent_hash64_chain(chain, record->value, record->size);
        cr_assert_eq((uint64_t)ask("SELECT chain FROM assent_position"), chain);
}
