/* results.h: what a load has measured, and how it is told: text, JSON, CSV. */
#ifndef ASSENT_PRODUCERS_RESULTS_H
#define ASSENT_PRODUCERS_RESULTS_H

#include <jansson.h>
#include <time.h>

#include "histogram.h"
#include "settings.h"

/* How transactions ended. */
enum ending { ENDED_COMMITTED, ENDED_ABORTED, ENDED_REJECTED, ENDED_UNKNOWN, ENDINGS };

struct tally {
        uint64_t begun, ended[ENDINGS];
        uint64_t twice;    /* of the begun: sent twice */
        uint64_t absorbed; /* of those: they had one outcome, as if they had been sent once */
};

/* A second of the series; the last one may be shorter. */
struct second {
        double seconds;
        uint64_t begun, ended[ENDINGS];
        size_t in_flight; /* at its end */
        int64_t p50_us, p95_us, p99_us, max_us;
};

struct results {
        struct tally measured, warm_up;
        struct histogram latencies_us;
        double latencies_sum_us;
        bool measuring;
        time_t started_at;
        int64_t begin_us; /* of what is measured */
        int64_t last_us;  /* when the last outcome came */
        struct second *series;
        size_t series_count, series_max;
        /* The second under way. */
        struct second second;
        struct histogram second_us;
        int64_t second_begin_us;
        /* Of an open model's schedule. */
        double lag_sum_us;
        int64_t lag_max_us;
        uint64_t not_begun;
        char first_rejection[ASSENT_REASON_SIZE_MAX + 1], first_abort[ASSENT_REASON_SIZE_MAX + 1];
};

/* The numbers of a result, in the order in which they are written. */
enum metric {
        METRIC_TX_PER_S,
        METRIC_SECONDS,
        METRIC_P50,
        METRIC_P90,
        METRIC_P95,
        METRIC_P99,
        METRIC_P999,
        METRIC_P9999,
        METRIC_MAX,
        METRIC_MEAN,
        METRIC_COUNT,
        METRIC_COMMITTED,
        METRIC_ABORTED,
        METRIC_REJECTED,
        METRIC_UNKNOWN,
        METRIC_DUPLICATES,
        METRIC_DUPLICATES_ABSORBED,
        METRIC_WARM_UP,
        METRIC_LAG_MEAN,
        METRIC_LAG_MAX,
        METRIC_NOT_BEGUN,
        METRIC_IN_DOUBT,
        METRIC_VIOLATIONS,
        METRICS
};

struct metric_kind {
        const char *name;
        enum { UNIT_NONE, UNIT_MS, UNIT_S } unit;
        bool whole;
        enum { NEEDS_NOTHING, NEEDS_RATE, NEEDS_AUDIT } needs;
};

extern const struct metric_kind metric_kinds[METRICS];

void results_open(struct results *results, int64_t now_us);
void results_close(struct results *results);

/* From now on it is measured; what was before was the warm-up. */
void results_measure(struct results *results, int64_t now_us);
/* `lag_us` after its time. */
void results_begun(struct results *results, int64_t lag_us);
void results_ended(struct results *results, bool measured, enum ending ending, int64_t latency_us, int64_t now_us);
/* Ends the second under way if it is over: true, and told as *told. The series has those that are measured. */
bool results_tick(struct results *results, int64_t now_us, size_t in_flight, struct second *told);
/* Ends the series. */
void results_end(struct results *results, int64_t now_us, size_t in_flight);

/* Those that are not known are NAN. `audit` may be NULL. */
void results_metrics(const struct results *results, const struct settings *settings, const struct audit_report *audit,
                     double metrics[METRICS]);

json_t *results_json(const struct results *results, const double metrics[METRICS]);
/* What only a saved result has: the histogram, [[microseconds, count], …], and the series. */
void results_json_more(const struct results *results, json_t *object);
void results_print(const struct results *results, const struct settings *settings, const double metrics[METRICS]);
void results_csv(const struct results *results, FILE *file);

#endif
