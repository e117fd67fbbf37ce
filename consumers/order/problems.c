#include "problems.h"

#include <jansson.h>
#include <string.h>

/* Those of this service, then those of the server and of the idempotency keys below it. */
static const struct problem {
        const char *slug;
        int status;
        const char *sentence;
} problems[] = {
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
    {"problem-not-found", 404, "There is no problem type of this name."},
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
    {"precondition-failed", 412, "The resource has another version than If-Match or If-None-Match ask for."},
    {"malformed-precondition", 400, "If-Match and If-None-Match take * alone, or a list of entity tags in double quotes."},
    {"malformed-json", 400, "The body is no JSON object in UTF-8 without duplicate names."},
    {"unsupported-media-type", 415, "The body is of a type that is not read here; Accept or Accept-Patch names those read."},
    {"not-acceptable", 406, "The Accept field leaves out the only type there is."},
    {"unauthorized", 401, "A bearer token is needed that this service knows."},
    {"not-found", 404, "There is nothing at this path."},
    {"method-not-allowed", 405, "The method is not served at this path; Allow names those that are."},
    {"unknown-method", 501, "The method is none that this server knows."},
    {"malformed-request", 400, "The request is not well-formed HTTP."},
    {"malformed-path", 400, "The path is not well-formed: bad percent-encoding, no UTF-8, or a control character."},
    {"misdirected-request", 421, "The request names a host that this server does not serve."},
    {"headers-too-large", 431, "Request line and header fields are longer than this server reads."},
    {"body-too-large", 413, "The body is longer than this server reads."},
    {"expectation-failed", 417, "Of Expect only 100-continue is understood."},
    {"shutting-down", 503, "The service is stopping; send it again after Retry-After."},
    {"out-of-memory", 503, "The service has no memory left for this request; send it again later."},
};

void problems_get(void *app, struct assent_http_request *request)
{
        const char *slug = assent_http_param(request, "slug");
        (void)app;

        for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
                if (strcmp(problems[i].slug, slug) == 0) {
                        json_t *body = json_pack("{s:s, s:i, s:s}", "slug", slug, "status", problems[i].status, "sentence",
                                                 problems[i].sentence);
                        if (body)
                                assent_http_answer_json(request, 200, body);
                        else
                                assent_http_problem(request, 503, "out-of-memory", "No memory is left; send it again later.");
                        return;
                }
        assent_http_problem(request, 404, "problem-not-found", "No problem type here is called '%s'.", slug);
}
