/* sqlite_rows.c: the store's rows. Each function is one prepared statement; what they write commits
 * with the batch (P1). */
#include "store/sqlite.h"

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

/* Columns of assent_branch, in the table's order. */
enum {
        TXN_ID,
        BRANCH,
        BRANCHES_COUNT,
        LANE,
        STATE,
        FROZEN,
        PARKED,
        UNPUBLISHED,
        DEADLINE_MS,
        OFFSET,
        LAMPORT,
        FIRST_SLOT,
        SLOT_COLUMNS = 4,
        REASON = FIRST_SLOT + ASSENT_SLOTS * SLOT_COLUMNS,
};

/* A bind fails only when memory runs out; then the statement lacks a value, and must not run. */
static bool bind_text(sqlite3_stmt *statement, int index, const char *text)
{
        return sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC) == SQLITE_OK;
}

static bool bind_blob(sqlite3_stmt *statement, int index, const void *data, size_t size)
{
        /* SQLite makes NULL of a null pointer, and a zero-length blob is not that. */
        return sqlite3_bind_blob64(statement, index, size ? data : "", size, SQLITE_STATIC) ==
               SQLITE_OK;
}

static bool bind_int(sqlite3_stmt *statement, int index, int64_t value)
{
        return sqlite3_bind_int64(statement, index, value) == SQLITE_OK;
}

static enum assent_err run_bound(struct assent_store *store, sqlite3_stmt *statement, bool bound,
                                 const char *what)
{
        if (bound)
                return assent_sqlite_run(store, statement, what);
        enum assent_err err = assent_sqlite_fail(store, what);
        assent_sqlite_done(statement);
        return err;
}

/* Steps to the one row there can be: OK (the caller reads it, then assent_sqlite_done), NOT_FOUND
 * or STORE. */
static enum assent_err find(struct assent_store *store, sqlite3_stmt *statement, bool bound,
                            const char *what)
{
        int result = bound ? sqlite3_step(statement) : SQLITE_NOMEM;

        if (result == SQLITE_ROW)
                return ASSENT_OK;
        enum assent_err err =
            result == SQLITE_DONE ? ASSENT_E_NOT_FOUND : assent_sqlite_fail(store, what);
        assent_sqlite_done(statement);
        return err;
}

/* False: not 16 bytes, so not written by us. */
static bool column_uuid(sqlite3_stmt *statement, int column, struct assent_uuid *out)
{
        const void *data = sqlite3_column_blob(statement, column);

        if (!data || sqlite3_column_bytes(statement, column) != (int)sizeof(out->bytes))
                return false;
        memcpy(out->bytes, data, sizeof(out->bytes));
        return true;
}

static enum assent_err corrupt(struct assent_store *store, const char *table)
{
        assent_sqlite_say(store,
                          "%s: a row of %s holds values that this program never writes; restore "
                          "the file from a backup",
                          store->path, table);
        store->broken = true;
        return ASSENT_E_STORE;
}

enum assent_err assent_store_position(struct assent_store *store, const char *topic, int32_t lane,
                                      struct assent_position *out)
{
        sqlite3_stmt *get = assent_sqlite_use(store, ASSENT_SQL_POSITION_GET);
        bool bound = bind_text(get, 1, topic) && bind_int(get, 2, lane);
        enum assent_err err = find(store, get, bound, "cannot read a position");

        if (err != ASSENT_OK)
                return err;
        *out = (struct assent_position){
            .lane = lane,
            .next = sqlite3_column_int64(get, 0),
            .chain = (uint64_t)sqlite3_column_int64(get, 1),
            .tau_ms = sqlite3_column_int64(get, 2),
            .acked = sqlite3_column_int64(get, 3),
        };
        if (!column_uuid(get, 4, &out->open_from))
                err = corrupt(store, "assent_position");
        assent_sqlite_done(get);
        return err;
}

/* P11: the compare-and-set that fences an owner who was overtaken. */
enum assent_err assent_store_position_set(struct assent_store *store, const char *topic,
                                          const struct assent_position *position, int64_t mine)
{
        ASSENT_ASSERT(store->begun && mine >= -1 && position->next >= 0);
        sqlite3_stmt *set =
            assent_sqlite_use(store, mine < 0 ? ASSENT_SQL_POSITION_NEW : ASSENT_SQL_POSITION_SET);
        bool bound = bind_text(set, 1, topic) && bind_int(set, 2, position->lane) &&
                     bind_int(set, 3, position->next) &&
                     bind_int(set, 4, (int64_t)position->chain) &&
                     bind_int(set, 5, position->tau_ms) && bind_int(set, 6, position->acked) &&
                     bind_blob(set, 7, position->open_from.bytes, 16) &&
                     (mine < 0 || bind_int(set, 8, mine));
        enum assent_err err = run_bound(store, set, bound, "cannot write a position");

        if (err != ASSENT_OK || sqlite3_changes(store->db) == 1)
                return err;
        assent_sqlite_say(store,
                          "%s: the position of %s lane %d is no longer %lld: another owner of this "
                          "lane writes to the same database; stop one of them",
                          store->path, topic, (int)position->lane, (long long)mine);
        return ASSENT_E_POSITION;
}

static bool bind_slot(sqlite3_stmt *statement, int index, const struct assent_slot *slot)
{
        return bind_int(statement, index, slot->phase) &&
               bind_int(statement, index + 1, slot->answer) &&
               bind_int(statement, index + 2, (int64_t)slot->digest) &&
               bind_int(statement, index + 3, slot->lamport);
}

/* Where a row is kept: ids end in random bits. */
static struct assent_kept_row *kept_row(struct assent_store *store, const struct assent_uuid *txn_id, uint16_t branch)
{
        return &store->rows[(txn_id->bytes[14] * 256U + txn_id->bytes[15] + branch) % ASSENT_STORE_ROWS];
}

enum assent_err assent_store_branch_put(struct assent_store *store,
                                        const struct assent_branch_row *row)
{
        ASSENT_ASSERT(store->begun && row->reason_size <= ASSENT_REASON_SIZE_MAX);
        sqlite3_stmt *put = assent_sqlite_use(store, ASSENT_SQL_BRANCH_PUT);
        int unpublished = 0;
        bool bound =
            bind_blob(put, TXN_ID + 1, row->txn_id.bytes, 16) &&
            bind_int(put, BRANCH + 1, row->branch) &&
            bind_int(put, BRANCHES_COUNT + 1, row->branches_count) &&
            bind_int(put, LANE + 1, row->lane) && bind_int(put, STATE + 1, row->state) &&
            bind_int(put, FROZEN + 1, row->frozen) && bind_int(put, PARKED + 1, row->parked) &&
            bind_int(put, DEADLINE_MS + 1, row->deadline_ms) &&
            bind_int(put, OFFSET + 1, row->offset) && bind_int(put, LAMPORT + 1, row->lamport);

        for (int i = 0; i < ASSENT_SLOTS; i++) {
                bound = bound && bind_slot(put, FIRST_SLOT + i * SLOT_COLUMNS + 1, &row->slots[i]);
                unpublished |= row->slots[i].unpublished << i;
        }
        bound = bound && bind_int(put, UNPUBLISHED + 1, unpublished);
        if (row->reason_size > 0)
                bound = bound && sqlite3_bind_text(put, REASON + 1, row->reason, row->reason_size,
                                                   SQLITE_STATIC) == SQLITE_OK;
        struct assent_kept_row *kept = kept_row(store, &row->txn_id, row->branch);
        store->rows_written = true;
        kept->age = 0;
        enum assent_err err = run_bound(store, put, bound, "cannot write a branch");
        if (err == ASSENT_OK)
                *kept = (struct assent_kept_row){.age = store->rows_age, .row = *row};
        return err;
}

/* False: the row was not written by us. */
static bool column_row(sqlite3_stmt *statement, struct assent_branch_row *row)
{
        int64_t state = sqlite3_column_int64(statement, STATE);
        int64_t unpublished = sqlite3_column_int64(statement, UNPUBLISHED);
        const void *reason = sqlite3_column_text(statement, REASON);
        int reason_size = sqlite3_column_bytes(statement, REASON);

        memset(row, 0, sizeof(*row));
        if (state < 0 || state > ASSENT_BRANCH_TOMBSTONE || reason_size > ASSENT_REASON_SIZE_MAX ||
            !column_uuid(statement, TXN_ID, &row->txn_id))
                return false;
        row->branch = (uint16_t)sqlite3_column_int(statement, BRANCH);
        row->branches_count = (uint16_t)sqlite3_column_int(statement, BRANCHES_COUNT);
        row->lane = (int32_t)sqlite3_column_int(statement, LANE);
        row->state = (enum assent_branch_state)state;
        row->frozen = sqlite3_column_int(statement, FROZEN) != 0;
        row->parked = (uint8_t)sqlite3_column_int(statement, PARKED);
        row->deadline_ms = sqlite3_column_int64(statement, DEADLINE_MS);
        row->offset = sqlite3_column_int64(statement, OFFSET);
        row->lamport = (uint32_t)sqlite3_column_int64(statement, LAMPORT);
        for (int i = 0; i < ASSENT_SLOTS; i++) {
                int column = FIRST_SLOT + i * SLOT_COLUMNS;
                row->slots[i] = (struct assent_slot){
                    .phase = (enum assent_phase)sqlite3_column_int(statement, column),
                    .answer = (enum assent_answer)sqlite3_column_int(statement, column + 1),
                    .digest = (uint64_t)sqlite3_column_int64(statement, column + 2),
                    .lamport = (uint32_t)sqlite3_column_int64(statement, column + 3),
                    .unpublished = (unpublished >> i & 1) != 0,
                };
        }
        if (reason)
                memcpy(row->reason, reason, (size_t)reason_size);
        row->reason_size = (uint16_t)reason_size;
        return true;
}

enum assent_err assent_store_branch(struct assent_store *store, const struct assent_uuid *txn_id,
                                    uint16_t branch, struct assent_branch_row *row)
{
        sqlite3_stmt *get = assent_sqlite_use(store, ASSENT_SQL_BRANCH_GET);
        const struct assent_kept_row *kept = kept_row(store, txn_id, branch);

        if (kept->age == store->rows_age && !store->broken && kept->row.branch == branch &&
            memcmp(&kept->row.txn_id, txn_id, sizeof(*txn_id)) == 0) {
                *row = kept->row;
                return ASSENT_OK;
        }
        bool bound = bind_blob(get, 1, txn_id->bytes, 16) && bind_int(get, 2, branch);
        enum assent_err err = find(store, get, bound, "cannot read a branch");

        if (err != ASSENT_OK) {
                memset(row, 0, sizeof(*row));
                row->offset = -1;
                return err;
        }
        if (!column_row(get, row))
                err = corrupt(store, "assent_branch");
        assent_sqlite_done(get);
        return err;
}

enum assent_err assent_store_branch_delete(struct assent_store *store,
                                           const struct assent_uuid *txn_id, uint16_t branch)
{
        ASSENT_ASSERT(store->begun);
        sqlite3_stmt *statement = assent_sqlite_use(store, ASSENT_SQL_BRANCH_DELETE);
        bool bound = bind_blob(statement, 1, txn_id->bytes, 16) && bind_int(statement, 2, branch);

        kept_row(store, txn_id, branch)->age = 0;
        store->rows_written = true;
        return run_bound(store, statement, bound, "cannot delete a branch");
}

enum assent_err assent_store_branch_scan(
    struct assent_store *store, int32_t lane, const struct assent_uuid *from, size_t rows_max,
    bool (*each)(void *context, const struct assent_branch_row *row), void *context)
{
        sqlite3_stmt *scan = assent_sqlite_use(store, ASSENT_SQL_BRANCH_SCAN);
        int64_t limit = rows_max > 0 && rows_max <= INT64_MAX ? (int64_t)rows_max : -1;
        bool bound = bind_blob(scan, 1, from->bytes, 16) && bind_int(scan, 2, lane) &&
                     bind_int(scan, 3, limit);
        struct assent_branch_row row;
        enum assent_err err;
        bool more = true;

        while ((err = find(store, scan, bound, "cannot read the branches")) == ASSENT_OK && more) {
                if (!column_row(scan, &row)) {
                        err = corrupt(store, "assent_branch");
                        break;
                }
                more = each(context, &row);
                if (!more)
                        break;
        }
        assent_sqlite_done(scan);
        return err == ASSENT_E_NOT_FOUND ? ASSENT_OK : err;
}

enum assent_err assent_store_park(struct assent_store *store, struct assent_parked *parked)
{
        ASSENT_ASSERT(store->begun);
        sqlite3_stmt *park = assent_sqlite_use(store, ASSENT_SQL_PARK);
        bool bound = bind_int(park, 1, parked->lane) &&
                     bind_blob(park, 2, parked->txn_id.bytes, 16) &&
                     bind_int(park, 3, parked->branch) && bind_int(park, 4, parked->offset) &&
                     bind_blob(park, 5, parked->record.data, parked->record.size);
        enum assent_err err = run_bound(store, park, bound, "cannot park a message");

        if (err == ASSENT_OK)
                parked->sequence = sqlite3_last_insert_rowid(store->db);
        return err;
}

/* The record outlives its statement, so that no read stays open across a commit. */
static bool keep_record(struct assent_store *store, const void *data, size_t size)
{
        if (size > store->record_size_max) {
                void *grown = realloc(store->record, size);
                if (!grown)
                        return false;
                store->record = grown;
                store->record_size_max = size;
        }
        if (size > 0)
                memcpy(store->record, data, size);
        return true;
}

enum assent_err assent_store_parked_first(struct assent_store *store,
                                          const struct assent_uuid *txn_id, uint16_t branch,
                                          struct assent_parked *out)
{
        sqlite3_stmt *get = assent_sqlite_use(store, ASSENT_SQL_PARKED_FIRST);
        bool bound = bind_blob(get, 1, txn_id->bytes, 16) && bind_int(get, 2, branch);
        enum assent_err err = find(store, get, bound, "cannot read a parked message");

        if (err != ASSENT_OK)
                return err;
        const void *data = sqlite3_column_blob(get, 3);
        size_t size = (size_t)sqlite3_column_bytes(get, 3);
        *out = (struct assent_parked){
            .sequence = sqlite3_column_int64(get, 0),
            .lane = (int32_t)sqlite3_column_int(get, 1),
            .txn_id = *txn_id,
            .branch = branch,
            .offset = sqlite3_column_int64(get, 2),
        };
        if (keep_record(store, data, size)) {
                out->record = (struct assent_bytes){.data = store->record, .size = size};
        } else {
                assent_sqlite_say(store, "%s: out of memory for a parked message of %zu bytes",
                                  store->path, size);
                store->broken = true;
                err = ASSENT_E_STORE;
        }
        assent_sqlite_done(get);
        return err;
}

enum assent_err assent_store_unpark(struct assent_store *store, int64_t sequence)
{
        ASSENT_ASSERT(store->begun);
        sqlite3_stmt *statement = assent_sqlite_use(store, ASSENT_SQL_UNPARK);
        bool bound = bind_int(statement, 1, sequence);

        return run_bound(store, statement, bound, "cannot take a message out of parking");
}

enum assent_err assent_store_dedup_find(struct assent_store *store, const char *topic,
                                        struct assent_bytes message_id, uint64_t *digest)
{
        sqlite3_stmt *get = assent_sqlite_use(store, ASSENT_SQL_DEDUP_FIND);
        bool bound =
            bind_text(get, 1, topic) && bind_blob(get, 2, message_id.data, message_id.size);
        enum assent_err err = find(store, get, bound, "cannot look up a message id");

        if (err != ASSENT_OK)
                return err;
        *digest = (uint64_t)sqlite3_column_int64(get, 0);
        assent_sqlite_done(get);
        return ASSENT_OK;
}

enum assent_err assent_store_dedup_put(struct assent_store *store, const char *topic, int32_t lane,
                                       struct assent_bytes message_id, uint64_t digest,
                                       int64_t seen_ms)
{
        ASSENT_ASSERT(store->begun);
        sqlite3_stmt *put = assent_sqlite_use(store, ASSENT_SQL_DEDUP_PUT);
        bool bound = bind_text(put, 1, topic) &&
                     bind_blob(put, 2, message_id.data, message_id.size) &&
                     bind_int(put, 3, lane) && bind_int(put, 4, (int64_t)digest) &&
                     bind_int(put, 5, seen_ms);

        return run_bound(store, put, bound, "cannot write a message id");
}

enum assent_err assent_store_dedup_forget(struct assent_store *store, const char *topic,
                                          int32_t lane, int64_t seen_ms, size_t rows_max,
                                          size_t *count)
{
        ASSENT_ASSERT(store->begun && rows_max > 0 && rows_max <= INT64_MAX);
        sqlite3_stmt *forget = assent_sqlite_use(store, ASSENT_SQL_DEDUP_FORGET);
        bool bound = bind_text(forget, 1, topic) && bind_int(forget, 2, lane) &&
                     bind_int(forget, 3, seen_ms) && bind_int(forget, 4, (int64_t)rows_max);
        enum assent_err err = run_bound(store, forget, bound, "cannot forget message ids");

        *count = err == ASSENT_OK ? (size_t)sqlite3_changes(store->db) : 0;
        return err;
}

void assent_store_record_bytes_max(struct assent_store *store, size_t record_bytes_max)
{
        store->record_bytes_max = record_bytes_max;
}

uint64_t assent_store_outbox_written(const struct assent_store *store)
{
        return store->outbox_written;
}

enum assent_err assent_sqlite_outbox_put(struct assent_store *store, const struct assent_event *event, int64_t time_ms)
{
        ASSENT_ASSERT(store->begun);
        sqlite3_stmt *put = assent_sqlite_use(store, ASSENT_SQL_OUTBOX_PUT);
        bool bound = bind_text(put, 1, event->topic) && bind_text(put, 2, event->type) &&
                     bind_text(put, 3, event->content_type) && bind_int(put, 4, time_ms) &&
                     bind_blob(put, 5, event->key.data, event->key.size) &&
                     bind_blob(put, 6, event->value.data, event->value.size) &&
                     bind_int(put, 7, ++store->outbox_sequence);

        store->outbox_written++;
        return run_bound(store, put, bound, "cannot write an event");
}

enum assent_err assent_store_outbox_topic(struct assent_store *store,
                                          char topic[ASSENT_EVENT_TOPIC_SIZE_MAX + 1])
{
        sqlite3_stmt *get = assent_sqlite_use(store, ASSENT_SQL_OUTBOX_TOPIC);
        enum assent_err err = find(store, get, bind_text(get, 1, topic), "cannot read the events' topics");

        if (err != ASSENT_OK)
                return err;
        const void *text = sqlite3_column_text(get, 0);
        size_t size = (size_t)sqlite3_column_bytes(get, 0);
        if (text && size <= ASSENT_EVENT_TOPIC_SIZE_MAX)
                memcpy(topic, text, size + 1);
        else
                err = corrupt(store, "assent_outbox");
        assent_sqlite_done(get);
        return err;
}

static struct assent_bytes column_bytes(sqlite3_stmt *statement, int column)
{
        const void *data = sqlite3_column_blob(statement, column);

        return (struct assent_bytes){data, (size_t)sqlite3_column_bytes(statement, column)};
}

enum assent_err assent_store_outbox_scan(struct assent_store *store, const char *topic, int64_t after, size_t rows_max,
                                         bool (*each)(void *context, const struct assent_outbox_row *row), void *context)
{
        sqlite3_stmt *scan = assent_sqlite_use(store, ASSENT_SQL_OUTBOX_SCAN);
        bool bound = bind_text(scan, 1, topic) && bind_int(scan, 2, after) && bind_int(scan, 3, (int64_t)rows_max);
        enum assent_err err;
        bool more = true;

        while (more && (err = find(store, scan, bound, "cannot read the events")) == ASSENT_OK) {
                const struct assent_outbox_row row = {.sequence = sqlite3_column_int64(scan, 0),
                                                      .time_ms = sqlite3_column_int64(scan, 1),
                                                      .type = column_bytes(scan, 2),
                                                      .content_type = column_bytes(scan, 3),
                                                      .key = column_bytes(scan, 4),
                                                      .value = column_bytes(scan, 5)};
                more = each(context, &row);
        }
        assent_sqlite_done(scan);
        return err == ASSENT_E_NOT_FOUND ? ASSENT_OK : err;
}

enum assent_err assent_store_outbox_count(struct assent_store *store, uint64_t most, uint64_t *count)
{
        sqlite3_stmt *get = assent_sqlite_use(store, ASSENT_SQL_OUTBOX_COUNT);
        enum assent_err err = find(store, get, bind_int(get, 1, (int64_t)most), "cannot count the events");

        if (err == ASSENT_OK)
                *count = (uint64_t)sqlite3_column_int64(get, 0);
        assent_sqlite_done(get);
        return err;
}

enum assent_err assent_store_outbox_delete(struct assent_store *store, int64_t sequence)
{
        ASSENT_ASSERT(store->begun);
        sqlite3_stmt *statement = assent_sqlite_use(store, ASSENT_SQL_OUTBOX_DELETE);

        if (store->outbox_deleted < sequence)
                store->outbox_deleted = sequence;
        return run_bound(store, statement, bind_int(statement, 1, sequence), "cannot delete an event");
}

enum assent_err assent_store_outbox_refuse(struct assent_store *store, int64_t sequence, const char *reason)
{
        ASSENT_ASSERT(store->begun);
        sqlite3_stmt *statement = assent_sqlite_use(store, ASSENT_SQL_OUTBOX_REFUSE);
        bool bound = bind_int(statement, 1, sequence) && bind_text(statement, 2, reason);

        return run_bound(store, statement, bound, "cannot set an event aside");
}
