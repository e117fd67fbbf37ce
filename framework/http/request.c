/* request.c: what was asked. */
#include "http/exchange.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/escape.h"
#include "base/panic.h"
#include "http/fields.h"

const char *assent_http_method(const struct assent_http_request *request)
{
        return request->method;
}

bool assent_request_safe(const struct assent_http_request *request)
{
        return strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
}

const char *assent_http_path(const struct assent_http_request *request)
{
        return request->decoded ? request->decoded : request->target;
}

const char *assent_http_param(const struct assent_http_request *request, const char *name)
{
        for (size_t i = 0; i < ASSENT_ROUTE_PARAMS_MAX && request->params[i].name.data; i++)
                if (request->params[i].name.size == strlen(name) &&
                    memcmp(request->params[i].name.data, name, strlen(name)) == 0)
                        return request->params[i].text;
        assent_panic(__FILE__, __LINE__, "the route has no such parameter");
}

const char *assent_http_query(const struct assent_http_request *request, const char *name)
{
        const char *value = NULL;
        if (!MHD_lookup_connection_value_n(request->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, NULL))
                return NULL;
        return value ? value : ""; /* "?verbose" */
}

const char *assent_http_header(const struct assent_http_request *request, const char *name)
{
        return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

struct assent_bytes assent_http_body(const struct assent_http_request *request)
{
        return (struct assent_bytes){.data = assent_buffer_string(&request->body), .size = request->body.size};
}

const char *assent_http_caller(const struct assent_http_request *request)
{
        return request->caller;
}

struct lines {
        const char *name;
        void (*line)(void *context, struct assent_bytes value);
        void *context;
};

static enum MHD_Result each_field(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
        const struct lines *lines = context;
        (void)kind;
        if (strcasecmp(name, lines->name) == 0)
                lines->line(lines->context, (struct assent_bytes){.data = value, .size = strlen(value)});
        return MHD_YES;
}

void assent_request_lines(const struct assent_http_request *request, const char *name,
                          void (*line)(void *context, struct assent_bytes value), void *context)
{
        struct lines lines = {.name = name, .line = line, .context = context};
        MHD_get_connection_values(request->connection, MHD_HEADER_KIND, each_field, &lines);
}

static void prefer_line(void *context, struct assent_bytes line)
{
        assent_prefer_add(context, line);
}

int64_t assent_http_wait_ms(const struct assent_http_request *request, int64_t usual_ms, int64_t max_ms)
{
        struct assent_prefer prefer = {.wait_s = -1};
        assent_request_lines(request, "Prefer", prefer_line, &prefer);
        if (prefer.wait_s < 0)
                return prefer.respond_async ? 0 : usual_ms;
        return prefer.wait_s * 1000 < max_ms ? prefer.wait_s * 1000 : max_ms;
}

/* ---- the body as JSON ---- */

static bool is_json(const struct assent_http_request *request, bool patch)
{
        const char *type = assent_http_header(request, "Content-Type"),
                   *coding = assent_http_header(request, "Content-Encoding");
        if (!type || (coding && strcasecmp(coding, "identity") != 0))
                return false;
        struct assent_bytes media = assent_media_type(type);
        return assent_same_word(media, "application/json") ||
               (patch && assent_same_word(media, "application/merge-patch+json"));
}

struct json_t *assent_http_json(struct assent_http_request *request, bool patch)
{
        if (!is_json(request, patch)) {
                assent_http_set(request, patch ? "Accept-Patch" : "Accept", "application/json%s",
                                patch ? ", application/merge-patch+json" : "");
                assent_http_problem(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type",
                                    "The body must be JSON, not compressed; say so: Content-Type: application/json%s.",
                                    patch ? " or application/merge-patch+json" : "");
                return NULL;
        }
        json_error_t error;
        struct assent_bytes body = assent_http_body(request);
        json_t *object = json_loadb(body.data, body.size, JSON_REJECT_DUPLICATES, &error);
        if (object && json_is_object(object))
                return object;
        if (object) {
                json_decref(object);
                assent_http_problem(request, MHD_HTTP_BAD_REQUEST, "malformed-json",
                                    "The body is JSON, but no object; send one.");
                return NULL;
        }
        char text[2 * sizeof error.text];
        assent_escape_text(error.text, strlen(error.text), text, sizeof text);
        assent_http_problem(request, MHD_HTTP_BAD_REQUEST, "malformed-json",
                            "The body is no JSON object in UTF-8 without duplicate names: line %d, column %d: %s. Correct it.",
                            error.line, error.column, text);
        return NULL;
}
