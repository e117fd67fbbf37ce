/* events.c: GET /v1/events: every version of every order, as server-sent events out of a table that keeps the newest. */
#include "api.h"

#include <errno.h>

struct stream {
        struct api *api;
        int64_t last; /* the number of the event that was sent last */
        int64_t began_at, newest; /* the newest one when the stream began, and as was seen last */
        char *text;   /* owned: what is being sent */
        size_t at, size;
};

__attribute__((format(printf, 2, 3))) static bool say(struct stream *stream, const char *format, ...)
{
        va_list arguments;

        free(stream->text);
        va_start(arguments, format);
        int size = vasprintf(&stream->text, format, arguments);
        va_end(arguments);
        stream->at = 0;
        stream->size = size < 0 ? 0 : (size_t)size;
        if (size < 0)
                stream->text = NULL;
        return size >= 0;
}

/* Events that the client has not seen are gone: what it knows of orders may be old. The stream goes on after `number`. */
static bool say_reset(struct stream *stream, int64_t number)
{
        stream->last = number;
        return say(stream, "event: reset\nid: %" PRId64 "\ndata: {\"after\":%" PRId64 "}\n\n", number, number);
}

/* False when the stream must end. */
static bool take_next(struct stream *stream)
{
        struct read *read = read_take(stream->api->reads);
        struct read_event event;
        int64_t oldest;
        enum assent_err err = read_event_range(read, &oldest, &stream->newest);
        if (err == ASSENT_OK)
                err = read_event(read, stream->last, &event);
        bool good = err == ASSENT_E_NOT_FOUND;

        if (err == ASSENT_OK && event.number > stream->last + 1) {
                good = say_reset(stream, event.number - 1);
        } else if (err == ASSENT_OK) {
                stream->last = event.number;
                good = say(stream, "id: %" PRId64 "\nevent: %s\ndata: %s\n\n", event.number, event.type, event.data);
        }
        read_event_done(read);
        read_give(stream->api->reads, read);
        return good;
}

static int64_t next(void *context, char *buffer, size_t size)
{
        struct stream *stream = context;

        if (stream->at == stream->size && !take_next(stream))
                return -1;
        size_t part = stream->size - stream->at < size ? stream->size - stream->at : size;
        if (part > 0)
                memcpy(buffer, stream->text + stream->at, part);
        stream->at += part;
        return (int64_t)part;
}

/* What was there before it began is not held against it: it came back with an id so as to read that. */
static uint64_t backlog(void *context)
{
        const struct stream *stream = context;
        int64_t from = stream->last > stream->began_at ? stream->last : stream->began_at;
        return stream->at == stream->size && stream->newest > from ? (uint64_t)(stream->newest - from) : 0;
}

static void closed(void *context)
{
        struct stream *stream = context;
        free(stream->text);
        free(stream);
}

/* -1: none was given; -2: it is no number. */
static int64_t last_event_id(const struct assent_http_request *request)
{
        const char *text = assent_http_header(request, "Last-Event-ID");
        char *end;

        if (!text)
                text = assent_http_query(request, "last_event_id");
        if (!text)
                return -1;
        errno = 0;
        long long number = strtoll(text, &end, 10);
        return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 ? (int64_t)number : -2;
}

void events_get(void *app, struct assent_http_request *request)
{
        struct api *api = app;
        const int64_t asked = last_event_id(request);
        int64_t oldest, newest;

        if (asked == -2) {
                assent_http_problem(request, 400, "last-event-id-invalid",
                                    "Last-Event-ID (or last_event_id) is the id of an event of this stream, a whole number. "
                                    "Leave it out to begin with what comes next.");
                return;
        }
        struct read *read = read_take(api->reads);
        enum assent_err err = read_event_range(read, &oldest, &newest);
        read_give(api->reads, read);
        struct stream *stream = err == ASSENT_OK ? calloc(1, sizeof *stream) : NULL;
        bool good = false;
        if (stream) {
                stream->api = api;
                stream->last = asked == -1 ? newest : asked;
                stream->began_at = stream->newest = newest;
                good = asked > newest ? say_reset(stream, newest) : say(stream, "retry: 2000\n\n");
        }
        if (!good) {
                api_unavailable(request, err == ASSENT_OK ? ASSENT_E_MEMORY : err);
                if (stream)
                        closed(stream);
                return;
        }
        assent_http_stream(request, &(struct assent_http_stream){
                                        .next = next, .closed = closed, .context = stream, .backlog = backlog});
}
