#include "api.h"

#include <inttypes.h>

#include "problems.h"

#define LIMIT_USUAL   20
#define LIMIT_MAX     100
#define REASON_LOGGED "an order's abort cannot be written down now; it is tried again"

/* As long as it is: no compiler of today minds. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverlength-strings"
static const char openapi[] =
#include <order/openapi.json.inc>
    ;
#pragma GCC diagnostic pop

/* ---- answers ---- */

void api_etag(struct assent_http_request *request, int64_t version)
{
        assent_http_set(request, "ETag", "\"%" PRId64 "\"", version);
}

void api_unavailable(struct assent_http_request *request, enum assent_err err)
{
        assent_http_set(request, "Retry-After", "1");
        if (err == ASSENT_AGAIN)
                assent_http_problem(request, 503, "overloaded",
                                    "The writer has all the work it can keep. Send this again after 1 s, with the same "
                                    "Idempotency-Key if it had one.");
        else if (err == ASSENT_E_MEMORY)
                assent_http_problem(request, 503, "out-of-memory", "No memory is left for this request; send it again later.");
        else if (err == ASSENT_E_ARGUMENT)
                assent_http_problem(request, 503, "shutting-down", "The service is stopping; send this again after 1 s.");
        else
                assent_http_problem(request, 503, "storage-failed",
                                    "The database failed (%s). Nobody knows yet whether this had its effect: send it again, "
                                    "with the same Idempotency-Key if it had one.", assent_err_name(err));
}

static void answer_text(struct assent_http_request *request, char *text)
{
        if (text)
                assent_http_answer(request, 200, "application/json", (struct assent_bytes){text, strlen(text)});
        else
                api_unavailable(request, ASSENT_E_MEMORY);
        free(text);
}

static void answer_json(struct assent_http_request *request, json_t *body)
{
        if (body)
                assent_http_answer_json(request, 200, body);
        else
                api_unavailable(request, ASSENT_E_MEMORY);
}

void api_answer_order(struct assent_http_request *request, const struct order_event *order)
{
        api_etag(request, order->version);
        answer_text(request, order_event_text(order));
}

bool api_found(struct assent_http_request *request, enum assent_err err, const struct order_row *row, const char *order_id)
{
        if (err == ASSENT_OK && strcmp(row->seen.state, "DELETED") != 0)
                return true;
        if (err == ASSENT_OK) {
                api_etag(request, row->seen.version); /* caches remember the version at which it went */
                assent_http_problem(request, 410, "order-deleted", "Order %s was cancelled and then deleted.", order_id);
        } else if (err == ASSENT_E_NOT_FOUND) {
                assent_http_problem(request, 404, "order-not-found", "There is no order %s.", order_id);
        } else {
                api_unavailable(request, err);
        }
        return false;
}

/* ---- reading ---- */

static void get_order(void *app, struct assent_http_request *request)
{
        struct api *api = app;
        const char *order_id = assent_http_param(request, "id");
        struct read *read = read_take(api->reads);
        struct order_row row;
        enum assent_err err = read_order(read, order_id, &row);
        char etag[24];

        read_give(api->reads, read);
        if (api_found(request, err, &row, order_id)) {
                snprintf(etag, sizeof etag, "%" PRId64, row.seen.version);
                assent_http_set(request, "Cache-Control", "no-cache");
                if (assent_http_preconditions(request, etag))
                        api_answer_order(request, &row.seen);
        }
        order_event_clear(&row.seen);
}

/* An order id that came by the log may hold anything. */
static void escape_path(const char *text, char *out, size_t size)
{
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
        size_t at = 0;

        for (; *text && at + 4 <= size; text++)
                at += (size_t)snprintf(out + at, size - at, strchr(plain, *text) ? "%c" : "%%%02X", (unsigned char)*text);
        out[at] = '\0';
}

static json_t *txn_json(const struct order_row *row)
{
        const char *state = row->settled_ms == 0 ? "PENDING" : row->cancelled ? "ABORTED" : "COMMITTED";
        char txn_id[ASSENT_UUID_TEXT_SIZE], path[3 * SERVICE_NAME_SIZE_MAX + 1];

        assent_uuid_format(&row->seen.txn_id, txn_id);
        escape_path(row->seen.order_id, path, sizeof path);
        return json_pack("{s:s, s:s, s:s?, s:s, s:s+, s:I, s:o}", "txn_id", txn_id, "state", state, "reason",
                         row->settled_ms && row->cancelled ? row->reason : NULL, "order_id", row->seen.order_id, "order",
                         ORDER_PATH, path, "created_ms", (json_int_t)row->seen.created_ms, "settled_ms",
                         row->settled_ms ? json_integer(row->settled_ms) : json_null());
}

/* It has two versions: before and after. */
static void get_txn(void *app, struct assent_http_request *request)
{
        struct api *api = app;
        const char *text = assent_http_param(request, "id"), *etag;
        struct assent_uuid txn_id;
        struct order_row row = {0};
        enum assent_err err = assent_uuid_parse(text, strlen(text), &txn_id) == ASSENT_OK ? ASSENT_OK : ASSENT_E_NOT_FOUND;

        if (err == ASSENT_OK) {
                struct read *read = read_take(api->reads);
                err = read_txn(read, &txn_id, &row);
                read_give(api->reads, read);
        }
        if (err == ASSENT_E_NOT_FOUND) {
                assent_http_problem(request, 404, "transaction-not-found", "No order here belongs to a transaction %s.", text);
        } else if (err != ASSENT_OK) {
                api_unavailable(request, err);
        } else {
                etag = row.settled_ms ? "2" : "1";
                assent_http_set(request, "Cache-Control", "no-cache");
                if (!row.settled_ms)
                        assent_http_set(request, "Retry-After", "1");
                if (assent_http_preconditions(request, etag)) {
                        assent_http_set(request, "ETag", "\"%s\"", etag);
                        answer_json(request, txn_json(&row));
                }
        }
        order_event_clear(&row.seen);
}

/* ---- the list ---- */

struct page {
        json_t *orders;
        int limit, count;
        int64_t last; /* row that stands last on the page */
        bool more;
};

static bool page_add(void *context, struct order_row *row)
{
        struct page *page = context;
        bool good = true;

        if (page->count++ == page->limit) {
                page->more = true;
        } else {
                page->last = row->number;
                good = json_array_append_new(page->orders, order_event_json(&row->seen)) == 0;
        }
        order_event_clear(&row->seen);
        return good;
}

/* The number at the end of `text`, in digits of `base` alone; -1 when it is none or beyond `most`. */
static int64_t number_of(const char *text, int base, int64_t most)
{
        static const char digits[] = "0123456789abcdef";
        int64_t number = 0;

        if (!*text)
                return -1;
        for (; *text; text++) {
                const char *digit = strchr(digits, *text);
                if (!digit || digit - digits >= base || number > (most - (digit - digits)) / base)
                        return -1;
                number = number * base + (digit - digits);
        }
        return number;
}

/* What the query asks for; false when it is wrong, and answered. */
static bool page_asked(struct assent_http_request *request, struct page *page, int64_t *below, const char **state)
{
        const char *limit = assent_http_query(request, "limit"), *after = assent_http_query(request, "after");
        const char *wrong = NULL;

        *state = assent_http_query(request, "state");
        *below = after && after[0] == 'c' ? number_of(after + 1, 16, INT64_MAX) : after ? -1 : INT64_MAX;
        page->limit = limit ? (int)number_of(limit, 10, LIMIT_MAX) : LIMIT_USUAL;
        if (page->limit < 1)
                wrong = "limit is a whole number from 1 to 100";
        else if (*below < 0)
                wrong = "after is taken from the `next` link of a page as it is";
        else if (*state && strcmp(*state, "PENDING") != 0 && strcmp(*state, "CONFIRMED") != 0 &&
                 strcmp(*state, "CANCELLED") != 0)
                wrong = "state is PENDING, CONFIRMED or CANCELLED";
        if (wrong)
                assent_http_problem(request, 400, "query-invalid", "%s.", wrong);
        return !wrong;
}

static void list_orders(void *app, struct assent_http_request *request)
{
        struct api *api = app;
        struct page page = {0};
        const char *state;
        int64_t below;
        char next[128];

        if (!page_asked(request, &page, &below, &state))
                return;
        page.orders = json_array();
        struct read *read = read_take(api->reads);
        enum assent_err err = read_orders(read, state, below, page.limit + 1, page_add, &page);
        read_give(api->reads, read);
        if (err != ASSENT_OK) {
                json_decref(page.orders);
                api_unavailable(request, err);
                return;
        }
        snprintf(next, sizeof next, "/v1/orders?limit=%d%s%s&after=c%" PRIx64, page.limit, state ? "&state=" : "",
                 state ? state : "", (uint64_t)page.last);
        if (page.more)
                assent_http_set(request, "Link", "<%s>; rel=\"next\"", next);
        assent_http_set(request, "Cache-Control", "no-cache");
        answer_json(request, json_pack("{s:o, s:s?}", "orders", page.orders, "next", page.more ? next : NULL));
}

/* ---- documents ---- */

static void get_openapi(void *app, struct assent_http_request *request)
{
        (void)app;
        assent_http_answer(request, 200, "application/json", (struct assent_bytes){openapi, sizeof openapi - 1});
}

static void get_root(void *app, struct assent_http_request *request)
{
        const struct settings *settings = ((struct api *)app)->settings;

        json_t *links = json_pack("{s:s, s:s, s:s, s:s}", "orders", "/v1/orders", "events", "/v1/events", "description",
                                  "/openapi.json", "problems", "/problems/{slug}");
        answer_json(request, json_pack("{s:s, s:s, s:o, s:I, s:I, s:I}", "service", "assent-order", "version", ASSENT_VERSION,
                                       "links", links, "idempotency_key_lifetime_ms", (json_int_t)settings->key_expiry_ms,
                                       "wait_ms", (json_int_t)settings->wait_ms, "transaction_timeout_ms",
                                       (json_int_t)settings->timeout_ms));
}

static const struct assent_http_route routes[] = {
    {"POST", "/v1/orders", place_post, false},
    {"GET", "/v1/orders", list_orders, false},
    {"GET", "/v1/orders/{id}", get_order, false},
    {"PATCH", "/v1/orders/{id}", change_patch, false},
    {"DELETE", "/v1/orders/{id}", change_delete, false},
    {"GET", "/v1/transactions/{id}", get_txn, false},
    {"GET", "/v1/events", events_get, false},
    {"GET", "/openapi.json", get_openapi, true},
    {"GET", "/problems/{slug}", problems_get, true},
    {"GET", "/", get_root, true},
    {NULL, NULL, NULL, false},
};

/* ---- what the client's thread hands over ---- */

struct aborted {
        struct api *api;
        struct assent_uuid txn_id;
        char reason[ASSENT_REASON_SIZE_MAX + 1];
};

static enum assent_result run_aborted(void *context, struct assent_tx *tx)
{
        struct aborted *aborted = context;
        enum assent_err err =
            order_aborted(aborted->api->order, tx, &aborted->txn_id, aborted->reason, assent_tx_time_ms(tx));
        return err == ASSENT_OK ? ASSENT_RESULT_DONE : ASSENT_RESULT_RETRY;
}

static void done_aborted(void *context, enum assent_err err)
{
        struct aborted *aborted = context;
        if (err != ASSENT_OK)
                assent_log(ASSENT_LOG_WARN, REASON_LOGGED, ASSENT_UUID("txn", &aborted->txn_id),
                           ASSENT_TEXT("err", assent_err_name(err)));
        free(aborted);
}

/* A reason is what some service wrote; an answer is UTF-8. */
static void copy_reason(const char *reason, char out[ASSENT_REASON_SIZE_MAX + 1])
{
        json_t *valid = json_string(reason);

        snprintf(out, ASSENT_REASON_SIZE_MAX + 1, "%s", reason);
        for (char *at = out; !valid && *at; at++)
                if (*at < ' ' || *at > '~')
                        *at = '?';
        json_decref(valid);
}

static void begun_aborted(void *context, const struct assent_uuid *txn_id, const char *reason)
{
        struct api *api = context;
        struct aborted *aborted = calloc(1, sizeof *aborted);
        const struct assent_work work = {.run = run_aborted, .done = done_aborted, .context = aborted};

        if (!aborted)
                return;
        aborted->api = api;
        aborted->txn_id = *txn_id;
        copy_reason(reason, aborted->reason);
        enum assent_err err = assent_participant_submit(api->participant, &work);
        if (err != ASSENT_OK)
                done_aborted(aborted, err);
}

static enum assent_result run_forget(void *context, struct assent_tx *tx)
{
        size_t count;
        (void)context;
        return assent_idempotency_forget(tx, assent_tx_time_ms(tx), 1000, &count) == ASSENT_OK ? ASSENT_RESULT_DONE
                                                                                               : ASSENT_RESULT_RETRY;
}

static void done_forget(void *context, enum assent_err err)
{
        (void)context;
        (void)err; /* again in a few seconds */
}

static void forget_keys(void *context)
{
        struct api *api = context;
        assent_participant_submit(api->participant, &(struct assent_work){.run = run_forget, .done = done_forget});
}

/* ---- open, close ---- */

void api_committed(struct api *api)
{
        struct order *order = api->order;

        for (size_t i = 0; i < order->settled_count; i++) {
                if (api->waiters)
                        place_settled(api, &order->settled[i]);
                free(order->settled[i].body);
        }
        order->settled_count = 0;
        if (order->told && api->http)
                assent_http_wake(api->http);
        order->told = false;
}

static void observed(void *app, const struct assent_http_seen *seen)
{
        const struct api *api = app;
        if (api->metrics)
                assent_http_metrics_add(api->metrics, seen);
}

static enum assent_err open_http(struct api *api)
{
        const struct settings *settings = api->settings;
        struct assent_http_options options = ASSENT_HTTP_OPTIONS_INIT;
        struct assent_http *http = NULL;

        options.listen = settings->listen;
        options.routes = routes;
        options.app = api;
        options.token_file = settings->tokens;
        options.threads = (unsigned)settings->threads;
        options.connections_max = (unsigned)settings->connections_max;
        options.streams_max = (unsigned)settings->streams_max;
        options.backlog_max = (uint64_t)settings->backlog_max;
        options.observed = observed;
        enum assent_err err = assent_http_open(&options, &http);
        if (err != ASSENT_OK) {
                assent_log(ASSENT_LOG_ERROR, http ? assent_http_errmsg(http) : assent_err_text(err),
                           ASSENT_TEXT("listen", settings->listen));
                assent_http_close(http);
                return err;
        }
        api->http = http;
        return ASSENT_OK;
}

enum assent_err api_open(struct api *api, const struct assent_config *config)
{
        const struct settings *settings = api->settings;
        const struct begins_options options = {.config = config,
                                               .counts = &api->counts,
                                               .timeout_ms = settings->timeout_ms,
                                               .aborted = begun_aborted,
                                               .idle = forget_keys,
                                               .context = api};
        enum assent_err err = read_pool_open(assent_config_get(config, "assent.db"), (size_t)settings->threads, &api->reads);

        if (err == ASSENT_OK)
                err = waiters_open((size_t)settings->waiting_max, place_late, api, &api->waiters);
        if (err == ASSENT_OK)
                err = begins_open(&options, &api->begins);
        return err == ASSENT_OK ? open_http(api) : err;
}

/* In this order: nobody new; whoever waits is told that it goes on (202) or to come back (409, 503); nothing more is begun. */
void api_close(struct api *api)
{
        if (api->http)
                assent_http_drain(api->http);
        if (api->waiters)
                waiters_stop(api->waiters);
        assent_http_close(api->http);
        api->http = NULL;
        api->closed = true;
        begins_close(api->begins);
        read_pool_close(api->reads);
}
