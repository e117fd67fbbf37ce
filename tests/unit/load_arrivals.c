/* When a load begins transactions in an open model. */
#include <criterion/criterion.h>

#include <math.h>

#include "../../producers/load/arrivals.c"

Test(arrivals, constant_ones_stand_on_the_grid_however_many)
{
        struct arrivals arrivals;

        arrivals_start(&arrivals, 3, false, 1);
        for (int i = 0; i < 3000000; i++) {
                if (i % 3 == 0) /* whole seconds, exactly: no error adds up */
                        cr_assert_float_eq(arrivals.next_us, i / 3 * 1e6, 1e-3);
                arrivals_pass(&arrivals);
        }
}

Test(arrivals, poisson_gaps_have_the_mean_and_the_spread_of_the_exponential)
{
        enum { COUNT = 200000 };
        struct arrivals arrivals;
        double before = 0, sum = 0, squares = 0;
        int beyond_mean = 0;

        arrivals_start(&arrivals, 500, true, 7);
        for (int i = 0; i < COUNT; i++) {
                const double gap = arrivals.next_us - before;
                cr_assert_geq(gap, 0);
                before = arrivals.next_us;
                sum += gap;
                squares += gap * gap;
                beyond_mean += gap > 2000;
                arrivals_pass(&arrivals);
        }
        const double mean = sum / COUNT, deviation = sqrt(squares / COUNT - mean * mean);
        cr_assert_float_eq(mean, 2000, 20); /* standard error 4.5 */
        cr_assert_float_eq(deviation, 2000, 40);
        cr_assert_float_eq((double)beyond_mean / COUNT, exp(-1), 0.005);
}

Test(arrivals, a_seed_gives_one_schedule)
{
        struct arrivals first, again, other;
        bool differs = false;

        arrivals_start(&first, 100, true, 1);
        arrivals_start(&again, 100, true, 1);
        arrivals_start(&other, 100, true, 2);
        for (int i = 0; i < 1000; i++) {
                cr_assert_eq(first.next_us, again.next_us);
                differs = differs || first.next_us != other.next_us;
                arrivals_pass(&first);
                arrivals_pass(&again);
                arrivals_pass(&other);
        }
        cr_assert(differs);
}
