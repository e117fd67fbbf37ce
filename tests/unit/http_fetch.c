/* The conditional client against a server that says what the test tells it to, byte by byte: what is remembered, what is asked,
 * and how it ends with servers that are slow, broken or gone. */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <assent/fetch.h>

/* ---- the server ---- */

enum { ANSWERS_MAX = 12, QUESTION_MAX = 200000, CONNECTIONS_MAX = 32 };

/* What becomes of a connection once its question has been answered. */
enum then { KEEP, CLOSE, HANG };

struct server {
        int listener;
        uint16_t port;
        pthread_t thread, connection[CONNECTIONS_MAX];
        pthread_mutex_t mutex;
        struct {
                const char *head; /* as it goes over the wire, with the blank line; NULL: none */
                size_t body;      /* bytes of body, all 'b', behind it */
                enum then then;
        } answers[ANSWERS_MAX];
        int count;                        /* of answers that were told */
        int connections, questions;       /* so far */
        char question[ANSWERS_MAX][4096]; /* as far as it fits */
        int hanging[ANSWERS_MAX], hanging_count;
};

struct connection {
        struct server *server;
        int socket;
};

/* One head, and as much body as its Content-Length says. 0: the client is gone. */
static size_t hear(int socket, char *text)
{
        size_t size = 0, wanted = 0;
        do {
                ssize_t got = read(socket, text + size, QUESTION_MAX - 1 - size);
                if (got <= 0)
                        return 0;
                size += (size_t)got;
                text[size] = '\0';
                char *end = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "\r\nContent-Length:");
                if (end)
                        wanted = (size_t)(end + 4 - text) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
        } while (wanted == 0 || size < wanted);
        return size;
}

/* Whoever hangs up in the middle of an answer is no concern of the server's. */
static void say(int socket, const char *data, size_t size)
{
        while (size > 0) {
                ssize_t sent = send(socket, data, size, MSG_NOSIGNAL);
                if (sent <= 0)
                        return;
                data += sent;
                size -= (size_t)sent;
        }
}

/* True: the connection stays open. */
static bool answer(struct server *server, int socket, const char *question)
{
        char body[4096];
        pthread_mutex_lock(&server->mutex);
        int which = server->questions++;
        bool told = which < server->count;
        if (told)
                snprintf(server->question[which], sizeof server->question[which], "%s", question);
        if (told && server->answers[which].then == HANG)
                server->hanging[server->hanging_count++] = dup(socket);
        pthread_mutex_unlock(&server->mutex);
        if (!told)
                return false;
        memset(body, 'b', sizeof body);
        if (server->answers[which].head)
                say(socket, server->answers[which].head, strlen(server->answers[which].head));
        for (size_t left = server->answers[which].body; left > 0;) {
                size_t part = left < sizeof body ? left : sizeof body;
                say(socket, body, part);
                left -= part;
        }
        return server->answers[which].then == KEEP;
}

static void *converse(void *context)
{
        struct connection *connection = context;
        char *question = malloc(QUESTION_MAX);
        while (hear(connection->socket, question) > 0 && answer(connection->server, connection->socket, question))
                ;
        close(connection->socket);
        free(question);
        free(connection);
        return NULL;
}

static void *serve(void *context)
{
        struct server *server = context;
        int socket;
        while ((socket = accept(server->listener, NULL, NULL)) >= 0) {
                struct connection *connection = malloc(sizeof *connection);
                *connection = (struct connection){server, socket};
                cr_assert_lt(server->connections, CONNECTIONS_MAX);
                pthread_create(&server->connection[server->connections++], NULL, converse, connection);
        }
        return NULL;
}

static struct server *server_open(void)
{
        struct server *server = calloc(1, sizeof *server);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        pthread_mutex_init(&server->mutex, NULL);
        server->listener = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
        cr_assert_eq(listen(server->listener, 16), 0);
        cr_assert_eq(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
        server->port = ntohs(address.sin_port);
        cr_assert_eq(pthread_create(&server->thread, NULL, serve, server), 0);
        return server;
}

/* The client must be closed by now: the server reads until it is. */
static void server_close(struct server *server)
{
        shutdown(server->listener, SHUT_RDWR);
        pthread_join(server->thread, NULL);
        for (int i = 0; i < server->connections; i++)
                pthread_join(server->connection[i], NULL);
        close(server->listener);
        for (int i = 0; i < server->hanging_count; i++)
                close(server->hanging[i]);
        free(server);
}

static void will_say(struct server *server, const char *head, size_t body, enum then then)
{
        pthread_mutex_lock(&server->mutex);
        cr_assert_lt(server->count, ANSWERS_MAX);
        server->answers[server->count].head = head;
        server->answers[server->count].body = body;
        server->answers[server->count].then = then;
        server->count++;
        pthread_mutex_unlock(&server->mutex);
}

#define HEAD "HTTP/1.1 200 OK\r\n"
#define NOT_MODIFIED "HTTP/1.1 304 Not Modified\r\n"

/* ---- a client of it ---- */

struct fixture {
        struct server *server;
        struct assent_fetch *fetch;
        struct assent_fetched out;
        char url[64];
};

static struct fixture fixture_open(const struct assent_fetch_options *options)
{
        struct fixture fixture = {.server = server_open()};
        cr_assert_eq(assent_fetch_open(options, &fixture.fetch), ASSENT_OK);
        snprintf(fixture.url, sizeof fixture.url, "http://127.0.0.1:%u/a", fixture.server->port);
        return fixture;
}

static void fixture_close(struct fixture *fixture)
{
        assent_fetch_close(fixture->fetch);
        server_close(fixture->server);
}

#define FETCH_TEST(situation) FETCH_TEST_WITH(situation, (void)options)
#define FETCH_TEST_WITH(situation, setting)                                                        \
        static void situation(struct fixture *fixture);                                            \
        Test(fetch, situation)                                                                     \
        {                                                                                          \
                struct assent_fetch_options options = ASSENT_FETCH_OPTIONS_INIT;                   \
                options.timeout_ms = 60000; /* none of these waits for it */                       \
                setting;                                                                           \
                struct fixture fixture = fixture_open(&options);                                   \
                situation(&fixture);                                                               \
                fixture_close(&fixture);                                                           \
        }                                                                                          \
        static void situation(struct fixture *fixture)

static void got(struct fixture *fixture, const char *url, unsigned status, bool not_modified, const char *etag,
                const char *body)
{
        cr_assert_eq(assent_fetch_get(fixture->fetch, url, NULL, &fixture->out), ASSENT_OK, "%s",
                     assent_fetch_errmsg(fixture->fetch));
        cr_assert_eq(fixture->out.status, status, "%u", fixture->out.status);
        cr_assert_eq(fixture->out.not_modified, not_modified);
        cr_assert_str_eq(fixture->out.etag, etag);
        cr_assert_eq(fixture->out.body.size, strlen(body), "%zu", fixture->out.body.size);
        cr_assert_arr_eq(fixture->out.body.data, body, strlen(body));
}

static void fails(struct fixture *fixture, const char *url, enum assent_err err)
{
        enum assent_err is = assent_fetch_get(fixture->fetch, url, NULL, &fixture->out);
        cr_assert_eq(is, err, "%s: %s", assent_err_name(is), assent_fetch_errmsg(fixture->fetch));
        cr_assert_gt(strlen(assent_fetch_errmsg(fixture->fetch)), 20);
        cr_assert_eq(fixture->out.status, 0);
}

static bool asked(const struct fixture *fixture, int which, const char *line)
{
        return strstr(fixture->server->question[which], line) != NULL;
}

FETCH_TEST_WITH(asks_again_only_whether_it_has_changed, options.entities_max = 2)
{
        will_say(fixture->server, HEAD "ETag: \"1\"\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\none", 0, KEEP);
        got(fixture, fixture->url, 200, false, "\"1\"", "one");
        cr_assert_str_eq(fixture->out.content_type, "text/plain");
        cr_assert(asked(fixture, 0, "GET /a HTTP/1.1\r\n"));
        cr_assert_not(asked(fixture, 0, "If-None-Match"));
        cr_assert_not(asked(fixture, 0, "Authorization"));

        will_say(fixture->server, NOT_MODIFIED "ETag: \"1\"\r\n\r\n", 0, KEEP);
        got(fixture, fixture->url, 200, true, "\"1\"", "one");
        cr_assert_str_eq(fixture->out.content_type, "text/plain");
        cr_assert(asked(fixture, 1, "\r\nIf-None-Match: \"1\"\r\n"));
        will_say(fixture->server, NOT_MODIFIED "\r\n", 0, KEEP);
        got(fixture, fixture->url, 200, true, "\"1\"", "one");

        will_say(fixture->server, HEAD "ETag: W/\"2\"\r\nContent-Length: 3\r\n\r\ntwo", 0, KEEP);
        got(fixture, fixture->url, 200, false, "W/\"2\"", "two");
        cr_assert_str_eq(fixture->out.content_type, "");
        will_say(fixture->server, NOT_MODIFIED "ETag: \"2\"\r\n\r\n", 0, KEEP);
        got(fixture, fixture->url, 200, true, "W/\"2\"", "two");
        cr_assert(asked(fixture, 4, "\r\nIf-None-Match: W/\"2\"\r\n"));
        cr_assert_eq(fixture->server->connections, 1); /* kept all the time */
}

FETCH_TEST_WITH(remembers_so_many_and_the_least_recently_used_gives_way, options.entities_max = 2)
{
        static const struct {
                const char *path;
                bool known;
        } all[] = {{"a", false}, {"b", false}, {"a", true}, {"c", false}, {"a", true}, {"b", false}, {"c", false}};
        for (int i = 0; i < (int)(sizeof all / sizeof *all); i++) {
                snprintf(fixture->url, sizeof fixture->url, "http://127.0.0.1:%u/%s", fixture->server->port, all[i].path);
                will_say(fixture->server,
                         all[i].known ? NOT_MODIFIED "\r\n" : HEAD "ETag: \"1\"\r\nContent-Length: 1\r\n\r\nx", 0, KEEP);
                got(fixture, fixture->url, 200, all[i].known, "\"1\"", "x");
                cr_assert_eq(asked(fixture, i, "If-None-Match"), all[i].known, "%d", i);
        }
}

FETCH_TEST_WITH(with_room_for_none_it_remembers_none, options.entities_max = 0)
{
        for (int i = 0; i < 2; i++) {
                will_say(fixture->server, HEAD "ETag: \"a\"\r\nContent-Length: 1\r\n\r\na", 0, KEEP);
                got(fixture, fixture->url, 200, false, "\"a\"", "a");
                cr_assert_not(asked(fixture, i, "If-None-Match"));
        }
}

FETCH_TEST(what_may_not_be_kept_is_not_asked_about)
{
        static const struct {
                const char *head, *etag;
        } all[] = {
                {HEAD "Content-Length: 1\r\n\r\n", ""},
                {HEAD "ETag: 1\r\nContent-Length: 1\r\n\r\n", ""},
                {HEAD "ETag: \"1\r\nContent-Length: 1\r\n\r\n", ""},
                {HEAD "ETag: \"\r\nContent-Length: 1\r\n\r\n", ""},
                {HEAD "ETag: W/\r\nContent-Length: 1\r\n\r\n", ""},
                {HEAD "ETag: w/\"1\"\r\nContent-Length: 1\r\n\r\n", ""},
                {HEAD "ETag: \"a b\"\r\nContent-Length: 1\r\n\r\n", ""},
                {HEAD "ETag: \"a\"b\"\r\nContent-Length: 1\r\n\r\n", ""},
                {HEAD "ETag: \"1\"\r\nCache-Control: private, No-Store\r\nContent-Length: 1\r\n\r\n", "\"1\""},
                {"HTTP/1.1 404 Not Found\r\nETag: \"1\"\r\nContent-Length: 1\r\n\r\n", "\"1\""},
        };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
                will_say(fixture->server, all[i].head, 1, KEEP);
                got(fixture, fixture->url, i == 9 ? 404 : 200, false, all[i].etag, "b");
                cr_assert_not(asked(fixture, (int)i, "If-None-Match"), "%zu", i);
        }
        will_say(fixture->server, HEAD "Content-Length: 1\r\n\r\n", 1, KEEP);
        got(fixture, fixture->url, 200, false, "", "b");
        cr_assert_not(asked(fixture, 10, "If-None-Match"));
}

/* An entity tag of so many bytes; the head that carries it. */
static const char *head_of_tag(size_t size, char *head, size_t head_size)
{
        snprintf(head, head_size, HEAD "ETag: \"%0*d\"\r\nContent-Length: 1\r\n\r\n", (int)size - 2, 0);
        return head;
}

FETCH_TEST(a_tag_has_at_most_256_bytes)
{
        char longest[400], longer[400];
        will_say(fixture->server, head_of_tag(257, longer, sizeof longer), 1, KEEP);
        got(fixture, fixture->url, 200, false, "", "b");
        will_say(fixture->server, head_of_tag(256, longest, sizeof longest), 1, KEEP);
        cr_assert_eq(assent_fetch_get(fixture->fetch, fixture->url, NULL, &fixture->out), ASSENT_OK);
        cr_assert_eq(strlen(fixture->out.etag), 256);
        cr_assert_not(asked(fixture, 1, "If-None-Match"));
        will_say(fixture->server, NOT_MODIFIED "\r\n", 0, KEEP);
        cr_assert_eq(assent_fetch_get(fixture->fetch, fixture->url, NULL, &fixture->out), ASSENT_OK);
        cr_assert(fixture->out.not_modified);
}

FETCH_TEST(a_304_that_nobody_asked_for_stays_one)
{
        static const char *const own[] = {"If-None-Match: \"mine\"", NULL};
        will_say(fixture->server, NOT_MODIFIED "ETag: \"9\"\r\n\r\n", 0, KEEP);
        got(fixture, fixture->url, 304, false, "\"9\"", "");

        will_say(fixture->server, HEAD "ETag: \"1\"\r\nContent-Length: 1\r\n\r\n", 1, KEEP);
        got(fixture, fixture->url, 200, false, "\"1\"", "b");
        will_say(fixture->server, NOT_MODIFIED "\r\n", 0, KEEP);
        cr_assert_eq(assent_fetch_get(fixture->fetch, fixture->url, own, &fixture->out), ASSENT_OK);
        cr_assert_eq(fixture->out.status, 304); /* it confirms "mine", and not what is remembered */
        cr_assert_not(asked(fixture, 2, "\"1\""));
        cr_assert(asked(fixture, 2, "\r\nIf-None-Match: \"mine\"\r\n"));

        will_say(fixture->server, NOT_MODIFIED "ETag: \"2\"\r\n\r\n", 0, KEEP);
        got(fixture, fixture->url, 304, false, "\"2\"", ""); /* of something else than what was asked about */
        cr_assert(asked(fixture, 3, "\r\nIf-None-Match: \"1\"\r\n"));
        will_say(fixture->server, HEAD "ETag: \"2\"\r\nContent-Length: 1\r\n\r\n", 1, KEEP);
        got(fixture, fixture->url, 200, false, "\"2\"", "b");
        cr_assert_not(asked(fixture, 4, "If-None-Match"));
}

FETCH_TEST(a_server_in_trouble_does_not_make_it_forget_but_a_missing_entity_does)
{
        will_say(fixture->server, HEAD "ETag: \"1\"\r\nContent-Length: 1\r\n\r\n", 1, KEEP);
        got(fixture, fixture->url, 200, false, "\"1\"", "b");
        will_say(fixture->server, "HTTP/1.1 503 Away\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 0, KEEP);
        got(fixture, fixture->url, 503, false, "", "");
        cr_assert_eq(fixture->out.retry_after_ms, 7000);
        will_say(fixture->server, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 0, KEEP);
        got(fixture, fixture->url, 404, false, "", "");
        cr_assert_eq(fixture->out.retry_after_ms, 0);
        cr_assert(asked(fixture, 2, "If-None-Match: \"1\""));
        will_say(fixture->server, HEAD "Content-Length: 0\r\n\r\n", 0, KEEP);
        got(fixture, fixture->url, 200, false, "", "");
        cr_assert_not(asked(fixture, 3, "If-None-Match"));
}

FETCH_TEST_WITH(tells_what_the_answer_says_and_follows_nothing, options.token = "secret")
{
        static const char *const headers[] = {"Prefer: wait=3", "X-Other:x", NULL};
        will_say(fixture->server, "HTTP/1.1 100 Continue\r\nETag: \"0\"\r\n\r\n"
                                  "HTTP/1.1 307 Away\r\nLocation: /b\r\nRetry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
                                  "Idempotent-Replayed: True\r\nTransfer-Encoding: chunked\r\nTrailer: ETag\r\n\r\n"
                                  "3\r\nabc\r\n2\r\nde\r\n0\r\nETag: \"late\"\r\n\r\n", 0, KEEP);
        cr_assert_eq(assent_fetch_get(fixture->fetch, fixture->url, headers, &fixture->out), ASSENT_OK);
        cr_assert_eq(fixture->out.status, 307);
        cr_assert_str_eq(fixture->out.location, "/b");
        cr_assert_str_eq(fixture->out.etag, ""); /* neither of what came before nor of what came behind */
        cr_assert_eq(fixture->out.retry_after_ms, 0);
        cr_assert(fixture->out.replayed);
        cr_assert_eq(fixture->out.body.size, 5);
        cr_assert_arr_eq(fixture->out.body.data, "abcde", 5);
        cr_assert(asked(fixture, 0, "\r\nAuthorization: Bearer secret\r\n"));
        cr_assert(asked(fixture, 0, "\r\nPrefer: wait=3\r\n"));
        cr_assert(asked(fixture, 0, "\r\nX-Other:x\r\n"));
        cr_assert_eq(fixture->server->questions, 1);

        will_say(fixture->server, "HTTP/1.1 503 Away\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n", 0, KEEP);
        got(fixture, fixture->url, 503, false, "", "");
        cr_assert_eq(fixture->out.retry_after_ms, 86400000);
        cr_assert_not(fixture->out.replayed);
}

Test(fetch, goes_through_no_proxy_of_the_environment)
{
        struct assent_fetch_options options = ASSENT_FETCH_OPTIONS_INIT;
        setenv("http_proxy", "http://127.0.0.1:1", 1);
        setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
        struct fixture fixture = fixture_open(&options);
        will_say(fixture.server, HEAD "Content-Length: 1\r\n\r\n", 1, KEEP);
        got(&fixture, fixture.url, 200, false, "", "b");
        fixture_close(&fixture);
}

/* ---- limits ---- */

FETCH_TEST_WITH(a_body_of_the_limit_and_one_past_it, options.body_bytes_max = 1000)
{
        for (int chunked = 0; chunked < 2; chunked++) {
                will_say(fixture->server, chunked ? HEAD "ETag: \"1\"\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n"
                                                  : HEAD "ETag: \"1\"\r\nContent-Length: 1000\r\n\r\n", 1000, CLOSE);
                if (chunked) {
                        fails(fixture, fixture->url, ASSENT_E_BROKER); /* the last chunk never came */
                } else {
                        cr_assert_eq(assent_fetch_get(fixture->fetch, fixture->url, NULL, &fixture->out), ASSENT_OK);
                        cr_assert_eq(fixture->out.body.size, 1000);
                }
                will_say(fixture->server, chunked ? HEAD "Transfer-Encoding: chunked\r\n\r\n3e9\r\n"
                                                  : HEAD "ETag: \"2\"\r\nContent-Length: 1001\r\n\r\n", 1001, CLOSE);
                fails(fixture, fixture->url, ASSENT_E_TOO_LARGE);
        }
        will_say(fixture->server, HEAD "\r\n", 1 << 22, CLOSE); /* without a length, and without an end in sight */
        fails(fixture, fixture->url, ASSENT_E_TOO_LARGE);
        will_say(fixture->server, NOT_MODIFIED "\r\n", 0, KEEP); /* what is remembered has survived all that */
        cr_assert_eq(assent_fetch_get(fixture->fetch, fixture->url, NULL, &fixture->out), ASSENT_OK);
        cr_assert(fixture->out.not_modified);
        cr_assert_eq(fixture->out.body.size, 1000);
}

FETCH_TEST(header_fields_of_the_limit_and_one_past_it)
{
        static char heads[2][ASSENT_FETCH_ANSWER_HEAD_MAX + 2];
        static const char start[] = HEAD "Content-Length: 1\r\n";
        static const char line[] = "X-Line: 0123456789012345678901234567890123456789\r\n";
        for (size_t past = 0; past < 2; past++) {
                char *head = heads[past];
                size_t size = sizeof start - 1, total = ASSENT_FETCH_ANSWER_HEAD_MAX + past;
                memcpy(head, start, size + 1);
                while (size + 2 * sizeof line < total) {
                        memcpy(head + size, line, sizeof line);
                        size += sizeof line - 1;
                }
                int rest = (int)(total - size) - 6; /* "Y:", and two line ends */
                snprintf(head + size, total - size + 1, "Y:%0*d\r\n\r\n", rest, 0);
                cr_assert_eq(strlen(head), total);
                will_say(fixture->server, head, 1, CLOSE);
                if (past)
                        fails(fixture, fixture->url, ASSENT_E_TOO_LARGE);
                else
                        got(fixture, fixture->url, 200, false, "", "b");
        }
}

FETCH_TEST(urls_are_judged)
{
        static const char *const bad[] = {
                "", "a", "127.0.0.1/a", "file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1/", "http://",
                "http://user@127.0.0.1/", "http://user:pass@127.0.0.1/", "http://127.0.0.1:99999/", "http://127.0.0.1/a b",
                "http://127.0.0.1/a\r\nX: y", "dict://127.0.0.1/",
        };
        char url[ASSENT_FETCH_URL_SIZE_MAX + 2];
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
                fails(fixture, bad[i], ASSENT_E_ARGUMENT);
        size_t size = strlen(fixture->url);
        memset(url, 'u', sizeof url - 1);
        memcpy(url, fixture->url, size);
        url[ASSENT_FETCH_URL_SIZE_MAX + 1] = '\0';
        fails(fixture, url, ASSENT_E_ARGUMENT);
        url[ASSENT_FETCH_URL_SIZE_MAX] = '\0';
        will_say(fixture->server, HEAD "ETag: \"1\"\r\nContent-Length: 1\r\n\r\n", 1, KEEP);
        got(fixture, url, 200, false, "\"1\"", "b");
}

static enum assent_err with_header(struct fixture *fixture, const char *header)
{
        const char *const headers[] = {"X-First: 1", header, NULL};
        return assent_fetch_get(fixture->fetch, fixture->url, headers, &fixture->out);
}

FETCH_TEST(headers_are_judged)
{
        static const char *const bad[] = {"", "X", "X:", "X: ", ": x", "X y: z", "X: a\r\nY: b", "X: a\nb", "X: \x7f", "X;"};
        char longest[ASSENT_FETCH_HEADER_SIZE_MAX + 2];
        const char *many[ASSENT_FETCH_HEADERS_MAX + 2];
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
                cr_assert_eq(with_header(fixture, bad[i]), ASSENT_E_ARGUMENT, "%zu", i);
        snprintf(longest, sizeof longest, "X: %0*d", ASSENT_FETCH_HEADER_SIZE_MAX - 2, 0);
        cr_assert_eq(with_header(fixture, longest), ASSENT_E_ARGUMENT);
        longest[ASSENT_FETCH_HEADER_SIZE_MAX] = '\0';
        will_say(fixture->server, HEAD "Content-Length: 0\r\n\r\n", 0, KEEP);
        cr_assert_eq(with_header(fixture, longest), ASSENT_OK);

        for (size_t i = 0; i <= ASSENT_FETCH_HEADERS_MAX; i++)
                many[i] = "X: y";
        many[ASSENT_FETCH_HEADERS_MAX + 1] = NULL;
        cr_assert_eq(assent_fetch_get(fixture->fetch, fixture->url, many, &fixture->out), ASSENT_E_ARGUMENT);
        many[ASSENT_FETCH_HEADERS_MAX] = NULL;
        will_say(fixture->server, HEAD "Content-Length: 0\r\n\r\n", 0, KEEP);
        cr_assert_eq(assent_fetch_get(fixture->fetch, fixture->url, many, &fixture->out), ASSENT_OK);
        cr_assert_eq(fixture->server->questions, 2);
}

Test(fetch, options_are_judged)
{
        struct assent_fetch_options good = ASSENT_FETCH_OPTIONS_INIT, bad[6];
        struct assent_fetch *fetch;
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
                bad[i] = good;
        bad[0].struct_size--;
        bad[1].timeout_ms = 0;
        bad[2].timeout_ms = (uint32_t)INT32_MAX + 1;
        bad[3].entities_max = ((size_t)1 << 24) + 1;
        bad[4].token = "a\r\nX: y";
        bad[5].body_bytes_max = SIZE_MAX;
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                cr_assert_eq(assent_fetch_open(&bad[i], &fetch), ASSENT_E_ARGUMENT, "%zu", i);
                cr_assert_null(fetch);
        }
        cr_assert_eq(assent_fetch_open(&good, &fetch), ASSENT_OK);
        cr_assert_str_eq(assent_fetch_errmsg(fetch), "");
        assent_fetch_close(fetch);
        assent_fetch_close(NULL);
}

/* ---- other methods ---- */

static enum assent_err sent(struct fixture *fixture, const char *method, const char *key, const char *body)
{
        const char *const headers[] = {key, NULL};
        return assent_fetch_send(fixture->fetch, method, fixture->url, headers, "application/json",
                                 (struct assent_bytes){body, strlen(body)}, &fixture->out);
}

FETCH_TEST(sends_methods_and_bodies_and_drops_what_was_remembered)
{
        static const struct {
                const char *method, *body, *first;
        } all[] = {{"POST", "{\"a\":1}", "POST /a HTTP/1.1\r\n"}, {"PUT", "{}", "PUT /a HTTP/1.1\r\n"},
                   {"PATCH", "{}", "PATCH /a HTTP/1.1\r\n"},      {"DELETE", "", "DELETE /a HTTP/1.1\r\n"},
                   {"POST", "", "POST /a HTTP/1.1\r\n"}};
        int at = 0;
        will_say(fixture->server, HEAD "ETag: \"1\"\r\nContent-Length: 1\r\n\r\n", 1, KEEP);
        got(fixture, fixture->url, 200, false, "\"1\"", "b");
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
                at++;
                will_say(fixture->server, "HTTP/1.1 201 Created\r\nETag: \"2\"\r\nLocation: /c\r\nContent-Length: 2\r\n\r\n{}",
                         0, KEEP);
                cr_assert_eq(sent(fixture, all[i].method, "Idempotency-Key: k", all[i].body), ASSENT_OK);
                cr_assert_eq(fixture->out.status, 201);
                cr_assert_str_eq(fixture->out.etag, "\"2\"");
                cr_assert_str_eq(fixture->out.location, "/c");
                cr_assert_eq(fixture->out.body.size, 2);
                cr_assert_eq(strncmp(fixture->server->question[at], all[i].first, strlen(all[i].first)), 0);
                cr_assert_not(asked(fixture, at, "If-None-Match"));
                cr_assert_not(asked(fixture, at, "Expect"));
                cr_assert_eq(asked(fixture, at, "\r\nContent-Type: application/json\r\n"), *all[i].body != '\0');
                cr_assert_eq(asked(fixture, at, "Content-Type"), *all[i].body != '\0');
                const char *end = strstr(fixture->server->question[at], "\r\n\r\n");
                cr_assert_str_eq(end + 4, all[i].body);
        }
        cr_assert_eq(fixture->server->connections, 1);
        at++;
        will_say(fixture->server, HEAD "Content-Length: 1\r\n\r\n", 1, KEEP);
        got(fixture, fixture->url, 200, false, "", "b");
        cr_assert_not(asked(fixture, at, "If-None-Match"));
}

FETCH_TEST(a_head_has_no_body)
{
        will_say(fixture->server, HEAD "ETag: \"1\"\r\nContent-Length: 99999999\r\n\r\n", 0, KEEP);
        struct assent_bytes none = {0};
        cr_assert_eq(assent_fetch_send(fixture->fetch, "HEAD", fixture->url, NULL, NULL, none, &fixture->out), ASSENT_OK);
        cr_assert_eq(fixture->out.status, 200);
        cr_assert_str_eq(fixture->out.etag, "\"1\"");
        cr_assert_eq(fixture->out.body.size, 0);
        cr_assert(asked(fixture, 0, "HEAD /a HTTP/1.1\r\n"));
}

FETCH_TEST(methods_and_content_types_are_judged)
{
        static const char *const bad[] = {"", "post", "POST ", "POST\r\nX: y", "A1", "ABCDEFGHIJKLMNOPQ"};
        struct assent_bytes body = {"x", 1};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
                cr_assert_eq(sent(fixture, bad[i], "X: y", ""), ASSENT_E_ARGUMENT, "%zu", i);
        cr_assert_eq(assent_fetch_send(fixture->fetch, "PUT", fixture->url, NULL, NULL, body, &fixture->out),
                     ASSENT_E_ARGUMENT);
        cr_assert_eq(assent_fetch_send(fixture->fetch, "PUT", fixture->url, NULL, "a\nb", body, &fixture->out),
                     ASSENT_E_ARGUMENT);
        will_say(fixture->server, HEAD "Content-Length: 0\r\n\r\n", 0, KEEP);
        cr_assert_eq(sent(fixture, "ABCDEFGHIJKLMNOP", "X: y", ""), ASSENT_OK);
}

/* ---- servers that do not do as they should ---- */

FETCH_TEST(a_kept_connection_that_has_died_is_made_again)
{
        will_say(fixture->server, HEAD "Content-Length: 1\r\n\r\n", 1, KEEP);
        got(fixture, fixture->url, 200, false, "", "b");
        will_say(fixture->server, NULL, 0, CLOSE);
        will_say(fixture->server, HEAD "Content-Length: 1\r\n\r\n", 1, KEEP);
        got(fixture, fixture->url, 200, false, "", "b");
        cr_assert_eq(fixture->server->questions, 3);

        will_say(fixture->server, NULL, 0, CLOSE);
        will_say(fixture->server, HEAD "Content-Length: 0\r\n\r\n", 0, CLOSE);
        cr_assert_eq(sent(fixture, "POST", "Idempotency-Key: k", "x"), ASSENT_OK);
        cr_assert_eq(fixture->server->questions, 5);
}

FETCH_TEST(an_effect_without_a_key_is_never_asked_for_twice)
{
        static const char *const methods[] = {"POST", "PATCH"};
        for (size_t i = 0; i < 2; i++) {
                int before = fixture->server->questions;
                will_say(fixture->server, HEAD "Content-Length: 1\r\n\r\n", 1, KEEP);
                got(fixture, fixture->url, 200, false, "", "b");
                will_say(fixture->server, NULL, 0, CLOSE);
                will_say(fixture->server, HEAD "Content-Length: 0\r\n\r\n", 0, KEEP);
                cr_assert_eq(sent(fixture, methods[i], "X: y", "x"), ASSENT_E_BROKER);
                cr_assert_eq(fixture->server->questions, before + 2);
                got(fixture, fixture->url, 200, false, "", "");
        }
}

FETCH_TEST(a_server_that_vanishes_is_not_there)
{
        static const char *const halves[] = {NULL, "HTTP/1.1 200", HEAD "Content-Length: 10\r\n",
                                             HEAD "ETag: \"1\"\r\nContent-Length: 10\r\n\r\nabc", "no HTTP at all\r\n\r\n",
                                             HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\n", HEAD "Content-Length: x\r\n\r\n"};
        for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
                will_say(fixture->server, halves[i], 0, CLOSE);
                fails(fixture, fixture->url, ASSENT_E_BROKER);
        }
        will_say(fixture->server, HEAD "Content-Length: 1\r\n\r\n", 1, KEEP);
        got(fixture, fixture->url, 200, false, "", "b"); /* and half an entity is none */
        cr_assert_not(asked(fixture, 7, "If-None-Match"));
}

Test(fetch, nobody_at_the_port)
{
        struct assent_fetch_options options = ASSENT_FETCH_OPTIONS_INIT;
        struct fixture fixture = fixture_open(&options);
        struct server *gone = server_open();
        snprintf(fixture.url, sizeof fixture.url, "http://127.0.0.1:%u/a", gone->port);
        server_close(gone);
        fails(&fixture, fixture.url, ASSENT_E_BROKER);
        fixture_close(&fixture);
}

FETCH_TEST_WITH(a_server_that_says_nothing_or_half_of_it_is_slow, options.timeout_ms = 100)
{
        static const char *const halves[] = {NULL, HEAD, HEAD "Content-Length: 10\r\n\r\nabc"};
        for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
                will_say(fixture->server, halves[i], 0, HANG);
                fails(fixture, fixture->url, ASSENT_TIMED_OUT);
        }
}

/* ---- several at once ---- */

static void *one_client(void *context)
{
        const char *url = context;
        struct assent_fetch_options options = ASSENT_FETCH_OPTIONS_INIT;
        struct assent_fetch *fetch;
        struct assent_fetched out;
        cr_assert_eq(assent_fetch_open(&options, &fetch), ASSENT_OK);
        cr_assert_eq(assent_fetch_get(fetch, url, NULL, &out), ASSENT_OK);
        cr_assert_eq(out.status, 200);
        assent_fetch_close(fetch);
        return NULL;
}

Test(fetch, the_first_of_many_threads_opens_the_library)
{
        struct server *server = server_open();
        pthread_t threads[8];
        char url[64];
        snprintf(url, sizeof url, "http://127.0.0.1:%u/a", server->port);
        for (size_t i = 0; i < 8; i++)
                will_say(server, HEAD "Content-Length: 1\r\n\r\n", 1, CLOSE);
        for (size_t i = 0; i < 8; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, one_client, url), 0);
        for (size_t i = 0; i < 8; i++)
                pthread_join(threads[i], NULL);
        cr_assert_eq(server->questions, 8);
        server_close(server);
}
