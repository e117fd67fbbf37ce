/* daemon.h: what the daemons that listen share: clocks in milliseconds, and the file that tells their port. */
#ifndef ASSENT_CONSUMERS_DAEMON_H
#define ASSENT_CONSUMERS_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
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

/* Whoever waits for the file finds it whole. False with errno when it cannot be written. */
static inline bool daemon_tell_port(const char *path, uint16_t number)
{
        char beside[4200]; /* a value of the configuration has at most 4 KiB */
        int size = snprintf(beside, sizeof beside, "%s.new", path);
        FILE *file = size > 0 && (size_t)size < sizeof beside ? fopen(beside, "we") : NULL;
        bool written = file && fprintf(file, "%u\n", (unsigned)number) > 0;

        if (file)
                written = fclose(file) == 0 && written;
        return written && rename(beside, path) == 0;
}

#endif
