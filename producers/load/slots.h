/* slots.h: the transactions in flight, found by their ids: a fixed open-addressing table, linear
 * probing, no tombstones. Nothing is allocated once the load runs. */
#ifndef ASSENT_PRODUCERS_SLOTS_H
#define ASSENT_PRODUCERS_SLOTS_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <assent/types.h>

struct slot {
        struct assent_uuid txn_id;
        uint8_t copies;   /* begins sent and not rejected; 0: the slot is free */
        bool measured;    /* not of the warm-up */
        bool refuse;      /* its abort is asked for */
        int64_t begun_us; /* as it was scheduled */
        int64_t sent_us;
};

struct slots {
        struct slot *slots;
        size_t mask; /* a power of two, less one; at least twice as many slots as are ever used */
        size_t used, used_max;
};

static inline bool slots_open(struct slots *slots, size_t used_max)
{
        size_t size = 2;

        assert(used_max > 0);
        while (size < 2 * used_max)
                size *= 2;
        *slots = (struct slots){.slots = calloc(size, sizeof *slots->slots), .mask = size - 1, .used_max = used_max};
        return slots->slots != NULL;
}

static inline void slots_close(struct slots *slots)
{
        free(slots->slots);
        slots->slots = NULL;
}

/* The last eight bytes of a UUID v7 are its random ones. */
static inline size_t slots_home(const struct slots *slots, const struct assent_uuid *txn_id)
{
        uint64_t tail;
        memcpy(&tail, txn_id->bytes + 8, sizeof tail);
        return (size_t)(tail * UINT64_C(0x9e3779b97f4a7c15) >> 20) & slots->mask;
}

static inline struct slot *slots_find(struct slots *slots, const struct assent_uuid *txn_id)
{
        for (size_t i = slots_home(slots, txn_id); slots->slots[i].copies; i = (i + 1) & slots->mask)
                if (memcmp(&slots->slots[i].txn_id, txn_id, sizeof *txn_id) == 0)
                        return &slots->slots[i];
        return NULL;
}

/* A slot for a txn id that is not in the table. */
static inline struct slot *slots_put(struct slots *slots, const struct assent_uuid *txn_id)
{
        size_t i = slots_home(slots, txn_id);

        assert(slots->used < slots->used_max);
        while (slots->slots[i].copies)
                i = (i + 1) & slots->mask;
        slots->slots[i] = (struct slot){.txn_id = *txn_id, .copies = 1};
        slots->used++;
        return &slots->slots[i];
}

/* Frees a slot and closes the gap, so that a later one of the same chain is still found. Slots
 * move: a pointer from find is stale afterwards. */
static inline void slots_remove(struct slots *slots, struct slot *slot)
{
        size_t gap = (size_t)(slot - slots->slots);

        assert(slots->used > 0 && slot->copies > 0);
        for (size_t i = (gap + 1) & slots->mask; slots->slots[i].copies; i = (i + 1) & slots->mask) {
                size_t home = slots_home(slots, &slots->slots[i].txn_id);
                if (((i - home) & slots->mask) >= ((i - gap) & slots->mask)) {
                        slots->slots[gap] = slots->slots[i];
                        gap = i;
                }
        }
        slots->slots[gap].copies = 0;
        slots->used--;
}

#endif
