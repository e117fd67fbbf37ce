/* What no well-meaning client sends: bytes that are no request, requests that never end, clients by the hundred. Whatever
 * comes is answered with 4xx or 5xx or closed, and meanwhile others are served. */
#include "http_client.h"

#include <semaphore.h>
#include <sys/resource.h>

static void hello(void *app, struct assent_http_request *request)
{
        (void)app;
        assent_http_answer(request, 200, "text/plain", (struct assent_bytes){"hello", 5});
}

static void body(void *app, struct assent_http_request *request)
{
        struct json_t *json = assent_http_json(request, false);
        (void)app;
        if (json)
                assent_http_answer_json(request, 200, json);
}

/* Holds the only worker until all the others have sent what they have to say. */
static sem_t inside, go_on;

static void hold(void *app, struct assent_http_request *request)
{
        sem_post(&inside);
        sem_wait(&go_on);
        hello(app, request);
}

static const struct assent_http_route routes[] = {
        {"GET", "/hold", hold, false},
        {"GET", "/hello", hello, false},
        {"GET", "/hello/{id}", hello, false},
        {"POST", "/body", body, false},
        {NULL, NULL, NULL, false},
};

static struct assent_http_options options(void)
{
        struct assent_http_options made = ASSENT_HTTP_OPTIONS_INIT;
        made.routes = routes;
        return made;
}

static struct reply reply;

static void still_serves(const char *after)
{
        ask(port, GET("/hello"), &reply);
        cr_assert_eq(reply.status, 200, "after %s: %s", after, reply.text);
}

TestSuite(http_hostile, .timeout = 200);

/* ---- malformed requests ---- */

#define POST(fields, rest) "POST /body HTTP/1.1\r\n" HOST fields "\r\n" rest
#define BYTES(text) {text, sizeof text - 1}

static const struct {
        const char *bytes;
        size_t size;
} nasty[] = {
        /* no request */
        BYTES("\0"),
        BYTES("\0\0\0\0\r\n\r\n"),
        BYTES("\xff\xfe\xfd\r\n\r\n"),
        BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), /* TLS */
        BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        BYTES("hello\r\n\r\n"),
        BYTES(" \r\n\r\n"),
        BYTES("GET\r\n\r\n"),
        BYTES("GET /hello\r\n\r\n"),
        BYTES("GET  HTTP/1.1\r\n" HOST "\r\n"),
        BYTES("GET /hello HTTP/1.1 HTTP/1.1\r\n" HOST "\r\n"),
        BYTES("GET /hel lo HTTP/1.1\r\n" HOST "\r\n"),
        BYTES("GET /hello HTTP/9.9\r\n" HOST "\r\n"),
        BYTES("GET /hello HTTP/0.9\r\n" HOST "\r\n"),
        BYTES("GET /hello HTTP/1.1x\r\n" HOST "\r\n"),
        BYTES("GET /hello http/1.1\r\n" HOST "\r\n"),
        BYTES("GET /hello HTTP/1.10\r\n" HOST "\r\n"),
        BYTES("GET\t/hello\tHTTP/1.1\r\n" HOST "\r\n"),
        BYTES("GET   /hello HTTP/1.1\r\n" HOST "\r\n"),
        BYTES("GET /hello\0/x HTTP/1.1\r\n" HOST "\r\n"),
        BYTES("GET /hello?q=\0 HTTP/1.1\r\n" HOST "\r\n"),
        BYTES("G\0T /hello HTTP/1.1\r\n" HOST "\r\n"),
        BYTES("CONNECT localhost:80 HTTP/1.1\r\n" HOST "\r\n"),
        BYTES("TRACE /hello HTTP/1.1\r\n" HOST "\r\n"),
        /* header fields */
        BYTES("GET /hello HTTP/1.1\r\nno colon\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST ": empty\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST "X Y: z\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST "X-Y : z\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST "X\0Y: z\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST "X-Y: a\0b\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST "X-Y: a\rb\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST "X-Y: a\x01\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST "X-Y: a\x7f\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST "X-Y: a\r\n folded\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST "X-Y: a\r\n\tfolded\r\nX-Z: b\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n folded: first\r\n" HOST "\r\n"),
        BYTES("GET /hello HTTP/1.1\n" HOST "\r\n"),
        BYTES("GET /hello HTTP/1.1\r\nHost: localhost\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST HOST "\r\n"),
        BYTES("GET /hello HTTP/1.1\r\nHost: localhost, localhost\r\n\r\n"),
        BYTES("GET /hello HTTP/1.1\r\n" HOST "Authorization: a\r\nAuthorization: b\r\n\r\n"),
        /* where a request ends */
        BYTES(POST("Content-Length: 2\r\nContent-Length: 2\r\n", "{}")),
        BYTES(POST("Content-Length: 2\r\nContent-Length: 3\r\n", "{}x")),
        BYTES(POST("Content-Length: 2, 2\r\n", "{}")),
        BYTES(POST("Content-Length: +2\r\n", "{}")),
        BYTES(POST("Content-Length: -2\r\n", "{}")),
        BYTES(POST("Content-Length: 0x2\r\n", "{}")),
        BYTES(POST("Content-Length: 2 \r\n 0\r\n", "{}")),
        BYTES(POST("Content-Length: two\r\n", "{}")),
        BYTES(POST("Content-Length:\r\n", "{}")),
        BYTES(POST("Content-Length: 99999999999999999999999\r\n", "{}")),
        BYTES(POST("Content-Length: 2\0\r\n", "{}")),
        BYTES(POST("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: identity\r\n", "{}")),
        BYTES(POST("Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: chunked, identity\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: xchunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: chunked \r\n", "2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: chunked\0\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding\0: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding : chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding:\r\n chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        BYTES("POST /body HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        /* chunks */
        BYTES(POST("Transfer-Encoding: chunked\r\n", "x\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: chunked\r\n", "-2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: chunked\r\n", "0x2\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: chunked\r\n", "2\r\n{}{}\r\n0\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: chunked\r\n", "\r\n\r\n")),
        BYTES(POST("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\nno colon\r\n\r\n")),
        /* bodies that are no JSON object */
        BYTES(POST("Content-Length: 2\r\n", "{}")),
        BYTES(POST("Content-Type: text/plain\r\nContent-Length: 2\r\n", "{}")),
        BYTES(POST("Content-Type: application/merge-patch+json\r\nContent-Length: 2\r\n", "{}")),
        BYTES(POST("Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n", "{}")),
        BYTES(POST("Content-Type: application/json\r\n", "")),
        BYTES(POST("Content-Type: application/json\r\nContent-Length: 1\r\n", "{")),
        BYTES(POST("Content-Type: application/json\r\nContent-Length: 2\r\n", "[]")),
        BYTES(POST("Content-Type: application/json\r\nContent-Length: 3\r\n", "{}x")),
        BYTES(POST("Content-Type: application/json\r\nContent-Length: 3\r\n", "{}\0")),
        BYTES(POST("Content-Type: application/json\r\nContent-Length: 13\r\n", "{\"a\":1,\"a\":2}")),
        BYTES(POST("Content-Type: application/json\r\nContent-Length: 9\r\n", "{\"a\":\"\xff\"}")),
        BYTES(POST("Content-Type: application/json\r\nContent-Length: 14\r\n", "{\"a\":\"\\u0000\"}")),
        BYTES(POST("Content-Type: application/json\r\nContent-Length: 11\r\n", "{\"a\":1e999}")),
        BYTES(POST("Content-Type: application/json\r\nContent-Length: 5\r\n", "\xef\xbb\xbf{}")),
        BYTES(POST("Content-Type: application/json\r\nContent-Length: 2\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\n",
                   "{}")),
};

/* Every one of them alone, and none takes the next request on its connection along: what stands behind a request whose end is
 * unclear is never answered. */
Test(http_hostile, malformed_requests_are_refused_or_closed)
{
        struct assent_http_options made = options();
        made.timeout_ms = 500; /* those that never end */
        open_server(&made);
        for (size_t i = 0; i < sizeof nasty / sizeof *nasty; i++) {
                int fd = connect_to(port);
                send_bytes(fd, nasty[i].bytes, nasty[i].size);
                receive_head(fd, &reply);
                cr_assert(reply.status == 0 || reply.status >= 400, "%zu: %s\n%s", i, nasty[i].bytes, reply.text);
                close(fd);
        }
        still_serves("all of them");
        close_server();
}

/* The answer can say neither. */
Test(http_hostile, a_target_that_is_no_text_with_a_fault_in_the_header_is_400)
{
        struct assent_http_options made = options();
        open_server(&made);
        ask(port, "GET /hello/\xff HTTP/1.1\r\n" HOST HOST "\r\n", &reply);
        check_status(reply, 400);
        check_body(reply, "/problems/malformed-request");
        check_body(reply, "\"instance\":\"\"");
        still_serves("both");
        close_server();
}

static void allow_descriptors(rlim_t count)
{
        struct rlimit limit;
        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        if (limit.rlim_cur < count) {
                limit.rlim_cur = count;
                cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0, "%lu descriptors are needed", (unsigned long)count);
        }
}

/* The same, cut short, all at once. The time is short because libmicrohttpd does not always see that a client has closed its
 * half. */
Test(http_hostile, requests_may_end_anywhere)
{
        enum { COUNT = 1900 };
        static int fds[COUNT];
        struct assent_http_options made = options();
        made.timeout_ms = 300;
        open_server(&made);
        allow_descriptors(2 * COUNT + 100);
        size_t count = 0;
        for (size_t i = 0; i < sizeof nasty / sizeof *nasty; i++)
                for (size_t size = 1; size < nasty[i].size && count < COUNT; size += 5) {
                        fds[count] = connect_to(port);
                        send_bytes(fds[count], nasty[i].bytes, size);
                        shutdown(fds[count++], SHUT_WR);
                }
        cr_assert_lt(count, COUNT, "not all of them have been sent");
        for (size_t i = 0; i < count; i++) {
                char bytes[256];
                while (receive_some(fds[i], bytes, sizeof bytes) > 0)
                        ;
                close(fds[i]);
        }
        still_serves("all of them");
        close_server();
}

Test(http_hostile, nothing_behind_an_unclear_end_is_answered)
{
        static const char *const unclear[] = {
                POST("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
                POST("Content-Length: 2\r\nContent-Length: 0\r\n", ""),
                POST("Transfer-Encoding: chunked\r\n x\r\nContent-Length: 0\r\n", ""),
                POST("Content-Length: 0\r\n 2\r\n", ""),
                POST("Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n", ""),
        };
        struct assent_http_options made = options();
        open_server(&made);
        for (size_t i = 0; i < sizeof unclear / sizeof *unclear; i++) {
                int fd = connect_to(port);
                send_text(fd, unclear[i]);
                send_text(fd, GET("/hello"));
                receive_reply(fd, &reply);
                cr_assert_eq(reply.status, 400, "%zu: %s", i, reply.text);
                cr_assert(closed_by_peer(fd), "%zu: something comes behind %s", i, reply.text);
                close(fd);
        }
        close_server();
}

Test(http_hostile, json_at_the_depth_that_is_read_and_beyond)
{
        static char text[70000], request[80000];
        struct assent_http_options made = options();
        open_server(&made);
        for (int depth = 10; depth <= 30000; depth *= 10) {
                int size = snprintf(text, sizeof text, "{\"a\":");
                memset(text + size, '[', (size_t)depth);
                memset(text + size + depth, ']', (size_t)depth);
                memcpy(text + size + 2 * depth, "}", 2);
                snprintf(request, sizeof request, POST("Content-Type: application/json\r\nContent-Length: %zu\r\n", "%s"),
                         strlen(text), text);
                ask(port, request, &reply);
                cr_assert_eq(reply.status, depth < 2000 ? 200 : 400, "%d: %s", depth, reply.text);
        }
        close_server();
}

/* ---- too many, too much, too slow ---- */

/* Hundreds of clients send a byte now and then, which libmicrohttpd takes for life; a good one is served all the time, and
 * in the end all of the slow ones have been closed. */
Test(http_hostile, slow_clients_are_closed_while_a_good_one_is_served)
{
        enum { COUNT = 400 };
        static const char slow[] = "GET /hello HTTP/1.1\r\nX-Slow: ";
        static int fds[COUNT];
        struct assent_http_options made = options();
        made.timeout_ms = 2000;
        open_server(&made);
        allow_descriptors(2 * COUNT + 100);
        for (int i = 0; i < COUNT; i++) {
                fds[i] = connect_to(port);
                if (i % 2) /* half of them have a line */
                        send_bytes(fds[i], slow, sizeof slow - 1);
        }
        for (size_t open = COUNT; open > 0;) {
                open = 0;
                for (int i = 0; i < COUNT; i++)
                        open += fds[i] >= 0 && send_bytes(fds[i], "x", 1);
                for (int i = 0; i < 50; i++)
                        still_serves("slow ones");
        }
        for (int i = 0; i < COUNT; i++)
                close(fds[i]);
        close_server();
}

/* A client that asks and does not read what it is told. */
Test(http_hostile, clients_that_do_not_read_are_closed)
{
        struct assent_http_options made = options();
        static char requests[100 * 64];
        made.timeout_ms = 1000;
        open_server(&made);
        for (int i = 0; i < 100; i++)
                memcpy(requests + strlen(requests), GET("/hello"), sizeof GET("/hello"));
        int fd = connect_to(port), small = 4096;
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        while (send_text(fd, requests))
                ;
        close(fd);
        still_serves("one that does not read");
        close_server();
}

Test(http_hostile, a_thousand_connections_are_served)
{
        enum { COUNT = 1000 };
        static int fds[COUNT];
        struct assent_http_options made = options();
        made.timeout_ms = 60000;
        open_server(&made);
        allow_descriptors(2 * COUNT + 100);
        for (int i = 0; i < COUNT; i++) {
                fds[i] = connect_to(port);
                cr_assert_geq(fds[i], 0);
        }
        for (int round = 0; round < 3; round++) {
                for (int i = 0; i < COUNT; i++)
                        send_text(fds[i], GET("/hello"));
                for (int i = 0; i < COUNT; i++) {
                        receive_reply(fds[i], &reply);
                        check_status(reply, 200);
                }
        }
        for (int i = 0; i < COUNT; i++)
                close(fds[i]);
        still_serves("a thousand");
        close_server();
}

/* libmicrohttpd 0.9 asks for 128 events at a time, and when there are exactly so many its own loop waits for more before it
 * looks at them. */
Test(http_hostile, any_number_of_requests_may_come_at_one_moment)
{
        static int fds[130];
        struct assent_http_options made = options();
        made.threads = 1;
        made.timeout_ms = 60000; /* longer than anybody waits here */
        sem_init(&inside, 0, 0);
        sem_init(&go_on, 0, 0);
        open_server(&made);
        for (int count = 125; count <= 130; count++) {
                int holder = connect_to(port);
                for (int i = 0; i < count; i++) {
                        fds[i] = connect_to(port);
                        send_text(fds[i], GET("/hello"));
                        receive_reply(fds[i], &reply); /* so the server has this connection */
                }
                send_text(holder, GET("/hold"));
                sem_wait(&inside);
                for (int i = 0; i < count; i++)
                        send_text(fds[i], GET("/hello"));
                sem_post(&go_on);
                for (int i = 0; i < count; i++) {
                        receive_reply(fds[i], &reply);
                        check_status(reply, 200);
                        close(fds[i]);
                }
                receive_reply(holder, &reply);
                check_status(reply, 200);
                close(holder);
        }
        close_server();
}

Test(http_hostile, a_server_without_descriptors_goes_on_when_there_are_some)
{
        static int fds[512];
        struct assent_http_options made = options();
        struct rlimit limit;
        open_server(&made);
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = 64;
        setrlimit(RLIMIT_NOFILE, &limit);
        int count = 0;
        while (count < 512 && (fds[count] = dup(0)) >= 0)
                count++;
        cr_assert_lt(count, 64);
        close(fds[--count]); /* one for the client; none is left for the server's half */
        int fd = connect_to(port);
        send_text(fd, GET("/hello"));
        while (count > 0)
                close(fds[--count]);
        receive_reply(fd, &reply);
        check_status(reply, 200);
        close(fd);
        close_server();
}
