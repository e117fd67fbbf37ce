/* What loops tell operators: gauges of lanes, readiness, and the families of each kind of loop. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/ids.h"
#include "runtime/watch.h"

static struct assent_buffer page;

static const char *told(void (*metrics)(void *watch, struct assent_exposition *out), void *watch)
{
        struct assent_exposition *out = assent_exposition_open();
        if (!page.size_max)
                assent_buffer_init(&page, ASSENT_PAGE_BYTES_MAX);
        assent_buffer_clear(&page);
        metrics(watch, out);
        cr_assert_eq(assent_exposition_page(out, &page), ASSENT_OK);
        assent_exposition_close(out);
        return assent_buffer_string(&page);
}

static void common_metrics(void *watch, struct assent_exposition *out)
{
        assent_watch_expose(watch, out);
}

/* The value of a sample; its labels come after service="x". */
static double value_of(const char *text, const char *sample)
{
        char line[256];
        snprintf(line, sizeof line, "\n%s ", sample);
        const char *found = strstr(text, line);
        cr_assert(found, "no %s in\n%s", sample, text);
        return strtod(found + strlen(line), NULL);
}

static void end(void)
{
        assent_buffer_close(&page);
}

TestSuite(watch, .fini = end);

Test(watch, gauges_are_taken_so_often_and_not_more)
{
        struct assent_watch watch = {0};
        cr_assert(assent_watch_open(&watch, "consumer", "a \"group\"") && assent_watch_lanes(&watch, 1));
        cr_expect_str_eq(watch.name, "consumer a \"group\"");
        cr_expect_str_eq(watch.labels, "service=\"a \\\"group\\\"\"");
        cr_expect(assent_watch_begin(&watch, 1000));
        assent_watch_end(&watch);
        cr_expect_not(assent_watch_begin(&watch, 1000 + ASSENT_WATCH_MS - 1));
        cr_expect(assent_watch_begin(&watch, 1000 + ASSENT_WATCH_MS));
        assent_watch_close(&watch);
}

Test(watch, a_long_name_is_cut)
{
        struct assent_watch watch = {0};
        char group[1000];
        memset(group, '"', sizeof group);
        group[sizeof group - 1] = '\0';
        cr_assert(assent_watch_open(&watch, "consumer", group) && assent_watch_lanes(&watch, 1));
        cr_expect_eq(strlen(watch.name), strlen("consumer ") + 200);
        cr_expect_eq(strlen(watch.labels), strlen("service=\"\"") + 2 * 200);
        told(common_metrics, &watch);
        assent_watch_close(&watch);
}

static void turn(struct assent_watch *watch, int64_t now_ms, const struct assent_watched_lane *lanes, int32_t count)
{
        cr_assert(assent_watch_begin(watch, now_ms));
        for (int32_t i = 0; i < count; i++)
                assent_watch_lane(watch, i, &lanes[i]);
        assent_watch_end(watch);
}

Test(watch, lanes_are_ready_or_recovering_or_gone)
{
        struct assent_watch watch = {0};
        char why[ASSENT_READY_SIZE_MAX];
        int64_t now = assent_clock_ms(), wall = assent_clock_wall_ms();
        cr_assert(assent_watch_open(&watch, "coordinator", NULL) && assent_watch_lanes(&watch, 3));
        cr_expect_not(assent_watch_ready(&watch, why));
        cr_expect_str_eq(why, "no lane was taken yet");

        struct assent_watched_lane lanes[] = {{.tau_ms = wall - 2000, .heard_ms = now, .ready = true},
                                              {.tau_ms = INT64_MIN, .heard_ms = now}};
        turn(&watch, now, lanes, 2);
        cr_expect_not(assent_watch_ready(&watch, why));
        cr_expect_str_eq(why, "1 lanes are replayed or resent");
        const char *text = told(common_metrics, &watch);
        cr_expect_eq(value_of(text, "assent_lanes{service=\"coordinator\",state=\"ready\"}"), 1);
        cr_expect_eq(value_of(text, "assent_lanes{service=\"coordinator\",state=\"recovering\"}"), 1);
        double behind = value_of(text, "assent_lane_log_time_lag_seconds{service=\"coordinator\",lane=\"0\"}");
        cr_expect(behind >= 2 && behind < 60, "%f", behind);
        cr_expect_null(strstr(text, "lane=\"1\"")); /* no log time yet */
        cr_expect_null(strstr(text, "lane=\"2\"")); /* not held */

        lanes[1].ready = true;
        turn(&watch, now + 1000, lanes, 2);
        cr_expect(assent_watch_ready(&watch, why), "%s", why);
        turn(&watch, now + 2000, lanes, 0);
        cr_expect_not(assent_watch_ready(&watch, why));
        cr_expect_null(strstr(told(common_metrics, &watch), "lane=\""));
        assent_watch_set(&watch.shared, 1); /* more members than lanes */
        cr_expect(assent_watch_ready(&watch, why));
        assent_watch_set(&watch.stopping, 1);
        cr_expect_not(assent_watch_ready(&watch, why));
        cr_expect_str_eq(why, "stopping");
        assent_watch_set(&watch.failed, 1);
        cr_expect_not(assent_watch_ready(&watch, why));
        cr_expect_str_eq(why, "failed; the log says why");
        assent_watch_close(&watch);
}

Test(watch, how_long_work_waits_for_its_checkpoint)
{
        struct assent_watch watch = {0};
        int64_t now = assent_clock_ms();
        cr_assert(assent_watch_open(&watch, "participant", "x") && assent_watch_lanes(&watch, 2));
        struct assent_watched_lane lanes[] = {{.tau_ms = INT64_MIN, .committed = 7, .next = 7, .ready = true},
                                              {.tau_ms = INT64_MIN, .committed = 0, .next = 0, .ready = true}};
        turn(&watch, now - 10000, lanes, 2);
        cr_expect_eq(watch.uncovered_since_ms, 0);
        cr_expect_eq(value_of(told(common_metrics, &watch), "assent_checkpoint_age_seconds{service=\"x\"}"), 0);

        lanes[0].next = 9; /* since the last look at the latest */
        turn(&watch, now - 9000, lanes, 2);
        cr_expect_eq(watch.uncovered_since_ms, now - 10000);
        double age = value_of(told(common_metrics, &watch), "assent_checkpoint_age_seconds{service=\"x\"}");
        cr_expect(age >= 10 && age < 60, "%f", age);

        lanes[1].next = 1;
        lanes[0].committed = 8; /* it moves: not there yet, and not stuck */
        turn(&watch, now - 8000, lanes, 2);
        cr_expect_eq(watch.uncovered_since_ms, now - 9000);
        lanes[1].committed = 1;
        turn(&watch, now - 7000, lanes, 2);
        cr_expect_eq(watch.uncovered_since_ms, now - 8000);
        lanes[0].committed = 9;
        turn(&watch, now - 6000, lanes, 2);
        cr_expect_eq(watch.uncovered_since_ms, 0);
        assent_watch_close(&watch);
}

Test(watch, a_coordinator_tells_what_was_decided)
{
        struct assent_coordinator_watch watch = {0};
        struct assent_trace trace = {.kind = ASSENT_T_DECIDED, .protocol = ASSENT_2PC, .outcome = ASSENT_COMMITTED};
        cr_assert(assent_watch_open(&watch.common, "coordinator", NULL) && assent_watch_lanes(&watch.common, 1));
        assent_txn_id_new(&trace.txn_id);
        trace.tau_ms = assent_txn_id_birth_ms(&trace.txn_id) + 3;
        assent_coordinator_decided(&watch, &trace);
        trace.tau_ms -= 10; /* born on a machine whose clock is ahead */
        assent_coordinator_decided(&watch, &trace);
        trace.protocol = ASSENT_3PC;
        trace.outcome = ASSENT_ABORTED;
        trace.reason = (struct assent_bytes){"payment: no funds", 17};
        assent_coordinator_decided(&watch, &trace);
        trace.reason = (struct assent_bytes){"TIMEOUT", 7};
        assent_coordinator_decided(&watch, &trace);
        assent_count(&watch.messages[0][ASSENT_V_MALFORMED], 2);
        const char *text = told(assent_coordinator_metrics, &watch);
        static const struct {
                const char *sample;
                double value;
        } facts[] = {
                {"assent_transactions_total{service=\"coordinator\",protocol=\"2pc\",outcome=\"committed\"}", 2},
                {"assent_transactions_total{service=\"coordinator\",protocol=\"2pc\",outcome=\"aborted\"}", 0},
                {"assent_transactions_total{service=\"coordinator\",protocol=\"3pc\",outcome=\"aborted\"}", 1},
                {"assent_transactions_total{service=\"coordinator\",protocol=\"3pc\",outcome=\"timed_out\"}", 1},
                {"assent_transaction_duration_seconds_bucket{service=\"coordinator\",outcome=\"committed\",le=\"0.0001\"}", 1},
                {"assent_transaction_duration_seconds_bucket{service=\"coordinator\",outcome=\"committed\",le=\"0.002\"}", 1},
                {"assent_transaction_duration_seconds_bucket{service=\"coordinator\",outcome=\"committed\",le=\"0.005\"}", 2},
                {"assent_transaction_duration_seconds_count{service=\"coordinator\",outcome=\"aborted\"}", 2},
                {"assent_messages_total{service=\"coordinator\",type=\"undecodable\",result=\"malformed\"}", 2},
                {"assent_messages_total{service=\"coordinator\",type=\"begin\",result=\"duplicate\"}", 0},
                {"assent_standby_acting{service=\"coordinator\"}", 0},
                {"assent_recovery_duration_seconds_count{service=\"coordinator\"}", 0},
        };
        for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
                cr_expect_eq(value_of(text, facts[i].sample), facts[i].value, "%s", facts[i].sample);
        cr_expect_null(strstr(text, "result=\"stale\"")); /* it never happened */
        assent_watch_close(&watch.common);
}

static void participant_metrics(void *watch, struct assent_exposition *out)
{
        assent_participant_metrics(watch, out);
}

Test(watch, a_participant_tells_of_its_branches_and_its_database)
{
        struct assent_participant_watch watch = {0};
        char path[] = "/tmp/observe-watch.XXXXXX";
        int fd = mkstemp(path);
        cr_assert(fd >= 0 && ftruncate(fd, 12345) == 0);
        close(fd);
        cr_assert(assent_watch_open(&watch.intake.common, "participant", "x") && assent_watch_lanes(&watch.intake.common, 1));
        watch.intake.path = path;
        assent_participant_voted(&watch, ASSENT_YES);
        assent_participant_voted(&watch, ASSENT_NO);
        assent_participant_voted(&watch, ASSENT_READ_ONLY);
        assent_participant_voted(&watch, ASSENT_YES);
        assent_participant_doubts(&watch, 3, 2, 1767225600123);
        const char *text = told(participant_metrics, &watch);
        cr_expect_eq(value_of(text, "assent_votes_total{service=\"x\",vote=\"yes\"}"), 2);
        cr_expect_eq(value_of(text, "assent_votes_total{service=\"x\",vote=\"no\"}"), 1);
        cr_expect_eq(value_of(text, "assent_votes_total{service=\"x\",vote=\"read_only\"}"), 1);
        cr_expect_eq(value_of(text, "assent_in_doubt_transactions{service=\"x\"}"), 3);
        cr_expect_eq(value_of(text, "assent_in_doubt_oldest_timestamp_seconds{service=\"x\"}"), 1767225600.123);
        cr_expect_eq(value_of(text, "assent_parked_branches{service=\"x\"}"), 2);
        cr_expect_eq(value_of(text, "assent_store_bytes{service=\"x\",file=\"db\"}"), 12345);
        cr_expect_null(strstr(text, "file=\"wal\""));
        unlink(path);
        cr_expect_null(strstr(told(participant_metrics, &watch), "file=\"db\""));
        assent_watch_close(&watch.intake.common);
}

Test(watch, a_consumer_tells_what_came_of_its_records)
{
        struct assent_consumer_watch watch = {0};
        cr_assert(assent_watch_open(&watch.intake.common, "consumer", "g") && assent_watch_lanes(&watch.intake.common, 1));
        watch.intake.path = "/nowhere";
        assent_count(&watch.handled, 5);
        assent_count(&watch.without_id, 1);
        const char *text = told(assent_consumer_metrics, &watch);
        cr_expect_eq(value_of(text, "assent_messages_total{service=\"g\",type=\"record\",result=\"applied\"}"), 5);
        cr_expect_eq(value_of(text, "assent_messages_total{service=\"g\",type=\"record\",result=\"duplicate\"}"), 0);
        cr_expect_eq(value_of(text, "assent_messages_total{service=\"g\",type=\"record\",result=\"no_message_id\"}"), 1);
        cr_expect_null(strstr(text, "result=\"conflict\""));
        assent_watch_close(&watch.intake.common);
}
