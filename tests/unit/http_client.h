/* A client that sends bytes as they are and reads what comes, and a server to send them to. */
#ifndef ASSENT_TESTS_HTTP_CLIENT_H
#define ASSENT_TESTS_HTTP_CLIENT_H

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <assent/http.h>

#define PATIENCE_MS 30000 /* for what must come; nothing waits so long when all is well */

/* ---- connections ---- */

static inline int connect_to(uint16_t port)
{
        struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert_geq(fd, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
                return fd;
        close(fd);
        return -1;
}

/* False when the other side has closed. */
static inline bool send_bytes(int fd, const void *bytes, size_t size)
{
        const char *at = bytes;
        while (size > 0) {
                ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
                if (sent < 0)
                        return false;
                at += sent;
                size -= (size_t)sent;
        }
        return true;
}

static inline bool send_text(int fd, const char *text)
{
        return send_bytes(fd, text, strlen(text));
}

/* At least one byte; 0 when the other side has closed. */
static inline size_t receive_some(int fd, char *bytes, size_t size)
{
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        cr_assert_eq(poll(&wait, 1, PATIENCE_MS), 1, "nothing comes, and nobody closes");
        ssize_t got = recv(fd, bytes, size, 0);
        cr_assert(got >= 0 || errno == ECONNRESET || errno == EPIPE, "%s", strerror(errno));
        return got > 0 ? (size_t)got : 0;
}

/* ---- answers ---- */

struct reply {
        int status; /* 0: the connection was closed without an answer */
        char text[65536];
        size_t size;
        const char *body;
        size_t body_size;
};

static inline const char *reply_field(const struct reply *reply, const char *name, char *value, size_t value_size)
{
        for (const char *line = strstr(reply->text, "\r\n"); line && line + 2 < reply->body - 2;
             line = strstr(line + 2, "\r\n")) {
                const char *at = line + 2, *end = strstr(at, "\r\n");
                if (strncasecmp(at, name, strlen(name)) != 0 || at[strlen(name)] != ':')
                        continue;
                at += strlen(name) + 2;
                snprintf(value, value_size, "%.*s", (int)(end - at), at);
                return value;
        }
        return NULL;
}

/* Reads one byte at a time up to the end of the header, then the body that Content-Length announces: what a pipelined answer
 * follows with stays in the socket. Answers to HEAD and 304 have no body. */
static inline void receive_head(int fd, struct reply *reply)
{
        memset(reply, 0, sizeof *reply);
        while (reply->size < 4 || memcmp(reply->text + reply->size - 4, "\r\n\r\n", 4) != 0) {
                cr_assert_lt(reply->size, sizeof reply->text - 1);
                if (receive_some(fd, reply->text + reply->size, 1) == 0)
                        return;
                reply->size++;
        }
        cr_assert_eq(sscanf(reply->text, "HTTP/1.1 %d ", &reply->status), 1, "no status line: %s", reply->text);
        reply->body = reply->text + reply->size;
}

static inline void receive_reply_to(int fd, const char *method, struct reply *reply)
{
        char length[32];
        receive_head(fd, reply);
        if (!reply->status || strcmp(method, "HEAD") == 0 || reply->status == 304 || reply->status == 204)
                return;
        cr_assert_not_null(reply_field(reply, "Content-Length", length, sizeof length), "no length: %s", reply->text);
        size_t size = strtoul(length, NULL, 10);
        cr_assert_lt(reply->size + size, sizeof reply->text);
        while (reply->body_size < size) {
                size_t got = receive_some(fd, reply->text + reply->size, size - reply->body_size);
                cr_assert_neq(got, 0, "closed within the body: %s", reply->text);
                reply->size += got;
                reply->body_size += got;
        }
}

static inline void receive_reply(int fd, struct reply *reply)
{
        receive_reply_to(fd, "GET", reply);
}

static inline bool closed_by_peer(int fd)
{
        char byte;
        return receive_some(fd, &byte, 1) == 0;
}

/* One request on a connection of its own. */
static inline void ask(uint16_t port, const char *request, struct reply *reply)
{
        int fd = connect_to(port);
        cr_assert_geq(fd, 0);
        send_text(fd, request);
        receive_reply_to(fd, strncmp(request, "HEAD ", 5) == 0 ? "HEAD" : "GET", reply);
        close(fd);
}

#define check_status(reply, wanted) cr_assert_eq((reply).status, (wanted), "%d: %s", (reply).status, (reply).text)
#define check_body(reply, part)     cr_assert_not_null(strstr((reply).body, part), "\"%s\" is not in: %s", part, (reply).text)
#define check_field(reply, name, wanted)                                                                                       \
        do {                                                                                                                   \
                char value_[1024];                                                                                             \
                const char *found_ = reply_field(&(reply), name, value_, sizeof value_);                                       \
                cr_assert_not_null(found_, "no %s in: %s", name, (reply).text);                                                \
                cr_assert_str_eq(found_, wanted);                                                                              \
        } while (0)
#define check_no_field(reply, name)                                                                                            \
        do {                                                                                                                   \
                char value_[1024];                                                                                             \
                cr_assert_null(reply_field(&(reply), name, value_, sizeof value_), "%s", (reply).text);                        \
        } while (0)

#define HOST      "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

/* ---- a server ---- */

static struct assent_http *server;
static uint16_t port;

static inline void open_server(const struct assent_http_options *options)
{
        enum assent_err err = assent_http_open(options, &server);
        cr_assert_eq(err, ASSENT_OK, "%s", assent_http_errmsg(server));
        port = assent_http_port(server);
}

static inline void close_server(void)
{
        assent_http_close(server);
        server = NULL;
}

#endif
