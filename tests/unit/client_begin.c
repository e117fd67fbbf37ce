/* What the client refuses, sends, remembers and tells, on a bus in memory. Includes the client to
 * get at its insides. */
#include <criterion/criterion.h>

#include "client_log.h"
#include "runtime/client.c"

static struct log_bus log_bus;
static struct assent_client *client;
static struct assent_config *config;
static struct assent_codec *codec; /* a coordinator's */
static struct assent_begin begin;
static struct assent_begin_branch branches[ASSENT_BRANCHES_MAX + 1];
static char big[LOG_VALUE_SIZE_MAX];
static size_t begun_count, outcome_count;
static enum assent_err begun_err;

static void note_began(void *context, const struct assent_uuid *txn_id, enum assent_err err)
{
        (void)context;
        cr_assert(same(txn_id, &begin.txn_id));
        begun_err = err;
        begun_count++;
}

static void note_outcome(void *context, const struct assent_notice *notice)
{
        (void)context;
        (void)notice;
        outcome_count++;
}

static void set_up(void)
{
        log_open(&log_bus);
        cr_assert_eq(assent_config_open(&config), ASSENT_OK);
        codec = assent_codec_open(LOG_VALUE_SIZE_MAX);
        client = calloc(1, sizeof *client);
        client->options = (struct assent_client_options)ASSENT_CLIENT_OPTIONS_INIT;
        client->options.config = config;
        client->options.began = note_began;
        assent_settings_of(config, &client->settings);
        client->settings.record_bytes_max = LOG_VALUE_SIZE_MAX;
        client->bus = &log_bus.bus;
        client->codec = assent_codec_open(LOG_VALUE_SIZE_MAX);
        client->memory = calloc((size_t)BUCKETS * WAYS, sizeof *client->memory);
        client->records = calloc(RECORDS_MAX, sizeof *client->records);
        client->outcomes = &log_consumer;
        log_consumer.log = &log_bus;
        log_consumer.position = 0;
        log_bus.opens = 1;
        log_bus.delivered = delivered;
        log_bus.context = client;
        for (size_t i = 0; i <= ASSENT_BRANCHES_MAX; i++)
                branches[i] =
                    (struct assent_begin_branch){.service = "payment", .kind = "charge", .payload = {"{}", 2}};
        begin = (struct assent_begin)ASSENT_BEGIN_INIT;
        assent_txn_id_new(&begin.txn_id);
        begin.branches = branches;
        begin.branches_count = 2;
}

static void tear_down(void)
{
        assent_client_close(client);
        assent_codec_close(codec);
        assent_config_close(config);
}

TestSuite(client_begin, .init = set_up, .fini = tear_down);

static void append_outcome(const struct assent_uuid *txn_id, enum assent_outcome outcome, const char *reason)
{
        struct assent_message message = {.type = ASSENT_OUTCOME, .txn_id = *txn_id, .lamport = 5};
        message.body.outcome.outcome = outcome;
        message.body.outcome.reason = assent_bytes_of(reason);
        message.body.outcome.decided_at_ms = 1234;
        message.body.outcome.rejected_lane = outcome == ASSENT_REJECTED ? 0 : -1;
        message.body.outcome.rejected_offset = outcome == ASSENT_REJECTED ? 9 : -1;
        log_append(&log_bus, codec, 1000, &message);
}

Test(client_begin, sixty_four_branches_go_and_sixty_five_do_not)
{
        begin.branches_count = ASSENT_BRANCHES_MAX;
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_OK, "%s", client->errmsg);
        begin.branches_count = ASSENT_BRANCHES_MAX + 1;
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_E_LIMIT);
        cr_assert_not_null(strstr(client->errmsg, "65 branches"));
        begin.branches_count = 0;
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_E_ARGUMENT);
        cr_assert_eq(log_bus.sends, 1);
}

Test(client_begin, names_and_kinds_are_held_to_their_limits)
{
        char service[ASSENT_SERVICE_SIZE_MAX + 2], kind[ASSENT_KIND_SIZE_MAX + 2];
        memset(service, 'a', sizeof service);
        memset(kind, 'k', sizeof kind);
        service[ASSENT_SERVICE_SIZE_MAX] = kind[ASSENT_KIND_SIZE_MAX] = '\0';
        branches[1].service = service;
        branches[1].kind = kind;
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_OK, "%s", client->errmsg);
        kind[ASSENT_KIND_SIZE_MAX] = 'k';
        kind[ASSENT_KIND_SIZE_MAX + 1] = '\0';
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_E_LIMIT);
        cr_assert_not_null(strstr(client->errmsg, "branch 2 "));
        kind[0] = '\0';
        service[ASSENT_SERVICE_SIZE_MAX] = 'a';
        service[ASSENT_SERVICE_SIZE_MAX + 1] = '\0';
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_E_ARGUMENT);
        branches[1].service = "Payment.x";
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_E_ARGUMENT);
        cr_assert_not_null(strstr(client->errmsg, "Payment.x"));
}

Test(client_begin, a_record_too_large_names_the_setting)
{
        branches[0].payload = (struct assent_bytes){big, sizeof big};
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_E_LIMIT);
        cr_assert_not_null(strstr(client->errmsg, "assent.record_bytes_max"));
        branches[0].payload.size = sizeof big - 512;
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_OK, "%s", client->errmsg);
}

Test(client_begin, an_id_protocol_or_timeout_that_cannot_be_is_refused)
{
        begin.timeout_ms = 0;
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_E_ARGUMENT);
        begin.timeout_ms = 1;
        begin.protocol = (enum assent_protocol)4;
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_E_ARGUMENT);
        begin.protocol = ASSENT_3PC;
        begin.txn_id.bytes[6] = 0x40; /* version 4 */
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_E_ARGUMENT);
        cr_assert_eq(log_bus.sends, 0);
}

Test(client_begin, a_retried_begin_is_the_same_record_in_the_same_lane)
{
        uint8_t first[LOG_VALUE_SIZE_MAX];
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_OK);
        const size_t size = log_bus.sent.value.size;
        memcpy(first, log_bus.sent_value, size);
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_OK);
        cr_assert_eq(log_bus.sent.value.size, size);
        cr_assert_eq(memcmp(first, log_bus.sent_value, size), 0);
        cr_assert_eq(log_bus.sent.lane, assent_lane_of(&begin.txn_id, client->settings.lanes));
        char key[ASSENT_UUID_TEXT_SIZE];
        assent_uuid_format(&begin.txn_id, key);
        cr_assert_str_eq(log_bus.sent_key, key);
}

Test(client_begin, began_is_told_in_step_and_not_inside_the_report)
{
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_OK);
        log_poll(&log_bus.bus, 0);
        cr_assert_eq(begun_count, 0);
        cr_assert_eq(assent_client_step(client, 1), ASSENT_OK);
        cr_assert_eq(begun_count, 1);
        cr_assert_eq(begun_err, ASSENT_OK);
        log_bus.report_err = ASSENT_E_DENIED;
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_OK);
        cr_assert_eq(assent_client_step(client, 1), ASSENT_OK);
        cr_assert_eq(begun_count, 2);
        cr_assert_eq(begun_err, ASSENT_E_DENIED);
}

Test(client_begin, begin_returns_when_the_broker_holds_it_and_not_before)
{
        cr_assert_eq(assent_client_begin(client, &begin, 1000), ASSENT_OK, "%s", client->errmsg);
        cr_assert_eq(begun_count, 0, "whoever waits is told by the return value");
        log_bus.gone = true;
        const int64_t before_ms = log_bus.now_ms;
        cr_assert_eq(assent_client_begin(client, &begin, 1000), ASSENT_TIMED_OUT);
        cr_assert_eq(log_bus.now_ms - before_ms, 1000);
        log_bus.gone = false;
        cr_assert_eq(assent_client_step(client, 1), ASSENT_OK);
        cr_assert_eq(begun_count, 1, "a report that came after the wait is not lost");
}

Test(client_begin, a_full_queue_is_waited_for_only_so_long)
{
        log_bus.send_err = ASSENT_AGAIN;
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_AGAIN);
        cr_assert_eq(assent_client_begin(client, &begin, 100), ASSENT_AGAIN);
        cr_assert_eq(log_bus.now_ms, 100);
}

Test(client_begin, await_returns_what_came_for_its_transaction)
{
        struct assent_notice notice;
        struct assent_uuid other;
        assent_txn_id_new(&other);
        cr_assert_eq(assent_client_begin(client, &begin, 1000), ASSENT_OK);
        cr_assert_eq(assent_client_await(client, &begin.txn_id, 50, &notice), ASSENT_TIMED_OUT);
        append_outcome(&other, ASSENT_COMMITTED, NULL);
        log_append_bytes(&log_bus, 1000, "garbage", 7);
        append_outcome(&begin.txn_id, ASSENT_ABORTED, "no money");
        cr_assert_eq(assent_client_await(client, &begin.txn_id, 50, &notice), ASSENT_OK, "%s", client->errmsg);
        cr_assert_eq(notice.outcome, ASSENT_ABORTED);
        cr_assert_eq(notice.reason.size, 8);
        cr_assert_eq(memcmp(notice.reason.data, "no money", 8), 0);
        cr_assert_eq(notice.decided_at_ms, 1234);
        cr_assert_eq(assent_client_await(client, &begin.txn_id, 0, &notice), ASSENT_OK, "it is remembered");
}

Test(client_begin, a_rejection_ends_the_wait_only_for_a_single_copy)
{
        struct assent_notice notice;
        cr_assert_eq(assent_client_begin(client, &begin, 1000), ASSENT_OK);
        append_outcome(&begin.txn_id, ASSENT_REJECTED, "STALE");
        cr_assert_eq(assent_client_await(client, &begin.txn_id, 50, &notice), ASSENT_OK);
        cr_assert_eq(notice.outcome, ASSENT_REJECTED);
        cr_assert_eq(assent_client_begin(client, &begin, 1000), ASSENT_OK);
        cr_assert_eq(assent_client_await(client, &begin.txn_id, 50, &notice), ASSENT_TIMED_OUT);
        append_outcome(&begin.txn_id, ASSENT_COMMITTED, NULL);
        append_outcome(&begin.txn_id, ASSENT_REJECTED, "STALE");
        cr_assert_eq(assent_client_await(client, &begin.txn_id, 50, &notice), ASSENT_OK);
        cr_assert_eq(notice.outcome, ASSENT_COMMITTED);
}

Test(client_begin, a_forged_outcome_is_not_believed)
{
        struct assent_notice notice;
        struct assent_message message = {.type = ASSENT_OUTCOME, .txn_id = begin.txn_id, .lamport = 5};
        struct assent_bytes bytes;
        message.body.outcome.outcome = ASSENT_COMMITTED;
        message.body.outcome.rejected_lane = -1;
        message.body.outcome.rejected_offset = -1;
        message.message_id.bytes[0] = 1;
        cr_assert_eq(assent_client_begin(client, &begin, 1000), ASSENT_OK);
        cr_assert_eq(assent_codec_encode(codec, &message, &bytes), ASSENT_OK);
        log_append_bytes(&log_bus, 1000, bytes.data, bytes.size);
        cr_assert_eq(assent_client_await(client, &begin.txn_id, 50, &notice), ASSENT_TIMED_OUT);
}

Test(client_begin, sends_are_remembered_only_where_nobody_listens)
{
        client->options.outcome = note_outcome;
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_OK);
        cr_assert_null(recall(client, &begin.txn_id));
        append_outcome(&begin.txn_id, ASSENT_COMMITTED, NULL);
        cr_assert_eq(assent_client_step(client, 1), ASSENT_OK);
        cr_assert_eq(outcome_count, 1);
        client->options.outcome = NULL;
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_OK);
        cr_assert_not_null(recall(client, &begin.txn_id));
}

Test(client_begin, a_full_bucket_gives_up_its_oldest)
{
        struct assent_uuid ids[WAYS + 1];
        for (size_t i = 0; i <= WAYS; i++) {
                assent_txn_id_new(&ids[i]);
                ids[i].bytes[14] = ids[i].bytes[15] = 0;
        }
        for (size_t i = 0; i < WAYS; i++)
                remember(client, &ids[i]);
        for (size_t i = 0; i < WAYS; i++)
                cr_assert_not_null(recall(client, &ids[i]));
        remember(client, &ids[0]);
        remember(client, &ids[WAYS]);
        cr_assert_not_null(recall(client, &ids[0]));
        cr_assert_null(recall(client, &ids[1]));
        cr_assert_not_null(recall(client, &ids[WAYS]));
}

Test(client_begin, a_second_question_is_another_message)
{
        cr_assert_eq(assent_client_inquire(client, &begin.txn_id, 1000), ASSENT_OK, "%s", client->errmsg);
        struct assent_message first, second;
        cr_assert_eq(
            assent_codec_decode(codec, (struct assent_bytes){log_bus.sent_value, log_bus.sent.value.size}, &first),
            ASSENT_DECODE_NONE);
        const struct assent_uuid first_id = first.message_id;
        cr_assert_eq(first.body.control.kind, ASSENT_INQUIRE);
        cr_assert_eq(first.lamport, 2);
        cr_assert_eq(assent_client_inquire(client, &begin.txn_id, 1000), ASSENT_OK);
        cr_assert_eq(
            assent_codec_decode(codec, (struct assent_bytes){log_bus.sent_value, log_bus.sent.value.size}, &second),
            ASSENT_DECODE_NONE);
        cr_assert_not(same(&first_id, &second.message_id));
}

Test(client_begin, a_reason_of_a_cancel_is_held_to_its_limit)
{
        char reason[ASSENT_REASON_SIZE_MAX + 2];
        memset(reason, 'r', sizeof reason);
        reason[ASSENT_REASON_SIZE_MAX] = '\0';
        cr_assert_eq(assent_client_cancel(client, &begin.txn_id, reason, 1000), ASSENT_OK, "%s", client->errmsg);
        reason[ASSENT_REASON_SIZE_MAX] = 'r';
        reason[ASSENT_REASON_SIZE_MAX + 1] = '\0';
        cr_assert_eq(assent_client_cancel(client, &begin.txn_id, reason, 1000), ASSENT_E_LIMIT);
}

Test(client_begin, stop_ends_a_wait)
{
        struct assent_notice notice;
        assent_client_stop(client);
        cr_assert_eq(assent_client_await(client, &begin.txn_id, 1000, &notice), ASSENT_AGAIN);
        cr_assert_eq(assent_client_step(client, 1000), ASSENT_AGAIN);
        log_bus.gone = true;
        cr_assert_eq(assent_client_begin(client, &begin, 1000), ASSENT_AGAIN);
}

Test(client_begin, close_sends_what_is_queued_and_calls_nobody)
{
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_OK);
        cr_assert_eq(log_bus.unreported, 1);
        assent_client_close(client);
        client = NULL;
        cr_assert_eq(log_bus.unreported, 0, "it was dropped");
        cr_assert_eq(begun_count, 0);
}

Test(client_begin, close_waits_for_a_silent_broker_only_so_long)
{
        cr_assert_eq(assent_config_set(config, "assent.stop_timeout_ms=700", "test"), ASSENT_OK);
        cr_assert_eq(assent_client_send(client, &begin), ASSENT_OK);
        log_bus.gone = true;
        assent_client_close(client);
        client = NULL;
        cr_assert_eq(log_bus.now_ms, 350); /* half of it: ending the Kafka clients takes its time too */
        cr_assert_eq(log_bus.unreported, 1);
}

Test(client_begin, outcomes_wait_for_a_lane_without_a_leader)
{
        assent_bus_consumer_close(client->bus, client->outcomes);
        client->outcomes = NULL;
        client->settings.lanes = 1;
        log_bus.next_offset = 9;
        log_bus.refusals = 3;
        log_bus.refusal = ASSENT_E_BROKER;
        cr_assert_eq(open_outcomes(client), ASSENT_OK, "%s", client->errmsg);
        cr_assert_eq(client->ends[0], 9);
        cr_assert_eq(log_bus.refusals, 0);
}
