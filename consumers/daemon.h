/* daemon.h: what the daemons that listen share: clocks in milliseconds. */
#ifndef ASSENT_CONSUMERS_DAEMON_H
#define ASSENT_CONSUMERS_DAEMON_H

#include <stdint.h>
#include <time.h>

static inline int64_t daemon_clock_ms(clockid_t clock)
{
        struct timespec now;
        clock_gettime(clock, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline int64_t daemon_wall_ms(void)
{
        return daemon_clock_ms(CLOCK_REALTIME);
}

static inline int64_t daemon_monotonic_ms(void)
{
        return daemon_clock_ms(CLOCK_MONOTONIC);
}

#endif
