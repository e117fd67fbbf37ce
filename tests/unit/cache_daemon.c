/* The cache daemon without a broker: what events may do to entries, whatever the backend loses; and its HTTP side, before a
 * source that answers what it is told to. */
#include "contract/cache_backend.h"
#include "http_client.h"

#include "../../consumers/cache/cache.c"
#include "../../consumers/cache/guard.c"
#include "../../consumers/cache/serve.c"
#include "../../consumers/cache/source.c"

/* ---- a backend that forgets and goes away; all that it knows of an entry is the entry ---- */

#define LEAKY_ENTRIES 16

struct leaky {
        struct assent_cache cache;
        pthread_mutex_t mutex;
        struct {
                char key[ASSENT_CACHE_KEY_SIZE_MAX + 1];
                int64_t version, confirmed_ms;
                char *value;
                size_t size;
        } entries[LEAKY_ENTRIES];
        uint32_t random;
        uint32_t lose_one_in; /* 0: loses nothing by itself */
        bool away;
};

static void lose(struct leaky *leaky, size_t i)
{
        free(leaky->entries[i].value);
        memset(&leaky->entries[i], 0, sizeof leaky->entries[i]);
}

static void lose_all(struct leaky *leaky)
{
        for (size_t i = 0; i < LEAKY_ENTRIES; i++)
                lose(leaky, i);
}

/* The entry of that key, or a free one. */
static size_t leaky_find(struct leaky *leaky, const char *key)
{
        size_t found = LEAKY_ENTRIES;
        if (leaky->lose_one_in && cache_random(&leaky->random) % leaky->lose_one_in == 0)
                lose(leaky, cache_random(&leaky->random) % LEAKY_ENTRIES);
        for (size_t i = 0; i < LEAKY_ENTRIES; i++) {
                if (strcmp(leaky->entries[i].key, key) == 0)
                        return i;
                if (!*leaky->entries[i].key)
                        found = i;
        }
        cr_assert_lt(found, LEAKY_ENTRIES);
        return found;
}

static enum assent_err leaky_put(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms,
                                 struct assent_bytes value, bool *set)
{
        struct leaky *leaky = (struct leaky *)cache;
        *set = false;
        if (leaky->away)
                return ASSENT_E_BROKER;
        pthread_mutex_lock(&leaky->mutex);
        size_t i = leaky_find(leaky, key);
        *set = !*leaky->entries[i].key || leaky->entries[i].version < version;
        if (*set) {
                lose(leaky, i);
                snprintf(leaky->entries[i].key, sizeof leaky->entries[i].key, "%s", key);
                leaky->entries[i].version = version;
                leaky->entries[i].confirmed_ms = now_ms;
                leaky->entries[i].value = calloc(1, value.size + 1);
                leaky->entries[i].size = value.size;
                if (value.size)
                        memcpy(leaky->entries[i].value, value.data, value.size);
        }
        pthread_mutex_unlock(&leaky->mutex);
        return ASSENT_OK;
}

static enum assent_err leaky_get(struct assent_cache *cache, const char *key, int64_t *version, int64_t *confirmed_ms,
                                 char **value, size_t *size)
{
        struct leaky *leaky = (struct leaky *)cache;
        if (leaky->away)
                return ASSENT_E_BROKER;
        pthread_mutex_lock(&leaky->mutex);
        size_t i = leaky_find(leaky, key);
        bool there = *leaky->entries[i].key;
        if (there) {
                *version = leaky->entries[i].version;
                *confirmed_ms = leaky->entries[i].confirmed_ms;
                *size = leaky->entries[i].size;
                *value = calloc(1, *size + 1);
                memcpy(*value, leaky->entries[i].value, *size);
        }
        pthread_mutex_unlock(&leaky->mutex);
        return there ? ASSENT_OK : ASSENT_E_NOT_FOUND;
}

static enum assent_err leaky_confirm(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms)
{
        struct leaky *leaky = (struct leaky *)cache;
        if (leaky->away)
                return ASSENT_E_BROKER;
        pthread_mutex_lock(&leaky->mutex);
        size_t i = leaky_find(leaky, key);
        if (*leaky->entries[i].key && leaky->entries[i].version == version)
                leaky->entries[i].confirmed_ms = now_ms;
        pthread_mutex_unlock(&leaky->mutex);
        return ASSENT_OK;
}

static const char *leaky_errmsg(struct assent_cache *cache)
{
        (void)cache;
        return "it is away";
}

static void leaky_close(struct assent_cache *cache)
{
        struct leaky *leaky = (struct leaky *)cache;
        lose_all(leaky);
        pthread_mutex_destroy(&leaky->mutex);
        free(leaky);
}

static struct leaky *leaky;
static struct cache_guard *guard;

/* A guard whose start lies behind: what is set from now on is trusted. */
static void guard_begin(int64_t ttl_ms, int64_t skew_ms)
{
        static const struct assent_cache_ops ops = {
            .put = leaky_put, .get = leaky_get, .confirm = leaky_confirm, .errmsg = leaky_errmsg, .close = leaky_close};
        leaky = calloc(1, sizeof *leaky);
        leaky->cache.ops = &ops;
        leaky->random = 1;
        pthread_mutex_init(&leaky->mutex, NULL);
        cr_assert_eq(cache_guard_open(&leaky->cache, ttl_ms, skew_ms, &guard), ASSENT_OK);
        while (daemon_wall_ms() <= guard->trusted_ms)
                usleep(100);
}

static void guard_end(void)
{
        cache_guard_cache(guard)->ops->close(cache_guard_cache(guard));
}

static enum cache_event event(const char *key, int64_t version, int64_t at_ms, const char *value)
{
        enum cache_event became = CACHE_EVENT_COUNT;
        cr_assert_eq(cache_guard_event(guard, key, version, at_ms, daemon_wall_ms(), cache_text(value), &became), ASSENT_OK);
        return became;
}

/* ---- the guard ---- */

Test(cache_guard, events_never_take_an_entry_back)
{
        guard_begin(0, 0);
        int64_t now_ms = daemon_wall_ms(), confirmed_ms;
        cr_assert_eq(event("o-1", 2, now_ms, "two"), CACHE_EVENT_SET);
        cr_assert_eq(event("o-1", 1, now_ms - 1, "one"), CACHE_EVENT_OLDER);
        cr_assert_eq(event("o-1", 2, now_ms + 1, "two"), CACHE_EVENT_OLDER);
        cr_assert_eq(event("o-1", 4, now_ms - 5, "four"), CACHE_EVENT_SET);
        cr_assert_eq(cache_version(cache_guard_cache(guard), "o-1", &confirmed_ms, "four"), 4);
        cr_assert_eq(confirmed_ms, now_ms - 5); /* what it says, it says of then */
        guard_end();
}

Test(cache_guard, what_was_lost_does_not_come_back_older)
{
        guard_begin(0, 0);
        int64_t now_ms = daemon_wall_ms();
        event("o-1", 3, now_ms, "three");
        lose_all(leaky);
        cr_assert_eq(event("o-1", 1, now_ms, "one"), CACHE_EVENT_ABSENT);
        cr_assert_eq(event("o-1", 2, now_ms, "two"), CACHE_EVENT_ABSENT);
        cr_assert_eq(cache_version(cache_guard_cache(guard), "o-1", NULL, NULL), -1);
        cr_assert_eq(event("o-1", 3, now_ms, "three"), CACHE_EVENT_SET);
        lose_all(leaky);
        cr_assert_eq(event("o-1", 4, now_ms, "four"), CACHE_EVENT_SET);
        cr_assert_eq(event("o-2", 1, now_ms, "other"), CACHE_EVENT_SET);
        guard_end();
}

/* Whoever fetched may put an older version than others of its slot had, unless somebody was there meanwhile. */
Test(cache_guard, who_was_overtaken_puts_nothing_where_nothing_is)
{
        guard_begin(0, 0);
        struct assent_cache *cache = cache_guard_cache(guard);
        int64_t now_ms = daemon_wall_ms();
        event("o-1", 9, now_ms, "nine");
        lose_all(leaky);
        cr_assert_eq(cache_version(cache, "o-1", NULL, NULL), -1); /* looks */
        cr_assert(cache_put(cache, "o-1", 5, now_ms, cache_text("five")), "as if another key had been at 9");
        lose_all(leaky);
        cr_assert_eq(cache_version(cache, "o-1", NULL, NULL), -1);
        event("o-1", 9, now_ms, "nine");
        lose_all(leaky);
        cr_assert_not(cache_put(cache, "o-1", 8, now_ms, cache_text("eight")));
        cr_assert_eq(cache_version(cache, "o-1", NULL, NULL), -1);
        cr_assert_eq(cache_version(cache, "o-2", NULL, NULL), -1); /* looked elsewhere */
        cr_assert_not(cache_put(cache, "o-1", 8, now_ms, cache_text("eight")));
        guard_end();
}

Test(cache_guard, versions_beyond_what_is_remembered_are_put)
{
        guard_begin(0, 0);
        int64_t now_ms = daemon_wall_ms();
        cr_assert_eq(event("o-1", UINT32_MAX, now_ms, "a"), CACHE_EVENT_SET);
        cr_assert_eq(event("o-1", (int64_t)UINT32_MAX + 1, now_ms, "b"), CACHE_EVENT_SET);
        cr_assert_eq(event("o-1", INT64_MAX, now_ms, "c"), CACHE_EVENT_SET);
        cr_assert_eq(event("o-1", INT64_MAX - 1, now_ms, "b"), CACHE_EVENT_OLDER);
        guard_end();
}

/* The bound with which a cached read goes to the cache, or -1: it must ask the source. */
static int64_t cached_bound(int64_t now_ms)
{
        int64_t bound_ms = 0;
        return cache_guard_judge(guard, ASSENT_CACHED, now_ms, &bound_ms) == ASSENT_BOUNDED ? bound_ms : -1;
}

Test(cache_guard, an_outage_makes_everything_before_it_doubtful)
{
        guard_begin(0, 0);
        bool set;
        int64_t began_ms = guard->trusted_ms, bound_ms = 50;
        cr_assert_eq(cached_bound(began_ms - 1), -1);
        cr_assert_eq(cached_bound(began_ms), 0);
        cr_assert_eq(cached_bound(began_ms + 1000), 1000);
        cr_assert_eq(cache_guard_judge(guard, ASSENT_BOUNDED, began_ms + 51, &bound_ms), ASSENT_BOUNDED);
        cr_assert_eq(bound_ms, 50);
        cr_assert_eq(cache_guard_judge(guard, ASSENT_BOUNDED, began_ms + 49, &bound_ms), ASSENT_BOUNDED);
        cr_assert_eq(bound_ms, 49);
        cr_assert_eq(cache_guard_judge(guard, ASSENT_STRONG, began_ms + 49, &bound_ms), ASSENT_STRONG);
        leaky->away = true;
        cr_assert_eq(cache_guard_cache(guard)->ops->put(cache_guard_cache(guard), "o-1", 1, 1, cache_text("v"), &set),
                     ASSENT_E_BROKER);
        leaky->away = false;
        cr_assert_gt(guard->trusted_ms, began_ms);
        cr_assert_eq(cached_bound(guard->trusted_ms - 1), -1);
        guard_end();
}

Test(cache_guard, an_entry_is_trusted_for_its_time_to_live)
{
        guard_begin(100, 0);
        cr_assert_eq(cached_bound(guard->trusted_ms + 99), 99);
        cr_assert_eq(cached_bound(guard->trusted_ms + 100), 100);
        cr_assert_eq(cached_bound(guard->trusted_ms + 101), 100);
        guard_end();
}

/* By a clock that is ahead, an event that seems to be from after the start may be from before it. */
Test(cache_guard, events_from_about_the_start_are_put_as_of_before_it)
{
        guard_begin(0, 20);
        int64_t confirmed_ms, trusted_ms = guard->trusted_ms;
        while (daemon_wall_ms() < trusted_ms + 21)
                usleep(100);
        event("o-1", 1, trusted_ms + 19, "v");
        event("o-2", 1, trusted_ms + 20, "v");
        event("o-3", 1, trusted_ms - 7, "v");
        event("o-4", 1, INT64_MAX, "v");
        cache_version(&leaky->cache, "o-1", &confirmed_ms, NULL);
        cr_assert_eq(confirmed_ms, trusted_ms - 1);
        cache_version(&leaky->cache, "o-2", &confirmed_ms, NULL);
        cr_assert_eq(confirmed_ms, trusted_ms + 20);
        cache_version(&leaky->cache, "o-3", &confirmed_ms, NULL);
        cr_assert_eq(confirmed_ms, trusted_ms - 7);
        cache_version(&leaky->cache, "o-4", &confirmed_ms, NULL);
        cr_assert_leq(confirmed_ms, daemon_wall_ms());
        guard_end();
}

/* Without the guard this backend fails the same test within a moment. */
Test(cache_guard, reads_never_go_back_though_entries_are_lost)
{
        guard_begin(0, 0);
        leaky->lose_one_in = 8;
        cache_reads_never_go_back(cache_guard_cache(guard), 20000);
        guard_end();
}

/* ---- events ---- */

static struct order_event order_at(int64_t version, const char *state)
{
        struct order_event order = {.version = version, .total_cents = 100, .created_ms = 1, .updated_ms = daemon_wall_ms()};
        snprintf(order.order_id, sizeof order.order_id, "o-1");
        snprintf(order.state, sizeof order.state, "%s", state);
        snprintf(order.customer, sizeof order.customer, "alice");
        order.items = json_pack("[{s:s, s:i}]", "sku", "lamp", "quantity", 1);
        return order;
}

static enum assent_result deliver(struct cache_events *events, const struct order_event *order, size_t cut)
{
        struct assent_delivery delivery = {.topic = "a.order.events"};
        cr_assert_eq(order_event_encode(&events->codec, order, &delivery.value), ASSENT_OK);
        delivery.value.size -= cut;
        enum assent_result result = cache_handle(events, NULL, &delivery);
        free((void *)delivery.value.data);
        return result;
}

Test(cache_events, become_the_representation_of_the_order)
{
        guard_begin(0, 0);
        struct cache_events events = {.guard = guard};
        struct order_event order = order_at(2, "CONFIRMED");
        char *text = order_event_text(&order);
        cr_assert_eq(order_event_codec_open(&events.codec), ASSENT_OK);
        cr_assert_eq(deliver(&events, &order, 0), ASSENT_RESULT_DONE);
        cr_assert_eq(cache_version(&leaky->cache, "o-1", NULL, text), 2);
        free(text);

        cr_assert_eq(deliver(&events, &order, 0), ASSENT_RESULT_DONE);
        cr_assert_eq(deliver(&events, &order, 1), ASSENT_RESULT_DONE, "what cannot be read holds nothing up");
        order.version = 3;
        leaky->away = true;
        cr_assert_eq(deliver(&events, &order, 0), ASSENT_RESULT_RETRY);
        leaky->away = false;
        snprintf(order.state, sizeof order.state, "DELETED");
        cr_assert_eq(deliver(&events, &order, 0), ASSENT_RESULT_DONE);
        cr_assert_eq(cache_version(&leaky->cache, "o-1", NULL, ""), 3);
        lose_all(leaky);
        order.version = 1;
        cr_assert_eq(deliver(&events, &order, 0), ASSENT_RESULT_DONE);
        cr_assert_eq(events.counts[CACHE_EVENT_SET], 2);
        cr_assert_eq(events.counts[CACHE_EVENT_OLDER], 1);
        cr_assert_eq(events.counts[CACHE_EVENT_UNDECODABLE], 1);
        cr_assert_eq(events.counts[CACHE_EVENT_ABSENT], 1);
        order_event_clear(&order);
        order_event_codec_close(&events.codec);
        guard_end();
}

/* ---- a source that is told what to say ---- */

static struct {
        atomic_int asked, version, status, retry_after_s;
        atomic_bool untagged, mute;
        struct assent_http_request *_Atomic muted; /* waits for an answer */
        char seen[300];                            /* the path last asked for */
} source;

static void source_get(void *app, struct assent_http_request *request)
{
        char body[64];
        int version = source.version, status = source.status;
        (void)app;
        snprintf(source.seen, sizeof source.seen, "%s", assent_http_param(request, "id"));
        source.asked++;
        if (source.mute) {
                assent_http_defer(request);
                source.muted = request;
                return;
        }
        if (!source.untagged)
                assent_http_set(request, "ETag", "\"%d\"", version);
        if (source.retry_after_s)
                assent_http_set(request, "Retry-After", "%d", source.retry_after_s);
        if (status != 200) {
                assent_http_problem(request, (unsigned)status, "of-the-source", "No.");
                return;
        }
        int size = snprintf(body, sizeof body, "{\"version\":%d}", version);
        char etag[16];
        snprintf(etag, sizeof etag, "%d", version);
        if (source.untagged || assent_http_preconditions(request, etag))
                assent_http_answer(request, 200, "application/json", (struct assent_bytes){body, (size_t)size});
}

static struct cache_serve *serve;
static char source_url[64];

static void daemon_start(void)
{
        static const struct assent_http_route routes[] = {{"GET", "/shop/v1/orders/{id}", source_get, false},
                                                          {NULL, NULL, NULL, false}};
        struct assent_http_options options = ASSENT_HTTP_OPTIONS_INIT;
        options.routes = routes;
        open_server(&options);
        source.version = 1;
        source.status = 200;
        snprintf(source_url, sizeof source_url, "http://127.0.0.1:%u/shop", (unsigned)port);
        guard_begin(0, 0);
        const struct cache_serve_options serving = {.guard = guard,
                                                    .listen = "127.0.0.1:0",
                                                    .source = source_url,
                                                    .threads = 1,
                                                    .source_connections = 2,
                                                    .source_timeout_ms = 30000,
                                                    .bound_ms = 5000};
        enum assent_err err = cache_serve_open(&serving, &serve);
        cr_assert_eq(err, ASSENT_OK, "%s", cache_serve_errmsg(serve));
        port = cache_serve_port(serve);
}

static void daemon_stop(void)
{
        cache_serve_close(serve);
        close_server();
        guard_end();
}

TestSuite(cache_serve, .init = daemon_start, .fini = daemon_stop, .timeout = 120);

#define ORDER(query) GET("/v1/orders/o-1" query)

static struct reply reply;

/* A read, its status, its Cache-Status, and how often the source has been asked by then. */
static void reads(const char *request, int status, const char *cache_status, int asked)
{
        char value[128];
        ask(port, request, &reply);
        check_status(reply, status);
        cr_assert_eq(source.asked, asked, "asked %d times: %s", source.asked, reply.text);
        if (cache_status) {
                cr_assert_not_null(reply_field(&reply, "Cache-Status", value, sizeof value), "%s", reply.text);
                cr_assert_eq(strncmp(value, "assent-cache; ", 14), 0);
                cr_assert_str_eq(value + 14, cache_status);
        }
}

Test(cache_serve, every_path_gives_the_same_body_and_tag)
{
        static const char *const paths[][2] = {{ORDER("?consistency=cached"), "fwd=miss; fwd-status=200; stored"},
                                               {ORDER("?consistency=cached"), "hit"},
                                               {ORDER("?consistency=bounded&bound_ms=60000"), "hit"},
                                               {ORDER(""), "fwd=request; fwd-status=304"},
                                               {ORDER("?consistency=strong"), "fwd=request; fwd-status=304"}};
        static const int asked[] = {1, 1, 1, 2, 3};
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
                reads(paths[i][0], 200, paths[i][1], asked[i]);
                check_body(reply, "{\"version\":1}");
                check_field(reply, "ETag", "\"1\"");
                check_field(reply, "Cache-Control", "no-cache");
                check_field(reply, "Content-Type", "application/json");
                if (i == 0)
                        check_no_field(reply, "Assent-Cache-Version");
                else
                        check_field(reply, "Assent-Cache-Version", "1");
                if (i == 1 || i == 2)
                        check_no_field(reply, "Assent-Source-Version");
                else
                        check_field(reply, "Assent-Source-Version", "1");
        }
        source.version = 3;
        reads(ORDER("?consistency=cached"), 200, "hit", 3);
        check_field(reply, "ETag", "\"1\"");
        reads(ORDER(""), 200, "fwd=stale; fwd-status=200; stored", 4);
        check_field(reply, "Assent-Cache-Version", "1");
        check_field(reply, "Assent-Source-Version", "3");
        check_body(reply, "{\"version\":3}");
        reads(ORDER("?consistency=cached"), 200, "hit", 4);
        check_field(reply, "ETag", "\"3\"");
        reads("HEAD /v1/orders/o-1?consistency=cached HTTP/1.1\r\n" HOST "\r\n", 200, "hit", 4);
}

#define IF_NONE(query, tag) "GET /v1/orders/o-1" query " HTTP/1.1\r\n" HOST "If-None-Match: " tag "\r\n\r\n"

Test(cache_serve, a_known_version_is_not_sent_again)
{
        reads(ORDER(""), 200, NULL, 1);
        reads(IF_NONE("?consistency=cached", "\"1\""), 304, "hit", 1);
        check_field(reply, "ETag", "\"1\"");
        reads(IF_NONE("", "\"7\", W/\"1\""), 304, "fwd=request; fwd-status=304", 2);
        source.version = 2;
        reads(IF_NONE("?consistency=cached", "\"1\""), 304, "hit", 2);
        reads(IF_NONE("", "\"1\""), 200, "fwd=stale; fwd-status=200; stored", 3);
        reads(IF_NONE("?consistency=cached", "\"1\""), 200, "hit", 3);
        reads(IF_NONE("?consistency=cached", "\"2\""), 304, "hit", 3);
        reads(IF_NONE("?consistency=cached", "2"), 400, NULL, 3);
}

Test(cache_serve, bounded_reads_ask_when_the_entry_is_older)
{
        event("o-1", 1, daemon_wall_ms() - 50000, "{\"version\":1}");
        guard->trusted_ms -= 100000; /* as if it had been up for long */
        reads(ORDER("?consistency=bounded&bound_ms=60000"), 200, "hit", 0);
        char age[16];
        cr_assert_geq(strtol(reply_field(&reply, "Age", age, sizeof age), NULL, 10), 50);
        reads("GET /v1/orders/o-1 HTTP/1.1\r\n" HOST "Cache-Control: foo, Max-Age=60\r\n\r\n", 200, "hit", 0);
        reads(ORDER("?consistency=bounded&bound_ms=49000"), 200, "fwd=stale; fwd-status=304", 1);
        check_field(reply, "Age", "0");
        reads(ORDER("?consistency=bounded"), 200, "hit", 1);
        reads("GET /v1/orders/o-1 HTTP/1.1\r\n" HOST "Cache-Control: max-age=60, no-cache\r\n\r\n", 200,
              "fwd=request; fwd-status=304", 2);
        reads("GET /v1/orders/o-1 HTTP/1.1\r\n" HOST "Cache-Control: max-age=0\r\n\r\n", 200, "fwd=request; fwd-status=304",
              3);
        reads("GET /v1/orders/o-1 HTTP/1.1\r\n" HOST "Cache-Control: max-age=x, only\r\n\r\n", 200,
              "fwd=request; fwd-status=304", 4);
        reads("GET /v1/orders/o-1?consistency=cached HTTP/1.1\r\n" HOST "Cache-Control: no-cache\r\n\r\n", 200, "hit", 4);
}

Test(cache_serve, every_problem_type_is_explained)
{
        static const char *const said[] = {"invalid-parameter", "order-not-found", "order-deleted", "source-unavailable",
                                           "source-answer",     "out-of-memory",   "not-found",     "problem-not-found"};
        char request[200], slug[80];
        for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
                snprintf(request, sizeof request, "GET /problems/%s HTTP/1.1\r\n" HOST "\r\n", said[i]);
                snprintf(slug, sizeof slug, "{\"slug\":\"%s\",\"status\":", said[i]);
                ask(port, request, &reply);
                check_status(reply, 200);
                check_body(reply, slug);
        }
        ask(port, GET("/problems/none"), &reply);
        check_status(reply, 404);
        check_body(reply, "/problems/problem-not-found");
}

Test(cache_serve, what_is_no_consistency_is_refused)
{
        static const char *const bad[] = {ORDER("?consistency=weak"),
                                          ORDER("?consistency="),
                                          ORDER("?consistency=Cached"),
                                          ORDER("?bound_ms=5"),
                                          ORDER("?consistency=cached&bound_ms=5"),
                                          ORDER("?consistency=bounded&bound_ms="),
                                          ORDER("?consistency=bounded&bound_ms=-1"),
                                          ORDER("?consistency=bounded&bound_ms=5x"),
                                          ORDER("?consistency=bounded&bound_ms=1000000000")};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                ask(port, bad[i], &reply);
                check_status(reply, 400);
                check_body(reply, "/problems/invalid-parameter");
        }
        reads(ORDER("?consistency=bounded&bound_ms=999999999"), 200, "fwd=miss; fwd-status=200; stored", 1);
}

Test(cache_serve, without_the_source_only_strong_reads_fail)
{
        reads(ORDER(""), 200, NULL, 1);
        close_server();
        reads(ORDER("?consistency=cached"), 200, "hit", 1);
        reads(ORDER("?consistency=bounded&bound_ms=60000"), 200, "hit", 1);
        reads(IF_NONE("?consistency=cached", "\"1\""), 304, "hit", 1);
        reads(ORDER(""), 503, NULL, 1);
        check_field(reply, "Retry-After", "1");
        check_body(reply, "/problems/source-unavailable");
        reads(GET("/v1/orders/o-2?consistency=cached"), 503, NULL, 1);
        judged(guard, ASSENT_E_BROKER);
        reads(ORDER("?consistency=cached"), 503, NULL, 1); /* it may be of before something that was read past it */
}

Test(cache_serve, a_source_that_hangs_holds_up_no_cached_read)
{
        reads(ORDER(""), 200, NULL, 1);
        source.mute = true;
        int waiting[3];
        for (size_t i = 0; i < 3; i++) { /* one more than may ask at once */
                waiting[i] = connect_to(port);
                send_text(waiting[i], ORDER(""));
        }
        while (!source.muted || source.asked < 3)
                usleep(1000);
        reads(ORDER("?consistency=cached"), 200, "hit", 3);
        source.mute = false;
        close_server(); /* the questions under way are answered with 503 */
        for (size_t i = 0; i < 3; i++) {
                receive_reply(waiting[i], &reply);
                check_status(reply, 503);
                close(waiting[i]);
        }
}

Test(cache_serve, what_the_source_refuses_is_told_as_it_is)
{
        source.status = 404;
        reads(GET("/v1/orders/o%2F1%20%C3%A4"), 404, "fwd=miss; fwd-status=404", 1);
        check_body(reply, "/problems/of-the-source");
        check_field(reply, "Content-Type", "application/problem+json");
        cr_assert_str_eq(source.seen, "o/1 \xc3\xa4");
        source.status = 503;
        source.retry_after_s = 7;
        reads(ORDER(""), 503, NULL, 2);
        check_field(reply, "Retry-After", "7");
        source.status = 401;
        reads(ORDER(""), 502, NULL, 3);
        check_body(reply, "the source answered 401");
        source.status = 200;
        source.untagged = true;
        reads(ORDER(""), 502, NULL, 4);
}

Test(cache_serve, a_source_that_went_back_is_no_answer)
{
        source.version = 5;
        reads(ORDER(""), 200, NULL, 1);
        source.version = 4;
        reads(ORDER(""), 502, NULL, 2);
        check_field(reply, "Assent-Cache-Version", "5");
        check_field(reply, "Assent-Source-Version", "4");
        reads(ORDER("?consistency=cached"), 200, "hit", 2);
        check_field(reply, "ETag", "\"5\"");
}

Test(cache_serve, what_was_deleted_stays_deleted)
{
        reads(ORDER(""), 200, NULL, 1);
        source.status = 410;
        source.version = 2;
        reads(ORDER(""), 410, "fwd=stale; fwd-status=410; stored", 2);
        check_body(reply, "/problems/order-deleted");
        event("o-1", 1, daemon_wall_ms(), "{\"version\":1}");
        reads(ORDER("?consistency=cached"), 410, "hit", 2);
        reads(IF_NONE("?consistency=cached", "\"2\""), 410, "hit", 2);
        reads(ORDER(""), 410, "fwd=request; fwd-status=410", 3);
        source.untagged = true; /* a source that does not say which version that is */
        reads(GET("/v1/orders/o-2"), 410, "fwd=miss; fwd-status=410", 4);
        check_body(reply, "/problems/of-the-source");
}

Test(cache_serve, a_backend_that_is_away_costs_a_question_each)
{
        leaky->away = true;
        reads(ORDER("?consistency=cached"), 200, "fwd=miss; fwd-status=200; stored", 1);
        reads(ORDER("?consistency=cached"), 200, NULL, 2);
        check_body(reply, "{\"version\":1}");
}

Test(cache_serve, reads_are_counted)
{
        reads(ORDER(""), 200, NULL, 1);
        reads(ORDER("?consistency=cached"), 200, NULL, 1);
        reads(ORDER("?consistency=cached"), 200, NULL, 1);
        reads(ORDER(""), 200, NULL, 2);
        source.version = 2;
        reads(ORDER(""), 200, NULL, 3);
        source.status = 404;
        reads(ORDER(""), 404, NULL, 4);
        source.status = 500;
        reads(ORDER(""), 503, NULL, 5);
        static const uint64_t wanted[CACHE_READ_COUNT] = {
            [CACHE_READ_HIT] = 2,       [CACHE_READ_MISS] = 1, [CACHE_READ_STALE] = 1,
            [CACHE_READ_CONFIRMED] = 1, [CACHE_READ_GONE] = 1, [CACHE_READ_FAILED] = 1};
        for (int i = 0; i < CACHE_READ_COUNT; i++)
                cr_assert_eq(serve->reads[i], wanted[i], "%d: %lu", i, (unsigned long)serve->reads[i]);
}
