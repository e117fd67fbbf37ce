/* cache.h: a cache of versioned entries that never goes back: an entry is set only if its version is newer than the one that
 * stands there. Whatever comes twice, late or not at all, a reader meets versions that only grow. */
#ifndef ASSENT_CACHE_H
#define ASSENT_CACHE_H

#include <assent/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ASSENT_CACHE_KEY_SIZE_MAX 128

struct assent_cache;

/* A backend. Another one (consumers/cache has one for Redis) fills in the same table. All functions may be called from any
 * thread at any time. */
struct assent_cache_ops {
        /* Sets the entry if there is none or an older one. *set says whether; an entry may also be left out. now_ms: a Unix
         * time at which this version was the newest: of an event its own, of an answer that from before the question.
         * ASSENT_OK, ASSENT_E_LIMIT (key, value or a version below 0; of a value too large the older one goes as well),
         * ASSENT_E_BROKER (the backend is away), ASSENT_E_MEMORY. */
        enum assent_err (*put)(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms,
                               struct assent_bytes value, bool *set);
        /* ASSENT_OK with a copy (malloc, the caller's) of the value, ASSENT_E_NOT_FOUND, ASSENT_E_BROKER, ASSENT_E_MEMORY.
         * *confirmed_ms: the now_ms it was last set or confirmed with. */
        enum assent_err (*get)(struct assent_cache *cache, const char *key, int64_t *version, int64_t *confirmed_ms,
                               char **value, size_t *size);
        /* The source has said that this version is the newest now. */
        enum assent_err (*confirm)(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms);
        const char *(*errmsg)(struct assent_cache *cache); /* of this thread's last failure */
        void (*close)(struct assent_cache *cache);
};

/* Every implementation begins with this. */
struct assent_cache {
        const struct assent_cache_ops *ops;
};

/* In the memory of this process: at most entries_max entries (up to 2^24) and bytes_max bytes of keys and values; the least
 * recently used gives way, and no older version takes its place afterwards. Values of at most value_bytes_max, which with a
 * key must fit into bytes_max. Some 150 bytes an entry come on top.
 * Returns ASSENT_OK, ASSENT_E_ARGUMENT, ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_cache_memory_open(size_t entries_max, size_t bytes_max, size_t value_bytes_max,
                                                    struct assent_cache **out);

/* How fresh a read must be. */
enum assent_consistency {
        ASSENT_STRONG = 1, /* compared with the source's version at the time of the read, and fetched again if they differ */
        ASSENT_BOUNDED,    /* set or confirmed no longer ago than a bound, otherwise as strong */
        ASSENT_CACHED,     /* whatever stands there; fetched when nothing does */
};

enum assent_cache_result { ASSENT_CACHE_HIT = 1, ASSENT_CACHE_MISS, ASSENT_CACHE_STALE, ASSENT_CACHE_CONFIRMED };

/* The source of truth. `known` is the version in the cache (-1: none). ASSENT_OK with a newer entry (a copy, malloc) or, when
 * it is still the newest, with *version == known and *value NULL; ASSENT_E_NOT_FOUND; any other error. */
typedef enum assent_err (*assent_cache_source)(void *context, const char *key, int64_t known, int64_t *version, char **value,
                                               size_t *size);

struct assent_cached {
        int64_t version;
        int64_t age_ms; /* since it was set or confirmed */
        char *value;    /* malloc, the caller's */
        size_t size;
        enum assent_cache_result result; /* HIT: from the cache; CONFIRMED: from the cache, and the source agreed; STALE: it was
                                          * older than the source; MISS: it was not there */
};

/* A read at the consistency asked for. now_ms: Unix time, from before the call. An entry that the source says is gone is
 * NOT_FOUND, whatever stands in the cache. With the cache's backend away the source alone answers. A source that has gone back
 * is not believed: what stands in the cache is the answer, as a HIT.
 * Thread: any. Returns ASSENT_OK, ASSENT_E_NOT_FOUND, ASSENT_E_LIMIT (the key), ASSENT_E_MEMORY, or what `source` returned. */
ASSENT_API enum assent_err assent_cache_read(struct assent_cache *cache, const char *key, enum assent_consistency consistency,
                                             int64_t bound_ms, int64_t now_ms, assent_cache_source source, void *context,
                                             struct assent_cached *out);

#ifdef __cplusplus
}
#endif
#endif
