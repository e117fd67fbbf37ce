/* flaky.c: a participant for tests, service "flaky", that does what the payload's words ask of it:
 *   retry:N         prepare says RETRY N times (kept in memory: a restart starts again)
 *   commit-retry:N  commit says RETRY N times       abort-retry:N  abort does
 *   no  read-only  nonsense (a vote that is none)   rollback (ends the local transaction by OR ROLLBACK)  split (tries COMMIT)
 * Its effects stand in flaky_effects(txn_id, branch, what). */
#include <assent/participant.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long prepares, commits, aborts;

static bool asks(const struct assent_branch *branch, const char *word, long *number)
{
        size_t size = strlen(word);
        const char *text = branch->payload.data;
        if (branch->payload.size < size || memcmp(text, word, size) != 0)
                return false;
        *number = 0;
        for (size_t i = size + 1; i < branch->payload.size && text[size] == ':' && *number < 1000000; i++)
                *number = *number * 10 + text[i] - '0';
        return true;
}

static bool effect(struct assent_tx *tx, const struct assent_branch *branch, const char *what)
{
        sqlite3_stmt *s = NULL;
        if (sqlite3_prepare_v2(assent_tx_sqlite(tx), "INSERT INTO flaky_effects VALUES(?1, ?2, ?3)", -1, &s, NULL))
                return false;
        sqlite3_bind_blob(s, 1, branch->txn_id.bytes, 16, SQLITE_STATIC);
        sqlite3_bind_int(s, 2, branch->branch);
        sqlite3_bind_text(s, 3, what, -1, SQLITE_STATIC);
        sqlite3_step(s);
        return sqlite3_finalize(s) == SQLITE_OK;
}

/* What commit and abort will do is asked in prepare's payload, and kept as one of its effects. */
static long kept(struct assent_tx *tx, const struct assent_branch *branch, const char *word)
{
        sqlite3_stmt *s = NULL;
        long number = 0;
        if (sqlite3_prepare_v2(assent_tx_sqlite(tx), "SELECT what FROM flaky_effects WHERE txn_id = ?1 AND what LIKE ?2", -1,
                               &s, NULL))
                return 0;
        char like[64];
        snprintf(like, sizeof like, "%s:%%", word);
        sqlite3_bind_blob(s, 1, branch->txn_id.bytes, 16, SQLITE_STATIC);
        sqlite3_bind_text(s, 2, like, -1, SQLITE_STATIC);
        if (sqlite3_step(s) == SQLITE_ROW)
                number = strtol(strchr((const char *)sqlite3_column_text(s, 0), ':') + 1, NULL, 10);
        sqlite3_finalize(s);
        return number;
}

static enum assent_vote prepare(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        (void)app;
        long n;
        char text[64];
        snprintf(text, sizeof text, "%.*s", (int)branch->payload.size, (const char *)branch->payload.data);
        effect(tx, branch, text);
        if (asks(branch, "retry", &n) && prepares++ < n)
                return ASSENT_VOTE_RETRY;
        if (asks(branch, "no", &n) && branch->payload.size == 2) {
                assent_tx_refuse(tx, "asked to");
                return ASSENT_VOTE_NO;
        }
        if (asks(branch, "read-only", &n))
                return ASSENT_VOTE_READ_ONLY;
        if (asks(branch, "nonsense", &n))
                return (enum assent_vote)42;
        if (asks(branch, "rollback", &n))
                sqlite3_exec(assent_tx_sqlite(tx), "INSERT OR ROLLBACK INTO flaky_once VALUES(1)", NULL, NULL, NULL);
        if (asks(branch, "split", &n) &&
            sqlite3_exec(assent_tx_sqlite(tx), "COMMIT", NULL, NULL, NULL) != SQLITE_AUTH)
                abort();
        return ASSENT_VOTE_YES;
}

static enum assent_result commit(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        (void)app;
        effect(tx, branch, "committed");
        return commits++ < kept(tx, branch, "commit-retry") ? ASSENT_RESULT_RETRY : ASSENT_RESULT_DONE;
}

static enum assent_result undo(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        (void)app;
        effect(tx, branch, "aborted");
        return aborts++ < kept(tx, branch, "abort-retry") ? ASSENT_RESULT_RETRY : ASSENT_RESULT_DONE;
}

static enum assent_err setup(void *app, struct assent_tx *tx)
{
        (void)app;
        const char *sql = "CREATE TABLE IF NOT EXISTS flaky_effects(txn_id BLOB, branch INT, what TEXT);"
                          "CREATE TABLE IF NOT EXISTS flaky_once(n INTEGER PRIMARY KEY);"
                          "INSERT OR IGNORE INTO flaky_once VALUES(1)";
        return sqlite3_exec(assent_tx_sqlite(tx), sql, NULL, NULL, NULL) == SQLITE_OK ? ASSENT_OK : ASSENT_E_STORE;
}

int main(int argc, char **argv)
{
        static const struct assent_handlers handlers = {.prepare = prepare, .commit = commit, .abort = undo};
        struct assent_participant_options options = ASSENT_PARTICIPANT_OPTIONS_INIT;
        options.service = "flaky";
        options.handlers = &handlers;
        options.setup = setup;
        return assent_participant_main(argc, argv, "Does what a test asks of it.", NULL, &options, NULL);
}
