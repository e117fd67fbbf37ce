/* server.c: opening, draining and closing. */
#include "http/exchange.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <assent/log.h>

#include "base/clock.h"
#include "base/panic.h"

#define POOL_BYTES_BESIDE 16384 /* of a connection's memory, besides the header fields: their list, and the answer's */
#define CLOSE_MS_MAX      2000  /* for the last answers to be sent */

static enum assent_err fail(struct assent_http *http, enum assent_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static enum assent_err fail(struct assent_http *http, enum assent_err err, const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(http->errmsg, sizeof http->errmsg, format, arguments);
        va_end(arguments);
        return err;
}

const char *assent_http_errmsg(const struct assent_http *http)
{
        return http->errmsg;
}

uint16_t assent_http_port(const struct assent_http *http)
{
        return http->port;
}

/* ---- options ---- */

static enum assent_err check(struct assent_http *http)
{
        const struct assent_http_options *options = &http->options;
        if (!options->listen || !options->routes)
                return fail(http, ASSENT_E_ARGUMENT, "listen and routes must be given");
        if (options->threads < 1 || options->threads > ASSENT_HTTP_THREADS_MAX)
                return fail(http, ASSENT_E_ARGUMENT, "threads must be from 1 to %d", ASSENT_HTTP_THREADS_MAX);
        if (options->connections_max < 1 || options->connections_max > 100000)
                return fail(http, ASSENT_E_ARGUMENT, "connections_max must be from 1 to 100000");
        if (options->streams_max < 1 || options->streams_max > 100000)
                return fail(http, ASSENT_E_ARGUMENT, "streams_max must be from 1 to 100000");
        if (options->header_bytes_max < 256 || options->header_bytes_max > 65536)
                return fail(http, ASSENT_E_ARGUMENT, "header_bytes_max must be from 256 to 65536");
        if (options->body_bytes_max > (size_t)1 << 30)
                return fail(http, ASSENT_E_ARGUMENT, "body_bytes_max must be at most 1 GiB");
        if (options->timeout_ms < 1 || options->timeout_ms > 3600000 || options->heartbeat_ms < 1 ||
            options->heartbeat_ms > 3600000)
                return fail(http, ASSENT_E_ARGUMENT, "timeout_ms and heartbeat_ms must be from 1 to 3600000");
        for (const struct assent_http_route *route = options->routes; route->method; route++) {
                const char *fault = assent_route_fault(route);
                if (fault)
                        return fail(http, ASSENT_E_ARGUMENT, "%s %s: %s", route->method, route->path ? route->path : "", fault);
        }
        return ASSENT_OK;
}

/* ---- the socket ---- */

static bool is_loopback(const struct sockaddr *address)
{
        if (address->sa_family == AF_INET)
                return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
        return address->sa_family == AF_INET6 &&
               IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

/* Splits "127.0.0.1:8080" and "[::1]:8080". */
static bool split(const char *listen, char *host, size_t host_size, const char **port)
{
        const char *colon = strrchr(listen, ':');
        size_t size = colon ? (size_t)(colon - listen) : 0;
        if (size >= 2 && listen[0] == '[' && listen[size - 1] == ']') {
                listen++;
                size -= 2;
        } else if (memchr(listen, ':', size)) {
                return false;
        }
        if (size == 0 || size >= host_size || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
            strtoul(colon + 1, NULL, 10) > UINT16_MAX)
                return false;
        memcpy(host, listen, size);
        host[size] = '\0';
        *port = colon + 1;
        return true;
}

static enum assent_err listen_at(struct assent_http *http, const struct addrinfo *address)
{
        const char *text = http->options.listen;
        struct sockaddr_storage bound;
        socklen_t bound_size = sizeof bound;
        int yes = 1;
        http->loopback = is_loopback(address->ai_addr);
        if (!http->loopback && !http->tokens)
                return fail(http, ASSENT_E_CONFIG,
                            "%s can be reached from other machines, and there is no token file; listen on 127.0.0.1, or make "
                            "a file of lines \"NAME TOKEN\" and name it as token file",
                            text);
        http->listen_fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (http->listen_fd < 0 || setsockopt(http->listen_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) ||
            bind(http->listen_fd, address->ai_addr, address->ai_addrlen) || listen(http->listen_fd, SOMAXCONN) ||
            getsockname(http->listen_fd, (struct sockaddr *)&bound, &bound_size))
                return fail(http, ASSENT_E_CONFIG, "cannot listen on %s: %s%s", text, strerror(errno),
                            errno == EADDRINUSE ? "; end what does, or take another port" : "");
        http->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                       : ((struct sockaddr_in *)&bound)->sin_port);
        return ASSENT_OK;
}

static enum assent_err open_socket(struct assent_http *http)
{
        char host[256];
        const char *port;
        struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *addresses = NULL;
        if (!split(http->options.listen, host, sizeof host, &port))
                return fail(http, ASSENT_E_CONFIG, "%s is no address to listen on; write it as 127.0.0.1:8080 or [::1]:8080",
                            http->options.listen);
        int failed = getaddrinfo(host, port, &hints, &addresses);
        if (failed)
                return fail(http, ASSENT_E_CONFIG,
                            "%s is no address to listen on: %s; write it as 127.0.0.1:8080 or [::1]:8080", http->options.listen,
                            gai_strerror(failed));
        enum assent_err err = listen_at(http, addresses);
        freeaddrinfo(addresses);
        return err;
}

/* ---- threads ---- */

static void library_says(void *context, const char *format, va_list arguments) __attribute__((format(printf, 2, 0)));
static void library_says(void *context, const char *format, va_list arguments)
{
        char text[512];
        (void)context;
        if (!assent_log_enabled(ASSENT_LOG_DEBUG))
                return;
        vsnprintf(text, sizeof text, format, arguments);
        assent_log(ASSENT_LOG_DEBUG, "libmicrohttpd", ASSENT_TEXT("text", text));
}

static bool start_worker(struct assent_http *http)
{
        const struct assent_http_options *options = &http->options;
        struct assent_http_worker *worker = &http->workers[http->workers_count];
        const struct MHD_OptionItem items[] = {
            {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)library_says, NULL},
            {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)(2 * options->header_bytes_max + POOL_BYTES_BESIDE), NULL},
            {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)options->connections_max, NULL},
            {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)((options->timeout_ms + 999) / 1000), NULL},
            {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)assent_worker_notify, worker},
            {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)assent_receive_target, worker},
            {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)assent_receive_unescape, worker},
            {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)assent_receive_completed, worker},
            {MHD_OPTION_END, 0, NULL},
        };
        worker->http = http;
        worker->daemon =
            MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL,
                             NULL, assent_receive, worker, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
        worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (worker->daemon && worker->wake_fd >= 0 && pthread_create(&worker->thread, NULL, assent_worker_run, worker) == 0) {
                http->workers_count++;
                return true;
        }
        if (worker->wake_fd >= 0)
                close(worker->wake_fd);
        if (worker->daemon)
                MHD_stop_daemon(worker->daemon);
        return false;
}

/* Signals are the application's: its own threads get them. */
static enum assent_err start(struct assent_http *http)
{
        sigset_t all, before;
        http->keeper_fd = eventfd(0, EFD_CLOEXEC);
        bool started = http->keeper_fd >= 0;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        while (started && http->workers_count < http->options.threads)
                started = start_worker(http);
        http->keeper_runs = started && pthread_create(&http->keeper, NULL, assent_keeper_run, http) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return http->keeper_runs ? ASSENT_OK : fail(http, ASSENT_E_MEMORY, "cannot start a thread: %s", strerror(errno));
}

enum assent_err assent_http_open(const struct assent_http_options *options, struct assent_http **out)
{
        struct assent_http *http = *out = calloc(1, sizeof *http);
        if (!http)
                return ASSENT_E_MEMORY;
        http->listen_fd = http->keeper_fd = -1;
        pthread_mutex_init(&http->lock, NULL);
        if (!options || options->struct_size != sizeof *options)
                return fail(http, ASSENT_E_ARGUMENT, "options must be made with ASSENT_HTTP_OPTIONS_INIT");
        http->options = *options;
        enum assent_err err = check(http);
        if (err == ASSENT_OK && options->token_file)
                err = assent_tokens_open(options->token_file, &http->tokens, http->errmsg, sizeof http->errmsg);
        if (err == ASSENT_OK)
                err = open_socket(http);
        return err == ASSENT_OK ? start(http) : err;
}

/* ---- the end ---- */

void assent_http_drain(struct assent_http *http)
{
        if (!atomic_exchange(&http->draining, true) && http->listen_fd >= 0)
                shutdown(http->listen_fd, SHUT_RDWR); /* whoever connects from now on is refused */
}

/* Answers what is still deferred; streams end by themselves. */
static void answer_deferred(struct assent_http *http)
{
        struct assent_http_request *request;
        pthread_mutex_lock(&http->lock);
        LIST_FOREACH (request, &http->connections, link)
                if (atomic_load(&request->stage) == ASSENT_STAGE_DEFERRED) {
                        assent_http_set(request, "Connection", "close");
                        assent_http_problem(request, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting-down",
                                            "This server has gone out of service before there was an answer; ask again what "
                                            "has become of the request.");
                }
        pthread_mutex_unlock(&http->lock);
}

static bool sending(struct assent_http *http)
{
        bool any = false;
        struct assent_http_request *request;
        pthread_mutex_lock(&http->lock);
        LIST_FOREACH (request, &http->connections, link)
                any = any || atomic_load(&request->stage) == ASSENT_STAGE_ANSWERED;
        pthread_mutex_unlock(&http->lock);
        return any;
}

static void stop_serving(struct assent_http *http)
{
        assent_http_drain(http);
        atomic_store(&http->closing, true);
        assent_http_wake(http);
        for (unsigned i = 0; i < http->workers_count; i++)
                while (atomic_load(&http->workers[i].handling))
                        usleep(1000);
        answer_deferred(http);
        for (int64_t end_ms = assent_clock_ms() + CLOSE_MS_MAX; sending(http) && assent_clock_ms() < end_ms;)
                usleep(1000);
        atomic_store(&http->ends, true);
        if (http->keeper_runs) {
                eventfd_write(http->keeper_fd, 1);
                pthread_join(http->keeper, NULL);
        }
        for (unsigned i = 0; i < http->workers_count; i++) {
                eventfd_write(http->workers[i].wake_fd, 1);
                pthread_join(http->workers[i].thread, NULL);
                MHD_stop_daemon(http->workers[i].daemon);
                close(http->workers[i].wake_fd);
        }
}

void assent_http_close(struct assent_http *http)
{
        if (!http)
                return;
        stop_serving(http);
        ASSENT_ASSERT(LIST_EMPTY(&http->connections) && LIST_EMPTY(&http->streams));
        if (http->listen_fd >= 0)
                close(http->listen_fd);
        if (http->keeper_fd >= 0)
                close(http->keeper_fd);
        assent_tokens_close(http->tokens);
        pthread_mutex_destroy(&http->lock);
        free(http);
}
