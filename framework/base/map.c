/* map.c: linear hashing (Litwin 1980). Buckets are split in order, one per insertion beyond a load of one. The table
 * never shrinks: after a peak it is only emptier than it need be. */
#include "base/map.h"

#define BUCKETS_FIRST 16

static struct assent_link *link_at(const struct assent_map *map, uint32_t handle)
{
        return assent_arena_at(map->heads.arena, handle);
}

static uint32_t bucket_of(const struct assent_map *map, uint32_t hash)
{
        uint32_t bucket = hash & (2 * map->level - 1);
        return bucket < map->heads.count ? bucket : bucket - map->level;
}

bool assent_map_open(struct assent_map *map, struct assent_arena *arena)
{
        *map = (struct assent_map){.level = BUCKETS_FIRST};
        assent_vector_open(&map->heads, arena);
        for (int i = 0; i < BUCKETS_FIRST; i++)
                if (!assent_vector_push(&map->heads, 0))
                        return false;
        return true;
}

static uint32_t matching(const struct assent_map *map, uint32_t handle, uint32_t hash)
{
        while (handle && link_at(map, handle)->hash != hash)
                handle = link_at(map, handle)->next;
        return handle;
}

uint32_t assent_map_first(const struct assent_map *map, uint32_t hash)
{
        return matching(map, map->heads.items[bucket_of(map, hash)], hash);
}

uint32_t assent_map_next(const struct assent_map *map, uint32_t handle)
{
        struct assent_link *link = link_at(map, handle);
        return matching(map, link->next, link->hash);
}

/* One more bucket: what belongs there comes out of the bucket `level` below it. */
static bool split(struct assent_map *map)
{
        uint32_t fresh = map->heads.count, *head = &map->heads.items[fresh - map->level];
        ASSENT_ASSERT(fresh >= map->level && fresh < 2 * map->level);
        if (!assent_vector_push(&map->heads, 0))
                return false;
        for (uint32_t *from = head; *from;) {
                uint32_t handle = *from;
                struct assent_link *link = link_at(map, handle);
                if ((link->hash & (2 * map->level - 1)) == fresh) {
                        *from = link->next;
                        link->next = map->heads.items[fresh];
                        map->heads.items[fresh] = handle;
                } else {
                        from = &link->next;
                }
        }
        if (map->heads.count == 2 * map->level)
                map->level *= 2;
        return true;
}

bool assent_map_add(struct assent_map *map, uint32_t handle, uint32_t hash)
{
        if (map->count >= map->heads.count && map->level < UINT32_MAX / 4 && !split(map))
                return false;
        uint32_t *head = &map->heads.items[bucket_of(map, hash)];
        *link_at(map, handle) = (struct assent_link){.next = *head, .hash = hash};
        *head = handle;
        map->count++;
        return true;
}

void assent_map_remove(struct assent_map *map, uint32_t handle)
{
        uint32_t *from = &map->heads.items[bucket_of(map, link_at(map, handle)->hash)];
        while (*from != handle) {
                ASSENT_ASSERT(*from);
                from = &link_at(map, *from)->next;
        }
        *from = link_at(map, handle)->next;
        ASSENT_ASSERT(map->count > 0);
        map->count--;
}
