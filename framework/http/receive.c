/* receive.c: libmicrohttpd's calls: a request arrives, is handled, its answer is handed over, and it ends. */
#include "http/exchange.h"

#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/panic.h"

#define PASSED_OVER_MAX ((size_t)1 << 20) /* of a body that is refused; then its connection is closed */

static struct assent_http_request *request_of(struct MHD_Connection *connection)
{
        return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void due_in(struct assent_http_request *request)
{
        atomic_store(&request->due_ms, assent_clock_ms() + (int64_t)request->http->options.timeout_ms);
}

/* What stands in the request line as it came; also the first word of a request, so the time for it to arrive begins. */
void *assent_receive_target(void *worker, const char *target, struct MHD_Connection *connection)
{
        (void)worker;
        struct assent_http_request *request = request_of(connection);
        if (!request)
                return NULL;
        int stage = ASSENT_STAGE_QUIET;
        due_in(request);
        if (!atomic_compare_exchange_strong(&request->stage, &stage, ASSENT_STAGE_ARRIVING))
                return NULL;
        size_t from = offsetof(struct assent_http_request, begun), to = offsetof(struct assent_http_request, fields);
        memset((char *)request + from, 0, to - from);
        request->params[0].name = (struct assent_bytes){0};
        request->began_us = assent_clock_us();
        request->method = "";
        request->caller = "";
        request->target = target;
        request->target_size = strlen(target);
        assent_buffer_init(&request->body, request->http->options.body_bytes_max);
        for (const char *at = target; *at; at++)
                request->target_fault = request->target_fault || (unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f;
        return request;
}

/* For each half of an argument of the query, and for the path, which is left as it is: routes are found before decoding. */
size_t assent_receive_unescape(void *worker, struct MHD_Connection *connection, char *text)
{
        (void)worker;
        struct assent_http_request *request = request_of(connection);
        size_t size = strlen(text);
        if (!request || text == request->target)
                return size;
        if (!assent_percent_decode((struct assent_bytes){.data = text, .size = size}, text, size + 1))
                request->target_fault = true;
        return strlen(text);
}

static enum MHD_Result take_bytes(struct assent_http_request *request, const char *bytes, size_t size)
{
        if (!request->too_large && !request->refused) {
                enum assent_err err = assent_buffer_append(&request->body, bytes, size);
                if (err == ASSENT_E_MEMORY)
                        return MHD_NO;
                request->too_large = err != ASSENT_OK;
        }
        if (request->too_large || request->refused)
                request->passed_over += size;
        return request->passed_over <= PASSED_OVER_MAX ? MHD_YES : MHD_NO;
}

static void handle(struct assent_http_request *request)
{
        struct assent_http_worker *worker = request->worker;
        atomic_store(&worker->handling, true);
        /* Whoever closes sets `closing` first and waits for `handling` then. */
        if (atomic_load(&request->http->closing)) {
                assent_http_problem(request, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting-down",
                                    "This server is going out of service.");
        } else {
                request->route->handle(request->http->options.app, request);
                ASSENT_ASSERT(request->deferred || atomic_load(&request->stage) == ASSENT_STAGE_ANSWERED);
        }
        atomic_store(&worker->handling, false);
}

/* The request is whole, or refused and not waited for. */
static enum MHD_Result take(struct assent_http_request *request)
{
        int stage = ASSENT_STAGE_ARRIVING;
        if (!atomic_compare_exchange_strong(&request->stage, &stage,
                                            request->refused ? ASSENT_STAGE_ANSWERED : ASSENT_STAGE_TAKEN))
                return MHD_NO; /* cut off */
        if (!request->refused && request->too_large)
                assent_http_problem(request, MHD_HTTP_CONTENT_TOO_LARGE, "body-too-large",
                                    "The body has more than %zu bytes, which is all that is taken.",
                                    request->http->options.body_bytes_max);
        else if (!request->refused)
                handle(request);
        return request->deferred ? MHD_YES : assent_answer_queue(request);
}

enum MHD_Result assent_receive(void *worker, struct MHD_Connection *connection, const char *path, const char *method,
                               const char *version, const char *bytes, size_t *bytes_size, void **state)
{
        struct assent_http_request *request = *state;
        (void)worker;
        (void)connection;
        if (!request)
                return MHD_NO;
        if (!request->begun) {
                request->begun = true;
                return assent_examine(request, path, method, version) ? take(request) : MHD_YES;
        }
        if (*bytes_size) {
                size_t size = *bytes_size;
                *bytes_size = 0;
                return take_bytes(request, bytes, size);
        }
        switch (atomic_load(&request->stage)) {
        case ASSENT_STAGE_DEFERRED:
                return MHD_YES;
        case ASSENT_STAGE_ANSWERED: /* and resumed */
                return assent_answer_queue(request);
        default:
                return take(request);
        }
}

static void tell(const struct assent_http_request *request)
{
        const struct assent_http_options *options = &request->http->options;
        const union MHD_ConnectionInfo *status = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_HTTP_STATUS);
        if (!options->observed || !status)
                return;
        struct assent_http_seen seen = {.method = request->method,
                                        .route = request->route ? request->route->path : "",
                                        .status = status->http_status,
                                        .took_us = assent_clock_us() - request->began_us};
        options->observed(options->app, &seen);
}

void assent_receive_completed(void *worker, struct MHD_Connection *connection, void **state,
                              enum MHD_RequestTerminationCode why)
{
        struct assent_http_request *request = *state;
        (void)worker;
        (void)connection;
        (void)why;
        if (!request)
                return;
        tell(request);
        if (request->response)
                MHD_destroy_response(request->response);
        json_decref(request->members);
        assent_buffer_close(&request->body);
        free(request->decoded);
        due_in(request);
        atomic_store(&request->stage, ASSENT_STAGE_QUIET);
}
