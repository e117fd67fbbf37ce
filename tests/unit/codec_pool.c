/* The allocator under avro-c: reuse, the cap at the limit and one past, and that other users of
 * avro-c are not touched. */
#include <criterion/criterion.h>

#include <string.h>

#include <avro.h>

#include "codec/pool.h"

#define POOL(situation) Test(codec_pool, situation, .init = install)

static void install(void)
{
        assent_pool_install();
        assent_pool_install();
}

POOL(blocks_are_used_again)
{
        struct assent_pool pool;
        assent_pool_init(&pool, 1024);
        assent_pool_enter(&pool);
        void *first = avro_malloc(100);
        avro_free(first, 100);
        void *again = avro_malloc(128); /* the same class: 65 to 128 */
        cr_assert_eq(again, first);
        cr_assert_eq(pool.live_size, 128);
        void *other = avro_malloc(129);
        cr_assert_neq(other, first);
        cr_assert_eq(pool.system_allocations, 2);
        avro_free(again, 128);
        avro_free(other, 129);
        cr_assert_eq(pool.live_size, 0);
        cr_assert_eq(pool.idle_size, 128 + 256);
        assent_pool_leave(&pool);
        assent_pool_done(&pool);
}

POOL(the_cap_holds_at_the_limit_and_one_past)
{
        struct assent_pool pool;
        assent_pool_init(&pool, 256);
        assent_pool_enter(&pool);
        void *whole = avro_malloc(256);
        cr_assert_not_null(whole);
        cr_assert_null(avro_malloc(1));
        avro_free(whole, 256);
        cr_assert_null(avro_malloc(257));
        cr_assert_null(avro_malloc((size_t)1 << 30));
        cr_assert_null(avro_malloc(SIZE_MAX));
        cr_assert_eq(pool.system_allocations, 1);
        void *half = avro_malloc(128), *quarter = avro_malloc(64);
        cr_assert_null(avro_malloc(65));
        void *rest = avro_malloc(64);
        cr_assert(half && quarter && rest);
        avro_free(half, 128);
        avro_free(quarter, 64);
        avro_free(rest, 64);
        assent_pool_leave(&pool);
        assent_pool_done(&pool);
}

POOL(idle_blocks_are_capped_too)
{
        struct assent_pool pool;
        assent_pool_init(&pool, 256);
        assent_pool_enter(&pool);
        void *whole = avro_malloc(256);
        avro_free(whole, 256);
        void *small = avro_malloc(16);
        avro_free(small, 16); /* 256 are idle already: back to the system */
        cr_assert_eq(pool.idle_size, 256);
        assent_pool_leave(&pool);
        assent_pool_done(&pool);
}

POOL(realloc_is_realloc)
{
        struct assent_pool pool;
        assent_pool_init(&pool, 4096);
        assent_pool_enter(&pool);
        char *block = avro_realloc(NULL, 0, 40);
        memset(block, 'x', 40);
        cr_assert_eq(avro_realloc(block, 40, 64), block);
        char *grown = avro_realloc(block, 64, 1000);
        for (int i = 0; i < 40; i++)
                cr_assert_eq(grown[i], 'x');
        cr_assert_null(avro_realloc(grown, 1000, 4097)); /* refused: the old one stands */
        cr_assert_eq(grown[39], 'x');
        cr_assert_eq(pool.live_size, 1024);
        char *shrunk = avro_realloc(grown, 1000, 3);
        cr_assert_eq(memcmp(shrunk, "xxx", 3), 0);
        cr_assert_eq(pool.live_size, 16);
        cr_assert_null(avro_realloc(shrunk, 3, 0));
        cr_assert_null(avro_realloc(NULL, 0, 0));
        cr_assert_eq(pool.live_size, 0);
        assent_pool_leave(&pool);
        assent_pool_done(&pool);
}

POOL(outside_a_pool_it_is_the_systems)
{
        struct assent_pool pool;
        void *before = avro_malloc(50);
        assent_pool_init(&pool, 64);
        assent_pool_enter(&pool);
        void *inside = avro_malloc(50);
        avro_free(inside, 50);
        assent_pool_leave(&pool);
        void *after = avro_malloc((size_t)1 << 20); /* no cap */
        cr_assert_not_null(after);
        after = avro_realloc(after, (size_t)1 << 20, 10);
        avro_free(after, 10);
        avro_free(before, 50);
        cr_assert_eq(pool.system_allocations, 1);
        assent_pool_done(&pool);
}
