/* What goes in comes out: every type with random contents, limits, reuse, allocations, JSON. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <signal.h>

#include "codec/schema.h"
#include "codec_bytes.h"

/* Counts what this program allocates; the sanitizers bring a malloc of their own. */
static uint64_t allocations;
#ifndef __SANITIZE_ADDRESS__
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *malloc(size_t size)
{
        allocations++;
        return __libc_malloc(size);
}
void *calloc(size_t count, size_t size)
{
        allocations++;
        return __libc_calloc(count, size);
}
void *realloc(void *block, size_t size)
{
        allocations++;
        return __libc_realloc(block, size);
}
#endif

static uint64_t random_state;
static uint64_t random_below(uint64_t bound)
{
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        return (random_state >> 33) % bound;
}

static char noise[4096];
static struct assent_bytes random_bytes(size_t size_max)
{
        size_t size = random_below(4) == 0 ? 0 : random_below(size_max + 1);
        return (struct assent_bytes){.data = noise + random_below(sizeof noise - size), .size = size};
}

static struct assent_bytes random_service(void)
{
        return (struct assent_bytes){.data = "abcdefghijklmnopqrstuvwxyz0123456789-abc-", .size = 1 + random_below(40)};
}

static void random_txn(struct assent_uuid *id)
{
        for (size_t i = 0; i < sizeof id->bytes; i++)
                id->bytes[i] = (uint8_t)random_below(256);
        id->bytes[6] = (uint8_t)(0x70 | (id->bytes[6] & 15));
        id->bytes[8] = (uint8_t)(0x80 | (id->bytes[8] & 63));
}

static void random_control(struct assent_message *message)
{
        enum assent_control_kind kind = (enum assent_control_kind)(1 + random_below(4));
        message->body.control.kind = kind;
        message->body.control.branch = ASSENT_NO_BRANCH;
        message->body.control.attempt = (uint32_t)random_below(UINT32_MAX);
        if (kind == ASSENT_INQUIRE)
                message->body.control.branch = (int32_t)random_below(65537) - 1;
        if (kind == ASSENT_CANCEL)
                message->body.control.reason = random_bytes(ASSENT_REASON_SIZE_MAX);
        if (kind == ASSENT_SETTINGS)
                message->body.control.settings = random_bytes(500);
        if (kind == ASSENT_SETTINGS || kind == ASSENT_TICK)
                message->txn_id = id_zero;
}

static void random_outcome(struct assent_message *message)
{
        bool rejected = random_below(3) == 0;
        message->body.outcome.outcome = rejected ? ASSENT_REJECTED : (enum assent_outcome)(1 + random_below(4));
        message->body.outcome.reason = random_bytes(ASSENT_REASON_SIZE_MAX);
        message->body.outcome.decided_at_ms = (int64_t)random_below(UINT32_MAX) * 1000 - 5;
        message->body.outcome.rejected_lane = rejected ? (int32_t)random_below(ASSENT_LANES_MAX) : -1;
        message->body.outcome.rejected_offset = rejected ? (int64_t)random_below(UINT32_MAX) << 31 : -1;
}

static struct assent_message random_message(struct assent_branch_request branches[ASSENT_BRANCHES_MAX])
{
        struct assent_message message = {.type = (enum assent_message_type)(1 + random_below(5)),
                                         .lamport = random_below(ASSENT_LAMPORT_MAX)};
        enum assent_phase phase = (enum assent_phase)(1 + random_below(5));
        random_txn(&message.txn_id);
        random_txn(&message.message_id);
        switch (message.type) {
        case ASSENT_BEGIN:
                message.body.begin.protocol = random_below(2) ? ASSENT_2PC : ASSENT_3PC;
                message.body.begin.timeout_ms = (uint32_t)random_below(UINT32_MAX);
                message.body.begin.notify_completed = random_below(2);
                message.body.begin.branches_count = (uint32_t)random_below(ASSENT_BRANCHES_MAX + 1);
                message.body.begin.branches = branches;
                for (uint32_t i = 0; i < message.body.begin.branches_count; i++)
                        branches[i] =
                            (struct assent_branch_request){random_bytes(50), random_bytes(100), random_bytes(300)};
                break;
        case ASSENT_COMMAND:
                message.body.command.branch = (uint16_t)random_below(65536);
                message.body.command.branches_count = (uint16_t)random_below(65536);
                message.body.command.service = random_service();
                message.body.command.phase = phase;
                message.body.command.deadline_ms = (int64_t)random_below(UINT32_MAX) * 4000;
                if (assent_phase_is_first(phase)) {
                        message.body.command.kind = random_bytes(ASSENT_KIND_SIZE_MAX);
                        message.body.command.payload = random_bytes(4000);
                }
                break;
        case ASSENT_REPLY:
                message.body.reply.branch = (uint16_t)random_below(65536);
                message.body.reply.service = random_service();
                message.body.reply.phase = phase;
                message.body.reply.answer = (enum assent_answer)(1 + random_below(4));
                if (message.body.reply.answer == ASSENT_NO)
                        message.body.reply.reason = random_bytes(ASSENT_REASON_SIZE_MAX);
                break;
        case ASSENT_OUTCOME:
                random_outcome(&message);
                break;
        case ASSENT_CONTROL:
                random_control(&message);
                break;
        }
        return message;
}

Test(codec_round, random_messages_come_back_the_same)
{
        struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
        static struct bytes copy;
        random_state = 20260801;
        for (size_t i = 0; i < sizeof noise; i++)
                noise[i] = (char)random_below(256);
        for (int round = 0; round < 20000; round++) {
                struct assent_branch_request branches[ASSENT_BRANCHES_MAX];
                struct assent_message message = random_message(branches), back;
                struct assent_bytes record;
                cr_assert_eq(assent_codec_encode(codec, &message, &record), ASSENT_OK);
                copy.size = 0;
                put_raw(&copy, record.data, record.size);
                cr_assert_eq(decode(codec, &copy, &back), ASSENT_DECODE_NONE, "round %d", round);
                cr_assert_eq(back.type, message.type);
                cr_assert_eq(back.lamport, message.lamport);
                cr_assert_eq(memcmp(&back.message_id, &message.message_id, 16), 0);
                cr_assert_eq(assent_message_digest(&back), assent_message_digest(&message), "round %d", round);
                cr_assert_eq(assent_codec_encode(codec, &back, &record), ASSENT_OK);
                cr_assert_eq(record.size, copy.size);
                cr_assert_eq(memcmp(record.data, copy.data, copy.size), 0, "round %d", round);
        }
        assent_codec_close(codec);
}

Test(codec_round, a_decoded_message_outlives_encodes)
{
        struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
        struct assent_message command = sample(1), reply = sample(2), back;
        struct assent_bytes record;
        static struct bytes copy;
        cr_assert_eq(assent_codec_encode(codec, &command, &record), ASSENT_OK);
        put_raw(&copy, record.data, record.size);
        cr_assert_eq(decode(codec, &copy, &back), ASSENT_DECODE_NONE);
        memset(copy.data, 0, copy.size); /* it borrows from the codec, not from the record */
        cr_assert_eq(assent_codec_encode(codec, &reply, &record), ASSENT_OK);
        cr_assert_eq(assent_codec_encode(codec, &command, &record), ASSENT_OK);
        cr_assert_eq(assent_message_digest(&back), assent_message_digest(&command));
        assent_codec_close(codec);
}

Test(codec_round, no_allocation_once_warm)
{
#ifdef __SANITIZE_ADDRESS__
        allocations = 0; /* the sanitizer's malloc is not counted: this build only looks for errors here */
#endif
        struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
        static struct bytes copies[SAMPLES];
        uint64_t warm = 0;
        cr_assert_not_null(codec);
        for (int round = 0; round < 100; round++) {
                if (round == 2)
                        warm = allocations;
                for (int i = 0; i < SAMPLES; i++) {
                        struct assent_message message = sample(i), back;
                        struct assent_bytes record;
                        if (assent_codec_encode(codec, &message, &record))
                                cr_assert_fail("sample %d", i);
                        copies[i].size = 0;
                        put_raw(&copies[i], record.data, record.size);
                        if (decode(codec, &copies[i], &back))
                                cr_assert_fail("sample %d", i);
                        copies[i].size--; /* and a failed decode in between */
                        if (decode(codec, &copies[i], &back) != ASSENT_DECODE_TRUNCATED)
                                cr_assert_fail("sample %d", i);
                }
        }
        cr_assert_eq(allocations, warm);
#ifndef __SANITIZE_ADDRESS__
        cr_assert_gt(warm, 0); /* the counter counts */
#endif
        assent_codec_close(codec);
}

/* A command whose record has exactly `record_size` bytes. */
static struct assent_message command_of(size_t record_size, size_t overhead)
{
        static char payload[RECORD_BYTES_MAX + 16];
        struct assent_message message = sample(1);
        memset(payload, 'p', sizeof payload);
        message.body.command.payload = (struct assent_bytes){.data = payload, .size = record_size - overhead};
        return message;
}

Test(codec_round, record_at_the_limit_and_one_past)
{
        struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
        struct assent_codec *wide = assent_codec_open(RECORD_BYTES_MAX + 100);
        static struct bytes copy;
        struct assent_bytes record;
        struct assent_message back, message = command_of(RECORD_BYTES_MAX, 100);
        cr_assert_eq(assent_codec_encode(wide, &message, &record), ASSENT_OK);
        size_t overhead = record.size - (RECORD_BYTES_MAX - 100);

        message = command_of(RECORD_BYTES_MAX, overhead);
        for (int round = 0; round < 3; round++) {
                cr_assert_eq(assent_codec_encode(codec, &message, &record), ASSENT_OK);
                cr_assert_eq(record.size, RECORD_BYTES_MAX);
                copy.size = 0;
                put_raw(&copy, record.data, record.size);
                cr_assert_eq(decode(codec, &copy, &back), ASSENT_DECODE_NONE);
                cr_assert_eq(back.body.command.payload.size, RECORD_BYTES_MAX - overhead);
        }
        message = command_of(RECORD_BYTES_MAX + 1, overhead);
        cr_assert_eq(assent_codec_encode(codec, &message, &record), ASSENT_E_TOO_LARGE);
        cr_assert_eq(assent_codec_encode(wide, &message, &record), ASSENT_OK);
        copy.size = 0;
        put_raw(&copy, record.data, record.size);
        cr_assert_eq(copy.size, RECORD_BYTES_MAX + 1);
        cr_assert_eq(decode(codec, &copy, &back), ASSENT_DECODE_TOO_LARGE);
        cr_assert_eq(decode(wide, &copy, &back), ASSENT_DECODE_NONE);
        message.body.command.payload.size = SIZE_MAX; /* refused by its size, unread */
        cr_assert_eq(assent_codec_encode(codec, &message, &record), ASSENT_E_TOO_LARGE);
        assent_codec_close(codec);
        assent_codec_close(wide);
}

Test(codec_round, begin_beyond_the_limit_is_refused_by_its_sizes)
{
        struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
        struct assent_bytes record, huge = {NULL, SIZE_MAX - 10}; /* sums must not wrap, nor anything be read */
        for (int part = 0; part < 3; part++) {
                struct assent_branch_request branches[2] = {{{"order", 5}, {"create", 6}, {"12", 2}},
                                                            {{"order", 5}, {"create", 6}, {"12", 2}}};
                struct assent_message message = sample(0);
                message.body.begin.branches = branches;
                cr_assert_eq(assent_codec_encode(codec, &message, &record), ASSENT_OK);
                *(part == 0 ? &branches[1].service : part == 1 ? &branches[1].kind : &branches[1].payload) = huge;
                cr_assert_eq(assent_codec_encode(codec, &message, &record), ASSENT_E_TOO_LARGE);
        }
        assent_codec_close(codec);
}

/* From the least record_bytes_max of the settings to the greatest: avro-c's memory is capped, and suffices. */
Test(codec_round, begin_of_64_branches_that_fill_a_record)
{
        static const size_t sizes[] = {1024, 65536, RECORD_BYTES_MAX, 16 * 1024 * 1024};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                struct assent_codec *codec = assent_codec_open(sizes[i]);
                struct assent_branch_request branches[ASSENT_BRANCHES_MAX];
                struct assent_message message = sample(0), back;
                struct assent_bytes record;
                size_t payload_size = (sizes[i] - 64) / ASSENT_BRANCHES_MAX - 9;
                char *payload = calloc(1, payload_size + 1);
                for (int b = 0; b < ASSENT_BRANCHES_MAX; b++)
                        branches[b] = (struct assent_branch_request){{"a", 1}, {"b", 1}, {payload, payload_size}};
                message.body.begin.branches_count = ASSENT_BRANCHES_MAX;
                message.body.begin.branches = branches;
                for (int round = 0; round < 3; round++) {
                        cr_assert_eq(assent_codec_encode(codec, &message, &record), ASSENT_OK);
                        cr_assert_gt(record.size, sizes[i] - 400);
                        cr_assert_eq(assent_codec_decode(codec, record, &back), ASSENT_DECODE_NONE);
                        cr_assert_eq(assent_message_digest(&back), assent_message_digest(&message));
                }
                free(payload);
                assent_codec_close(codec);
        }
}

Test(codec_round, lamport_is_clamped_both_ways)
{
        struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
        static struct bytes copy;
        struct assent_bytes record;
        struct assent_message message = sample(3), back;
        message.lamport = UINT64_MAX;
        cr_assert_eq(assent_codec_encode(codec, &message, &record), ASSENT_OK);
        put_raw(&copy, record.data, record.size);
        cr_assert_eq(decode(codec, &copy, &back), ASSENT_DECODE_NONE);
        cr_assert_eq(back.lamport, ASSENT_LAMPORT_MAX);
        message.lamport = ASSENT_LAMPORT_MAX;
        cr_assert_eq(assent_codec_encode(codec, &message, &record), ASSENT_OK);
        cr_assert_eq(record.size, copy.size);
        cr_assert_eq(memcmp(record.data, copy.data, copy.size), 0);
        assent_codec_close(codec);
}

Test(codec_round, json_escapes_foreign_text)
{
        struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
        struct assent_message message = sample(2);
        message.body.reply.reason = assent_bytes_of("a\"b\\\n\x1b[31m\xff");
        const char *json = assent_codec_json(codec, &message);
        cr_assert_not_null(strstr(json, "\"reason\":\"a\\\"b\\\\\\n\\u001b[31m\\ufffd\"}"), "%s", json);
        assent_codec_close(codec);
}

Test(codec_round, json_shows_payloads_that_are_text)
{
        static const struct {
                const char *payload;
                size_t size;
                bool shown;
        } cases[] = {
            {"", 0, false},         {"x", 1, true},         {"\x7f", 1, false},    {"\x1f", 1, false},
            {" ", 1, true},         {"\xc2\x9f", 2, false}, {"\xc2\xa0", 2, true}, {"\xe2\x82\xac", 3, true},
            {"\xe2\x82", 2, false}, {"\xff", 1, false},     {"a\0b", 3, false},
        };
        struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
        char text[257];
        memset(text, 't', sizeof text);
        struct assent_message message = sample(1);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                message.body.command.payload = (struct assent_bytes){cases[i].payload, cases[i].size};
                bool shown = strstr(assent_codec_json(codec, &message), "\"payload\":") != NULL;
                cr_assert_eq(shown, cases[i].shown, "case %zu", i);
        }
        message.body.command.payload = (struct assent_bytes){text, 256};
        cr_assert_not_null(strstr(assent_codec_json(codec, &message), "\"payload_size\":256,\"payload\":\"tttt"));
        message.body.command.payload.size = 257;
        cr_assert_not_null(strstr(assent_codec_json(codec, &message), "\"payload_size\":257}"));
        assent_codec_close(codec);
}

static void *work(void *context)
{
        size_t *done = context;
        for (int life = 0; life < 20; life++) {
                struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
                for (int i = 0; i < 500; i++) {
                        struct assent_message message = sample(i % SAMPLES), back;
                        struct assent_bytes record, cut;
                        if (assent_codec_encode(codec, &message, &record))
                                return NULL;
                        cut = (struct assent_bytes){record.data, record.size - 1};
                        if (assent_codec_decode(codec, cut, &back) != ASSENT_DECODE_TRUNCATED ||
                            assent_codec_decode(codec, record, &back) != ASSENT_DECODE_NONE)
                                return NULL;
                        *done += assent_message_digest(&back) == assent_message_digest(&message);
                }
                assent_codec_close(codec);
        }
        return NULL;
}

Test(codec_round, threads_have_codecs_of_their_own)
{
        pthread_t threads[4];
        size_t done[4] = {0};
        for (int i = 0; i < 4; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, work, &done[i]), 0);
        for (int i = 0; i < 4; i++) {
                pthread_join(threads[i], NULL);
                cr_assert_eq(done[i], 20 * 500);
        }
}

Test(codec_round, what_nobody_could_read_is_not_written, .signal = SIGABRT)
{
        struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
        struct assent_message message = sample(1);
        struct assent_bytes record;
        message.body.command.phase = ASSENT_COMMIT; /* with a payload */
        assent_codec_encode(codec, &message, &record);
}

Test(codec_round, close_of_null_is_fine)
{
        assent_codec_close(NULL);
        cr_assert_str_eq(assent_decode_fault_name(ASSENT_DECODE_TRAILING_BYTES), "TRAILING_BYTES");
        cr_assert_str_eq(assent_decode_fault_name(ASSENT_DECODE_COUNT), "?");
}
