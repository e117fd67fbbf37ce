/* workload.h: what is begun: draws one transaction after the other. */
#ifndef ASSENT_PRODUCERS_WORKLOAD_H
#define ASSENT_PRODUCERS_WORKLOAD_H

#include <assent/client.h>

#include "settings.h"

/* The transaction drawn last. Its payloads are the workload's, until the next is drawn. */
struct draft {
        struct assent_begin begin;
        struct assent_begin_branch branches[ASSENT_BRANCHES_MAX];
        bool refuse, twice;
        /* Of an order: */
        uint64_t number;        /* makes its Idempotency-Key */
        int64_t account, cents; /* who pays how much */
        bool later;             /* the second copy goes out only when the first is answered */
};

struct workload {
        const struct settings *settings;
        uint64_t random;
        double *accounts; /* the share of draws that fall on account i or on one before it */
        double *items;    /* … and on item i */
        size_t room;      /* bytes of one payload */
        char *payloads;   /* one a branch */
        struct draft draft;
};

/* False when memory runs out; closed in any case. */
bool workload_open(struct workload *workload, const struct settings *settings);
void workload_close(struct workload *workload);

const struct draft *workload_draw(struct workload *workload);

#endif
