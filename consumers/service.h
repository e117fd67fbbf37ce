/* service.h: what the sample services share: strict reading of JSON payloads and statements that
 * are prepared once. Each function is small enough to live in the header, so that a service stays
 * one folder and one program. */
#ifndef ASSENT_CONSUMERS_SERVICE_H
#define ASSENT_CONSUMERS_SERVICE_H

#include <assert.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <assent/log.h>
#include <assent/participant.h>

#define SERVICE_NAME_SIZE_MAX 64  /* bytes of an order id, an account, an SKU */
#define SERVICE_ITEMS_MAX     100 /* lines of one order or reservation */
#define SERVICE_QUANTITY_MAX  INT64_C(1000000000)
#define SERVICE_CENTS_MAX     INT64_C(1000000000000) /* of one payment: ten thousand million */
#define SERVICE_LOAD_ACCOUNTS 1000                   /* seeded for the load generator: load-000 … load-999 */

/* The reason for a NO, and the NO. The buffer is larger than a reason may be: the framework cuts it
 * at a UTF-8 boundary. */
__attribute__((format(printf, 2, 3))) static inline enum assent_vote service_refuse(struct assent_tx *tx,
                                                                                    const char *format, ...)
{
        char reason[ASSENT_REASON_SIZE_MAX + 56];
        va_list arguments;

        assert(tx && format);
        va_start(arguments, format);
        vsnprintf(reason, sizeof reason, format, arguments);
        va_end(arguments);
        assent_tx_refuse(tx, reason);
        return ASSENT_VOTE_NO;
}

static inline bool service_kind_is(const struct assent_branch *branch, const char *kind)
{
        size_t size = strlen(kind);
        return branch->kind.size == size && memcmp(branch->kind.data, kind, size) == 0;
}

static inline enum assent_vote service_refuse_kind(struct assent_tx *tx, const struct assent_branch *branch,
                                                   const char *known)
{
        return service_refuse(tx, "unknown kind '%.*s', known is '%s'", (int)branch->kind.size,
                              branch->kind.size ? (const char *)branch->kind.data : "", known);
}

/* Reads the payload: one JSON object with no field beside `fields` (ended by NULL). NULL with *vote
 * set when it is not; memory that ran out is no property of the payload, so that is RETRY and not
 * NO. */
static inline json_t *service_payload(struct assent_tx *tx, const struct assent_branch *branch,
                                      const char *const *fields, enum assent_vote *vote)
{
        json_error_t error;
        const char *key;
        json_t *value;
        json_t *object = json_loadb(branch->payload.size ? branch->payload.data : "", branch->payload.size,
                                    JSON_REJECT_DUPLICATES, &error);

        if (!object && json_error_code(&error) == json_error_out_of_memory) {
                *vote = ASSENT_VOTE_RETRY;
                return NULL;
        }
        if (!object) {
                *vote = service_refuse(tx, "payload is not JSON: %s (byte %d)", error.text, error.position);
                return NULL;
        }
        if (!json_is_object(object)) {
                *vote = service_refuse(tx, "payload is not a JSON object");
                json_decref(object);
                return NULL;
        }
        json_object_foreach(object, key, value)
        {
                size_t i = 0;
                while (fields[i] && strcmp(fields[i], key) != 0)
                        i++;
                if (!fields[i]) {
                        *vote = service_refuse(tx, "payload has an unknown field '%s'", key);
                        json_decref(object);
                        return NULL;
                }
        }
        return object;
}

/* A name: 1 … SERVICE_NAME_SIZE_MAX bytes. NULL after a refusal; borrowed from `object`. */
static inline const char *service_name(struct assent_tx *tx, const json_t *object, const char *field)
{
        const json_t *value = json_object_get(object, field);

        if (!json_is_string(value)) {
                service_refuse(tx, "%s is %s", field, value ? "not a text" : "missing");
                return NULL;
        }
        if (json_string_length(value) < 1 || json_string_length(value) > SERVICE_NAME_SIZE_MAX) {
                service_refuse(tx, "%s has %zu bytes, 1 to %d are allowed", field, json_string_length(value),
                               SERVICE_NAME_SIZE_MAX);
                return NULL;
        }
        return json_string_value(value);
}

/* A whole number in 1 … max. 0 after a refusal. */
static inline int64_t service_count(struct assent_tx *tx, const json_t *object, const char *field, int64_t max)
{
        const json_t *value = json_object_get(object, field);

        assert(max > 0);
        if (!json_is_integer(value)) {
                service_refuse(tx, "%s is %s", field, value ? "not a whole number" : "missing");
                return 0;
        }
        if (json_integer_value(value) < 1 || json_integer_value(value) > max) {
                service_refuse(tx, "%s is %" JSON_INTEGER_FORMAT ", 1 to %lld are allowed", field,
                               json_integer_value(value), (long long)max);
                return 0;
        }
        return json_integer_value(value);
}

/* The array of lines, {"sku": …, "quantity": …} each, all of them checked. NULL after a refusal;
 * borrowed. */
static inline const json_t *service_items(struct assent_tx *tx, const json_t *object)
{
        const json_t *items = json_object_get(object, "items");
        size_t i;
        const json_t *item;

        if (!json_is_array(items) || json_array_size(items) < 1 || json_array_size(items) > SERVICE_ITEMS_MAX) {
                service_refuse(tx, "items is not an array of 1 to %d lines", SERVICE_ITEMS_MAX);
                return NULL;
        }
        json_array_foreach(items, i, item)
        {
                if (!json_is_object(item) || json_object_size(item) != 2) {
                        service_refuse(tx, "line %zu of items is not {\"sku\", \"quantity\"}", i);
                        return NULL;
                }
                if (!service_name(tx, item, "sku") || !service_count(tx, item, "quantity", SERVICE_QUANTITY_MAX))
                        return NULL;
        }
        return items;
}

/* --- SQL
 * ------------------------------------------------------------------------------------------------------------
 */

/* A statement failed for a reason that is not the transaction's (disk full, I/O): said once here,
 * then tried again. */
static inline void service_sql_failed(struct assent_tx *tx, const char *what)
{
        assent_log(ASSENT_LOG_ERROR, "statement failed", ASSENT_TEXT("what", what),
                   ASSENT_TEXT("error", sqlite3_errmsg(assent_tx_sqlite(tx))));
}

/* The row that a decision must find is not there, or not as prepare left it: the database was
 * changed by somebody else. It cannot be refused (P5), so it stays in doubt, visibly, until
 * somebody looks. */
static inline enum assent_result service_gone(const struct assent_branch *branch, const char *what)
{
        assent_log(ASSENT_LOG_ERROR, "what prepare wrote is not there any more", ASSENT_TEXT("what", what),
                   ASSENT_UUID("txn_id", &branch->txn_id), ASSENT_INT("branch", branch->branch));
        return ASSENT_RESULT_RETRY;
}

/* Prepares the `count` texts once, for the life of the connection. */
static inline enum assent_err service_prepare(struct assent_tx *tx, const char *const *texts, sqlite3_stmt **statements,
                                              size_t count)
{
        for (size_t i = 0; i < count; i++) {
                assert(texts[i] && !statements[i]);
                if (sqlite3_prepare_v3(assent_tx_sqlite(tx), texts[i], -1, SQLITE_PREPARE_PERSISTENT, &statements[i],
                                       NULL) != SQLITE_OK) {
                        service_sql_failed(tx, texts[i]);
                        return ASSENT_E_STORE;
                }
        }
        return ASSENT_OK;
}

static inline void service_finalize(sqlite3_stmt **statements, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                sqlite3_finalize(statements[i]);
                statements[i] = NULL;
        }
}

/* Parameters 1 and 2 of every statement about a branch. The blob is the caller's until the
 * statement is run. */
static inline void service_bind_branch(sqlite3_stmt *statement, const struct assent_branch *branch)
{
        sqlite3_bind_blob(statement, 1, branch->txn_id.bytes, sizeof branch->txn_id.bytes, SQLITE_STATIC);
        sqlite3_bind_int(statement, 2, branch->branch);
}

/* Runs a statement that returns no rows; *changed says how many rows it changed. A bind that failed
 * shows here too: the parameter is NULL then, and every column is NOT NULL. */
static inline bool service_run(struct assent_tx *tx, sqlite3_stmt *statement, int *changed)
{
        int code = sqlite3_step(statement);

        assert(code != SQLITE_ROW);
        *changed = sqlite3_changes(assent_tx_sqlite(tx));
        if (code != SQLITE_DONE)
                service_sql_failed(tx, sqlite3_sql(statement));
        sqlite3_reset(statement);
        return code == SQLITE_DONE;
}

/* As service_run, and exactly one row must have changed. */
static inline bool service_run_one(struct assent_tx *tx, sqlite3_stmt *statement)
{
        int changed;
        return service_run(tx, statement, &changed) && changed == 1;
}

static inline enum assent_err service_schema(struct assent_tx *tx, const char *sql)
{
        if (sqlite3_exec(assent_tx_sqlite(tx), sql, NULL, NULL, NULL) != SQLITE_OK) {
                service_sql_failed(tx, "schema");
                return ASSENT_E_STORE;
        }
        return ASSENT_OK;
}

static inline bool service_seed_wanted(const struct assent_config *config)
{
        const char *seed = assent_config_get(config, "app.seed");
        return seed && strcmp(seed, "true") == 0;
}

#endif
