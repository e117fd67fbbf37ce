/* heap.h: a binary heap of arena handles, least first. */
#ifndef ASSENT_BASE_HEAP_H
#define ASSENT_BASE_HEAP_H

#include "base/arena.h"

struct assent_heap {
        struct assent_vector items;
        /* A strict total order over what the handles name. */
        bool (*before)(const struct assent_arena *arena, uint32_t a, uint32_t b);
        /* Told where each item stands, for assent_heap_remove; may be NULL. */
        void (*placed)(const struct assent_arena *arena, uint32_t item, uint32_t position);
};

void assent_heap_open(struct assent_heap *heap, struct assent_arena *arena,
                      bool (*before)(const struct assent_arena *, uint32_t, uint32_t),
                      void (*placed)(const struct assent_arena *, uint32_t, uint32_t));

uint32_t assent_heap_least(const struct assent_heap *heap);     /* 0: empty */
bool assent_heap_push(struct assent_heap *heap, uint32_t item); /* false: the arena is exhausted */
/* Takes out the item at `position`; the least stands at 0. */
void assent_heap_remove(struct assent_heap *heap, uint32_t position);

#endif
