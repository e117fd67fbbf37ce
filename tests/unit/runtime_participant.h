/* runtime_participant.h: a participant with its own loop, a real database file and a broker in memory. Includes the participant
 * to put that broker behind it. */
#ifndef RUNTIME_PARTICIPANT_H
#define RUNTIME_PARTICIPANT_H

#define RUNTIME_UNDER_TEST "runtime/participant.c"
#include "runtime_bus.h"

#include <sqlite3.h>
#include <unistd.h>

#define DEADLINE (T0 + 100000)

static char folder[64], db_path[96];
static struct assent_participant *participant;
static sqlite3 *reader; /* a second connection to the participant's database */
static enum assent_vote vote;
static int prepares, commits;
static void (*in_prepare)(struct assent_tx *tx);
static enum assent_err (*in_setup)(void *app, struct assent_tx *tx);
static void (*on_committed)(void *app);

static enum assent_vote prepare(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        (void)app, (void)branch;
        prepares++;
        if (in_prepare)
                in_prepare(tx);
        return vote;
}

static enum assent_result settle(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        (void)app, (void)tx, (void)branch;
        commits++;
        return ASSENT_RESULT_DONE;
}

static enum assent_err open_participant(void)
{
        static const struct assent_handlers handlers = {.prepare = prepare, .commit = settle, .abort = settle};
        struct assent_participant_options options = ASSENT_PARTICIPANT_OPTIONS_INIT;
        options.service = "pay";
        options.handlers = &handlers;
        options.config = config;
        options.setup = in_setup;
        options.committed = on_committed;
        return assent_participant_open(&options, &participant);
}

static void start(void)
{
        enum assent_err err = open_participant();
        cr_assert_eq(err, ASSENT_OK, "%s", assent_participant_errmsg(participant));
        if (!reader)
                cr_assert_eq(sqlite3_open_v2(db_path, &reader, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
}

/* As by kill -9: nothing is drained, what is not reported never will be. */
static void crash(void)
{
        assent_participant_close(participant);
        participant = NULL;
}

static void step(void)
{
        enum assent_err err = assent_participant_step(participant, 0);
        cr_assert_eq(err, ASSENT_OK, "%s", assent_participant_errmsg(participant));
}

/* Later by more than the first back-off, housekeeping's and the commit's interval, and by far less than a doubt takes.
 */
static inline void step_later(void)
{
        broker.now_ms += 60;
        step();
}

static int64_t ask(const char *sql)
{
        sqlite3_stmt *statement;
        cr_assert_eq(sqlite3_prepare_v2(reader, sql, -1, &statement, NULL), SQLITE_OK, "%s", sqlite3_errmsg(reader));
        int64_t value = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
        sqlite3_finalize(statement);
        return value;
}

static void set_up(void)
{
        broker_setup();
        append_settings(T0, SETTINGS);
        snprintf(folder, sizeof folder, "/tmp/assent-order-XXXXXX");
        cr_assert_not_null(mkdtemp(folder));
        snprintf(db_path, sizeof db_path, "%s/db", folder);
        char assignment[128];
        snprintf(assignment, sizeof assignment, "assent.db=%s", db_path);
        broker_set(assignment);
        broker_set("assent.checkpoint_ms=50");
        broker_set("assent.retry_ms=20");
        vote = ASSENT_VOTE_YES;
}

static void tear_down(void)
{
        static const char *const suffixes[] = {"", "-wal", "-shm", ".owner"};
        crash();
        sqlite3_close(reader);
        for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
                char path[128];
                snprintf(path, sizeof path, "%s%s", db_path, suffixes[i]);
                unlink(path);
        }
        cr_assert_eq(rmdir(folder), 0);
        broker_teardown();
}

static inline void command(struct assent_uuid id, enum assent_phase phase, int64_t timestamp_ms, int64_t deadline_ms)
{
        struct assent_message m = {.type = ASSENT_COMMAND, .txn_id = id, .lamport = 2};
        m.body.command.branches_count = 1;
        m.body.command.service = assent_bytes_of("pay");
        m.body.command.phase = phase;
        m.body.command.deadline_ms = deadline_ms;
        if (phase == ASSENT_PREPARE)
                m.body.command.kind = assent_bytes_of("charge");
        append(commands, timestamp_ms, m);
}

static inline void three_prepares(void)
{
        for (int i = 1; i <= 3; i++)
                command(born(T0, i), ASSENT_PREPARE, T0 + i, DEADLINE);
}

#endif
