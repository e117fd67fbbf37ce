#include "runtime/work.h"

#include "base/panic.h"

enum assent_err assent_works_open(struct assent_works *works)
{
        works->opened = pthread_mutex_init(&works->mutex, NULL) == 0;
        return works->opened ? ASSENT_OK : ASSENT_E_MEMORY;
}

enum assent_err assent_works_put(struct assent_works *works, const struct assent_work *work)
{
        enum assent_err err = ASSENT_OK;
        pthread_mutex_lock(&works->mutex);
        if (works->closed)
                err = ASSENT_E_ARGUMENT;
        else if (works->waiting_count == ASSENT_WORK_MAX)
                err = ASSENT_AGAIN;
        else
                works->lists[works->waiting][works->waiting_count++] = *work;
        pthread_mutex_unlock(&works->mutex);
        return err;
}

bool assent_works_waiting(struct assent_works *works)
{
        pthread_mutex_lock(&works->mutex);
        bool waiting = works->waiting_count > 0;
        pthread_mutex_unlock(&works->mutex);
        return waiting;
}

const struct assent_work *assent_works_take(struct assent_works *works, size_t *count)
{
        ASSENT_ASSERT(works->taken_count == 0);
        pthread_mutex_lock(&works->mutex);
        *count = works->taken_count = works->waiting_count;
        works->waiting_count = 0;
        works->waiting = !works->waiting;
        pthread_mutex_unlock(&works->mutex);
        return works->lists[!works->waiting];
}

/* `done` may submit again: that goes into the other list. */
static void tell(struct assent_works *works, enum assent_err err)
{
        const struct assent_work *taken = works->lists[!works->waiting];
        for (size_t i = 0; i < works->taken_count; i++)
                taken[i].done(taken[i].context, !err && works->undone[i] ? ASSENT_AGAIN : err);
        works->taken_count = 0;
}

void assent_works_tell(struct assent_works *works)
{
        tell(works, ASSENT_OK);
}

void assent_works_close(struct assent_works *works)
{
        pthread_mutex_lock(&works->mutex);
        works->closed = true;
        pthread_mutex_unlock(&works->mutex);
}

void assent_works_fail(struct assent_works *works, enum assent_err err)
{
        size_t count;
        assent_works_close(works);
        tell(works, err);
        assent_works_take(works, &count);
        tell(works, err);
}

void assent_works_free(struct assent_works *works)
{
        if (works->opened)
                pthread_mutex_destroy(&works->mutex);
}
