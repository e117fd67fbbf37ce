/* The cache in memory: the contract of every backend, and what is its own: limits, what gives way, and that nothing older takes
 * its place. */
#include "contract/cache_backend.h"

static struct assent_cache *open_cache(size_t entries_max, size_t bytes_max, size_t value_bytes_max)
{
        struct assent_cache *cache;
        cr_assert_eq(assent_cache_memory_open(entries_max, bytes_max, value_bytes_max, &cache), ASSENT_OK);
        return cache;
}

#define KEPT(situation, call)                                                                      \
        Test(cache_memory, situation)                                                              \
        {                                                                                          \
                struct assent_cache *cache = open_cache(64, 1 << 24, 65536);                       \
                call;                                                                              \
                cache->ops->close(cache);                                                          \
        }
KEPT(keeps_the_newest, cache_keeps_the_newest(cache))
KEPT(confirms_only_what_stands_there, cache_confirms_only_what_stands_there(cache))
KEPT(limits_keys_and_versions, cache_limits_keys_and_versions(cache))
KEPT(limits_values, cache_limits_values(cache, 65536))
KEPT(keeps_any_bytes, cache_keeps_any_bytes(cache))
KEPT(keeps_the_newest_of_many_threads, cache_keeps_the_newest_of_many_threads(cache, 20000))
KEPT(reads_never_go_back, cache_reads_never_go_back(cache, 20000))

Test(cache_memory, reads_never_go_back_although_entries_give_way)
{
        for (size_t entries = 1; entries <= 5; entries++) {
                struct assent_cache *cache = open_cache(entries, 1 << 20, 64);
                cache_reads_never_go_back(cache, 5000);
                cache->ops->close(cache);
        }
}

Test(cache_memory, reads_never_go_back_although_values_are_too_large)
{
        struct assent_cache *cache = open_cache(6, 1 << 20, 40); /* not every fourth */
        cache_reads_never_go_back(cache, 5000);
        cache->ops->close(cache);
}

Test(cache_memory, refuses_limits_that_cannot_hold)
{
        static const struct {
                size_t entries_max, bytes_max, value_bytes_max;
                enum assent_err err;
        } all[] = {
                {1, ASSENT_CACHE_KEY_SIZE_MAX, 0, ASSENT_OK},
                {0, 1 << 20, 1, ASSENT_E_ARGUMENT},
                {((size_t)1 << 24) + 1, 1 << 20, 1, ASSENT_E_ARGUMENT},
                {1, ASSENT_CACHE_KEY_SIZE_MAX - 1, 0, ASSENT_E_ARGUMENT},
                {1, ASSENT_CACHE_KEY_SIZE_MAX + 10, 10, ASSENT_OK},
                {1, ASSENT_CACHE_KEY_SIZE_MAX + 10, 11, ASSENT_E_ARGUMENT},
                {1, ASSENT_CACHE_KEY_SIZE_MAX, SIZE_MAX, ASSENT_E_ARGUMENT},
        };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
                struct assent_cache *cache;
                cr_assert_eq(assent_cache_memory_open(all[i].entries_max, all[i].bytes_max, all[i].value_bytes_max, &cache),
                             all[i].err, "%zu", i);
                cr_assert_eq(cache != NULL, all[i].err == ASSENT_OK);
                if (cache)
                        cache->ops->close(cache);
        }
}

Test(cache_memory, the_least_recently_used_gives_way_to_one_past_the_limit)
{
        struct assent_cache *cache = open_cache(3, 1 << 20, 64);
        int64_t now_ms = assent_clock_wall_ms();
        static const char *const keys[] = {"a", "b", "c"};
        for (size_t i = 0; i < 3; i++)
                cr_assert(cache_put(cache, keys[i], 1, now_ms, cache_text("v")));
        for (size_t i = 0; i < 3; i++)
                cr_assert_eq(cache_version(cache, keys[i], NULL, "v"), 1);
        cr_assert_eq(cache_version(cache, "a", NULL, "v"), 1);             /* used */
        cr_assert(cache_put(cache, "b", 2, now_ms, cache_text("w")));      /* used */
        cr_assert_not(cache_put(cache, "c", 1, now_ms, cache_text("v"))); /* not used */
        cr_assert(cache_put(cache, "d", 1, now_ms, cache_text("v")));
        cr_assert_eq(cache_version(cache, "c", NULL, NULL), -1);
        cr_assert_eq(cache_version(cache, "a", NULL, "v"), 1);
        cr_assert_eq(cache_version(cache, "b", NULL, "w"), 2);
        cr_assert_eq(cache_version(cache, "d", NULL, "v"), 1);
        cache->ops->close(cache);
}

Test(cache_memory, bytes_of_keys_and_values_have_a_limit)
{
        enum { BYTES = ASSENT_CACHE_KEY_SIZE_MAX + 64 };
        struct assent_cache *cache = open_cache(100, BYTES, 64);
        int64_t now_ms = assent_clock_wall_ms();
        static const char value[64];
        cr_assert(cache_put(cache, "a", 1, now_ms, (struct assent_bytes){value, 63}));
        cr_assert(cache_put(cache, "b", 1, now_ms, (struct assent_bytes){value, 63}));
        cr_assert(cache_put(cache, "c", 1, now_ms, (struct assent_bytes){value, 63})); /* 192: all there is */
        cr_assert_eq(cache_version(cache, "a", NULL, NULL), 1);
        cr_assert_eq(cache_version(cache, "b", NULL, NULL), 1);
        cr_assert_eq(cache_version(cache, "c", NULL, NULL), 1);
        cr_assert(cache_put(cache, "c", 2, now_ms, (struct assent_bytes){value, 64})); /* one past */
        cr_assert_eq(cache_version(cache, "a", NULL, NULL), -1);
        cr_assert_eq(cache_version(cache, "b", NULL, NULL), 1);
        cr_assert_eq(cache_version(cache, "c", NULL, NULL), 2);
        cr_assert(cache_put(cache, "c", 3, now_ms, (struct assent_bytes){value, 0})); /* what a value gave back is free */
        cr_assert(cache_put(cache, "d", 1, now_ms, (struct assent_bytes){value, 64}));
        cr_assert_eq(cache_version(cache, "b", NULL, NULL), 1);
        cache->ops->close(cache);
}

/* A fetch of version 5 that ends after version 6 has come and gone. */
Test(cache_memory, nothing_older_takes_the_place_of_what_gave_way)
{
        struct assent_cache *cache = open_cache(1, 1 << 20, 64);
        int64_t asked_ms = assent_clock_wall_ms();
        cr_assert(cache_put(cache, "a", 6, assent_clock_wall_ms(), cache_text("6")));
        cr_assert(cache_put(cache, "b", 1, INT64_MAX, cache_text("b"))); /* there is one bucket, so a's ghost is alone … */
        cr_assert_not(cache_put(cache, "a", 5, asked_ms, cache_text("5")));
        cr_assert_not(cache_put(cache, "a", 5, INT64_MAX, cache_text("5")));
        cr_assert(cache_put(cache, "c", 1, INT64_MAX, cache_text("c")));
        cr_assert_not(cache_put(cache, "a", 5, asked_ms, cache_text("5"))); /* … until b's comes in its place */
        cr_assert_eq(cache_version(cache, "a", NULL, NULL), -1);
        cr_assert(cache_put(cache, "a", 7, INT64_MAX, cache_text("7")));
        cr_assert_eq(cache_version(cache, "a", NULL, "7"), 7);
        cache->ops->close(cache);
}

/* ---- against a model: a list in the order of use ---- */

enum { MODEL_KEYS = 9, MODEL_ENTRIES = 4, MODEL_BYTES = ASSENT_CACHE_KEY_SIZE_MAX + 64 };

struct model {
        unsigned order[MODEL_KEYS]; /* newest first */
        size_t count;
        int64_t version[MODEL_KEYS], newest[MODEL_KEYS], confirmed_ms[MODEL_KEYS];
        size_t size[MODEL_KEYS];
};

static size_t model_find(const struct model *model, unsigned key)
{
        size_t at = 0;
        while (at < model->count && model->order[at] != key)
                at++;
        return at;
}

static void model_use(struct model *model, size_t at, unsigned key)
{
        memmove(model->order + 1, model->order, at * sizeof *model->order);
        model->order[0] = key;
}

static void model_put(struct model *model, unsigned key, int64_t version, int64_t now_ms, size_t size)
{
        size_t at = model_find(model, key), bytes = 0;
        model_use(model, at, key);
        model->count += at == model->count;
        model->version[key] = model->newest[key] = version;
        model->confirmed_ms[key] = now_ms;
        model->size[key] = size;
        for (size_t i = 0; i < model->count; i++)
                bytes += 2 + model->size[model->order[i]];
        while (model->count > MODEL_ENTRIES || bytes > MODEL_BYTES)
                bytes -= 2 + model->size[model->order[--model->count]];
}

static void model_turn(struct model *model, struct assent_cache *cache, uint32_t *random, int64_t now_ms)
{
        static const char bytes[64];
        unsigned which = cache_random(random) % MODEL_KEYS;
        char key[3] = {'k', (char)('0' + which), '\0'};
        size_t at = model_find(model, which), size = cache_random(random) % 65;
        bool there = at < model->count;
        int64_t version = model->newest[which] + (int64_t)(cache_random(random) % 5) - 2, confirmed_ms;

        switch (cache_random(random) % 3) {
        case 0:
                if (version < 1)
                        return;
                /* Of what is not there, something newer is news; something older has been on its way since long ago. */
                bool news = there ? version > model->version[which] : version >= model->newest[which];
                cr_assert_eq(cache_put(cache, key, version, news ? now_ms : 1, (struct assent_bytes){bytes, size}), news);
                if (news)
                        model_put(model, which, version, now_ms, size);
                return;
        case 1:
                cr_assert_eq(cache_version(cache, key, &confirmed_ms, NULL), there ? model->version[which] : -1);
                if (there) {
                        cr_assert_eq(confirmed_ms, model->confirmed_ms[which]);
                        model_use(model, at, which);
                }
                return;
        default:
                cr_assert_eq(cache->ops->confirm(cache, key, version, now_ms), ASSENT_OK);
                if (there && version == model->version[which])
                        model->confirmed_ms[which] = now_ms;
        }
}

Test(cache_memory, does_what_a_list_does)
{
        for (uint32_t seed = 1; seed <= 200; seed++) {
                struct assent_cache *cache = open_cache(MODEL_ENTRIES, MODEL_BYTES, 64);
                struct model model = {0};
                uint32_t random = seed * 2654435761u;
                int64_t now_ms = assent_clock_wall_ms() + 1000000; /* later than anything that is remembered */
                for (int turn = 0; turn < 500; turn++)
                        model_turn(&model, cache, &random, now_ms + turn);
                cache->ops->close(cache);
        }
}
