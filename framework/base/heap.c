/* heap.c: see heap.h. */
#include "base/heap.h"

void assent_heap_open(struct assent_heap *heap, struct assent_arena *arena,
                      bool (*before)(const struct assent_arena *, uint32_t, uint32_t),
                      void (*placed)(const struct assent_arena *, uint32_t, uint32_t))
{
        *heap = (struct assent_heap){.before = before, .placed = placed};
        assent_vector_open(&heap->items, arena);
}

static void put(struct assent_heap *heap, uint32_t position, uint32_t item)
{
        heap->items.items[position] = item;
        if (heap->placed)
                heap->placed(heap->items.arena, item, position);
}

/* Both sifts carry `item` as a hole, so each level costs one write. */
static void sift_up(struct assent_heap *heap, uint32_t position, uint32_t item)
{
        while (position > 0) {
                uint32_t parent = (position - 1) / 2, above = heap->items.items[parent];
                if (!heap->before(heap->items.arena, item, above))
                        break;
                put(heap, position, above);
                position = parent;
        }
        put(heap, position, item);
}

static void sift_down(struct assent_heap *heap, uint32_t position, uint32_t item)
{
        const uint32_t *items = heap->items.items, count = heap->items.count;
        for (;;) {
                uint32_t child = 2 * position + 1;
                if (child >= count)
                        break;
                if (child + 1 < count && heap->before(heap->items.arena, items[child + 1], items[child]))
                        child++;
                if (!heap->before(heap->items.arena, items[child], item))
                        break;
                put(heap, position, items[child]);
                position = child;
        }
        put(heap, position, item);
}

uint32_t assent_heap_least(const struct assent_heap *heap)
{
        return heap->items.count ? heap->items.items[0] : 0;
}

bool assent_heap_push(struct assent_heap *heap, uint32_t item)
{
        ASSENT_ASSERT(item);
        if (!assent_vector_push(&heap->items, item))
                return false;
        sift_up(heap, heap->items.count - 1, item);
        return true;
}

void assent_heap_remove(struct assent_heap *heap, uint32_t position)
{
        ASSENT_ASSERT(position < heap->items.count);
        uint32_t last = heap->items.items[heap->items.count - 1];
        assent_vector_pop(&heap->items);
        if (position == heap->items.count)
                return;
        if (position > 0 && heap->before(heap->items.arena, last, heap->items.items[(position - 1) / 2]))
                sift_up(heap, position, last);
        else
                sift_down(heap, position, last);
}
