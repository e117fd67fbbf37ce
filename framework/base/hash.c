/* hash.c: murmur2 by hand, because no packaged library has Kafka's; XXH64 and XXH3 by xxhash's inline
 * header, because it needs no link and cannot clash with another copy in the program. */
#include "base/hash.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/panic.h"

uint32_t assent_murmur2(const void *data, size_t size)
{
        ASSENT_ASSERT(data != NULL || size == 0);
        ASSENT_ASSERT(size <= INT32_MAX); /* Java's length is an int */
        const uint32_t multiplier = 0x5bd1e995u;
        const uint8_t *byte = data;
        uint32_t hash = 0x9747b28cu ^ (uint32_t)size;

        for (; size >= 4; byte += 4, size -= 4) {
                uint32_t word = (uint32_t)byte[0] | (uint32_t)byte[1] << 8 |
                                (uint32_t)byte[2] << 16 | (uint32_t)byte[3] << 24;
                word *= multiplier;
                word ^= word >> 24;
                word *= multiplier;
                hash = hash * multiplier ^ word;
        }
        if (size > 0) {
                uint32_t rest = 0;
                for (size_t i = 0; i < size; i++)
                        rest |= (uint32_t)byte[i] << 8 * i;
                hash = (hash ^ rest) * multiplier;
        }
        hash ^= hash >> 13;
        hash *= multiplier;
        return hash ^ hash >> 15;
}

uint64_t assent_hash64(const void *data, size_t size, uint64_t seed)
{
        ASSENT_ASSERT(data != NULL || size == 0);
        return XXH64(data, size, seed);
}

uint64_t assent_hash64_chain(uint64_t previous, const void *data, size_t size)
{
        return assent_hash64(data, size, previous);
}

void assent_hash128(const void *data, size_t size, uint8_t out[16])
{
        ASSENT_ASSERT(data != NULL || size == 0);
        XXH128_canonical_t canonical;
        XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, size));
        memcpy(out, canonical.digest, sizeof canonical.digest);
}

/* hash.h keeps xxhash out of its includers, so the state lives there as plain words and is copied
 * in and out: reading it through another type would break the aliasing rules. */
_Static_assert(sizeof(XXH64_state_t) == sizeof(struct assent_hash),
               "xxhash's state has another size");

void assent_hash_init(struct assent_hash *hash, uint64_t seed)
{
        XXH64_state_t state;
        XXH64_reset(&state, seed);
        memcpy(hash, &state, sizeof state);
}

void assent_hash_add(struct assent_hash *hash, const void *data, size_t size)
{
        ASSENT_ASSERT(data != NULL || size == 0);
        if (size == 0)
                return;
        XXH64_state_t state;
        memcpy(&state, hash, sizeof state);
        XXH64_update(&state, data, size);
        memcpy(hash, &state, sizeof state);
}

uint64_t assent_hash_value(const struct assent_hash *hash)
{
        XXH64_state_t state;
        memcpy(&state, hash, sizeof state);
        return XXH64_digest(&state);
}
