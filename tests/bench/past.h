/* past.h: transaction ids of other times, for dedup logs with a past. */
#ifndef ASSENT_TESTS_PAST_H
#define ASSENT_TESTS_PAST_H

#include <assent/types.h>

#include "../../producers/load/random.h"

#define PAST_MS (40 * 60000) /* they are begun evenly over so long, and so too young to be forgotten (P12) */

/* A UUID of version 7, as assent_txn_id_new makes them, of another time. */
static inline struct assent_uuid past_txn_id(int64_t birth_ms, uint64_t *random)
{
        struct assent_uuid id;
        uint64_t low = random_next(random), high = random_next(random);

        for (int i = 0; i < 8; i++) {
                id.bytes[i] = (uint8_t)(high >> 8 * i);
                id.bytes[8 + i] = (uint8_t)(low >> 8 * i);
        }
        for (int i = 0; i < 6; i++)
                id.bytes[i] = (uint8_t)(birth_ms >> 8 * (5 - i));
        id.bytes[6] = (uint8_t)(0x70 | (id.bytes[6] & 0x0f));
        id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f));
        return id;
}

#endif
