/* keeper.c: the server's own thread: it closes connections whose requests do not arrive in time (libmicrohttpd's timeout starts
 * anew with every byte), and lets silent streams say something. */
#include "http/exchange.h"

#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"

#define TICK_MS_MAX 250

/* With http->lock, so that the socket is not closed meanwhile. The worker sees its end and cleans up. */
static void cut_off(struct assent_http_request *request)
{
        const struct assent_http_options *options = &request->http->options;
        const struct assent_http_seen seen = {
            .method = "", .route = "", .status = MHD_HTTP_REQUEST_TIMEOUT, .took_us = (int64_t)options->timeout_ms * 1000};
        static const char timed_out[] = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        int stage = ASSENT_STAGE_ARRIVING;
        if (atomic_compare_exchange_strong(&request->stage, &stage, ASSENT_STAGE_CUT)) {
                if (options->observed)
                        options->observed(options->app, &seen);
                (void)!send(request->fd, timed_out, sizeof timed_out - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        if (stage == ASSENT_STAGE_ARRIVING || stage == ASSENT_STAGE_QUIET)
                shutdown(request->fd, SHUT_RDWR);
}

static void look_after(struct assent_http *http)
{
        struct assent_http_request *request;
        int64_t now_ms = assent_clock_ms();
        pthread_mutex_lock(&http->lock);
        LIST_FOREACH (request, &http->connections, link)
                if (now_ms >= atomic_load(&request->due_ms))
                        cut_off(request);
        assent_streams_beat(http, now_ms);
        pthread_mutex_unlock(&http->lock);
}

void *assent_keeper_run(void *context)
{
        struct assent_http *http = context;
        uint32_t least_ms =
            http->options.timeout_ms < http->options.heartbeat_ms ? http->options.timeout_ms : http->options.heartbeat_ms;
        int tick_ms = least_ms / 4 > TICK_MS_MAX ? TICK_MS_MAX : (int)(least_ms / 4) + 1;
        struct pollfd end = {.fd = http->keeper_fd, .events = POLLIN};
        while (!atomic_load(&http->ends)) {
                look_after(http);
                poll(&end, 1, tick_ms);
        }
        return NULL;
}
