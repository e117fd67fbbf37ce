/* arena.c: see arena.h. The only caller of mmap. */
#include "base/arena.h"

#include <string.h>
#include <sys/mman.h>

/* The smallest thing that a handle in a vector names is a block of at least this many bytes. */
#define BLOCK_SIZE_LEAST 32

static size_t vector_size_max(size_t size_max)
{
        size_t size = size_max / BLOCK_SIZE_LEAST * sizeof(uint32_t) + 64;
        return size / 64 * 64;
}

bool assent_arena_open(struct assent_arena *arena, size_t size_max, unsigned vectors_max)
{
        ASSENT_ASSERT(size_max >= ASSENT_ARENA_UNIT);
        memset(arena, 0, sizeof *arena);
        if (size_max > ASSENT_ARENA_SIZE_MAX)
                size_max = ASSENT_ARENA_SIZE_MAX;
        size_t vectors = (size_max + 63) / 64 * 64;
        size_t reserved = vectors + vectors_max * vector_size_max(size_max);
        void *base = mmap(NULL, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED)
                return false;
        arena->base = base;
        arena->reserved = reserved;
        arena->size_max = size_max;
        arena->vectors = vectors;
        arena->top = arena->touched = ASSENT_ARENA_UNIT; /* handle 0 means none */
        return true;
}

void assent_arena_close(struct assent_arena *arena)
{
        if (!arena->base)
                return;
        int err = munmap(arena->base, arena->reserved);
        ASSENT_ASSERT(err == 0);
        arena->base = NULL;
}

void *assent_arena_carve(struct assent_arena *arena, size_t size)
{
        ASSENT_ASSERT(arena->used == 0);
        size_t bytes = (size + ASSENT_ARENA_UNIT - 1) / ASSENT_ARENA_UNIT * ASSENT_ARENA_UNIT;
        if (bytes > arena->size_max - arena->touched)
                return NULL;
        void *data = arena->base + arena->top; /* fresh pages: the kernel has cleared them */
        arena->top += bytes;
        arena->touched += bytes;
        return data;
}

static size_t class_of(size_t size)
{
        ASSENT_ASSERT(size > 0 && size <= ASSENT_ARENA_BLOCK_SIZE_MAX);
        return (size + ASSENT_ARENA_UNIT - 1) / ASSENT_ARENA_UNIT;
}

uint32_t assent_arena_alloc(struct assent_arena *arena, size_t size)
{
        size_t class = class_of(size), bytes = class * ASSENT_ARENA_UNIT;
        uint32_t handle = arena->free[class];
        if (handle) {
                memcpy(&arena->free[class], assent_arena_at(arena, handle), sizeof handle);
        } else {
                if (bytes > arena->size_max - arena->touched)
                        return 0;
                handle = (uint32_t)(arena->top / ASSENT_ARENA_UNIT);
                arena->top += bytes;
                arena->touched += bytes;
        }
        arena->used += bytes;
        return handle;
}

void assent_arena_free(struct assent_arena *arena, uint32_t handle, size_t size)
{
        size_t class = class_of(size), bytes = class * ASSENT_ARENA_UNIT;
        ASSENT_ASSERT(arena->used >= bytes);
        memcpy(assent_arena_at(arena, handle), &arena->free[class], sizeof handle);
        arena->free[class] = handle;
        arena->used -= bytes;
}

void assent_vector_open(struct assent_vector *vector, struct assent_arena *arena)
{
        size_t size = vector_size_max(arena->size_max);
        ASSENT_ASSERT(arena->vectors + size <= arena->reserved);
        size_t count_max = size / sizeof(uint32_t);
        *vector = (struct assent_vector){
            .arena = arena,
            .items = (uint32_t *)(void *)(arena->base + arena->vectors),
            .count_max = count_max > UINT32_MAX ? UINT32_MAX : (uint32_t)count_max,
        };
        arena->vectors += size;
}

bool assent_vector_push(struct assent_vector *vector, uint32_t item)
{
        struct assent_arena *arena = vector->arena;
        if (vector->count == vector->peak) {
                if (vector->count == vector->count_max || sizeof item > arena->size_max - arena->touched)
                        return false;
                vector->peak++;
                arena->touched += sizeof item;
        }
        vector->items[vector->count++] = item;
        arena->used += sizeof item;
        return true;
}

void assent_vector_pop(struct assent_vector *vector)
{
        ASSENT_ASSERT(vector->count > 0);
        ASSENT_ASSERT(vector->arena->used >= sizeof *vector->items);
        vector->count--;
        vector->arena->used -= sizeof *vector->items;
}
