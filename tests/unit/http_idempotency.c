/* The Idempotency-Key: what is a key, what is the same request, and that of a thousand who bring one key one alone is new.
 * The server's side of a request is scripted here; the database is a file. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <assent/idempotency.h>

#include "base/clock.h"
#include "contract/store_fixture.h"

/* ---- a request as the handler sees it, and what it was answered ---- */

struct assent_http_request {
        const char *method, *path, *caller, *key;
        unsigned status;
        char type[64], body[256], location[300], etag[64], retry_after[16], replayed[8], txn_id[ASSENT_UUID_TEXT_SIZE];
};

static void copy(char *out, size_t out_size, const char *text)
{
        cr_assert_lt((size_t)snprintf(out, out_size, "%s", text), out_size);
}

const char *assent_http_method(const struct assent_http_request *request)
{
        return request->method;
}

const char *assent_http_path(const struct assent_http_request *request)
{
        return request->path;
}

const char *assent_http_caller(const struct assent_http_request *request)
{
        return request->caller;
}

const char *assent_http_header(const struct assent_http_request *request, const char *name)
{
        cr_assert_str_eq(name, "Idempotency-Key");
        return request->key;
}

void assent_http_set(struct assent_http_request *request, const char *name, const char *format, ...)
{
        char text[300];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        if (strcmp(name, "Location") == 0)
                copy(request->location, sizeof request->location, text);
        else if (strcmp(name, "ETag") == 0)
                copy(request->etag, sizeof request->etag, text);
        else if (strcmp(name, "Retry-After") == 0)
                copy(request->retry_after, sizeof request->retry_after, text);
        else if (strcmp(name, "Idempotent-Replayed") == 0)
                copy(request->replayed, sizeof request->replayed, text);
        else
                cr_assert_fail("an unexpected field %s", name);
}

void assent_http_answer(struct assent_http_request *request, unsigned status, const char *content_type,
                        struct assent_bytes body)
{
        cr_assert_eq(request->status, 0, "answered twice");
        request->status = status;
        copy(request->type, sizeof request->type, content_type ? content_type : "none");
        snprintf(request->body, sizeof request->body, "%.*s", (int)body.size, body.size ? (const char *)body.data : "");
}

void assent_http_problem_member(struct assent_http_request *request, const char *name, struct json_t *value)
{
        cr_assert_str_eq(name, "txn_id");
        copy(request->txn_id, sizeof request->txn_id, json_string_value(value));
        json_decref(value);
}

void assent_http_problem(struct assent_http_request *request, unsigned status, const char *type, const char *format, ...)
{
        cr_assert_eq(request->status, 0, "answered twice");
        cr_assert_gt(strlen(format), 20);
        request->status = status;
        copy(request->type, sizeof request->type, type);
}

static struct assent_http_request request_of(const char *key)
{
        return (struct assent_http_request){.method = "POST", .path = "/v1/orders", .caller = "anonymous", .key = key};
}

/* ---- keys ---- */

/* The key that was read, or NULL when it was refused as invalid. */
static const char *read_key(const char *text)
{
        static struct assent_idempotency claim;
        struct assent_http_request request = request_of(text);
        if (assent_idempotency_read(&request, NULL, &claim)) {
                cr_assert_eq(request.status, 0);
                return claim.key;
        }
        cr_assert_eq(request.status, 400);
        cr_assert_str_eq(request.type, "idempotency-key-invalid");
        return NULL;
}

Test(idempotency_key, bare_or_quoted_it_is_the_same_key)
{
        static const struct {
                const char *text, *key;
        } good[] = {
                {"a", "a"},
                {"8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"},
                {"\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"},
                {" \t\"x\" \t", "x"},
                {" x\t", "x"},
                {"\"a \\\"b\\\" \\\\ ,;~\"", "a \"b\" \\ ,;~"},
                {"!#$%&'()*+-./:<=>?@[]^_`{|}~", "!#$%&'()*+-./:<=>?@[]^_`{|}~"},
        };
        for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
                const char *key = read_key(good[i].text);
                cr_assert_not_null(key, "%s", good[i].text);
                cr_assert_str_eq(key, good[i].key);
        }
}

Test(idempotency_key, what_is_no_key_is_refused)
{
        static const char *const bad[] = {
                "", " ", "\"\"", "\"", "\"a", "\"a\\\"", "\"a\\", "\"\\a\"", "a b", "\"a\"b", "\"a\" b", "a\"b", "a\\b", "a,b",
                "a;b", "\"a\";b=1", "a\x7f", "\"a\x7f\"", "\"a\tb\"", "\xc3\xa4", "\"\xc3\xa4\"", "a\x01",
                "\"\x1f\"", "\"a\"\"b\"",
        };
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
                cr_assert_null(read_key(bad[i]), "%zu: %s", i, bad[i]);
}

Test(idempotency_key, at_most_255_characters_without_quotes_and_escapes)
{
        char text[2 * 256 + 3];
        memset(text, 'k', sizeof text);
        text[255] = '\0';
        cr_assert_eq(strlen(read_key(text)), 255);
        text[255] = 'k', text[256] = '\0';
        cr_assert_null(read_key(text));

        for (size_t characters = 255; characters <= 256; characters++) {
                text[0] = '"';
                for (size_t i = 0; i < characters; i++)
                        memcpy(text + 1 + 2 * i, "\\\"", 2);
                memcpy(text + 1 + 2 * characters, "\"", 2);
                const char *key = read_key(text);
                cr_assert_eq(key != NULL, characters == 255);
                cr_assert(!key || strlen(key) == 255);
        }
}

Test(idempotency_key, none_is_told_apart_from_a_bad_one)
{
        struct assent_http_request request = request_of(NULL);
        struct assent_idempotency claim;
        cr_assert_not(assent_idempotency_read(&request, NULL, &claim));
        cr_assert_eq(request.status, 400);
        cr_assert_str_eq(request.type, "idempotency-key-missing");
}

/* ---- fingerprints ---- */

static void mark(const char *method, const char *path, const char *body, char hex[33])
{
        struct assent_http_request request = {.method = method, .path = path, .caller = "anonymous", .key = "k"};
        json_t *json = body ? json_loads(body, JSON_DECODE_ANY, NULL) : NULL;
        struct assent_idempotency claim;
        cr_assert(!body || json, "%s", body);
        cr_assert(assent_idempotency_read(&request, json, &claim));
        for (size_t i = 0; i < sizeof claim.fingerprint; i++)
                snprintf(hex + 2 * i, 3, "%02x", claim.fingerprint[i]);
        json_decref(json);
}

static bool same(const char *one, const char *other)
{
        char a[33], b[33];
        mark("POST", "/v1/orders", one, a);
        mark("POST", "/v1/orders", other, b);
        return strcmp(a, b) == 0;
}

/* It stands in databases, so it never changes. The value is another library's of
 * `4:POST 10:/v1/orders {"a":[1,{"c":2,"d":"\u00e4"}],"b":null}` in UTF-8. */
Test(idempotency_mark, is_xxh3_over_method_path_and_sorted_body)
{
        char hex[33];
        mark("POST", "/v1/orders", "{\"b\": null, \"a\": [1, {\"d\": \"\\u00e4\", \"c\": 2}]}", hex);
        cr_assert_str_eq(hex, "42e58309cb19d60db36a9cd082652e12");
}

Test(idempotency_mark, order_and_layout_of_a_body_do_not_matter_but_content_does)
{
        cr_assert(same("{\"a\":1,\"b\":{\"c\":[1,2],\"d\":2}}", " { \"b\" : {\"d\":2,\"c\":[1, 2]}, \"a\" : 1 } "));
        cr_assert(same("{\"a\":\"\\u0041\"}", "{\"a\":\"A\"}"));
        cr_assert_not(same("{\"a\":[1,2]}", "{\"a\":[2,1]}"));
        cr_assert_not(same("{\"a\":1}", "{\"a\":\"1\"}"));
        cr_assert_not(same("{\"a\":1}", "{\"a\":1,\"b\":null}"));
        cr_assert_not(same("{}", NULL));
        cr_assert_not(same("\"\"", NULL));
}

Test(idempotency_mark, fields_do_not_run_into_each_other)
{
        static const struct {
                const char *method, *path, *body;
        } all[] = {
                {"POST", "/a", "1"},    {"POST", "/a1", NULL},     {"POST", "/a 1", NULL}, {"PUT", "/a", "1"},
                {"POST", "/a 2:/b", NULL}, {"POST 2:/a", "/b", NULL}, {"POST", "/A", "1"},    {"POST", "/a/", "1"},
        };
        char hex[sizeof all / sizeof *all][33];
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
                mark(all[i].method, all[i].path, all[i].body, hex[i]);
                for (size_t j = 0; j < i; j++)
                        cr_assert_str_neq(hex[i], hex[j], "%zu and %zu", j, i);
        }
}

/* ---- the table ---- */

#define DAY_MS INT64_C(86400000)

static struct assent_tx *begin(struct fixture *fixture)
{
        OK(assent_store_begin(fixture->store));
        return assent_store_enter(fixture->store, 0);
}

static void commit(struct fixture *fixture)
{
        OK(assent_store_leave(fixture->store));
        OK(assent_store_commit(fixture->store));
}

static struct fixture table(void)
{
        struct fixture fixture = fixture_open(true);
        for (int twice = 0; twice < 2; twice++) { /* a service sets up at every start */
                cr_assert_eq(assent_idempotency_setup(begin(&fixture)), ASSENT_OK);
                commit(&fixture);
        }
        return fixture;
}

/* A service's read connection. */
static sqlite3 *reader(const struct fixture *fixture)
{
        sqlite3 *db;
        cr_assert_eq(sqlite3_open_v2(fixture->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL), SQLITE_OK);
        cr_assert_eq(sqlite3_exec(db, "PRAGMA query_only=1; PRAGMA wal_autocheckpoint=0", NULL, NULL, NULL), SQLITE_OK);
        return db;
}

/* Caller, key, payload and transaction, each told by a small number. */
static struct assent_idempotency claim_of(const char *caller, const char *key, uint8_t payload, uint8_t txn)
{
        struct assent_idempotency claim = {.fingerprint = {payload}, .txn_id = {{txn}}};
        copy(claim.caller, sizeof claim.caller, caller);
        copy(claim.key, sizeof claim.key, key);
        return claim;
}

static enum assent_idempotency_state claimed(struct fixture *fixture, struct assent_idempotency *claim, int64_t expires_ms)
{
        enum assent_idempotency_state state = 0;
        cr_assert_eq(assent_idempotency_claim(begin(fixture), claim, expires_ms, &state), ASSENT_OK);
        commit(fixture);
        return state;
}

static enum assent_idempotency_state found(sqlite3 *db, struct assent_idempotency *claim)
{
        enum assent_idempotency_state state = 0;
        cr_assert_eq(assent_idempotency_find(db, claim, &state), ASSENT_OK);
        return state;
}

static void finish(struct fixture *fixture, uint8_t txn, unsigned status, const char *location, const char *etag,
                   const char *body)
{
        struct assent_uuid txn_id = {{txn}};
        struct assent_bytes bytes = {body, strlen(body)};
        cr_assert_eq(assent_idempotency_finish(begin(fixture), &txn_id, status, location, etag, bytes), ASSENT_OK);
        commit(fixture);
}

static void change(struct fixture *fixture, const char *sql)
{
        cr_assert_eq(sqlite3_exec(assent_tx_sqlite(begin(fixture)), sql, NULL, NULL, NULL), SQLITE_OK, "%s", sql);
        commit(fixture);
}

#define TABLE_TEST(situation)                                                                      \
        static void situation(struct fixture *fixture, sqlite3 *db, int64_t later_ms);             \
        Test(idempotency_table, situation)                                                         \
        {                                                                                          \
                struct fixture fixture = table();                                                  \
                sqlite3 *db = reader(&fixture);                                                    \
                situation(&fixture, db, assent_clock_wall_ms() + DAY_MS);                          \
                sqlite3_close(db);                                                                 \
                fixture_close(&fixture);                                                           \
        }                                                                                          \
        static void situation(struct fixture *fixture, sqlite3 *db, int64_t later_ms)

TABLE_TEST(a_claim_is_new_then_in_progress_then_finished)
{
        struct assent_idempotency claim = claim_of("alice", "k", 1, 1), again = claim_of("alice", "k", 1, 2);
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(claimed(fixture, &claim, later_ms), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(claim.txn_id.bytes[0], 1);

        cr_assert_eq(found(db, &again), ASSENT_IDEMPOTENCY_IN_PROGRESS);
        cr_assert_eq(again.txn_id.bytes[0], 1); /* the transaction that runs, not the one that was meant */
        again.txn_id.bytes[0] = 2;
        cr_assert_eq(claimed(fixture, &again, later_ms), ASSENT_IDEMPOTENCY_IN_PROGRESS);
        cr_assert_eq(again.txn_id.bytes[0], 1);

        finish(fixture, 1, 201, "/v1/orders/o-1", "2", "{\"id\":\"o-1\"}");
        again.txn_id.bytes[0] = 2;
        for (int way = 0; way < 2; way++) {
                cr_assert_eq(way ? claimed(fixture, &again, later_ms) : found(db, &again), ASSENT_IDEMPOTENCY_FINISHED);
                cr_assert_eq(again.txn_id.bytes[0], 1);
                cr_assert_eq(again.status, 201);
                cr_assert_str_eq(again.location, "/v1/orders/o-1");
                cr_assert_eq(again.etag.size, 1);
                cr_assert_arr_eq(again.etag.data, "2", 1);
                cr_assert_eq(again.body.size, 12);
                cr_assert_arr_eq(again.body.data, "{\"id\":\"o-1\"}", 12);
        }
        assent_idempotency_clear(&again);
        cr_assert_null(again.body.data);
        assent_idempotency_clear(&again);
}

TABLE_TEST(another_payload_is_a_mismatch_before_and_after_the_end)
{
        struct assent_idempotency claim = claim_of("alice", "k", 1, 1), other = claim_of("alice", "k", 2, 2);
        cr_assert_eq(claimed(fixture, &claim, later_ms), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(found(db, &other), ASSENT_IDEMPOTENCY_MISMATCH);
        cr_assert_eq(claimed(fixture, &other, later_ms), ASSENT_IDEMPOTENCY_MISMATCH);
        finish(fixture, 1, 200, NULL, NULL, "x");
        cr_assert_eq(found(db, &other), ASSENT_IDEMPOTENCY_MISMATCH);
        cr_assert_null(other.body.data); /* nobody else's answer */
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_FINISHED);
        cr_assert_str_eq(claim.location, "");
        cr_assert_eq(claim.etag.size, 0);
        assent_idempotency_clear(&claim);
}

TABLE_TEST(keys_belong_to_their_callers)
{
        struct assent_idempotency alice = claim_of("alice", "k", 1, 1), bob = claim_of("bob", "k", 2, 2),
                                  joined = claim_of("alicek", "", 2, 3);
        cr_assert_eq(claimed(fixture, &alice, later_ms), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(found(db, &bob), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(found(db, &joined), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(claimed(fixture, &bob, later_ms), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(found(db, &alice), ASSENT_IDEMPOTENCY_IN_PROGRESS);
}

TABLE_TEST(a_local_transaction_that_is_undone_leaves_no_claim)
{
        struct assent_idempotency claim = claim_of("alice", "k", 1, 1);
        enum assent_idempotency_state state;
        OK(assent_store_begin(fixture->store));
        OK(assent_store_savepoint(fixture->store));
        cr_assert_eq(assent_idempotency_claim(assent_store_enter(fixture->store, 0), &claim, later_ms, &state), ASSENT_OK);
        cr_assert_eq(state, ASSENT_IDEMPOTENCY_NEW);
        OK(assent_store_leave(fixture->store));
        OK(assent_store_undo(fixture->store));
        OK(assent_store_commit(fixture->store));
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(claimed(fixture, &claim, later_ms), ASSENT_IDEMPOTENCY_NEW);
}

TABLE_TEST(the_first_answer_stays_and_one_without_a_claim_is_no_error)
{
        struct assent_idempotency claim = claim_of("alice", "k", 1, 1);
        finish(fixture, 1, 201, NULL, NULL, "nobody asked");
        cr_assert_eq(claimed(fixture, &claim, later_ms), ASSENT_IDEMPOTENCY_NEW);
        finish(fixture, 1, 201, "/one", "1", "one");
        finish(fixture, 1, 200, "/two", "2", "two");
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_FINISHED);
        cr_assert_eq(claim.status, 201);
        cr_assert_str_eq(claim.location, "/one");
        cr_assert_arr_eq(claim.body.data, "one", 3);
        assent_idempotency_clear(&claim);
}

TABLE_TEST(a_location_has_at_most_255_bytes)
{
        struct assent_idempotency claim = claim_of("alice", "k", 1, 1);
        char location[257];
        cr_assert_eq(claimed(fixture, &claim, later_ms), ASSENT_IDEMPOTENCY_NEW);
        memset(location, 'l', 256);
        location[256] = '\0';
        cr_assert_eq(assent_idempotency_finish(begin(fixture), &claim.txn_id, 201, location, NULL, (struct assent_bytes){0}),
                     ASSENT_E_LIMIT);
        commit(fixture);
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_IN_PROGRESS);
        location[255] = '\0';
        finish(fixture, 1, 201, location, NULL, "");
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_FINISHED);
        cr_assert_str_eq(claim.location, location);
        cr_assert_eq(claim.body.size, 0);
}

TABLE_TEST(a_transaction_has_one_claim)
{
        struct assent_idempotency one = claim_of("alice", "k", 1, 1), two = claim_of("alice", "l", 1, 1);
        enum assent_idempotency_state state;
        cr_assert_eq(claimed(fixture, &one, later_ms), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(assent_idempotency_claim(begin(fixture), &two, later_ms, &state), ASSENT_E_STORE);
        commit(fixture);
        cr_assert_eq(found(db, &two), ASSENT_IDEMPOTENCY_NEW);
}

TABLE_TEST(an_expired_claim_gives_way_once_it_is_finished)
{
        struct assent_idempotency claim = claim_of("alice", "k", 1, 1), other = claim_of("alice", "k", 2, 2);
        cr_assert_eq(claimed(fixture, &claim, 1), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_IN_PROGRESS); /* its order may still come */
        cr_assert_eq(claimed(fixture, &other, later_ms), ASSENT_IDEMPOTENCY_MISMATCH);
        finish(fixture, 1, 201, "/one", "1", "one");
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_NEW);

        other.txn_id.bytes[0] = 2;
        cr_assert_eq(claimed(fixture, &other, later_ms), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(found(db, &other), ASSENT_IDEMPOTENCY_IN_PROGRESS);
        cr_assert_eq(other.txn_id.bytes[0], 2);
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_MISMATCH);
        finish(fixture, 1, 500, NULL, NULL, "late"); /* of the claim that gave way */
        cr_assert_eq(found(db, &other), ASSENT_IDEMPOTENCY_IN_PROGRESS);
        finish(fixture, 2, 200, NULL, NULL, "two");
        cr_assert_eq(found(db, &other), ASSENT_IDEMPOTENCY_FINISHED);
        cr_assert_str_eq(other.location, "");
        cr_assert_eq(other.etag.size, 0);
        assent_idempotency_clear(&other);
}

TABLE_TEST(an_answer_that_came_late_is_kept_as_long_as_was_promised)
{
        struct assent_idempotency claim = claim_of("alice", "k", 1, 1);
        cr_assert_eq(claimed(fixture, &claim, later_ms), ASSENT_IDEMPOTENCY_NEW);
        change(fixture, "UPDATE idempotency SET created_ms = created_ms - 1000000000, expires_ms = expires_ms - 1000000000");
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_IN_PROGRESS);
        finish(fixture, 1, 201, NULL, NULL, "late");
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_FINISHED);
        assent_idempotency_clear(&claim);
}

TABLE_TEST(what_has_expired_is_forgotten_a_few_at_a_time)
{
        size_t count = 99;
        for (uint8_t i = 1; i <= 6; i++) {
                struct assent_idempotency claim = claim_of("alice", (const char[]){(char)('a' + i), '\0'}, 1, i);
                cr_assert_eq(claimed(fixture, &claim, later_ms + i), ASSENT_IDEMPOTENCY_NEW);
                if (i != 2)
                        finish(fixture, i, 200, NULL, NULL, "x");
        }
        change(fixture, "UPDATE idempotency SET expires_ms = unicode(key) - 97"); /* 1 to 6 */
        static const struct {
                int64_t now_ms;
                size_t rows_max, count;
        } turns[] = {{0, 9, 0}, {5, 2, 2}, {5, 2, 2}, {5, 2, 0}, {6, 9, 1}, {100, 9, 0}};
        for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
                cr_assert_eq(assent_idempotency_forget(begin(fixture), turns[i].now_ms, turns[i].rows_max, &count), ASSENT_OK);
                commit(fixture);
                cr_assert_eq(count, turns[i].count, "%zu: %zu", i, count);
        }
        struct assent_idempotency open = claim_of("alice", "c", 1, 2);
        cr_assert_eq(found(db, &open), ASSENT_IDEMPOTENCY_IN_PROGRESS); /* unfinished: never forgotten */
}

TABLE_TEST(a_table_that_is_gone_or_damaged_is_the_database_failing)
{
        struct assent_idempotency claim = claim_of("alice", "k", 1, 1);
        enum assent_idempotency_state state;
        size_t count;
        (void)later_ms;
        cr_assert_eq(claimed(fixture, &claim, 1), ASSENT_IDEMPOTENCY_NEW);
        change(fixture, "DROP TABLE idempotency; CREATE TABLE idempotency(caller, key, fingerprint, txn_id, status, location,"
                        " etag, body, created_ms, expires_ms);"
                        "INSERT INTO idempotency VALUES('alice', 'k', x'01', x'02', NULL, NULL, NULL, NULL, 0, 0)");
        cr_assert_eq(assent_idempotency_find(db, &claim, &state), ASSENT_E_STORE);
        change(fixture, "DROP TABLE idempotency");
        cr_assert_eq(assent_idempotency_find(db, &claim, &state), ASSENT_E_STORE);
        struct assent_tx *tx = begin(fixture);
        cr_assert_eq(assent_idempotency_claim(tx, &claim, 1, &state), ASSENT_E_STORE);
        cr_assert_eq(assent_idempotency_finish(tx, &claim.txn_id, 200, NULL, NULL, (struct assent_bytes){0}), ASSENT_E_STORE);
        cr_assert_eq(assent_idempotency_forget(tx, 1, 1, &count), ASSENT_E_STORE);
        cr_assert_eq(count, 0);
        commit(fixture);
}

/* ---- a thousand with one key ---- */

#define ASKERS    8
#define ASKS_EACH 125

struct crowd {
        struct fixture *fixture;
        pthread_mutex_t writer; /* the one thread that owns the database, as the runtime has it */
        atomic_int new, other;
        int64_t later_ms;
};

/* Looks the key up without the writer, as a server's thread does, and claims it. What is seen never goes back. */
static void *ask(void *context)
{
        struct crowd *crowd = context;
        sqlite3 *db = reader(crowd->fixture);
        enum assent_idempotency_state last = ASSENT_IDEMPOTENCY_NEW;

        for (int i = 0; i < ASKS_EACH; i++) {
                struct assent_idempotency claim = claim_of("alice", "k", 1, 0);
                assent_txn_id_new(&claim.txn_id);
                struct assent_uuid mine = claim.txn_id;
                enum assent_idempotency_state state = found(db, &claim);
                cr_assert_geq(state, last);
                last = state;
                claim.txn_id = mine;
                pthread_mutex_lock(&crowd->writer);
                enum assent_idempotency_state won = claimed(crowd->fixture, &claim, crowd->later_ms);
                pthread_mutex_unlock(&crowd->writer);
                bool is_mine = memcmp(&claim.txn_id, &mine, sizeof mine) == 0;
                cr_assert_eq(won == ASSENT_IDEMPOTENCY_NEW, is_mine);
                atomic_fetch_add(won == ASSENT_IDEMPOTENCY_NEW ? &crowd->new : &crowd->other, 1);
        }
        sqlite3_close(db);
        return NULL;
}

TABLE_TEST(of_a_thousand_one_is_new)
{
        struct crowd crowd = {.fixture = fixture, .writer = PTHREAD_MUTEX_INITIALIZER, .later_ms = later_ms};
        pthread_t threads[ASKERS];
        for (size_t i = 0; i < ASKERS; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, ask, &crowd), 0);
        for (size_t i = 0; i < ASKERS; i++)
                pthread_join(threads[i], NULL);
        cr_assert_eq(crowd.new, 1);
        cr_assert_eq(crowd.other, ASKERS * ASKS_EACH - 1);
        struct assent_idempotency claim = claim_of("alice", "k", 1, 0);
        cr_assert_eq(found(db, &claim), ASSENT_IDEMPOTENCY_IN_PROGRESS);
}

/* ---- answers ---- */

Test(idempotency_answer, in_progress_says_when_and_where)
{
        struct assent_http_request request = request_of("k");
        struct assent_idempotency claim = claim_of("alice", "k", 1, 1);
        assent_idempotency_answer(&request, &claim, ASSENT_IDEMPOTENCY_IN_PROGRESS);
        cr_assert_eq(request.status, 409);
        cr_assert_str_eq(request.type, "idempotency-key-in-progress");
        cr_assert_str_eq(request.retry_after, "1");
        cr_assert_str_eq(request.location, "/v1/transactions/01000000-0000-0000-0000-000000000000");
        cr_assert_str_eq(request.txn_id, "01000000-0000-0000-0000-000000000000");
}

Test(idempotency_answer, a_mismatch_tells_nothing_of_the_other_request)
{
        struct assent_http_request request = request_of("k");
        struct assent_idempotency claim = claim_of("alice", "k", 1, 1);
        assent_idempotency_answer(&request, &claim, ASSENT_IDEMPOTENCY_MISMATCH);
        cr_assert_eq(request.status, 422);
        cr_assert_str_eq(request.type, "idempotency-key-reused");
        cr_assert_str_eq(request.location, "");
        cr_assert_str_eq(request.replayed, "");
}

Test(idempotency_answer, a_finished_one_is_told_again)
{
        static const struct {
                unsigned status;
                const char *location, *etag, *body, *type;
        } all[] = {
                {201, "/v1/orders/o-1", "2", "{\"id\":1}", "application/json"},
                {200, "", "", "{}", "application/json"},
                {204, "", "", "", "none"},
                {409, "", "", "{\"type\":\"x\"}", "application/problem+json"},
        };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
                struct assent_http_request request = request_of("k");
                struct assent_idempotency claim = {.status = all[i].status,
                                                   .etag = {all[i].etag, strlen(all[i].etag)},
                                                   .body = {all[i].body, strlen(all[i].body)}};
                copy(claim.location, sizeof claim.location, all[i].location);
                assent_idempotency_answer(&request, &claim, ASSENT_IDEMPOTENCY_FINISHED);
                cr_assert_eq(request.status, all[i].status);
                cr_assert_str_eq(request.replayed, "true");
                cr_assert_str_eq(request.location, all[i].location);
                cr_assert_str_eq(request.etag, *all[i].etag ? "\"2\"" : "");
                cr_assert_str_eq(request.body, all[i].body);
                cr_assert_str_eq(request.type, all[i].type);
        }
}
