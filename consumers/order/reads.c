#include "reads.h"

#include <pthread.h>

enum read_sql { READ_ORDER, READ_TXN, READ_ALL, READ_STATE, READ_BEGUN, READ_IS_BEGUN, READ_EVENT, READ_RANGE, READ_SQL_COUNT };

static const char *const texts[READ_SQL_COUNT] = {
    [READ_ORDER] = "SELECT " ORDER_COLUMNS " FROM orders WHERE order_id = ?1",
    [READ_TXN] = "SELECT " ORDER_COLUMNS " FROM orders WHERE txn_id = ?1 ORDER BY branch LIMIT 1",
    [READ_ALL] = "SELECT " ORDER_COLUMNS " FROM orders NOT INDEXED WHERE rowid < ?1 AND deleted_ms = 0"
                 " ORDER BY rowid DESC LIMIT ?2",
    [READ_STATE] = "SELECT " ORDER_COLUMNS " FROM orders INDEXED BY orders_listed WHERE rowid < ?1 AND state = ?3"
                   " AND deleted_ms = 0 ORDER BY rowid DESC LIMIT ?2",
    [READ_BEGUN] = "SELECT txn_id FROM orders INDEXED BY orders_begun WHERE settled_ms = 0 AND timeout_ms > 0"
                   " AND txn_id > ?1 AND txn_id < ?2 ORDER BY txn_id LIMIT 1",
    [READ_IS_BEGUN] = "SELECT 1 FROM orders INDEXED BY orders_begun WHERE settled_ms = 0 AND timeout_ms > 0 AND txn_id = ?1",
    [READ_EVENT] = "SELECT seq, type, data FROM order_events WHERE seq > ?1 ORDER BY seq LIMIT 1",
    [READ_RANGE] = "SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM order_events",
};

struct read {
        sqlite3 *db;
        sqlite3_stmt *sql[READ_SQL_COUNT];
        bool lent;
};

static enum assent_err failed(struct read *read, const char *what)
{
        assent_log(ASSENT_LOG_ERROR, "the order database cannot be read", ASSENT_TEXT("what", what),
                   ASSENT_TEXT("error", read->db ? sqlite3_errmsg(read->db) : "out of memory"));
        return ASSENT_E_STORE;
}

enum assent_err read_open(const char *path, struct read **out)
{
        struct read *read = calloc(1, sizeof *read);
        enum assent_err err = read ? ASSENT_OK : ASSENT_E_MEMORY;

        *out = read;
        /* Opened for reading alone, it closes without a checkpoint as well. */
        if (read && sqlite3_open_v2(path, &read->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
                err = failed(read, path);
        if (err == ASSENT_OK) {
                sqlite3_busy_timeout(read->db, 5000);
                if (sqlite3_exec(read->db, "PRAGMA query_only = 1; PRAGMA wal_autocheckpoint = 0; PRAGMA mmap_size = 0", NULL,
                                 NULL, NULL) != SQLITE_OK)
                        err = failed(read, "set up");
        }
        for (size_t i = 0; i < READ_SQL_COUNT && err == ASSENT_OK; i++)
                if (sqlite3_prepare_v3(read->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &read->sql[i], NULL) != SQLITE_OK)
                        err = failed(read, texts[i]);
        if (err != ASSENT_OK) {
                read_close(read);
                *out = NULL;
        }
        return err;
}

void read_close(struct read *read)
{
        if (!read)
                return;
        service_finalize(read->sql, READ_SQL_COUNT);
        sqlite3_close(read->db);
        free(read);
}

sqlite3 *read_db(const struct read *read)
{
        return read->db;
}

static enum assent_err read_row(struct read *read, enum read_sql sql, struct order_row *row)
{
        int code = sqlite3_step(read->sql[sql]);
        enum assent_err err = code == SQLITE_ROW    ? order_row_read(read->sql[sql], row)
                              : code == SQLITE_DONE ? ASSENT_E_NOT_FOUND
                                                    : failed(read, texts[sql]);
        sqlite3_reset(read->sql[sql]); /* else the connection stays at this snapshot */
        return err;
}

enum assent_err read_order(struct read *read, const char *order_id, struct order_row *row)
{
        *row = (struct order_row){0};
        sqlite3_bind_text(read->sql[READ_ORDER], 1, order_id, -1, SQLITE_TRANSIENT);
        return read_row(read, READ_ORDER, row);
}

enum assent_err read_txn(struct read *read, const struct assent_uuid *txn_id, struct order_row *row)
{
        *row = (struct order_row){0};
        sqlite3_bind_blob(read->sql[READ_TXN], 1, txn_id->bytes, sizeof txn_id->bytes, SQLITE_TRANSIENT);
        return read_row(read, READ_TXN, row);
}

enum assent_err read_orders(struct read *read, const char *state, int64_t below, int limit,
                            bool (*each)(void *context, struct order_row *row), void *context)
{
        sqlite3_stmt *list = read->sql[state ? READ_STATE : READ_ALL];
        enum assent_err err = ASSENT_OK;
        int code = SQLITE_DONE;

        sqlite3_bind_int64(list, 1, below);
        sqlite3_bind_int(list, 2, limit);
        if (state)
                sqlite3_bind_text(list, 3, state, -1, SQLITE_TRANSIENT);
        while (err == ASSENT_OK && (code = sqlite3_step(list)) == SQLITE_ROW) {
                struct order_row row;
                err = order_row_read(list, &row);
                if (err == ASSENT_OK && !each(context, &row))
                        err = ASSENT_E_MEMORY;
        }
        if (err == ASSENT_OK && code != SQLITE_DONE)
                err = failed(read, "list");
        sqlite3_reset(list);
        return err;
}

enum assent_err read_begun(struct read *read, int64_t born_ms, struct assent_uuid *txn_id)
{
        sqlite3_stmt *begun = read->sql[READ_BEGUN];
        struct assent_uuid until = {{0}};

        for (int i = 0; i < 6; i++)
                until.bytes[i] = (uint8_t)((born_ms + 1) >> (40 - 8 * i));
        sqlite3_bind_blob(begun, 1, txn_id->bytes, sizeof txn_id->bytes, SQLITE_TRANSIENT);
        sqlite3_bind_blob(begun, 2, until.bytes, sizeof until.bytes, SQLITE_TRANSIENT);
        int code = sqlite3_step(begun);
        enum assent_err err = code == SQLITE_ROW ? ASSENT_OK : code == SQLITE_DONE ? ASSENT_E_NOT_FOUND : failed(read, "begun");
        if (err == ASSENT_OK && sqlite3_column_bytes(begun, 0) == sizeof txn_id->bytes)
                memcpy(txn_id->bytes, sqlite3_column_blob(begun, 0), sizeof txn_id->bytes);
        else if (err == ASSENT_OK)
                err = failed(read, "a transaction id");
        sqlite3_reset(begun);
        return err;
}

bool read_is_begun(struct read *read, const struct assent_uuid *txn_id)
{
        sqlite3_stmt *look = read->sql[READ_IS_BEGUN];

        sqlite3_bind_blob(look, 1, txn_id->bytes, sizeof txn_id->bytes, SQLITE_TRANSIENT);
        bool is = sqlite3_step(look) == SQLITE_ROW;
        sqlite3_reset(look);
        return is;
}

enum assent_err read_event(struct read *read, int64_t after, struct read_event *event)
{
        sqlite3_stmt *next = read->sql[READ_EVENT];

        sqlite3_reset(next);
        sqlite3_bind_int64(next, 1, after);
        int code = sqlite3_step(next);
        if (code != SQLITE_ROW) {
                sqlite3_reset(next);
                return code == SQLITE_DONE ? ASSENT_E_NOT_FOUND : failed(read, "events");
        }
        *event = (struct read_event){.number = sqlite3_column_int64(next, 0),
                                     .type = (const char *)sqlite3_column_text(next, 1),
                                     .data = (const char *)sqlite3_column_text(next, 2)};
        return event->type && event->data ? ASSENT_OK : failed(read, "an event");
}

void read_event_done(struct read *read)
{
        sqlite3_reset(read->sql[READ_EVENT]);
}

enum assent_err read_event_range(struct read *read, int64_t *oldest, int64_t *newest)
{
        sqlite3_stmt *range = read->sql[READ_RANGE];
        enum assent_err err = sqlite3_step(range) == SQLITE_ROW ? ASSENT_OK : failed(read, "events");

        *oldest = err == ASSENT_OK ? sqlite3_column_int64(range, 0) : 0;
        *newest = err == ASSENT_OK ? sqlite3_column_int64(range, 1) : 0;
        sqlite3_reset(range);
        return err;
}

/* ---- the pool ---- */

struct read_pool {
        pthread_mutex_t mutex;
        pthread_cond_t given;
        size_t count;
        struct read *reads[16];
};

enum assent_err read_pool_open(const char *path, size_t count, struct read_pool **out)
{
        struct read_pool *pool = calloc(1, sizeof *pool);
        enum assent_err err = pool ? ASSENT_OK : ASSENT_E_MEMORY;

        *out = pool;
        if (pool) {
                assert(count >= 1 && count <= sizeof pool->reads / sizeof *pool->reads);
                pthread_mutex_init(&pool->mutex, NULL);
                pthread_cond_init(&pool->given, NULL);
        }
        for (size_t i = 0; i < count && err == ASSENT_OK; i++, pool->count += err == ASSENT_OK)
                err = read_open(path, &pool->reads[i]);
        if (err != ASSENT_OK) {
                read_pool_close(pool);
                *out = NULL;
        }
        return err;
}

void read_pool_close(struct read_pool *pool)
{
        if (!pool)
                return;
        for (size_t i = 0; i < pool->count; i++) {
                assert(!pool->reads[i]->lent);
                read_close(pool->reads[i]);
        }
        pthread_cond_destroy(&pool->given);
        pthread_mutex_destroy(&pool->mutex);
        free(pool);
}

struct read *read_take(struct read_pool *pool)
{
        struct read *found = NULL;

        pthread_mutex_lock(&pool->mutex);
        while (!found) {
                for (size_t i = 0; i < pool->count && !found; i++)
                        if (!pool->reads[i]->lent)
                                found = pool->reads[i];
                if (!found)
                        pthread_cond_wait(&pool->given, &pool->mutex);
        }
        found->lent = true;
        pthread_mutex_unlock(&pool->mutex);
        return found;
}

void read_give(struct read_pool *pool, struct read *read)
{
        pthread_mutex_lock(&pool->mutex);
        read->lent = false;
        pthread_cond_signal(&pool->given);
        pthread_mutex_unlock(&pool->mutex);
}
