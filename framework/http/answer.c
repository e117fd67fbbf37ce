/* answer.c: answers: their fields, their bodies, problem details (RFC 9457), and their way back to the worker. */
#include "http/exchange.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <assent/log.h>

#include "base/escape.h"
#include "base/panic.h"
#include "base/text.h"
#include "http/fields.h"
#include "http/preconditions.h"

#define DETAIL_SIZE_MAX 1000

/* ---- fields ---- */

static char *field(struct assent_http_request *request, const char *name)
{
        char *at = request->fields, *end = at + request->fields_size;
        while (at < end && strcasecmp(at, name) != 0) {
                at += strlen(at) + 1;
                at += strlen(at) + 1;
        }
        return at < end ? at : NULL;
}

void assent_answer_unset(struct assent_http_request *request, const char *name)
{
        char *at = field(request, name), *end = request->fields + request->fields_size;
        if (!at)
                return;
        char *next = at + strlen(at) + 1;
        next += strlen(next) + 1;
        memmove(at, next, (size_t)(end - next));
        request->fields_size -= (size_t)(next - at);
}

void assent_http_set(struct assent_http_request *request, const char *name, const char *format, ...)
{
        assent_answer_unset(request, name);
        size_t name_size = strlen(name) + 1, room = sizeof request->fields - request->fields_size;
        ASSENT_ASSERT(name_size < room);
        char *value = request->fields + request->fields_size + name_size;
        memcpy(value - name_size, name, name_size);
        va_list arguments;
        va_start(arguments, format);
        int size = vsnprintf(value, room - name_size, format, arguments);
        va_end(arguments);
        ASSENT_ASSERT(size >= 0 && size <= ASSENT_HTTP_VALUE_SIZE_MAX && (size_t)size < room - name_size);
        for (const char *at = value; *at; at++)
                ASSENT_ASSERT((unsigned char)*at >= 0x20 && *at != 0x7f);
        request->fields_size += name_size + (size_t)size + 1;
}

static bool add_fields(struct assent_http_request *request, struct MHD_Response *response)
{
        bool added = MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES;
        for (const char *at = request->fields, *end = at + request->fields_size; added && at < end;) {
                const char *value = at + strlen(at) + 1;
                added = MHD_add_response_header(response, at, value) == MHD_YES;
                at = value + strlen(value) + 1;
        }
        return added;
}

/* ---- the way back ---- */

void assent_answer_with(struct assent_http_request *request, unsigned status, struct MHD_Response *response)
{
        if (response && !add_fields(request, response)) {
                MHD_destroy_response(response);
                response = NULL;
        }
        request->status = status;
        request->response = response;
        /* A refusal stands before the request is whole; the keeper may still cut it off. */
        int stage = atomic_load(&request->stage);
        if (stage == ASSENT_STAGE_ARRIVING || stage == ASSENT_STAGE_CUT) {
                request->refused = true;
                return;
        }
        stage = atomic_exchange(&request->stage, ASSENT_STAGE_ANSWERED);
        ASSENT_ASSERT(stage == ASSENT_STAGE_TAKEN || stage == ASSENT_STAGE_DEFERRED);
        if (stage == ASSENT_STAGE_DEFERRED)
                assent_worker_resume(request->worker, request->connection);
}

enum MHD_Result assent_answer_queue(struct assent_http_request *request)
{
        if (!request->response)
                return MHD_NO;
        enum MHD_Result queued = MHD_queue_response(request->connection, request->status, request->response);
        MHD_destroy_response(request->response);
        request->response = NULL;
        return queued;
}

void assent_http_defer(struct assent_http_request *request)
{
        int stage = ASSENT_STAGE_TAKEN;
        bool taken = atomic_compare_exchange_strong(&request->stage, &stage, ASSENT_STAGE_DEFERRED);
        ASSENT_ASSERT(taken);
        request->deferred = true;
        MHD_suspend_connection(request->connection);
}

/* ---- bodies ---- */

void assent_answer_text(struct assent_http_request *request, unsigned status, const char *content_type, char *text)
{
        struct MHD_Response *response =
            text ? MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE) : NULL;
        if (!response)
                free(text);
        if (status != MHD_HTTP_NOT_MODIFIED)
                assent_http_set(request, "Content-Type", "%s", content_type);
        assent_answer_with(request, status, response);
}

struct acceptance {
        struct assent_accept accept;
        struct assent_bytes type;
};

static void accept_line(void *context, struct assent_bytes line)
{
        struct acceptance *acceptance = context;
        assent_accept_add(&acceptance->accept, line, acceptance->type);
}

bool assent_answer_acceptable(struct assent_http_request *request, const char *content_type)
{
        struct acceptance acceptance = {.type = assent_media_type(content_type)};
        assent_request_lines(request, "Accept", accept_line, &acceptance);
        if (assent_accepted(&acceptance.accept))
                return true;
        assent_http_problem(request, MHD_HTTP_NOT_ACCEPTABLE, "not-acceptable",
                            "The answer is %.*s, which the Accept field leaves out; add it, or send no Accept.",
                            (int)acceptance.type.size, (const char *)acceptance.type.data);
        return false;
}

/* An answer to GET or HEAD may be refused for its type; others have had their effect by now, and were looked at before. */
static bool acceptable(struct assent_http_request *request, unsigned status, const char *content_type)
{
        return status / 100 != 2 || !assent_request_safe(request) || assent_answer_acceptable(request, content_type);
}

/* RFC 9110 sections 8.6 and 15.4.5: a 304 tells the length of what it stands for, which libmicrohttpd takes from a body that it
 * does not send then, and not the type. */
static unsigned conditional(const struct assent_http_request *request, unsigned status)
{
        return request->not_modified && status / 100 == 2 ? MHD_HTTP_NOT_MODIFIED : status;
}

void assent_http_answer(struct assent_http_request *request, unsigned status, const char *content_type,
                        struct assent_bytes body)
{
        bool empty = status == MHD_HTTP_NO_CONTENT;
        ASSENT_ASSERT(status != MHD_HTTP_NOT_MODIFIED && (empty || content_type || body.size == 0));
        if (!empty && content_type && !acceptable(request, status, content_type))
                return;
        status = conditional(request, status);
        if (!empty && content_type && status != MHD_HTTP_NOT_MODIFIED)
                assent_http_set(request, "Content-Type", "%s", content_type);
        union {
                const void *given;
                void *taken; /* MHD copies it, though it does not say const */
        } data = {.given = body.data};
        assent_answer_with(request, status,
                           MHD_create_response_from_buffer(empty ? 0 : body.size, data.taken, MHD_RESPMEM_MUST_COPY));
}

void assent_http_answer_json(struct assent_http_request *request, unsigned status, struct json_t *body)
{
        static const char type[] = "application/json";
        ASSENT_ASSERT(body);
        if (acceptable(request, status, type))
                assent_answer_text(request, conditional(request, status), type, json_dumps(body, JSON_COMPACT));
        json_decref(body);
}

void assent_http_problem_member(struct assent_http_request *request, const char *name, struct json_t *value)
{
        if (!request->members)
                request->members = json_object();
        /* Without memory the problem goes out without the member. */
        (void)json_object_set_new(request->members, name, value);
}

/* The detail may quote what is not ours. */
static json_t *detail_json(const char *detail, size_t size)
{
        char printable[DETAIL_SIZE_MAX];
        json_t *value = json_stringn(detail, assent_utf8_cut(detail, size, DETAIL_SIZE_MAX - 1));
        if (value)
                return value;
        assent_escape_text(detail, size < DETAIL_SIZE_MAX ? size : DETAIL_SIZE_MAX - 1, printable, sizeof printable);
        return json_string(printable);
}

void assent_http_problem(struct assent_http_request *request, unsigned status, const char *type, const char *format, ...)
{
        char detail[DETAIL_SIZE_MAX], uri[128];
        va_list arguments;
        va_start(arguments, format);
        int size = vsnprintf(detail, sizeof detail, format, arguments);
        va_end(arguments);
        snprintf(uri, sizeof uri, "/problems/%s", type);
        assent_log(ASSENT_LOG_DEBUG, "request refused", ASSENT_INT("status", status), ASSENT_TEXT("problem", type),
                   ASSENT_TEXT("method", request->method), ASSENT_TEXT("path", request->target), ASSENT_TEXT("detail", detail));
        json_t *problem = json_pack("{s:s, s:s, s:i, s:o, s:s}", "type", uri, "title", MHD_get_reason_phrase_for(status),
                                    "status", (int)status, "detail",
                                    detail_json(detail, (size_t)size < sizeof detail ? (size_t)size : sizeof detail - 1),
                                    "instance", request->target);
        if (problem && request->members)
                json_object_update_missing(problem, request->members);
        assent_http_set(request, "Cache-Control", "no-store");
        assent_answer_text(request, status, "application/problem+json", problem ? json_dumps(problem, JSON_COMPACT) : NULL);
        json_decref(problem);
}

/* ---- preconditions ---- */

struct tags {
        struct assent_tags tags;
        const char *etag;
};

static void tags_line(void *context, struct assent_bytes line)
{
        struct tags *tags = context;
        assent_tags_add(&tags->tags, line, tags->etag);
}

bool assent_http_preconditions(struct assent_http_request *request, const char *etag)
{
        struct tags if_match = {.etag = etag}, if_none_match = {.etag = etag};
        assent_request_lines(request, "If-Match", tags_line, &if_match);
        assent_request_lines(request, "If-None-Match", tags_line, &if_none_match);
        switch (assent_judge(&if_match.tags, &if_none_match.tags, etag, assent_request_safe(request))) {
        case ASSENT_GO_ON:
                return true;
        case ASSENT_NOT_MODIFIED:
                request->not_modified = true;
                if (etag)
                        assent_http_set(request, "ETag", "\"%s\"", etag);
                return true;
        case ASSENT_FAILED:
                assent_http_problem(request, MHD_HTTP_PRECONDITION_FAILED, "precondition-failed",
                                    "%s%s%s, which is not what If-Match or If-None-Match ask for; get the resource and decide "
                                    "anew.",
                                    etag ? "The current entity tag is \"" : "There is no such resource now", etag ? etag : "",
                                    etag ? "\"" : "");
                return false;
        case ASSENT_MALFORMED:
                break;
        }
        assent_http_problem(request, MHD_HTTP_BAD_REQUEST, "malformed-precondition",
                            "If-Match or If-None-Match is neither * alone nor a list of entity tags such as \"7\", with their "
                            "quotes.");
        return false;
}

bool assent_http_if_match_given(struct assent_http_request *request)
{
        if (assent_http_header(request, "If-Match"))
                return true;
        assent_http_problem(request, MHD_HTTP_PRECONDITION_REQUIRED, "precondition-required",
                            "This change must name the version that it changes: get the resource and send its ETag as "
                            "If-Match.");
        return false;
}
