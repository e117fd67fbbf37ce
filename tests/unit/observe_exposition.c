/* The page of metrics, byte by byte, as Prometheus reads it. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <assent/http.h>

#include "observe/process.h"

static struct assent_exposition *out;
static struct assent_buffer page;

static void begin(void)
{
        out = assent_exposition_open();
        cr_assert_not_null(out);
        assent_buffer_init(&page, ASSENT_PAGE_BYTES_MAX);
}

static void end(void)
{
        assent_exposition_close(out);
        assent_buffer_close(&page);
}

static const char *told(void)
{
        cr_assert_eq(assent_exposition_page(out, &page), ASSENT_OK);
        return assent_buffer_string(&page);
}

TestSuite(exposition, .init = begin, .fini = end);

Test(exposition, a_family_has_help_and_type_and_then_its_samples)
{
        assent_expose(out, "assent_votes_total", ASSENT_COUNTER, "Votes.");
        assent_expose_value(out, "service=\"payment\",vote=\"yes\"", 3);
        assent_expose_value(out, "service=\"payment\",vote=\"no\"", 0);
        assent_expose(out, "assent_frozen_branches", ASSENT_GAUGE, "Frozen.");
        assent_expose_value(out, NULL, 1);
        cr_assert_str_eq(told(), "# HELP assent_votes_total Votes.\n"
                                 "# TYPE assent_votes_total counter\n"
                                 "assent_votes_total{service=\"payment\",vote=\"yes\"} 3\n"
                                 "assent_votes_total{service=\"payment\",vote=\"no\"} 0\n"
                                 "# HELP assent_frozen_branches Frozen.\n"
                                 "# TYPE assent_frozen_branches gauge\n"
                                 "assent_frozen_branches 1\n");
}

Test(exposition, a_family_of_two_sources_is_told_once)
{
        for (int source = 0; source < 2; source++) {
                assent_expose(out, "a_total", ASSENT_COUNTER, source ? "Other words." : "A.");
                assent_expose_value(out, source ? "of=\"two\"" : "of=\"one\"", source);
                assent_expose(out, "b", ASSENT_GAUGE, "B.");
                assent_expose_value(out, source ? "of=\"two\"" : "", source);
        }
        cr_assert_str_eq(told(), "# HELP a_total A.\n# TYPE a_total counter\na_total{of=\"one\"} 0\na_total{of=\"two\"} 1\n"
                                 "# HELP b B.\n# TYPE b gauge\nb 0\nb{of=\"two\"} 1\n");
}

Test(exposition, a_family_without_samples_is_named_all_the_same)
{
        assent_expose(out, "none", ASSENT_HISTOGRAM, "None.");
        cr_assert_str_eq(told(), "# HELP none None.\n# TYPE none histogram\n");
}

Test(exposition, help_and_labels_are_escaped)
{
        char memory[ASSENT_LABELS_SIZE_MAX];
        assent_expose_one(out, "x", ASSENT_GAUGE, "one \\ two\nthree \"four\"",
                          assent_labels(memory, "", "a", "back\\slash", "b", "\"two\nlines\"", NULL), 1);
        cr_assert_str_eq(told(), "# HELP x one \\\\ two\\nthree \"four\"\n# TYPE x gauge\n"
                                 "x{a=\"back\\\\slash\",b=\"\\\"two\\nlines\\\"\"} 1\n");
}

Test(exposition, numbers_are_the_shortest_that_read_back)
{
        static const struct {
                double value;
                const char *text;
        } cases[] = {
                {0, "0"},
                {-0.0, "0"},
                {1767225600123.0, "1767225600123"},
                {-17, "-17"},
                {0.1, "0.1"},
                {1.0 / 3, "0.3333333333333333"},
                {2.5e-7, "2.5e-07"},
                {9007199254740992.0, "9007199254740992"},
                {18446744073709551616.0, "1.8446744073709552e+19"},
                {1e300, "1e+300"},
                {NAN, "NaN"},
                {-NAN, "NaN"},
                {INFINITY, "+Inf"},
                {-INFINITY, "-Inf"},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                char line[64];
                end();
                begin();
                assent_expose(out, "x", ASSENT_GAUGE, "");
                assent_expose_value(out, NULL, cases[i].value);
                snprintf(line, sizeof line, "# HELP x \n# TYPE x gauge\nx %s\n", cases[i].text);
                cr_expect_str_eq(told(), line);
        }
}

Test(exposition, durations_are_cumulative_and_a_bound_is_inside)
{
        struct assent_durations durations = {0};
        assent_durations_add(&durations, 100);
        assent_durations_add(&durations, 101);
        assent_durations_add(&durations, -5);
        assent_durations_add(&durations, 100000000);
        assent_durations_add(&durations, 100000001);
        assent_expose(out, "d_seconds", ASSENT_HISTOGRAM, "D.");
        assent_expose_durations(out, "a=\"b\"", &durations);
        const char *text = told();
        cr_assert(strstr(text, "\nd_seconds_bucket{a=\"b\",le=\"0.0001\"} 2\n"
                               "d_seconds_bucket{a=\"b\",le=\"0.0002\"} 3\n"
                               "d_seconds_bucket{a=\"b\",le=\"0.0005\"} 3\n"), "%s", text);
        cr_assert(strstr(text, "d_seconds_bucket{a=\"b\",le=\"50\"} 3\n"
                               "d_seconds_bucket{a=\"b\",le=\"100\"} 4\n"
                               "d_seconds_bucket{a=\"b\",le=\"+Inf\"} 5\n"
                               "d_seconds_sum{a=\"b\"} 200.000202\n"
                               "d_seconds_count{a=\"b\"} 5\n"), "%s", text);
        size_t lines = 0;
        for (const char *c = text; *c; c++)
                lines += *c == '\n';
        cr_assert_eq(lines, 2 + ASSENT_DURATION_BUCKETS + 3);
}

Test(exposition, a_histogram_without_labels_has_le_alone)
{
        struct assent_durations durations = {0};
        assent_durations_add(&durations, 1500000);
        assent_expose(out, "d_seconds", ASSENT_HISTOGRAM, "D.");
        assent_expose_durations(out, NULL, &durations);
        const char *text = told();
        cr_assert(strstr(text, "d_seconds_bucket{le=\"1\"} 0\nd_seconds_bucket{le=\"2\"} 1\n"), "%s", text);
        cr_assert(strstr(text, "\nd_seconds_sum 1.5\nd_seconds_count 1\n"), "%s", text);
}

Test(exposition, a_page_has_so_many_families_and_no_more)
{
        char name[32];
        for (int i = 0; i < ASSENT_FAMILIES_MAX; i++) {
                snprintf(name, sizeof name, "family_%d", i);
                assent_expose(out, name, ASSENT_GAUGE, "");
                assent_expose_value(out, NULL, i);
        }
        told();
        assent_expose(out, "family_7", ASSENT_GAUGE, ""); /* known */
        assent_expose_value(out, NULL, 7);
        told();
        assent_expose(out, "one_more", ASSENT_GAUGE, "");
        assent_expose_value(out, NULL, 1);
        cr_assert_eq(assent_exposition_page(out, &page), ASSENT_E_LIMIT);
}

Test(exposition, a_page_has_so_many_bytes_and_no_more)
{
        static char labels[(1 << 20) + 1];
        memset(labels, 'x', sizeof labels - 1);
        for (int i = 0; i < 15; i++) {
                assent_expose(out, i % 2 ? "a" : "b", ASSENT_GAUGE, "");
                assent_expose_value(out, labels, 1);
        }
        told();
        assent_buffer_clear(&page);
        assent_expose_value(out, labels, 1);
        cr_assert_eq(assent_exposition_page(out, &page), ASSENT_E_LIMIT);
}

Test(exposition, the_process_is_told_as_it_is)
{
        double started = assent_process_started();
        assent_process_expose(out, started);
        const char *text = told();
        struct {
                const char *name;
                double least, most, value;
        } facts[] = {
                {"\nprocess_cpu_seconds_total ", 0, 1000, 0},
                {"\nprocess_resident_memory_bytes ", 100000, 1e12, 0},
                {"\nprocess_open_fds ", 3, 1000, 0},
                {"\nprocess_max_fds ", 16, 1e18, 0},
                {"\nprocess_start_time_seconds ", (double)time(NULL) - 3600, (double)time(NULL) + 2, 0},
        };
        for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
                const char *found = strstr(text, facts[i].name);
                cr_assert(found, "%s in %s", facts[i].name, text);
                double value = strtod(found + strlen(facts[i].name), NULL);
                cr_assert(value >= facts[i].least && value <= facts[i].most, "%s%f", facts[i].name, value);
        }
}

Test(exposition, requests_are_counted_by_what_cannot_grow)
{
        struct assent_http_metrics *metrics = assent_http_metrics_open();
        const struct assent_http_seen seen[] = {
                {"GET", "/v1/orders/{id}", 200, 90}, {"GET", "/v1/orders/{id}", 304, 1000},
                {"GET", "/v1/orders/{id}", 200, 0},  {"BREW", "", 404, 1},
                {"TEAPOT", "", 404, 1},              {"POST", "/v1/orders", 201, 1},
                {"", "", 408, 10000},                {"", "", 0, 0},
                {"", "", 0, 0},
        };
        for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
                assent_http_metrics_add(metrics, &seen[i]);
        assent_http_metrics_expose(metrics, out);
        assent_http_metrics_close(metrics);
        const char *text = told();
        cr_assert(strstr(text, "assent_http_requests_total{method=\"GET\",route=\"/v1/orders/{id}\",code=\"200\"} 2\n"
                               "assent_http_requests_total{method=\"GET\",route=\"/v1/orders/{id}\",code=\"304\"} 1\n"
                               "assent_http_requests_total{method=\"other\",route=\"other\",code=\"404\"} 2\n"
                               "assent_http_requests_total{method=\"POST\",route=\"/v1/orders\",code=\"201\"} 1\n"), "%s",
                  text);
        cr_assert(strstr(text, "assent_http_requests_total{method=\"other\",route=\"other\",code=\"408\"} 1\n"), "%s", text);
        cr_assert(strstr(text, "\nassent_http_connections_refused_total 2\n"), "%s", text);
        cr_assert_null(strstr(text, "code=\"0\""), "%s", text);
        cr_assert(strstr(text, "assent_http_request_duration_seconds_count{method=\"GET\",route=\"/v1/orders/{id}\"} 3\n"));
        cr_assert(strstr(text, "assent_http_request_duration_seconds_bucket{method=\"GET\",route=\"/v1/orders/{id}\","
                               "le=\"0.0001\"} 2\n"));
}
