/* clock.h: the process's clocks. Decisions never read them: they go by log time (τ). */
#ifndef ASSENT_BASE_CLOCK_H
#define ASSENT_BASE_CLOCK_H

#include <stdint.h>

/* Monotonic: for timeouts and measurements. The origin is arbitrary. */
int64_t assent_clock_ms(void);
int64_t assent_clock_us(void);

/* Wall clock: milliseconds since the Unix epoch. It may jump. */
int64_t assent_clock_wall_ms(void);

#endif
