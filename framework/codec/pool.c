#include "codec/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <avro.h>

#include "base/panic.h"

enum { BLOCK_SIZE_MIN_LOG2 = 4 };

static _Thread_local struct assent_pool *active;

static unsigned class_of(size_t size)
{
        ASSENT_ASSERT(size > 0);
        if (size <= (size_t)1 << BLOCK_SIZE_MIN_LOG2)
                return 0;
        return (unsigned)(64 - __builtin_clzll((unsigned long long)size - 1)) - BLOCK_SIZE_MIN_LOG2;
}

static size_t class_size(unsigned class)
{
        return (size_t)1 << (class + BLOCK_SIZE_MIN_LOG2);
}

static void *take(struct assent_pool *pool, size_t size)
{
        if (size > pool->size_max) /* before class_of, which has no class for an absurd size */
                return NULL;
        unsigned class = class_of(size);
        ASSENT_ASSERT(class < ASSENT_POOL_CLASSES);
        if (class_size(class) > pool->size_max - pool->live_size)
                return NULL;
        void *block = pool->idle[class];
        if (block) {
                memcpy(&pool->idle[class], block, sizeof(void *));
                pool->idle_size -= class_size(class);
        } else {
                block = malloc(class_size(class));
                if (!block)
                        return NULL;
                pool->system_allocations++;
        }
        pool->live_size += class_size(class);
        return block;
}

static void give(struct assent_pool *pool, void *block, size_t size)
{
        unsigned class = class_of(size);
        ASSENT_ASSERT(class < ASSENT_POOL_CLASSES);
        ASSENT_ASSERT(pool->live_size >= class_size(class));
        pool->live_size -= class_size(class);
        if (class_size(class) > pool->size_max - pool->idle_size) {
                free(block);
                return;
        }
        memcpy(block, &pool->idle[class], sizeof(void *));
        pool->idle[class] = block;
        pool->idle_size += class_size(class);
}

/* avro_allocator_t: malloc, realloc and free in one; `old_size` is the size that was asked for. */
static void *allocate(void *user_data, void *block, size_t old_size, size_t new_size)
{
        (void)user_data;
        struct assent_pool *pool = active;
        if (!pool) {
                if (new_size > 0)
                        return realloc(block, new_size);
                free(block);
                return NULL;
        }
        if (!block)
                return new_size > 0 ? take(pool, new_size) : NULL;
        if (new_size > 0) {
                if (new_size <= pool->size_max && class_of(new_size) == class_of(old_size))
                        return block;
                void *moved = take(pool, new_size);
                if (!moved)
                        return NULL; /* as realloc: the old block stands */
                memcpy(moved, block, old_size < new_size ? old_size : new_size);
                give(pool, block, old_size);
                return moved;
        }
        give(pool, block, old_size);
        return NULL;
}

static void install(void)
{
        avro_set_allocator(allocate, NULL);
}

void assent_pool_install(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        int failed = pthread_once(&once, install);
        ASSENT_ASSERT(failed == 0);
}

void assent_pool_init(struct assent_pool *pool, size_t size_max)
{
        ASSENT_ASSERT(size_max > 0);
        ASSENT_ASSERT(size_max <= class_size(ASSENT_POOL_CLASSES - 1));
        *pool = (struct assent_pool){.size_max = size_max};
}

void assent_pool_enter(struct assent_pool *pool)
{
        ASSENT_ASSERT(!active);
        active = pool;
}

void assent_pool_leave(struct assent_pool *pool)
{
        ASSENT_ASSERT(active == pool);
        active = NULL;
}

void assent_pool_done(struct assent_pool *pool)
{
        ASSENT_ASSERT(pool->live_size == 0);
        for (unsigned class = 0; class < ASSENT_POOL_CLASSES; class ++) {
                while (pool->idle[class]) {
                        void *block = pool->idle[class];
                        memcpy(&pool->idle[class], block, sizeof(void *));
                        free(block);
                }
        }
}
