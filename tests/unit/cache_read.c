/* Reads at three consistencies: when the source is asked, what is told, and what stands in the cache afterwards. */
#include "contract/cache_backend.h"

/* ---- a source that is told what to say ---- */

struct source {
        int asked;
        int64_t known; /* as it was asked */
        enum assent_err err;
        int64_t version;
        const char *value; /* NULL: none, it is the known one */
        /* Done while the answer is on its way. */
        void (*meanwhile)(struct assent_cache *cache);
        struct assent_cache *cache;
};

static enum assent_err answer(void *context, const char *key, int64_t known, int64_t *version, char **value, size_t *size)
{
        struct source *source = context;
        cr_assert(*key);
        source->asked++;
        source->known = known;
        if (source->meanwhile)
                source->meanwhile(source->cache);
        if (source->err)
                return source->err;
        *version = source->version;
        *value = source->value ? strdup(source->value) : NULL;
        *size = source->value ? strlen(source->value) : 0;
        return ASSENT_OK;
}

static struct assent_cache *open_cache(void)
{
        struct assent_cache *cache;
        cr_assert_eq(assent_cache_memory_open(64, 1 << 20, 1000, &cache), ASSENT_OK);
        return cache;
}

#define NOW INT64_C(2000000000000)

/* A read that goes well: what it told, checked but for the value's memory. */
static void read_is(struct assent_cache *cache, enum assent_consistency consistency, int64_t bound_ms, int64_t now_ms,
                    struct source *source, int64_t version, const char *value, enum assent_cache_result result, int64_t age_ms)
{
        struct assent_cached out;
        cr_assert_eq(assent_cache_read(cache, "o-1", consistency, bound_ms, now_ms, answer, source, &out), ASSENT_OK);
        cr_assert_eq(out.version, version);
        cr_assert_eq(out.size, strlen(value));
        cr_assert_arr_eq(out.value, value, out.size);
        cr_assert_eq(out.result, result, "result %d", (int)out.result);
        cr_assert_eq(out.age_ms, age_ms);
        free(out.value);
}

#define READ_TEST(situation)                                                                       \
        static void situation(struct assent_cache *cache);                                         \
        Test(cache_read, situation)                                                                \
        {                                                                                          \
                struct assent_cache *cache = open_cache();                                         \
                situation(cache);                                                                  \
                cache->ops->close(cache);                                                          \
        }                                                                                          \
        static void situation(struct assent_cache *cache)

READ_TEST(what_is_not_there_is_fetched_once)
{
        struct source source = {.version = 0, .value = "zero"};
        read_is(cache, ASSENT_CACHED, 0, NOW, &source, 0, "zero", ASSENT_CACHE_MISS, 0);
        cr_assert_eq(source.known, -1);
        read_is(cache, ASSENT_CACHED, 0, NOW + 7000, &source, 0, "zero", ASSENT_CACHE_HIT, 7000);
        read_is(cache, ASSENT_CACHED, 0, NOW - 5, &source, 0, "zero", ASSENT_CACHE_HIT, 0);
        cr_assert_eq(source.asked, 1);
}

READ_TEST(strong_always_asks)
{
        struct source source = {.version = 3, .value = "three"};
        cache_put(cache, "o-1", 2, NOW, cache_text("two"));
        read_is(cache, ASSENT_STRONG, INT64_MAX, NOW, &source, 3, "three", ASSENT_CACHE_STALE, 0);
        cr_assert_eq(source.known, 2);
        source.value = NULL; /* not modified */
        read_is(cache, ASSENT_STRONG, INT64_MAX, NOW + 5, &source, 3, "three", ASSENT_CACHE_CONFIRMED, 0);
        cr_assert_eq(source.known, 3);
        source.value = "three"; /* said again although it was known */
        read_is(cache, ASSENT_STRONG, INT64_MAX, NOW + 6, &source, 3, "three", ASSENT_CACHE_CONFIRMED, 0);
        cr_assert_eq(source.asked, 3);
        read_is(cache, ASSENT_CACHED, 0, NOW + 10, &source, 3, "three", ASSENT_CACHE_HIT, 4);
}

READ_TEST(bounded_asks_one_past_the_bound)
{
        struct source source = {.version = 2};
        cache_put(cache, "o-1", 2, NOW, cache_text("two"));
        read_is(cache, ASSENT_BOUNDED, 100, NOW + 100, &source, 2, "two", ASSENT_CACHE_HIT, 100);
        cr_assert_eq(source.asked, 0);
        read_is(cache, ASSENT_BOUNDED, 100, NOW + 101, &source, 2, "two", ASSENT_CACHE_CONFIRMED, 0);
        cr_assert_eq(source.asked, 1);
        read_is(cache, ASSENT_BOUNDED, 100, NOW + 201, &source, 2, "two", ASSENT_CACHE_HIT, 100);
        cr_assert_eq(source.asked, 1);
        read_is(cache, ASSENT_BOUNDED, 0, NOW + 101, &source, 2, "two", ASSENT_CACHE_HIT, 0);
        cr_assert_eq(source.asked, 1);
}

READ_TEST(a_clock_that_was_set_back_makes_nothing_fresh)
{
        struct source source = {.version = 2};
        cache_put(cache, "o-1", 2, NOW, cache_text("two"));
        read_is(cache, ASSENT_BOUNDED, 100, NOW - 100, &source, 2, "two", ASSENT_CACHE_HIT, 0);
        read_is(cache, ASSENT_BOUNDED, 100, NOW - 101, &source, 2, "two", ASSENT_CACHE_CONFIRMED, 0);
        read_is(cache, ASSENT_BOUNDED, 100, NOW - 1, &source, 2, "two", ASSENT_CACHE_HIT, 100);
        cr_assert_eq(source.asked, 1);
}

READ_TEST(what_the_source_says_is_gone_is_not_found_and_stays_in_the_cache)
{
        struct source source = {.err = ASSENT_E_NOT_FOUND};
        struct assent_cached out;
        cache_put(cache, "o-1", 2, NOW, cache_text("two"));
        cr_assert_eq(assent_cache_read(cache, "o-1", ASSENT_STRONG, 0, NOW, answer, &source, &out), ASSENT_E_NOT_FOUND);
        cr_assert_null(out.value);
        cr_assert_eq(cache_version(cache, "o-1", NULL, "two"), 2);
        cr_assert_eq(assent_cache_read(cache, "o-2", ASSENT_CACHED, 0, NOW, answer, &source, &out), ASSENT_E_NOT_FOUND);
        source.err = ASSENT_TIMED_OUT;
        cr_assert_eq(assent_cache_read(cache, "o-1", ASSENT_BOUNDED, 0, NOW + 1, answer, &source, &out), ASSENT_TIMED_OUT);
        cr_assert_eq(source.asked, 3);
}

READ_TEST(a_source_that_went_back_is_not_believed)
{
        struct source source = {.version = 4, .value = "four"};
        cache_put(cache, "o-1", 6, NOW, cache_text("six"));
        read_is(cache, ASSENT_STRONG, 0, NOW + 3, &source, 6, "six", ASSENT_CACHE_HIT, 3);
        cr_assert_eq(cache_version(cache, "o-1", NULL, "six"), 6);
}

READ_TEST(a_key_has_1_to_128_bytes)
{
        struct source source = {.version = 1, .value = "one"};
        struct assent_cached out;
        char key[ASSENT_CACHE_KEY_SIZE_MAX + 2];
        memset(key, 'k', sizeof key - 1);
        key[sizeof key - 1] = '\0';
        cr_assert_eq(assent_cache_read(cache, key, ASSENT_CACHED, 0, NOW, answer, &source, &out), ASSENT_E_LIMIT);
        cr_assert_eq(assent_cache_read(cache, "", ASSENT_CACHED, 0, NOW, answer, &source, &out), ASSENT_E_LIMIT);
        cr_assert_eq(source.asked, 0);
        key[ASSENT_CACHE_KEY_SIZE_MAX] = '\0';
        cr_assert_eq(assent_cache_read(cache, key, ASSENT_CACHED, 0, NOW, answer, &source, &out), ASSENT_OK);
        free(out.value);
}

static void six_comes(struct assent_cache *cache)
{
        cache_put(cache, "o-1", 6, NOW, cache_text("six"));
}

READ_TEST(an_answer_that_was_overtaken_is_told_and_not_kept)
{
        struct source source = {.version = 5, .value = "five", .meanwhile = six_comes, .cache = cache};
        read_is(cache, ASSENT_CACHED, 0, NOW, &source, 5, "five", ASSENT_CACHE_MISS, 0);
        cr_assert_eq(cache_version(cache, "o-1", NULL, "six"), 6);
        read_is(cache, ASSENT_CACHED, 0, NOW, &source, 6, "six", ASSENT_CACHE_HIT, 0);
}

READ_TEST(an_answer_that_an_event_brought_first_confirms_it)
{
        struct source source = {.version = 6, .value = "six", .meanwhile = six_comes, .cache = cache};
        int64_t confirmed_ms;
        read_is(cache, ASSENT_CACHED, 0, NOW + 50, &source, 6, "six", ASSENT_CACHE_MISS, 0);
        cr_assert_eq(cache_version(cache, "o-1", &confirmed_ms, "six"), 6);
        cr_assert_eq(confirmed_ms, NOW + 50);
}

READ_TEST(a_value_that_the_cache_does_not_take_is_told)
{
        char value[1002];
        struct source source = {.version = 3, .value = value};
        memset(value, 'v', sizeof value - 1);
        value[sizeof value - 1] = '\0';
        cache_put(cache, "o-1", 2, NOW, cache_text("two"));
        read_is(cache, ASSENT_STRONG, 0, NOW, &source, 3, value, ASSENT_CACHE_STALE, 0);
        read_is(cache, ASSENT_CACHED, 0, NOW, &source, 3, value, ASSENT_CACHE_MISS, 0); /* and nothing older is, afterwards */
}

/* ---- a backend that is away ---- */

static enum assent_err away_err;
static int away_puts;

static enum assent_err away_put(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms,
                                struct assent_bytes value, bool *set)
{
        (void)cache, (void)key, (void)version, (void)now_ms, (void)value, (void)set;
        away_puts++;
        return away_err;
}

static enum assent_err away_get(struct assent_cache *cache, const char *key, int64_t *version, int64_t *confirmed_ms,
                                char **value, size_t *size)
{
        (void)cache, (void)key;
        *version = 99, *confirmed_ms = NOW, *value = NULL, *size = 9; /* means nothing */
        return away_err;
}

Test(cache_read, with_the_backend_away_the_source_alone_answers)
{
        static const struct assent_cache_ops ops = {.put = away_put, .get = away_get};
        struct assent_cache cache = {.ops = &ops};
        struct source source = {.version = 1, .value = "one"};
        away_err = ASSENT_E_BROKER;
        for (enum assent_consistency consistency = ASSENT_STRONG; consistency <= ASSENT_CACHED; consistency++) {
                read_is(&cache, consistency, INT64_MAX, NOW, &source, 1, "one", ASSENT_CACHE_MISS, 0);
                cr_assert_eq(source.known, -1);
        }
        cr_assert_eq(source.asked, 3);
        cr_assert_eq(away_puts, 3);
        struct assent_cached out;
        away_err = ASSENT_E_MEMORY;
        cr_assert_eq(assent_cache_read(&cache, "o-1", ASSENT_STRONG, 0, NOW, answer, &source, &out), ASSENT_E_MEMORY);
        cr_assert_eq(source.asked, 3);
}

/* ---- any interleaving, in one thread: while a source's answer is on its way, other reads and events come and go ---- */

enum { KEYS = 4, DEPTH_MAX = 4 };

struct world {
        struct assent_cache *cache;
        uint32_t random;
        int depth;
        int64_t source[KEYS], since_ms[KEYS][64], seen[KEYS];
};

static void act(struct world *world);

struct asked {
        struct world *world;
        unsigned which;
};

static void acts(struct world *world)
{
        for (unsigned i = cache_random(&world->random) % 5; i > 0 && world->depth < DEPTH_MAX; i--)
                act(world);
}

static enum assent_err world_source(void *context, const char *key, int64_t known, int64_t *version, char **value,
                                    size_t *size)
{
        struct asked *asked = context;
        char text[CACHE_VALUE_MAX];
        acts(asked->world);
        *version = asked->world->source[asked->which];
        acts(asked->world);
        if (*version == known)
                return ASSENT_OK;
        *size = cache_value(key, *version, text).size;
        *value = strdup(text);
        return ASSENT_OK;
}

static void read_any(struct world *world, unsigned which, const char *key)
{
        struct asked asked = {world, which};
        enum assent_consistency consistency = (enum assent_consistency)(ASSENT_STRONG + cache_random(&world->random) % 3);
        int64_t least = consistency == ASSENT_STRONG ? world->source[which] : world->seen[which];
        struct assent_cached out;
        cr_assert_eq(assent_cache_read(world->cache, key, consistency, 0, assent_clock_wall_ms(), world_source, &asked, &out),
                     ASSENT_OK);
        cr_assert_geq(out.version, least);
        cr_assert(cache_value_is(key, out.version, out.value, out.size));
        free(out.value);
        if (world->seen[which] < out.version)
                world->seen[which] = out.version;
}

static void act(struct world *world)
{
        unsigned which = cache_random(&world->random) % KEYS;
        char key[] = {'k', (char)('0' + which), '\0'}, text[CACHE_VALUE_MAX];
        bool set;
        int64_t version;

        world->depth++;
        switch (cache_random(&world->random) % 4) {
        case 0:
                version = ++world->source[which];
                world->since_ms[which][version % 64] = assent_clock_wall_ms();
                break;
        case 1:
                version = world->source[which] - cache_random(&world->random) % 8;
                if (version > 0)
                        world->cache->ops->put(world->cache, key, version, world->since_ms[which][version % 64],
                                               cache_value(key, version, text), &set);
                break;
        default:
                read_any(world, which, key);
        }
        world->depth--;
}

Test(cache_read, never_goes_back_in_any_interleaving)
{
        for (uint32_t seed = 1; seed <= 300; seed++) {
                struct world world = {.random = seed * 2654435761u};
                for (unsigned i = 0; i < KEYS; i++)
                        world.source[i] = 1, world.since_ms[i][1] = assent_clock_wall_ms();
                cr_assert_eq(assent_cache_memory_open(1 + seed % KEYS, 1000, seed % 3 ? 100 : 40, &world.cache), ASSENT_OK);
                for (int turn = 0; turn < 300; turn++)
                        act(&world);
                world.cache->ops->close(world.cache);
        }
}
