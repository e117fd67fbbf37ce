/* sqlite.c: opening the database, the local transaction, identity. WAL with synchronous=FULL: what
 * has been committed survives a power cut. This connection alone writes and checkpoints (SQLite
 * before 3.51.3 can corrupt a WAL that two connections checkpoint); readers set
 * wal_autocheckpoint=0. */
#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/panic.h"

#define BUSY_TIMEOUT_MS    5000
#define WAL_AUTOCHECKPOINT 1000 /* pages */

#define SETTLE_SIZE 16384 /* of the WAL, at once */

#define RECORD_BYTES 262144

/* quick_check reads every page, so only files of up to 32 MiB are checked at open; in larger ones a
 * damaged page is found by cell_size_check when it is read. */
#define CHECK_PAGES_MAX 8192

/* Numbers in here are those of enum assent_branch_state, assent_phase and assent_answer; the
 * comments stay in the file. */
static const char schema[] =
    "CREATE TABLE main.assent_identity(\n"
    "  key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE main.assent_position(\n"
    "  topic TEXT NOT NULL, lane INTEGER NOT NULL,\n"
    "  next INTEGER NOT NULL, -- the next offset to process\n"
    "  chain INTEGER NOT NULL, -- running hash over the records processed\n"
    "  tau_ms INTEGER NOT NULL, -- the lane's log time\n"
    "  acked INTEGER NOT NULL, -- newest group offset known to be committed, or -1\n"
    "  open_from BLOB NOT NULL, -- no open branch of this lane has a smaller txn_id\n"
    "  PRIMARY KEY(topic, lane)) STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE main.assent_branch(\n"
    "  txn_id BLOB NOT NULL, branch INTEGER NOT NULL, branches_count INTEGER NOT NULL,\n"
    "  lane INTEGER NOT NULL,\n"
    "  state INTEGER NOT NULL, -- 0 none 1 parked 2 prepared 3 pre-committed 4 committed\n"
    "                          -- 5 aborted 6 refused 7 read-only 8 tombstone\n"
    "  frozen INTEGER NOT NULL, -- 1: a contradiction was seen\n"
    "  parked INTEGER NOT NULL, -- its rows in assent_parking\n"
    "  unpublished INTEGER NOT NULL, -- answers to send again: 1 first, 2 pre-commit, 4 decision\n"
    "  deadline_ms INTEGER NOT NULL, \"offset\" INTEGER NOT NULL, lamport INTEGER NOT NULL,\n"
    "  -- phases: 1 PREPARE 2 CAN_COMMIT 3 PRE_COMMIT 4 COMMIT 5 ABORT, 0 no answer yet\n"
    "  -- answers: 1 YES 2 NO 3 READ_ONLY 4 DONE\n"
    "  first_phase INTEGER NOT NULL, first_answer INTEGER NOT NULL,\n"
    "  first_digest INTEGER NOT NULL, first_lamport INTEGER NOT NULL,\n"
    "  pre_commit_phase INTEGER NOT NULL, pre_commit_answer INTEGER NOT NULL,\n"
    "  pre_commit_digest INTEGER NOT NULL, pre_commit_lamport INTEGER NOT NULL,\n"
    "  decision_phase INTEGER NOT NULL, decision_answer INTEGER NOT NULL,\n"
    "  decision_digest INTEGER NOT NULL, decision_lamport INTEGER NOT NULL,\n"
    "  reason TEXT, -- of a NO\n"
    "  PRIMARY KEY(txn_id, branch)) STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE main.assent_parking(\n"
    "  sequence INTEGER PRIMARY KEY, lane INTEGER NOT NULL, txn_id BLOB NOT NULL,\n"
    "  branch INTEGER NOT NULL, \"offset\" INTEGER NOT NULL, record BLOB NOT NULL) STRICT;\n"
    "CREATE INDEX main.assent_parking_branch ON assent_parking(txn_id, branch);\n"
    "CREATE TABLE main.assent_dedup(\n"
    "  topic TEXT NOT NULL, message_id BLOB NOT NULL, lane INTEGER NOT NULL,\n"
    "  digest INTEGER NOT NULL, seen_ms INTEGER NOT NULL,\n"
    "  PRIMARY KEY(topic, message_id)) STRICT, WITHOUT ROWID;\n"
    "CREATE INDEX main.assent_dedup_seen ON assent_dedup(topic, lane, seen_ms);\n"
    "INSERT INTO main.assent_identity VALUES('incarnation', lower(hex(randomblob(16))));\n";

/* What user_version 2 has more than 1. */
static const char schema_2[] =
    "CREATE TABLE main.assent_outbox(\n"
    "  sequence INTEGER PRIMARY KEY, -- never used again: message ids follow from it\n"
    "  topic TEXT NOT NULL, -- without the prefix\n"
    "  type TEXT NOT NULL, content_type TEXT NOT NULL, time_ms INTEGER NOT NULL,\n"
    "  refused TEXT, -- why no broker takes it; set it to NULL, and it is sent at the next start\n"
    "  key BLOB NOT NULL, value BLOB NOT NULL) STRICT;\n"
    "CREATE INDEX main.assent_outbox_topic ON assent_outbox(refused, topic);\n";

static const char *const statement_texts[ASSENT_SQL_COUNT] = {
#define X(name, sql) sql,
    ASSENT_STATEMENTS(X)
#undef X
};

void assent_sqlite_say(struct assent_store *store, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(store->error, sizeof(store->error), format, arguments);
        va_end(arguments);
}

enum assent_err assent_sqlite_fail(struct assent_store *store, const char *what)
{
        int code = store->db ? sqlite3_extended_errcode(store->db) : SQLITE_NOMEM;

        assent_sqlite_say(store, "%s: %s: %s (SQLite %d, system error %d)", store->path, what,
                          store->db ? sqlite3_errmsg(store->db) : "out of memory", code,
                          store->db ? sqlite3_system_errno(store->db) : 0);
        store->broken = true;
        return ASSENT_E_STORE;
}

sqlite3_stmt *assent_sqlite_use(struct assent_store *store, enum assent_statement statement)
{
        ASSENT_ASSERT(!store->lent);
        ASSENT_ASSERT(store->statements[statement]);
        ASSENT_ASSERT(!sqlite3_stmt_busy(store->statements[statement]));
        return store->statements[statement];
}

void assent_sqlite_done(sqlite3_stmt *statement)
{
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
}

enum assent_err assent_sqlite_run(struct assent_store *store, sqlite3_stmt *statement,
                                  const char *what)
{
        enum assent_err err = ASSENT_OK;

        if (sqlite3_step(statement) != SQLITE_DONE)
                err = assent_sqlite_fail(store, what);
        assent_sqlite_done(statement);
        return err;
}

/* The file behind symbolic links, so that every name of a database leads to one lock. The file need
 * not exist yet, but its folder must. */
static char *resolve(const char *path)
{
        char *resolved = realpath(path, NULL);
        if (resolved || errno != ENOENT)
                return resolved;

        const char *slash = strrchr(path, '/');
        char folder[PATH_MAX];
        int length = snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path + 1) : 2,
                              slash ? path : "./");
        if (length < 0 || (size_t)length >= sizeof(folder)) {
                errno = ENAMETOOLONG;
                return NULL;
        }
        char *parent = realpath(folder, NULL);
        if (!parent)
                return NULL;
        if (asprintf(&resolved, "%s/%s", parent, slash ? slash + 1 : path) < 0)
                resolved = NULL;
        free(parent);
        return resolved;
}

static enum assent_err owned_by_another(struct assent_store *store, const char *lock)
{
        char pid[24] = "";
        ssize_t size = pread(store->owner_fd, pid, sizeof(pid) - 1, 0);

        pid[size > 0 ? strcspn(pid, "\n") : 0] = '\0';
        assent_sqlite_say(store,
                          "%s: process %s owns this database (lock on %s); stop it, or give this "
                          "one a file of its own",
                          store->path, pid[0] ? pid : "unknown", lock);
        return ASSENT_E_OWNER;
}

/* P13. The lock goes with the process; the file stays, for removing it would let two processes lock
 * two files. */
static enum assent_err own(struct assent_store *store)
{
        char lock[PATH_MAX], pid[24];
        enum assent_err err = ASSENT_OK;

        if ((size_t)snprintf(lock, sizeof(lock), "%s.owner", store->path) >= sizeof(lock)) {
                assent_sqlite_say(store, "%s: the path is too long", store->path);
                return ASSENT_E_STORE;
        }
        store->owner_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (store->owner_fd < 0) {
                assent_sqlite_say(store, "%s: cannot open the lock file: %s", lock,
                                  strerror(errno));
                return ASSENT_E_STORE;
        }
        if (flock(store->owner_fd, LOCK_EX | LOCK_NB) != 0) {
                if (errno == EWOULDBLOCK)
                        return owned_by_another(store, lock);
                assent_sqlite_say(store, "%s: cannot lock: %s", lock, strerror(errno));
                return ASSENT_E_STORE;
        }
        int size = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
        if (ftruncate(store->owner_fd, 0) != 0 ||
            pwrite(store->owner_fd, pid, (size_t)size, 0) != size) {
                assent_sqlite_say(store, "%s: cannot write: %s", lock, strerror(errno));
                err = ASSENT_E_STORE;
        }
        return err;
}

static enum assent_err execute(struct assent_store *store, const char *sql, const char *what)
{
        if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK)
                return assent_sqlite_fail(store, what);
        return ASSENT_OK;
}

/* The first value that `sql` returns, as text in `out`. */
static enum assent_err ask(struct assent_store *store, const char *sql, char *out, size_t out_size)
{
        sqlite3_stmt *statement = NULL;
        enum assent_err err = ASSENT_OK;

        if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK ||
            sqlite3_step(statement) != SQLITE_ROW)
                err = assent_sqlite_fail(store, sql);
        else
                snprintf(out, out_size, "%s", (const char *)sqlite3_column_text(statement, 0));
        /* A PRAGMA that changes the file commits only now, after its row. */
        if (sqlite3_finalize(statement) != SQLITE_OK && err == ASSENT_OK)
                err = assent_sqlite_fail(store, sql);
        return err;
}

static enum assent_err ask_int(struct assent_store *store, const char *sql, int64_t *out)
{
        char text[32] = "";
        enum assent_err err = ask(store, sql, text, sizeof(text));

        *out = strtoll(text, NULL, 10);
        return err;
}

/* Whose file is it? Asked before anything is written, for a foreign database must stay as it was.
 */
static enum assent_err recognise(struct assent_store *store, bool *fresh, int64_t *version)
{
        int64_t application = 0, tables = 0;
        enum assent_err err = ask_int(store, "PRAGMA application_id", &application);

        if (err == ASSENT_OK)
                err = ask_int(store, "PRAGMA user_version", version);
        if (err == ASSENT_OK)
                err = ask_int(store, "SELECT count(*) FROM sqlite_schema", &tables);
        if (err != ASSENT_OK)
                return err;
        *fresh = application == 0 && *version == 0 && tables == 0;
        if (*fresh || (application == ASSENT_SQLITE_APPLICATION_ID && *version >= 1 &&
                       *version <= ASSENT_SQLITE_USER_VERSION))
                return ASSENT_OK;
        if (application != ASSENT_SQLITE_APPLICATION_ID)
                assent_sqlite_say(store,
                                  "%s: this database belongs to another program: application_id "
                                  "%lld with %lld tables, ours has %d; choose another file",
                                  store->path, (long long)application, (long long)tables,
                                  ASSENT_SQLITE_APPLICATION_ID);
        else
                assent_sqlite_say(store,
                                  "%s: user_version %lld, this program writes %d; use the program "
                                  "that wrote the file",
                                  store->path, (long long)*version, ASSENT_SQLITE_USER_VERSION);
        return ASSENT_E_STORE;
}

static enum assent_err expect(struct assent_store *store, const char *sql, const char *wanted)
{
        char got[32] = "";
        enum assent_err err = ask(store, sql, got, sizeof(got));

        if (err == ASSENT_OK && strcmp(got, wanted) != 0) {
                assent_sqlite_say(store, "%s: %s gives \"%s\", \"%s\" is needed", store->path, sql,
                                  got, wanted);
                err = ASSENT_E_STORE;
        }
        return err;
}

static bool in_memory(const struct assent_store *store)
{
        return strcmp(store->path, ":memory:") == 0;
}

/* Everything that durability rests on is read back. */
static enum assent_err configure(struct assent_store *store)
{
        char checkpoint[48];
        enum assent_err err =
            expect(store, "PRAGMA journal_mode=WAL", in_memory(store) ? "memory" : "wal");

        if (err == ASSENT_OK)
                err = execute(store,
                              "PRAGMA synchronous=FULL; PRAGMA mmap_size=0;"
                              "PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY",
                              "cannot configure the connection");
        if (err == ASSENT_OK)
                err = expect(store, "PRAGMA synchronous", "2");
        snprintf(checkpoint, sizeof(checkpoint), "PRAGMA wal_autocheckpoint=%d",
                 WAL_AUTOCHECKPOINT);
        if (err == ASSENT_OK)
                err = execute(store, checkpoint, "cannot configure the connection");
        return err;
}

/* Made, or brought up to date, in one transaction: a crash leaves a whole database or what was there before. */
static enum assent_err create(struct assent_store *store, bool fresh)
{
        char sql[sizeof(schema) + sizeof(schema_2) + 128];

        snprintf(sql, sizeof(sql),
                 "BEGIN IMMEDIATE;\n%s%sPRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
                 fresh ? schema : "", schema_2, ASSENT_SQLITE_APPLICATION_ID,
                 ASSENT_SQLITE_USER_VERSION);
        return execute(store, sql, "cannot create the tables");
}

static enum assent_err inspect(struct assent_store *store)
{
        int64_t pages = 0;
        enum assent_err err = ask_int(store, "PRAGMA page_count", &pages);

        if (err != ASSENT_OK || pages > CHECK_PAGES_MAX)
                return err;
        return expect(store, "PRAGMA quick_check(1)", "ok");
}

/* What a process wrote and did not live to sync is found in the page cache, and will be acted upon:
 * from then on no power cut may take it back. A sync alone does not see to that, for after one that
 * failed Linux takes pages for clean that are not on the disk; written again, they get there. */
static enum assent_err settle(struct assent_store *store)
{
        sqlite3_file *wal = NULL;
        sqlite3_int64 size = 0;
        int result = sqlite3_file_control(store->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);

        if (result == SQLITE_OK)
                result = wal->pMethods->xFileSize(wal, &size);
        for (sqlite3_int64 at = 0; result == SQLITE_OK && at < size; at += SETTLE_SIZE) {
                uint8_t bytes[SETTLE_SIZE];
                int part = size - at < SETTLE_SIZE ? (int)(size - at) : SETTLE_SIZE;
                result = wal->pMethods->xRead(wal, bytes, part, at);
                if (result == SQLITE_OK)
                        result = wal->pMethods->xWrite(wal, bytes, part, at);
        }
        if (result == SQLITE_OK)
                result = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
        if (result == SQLITE_OK)
                return ASSENT_OK;
        assent_sqlite_say(store, "%s-wal: cannot make durable what it holds: %s (SQLite %d)",
                          store->path, sqlite3_errstr(result), result);
        return ASSENT_E_STORE;
}

static enum assent_err prepare(struct assent_store *store)
{
        for (int i = 0; i < ASSENT_SQL_COUNT; i++)
                if (sqlite3_prepare_v3(store->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                       &store->statements[i], NULL) != SQLITE_OK)
                        return assent_sqlite_fail(store, "cannot prepare a statement");
        return ASSENT_OK;
}

/* Nobody but the owner may read what services put into payloads; WAL and index take the mode of the
 * file. */
static enum assent_err connect_file(struct assent_store *store)
{
        mode_t mask = umask(0177);
        int result = sqlite3_open_v2(store->path, &store->db,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                         SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                                     NULL);
        umask(mask);
        if (result != SQLITE_OK)
                return assent_sqlite_fail(store, "cannot open");
        sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
        return ASSENT_OK;
}

static enum assent_err find_sequence(struct assent_store *store)
{
        enum assent_err err =
            ask_int(store, "SELECT coalesce(max(sequence), 0) FROM main.assent_outbox", &store->outbox_sequence);
        const char *noted = assent_store_identity(store, "event");

        store->outbox_noted = noted ? strtoll(noted, NULL, 10) : 0;
        if (store->outbox_sequence < store->outbox_noted)
                store->outbox_sequence = store->outbox_noted;
        return store->broken ? ASSENT_E_STORE : err;
}

static enum assent_err set_up(struct assent_store *store)
{
        bool fresh = false;
        int64_t version = 0;
        enum assent_err err = in_memory(store) ? ASSENT_OK : own(store);

        if (err == ASSENT_OK)
                err = connect_file(store);
        if (err == ASSENT_OK)
                err = recognise(store, &fresh, &version);
        if (err == ASSENT_OK)
                err = configure(store);
        if (err == ASSENT_OK && !fresh)
                err = inspect(store);
        if (err == ASSENT_OK && version < ASSENT_SQLITE_USER_VERSION)
                err = create(store, fresh);
        if (err == ASSENT_OK && !in_memory(store))
                err = settle(store);
        if (fresh)
                ASSENT_CRASH_POINT(store_created); /* empty tables, nobody's yet: the next start takes them */
        if (err == ASSENT_OK)
                err = assent_sqlite_guard(store);
        if (err == ASSENT_OK)
                err = prepare(store);
        if (err == ASSENT_OK)
                err = find_sequence(store);
        return err;
}

void assent_store_process(void)
{
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

enum assent_err assent_store_open(const char *path, struct assent_store **out)
{
        struct assent_store *store = calloc(1, sizeof(*store));

        *out = store;
        if (!store)
                return ASSENT_E_MEMORY;
        store->owner_fd = -1;
        store->record_bytes_max = RECORD_BYTES;
        store->rows_age = 1;
        store->rows = calloc(ASSENT_STORE_ROWS, sizeof(*store->rows));
        if (!store->rows)
                return ASSENT_E_MEMORY;
        store->tx.store = store;
        store->path = strcmp(path, ":memory:") == 0 ? strdup(path) : resolve(path);
        enum assent_err err;
        if (store->path) {
                err = set_up(store);
        } else {
                assent_sqlite_say(store, "%s: %s", path, strerror(errno));
                err = errno == ENOMEM ? ASSENT_E_MEMORY : ASSENT_E_STORE;
        }
        store->broken = err != ASSENT_OK;
        return err;
}

void assent_store_close(struct assent_store *store)
{
        if (!store)
                return;
        store->lent = false;
        for (int i = 0; i < ASSENT_SQL_COUNT; i++)
                sqlite3_finalize(store->statements[i]);
        /* A statement that the application forgot keeps the connection half open; it must not keep
         * the write lock. */
        if (store->db && !sqlite3_get_autocommit(store->db)) {
                assent_sqlite_sweep(store);
                sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        }
        free(store->rows);
        sqlite3_close_v2(store->db);
        if (store->owner_fd >= 0)
                close(store->owner_fd);
        while (store->identities) {
                struct assent_identity *identity = store->identities;
                store->identities = identity->next;
                free(identity->key);
                free(identity->value);
                free(identity);
        }
        free(store->record);
        free(store->path);
        free(store);
}

const char *assent_store_errmsg(const struct assent_store *store)
{
        return store->error;
}

static enum assent_err run(struct assent_store *store, enum assent_statement statement,
                           const char *what)
{
        return assent_sqlite_run(store, assent_sqlite_use(store, statement), what);
}

/* The number of the last event is told by its row, and when that goes by the identity: SQLite's own counter of used numbers
 * stands in a table that an application may empty. */
static enum assent_err note_sequence(struct assent_store *store)
{
        char number[24];

        if (store->outbox_deleted <= store->outbox_noted)
                return ASSENT_OK;
        store->outbox_noted = store->outbox_deleted;
        snprintf(number, sizeof(number), "%lld", (long long)store->outbox_noted);
        return assent_store_identity_put(store, "event", number);
}

enum assent_err assent_store_begin(struct assent_store *store)
{
        ASSENT_ASSERT(!store->begun);
        if (store->broken)
                return ASSENT_E_STORE;
        enum assent_err err = run(store, ASSENT_SQL_BEGIN, "cannot begin a transaction");
        store->begun = err == ASSENT_OK;
        return err;
}

enum assent_err assent_store_commit(struct assent_store *store)
{
        ASSENT_ASSERT(store->begun && !store->lent);
        if (store->broken)
                return ASSENT_E_STORE;
        enum assent_err err = note_sequence(store);
        store->committing = true;
        if (err == ASSENT_OK)
                err = run(store, ASSENT_SQL_COMMIT, "cannot commit");
        store->committing = false;
        store->begun = err != ASSENT_OK;
        return err;
}

void assent_store_rollback(struct assent_store *store)
{
        ASSENT_ASSERT(!store->lent);
        assent_sqlite_sweep(store);
        store->begun = false;
        store->rows_age++;
        if (!sqlite3_get_autocommit(store->db)) /* an error may have ended it already */
                run(store, ASSENT_SQL_ROLLBACK, "cannot roll back");
}

enum assent_err assent_store_savepoint(struct assent_store *store)
{
        ASSENT_ASSERT(store->begun);
        store->rows_written = false;
        return run(store, ASSENT_SQL_SAVEPOINT, "cannot set a savepoint");
}

enum assent_err assent_store_release(struct assent_store *store)
{
        ASSENT_ASSERT(store->begun);
        return run(store, ASSENT_SQL_RELEASE, "cannot release a savepoint");
}

enum assent_err assent_store_undo(struct assent_store *store)
{
        ASSENT_ASSERT(store->begun);
        enum assent_err err = run(store, ASSENT_SQL_UNDO, "cannot undo a message");

        if (store->rows_written)
                store->rows_age++;
        return err == ASSENT_OK ? assent_store_release(store) : err;
}

static struct assent_identity *identity_slot(struct assent_store *store, const char *key)
{
        for (struct assent_identity *slot = store->identities; slot; slot = slot->next)
                if (strcmp(slot->key, key) == 0)
                        return slot;
        struct assent_identity *slot = calloc(1, sizeof(*slot));
        if (!slot || !(slot->key = strdup(key))) {
                free(slot);
                return NULL;
        }
        slot->next = store->identities;
        store->identities = slot;
        return slot;
}

const char *assent_store_identity(struct assent_store *store, const char *key)
{
        sqlite3_stmt *get = assent_sqlite_use(store, ASSENT_SQL_IDENTITY_GET);
        struct assent_identity *slot = identity_slot(store, key);
        char *value = NULL;
        int result = SQLITE_NOMEM;

        if (slot && sqlite3_bind_text(get, 1, key, -1, SQLITE_STATIC) == SQLITE_OK)
                result = sqlite3_step(get);
        if (result == SQLITE_ROW && !(value = strdup((const char *)sqlite3_column_text(get, 0))))
                result = SQLITE_NOMEM;
        if (result != SQLITE_ROW && result != SQLITE_DONE)
                assent_sqlite_fail(store, "cannot read the identity");
        assent_sqlite_done(get);
        if (slot) {
                free(slot->value);
                slot->value = value;
        }
        return value;
}

enum assent_err assent_store_identity_put(struct assent_store *store, const char *key,
                                          const char *value)
{
        ASSENT_ASSERT(store->begun && key && value);
        sqlite3_stmt *put = assent_sqlite_use(store, ASSENT_SQL_IDENTITY_PUT);

        if (sqlite3_bind_text(put, 1, key, -1, SQLITE_STATIC) == SQLITE_OK &&
            sqlite3_bind_text(put, 2, value, -1, SQLITE_STATIC) == SQLITE_OK)
                return assent_sqlite_run(store, put, "cannot write the identity");
        enum assent_err err = assent_sqlite_fail(store, "cannot write the identity");
        assent_sqlite_done(put);
        return err;
}
