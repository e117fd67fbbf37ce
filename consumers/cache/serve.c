/* serve.c: GET /v1/orders/{id} at the consistency asked for. The server's threads answer from the cache alone; whatever needs
 * the source is handed to threads that may wait, so that a source that hangs holds up nobody who does not ask for it. */
#include "cache.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../problems.h"

#define BOUND_MS_MAX INT64_C(86400000)
#define WAITING_MAX  4096

struct wanted {
        enum assent_consistency consistency;
        int64_t bound_ms; /* of a bounded read */
};

struct job {
        struct job *next;
        struct assent_http_request *request;
        struct wanted wanted;
        int64_t since_ms; /* monotonic */
};

struct cache_serve {
        struct cache_serve_options options;
        struct assent_http *http;
        struct assent_http_metrics *metrics;
        pthread_t *threads;
        unsigned threads_count;
        pthread_mutex_t mutex; /* for the queue */
        pthread_cond_t some;
        struct job *first, **last;
        size_t waiting;
        bool stopping;
        _Atomic uint64_t reads[CACHE_READ_COUNT];
        char errmsg[512];
};

static void count(struct cache_serve *serve, int what)
{
        atomic_fetch_add_explicit(&serve->reads[what], 1, memory_order_relaxed);
}

/* ---- what is wanted ---- */

static bool milliseconds(const char *text, size_t size, int64_t unit_ms, int64_t *out)
{
        int64_t number = 0;
        if (size == 0 || size > 9 || strspn(text, "0123456789") < size)
                return false;
        for (size_t i = 0; i < size; i++)
                number = number * 10 + (text[i] - '0');
        number *= unit_ms;
        *out = number < BOUND_MS_MAX ? number : BOUND_MS_MAX;
        return true;
}

/* A request's Cache-Control, where the query says nothing: max-age=n is a bound, everything else is left to the usual. */
static void wanted_by_field(const char *field, struct wanted *wanted)
{
        while (*field) {
                field += strspn(field, " \t,");
                size_t size = strcspn(field, ",");
                size_t word = strcspn(field, " \t,");
                if (word == 8 && strncasecmp(field, "no-cache", 8) == 0) {
                        wanted->consistency = ASSENT_STRONG;
                        return;
                }
                if (word > 8 && strncasecmp(field, "max-age=", 8) == 0 &&
                    milliseconds(field + 8, word - 8, 1000, &wanted->bound_ms))
                        wanted->consistency = wanted->bound_ms > 0 ? ASSENT_BOUNDED : ASSENT_STRONG;
                field += size;
        }
}

/* False: answered. */
static bool wanted_read(struct assent_http_request *request, int64_t usual_bound_ms, struct wanted *wanted)
{
        static const char *const words[] = {
            [ASSENT_STRONG] = "strong", [ASSENT_BOUNDED] = "bounded", [ASSENT_CACHED] = "cached"};
        const char *word = assent_http_query(request, "consistency"), *bound = assent_http_query(request, "bound_ms");
        const char *field = assent_http_header(request, "Cache-Control");
        *wanted = (struct wanted){ASSENT_STRONG, usual_bound_ms};
        if (!word && !bound) {
                wanted_by_field(field ? field : "", wanted);
                return true;
        }
        for (wanted->consistency = ASSENT_CACHED; wanted->consistency > 0; wanted->consistency--)
                if (word && strcmp(word, words[wanted->consistency]) == 0)
                        break;
        if (!wanted->consistency || (bound && wanted->consistency != ASSENT_BOUNDED)) {
                assent_http_problem(request, 400, "invalid-parameter",
                                    "consistency is strong, bounded or cached, and bound_ms goes with bounded alone: "
                                    "?consistency=bounded&bound_ms=2000");
                return false;
        }
        if (bound && !milliseconds(bound, strlen(bound), 1, &wanted->bound_ms)) {
                assent_http_problem(request, 400, "invalid-parameter",
                                    "bound_ms is a whole number of milliseconds up to %" PRId64, BOUND_MS_MAX);
                return false;
        }
        return true;
}

/* ---- answers ---- */

static void versions_tell(struct assent_http_request *request, const struct cache_ask *ask, int64_t cached)
{
        if (cached >= 0)
                assent_http_set(request, "Assent-Cache-Version", "%" PRId64, cached);
        if (ask->asked && ask->version >= 0)
                assent_http_set(request, "Assent-Source-Version", "%" PRId64, ask->version);
}

/* RFC 9211. A strong read of what is there goes forward because the request says so, others because it is too old. */
static void status_tell(struct assent_http_request *request, const struct wanted *wanted, const struct assent_cached *found,
                        const struct cache_ask *ask)
{
        bool stale = found->result == ASSENT_CACHE_STALE || wanted->consistency != ASSENT_STRONG;
        if (found->result == ASSENT_CACHE_HIT)
                assent_http_set(request, "Cache-Status", "assent-cache; hit");
        else
                assent_http_set(request, "Cache-Status", "assent-cache; fwd=%s; fwd-status=%u%s",
                                found->result == ASSENT_CACHE_MISS ? "miss"
                                : stale                            ? "stale"
                                                                   : "request",
                                ask->status, found->result == ASSENT_CACHE_CONFIRMED ? "" : "; stored");
}

/* Caches further on must ask again: they are told of no events. */
static void entry_answer(struct cache_serve *serve, struct assent_http_request *request, const struct wanted *wanted,
                         struct assent_cached *found, const struct cache_ask *ask)
{
        static const int results[] = {[ASSENT_CACHE_HIT] = CACHE_READ_HIT,
                                      [ASSENT_CACHE_MISS] = CACHE_READ_MISS,
                                      [ASSENT_CACHE_STALE] = CACHE_READ_STALE,
                                      [ASSENT_CACHE_CONFIRMED] = CACHE_READ_CONFIRMED};
        char etag[24];
        snprintf(etag, sizeof etag, "%" PRId64, found->version);
        count(serve, results[found->result]);
        status_tell(request, wanted, found, ask);
        versions_tell(request, ask, ask->asked ? ask->known : found->version);
        assent_http_set(request, "Age", "%" PRId64, found->age_ms / 1000);
        assent_http_set(request, "Cache-Control", "no-cache");
        if (found->size == 0) {
                assent_http_problem(request, 410, "order-deleted", "Order %s was deleted; that is version %s of it.",
                                    assent_http_param(request, "id"), etag);
        } else if (assent_http_preconditions(request, etag)) {
                assent_http_set(request, "ETag", "\"%s\"", etag);
                assent_http_answer(request, 200, "application/json", (struct assent_bytes){found->value, found->size});
        }
        free(found->value);
}

static void failure_answer(struct cache_serve *serve, struct assent_http_request *request, enum assent_err err,
                           const struct cache_ask *ask)
{
        count(serve, err == ASSENT_E_NOT_FOUND ? CACHE_READ_GONE : CACHE_READ_FAILED);
        versions_tell(request, ask, ask->asked ? ask->known : -1);
        if (err == ASSENT_E_NOT_FOUND) {
                assent_http_set(request, "Cache-Status", "assent-cache; fwd=miss; fwd-status=%u", ask->status);
                if (strcmp(ask->content_type, "application/problem+json") == 0)
                        assent_http_answer(request, ask->status, ask->content_type, ask->body);
                else /* whatever stands between may answer what it likes */
                        assent_http_problem(request, ask->status, ask->status == 410 ? "order-deleted" : "order-not-found",
                                            "The order service knows no order %s.", assent_http_param(request, "id"));
        } else if (err == ASSENT_E_BROKER || err == ASSENT_TIMED_OUT || err == ASSENT_E_MEMORY || err == ASSENT_AGAIN) {
                assent_http_set(request, "Retry-After", "%" PRId64,
                                ask->retry_after_ms > 1000 ? ask->retry_after_ms / 1000 : 1);
                assent_http_problem(
                    request, 503, "source-unavailable",
                    "The order service cannot be asked now: %s. Try again, or read with a weaker consistency.", ask->problem);
        } else {
                assent_http_problem(request, 502, "source-answer", "The order service gave no answer that can be used: %s.",
                                    ask->problem);
        }
}

/* One read, and its answer, unless the source would have to be asked and may not. */
static bool read_answer(struct cache_serve *serve, struct assent_http_request *request, const struct wanted *wanted,
                        struct cache_ask *ask)
{
        struct assent_cached found;
        int64_t now_ms = daemon_wall_ms(), bound_ms = wanted->bound_ms;
        enum assent_consistency consistency = cache_guard_judge(serve->options.guard, wanted->consistency, now_ms, &bound_ms);
        if (!ask->fetch && consistency == ASSENT_STRONG)
                return false;
        enum assent_err err = assent_cache_read(cache_guard_cache(serve->options.guard), assent_http_param(request, "id"),
                                                consistency, bound_ms, now_ms, cache_source, ask, &found);
        if (err == ASSENT_AGAIN && !ask->fetch)
                return false;
        if (err)
                failure_answer(serve, request, err, ask);
        else
                entry_answer(serve, request, wanted, &found, ask);
        return true;
}

/* ---- those who may wait ---- */

static struct job *job_take(struct cache_serve *serve)
{
        pthread_mutex_lock(&serve->mutex);
        while (!serve->first && !serve->stopping)
                pthread_cond_wait(&serve->some, &serve->mutex);
        struct job *job = serve->first;
        if (job) {
                serve->first = job->next;
                serve->waiting--;
                if (!serve->first)
                        serve->last = &serve->first;
        }
        pthread_mutex_unlock(&serve->mutex);
        return job;
}

static bool job_add(struct cache_serve *serve, struct job *job)
{
        pthread_mutex_lock(&serve->mutex);
        bool room = serve->waiting < WAITING_MAX;
        if (room) {
                assent_http_defer(job->request); /* it may be answered the moment it is seen */
                *serve->last = job;
                serve->last = &job->next;
                serve->waiting++;
                pthread_cond_signal(&serve->some);
        }
        pthread_mutex_unlock(&serve->mutex);
        return room;
}

static void *waiter_run(void *context)
{
        struct cache_serve *serve = context;
        struct assent_fetch_options options = ASSENT_FETCH_OPTIONS_INIT;
        struct assent_fetch *fetch = NULL;
        struct job *job;
        options.token = serve->options.source_token;
        options.timeout_ms = serve->options.source_timeout_ms;
        options.body_bytes_max = CACHE_VALUE_BYTES_MAX;
        options.entities_max = 0; /* the cache remembers */
        while ((job = job_take(serve))) {
                struct cache_ask ask = {.base = serve->options.source, .known = -1, .version = -1};
                bool late = daemon_monotonic_ms() - job->since_ms > serve->options.source_timeout_ms;
                enum assent_err err = fetch ? ASSENT_OK : assent_fetch_open(&options, &fetch);
                ask.fetch = fetch;
                snprintf(ask.problem, sizeof ask.problem, "%s", late ? "too many requests wait for it" : "out of memory");
                if (late || err)
                        failure_answer(serve, job->request, late ? ASSENT_TIMED_OUT : err, &ask);
                else
                        read_answer(serve, job->request, &job->wanted, &ask);
                free(job);
        }
        assent_fetch_close(fetch);
        return NULL;
}

static void order_get(void *app, struct assent_http_request *request)
{
        struct cache_serve *serve = app;
        struct cache_ask ask = {.known = -1, .version = -1, .problem = "out of memory"};
        struct wanted wanted;
        if (!wanted_read(request, serve->options.bound_ms, &wanted) || read_answer(serve, request, &wanted, &ask))
                return;
        struct job *job = calloc(1, sizeof *job);
        if (job)
                *job = (struct job){.request = request, .wanted = wanted, .since_ms = daemon_monotonic_ms()};
        if (job && job_add(serve, job))
                return;
        if (job)
                snprintf(ask.problem, sizeof ask.problem, "%d requests wait for it", WAITING_MAX);
        free(job);
        failure_answer(serve, request, ASSENT_AGAIN, &ask);
}

static void seen(void *app, const struct assent_http_seen *what)
{
        const struct cache_serve *serve = app;
        assent_http_metrics_add(serve->metrics, what);
}

/* Order-not-found, order-deleted and what else a 404 or 410 of the order service says are passed on as they came. */
static const struct problem problems[] = {
    {"invalid-parameter", 400, "consistency is strong, bounded or cached; bound_ms, in milliseconds, goes with bounded alone."},
    {"order-not-found", 404, "There is no order with this id."},
    {"order-deleted", 410, "The order was cancelled and then deleted; it does not come back."},
    {"source-unavailable", 503, "The order service cannot be asked now; try again, or read with a weaker consistency."},
    {"source-answer", 502, "The order service, or a proxy before it, gave an answer that is no order; their logs say why."},
    {"out-of-memory", 503, "The cache has no memory left for this request; send it again later."},
    PROBLEMS_OF_THE_SERVER,
    {NULL, 0, NULL},
};

static void problems_get(void *app, struct assent_http_request *request)
{
        (void)app;
        problems_answer(request, problems);
}

/* ---- birth and death ---- */

static enum assent_err start(struct cache_serve *serve)
{
        static const struct assent_http_route routes[] = {{"GET", "/v1/orders/{id}", order_get, false},
                                                          {"GET", "/problems/{slug}", problems_get, true},
                                                          {NULL, NULL, NULL, false}};
        struct assent_http_options options = ASSENT_HTTP_OPTIONS_INIT;
        serve->threads = calloc(serve->options.source_connections, sizeof *serve->threads);
        serve->metrics = assent_http_metrics_open();
        if (!serve->threads || !serve->metrics)
                return ASSENT_E_MEMORY;
        while (serve->threads_count < serve->options.source_connections) {
                if (pthread_create(&serve->threads[serve->threads_count], NULL, waiter_run, serve))
                        return ASSENT_E_MEMORY;
                serve->threads_count++;
        }
        options.listen = serve->options.listen;
        options.token_file = serve->options.token_file;
        options.threads = serve->options.threads;
        options.routes = routes;
        options.app = serve;
        options.observed = seen;
        enum assent_err err = assent_http_open(&options, &serve->http);
        if (err)
                snprintf(serve->errmsg, sizeof serve->errmsg, "%s",
                         serve->http ? assent_http_errmsg(serve->http) : assent_err_text(err));
        return err;
}

enum assent_err cache_serve_open(const struct cache_serve_options *options, struct cache_serve **out)
{
        struct cache_serve *serve = calloc(1, sizeof *serve);
        *out = serve;
        if (!serve)
                return ASSENT_E_MEMORY;
        serve->options = *options;
        serve->last = &serve->first;
        pthread_mutex_init(&serve->mutex, NULL);
        pthread_cond_init(&serve->some, NULL);
        snprintf(serve->errmsg, sizeof serve->errmsg, "%s", assent_err_text(ASSENT_E_MEMORY));
        return start(serve);
}

uint16_t cache_serve_port(const struct cache_serve *serve)
{
        return assent_http_port(serve->http);
}

const char *cache_serve_errmsg(const struct cache_serve *serve)
{
        return serve->errmsg;
}

void cache_serve_metrics(const struct cache_serve *serve, struct assent_exposition *out)
{
        static const char *const labels[CACHE_READ_COUNT] = {
            [CACHE_READ_HIT] = "result=\"hit\"",        [CACHE_READ_MISS] = "result=\"miss\"",
            [CACHE_READ_STALE] = "result=\"stale\"",    [CACHE_READ_CONFIRMED] = "result=\"confirmed\"",
            [CACHE_READ_GONE] = "result=\"not_found\"", [CACHE_READ_FAILED] = "result=\"failed\""};
        assent_expose(out, "assent_cache_requests_total", ASSENT_COUNTER,
                      "Reads, by what the cache had to do with their answer.");
        for (size_t i = 0; i < CACHE_READ_COUNT; i++)
                assent_expose_value(out, labels[i], (double)atomic_load_explicit(&serve->reads[i], memory_order_relaxed));
        assent_http_metrics_expose(serve->metrics, out);
}

void cache_serve_close(struct cache_serve *serve)
{
        if (!serve)
                return;
        if (serve->http)
                assent_http_drain(serve->http);
        pthread_mutex_lock(&serve->mutex);
        serve->stopping = true;
        pthread_cond_broadcast(&serve->some);
        pthread_mutex_unlock(&serve->mutex);
        for (unsigned i = 0; i < serve->threads_count; i++)
                pthread_join(serve->threads[i], NULL); /* they answer what is waiting first */
        assent_http_close(serve->http);                /* and this whatever slipped in behind them */
        for (struct job *job = serve->first; job;) {
                struct job *next = job->next;
                free(job);
                job = next;
        }
        assent_http_metrics_close(serve->metrics);
        pthread_cond_destroy(&serve->some);
        pthread_mutex_destroy(&serve->mutex);
        free(serve->threads);
        free(serve);
}
