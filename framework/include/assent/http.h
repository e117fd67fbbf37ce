/* http.h: a small HTTP/1.1 server for services: routes, limits, problem details (RFC 9457), preconditions in the order of
 * RFC 9110 section 13.2.2, answers that are given later, event streams. TLS and HTTP/2 belong to the proxy in front.
 *
 * A handler runs on one of the server's threads and either answers before it returns or calls assent_http_defer. Every
 * request gets exactly one answer; a second one is our caller's bug and ends the process. */
#ifndef ASSENT_HTTP_H
#define ASSENT_HTTP_H

#include <assent/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ASSENT_HTTP_PARAM_SIZE_MAX 128 /* bytes of a path parameter, decoded */
#define ASSENT_HTTP_NAME_SIZE_MAX  64  /* bytes of a caller's name */

struct json_t; /* of jansson */
struct assent_http;
/* One request. Valid until it is answered; the texts it lends as well. */
struct assent_http_request;

struct assent_http_route {
        const char *method; /* a GET serves HEAD as well */
        const char *path;   /* "/v1/orders/{id}": a segment in braces takes any one segment of 1 … 128 bytes */
        void (*handle)(void *app, struct assent_http_request *request);
        bool open;          /* needs no token */
};

/* What became of a request, for metrics. `route` is the route's path, or "" when none fitted. Method and route are "" with
 * status 408, for a request that did not arrive in time, and with 0, for a connection closed at once beyond connections_max. */
struct assent_http_seen {
        const char *method, *route;
        unsigned status;
        int64_t took_us;
};

struct assent_http_options {
        size_t struct_size;
        const char *listen; /* "127.0.0.1:8080", "[::1]:8080"; port 0: any free one. Beyond loopback only with a token_file */
        const struct assent_http_route *routes; /* ended by a NULL method; borrowed until close */
        void *app;                              /* handed to every handler */
        /* At most 256 lines "NAME TOKEN", a token having 16 … 255 characters; readable by its owner alone. Requests must then
         * bring `Authorization: Bearer TOKEN`, and their caller is NAME. NULL: no tokens, every caller is "anonymous". */
        const char *token_file;
        unsigned threads;        /* 1 … 16 */
        unsigned connections_max; /* beyond: closed at once */
        size_t header_bytes_max; /* of request line and headers; beyond: 431 */
        size_t body_bytes_max;   /* beyond: 413 */
        uint32_t timeout_ms;     /* for a request to arrive whole, and between two; slower clients are closed */
        uint32_t heartbeat_ms;   /* between comments in a silent event stream */
        unsigned streams_max;    /* event streams at once; beyond: 503 */
        uint64_t backlog_max;    /* events that may wait for the reader of a stream; beyond: its stream ends */
        void (*observed)(void *app, const struct assent_http_seen *seen); /* on any of its threads; may be NULL */
};
#define ASSENT_HTTP_OPTIONS_INIT \
        {.struct_size = sizeof(struct assent_http_options), .listen = "127.0.0.1:0", .threads = 2, .connections_max = 2000, \
         .header_bytes_max = 8192, .body_bytes_max = 65536, .timeout_ms = 10000, .heartbeat_ms = 15000, \
         .streams_max = 1000, .backlog_max = 10000}

/* Listens and serves from threads of its own.
 * Ownership: *out is set even when the call fails (then only errmsg and close), unless memory ran out.
 * Returns ASSENT_OK, ASSENT_E_ARGUMENT, ASSENT_E_CONFIG (the address, the token file), ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_http_open(const struct assent_http_options *options, struct assent_http **out);
/* The port it listens on. */
ASSENT_API uint16_t assent_http_port(const struct assent_http *http);
ASSENT_API const char *assent_http_errmsg(const struct assent_http *http);
/* Accepts no new connection and answers what comes on old ones with 503, so that deferred requests can still be answered. */
ASSENT_API void assent_http_drain(struct assent_http *http);
/* Ends streams, answers 503 to whatever is still deferred, closes all connections. NULL is fine; right also after a failed
 * open. Blocks: until the last answers are sent, at most 2 seconds. Thread: none may be answering. */
ASSENT_API void assent_http_close(struct assent_http *http);

/* ---- what was asked; every text is NUL-terminated and without NUL inside ---- */

ASSENT_API const char *assent_http_method(const struct assent_http_request *request);
ASSENT_API const char *assent_http_path(const struct assent_http_request *request); /* decoded, without the query */
/* What stood in place of {name}, decoded; asserts that the route has it. */
ASSENT_API const char *assent_http_param(const struct assent_http_request *request, const char *name);
/* The first query argument, or header field, of that name; NULL when there is none. */
ASSENT_API const char *assent_http_query(const struct assent_http_request *request, const char *name);
ASSENT_API const char *assent_http_header(const struct assent_http_request *request, const char *name);
ASSENT_API struct assent_bytes assent_http_body(const struct assent_http_request *request);
/* Who asks: the token's name, or "anonymous". */
ASSENT_API const char *assent_http_caller(const struct assent_http_request *request);
/* The body as a JSON object: UTF-8, no duplicate names, of type application/json (or application/merge-patch+json where
 * `patch`). NULL when it is none; then the request has been answered (400 or 415).
 * Ownership: the caller's, json_decref. */
ASSENT_API struct json_t *assent_http_json(struct assent_http_request *request, bool patch);
/* `Prefer: wait=n` (RFC 7240) in milliseconds, at most max_ms; 0 for `respond-async`; otherwise usual_ms. */
ASSENT_API int64_t assent_http_wait_ms(const struct assent_http_request *request, int64_t usual_ms, int64_t max_ms);

/* ---- answering; from any thread, once ---- */

/* The handler returns without an answer; it comes later. If the client has gone away by then it is dropped. */
ASSENT_API void assent_http_defer(struct assent_http_request *request);
/* Sets a header field of the answer to come. Values are ours: printable, at most 1,000 bytes, and 3,000 of all fields. */
ASSENT_API void assent_http_set(struct assent_http_request *request, const char *name, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* Answers. `body` is copied; HEAD and 204 send none, and 304 is never asked for: see assent_http_preconditions.
 * `content_type` may be NULL when there is no body. */
ASSENT_API void assent_http_answer(struct assent_http_request *request, unsigned status, const char *content_type,
                                   struct assent_bytes body);
/* Answers with compact application/json. Ownership: takes `body`. */
ASSENT_API void assent_http_answer_json(struct assent_http_request *request, unsigned status, struct json_t *body);
/* Adds a member to the problem to come (RFC 9457 section 3.2). Ownership: takes `value`. */
ASSENT_API void assent_http_problem_member(struct assent_http_request *request, const char *name, struct json_t *value);
/* Answers with application/problem+json: type "/problems/<type>", the title that belongs to the status, and a detail that
 * says what, where, and what to do. */
ASSENT_API void assent_http_problem(struct assent_http_request *request, unsigned status, const char *type,
                                    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Judges If-Match, If-None-Match in the order of RFC 9110 section 13.2.2 against the current entity tag, given without its
 * quotes (NULL: there is no such resource now); dates are not looked at, since entity tags stand for every resource here.
 * True: go on, also when GET or HEAD will get a 304: the success that the handler then answers with, by assent_http_answer or
 * assent_http_answer_json, becomes one, with its Content-Length, the ETag and what assent_http_set has set, and without its
 * body. False: answered with 412, or 400 for a field that is not well-formed. */
ASSENT_API bool assent_http_preconditions(struct assent_http_request *request, const char *etag);
/* For changes that must name the version they change: true when there is an If-Match, otherwise answered with 428. */
ASSENT_API bool assent_http_if_match_given(struct assent_http_request *request);

/* ---- event streams (text/event-stream) ---- */

struct assent_http_stream {
        /* Writes what comes next, whole events as they go over the wire, at most `size` (8,192) bytes. Returns their size,
         * 0 when there is nothing now (asked again after assent_http_wake), -1 to end the stream. On a server thread. */
        int64_t (*next)(void *context, char *buffer, size_t size);
        void (*closed)(void *context); /* the last call */
        void *context;
        /* So many events wait for this reader; 0 within an event. Asked before `next`; may be NULL. When there are more than
         * backlog_max, the stream ends with an event "behind" that says so, and the reader may come back with Last-Event-ID. */
        uint64_t (*backlog)(void *context);
};
/* Answers with a stream, or with 503 and Retry-After when there are streams_max; comments go out while it is silent. A reader
 * that takes nothing for timeout_ms is closed. */
ASSENT_API void assent_http_stream(struct assent_http_request *request, const struct assent_http_stream *stream);
/* All streams are asked for more. Thread: any. */
ASSENT_API void assent_http_wake(struct assent_http *http);

#ifdef __cplusplus
}
#endif
#endif
