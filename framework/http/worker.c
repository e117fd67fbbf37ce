/* worker.c: a worker's loop: it accepts connections, and lets libmicrohttpd do what there is to do on them.
 *
 * The loop is ours because libmicrohttpd 0.9's own waits for more when its poll has found exactly as many events as it asked
 * for, and forgets those for as long. MHD_run never waits. */
#include "http/exchange.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define WAIT_MS_MAX     1000
#define ACCEPTS_MAX     16 /* in a row; other workers may be idle */
#define NO_ROOM_WAIT_MS 10

static bool full(struct assent_http *http)
{
        pthread_mutex_lock(&http->lock);
        bool is_full = http->connections_count >= http->options.connections_max;
        pthread_mutex_unlock(&http->lock);
        return is_full;
}

static void tell_refused(const struct assent_http *http)
{
        const struct assent_http_seen seen = {.method = "", .route = ""};
        if (http->options.observed)
                http->options.observed(http->options.app, &seen);
}

/* False when there is nothing to accept, or no descriptor for it. */
static bool accept_one(struct assent_http_worker *worker)
{
        struct assent_http *http = worker->http;
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        int fd = accept4(http->listen_fd, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
                if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                        worker->accepts_ms = assent_clock_ms() + NO_ROOM_WAIT_MS;
                return errno == EINTR || errno == ECONNABORTED;
        }
        if (full(http)) {
                tell_refused(http);
                close(fd);
        } else {
                MHD_add_connection(worker->daemon, fd, (struct sockaddr *)&address, size);
        }
        return true;
}

/* A connection is there, or is gone. */
void assent_worker_notify(void *context, struct MHD_Connection *connection, void **own,
                          enum MHD_ConnectionNotificationCode what)
{
        struct assent_http_worker *worker = context;
        struct assent_http *http = worker->http;
        struct assent_http_request *request = *own;
        if (what == MHD_CONNECTION_NOTIFY_CLOSED && request) {
                pthread_mutex_lock(&http->lock);
                LIST_REMOVE(request, link);
                http->connections_count--;
                pthread_mutex_unlock(&http->lock);
                free(request);
        }
        if (what != MHD_CONNECTION_NOTIFY_STARTED)
                return;
        int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        *own = request = calloc(1, sizeof *request);
        if (!request) {
                shutdown(fd, SHUT_RDWR);
                return;
        }
        request->http = http;
        request->worker = worker;
        request->connection = connection;
        request->fd = fd;
        atomic_store(&request->due_ms, assent_clock_ms() + (int64_t)http->options.timeout_ms);
        pthread_mutex_lock(&http->lock);
        LIST_INSERT_HEAD(&http->connections, request, link);
        bool one_too_many = ++http->connections_count > http->options.connections_max;
        pthread_mutex_unlock(&http->lock);
        if (one_too_many) { /* another worker was as fast */
                tell_refused(http);
                shutdown(fd, SHUT_RDWR);
        }
}

/* MHD_run may clear the library's own signal after it has looked for connections to resume, and then say that there is nothing
 * to do; so there is a second one. */
void assent_worker_resume(struct assent_http_worker *worker, struct MHD_Connection *connection)
{
        MHD_resume_connection(connection);
        eventfd_write(worker->wake_fd, 1);
}

static int wait_ms(struct assent_http_worker *worker, int64_t now_ms)
{
        MHD_UNSIGNED_LONG_LONG least = WAIT_MS_MAX, asked;
        if (MHD_get_timeout(worker->daemon, &asked) == MHD_YES && asked < least)
                least = asked;
        if (worker->accepts_ms > now_ms && (uint64_t)(worker->accepts_ms - now_ms) < least)
                least = (uint64_t)(worker->accepts_ms - now_ms);
        return (int)least;
}

void *assent_worker_run(void *context)
{
        struct assent_http_worker *worker = context;
        struct assent_http *http = worker->http;
        int events_fd = MHD_get_daemon_info(worker->daemon, MHD_DAEMON_INFO_EPOLL_FD)->listen_fd;
        while (!atomic_load(&http->ends)) {
                int64_t now_ms = assent_clock_ms();
                bool accepts = !atomic_load(&http->draining) && now_ms >= worker->accepts_ms;
                struct pollfd fds[] = {{.fd = events_fd, .events = POLLIN},
                                       {.fd = worker->wake_fd, .events = POLLIN},
                                       {.fd = accepts ? http->listen_fd : -1, .events = POLLIN}};
                poll(fds, sizeof fds / sizeof *fds, wait_ms(worker, now_ms));
                if (fds[1].revents)
                        eventfd_read(worker->wake_fd, &(eventfd_t){0});
                for (int i = 0; fds[2].revents && i < ACCEPTS_MAX && accept_one(worker); i++)
                        ;
                MHD_run(worker->daemon);
        }
        return NULL;
}
