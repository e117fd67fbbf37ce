/* fuzz_decode.c: any bytes as a record. Two codecs agree on the verdict; what decodes is encoded and decoded again to
 * an equal message, and the second encoding is the first, byte for byte; its JSON is JSON, of printable ASCII. */
#include <jansson.h>

#include "codec/schema.h"
#include "core/ids.h"
#include "fuzz.h"

enum { RECORD_BYTES_MAX = 4096, FRAME_SIZE = 10 };

static struct assent_codec *codec, *other;

/* avro-c keeps pointers where the leak checker does not look; at the end nothing may be left. */
static void done(void)
{
        assent_codec_close(codec);
        assent_codec_close(other);
}

static size_t framed(unsigned type, const uint8_t *body, size_t size, uint8_t *record)
{
        uint64_t fingerprint = assent_schema_rows[type].fingerprint;
        record[0] = 0xc3;
        record[1] = 0x01;
        for (unsigned i = 0; i < 8; i++)
                record[2 + i] = (uint8_t)(fingerprint >> (8 * i));
        memcpy(record + FRAME_SIZE, body, size);
        return FRAME_SIZE + size;
}

static bool same_branches(const struct assent_message *a, const struct assent_message *b)
{
        if (a->type != ASSENT_BEGIN)
                return true;
        for (uint32_t i = 0; i < a->body.begin.branches_count; i++) {
                const struct assent_branch_request *x = &a->body.begin.branches[i], *y = &b->body.begin.branches[i];
                if (!fuzz_same(x->service, y->service) || !fuzz_same(x->kind, y->kind) ||
                    !fuzz_same(x->payload, y->payload))
                        return false;
        }
        return true;
}

/* The digest is over every field of the body; the id and the Lamport time are not in it. */
static void same_message(const struct assent_message *a, const struct assent_message *b)
{
        ASSENT_ASSERT(a->type == b->type && a->lamport == b->lamport);
        ASSENT_ASSERT(memcmp(&a->message_id, &b->message_id, sizeof a->message_id) == 0);
        ASSENT_ASSERT(assent_message_digest(a) == assent_message_digest(b));
        ASSENT_ASSERT(same_branches(a, b));
}

static void json_line(const char *text, const struct assent_message *message)
{
        json_t *read = json_loads(text, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
        const char *type = json_string_value(json_object_get(read, "type"));
        const char *txn_id = json_string_value(json_object_get(read, "txn_id"));
        struct assent_uuid id;
        for (const char *at = text; *at; at++)
                ASSENT_ASSERT(*at >= ' ' && *at <= '~');
        ASSENT_ASSERT(type && strcmp(type, assent_message_type_name(message->type)) == 0);
        ASSENT_ASSERT(txn_id && assent_uuid_parse(txn_id, strlen(txn_id), &id) == ASSENT_OK);
        ASSENT_ASSERT(memcmp(&id, &message->txn_id, sizeof id) == 0);
        json_decref(read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static uint8_t record[RECORD_BYTES_MAX + FRAME_SIZE + 1], first[RECORD_BYTES_MAX];
        if (!codec) {
                codec = assent_codec_open(RECORD_BYTES_MAX);
                other = assent_codec_open(RECORD_BYTES_MAX);
                ASSENT_ASSERT(codec && other && atexit(done) == 0);
        }
        if (size == 0 || size > RECORD_BYTES_MAX + 1)
                return 0;
        /* The first byte is either a type, whose frame is put in front of the rest, or stands for nothing. */
        struct assent_bytes bytes = {record, size - 1};
        if (data[0] < ASSENT_SCHEMA_ROWS)
                bytes.size = framed(data[0], data + 1, size - 1, record);
        else
                memcpy(record, data + 1, size - 1);

        struct assent_message message, again;
        enum assent_decode_fault fault = assent_codec_decode(codec, bytes, &message);
        if (fault != ASSENT_DECODE_NONE) {
                ASSENT_ASSERT(assent_codec_decode(other, bytes, &again) == fault && *assent_decode_fault_name(fault));
                ASSENT_ASSERT(bytes.size <= RECORD_BYTES_MAX || fault == ASSENT_DECODE_TOO_LARGE);
                return 0;
        }
        ASSENT_ASSERT(bytes.size <= RECORD_BYTES_MAX && message.lamport <= ASSENT_LAMPORT_MAX);
        json_line(assent_codec_json(codec, &message), &message);
        assent_message_id_holds(&message);
        if (message.type == ASSENT_BEGIN && message.body.begin.branches_count > ASSENT_BRANCHES_MAX)
                return 0; /* R2 rejects it; it cannot be encoded */
        struct assent_bytes encoded;
        ASSENT_ASSERT(assent_codec_encode(codec, &message, &encoded) == ASSENT_OK && encoded.size <= bytes.size);
        memcpy(first, encoded.data, encoded.size);
        encoded.data = first;
        ASSENT_ASSERT(assent_codec_decode(other, encoded, &again) == ASSENT_DECODE_NONE);
        same_message(&message, &again);
        struct assent_bytes second;
        ASSENT_ASSERT(assent_codec_encode(other, &again, &second) == ASSENT_OK && fuzz_same(second, encoded));
        return 0;
}
