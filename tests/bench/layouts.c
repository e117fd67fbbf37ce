/* layouts: what a branch costs in a dedup log that lies on the disk in this way or in that: read, written with the vote, read,
 * written with the decision, deleted when it is old; with the position, and with or without the SQL of a payment.
 *
 *   layouts PREFIX ROWS MS
 *
 * Measures each for MS, in databases PREFIX-…, with hardly any and with ROWS finished branches there. Prints tables. The file
 * and the memory are lower bounds: what is not in the application's database does not commit with its effect (P1). */
#include <inttypes.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/panic.h"
#include "store/store.h"
#include "past.h"

#define ROWS_MAX     100000000
#define MS_MAX       3600000
#define IN_FLIGHT    1024  /* branches between vote and decision */
#define BATCH_MAX    256
#define FILL_BATCH   4096  /* branches */
#define ROWS_MIN     4096  /* "none": those in flight, and some finished */
#define FORGET_TURNS 16    /* batches between two deletions of old branches */
#define INDEX_FIRST  4096
#define TOPIC        "bench.payment.commands"

enum layout { TABLE, PACKED, BLOBS, JOURNAL, MEMORY, LAYOUTS };
static const char *const names[LAYOUTS] = {"a row each", "a row each, one blob for its columns",
                                           "a blob a batch, index in memory", "a file beside", "memory alone"};

/* What a blob or the file holds of a branch each time it is written. A row has its key in columns. */
struct record {
        struct assent_uuid txn_id;
        uint64_t digests[ASSENT_SLOTS];
        int64_t deadline_ms, offset;
        uint32_t lamports[ASSENT_SLOTS], lamport;
        int32_t lane;
        uint16_t branch, branches_count;
        uint8_t state, flags, answers[ASSENT_SLOTS];
};

/* Where the newest record of a branch is. */
struct entry {
        struct assent_uuid txn_id;
        uint64_t place; /* number of the record << 16 | branch; 0: free */
};

/* Open addressing, linear probing, no more than three quarters full. */
struct index {
        struct entry *entries;
        uint64_t mask, count;
};

enum { ACCOUNT, RESERVE, HOLD, HELD, DEBIT, CREDIT, LEDGER, UNHOLD, APPEND, OLDEST, DROP, ALL, GET, PUT, SCAN, DELETE,
       STATEMENTS };
/* The sample payment service's (?1 transaction, ?2 and ?3 accounts), and those of the blobs. */
static const char schema[] =
    "CREATE TABLE accounts(account TEXT NOT NULL PRIMARY KEY, balance INTEGER NOT NULL CHECK(balance >= held),"
    " held INTEGER NOT NULL CHECK(held >= 0)) STRICT;"
    "CREATE TABLE holds(txn_id BLOB NOT NULL PRIMARY KEY, account TEXT NOT NULL, payee TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE ledger(txn_id BLOB NOT NULL PRIMARY KEY, account TEXT NOT NULL, payee TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE packed(txn_id BLOB NOT NULL, branch INTEGER NOT NULL, lane INTEGER NOT NULL, record BLOB NOT NULL,"
    " PRIMARY KEY(txn_id, branch)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE log(number INTEGER PRIMARY KEY, records BLOB NOT NULL) STRICT;"
    "WITH RECURSIVE n(i) AS (VALUES(0) UNION ALL SELECT i + 1 FROM n WHERE i < 999)"
    " INSERT INTO accounts SELECT printf('load-%03d', i), 1000000000000, 0 FROM n;";
static const char *const texts[STATEMENTS] = {
    [ACCOUNT] = "SELECT balance, held FROM accounts WHERE account = ?2 AND ?1 IS NOT ?3",
    [RESERVE] = "UPDATE accounts SET held = held + 1 WHERE account = ?2",
    [HOLD] = "INSERT INTO holds VALUES(?1, ?2, ?3)",
    [HELD] = "SELECT account, payee FROM holds WHERE txn_id = ?1",
    [DEBIT] = "UPDATE accounts SET balance = balance - 1, held = held - 1 WHERE account = ?2",
    [CREDIT] = "UPDATE accounts SET balance = balance + 1 WHERE account = ?3",
    [LEDGER] = "INSERT INTO ledger VALUES(?1, ?2, ?3)",
    [UNHOLD] = "DELETE FROM holds WHERE txn_id = ?1",
    [APPEND] = "INSERT INTO log VALUES(?1, ?2)",
    [OLDEST] = "SELECT number, records FROM log ORDER BY number LIMIT 1",
    [DROP] = "DELETE FROM log WHERE number = ?1",
    [ALL] = "SELECT number, records FROM log ORDER BY number",
    [GET] = "SELECT record FROM packed WHERE txn_id = ?1 AND branch = ?2",
    [PUT] = "INSERT OR REPLACE INTO packed VALUES(?1, ?2, ?3, ?4)",
    [SCAN] = "SELECT txn_id, branch, record FROM packed ORDER BY txn_id, branch LIMIT ?1",
    [DELETE] = "DELETE FROM packed WHERE txn_id = ?1 AND branch = ?2",
};

struct run {
        enum layout layout;
        bool effect;
        char path[4096];
        struct assent_store *store;
        sqlite3_stmt *statements[STATEMENTS];
        struct index index;
        struct record batch[2 * FILL_BATCH];
        uint64_t batch_count;
        uint64_t first, next;                     /* numbers of the records that the log holds */
        int file;                                 /* a ring of so many records; -1: in memory */
        struct record *memory;
        uint64_t ring;
        struct assent_branch_row open[IN_FLIGHT]; /* also a ring */
        uint64_t begun, decided, rows_kept, rows; /* branches; those that may stay, those there are */
        struct assent_position position;
        uint64_t turns, random;
};

struct figures {
        double cpu_us, wall_us, syncs, bytes; /* of a branch */
};

static uint64_t syncs;

/* In the place of the C library's, to count them. */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
        syncs++;
        return (int)syscall(SYS_fdatasync, fd);
}

__attribute__((visibility("default"))) int fsync(int fd)
{
        syncs++;
        return (int)syscall(SYS_fsync, fd);
}

static _Noreturn void die(const char *what, const char *why)
{
        fprintf(stderr, "layouts: %s: %s\n", what, why);
        exit(1);
}

static void check(const struct run *run, enum assent_err err)
{
        if (err)
                die(names[run->layout], assent_store_errmsg(run->store));
}

/* ---- the index ---- */

static uint64_t hash_of(const struct assent_uuid *txn_id)
{
        uint64_t random;
        memcpy(&random, txn_id->bytes + 8, sizeof random);
        return random * UINT64_C(0x9e3779b97f4a7c15) >> 20;
}

/* The entry of a branch, or the free one where it belongs. */
static struct entry *entry_of(const struct index *index, const struct assent_uuid *txn_id, uint16_t branch)
{
        uint64_t i = hash_of(txn_id) & index->mask;
        while (index->entries[i].place &&
               ((uint16_t)index->entries[i].place != branch || memcmp(&index->entries[i].txn_id, txn_id, sizeof *txn_id) != 0))
                i = (i + 1) & index->mask;
        return &index->entries[i];
}

static void index_resize(struct index *index, uint64_t size)
{
        struct index wider = {.entries = calloc(size, sizeof *wider.entries), .mask = size - 1, .count = index->count};
        if (!wider.entries)
                die("index", "out of memory");
        for (uint64_t i = 0; index->entries && i <= index->mask; i++)
                if (index->entries[i].place)
                        *entry_of(&wider, &index->entries[i].txn_id, (uint16_t)index->entries[i].place) = index->entries[i];
        free(index->entries);
        *index = wider;
}

static void index_put(struct index *index, const struct record *record, uint64_t number)
{
        struct entry *entry = entry_of(index, &record->txn_id, record->branch);
        if (!entry->place && ++index->count > (index->mask + 1) / 4 * 3) {
                index_resize(index, 2 * (index->mask + 1));
                entry = entry_of(index, &record->txn_id, record->branch);
        }
        *entry = (struct entry){record->txn_id, number << 16 | record->branch};
}

/* Forgets a branch, if this is its newest record. What stands behind it in its run moves up. */
static bool index_forget(struct index *index, const struct record *record, uint64_t number)
{
        struct entry *entry = entry_of(index, &record->txn_id, record->branch);
        if (entry->place != (number << 16 | record->branch))
                return false;
        uint64_t hole = (uint64_t)(entry - index->entries);
        for (uint64_t i = (hole + 1) & index->mask; index->entries[i].place; i = (i + 1) & index->mask) {
                uint64_t home = hash_of(&index->entries[i].txn_id) & index->mask;
                if (((i - home) & index->mask) >= ((i - hole) & index->mask)) {
                        index->entries[hole] = index->entries[i];
                        hole = i;
                }
        }
        index->entries[hole].place = 0;
        index->count--;
        return true;
}

/* ---- statements ---- */

static bool uses_store(const struct run *run)
{
        return run->effect || run->layout <= BLOBS;
}

static void finish(sqlite3_stmt *statement)
{
        int result = sqlite3_step(statement);
        if (result != SQLITE_DONE && result != SQLITE_ROW)
                die(sqlite3_sql(statement), sqlite3_errmsg(sqlite3_db_handle(statement)));
        sqlite3_reset(statement);
}

static void effect(struct run *run, const struct assent_branch_row *row, int from, int to)
{
        char account[16], payee[16];
        snprintf(account, sizeof account, "load-%03d", row->txn_id.bytes[15] * 3 % 1000);
        snprintf(payee, sizeof payee, "load-%03d", row->txn_id.bytes[14] * 3 % 1000);
        for (int i = from; i <= to; i++) {
                sqlite3_stmt *statement = run->statements[i];
                int parameters = sqlite3_bind_parameter_count(statement);
                sqlite3_bind_blob(statement, 1, row->txn_id.bytes, 16, SQLITE_STATIC);
                if (parameters > 1)
                        sqlite3_bind_text(statement, 2, account, -1, SQLITE_STATIC);
                if (parameters > 2)
                        sqlite3_bind_text(statement, 3, payee, -1, SQLITE_STATIC);
                finish(statement);
        }
}

/* ---- the log ---- */

static void bind_key(sqlite3_stmt *statement, const struct assent_branch_row *row)
{
        sqlite3_bind_blob(statement, 1, row->txn_id.bytes, 16, SQLITE_STATIC);
        sqlite3_bind_int(statement, 2, row->branch);
}

static void keep(struct run *run, const struct assent_branch_row *row)
{
        if (run->layout == TABLE) {
                check(run, assent_store_branch_put(run->store, row));
                return;
        }
        struct record *record = &run->batch[run->batch_count];
        *record = (struct record){.txn_id = row->txn_id, .deadline_ms = row->deadline_ms, .offset = row->offset,
                                  .lamport = row->lamport, .lane = row->lane, .branch = row->branch,
                                  .branches_count = row->branches_count, .state = (uint8_t)row->state,
                                  .flags = row->frozen};
        for (int i = 0; i < ASSENT_SLOTS; i++) {
                record->digests[i] = row->slots[i].digest;
                record->lamports[i] = row->slots[i].lamport;
                record->answers[i] = (uint8_t)(row->slots[i].phase << 4 | row->slots[i].answer);
        }
        if (run->layout == PACKED) {
                sqlite3_stmt *put = run->statements[PUT];
                bind_key(put, row);
                sqlite3_bind_int(put, 3, row->lane);
                sqlite3_bind_blob(put, 4, &record->digests, sizeof *record - offsetof(struct record, digests), SQLITE_STATIC);
                finish(put);
        } else {
                index_put(&run->index, record, run->next + run->batch_count++);
        }
}

static bool is_known(struct run *run, const struct assent_branch_row *row)
{
        struct assent_branch_row found;
        if (run->layout == PACKED) {
                sqlite3_stmt *get = run->statements[GET];
                bind_key(get, row);
                bool known = sqlite3_step(get) == SQLITE_ROW && sqlite3_column_blob(get, 0);
                sqlite3_reset(get);
                return known;
        }
        if (run->layout != TABLE)
                return entry_of(&run->index, &row->txn_id, row->branch)->place;
        enum assent_err err = assent_store_branch(run->store, &row->txn_id, row->branch, &found);
        if (err != ASSENT_E_NOT_FOUND)
                check(run, err);
        return !err;
}

/* Records to the ring, or from it. */
static void ring_move(struct run *run, uint64_t number, struct record *records, uint64_t count, bool write)
{
        while (count) {
                uint64_t at = number % run->ring, part = count < run->ring - at ? count : run->ring - at;
                size_t size = part * sizeof *records;
                off_t offset = (off_t)(at * sizeof *records);
                if (run->memory)
                        memcpy(write ? run->memory + at : records, write ? records : run->memory + at, size);
                else if ((write ? pwrite(run->file, records, size, offset) : pread(run->file, records, size, offset)) !=
                         (ssize_t)size)
                        die(run->path, "cannot be read or written");
                number += part;
                records += part;
                count -= part;
        }
}

static void append(struct run *run)
{
        size_t size = run->batch_count * sizeof *run->batch;
        if (run->layout == BLOBS && size) {
                sqlite3_bind_int64(run->statements[APPEND], 1, (sqlite3_int64)run->next);
                sqlite3_bind_blob(run->statements[APPEND], 2, run->batch, (int)size, SQLITE_STATIC);
                finish(run->statements[APPEND]);
        } else if (run->layout > BLOBS) {
                ASSENT_ASSERT(run->next + run->batch_count - run->first <= run->ring);
                ring_move(run, run->next, run->batch, run->batch_count, true);
                if (run->layout == JOURNAL && fdatasync(run->file))
                        die(run->path, "cannot be synced");
        }
        run->next += run->batch_count;
        run->batch_count = 0;
}

struct oldest {
        struct assent_branch_row rows[BATCH_MAX * FORGET_TURNS];
        size_t count;
};

static bool collect(void *context, const struct assent_branch_row *row)
{
        struct oldest *oldest = context;
        oldest->rows[oldest->count++] = *row;
        return true;
}

static void forget_rows(struct run *run, uint64_t count)
{
        static struct oldest oldest;
        const struct assent_uuid from = {{0}};

        oldest.count = 0;
        if (run->layout == TABLE) {
                check(run, assent_store_branch_scan(run->store, -1, &from, count, collect, &oldest));
        } else {
                sqlite3_bind_int64(run->statements[SCAN], 1, (sqlite3_int64)count);
                while (sqlite3_step(run->statements[SCAN]) == SQLITE_ROW) {
                        struct assent_branch_row row = {.branch = (uint16_t)sqlite3_column_int(run->statements[SCAN], 1)};
                        memcpy(row.txn_id.bytes, sqlite3_column_blob(run->statements[SCAN], 0), 16);
                        collect(&oldest, &row);
                }
                sqlite3_reset(run->statements[SCAN]);
        }
        for (size_t i = 0; i < oldest.count; i++)
                if (run->layout == TABLE) {
                        check(run, assent_store_branch_delete(run->store, &oldest.rows[i].txn_id, oldest.rows[i].branch));
                } else {
                        bind_key(run->statements[DELETE], &oldest.rows[i]);
                        finish(run->statements[DELETE]);
                }
        run->rows -= oldest.count;
}

static void forget_records(struct run *run, const struct record *records, uint64_t count)
{
        for (uint64_t i = 0; i < count; i++)
                run->rows -= index_forget(&run->index, &records[i], run->first + i);
        run->first += count;
}

/* The oldest branches, until no more are kept than may be. Of batches whole ones: every branch begun in them is decided. */
static void forget(struct run *run)
{
        struct record some[BATCH_MAX];
        if (run->layout <= PACKED && run->rows > run->rows_kept)
                forget_rows(run, run->rows - run->rows_kept);
        while (run->rows > run->rows_kept) {
                if (run->layout == BLOBS) {
                        sqlite3_stmt *oldest = run->statements[OLDEST];
                        if (sqlite3_step(oldest) != SQLITE_ROW)
                                die(run->path, "the oldest batch is not there");
                        run->first = (uint64_t)sqlite3_column_int64(oldest, 0);
                        sqlite3_bind_int64(run->statements[DROP], 1, (sqlite3_int64)run->first);
                        forget_records(run, sqlite3_column_blob(oldest, 1),
                                       (uint64_t)sqlite3_column_bytes(oldest, 1) / sizeof(struct record));
                        sqlite3_reset(oldest);
                        finish(run->statements[DROP]);
                } else {
                        ring_move(run, run->first, some, BATCH_MAX, false);
                        forget_records(run, some, BATCH_MAX);
                }
        }
}

/* ---- a batch of messages, one local transaction ---- */

static void begin(struct run *run)
{
        if (uses_store(run))
                check(run, assent_store_begin(run->store));
}

static void commit(struct run *run)
{
        append(run);
        if (!uses_store(run))
                return;
        int64_t mine = run->position.next;
        run->position.next++;
        check(run, assent_store_position_set(run->store, TOPIC, &run->position, mine));
        check(run, assent_store_commit(run->store));
}

static void message(struct run *run, struct assent_branch_row *row, bool decided)
{
        if (is_known(run, row) != decided)
                die(names[run->layout], "does not find what it keeps, or finds what it does not");
        if (uses_store(run))
                check(run, assent_store_savepoint(run->store));
        if (run->effect) {
                assent_store_enter(run->store, 0);
                effect(run, row, decided ? HELD : ACCOUNT, decided ? UNHOLD : HOLD);
                check(run, assent_store_leave(run->store));
        }
        if (uses_store(run))
                check(run, assent_store_release(run->store));
        row->state = decided ? ASSENT_BRANCH_COMMITTED : ASSENT_BRANCH_PREPARED;
        row->slots[decided ? ASSENT_SLOT_DECISION : ASSENT_SLOT_FIRST] =
            (struct assent_slot){.phase = decided ? ASSENT_COMMIT : ASSENT_PREPARE,
                                 .answer = decided ? ASSENT_DONE : ASSENT_YES,
                                 .digest = random_next(&run->random),
                                 .lamport = decided ? 7 : 3};
        keep(run, row);
}

static void vote(struct run *run, int64_t birth_ms)
{
        struct assent_branch_row *row = &run->open[run->begun++ % IN_FLIGHT];
        *row = (struct assent_branch_row){.txn_id = past_txn_id(birth_ms, &run->random), .branches_count = 2,
                                          .deadline_ms = birth_ms + 10000, .offset = (int64_t)run->begun, .lamport = 6};
        message(run, row, false);
        run->rows++;
}

static void decide(struct run *run)
{
        message(run, &run->open[run->decided++ % IN_FLIGHT], true);
}

/* Decisions and votes take turns, so as many stay in flight. */
static void turn(struct run *run, int size)
{
        int64_t now_ms = assent_clock_wall_ms();

        begin(run);
        for (int i = 0; i < size; i++)
                if (run->begun - run->decided == IN_FLIGHT)
                        decide(run);
                else
                        vote(run, now_ms);
        if (++run->turns % FORGET_TURNS == 0)
                forget(run);
        commit(run);
}

/* Finished branches, of the past; the in-between version too, where the log keeps it. */
static void fill(struct run *run)
{
        int64_t from_ms = assent_clock_wall_ms() - PAST_MS;

        while (run->rows < run->rows_kept) {
                begin(run);
                for (int i = 0; i < FILL_BATCH / 2 && run->rows < run->rows_kept; i++) {
                        vote(run, from_ms + (int64_t)((double)PAST_MS * (double)run->rows / (double)run->rows_kept));
                        decide(run);
                }
                commit(run);
        }
}

/* ---- birth and death ---- */

static void prepare(struct run *run, bool fresh)
{
        if (assent_store_open(run->path, &run->store))
                die(run->path, run->store ? assent_store_errmsg(run->store) : "out of memory");
        check(run, assent_store_begin(run->store));
        sqlite3 *db = assent_tx_sqlite(assent_store_enter(run->store, 0));
        if (fresh && sqlite3_exec(db, schema, NULL, NULL, NULL))
                die(run->path, sqlite3_errmsg(db));
        for (int i = 0; i < STATEMENTS; i++)
                if (sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &run->statements[i], NULL))
                        die(texts[i], sqlite3_errmsg(db));
        check(run, assent_store_leave(run->store));
        if (fresh)
                check(run, assent_store_position_set(run->store, TOPIC, &run->position, -1));
        check(run, assent_store_commit(run->store));
}

static void part(struct run *run)
{
        for (int i = 0; i < STATEMENTS; i++)
                sqlite3_finalize(run->statements[i]);
        assent_store_close(run->store);
}

static void ring_open(struct run *run)
{
        char path[sizeof run->path + 8];
        run->ring = 2 * (run->rows_kept + ROWS_MIN + FILL_BATCH);
        if (run->layout == MEMORY && !(run->memory = calloc(run->ring, sizeof *run->memory)))
                die(names[MEMORY], "out of memory");
        if (run->layout != JOURNAL)
                return;
        snprintf(path, sizeof path, "%s.ring", run->path);
        run->file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        /* Written once beforehand: what is appended later changes no size, so that a sync has no journal to wait for. */
        for (uint64_t left = run->ring; left;) {
                uint64_t some = left < BATCH_MAX ? left : BATCH_MAX;
                ring_move(run, run->ring - left, run->batch, some, true);
                left -= some;
        }
}

/* The index from what the log holds; seconds. */
static double rebuild(struct run *run)
{
        int64_t from_us = assent_clock_us();
        uint64_t count = run->index.count;

        free(run->index.entries);
        run->index = (struct index){0};
        index_resize(&run->index, INDEX_FIRST);
        if (run->layout == BLOBS) {
                sqlite3_stmt *all = run->statements[ALL];
                while (sqlite3_step(all) == SQLITE_ROW) {
                        const struct record *records = sqlite3_column_blob(all, 1);
                        uint64_t number = (uint64_t)sqlite3_column_int64(all, 0);
                        for (size_t i = 0; i < (size_t)sqlite3_column_bytes(all, 1) / sizeof *records; i++)
                                index_put(&run->index, &records[i], number + i);
                }
                sqlite3_reset(all);
        } else {
                struct record some[BATCH_MAX];
                for (uint64_t number = run->first; number < run->next;) {
                        uint64_t part = run->next - number < BATCH_MAX ? run->next - number : BATCH_MAX;
                        ring_move(run, number, some, part, false);
                        for (uint64_t i = 0; i < part; i++)
                                index_put(&run->index, &some[i], number + i);
                        number += part;
                }
        }
        ASSENT_ASSERT(run->index.count == count);
        return (double)(assent_clock_us() - from_us) / 1e6;
}

/* ---- figures ---- */

static double cpu_us(void)
{
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Bytes handed to the kernel to be written, so far. */
static double written(void)
{
        char line[128];
        double bytes = 0;
        FILE *file = fopen("/proc/self/io", "r");
        while (file && fgets(line, sizeof line, file))
                if (strncmp(line, "wchar: ", 7) == 0)
                        bytes = strtod(line + 7, NULL);
        if (file)
                fclose(file);
        return bytes;
}

static struct figures measure(struct run *run, int size, bool with_effect, int64_t ms)
{
        run->effect = with_effect;
        while (run->begun - run->decided < IN_FLIGHT)
                turn(run, BATCH_MAX);
        uint64_t turns = run->turns, synced = syncs;
        double cpu = cpu_us(), bytes = written();
        int64_t from_us = assent_clock_us();
        while (assent_clock_us() - from_us < ms * 1000)
                turn(run, size);
        double branches = (double)(run->turns - turns) * size / 2;
        struct figures told = {(cpu_us() - cpu) / branches, (double)(assent_clock_us() - from_us) / branches,
                               (double)(syncs - synced) / branches, (written() - bytes) / branches};
        begin(run); /* with the effect or without it, whole branches */
        while (run->decided < run->begun)
                decide(run);
        commit(run);
        return told;
}

static double file_bytes(const struct run *run)
{
        struct stat status;
        char path[sizeof run->path + 8];
        snprintf(path, sizeof path, "%s.ring", run->path);
        return stat(run->layout == JOURNAL ? path : run->path, &status) ? 0 : (double)status.st_size;
}

/* After a start of its own, as after any: nothing of the filling is in a cache of SQLite's. */
static void measure_layout(enum layout layout, const char *prefix, uint64_t rows, int64_t ms, FILE *starts)
{
        static const int sizes[] = {1, 32, BATCH_MAX};
        struct run *run = calloc(1, sizeof *run);
        if (!run)
                die(names[layout], "out of memory");
        *run = (struct run){.layout = layout, .rows_kept = rows < ROWS_MIN ? ROWS_MIN : rows, .first = 1, .next = 1,
                            .random = 1};
        snprintf(run->path, sizeof run->path, "%s-%d-%" PRIu64 ".db", prefix, layout, rows);
        index_resize(&run->index, INDEX_FIRST);
        ring_open(run);
        prepare(run, true);
        fill(run);
        part(run);
        double bytes = file_bytes(run);
        prepare(run, false);
        double seconds = layout == BLOBS || layout == JOURNAL ? rebuild(run) : 0;
        double memory = layout <= PACKED ? 0 : (double)(run->index.mask + 1) * sizeof *run->index.entries;
        if (run->memory)
                memory += (double)(run->ring * sizeof *run->memory);
        if (rows)
                fprintf(starts, "| %s | %.2f | %.0f | %.0f |\n", names[layout], seconds / (double)run->rows * 1e6,
                        memory / (double)run->rows, layout == MEMORY ? 0 : bytes / (double)run->rows);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                struct figures alone = measure(run, sizes[i], false, ms), sql = measure(run, sizes[i], true, ms);
                printf("| %s | %" PRIu64 " | %d | %.1f | %.1f | %.3f | %.0f | %.1f | %.1f | %.3f | %.0f |\n", names[layout],
                       run->rows_kept, sizes[i], alone.cpu_us, alone.wall_us, alone.syncs, alone.bytes, sql.cpu_us,
                       sql.wall_us, sql.syncs, sql.bytes);
                fflush(stdout);
        }
        part(run);
        if (layout == JOURNAL)
                close(run->file);
        free(run->memory);
        free(run->index.entries);
        free(run);
}

static uint64_t number_of(const char *what, const char *text, uint64_t max)
{
        char *end = NULL;
        uint64_t value = strtoull(text, &end, 10);
        if (end == text || *end || value < 1 || value > max)
                die(what, "is no whole number, or out of bounds");
        return value;
}

int main(int argc, char **argv)
{
        char *starts_text = NULL;
        size_t starts_size;
        FILE *starts = open_memstream(&starts_text, &starts_size);

        if (argc != 4 || !starts)
                die("usage", "layouts PREFIX ROWS MS");
        uint64_t rows = number_of("ROWS", argv[2], ROWS_MAX);
        int64_t ms = (int64_t)number_of("MS", argv[3], MS_MAX);
        assent_store_process();
        printf("Of one branch (two messages, forgotten in the end):\n\n"
               "| dedup log | rows | messages a batch | alone: CPU µs | wall µs | syncs | bytes written |"
               " with the SQL of a payment: CPU µs | wall µs | syncs | bytes written |\n"
               "|---|---|---|---|---|---|---|---|---|---|---|\n");
        for (int past = 0; past < 2; past++)
                for (int layout = 0; layout < LAYOUTS; layout++)
                        measure_layout((enum layout)layout, argv[1], past ? rows : 0, ms, starts);
        fclose(starts);
        printf("\nWith %" PRIu64 " rows:\n\n"
               "| dedup log | s to read a million in at a start | bytes of memory a row | bytes of disk a row |\n"
               "|---|---|---|---|\n%s", rows, starts_text);
        free(starts_text);
        return 0;
}
