/* What is submitted to a participant: one local transaction with the records of its turn, told when it is durable. */
#include "runtime_participant.h"

#include <pthread.h>

#include "base/clock.h"

static int done_count, committed_count, done_seen;
static enum assent_err done_errs[ASSENT_WORK_MAX + 1];
static enum assent_result result;
static int64_t time_ms;

static enum assent_err make_notes(void *app, struct assent_tx *tx)
{
        (void)app;
        int failed = sqlite3_exec(assent_tx_sqlite(tx), "CREATE TABLE IF NOT EXISTS notes(number INTEGER)", NULL, NULL, NULL);
        return failed ? ASSENT_E_STORE : ASSENT_OK;
}

static void write_note(struct assent_tx *tx, int number)
{
        char sql[64];
        snprintf(sql, sizeof sql, "INSERT INTO notes VALUES(%d)", number);
        cr_assert_eq(sqlite3_exec(assent_tx_sqlite(tx), sql, NULL, NULL, NULL), SQLITE_OK);
}

static void note_prepare(struct assent_tx *tx)
{
        write_note(tx, -prepares);
}

static enum assent_result run_note(void *context, struct assent_tx *tx)
{
        write_note(tx, *(const int *)context);
        time_ms = assent_tx_time_ms(tx);
        return result;
}

static void on_done(void *context, enum assent_err err)
{
        (void)context;
        done_errs[done_count++] = err;
        done_seen = (int)ask("SELECT count(*) FROM notes");
}

static enum assent_err submit(const int *number)
{
        const struct assent_work work = {.run = run_note, .done = on_done, .context = (void *)(uintptr_t)number};
        return assent_participant_submit(participant, &work);
}

static void count_committed(void *app)
{
        (void)app;
        committed_count++;
        cr_expect_eq(done_count, 2, "after all that was done");
}

static void set_up_work(void)
{
        set_up();
        in_setup = make_notes;
        result = ASSENT_RESULT_DONE;
}

TestSuite(work, .init = set_up_work, .fini = tear_down);

static const int one = 1, two = 2, three = 3;

static void transactions_since(int64_t *before, int64_t expected)
{
        int64_t now = ask("PRAGMA data_version"); /* moves with every commit of the other connection */
        cr_expect_eq(now - *before, expected);
        *before = now;
}

Test(work, shares_the_transaction_of_the_records)
{
        on_committed = count_committed;
        in_prepare = note_prepare;
        start();
        cr_assert_eq(submit(&one), ASSENT_OK);
        cr_assert_eq(submit(&two), ASSENT_OK);
        three_prepares();
        int64_t version = ask("PRAGMA data_version");
        int64_t before_ms = assent_clock_wall_ms();
        step();
        transactions_since(&version, 1);
        cr_assert_eq(done_count, 2);
        cr_assert(done_errs[0] == ASSENT_OK && done_errs[1] == ASSENT_OK);
        cr_assert_eq(done_seen, 5, "what is done is durable, with the records' effects");
        cr_assert_eq(committed_count, 1);
        cr_assert(time_ms >= before_ms && time_ms <= assent_clock_wall_ms());
}

Test(work, has_a_transaction_of_its_own_when_nothing_comes)
{
        start();
        cr_assert_eq(submit(&one), ASSENT_OK);
        int64_t version = ask("PRAGMA data_version");
        step();
        transactions_since(&version, 1);
        step();
        transactions_since(&version, 0);
        cr_assert_eq(done_count, 1);
        cr_assert_eq(done_seen, 1);
}

Test(work, is_rolled_back_at_its_own_wish_and_alone)
{
        start();
        cr_assert_eq(submit(&one), ASSENT_OK);
        step();
        result = ASSENT_RESULT_RETRY;
        cr_assert_eq(submit(&two), ASSENT_OK);
        three_prepares();
        step();
        cr_assert_eq(done_count, 2, "it is not run again");
        cr_assert_eq(done_errs[1], ASSENT_AGAIN);
        cr_assert_eq(ask("SELECT group_concat(number) FROM notes"), 1);
        cr_assert_eq(ask("SELECT count(*) FROM assent_branch"), 3);
        result = ASSENT_RESULT_DONE;
        cr_assert_eq(submit(&three), ASSENT_OK);
        step();
        cr_assert_eq(done_errs[2], ASSENT_OK, "what one said does not stick to the next");
}

static void count_alone(void *app)
{
        (void)app;
        committed_count++;
}

Test(work, committed_follows_every_transaction_with_a_handler_and_no_other)
{
        on_committed = count_alone;
        start();
        cr_assert_eq(committed_count, 0, "setup is no handler");
        three_prepares();
        step();
        cr_assert_eq(committed_count, 1);
        command(born(T0, 1), ASSENT_PREPARE, T0 + 4, DEADLINE); /* a duplicate runs none */
        step();
        step_later();
        cr_assert_eq(committed_count, 1);
        vote = ASSENT_VOTE_RETRY;
        command(born(T0, 5), ASSENT_PREPARE, T0 + 5, DEADLINE);
        step();
        cr_assert_eq(committed_count, 2);
        vote = ASSENT_VOTE_YES;
        step_later();
        cr_assert_eq(committed_count, 3, "also what was parked");
}

Test(work, wakes_a_waiting_turn)
{
        start();
        cr_assert_eq(assent_participant_step(participant, 70), ASSENT_OK);
        cr_assert_eq(broker.waited_ms, 70);
        cr_assert_eq(submit(&one), ASSENT_OK);
        cr_assert(broker.woken);
        broker.woken = false; /* as if another reader of this bus had noticed it first */
        cr_assert_eq(assent_participant_step(participant, 70), ASSENT_OK);
        cr_assert_eq(broker.waited_ms, 0, "it waits for work that is there");
        cr_assert_eq(done_count, 1);
}

Test(work, queue_has_a_limit)
{
        start();
        for (int i = 0; i < ASSENT_WORK_MAX; i++)
                cr_assert_eq(submit(&one), ASSENT_OK);
        cr_assert_eq(submit(&two), ASSENT_AGAIN);
        step();
        cr_assert_eq(done_count, ASSENT_WORK_MAX);
        cr_assert_eq(ask("SELECT count(*) FROM notes WHERE number = 2"), 0);
        cr_assert_eq(submit(&two), ASSENT_OK);
        step();
        cr_assert_eq(done_errs[ASSENT_WORK_MAX], ASSENT_OK);
}

static void done_and_again(void *context, enum assent_err err)
{
        on_done(context, err);
        if (done_count == 1)
                cr_assert_eq(submit(&two), ASSENT_OK);
}

Test(work, done_may_submit)
{
        const struct assent_work work = {.run = run_note, .done = done_and_again, .context = (void *)(uintptr_t)&one};
        start();
        cr_assert_eq(assent_participant_submit(participant, &work), ASSENT_OK);
        step();
        cr_assert_eq(done_count, 1);
        step();
        cr_assert_eq(done_count, 2);
        cr_assert_eq(done_seen, 2);
}

/* ---- the end ---- */

Test(work, without_an_answer_stops_the_participant)
{
        start();
        three_prepares();
        result = (enum assent_result)7;
        cr_assert_eq(submit(&one), ASSENT_OK);
        cr_assert_eq(submit(&two), ASSENT_OK);
        cr_assert_eq(assent_participant_step(participant, 0), ASSENT_E_HANDLER);
        cr_assert_neq(strstr(assent_participant_errmsg(participant), "returned 7"), NULL);
        cr_assert_eq(done_count, 2, "also the one that never ran");
        cr_assert(done_errs[0] == ASSENT_E_HANDLER && done_errs[1] == ASSENT_E_HANDLER);
        cr_assert_eq(submit(&three), ASSENT_E_ARGUMENT);
        crash();
        cr_assert_eq(done_count, 2);
        cr_assert_eq(ask("SELECT count(*) FROM notes"), 0);
        cr_assert_eq(ask("SELECT count(*) FROM assent_branch"), 0);
}

Test(work, of_a_turn_that_cannot_commit_has_failed)
{
        start();
        three_prepares();
        step();
        cr_assert_eq(sqlite3_exec(reader, "UPDATE assent_position SET next = next + 1", NULL, NULL, NULL), SQLITE_OK);
        command(born(T0, 4), ASSENT_PREPARE, T0 + 4, DEADLINE);
        cr_assert_eq(submit(&one), ASSENT_OK);
        cr_assert_eq(assent_participant_step(participant, 0), ASSENT_E_POSITION);
        cr_assert_eq(done_count, 1);
        cr_assert_eq(done_errs[0], ASSENT_E_POSITION);
        crash();
        cr_assert_eq(ask("SELECT count(*) FROM notes"), 0);
}

Test(work, waiting_at_the_close_is_told)
{
        start();
        cr_assert_eq(submit(&one), ASSENT_OK);
        crash();
        cr_assert_eq(done_count, 1);
        cr_assert_eq(done_errs[0], ASSENT_E_ARGUMENT);
        cr_assert_eq(ask("SELECT count(*) FROM notes"), 0);
}

Test(work, queued_is_done_after_a_stop_and_nothing_more_is_let_in)
{
        start();
        cr_assert_eq(submit(&one), ASSENT_OK);
        assent_participant_stop(participant);
        cr_assert_eq(submit(&two), ASSENT_E_ARGUMENT);
        cr_assert_eq(assent_participant_run(participant), ASSENT_OK);
        cr_assert_eq(done_count, 1);
        cr_assert_eq(done_errs[0], ASSENT_OK);
        cr_assert_eq(ask("SELECT group_concat(number) FROM notes"), 1);
}

Test(work, needs_both_functions)
{
        start();
        const struct assent_work no_run = {.done = on_done}, no_done = {.run = run_note};
        cr_assert_eq(assent_participant_submit(participant, &no_run), ASSENT_E_ARGUMENT);
        cr_assert_eq(assent_participant_submit(participant, &no_done), ASSENT_E_ARGUMENT);
}

/* ---- from other threads ---- */

enum { THREADS = 4, EACH = 500 };

static void *submit_many(void *argument)
{
        for (int i = 0; i < EACH; i++) {
                enum assent_err err;
                do
                        err = submit(argument);
                while (err == ASSENT_AGAIN);
                if (err)
                        abort();
        }
        return NULL;
}

Test(work, comes_from_many_threads)
{
        pthread_t threads[THREADS];
        start();
        for (int i = 0; i < THREADS; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, submit_many, (void *)(uintptr_t)&one), 0);
        while (done_count < THREADS * EACH)
                step();
        for (int i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
        step();
        cr_assert_eq(done_count, THREADS * EACH);
        cr_assert_eq(ask("SELECT count(*) FROM notes"), THREADS * EACH);
}
