/* held.h: emissions that a standby keeps back (R19): encoded messages in the order of the records that they follow from. */
#ifndef ASSENT_RUNTIME_HELD_H
#define ASSENT_RUNTIME_HELD_H

#include <assent/types.h>

struct assent_held {
        uint8_t *bytes; /* source offset, size, message; from `first` to `end` */
        size_t first, end, capacity, bytes_max;
        size_t count;
};

/* Keeps one; `source` must not fall. False when it would hold more than bytes_max: nothing was kept. Panics when out of
 * memory. */
bool assent_held_add(struct assent_held *held, int64_t source, struct assent_bytes message);
/* The oldest one, and its size in *message; false when there is none. */
bool assent_held_first(const struct assent_held *held, int64_t *source, struct assent_bytes *message);
void assent_held_drop(struct assent_held *held); /* the oldest one */
void assent_held_free(struct assent_held *held);

#endif
