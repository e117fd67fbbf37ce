/* sqlite.h: what the three files of the SQLite store share. sqlite.c opens and commits,
 * sqlite_guard.c lends the connection to the application, sqlite_rows.c reads and writes the rows.
 */
#ifndef ASSENT_STORE_SQLITE_H
#define ASSENT_STORE_SQLITE_H

#include "store/store.h"

#include <sqlite3.h>

#define ASSENT_SQLITE_APPLICATION_ID 0x41535354 /* "ASST" */
#define ASSENT_SQLITE_USER_VERSION   2
#define ASSENT_STORE_ERROR_SIZE_MAX  1024

/* Every statement of the framework, prepared once at open. Tables are named with their schema, so
 * that a TEMP table of the application can never stand in for one of ours. */
#define ASSENT_STATEMENTS(X)                                                                       \
        X(BEGIN, "BEGIN IMMEDIATE")                                                                \
        X(COMMIT, "COMMIT")                                                                        \
        X(ROLLBACK, "ROLLBACK")                                                                    \
        X(SAVEPOINT, "SAVEPOINT assent_message")                                                   \
        X(RELEASE, "RELEASE assent_message")                                                       \
        X(UNDO, "ROLLBACK TO assent_message")                                                      \
        X(IDENTITY_GET, "SELECT value FROM main.assent_identity WHERE key = ?1")                   \
        X(IDENTITY_PUT, "INSERT OR REPLACE INTO main.assent_identity(key, value) VALUES(?1, ?2)")  \
        X(POSITION_GET, "SELECT next, chain, tau_ms, acked, open_from FROM main.assent_position"   \
                        " WHERE topic = ?1 AND lane = ?2")                                         \
        X(POSITION_NEW, "INSERT OR IGNORE INTO main.assent_position"                               \
                        "(topic, lane, next, chain, tau_ms, acked, open_from)"                     \
                        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")                                     \
        X(POSITION_SET, "UPDATE main.assent_position SET next = ?3, chain = ?4, tau_ms = ?5,"      \
                        " acked = ?6, open_from = ?7"                                              \
                        " WHERE topic = ?1 AND lane = ?2 AND next = ?8")                           \
        X(BRANCH_GET, "SELECT * FROM main.assent_branch WHERE txn_id = ?1 AND branch = ?2")        \
        X(BRANCH_PUT, "INSERT OR REPLACE INTO main.assent_branch VALUES(?1, ?2, ?3, ?4, ?5, ?6,"   \
                      " ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,"   \
                      " ?22, ?23, ?24)")                                                           \
        X(BRANCH_DELETE, "DELETE FROM main.assent_branch WHERE txn_id = ?1 AND branch = ?2")       \
        X(BRANCH_SCAN, "SELECT * FROM main.assent_branch"                                          \
                       " WHERE txn_id >= ?1 AND (?2 < 0 OR lane = ?2)"                             \
                       " ORDER BY txn_id, branch LIMIT ?3")                                        \
        X(PARK, "INSERT INTO main.assent_parking(lane, txn_id, branch, \"offset\", record)"        \
                " VALUES(?1, ?2, ?3, ?4, ?5)")                                                     \
        X(PARKED_FIRST, "SELECT sequence, lane, \"offset\", record FROM main.assent_parking"       \
                        " WHERE txn_id = ?1 AND branch = ?2 ORDER BY sequence LIMIT 1")            \
        X(UNPARK, "DELETE FROM main.assent_parking WHERE sequence = ?1")                           \
        X(DEDUP_FIND, "SELECT digest FROM main.assent_dedup WHERE topic = ?1 AND message_id = ?2") \
        X(DEDUP_PUT, "INSERT INTO main.assent_dedup(topic, message_id, lane, digest, seen_ms)"     \
                     " VALUES(?1, ?2, ?3, ?4, ?5)")                                                \
        X(DEDUP_FORGET, "DELETE FROM main.assent_dedup WHERE topic = ?1 AND message_id IN"         \
                        " (SELECT message_id FROM main.assent_dedup WHERE topic = ?1 AND"          \
                        " lane = ?2 AND seen_ms < ?3 ORDER BY seen_ms LIMIT ?4)")                  \
        X(OUTBOX_PUT, "INSERT INTO main.assent_outbox(topic, type, content_type, time_ms, key,"    \
                      " value, sequence) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")                      \
        X(OUTBOX_TOPIC, "SELECT topic FROM main.assent_outbox WHERE refused IS NULL AND"           \
                        " topic > ?1 ORDER BY topic LIMIT 1")                                      \
        X(OUTBOX_SCAN, "SELECT sequence, time_ms, type, content_type, key, value FROM"             \
                       " main.assent_outbox WHERE refused IS NULL AND topic = ?1 AND"              \
                       " sequence > ?2 ORDER BY sequence LIMIT ?3")                                \
        X(OUTBOX_COUNT, "SELECT count(*) FROM (SELECT 1 FROM main.assent_outbox WHERE"             \
                        " refused IS NULL LIMIT ?1)")                                              \
        X(OUTBOX_DELETE, "DELETE FROM main.assent_outbox WHERE sequence = ?1")                     \
        X(OUTBOX_REFUSE, "UPDATE main.assent_outbox SET refused = ?2 WHERE sequence = ?1")

enum assent_statement {
#define X(name, sql) ASSENT_SQL_##name,
        ASSENT_STATEMENTS(X)
#undef X
            ASSENT_SQL_COUNT
};

struct assent_tx {
        struct assent_store *store;
        int64_t tau_ms;
        char refusal[ASSENT_REASON_SIZE_MAX];
        uint16_t refusal_size;
};

/* A value that assent_store_identity has handed out. */
struct assent_identity {
        char *key, *value;
        struct assent_identity *next;
};

/* Branch rows as they were written last, so that a decision need not look for what its vote has just left. Nobody else writes
 * the table (P13, and the authorizer). */
#define ASSENT_STORE_ROWS 4096

struct assent_kept_row {
        uint64_t age; /* it is what the table holds when this is the store's rows_age */
        struct assent_branch_row row;
};

struct assent_store {
        sqlite3 *db;
        sqlite3_stmt *statements[ASSENT_SQL_COUNT];
        char *path;
        int owner_fd; /* -1: none held */
        bool begun;
        bool committing; /* the only time at which the commit hook agrees */
        bool lent;       /* between enter and leave: the application's code runs */
        bool broken;     /* what is on disk is unknown, or a handler split the transaction: nothing
                            commits any more */
        const char *split; /* what the application did, as the hooks saw it */
        struct assent_tx tx;
        struct assent_identity *identities;
        struct assent_kept_row *rows;
        uint64_t rows_age; /* a roll-back begins a new one */
        bool rows_written; /* since the savepoint */
        void *record; /* the parked record handed out last */
        size_t record_size_max;
        size_t record_bytes_max; /* of an event */
        int64_t outbox_sequence; /* the last that was given out */
        int64_t outbox_deleted;  /* the greatest of those deleted */
        int64_t outbox_noted;    /* the same, as the identity has it */
        uint64_t outbox_written;
        char error[ASSENT_STORE_ERROR_SIZE_MAX];
};

/* Sets the sentence. `assent_sqlite_fail` adds SQLite's own, and breaks the store: after an error
 * of the database nobody knows what it holds, and a retried fsync lies. */
__attribute__((format(printf, 2, 3))) void assent_sqlite_say(struct assent_store *store,
                                                             const char *format, ...);
enum assent_err assent_sqlite_fail(struct assent_store *store, const char *what);

/* The statement, ready to bind; it was reset by its last user. */
sqlite3_stmt *assent_sqlite_use(struct assent_store *store, enum assent_statement statement);
/* Runs a statement that returns no rows, resets it and drops what was bound. */
enum assent_err assent_sqlite_run(struct assent_store *store, sqlite3_stmt *statement,
                                  const char *what);
void assent_sqlite_done(sqlite3_stmt *statement);

/* Installs authorizer, hooks and switches, once: doing it again would expire every prepared
 * statement. */
enum assent_err assent_sqlite_guard(struct assent_store *store);
/* Writes an event's row, whose sizes were judged. */
enum assent_err assent_sqlite_outbox_put(struct assent_store *store, const struct assent_event *event, int64_t time_ms);
/* Resets statements that the application left in the middle: they would hold a snapshot, or bar the
 * commit. */
void assent_sqlite_sweep(struct assent_store *store);

#endif
