/* arrivals.h: when transactions are to begin, in an open model: at a rate, whatever comes back. */
#ifndef ASSENT_PRODUCERS_ARRIVALS_H
#define ASSENT_PRODUCERS_ARRIVALS_H

#include <stdbool.h>
#include <stdint.h>

struct arrivals {
        double gap_us; /* the mean one */
        bool poisson;  /* gaps are drawn, exponentially distributed; else all are alike */
        uint64_t random;
        uint64_t passed;
        double next_us; /* of the next arrival, from the start of the schedule */
};

void arrivals_start(struct arrivals *arrivals, double per_second, bool poisson, uint64_t seed);
/* Moves on to the arrival after the next. */
void arrivals_pass(struct arrivals *arrivals);

#endif
