/* load.h: the loop. Begins what the workload draws, in a closed loop or on a schedule, and measures until all has
 * ended.
 *
 * In a closed loop the next transaction begins when one has ended: a slow system is asked less often, so the latencies
 * leave out the waiting that an open arrival process would have seen. They are latencies at this concurrency, not at a
 * rate. On a schedule (an open model) they count from the scheduled begin, whether the load could keep it or not. */
#ifndef ASSENT_PRODUCERS_LOAD_H
#define ASSENT_PRODUCERS_LOAD_H

#include <signal.h>
#include <time.h>

#include "arrivals.h"
#include "order.h"
#include "raw.h"
#include "results.h"
#include "slots.h"

struct load {
        const struct settings *settings;
        struct raw raw;
        struct order order; /* of these two, the one that is asked for is open */
        struct workload workload;
        struct arrivals arrivals;
        struct slots slots;
        struct results results;
        const struct draft *draft; /* what could not be sent yet, or not its second copy */
        bool repeat;               /* it is the second copy */
        int64_t unheld;            /* begins, copies included, that the broker has not acknowledged, or the order service */
        int64_t start_us, swept_us;
        bool no_more; /* everything is begun */
        volatile sig_atomic_t stopped;
};

/* Prepares everything but the connection; closed also after false, which is that memory ran out. */
bool load_open(struct load *load, const struct settings *settings);
void load_close(struct load *load);

/* Runs until everything has ended or the load is stopped: then nothing new is begun, and what is in flight is left to
 * its fate. */
enum assent_err load_run(struct load *load, const struct assent_config *config);
/* From a signal handler. */
void load_stop(struct load *load);

/* What a way in tells, in its step. */
void load_copy_held(struct load *load, const struct assent_uuid *txn_id, bool held, struct assent_bytes why_not);
void load_copy_rejected(struct load *load, const struct assent_uuid *txn_id, struct assent_bytes reason);
void load_ended(struct load *load, const struct assent_uuid *txn_id, bool committed, struct assent_bytes reason);
/* … and of orders: there was no answer in time; there is nothing more to wait for; it was as if it had been sent once. */
void load_lost(struct load *load, const struct assent_uuid *txn_id, struct assent_bytes why);
void load_copy_answered(struct load *load);
void load_absorbed(struct load *load, bool measured);

/* Of the way in, after load_run has failed. */
const char *load_errmsg(const struct load *load, enum assent_err err);

static inline int64_t now_us(void)
{
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

#endif
