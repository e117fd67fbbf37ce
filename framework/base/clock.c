/* clock.c: clock_gettime in the units that we use. */
#include "base/clock.h"

#include <time.h>

#include "base/panic.h"

static struct timespec now(clockid_t clock)
{
        struct timespec time;
        int failed = clock_gettime(clock, &time);
        ASSENT_ASSERT(!failed);
        return time;
}

int64_t assent_clock_ms(void)
{
        return assent_clock_us() / 1000;
}

int64_t assent_clock_us(void)
{
        struct timespec time = now(CLOCK_MONOTONIC);
        return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

int64_t assent_clock_wall_ms(void)
{
        struct timespec time = now(CLOCK_REALTIME);
        return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}
