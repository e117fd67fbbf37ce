/* idempotency.c: one row a key. It is written in the local transaction of the effect, so that neither stands without the
 * other, and read by anybody. */
#include <assent/idempotency.h>

#include <jansson.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include <assent/log.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/panic.h"

#define RETRY_AFTER_S 1
#define BLANKS        " \t"

/* The second index holds what may be forgotten, and that alone. */
static const char schema[] =
        "CREATE TABLE IF NOT EXISTS idempotency("
        " caller TEXT NOT NULL, key TEXT NOT NULL, fingerprint BLOB NOT NULL CHECK(length(fingerprint) = 16),"
        " txn_id BLOB NOT NULL CHECK(length(txn_id) = 16),"
        " status INTEGER, -- NULL: not finished\n"
        " location TEXT, etag BLOB, body BLOB, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
        " PRIMARY KEY(caller, key)) STRICT;"
        "CREATE UNIQUE INDEX IF NOT EXISTS idempotency_txn ON idempotency(txn_id);"
        "CREATE INDEX IF NOT EXISTS idempotency_expires ON idempotency(expires_ms) WHERE status IS NOT NULL;";

static const char sql_find[] = "SELECT fingerprint, txn_id, status, location, etag, body FROM idempotency"
                               " WHERE caller = ?1 AND key = ?2 AND (status IS NULL OR expires_ms > ?3)";
/* Also takes the place of a claim that has expired. */
static const char sql_claim[] =
        "INSERT INTO idempotency(caller, key, fingerprint, txn_id, created_ms, expires_ms) VALUES(?1, ?2, ?3, ?4, ?5, ?6)"
        " ON CONFLICT(caller, key) DO UPDATE SET fingerprint = ?3, txn_id = ?4, created_ms = ?5, expires_ms = ?6,"
        " status = NULL WHERE status IS NOT NULL AND expires_ms <= ?5";
/* Whoever asks again shall find the answer for as long as was promised, however long it took to come. */
static const char sql_finish[] = "UPDATE idempotency SET status = ?2, location = ?3, etag = ?4, body = ?5,"
                                 " expires_ms = max(expires_ms, ?6 + expires_ms - created_ms)"
                                 " WHERE txn_id = ?1 AND status IS NULL";
static const char sql_forget[] = "DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency"
                                 " WHERE status IS NOT NULL AND expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)";

/* ---- the request ---- */

static bool bare_character(char c)
{
        return c > ' ' && c <= '~' && c != '"' && c != '\\' && c != ',' && c != ';';
}

/* Reads a bare key, or an RFC 8941 string; parameters behind it mean nothing here and are refused. NULL, or what is wrong. */
static const char *parse_key(const char *text, char out[ASSENT_IDEMPOTENCY_KEY_SIZE_MAX + 1])
{
        size_t size = 0;
        text += strspn(text, BLANKS);
        bool quoted = *text == '"';

        for (text += quoted; *text && (quoted ? *text != '"' : !strchr(BLANKS, *text)); text++) {
                if (quoted && *text == '\\' && *++text != '"' && *text != '\\')
                        return "a backslash escapes \" or \\ only";
                if (quoted ? *text < ' ' || *text > '~' : !bare_character(*text))
                        return quoted ? "it may hold printable ASCII only"
                                      : "without quotes it may hold printable ASCII but blanks, \" \\ , and ; only";
                if (size == ASSENT_IDEMPOTENCY_KEY_SIZE_MAX)
                        return "it is longer than 255 characters";
                out[size++] = *text;
        }
        if (quoted && *text++ != '"')
                return "the closing quote is missing";
        if (text[strspn(text, BLANKS)])
                return "something follows it";
        out[size] = '\0';
        return size ? NULL : "it is empty";
}

/* Each part goes with its size, so that none runs into the next. */
static bool fingerprint(const struct assent_http_request *request, const json_t *body, uint8_t out[16])
{
        const char *method = assent_http_method(request), *path = assent_http_path(request);
        char *canonical = body ? json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : strdup("");
        struct assent_buffer text;

        if (!canonical)
                return false;
        assent_buffer_init(&text, strlen(method) + strlen(path) + strlen(canonical) + 128);
        assent_buffer_printf(&text, "%zu:%s %zu:%s ", strlen(method), method, strlen(path), path);
        assent_buffer_text(&text, canonical);
        bool whole = text.err == ASSENT_OK;
        if (whole)
                assent_hash128(text.data, text.size, out);
        assent_buffer_close(&text);
        free(canonical);
        return whole;
}

bool assent_idempotency_read(struct assent_http_request *request, const struct json_t *body, struct assent_idempotency *out)
{
        const char *key = assent_http_header(request, "Idempotency-Key"), *caller = assent_http_caller(request);
        size_t caller_size = strlen(caller);

        *out = (struct assent_idempotency){0};
        if (!key) {
                assent_http_problem(request, 400, "idempotency-key-missing",
                                    "This request needs an Idempotency-Key header field: make a key for each effect that is "
                                    "wanted once, a UUID for one, and send the same key with every retry.");
                return false;
        }
        const char *wrong = parse_key(key, out->key);
        if (wrong) {
                assent_http_problem(request, 400, "idempotency-key-invalid",
                                    "The Idempotency-Key cannot be used: %s. Send 1 to 255 printable ASCII characters, in "
                                    "double quotes or bare.", wrong);
                return false;
        }
        ASSENT_ASSERT(caller_size < sizeof out->caller);
        memcpy(out->caller, caller, caller_size + 1);
        if (!fingerprint(request, body, out->fingerprint)) {
                assent_http_problem(request, 503, "out-of-memory", "No memory is left to read the request; send it again.");
                return false;
        }
        return true;
}

/* ---- the table ---- */

static enum assent_err failed(sqlite3 *db, const char *what)
{
        assent_log(ASSENT_LOG_ERROR, "the table of idempotency keys cannot be used", ASSENT_TEXT("what", what),
                   ASSENT_TEXT("sqlite", sqlite3_errmsg(db)), ASSENT_INT("code", sqlite3_extended_errcode(db)));
        return ASSENT_E_STORE;
}

/* Prepared for this one use: to keep statements, a connection would need an owner who ends them, and next to the sync of a
 * commit they cost nothing. */
static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
        sqlite3_stmt *statement = NULL;
        sqlite3_prepare_v3(db, sql, -1, 0, &statement, NULL);
        return statement; /* NULL can be bound, stepped and finalized: each fails */
}

static enum assent_err run(sqlite3 *db, sqlite3_stmt *statement, bool bound, const char *what)
{
        enum assent_err err = bound && sqlite3_step(statement) == SQLITE_DONE ? ASSENT_OK : failed(db, what);
        sqlite3_finalize(statement);
        return err;
}

static bool bind_id(sqlite3_stmt *statement, int at, const uint8_t id[16])
{
        return sqlite3_bind_blob(statement, at, id, 16, SQLITE_STATIC) == SQLITE_OK;
}

static bool bind_text(sqlite3_stmt *statement, int at, const char *text)
{
        return sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC) == SQLITE_OK;
}

static bool bind_int(sqlite3_stmt *statement, int at, int64_t value)
{
        return sqlite3_bind_int64(statement, at, value) == SQLITE_OK;
}

static bool bind_bytes(sqlite3_stmt *statement, int at, struct assent_bytes bytes)
{
        return sqlite3_bind_blob64(statement, at, bytes.size ? bytes.data : "", bytes.size, SQLITE_STATIC) == SQLITE_OK;
}

static bool copy_column(sqlite3_stmt *statement, int at, struct assent_bytes *out)
{
        const void *data = sqlite3_column_blob(statement, at);
        size_t size = (size_t)sqlite3_column_bytes(statement, at);
        void *copy = size && data ? malloc(size) : NULL;

        if (!copy)
                return size == 0;
        memcpy(copy, data, size);
        *out = (struct assent_bytes){.data = copy, .size = size};
        return true;
}

/* The claim that stands, whose row the statement is at. */
static enum assent_err take(sqlite3_stmt *row, struct assent_idempotency *claim, enum assent_idempotency_state *state)
{
        const void *mark = sqlite3_column_blob(row, 0), *txn_id = sqlite3_column_blob(row, 1);
        const unsigned char *location = sqlite3_column_text(row, 3);
        size_t location_size = (size_t)sqlite3_column_bytes(row, 3);

        if (!mark || sqlite3_column_bytes(row, 0) != 16 || !txn_id || sqlite3_column_bytes(row, 1) != 16 ||
            location_size >= sizeof claim->location)
                return ASSENT_E_STORE;
        memcpy(claim->txn_id.bytes, txn_id, 16);
        if (memcmp(mark, claim->fingerprint, 16) != 0) {
                *state = ASSENT_IDEMPOTENCY_MISMATCH;
                return ASSENT_OK;
        }
        if (sqlite3_column_type(row, 2) == SQLITE_NULL) {
                *state = ASSENT_IDEMPOTENCY_IN_PROGRESS;
                return ASSENT_OK;
        }
        claim->status = (unsigned)sqlite3_column_int(row, 2);
        if (location)
                memcpy(claim->location, location, location_size + 1);
        if (!copy_column(row, 4, &claim->etag) || !copy_column(row, 5, &claim->body))
                return ASSENT_E_MEMORY;
        *state = ASSENT_IDEMPOTENCY_FINISHED;
        return ASSENT_OK;
}

static enum assent_err find(sqlite3 *db, struct assent_idempotency *claim, int64_t now_ms,
                            enum assent_idempotency_state *state)
{
        sqlite3_stmt *row = prepare(db, sql_find);
        bool bound = bind_text(row, 1, claim->caller) && bind_text(row, 2, claim->key) && bind_int(row, 3, now_ms);
        int result = bound ? sqlite3_step(row) : SQLITE_ERROR;
        enum assent_err err = ASSENT_OK;

        assent_idempotency_clear(claim);
        claim->status = 0;
        claim->location[0] = '\0';
        *state = ASSENT_IDEMPOTENCY_NEW;
        if (result == SQLITE_ROW)
                err = take(row, claim, state);
        else if (result != SQLITE_DONE)
                err = ASSENT_E_STORE;
        if (err == ASSENT_E_STORE)
                failed(db, "look a key up");
        sqlite3_finalize(row);
        return err;
}

enum assent_err assent_idempotency_setup(struct assent_tx *tx)
{
        sqlite3 *db = assent_tx_sqlite(tx);
        return sqlite3_exec(db, schema, NULL, NULL, NULL) == SQLITE_OK ? ASSENT_OK : failed(db, "make the table");
}

enum assent_err assent_idempotency_find(struct sqlite3 *db, struct assent_idempotency *claim,
                                        enum assent_idempotency_state *state)
{
        return find(db, claim, assent_clock_wall_ms(), state);
}

enum assent_err assent_idempotency_claim(struct assent_tx *tx, struct assent_idempotency *claim, int64_t expires_ms,
                                         enum assent_idempotency_state *state)
{
        sqlite3 *db = assent_tx_sqlite(tx);
        sqlite3_stmt *insert = prepare(db, sql_claim);
        int64_t now_ms = assent_clock_wall_ms();
        bool bound = bind_text(insert, 1, claim->caller) && bind_text(insert, 2, claim->key) &&
                     bind_id(insert, 3, claim->fingerprint) && bind_id(insert, 4, claim->txn_id.bytes) &&
                     bind_int(insert, 5, now_ms) && bind_int(insert, 6, expires_ms);
        enum assent_err err = run(db, insert, bound, "claim a key");

        if (err != ASSENT_OK)
                return err;
        *state = ASSENT_IDEMPOTENCY_NEW;
        return sqlite3_changes(db) == 1 ? ASSENT_OK : find(db, claim, now_ms, state);
}

enum assent_err assent_idempotency_finish(struct assent_tx *tx, const struct assent_uuid *txn_id, unsigned status,
                                          const char *location, const char *etag, struct assent_bytes body)
{
        ASSENT_ASSERT(status >= 200 && status <= 599);
        if (location && strlen(location) > ASSENT_IDEMPOTENCY_LOCATION_SIZE_MAX)
                return ASSENT_E_LIMIT;
        sqlite3 *db = assent_tx_sqlite(tx);
        sqlite3_stmt *update = prepare(db, sql_finish);
        struct assent_bytes tag = {etag, etag ? strlen(etag) : 0};
        bool bound = bind_id(update, 1, txn_id->bytes) && bind_int(update, 2, status) && bind_text(update, 3, location) &&
                     bind_bytes(update, 4, tag) && bind_bytes(update, 5, body) && bind_int(update, 6, assent_clock_wall_ms());

        return run(db, update, bound, "keep an answer");
}

enum assent_err assent_idempotency_forget(struct assent_tx *tx, int64_t now_ms, size_t rows_max, size_t *count)
{
        ASSENT_ASSERT(rows_max > 0 && rows_max <= INT64_MAX);
        sqlite3 *db = assent_tx_sqlite(tx);
        sqlite3_stmt *remove = prepare(db, sql_forget);
        bool bound = bind_int(remove, 1, now_ms) && bind_int(remove, 2, (int64_t)rows_max);
        enum assent_err err = run(db, remove, bound, "forget keys");

        *count = err == ASSENT_OK ? (size_t)sqlite3_changes(db) : 0;
        return err;
}

void assent_idempotency_clear(struct assent_idempotency *claim)
{
        free((void *)claim->etag.data);
        free((void *)claim->body.data);
        claim->etag = claim->body = (struct assent_bytes){0};
}

/* ---- the answer ---- */

static void replay(struct assent_http_request *request, const struct assent_idempotency *claim)
{
        assent_http_set(request, "Idempotent-Replayed", "true");
        if (claim->location[0])
                assent_http_set(request, "Location", "%s", claim->location);
        if (claim->etag.size)
                assent_http_set(request, "ETag", "\"%.*s\"", (int)claim->etag.size, (const char *)claim->etag.data);
        const char *type = claim->status < 400 ? "application/json" : "application/problem+json";
        assent_http_answer(request, claim->status, claim->body.size ? type : NULL, claim->body);
}

void assent_idempotency_answer(struct assent_http_request *request, const struct assent_idempotency *claim,
                               enum assent_idempotency_state state)
{
        char txn_id[ASSENT_UUID_TEXT_SIZE];

        switch (state) {
        case ASSENT_IDEMPOTENCY_FINISHED:
                replay(request, claim);
                return;
        case ASSENT_IDEMPOTENCY_MISMATCH:
                assent_http_problem(request, 422, "idempotency-key-reused",
                                    "The Idempotency-Key has been used for another request (other method, path or body). Send "
                                    "that one again, or make a new key for this one.");
                return;
        case ASSENT_IDEMPOTENCY_IN_PROGRESS:
                assent_uuid_format(&claim->txn_id, txn_id);
                assent_http_set(request, "Retry-After", "%d", RETRY_AFTER_S);
                assent_http_set(request, "Location", "/v1/transactions/%s", txn_id);
                assent_http_problem_member(request, "txn_id", json_string(txn_id));
                assent_http_problem(request, 409, "idempotency-key-in-progress",
                                    "The request with this Idempotency-Key is still being worked on, as transaction %s. Send "
                                    "it again after %d s, or follow the transaction at Location.", txn_id, RETRY_AFTER_S);
                return;
        case ASSENT_IDEMPOTENCY_NEW:
                break;
        }
        ASSENT_ASSERT(state != ASSENT_IDEMPOTENCY_NEW); /* it has no answer yet */
}
