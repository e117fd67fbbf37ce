/* order.h: the way in that places orders over HTTP, as raw.h is the one over Kafka. Each order has an Idempotency-Key of its
 * own and is sent again with it until there is an answer that settles it; the keys of a run begin with its run id. Afterwards
 * every order is read back. */
#ifndef ASSENT_PRODUCERS_ORDER_H
#define ASSENT_PRODUCERS_ORDER_H

#include <assent/fetch.h>

#include "workload.h"

struct load;
struct call;

#define ORDER_PATH_SIZE_MAX    63
#define ORDER_FAULTS_SHOWN_MAX 10

/* What contradicts a promise of the service: the first ones as text, all counted. */
struct order_faults {
        uint64_t count;
        char shown[ORDER_FAULTS_SHOWN_MAX][240];
};

__attribute__((format(printf, 2, 3))) void order_fault(struct order_faults *faults, const char *format, ...);

/* What must be found when an order is read back. */
struct order_record {
        char path[ORDER_PATH_SIZE_MAX + 1]; /* of the order; of its transaction as long as no more is known */
        bool known, committed;              /* its outcome is known, and which */
        int16_t account;
        int64_t version, cents;
};

struct order {
        struct load *load;
        void *multi;
        int epoll;        /* of its sockets: with thousands of them, only those that have something cost anything */
        int64_t timer_us; /* when it wants to be called at the latest */
        struct assent_fetch *fetch; /* asks whether the service is there, and reads the orders back */
        struct call *all, *idle, *paused; /* what is neither idle nor paused stands in `multi` */
        size_t calls, calls_max;    /* under way, paused or promised */
        struct order_record *records;
        size_t records_count, records_max;
        uint64_t retries, replays;
        struct order_faults faults;
        enum assent_err err;
        char url[ORDER_URL_SIZE_MAX + 16];
        char errmsg[512];
};

/* A decimal number without leading zeroes as a strong entity tag; -1 for any other. */
int64_t order_version(const char *etag);

/* Closed also after a failure. ASSENT_E_BROKER: nobody answers there; ASSENT_E_ARGUMENT: not as it was asked. */
enum assent_err order_open(struct order *order, struct load *load);
void order_close(struct order *order);
/* Returns at once; both copies, if it is to be sent twice. ASSENT_AGAIN: after the next step. */
enum assent_err order_send(struct order *order, const struct draft *draft);
/* Sends, and tells the load what came; waits for at most `timeout_ms` if nothing does. */
enum assent_err order_step(struct order *order, int timeout_ms);

#endif
