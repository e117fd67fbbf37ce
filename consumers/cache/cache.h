/* cache.h: the parts of the cache daemon: the backend on Redis, the guard around any backend, the source, the HTTP side, and
 * the handle of the consumer that ties events to entries. */
#ifndef ASSENT_CONSUMERS_CACHE_H
#define ASSENT_CONSUMERS_CACHE_H

#include <stdatomic.h>

#include <assent/cache.h>
#include <assent/consumer.h>
#include <assent/fetch.h>
#include <assent/http.h>
#include <assent/observe.h>

#include "../daemon.h"
#include "../order_event.h"

#define CACHE_VALUE_BYTES_MAX ((size_t)1 << 20) /* of one representation, in every backend and from the source */

/* ---- redis.c ---- */

struct cache_redis_options {
        const char *address;  /* "HOST:PORT", "[::1]:6379" */
        const char *password; /* NULL: none */
        const char *prefix;   /* of every key: one Redis may serve several */
        int64_t timeout_ms;   /* of one command, and to connect */
        int64_t ttl_ms;       /* an entry that nobody confirms for so long goes; 0: none does */
};

/* A backend on Redis; options are copied. Nothing is asked of Redis yet: it may be away.
 * Returns ASSENT_OK, ASSENT_E_ARGUMENT (the address), ASSENT_E_MEMORY. */
enum assent_err cache_redis_open(const struct cache_redis_options *options, struct assent_cache **out);

/* ---- guard.c ---- */

/* What became of an event. */
enum cache_event { CACHE_EVENT_SET, CACHE_EVENT_OLDER, CACHE_EVENT_ABSENT, CACHE_EVENT_UNDECODABLE, CACHE_EVENT_COUNT };

struct cache_guard;

/* A cache around `inner`, which it owns from then on (also when it fails). What `inner` loses, forgets in an outage or brings
 * back from an old snapshot never makes a read go back.
 * `skew_ms`: how far the clock that stamps events may be ahead of ours. Returns ASSENT_OK, ASSENT_E_MEMORY. */
enum assent_err cache_guard_open(struct assent_cache *inner, int64_t ttl_ms, int64_t skew_ms, struct cache_guard **out);
/* To read through, with assent_cache_read. Closing it closes all. */
struct assent_cache *cache_guard_cache(struct cache_guard *guard);
/* An event says that this was the newest version at `at_ms`, a time of the source's clock no later than its commit.
 * *became: SET, OLDER or ABSENT. Returns as assent_cache_ops.put. */
enum assent_err cache_guard_event(struct cache_guard *guard, const char *key, int64_t version, int64_t at_ms, int64_t now_ms,
                                  struct assent_bytes value, enum cache_event *became);
/* The consistency, and its bound, with which a read must go to assent_cache_read for its promise to hold. */
enum assent_consistency cache_guard_judge(const struct cache_guard *guard, enum assent_consistency wanted, int64_t now_ms,
                                          int64_t *bound_ms);

/* ---- source.c ---- */

/* One question to the order service, and what came of it. Texts and body are valid until the next one on the same handle. */
struct cache_ask {
        struct assent_fetch *fetch; /* NULL: the source is not to be asked: ASSENT_AGAIN */
        const char *base;           /* "http://127.0.0.1:8080" */
        bool asked;
        int64_t known, version; /* in the cache when it was asked, and there; -1: none */
        unsigned status;        /* 0: no answer */
        int64_t retry_after_ms;
        const char *content_type;
        struct assent_bytes body;
        char problem[200]; /* why it was no use */
};
enum assent_err cache_source(void *ask, const char *key, int64_t known, int64_t *version, char **value, size_t *size);

/* ---- serve.c ---- */

enum {
        CACHE_READ_HIT,
        CACHE_READ_MISS,
        CACHE_READ_STALE,
        CACHE_READ_CONFIRMED,
        CACHE_READ_GONE,
        CACHE_READ_FAILED,
        CACHE_READ_COUNT
};

struct cache_serve_options {
        struct cache_guard *guard;
        const char *listen, *token_file;   /* token_file NULL: none */
        const char *source, *source_token; /* source_token NULL: none */
        unsigned threads, source_connections;
        uint32_t source_timeout_ms;
        int64_t bound_ms; /* of a bounded read that names none */
};

struct cache_serve;

/* Serves GET /v1/orders/{id}. *out is set even when it fails (then only errmsg and close), unless memory ran out.
 * Returns what assent_http_open does. */
enum assent_err cache_serve_open(const struct cache_serve_options *options, struct cache_serve **out);
uint16_t cache_serve_port(const struct cache_serve *serve);
const char *cache_serve_errmsg(const struct cache_serve *serve);
void cache_serve_metrics(const struct cache_serve *serve, struct assent_exposition *out);
/* Answers what is waiting, then stops. NULL is fine. */
void cache_serve_close(struct cache_serve *serve);

/* ---- cache.c ---- */

struct cache_events {
        struct cache_guard *guard;
        struct order_event_codec codec;
        _Atomic uint64_t counts[CACHE_EVENT_COUNT];
};
enum assent_result cache_handle(void *events, struct assent_tx *tx, const struct assent_delivery *delivery);
void cache_events_metrics(const struct cache_events *events, struct assent_exposition *out);

#endif
