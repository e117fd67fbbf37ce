#include "problems.h"

#include "../problems.h"

static const struct problem problems[] = {
    {"order-invalid", 422, "The order cannot be placed as it is; `errors` names each member and says what is wrong with it."},
    {"note-invalid", 422, "The change cannot be made; `errors` names each member and says what is wrong with it."},
    {"order-not-found", 404, "There is no order with this id."},
    {"order-deleted", 410, "The order was cancelled and then deleted; it does not come back."},
    {"order-confirmed", 409, "A confirmed order is not deleted: the money has moved. A refund is not offered."},
    {"order-begun-elsewhere", 409, "The order's transaction was not begun by this service, which therefore cannot cancel it."},
    {"order-changed", 412, "The order got a new version in the moment of the change; get it and decide anew."},
    {"transaction-not-found", 404, "No order here belongs to a transaction with this id."},
    {"query-invalid", 400, "An argument of the query is outside its range; the detail says which."},
    {"last-event-id-invalid", 400, "Last-Event-ID is the id of an event of this stream, a whole number."},
    {"too-many-waiting", 503, "Too many requests wait for their outcome; send it again, with the same Idempotency-Key."},
    {"too-many-streams", 503, "There are as many event streams as are served at once; come back after Retry-After."},
    {"overloaded", 503, "The writer cannot take more work in this moment; send it again, with the same Idempotency-Key."},
    {"storage-failed", 503, "The database failed, and nobody knows yet whether the request had its effect; send it again, with"
                            " the same Idempotency-Key."},
    {"idempotency-key-missing", 400, "Placing an order needs an Idempotency-Key, so that it can be sent again without harm."},
    {"idempotency-key-invalid", 400, "An Idempotency-Key has 1 to 255 printable ASCII characters, bare or in double quotes."},
    {"idempotency-key-reused", 422, "The Idempotency-Key was used for another request; make a new key for each new request."},
    {"idempotency-key-in-progress", 409, "The request with this Idempotency-Key has no result yet; send it again later."},
    {"precondition-required", 428, "A change must name the version that it changes: send its ETag as If-Match."},
    {"out-of-memory", 503, "The service has no memory left for this request; send it again later."},
    {"malformed-json", 400, "The body is no JSON object in UTF-8 without duplicate names."},
    {"unsupported-media-type", 415, "The body is of a type that is not read here; Accept or Accept-Patch names those read."},
    PROBLEMS_OF_THE_SERVER,
    {NULL, 0, NULL},
};

void problems_get(void *app, struct assent_http_request *request)
{
        (void)app;
        problems_answer(request, problems);
}
