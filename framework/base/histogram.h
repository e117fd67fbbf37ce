/* histogram.h: how long things took: counts of non-negative integers (microseconds, by convention)
 * in buckets whose width is at most 1/128 of the values in them, up to INT64_MAX, in fixed memory.
 */
#ifndef ASSENT_BASE_HISTOGRAM_H
#define ASSENT_BASE_HISTOGRAM_H

#include <stdint.h>

#define ASSENT_HISTOGRAM_SUB_BITS 7 /* 128 buckets for each power of two */
#define ASSENT_HISTOGRAM_BUCKETS  ((64 - ASSENT_HISTOGRAM_SUB_BITS) << ASSENT_HISTOGRAM_SUB_BITS)

/* About 58 KiB: keep it off small stacks. */
struct assent_histogram {
        uint64_t count;
        int64_t max;
        uint64_t buckets[ASSENT_HISTOGRAM_BUCKETS];
};

void assent_histogram_init(struct assent_histogram *histogram);
void assent_histogram_record(struct assent_histogram *histogram, int64_t value); /* a negative value counts as 0 */

/* The smallest value that `percent` (0 … 100) of the values do not exceed, rounded up by at most
 * 1/128; exact below 256 and at 100. 0 when empty. */
int64_t assent_histogram_percentile(const struct assent_histogram *histogram, double percent);

#endif
