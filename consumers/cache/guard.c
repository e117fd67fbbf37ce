/* guard.c: what a backend may do to its entries without telling: lose one (eviction, a restart), keep an old one through an
 * outage in which newer ones were read past it, bring one back from a snapshot. Versions that were read must never be
 * followed by older ones, so three things are known here, in fixed memory:
 *
 *   trusted   a time; every failure of the backend, and the start, moves it to now. An entry that was neither set nor
 * confirmed since is not shown before the source has been asked about it. floor     of a slot of keys: the highest version
 * that any of them was seen at. puts      of a slot: how often something was put. What was fetched while this moved may have
 * been overtaken.
 *
 * An entry that is there may always give way to a newer one. Where nothing is, an older version than the floor is put only by
 * who has just fetched it and was not overtaken. Keys that share a slot cost each other a put now and then, never more. */
#include "cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS   (1 << 18)
#define STRIPES 64

struct slot {
        _Atomic uint32_t puts;
        _Atomic uint32_t
            floor; /* versions above its range are its greatest number: nothing old is put there by events any more */
};

struct cache_guard {
        struct assent_cache cache;
        struct assent_cache *inner;
        int64_t ttl_ms, skew_ms;
        _Atomic int64_t trusted_ms;
        pthread_mutex_t stripes[STRIPES];
        struct slot slots[SLOTS];
};

/* What this thread saw when it last looked: assent_cache_read puts what it fetched on the same thread. */
static _Thread_local struct {
        const struct slot *slot;
        uint32_t puts;
} looked;

/* FNV-1a: keys are short, and nobody gains by sharing a slot. */
static struct slot *slot_of(struct cache_guard *guard, const char *key)
{
        uint64_t hash = 14695981039346656037U;
        for (; *key; key++)
                hash = (hash ^ (unsigned char)*key) * 1099511628211U;
        return &guard->slots[(hash ^ hash >> 32) % SLOTS];
}

static pthread_mutex_t *stripe_of(struct cache_guard *guard, const struct slot *slot)
{
        return &guard->stripes[(size_t)(slot - guard->slots) % STRIPES];
}

static uint32_t floor_of(int64_t version)
{
        return version > UINT32_MAX ? UINT32_MAX : version < 0 ? 0 : (uint32_t)version;
}

static void raise_floor(struct slot *slot, int64_t version)
{
        uint32_t mine = floor_of(version), floor = atomic_load(&slot->floor);
        while (floor < mine && !atomic_compare_exchange_weak(&slot->floor, &floor, mine))
                ;
}

/* Readers may have been answered past the backend, and what it holds may be of any age. */
static enum assent_err judged(struct cache_guard *guard, enum assent_err err)
{
        int64_t now_ms = daemon_wall_ms() + 1, trusted_ms = atomic_load(&guard->trusted_ms);
        while (err == ASSENT_E_BROKER && trusted_ms < now_ms &&
               !atomic_compare_exchange_weak(&guard->trusted_ms, &trusted_ms, now_ms))
                ;
        return err;
}

/* -1: there is none. */
static enum assent_err inner_version(struct cache_guard *guard, const char *key, int64_t *version)
{
        int64_t confirmed_ms;
        size_t size;
        char *value = NULL;
        enum assent_err err = guard->inner->ops->get(guard->inner, key, version, &confirmed_ms, &value, &size);
        free(value);
        if (err == ASSENT_E_NOT_FOUND)
                *version = -1;
        return err == ASSENT_E_NOT_FOUND ? ASSENT_OK : err;
}

/* With the stripe held. `fetched`: from the source, and not overtaken. An older version than the floor is put only over one
 * that is older still: if that is lost in between, nothing newer of this key was there before it. */
static enum assent_err put_locked(struct cache_guard *guard, struct slot *slot, bool fetched, const char *key,
                                  int64_t version, int64_t at_ms, struct assent_bytes value, bool *set, bool *absent)
{
        enum assent_err err = ASSENT_OK;
        bool doubtful = !fetched && floor_of(version) < atomic_load(&slot->floor);
        int64_t there = -1;
        *set = false;
        if (doubtful)
                err = inner_version(guard, key, &there);
        *absent = doubtful && there < 0;
        raise_floor(slot, version);
        atomic_fetch_add(&slot->puts, 1); /* whatever comes of it: this version is about to be shown */
        if (!err && (!doubtful || (there >= 0 && there < version)))
                err = guard->inner->ops->put(guard->inner, key, version, at_ms, value, set);
        return judged(guard, err);
}

static enum assent_err guard_put(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms,
                                 struct assent_bytes value, bool *set)
{
        struct cache_guard *guard = (struct cache_guard *)cache;
        struct slot *slot = slot_of(guard, key);
        bool absent;
        pthread_mutex_lock(stripe_of(guard, slot));
        bool fetched = looked.slot == slot && looked.puts == atomic_load(&slot->puts);
        enum assent_err err = put_locked(guard, slot, fetched, key, version, now_ms, value, set, &absent);
        pthread_mutex_unlock(stripe_of(guard, slot));
        return err;
}

static enum assent_err guard_get(struct assent_cache *cache, const char *key, int64_t *version, int64_t *confirmed_ms,
                                 char **value, size_t *size)
{
        struct cache_guard *guard = (struct cache_guard *)cache;
        looked.slot = slot_of(guard, key);
        looked.puts = atomic_load(&looked.slot->puts);
        enum assent_err err = guard->inner->ops->get(guard->inner, key, version, confirmed_ms, value, size);
        if (!err)
                raise_floor(slot_of(guard, key), *version);
        return judged(guard, err);
}

static enum assent_err guard_confirm(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms)
{
        struct cache_guard *guard = (struct cache_guard *)cache;
        return judged(guard, guard->inner->ops->confirm(guard->inner, key, version, now_ms));
}

static const char *guard_errmsg(struct assent_cache *cache)
{
        struct cache_guard *guard = (struct cache_guard *)cache;
        return guard->inner->ops->errmsg(guard->inner);
}

static void guard_close(struct assent_cache *cache)
{
        struct cache_guard *guard = (struct cache_guard *)cache;
        guard->inner->ops->close(guard->inner);
        for (size_t i = 0; i < STRIPES; i++)
                pthread_mutex_destroy(&guard->stripes[i]);
        free(guard);
}

enum assent_err cache_guard_open(struct assent_cache *inner, int64_t ttl_ms, int64_t skew_ms, struct cache_guard **out)
{
        static const struct assent_cache_ops ops = {
            .put = guard_put, .get = guard_get, .confirm = guard_confirm, .errmsg = guard_errmsg, .close = guard_close};
        struct cache_guard *guard = calloc(1, sizeof *guard);
        *out = guard;
        if (!guard) {
                inner->ops->close(inner);
                return ASSENT_E_MEMORY;
        }
        guard->cache.ops = &ops;
        guard->inner = inner;
        guard->ttl_ms = ttl_ms;
        guard->skew_ms = skew_ms;
        for (size_t i = 0; i < STRIPES; i++)
                pthread_mutex_init(&guard->stripes[i], NULL);
        judged(guard, ASSENT_E_BROKER); /* what was shown before the start is not known */
        return ASSENT_OK;
}

struct assent_cache *cache_guard_cache(struct cache_guard *guard)
{
        return &guard->cache;
}

enum assent_err cache_guard_event(struct cache_guard *guard, const char *key, int64_t version, int64_t at_ms, int64_t now_ms,
                                  struct assent_bytes value, enum cache_event *became)
{
        struct slot *slot = slot_of(guard, key);
        int64_t trusted_ms = atomic_load(&guard->trusted_ms);
        bool set, absent;
        if (at_ms > now_ms)
                at_ms = now_ms;
        if (at_ms < trusted_ms + guard->skew_ms && at_ms >= trusted_ms)
                at_ms = trusted_ms - 1; /* by a clock that is ahead it may be of before */
        pthread_mutex_lock(stripe_of(guard, slot));
        enum assent_err err = put_locked(guard, slot, false, key, version, at_ms, value, &set, &absent);
        pthread_mutex_unlock(stripe_of(guard, slot));
        *became = set ? CACHE_EVENT_SET : absent ? CACHE_EVENT_ABSENT : CACHE_EVENT_OLDER;
        return err;
}

enum assent_consistency cache_guard_judge(const struct cache_guard *guard, enum assent_consistency wanted, int64_t now_ms,
                                          int64_t *bound_ms)
{
        int64_t most_ms = now_ms - atomic_load(&guard->trusted_ms);
        if (guard->ttl_ms > 0 && guard->ttl_ms < most_ms)
                most_ms = guard->ttl_ms;
        if (wanted == ASSENT_CACHED || *bound_ms > most_ms)
                *bound_ms = most_ms;
        return wanted == ASSENT_STRONG || most_ms < 0 ? ASSENT_STRONG : ASSENT_BOUNDED;
}
