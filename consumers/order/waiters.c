#include "waiters.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../daemon.h"

enum {
        BUCKETS = 4096,
        TICK_MS = 20, /* one look at all who wait; how late a late answer may be */
};

struct waiters {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        pthread_t thread;
        void (*late)(void *context, struct waiter *waiter);
        void *context;
        size_t entered, entered_max;
        int64_t earliest_ms; /* nobody is due before */
        bool closing;
        struct waiter *buckets[BUCKETS];
};

int64_t waiters_now_ms(void)
{
        return daemon_monotonic_ms();
}

/* The last bytes of a UUID v7 are random. */
static struct waiter **bucket_of(struct waiters *waiters, const struct assent_uuid *txn_id)
{
        return &waiters->buckets[((size_t)txn_id->bytes[14] << 8 | txn_id->bytes[15]) % BUCKETS];
}

/* Takes out all that are due, or all of one transaction, and puts them before `taken`; their places are free again. */
static struct waiter *take(struct waiters *waiters, struct waiter **bucket, const struct assent_uuid *txn_id, int64_t now_ms,
                           struct waiter *taken)
{
        for (struct waiter **at = bucket; *at;) {
                struct waiter *waiter = *at;
                if (txn_id ? memcmp(&waiter->txn_id, txn_id, sizeof *txn_id) != 0 : waiter->until_ms > now_ms) {
                        if (waiter->until_ms < waiters->earliest_ms)
                                waiters->earliest_ms = waiter->until_ms;
                        at = &waiter->next;
                        continue;
                }
                *at = waiter->next;
                waiter->next = taken;
                taken = waiter;
                waiters->entered--;
        }
        return taken;
}

static void tell_late(struct waiters *waiters, struct waiter *list)
{
        while (list) {
                struct waiter *next = list->next;
                waiters->late(waiters->context, list);
                list = next;
        }
}

static void *watch(void *context)
{
        struct waiters *waiters = context;

        pthread_mutex_lock(&waiters->mutex);
        for (;;) {
                const bool closing = waiters->closing;
                const int64_t now_ms = closing ? INT64_MAX : waiters_now_ms();
                struct waiter *due = NULL;
                if (waiters->earliest_ms <= now_ms) {
                        waiters->earliest_ms = INT64_MAX;
                        for (size_t i = 0; i < BUCKETS; i++)
                                due = take(waiters, &waiters->buckets[i], NULL, now_ms, due);
                }
                pthread_mutex_unlock(&waiters->mutex);
                tell_late(waiters, due);
                pthread_mutex_lock(&waiters->mutex);
                if (closing)
                        break;
                if (waiters->closing)
                        continue;
                int64_t until_ms = waiters_now_ms() + TICK_MS;
                if (waiters->earliest_ms > until_ms)
                        until_ms = waiters->earliest_ms == INT64_MAX ? until_ms + 3600000 : waiters->earliest_ms;
                const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
                pthread_cond_timedwait(&waiters->changed, &waiters->mutex, &until);
        }
        pthread_mutex_unlock(&waiters->mutex);
        return NULL;
}

enum assent_err waiters_open(size_t waiting_max, void (*late)(void *context, struct waiter *waiter), void *context,
                             struct waiters **out)
{
        struct waiters *waiters = calloc(1, sizeof *waiters);
        pthread_condattr_t monotonic;

        *out = waiters;
        if (!waiters)
                return ASSENT_E_MEMORY;
        waiters->late = late;
        waiters->context = context;
        waiters->entered_max = waiting_max;
        waiters->earliest_ms = INT64_MAX;
        pthread_mutex_init(&waiters->mutex, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&waiters->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
        if (pthread_create(&waiters->thread, NULL, watch, waiters) == 0)
                return ASSENT_OK;
        pthread_cond_destroy(&waiters->changed);
        pthread_mutex_destroy(&waiters->mutex);
        free(waiters);
        *out = NULL;
        return ASSENT_E_MEMORY;
}

void waiters_stop(struct waiters *waiters)
{
        pthread_mutex_lock(&waiters->mutex);
        waiters->closing = true;
        waiters->earliest_ms = 0;
        pthread_cond_signal(&waiters->changed);
        pthread_mutex_unlock(&waiters->mutex);
        pthread_join(waiters->thread, NULL);
}

void waiters_close(struct waiters *waiters)
{
        if (!waiters)
                return;
        assert(waiters->closing);
        pthread_cond_destroy(&waiters->changed);
        pthread_mutex_destroy(&waiters->mutex);
        free(waiters);
}

bool waiters_enter(struct waiters *waiters)
{
        pthread_mutex_lock(&waiters->mutex);
        bool room = waiters->entered < waiters->entered_max;
        waiters->entered += room;
        pthread_mutex_unlock(&waiters->mutex);
        return room;
}

void waiters_leave(struct waiters *waiters)
{
        pthread_mutex_lock(&waiters->mutex);
        assert(waiters->entered > 0);
        waiters->entered--;
        pthread_mutex_unlock(&waiters->mutex);
}

void waiters_add(struct waiters *waiters, struct waiter *waiter)
{
        pthread_mutex_lock(&waiters->mutex);
        struct waiter **bucket = bucket_of(waiters, &waiter->txn_id);
        waiter->next = *bucket;
        *bucket = waiter;
        if (waiter->until_ms < waiters->earliest_ms) {
                waiters->earliest_ms = waiter->until_ms;
                pthread_cond_signal(&waiters->changed);
        }
        pthread_mutex_unlock(&waiters->mutex);
}

struct waiter *waiters_settled(struct waiters *waiters, const struct assent_uuid *txn_id)
{
        pthread_mutex_lock(&waiters->mutex);
        struct waiter *found = take(waiters, bucket_of(waiters, txn_id), txn_id, 0, NULL);
        pthread_mutex_unlock(&waiters->mutex);
        return found;
}
