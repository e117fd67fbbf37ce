#include "runtime/open_branches.h"

#include <string.h>

#include "base/hash.h"

static uint32_t hash_of(const struct assent_uuid *txn_id, uint16_t branch)
{
        return (uint32_t)assent_hash64(txn_id, sizeof *txn_id, branch);
}

static bool before(const struct assent_arena *arena, uint32_t a, uint32_t b)
{
        const struct assent_open_branch *x = assent_arena_at(arena, a), *y = assent_arena_at(arena, b);
        if (x->due_ms != y->due_ms)
                return x->due_ms < y->due_ms;
        int order = memcmp(&x->txn_id, &y->txn_id, sizeof x->txn_id);
        return order ? order < 0 : x->branch < y->branch;
}

static void placed(const struct assent_arena *arena, uint32_t item, uint32_t position)
{
        struct assent_open_branch *entry = assent_arena_at(arena, item);
        entry->position = position;
}

bool assent_open_branches_open(struct assent_open_branches *table, size_t memory_max)
{
        if (!assent_arena_open(&table->arena, memory_max, 2))
                return false;
        assent_heap_open(&table->heap, &table->arena, before, placed);
        return assent_map_open(&table->map, &table->arena);
}

void assent_open_branches_close(struct assent_open_branches *table)
{
        if (table->arena.base)
                assent_arena_close(&table->arena);
}

struct assent_open_branch *assent_open_branches_find(const struct assent_open_branches *table,
                                                     const struct assent_uuid *txn_id, uint16_t branch)
{
        uint32_t handle = assent_map_first(&table->map, hash_of(txn_id, branch));
        for (; handle; handle = assent_map_next(&table->map, handle)) {
                struct assent_open_branch *entry = assent_arena_at(&table->arena, handle);
                if (entry->branch == branch && memcmp(&entry->txn_id, txn_id, sizeof *txn_id) == 0)
                        return entry;
        }
        return NULL;
}

struct assent_open_branch *assent_open_branches_add(struct assent_open_branches *table, const struct assent_uuid *txn_id,
                                                    uint16_t branch, int32_t lane)
{
        uint32_t handle = assent_arena_alloc(&table->arena, sizeof(struct assent_open_branch));
        if (!handle)
                return NULL;
        struct assent_open_branch *entry = assent_arena_at(&table->arena, handle);
        *entry = (struct assent_open_branch){
                .txn_id = *txn_id, .branch = branch, .lane = lane, .said = -1, .due_ms = INT64_MAX, .inquire_offset = -1};
        if (!assent_map_add(&table->map, handle, hash_of(txn_id, branch)) || !assent_heap_push(&table->heap, handle))
                return NULL;
        return entry;
}

void assent_open_branches_remove(struct assent_open_branches *table, struct assent_open_branch *entry)
{
        uint32_t handle = table->heap.items.items[entry->position];
        assent_heap_remove(&table->heap, entry->position);
        assent_map_remove(&table->map, handle);
        assent_arena_free(&table->arena, handle, sizeof *entry);
}

void assent_open_branches_due(struct assent_open_branches *table, struct assent_open_branch *entry, int64_t due_ms)
{
        uint32_t handle = table->heap.items.items[entry->position];
        assent_heap_remove(&table->heap, entry->position);
        entry->due_ms = due_ms;
        bool pushed = assent_heap_push(&table->heap, handle);
        ASSENT_ASSERT(pushed); /* into the room it just left */
}

struct assent_open_branch *assent_open_branches_first(const struct assent_open_branches *table)
{
        uint32_t handle = assent_heap_least(&table->heap);
        return handle ? assent_arena_at(&table->arena, handle) : NULL;
}

size_t assent_open_branches_count(const struct assent_open_branches *table)
{
        return table->heap.items.count;
}

struct assent_open_branch *assent_open_branches_at(const struct assent_open_branches *table, size_t index)
{
        ASSENT_ASSERT(index < table->heap.items.count);
        return assent_arena_at(&table->arena, table->heap.items.items[index]);
}
