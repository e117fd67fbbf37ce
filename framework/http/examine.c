/* examine.c: whether a request is fit to be handled. What libmicrohttpd lets pass and a server behind a proxy must not
 * (two lengths, a length beside a coding, folded lines, NUL bytes: what makes two servers disagree about where a request
 * ends) is refused here, with the connection. */
#include "http/exchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/fields.h"

#define RETRY_AFTER_S 1

struct framing {
        const char *next; /* where the line before ends … */
        const char *end;  /* … and where all of them do */
        const char *length, *coding, *host, *authorization, *expect, *key;
        bool broken, twice;
};

/* ---- framing ---- */

static bool token_character(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Between two lines there are nothing but the NULs that libmicrohttpd has put over CR LF, and blanks that it may have cut off:
 * otherwise a NUL that the client sent has cut a value short. A folded line lies somewhere else. */
static bool adjoins(const struct framing *framing, const char *line)
{
        if (line < framing->next + 2 || line >= framing->end)
                return false;
        for (const char *at = framing->next; at < line; at++)
                if (*at != '\0' && *at != ' ' && *at != '\t')
                        return false;
        return true;
}

static void keep(struct framing *framing, const char **where, const char *value)
{
        framing->twice = framing->twice || *where;
        *where = value;
}

/* RFC 9112 section 5: blanks behind a value are no part of it, but libmicrohttpd 0.9 leaves them there. The text is its own
 * buffer, and nobody else reads it now. */
static void cut_blanks(const char *value, const char *end)
{
        while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
                *(char *)(uintptr_t)--end = '\0';
}

static enum MHD_Result frame_field(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
        struct framing *framing = context;
        const char *at = name;
        (void)kind;
        while (token_character(*at))
                at++;
        framing->broken = framing->broken || at == name || *at || !adjoins(framing, name);
        for (at = value; *at; at++)
                framing->broken = framing->broken || ((unsigned char)*at < 0x20 && *at != '\t') || *at == 0x7f;
        framing->next = at;
        if (strcasecmp(name, "Transfer-Encoding") == 0) {
                keep(framing, &framing->coding, value);
                framing->broken = framing->broken || strcasecmp(value, "chunked") != 0; /* as libmicrohttpd compares it */
        }
        cut_blanks(value, at);
        if (strcasecmp(name, "Content-Length") == 0)
                keep(framing, &framing->length, value);
        else if (strcasecmp(name, "Host") == 0)
                keep(framing, &framing->host, value);
        else if (strcasecmp(name, "Authorization") == 0)
                keep(framing, &framing->authorization, value);
        else if (strcasecmp(name, "Expect") == 0)
                keep(framing, &framing->expect, value);
        else if (strcasecmp(name, "Idempotency-Key") == 0) /* two may be understood as either, or as one list */
                keep(framing, &framing->key, value);
        return MHD_YES;
}

/* True: where this request ends can be read in two ways, so nothing more is read from here. */
static bool framing_refused(struct assent_http_request *request, struct framing *framing, const char *method,
                            const char *version)
{
        const union MHD_ConnectionInfo *size =
            MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
        size_t header_size = size ? size->header_size : 0;
        framing->next = version + strlen(version);
        framing->end = method + header_size;
        framing->broken =
            request->target != method + strlen(method) + 1 || version != request->target + request->target_size + 1;
        if (request->target_fault) /* no problem can quote it: it may be no UTF-8 */
                request->target = "";
        MHD_get_connection_values(request->connection, MHD_HEADER_KIND, frame_field, framing);
        bool http10 = strcmp(version, "HTTP/1.0") == 0;
        if (header_size > request->http->options.header_bytes_max) {
                assent_http_problem(request, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large",
                                    "Request line and header fields have %zu bytes; at most %zu are taken.", header_size,
                                    request->http->options.header_bytes_max);
        } else if (framing->broken || framing->twice || !adjoins(framing, framing->end - 2) ||
                   (framing->coding && framing->length) || (framing->coding && http10)) {
                assent_http_problem(request, MHD_HTTP_BAD_REQUEST, "malformed-request",
                                    "The header fields are malformed, or one stands there twice that may stand once; send them "
                                    "as RFC 9112 has them.");
        } else if (framing->host
                       ? assent_host_kind((struct assent_bytes){framing->host, strlen(framing->host)}) == ASSENT_HOST_MALFORMED
                       : !http10) {
                assent_http_problem(request, MHD_HTTP_BAD_REQUEST, "malformed-request",
                                    "Send one Host field that names a host.");
        } else {
                return false;
        }
        return true;
}

/* ---- what it is for ---- */

/* Leaves the path in request->target. RFC 9112 section 3.2.2: a server takes the absolute form as well, and its host counts. */
static bool target_refused(struct assent_http_request *request, const char *path, struct framing *framing)
{
        struct assent_bytes host = {.data = framing->host, .size = framing->host ? strlen(framing->host) : 0};
        bool sound = !request->target_fault;
        size_t scheme = strncasecmp(path, "http://", 7) == 0 ? 7 : strncasecmp(path, "https://", 8) == 0 ? 8 : 0;
        if (scheme) {
                host = (struct assent_bytes){.data = path + scheme, .size = strcspn(path + scheme, "/")};
                path += scheme + host.size;
                sound = sound && assent_host_kind(host) != ASSENT_HOST_MALFORMED;
        }
        request->target = scheme && !*path ? "/" : path;
        sound = sound && request->target[0] == '/';
        if (sound && strchr(path, '%')) {
                size_t size = strlen(path) + 1;
                request->decoded = malloc(size);
                sound = request->decoded &&
                        assent_percent_decode((struct assent_bytes){.data = path, .size = size - 1}, request->decoded, size);
        }
        if (!sound) {
                request->target = "";
                assent_http_problem(request, MHD_HTTP_BAD_REQUEST, "malformed-path",
                                    "The path or the query is not well-formed: it begins with a slash, is percent-encoded "
                                    "UTF-8, and has no control characters.");
        } else if (request->http->loopback && host.data && assent_host_kind(host) == ASSENT_HOST_NAMED) {
                assent_http_problem(request, MHD_HTTP_MISDIRECTED_REQUEST, "misdirected-request",
                                    "This server listens on this machine alone and answers to localhost or an address, not to "
                                    "other names.");
        } else {
                return false;
        }
        return true;
}

static bool caller_refused(struct assent_http_request *request, const char *authorization)
{
        const struct assent_tokens *tokens = request->http->tokens;
        const char *name = tokens && authorization ? assent_tokens_name(tokens, assent_bearer(authorization)) : NULL;
        request->caller = name ? name : "anonymous";
        if (!tokens || name || (request->route && request->route->open))
                return false;
        assent_http_set(request, "WWW-Authenticate", "Bearer%s", authorization ? " error=\"invalid_token\"" : "");
        assent_http_problem(request, MHD_HTTP_UNAUTHORIZED, "unauthorized",
                            "Send a token of this server's token file: Authorization: Bearer TOKEN.");
        return true;
}

static bool route_refused(struct assent_http_request *request, bool known)
{
        char allow[64];
        if (request->route)
                return false;
        if (!known) {
                assent_http_problem(request, MHD_HTTP_NOT_FOUND, "not-found", "There is nothing at this path.");
                return true;
        }
        assent_route_allow(request->http->options.routes, request->target, allow, sizeof allow);
        assent_http_set(request, "Allow", "%s", allow);
        assent_http_problem(request, MHD_HTTP_METHOD_NOT_ALLOWED, "method-not-allowed", "%s is not served here, but %s.",
                            request->method, allow);
        return true;
}

static bool use_refused(struct assent_http_request *request, const char *method, const struct framing *framing)
{
        bool known = false;
        if (atomic_load(&request->http->draining)) {
                assent_http_set(request, "Retry-After", "%d", RETRY_AFTER_S);
                assent_http_set(request, "Connection", "close");
                assent_http_problem(request, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting-down",
                                    "This server is going out of service; try again, on a new connection.");
                return true;
        }
        if (!request->method[0]) {
                assent_http_problem(request, MHD_HTTP_NOT_IMPLEMENTED, "unknown-method",
                                    "No method of this name is known here.");
                return true;
        }
        request->route = assent_route_find(request->http->options.routes, method, request->target, request->params, &known);
        return caller_refused(request, framing->authorization) || route_refused(request, known) ||
               (!assent_request_safe(request) && !assent_answer_acceptable(request, "application/json"));
}

/* ---- what is to come ---- */

/* True: more is announced than is taken. */
static bool length_refused(struct assent_http_request *request, const struct framing *framing)
{
        size_t body_bytes_max = request->http->options.body_bytes_max;
        if (!framing->length || strtoull(framing->length, NULL, 10) <= body_bytes_max) /* too many digits have been refused */
                return false;
        assent_http_problem(request, MHD_HTTP_CONTENT_TOO_LARGE, "body-too-large",
                            "The body is announced with %s bytes; at most %zu are taken.", framing->length, body_bytes_max);
        return true;
}

static bool expectation_refused(struct assent_http_request *request, const struct framing *framing)
{
        if (!framing->expect || strcasecmp(framing->expect, "100-continue") == 0)
                return false;
        assent_http_problem(request, MHD_HTTP_EXPECTATION_FAILED, "expectation-failed",
                            "The only expectation that is met here is 100-continue.");
        return true;
}

bool assent_examine(struct assent_http_request *request, const char *path, const char *method, const char *version)
{
        struct framing framing = {0};
        const char *known = assent_method_known(method);
        request->method = known ? known : "";
        if (framing_refused(request, &framing, method, version))
                return true;
        if (target_refused(request, path, &framing) || use_refused(request, method, &framing) ||
            expectation_refused(request, &framing))
                return framing.expect; /* whoever asked first is not left waiting; otherwise the body is passed over */
        return length_refused(request, &framing);
}
