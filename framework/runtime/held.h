/* held.h: what a standby keeps back (R19), in the order of the records that it follows from: messages to send, and refused
 * records to tell of (R15). */
#ifndef ASSENT_RUNTIME_HELD_H
#define ASSENT_RUNTIME_HELD_H

#include <assent/types.h>

struct assent_held_item {
        int64_t source;          /* the record's offset */
        const char *why;         /* NULL: `value` is a message to send; else why the record was refused. Not copied */
        int verdict, type;       /* of a refused record, */
        int64_t timestamp_ms;    /* the rest of which is here */
        struct assent_bytes key; /* copied, as is */
        struct assent_bytes value;
};

struct assent_held {
        uint8_t *bytes; /* items with their keys and values, from `first` to `end` */
        size_t first, end, capacity, bytes_max;
        size_t count;
};

/* Keeps one; `source` must not fall. False when it would hold more than bytes_max: nothing was kept. Panics when out of
 * memory. */
bool assent_held_add(struct assent_held *held, const struct assent_held_item *item);
/* The oldest one, whose key and value stay there until it is dropped or one is added; false when there is none. */
bool assent_held_first(const struct assent_held *held, struct assent_held_item *item);
void assent_held_drop(struct assent_held *held); /* the oldest one */
void assent_held_free(struct assent_held *held);

#endif
