/* lru.h: blocks found by a text, and kept in the order of their last use. The link is the block's first member; memory and
 * limits are the owner's. */
#ifndef ASSENT_BASE_LRU_H
#define ASSENT_BASE_LRU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ASSENT_LRU_ENTRIES_MAX (1u << 24)

struct assent_lru_link {
        struct assent_lru_link *next;          /* of the same bucket */
        struct assent_lru_link *newer, *older; /* by use */
        uint64_t hash;
        const char *key; /* the block's own */
};

struct assent_lru {
        struct assent_lru_link **buckets;
        uint64_t mask, seed; /* the seed is random: whoever chooses keys shall not choose buckets */
        struct assent_lru_link *newest, *oldest;
        size_t count;
};

/* For about `entries` blocks, at most ASSENT_LRU_ENTRIES_MAX. False: no memory. */
bool assent_lru_open(struct assent_lru *lru, size_t entries);
void assent_lru_close(struct assent_lru *lru); /* once it is empty, or never opened and cleared */

struct assent_lru_link *assent_lru_find(const struct assent_lru *lru, const char *key); /* NULL: none */
/* Adds a block, with its key set, that is not there yet; it is the newest. */
void assent_lru_add(struct assent_lru *lru, struct assent_lru_link *link);
void assent_lru_use(struct assent_lru *lru, struct assent_lru_link *link); /* makes it the newest */
void assent_lru_remove(struct assent_lru *lru, struct assent_lru_link *link);

#endif
