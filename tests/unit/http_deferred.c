/* Answers that are given later, from other threads; event streams; the end of a server with both open. */
#include "http_client.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- deferred requests, in the order of their coming ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct assent_http_request *waiting[4096];
static size_t waiting_count, answered_count;

static void later(void *app, struct assent_http_request *request)
{
        (void)app;
        assent_http_defer(request);
        pthread_mutex_lock(&lock);
        waiting[waiting_count++] = request;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
}

/* Deferred, and then it need not have been. */
static void at_once(void *app, struct assent_http_request *request)
{
        (void)app;
        assent_http_defer(request);
        assent_http_answer(request, 200, "text/plain", (struct assent_bytes){"once", 4});
}

static void await_deferred(size_t count)
{
        pthread_mutex_lock(&lock);
        while (waiting_count < count)
                pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
}

/* Answers `count` of them as they come. */
static void *answerer(void *context)
{
        for (size_t count = *(size_t *)context; count > 0; count--) {
                pthread_mutex_lock(&lock);
                while (answered_count == waiting_count)
                        pthread_cond_wait(&changed, &lock);
                struct assent_http_request *request = waiting[answered_count++ % 4096];
                pthread_mutex_unlock(&lock);
                const char *id = assent_http_query(request, "id");
                assent_http_set(request, "X-Id", "%s", id);
                assent_http_answer(request, 200, "text/plain", (struct assent_bytes){id, strlen(id)});
        }
        return NULL;
}

/* ---- a stream of numbers ---- */

static _Atomic int64_t published; /* so many events there are */
static atomic_int streams_open, streams_closed;

struct reading {
        int64_t told;
};

static atomic_bool waits; /* what has been published and not told is counted */

static uint64_t backlog(void *context)
{
        const struct reading *reading = context;
        int64_t now = atomic_load(&published);
        return atomic_load(&waits) && now > reading->told ? (uint64_t)(now - reading->told) : 0;
}

static int64_t next_event(void *context, char *buffer, size_t size)
{
        struct reading *reading = context;
        int64_t now = atomic_load(&published);
        if (now < 0)
                return -1;
        if (reading->told >= now)
                return 0;
        return snprintf(buffer, size, "id: %d\n\n", (int)++reading->told);
}

static void stream_closed(void *context)
{
        free(context);
        atomic_fetch_add(&streams_closed, 1);
}

static struct assent_http_stream new_stream(void)
{
        atomic_fetch_add(&streams_open, 1);
        return (struct assent_http_stream){
            .next = next_event, .closed = stream_closed, .backlog = backlog, .context = calloc(1, sizeof(struct reading))};
}

static void events(void *app, struct assent_http_request *request)
{
        (void)app;
        struct assent_http_stream stream = new_stream();
        assent_http_stream(request, &stream);
}

static void problem(void *app, struct assent_http_request *request)
{
        (void)app;
        assent_http_problem_member(request, "txid", json_string("t-1"));
        assent_http_problem_member(request, "title", json_string("not this"));
        assent_http_problem(request, 409, "in-use", "The key %s is in use; \xff.", "\"k\"");
}

static const struct assent_http_route routes[] = {
    {"GET", "/later", later, false},
    {"POST", "/later", later, false},
    {"GET", "/once", at_once, false},
    {"GET", "/events", events, false},
    {"GET", "/problem", problem, false},
    {NULL, NULL, NULL, false},
};

static struct assent_http_options options(void)
{
        struct assent_http_options made = ASSENT_HTTP_OPTIONS_INIT;
        made.routes = routes;
        made.heartbeat_ms = 60000;
        return made;
}

static void set_up(void)
{
        struct assent_http_options made = options();
        open_server(&made);
}

TestSuite(http_deferred, .init = set_up, .timeout = 100);

static struct reply reply;

Test(http_deferred, an_answer_may_come_from_another_thread)
{
        size_t count = 200;
        pthread_t thread;
        pthread_create(&thread, NULL, answerer, &count);
        int fd = connect_to(port);
        for (size_t i = 0; i < count; i++) {
                char request[80], id[24];
                snprintf(request, sizeof request, "GET /later?id=%zu HTTP/1.1\r\n" HOST "\r\n", i);
                send_text(fd, request);
                receive_reply(fd, &reply);
                check_status(reply, 200);
                snprintf(id, sizeof id, "%zu", i);
                check_field(reply, "X-Id", id);
                cr_assert_str_eq(reply.body, id);
        }
        pthread_join(thread, NULL);
        close(fd);
        close_server();
}

Test(http_deferred, an_answer_may_come_before_the_handler_returns)
{
        int fd = connect_to(port);
        send_text(fd, GET("/once") GET("/once"));
        for (int i = 0; i < 2; i++) {
                receive_reply(fd, &reply);
                cr_assert_str_eq(reply.body, "once");
        }
        close(fd);
        close_server();
}

Test(http_deferred, other_requests_are_served_meanwhile)
{
        enum { COUNT = 100 };
        int fds[COUNT];
        for (int i = 0; i < COUNT; i++) {
                fds[i] = connect_to(port);
                send_text(fds[i], "POST /later?id=1 HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}");
        }
        await_deferred(COUNT);
        ask(port, GET("/once"), &reply);
        check_status(reply, 200);
        size_t count = COUNT;
        answerer(&count);
        for (int i = 0; i < COUNT; i++) {
                receive_reply(fds[i], &reply);
                check_status(reply, 200);
                close(fds[i]);
        }
        close_server();
}

Test(http_deferred, what_is_asked_behind_a_deferred_request_waits_for_it)
{
        int fd = connect_to(port);
        send_text(fd, GET("/later?id=first") GET("/once"));
        await_deferred(1);
        size_t count = 1;
        answerer(&count);
        receive_reply(fd, &reply);
        cr_assert_str_eq(reply.body, "first");
        receive_reply(fd, &reply);
        cr_assert_str_eq(reply.body, "once");
        close(fd);
        close_server();
}

Test(http_deferred, an_answer_to_a_client_that_has_gone_is_dropped)
{
        enum { COUNT = 50 };
        for (int i = 0; i < COUNT; i++) {
                int fd = connect_to(port);
                send_text(fd, GET("/later?id=1"));
                if (i % 2) { /* with a reset */
                        struct linger none = {.l_onoff = 1};
                        await_deferred((size_t)i + 1);
                        setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
                }
                close(fd);
        }
        await_deferred(COUNT);
        size_t count = COUNT;
        answerer(&count);
        ask(port, GET("/once"), &reply);
        check_status(reply, 200);
        close_server();
}

Test(http_deferred, a_deferred_request_outlives_the_time_for_requests)
{
        close_server();
        struct assent_http_options made = options();
        made.timeout_ms = 50;
        open_server(&made);
        int fd = connect_to(port), idle = connect_to(port);
        send_text(fd, GET("/later?id=1"));
        await_deferred(1);
        cr_assert(closed_by_peer(idle)); /* so the time has passed */
        size_t count = 1;
        answerer(&count);
        receive_reply(fd, &reply);
        check_status(reply, 200);
        close(fd);
        close(idle);
        close_server();
}

Test(http_deferred, drained_servers_answer_what_is_deferred)
{
        int fd = connect_to(port);
        send_text(fd, GET("/later?id=1"));
        await_deferred(1);
        assent_http_drain(server);
        size_t count = 1;
        answerer(&count);
        receive_reply(fd, &reply);
        check_status(reply, 200);
        close(fd);
        close_server();
}

Test(http_deferred, closing_answers_503_to_what_is_deferred_and_ends_streams)
{
        enum { COUNT = 40 };
        int fds[COUNT], streams[COUNT];
        for (int i = 0; i < COUNT; i++) {
                fds[i] = connect_to(port);
                streams[i] = connect_to(port);
                send_text(fds[i], GET("/later?id=1"));
                send_text(streams[i], GET("/events"));
                receive_head(streams[i], &reply);
                check_status(reply, 200);
        }
        await_deferred(COUNT);
        close_server();
        cr_assert_eq(atomic_load(&streams_closed), COUNT);
        for (int i = 0; i < COUNT; i++) {
                char text[64];
                receive_reply(fds[i], &reply);
                check_status(reply, 503);
                check_body(reply, "/problems/shutting-down");
                cr_assert(closed_by_peer(fds[i]));
                size_t size = 0, got;
                while ((got = receive_some(streams[i], text + size, sizeof text - 1 - size)) > 0)
                        size += got;
                text[size] = '\0';
                cr_assert_str_eq(text, "0\r\n\r\n", "%s", text);
                close(fds[i]);
                close(streams[i]);
        }
}

/* ---- streams ---- */

/* Reads until `part` has come. */
static void read_until(int fd, const char *part)
{
        static char text[65536];
        size_t size = 0;
        do {
                size_t got = receive_some(fd, text + size, sizeof text - 1 - size);
                cr_assert_neq(got, 0, "the stream has ended");
                size += got;
                text[size] = '\0';
        } while (!strstr(text, part));
}

Test(http_deferred, a_stream_tells_what_there_is_and_what_comes)
{
        int fd = connect_to(port);
        atomic_store(&published, 1000);
        send_text(fd, GET("/events"));
        receive_head(fd, &reply);
        check_status(reply, 200);
        check_field(reply, "Content-Type", "text/event-stream");
        check_field(reply, "Cache-Control", "no-store");
        read_until(fd, "id: 1000\n\n");
        for (int i = 1001; i <= 1100; i++) {
                char event[32];
                atomic_fetch_add(&published, 1);
                assent_http_wake(server);
                snprintf(event, sizeof event, "id: %d\n\n", i);
                read_until(fd, event);
        }
        atomic_store(&published, -1);
        assent_http_wake(server);
        read_until(fd, "0\r\n\r\n");
        send_text(fd, GET("/once")); /* the connection is as good as before */
        receive_reply(fd, &reply);
        cr_assert_str_eq(reply.body, "once");
        cr_assert_eq(atomic_load(&streams_closed), 1);
        close(fd);
        close_server();
}

Test(http_deferred, a_silent_stream_says_that_it_is_there)
{
        close_server();
        struct assent_http_options made = options();
        made.heartbeat_ms = 20;
        open_server(&made);
        int fd = connect_to(port), gone = connect_to(port);
        send_text(fd, GET("/events"));
        send_text(gone, GET("/events"));
        receive_head(gone, &reply);
        close(gone);
        read_until(fd, ":\n\n");
        read_until(fd, ":\n\n");
        while (atomic_load(&streams_closed) < 1) /* that nobody reads the other is noticed */
                read_until(fd, ":\n\n");
        close(fd);
        close_server();
        cr_assert_eq(atomic_load(&streams_closed), 2);
}

Test(http_deferred, a_stream_may_be_the_answer_to_a_deferred_request)
{
        int fd = connect_to(port);
        send_text(fd, GET("/later"));
        await_deferred(1);
        struct assent_http_stream stream = new_stream();
        atomic_store(&published, 3);
        assent_http_stream(waiting[0], &stream);
        read_until(fd, "id: 3\n\n");
        close(fd);
        close_server();
        cr_assert_eq(atomic_load(&streams_closed), 1);
}

Test(http_deferred, a_stream_that_is_not_wanted_is_closed_at_once)
{
        ask(port, "GET /events HTTP/1.1\r\n" HOST "Accept: application/json\r\n\r\n", &reply);
        check_status(reply, 406);
        cr_assert_eq(atomic_load(&streams_closed), 1);
        ask(port, "HEAD /events HTTP/1.1\r\n" HOST "\r\n", &reply);
        check_status(reply, 200);
        cr_assert_eq(atomic_load(&streams_closed), 2);
        close_server();
}

Test(http_deferred, streams_have_a_limit)
{
        enum { MOST = 3 };
        int fds[MOST];
        char value[8];
        close_server();
        struct assent_http_options made = options();
        made.streams_max = MOST;
        made.heartbeat_ms = 20;
        open_server(&made);
        for (int i = 0; i < MOST; i++) {
                fds[i] = connect_to(port);
                send_text(fds[i], GET("/events"));
                receive_head(fds[i], &reply);
                check_status(reply, 200);
        }
        for (int i = 1; i <= 2; i++) {
                ask(port, GET("/events"), &reply);
                check_status(reply, 503);
                check_body(reply, "/problems/too-many-streams");
                cr_assert_not_null(reply_field(&reply, "Retry-After", value, sizeof value));
                cr_assert_eq(atomic_load(&streams_closed), i, "whoever gets no stream is told that it is closed");
        }
        atomic_fetch_add(&published, 1);
        assent_http_wake(server);
        for (int i = 0; i < MOST; i++) /* the others have noticed nothing */
                read_until(fds[i], "id: 1\n\n");
        do { /* until it is noticed that one has gone */
                close(fds[0]);
                fds[0] = connect_to(port);
                send_text(fds[0], GET("/events"));
                receive_head(fds[0], &reply);
        } while (reply.status == 503);
        check_status(reply, 200);
        for (int i = 0; i < MOST; i++)
                close(fds[i]);
        close_server();
}

Test(http_deferred, a_reader_at_the_limit_of_its_backlog_is_served_and_one_past_it_is_told)
{
        enum { MOST = 50 };
        close_server();
        struct assent_http_options made = options();
        made.backlog_max = MOST;
        open_server(&made);
        atomic_store(&waits, true);
        for (int more = 0; more <= 1; more++) {
                int fd = connect_to(port);
                atomic_store(&published, MOST + more);
                send_text(fd, GET("/events"));
                receive_head(fd, &reply);
                check_status(reply, 200);
                read_until(fd, more ? "event: behind\ndata: {\"waiting\":51,\"most\":50}\n\n\r\n0\r\n\r\n" : "id: 50\n\n");
                close(fd);
        }
        close_server();
        cr_assert_eq(atomic_load(&streams_closed), 2);
}

/* Its stream is never asked for more, so nothing but the time tells. */
Test(http_deferred, a_reader_that_takes_nothing_is_closed)
{
        close_server();
        struct assent_http_options made = options();
        made.timeout_ms = 500;
        made.heartbeat_ms = 60000;
        open_server(&made);
        atomic_store(&published, INT64_C(1) << 30);
        int fd = connect_to(port), small = 4096;
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        send_text(fd, GET("/events"));
        while (atomic_load(&streams_closed) == 0)
                ask(port, GET("/once"), &reply);
        close(fd);
        close_server();
}

Test(http_deferred, an_old_client_reads_a_stream_to_its_end)
{
        atomic_store(&published, 2);
        int fd = connect_to(port);
        send_text(fd, "GET /events HTTP/1.0\r\n\r\n");
        receive_head(fd, &reply);
        check_no_field(reply, "Transfer-Encoding");
        read_until(fd, "id: 2\n\n");
        atomic_store(&published, -1);
        assent_http_wake(server);
        cr_assert(closed_by_peer(fd));
        close(fd);
        close_server();
}

/* One thread wakes as fast as it can while streams come, read and go. */
static void *waker(void *context)
{
        atomic_bool *done = context;
        while (!atomic_load(done)) {
                atomic_fetch_add(&published, 1);
                assent_http_wake(server);
        }
        return NULL;
}

Test(http_deferred, streams_come_and_go_under_wakes)
{
        atomic_bool done = false;
        pthread_t thread;
        pthread_create(&thread, NULL, waker, &done);
        for (int i = 0; i < 100; i++) {
                int fd = connect_to(port);
                send_text(fd, GET("/events"));
                read_until(fd, i % 2 ? "id: 1\n\n" : "HTTP/1.1 200");
                close(fd);
        }
        atomic_store(&done, true);
        pthread_join(thread, NULL);
        close_server();
        cr_assert_eq(atomic_load(&streams_closed), 100);
}

/* ---- problems ---- */

Test(http_deferred, a_problem_has_its_members)
{
        ask(port, GET("/problem?x=1"), &reply);
        check_status(reply, 409);
        cr_assert_str_eq(reply.body,
                         "{\"type\":\"/problems/in-use\",\"title\":\"Conflict\",\"status\":409,\"detail\":\"The key "
                         "\\\\\\\"k\\\\\\\" is in use; \\\\xff.\",\"instance\":\"/problem\",\"txid\":\"t-1\"}");
        close_server();
}
