/* problems.h: what the daemons that listen share of their problem types: GET /problems/{slug} tells what one means. */
#ifndef ASSENT_CONSUMERS_PROBLEMS_H
#define ASSENT_CONSUMERS_PROBLEMS_H

#include <jansson.h>
#include <string.h>

#include <assent/http.h>

struct problem {
        const char *slug;
        int status;
        const char *sentence;
};

/* Those that the server below any service answers with, and that of this route. */
#define PROBLEMS_OF_THE_SERVER \
    {"problem-not-found", 404, "There is no problem type of this name."}, \
    {"precondition-failed", 412, "The resource has another version than If-Match or If-None-Match ask for."}, \
    {"malformed-precondition", 400, "If-Match and If-None-Match take * alone, or a list of entity tags in double quotes."}, \
    {"not-acceptable", 406, "The Accept field leaves out the only type there is."}, \
    {"unauthorized", 401, "A bearer token is needed that this service knows."}, \
    {"not-found", 404, "There is nothing at this path."}, \
    {"method-not-allowed", 405, "The method is not served at this path; Allow names those that are."}, \
    {"unknown-method", 501, "The method is none that this server knows."}, \
    {"malformed-request", 400, "The request is not well-formed HTTP."}, \
    {"malformed-path", 400, "The path is not well-formed: bad percent-encoding, no UTF-8, or a control character."}, \
    {"misdirected-request", 421, "The request names a host that this server does not serve."}, \
    {"headers-too-large", 431, "Request line and header fields are longer than this server reads."}, \
    {"body-too-large", 413, "The body is longer than this server reads."}, \
    {"expectation-failed", 417, "Of Expect only 100-continue is understood."}, \
    {"shutting-down", 503, "The service is stopping; send it again after Retry-After."}

/* `problems` ends with one without a slug. */
static inline void problems_answer(struct assent_http_request *request, const struct problem *problems)
{
        const char *slug = assent_http_param(request, "slug");
        while (problems->slug && strcmp(problems->slug, slug) != 0)
                problems++;
        if (!problems->slug) {
                assent_http_problem(request, 404, "problem-not-found", "No problem type here is called '%s'.", slug);
                return;
        }
        json_t *body =
            json_pack("{s:s, s:i, s:s}", "slug", slug, "status", problems->status, "sentence", problems->sentence);
        if (body)
                assent_http_answer_json(request, 200, body);
        else
                assent_http_problem(request, 503, "out-of-memory", "No memory is left; send it again later.");
}

#endif
