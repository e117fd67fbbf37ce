/* place.c: POST /v1/orders. Claim, order and event are one local transaction; then the distributed one is begun, and the answer
 * waits for it. Whoever sends the same request again waits for the same outcome and gets the same answer. */
#include "api.h"

#include <time.h>

#include "body.h"

#define RETRY_AFTER_S 1

struct post {
        struct waiter waiter; /* first: a waiter is its post */
        struct api *api;
        struct assent_http_request *request;
        struct order_placing placing;
        int64_t wait_ms;
        bool mine; /* this request made the claim */
        enum assent_err err;
};

static void post_free(struct post *post)
{
        assent_idempotency_clear(&post->placing.claim);
        free(post->placing.items);
        free(post);
}

/* How long a key is honoured is said in every answer. */
static void tell_lifetime(const struct post *post)
{
        assent_http_set(post->request, "Idempotency-Key-Lifetime", "%" PRId64,
                        post->api->settings->key_expiry_ms / 1000);
}

static void answer_claim(struct post *post, enum assent_idempotency_state state)
{
        if (state == ASSENT_IDEMPOTENCY_FINISHED)
                atomic_fetch_add(&post->api->replays, 1);
        tell_lifetime(post);
        assent_idempotency_answer(post->request, &post->placing.claim, state);
        post_free(post);
}

/* Interim; never kept. */
static void answer_accepted(struct post *post)
{
        char txn_id[ASSENT_UUID_TEXT_SIZE];

        assent_uuid_format(&post->waiter.txn_id, txn_id);
        tell_lifetime(post);
        assent_http_set(post->request, "Location", "/v1/transactions/%s", txn_id);
        assent_http_set(post->request, "Retry-After", "%d", RETRY_AFTER_S);
        json_t *body = json_pack("{s:s, s:s, s:s, s:s+}", "txn_id", txn_id, "state", "PENDING", "order_id",
                                 post->placing.order_id, "order", ORDER_PATH, post->placing.order_id);
        if (body)
                assent_http_answer_json(post->request, 202, body);
        else
                api_unavailable(post->request, ASSENT_E_MEMORY);
        post_free(post);
}

void place_late(void *context, struct waiter *waiter)
{
        struct post *post = (struct post *)(void *)waiter;
        struct api *api = context;

        assent_count(&api->counts.expired, 1);
        if (post->mine)
                answer_accepted(post);
        else
                answer_claim(post, ASSENT_IDEMPOTENCY_IN_PROGRESS);
}

/* The first one's answer; the others' is the same, marked as a replay. */
static void answer_settled(struct post *post, const struct order_settled *settled)
{
        struct assent_idempotency answer = {.status = settled->status};
        char etag[24];
        const struct assent_bytes body = {settled->body, strlen(settled->body)};

        tell_lifetime(post);
        if (post->mine) {
                assent_http_set(post->request, "Location", "%s", settled->location);
                api_etag(post->request, settled->version);
                assent_http_answer(post->request, settled->status, "application/json", body);
        } else {
                atomic_fetch_add(&post->api->replays, 1);
                snprintf(answer.location, sizeof answer.location, "%s", settled->location);
                snprintf(etag, sizeof etag, "%" PRId64, settled->version);
                answer.etag = (struct assent_bytes){etag, strlen(etag)};
                answer.body = body;
                assent_idempotency_answer(post->request, &answer, ASSENT_IDEMPOTENCY_FINISHED);
        }
        post_free(post);
}

void place_settled(struct api *api, const struct order_settled *settled)
{
        struct waiter *waiter = waiters_settled(api->waiters, &settled->txn_id);

        while (waiter) {
                struct waiter *next = waiter->next;
                answer_settled((struct post *)(void *)waiter, settled);
                waiter = next;
        }
}

/* ---- on the participant's thread ---- */

static enum assent_result run(void *context, struct assent_tx *tx)
{
        struct post *post = context;

        post->placing.now_ms = assent_tx_time_ms(tx);
        post->placing.expires_ms = post->placing.now_ms + post->api->settings->key_expiry_ms;
        post->err = order_claim(post->api->order, tx, &post->placing);
        return post->err == ASSENT_OK ? ASSENT_RESULT_DONE : ASSENT_RESULT_RETRY;
}

/* What settled in the same local transaction is told after this, so whoever begins to wait here misses nothing. */
static void done(void *context, enum assent_err err)
{
        struct post *post = context;
        struct api *api = post->api;
        const enum assent_idempotency_state state = post->placing.state;

        post->waiter.txn_id = post->placing.claim.txn_id;
        post->mine = state == ASSENT_IDEMPOTENCY_NEW;
        if (err == ASSENT_OK && post->mine)
                begins_add(api->begins, &post->waiter.txn_id);
        if (err == ASSENT_OK && post->wait_ms > 0 && (post->mine || state == ASSENT_IDEMPOTENCY_IN_PROGRESS)) {
                post->waiter.until_ms = waiters_now_ms() + post->wait_ms;
                waiters_add(api->waiters, &post->waiter);
                return;
        }
        waiters_leave(api->waiters);
        if (err == ASSENT_OK) {
                if (post->mine)
                        answer_accepted(post);
                else
                        answer_claim(post, state);
                return;
        }
        if (!api->closed)
                api_unavailable(post->request, err == ASSENT_AGAIN ? post->err : err);
        post_free(post);
}

/* ---- on a server thread ---- */

/* What has its answer already needs no writer. */
static bool answered_before(struct post *post)
{
        enum assent_idempotency_state state;
        struct read *read = read_take(post->api->reads);
        enum assent_err err = assent_idempotency_find(read_db(read), &post->placing.claim, &state);

        read_give(post->api->reads, read);
        if (err != ASSENT_OK) {
                api_unavailable(post->request, err);
                post_free(post);
                return true;
        }
        if (state == ASSENT_IDEMPOTENCY_NEW || state == ASSENT_IDEMPOTENCY_IN_PROGRESS)
                return false;
        answer_claim(post, state);
        return true;
}

static void submit(struct post *post)
{
        struct api *api = post->api;
        struct assent_http_request *request = post->request;
        struct assent_uuid *txn_id = &post->placing.claim.txn_id;

        if (!waiters_enter(api->waiters)) {
                assent_http_set(request, "Retry-After", "%d", RETRY_AFTER_S);
                assent_http_problem(request, 503, "too-many-waiting",
                                    "%" PRId64 " requests wait for their outcome (app.waiting_max). Send this one again after "
                                    "%d s, with the same Idempotency-Key.", api->settings->waiting_max, RETRY_AFTER_S);
                post_free(post);
                return;
        }
        assent_txn_id_new(txn_id);
        char text[ASSENT_UUID_TEXT_SIZE];
        assent_uuid_format(txn_id, text);
        snprintf(post->placing.order_id, sizeof post->placing.order_id, "o-%s", text);
        post->placing.timeout_ms = api->settings->timeout_ms;
        assent_http_defer(request);
        enum assent_err err =
            assent_participant_submit(api->participant, &(struct assent_work){.run = run, .done = done, .context = post});
        if (err == ASSENT_OK)
                return; /* from here on it is the participant's */
        waiters_leave(api->waiters);
        api_unavailable(request, err);
        post_free(post);
}

void place_post(void *app, struct assent_http_request *request)
{
        json_t *body = assent_http_json(request, false), *faults = NULL;
        struct post *post = body ? calloc(1, sizeof *post) : NULL;

        if (!body)
                return;
        if (!post) {
                json_decref(body);
                api_unavailable(request, ASSENT_E_MEMORY);
                return;
        }
        post->api = app;
        post->request = request;
        post->wait_ms = assent_http_wait_ms(request, post->api->settings->wait_ms, SETTINGS_WAIT_MS_MAX);
        const bool keyed = assent_idempotency_read(request, body, &post->placing.claim);
        const bool good = keyed && body_order(body, &post->placing, &faults);
        json_decref(body);
        if (good && assent_http_preconditions(request, NULL)) { /* an order that is to be placed is not there yet */
                if (!answered_before(post))
                        submit(post);
                return;
        }
        if (good) {
                post_free(post);
                return;
        }
        if (keyed && faults) {
                assent_http_problem_member(request, "errors", faults);
                assent_http_problem(request, 422, "order-invalid",
                                    "The order cannot be placed: see errors. Nothing was kept of this request, so the same "
                                    "Idempotency-Key is right for the corrected one.");
        } else if (keyed) {
                api_unavailable(request, ASSENT_E_MEMORY);
        }
        post_free(post);
}
