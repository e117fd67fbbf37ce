/* Which databases are opened, by whom, and how. */
#include "store_fixture.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void execute(const char *path, const char *sql)
{
        sqlite3 *db = NULL;

        cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
        cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
        sqlite3_close(db);
}

static void refused(struct fixture *fixture, enum assent_err wanted, const char *first,
                    const char *second)
{
        enum assent_err err = assent_store_open(fixture->path, &fixture->store);

        cr_assert_eq(err, wanted);
        cr_assert_not_null(strstr(assent_store_errmsg(fixture->store), first), "%s",
                           assent_store_errmsg(fixture->store));
        cr_assert_not_null(strstr(assent_store_errmsg(fixture->store), second), "%s",
                           assent_store_errmsg(fixture->store));
        assent_store_close(fixture->store);
        fixture->store = NULL;
}

Test(store_open, files_belong_to_their_owner_alone)
{
        static const char *const suffixes[] = {"", "-wal", "-shm", ".owner"};
        mode_t mask = umask(0);
        struct fixture fixture = fixture_open(true);

        cr_assert_eq(umask(mask), 0, "the mask of the process was not put back");
        for (int i = 0; i < 4; i++) {
                struct stat status;
                char name[128];
                snprintf(name, sizeof(name), "%s%s", fixture.path, suffixes[i]);
                cr_assert_eq(stat(name, &status), 0, "%s", name);
                cr_assert_eq(status.st_mode & 0777, 0600, "%s", name);
        }
        fixture_close(&fixture);
}

Test(store_open, durability_settings_hold_in_the_file)
{
        struct fixture fixture = fixture_open(true);
        sqlite3 *db = NULL;
        sqlite3_stmt *mode = NULL;

        cr_assert_eq(sqlite3_open(fixture.path, &db), SQLITE_OK);
        cr_assert_eq(sqlite3_prepare_v2(db, "PRAGMA journal_mode", -1, &mode, NULL), SQLITE_OK);
        cr_assert_eq(sqlite3_step(mode), SQLITE_ROW);
        cr_assert_str_eq((const char *)sqlite3_column_text(mode, 0), "wal");
        sqlite3_finalize(mode);
        sqlite3_close(db);
        fixture_close(&fixture);
}

Test(store_open, incarnation_stays_with_the_file)
{
        struct fixture fixture = fixture_open(true), other = fixture_open(true);
        char first[33];

        snprintf(first, sizeof(first), "%s", assent_store_identity(fixture.store, "incarnation"));
        cr_assert_str_neq(assent_store_identity(other.store, "incarnation"), first);
        fixture_reopen(&fixture);
        cr_assert_str_eq(assent_store_identity(fixture.store, "incarnation"), first);
        fixture_close(&fixture);
        fixture_close(&other);
}

Test(store_open, second_process_is_told_who_owns_the_file)
{
        struct fixture fixture = fixture_open(true);
        char pid[32];
        int status = 0;

        snprintf(pid, sizeof(pid), "process %ld ", (long)getpid());
        pid_t child = fork();
        if (child == 0) {
                struct assent_store *store = NULL;
                enum assent_err err = assent_store_open(fixture.path, &store);
                bool told = strstr(assent_store_errmsg(store), pid) != NULL;
                assent_store_close(store);
                _exit(err == ASSENT_E_OWNER && told ? 0 : 1);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert_eq(status, 0);
        fixture_close(&fixture);
}

Test(store_open, another_name_of_the_file_meets_the_same_lock)
{
        struct fixture fixture = fixture_open(true);
        struct fixture other = {0};

        snprintf(other.path, sizeof(other.path), "%s/link", fixture.folder);
        cr_assert_eq(symlink(fixture.path, other.path), 0);
        refused(&other, ASSENT_E_OWNER, "owns this database", ".owner");
        unlink(other.path);
        fixture_close(&fixture);
}

Test(store_open, lock_is_free_after_close)
{
        struct fixture fixture = fixture_open(true);

        fixture_reopen(&fixture);
        fixture_close(&fixture);
}

Test(store_open, foreign_database_is_refused_and_left_alone)
{
        struct fixture fixture = {0};
        struct stat status;
        char wal[128];

        fixture_name(&fixture);
        execute(fixture.path, "CREATE TABLE theirs(x)");
        refused(&fixture, ASSENT_E_STORE, "another program", "application_id 0 with 1 tables");
        execute(fixture.path, "PRAGMA application_id=77");
        refused(&fixture, ASSENT_E_STORE, "another program", "application_id 77");
        snprintf(wal, sizeof(wal), "%s-wal", fixture.path);
        cr_assert_neq(stat(wal, &status), 0);
        execute(fixture.path, "INSERT INTO theirs VALUES(1)");
        fixture_close(&fixture);
}

Test(store_open, newer_user_version_is_refused_with_both_values)
{
        struct fixture fixture = fixture_open(true);

        assent_store_close(fixture.store);
        execute(fixture.path, "PRAGMA user_version=3");
        refused(&fixture, ASSENT_E_STORE, "user_version 3", "writes 2");
        execute(fixture.path, "PRAGMA user_version=0");
        refused(&fixture, ASSENT_E_STORE, "user_version 0", "writes 2");
        fixture_close(&fixture);
}

/* As version 1 made it, word for word, with a row in each table. */
static const char version_1[] =
    "PRAGMA journal_mode=WAL; BEGIN IMMEDIATE;\n"
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
    "INSERT INTO main.assent_identity VALUES('incarnation', '0123456789abcdef0123456789abcdef');\n"
    "PRAGMA application_id=1095979860; PRAGMA user_version=1; COMMIT;\n"
    "CREATE TABLE stock(item TEXT, count INTEGER); INSERT INTO stock VALUES('apple', 5);\n"
    "INSERT INTO assent_position VALUES('t', 3, 7, 8, 9, 6, zeroblob(16));\n"
    "INSERT INTO assent_branch VALUES(zeroblob(16), 1, 2, 3, 2, 0, 0, 0, 10, 11, 12, 1, 1, 13, 14,"
    " 0, 0, 0, 0, 0, 0, 0, 0, NULL);\n"
    "INSERT INTO assent_parking VALUES(1, 3, zeroblob(16), 1, 11, x'00');\n"
    "INSERT INTO assent_dedup VALUES('t', x'01', 3, 4, 5);\n";

static void holds_what_version_1_wrote(struct fixture *fixture)
{
        struct assent_uuid id = {{0}};
        struct assent_position position;
        struct assent_branch_row row;
        struct assent_parked parked;
        uint64_t digest = 0;

        cr_assert_str_eq(assent_store_identity(fixture->store, "incarnation"), "0123456789abcdef0123456789abcdef");
        OK(assent_store_position(fixture->store, "t", 3, &position));
        cr_assert(position.next == 7 && position.chain == 8 && position.tau_ms == 9 && position.acked == 6);
        OK(assent_store_branch(fixture->store, &id, 1, &row));
        cr_assert(row.state == ASSENT_BRANCH_PREPARED && row.deadline_ms == 10 && row.slots[0].digest == 13);
        OK(assent_store_parked_first(fixture->store, &id, 1, &parked));
        cr_assert_eq(parked.offset, 11);
        OK(assent_store_dedup_find(fixture->store, "t", (struct assent_bytes){"\1", 1}, &digest));
        cr_assert_eq(digest, 4);
}

Test(store_open, older_user_version_is_brought_up_to_date)
{
        struct fixture fixture_ = {0}, *fixture = &fixture_;
        const struct assent_event event = {
            .topic = "t", .type = "x", .content_type = "y", .key = {"k", 1}, .value = {"v", 1}};

        fixture_name(fixture);
        execute(fixture->path, version_1);
        OK(assent_store_open(fixture->path, &fixture->store));
        holds_what_version_1_wrote(fixture);
        OK(assent_store_begin(fixture->store));
        cr_assert_eq(assent_tx_publish(assent_store_enter(fixture->store, 1), &event), ASSENT_OK);
        OK(assent_store_leave(fixture->store));
        OK(assent_store_commit(fixture->store));
        fixture_reopen(fixture);
        holds_what_version_1_wrote(fixture);
        char topic[ASSENT_EVENT_TOPIC_SIZE_MAX + 1] = "";
        OK(assent_store_outbox_topic(fixture->store, topic));
        assent_store_close(fixture->store);
        execute(fixture->path, "SELECT count FROM stock; SELECT refused FROM assent_outbox");
        OK(assent_store_open(fixture->path, &fixture->store));
        fixture_close(fixture);
}

Test(store_open, database_brought_up_to_date_is_as_a_new_one)
{
        struct fixture old = {0}, new = fixture_open(true);
        sqlite3 *db = NULL;
        sqlite3_stmt *differs = NULL;
        char sql[256];

        fixture_name(&old);
        execute(old.path, version_1);
        cr_assert_eq(assent_store_open(old.path, &old.store), ASSENT_OK);
        cr_assert_eq(sqlite3_open(old.path, &db), SQLITE_OK);
        snprintf(sql, sizeof(sql), "ATTACH '%s' AS new", new.path);
        cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        cr_assert_eq(sqlite3_prepare_v2(db,
                                        "SELECT name FROM new.sqlite_schema AS n WHERE name LIKE 'assent_%' AND NOT EXISTS"
                                        " (SELECT 1 FROM main.sqlite_schema AS o WHERE o.name = n.name AND o.sql IS n.sql)",
                                        -1, &differs, NULL),
                     SQLITE_OK);
        int step = sqlite3_step(differs);
        cr_assert_eq(step, SQLITE_DONE, "%s", step == SQLITE_ROW ? (const char *)sqlite3_column_text(differs, 0) : "?");
        sqlite3_finalize(differs);
        sqlite3_close(db);
        fixture_close(&old);
        fixture_close(&new);
}

Test(store_open, file_that_is_no_database_is_refused)
{
        struct fixture fixture = {0};

        fixture_name(&fixture);
        FILE *file = fopen(fixture.path, "w");
        for (int i = 0; i < 1000; i++)
                fputs("not a database ", file);
        fclose(file);
        refused(&fixture, ASSENT_E_STORE, fixture.path, "not a database");
        fixture_close(&fixture);
}

Test(store_open, damaged_page_is_found_at_open)
{
        struct fixture fixture = fixture_open(true);

        assent_store_close(fixture.store);
        FILE *file = fopen(fixture.path, "r+");
        fseek(file, 4096 * 2, SEEK_SET);
        for (int i = 0; i < 4096; i++)
                fputc(0x5a, file);
        fclose(file);
        refused(&fixture, ASSENT_E_STORE, fixture.path, "quick_check");
        fixture_close(&fixture);
}

Test(store_open, folder_that_does_not_exist_is_named)
{
        struct fixture fixture = {.path = "/nonexistent/folder/x.db"};

        refused(&fixture, ASSENT_E_STORE, fixture.path, "No such file");
}

Test(store_open, relative_path_without_a_folder_works)
{
        struct fixture fixture = {0};

        fixture_name(&fixture);
        cr_assert_eq(chdir(fixture.folder), 0);
        cr_assert_eq(assent_store_open("test.db", &fixture.store), ASSENT_OK);
        cr_assert_eq(access(fixture.path, F_OK), 0);
        fixture_close(&fixture);
}

/* An authorizer is taken out here only to set the limit that stands for the disk. */
static struct sqlite3 *small_disk(struct fixture *fixture)
{
        OK(assent_store_begin(fixture->store));
        struct sqlite3 *db = assent_tx_sqlite(assent_store_enter(fixture->store, 0));

        sqlite3_set_authorizer(db, NULL, NULL);
        cr_assert_eq(sqlite3_exec(db, "PRAGMA max_page_count=100", NULL, NULL, NULL), SQLITE_OK);
        return db;
}

Test(store_open, disk_full_in_a_handler_is_no_fault_of_the_handler)
{
        struct fixture fixture_ = fixture_open(true), *fixture = &fixture_;
        struct sqlite3 *db = small_disk(fixture);

        cr_assert_eq(sqlite3_exec(db,
                                  "CREATE TABLE big(x); INSERT INTO big VALUES(zeroblob(1000000))",
                                  NULL, NULL, NULL),
                     SQLITE_FULL);
        cr_assert_eq(assent_store_leave(fixture->store), ASSENT_E_STORE);
        cr_assert_not_null(strstr(assent_store_errmsg(fixture->store), "full"));
        cr_assert_eq(assent_store_commit(fixture->store), ASSENT_E_STORE);
        fixture_close(fixture);
}

Test(store_open, disk_full_stops_the_store_for_good)
{
        struct fixture fixture_ = fixture_open(true), *fixture = &fixture_;
        static uint8_t large[200 * 1024];
        struct assent_parked parked = {.record = {large, sizeof(large)}};
        enum assent_err err = ASSENT_OK;

        small_disk(fixture);
        OK(assent_store_leave(fixture->store));
        for (int i = 0; i < 4 && err == ASSENT_OK; i++)
                err = assent_store_park(fixture->store, &parked);
        cr_assert_eq(err, ASSENT_E_STORE);
        cr_assert_not_null(strstr(assent_store_errmsg(fixture->store), "full"));
        cr_assert_eq(assent_store_commit(fixture->store), ASSENT_E_STORE);
        assent_store_rollback(fixture->store);
        cr_assert_eq(assent_store_begin(fixture->store), ASSENT_E_STORE);
        cr_assert_not_null(strstr(assent_store_errmsg(fixture->store), "full"));
        fixture_close(fixture);
}
