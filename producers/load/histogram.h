/* histogram.h: how long things took: counts of non-negative integers (microseconds) in log-linear buckets, whose width
 * is at most 1/128 of the values in them, up to INT64_MAX, in fixed memory. Values below 256 have a bucket each; above,
 * the 7 bits after the leading one choose among the 128 buckets of their power of two. */
#ifndef ASSENT_PRODUCERS_HISTOGRAM_H
#define ASSENT_PRODUCERS_HISTOGRAM_H

#include <assert.h>
#include <stdint.h>

#define HISTOGRAM_SUB_BITS  7
#define HISTOGRAM_SUB_COUNT (1 << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_BUCKETS   ((64 - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS)

/* About 58 KiB: keep it off small stacks. Empty when zeroed. */
struct histogram {
        uint64_t count;
        int64_t max;
        uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(int64_t value)
{
        assert(value >= 0);
        if (value < HISTOGRAM_SUB_COUNT)
                return (unsigned)value;
        unsigned shift = 63u - (unsigned)__builtin_clzll((unsigned long long)value) - HISTOGRAM_SUB_BITS;
        unsigned bucket = (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
        assert(bucket < HISTOGRAM_BUCKETS);
        return bucket;
}

/* The greatest value that falls into the bucket. */
static inline int64_t histogram_top(unsigned bucket)
{
        if (bucket < HISTOGRAM_SUB_COUNT)
                return bucket;
        unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
        uint64_t bottom = (uint64_t)(HISTOGRAM_SUB_COUNT + (bucket & (HISTOGRAM_SUB_COUNT - 1))) << shift;
        return (int64_t)(bottom + ((uint64_t)1 << shift) - 1);
}

/* A negative value counts as 0. */
static inline void histogram_record(struct histogram *histogram, int64_t value)
{
        if (value < 0)
                value = 0;
        histogram->buckets[histogram_bucket(value)]++;
        histogram->count++;
        if (value > histogram->max)
                histogram->max = value;
}

/* The smallest value that `percent` (0 … 100) of the values do not exceed, rounded up by at most 1/128; exact below 256
 * and at 100. 0 when empty. */
static inline int64_t histogram_percentile(const struct histogram *histogram, double percent)
{
        assert(percent >= 0 && percent <= 100);
        if (histogram->count == 0)
                return 0;
        /* The first value counts as the 0th percentile, so that a rank always exists. */
        double share = percent * (double)histogram->count / 100;
        uint64_t rank = (uint64_t)share;
        if (rank == 0 || (double)rank < share)
                rank++;
        uint64_t seen = 0;
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
                seen += histogram->buckets[i];
                if (seen >= rank)
                        return histogram_top(i) < histogram->max ? histogram_top(i) : histogram->max;
        }
        return histogram->max;
}

#endif
