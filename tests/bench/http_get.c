/* http_get: asks a server at a fixed rate, whether it keeps up or not (an open loop), over connections that are kept, and says
 * how long answers took, counted from the moment each request was due. Standard input has a line for each target, taken in
 * turn: PATH, or PATH and an entity tag for If-None-Match. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TARGETS_MAX     100000
#define CONNECTIONS_MAX 1000
#define REQUESTS_MAX    100000000
#define ANSWER_SIZE_MAX 65536
#define PATIENCE_US     10000000 /* for what is still under way at the end */

static const char usage[] =
        "usage: http_get -a HOST:PORT -r RATE -d SECONDS [-w WARM_UP_SECONDS] [-c CONNECTIONS] <TARGETS\n"
        "Prints the rate asked for, answers a second and of each kind; then quantiles and the maximum in microseconds.\n"
        "Exit status 1 when an answer is missing or is neither 2xx nor 3xx.\n";

struct connection {
        int fd;
        bool busy;
        int64_t due_us; /* of the request under way */
        size_t size;
        char answer[ANSWER_SIZE_MAX + 1];
};

static struct {
        char host[256], *port;
        long rate, seconds, warm_up, connections;
        char *targets[TARGETS_MAX]; /* whole requests */
        size_t targets_count;
        struct connection *all;
        long idle[CONNECTIONS_MAX], idle_count; /* a stack: few connections when few suffice */
        int epoll;
        int64_t start_us, sent, done, ok, unchanged, other;
        int64_t measured; /* the first ones only warm up */
        uint32_t *took;   /* microseconds, of those that count */
} run;

static int64_t now_us(void)
{
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

__attribute__((noreturn)) static void stop(const char *what, const char *why)
{
        fprintf(stderr, "http_get: %s: %s\n", what, why);
        exit(1);
}

static long number(const char *text, long most)
{
        char *end;
        errno = 0;
        long value = strtol(text, &end, 10);
        if (errno || *end || value < 0 || value > most)
                stop(text, "not a number, or too great");
        return value;
}

static void targets_read(void)
{
        char *line = NULL;
        size_t room = 0;
        while (getline(&line, &room, stdin) > 0) {
                char *rest = line, *path = strsep(&rest, " \n"), *tag = rest ? strsep(&rest, " \n") : NULL;
                if (!*path)
                        continue;
                bool conditional = tag && *tag;
                if (run.targets_count == TARGETS_MAX)
                        stop("standard input", "too many targets");
                if (asprintf(&run.targets[run.targets_count++], "GET %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", path, run.host,
                             conditional ? "If-None-Match: " : "", conditional ? tag : "", conditional ? "\r\n" : "") < 0)
                        stop("standard input", "out of memory");
        }
        free(line);
        if (!run.targets_count)
                stop("standard input", "no target");
}

static void arguments_read(int argc, char **argv)
{
        run.connections = 32;
        for (int flag; (flag = getopt(argc, argv, "a:r:d:w:c:")) != -1;) {
                if (flag == 'a')
                        snprintf(run.host, sizeof run.host, "%s", optarg);
                else if (flag == 'r')
                        run.rate = number(optarg, 1000000);
                else if (flag == 'd')
                        run.seconds = number(optarg, 3600);
                else if (flag == 'w')
                        run.warm_up = number(optarg, 3600);
                else if (flag == 'c')
                        run.connections = number(optarg, CONNECTIONS_MAX);
                else
                        stop("arguments", usage);
        }
        run.port = strrchr(run.host, ':');
        if (!run.port || !run.rate || !run.seconds || !run.connections || optind != argc ||
            run.rate * (run.seconds + run.warm_up) > REQUESTS_MAX)
                stop("arguments", usage);
        *run.port++ = '\0';
}

static void connections_open(void)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
        struct addrinfo *address;
        int code = getaddrinfo(run.host, run.port, &hints, &address);
        if (code)
                stop(run.host, gai_strerror(code));
        for (long i = 0; i < run.connections; i++) {
                struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)i};
                int one = 1, fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
                if (fd < 0 || connect(fd, address->ai_addr, address->ai_addrlen) ||
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) ||
                    epoll_ctl(run.epoll, EPOLL_CTL_ADD, fd, &event))
                        stop(run.host, strerror(errno));
                run.all[i].fd = fd;
                run.idle[run.idle_count++] = i;
        }
        freeaddrinfo(address);
}

/* Small requests always fit into an idle connection's buffer. */
static void send_due(int64_t due_us)
{
        struct connection *connection = &run.all[run.idle[--run.idle_count]];
        const char *request = run.targets[(size_t)run.sent % run.targets_count];
        size_t size = strlen(request);
        if (send(connection->fd, request, size, MSG_NOSIGNAL) != (ssize_t)size)
                stop("send", strerror(errno));
        connection->busy = true;
        connection->due_us = due_us;
        connection->size = 0;
        run.sent++;
}

/* The status once the answer is whole, else 0. */
static int answer_whole(const struct connection *connection)
{
        const char *end = strstr(connection->answer, "\r\n\r\n");
        if (!end)
                return 0;
        int status = (int)strtol(connection->answer + strlen("HTTP/1.1 "), NULL, 10);
        const char *length = strcasestr(connection->answer, "\r\nContent-Length:");
        size_t body = status != 304 && length && length < end ? strtoul(length + strlen("\r\nContent-Length:"), NULL, 10) : 0;
        return connection->size >= (size_t)(end + 4 - connection->answer) + body ? status : 0;
}

static void receive(long i)
{
        struct connection *connection = &run.all[i];
        size_t room = ANSWER_SIZE_MAX - connection->size;
        ssize_t got = recv(connection->fd, connection->answer + connection->size, room, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (got <= 0 || !connection->busy)
                stop("answer", !connection->busy ? "nobody asked" : got < 0 ? strerror(errno) : "closed, or too long");
        connection->size += (size_t)got;
        connection->answer[connection->size] = '\0';
        int status = answer_whole(connection);
        if (!status)
                return;
        int64_t took_us = now_us() - connection->due_us;
        if (connection->due_us >= run.start_us + run.warm_up * 1000000)
                run.took[run.measured++] = (uint32_t)(took_us < UINT32_MAX ? took_us : UINT32_MAX);
        run.ok += status / 100 == 2;
        run.unchanged += status / 100 == 3;
        run.other += status / 100 != 2 && status / 100 != 3;
        run.done++;
        connection->busy = false;
        run.idle[run.idle_count++] = i;
}

/* Sends what is due, and waits for answers no longer than until the next is. */
static void turn(int64_t all)
{
        struct epoll_event events[CONNECTIONS_MAX];
        int64_t now = now_us(), due_us = 0;
        while (run.sent < all && run.idle_count && (due_us = run.start_us + run.sent * 1000000 / run.rate) <= now)
                send_due(due_us);
        int64_t wait_us = run.sent < all && run.idle_count ? due_us - now_us() : 100000;
        const struct timespec wait = {.tv_sec = wait_us > 0 ? wait_us / 1000000 : 0,
                                      .tv_nsec = wait_us > 0 ? wait_us % 1000000 * 1000 : 0};
        int count = epoll_pwait2(run.epoll, events, CONNECTIONS_MAX, &wait, NULL);
        if (count < 0 && errno != EINTR)
                stop("epoll", strerror(errno));
        for (int i = 0; i < count; i++)
                receive((long)events[i].data.u64);
}

static int ascending(const void *left, const void *right)
{
        uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
        return (a > b) - (a < b);
}

static uint32_t quantile(double share)
{
        int64_t at = (int64_t)(share * (double)run.measured);
        return run.measured ? run.took[at < run.measured ? at : run.measured - 1] : 0;
}

int main(int argc, char **argv)
{
        arguments_read(argc, argv);
        targets_read();
        int64_t all = run.rate * (run.seconds + run.warm_up);
        run.epoll = epoll_create1(EPOLL_CLOEXEC);
        run.all = calloc((size_t)run.connections, sizeof *run.all);
        run.took = calloc((size_t)all, sizeof *run.took);
        if (run.epoll < 0 || !run.all || !run.took)
                stop("start", "no memory, or no epoll");
        connections_open();
        run.start_us = now_us();
        int64_t until_us = run.start_us + (run.seconds + run.warm_up) * 1000000 + PATIENCE_US;
        while (run.done < all && now_us() < until_us)
                turn(all);
        double took_s = (double)(now_us() - run.start_us) / 1e6;
        qsort(run.took, (size_t)run.measured, sizeof *run.took, ascending);
        printf("rate=%ld answered=%.0f 2xx=%" PRId64 " 3xx=%" PRId64 " other=%" PRId64 " missing=%" PRId64 "\n", run.rate,
               (double)run.done / took_s, run.ok, run.unchanged, run.other, all - run.done);
        printf("us: p50=%u p99=%u p999=%u max=%u\n", quantile(0.5), quantile(0.99), quantile(0.999), quantile(1));
        return run.done == all && run.other == 0 ? 0 : 1;
}
