/* read.c: reading through a cache. Whoever reads has every newer version put before it is told, so that the next reader, at
 * whatever consistency, meets it or a newer one. */
#include <assent/cache.h>

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

/* Confirmed in the future: a moment after now, by another thread, or before the clock was set back. */
static bool fresh_enough(enum assent_consistency consistency, int64_t bound_ms, int64_t age_ms)
{
        return consistency == ASSENT_CACHED ||
               (consistency == ASSENT_BOUNDED && age_ms <= bound_ms && age_ms >= -bound_ms);
}

/* The source's answer, when nothing or something older stands in the cache. One that cannot keep it bars nobody from it. */
static void put(struct assent_cache *cache, const char *key, int64_t now_ms, const struct assent_cached *found)
{
        bool set = false;
        struct assent_bytes value = {found->value, found->size};
        enum assent_err err = cache->ops->put(cache, key, found->version, now_ms, value, &set);

        if (err == ASSENT_OK && !set) /* an event may have brought the same meanwhile */
                cache->ops->confirm(cache, key, found->version, now_ms);
}

enum assent_err assent_cache_read(struct assent_cache *cache, const char *key, enum assent_consistency consistency,
                                  int64_t bound_ms, int64_t now_ms, assent_cache_source source, void *context,
                                  struct assent_cached *out)
{
        struct assent_cached there = {.version = -1}, found = {.version = -1};
        size_t key_size = strlen(key);
        int64_t confirmed_ms = 0;

        *out = there;
        if (key_size == 0 || key_size > ASSENT_CACHE_KEY_SIZE_MAX)
                return ASSENT_E_LIMIT;
        enum assent_err err = cache->ops->get(cache, key, &there.version, &confirmed_ms, &there.value, &there.size);
        if (err == ASSENT_OK) {
                int64_t age_ms = now_ms - confirmed_ms;
                there.age_ms = age_ms > 0 ? age_ms : 0;
                there.result = ASSENT_CACHE_HIT;
                if (fresh_enough(consistency, bound_ms, age_ms)) {
                        *out = there;
                        return ASSENT_OK;
                }
        } else if (err == ASSENT_E_NOT_FOUND || err == ASSENT_E_BROKER) {
                there = (struct assent_cached){.version = -1};
        } else {
                return err;
        }
        err = source(context, key, there.version, &found.version, &found.value, &found.size);
        if (err != ASSENT_OK) {
                free(there.value);
                return err;
        }
        if (found.version > there.version) {
                ASSENT_ASSERT(found.value);
                found.result = there.value ? ASSENT_CACHE_STALE : ASSENT_CACHE_MISS;
                put(cache, key, now_ms, &found);
                free(there.value);
                *out = found;
                return ASSENT_OK;
        }
        ASSENT_ASSERT(there.value); /* a source says nothing less than version 0 of what is not known */
        if (found.version == there.version) {
                there.result = ASSENT_CACHE_CONFIRMED;
                there.age_ms = 0;
                cache->ops->confirm(cache, key, there.version, now_ms);
        }
        free(found.value);
        *out = there;
        return ASSENT_OK;
}
