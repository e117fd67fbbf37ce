/* core_containers.c: the core's arena, map, heap and text. */
#include <criterion/criterion.h>

#include "base/heap.h"
#include "base/map.h"
#include "base/text.h"
#include "core_lab.h"

/* ---- arena ---- */

Test(core_arena, blocks_are_recycled_by_size)
{
        struct assent_arena arena;
        cr_assert(assent_arena_open(&arena, 4096, 0));
        uint32_t a = assent_arena_alloc(&arena, 17), b = assent_arena_alloc(&arena, 24);
        cr_assert(a && b && a != b);
        cr_assert_eq(arena.used, 48);
        assent_arena_free(&arena, a, 17);
        cr_assert_eq(arena.used, 24);
        cr_assert_neq(assent_arena_alloc(&arena, 25), a, "another class");
        cr_assert_eq(assent_arena_alloc(&arena, 20), a, "the same class");
        assent_arena_close(&arena);
        assent_arena_close(&arena);
}

Test(core_arena, blocks_and_vectors_together_stay_within_the_limit)
{
        struct assent_arena arena;
        struct assent_vector vector;
        cr_assert(assent_arena_open(&arena, 65536, 1));
        assent_vector_open(&vector, &arena);
        size_t blocks = 0;
        while (arena.touched < 60000) {
                uint32_t handle = assent_arena_alloc(&arena, ASSENT_ARENA_BLOCK_SIZE_MAX);
                cr_assert(handle);
                memset(assent_arena_at(&arena, handle), 0xff, ASSENT_ARENA_BLOCK_SIZE_MAX);
                blocks++;
        }
        while (assent_vector_push(&vector, 7))
                cr_assert_leq(arena.touched, arena.size_max);
        cr_assert_gt(vector.count, 1000);
        cr_assert_eq(assent_arena_alloc(&arena, 8), 0);
        assent_vector_pop(&vector);
        cr_assert_eq(assent_arena_alloc(&arena, 8), 0, "what a vector touched stays its own");
        cr_assert(assent_vector_push(&vector, 8));
        cr_assert_eq(arena.used, blocks * ASSENT_ARENA_BLOCK_SIZE_MAX + vector.count * 4);
        assent_arena_close(&arena);
}

Test(core_arena, carved_memory_is_clear_and_bounded)
{
        struct assent_arena arena;
        cr_assert(assent_arena_open(&arena, 4096, 0));
        const char *carved = assent_arena_carve(&arena, 1001);
        cr_assert(carved);
        for (int i = 0; i < 1001; i++)
                cr_assert_eq(carved[i], 0);
        cr_assert_null(assent_arena_carve(&arena, 4096));
        uint32_t handle = assent_arena_alloc(&arena, 8);
        cr_assert((const char *)assent_arena_at(&arena, handle) >= carved + 1001);
        assent_arena_close(&arena);
}

Test(core_arena, no_address_space_is_said)
{
        struct assent_arena arena;
        cr_assert(!assent_arena_open(&arena, ASSENT_ARENA_SIZE_MAX, 100000));
}

/* ---- map ---- */

struct entry {
        struct assent_link link;
        uint32_t key;
};

static uint32_t find(const struct assent_map *map, uint32_t key, uint32_t hash)
{
        uint32_t handle = assent_map_first(map, hash);
        while (handle && ((struct entry *)assent_arena_at(map->heads.arena, handle))->key != key)
                handle = assent_map_next(map, handle);
        return handle;
}

/* `spread` 0 puts everything under a handful of hashes. */
static void map_against_an_array(uint32_t spread)
{
        enum { KEYS = 3000 };
        struct assent_arena arena;
        struct assent_map map;
        uint32_t handles[KEYS] = {0};
        uint64_t random = 42 + spread;
        cr_assert(assent_arena_open(&arena, 1 << 20, 1));
        cr_assert(assent_map_open(&map, &arena));
        for (int i = 0; i < 20000; i++) {
                uint32_t key = (uint32_t)lab_below(&random, KEYS), hash = spread ? key * spread : key % 7;
                cr_assert_eq(find(&map, key, hash), handles[key]);
                if (handles[key]) {
                        assent_map_remove(&map, handles[key]);
                        assent_arena_free(&arena, handles[key], sizeof(struct entry));
                        handles[key] = 0;
                } else {
                        handles[key] = assent_arena_alloc(&arena, sizeof(struct entry));
                        ((struct entry *)assent_arena_at(&arena, handles[key]))->key = key;
                        cr_assert(assent_map_add(&map, handles[key], hash));
                }
        }
        uint32_t count = 0;
        for (uint32_t key = 0; key < KEYS; key++) {
                cr_assert_eq(find(&map, key, spread ? key * spread : key % 7), handles[key]);
                count += handles[key] != 0;
        }
        cr_assert_eq(map.count, count);
        assent_arena_close(&arena);
}

Test(core_map, finds_what_is_in_it_and_nothing_else)
{
        map_against_an_array(2654435761u);
        map_against_an_array(0);
}

Test(core_map, an_exhausted_arena_is_said)
{
        struct assent_arena arena;
        struct assent_map map;
        cr_assert(assent_arena_open(&arena, 64, 1));
        cr_assert(!assent_map_open(&map, &arena), "16 buckets are 64 bytes, and 8 are taken");
        assent_arena_close(&arena);
        _Static_assert(sizeof(struct entry) <= 16, "a block of two units");
        cr_assert(assent_arena_open(&arena, 8 + 64 + 17 * 16, 1));
        cr_assert(assent_map_open(&map, &arena));
        uint32_t handles[17];
        for (uint32_t i = 0; i < 17; i++)
                handles[i] = assent_arena_alloc(&arena, sizeof(struct entry));
        for (uint32_t i = 0; i < 16; i++)
                cr_assert(assent_map_add(&map, handles[i], i));
        cr_assert(!assent_map_add(&map, handles[16], 16), "the 17th bucket does not fit");
        assent_arena_close(&arena);
}

/* ---- heap ---- */

struct item {
        uint32_t key, position;
};

static struct item *item_at(const struct assent_arena *arena, uint32_t handle)
{
        return assent_arena_at(arena, handle);
}

static bool before(const struct assent_arena *arena, uint32_t a, uint32_t b)
{
        uint32_t x = item_at(arena, a)->key, y = item_at(arena, b)->key;
        return x == y ? a < b : x < y;
}

static void placed(const struct assent_arena *arena, uint32_t item, uint32_t position)
{
        item_at(arena, item)->position = position;
}

Test(core_heap, the_least_comes_first_whatever_is_removed_in_between)
{
        enum { ITEMS = 500 };
        struct assent_arena arena;
        struct assent_heap heap;
        uint64_t random = 7;
        uint32_t live[ITEMS], count = 0;
        cr_assert(assent_arena_open(&arena, 1 << 20, 1));
        assent_heap_open(&heap, &arena, before, placed);
        cr_assert_eq(assent_heap_least(&heap), 0);
        for (int i = 0; i < 20000; i++) {
                if (count < ITEMS && lab_chance(&random, 55)) {
                        uint32_t handle = assent_arena_alloc(&arena, sizeof(struct item));
                        item_at(&arena, handle)->key = (uint32_t)lab_below(&random, 200);
                        cr_assert(assent_heap_push(&heap, handle));
                        live[count++] = handle;
                } else if (count) {
                        uint32_t k = (uint32_t)lab_below(&random, count), handle = live[k];
                        cr_assert_eq(heap.items.items[item_at(&arena, handle)->position], handle);
                        assent_heap_remove(&heap, item_at(&arena, handle)->position);
                        assent_arena_free(&arena, handle, sizeof(struct item));
                        live[k] = live[--count];
                }
                uint32_t least = count ? live[0] : 0;
                for (uint32_t k = 1; k < count; k++)
                        least = before(&arena, live[k], least) ? live[k] : least;
                cr_assert_eq(assent_heap_least(&heap), least);
        }
        assent_arena_close(&arena);
}

/* ---- text ---- */

Test(core_text, integers_and_seconds)
{
        char out[200];
        struct assent_text text;
        assent_text_open(&text, out, sizeof out);
        const int64_t values[] = {0, 7, -7, INT64_MAX, INT64_MIN};
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
                assent_text_put_int(&text, values[i]);
                assent_text_put(&text, " ");
        }
        cr_assert_str_eq(out, "0 7 -7 9223372036854775807 -9223372036854775808 ");
        assent_text_open(&text, out, sizeof out);
        assent_text_put_seconds(&text, 132, true);
        assent_text_put_seconds(&text, -2000, true);
        assent_text_put_seconds(&text, 61005, false);
        cr_assert_str_eq(out, "+0.132 s-2.000 s61.005 s");
}

Test(core_text, what_does_not_fit_is_cut_and_said)
{
        char out[6];
        struct assent_text text;
        assent_text_open(&text, out, sizeof out);
        assent_text_put(&text, "12345");
        cr_assert(!text.cut);
        assent_text_put(&text, "6");
        cr_assert(text.cut);
        cr_assert_str_eq(out, "12345");
        assent_text_put_escaped(&text, assent_bytes_of("x"));
        cr_assert_str_eq(out, "12345");
        assent_text_open(&text, out, 1);
        assent_text_put_int(&text, 1);
        cr_assert_str_eq(out, "");
}

Test(core_text, utf8_is_cut_between_characters)
{
        const char *text = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z"; /* 1, 2, 3, 4 and 1 bytes */
        const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
        for (size_t max = 0; max < sizeof want / sizeof *want; max++)
                cr_assert_eq(assent_utf8_cut(text, 11, max), want[max], "at %zu", max);
        cr_assert_eq(assent_utf8_cut("\x80\x80\x80\x80\x80\x80", 6, 5), 5, "not UTF-8: cut anywhere");
        cr_assert_eq(assent_utf8_cut("\x80\x80", 2, 0), 0);
        cr_assert_eq(assent_utf8_cut(NULL, 0, 0), 0);
}
