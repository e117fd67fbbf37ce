/* The histogram of the load generator against exact percentiles of the same values. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "../../producers/load/histogram.h"

static uint64_t random_state = 88172645463325252u;

static uint64_t random_next(void) /* xorshift64 */
{
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        return random_state;
}

static int by_value(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a;
        int64_t y = *(const int64_t *)b;
        return (x > y) - (x < y);
}

static struct histogram histogram;

Test(histogram, empty_answers_zero)
{
        histogram = (struct histogram){0};
        cr_assert_eq(histogram_percentile(&histogram, 99), 0);
}

Test(histogram, small_values_are_exact)
{
        histogram = (struct histogram){0};
        for (int64_t value = 1; value <= 200; value++)
                histogram_record(&histogram, value);
        cr_assert_eq(histogram_percentile(&histogram, 0), 1);
        cr_assert_eq(histogram_percentile(&histogram, 50), 100);
        cr_assert_eq(histogram_percentile(&histogram, 50.1), 101);
        cr_assert_eq(histogram_percentile(&histogram, 99.5), 199);
        cr_assert_eq(histogram_percentile(&histogram, 100), 200);
}

Test(histogram, extremes_have_a_bucket)
{
        histogram = (struct histogram){0};
        histogram_record(&histogram, INT64_MAX);
        cr_assert_eq(histogram_percentile(&histogram, 50), INT64_MAX);
        histogram_record(&histogram, -5); /* counts as 0 */
        cr_assert_eq(histogram_percentile(&histogram, 50), 0);
}

Test(histogram, every_value_is_reported_within_one_in_128)
{
        for (int bit = 0; bit < 63; bit++) {
                for (int64_t near = -2; near <= 2; near++) {
                        int64_t value = (INT64_C(1) << bit) + near;
                        if (value < 0)
                                continue;
                        histogram = (struct histogram){0};
                        histogram_record(&histogram, value);
                        histogram_record(&histogram, INT64_MAX); /* so that max does not correct it */
                        int64_t told = histogram_percentile(&histogram, 50);
                        cr_assert_geq(told, value);
                        cr_assert_leq(told - value, value / 128);
                }
        }
}

Test(histogram, percentiles_match_sorted_values)
{
        enum { COUNT = 50000 };
        static int64_t values[COUNT];
        static const double percents[] = {0, 1, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100};
        histogram = (struct histogram){0};
        for (int i = 0; i < COUNT; i++) {
                values[i] = (int64_t)(random_next() >> (20 + random_next() % 40));
                histogram_record(&histogram, values[i]);
        }
        qsort(values, COUNT, sizeof *values, by_value);
        for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
                double share = percents[i] * COUNT / 100;
                size_t rank = (size_t)share + ((double)(size_t)share < share); /* rounded up */
                int64_t exact = values[rank == 0 ? 0 : rank - 1];
                int64_t told = histogram_percentile(&histogram, percents[i]);
                cr_assert_geq(told, exact, "%g", percents[i]);
                cr_assert_leq(told - exact, exact / 128, "%g", percents[i]);
        }
}
