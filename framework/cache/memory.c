/* memory.c: the cache in the memory of this process. One lock: what is done under it is a lookup and a copy. */
#include <assent/cache.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/lru.h"

/* The key, with its NUL, stands at `key`, the value behind it. */
struct entry {
        struct assent_lru_link link;
        int64_t version, confirmed_ms;
        size_t size;
        char key[];
};

/* What is still known of an entry that is not there, although a reader may have seen it: it gave way, or could not be kept.
 * Whoever has been on the way with an older version since then must not put that in its place. */
struct ghost {
        uint64_t hash;
        int64_t version;
        int64_t since_ms; /* the newest at this time is no older than any ghost that stood here before this one */
};

struct memory {
        struct assent_cache cache;
        pthread_mutex_t mutex;
        struct assent_lru lru;
        struct ghost *ghosts; /* as many as there are buckets, found by hash */
        size_t entries_max, bytes_max, value_bytes_max;
        size_t bytes;
};

static _Thread_local char failure[128];

__attribute__((format(printf, 2, 3))) static enum assent_err fail(enum assent_err err, const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(failure, sizeof failure, format, arguments);
        va_end(arguments);
        return err;
}

static struct entry *make_entry(const char *key, int64_t version, int64_t now_ms, struct assent_bytes value)
{
        size_t key_size = strlen(key);
        struct entry *entry = malloc(sizeof *entry + key_size + 1 + value.size);
        if (!entry)
                return NULL;
        *entry = (struct entry){.link.key = entry->key, .version = version, .confirmed_ms = now_ms, .size = value.size};
        memcpy(entry->key, key, key_size + 1);
        if (value.size)
                memcpy(entry->key + key_size + 1, value.data, value.size);
        return entry;
}

static void drop(struct memory *memory, struct entry *entry)
{
        memory->bytes -= strlen(entry->key) + entry->size;
        assent_lru_remove(&memory->lru, &entry->link);
        free(entry);
}

static void remember(struct memory *memory, uint64_t hash, int64_t version)
{
        struct ghost *ghost = &memory->ghosts[hash & memory->lru.mask];
        if (ghost->hash != hash) {
                if (ghost->version > 0) /* nothing is older than 0 */
                        ghost->since_ms = assent_clock_wall_ms() + 1;
                ghost->hash = hash;
                ghost->version = version;
        } else if (version > ghost->version) {
                ghost->version = version;
        }
}

static bool outdated(const struct memory *memory, uint64_t hash, int64_t version, int64_t now_ms)
{
        const struct ghost *ghost = &memory->ghosts[hash & memory->lru.mask];
        return now_ms < ghost->since_ms || (ghost->hash == hash && version < ghost->version);
}

/* The newest entry alone always fits; open has seen to that. */
static void make_room(struct memory *memory)
{
        while (memory->lru.count > memory->entries_max || memory->bytes > memory->bytes_max) {
                struct entry *entry = (struct entry *)memory->lru.oldest;
                remember(memory, entry->link.hash, entry->version);
                drop(memory, entry);
        }
}

/* Takes the entry when it is set; NULL is one that cannot be kept, but whose elder must not stay either. */
static bool set_entry(struct memory *memory, const char *key, int64_t version, int64_t now_ms, struct entry *entry)
{
        uint64_t hash = assent_hash64(key, strlen(key), memory->lru.seed);
        struct entry *old = (struct entry *)assent_lru_find(&memory->lru, key);

        if (old && old->version >= version)
                return false;
        if (!entry || (!old && outdated(memory, hash, version, now_ms))) {
                remember(memory, hash, version);
                if (old)
                        drop(memory, old);
                return false;
        }
        if (old)
                drop(memory, old);
        assent_lru_add(&memory->lru, &entry->link);
        memory->bytes += strlen(key) + entry->size;
        make_room(memory);
        return true;
}

static enum assent_err memory_put(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms,
                                  struct assent_bytes value, bool *set)
{
        struct memory *memory = (struct memory *)cache;
        size_t key_size = strlen(key);
        bool fits = value.size <= memory->value_bytes_max;

        *set = false;
        if (key_size == 0 || key_size > ASSENT_CACHE_KEY_SIZE_MAX)
                return fail(ASSENT_E_LIMIT, "a key has %zu bytes, 1 to %d are allowed", key_size, ASSENT_CACHE_KEY_SIZE_MAX);
        if (version < 0)
                return fail(ASSENT_E_LIMIT, "version %lld is below 0", (long long)version);
        struct entry *entry = fits ? make_entry(key, version, now_ms, value) : NULL;
        pthread_mutex_lock(&memory->mutex);
        *set = set_entry(memory, key, version, now_ms, entry);
        pthread_mutex_unlock(&memory->mutex);
        if (!*set)
                free(entry);
        if (!fits)
                return fail(ASSENT_E_LIMIT, "a value has %zu bytes, at most %zu are allowed", value.size,
                            memory->value_bytes_max);
        return entry ? ASSENT_OK : fail(ASSENT_E_MEMORY, "out of memory for a value of %zu bytes", value.size);
}

static enum assent_err memory_get(struct assent_cache *cache, const char *key, int64_t *version, int64_t *confirmed_ms,
                                  char **value, size_t *size)
{
        struct memory *memory = (struct memory *)cache;
        enum assent_err err = ASSENT_E_NOT_FOUND;

        pthread_mutex_lock(&memory->mutex);
        struct entry *entry = (struct entry *)assent_lru_find(&memory->lru, key);
        if (entry) {
                assent_lru_use(&memory->lru, &entry->link);
                *version = entry->version;
                *confirmed_ms = entry->confirmed_ms;
                *size = entry->size;
                *value = malloc(entry->size + 1); /* never of no bytes: an empty value is a value too */
                err = *value ? ASSENT_OK : ASSENT_E_MEMORY;
                if (*value)
                        memcpy(*value, entry->key + strlen(entry->key) + 1, entry->size);
        }
        pthread_mutex_unlock(&memory->mutex);
        return err == ASSENT_E_MEMORY ? fail(err, "out of memory for a copy of %zu bytes", *size) : err;
}

static enum assent_err memory_confirm(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms)
{
        struct memory *memory = (struct memory *)cache;

        pthread_mutex_lock(&memory->mutex);
        struct entry *entry = (struct entry *)assent_lru_find(&memory->lru, key);
        if (entry && entry->version == version)
                entry->confirmed_ms = now_ms;
        pthread_mutex_unlock(&memory->mutex);
        return ASSENT_OK;
}

static const char *memory_errmsg(struct assent_cache *cache)
{
        (void)cache;
        return failure;
}

static void memory_close(struct assent_cache *cache)
{
        struct memory *memory = (struct memory *)cache;

        while (memory->lru.oldest)
                drop(memory, (struct entry *)memory->lru.oldest);
        assent_lru_close(&memory->lru);
        free(memory->ghosts);
        pthread_mutex_destroy(&memory->mutex);
        free(memory);
}

enum assent_err assent_cache_memory_open(size_t entries_max, size_t bytes_max, size_t value_bytes_max,
                                         struct assent_cache **out)
{
        static const struct assent_cache_ops ops = {.put = memory_put, .get = memory_get, .confirm = memory_confirm,
                                                    .errmsg = memory_errmsg, .close = memory_close};
        *out = NULL;
        if (entries_max == 0 || entries_max > ASSENT_LRU_ENTRIES_MAX || bytes_max < ASSENT_CACHE_KEY_SIZE_MAX ||
            value_bytes_max > bytes_max - ASSENT_CACHE_KEY_SIZE_MAX)
                return ASSENT_E_ARGUMENT;
        struct memory *memory = calloc(1, sizeof *memory);
        if (!memory)
                return ASSENT_E_MEMORY;
        memory->cache.ops = &ops;
        memory->entries_max = entries_max;
        memory->bytes_max = bytes_max;
        memory->value_bytes_max = value_bytes_max;
        pthread_mutex_init(&memory->mutex, NULL);
        if (assent_lru_open(&memory->lru, entries_max))
                memory->ghosts = calloc(memory->lru.mask + 1, sizeof *memory->ghosts);
        if (!memory->ghosts) {
                memory_close(&memory->cache);
                return ASSENT_E_MEMORY;
        }
        *out = &memory->cache;
        return ASSENT_OK;
}
