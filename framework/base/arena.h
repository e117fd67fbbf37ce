/* arena.h: all memory of one owner in one reservation of address space, bounded at birth and given back in one piece.
 * Blocks are named by 32-bit handles (half the size of pointers) and recycled by size class; vectors grow in place, so
 * nothing is ever copied or moved. */
#ifndef ASSENT_BASE_ARENA_H
#define ASSENT_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/panic.h"

#define ASSENT_ARENA_UNIT           8   /* handles count in these; every block is so aligned */
#define ASSENT_ARENA_BLOCK_SIZE_MAX 512 /* bytes of the largest block */
#define ASSENT_ARENA_SIZE_MAX       ((size_t)UINT32_MAX * ASSENT_ARENA_UNIT)
#define ASSENT_ARENA_CLASSES        (ASSENT_ARENA_BLOCK_SIZE_MAX / ASSENT_ARENA_UNIT + 1)

struct assent_arena {
        uint8_t *base;
        size_t reserved; /* bytes of address space */
        size_t size_max; /* bytes that may ever be touched */
        size_t top;      /* blocks lie below it */
        size_t vectors;  /* the next vector starts here */
        size_t touched;  /* bytes that were ever in use: what the process may really hold */
        size_t used;     /* bytes in use now */
        uint32_t free[ASSENT_ARENA_CLASSES];
};

/* Reserves room for `size_max` bytes (cut at ASSENT_ARENA_SIZE_MAX) and `vectors_max` vectors; touches nothing. False:
 * no address space. */
bool assent_arena_open(struct assent_arena *arena, size_t size_max, unsigned vectors_max);
void assent_arena_close(struct assent_arena *arena);

/* `size` bytes, cleared, that stay until the end; only before the first block. NULL: the arena is exhausted. */
void *assent_arena_carve(struct assent_arena *arena, size_t size);

/* A block of `size` bytes, 1 … ASSENT_ARENA_BLOCK_SIZE_MAX, not cleared. 0: the arena is exhausted. */
uint32_t assent_arena_alloc(struct assent_arena *arena, size_t size);
void assent_arena_free(struct assent_arena *arena, uint32_t handle, size_t size);

static inline void *assent_arena_at(const struct assent_arena *arena, uint32_t handle)
{
        ASSENT_ASSERT(handle && (size_t)handle * ASSENT_ARENA_UNIT < arena->top);
        return arena->base + (size_t)handle * ASSENT_ARENA_UNIT;
}

/* A growing array of handles that never moves. Its room is as much as the arena could ever need handles. */
struct assent_vector {
        struct assent_arena *arena;
        uint32_t *items;
        uint32_t count, count_max;
        uint32_t peak; /* the greatest count so far */
};

void assent_vector_open(struct assent_vector *vector, struct assent_arena *arena);
bool assent_vector_push(struct assent_vector *vector, uint32_t item); /* false: the arena is exhausted */
void assent_vector_pop(struct assent_vector *vector);

#endif
