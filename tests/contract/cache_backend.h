/* cache_backend.h: what every backend of the cache keeps to. Each function takes one that was opened empty, with room for all
 * that is put here: 64 keys and values of 64 KiB. */
#ifndef ASSENT_TESTS_CACHE_BACKEND_H
#define ASSENT_TESTS_CACHE_BACKEND_H

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <assent/cache.h>

#include "base/clock.h"

static inline struct assent_bytes cache_text(const char *text)
{
        return (struct assent_bytes){text, strlen(text)};
}

static inline bool cache_put(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms,
                             struct assent_bytes value)
{
        bool set = false;
        cr_assert_eq(cache->ops->put(cache, key, version, now_ms, value, &set), ASSENT_OK, "%s", cache->ops->errmsg(cache));
        return set;
}

/* The version that stands there, or -1; the value must be `value`, unless that is NULL. */
static inline int64_t cache_version(struct assent_cache *cache, const char *key, int64_t *confirmed_ms, const char *value)
{
        int64_t version = -2, confirmed = -2;
        char *data = NULL;
        size_t size = 0;
        enum assent_err err = cache->ops->get(cache, key, &version, &confirmed, &data, &size);
        if (err == ASSENT_E_NOT_FOUND)
                return -1;
        cr_assert_eq(err, ASSENT_OK, "%s", cache->ops->errmsg(cache));
        cr_assert_not_null(data);
        if (value) {
                cr_assert_eq(size, strlen(value), "%zu bytes instead of \"%s\"", size, value);
                cr_assert_arr_eq(data, value, size);
        }
        if (confirmed_ms)
                *confirmed_ms = confirmed;
        free(data);
        return version;
}

static inline void cache_keeps_the_newest(struct assent_cache *cache)
{
        int64_t now_ms = assent_clock_wall_ms(), confirmed_ms = 0;
        cr_assert_eq(cache_version(cache, "o-1", NULL, NULL), -1);
        cr_assert(cache_put(cache, "o-1", 0, now_ms, cache_text("zero")));
        cr_assert(cache_put(cache, "o-1", 5, now_ms + 1, cache_text("five")));
        cr_assert_not(cache_put(cache, "o-1", 5, now_ms + 2, cache_text("FIVE")));
        cr_assert_not(cache_put(cache, "o-1", 4, now_ms + 3, cache_text("four")));
        cr_assert_eq(cache_version(cache, "o-1", &confirmed_ms, "five"), 5);
        cr_assert_eq(confirmed_ms, now_ms + 1); /* an event that comes again says nothing about now */
        cr_assert(cache_put(cache, "o-1", INT64_MAX, now_ms + 4, cache_text("last")));
        cr_assert_not(cache_put(cache, "o-1", INT64_MAX - 1, now_ms + 5, cache_text("but one")));
        cr_assert_eq(cache_version(cache, "o-1", &confirmed_ms, "last"), INT64_MAX);
        cr_assert_eq(confirmed_ms, now_ms + 4);
}

static inline void cache_confirms_only_what_stands_there(struct assent_cache *cache)
{
        int64_t now_ms = assent_clock_wall_ms(), confirmed_ms = 0;
        cr_assert_eq(cache->ops->confirm(cache, "o-1", 1, now_ms), ASSENT_OK);
        cr_assert_eq(cache_version(cache, "o-1", NULL, NULL), -1);
        cr_assert(cache_put(cache, "o-1", 2, now_ms, cache_text("two")));
        for (int64_t version = 1; version <= 3; version++) {
                cr_assert_eq(cache->ops->confirm(cache, "o-1", version, now_ms + version), ASSENT_OK);
                cr_assert_eq(cache_version(cache, "o-1", &confirmed_ms, "two"), 2);
                cr_assert_eq(confirmed_ms, version < 2 ? now_ms : now_ms + 2);
        }
}

static inline void cache_limits_keys_and_versions(struct assent_cache *cache)
{
        char key[ASSENT_CACHE_KEY_SIZE_MAX + 2];
        int64_t now_ms = assent_clock_wall_ms();
        bool set = true;
        memset(key, 'k', sizeof key - 1);
        key[sizeof key - 1] = '\0';
        cr_assert_eq(cache->ops->put(cache, key, 1, now_ms, cache_text("v"), &set), ASSENT_E_LIMIT);
        cr_assert_not(set);
        cr_assert_gt(strlen(cache->ops->errmsg(cache)), 10);
        key[ASSENT_CACHE_KEY_SIZE_MAX] = '\0';
        cr_assert(cache_put(cache, key, 1, now_ms, cache_text("v")));
        cr_assert_eq(cache_version(cache, key, NULL, "v"), 1);
        cr_assert_eq(cache->ops->put(cache, "", 1, now_ms, cache_text("v"), &set), ASSENT_E_LIMIT);
        cr_assert_eq(cache->ops->put(cache, "k", -1, now_ms, cache_text("v"), &set), ASSENT_E_LIMIT);
        cr_assert_not(set);
        cr_assert_eq(cache_version(cache, "k", NULL, NULL), -1);
}

/* A value that is too large is not kept, and the older one, which readers have moved on from, is not kept either. */
static inline void cache_limits_values(struct assent_cache *cache, size_t value_bytes_max)
{
        char *value = calloc(1, value_bytes_max + 1);
        int64_t now_ms = assent_clock_wall_ms();
        bool set = true;
        cr_assert(cache_put(cache, "o-1", 1, now_ms, (struct assent_bytes){value, value_bytes_max}));
        cr_assert_eq(cache_version(cache, "o-1", NULL, NULL), 1);
        cr_assert_eq(cache->ops->put(cache, "o-1", 2, now_ms, (struct assent_bytes){value, value_bytes_max + 1}, &set),
                     ASSENT_E_LIMIT);
        cr_assert_not(set);
        cr_assert_eq(cache_version(cache, "o-1", NULL, NULL), -1);
        free(value);
}

static inline void cache_keeps_any_bytes(struct assent_cache *cache)
{
        static const char bytes[] = "a\0b\r\n\xff%s $3\r\n";
        static const char *const keys[] = {"o-1", "o-1 ", "O-1", "o*", "o-?", "{o}-1", "o%s", "\xc3\xa4", "o:1", "o\n1", "\""};
        int64_t now_ms = assent_clock_wall_ms(), version, confirmed_ms;
        char *value, text[16];
        size_t size, count = sizeof keys / sizeof *keys;

        cr_assert(cache_put(cache, "bytes", 1, now_ms, (struct assent_bytes){bytes, sizeof bytes}));
        cr_assert_eq(cache->ops->get(cache, "bytes", &version, &confirmed_ms, &value, &size), ASSENT_OK);
        cr_assert_eq(size, sizeof bytes);
        cr_assert_arr_eq(value, bytes, size);
        free(value);
        cr_assert(cache_put(cache, "empty", 1, now_ms, (struct assent_bytes){0}));
        cr_assert_eq(cache_version(cache, "empty", NULL, ""), 1);
        for (size_t i = 0; i < count; i++) {
                snprintf(text, sizeof text, "%zu", i);
                cr_assert(cache_put(cache, keys[i], (int64_t)i, now_ms, cache_text(text)), "%s", keys[i]);
        }
        for (size_t i = 0; i < count; i++) {
                snprintf(text, sizeof text, "%zu", i);
                cr_assert_eq(cache_version(cache, keys[i], NULL, text), (int64_t)i, "%s", keys[i]);
        }
}

/* ---- many threads ---- */

#define CACHE_THREADS   4
#define CACHE_KEYS      8
#define CACHE_VALUE_MAX 48

/* The value that a version of a key has; every fourth one is longer than 40 bytes. */
static inline struct assent_bytes cache_value(const char *key, int64_t version, char text[CACHE_VALUE_MAX])
{
        int width = version % 4 == 3 ? 40 : 1;
        return (struct assent_bytes){text, (size_t)snprintf(text, CACHE_VALUE_MAX, "%s=%*lld", key, width, (long long)version)};
}

static inline bool cache_value_is(const char *key, int64_t version, const char *value, size_t size)
{
        char text[CACHE_VALUE_MAX];
        struct assent_bytes right = cache_value(key, version, text);
        return size == right.size && memcmp(value, text, size) == 0;
}

struct cache_crowd {
        struct assent_cache *cache;
        int turns;
        atomic_int_fast64_t put[CACHE_KEYS]; /* the newest version anybody put */
        atomic_uint seed;
};

static inline uint32_t cache_random(uint32_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        return *state;
}

static inline void cache_raise(atomic_int_fast64_t *most, int64_t version)
{
        int_fast64_t now = atomic_load(most);
        while (now < version && !atomic_compare_exchange_weak(most, &now, version))
                ;
}

static inline void *cache_crowd_run(void *context)
{
        struct cache_crowd *crowd = context;
        uint32_t random = atomic_fetch_add(&crowd->seed, 1) * 2654435761u + 1;
        for (int i = 0; i < crowd->turns; i++) {
                unsigned which = cache_random(&random) % CACHE_KEYS;
                char key[16], value[CACHE_VALUE_MAX];
                int64_t least = atomic_load(&crowd->put[which]);
                int64_t version = least + (int64_t)(cache_random(&random) % 5) - 2;
                snprintf(key, sizeof key, "k%u", which);
                if (cache_random(&random) % 2 && version > 0) {
                        cache_put(crowd->cache, key, version, assent_clock_wall_ms(), cache_value(key, version, value));
                        cache_raise(&crowd->put[which], version);
                } else {
                        char *data = NULL;
                        size_t size;
                        int64_t confirmed_ms, got = 0;
                        enum assent_err err = crowd->cache->ops->get(crowd->cache, key, &got, &confirmed_ms, &data, &size);
                        cr_assert(err == ASSENT_OK || (err == ASSENT_E_NOT_FOUND && least == 1));
                        cr_assert(err != ASSENT_OK || got >= least || least == 1, "%s: %lld after %lld", key, (long long)got,
                                  (long long)least);
                        cr_assert(err != ASSENT_OK || cache_value_is(key, got, data, size));
                        free(data);
                }
        }
        return NULL;
}

/* Puts and gets of all versions in any order by several threads: what was put is there, or something newer. */
static inline void cache_keeps_the_newest_of_many_threads(struct assent_cache *cache, int turns)
{
        struct cache_crowd crowd = {.cache = cache, .turns = turns, .seed = 1};
        pthread_t threads[CACHE_THREADS];
        for (int i = 0; i < CACHE_KEYS; i++)
                crowd.put[i] = 1; /* stands for: none yet */
        for (int i = 0; i < CACHE_THREADS; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, cache_crowd_run, &crowd), 0);
        for (int i = 0; i < CACHE_THREADS; i++)
                pthread_join(threads[i], NULL);
        for (int i = 0; i < CACHE_KEYS; i++) {
                char key[16];
                snprintf(key, sizeof key, "k%d", i);
                cr_assert_eq(cache_version(cache, key, NULL, NULL), crowd.put[i]);
        }
}

/* ---- readers, a source that moves on, and events that are late, doubled, or never come ---- */

#define CACHE_EVENTS_PAST 6

struct cache_world {
        struct assent_cache *cache;
        int turns;
        atomic_int_fast64_t source[CACHE_KEYS];             /* the truth */
        atomic_int_fast64_t since_ms[CACHE_KEYS][CACHE_EVENTS_PAST]; /* when a version came to be, by version modulo */
        atomic_int_fast64_t seen[CACHE_KEYS];               /* the newest version any finished read was told */
        atomic_uint seed;
        atomic_uint readers; /* still at work */
        atomic_ulong results[ASSENT_CACHE_CONFIRMED + 1];
};

struct cache_asked {
        struct cache_world *world;
        uint32_t *random;
        unsigned which;
};

static inline enum assent_err cache_world_source(void *context, const char *key, int64_t known, int64_t *version,
                                                 char **value, size_t *size)
{
        struct cache_asked *asked = context;
        char text[CACHE_VALUE_MAX];
        for (unsigned i = cache_random(asked->random) % 3; i > 0; i--)
                sched_yield();
        *version = atomic_load(&asked->world->source[asked->which]);
        for (unsigned i = cache_random(asked->random) % 8; i > 0; i--) /* the answer is on its way */
                sched_yield();
        if (*version == known)
                return ASSENT_OK;
        *size = cache_value(key, *version, text).size;
        *value = strdup(text);
        return ASSENT_OK;
}

static inline void *cache_world_read(void *context)
{
        struct cache_world *world = context;
        uint32_t random = atomic_fetch_add(&world->seed, 1) * 2654435761u + 1;
        for (int i = 0; i < world->turns; i++) {
                struct cache_asked asked = {world, &random, cache_random(&random) % CACHE_KEYS};
                enum assent_consistency consistency = (enum assent_consistency)(ASSENT_STRONG + cache_random(&random) % 3);
                int64_t least = atomic_load(consistency == ASSENT_STRONG ? &world->source[asked.which]
                                                                         : &world->seen[asked.which]);
                struct assent_cached out;
                char key[16];
                snprintf(key, sizeof key, "k%u", asked.which);
                cr_assert_eq(assent_cache_read(world->cache, key, consistency, cache_random(&random) % 2,
                                               assent_clock_wall_ms(), cache_world_source, &asked, &out), ASSENT_OK);
                cr_assert_geq(out.version, least, "%s at %d: %lld after %lld", key, (int)consistency, (long long)out.version,
                              (long long)least);
                cr_assert(cache_value_is(key, out.version, out.value, out.size));
                free(out.value);
                atomic_fetch_add(&world->results[out.result], 1);
                cache_raise(&world->seen[asked.which], out.version);
        }
        atomic_fetch_sub(&world->readers, 1);
        return NULL;
}

static inline void *cache_world_write(void *context)
{
        struct cache_world *world = context;
        uint32_t random = atomic_fetch_add(&world->seed, 1) * 2654435761u + 1;
        while (atomic_load(&world->readers) > 0) {
                unsigned which = cache_random(&random) % CACHE_KEYS;
                char key[16], value[CACHE_VALUE_MAX];
                bool set;
                snprintf(key, sizeof key, "k%u", which);
                if (cache_random(&random) % 2) {
                        int64_t next = atomic_load(&world->source[which]) + 1;
                        atomic_store(&world->source[which], next);
                        atomic_store(&world->since_ms[which][next % CACHE_EVENTS_PAST], assent_clock_wall_ms());
                }
                int64_t version = atomic_load(&world->source[which]) - cache_random(&random) % CACHE_EVENTS_PAST;
                if (version > 0) /* one of the last events, perhaps again */
                        world->cache->ops->put(world->cache, key, version,
                                               atomic_load(&world->since_ms[which][version % CACHE_EVENTS_PAST]),
                                               cache_value(key, version, value), &set);
                sched_yield();
        }
        return NULL;
}

/* Whatever anybody has been told, nobody is told something older afterwards; and strong is strong. The cache may be of any
 * size, and of values take only those of 40 bytes. */
static inline void cache_reads_never_go_back(struct assent_cache *cache, int turns)
{
        struct cache_world world = {.cache = cache, .turns = turns, .seed = 7, .readers = CACHE_THREADS};
        pthread_t threads[CACHE_THREADS + 1];
        for (int i = 0; i < CACHE_KEYS; i++) {
                world.source[i] = 1;
                world.since_ms[i][1] = assent_clock_wall_ms();
        }
        for (int i = 0; i <= CACHE_THREADS; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, i ? cache_world_read : cache_world_write, &world), 0);
        for (int i = 0; i <= CACHE_THREADS; i++)
                pthread_join(threads[i], NULL);
        for (int i = ASSENT_CACHE_HIT; i <= ASSENT_CACHE_CONFIRMED; i++)
                cr_assert_gt(world.results[i], 0, "no read had result %d", i);
}

#endif
