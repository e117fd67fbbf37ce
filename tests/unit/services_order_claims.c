/* Orders that come by HTTP: the claim and the order before the transaction, the answer with its end. */
#include "services.h"

#include "../../consumers/order/order.c"

#define PAYLOAD(id)                                                                                                    \
        "{\"order_id\":\"" id "\",\"customer\":\"alice\",\"total_cents\":9900,\"items\":[{"                            \
        "\"sku\":\"lamp\",\"quantity\":1}]}"
#define ORDERS "SELECT order_id, version, state, reason, settled_ms, timeout_ms FROM orders ORDER BY rowid"
#define SECOND "SELECT version, state, reason FROM orders WHERE order_id = 'o-2'"
#define KEYS   "SELECT key, status, location, cast(etag AS TEXT) FROM idempotency ORDER BY key"
#define EVENTS "SELECT seq, type, json_extract(data, '$.version') FROM order_events"

static struct order app;
static struct bench bench;

static void open_serving(void)
{
        app = (struct order){.events_kept = 3};
        bench_open(&bench, &order_handlers, &app, order_setup);
}

static void close_all(void)
{
        order_close(&app);
        bench_close(&bench);
}

TestSuite(claims, .init = open_serving, .fini = close_all);

static struct assent_tx *enter(void)
{
        cr_assert_eq(assent_store_begin(bench.store), ASSENT_OK);
        cr_assert_eq(assent_store_savepoint(bench.store), ASSENT_OK);
        return assent_store_enter(bench.store, BENCH_TIME_MS);
}

/* What failed is rolled back, as the framework does. */
static enum assent_err leave(enum assent_err err)
{
        cr_assert_eq(assent_store_leave(bench.store), ASSENT_OK);
        cr_assert_eq(err == ASSENT_OK ? assent_store_release(bench.store) : assent_store_undo(bench.store), ASSENT_OK);
        cr_assert_eq(assent_store_commit(bench.store), ASSENT_OK);
        return err;
}

static enum assent_idempotency_state claim(uint8_t txn, const char *key, const char *order_id, uint8_t fingerprint,
                                           struct order_placing *placing)
{
        *placing = (struct order_placing){.items = strdup("[{\"sku\":\"lamp\",\"quantity\":1}]"),
                                          .customer = "alice",
                                          .total_cents = 9900,
                                          .timeout_ms = 1000,
                                          .now_ms = BENCH_TIME_MS,
                                          .expires_ms = INT64_MAX / 2};
        placing->claim.txn_id = bench_branch(txn, 0).txn_id;
        placing->claim.fingerprint[0] = fingerprint;
        snprintf(placing->claim.caller, sizeof placing->claim.caller, "anonymous");
        snprintf(placing->claim.key, sizeof placing->claim.key, "%s", key);
        snprintf(placing->order_id, sizeof placing->order_id, "%s", order_id);
        cr_assert_eq(leave(order_claim(&app, enter(), placing)), ASSENT_OK);
        free(placing->items);
        return placing->state;
}

static enum assent_idempotency_state posted(uint8_t txn, const char *key, const char *order_id)
{
        struct order_placing placing;
        enum assent_idempotency_state state = claim(txn, key, order_id, 1, &placing);
        assent_idempotency_clear(&placing.claim);
        return state;
}

static enum assent_err aborted(uint8_t txn, const char *reason)
{
        const struct assent_uuid txn_id = bench_branch(txn, 0).txn_id;
        return leave(order_aborted(&app, enter(), &txn_id, reason, BENCH_TIME_MS + 5));
}

static enum assent_err annotate(int64_t version, const char *note)
{
        struct order_row after;
        enum assent_err err = leave(order_annotate(&app, enter(), "o-1", version, note, BENCH_TIME_MS + 7, &after));
        cr_assert(err != ASSENT_OK || (strcmp(after.seen.note, note) == 0 && after.seen.version == version + 1));
        order_event_clear(&after.seen);
        return err;
}

static enum assent_err delete_at(int64_t version)
{
        return leave(order_delete(&app, enter(), "o-1", version, BENCH_TIME_MS + 9));
}

Test(claims, a_committed_order_answers_with_what_it_became)
{
        cr_assert_eq(posted(1, "k", "o-1"), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_str_eq(bench_rows(&bench, ORDERS), "o-1|1|PENDING||0|1000");
        cr_assert_str_eq(bench_rows(&bench, KEYS), "k|NULL|NULL|NULL");
        cr_assert_eq(bench_prepare(&bench, 1, 0, "place", PAYLOAD("o-1")), ASSENT_VOTE_YES);
        cr_assert_str_eq(bench_rows(&bench, ORDERS), "o-1|1|PENDING||0|1000");
        cr_assert_eq(app.settled_count, 0);
        cr_assert_eq(bench_decide(&bench, 1, 0, true), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, ORDERS), "o-1|2|CONFIRMED||1700000000000|1000");
        cr_assert_str_eq(bench_rows(&bench, KEYS), "k|201|/v1/orders/o-1|2");
        cr_assert_eq(app.settled_count, 1);
        cr_assert_eq(app.settled[0].status, 201);
        cr_assert_eq(app.settled[0].version, 2);
        cr_assert_str_eq(app.settled[0].location, "/v1/orders/o-1");
        cr_assert_not_null(strstr(app.settled[0].body, "\"state\":\"CONFIRMED\""));
        cr_assert_not_null(strstr(app.settled[0].body, "\"outcome\":\"committed\""));
        cr_assert_null(strstr(app.settled[0].body, "reason"));
        cr_assert_str_eq(bench_rows(&bench, EVENTS), "1|order.placed|1 2|order.confirmed|2");
        cr_assert_str_eq(bench_rows(&bench, "SELECT count(*) FROM assent_outbox"), "2");
}

Test(claims, a_key_is_claimed_once)
{
        struct order_placing placing;

        cr_assert_eq(posted(1, "k", "o-1"), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(claim(2, "k", "o-2", 1, &placing), ASSENT_IDEMPOTENCY_IN_PROGRESS);
        cr_assert_eq(placing.claim.txn_id.bytes[15], 1); /* whoever asks again meets the one that runs */
        cr_assert_eq(claim(2, "k", "o-2", 7, &placing), ASSENT_IDEMPOTENCY_MISMATCH);
        cr_assert_eq(posted(3, "other", "o-3"), ASSENT_IDEMPOTENCY_NEW);
        cr_assert_eq(bench_prepare(&bench, 1, 0, "place", PAYLOAD("o-1")), ASSENT_VOTE_YES);
        cr_assert_eq(bench_decide(&bench, 1, 0, true), ASSENT_RESULT_DONE);
        cr_assert_eq(claim(4, "k", "o-4", 1, &placing), ASSENT_IDEMPOTENCY_FINISHED);
        cr_assert_eq(placing.claim.body.size, strlen(app.settled[0].body));
        cr_assert_eq(memcmp(placing.claim.body.data, app.settled[0].body, placing.claim.body.size), 0);
        assent_idempotency_clear(&placing.claim);
        cr_assert_str_eq(bench_rows(&bench, "SELECT order_id FROM orders ORDER BY 1"), "o-1 o-3");
}

Test(claims, prepare_wants_the_order_as_it_was_claimed)
{
        posted(1, "k", "o-1");
        cr_assert_eq(bench_prepare(&bench, 2, 0, "place", PAYLOAD("o-1")), ASSENT_VOTE_NO);
        cr_assert_str_eq(bench.reason, "order 'o-1' already exists");
        cr_assert_eq(bench_prepare(&bench, 1, 1, "place", PAYLOAD("o-1")), ASSENT_VOTE_NO);
        cr_assert_eq(bench_prepare(&bench, 1, 0, "place", PAYLOAD("o-7")), ASSENT_VOTE_NO);
        cr_assert_eq(bench_prepare(&bench, 1, 0, "place",
                                   "{\"order_id\":\"o-1\",\"customer\":\"alice\",\"total_cents\":9900,\"items\":"
                                   "[{\"sku\":\"lamp\",\"quantity\":2}]}"),
                     ASSENT_VOTE_NO);
        cr_assert_str_eq(bench.reason, "order 'o-1' was asked for with other contents");
        cr_assert_eq(bench_prepare(&bench, 1, 0, "place",
                                   "{\"items\":[{\"quantity\":1,\"sku\":\"lamp\"}],\"order_id\":\"o-1\",\"customer\":\"alice\","
                                   "\"total_cents\":9900}"),
                     ASSENT_VOTE_YES, "the order of members means nothing");
        cr_assert_str_eq(bench_rows(&bench, "SELECT count(*) FROM orders"), "1");
}

Test(claims, an_abort_is_told_with_its_reason_whoever_comes_first)
{
        posted(1, "k", "o-1");
        bench_prepare(&bench, 1, 0, "place", PAYLOAD("o-1"));
        cr_assert_eq(bench_decide(&bench, 1, 0, false), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, ORDERS), "o-1|2|CANCELLED||0|1000"); /* the command knows no reason */
        cr_assert_eq(app.settled_count, 0);
        cr_assert_eq(aborted(1, "short of 1.00"), ASSENT_OK);
        cr_assert_str_eq(bench_rows(&bench, ORDERS), "o-1|2|CANCELLED|short of 1.00|1700000000005|1000");
        cr_assert_eq(app.settled_count, 1);
        cr_assert_eq(app.settled[0].status, 200);
        cr_assert_not_null(strstr(app.settled[0].body, "\"outcome\":\"aborted\",\"reason\":\"short of 1.00\""));

        posted(2, "k2", "o-2");
        bench_prepare(&bench, 2, 0, "place", PAYLOAD("o-2"));
        cr_assert_eq(aborted(2, "no"), ASSENT_OK);
        cr_assert_eq(bench_decide(&bench, 2, 0, false), ASSENT_RESULT_DONE);
        cr_assert_eq(aborted(2, "another"), ASSENT_OK);
        cr_assert_str_eq(bench_rows(&bench, SECOND), "2|CANCELLED|no");
        cr_assert_eq(app.settled_count, 2);
        cr_assert_eq(bench_prepare(&bench, 2, 0, "place", PAYLOAD("o-2")), ASSENT_VOTE_NO);
        cr_assert_str_eq(bench.reason, "order 'o-2' is CANCELLED");
        cr_assert_str_eq(bench_rows(&bench, KEYS), "k|200|/v1/orders/o-1|2 k2|200|/v1/orders/o-2|2");
}

Test(claims, an_abort_touches_only_what_was_begun_here_and_is_open)
{
        cr_assert_eq(bench_prepare(&bench, 1, 0, "place", PAYLOAD("o-1")), ASSENT_VOTE_YES); /* by the log */
        cr_assert_eq(aborted(1, "x"), ASSENT_OK);
        cr_assert_eq(aborted(9, "nobody's"), ASSENT_OK);
        cr_assert_str_eq(bench_rows(&bench, ORDERS), "o-1|1|PENDING||0|0");
        posted(2, "k", "o-2");
        bench_prepare(&bench, 2, 0, "place", PAYLOAD("o-2"));
        bench_decide(&bench, 2, 0, true);
        cr_assert_eq(aborted(2, "never"), ASSENT_OK);
        cr_assert_str_eq(bench_rows(&bench, SECOND), "2|CONFIRMED|");
}

Test(claims, changes_name_the_version_that_they_change)
{
        char most[ORDER_NOTE_SIZE_MAX + 1];

        memset(most, 'x', sizeof most - 1);
        most[sizeof most - 1] = '\0';
        posted(1, "k", "o-1");
        cr_assert_eq(annotate(2, "early"), ASSENT_E_NOT_FOUND);
        cr_assert_eq(annotate(1, most), ASSENT_OK);
        cr_assert_eq(annotate(1, "again"), ASSENT_E_NOT_FOUND);
        cr_assert_eq(delete_at(2), ASSENT_E_NOT_FOUND, "it is pending");
        cr_assert_eq(aborted(1, ""), ASSENT_OK);
        cr_assert_eq(app.settled[0].version, 3);
        cr_assert_eq(delete_at(2), ASSENT_E_NOT_FOUND);
        cr_assert_eq(delete_at(3), ASSENT_OK);
        cr_assert_eq(delete_at(4), ASSENT_E_NOT_FOUND);
        cr_assert_eq(annotate(4, "late"), ASSENT_E_NOT_FOUND);
        cr_assert_str_eq(bench_rows(&bench, "SELECT version, state, edits, deleted_ms FROM orders"),
                         "4|CANCELLED|1|1700000000009");
        /* three are kept */
        cr_assert_str_eq(bench_rows(&bench, EVENTS), "2|order.changed|2 3|order.cancelled|3 4|order.deleted|4");
        cr_assert_str_eq(bench_rows(&bench, "SELECT json_extract(data, '$.state') FROM order_events WHERE seq = 4"), "DELETED");
}

Test(claims, a_cancelled_order_is_not_deleted_before_its_reason_is_told)
{
        posted(1, "k", "o-1");
        bench_prepare(&bench, 1, 0, "place", PAYLOAD("o-1"));
        bench_decide(&bench, 1, 0, false);
        cr_assert_eq(delete_at(2), ASSENT_E_NOT_FOUND);
        aborted(1, "x");
        cr_assert_eq(delete_at(2), ASSENT_OK);
        cr_assert_eq(bench_decide(&bench, 1, 0, false), ASSENT_RESULT_DONE, "a command that is read again");
}

/* ---- a database of before ---- */

static enum assent_err setup_old(void *context, struct assent_tx *tx)
{
        cr_assert_eq(service_schema(tx, schema), ASSENT_OK);
        cr_assert_eq(service_schema(tx, "INSERT INTO orders VALUES"
                                        "('old-1', 2, 'CANCELLED', 'alice', 5, '[{\"quantity\":1,\"sku\":\"a\"}]',"
                                        " x'00000000000070008000000000000001', 0, 77),"
                                        "('old-2', 1, 'PENDING', 'alice', 5, '[{\"sku\":\"a\",\"quantity\":1}]',"
                                        " x'00000000000070008000000000000002', 0, 78)"), ASSENT_OK);
        cr_assert_eq(order_setup(context, tx), ASSENT_OK);
        service_finalize(app.sql, ORDER_SQL_COUNT);
        order_event_codec_close(&app.codec);
        return order_setup(context, tx); /* a second start changes nothing */
}

Test(old_orders, are_taken_over)
{
        app = (struct order){.events_kept = 3};
        bench_open(&bench, &order_handlers, &app, setup_old);
        cr_assert_str_eq(bench_rows(&bench, "SELECT order_id, note, edits, created_ms, settled_ms, deleted_ms FROM orders"),
                         "old-1||0|77|77|0 old-2||0|78|0|0");
        cr_assert_eq(bench_decide(&bench, 2, 0, true), ASSENT_RESULT_DONE);
        cr_assert_str_eq(bench_rows(&bench, "SELECT version, state, settled_ms FROM orders WHERE order_id = 'old-2'"),
                         "2|CONFIRMED|1700000000000");
        cr_assert_eq(leave(order_delete(&app, enter(), "old-1", 2, 99)), ASSENT_OK);
        cr_assert_str_eq(bench_rows(&bench,
                                    "SELECT json_extract(data, '$.items') FROM order_events WHERE type = 'order.deleted'"),
                         "[{\"sku\":\"a\",\"quantity\":1}]");
        close_all();
}

Test(old_orders, without_http_nobody_is_told)
{
        app = (struct order){0};
        bench_open(&bench, &order_handlers, &app, order_setup);
        bench_prepare(&bench, 1, 0, "place", PAYLOAD("o-1"));
        bench_decide(&bench, 1, 0, true);
        cr_assert_str_eq(bench_rows(&bench, "SELECT count(*) FROM order_events"), "0");
        cr_assert_str_eq(bench_rows(&bench, "SELECT count(*) FROM assent_outbox"), "0");
        cr_assert_eq(app.settled_count, 0);
        close_all();
}
