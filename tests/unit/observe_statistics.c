/* The Kafka client's statistics as metrics. */
#include <criterion/criterion.h>

#include <string.h>

#include "observe/statistics.h"

static struct assent_statistics *statistics;
static struct assent_buffer page;

static void begin(void)
{
        statistics = assent_statistics_open();
        cr_assert_not_null(statistics);
        assent_buffer_init(&page, ASSENT_PAGE_BYTES_MAX);
}

static void end(void)
{
        assent_statistics_close(statistics);
        assent_buffer_close(&page);
}

/* The samples alone. */
static const char *told(void)
{
        static char samples[1 << 16];
        struct assent_exposition *out = assent_exposition_open();
        assent_buffer_clear(&page);
        assent_statistics_expose(statistics, "service=\"order\"", out);
        cr_assert_eq(assent_exposition_page(out, &page), ASSENT_OK);
        assent_exposition_close(out);
        samples[0] = '\0';
        char *line, *rest = page.data;
        while ((line = strsep(&rest, "\n")) != NULL)
                if (*line && *line != '#')
                        strncat(strncat(samples, line, 1000), "\n", 2);
        return samples;
}

TestSuite(statistics, .init = begin, .fini = end);

Test(statistics, nothing_before_the_first)
{
        cr_assert_str_eq(told(), "");
}

#define PARTITION(state, fetched, next, app, high) \
        "{\"fetch_state\":\"" state "\",\"fetchq_cnt\":" #fetched ",\"next_offset\":" #next ",\"app_offset\":" #app \
        ",\"hi_offset\":" #high ",\"consumer_lag\":9999}"

Test(statistics, lag_is_what_was_not_handled)
{
        assent_statistics_put(statistics, true, strdup(
            "{\"type\":\"consumer\",\"cgrp\":{\"rebalance_cnt\":3},\"topics\":{\"t.inbox\":{\"partitions\":{"
            "\"0\":" PARTITION("active", 2, 10, 7, 12) ","     /* handed over up to 6 */
            "\"1\":" PARTITION("active", 0, 10, -1001, 12) "," /* nothing yet: it begins at 10 */
            "\"2\":" PARTITION("active", 0, 12, 12, 11) ","    /* the end is told less often than records come */
            "\"3\":" PARTITION("stopped", 5, 1, 1, 12) ","
            "\"4\":" PARTITION("active", 0, 1, 1, -1001) ","
            "\"-1\":" PARTITION("none", 0, -1001, -1001, -1001) "}}}}"));
        cr_assert_str_eq(told(), "assent_kafka_consumer_lag{service=\"order\",topic=\"t.inbox\",partition=\"0\"} 5\n"
                                 "assent_kafka_consumer_lag{service=\"order\",topic=\"t.inbox\",partition=\"1\"} 2\n"
                                 "assent_kafka_consumer_lag{service=\"order\",topic=\"t.inbox\",partition=\"2\"} 0\n"
                                 "assent_kafka_queue_messages{service=\"order\",queue=\"fetch\"} 7\n"
                                 "assent_kafka_rebalances_total{service=\"order\"} 3\n");
}

Test(statistics, the_producer_tells_of_brokers)
{
        assent_statistics_put(statistics, false, strdup("{\"msg_cnt\":1}"));
        assent_statistics_put(statistics, false, strdup(
            "{\"msg_cnt\":17,\"brokers\":{"
            "\"a:1/1\":{\"nodeid\":1,\"state\":\"UP\",\"source\":\"learned\",\"rtt\":{\"cnt\":9,\"p99\":2500}},"
            "\"a:2/2\":{\"nodeid\":2,\"state\":\"DOWN\",\"source\":\"learned\",\"rtt\":{\"cnt\":0,\"p99\":0}},"
            "\"a:3/3\":{\"nodeid\":3,\"state\":\"UP\",\"source\":\"learned\",\"rtt\":{\"cnt\":0,\"p99\":0}},"
            "\"group\":{\"nodeid\":1,\"state\":\"UP\",\"source\":\"logical\",\"rtt\":{\"cnt\":0,\"p99\":0}},"
            "\"a:1/bootstrap\":{\"nodeid\":-1,\"state\":\"INIT\",\"source\":\"configured\"}}}"));
        for (int again = 0; again < 2; again++)
                cr_assert_str_eq(told(), "assent_kafka_broker_rtt_seconds{service=\"order\",broker=\"1\"} 0.0025\n"
                                         "assent_kafka_brokers_connected{service=\"order\"} 2\n"
                                         "assent_kafka_queue_messages{service=\"order\",queue=\"produce\"} 17\n");
}

Test(statistics, what_is_no_statistics_tells_nothing)
{
        static const char *const texts[] = {
            "", "{", "[]", "17", "null", "{\"topics\":[1]}", "{\"topics\":{\"t\":3}}",
            "{\"topics\":{\"t\":{\"partitions\":{\"0\":{}}}},\"cgrp\":{\"rebalance_cnt\":\"many\"}}",
        };
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
                assent_statistics_put(statistics, true, strdup(texts[i]));
                cr_expect(strstr(told(), "lag") == NULL, "%s", texts[i]);
        }
}
