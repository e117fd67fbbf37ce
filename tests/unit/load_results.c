/* What a load has measured, and how it is told and judged. */
#include <criterion/criterion.h>

#include <math.h>

#include "../../producers/load/results.c"
#include "../../producers/load/assertion.c"

static struct results results;
static struct settings settings;
static double metrics[METRICS];
static char errmsg[512];

#define SECOND INT64_C(1000000)

/* A warm-up of two, then two seconds and a half: latencies 1 … 1000 ms, one of ten aborted; one rejected, one unknown.
 */
static void measure(void)
{
        struct second told;

        results_open(&results, 0);
        results_begun(&results, 5);
        results_begun(&results, 5);
        results_ended(&results, false, ENDED_COMMITTED, 7, 10);
        results_measure(&results, 100);
        for (int64_t i = 1; i <= 1000; i++) {
                results_begun(&results, i <= 10 ? 2000 : 0);
                const int64_t now = 100 + i * 2500;
                while (results_tick(&results, now, 3, &told))
                        cr_assert_float_eq(told.seconds, 1, 1e-9);
                results_ended(&results, true, i % 10 ? ENDED_COMMITTED : ENDED_ABORTED, i * 1000, now);
        }
        results_ended(&results, false, ENDED_UNKNOWN, 0, 100 + 3 * SECOND); /* of the warm-up: late */
        results_begun(&results, 0);
        results_ended(&results, true, ENDED_REJECTED, 0, 100 + 3 * SECOND);
        results_end(&results, 100 + 5 * SECOND / 2, 1);
}

static void tear_down(void)
{
        results_close(&results);
}

TestSuite(load_results, .init = measure, .fini = tear_down);

Test(load_results, metrics_leave_the_warm_up_out)
{
        settings.rate = 400;
        results_metrics(&results, &settings, NULL, metrics);
        cr_assert_float_eq(metrics[METRIC_TX_PER_S], 400, 0.1);
        cr_assert_float_eq(metrics[METRIC_SECONDS], 2.5, 1e-6);
        cr_assert_eq(metrics[METRIC_COUNT], 1001);
        cr_assert_eq(metrics[METRIC_COMMITTED], 900);
        cr_assert_eq(metrics[METRIC_ABORTED], 100);
        cr_assert_eq(metrics[METRIC_REJECTED], 1);
        cr_assert_eq(metrics[METRIC_UNKNOWN], 0);
        cr_assert_eq(metrics[METRIC_WARM_UP], 2);
        cr_assert_eq(metrics[METRIC_MAX], 1000);
        cr_assert(metrics[METRIC_P50] >= 500 && metrics[METRIC_P50] <= 500 * (1 + 1 / 128.0));
        cr_assert(metrics[METRIC_P99] >= 990 && metrics[METRIC_P99] <= 990 * (1 + 1 / 128.0));
        cr_assert_float_eq(metrics[METRIC_MEAN], 500.5, 1e-6);
        cr_assert_eq(metrics[METRIC_LAG_MAX], 2);
        cr_assert_float_eq(metrics[METRIC_LAG_MEAN], 20 / 1001.0, 1e-9);
        cr_assert(isnan(metrics[METRIC_VIOLATIONS]));
}

Test(load_results, the_series_has_whole_seconds_and_the_rest)
{
        uint64_t committed = 0;

        cr_assert_eq(results.series_count, 3);
        for (size_t i = 0; i < results.series_count; i++)
                committed += results.series[i].ended[ENDED_COMMITTED];
        cr_assert_eq(committed, 900);
        cr_assert_float_eq(results.series[2].seconds, 0.5, 1e-6);
        cr_assert_eq(results.series[0].in_flight, 3);
        cr_assert_eq(results.series[2].in_flight, 1);
        cr_assert_leq(results.series[0].max_us, 400000);
}

/* What scripts read: these names, numbers or null, on one flat level. */
Test(load_results, json_has_every_metric_and_null_for_what_is_not_known)
{
        struct audit_report audit = {.in_doubt = 2, .violations = 3};

        settings.rate = 0;
        results_metrics(&results, &settings, NULL, metrics);
        json_t *object = results_json(&results, metrics);
        for (size_t i = 0; i < METRICS; i++) {
                const json_t *value = json_object_get(object, metric_kinds[i].name);
                cr_assert(metric_kinds[i].needs != NEEDS_NOTHING ? json_is_null(value)
                          : metric_kinds[i].whole                ? json_is_integer(value)
                                                                 : json_is_real(value),
                          "%s", metric_kinds[i].name);
        }
        cr_assert_eq(json_integer_value(json_object_get(object, "committed")), 900);
        cr_assert_eq(json_string_length(json_object_get(object, "started_at")), strlen("2026-01-01T00:00:00Z"));
        json_decref(object);
        results_metrics(&results, &settings, &audit, metrics);
        object = results_json(&results, metrics);
        cr_assert_eq(json_integer_value(json_object_get(object, "in_doubt")), 2);
        cr_assert_eq(json_integer_value(json_object_get(object, "violations")), 3);
        json_decref(object);
}

Test(load_results, a_saved_result_has_the_histogram_and_the_series)
{
        double count = 0, last = -1;
        size_t i;
        json_t *bucket, *object = json_object();

        results_json_more(&results, object);
        json_array_foreach(json_object_get(object, "histogram_us"), i, bucket)
        {
                cr_assert_gt(json_number_value(json_array_get(bucket, 0)), last);
                last = json_number_value(json_array_get(bucket, 0));
                count += json_number_value(json_array_get(bucket, 1));
        }
        cr_assert_eq(count, 1000);
        cr_assert_eq(last, 1000000);
        const json_t *series = json_object_get(object, "series");
        cr_assert_eq(json_array_size(json_object_get(series, "columns")), SERIES_COLUMNS);
        cr_assert_eq(json_array_size(json_object_get(series, "rows")), 3);
        json_decref(object);
}

Test(load_results, csv_has_a_line_for_each_second)
{
        char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);

        results_csv(&results, file);
        fclose(file);
        cr_assert_eq(strncmp(text, "second,begun,committed,aborted,rejected,unknown,in_flight,tx_per_s,", 66), 0);
        cr_assert_not_null(strstr(text, "\n1,400,360,39,0,0,3,399,"), "%s", text);
        cr_assert_not_null(strstr(text, "\n2.5,"), "%s", text);
        free(text);
}

Test(load_results, without_an_outcome_no_latency_is_known)
{
        results_close(&results);
        results_open(&results, 0);
        results_measure(&results, 0);
        results_metrics(&results, &settings, NULL, metrics);
        cr_assert(isnan(metrics[METRIC_P99]));
        cr_assert_eq(metrics[METRIC_TX_PER_S], 0);
}

/* --- assertions --------------------------------------------------------------------------------------------------- */

static void parses(const char *text, enum metric metric, int relation, double limit)
{
        struct assertion assertion;

        cr_assert(assertion_parse(text, &assertion, errmsg), "%s", errmsg);
        cr_assert_eq(assertion.metric, metric, "%s", text);
        cr_assert_eq((int)assertion.relation, relation, "%s", text);
        cr_assert_float_eq(assertion.limit, limit, 1e-9, "%s", text);
}

static void refuses(const char *text, const char *part)
{
        struct assertion assertion;

        cr_assert_not(assertion_parse(text, &assertion, errmsg), "%s", text);
        cr_assert_not_null(strstr(errmsg, part), "%s: %s", text, errmsg);
}

Test(load_assertion, conditions_are_read)
{
        parses("p99<50ms", METRIC_P99, BELOW, 50);
        parses("p99_ms<50", METRIC_P99, BELOW, 50);
        parses("p99.9 <= 1.5s", METRIC_P999, AT_MOST, 1500);
        parses("p99.99<800us", METRIC_P9999, BELOW, 0.8);
        parses("max_ms >= 1 s", METRIC_MAX, AT_LEAST, 1000);
        parses("seconds<1500ms", METRIC_SECONDS, BELOW, 1.5);
        parses("seconds>2", METRIC_SECONDS, ABOVE, 2);
        parses("tx_per_s>400", METRIC_TX_PER_S, ABOVE, 400);
        parses("violations==0", METRIC_VIOLATIONS, EQUAL, 0);
        parses("lag_max<100ms", METRIC_LAG_MAX, BELOW, 100);
}

Test(load_assertion, what_is_no_condition_is_refused_with_what_is_accepted)
{
        refuses("", "write METRIC");
        refuses("p98<1ms", "tx_per_s seconds p50_ms");
        refuses("p9.9<1ms", "tx_per_s seconds p50_ms");
        refuses("p.99<1ms", "tx_per_s seconds p50_ms");
        refuses("p99", "<, <=, >, >= or ==");
        refuses("p99=1ms", "==");
        refuses("p99<>1ms", "==");
        refuses("committed_ms<1", "the metrics are");
        refuses("p99<", "the limit is a number");
        refuses("p99<-1ms", "the limit is a number");
        refuses("p99<nan", "the limit is a number");
        refuses("p99<50", "the limit needs a unit, us, ms or s");
        refuses("p99<50m", "the limit needs a unit");
        refuses("aborted==0ms", "aborted is a plain number");
        refuses("tx_per_s>400/s", "plain number: '/s'");
}

Test(load_assertion, the_limit_belongs_to_some_relations_and_what_is_not_known_to_none)
{
        static const struct {
                const char *text;
                bool below, at, above;
        } cases[] = {{"count<5", true, false, false},
                     {"count<=5", true, true, false},
                     {"count>5", false, false, true},
                     {"count>=5", false, true, true},
                     {"count==5", false, true, false}};
        struct assertion assertion;

        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                cr_assert(assertion_parse(cases[i].text, &assertion, errmsg));
                cr_assert_eq(assertion_holds(&assertion, 4), cases[i].below);
                cr_assert_eq(assertion_holds(&assertion, 5), cases[i].at);
                cr_assert_eq(assertion_holds(&assertion, 6), cases[i].above);
                cr_assert_not(assertion_holds(&assertion, NAN));
        }
}
