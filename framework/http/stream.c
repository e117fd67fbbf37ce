/* stream.c: event streams. Their reader runs on the worker; when it has nothing it suspends the connection, and is resumed by a
 * wake or, to say that it is still there and to learn whether the client is, by the keeper. */
#include "http/exchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <assent/log.h>

#include "base/clock.h"
#include "base/panic.h"

#define CHUNK_SIZE 8192
#define SEND_BYTES 65536 /* in the kernel; what a reader does not take waits where the events come from */

/* It outlives its request by a moment: libmicrohttpd lets go of an answer after the request has ended. */
struct assent_stream {
        struct assent_http *http;
        struct assent_http_worker *worker;
        struct MHD_Connection *connection;
        int fd;
        struct assent_http_stream app;
        LIST_ENTRY(assent_stream) link; /* these three under http->lock */
        bool parked;                    /* suspended */
        bool woken;                     /* since `next` was asked */
        bool behind;                    /* its reader, too far: it has been told */
        _Atomic int64_t spoke_ms;
        size_t at, size; /* of the chunk */
        char chunk[CHUNK_SIZE];
};

/* With http->lock. */
static void wake(struct assent_stream *stream)
{
        stream->woken = true;
        if (!stream->parked)
                return;
        stream->parked = false;
        assent_worker_resume(stream->worker, stream->connection);
}

void assent_http_wake(struct assent_http *http)
{
        struct assent_stream *stream;
        pthread_mutex_lock(&http->lock);
        LIST_FOREACH (stream, &http->streams, link)
                wake(stream);
        pthread_mutex_unlock(&http->lock);
}

static bool silent(const struct assent_stream *stream, int64_t now_ms)
{
        return now_ms - atomic_load(&stream->spoke_ms) >= (int64_t)stream->http->options.heartbeat_ms;
}

void assent_streams_beat(struct assent_http *http, int64_t now_ms)
{
        struct assent_stream *stream;
        LIST_FOREACH (stream, &http->streams, link)
                if (silent(stream, now_ms))
                        wake(stream);
}

/* Whoever reads a stream has nothing more to say: what comes is its end. */
static bool client_gone(const struct assent_stream *stream)
{
        char byte;
        return recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* True when the stream is suspended now; false when it was woken meanwhile. */
static bool park(struct assent_stream *stream)
{
        struct assent_http *http = stream->http;
        pthread_mutex_lock(&http->lock);
        stream->parked = !stream->woken && !atomic_load(&http->closing);
        stream->woken = false;
        bool parked = stream->parked;
        if (parked)
                MHD_suspend_connection(stream->connection);
        pthread_mutex_unlock(&http->lock);
        return parked;
}

/* A reader that is slower than the events are cannot be served for ever: it is told, and comes back when it can. */
static ssize_t tell_behind(struct assent_stream *stream, uint64_t waiting)
{
        uint64_t most = stream->http->options.backlog_max;
        stream->behind = true;
        assent_log(ASSENT_LOG_WARN, "an event stream ends: its reader is too slow; it may come back with Last-Event-ID",
                   ASSENT_INT("waiting", (int64_t)waiting), ASSENT_INT("most", (int64_t)most));
        return snprintf(stream->chunk, sizeof stream->chunk,
                        "event: behind\ndata: {\"waiting\":%" PRIu64 ",\"most\":%" PRIu64 "}\n\n", waiting, most);
}

/* What comes next: its size, 0 when the stream is suspended, or how it ends. */
static ssize_t fill(struct assent_stream *stream)
{
        static const char heartbeat[] = ":\n\n";
        for (;;) {
                if (atomic_load(&stream->http->closing) || stream->behind)
                        return MHD_CONTENT_READER_END_OF_STREAM;
                uint64_t waiting = stream->app.backlog ? stream->app.backlog(stream->app.context) : 0;
                if (waiting > stream->http->options.backlog_max)
                        return tell_behind(stream, waiting);
                int64_t size = stream->app.next(stream->app.context, stream->chunk, sizeof stream->chunk);
                ASSENT_ASSERT(size <= (int64_t)sizeof stream->chunk);
                if (size < 0)
                        return MHD_CONTENT_READER_END_OF_STREAM;
                if (size == 0 && silent(stream, assent_clock_ms())) {
                        if (client_gone(stream))
                                return MHD_CONTENT_READER_END_WITH_ERROR;
                        size = sizeof heartbeat - 1;
                        memcpy(stream->chunk, heartbeat, (size_t)size);
                }
                if (size > 0) {
                        atomic_store(&stream->spoke_ms, assent_clock_ms());
                        return (ssize_t)size;
                }
                if (park(stream))
                        return 0;
        }
}

static ssize_t reader(void *context, uint64_t position, char *out, size_t out_size)
{
        struct assent_stream *stream = context;
        (void)position;
        if (stream->at == stream->size) {
                ssize_t size = fill(stream);
                if (size <= 0)
                        return size;
                stream->at = 0;
                stream->size = (size_t)size;
        }
        size_t size = stream->size - stream->at < out_size ? stream->size - stream->at : out_size;
        memcpy(out, stream->chunk + stream->at, size);
        stream->at += size;
        return (ssize_t)size;
}

static void closed(const struct assent_http_stream *app)
{
        if (app->closed)
                app->closed(app->context);
}

static void reader_gone(void *context)
{
        struct assent_stream *stream = context;
        pthread_mutex_lock(&stream->http->lock);
        LIST_REMOVE(stream, link);
        stream->http->streams_count--;
        pthread_mutex_unlock(&stream->http->lock);
        closed(&stream->app);
        free(stream);
}

/* False when there are as many as there may be. */
static bool enter(struct assent_http *http, struct assent_stream *stream)
{
        pthread_mutex_lock(&http->lock);
        bool room = http->streams_count < http->options.streams_max;
        if (room) {
                http->streams_count++;
                LIST_INSERT_HEAD(&http->streams, stream, link);
        }
        pthread_mutex_unlock(&http->lock);
        return room;
}

static struct assent_stream *stream_new(const struct assent_http_request *request, const struct assent_http_stream *app)
{
        int send_bytes = SEND_BYTES;
        struct assent_stream *stream = calloc(1, sizeof *stream);
        if (!stream)
                return NULL;
        stream->http = request->http;
        stream->worker = request->worker;
        stream->connection = request->connection;
        stream->fd = request->fd;
        stream->app = *app;
        atomic_store(&stream->spoke_ms, assent_clock_ms());
        setsockopt(stream->fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
        return stream;
}

void assent_http_stream(struct assent_http_request *request, const struct assent_http_stream *app)
{
        static const char type[] = "text/event-stream";
        if (!assent_answer_acceptable(request, type)) {
                closed(app);
                return;
        }
        assent_http_set(request, "Cache-Control", "no-store");
        if (strcmp(request->method, "HEAD") == 0) {
                assent_http_answer(request, MHD_HTTP_OK, type, (struct assent_bytes){0});
                closed(app);
                return;
        }
        struct assent_stream *stream = stream_new(request, app);
        if (stream && !enter(request->http, stream)) {
                free(stream);
                closed(app);
                assent_http_set(request, "Retry-After", "5");
                assent_http_problem(request, MHD_HTTP_SERVICE_UNAVAILABLE, "too-many-streams",
                                    "There are %u event streams, which is all that are served. Come back after 5 s.",
                                    request->http->options.streams_max);
                return;
        }
        struct MHD_Response *response =
            stream ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, CHUNK_SIZE, reader, stream, reader_gone) : NULL;
        if (response)
                assent_http_set(request, "Content-Type", "%s", type);
        else if (stream)
                reader_gone(stream);
        else
                closed(app);
        assent_answer_with(request, MHD_HTTP_OK, response);
}
