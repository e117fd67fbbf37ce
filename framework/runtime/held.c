#include "runtime/held.h"

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

struct header {
        int64_t source;
        uint64_t size;
};

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

bool assent_held_add(struct assent_held *held, int64_t source, struct assent_bytes message)
{
        struct header header = {.source = source, .size = message.size};
        if (held->end - held->first + sizeof header + message.size > held->bytes_max)
                return false;
        make_room(held, sizeof header + message.size);
        memcpy(held->bytes + held->end, &header, sizeof header);
        memcpy(held->bytes + held->end + sizeof header, message.data, message.size);
        held->end += sizeof header + message.size;
        held->count++;
        return true;
}

bool assent_held_first(const struct assent_held *held, int64_t *source, struct assent_bytes *message)
{
        struct header header;
        if (held->count == 0)
                return false;
        memcpy(&header, held->bytes + held->first, sizeof header);
        *source = header.source;
        *message = (struct assent_bytes){held->bytes + held->first + sizeof header, (size_t)header.size};
        return true;
}

void assent_held_drop(struct assent_held *held)
{
        int64_t source;
        struct assent_bytes message;
        bool any = assent_held_first(held, &source, &message);
        ASSENT_ASSERT(any);
        held->first += sizeof(struct header) + message.size;
        if (--held->count == 0)
                held->first = held->end = 0;
}

void assent_held_free(struct assent_held *held)
{
        free(held->bytes);
        *held = (struct assent_held){0};
}
