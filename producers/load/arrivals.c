#include "arrivals.h"

#include <assert.h>
#include <math.h>

#include "random.h"

static double drawn_gap_us(struct arrivals *arrivals)
{
        return -log1p(-random_share(&arrivals->random)) * arrivals->gap_us;
}

void arrivals_start(struct arrivals *arrivals, double per_second, bool poisson, uint64_t seed)
{
        assert(per_second > 0);
        /* A stream of its own: what is begun is the same with and without a schedule. */
        *arrivals = (struct arrivals){
            .gap_us = 1e6 / per_second, .poisson = poisson, .random = seed ^ UINT64_C(0xa5a5f00dd15ea5e5)};
        if (poisson)
                arrivals->next_us = drawn_gap_us(arrivals);
}

void arrivals_pass(struct arrivals *arrivals)
{
        arrivals->passed++;
        if (arrivals->poisson)
                arrivals->next_us += drawn_gap_us(arrivals);
        else /* multiplied, so that no error adds up */
                arrivals->next_us = (double)arrivals->passed * arrivals->gap_us;
}
