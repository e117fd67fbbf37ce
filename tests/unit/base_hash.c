/* Both hashes against published values: they stand in keys, digests and checkpoints, so they never
 * change. */
#include <criterion/criterion.h>

#include <string.h>

#include "base/hash.h"

Test(murmur2, java_client_vectors_match)
{
        static const struct {
                const char *text;
                int32_t hash;
        } vectors[] = {
            {"21", -973932308},
            {"foobar", -790332482},
            {"a-little-bit-long-string", -985981536},
            {"a-little-bit-longer-string", -1486304829},
            {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
            {"abc", 479470107},
        };
        for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
                cr_assert_eq((int32_t)assent_murmur2(vectors[i].text, strlen(vectors[i].text)),
                             vectors[i].hash, "%s", vectors[i].text);
}

Test(murmur2, bytes_above_127_are_unsigned)
{
        /* Java masks each byte with 0xff; a signed char here would give another value in the tail.
         */
        static const uint8_t bytes[] = {0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9};
        uint32_t word = 0xfcfdfeffu * 0x5bd1e995u;
        word = (word ^ word >> 24) * 0x5bd1e995u;
        uint32_t hash = (0x9747b28cu ^ 7u) * 0x5bd1e995u ^ word;
        hash = (hash ^ 0xf9fafbu) * 0x5bd1e995u;
        hash = (hash ^ hash >> 13) * 0x5bd1e995u;
        cr_assert_eq(assent_murmur2(bytes, sizeof bytes), hash ^ hash >> 15);
}

Test(hash64, published_vectors_match)
{
        cr_assert_eq(assent_hash64("", 0, 0), UINT64_C(0xef46db3751d8e999));
        cr_assert_eq(assent_hash64(NULL, 0, 0), UINT64_C(0xef46db3751d8e999));
        cr_assert_eq(assent_hash64("a", 1, 0), UINT64_C(0xd24ec4f1a98c6e5b));
        cr_assert_eq(assent_hash64("abc", 3, 0), UINT64_C(0x44bc2cf5ad770999));
}

Test(hash64, seed_changes_the_value_and_chains)
{
        uint64_t first = assent_hash64_chain(0, "one", 3);
        cr_assert_eq(first, assent_hash64("one", 3, 0));
        cr_assert_eq(assent_hash64_chain(first, "two", 3), assent_hash64("two", 3, first));
        cr_assert_neq(assent_hash64_chain(first, "two", 3), assent_hash64("two", 3, 0));
}

Test(hash64, stream_of_any_pieces_equals_the_whole)
{
        uint8_t bytes[200];
        for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = (uint8_t)(i * 7 + 3);
        for (size_t size = 0; size <= sizeof bytes; size++) {
                for (size_t piece = 1; piece <= 40; piece += 13) {
                        struct assent_hash hash;
                        assent_hash_init(&hash, 5);
                        for (size_t at = 0; at < size; at += piece)
                                assent_hash_add(&hash, bytes + at,
                                                size - at < piece ? size - at : piece);
                        assent_hash_add(&hash, NULL, 0);
                        cr_assert_eq(assent_hash_value(&hash), assent_hash64(bytes, size, 5));
                        cr_assert_eq(assent_hash_value(&hash), assent_hash64(bytes, size, 5),
                                     "asking changes nothing");
                }
        }
}
