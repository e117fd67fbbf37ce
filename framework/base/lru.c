#include "base/lru.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/hash.h"
#include "base/panic.h"

bool assent_lru_open(struct assent_lru *lru, size_t entries)
{
        ASSENT_ASSERT(entries <= ASSENT_LRU_ENTRIES_MAX);
        size_t count = 1;
        while (count < entries)
                count *= 2;
        *lru = (struct assent_lru){.mask = count - 1};
        lru->buckets = calloc(count, sizeof *lru->buckets);
        return lru->buckets && getrandom(&lru->seed, sizeof lru->seed, 0) == (ssize_t)sizeof lru->seed;
}

void assent_lru_close(struct assent_lru *lru)
{
        ASSENT_ASSERT(lru->count == 0);
        free(lru->buckets);
}

static uint64_t hash_of(const struct assent_lru *lru, const char *key)
{
        return assent_hash64(key, strlen(key), lru->seed);
}

struct assent_lru_link *assent_lru_find(const struct assent_lru *lru, const char *key)
{
        uint64_t hash = hash_of(lru, key);
        struct assent_lru_link *link = lru->buckets[hash & lru->mask];
        while (link && (link->hash != hash || strcmp(link->key, key) != 0))
                link = link->next;
        return link;
}

static void put_first(struct assent_lru *lru, struct assent_lru_link *link)
{
        link->newer = NULL;
        link->older = lru->newest;
        *(lru->newest ? &lru->newest->newer : &lru->oldest) = link;
        lru->newest = link;
}

static void take_out(struct assent_lru *lru, struct assent_lru_link *link)
{
        *(link->newer ? &link->newer->older : &lru->newest) = link->older;
        *(link->older ? &link->older->newer : &lru->oldest) = link->newer;
}

void assent_lru_add(struct assent_lru *lru, struct assent_lru_link *link)
{
        link->hash = hash_of(lru, link->key);
        struct assent_lru_link **bucket = &lru->buckets[link->hash & lru->mask];
        link->next = *bucket;
        *bucket = link;
        put_first(lru, link);
        lru->count++;
}

void assent_lru_use(struct assent_lru *lru, struct assent_lru_link *link)
{
        take_out(lru, link);
        put_first(lru, link);
}

void assent_lru_remove(struct assent_lru *lru, struct assent_lru_link *link)
{
        struct assent_lru_link **place = &lru->buckets[link->hash & lru->mask];
        while (*place != link)
                place = &(*place)->next;
        *place = link->next;
        take_out(lru, link);
        lru->count--;
}
