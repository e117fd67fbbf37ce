#include "runtime/held.h"

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

/* What was dropped at the front is room again; what is left is moved there only when that halves it at least. */
static void make_room(struct assent_held *held, size_t size)
{
        size_t used = held->end - held->first;
        if (held->end + size <= held->capacity)
                return;
        if (held->first >= used && used + size <= held->capacity) {
                memcpy(held->bytes, held->bytes + held->first, used);
        } else {
                size_t capacity = held->capacity ? held->capacity : 4096;
                while (capacity < used + size)
                        capacity *= 2;
                uint8_t *bytes = malloc(capacity);
                ASSENT_NEED(bytes);
                if (used > 0)
                        memcpy(bytes, held->bytes + held->first, used);
                free(held->bytes);
                held->bytes = bytes;
                held->capacity = capacity;
        }
        held->first = 0;
        held->end = used;
}

static size_t size_of(const struct assent_held_item *item)
{
        return sizeof *item + item->key.size + item->value.size;
}

bool assent_held_add(struct assent_held *held, const struct assent_held_item *item)
{
        size_t size = size_of(item);
        if (held->end - held->first + size > held->bytes_max)
                return false;
        make_room(held, size);
        uint8_t *at = held->bytes + held->end;
        memcpy(at, item, sizeof *item);
        if (item->key.size > 0)
                memcpy(at + sizeof *item, item->key.data, item->key.size);
        if (item->value.size > 0)
                memcpy(at + sizeof *item + item->key.size, item->value.data, item->value.size);
        held->end += size;
        held->count++;
        return true;
}

bool assent_held_first(const struct assent_held *held, struct assent_held_item *item)
{
        if (held->count == 0)
                return false;
        const uint8_t *at = held->bytes + held->first;
        memcpy(item, at, sizeof *item);
        item->key.data = at + sizeof *item;
        item->value.data = at + sizeof *item + item->key.size;
        return true;
}

void assent_held_drop(struct assent_held *held)
{
        struct assent_held_item item;
        bool any = assent_held_first(held, &item);
        ASSENT_ASSERT(any);
        held->first += size_of(&item);
        if (--held->count == 0)
                held->first = held->end = 0;
}

void assent_held_free(struct assent_held *held)
{
        free(held->bytes);
        *held = (struct assent_held){0};
}
