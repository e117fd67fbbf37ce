/* exchange.h: what the files of the server share: the server, its connections, and the exchange that each is busy with.
 *
 * A connection belongs to one thread (a "worker") with a daemon of libmicrohttpd, which alone calls receive.c for it.
 * Other threads touch it in three ways: they answer a deferred request (answer.c), the keeper cuts off a client that is too
 * slow (keeper.c), and streams are woken (stream.c). What they share with the worker is atomic or under http->lock. */
#ifndef ASSENT_HTTP_EXCHANGE_H
#define ASSENT_HTTP_EXCHANGE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/buffer.h"
#include "http/route.h"
#include "http/tokens.h"

#define ASSENT_HTTP_THREADS_MAX     16
#define ASSENT_HTTP_FIELDS_SIZE_MAX 3200 /* of what assent_http_set has set, names included */
#define ASSENT_HTTP_VALUE_SIZE_MAX  1000

struct assent_stream;

/* A request's life. It is cut off only while it arrives, and answered once. */
enum assent_stage {
        ASSENT_STAGE_QUIET,    /* between requests */
        ASSENT_STAGE_ARRIVING, /* its first line is there */
        ASSENT_STAGE_TAKEN,    /* it is whole, and its handler runs */
        ASSENT_STAGE_DEFERRED, /* suspended until somebody answers */
        ASSENT_STAGE_ANSWERED,
        ASSENT_STAGE_CUT,      /* the client was too slow: the keeper has closed its half */
};

struct assent_http_worker {
        struct assent_http *http;
        struct MHD_Daemon *daemon;
        pthread_t thread;
        int wake_fd;          /* an eventfd */
        int64_t accepts_ms;   /* not before: there was no descriptor left */
        atomic_bool handling; /* inside a handler of the application's */
};

/* A connection, and the request on it. */
struct assent_http_request {
        struct assent_http *http;
        struct assent_http_worker *worker;
        struct MHD_Connection *connection;
        int fd;
        LIST_ENTRY(assent_http_request) link; /* under http->lock */
        atomic_int stage;
        _Atomic int64_t due_ms; /* monotonic: quiet or arriving for longer than that is too long */

        /* From here on: one exchange, cleared before each. */
        bool begun;             /* its headers have been looked at */
        bool refused;           /* answered before it is whole */
        bool deferred;
        bool not_modified;      /* its preconditions make a 304 of the answer, if that is a success */
        bool too_large;         /* the body; what still comes is passed over, to a limit */
        bool target_fault;      /* path or query cannot be decoded, or hold bytes that must be encoded */
        const char *method;     /* as known to us, else "" */
        const char *target;     /* the path as it came, without the query; in libmicrohttpd's memory */
        size_t target_size;     /* of all of it, query included */
        char *decoded;          /* the path, when it had escapes in it */
        const struct assent_http_route *route;
        const char *caller;
        int64_t began_us;
        size_t passed_over;
        struct assent_buffer body;
        struct json_t *members; /* of the problem to come */
        unsigned status;
        struct MHD_Response *response; /* until it is queued */
        size_t fields_size;
        char fields[ASSENT_HTTP_FIELDS_SIZE_MAX]; /* name NUL value NUL … */
        struct assent_param params[ASSENT_ROUTE_PARAMS_MAX]; /* what follows is not cleared */
};

struct assent_http {
        struct assent_http_options options;
        struct assent_tokens *tokens;
        bool loopback;
        int listen_fd;
        uint16_t port;
        struct assent_http_worker workers[ASSENT_HTTP_THREADS_MAX];
        unsigned workers_count;
        pthread_t keeper;
        bool keeper_runs;
        int keeper_fd; /* an eventfd, written when it must end */
        atomic_bool draining, closing, ends;
        pthread_mutex_t lock;
        LIST_HEAD(, assent_http_request) connections; /* these four under the lock */
        LIST_HEAD(, assent_stream) streams;
        unsigned connections_count, streams_count;
        char errmsg[512];
};

/* ---- answer.c ---- */

/* Hands the answer made so far, if any, to libmicrohttpd. On the worker. */
enum MHD_Result assent_answer_queue(struct assent_http_request *request);
/* A response with this body is the answer; `response` NULL: there is no memory, and the connection will be closed. */
void assent_answer_with(struct assent_http_request *request, unsigned status, struct MHD_Response *response);
/* The same with a text of malloc's, which is taken; NULL: no memory. */
void assent_answer_text(struct assent_http_request *request, unsigned status, const char *content_type, char *text);
/* False when the Accept field leaves the type out; then it has been answered with 406. */
bool assent_answer_acceptable(struct assent_http_request *request, const char *content_type);

/* ---- request.c ---- */

/* Every field line of that name, in their order. */
void assent_request_lines(const struct assent_http_request *request, const char *name,
                          void (*line)(void *context, struct assent_bytes value), void *context);
bool assent_request_safe(const struct assent_http_request *request); /* GET or HEAD */

/* ---- receive.c: libmicrohttpd's calls ---- */

void *assent_receive_target(void *worker, const char *target, struct MHD_Connection *connection);
size_t assent_receive_unescape(void *worker, struct MHD_Connection *connection, char *text);
enum MHD_Result assent_receive(void *worker, struct MHD_Connection *connection, const char *path, const char *method,
                               const char *version, const char *bytes, size_t *bytes_size, void **state);
void assent_receive_completed(void *worker, struct MHD_Connection *connection, void **state,
                              enum MHD_RequestTerminationCode why);

/* ---- examine.c: whether a request is fit to be handled ---- */

/* Looks at everything but the body. A request that is refused has its answer then. True: this cannot wait until the body
 * is there, or what follows on this connection cannot be trusted. */
bool assent_examine(struct assent_http_request *request, const char *path, const char *method, const char *version);

/* ---- worker.c ---- */

void assent_worker_notify(void *worker, struct MHD_Connection *connection, void **own,
                          enum MHD_ConnectionNotificationCode what);
void *assent_worker_run(void *worker);
/* Resumes a suspended connection. Thread: any; from then on what belongs to the connection may be gone. */
void assent_worker_resume(struct assent_http_worker *worker, struct MHD_Connection *connection);

/* ---- keeper.c: cuts off who is too slow ---- */

void *assent_keeper_run(void *http);

/* ---- stream.c ---- */

/* Streams that have been silent for too long say something. With http->lock. */
void assent_streams_beat(struct assent_http *http, int64_t now_ms);

#endif
