/* Records that are not messages: each fault by the smallest record that has it, and what hostile
 * bytes can do (nothing). */
#include <criterion/criterion.h>

#include "codec_bytes.h"

static struct assent_codec *codec;
static struct bytes bytes;
static struct assent_message message;

static void open_codec(void)
{
        codec = assent_codec_open(RECORD_BYTES_MAX);
}

static void close_codec(void)
{
        assent_codec_close(codec);
}

#define FAULT(situation) Test(codec_fault, situation, .init = open_codec, .fini = close_codec)
#define IS(fault)        cr_assert_eq(decode(codec, &bytes, &message), ASSENT_DECODE_##fault)

static void take_sample(int index)
{
        struct assent_message given = sample(index);
        struct assent_bytes record;
        cr_assert_eq(assent_codec_encode(codec, &given, &record), ASSENT_OK);
        bytes.size = 0;
        put_raw(&bytes, record.data, record.size);
}

FAULT(framing_is_checked_first)
{
        bytes.size = 0;
        IS(EMPTY);
        cr_assert_eq(assent_codec_decode(codec, (struct assent_bytes){NULL, 0}, &message),
                     ASSENT_DECODE_EMPTY);
        put_byte(&bytes, 0xc3);
        IS(TRUNCATED);
        put_byte(&bytes, 0x02);
        IS(NO_MARKER);
        bytes.data[1] = 0x01;
        IS(TRUNCATED);
        bytes.data[0] = 0x00;
        IS(NO_MARKER);
        bytes.data[0] = 0xc3;
        while (bytes.size < 9)
                put_byte(&bytes, 0);
        IS(TRUNCATED);
        put_byte(&bytes, 0);
        IS(UNKNOWN_SCHEMA);
}

FAULT(every_truncation_of_every_type)
{
        for (int i = 0; i < SAMPLES; i++) {
                take_sample(i);
                size_t whole = bytes.size;
                for (bytes.size = 1; bytes.size < whole; bytes.size++)
                        IS(TRUNCATED);
                IS(NONE);
                put_byte(&bytes, 0);
                IS(TRAILING_BYTES);
        }
}

/* Whatever one byte becomes, the verdict is the same again, and the next record is read as if
 * nothing had been. */
FAULT(every_corruption_of_every_byte)
{
        unsigned faults[ASSENT_DECODE_COUNT] = {0};
        for (int i = 0; i < SAMPLES; i++) {
                take_sample(i);
                for (size_t at = 0; at < bytes.size; at++) {
                        uint8_t was = bytes.data[at];
                        for (unsigned byte = 0; byte < 256; byte++) {
                                bytes.data[at] = (uint8_t)byte;
                                enum assent_decode_fault fault = decode(codec, &bytes, &message);
                                cr_assert_eq(decode(codec, &bytes, &message), fault);
                                faults[fault]++;
                        }
                        bytes.data[at] = was;
                        IS(NONE);
                }
        }
        cr_assert_gt(faults[ASSENT_DECODE_BAD_BODY], 0);
        cr_assert_gt(faults[ASSENT_DECODE_TRUNCATED], 0);
        cr_assert_gt(faults[ASSENT_DECODE_TRAILING_BYTES], 0);
        cr_assert_gt(faults[ASSENT_DECODE_BAD_VALUE], 0);
}

/* What our walk lets pass, avro-c must be able to read; if not, the codec panics and this test with
 * it. */
FAULT(random_bodies_never_get_past_the_walk_unreadable)
{
        static const uint64_t schemas[] = {BEGIN_V1, COMMAND_V1, REPLY_V1, OUTCOME_V1, CONTROL_V1};
        uint64_t state = 42;
        unsigned passed = 0;
        for (int round = 0; round < 300000; round++) {
                put_head(&bytes, schemas[round % 5], &txn_sample, round);
                size_t size = (size_t)(state >> 58);
                for (size_t i = 0; i < size; i++) {
                        state = state * 6364136223846793005u + 1442695040888963407u;
                        put_byte(&bytes, (uint8_t)((state >> 40) % (state >> 63 ? 256 : 4)));
                }
                state = state * 6364136223846793005u + 1442695040888963407u;
                enum assent_decode_fault fault = decode(codec, &bytes, &message);
                passed += fault == ASSENT_DECODE_NONE || fault == ASSENT_DECODE_BAD_VALUE;
        }
        cr_assert_gt(passed, 100);
}

FAULT(a_string_that_claims_a_gibibyte)
{
        put_head(&bytes, BEGIN_V1, &txn_sample, 1);
        put_long(&bytes, INT64_C(1) << 30);
        IS(TRUNCATED);
        bytes.size = 10 + 32 + 1;
        put_long(&bytes, INT64_MAX);
        IS(TRUNCATED);
        bytes.size = 10 + 32 + 1;
        put_long(&bytes, -1);
        IS(BAD_BODY);
        bytes.size = 10 + 32 + 1;
        put_long(&bytes, INT64_MIN);
        IS(BAD_BODY);
}

FAULT(varints_have_ten_bytes_and_64_bits)
{
        put_head(&bytes, CONTROL_V1, &id_zero, 0);
        bytes.size--;
        for (int i = 0; i < 9; i++)
                put_byte(&bytes, 0x80);
        put_byte(&bytes, 0x00); /* a long way to write 0 */
        put_text(&bytes, "TICK");
        put_raw(&bytes, "\x01\x00\x00\x00", 4);
        IS(NONE);
        cr_assert_eq(message.lamport, 0);
        bytes.data[10 + 32 + 9] = 0x01; /* the 64th bit */
        IS(NONE);
        cr_assert_eq(message.lamport, ASSENT_LAMPORT_MAX);
        bytes.data[10 + 32 + 9] = 0x02; /* a 65th */
        IS(BAD_BODY);
        bytes.data[10 + 32 + 9] = 0x80; /* an eleventh byte */
        IS(BAD_BODY);
}

FAULT(ints_have_32_bits)
{
        put_head(&bytes, REPLY_V1, &txn_sample, 0);
        size_t at = bytes.size;
        const int64_t numbers[] = {
            65535, 65536, INT32_MAX, INT32_MIN, INT64_C(1) + INT32_MAX, INT64_C(-1) + INT32_MIN};
        const enum assent_decode_fault faults[] = {ASSENT_DECODE_NONE,      ASSENT_DECODE_BAD_VALUE,
                                                   ASSENT_DECODE_BAD_VALUE, ASSENT_DECODE_BAD_VALUE,
                                                   ASSENT_DECODE_BAD_BODY,  ASSENT_DECODE_BAD_BODY};
        for (size_t i = 0; i < 6; i++) {
                bytes.size = at;
                put_long(&bytes, numbers[i]);
                put_text(&bytes, "order");
                put_text(&bytes, "PREPARE");
                put_text(&bytes, "YES");
                put_text(&bytes, "");
                cr_assert_eq(decode(codec, &bytes, &message), faults[i], "%zu", i);
        }
}

FAULT(booleans_are_0_or_1)
{
        put_begin(&bytes, "2PC", 0);
        put_long(&bytes, 0);
        IS(NONE);
        cr_assert_not(message.body.begin.notify_completed);
        bytes.data[bytes.size - 2] = 1;
        IS(NONE);
        cr_assert(message.body.begin.notify_completed);
        bytes.data[bytes.size - 2] = 2;
        IS(BAD_BODY);
}

FAULT(blocks_of_an_array_are_bounded_by_the_bytes_that_are_left)
{
        const int64_t counts[] = {1, 1000000, INT64_MAX, -1, INT64_MIN};
        const enum assent_decode_fault faults[] = {ASSENT_DECODE_TRUNCATED, ASSENT_DECODE_TRUNCATED,
                                                   ASSENT_DECODE_TRUNCATED, ASSENT_DECODE_TRUNCATED,
                                                   ASSENT_DECODE_BAD_BODY};
        for (size_t i = 0; i < 5; i++) {
                put_begin(&bytes, "3PC", 5);
                put_long(&bytes, counts[i]);
                cr_assert_eq(decode(codec, &bytes, &message), faults[i], "%zu", i);
        }
        put_begin(&bytes, "3PC", 5);
        put_long(&bytes, 3); /* more items than bytes are left: nothing of them is looked at */
        put_raw(&bytes, "\x01\x01", 2);
        IS(TRUNCATED);
        put_byte(&bytes, 0x01);
        IS(BAD_BODY);
        put_begin(&bytes, "3PC", 5);
        put_long(&bytes, -2);
        put_long(&bytes, 6); /* two branches of three empty fields */
        put_raw(&bytes, "\0\0\0\0\0\0\0", 7);
        IS(NONE);
        cr_assert_eq(message.body.begin.branches_count, 2);
        bytes.data[bytes.size - 8] = 2 * 5; /* the block says 5 bytes */
        IS(BAD_BODY);
        bytes.data[bytes.size - 8] = 2 * 7;
        IS(BAD_BODY);
        bytes.data[bytes.size - 8] = 2 * 8; /* more than there are */
        IS(TRUNCATED);
        bytes.data[bytes.size - 8] = 1; /* -1 */
        IS(BAD_BODY);
}

static void put_branch(int number)
{
        put_long(&bytes, 2);
        put_byte(&bytes, (uint8_t)('a' + number % 26));
        put_byte(&bytes, (uint8_t)('a' + number / 26 % 26));
        put_text(&bytes, "kind");
        put_letters(&bytes, (size_t)(number % 7));
}

static void check_branches(uint32_t count)
{
        cr_assert_eq(message.body.begin.branches_count, count);
        for (uint32_t i = 0; i < count && i < ASSENT_BRANCHES_MAX; i++) {
                const struct assent_branch_request *branch = &message.body.begin.branches[i];
                const char *service = branch->service.data;
                cr_assert_eq(branch->service.size, 2);
                cr_assert(service[0] == (char)('a' + i % 26) &&
                          service[1] == (char)('a' + i / 26 % 26));
                cr_assert_eq(branch->kind.size, 4);
                cr_assert_eq(branch->payload.size, i % 7);
        }
}

/* R2 rejects too many branches with a reason, so they decode: the count, and the first 64. */
FAULT(more_branches_than_fit_are_counted)
{
        static const int counts[] = {0, 1, 63, 64, 65, 128, 1000, 16000};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                for (int block = 1; block <= 40; block += 13) { /* in blocks of 1, 14, 27, 40 */
                        put_begin(&bytes, "2PC", 10);
                        for (int number = 0; number < counts[i]; number++) {
                                if (number % block == 0)
                                        put_long(&bytes, counts[i] - number < block
                                                             ? counts[i] - number
                                                             : block);
                                put_branch(number);
                        }
                        put_long(&bytes, 0);
                        IS(NONE);
                        check_branches((uint32_t)counts[i]);
                }
        }
        bytes.size--; /* a cut record is cut however many branches it has */
        IS(TRUNCATED);
}

FAULT(as_many_branches_as_a_record_can_hold)
{
        put_begin(&bytes, "2PC", 10);
        uint32_t count = (uint32_t)(RECORD_BYTES_MAX - bytes.size - 4) / 3;
        put_long(&bytes, count);
        for (uint32_t i = 0; i < 3 * count; i++)
                put_byte(&bytes, 0);
        put_long(&bytes, 0);
        cr_assert_leq(bytes.size, RECORD_BYTES_MAX);
        IS(NONE);
        cr_assert_eq(message.body.begin.branches_count, count);
}

/* What R2 answers with a rejection is no fault here. */
FAULT(a_begin_beyond_the_limits_decodes)
{
        put_begin(&bytes, "3PC", 0);
        put_long(&bytes, 2);
        put_text(&bytes, "Not A Service");
        put_letters(&bytes, ASSENT_KIND_SIZE_MAX + 1);
        put_letters(&bytes, 0);
        put_letters(&bytes, ASSENT_SERVICE_SIZE_MAX + 1);
        put_letters(&bytes, 1000);
        put_letters(&bytes, 100000);
        put_long(&bytes, 0);
        IS(NONE);
        cr_assert_eq(message.body.begin.timeout_ms, 0);
        cr_assert_eq(message.body.begin.branches[0].kind.size, ASSENT_KIND_SIZE_MAX + 1);
        cr_assert_eq(message.body.begin.branches[1].payload.size, 100000);
}

FAULT(a_begin_has_a_known_protocol_and_a_time)
{
        static const struct {
                const char *protocol;
                int64_t timeout_ms;
                enum assent_decode_fault fault;
        } cases[] = {
            {"2PC", UINT32_MAX, ASSENT_DECODE_NONE},
            {"2PC", INT64_C(1) + UINT32_MAX, ASSENT_DECODE_BAD_VALUE},
            {"3PC", -1, ASSENT_DECODE_BAD_VALUE},
            {"4PC", 1, ASSENT_DECODE_BAD_VALUE},
            {"", 1, ASSENT_DECODE_BAD_VALUE},
            {"2pc", 1, ASSENT_DECODE_BAD_VALUE},
            {"2PC ", 1, ASSENT_DECODE_BAD_VALUE},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                put_begin(&bytes, cases[i].protocol, cases[i].timeout_ms);
                put_long(&bytes, 0);
                cr_assert_eq(decode(codec, &bytes, &message), cases[i].fault, "%zu", i);
        }
}

FAULT(a_word_with_a_nul_is_another_word)
{
        put_head(&bytes, BEGIN_V1, &txn_sample, 1);
        put_long(&bytes, 4);
        put_raw(&bytes, "2PC", 4);
        put_raw(&bytes, "\0\0\0", 3);
        IS(BAD_VALUE);
}

FAULT(transaction_ids_are_of_version_7)
{
        static const struct assent_uuid wrong[] = {
            {{0}},
            {{0x01, 0x90, 0x16, 0x3d, 0x86, 0x94, 0x43, 0x9b, 0xae, 0xa5, 0x96, 0x6c, 0x26, 0xf8,
              0xad, 0x91}},
            {{0x01, 0x90, 0x16, 0x3d, 0x86, 0x94, 0x73, 0x9b, 0x2e, 0xa5, 0x96, 0x6c, 0x26, 0xf8,
              0xad, 0x91}},
        };
        for (int i = 0; i < SAMPLES - 1; i++) {
                for (size_t w = 0; w < 3; w++) {
                        take_sample(i);
                        memcpy(bytes.data + 26, wrong[w].bytes, 16);
                        IS(BAD_VALUE);
                }
        }
}

FAULT(a_negative_lamport_time)
{
        put_head(&bytes, CONTROL_V1, &id_zero, -1);
        put_text(&bytes, "TICK");
        put_raw(&bytes, "\x01\x00\x00\x00", 4);
        IS(BAD_VALUE);
        put_head(&bytes, CONTROL_V1, &id_zero, INT64_MAX);
        put_text(&bytes, "TICK");
        put_raw(&bytes, "\x01\x00\x00\x00", 4);
        IS(NONE);
        cr_assert_eq(message.lamport, ASSENT_LAMPORT_MAX);
}

static enum assent_decode_fault control(const char *kind, const struct assent_uuid *txn_id,
                                        int64_t branch, int64_t attempt, size_t reason,
                                        size_t settings)
{
        put_head(&bytes, CONTROL_V1, txn_id, 0);
        put_text(&bytes, kind);
        put_long(&bytes, branch);
        put_long(&bytes, attempt);
        put_letters(&bytes, reason);
        put_letters(&bytes, settings);
        return decode(codec, &bytes, &message);
}

FAULT(control_fields_belong_to_their_kinds)
{
        const struct assent_uuid *none = &id_zero, *txn = &txn_sample;
        cr_assert_eq(control("TICK", none, -1, 0, 0, 0), ASSENT_DECODE_NONE);
        cr_assert_eq(control("TICK", txn, -1, 0, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("TICK", none, 0, 0, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("TICK", none, -1, 0, 1, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("TICK", none, -1, 0, 0, 1), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("SETTINGS", none, -1, 0, 0, 1), ASSENT_DECODE_NONE);
        cr_assert_eq(control("SETTINGS", txn, -1, 0, 0, 1), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("CANCEL", txn, -1, 0, ASSENT_REASON_SIZE_MAX, 0), ASSENT_DECODE_NONE);
        cr_assert_eq(control("CANCEL", txn, -1, 0, ASSENT_REASON_SIZE_MAX + 1, 0),
                     ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("CANCEL", none, -1, 0, 1, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("CANCEL", txn, 0, 0, 1, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("INQUIRE", txn, -1, UINT32_MAX, 0, 0), ASSENT_DECODE_NONE);
        cr_assert_eq(control("INQUIRE", txn, -1, INT64_C(1) + UINT32_MAX, 0, 0),
                     ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("INQUIRE", txn, -1, -1, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("INQUIRE", txn, 65535, 0, 0, 0), ASSENT_DECODE_NONE);
        cr_assert_eq(control("INQUIRE", txn, 65536, 0, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("INQUIRE", txn, -2, 0, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(control("ANSWER", txn, -1, 0, 0, 0), ASSENT_DECODE_BAD_VALUE);
}

static enum assent_decode_fault command(int64_t branch, int64_t count, size_t service,
                                        const char *phase, int64_t deadline_ms, size_t kind,
                                        size_t payload)
{
        put_head(&bytes, COMMAND_V1, &txn_sample, 0);
        put_long(&bytes, branch);
        put_long(&bytes, count);
        put_letters(&bytes, service);
        put_text(&bytes, phase);
        put_long(&bytes, deadline_ms);
        put_letters(&bytes, kind);
        put_letters(&bytes, payload);
        return decode(codec, &bytes, &message);
}

FAULT(command_fields_have_limits)
{
        const int64_t late = (INT64_C(1) << 53) - 1;
        cr_assert_eq(command(0, 1, 1, "PREPARE", 0, 0, 0), ASSENT_DECODE_NONE);
        cr_assert_eq(command(65535, 65535, ASSENT_SERVICE_SIZE_MAX, "CAN_COMMIT", late,
                             ASSENT_KIND_SIZE_MAX, 9000),
                     ASSENT_DECODE_NONE);
        cr_assert_eq(command(65536, 1, 1, "PREPARE", 0, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(command(-1, 1, 1, "PREPARE", 0, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(command(0, 65536, 1, "PREPARE", 0, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(command(0, -1, 1, "PREPARE", 0, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(command(0, 1, 0, "PREPARE", 0, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(command(0, 1, ASSENT_SERVICE_SIZE_MAX + 1, "PREPARE", 0, 0, 0),
                     ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(command(0, 1, 1, "prepare", 0, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(command(0, 1, 1, "PREPARE", late + 1, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(command(0, 1, 1, "PREPARE", -late - 1, 0, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(command(0, 1, 1, "PREPARE", -late, 0, 0), ASSENT_DECODE_NONE);
        cr_assert_eq(command(0, 1, 1, "PREPARE", 0, ASSENT_KIND_SIZE_MAX + 1, 0),
                     ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(command(0, 1, 1, "COMMIT", 0, 0, 0), ASSENT_DECODE_NONE);
        cr_assert_eq(command(0, 1, 1, "COMMIT", 0, 1, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(command(0, 1, 1, "PRE_COMMIT", 0, 0, 1), ASSENT_DECODE_BAD_VALUE);
        command(0, 1, 1, "PREPARE", 0, 0, 0);
        bytes.data[10 + 33 + 3] = 'A'; /* the service's letter */
        IS(BAD_VALUE);
}

static enum assent_decode_fault reply(size_t service, const char *phase, const char *answer,
                                      size_t reason)
{
        put_head(&bytes, REPLY_V1, &txn_sample, 0);
        put_long(&bytes, 0);
        put_letters(&bytes, service);
        put_text(&bytes, phase);
        put_text(&bytes, answer);
        put_letters(&bytes, reason);
        return decode(codec, &bytes, &message);
}

FAULT(reply_fields_have_limits)
{
        cr_assert_eq(reply(ASSENT_SERVICE_SIZE_MAX, "PREPARE", "NO", ASSENT_REASON_SIZE_MAX),
                     ASSENT_DECODE_NONE);
        cr_assert_eq(reply(ASSENT_SERVICE_SIZE_MAX + 1, "PREPARE", "NO", 0),
                     ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(reply(0, "PREPARE", "NO", 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(reply(1, "PREPARE", "NO", ASSENT_REASON_SIZE_MAX + 1),
                     ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(reply(1, "PREPARE", "YES", 0), ASSENT_DECODE_NONE);
        cr_assert_eq(reply(1, "PREPARE", "YES", 1), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(reply(1, "PREPARE", "MAYBE", 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(reply(1, "VOTE", "YES", 0), ASSENT_DECODE_BAD_VALUE);
}

static enum assent_decode_fault outcome(const char *word, size_t reason, int64_t decided_at_ms,
                                        int64_t lane, int64_t offset)
{
        put_head(&bytes, OUTCOME_V1, &txn_sample, 0);
        put_text(&bytes, word);
        put_letters(&bytes, reason);
        put_long(&bytes, decided_at_ms);
        put_long(&bytes, lane);
        put_long(&bytes, offset);
        return decode(codec, &bytes, &message);
}

FAULT(outcome_fields_have_limits)
{
        const int64_t late = (INT64_C(1) << 53) - 1;
        cr_assert_eq(outcome("COMMITTED", ASSENT_REASON_SIZE_MAX, late, -1, -1),
                     ASSENT_DECODE_NONE);
        cr_assert_eq(outcome("COMMITTED", ASSENT_REASON_SIZE_MAX + 1, 0, -1, -1),
                     ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(outcome("COMMITTED", 0, late + 1, -1, -1), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(outcome("COMMITTED", 0, 0, 0, -1), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(outcome("COMMITTED", 0, 0, -1, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(outcome("COMMIT", 0, 0, -1, -1), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(outcome("REJECTED", 0, 0, 0, 0), ASSENT_DECODE_NONE);
        cr_assert_eq(outcome("REJECTED", 0, 0, -1, 0), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(outcome("REJECTED", 0, 0, 0, -1), ASSENT_DECODE_BAD_VALUE);
        cr_assert_eq(outcome("REJECTED", 0, 0, ASSENT_LANES_MAX - 1, INT64_MAX),
                     ASSENT_DECODE_NONE);
        cr_assert_eq(outcome("REJECTED", 0, 0, ASSENT_LANES_MAX, 0), ASSENT_DECODE_BAD_VALUE);
}
