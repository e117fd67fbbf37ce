/* The server as its clients see it: routing, limits, connections, deferred answers, its end. */
#include "http_client.h"

#include <jansson.h>
#include <pthread.h>

static void hello(void *app, struct assent_http_request *request)
{
        (void)app;
        assent_http_answer(request, 200, "text/plain", (struct assent_bytes){"hello", 5});
}

/* Says what it was asked. */
static void echo(void *app, struct assent_http_request *request)
{
        char text[4096];
        const char *query = assent_http_query(request, "q"), *header = assent_http_header(request, "x-test");
        (void)app;
        int size =
            snprintf(text, sizeof text, "%s [%s] id=[%s] q=[%s] x=[%s] caller=[%s] body=%zu", assent_http_method(request),
                     assent_http_path(request), assent_http_param(request, "id"), query ? query : "-", header ? header : "-",
                     assent_http_caller(request), assent_http_body(request).size);
        assent_http_answer(request, 200, "application/json", (struct assent_bytes){text, (size_t)size});
}

/* Gives the body back. */
static void mirror(void *app, struct assent_http_request *request)
{
        (void)app;
        assent_http_answer(request, 200, "application/json", assent_http_body(request));
}

/* A resource whose entity tag is in the query: "" for none. */
static void tagged(void *app, struct assent_http_request *request)
{
        (void)app;
        const char *etag = assent_http_query(request, "etag");
        if (strcmp(assent_http_method(request), "PATCH") == 0 && !assent_http_if_match_given(request))
                return;
        assent_http_set(request, "Cache-Control", "max-age=5");
        assent_http_set(request, "Vary", "Accept");
        if (!assent_http_preconditions(request, *etag ? etag : NULL))
                return;
        if (strcmp(assent_http_method(request), "PATCH") == 0)
                assent_http_answer(request, 204, NULL, (struct assent_bytes){0});
        else if (assent_http_query(request, "json"))
                assent_http_answer_json(request, 200, json_pack("{s:s}", "tagged", etag));
        else if (assent_http_query(request, "fails"))
                assent_http_problem(request, 503, "fails", "It cannot be read now.");
        else
                assent_http_answer(request, 200, "text/plain", (struct assent_bytes){"tagged", 6});
}

static void nothing(void *app, struct assent_http_request *request)
{
        (void)app;
        assent_http_answer(request, 204, NULL, (struct assent_bytes){0});
}

static const struct assent_http_route routes[] = {
    {"GET", "/hello", hello, false},
    {"GET", "/open", hello, true},
    {"GET", "/things/{id}", echo, false},
    {"POST", "/things/{id}", echo, false},
    {"POST", "/mirror", mirror, false},
    {"GET", "/tagged", tagged, false},
    {"PATCH", "/tagged", tagged, false},
    {"DELETE", "/nothing", nothing, false},
    {NULL, NULL, NULL, false},
};

static struct assent_http_options options(void)
{
        struct assent_http_options made = ASSENT_HTTP_OPTIONS_INIT;
        made.routes = routes;
        return made;
}

static void set_up(void)
{
        struct assent_http_options made = options();
        open_server(&made);
}

TestSuite(http_server, .init = set_up, .fini = close_server, .timeout = 100);

static struct reply reply;

/* ---- routes, methods, texts ---- */

Test(http_server, a_route_is_served)
{
        ask(port, GET("/hello"), &reply);
        check_status(reply, 200);
        check_field(reply, "Content-Type", "text/plain");
        check_field(reply, "X-Content-Type-Options", "nosniff");
        check_field(reply, "Content-Length", "5");
        cr_assert_str_eq(reply.body, "hello");
        cr_assert_not_null(strstr(reply.text, "\r\nDate: "));
}

Test(http_server, head_is_get_without_the_body)
{
        int fd = connect_to(port);
        send_text(fd, "HEAD /hello HTTP/1.1\r\n" HOST "\r\n" GET("/hello"));
        receive_reply_to(fd, "HEAD", &reply);
        check_status(reply, 200);
        check_field(reply, "Content-Length", "5");
        receive_reply(fd, &reply); /* what follows is the next answer, no body */
        cr_assert_str_eq(reply.body, "hello");
        close(fd);
}

Test(http_server, what_is_not_there_is_404_and_a_problem)
{
        ask(port, GET("/nowhere/%22?x=1"), &reply);
        check_status(reply, 404);
        check_field(reply, "Content-Type", "application/problem+json");
        check_field(reply, "Cache-Control", "no-store");
        check_field(reply, "X-Content-Type-Options", "nosniff");
        cr_assert_str_eq(reply.body, "{\"type\":\"/problems/not-found\",\"title\":\"Not Found\",\"status\":404,"
                                     "\"detail\":\"There is nothing at this path.\",\"instance\":\"/nowhere/%22\"}");
}

Test(http_server, another_method_is_405_with_allow)
{
        ask(port, "DELETE /things/1 HTTP/1.1\r\n" HOST "\r\n", &reply);
        check_status(reply, 405);
        check_field(reply, "Allow", "GET, HEAD, POST");
        ask(port, "OPTIONS /nothing HTTP/1.1\r\n" HOST "\r\n", &reply);
        check_status(reply, 405);
        check_field(reply, "Allow", "DELETE");
}

Test(http_server, an_unknown_method_is_501)
{
        ask(port, "BREW /things/1 HTTP/1.1\r\n" HOST "\r\n", &reply);
        check_status(reply, 501);
        ask(port, "get /things/1 HTTP/1.1\r\n" HOST "\r\n", &reply);
        check_status(reply, 501);
}

Test(http_server, paths_and_queries_are_decoded_once)
{
        ask(port, GET("/things/a%2Fb%2525?q=x+y%26z"), &reply);
        check_status(reply, 200);
        cr_assert_str_eq(reply.body, "GET [/things/a/b%25] id=[a/b%25] q=[x y&z] x=[-] caller=[anonymous] body=0");
}

Test(http_server, dots_mean_nothing)
{
        ask(port, GET("/things/.."), &reply);
        check_body(reply, "id=[..]");
        ask(port, GET("/hello/../hello"), &reply);
        check_status(reply, 404);
}

Test(http_server, a_query_name_without_a_value_is_there)
{
        ask(port, GET("/things/1?q"), &reply);
        check_body(reply, "q=[]");
        ask(port, GET("/things/1?p=1&q=&q=2"), &reply);
        check_body(reply, "q=[]");
        ask(port, GET("/things/1?p"), &reply);
        check_body(reply, "q=[-]");
}

Test(http_server, a_parameter_has_1_to_128_bytes)
{
        char segment[140], request[256];
        memset(segment, 'a', sizeof segment);
        snprintf(request, sizeof request, "GET /things/%.128s HTTP/1.1\r\n" HOST "\r\n", segment);
        ask(port, request, &reply);
        check_status(reply, 200);
        snprintf(request, sizeof request, "GET /things/%.129s HTTP/1.1\r\n" HOST "\r\n", segment);
        ask(port, request, &reply);
        check_status(reply, 404);
        ask(port, GET("/things/"), &reply);
        check_status(reply, 404);
}

Test(http_server, bytes_that_no_path_has_are_refused)
{
        static const char *const paths[] = {
            "/things/%00",       "/things/%0a",   "/things/%7f",   "/things/%c3%28", "/things/%ff",
            "/things/%",         "/things/%4",    "/things/%zz",   "/things/\x01",   "/things/\xc3\xa4",
            "/hello?q=%00",      "/hello?%=1",    "/hello?q=\x7f", "things/1",       "*",
            "/things/%ed%a0%80", "/things/%c0%af"};
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
                char request[256];
                snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "\r\n", paths[i]);
                ask(port, request, &reply);
                cr_assert_eq(reply.status, 400, "%s: %s", paths[i], reply.text);
        }
}

Test(http_server, the_absolute_form_is_a_path_too)
{
        ask(port, GET("http://127.0.0.1:80/hello"), &reply);
        check_status(reply, 200);
        ask(port, GET("http://localhost"), &reply);
        check_status(reply, 404);
        ask(port, GET("http://evil.example/hello"), &reply);
        check_status(reply, 421);
        ask(port, GET("http:///hello"), &reply);
        check_status(reply, 400);
}

Test(http_server, header_values_come_without_blanks_around_them)
{
        ask(port, "GET /things/1 HTTP/1.1\r\nX-Test: \t a b \t \r\n" HOST "\r\n", &reply);
        check_body(reply, "x=[a b]");
        ask(port, "GET /things/1 HTTP/1.1\r\nX-Test:\r\n" HOST "\r\n", &reply);
        check_body(reply, "x=[]");
        ask(port, "GET /things/1 HTTP/1.1\r\nX-Test:   \r\n" HOST "\r\n", &reply);
        check_body(reply, "x=[]");
}

/* ---- Host ---- */

Test(http_server, on_loopback_only_its_own_names_are_served)
{
        static const char *const good[] = {"localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1",
                                           "[::1]",     "[::1]:80",       "10.1.2.3",  "localhost:"};
        static const char *const strange[] = {"evil.example", "evil.example:8080", "localhost.evil.example",
                                              "127.0.0.1.nip.io"};
        static const char *const bad[] = {"", "a b", "[::1", "::1", "[nonsense]", "a/b", "[::1]x"};
        char request[256];
        for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
                snprintf(request, sizeof request, "GET /hello HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
                ask(port, request, &reply);
                cr_assert_eq(reply.status, 200, "%s: %s", good[i], reply.text);
        }
        for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
                snprintf(request, sizeof request, "GET /hello HTTP/1.1\r\nHost: %s\r\n\r\n", strange[i]);
                ask(port, request, &reply);
                cr_assert_eq(reply.status, 421, "%s: %s", strange[i], reply.text);
        }
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                snprintf(request, sizeof request, "GET /hello HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
                ask(port, request, &reply);
                cr_assert_eq(reply.status, 400, "%s: %s", bad[i], reply.text);
        }
        ask(port, "GET /hello HTTP/1.1\r\n\r\n", &reply);
        check_status(reply, 400);
        ask(port, "GET /hello HTTP/1.0\r\n\r\n", &reply);
        check_status(reply, 200);
}

/* ---- what may be sent and answered ---- */

Test(http_server, an_accept_field_that_leaves_the_type_out_is_406)
{
        ask(port, "GET /hello HTTP/1.1\r\n" HOST "Accept: text/*;q=0.1, application/xml\r\n\r\n", &reply);
        check_status(reply, 200);
        ask(port, "GET /hello HTTP/1.1\r\n" HOST "Accept: application/json\r\n\r\n", &reply);
        check_status(reply, 406);
        ask(port, "GET /hello HTTP/1.1\r\n" HOST "Accept: */*\r\nAccept: text/plain;q=0\r\n\r\n", &reply);
        check_status(reply, 406);
        ask(port, "GET /nowhere HTTP/1.1\r\n" HOST "Accept: image/png\r\n\r\n", &reply);
        check_status(reply, 404);
        /* What has an effect is refused before it has. */
        ask(port, "DELETE /nothing HTTP/1.1\r\n" HOST "Accept: text/html\r\n\r\n", &reply);
        check_status(reply, 406);
        ask(port, "DELETE /nothing HTTP/1.1\r\n" HOST "Accept: application/*\r\n\r\n", &reply);
        check_status(reply, 204);
        check_no_field(reply, "Content-Type");
}

Test(http_server, preconditions_are_judged_in_their_order)
{
        ask(port, "GET /tagged?etag=7 HTTP/1.1\r\n" HOST "If-None-Match: \"6\"\r\nIf-None-Match: W/\"7\"\r\n\r\n", &reply);
        check_status(reply, 304);
        check_field(reply, "ETag", "\"7\"");
        check_field(reply, "Cache-Control", "max-age=5");
        check_field(reply, "Vary", "Accept");
        check_no_field(reply, "Content-Type");
        cr_assert_eq(reply.body_size, 0);
        ask(port, "GET /tagged?etag=7 HTTP/1.1\r\n" HOST "If-Match: \"6\"\r\nIf-None-Match: \"7\"\r\n\r\n", &reply);
        check_status(reply, 412);
        check_field(reply, "Cache-Control", "no-store");
        check_body(reply, "The current entity tag is \\\"7\\\"");
        ask(port, "PATCH /tagged?etag=7 HTTP/1.1\r\n" HOST "If-Match: \"7\"\r\nIf-None-Match: \"7\"\r\n\r\n", &reply);
        check_status(reply, 412);
        ask(port, "PATCH /tagged?etag=7 HTTP/1.1\r\n" HOST "If-Match: \"6\", \"7\"\r\n\r\n", &reply);
        check_status(reply, 204);
        ask(port, "PATCH /tagged?etag= HTTP/1.1\r\n" HOST "If-Match: *\r\n\r\n", &reply);
        check_status(reply, 412);
        ask(port, "PATCH /tagged?etag=7 HTTP/1.1\r\n" HOST "If-Match: \"7\"\r\nIf-Match: *\r\n\r\n", &reply);
        check_status(reply, 400);
        ask(port, "PATCH /tagged?etag=7 HTTP/1.1\r\n" HOST "\r\n", &reply);
        check_status(reply, 428);
}

Test(http_server, a_304_is_followed_by_the_next_answer)
{
        int fd = connect_to(port);
        for (int i = 0; i < 3; i++) {
                send_text(fd, "GET /tagged?etag=7 HTTP/1.1\r\n" HOST "If-None-Match: *\r\n\r\n");
                receive_reply(fd, &reply);
                check_status(reply, 304);
        }
        close(fd);
}

/* RFC 9110 section 8.6: the length of what it stands for. */
Test(http_server, a_304_has_the_length_of_the_200)
{
        static const struct {
                const char *method, *query, *length;
        } of[] = {{"GET", "", "6"}, {"HEAD", "", "6"}, {"GET", "&json", "14"}, {"HEAD", "&json", "14"}};
        char request[200];
        for (size_t i = 0; i < sizeof of / sizeof *of; i++)
                for (int modified = 0; modified < 2; modified++) {
                        snprintf(request, sizeof request,
                                 "%s /tagged?etag=7%s HTTP/1.1\r\n" HOST "If-None-Match: \"%d\"\r\n\r\n", of[i].method,
                                 of[i].query, modified ? 6 : 7);
                        ask(port, request, &reply);
                        check_status(reply, modified ? 200 : 304);
                        check_field(reply, "Content-Length", of[i].length);
                }
}

/* RFC 9110 section 13.2.1: preconditions make nothing of what would have been no success. */
Test(http_server, only_a_success_becomes_a_304)
{
        ask(port, "GET /tagged?etag=7&fails HTTP/1.1\r\n" HOST "If-None-Match: \"7\"\r\n\r\n", &reply);
        check_status(reply, 503);
        check_field(reply, "Content-Type", "application/problem+json");
        ask(port, "GET /tagged?etag=7 HTTP/1.1\r\n" HOST "Accept: image/png\r\nIf-None-Match: \"7\"\r\n\r\n", &reply);
        check_status(reply, 406);
}

/* ---- limits, at and one past ---- */

/* A request whose line and header fields have `size` bytes. */
static void header_of(size_t size, char *request, size_t request_size)
{
        int start = snprintf(request, request_size, "GET /hello HTTP/1.1\r\n" HOST "X-Padding: ");
        memset(request + start, 'x', size - (size_t)start - 4);
        memcpy(request + size - 4, "\r\n\r\n", 5);
}

Test(http_server, header_bytes_have_a_limit)
{
        char request[9000];
        header_of(8192, request, sizeof request);
        ask(port, request, &reply);
        check_status(reply, 200);
        header_of(8193, request, sizeof request);
        ask(port, request, &reply);
        check_status(reply, 431);
}

Test(http_server, headers_without_an_end_are_431)
{
        int fd = connect_to(port);
        char line[1024];
        memset(line, 'x', sizeof line);
        send_text(fd, "GET /hello HTTP/1.1\r\n" HOST "X-Padding: ");
        for (int i = 0; i < 64 && send_bytes(fd, line, sizeof line); i++)
                ;
        receive_head(fd, &reply);
        cr_assert(reply.status == 431 || reply.status == 0, "%s", reply.text);
        close(fd);
}

Test(http_server, a_body_has_a_limit)
{
        static char body[70000], request[80000];
        memset(body, 'b', sizeof body);
        snprintf(request, sizeof request, "POST /things/1 HTTP/1.1\r\n" HOST "Content-Length: 65536\r\n\r\n%.65536s", body);
        ask(port, request, &reply);
        check_body(reply, "body=65536");
        /* Refused by its announcement; nothing of it has been sent. */
        ask(port, "POST /things/1 HTTP/1.1\r\n" HOST "Content-Length: 65537\r\n\r\n", &reply);
        check_status(reply, 413);
        ask(port, "POST /things/1 HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\n", &reply);
        check_status(reply, 413);
        ask(port, "POST /things/1 HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n", &reply);
        check_status(reply, 413);
}

Test(http_server, a_chunked_body_has_the_same_limit)
{
        static char body[40000], request[80000];
        memset(body, 'b', sizeof body);
        snprintf(request, sizeof request,
                 "POST /things/1 HTTP/1.1\r\n" HOST
                 "Transfer-Encoding: chunked\r\n\r\n8000\r\n%.32768s\r\n8000\r\n%.32768s\r\n0\r\n\r\n",
                 body, body);
        ask(port, request, &reply);
        check_body(reply, "body=65536");
        snprintf(request, sizeof request,
                 "POST /things/1 HTTP/1.1\r\n" HOST
                 "Transfer-Encoding: chunked\r\n\r\n8000\r\n%.32768s\r\n8001\r\n%.32769s\r\n0\r\n\r\n" GET("/hello"),
                 body, body);
        int fd = connect_to(port);
        send_text(fd, request);
        receive_reply(fd, &reply);
        check_status(reply, 413);
        receive_reply(fd, &reply); /* the body was passed over, and the connection goes on */
        check_status(reply, 200);
        close(fd);
}

Test(http_server, a_body_without_an_end_is_passed_over_for_a_while)
{
        static char chunk[65536 + 16];
        int size = snprintf(chunk, sizeof chunk, "10000\r\n");
        memset(chunk + size, 'b', 65536);
        memcpy(chunk + size + 65536, "\r\n", 2);
        int fd = connect_to(port), sent = 0;
        send_text(fd, "POST /things/1 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
        while (send_bytes(fd, chunk, (size_t)size + 65538))
                cr_assert_lt(++sent, 10000, "it is read for ever");
        close(fd);
}

Test(http_server, a_refused_body_is_passed_over)
{
        int fd = connect_to(port);
        send_text(fd, "POST /nowhere HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n12345" GET("/hello"));
        receive_reply(fd, &reply);
        check_status(reply, 404);
        receive_reply(fd, &reply);
        check_status(reply, 200);
        close(fd);
}

/* ---- connections ---- */

Test(http_server, pipelined_requests_are_answered_in_their_order)
{
        enum { COUNT = 500 };
        static char requests[COUNT * 80];
        size_t size = 0;
        for (int i = 0; i < COUNT; i++)
                size += (size_t)snprintf(requests + size, sizeof requests - size, "GET /things/%d HTTP/1.1\r\n" HOST "\r\n", i);
        int fd = connect_to(port);
        send_bytes(fd, requests, size);
        for (int i = 0; i < COUNT; i++) {
                char id[24];
                receive_reply(fd, &reply);
                snprintf(id, sizeof id, "id=[%d]", i);
                check_body(reply, id);
        }
        close(fd);
}

Test(http_server, a_connection_is_kept_unless_the_client_says_close)
{
        int fd = connect_to(port);
        for (int i = 0; i < 5; i++) {
                send_text(fd, GET("/hello"));
                receive_reply(fd, &reply);
                check_status(reply, 200);
        }
        send_text(fd, "GET /hello HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
        receive_reply(fd, &reply);
        check_status(reply, 200);
        cr_assert(closed_by_peer(fd));
        close(fd);
}

Test(http_server, a_request_may_come_byte_by_byte)
{
        static const char request[] =
            "POST /mirror HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n"
            "X-Trailer: z\r\n\r\n";
        int fd = connect_to(port);
        for (size_t i = 0; i < sizeof request - 1; i++)
                send_bytes(fd, request + i, 1);
        receive_reply(fd, &reply);
        check_status(reply, 200);
        cr_assert_str_eq(reply.body, "abcdefg");
        close(fd);
}

Test(http_server, expect_100_continue_is_met)
{
        int fd = connect_to(port);
        send_text(fd, "POST /mirror HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
        receive_head(fd, &reply);
        check_status(reply, 100);
        send_text(fd, "abc");
        receive_reply(fd, &reply);
        cr_assert_str_eq(reply.body, "abc");
        close(fd);
        ask(port, "POST /mirror HTTP/1.1\r\n" HOST "Expect: wonders\r\nContent-Length: 3\r\n\r\n", &reply);
        check_status(reply, 417);
        ask(port, "POST /nowhere HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", &reply);
        check_status(reply, 404);
}

/* ---- several servers ---- */

TestSuite(http_open, .timeout = 100);

static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static char seen_text[1024];

static void observed(void *app, const struct assent_http_seen *seen)
{
        pthread_mutex_lock(&seen_lock);
        size_t size = strlen(seen_text);
        cr_assert_str_eq(app, "app");
        cr_assert_geq(seen->took_us, 0);
        snprintf(seen_text + size, sizeof seen_text - size, "%s %s %u\n", seen->method, seen->route, seen->status);
        pthread_mutex_unlock(&seen_lock);
}

static void check_told(const char *line, int times)
{
        pthread_mutex_lock(&seen_lock);
        int count = 0;
        for (const char *at = seen_text; (at = strstr(at, line)); at += strlen(line))
                count++;
        cr_assert_eq(count, times, "%s", seen_text);
        pthread_mutex_unlock(&seen_lock);
}

Test(http_open, connections_have_a_limit)
{
        struct assent_http_options made = options();
        char app[] = "app";
        made.connections_max = 3;
        made.observed = observed;
        made.app = app;
        open_server(&made);
        int fds[3];
        for (int i = 0; i < 3; i++) {
                fds[i] = connect_to(port);
                send_text(fds[i], GET("/hello"));
                receive_reply(fds[i], &reply);
                check_status(reply, 200);
        }
        int fd = connect_to(port);
        cr_assert(closed_by_peer(fd));
        close(fd);
        check_told("  0\n", 1);
        for (int i = 0; i < 3; i++) { /* the others go on, and when one ends there is room again */
                send_text(fds[i], "GET /hello HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
                receive_reply(fds[i], &reply);
                check_status(reply, 200);
                cr_assert(closed_by_peer(fds[i]));
                close(fds[i]);
        }
        do {
                memset(&reply, 0, sizeof reply);
                fd = connect_to(port);
                send_text(fd, GET("/hello"));
                receive_head(fd, &reply);
                close(fd);
        } while (reply.status == 0); /* the worker lets go of a connection a moment after its end */
        check_status(reply, 200);
        close_server();
}

Test(http_open, slow_requests_are_cut_off_with_408)
{
        struct assent_http_options made = options();
        char app[] = "app";
        made.timeout_ms = 300;
        made.observed = observed;
        made.app = app;
        open_server(&made);
        int begun = connect_to(port), idle = connect_to(port), body = connect_to(port);
        send_text(begun, "GET /hello HTTP/1.1\r\n");
        send_text(body, "POST /mirror HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n123");
        receive_reply(begun, &reply);
        check_status(reply, 408);
        receive_reply(body, &reply);
        check_status(reply, 408);
        cr_assert(closed_by_peer(begun));
        cr_assert(closed_by_peer(body));
        cr_assert(closed_by_peer(idle));
        close(begun);
        close(idle);
        close(body);
        close_server();
        check_told("  408\n", 2);
}

Test(http_open, every_answer_is_told)
{
        struct assent_http_options made = options();
        char app[] = "app";
        made.observed = observed;
        made.threads = 1; /* so that they are told in their order */
        made.app = app;
        open_server(&made);
        ask(port, GET("/things/1"), &reply);
        ask(port, GET("/nowhere"), &reply);
        ask(port, "BREW /nowhere HTTP/1.1\r\n" HOST "\r\n", &reply);
        ask(port, "GET /hello HTTP/1.1\r\nno colon here\r\n\r\n", &reply);
        close_server();
        cr_assert_str_eq(seen_text, "GET /things/{id} 200\nGET  404\n  501\n  400\n");
}

Test(http_open, a_drained_server_takes_no_connection_and_answers_503_on_old_ones)
{
        struct assent_http_options made = options();
        open_server(&made);
        int fd = connect_to(port);
        send_text(fd, GET("/hello"));
        receive_reply(fd, &reply);
        check_status(reply, 200);
        assent_http_drain(server);
        assent_http_drain(server);
        cr_assert_eq(connect_to(port), -1);
        send_text(fd, GET("/hello"));
        receive_reply(fd, &reply);
        check_status(reply, 503);
        check_field(reply, "Retry-After", "1");
        cr_assert(closed_by_peer(fd));
        close(fd);
        close_server();
}

Test(http_open, two_at_one_port_are_one_too_many)
{
        struct assent_http_options made = options();
        char listen[32];
        open_server(&made);
        snprintf(listen, sizeof listen, "127.0.0.1:%u", port);
        made.listen = listen;
        struct assent_http *second;
        cr_assert_eq(assent_http_open(&made, &second), ASSENT_E_CONFIG);
        cr_assert_not_null(strstr(assent_http_errmsg(second), "Address already in use"), "%s", assent_http_errmsg(second));
        assent_http_close(second);
        close_server();
}

static void refuses(const struct assent_http_options *made, enum assent_err wanted, const char *part)
{
        struct assent_http *http;
        enum assent_err err = assent_http_open(made, &http);
        cr_assert_eq(err, wanted, "%s: %s", assent_err_name(err), assent_http_errmsg(http));
        cr_assert_not_null(strstr(assent_http_errmsg(http), part), "\"%s\" is not in: %s", part, assent_http_errmsg(http));
        assent_http_close(http);
}

#define REFUSES(name, option, value, err, part)                                                                                \
        Test(http_open, name)                                                                                                  \
        {                                                                                                                      \
                struct assent_http_options made = options();                                                                   \
                made.option = value;                                                                                           \
                refuses(&made, err, part);                                                                                     \
        }

REFUSES(no_threads_are_refused, threads, 0, ASSENT_E_ARGUMENT, "from 1 to 16")
REFUSES(seventeen_threads_are_refused, threads, 17, ASSENT_E_ARGUMENT, "from 1 to 16")
REFUSES(no_connections_are_refused, connections_max, 0, ASSENT_E_ARGUMENT, "connections_max")
REFUSES(no_streams_are_refused, streams_max, 0, ASSENT_E_ARGUMENT, "streams_max")
REFUSES(too_many_streams_are_refused, streams_max, 100001, ASSENT_E_ARGUMENT, "streams_max")
REFUSES(tiny_headers_are_refused, header_bytes_max, 255, ASSENT_E_ARGUMENT, "header_bytes_max")
REFUSES(huge_headers_are_refused, header_bytes_max, 65537, ASSENT_E_ARGUMENT, "header_bytes_max")
REFUSES(huge_bodies_are_refused, body_bytes_max, ((size_t)1 << 30) + 1, ASSENT_E_ARGUMENT, "body_bytes_max")
REFUSES(no_time_is_refused, timeout_ms, 0, ASSENT_E_ARGUMENT, "timeout_ms")
REFUSES(no_routes_are_refused, routes, NULL, ASSENT_E_ARGUMENT, "routes")
REFUSES(an_unknown_structure_is_refused, struct_size, 8, ASSENT_E_ARGUMENT, "ASSENT_HTTP_OPTIONS_INIT")
REFUSES(an_address_without_a_port_is_refused, listen, "127.0.0.1", ASSENT_E_CONFIG, "127.0.0.1:8080 or [::1]:8080")
REFUSES(an_address_without_brackets_is_refused, listen, "::1:8080", ASSENT_E_CONFIG, "127.0.0.1:8080 or [::1]:8080")
REFUSES(a_port_beyond_all_is_refused, listen, "127.0.0.1:65536", ASSENT_E_CONFIG, "127.0.0.1:65536")
REFUSES(beyond_loopback_tokens_are_needed, listen, "0.0.0.0:0", ASSENT_E_CONFIG, "NAME TOKEN")
REFUSES(a_token_file_that_is_not_there_is_refused, token_file, "/nowhere/tokens", ASSENT_E_CONFIG,
        "/nowhere/tokens: cannot be read")

Test(http_open, routes_are_checked)
{
        static const char *const bad[] = {"hello", "/{}", "/{a", "/{a}b", "/{a}/{b}/{c}/{d}/{e}"};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                const struct assent_http_route wrong[] = {{"GET", bad[i], hello, false}, {NULL, NULL, NULL, false}};
                struct assent_http_options made = options();
                made.routes = wrong;
                refuses(&made, ASSENT_E_ARGUMENT, bad[i]);
        }
}

Test(http_open, one_to_sixteen_threads_serve)
{
        static const unsigned threads[] = {1, 16};
        for (size_t i = 0; i < 2; i++) {
                struct assent_http_options made = options();
                made.threads = threads[i];
                open_server(&made);
                for (int k = 0; k < 20; k++) {
                        ask(port, GET("/hello"), &reply);
                        check_status(reply, 200);
                }
                close_server();
        }
}

Test(http_open, an_ipv6_address_is_an_address)
{
        struct assent_http_options made = options();
        made.listen = "[::1]:0";
        struct assent_http *http;
        enum assent_err err = assent_http_open(&made, &http);
        /* A machine without IPv6 says so. */
        cr_assert(err == ASSENT_OK || strstr(assent_http_errmsg(http), "[::1]:0"), "%s", assent_http_errmsg(http));
        assent_http_close(http);
}
