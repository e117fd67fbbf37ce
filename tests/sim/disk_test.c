/* disk_test.c: what the store keeps on a disk whose process is killed, or whose power goes, inside any write or sync: every
 * transaction that was acknowledged, or that a restarted process found, and no half of one. And that the disk does lose
 * what is not synced: a store that syncs less is found out. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <assent/store.h>

#include "sim/sim.h"
#include "store/store.h"

enum { SEEDS = 80, LIVES = 25, RING = 6, COMMITS_MAX = 40, CALLS_MAX = 150, RECORD_MAX = 20000 };

static struct {
        char folder[64], path[96];
        const char *pragma; /* planted: run on every connection */
        struct sim_disk_faults faults;
        int64_t known; /* transactions that were acknowledged, or acted upon after a restart */
} test;

static uint64_t counts[SIM_FAULT_COUNT];

void sim_count(enum sim_fault fault)
{
        counts[fault]++;
}

static struct assent_uuid id_of(int64_t number)
{
        struct assent_uuid id = {{0}};
        for (int i = 0; i < 8; i++)
                id.bytes[i] = (uint8_t)(number >> (56 - 8 * i));
        return id;
}

/* Bytes that only this transaction has. */
static struct assent_bytes record_of(int64_t number)
{
        static uint8_t bytes[RECORD_MAX];
        size_t size = (size_t)(number * 7919 % RECORD_MAX);
        for (size_t i = 0; i < size; i++)
                bytes[i] = (uint8_t)(number + (int64_t)(i >> 8));
        return (struct assent_bytes){bytes, size};
}

static sqlite3 *connection(struct assent_store *store)
{
        if (assent_store_begin(store) != ASSENT_OK)
                return NULL;
        sqlite3 *db = assent_tx_sqlite(assent_store_enter(store, 0));
        enum assent_err err = assent_store_leave(store);
        assent_store_rollback(store);
        return err == ASSENT_OK ? db : NULL;
}

static bool run(struct assent_store *store, const char *sql)
{
        sqlite3 *db = connection(store);
        return db && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* Transaction `number` adds a branch and a parked message, and takes away those of RING transactions before. */
static bool commit(struct assent_store *store, int64_t number)
{
        struct assent_branch_row row = {.txn_id = id_of(number), .offset = number};
        struct assent_uuid old = id_of(number - RING);
        struct assent_parked first, parked = {.txn_id = row.txn_id, .offset = number, .record = record_of(number)};
        struct assent_position position = {.next = number + 1, .acked = -1};
        bool done = assent_store_begin(store) == ASSENT_OK && assent_store_branch_put(store, &row) == ASSENT_OK &&
                    assent_store_park(store, &parked) == ASSENT_OK;
        if (number >= RING)
                done = done && assent_store_branch_delete(store, &old, 0) == ASSENT_OK &&
                       assent_store_parked_first(store, &old, 0, &first) == ASSENT_OK &&
                       assent_store_unpark(store, first.sequence) == ASSENT_OK;
        return done && assent_store_position_set(store, "t", &position, number > 0 ? number : -1) == ASSENT_OK &&
               assent_store_commit(store) == ASSENT_OK;
}

static bool is_whole(struct assent_store *store, int64_t next)
{
        struct assent_branch_row row;
        struct assent_parked parked;
        for (int64_t number = next > RING + 2 ? next - RING - 2 : 0; number < next + 2; number++) {
                struct assent_uuid id = id_of(number);
                enum assent_err wanted = number >= next - RING && number < next ? ASSENT_OK : ASSENT_E_NOT_FOUND;
                struct assent_bytes record = record_of(number);
                if (assent_store_branch(store, &id, 0, &row) != wanted ||
                    assent_store_parked_first(store, &id, 0, &parked) != wanted)
                        return false;
                if (wanted == ASSENT_OK &&
                    (row.offset != number || parked.record.size != record.size ||
                     (record.size > 0 && memcmp(parked.record.data, record.data, record.size) != 0)))
                        return false;
        }
        return true;
}

static void says(struct assent_store *store, const char *sql, const char *wanted)
{
        sqlite3_stmt *statement = NULL;
        sqlite3_prepare_v2(connection(store), sql, -1, &statement, NULL);
        const char *got = sqlite3_step(statement) == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : "nothing";
        if (strcmp(got, wanted) != 0)
                sim_violation("integrity", "%s says %s", sql, got);
        sqlite3_finalize(statement);
}

static void judge(struct assent_store *store, int64_t next)
{
        if (next < test.known)
                sim_violation("durable", "%lld of %lld transactions", (long long)next, (long long)test.known);
        if (!is_whole(store, next))
                sim_violation("whole", "not what %lld transactions leave", (long long)next);
        says(store, "PRAGMA integrity_check", "ok");
        says(store, "PRAGMA journal_mode", "wal");
}

/* A life: what is found is acted upon at once; then commits, until it is killed or ends. */
static void live(struct sim_process *process)
{
        static const int pages[] = {2, 20, 1000};
        struct assent_store *store = NULL;
        struct assent_position position = {.next = 0};
        char sql[64];

        if (sim_chance(900000))
                sim_disk_kill_after(process->disk, sim_between(0, CALLS_MAX));
        enum assent_err err = assent_store_open(test.path, &store);
        if (err == ASSENT_OK)
                err = assent_store_position(store, "t", 0, &position);
        if (err != ASSENT_OK && err != ASSENT_E_NOT_FOUND) {
                if (!sim_ghost())
                        sim_note("%s", assent_store_errmsg(store));
                bool faulty = test.faults.full || test.faults.write || test.faults.sync;
                if (!sim_ghost() && !faulty)
                        sim_violation("opens", "%s", assent_store_errmsg(store));
        } else if (!sim_ghost()) {
                judge(store, position.next);
                test.known = position.next;
                if (sim_chance(200000)) /* before it writes anything */
                        sim_kill(process, SIM_POWER_LOST);
                snprintf(sql, sizeof sql, "PRAGMA wal_autocheckpoint=%d", pages[sim_below(3)]);
                bool going = run(store, sql) && (!test.pragma || run(store, test.pragma));
                for (int64_t left = sim_between(0, COMMITS_MAX); going && left > 0; left--) {
                        going = commit(store, position.next);
                        if (going && !sim_ghost())
                                test.known = ++position.next;
                }
        }
        assent_store_close(store);
}

static struct sim_disk *set_up(uint64_t seed)
{
        test.known = 0;
        snprintf(test.folder, sizeof test.folder, "%s/assent-disk-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"); /* the lock is written at every start */
        cr_assert_not_null(mkdtemp(test.folder));
        snprintf(test.path, sizeof test.path, "%s/test.db", test.folder);
        sim_world_open(&(struct sim_options){.seed = seed, .calm = true, .narrate = getenv("NARRATE") != NULL});
        sim_disks_open();
        return sim_disk_new(test.folder);
}

static void tear_down(struct sim_disk *disk)
{
        static const char *const suffixes[] = {"", "-wal", "-journal", ".owner"};
        char name[128];

        sim_disk_free(disk);
        sim_world_close();
        for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
                snprintf(name, sizeof name, "%s%s", test.path, suffixes[i]);
                cr_assert_eq(unlink(name) == 0, i == 3, "%s", name); /* only the lock was ever real */
        }
        rmdir(test.folder);
}

static uint64_t one_seed(uint64_t seed)
{
        struct sim_process process = {.name = "store", .main = live, .disk = set_up(seed)};

        for (int i = 0; i < LIVES && !sim_violated(); i++) {
                sim_disk_faults = test.faults;
                sim_disk_kill_after(process.disk, -1);
                sim_start(&process);
                sim_run(sim_now_us(), NULL);
                cr_assert_not(process.running);
        }
        tear_down(process.disk);
        return sim_hash();
}

static void hold(void)
{
        static const enum sim_fault always[] = {SIM_KILL_DISK, SIM_POWER, SIM_WRITE_LOST, SIM_WRITE_TORN, SIM_WRITE_REORDERED};

        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                one_seed(seed);
                cr_assert_not(sim_violated(), "seed %llu: %s", (unsigned long long)seed, sim_verdict());
        }
        for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
                cr_assert_gt(counts[always[i]], 0);
        cr_assert_eq(counts[SIM_DISK_FULL] > 0, test.faults.full > 0);
        cr_assert_eq(counts[SIM_DISK_WRITE] > 0, test.faults.write > 0);
        cr_assert_eq(counts[SIM_DISK_SYNC] > 0, test.faults.sync > 0);
}

Test(disk, cut_anywhere_leaves_what_was_acknowledged_or_found)
{
        hold();
}

Test(disk, failing_now_and_then_leaves_what_was_acknowledged_or_found)
{
        test.faults = (struct sim_disk_faults){.full = 3000, .write = 3000, .sync = 30000};
        hold();
}

/* The test of the test. */
static void lose(const char *pragma)
{
        test.pragma = pragma;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                one_seed(seed);
                if (sim_violated())
                        return;
        }
        cr_assert_fail("%s was not found out", pragma);
}

Test(disk, synchronous_normal_is_found_out)
{
        lose("PRAGMA synchronous=NORMAL");
}

Test(disk, synchronous_off_is_found_out)
{
        lose("PRAGMA synchronous=OFF");
}

Test(disk, same_seed_gives_the_same_bytes)
{
        test.faults = (struct sim_disk_faults){.full = 3000, .write = 3000, .sync = 30000, .kill = 1000};
        uint64_t first = one_seed(3);
        cr_assert_neq(one_seed(4), first);
        cr_assert_eq(one_seed(3), first);
}

static struct assent_store *commit_some(int64_t from, int64_t to)
{
        struct assent_store *store = NULL;
        cr_assert_eq(assent_store_open(test.path, &store), ASSENT_OK, "%s", assent_store_errmsg(store));
        for (int64_t number = from; number < to; number++)
                cr_assert(commit(store, number), "%s", assent_store_errmsg(store));
        return store;
}

static int64_t next_of(sqlite3 *db)
{
        sqlite3_stmt *get = NULL;
        sqlite3_prepare_v2(db, "SELECT next FROM assent_position", -1, &get, NULL);
        int64_t next = sqlite3_step(get) == SQLITE_ROW ? sqlite3_column_int64(get, 0) : -1;
        sqlite3_finalize(get);
        return next;
}

Test(disk, old_copy_comes_back_as_it_was)
{
        struct sim_disk *disk = set_up(1);
        assent_store_close(commit_some(0, 10));
        struct sim_disk_copy *copy = sim_disk_save(disk);
        for (int i = 0; i < 2; i++) {
                assent_store_close(commit_some(10, 20));
                sim_disk_restore(disk, copy);
        }
        struct assent_store *store = commit_some(10, 10);
        cr_assert_eq(next_of(connection(store)), 10);
        judge(store, 10);
        cr_assert_not(sim_violated(), "%s", sim_verdict());
        assent_store_close(store);
        sim_disk_copy_free(copy);
        tear_down(disk);
}

Test(disk, reader_keeps_its_snapshot_and_is_not_checkpointed_away)
{
        struct sim_disk *disk = set_up(1);
        struct assent_store *store = commit_some(0, 10);
        sqlite3 *reader = NULL;
        cr_assert_eq(sqlite3_open(test.path, &reader), SQLITE_OK);
        cr_assert_eq(sqlite3_exec(reader, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
        cr_assert_eq(next_of(reader), 10);
        for (int64_t number = 10; number < 30; number++)
                cr_assert(commit(store, number) && run(store, "PRAGMA wal_checkpoint(PASSIVE)"));
        cr_assert_eq(next_of(reader), 10);
        cr_assert_eq(sqlite3_exec(reader, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
        cr_assert_eq(next_of(reader), 30);
        cr_assert_eq(sqlite3_exec(reader, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
        cr_assert_not(commit(store, 30));
        sqlite3_close(reader);
        assent_store_close(store);
        tear_down(disk);
}
