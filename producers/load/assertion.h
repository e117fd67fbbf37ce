/* assertion.h: 'p99<50ms': what a load must have measured, for a script or a CI that judges by the exit status. */
#ifndef ASSENT_PRODUCERS_ASSERTION_H
#define ASSENT_PRODUCERS_ASSERTION_H

#include "results.h"

#define ASSERTIONS_MAX 32

struct assertion {
        const char *text; /* borrowed */
        enum metric metric;
        enum { BELOW, AT_MOST, ABOVE, AT_LEAST, EQUAL } relation;
        double limit; /* in the metric's unit */
};

/* False, with errmsg that says what is accepted. */
bool assertion_parse(const char *text, struct assertion *assertion, char errmsg[512]);

/* Does not hold for a NAN: what is not known is not right. */
bool assertion_holds(const struct assertion *assertion, double value);

#endif
