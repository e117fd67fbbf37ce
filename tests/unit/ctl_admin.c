/* What assentctl prints, on a lane in memory. Includes the admin runtime to put that lane behind it. */
#include <criterion/criterion.h>

#include "client_log.h"
#include "runtime/admin.c"

enum { LINES_MAX = 32 };

static struct log_bus log_bus;
static struct assent_admin *admin;
static struct assent_config *config;
static struct assent_uuid txn;
static int64_t birth_ms;
static char lines[LINES_MAX][LINE_SIZE_MAX];
static size_t lines_count;

static void keep_line(void *context, const char *text)
{
        (void)context;
        cr_assert_lt(lines_count, LINES_MAX);
        snprintf(lines[lines_count++], LINE_SIZE_MAX, "%s", text);
}

static void set_up(void)
{
        log_open(&log_bus);
        cr_assert_eq(assent_config_open(&config), ASSENT_OK);
        cr_assert_eq(assent_config_set(config, "assent.lanes_count=1", "test"), ASSENT_OK);
        admin = calloc(1, sizeof *admin);
        admin->config = config;
        admin->bus = &log_bus.bus;
        assent_settings_of(config, &admin->settings);
        admin->codec = assent_codec_open(LOG_VALUE_SIZE_MAX);
        assent_topic_inbox(config, admin->inbox);
        log_bus.delivered = note_delivery;
        log_bus.context = admin;
        assent_txn_id_new(&txn);
        birth_ms = assent_txn_id_birth_ms(&txn);
}

static void tear_down(void)
{
        cr_assert_eq(log_bus.opens, 0, "a consumer was left open");
        assent_admin_close(admin);
        assent_config_close(config);
}

TestSuite(ctl_admin, .init = set_up, .fini = tear_down);

static void put_settings(void)
{
        char text[ASSENT_SETTINGS_SIZE_MAX];
        struct assent_message message = {.type = ASSENT_CONTROL, .lamport = 1};
        message.body.control.kind = ASSENT_SETTINGS;
        message.body.control.branch = ASSENT_NO_BRANCH;
        message.body.control.settings = (struct assent_bytes){text, assent_settings_format(&admin->settings, text)};
        log_append(&log_bus, admin->codec, birth_ms - 60000, &message);
}

static void put_begin(void)
{
        const struct assent_branch_request branches[] = {
            {assent_bytes_of("payment"), assent_bytes_of("charge"), assent_bytes_of("{}")}};
        struct assent_message message = {.type = ASSENT_BEGIN, .txn_id = txn, .lamport = 1};
        message.body.begin.protocol = ASSENT_2PC;
        message.body.begin.timeout_ms = 10000;
        message.body.begin.branches_count = 1;
        message.body.begin.branches = branches;
        log_append(&log_bus, admin->codec, birth_ms + 5, &message);
}

static void put_reply(enum assent_phase phase, enum assent_answer answer, const char *reason)
{
        struct assent_message message = {.type = ASSENT_REPLY, .txn_id = txn, .lamport = 3};
        message.body.reply.service = assent_bytes_of("payment");
        message.body.reply.phase = phase;
        message.body.reply.answer = answer;
        message.body.reply.reason = assent_bytes_of(reason);
        log_append(&log_bus, admin->codec, birth_ms + 12, &message);
}

/* A record that only moves the lane's time. */
static void put_tick(int64_t time_ms)
{
        struct assent_message message = {.type = ASSENT_CONTROL, .lamport = 1};
        message.body.control.kind = ASSENT_TICK;
        message.body.control.branch = ASSENT_NO_BRANCH;
        log_append(&log_bus, admin->codec, time_ms, &message);
}

static enum assent_err show(void)
{
        lines_count = 0;
        return assent_admin_txn_show(admin, &txn, keep_line, NULL);
}

static bool printed(const char *text)
{
        for (size_t i = 0; i < lines_count; i++)
                if (strstr(lines[i], text))
                        return true;
        return false;
}

Test(ctl_admin, a_story_has_a_heading_its_records_and_a_state)
{
        put_settings();
        put_begin();
        put_reply(ASSENT_PREPARE, ASSENT_YES, NULL);
        cr_assert_eq(show(), ASSENT_OK, "%s", admin->errmsg);
        cr_assert(printed("lane 0 of assent.inbox"));
        cr_assert(printed("2PC transaction begins"));
        cr_assert(printed("votes YES"));
        cr_assert(printed("state: COMMITTED; not every participant has confirmed yet"));
        put_reply(ASSENT_COMMIT, ASSENT_DONE, NULL);
        cr_assert_eq(show(), ASSENT_OK);
        cr_assert(printed("state: COMMITTED; every participant that held something has confirmed"));
}

Test(ctl_admin, a_no_is_told_with_its_reason)
{
        put_settings();
        put_begin();
        put_reply(ASSENT_PREPARE, ASSENT_NO, "balance is short");
        cr_assert_eq(show(), ASSENT_OK);
        cr_assert(printed("votes NO: balance is short"));
        cr_assert(printed("state: ABORTED"));
}

Test(ctl_admin, a_forgotten_transaction_is_still_told)
{
        put_settings();
        put_begin();
        put_reply(ASSENT_PREPARE, ASSENT_YES, NULL);
        put_reply(ASSENT_COMMIT, ASSENT_DONE, NULL);
        put_tick(birth_ms + admin->settings.window_ms + 1);
        put_reply(ASSENT_COMMIT, ASSENT_DONE, NULL);
        cr_assert_eq(show(), ASSENT_OK);
        cr_assert(printed("state: COMMITTED; every participant that held something has confirmed"));
        cr_assert(printed("records about it after offset 4 change nothing"));
        cr_assert(!printed("not known here"));
}

Test(ctl_admin, an_undecided_one_says_what_is_missing)
{
        put_settings();
        put_begin();
        cr_assert_eq(show(), ASSENT_OK);
        cr_assert(printed("state: voting; 0 of 1 votes are in"));
}

Test(ctl_admin, a_lane_without_it_says_so)
{
        put_settings();
        put_tick(birth_ms);
        cr_assert_eq(show(), ASSENT_E_NOT_FOUND);
        cr_assert_eq(lines_count, 0);
        cr_assert_not_null(strstr(admin->errmsg, "holds nothing about it"));
}

Test(ctl_admin, a_begin_too_late_is_told_as_rejected)
{
        put_settings();
        put_tick(birth_ms + admin->settings.window_ms + 1);
        put_begin();
        cr_assert_eq(show(), ASSENT_E_NOT_FOUND, "reading ends where none can be accepted");
        log_bus.records[1].timestamp_ms = birth_ms;
        log_bus.records[2].timestamp_ms = birth_ms + admin->settings.window_ms + 1;
        cr_assert_eq(show(), ASSENT_OK);
        cr_assert(printed("STALE"));
        cr_assert(printed("state: not running; every begin of it that is still in the lane was rejected"));
}

Test(ctl_admin, other_settings_are_refused_before_anything_is_told)
{
        put_settings();
        put_begin();
        admin->settings.window_ms++;
        cr_assert_eq(show(), ASSENT_E_SETTINGS);
        cr_assert_eq(lines_count, 0);
        cr_assert_not_null(strstr(admin->errmsg, "window_ms=90000"));
        cr_assert_not_null(strstr(admin->errmsg, "window_ms=90001"));
}

static enum assent_err tail(struct assent_tail options)
{
        lines_count = 0;
        options.topic = "inbox";
        return assent_admin_tail(admin, &options, keep_line, NULL);
}

Test(ctl_admin, tail_prints_messages_and_what_does_not_decode)
{
        struct assent_tail options = ASSENT_TAIL_INIT;
        put_begin();
        log_append_bytes(&log_bus, birth_ms, "garbage", 7);
        cr_assert_eq(tail(options), ASSENT_OK, "%s", admin->errmsg);
        cr_assert_eq(lines_count, 2);
        cr_assert_not_null(strstr(lines[0], "\"type\":\"BEGIN\""));
        cr_assert_null(strstr(lines[0], "forged"));
        cr_assert_not_null(strstr(lines[1], "\"size\":7"));
        cr_assert_not_null(strstr(lines[1], "\"fault\":\"NO_MARKER\",\"head\":\"67617262616765\"}"));
}

Test(ctl_admin, tail_marks_a_forged_id)
{
        struct assent_tail options = ASSENT_TAIL_INIT;
        put_begin();
        struct assent_message message;
        struct assent_bytes bytes = {log_bus.records[0].value, log_bus.records[0].size};
        cr_assert_eq(assent_codec_decode(admin->codec, bytes, &message), ASSENT_DECODE_NONE);
        message.message_id.bytes[0] ^= 1;
        cr_assert_eq(assent_codec_encode(admin->codec, &message, &bytes), ASSENT_OK);
        log_append_bytes(&log_bus, birth_ms, bytes.data, bytes.size);
        cr_assert_eq(tail(options), ASSENT_OK);
        cr_assert_eq(lines_count, 2);
        cr_assert_not_null(strstr(lines[1], "\"forged\":true"));
}

/* Others write meanwhile: what comes behind one lane's end must not end another. */
Test(ctl_admin, tail_ends_each_lane_once)
{
        static const struct {
                int32_t lane;
                int64_t offset;
                bool shown;
                int left;
        } read[] = {{0, 0, true, 2}, {2, 5, false, 2}, {0, 1, true, 1}, {0, 2, false, 1}, {0, 3, false, 1},
                    {2, 6, false, 1}, {1, 0, true, 1}, {1, 2, false, 0}, {1, 3, false, 0}};
        struct tailing *tailing = calloc(1, sizeof *tailing);
        tailing->lanes_left = 2;
        tailing->ends[0] = tailing->ends[1] = 2; /* lane 2 was at its end from the start; offset 1 of lane 1 is a marker */
        for (size_t i = 0; i < sizeof read / sizeof *read; i++) {
                const struct assent_record record = {.lane = read[i].lane, .offset = read[i].offset};
                cr_assert_eq(tail_shows(tailing, &record), read[i].shown, "record %zu", i);
                cr_assert_eq(tailing->lanes_left, read[i].left, "record %zu", i);
        }
        free(tailing);
}

Test(ctl_admin, tail_keeps_to_its_count_and_its_start)
{
        struct assent_tail options = ASSENT_TAIL_INIT;
        for (int i = 0; i < 5; i++)
                put_tick(birth_ms);
        options.count = 3;
        cr_assert_eq(tail(options), ASSENT_OK);
        cr_assert_eq(lines_count, 3);
        options.count = 0;
        options.from = 4;
        cr_assert_eq(tail(options), ASSENT_OK);
        cr_assert_eq(lines_count, 1);
        options.from = 5;
        cr_assert_eq(tail(options), ASSENT_OK);
        cr_assert_eq(lines_count, 0);
        options.from = 6;
        cr_assert_eq(tail(options), ASSENT_E_POSITION);
        cr_assert_not_null(strstr(admin->errmsg, "0 to 5, not 6"));
}

Test(ctl_admin, tail_refuses_a_lane_or_topic_that_is_not_there)
{
        struct assent_tail options = ASSENT_TAIL_INIT;
        options.lane = 1;
        cr_assert_eq(tail(options), ASSENT_E_ARGUMENT);
        options.lane = 0;
        options.topic = "nosuch";
        cr_assert_eq(assent_admin_tail(admin, &options, keep_line, NULL), ASSENT_E_NOT_FOUND);
}

Test(ctl_admin, stop_ends_a_following_tail)
{
        struct assent_tail options = ASSENT_TAIL_INIT;
        options.follow = true;
        put_tick(birth_ms);
        assent_admin_stop(admin);
        cr_assert_eq(tail(options), ASSENT_OK);
}

static int log_topic(struct assent_bus *bus, const char *name)
{
        (void)bus;
        return strcmp(name, admin->inbox) == 0 ? 0 : -1;
}

/* What is sent lands in the lane, as with a broker. */
static enum assent_err land_and_flush(struct assent_bus *bus, int timeout_ms)
{
        log_append_bytes(&log_bus, birth_ms, log_bus.sent_value, log_bus.sent.value.size);
        return log_poll(bus, timeout_ms);
}

Test(ctl_admin, settings_are_appended_once_and_then_kept)
{
        static struct assent_bus_ops ops; /* the close needs them still */
        ops = *log_bus.bus.ops;
        ops.flush = land_and_flush;
        ops.topic = log_topic;
        log_bus.bus.ops = &ops;
        cr_assert_eq(apply_settings(admin, keep_line, NULL), ASSENT_OK, "%s", admin->errmsg);
        cr_assert(printed("appended SETTINGS of lane 0"));
        lines_count = 0;
        cr_assert_eq(apply_settings(admin, keep_line, NULL), ASSENT_OK, "%s", admin->errmsg);
        cr_assert(printed("kept     SETTINGS of lane 0"));
        cr_assert_eq(log_bus.sends, 1);
        admin->settings.skew_ms++;
        cr_assert_eq(apply_settings(admin, keep_line, NULL), ASSENT_E_SETTINGS);
        cr_assert_eq(log_bus.sends, 1);
}

Test(ctl_admin, a_lane_without_a_leader_is_waited_for)
{
        struct assent_settings theirs;
        put_settings();
        log_bus.refusals = 20;
        log_bus.refusal = ASSENT_E_BROKER;
        cr_assert_eq(check_lane_settings(admin, 0, &theirs), ASSENT_OK, "%s", admin->errmsg);
        cr_assert_eq(log_bus.refusals, 0);
        cr_assert_gt(log_bus.now_ms, 1000, "it was asked without a pause");
}

Test(ctl_admin, a_lane_that_exists_is_never_taken_for_one_without_settings)
{
        struct assent_settings theirs;
        put_settings();
        log_bus.refusals = 3; /* a broker that has not heard of the topic yet */
        log_bus.refusal = ASSENT_E_NOT_FOUND;
        cr_assert_eq(check_lane_settings(admin, 0, &theirs), ASSENT_OK, "%s", admin->errmsg);
        log_bus.refusals = INT32_MAX;
        cr_assert_eq(check_lane_settings(admin, 0, &theirs), ASSENT_E_BROKER);
}

Test(ctl_admin, a_lane_without_a_leader_is_waited_for_only_so_long)
{
        struct assent_settings theirs;
        cr_assert_eq(assent_config_set(config, "assent.start_timeout_ms=700", "test"), ASSENT_OK);
        log_bus.refusals = INT32_MAX;
        log_bus.refusal = ASSENT_E_BROKER;
        cr_assert_eq(check_lane_settings(admin, 0, &theirs), ASSENT_E_BROKER);
        cr_assert_eq(log_bus.now_ms, 700);
        log_bus.refusal = ASSENT_E_DENIED;
        cr_assert_eq(check_lane_settings(admin, 0, &theirs), ASSENT_E_DENIED);
        cr_assert_eq(log_bus.now_ms, 700, "what waiting does not mend is told at once");
        log_bus.refusals = 0;
}
