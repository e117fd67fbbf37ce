/* codec_bytes.h: for the codec's tests: records written by hand, byte by byte, and one sample of
 * each message. */
#ifndef TESTS_UNIT_CODEC_BYTES_H
#define TESTS_UNIT_CODEC_BYTES_H

#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "core/ids.h"

enum { RECORD_BYTES_MAX = 256 * 1024, BYTES_MAX = 2 * RECORD_BYTES_MAX, SAMPLES = 7 };

#define BEGIN_V1   UINT64_C(0xbd7d4fb6103472c3)
#define COMMAND_V1 UINT64_C(0x4e8fd061341af62d)
#define REPLY_V1   UINT64_C(0x0e44c06aaa66f2a0)
#define OUTCOME_V1 UINT64_C(0x56a4438ad7181cd4)
#define CONTROL_V1 UINT64_C(0x0239d76c6a031565)

struct bytes {
        size_t size;
        uint8_t data[BYTES_MAX];
};

static const struct assent_uuid txn_sample = {{0x01, 0x90, 0x16, 0x3d, 0x86, 0x94, 0x73, 0x9b, 0xae,
                                               0xa5, 0x96, 0x6c, 0x26, 0xf8, 0xad, 0x91}};
static const struct assent_uuid id_zero;

static inline void put_raw(struct bytes *bytes, const void *data, size_t size)
{
        if (size > BYTES_MAX - bytes->size)
                abort();
        memcpy(bytes->data + bytes->size, data, size);
        bytes->size += size;
}

static inline void put_byte(struct bytes *bytes, uint8_t byte)
{
        put_raw(bytes, &byte, 1);
}

static inline void put_long(struct bytes *bytes, int64_t number)
{
        uint64_t zigzag = ((uint64_t)number << 1) ^ (number < 0 ? UINT64_MAX : 0);
        for (; zigzag >= 0x80; zigzag >>= 7)
                put_byte(bytes, (uint8_t)(zigzag | 0x80));
        put_byte(bytes, (uint8_t)zigzag);
}

static inline void put_text(struct bytes *bytes, const char *text)
{
        put_long(bytes, (int64_t)strlen(text));
        put_raw(bytes, text, strlen(text));
}

/* A text or bytes field of `size` letters. */
static inline void put_letters(struct bytes *bytes, size_t size)
{
        put_long(bytes, (int64_t)size);
        while (size-- > 0)
                put_byte(bytes, 'a');
}

/* Marker, fingerprint, and the three fields that every record begins with. */
static inline void put_head(struct bytes *bytes, uint64_t schema, const struct assent_uuid *txn_id,
                            int64_t lamport)
{
        bytes->size = 0;
        put_raw(bytes, "\xc3\x01", 2);
        for (unsigned i = 0; i < 8; i++)
                put_byte(bytes, (uint8_t)(schema >> (8 * i)));
        put_raw(bytes, id_zero.bytes, sizeof id_zero.bytes);
        put_raw(bytes, txn_id->bytes, sizeof txn_id->bytes);
        put_long(bytes, lamport);
}

static inline void put_begin(struct bytes *bytes, const char *protocol, int64_t timeout_ms)
{
        put_head(bytes, BEGIN_V1, &txn_sample, 1);
        put_text(bytes, protocol);
        put_long(bytes, timeout_ms);
        put_byte(bytes, 0);
}

static inline enum assent_decode_fault decode(struct assent_codec *codec, const struct bytes *bytes,
                                              struct assent_message *message)
{
        return assent_codec_decode(
            codec, (struct assent_bytes){.data = bytes->data, .size = bytes->size}, message);
}

static inline struct assent_message sample(int index)
{
        static const struct assent_branch_request branches[] = {
            {{"order", 5}, {"create", 6}, {"{\"order\":42}", 12}},
            {{"payment", 7}, {"charge", 6}, {"\x00\xff\x10", 3}},
        };
        struct assent_message samples[SAMPLES] = {
            {.type = ASSENT_BEGIN,
             .lamport = 1,
             .body.begin = {.protocol = ASSENT_2PC,
                            .timeout_ms = 10000,
                            .notify_completed = true,
                            .branches_count = 2,
                            .branches = branches}},
            {.type = ASSENT_COMMAND,
             .lamport = 2,
             .body.command = {.branch = 1,
                              .branches_count = 2,
                              .service = {"payment", 7},
                              .phase = ASSENT_PREPARE,
                              .deadline_ms = 1718400010123,
                              .kind = {"charge", 6},
                              .payload = {"\x00\xff\x10", 3}}},
            {.type = ASSENT_REPLY,
             .lamport = 3,
             .body.reply = {.branch = 1,
                            .service = {"payment", 7},
                            .phase = ASSENT_PREPARE,
                            .answer = ASSENT_NO,
                            .reason = {"short of 99.00", 14}}},
            {.type = ASSENT_OUTCOME,
             .lamport = 4,
             .body.outcome = {.outcome = ASSENT_ABORTED,
                              .reason = {"short of 99.00", 14},
                              .decided_at_ms = 1718400000456,
                              .rejected_lane = -1,
                              .rejected_offset = -1}},
            {.type = ASSENT_OUTCOME,
             .lamport = 2,
             .body.outcome = {.outcome = ASSENT_REJECTED,
                              .reason = {"STALE", 5},
                              .decided_at_ms = 1718400000456,
                              .rejected_lane = 3,
                              .rejected_offset = 4711}},
            {.type = ASSENT_CONTROL,
             .lamport = 5,
             .body.control = {.kind = ASSENT_INQUIRE, .branch = 1, .attempt = 2}},
            {.type = ASSENT_CONTROL,
             .lamport = 0,
             .body.control = {.kind = ASSENT_SETTINGS,
                              .branch = ASSENT_NO_BRANCH,
                              .settings = {"rules=1 schema=1 lanes=4", 24}}},
        };
        if (index != SAMPLES - 1)
                samples[index].txn_id = txn_sample;
        assent_message_seal(&samples[index]);
        return samples[index];
}

#endif
