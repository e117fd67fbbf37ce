/* change.c: PATCH and DELETE /v1/orders/{id}. The version that the preconditions were judged by is part of the change: if it is
 * another one by then, nothing is changed. */
#include "api.h"

#include "body.h"

struct change {
        struct api *api;
        struct assent_http_request *request;
        char order_id[SERVICE_NAME_SIZE_MAX + 1];
        int64_t version;
        bool remove;
        char note[ORDER_NOTE_SIZE_MAX + 1];
        struct order_row after;
        enum assent_err err;
};

static void change_free(struct change *change)
{
        order_event_clear(&change->after.seen);
        free(change);
}

/* ---- on the participant's thread ---- */

static enum assent_result run(void *context, struct assent_tx *tx)
{
        struct change *change = context;
        struct order *order = change->api->order;

        change->err = change->remove ? order_delete(order, tx, change->order_id, change->version, assent_tx_time_ms(tx))
                                     : order_annotate(order, tx, change->order_id, change->version, change->note,
                                                      assent_tx_time_ms(tx), &change->after);
        return change->err == ASSENT_OK ? ASSENT_RESULT_DONE : ASSENT_RESULT_RETRY;
}

static void done(void *context, enum assent_err err)
{
        struct change *change = context;
        struct assent_http_request *request = change->request;

        if (err == ASSENT_AGAIN)
                err = change->err;
        if (change->api->closed)
                ; /* nobody is there any more */
        else if (err == ASSENT_E_NOT_FOUND)
                assent_http_problem(request, 412, "order-changed",
                                    "Order %s was at version %" PRId64 " when the preconditions were judged, and is not any "
                                    "more. Get it and decide anew.", change->order_id, change->version);
        else if (err != ASSENT_OK)
                api_unavailable(request, err);
        else if (change->remove)
                assent_http_answer(request, 204, NULL, (struct assent_bytes){0});
        else
                api_answer_order(request, &change->after.seen);
        change_free(change);
}

/* ---- on a server thread ---- */

static struct change *change_new(void *app, struct assent_http_request *request)
{
        struct change *change = calloc(1, sizeof *change);

        if (!change) {
                api_unavailable(request, ASSENT_E_MEMORY);
                return NULL;
        }
        change->api = app;
        change->request = request;
        return change;
}

/* True when there is the order and it is at a version that the request names. */
static bool judge(struct change *change, struct order_row *row)
{
        struct assent_http_request *request = change->request;
        const char *order_id = assent_http_param(request, "id");
        struct read *read = read_take(change->api->reads);
        enum assent_err err = read_order(read, order_id, row);
        char etag[24];

        read_give(change->api->reads, read);
        if (!api_found(request, err, row, order_id) || !assent_http_if_match_given(request))
                return false;
        snprintf(etag, sizeof etag, "%" PRId64, row->seen.version);
        if (!assent_http_preconditions(request, etag))
                return false;
        snprintf(change->order_id, sizeof change->order_id, "%s", row->seen.order_id);
        change->version = row->seen.version;
        return true;
}

static void submit(struct change *change)
{
        const struct assent_work work = {.run = run, .done = done, .context = change};
        struct assent_http_request *request = change->request;

        assent_http_defer(request);
        enum assent_err err = assent_participant_submit(change->api->participant, &work);
        if (err == ASSENT_OK)
                return;
        api_unavailable(request, err);
        change_free(change);
}

void change_patch(void *app, struct assent_http_request *request)
{
        json_t *body = assent_http_json(request, true), *faults = NULL;
        struct change *change = body ? change_new(app, request) : NULL;
        struct order_row row = {0};
        bool given = false;

        const bool good = change && body_note(body, change->note, &given, &faults);
        json_decref(body);
        if (!change)
                return;
        if (!good && faults) {
                assent_http_problem_member(request, "errors", faults);
                assent_http_problem(request, 422, "note-invalid",
                                    "Nothing was changed: see errors. Of an order only `note` can be changed.");
        } else if (!good) {
                api_unavailable(request, ASSENT_E_MEMORY);
        } else if (judge(change, &row)) {
                if (given && strcmp(change->note, row.seen.note) != 0) {
                        submit(change);
                        change = NULL;
                } else {
                        api_answer_order(request, &row.seen);
                }
        }
        order_event_clear(&row.seen);
        if (change)
                change_free(change);
}

/* The transaction is asked to abort; it may commit all the same, and its own resource tells. */
static void cancel(struct change *change, const struct order_row *row)
{
        struct assent_http_request *request = change->request;
        char txn_id[ASSENT_UUID_TEXT_SIZE];

        if (row->timeout_ms == 0) { /* whoever began it holds what its begin said */
                assent_http_problem(request, 409, "order-begun-elsewhere",
                                    "Order %s is part of a transaction that was not begun here: cancel that one where it was "
                                    "begun, or try again when it has its outcome.", row->seen.order_id);
                return;
        }
        if (!begins_cancel(change->api->begins, &row->seen.txn_id)) {
                api_unavailable(request, ASSENT_AGAIN);
                return;
        }
        assent_uuid_format(&row->seen.txn_id, txn_id);
        assent_http_set(request, "Location", "/v1/transactions/%s", txn_id);
        assent_http_set(request, "Retry-After", "1");
        json_t *body = json_pack("{s:s, s:s, s:s, s:s+}", "txn_id", txn_id, "state", "PENDING", "order_id", row->seen.order_id,
                                 "order", ORDER_PATH, row->seen.order_id);
        if (body)
                assent_http_answer_json(request, 202, body);
        else
                api_unavailable(request, ASSENT_E_MEMORY);
}

void change_delete(void *app, struct assent_http_request *request)
{
        struct change *change = change_new(app, request);
        struct order_row row = {0};

        if (!change)
                return;
        change->remove = true;
        if (judge(change, &row)) {
                if (order_deletable(&row)) {
                        submit(change);
                        change = NULL;
                } else if (strcmp(row.seen.state, "CONFIRMED") == 0) {
                        assent_http_problem(request, 409, "order-confirmed",
                                            "Order %s is confirmed: the money has moved. Deleting it would need a refund, "
                                            "which is not offered.", change->order_id);
                } else {
                        cancel(change, &row);
                }
        }
        order_event_clear(&row.seen);
        if (change)
                change_free(change);
}
