/* readback.h: the closing read of every order that was placed: it is there, it is what was sent and answered, its version never
 * went back, and what was not settled is asked for conditionally until it is. */
#ifndef ASSENT_PRODUCERS_READBACK_H
#define ASSENT_PRODUCERS_READBACK_H

#include <signal.h>

#include "order.h"

struct read_back {
        uint64_t orders;       /* read */
        uint64_t not_modified; /* answers without a body, of orders that were not settled yet */
        uint64_t late;         /* settled only now: the load had no answer in time */
        uint64_t late_committed;
        uint64_t unsettled;    /* in the end, or not read */
        char unread_why[256];  /* the last answer that said nothing; "" for none */
};

/* Until all are settled, `wait_ms` have passed since all were read once, or `stopped`. Adds to order->faults. */
void read_back(struct order *order, int64_t wait_ms, const volatile sig_atomic_t *stopped, struct read_back *report);

#endif
