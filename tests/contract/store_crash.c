/* A process that is killed at any moment leaves effect, branch row, parked message, dedup row and
 * position, or none of them. */
#include "store_fixture.h"

#include <assent/store.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

enum { KILLS = 50, BATCH = 20, SEED_DEFAULT = 20261122 };

static struct assent_uuid id_of(int64_t offset)
{
        struct assent_uuid id = {{0}};

        for (int i = 0; i < 8; i++)
                id.bytes[i] = (uint8_t)(offset >> (56 - 8 * i));
        return id;
}

static bool handle(struct assent_store *store, int64_t offset)
{
        struct assent_branch_row row = {.txn_id = id_of(offset), .offset = offset};
        struct assent_parked parked = {.txn_id = row.txn_id, .offset = offset, .record = assent_bytes_of("record")};
        struct assent_bytes id = {row.txn_id.bytes, 16};

        if (assent_store_savepoint(store) != ASSENT_OK)
                return false;
        struct sqlite3 *db = assent_tx_sqlite(assent_store_enter(store, offset));
        bool done = sqlite3_exec(db,
                                 "CREATE TABLE IF NOT EXISTS effect(n);"
                                 "INSERT INTO effect SELECT count(*) FROM effect",
                                 NULL, NULL, NULL) == SQLITE_OK;
        if (offset % 7 == 6) { /* some are taken back, and done without an effect */
                done = done && assent_store_leave(store) == ASSENT_OK && assent_store_undo(store) == ASSENT_OK &&
                       assent_store_savepoint(store) == ASSENT_OK;
                assent_store_enter(store, offset);
        }
        return done && assent_store_leave(store) == ASSENT_OK && assent_store_branch_put(store, &row) == ASSENT_OK &&
               assent_store_park(store, &parked) == ASSENT_OK &&
               assent_store_dedup_put(store, "t", 0, id, 1, offset) == ASSENT_OK &&
               assent_store_release(store) == ASSENT_OK;
}

/* The child: batches without end, from where the database says. */
static void work(const char *path)
{
        struct assent_store *store = NULL;
        struct assent_position position = {.acked = -1};

        if (assent_store_open(path, &store) != ASSENT_OK)
                _exit(2);
        int64_t mine = assent_store_position(store, "t", 0, &position) == ASSENT_OK ? position.next : -1;
        for (;;) {
                bool done = assent_store_begin(store) == ASSENT_OK;
                for (int i = 0; i < BATCH; i++)
                        done = done && handle(store, position.next++);
                done = done && assent_store_position_set(store, "t", &position, mine) == ASSENT_OK &&
                       assent_store_commit(store) == ASSENT_OK;
                if (!done)
                        _exit(3);
                mine = position.next;
        }
}

static int64_t count(sqlite3 *db, const char *sql)
{
        sqlite3_stmt *statement = NULL;
        int64_t value = 0; /* no table yet: no rows */

        if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
                value = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
        return value;
}

#define TOLD "SEED=%u", seed

static int64_t verify(const char *path, unsigned seed)
{
        sqlite3 *db = NULL;

        cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK, TOLD);
        int64_t next = count(db, "SELECT next FROM assent_position");
        cr_assert_eq(count(db, "SELECT count(*) FROM assent_branch"), next, TOLD);
        cr_assert_eq(count(db, "SELECT count(*) FROM assent_parking"), next, TOLD);
        cr_assert_eq(count(db, "SELECT count(*) FROM assent_dedup"), next, TOLD);
        cr_assert_eq(count(db, "SELECT count(*) FROM effect"), next - next / 7, TOLD);
        cr_assert_eq(count(db, "SELECT count(DISTINCT n) FROM effect"), next - next / 7, TOLD);
        cr_assert_eq(next % BATCH, 0, TOLD);
        cr_assert_eq(count(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0, TOLD);
        sqlite3_close(db);
        return next;
}

Test(store_crash, killed_at_any_moment_leaves_whole_batches, .timeout = 120)
{
        struct fixture fixture = {0};
        const char *wanted = getenv("SEED");
        const unsigned seed = wanted ? (unsigned)strtoul(wanted, NULL, 10) : SEED_DEFAULT;
        int64_t before = 0;
        int advanced = 0;

        fixture_name(&fixture);
        srandom(seed);
        for (int i = 0; i < KILLS; i++) {
                pid_t child = fork();
                if (child == 0)
                        work(fixture.path);
                struct timespec pause = {.tv_nsec = random() % 60 * 1000000 + random() % 1000000};
                nanosleep(&pause, NULL);
                int status = 0;
                cr_assert_eq(kill(child, SIGKILL), 0, TOLD);
                cr_assert_eq(waitpid(child, &status, 0), child, TOLD);
                cr_assert(WIFSIGNALED(status), "SEED=%u: the child failed with %d", seed, WEXITSTATUS(status));
                int64_t next = verify(fixture.path, seed);
                cr_assert_geq(next, before, "SEED=%u: the position went back", seed);
                advanced += next > before;
                before = next;
        }
        cr_assert_gt(advanced, KILLS / 5, "SEED=%u: the children hardly got to work", seed);
        fixture_close(&fixture);
}
