/* Evaluating a lane without a coordinator (P10, C3), on a lane in memory. */
#include <criterion/criterion.h>

#include "client_log.h"
#include "runtime/checkpoint.h"
#include "runtime/lanes.h"
#include "runtime/settings.h"

static struct log_bus log_bus;
static struct assent_codec *codec;
static struct assent_config *config;
static struct assent_settings settings;
static struct assent_uuid txn;
static int64_t birth_ms;

static void set_up(void)
{
        log_open(&log_bus);
        codec = assent_codec_open(LOG_VALUE_SIZE_MAX);
        cr_assert_not_null(codec);
        cr_assert_eq(assent_config_open(&config), ASSENT_OK);
        cr_assert_eq(assent_config_set(config, "assent.lanes_count=1", "test"), ASSENT_OK);
        assent_settings_of(config, &settings);
        assent_txn_id_new(&txn);
        birth_ms = assent_txn_id_birth_ms(&txn);
}

static void tear_down(void)
{
        cr_assert_eq(log_bus.opens, 0, "a consumer was left open");
        assent_codec_close(codec);
        assent_config_close(config);
}

TestSuite(client_lanes, .init = set_up, .fini = tear_down);

static void append_settings(int64_t time_ms)
{
        char text[ASSENT_SETTINGS_SIZE_MAX];
        struct assent_message message = {.type = ASSENT_CONTROL, .lamport = 1};
        message.body.control.kind = ASSENT_SETTINGS;
        message.body.control.branch = ASSENT_NO_BRANCH;
        message.body.control.settings = (struct assent_bytes){text, assent_settings_format(&settings, text)};
        log_append(&log_bus, codec, time_ms, &message);
}

static void append_begin(int64_t time_ms)
{
        const struct assent_branch_request branches[] = {
            {assent_bytes_of("order"), assent_bytes_of("create"), assent_bytes_of("{}")},
            {assent_bytes_of("payment"), assent_bytes_of("charge"), assent_bytes_of("{}")}};
        struct assent_message message = {.type = ASSENT_BEGIN, .txn_id = txn, .lamport = 1};
        message.body.begin.protocol = ASSENT_2PC;
        message.body.begin.timeout_ms = 10000;
        message.body.begin.branches_count = 2;
        message.body.begin.branches = branches;
        log_append(&log_bus, codec, time_ms, &message);
}

static void append_vote(int64_t time_ms, uint16_t branch, enum assent_answer answer, const char *reason)
{
        struct assent_message message = {.type = ASSENT_REPLY, .txn_id = txn, .lamport = 3};
        message.body.reply.branch = branch;
        message.body.reply.service = assent_bytes_of(branch == 0 ? "order" : "payment");
        message.body.reply.phase = ASSENT_PREPARE;
        message.body.reply.answer = answer;
        message.body.reply.reason = assent_bytes_of(reason);
        log_append(&log_bus, codec, time_ms, &message);
}

static void append_inquire(int64_t time_ms)
{
        struct assent_message message = {.type = ASSENT_CONTROL, .txn_id = txn, .lamport = 4};
        message.body.control.kind = ASSENT_INQUIRE;
        message.body.control.branch = 0;
        log_append(&log_bus, codec, time_ms, &message);
}

static enum assent_err evaluate(int64_t end, struct assent_evaluation *found)
{
        return assent_lane_evaluate(&log_bus.bus, codec, config, &settings, &txn, end, found);
}

Test(client_lanes, all_yes_evaluates_to_committed)
{
        struct assent_evaluation found;
        append_settings(birth_ms - 60000);
        append_begin(birth_ms + 5);
        append_vote(birth_ms + 9, 0, ASSENT_YES, NULL);
        append_vote(birth_ms + 12, 1, ASSENT_YES, NULL);
        append_inquire(birth_ms + 20000);
        cr_assert_eq(evaluate(log_bus.next_offset, &found), ASSENT_OK, "%s", found.errmsg);
        cr_assert(found.begin_seen && found.decided);
        cr_assert_eq(found.outcome, ASSENT_COMMITTED);
        cr_assert_eq(found.decided_at_ms, birth_ms + 12);
        cr_assert_eq(found.reason_size, 0);
        cr_assert_eq(found.next_offset, 4, "what follows the decision is not read");
}

Test(client_lanes, a_no_evaluates_to_abort_with_its_reason)
{
        struct assent_evaluation found;
        append_settings(birth_ms - 60000);
        append_begin(birth_ms + 5);
        append_vote(birth_ms + 9, 0, ASSENT_YES, NULL);
        append_vote(birth_ms + 12, 1, ASSENT_NO, "no money");
        cr_assert_eq(evaluate(-1, &found), ASSENT_OK, "%s", found.errmsg);
        cr_assert(found.decided);
        cr_assert_eq(found.outcome, ASSENT_ABORTED);
        cr_assert(found.reason_size >= 8);
        found.reason[found.reason_size < sizeof found.reason ? found.reason_size : sizeof found.reason - 1] = '\0';
        cr_assert_not_null(strstr(found.reason, "no money"));
}

Test(client_lanes, the_question_itself_settles_what_is_overdue)
{
        struct assent_evaluation found;
        append_settings(birth_ms - 60000);
        append_begin(birth_ms + 5);
        append_vote(birth_ms + 9, 0, ASSENT_YES, NULL);
        cr_assert_eq(evaluate(-1, &found), ASSENT_OK);
        cr_assert(found.begin_seen && !found.decided, "not overdue yet");
        append_inquire(birth_ms + 5 + 10000);
        cr_assert_eq(evaluate(log_bus.next_offset, &found), ASSENT_OK);
        cr_assert(!found.decided, "at the deadline is not past it (R8)");
        append_inquire(birth_ms + 5 + 10001);
        cr_assert_eq(evaluate(log_bus.next_offset, &found), ASSENT_OK);
        cr_assert(found.decided);
        cr_assert_eq(found.outcome, ASSENT_ABORTED);
}

Test(client_lanes, the_end_offset_is_not_included)
{
        struct assent_evaluation found;
        append_settings(birth_ms - 60000);
        append_begin(birth_ms + 5);
        append_vote(birth_ms + 9, 0, ASSENT_YES, NULL);
        append_vote(birth_ms + 12, 1, ASSENT_YES, NULL);
        cr_assert_eq(evaluate(3, &found), ASSENT_OK);
        cr_assert(found.begin_seen && !found.decided);
        cr_assert_eq(found.next_offset, 3);
        cr_assert_eq(evaluate(4, &found), ASSENT_OK);
        cr_assert(found.decided);
}

Test(client_lanes, a_broker_without_time_lookup_is_read_from_the_log_start)
{
        struct assent_evaluation found;
        log_bus.times = false;
        append_settings(birth_ms - 60000);
        append_begin(birth_ms + 5);
        append_vote(birth_ms + 9, 0, ASSENT_NO, "no");
        cr_assert_eq(evaluate(-1, &found), ASSENT_OK, "%s", found.errmsg);
        cr_assert(found.decided);
        cr_assert_eq(found.outcome, ASSENT_ABORTED);
}

Test(client_lanes, without_the_lanes_own_settings_nothing_begins_there)
{
        struct assent_evaluation found;
        log_bus.times = false;
        append_begin(birth_ms + 5);
        append_vote(birth_ms + 9, 0, ASSENT_NO, "no");
        cr_assert_eq(evaluate(-1, &found), ASSENT_OK);
        cr_assert(!found.begin_seen && !found.decided);
}

Test(client_lanes, garbage_and_gaps_are_passed_over)
{
        struct assent_evaluation found;
        append_settings(birth_ms - 60000);
        append_begin(birth_ms + 5);
        log_append_bytes(&log_bus, birth_ms + 6, "garbage", 7);
        log_bus.next_offset += 3;
        append_vote(birth_ms + 12, 1, ASSENT_NO, "no");
        log_bus.next_offset += 2; /* a gap at the end: nothing will ever come there */
        cr_assert_eq(evaluate(5, &found), ASSENT_OK, "%s", found.errmsg);
        cr_assert(!found.decided);
        cr_assert_eq(evaluate(-1, &found), ASSENT_OK, "%s", found.errmsg);
        cr_assert(found.decided);
}

Test(client_lanes, a_broker_that_goes_away_is_an_error_not_an_answer)
{
        struct assent_evaluation found;
        append_settings(birth_ms - 60000);
        append_begin(birth_ms + 5);
        log_bus.gone = true;
        cr_assert_eq(evaluate(-1, &found), ASSENT_E_BROKER);
        cr_assert_not_null(strstr(found.errmsg, "the bus says why"));
}

/* The log's beginning is gone, and with it perhaps an earlier copy of the begin: whether that can
 * be depends on the age. */
Test(client_lanes, a_cut_log_is_refused_once_it_is_old)
{
        struct assent_evaluation found;
        const int64_t kept_ms = settings.window_ms + settings.skew_ms + settings.timeout_max_ms;
        append_settings(birth_ms - 60000);
        append_begin(birth_ms + 5);
        append_vote(birth_ms + 9, 0, ASSENT_NO, "no");
        log_bus.low = 1;
        append_inquire(birth_ms + kept_ms);
        cr_assert_eq(evaluate(log_bus.next_offset, &found), ASSENT_OK, "%s", found.errmsg);
        cr_assert(found.decided);
        append_inquire(birth_ms + kept_ms + 1);
        cr_assert_eq(evaluate(log_bus.next_offset, &found), ASSENT_E_POSITION);
        cr_assert(!found.decided);
        log_bus.low = 0;
        cr_assert_eq(evaluate(log_bus.next_offset, &found), ASSENT_OK);
        cr_assert(found.decided);
}

Test(client_lanes, a_cut_log_without_times_needs_a_record_from_before_the_birth)
{
        struct assent_evaluation found;
        log_bus.times = false;
        append_settings(birth_ms - 60000);
        append_inquire(birth_ms - settings.skew_ms - 1);
        append_begin(birth_ms + 5);
        append_vote(birth_ms + 9, 0, ASSENT_NO, "no");
        log_bus.low = 1;
        cr_assert_eq(evaluate(-1, &found), ASSENT_OK, "%s", found.errmsg);
        cr_assert(found.decided);
        log_bus.low = 2;
        cr_assert_eq(evaluate(-1, &found), ASSENT_E_POSITION);
}

Test(client_lanes, reading_stops_where_no_begin_can_be_accepted_any_more)
{
        struct assent_evaluation found;
        append_settings(birth_ms - 60000);
        append_inquire(birth_ms + settings.window_ms);
        append_inquire(birth_ms + settings.window_ms + 1);
        append_inquire(birth_ms + settings.window_ms + 2);
        cr_assert_eq(evaluate(-1, &found), ASSENT_OK);
        cr_assert(!found.begin_seen);
        cr_assert_eq(found.next_offset, 3);
}

Test(client_lanes, settings_are_the_first_record_of_the_lane)
{
        struct assent_settings theirs;
        int64_t log_start = -1;
        char errmsg[ASSENT_LANES_ERRMSG_SIZE_MAX];
        cr_assert_eq(assent_lane_settings(&log_bus.bus, codec, config, 0, &theirs, &log_start, errmsg),
                     ASSENT_E_NOT_FOUND);
        cr_assert_eq(log_start, 0);
        log_append_bytes(&log_bus, birth_ms, "garbage", 7);
        append_settings(birth_ms);
        settings.window_ms++;
        append_settings(birth_ms);
        settings.window_ms--;
        cr_assert_eq(assent_lane_settings(&log_bus.bus, codec, config, 0, &theirs, &log_start, errmsg), ASSENT_OK, "%s",
                     errmsg);
        cr_assert_eq(theirs.window_ms, settings.window_ms);
}

Test(client_lanes, settings_that_differ_are_refused_with_both_texts)
{
        struct assent_settings theirs = settings;
        char why[ASSENT_LANES_ERRMSG_SIZE_MAX];
        cr_assert(assent_settings_agree(&settings, &theirs, why, sizeof why));
        theirs.skew_ms++;
        cr_assert_not(assent_settings_agree(&settings, &theirs, why, sizeof why));
        cr_assert_not_null(strstr(why, "skew_ms=5000"));
        cr_assert_not_null(strstr(why, "skew_ms=5001"));
}

/* R17: a later SETTINGS record would not be the one that counts; the checkpoint repeats the one that does. */
Test(client_lanes, settings_of_a_lane_that_lost_its_beginning_are_the_checkpoints)
{
        struct assent_settings theirs;
        int64_t log_start = -1;
        char errmsg[ASSENT_LANES_ERRMSG_SIZE_MAX], metadata[ASSENT_CHECKPOINT_SIZE_MAX];
        append_settings(birth_ms);
        append_settings(birth_ms);
        log_bus.low = 1;
        cr_assert_eq(assent_lane_settings(&log_bus.bus, codec, config, 0, &theirs, &log_start, errmsg),
                     ASSENT_E_NOT_FOUND);
        cr_assert_eq(log_start, 1);
        cr_assert_not_null(strstr(errmsg, "assent.prefix"), "%s", errmsg);
        log_bus.metadata = "somebody else's";
        cr_assert_eq(assent_lane_settings(&log_bus.bus, codec, config, 0, &theirs, &log_start, errmsg),
                     ASSENT_E_NOT_FOUND);
        struct assent_checkpoint checkpoint = {
            .start = 1, .tau_ms = 5, .next = 2, .settings = settings, .has_settings = true};
        checkpoint.settings.window_ms = 100000;
        assent_checkpoint_format(&checkpoint, metadata);
        log_bus.metadata = metadata;
        cr_assert_eq(assent_lane_settings(&log_bus.bus, codec, config, 0, &theirs, &log_start, errmsg), ASSENT_OK, "%s",
                     errmsg);
        cr_assert_eq(theirs.window_ms, 100000);
}

Test(client_lanes, settings_of_another_rules_version_are_refused)
{
        struct assent_settings theirs;
        int64_t log_start = -1;
        char errmsg[ASSENT_LANES_ERRMSG_SIZE_MAX];
        struct assent_message message = {.type = ASSENT_CONTROL, .lamport = 1};
        message.body.control.kind = ASSENT_SETTINGS;
        message.body.control.branch = ASSENT_NO_BRANCH;
        message.body.control.settings = assent_bytes_of("rules=2 of\ttomorrow");
        log_append(&log_bus, codec, birth_ms, &message);
        append_settings(birth_ms);
        cr_assert_eq(assent_lane_settings(&log_bus.bus, codec, config, 0, &theirs, &log_start, errmsg),
                     ASSENT_E_SETTINGS);
        cr_assert_not_null(strstr(errmsg, "rules=2 of\\ttomorrow"), "%s", errmsg);
}
