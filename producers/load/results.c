#include "results.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LATE_MS 100 /* a schedule that is kept lags by less */

const struct metric_kind metric_kinds[METRICS] = {
    [METRIC_TX_PER_S] = {"tx_per_s", UNIT_NONE, false, NEEDS_NOTHING},
    [METRIC_SECONDS] = {"seconds", UNIT_S, false, NEEDS_NOTHING},
    [METRIC_P50] = {"p50_ms", UNIT_MS, false, NEEDS_NOTHING},
    [METRIC_P90] = {"p90_ms", UNIT_MS, false, NEEDS_NOTHING},
    [METRIC_P95] = {"p95_ms", UNIT_MS, false, NEEDS_NOTHING},
    [METRIC_P99] = {"p99_ms", UNIT_MS, false, NEEDS_NOTHING},
    [METRIC_P999] = {"p999_ms", UNIT_MS, false, NEEDS_NOTHING},
    [METRIC_P9999] = {"p9999_ms", UNIT_MS, false, NEEDS_NOTHING},
    [METRIC_MAX] = {"max_ms", UNIT_MS, false, NEEDS_NOTHING},
    [METRIC_MEAN] = {"mean_ms", UNIT_MS, false, NEEDS_NOTHING},
    [METRIC_COUNT] = {"count", UNIT_NONE, true, NEEDS_NOTHING},
    [METRIC_COMMITTED] = {"committed", UNIT_NONE, true, NEEDS_NOTHING},
    [METRIC_ABORTED] = {"aborted", UNIT_NONE, true, NEEDS_NOTHING},
    [METRIC_REJECTED] = {"rejected", UNIT_NONE, true, NEEDS_NOTHING},
    [METRIC_UNKNOWN] = {"unknown", UNIT_NONE, true, NEEDS_NOTHING},
    [METRIC_DUPLICATES] = {"duplicates", UNIT_NONE, true, NEEDS_NOTHING},
    [METRIC_DUPLICATES_ABSORBED] = {"duplicates_absorbed", UNIT_NONE, true, NEEDS_NOTHING},
    [METRIC_WARM_UP] = {"warm_up", UNIT_NONE, true, NEEDS_NOTHING},
    [METRIC_LAG_MEAN] = {"lag_mean_ms", UNIT_MS, false, NEEDS_RATE},
    [METRIC_LAG_MAX] = {"lag_max_ms", UNIT_MS, false, NEEDS_RATE},
    [METRIC_NOT_BEGUN] = {"not_begun", UNIT_NONE, true, NEEDS_RATE},
    [METRIC_IN_DOUBT] = {"in_doubt", UNIT_NONE, true, NEEDS_AUDIT},
    [METRIC_VIOLATIONS] = {"violations", UNIT_NONE, true, NEEDS_AUDIT},
};

static const struct {
        enum metric metric;
        double percent;
} percentiles[] = {{METRIC_P50, 50},    {METRIC_P90, 90},      {METRIC_P95, 95}, {METRIC_P99, 99},
                   {METRIC_P999, 99.9}, {METRIC_P9999, 99.99}, {METRIC_MAX, 100}};
#define PERCENTILES (sizeof percentiles / sizeof *percentiles)

static const char *const series_columns[] = {"second",    "begun",    "committed", "aborted", "rejected", "unknown",
                                             "in_flight", "tx_per_s", "p50_ms",    "p95_ms",  "p99_ms",   "max_ms"};
#define SERIES_COLUMNS (sizeof series_columns / sizeof *series_columns)

void results_open(struct results *results, int64_t now_us)
{
        memset(results, 0, sizeof *results);
        results->started_at = time(NULL);
        results->begin_us = results->last_us = results->second_begin_us = now_us;
}

void results_close(struct results *results)
{
        free(results->series);
}

/* --- while it runs ------------------------------------------------------------------------------------------------ */

static void second_start(struct results *results, int64_t begin_us)
{
        results->second_begin_us = begin_us;
        results->second = (struct second){0};
        memset(&results->second_us, 0, sizeof results->second_us);
}

void results_measure(struct results *results, int64_t now_us)
{
        assert(!results->measuring);
        results->measuring = true;
        results->started_at = time(NULL);
        results->begin_us = results->last_us = now_us;
        second_start(results, now_us);
}

void results_begun(struct results *results, int64_t lag_us)
{
        results->second.begun++;
        if (!results->measuring) {
                results->warm_up.begun++;
                return;
        }
        results->measured.begun++;
        results->lag_sum_us += (double)lag_us;
        if (lag_us > results->lag_max_us)
                results->lag_max_us = lag_us;
}

void results_ended(struct results *results, bool measured, enum ending ending, int64_t latency_us, int64_t now_us)
{
        (measured ? &results->measured : &results->warm_up)->ended[ending]++;
        if (measured != results->measuring) /* the last of the warm-up */
                return;
        results->second.ended[ending]++;
        if (ending != ENDED_COMMITTED && ending != ENDED_ABORTED)
                return;
        histogram_record(&results->second_us, latency_us);
        if (!measured)
                return;
        histogram_record(&results->latencies_us, latency_us);
        results->latencies_sum_us += (double)latency_us;
        results->last_us = now_us;
}

static void series_add(struct results *results, const struct second *second)
{
        if (results->series_count == results->series_max) {
                results->series_max = results->series_max ? 2 * results->series_max : 64;
                results->series = realloc(results->series, results->series_max * sizeof *results->series);
                assert(results->series); /* 100 bytes a second */
        }
        results->series[results->series_count++] = *second;
}

static void second_end(struct results *results, int64_t end_us, size_t in_flight)
{
        struct second *second = &results->second;

        second->seconds = (double)(end_us - results->second_begin_us) / 1e6;
        second->in_flight = in_flight;
        second->p50_us = histogram_percentile(&results->second_us, 50);
        second->p95_us = histogram_percentile(&results->second_us, 95);
        second->p99_us = histogram_percentile(&results->second_us, 99);
        second->max_us = results->second_us.max;
        if (results->measuring)
                series_add(results, second);
}

bool results_tick(struct results *results, int64_t now_us, size_t in_flight, struct second *told)
{
        const int64_t end_us = results->second_begin_us + 1000000;

        if (now_us < end_us)
                return false;
        second_end(results, end_us, in_flight);
        *told = results->second;
        second_start(results, end_us);
        return true;
}

void results_end(struct results *results, int64_t now_us, size_t in_flight)
{
        if (now_us > results->second_begin_us)
                second_end(results, now_us, in_flight);
}

/* --- afterwards --------------------------------------------------------------------------------------------------- */

static uint64_t told_count(const uint64_t ended[ENDINGS])
{
        return ended[ENDED_COMMITTED] + ended[ENDED_ABORTED];
}

void results_metrics(const struct results *results, const struct settings *settings, const struct audit_report *audit,
                     double metrics[METRICS])
{
        const struct tally *measured = &results->measured;
        const uint64_t told = told_count(measured->ended);
        const double seconds = (double)(results->last_us - results->begin_us) / 1e6;

        metrics[METRIC_TX_PER_S] = seconds > 0 ? (double)told / seconds : 0;
        metrics[METRIC_SECONDS] = seconds;
        for (size_t i = 0; i < PERCENTILES; i++)
                metrics[percentiles[i].metric] =
                    told ? (double)histogram_percentile(&results->latencies_us, percentiles[i].percent) / 1e3 : NAN;
        metrics[METRIC_MEAN] = told ? results->latencies_sum_us / (double)told / 1e3 : NAN;
        metrics[METRIC_COUNT] = (double)measured->begun;
        metrics[METRIC_COMMITTED] = (double)measured->ended[ENDED_COMMITTED];
        metrics[METRIC_ABORTED] = (double)measured->ended[ENDED_ABORTED];
        metrics[METRIC_REJECTED] = (double)measured->ended[ENDED_REJECTED];
        metrics[METRIC_UNKNOWN] = (double)measured->ended[ENDED_UNKNOWN];
        metrics[METRIC_DUPLICATES] = (double)measured->twice;
        metrics[METRIC_DUPLICATES_ABSORBED] = (double)measured->absorbed;
        metrics[METRIC_WARM_UP] = (double)results->warm_up.begun;
        const bool scheduled = settings->rate > 0 && measured->begun > 0;
        metrics[METRIC_LAG_MEAN] = scheduled ? results->lag_sum_us / (double)measured->begun / 1e3 : NAN;
        metrics[METRIC_LAG_MAX] = scheduled ? (double)results->lag_max_us / 1e3 : NAN;
        metrics[METRIC_NOT_BEGUN] = settings->rate > 0 ? (double)results->not_begun : NAN;
        metrics[METRIC_IN_DOUBT] = audit ? (double)audit->in_doubt : NAN;
        metrics[METRIC_VIOLATIONS] = audit ? (double)audit->violations : NAN;
}

static json_t *text_or_null(const char *text)
{
        /* A service's reason may be no UTF-8. */
        json_t *string = *text ? json_string(text) : NULL;
        return string ? string : json_null();
}

json_t *results_json(const struct results *results, const double metrics[METRICS])
{
        json_t *object = json_object();
        char started_at[32];
        struct tm utc;

        for (size_t i = 0; i < METRICS; i++)
                json_object_set_new(object, metric_kinds[i].name,
                                    isnan(metrics[i])       ? json_null()
                                    : metric_kinds[i].whole ? json_integer((json_int_t)metrics[i])
                                                            : json_real(metrics[i]));
        strftime(started_at, sizeof started_at, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&results->started_at, &utc));
        json_object_set_new(object, "started_at", json_string(started_at));
        json_object_set_new(object, "assent_version", json_string(ASSENT_VERSION));
        json_object_set_new(object, "first_rejection", text_or_null(results->first_rejection));
        json_object_set_new(object, "first_abort", text_or_null(results->first_abort));
        return object;
}

/* A second as the series' columns have it. */
static void second_values(const struct results *results, size_t i, double values[SERIES_COLUMNS])
{
        const struct second *second = &results->series[i];
        const uint64_t *ended = second->ended;
        const double row[SERIES_COLUMNS] = {(double)i + second->seconds, /* its end */
                                            (double)second->begun,
                                            (double)ended[ENDED_COMMITTED],
                                            (double)ended[ENDED_ABORTED],
                                            (double)ended[ENDED_REJECTED],
                                            (double)ended[ENDED_UNKNOWN],
                                            (double)second->in_flight,
                                            (double)told_count(ended) / second->seconds,
                                            (double)second->p50_us / 1e3,
                                            (double)second->p95_us / 1e3,
                                            (double)second->p99_us / 1e3,
                                            (double)second->max_us / 1e3};
        memcpy(values, row, sizeof row);
}

void results_json_more(const struct results *results, json_t *object)
{
        json_t *buckets = json_array(), *columns = json_array(), *rows = json_array();
        const struct histogram *histogram = &results->latencies_us;

        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
                if (histogram->buckets[i])
                        json_array_append_new(buckets, json_pack("[I, I]",
                                                                 (json_int_t)histogram_top(i) < histogram->max
                                                                     ? (json_int_t)histogram_top(i)
                                                                     : (json_int_t)histogram->max,
                                                                 (json_int_t)histogram->buckets[i]));
        for (size_t i = 0; i < SERIES_COLUMNS; i++)
                json_array_append_new(columns, json_string(series_columns[i]));
        for (size_t i = 0; i < results->series_count; i++) {
                double values[SERIES_COLUMNS];
                json_t *row = json_array();
                second_values(results, i, values);
                for (size_t column = 0; column < SERIES_COLUMNS; column++)
                        json_array_append_new(row, json_real(values[column]));
                json_array_append_new(rows, row);
        }
        json_object_set_new(object, "histogram_us", buckets);
        json_object_set_new(object, "series", json_pack("{s:o, s:o}", "columns", columns, "rows", rows));
}

void results_csv(const struct results *results, FILE *file)
{
        for (size_t i = 0; i < SERIES_COLUMNS; i++)
                fprintf(file, "%s%s", i ? "," : "", series_columns[i]);
        for (size_t i = 0; i < results->series_count; i++) {
                double values[SERIES_COLUMNS];
                second_values(results, i, values);
                for (size_t column = 0; column < SERIES_COLUMNS; column++)
                        fprintf(file, "%c%.10g", column ? ',' : '\n', values[column]);
        }
        fputc('\n', file);
}

static void print_schedule(const struct settings *settings, const double metrics[METRICS])
{
        const bool kept = metrics[METRIC_NOT_BEGUN] == 0 && !(metrics[METRIC_LAG_MAX] > LATE_MS);

        printf("  the schedule of %g/s (%s) was %s: begins came %.1f ms late on average, %.1f ms at most",
               settings->rate, settings->poisson ? "poisson" : "constant", kept ? "kept" : "NOT KEPT",
               metrics[METRIC_LAG_MEAN], metrics[METRIC_LAG_MAX]);
        if (metrics[METRIC_NOT_BEGUN] > 0)
                printf(", %.0f were never made", metrics[METRIC_NOT_BEGUN]);
        putchar('\n');
}

void results_print(const struct results *results, const struct settings *settings, const double metrics[METRICS])
{
        const struct tally *warm_up = &results->warm_up;

        printf("%" PRIu64 " transactions in %.1f s: %.0f tx/s", told_count(results->measured.ended),
               metrics[METRIC_SECONDS], metrics[METRIC_TX_PER_S]);
        if (settings->rate > 0)
                printf(", %g/s asked for\n", settings->rate);
        else
                printf(" with %" PRId64 " in flight\n", settings->in_flight);
        printf("  %.0f committed, %.0f aborted, %.0f rejected, %.0f unknown; %.0f begun twice, %.0f of them absorbed\n",
               metrics[METRIC_COMMITTED], metrics[METRIC_ABORTED], metrics[METRIC_REJECTED], metrics[METRIC_UNKNOWN],
               metrics[METRIC_DUPLICATES], metrics[METRIC_DUPLICATES_ABSORBED]);
        if (!isnan(metrics[METRIC_MAX]))
                printf("  begin to outcome  p50 %.1f ms  p90 %.1f ms  p95 %.1f ms  p99 %.1f ms  p99.9 %.1f ms  p99.99 "
                       "%.1f ms"
                       "  max %.1f ms\n",
                       metrics[METRIC_P50], metrics[METRIC_P90], metrics[METRIC_P95], metrics[METRIC_P99],
                       metrics[METRIC_P999], metrics[METRIC_P9999], metrics[METRIC_MAX]);
        if (settings->rate > 0)
                print_schedule(settings, metrics);
        if (warm_up->begun)
                printf("  not counted: a warm-up of %" PRIu64 " transactions, %" PRIu64 " of them rejected, %" PRIu64
                       " unknown\n",
                       warm_up->begun, warm_up->ended[ENDED_REJECTED], warm_up->ended[ENDED_UNKNOWN]);
        if (results->first_rejection[0])
                printf("  the first rejection said: %s\n", results->first_rejection);
        if (results->first_abort[0])
                printf("  the first abort that was not asked for said: %s\n", results->first_abort);
        if (!settings->audited && !settings->no_audit)
                printf("  not audited: --order, --payment and --inventory name the databases for that\n");
}
