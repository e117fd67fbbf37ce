/* histogram.c: log-linear buckets. Values below 256 have a bucket each; above, the 7 bits after the
 * leading one choose among the 128 buckets of their power of two. */
#include "base/histogram.h"

#include <string.h>

#include "base/panic.h"

#define SUB_BITS  ASSENT_HISTOGRAM_SUB_BITS
#define SUB_COUNT (1 << SUB_BITS)

static unsigned bucket_of(int64_t value)
{
        ASSENT_ASSERT(value >= 0);
        if (value < SUB_COUNT)
                return (unsigned)value;
        unsigned shift = 63u - (unsigned)__builtin_clzll((unsigned long long)value) - SUB_BITS;
        unsigned bucket = (shift << SUB_BITS) + (unsigned)(value >> shift);
        ASSENT_ASSERT(bucket < ASSENT_HISTOGRAM_BUCKETS);
        return bucket;
}

/* The greatest value that falls into the bucket. */
static int64_t bucket_top(unsigned bucket)
{
        if (bucket < SUB_COUNT)
                return bucket;
        unsigned shift = (bucket >> SUB_BITS) - 1;
        uint64_t bottom = (uint64_t)(SUB_COUNT + (bucket & (SUB_COUNT - 1))) << shift;
        return (int64_t)(bottom + ((uint64_t)1 << shift) - 1);
}

void assent_histogram_init(struct assent_histogram *histogram)
{
        memset(histogram, 0, sizeof *histogram);
}

void assent_histogram_record(struct assent_histogram *histogram, int64_t value)
{
        if (value < 0)
                value = 0;
        histogram->buckets[bucket_of(value)]++;
        histogram->count++;
        if (value > histogram->max)
                histogram->max = value;
}

int64_t assent_histogram_percentile(const struct assent_histogram *histogram, double percent)
{
        ASSENT_ASSERT(percent >= 0 && percent <= 100);
        if (histogram->count == 0)
                return 0;
        /* The first value counts as the 0th percentile, so that a rank always exists. */
        double share = percent * (double)histogram->count / 100;
        uint64_t rank = (uint64_t)share;
        if (rank == 0 || (double)rank < share)
                rank++;
        uint64_t seen = 0;
        for (unsigned i = 0; i < ASSENT_HISTOGRAM_BUCKETS; i++) {
                seen += histogram->buckets[i];
                if (seen >= rank)
                        return bucket_top(i) < histogram->max ? bucket_top(i) : histogram->max;
        }
        return histogram->max;
}
