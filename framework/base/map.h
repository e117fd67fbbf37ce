/* map.h: a hash map of arena blocks. The link stands in the block itself, and the table grows by one bucket per
 * insertion (linear hashing), so no insertion ever pays for all the others. */
#ifndef ASSENT_BASE_MAP_H
#define ASSENT_BASE_MAP_H

#include "base/arena.h"

/* The first member of every block in a map. */
struct assent_link {
        uint32_t next;
        uint32_t hash;
};

struct assent_map {
        struct assent_vector heads;
        uint32_t level; /* the power of two with level <= buckets < 2 * level */
        uint32_t count;
};

bool assent_map_open(struct assent_map *map, struct assent_arena *arena); /* false: the arena is exhausted */

/* The first and the next block whose hash equals; 0 at the end. The caller compares keys. */
uint32_t assent_map_first(const struct assent_map *map, uint32_t hash);
uint32_t assent_map_next(const struct assent_map *map, uint32_t handle);

bool assent_map_add(struct assent_map *map, uint32_t handle, uint32_t hash); /* false: the arena is exhausted */
void assent_map_remove(struct assent_map *map, uint32_t handle);

#endif
