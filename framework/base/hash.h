/* hash.h: the hashes of the project. Their values are part of the wire contract, and stand in databases: they never
 * change. */
#ifndef ASSENT_BASE_HASH_H
#define ASSENT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Kafka's murmur2 (seed 0x9747b28c), bit for bit as the Java client's; Java shows it as a signed
 * number. Kafka's default partitioner takes (murmur2(key) & 0x7fffffff) % partitions. */
uint32_t assent_murmur2(const void *data, size_t size);

/* XXH64. */
uint64_t assent_hash64(const void *data, size_t size, uint64_t seed);

/* The next link of a hash chain: XXH64 of the bytes, seeded with the link before it. */
uint64_t assent_hash64_chain(uint64_t previous, const void *data, size_t size);

/* XXH3 with 128 bits, in its canonical (big-endian) form. */
void assent_hash128(const void *data, size_t size, uint8_t out[16]);

/* XXH64 of a concatenation, piece by piece: init, add…, value. `value` may be asked at any time and
 * changes nothing. */
struct assent_hash {
        uint64_t state[11]; /* xxhash's own; see hash.c */
};
void assent_hash_init(struct assent_hash *hash, uint64_t seed);
void assent_hash_add(struct assent_hash *hash, const void *data, size_t size);
uint64_t assent_hash_value(const struct assent_hash *hash);

#endif
