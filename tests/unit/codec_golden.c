/* The wire as it is, byte by byte: these records, ids and digests stand in schemas/README.md too,
 * where tests/tidy/tidy_schemas.py works them out again without this code. They never change. */
#include <criterion/criterion.h>

#include <stdio.h>

#include "codec_bytes.h"

static const struct {
        const char *record;
        uint64_t digest;
        const char *json;
} golden[SAMPLES] = {
    {"c301c3723410b64f7dbd4cde4b4a53a35b69815c5c7232a9ebed0190163d8694739baea5966c26f8ad91020632504"
     "3a09c01"
     "01040a6f726465720c637265617465187b226f72646572223a34327d0e7061796d656e740c6368617267650600ff1"
     "000",
     UINT64_C(0x2d828805aaf9b7bc),
     "{\"type\":\"BEGIN\",\"message_id\":\"4cde4b4a-53a3-5b69-815c-5c7232a9ebed\",\"txn_id\":"
     "\"0190163d-8694-739b-aea5-966c26f8ad91\","
     "\"lamport\":1,\"protocol\":\"2PC\",\"timeout_ms\":10000,\"notify_completed\":true,\"branches_"
     "count\":2,"
     "\"branches\":[{\"service\":\"order\",\"kind\":\"create\",\"payload_size\":12,\"payload\":\"{"
     "\\\"order\\\":42}\"},"
     "{\"service\":\"payment\",\"kind\":\"charge\",\"payload_size\":3}]}"},
    {"c3012df61a3461d08f4eb22772976c565ae2b8a178be77dad4020190163d8694739baea5966c26f8ad910402040e7"
     "061796d"
     "656e740e50524550415245969efa8983640c6368617267650600ff10",
     UINT64_C(0xa97e40ca9c034a74),
     "{\"type\":\"COMMAND\",\"message_id\":\"b2277297-6c56-5ae2-b8a1-78be77dad402\",\"txn_id\":"
     "\"0190163d-8694-739b-aea5-966c26f8ad91\","
     "\"lamport\":2,\"branch\":1,\"branches_count\":2,\"service\":\"payment\",\"phase\":"
     "\"PREPARE\","
     "\"deadline_ms\":1718400010123,\"kind\":\"charge\",\"payload_size\":3}"},
    {"c301a0f266aa6ac0440e9d0df4b7c5275924b2b6ee572b15c8e60190163d8694739baea5966c26f8ad9106020e706"
     "1796d65"
     "6e740e50524550415245044e4f1c73686f7274206f662039392e3030",
     UINT64_C(0xd784ea7f2722fef3),
     "{\"type\":\"REPLY\",\"message_id\":\"9d0df4b7-c527-5924-b2b6-ee572b15c8e6\",\"txn_id\":"
     "\"0190163d-8694-739b-aea5-966c26f8ad91\","
     "\"lamport\":3,\"branch\":1,\"service\":\"payment\",\"phase\":\"PREPARE\",\"answer\":\"NO\","
     "\"reason\":\"short of 99.00\"}"},
    {"c301d41c18d78a43a456cb54f9da929c5f8c9755fdb7d1ce1fe50190163d8694739baea5966c26f8ad91080e41424"
     "f525445"
     "441c73686f7274206f662039392e30309087f98983640101",
     UINT64_C(0x08cf712ebf54767b),
     "{\"type\":\"OUTCOME\",\"message_id\":\"cb54f9da-929c-5f8c-9755-fdb7d1ce1fe5\",\"txn_id\":"
     "\"0190163d-8694-739b-aea5-966c26f8ad91\","
     "\"lamport\":4,\"outcome\":\"ABORTED\",\"reason\":\"short of "
     "99.00\",\"decided_at_ms\":1718400000456,"
     "\"rejected_lane\":-1,\"rejected_offset\":-1}"},
    {"c301d41c18d78a43a456e31a60ec832b5422b5b9a490423969c50190163d8694739baea5966c26f8ad91041052454"
     "a454354"
     "45440a5354414c459087f989836406ce49",
     UINT64_C(0x1f6b69f8d22045b2),
     "{\"type\":\"OUTCOME\",\"message_id\":\"e31a60ec-832b-5422-b5b9-a490423969c5\",\"txn_id\":"
     "\"0190163d-8694-739b-aea5-966c26f8ad91\","
     "\"lamport\":2,\"outcome\":\"REJECTED\",\"reason\":\"STALE\",\"decided_at_ms\":1718400000456,"
     "\"rejected_lane\":3,\"rejected_offset\":4711}"},
    {"c3016515036a6cd73902e64bc1996f5f5de3a0fc4ba816884bf00190163d8694739baea5966c26f8ad910a0e494e5"
     "1554952"
     "4502040000",
     UINT64_C(0x9067d3c1ffabceeb),
     "{\"type\":\"CONTROL\",\"message_id\":\"e64bc199-6f5f-5de3-a0fc-4ba816884bf0\",\"txn_id\":"
     "\"0190163d-8694-739b-aea5-966c26f8ad91\","
     "\"lamport\":5,\"kind\":\"INQUIRE\",\"branch\":1,\"attempt\":2,\"reason\":\"\",\"settings\":"
     "\"\"}"},
    {"c3016515036a6cd739022bcc95bdf7d0537e81ada4ce8a951a0a00000000000000000000000000000000001053455"
     "454494e"
     "47530100003072756c65733d3120736368656d613d31206c616e65733d34",
     UINT64_C(0x7939d4de4ca894a1),
     "{\"type\":\"CONTROL\",\"message_id\":\"2bcc95bd-f7d0-537e-81ad-a4ce8a951a0a\",\"txn_id\":"
     "\"00000000-0000-0000-0000-000000000000\","
     "\"lamport\":0,\"kind\":\"SETTINGS\",\"branch\":-1,\"attempt\":0,\"reason\":\"\",\"settings\":"
     "\"rules=1 schema=1 lanes=4\"}"},
};

static struct assent_bytes unhex(const char *hex, uint8_t *out)
{
        size_t size = strlen(hex) / 2;
        for (size_t i = 0; i < size; i++) {
                unsigned byte = 0;
                sscanf(hex + 2 * i, "%2x", &byte);
                out[i] = (uint8_t)byte;
        }
        return (struct assent_bytes){.data = out, .size = size};
}

Test(codec_golden, every_sample_encodes_to_its_bytes)
{
        struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
        for (int i = 0; i < SAMPLES; i++) {
                uint8_t expected[512];
                struct assent_message message = sample(i);
                struct assent_bytes record, golden_record = unhex(golden[i].record, expected);
                cr_assert_eq(assent_codec_encode(codec, &message, &record), ASSENT_OK);
                cr_assert_eq(record.size, golden_record.size, "sample %d", i);
                cr_assert_eq(memcmp(record.data, expected, record.size), 0, "sample %d", i);
                cr_assert_eq(assent_message_digest(&message), golden[i].digest, "sample %d", i);
        }
        assent_codec_close(codec);
}

Test(codec_golden, every_record_decodes_to_its_message)
{
        struct assent_codec *codec = assent_codec_open(RECORD_BYTES_MAX);
        for (int i = 0; i < SAMPLES; i++) {
                uint8_t bytes[512];
                struct assent_message message;
                cr_assert_eq(assent_codec_decode(codec, unhex(golden[i].record, bytes), &message),
                             ASSENT_DECODE_NONE);
                cr_assert(assent_message_id_holds(&message), "sample %d", i);
                cr_assert_eq(assent_message_digest(&message), golden[i].digest, "sample %d", i);
                cr_assert_str_eq(assent_codec_json(codec, &message), golden[i].json);
        }
        assent_codec_close(codec);
}
