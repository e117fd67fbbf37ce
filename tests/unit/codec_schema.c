/* Canonical forms, fingerprints, and records of older and newer schemas. */
#include <criterion/criterion.h>

#include <signal.h>

#include "codec/canonical.h"
#include "codec/schema.h"
#include "codec_bytes.h"

static void check_form(const char *json, const char *expected)
{
        char form[1024];
        cr_assert_eq(assent_schema_canonical(json, form, sizeof form), strlen(expected), "%s",
                     json);
        cr_assert_str_eq(form, expected);
}

Test(codec_schema, fingerprint_of_published_vectors)
{
        cr_assert_eq(assent_avro_fingerprint("\"int\"", 5), UINT64_C(0x7275d51a3f395c8f));
        cr_assert_eq(assent_avro_fingerprint("\"null\"", 6), UINT64_C(7195948357588979594));
        cr_assert_eq(assent_avro_fingerprint("\"boolean\"", 9), UINT64_C(0x9f42fc78a4d4f764));
        cr_assert_eq(assent_avro_fingerprint("\"string\"", 8), UINT64_C(0x8f014872634503c7));
        cr_assert_eq(assent_avro_fingerprint("", 0), UINT64_C(0xc15d213aa4d7a795));
}

Test(codec_schema, canonical_primitives_lose_their_objects)
{
        check_form("\"null\"", "\"null\"");
        check_form(" {\"type\" : \"int\", \"doc\": \"x\"} ", "\"int\"");
        check_form("{\"type\":{\"type\":\"string\"}}", "\"string\"");
        check_form("[ \"null\", {\"type\":\"bytes\"} ]", "[\"null\",\"bytes\"]");
        check_form("{\"values\":\"int\",\"type\":\"map\"}",
                   "{\"type\":\"map\",\"values\":\"int\"}");
        check_form("{\"type\":\"array\",\"items\":\"foo\"}",
                   "{\"type\":\"array\",\"items\":\"foo\"}");
}

Test(codec_schema, canonical_names_become_full)
{
        check_form("{\"type\":\"fixed\",\"size\":16,\"namespace\":\"x.y\",\"name\":\"foo\","
                   "\"aliases\":[\"z\"]}",
                   "{\"name\":\"x.y.foo\",\"type\":\"fixed\",\"size\":16}");
        check_form(
            "{\"type\":\"enum\",\"namespace\":\"n\",\"name\":\"a.b.e\",\"symbols\":[\"B\",\"A\"]}",
            "{\"name\":\"a.b.e\",\"type\":\"enum\",\"symbols\":[\"B\",\"A\"]}");
        check_form(
            "{\"type\":\"record\",\"name\":\"r\",\"namespace\":\"n\",\"doc\":\"d\",\"fields\":["
            "{\"type\":{\"type\":\"fixed\",\"name\":\"f\",\"size\":2},\"name\":\"a\",\"default\":"
            "\"x\"},"
            "{\"name\":\"b\",\"type\":\"f\"}]}",
            "{\"name\":\"n.r\",\"type\":\"record\",\"fields\":[{\"name\":\"a\",\"type\":{\"name\":"
            "\"n.f\","
            "\"type\":\"fixed\",\"size\":2}},{\"name\":\"b\",\"type\":\"n.f\"}]}");
}

Test(codec_schema, canonical_of_what_is_no_schema_fails)
{
        char form[64];
        static const char *const wrong[] = {"",
                                            "{",
                                            "1",
                                            "null",
                                            "{\"name\":\"x\"}",
                                            "{\"type\":\"record\",\"fields\":[]}",
                                            "{\"type\":\"record\",\"name\":\"r\"}",
                                            "{\"type\":\"enum\",\"name\":\"e\"}",
                                            "{\"type\":\"array\"}",
                                            "[\"null\",2]"};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                cr_assert_eq(assent_schema_canonical(wrong[i], form, sizeof form), 0, "%s",
                             wrong[i]);
                cr_assert_str_eq(form, "");
        }
}

Test(codec_schema, canonical_fits_exactly_or_fails)
{
        char form[6];
        cr_assert_eq(assent_schema_canonical("\"int\"", form, 6), 5);
        cr_assert_str_eq(form, "\"int\"");
        cr_assert_eq(assent_schema_canonical("\"int\"", form, 5), 0);
        cr_assert_eq(assent_schema_canonical("\"int\"", form, 1), 0);
}

/* Released: these numbers never change, for they stand in every record ever written. */
Test(codec_schema, fingerprints_are_frozen)
{
        static const uint64_t frozen[ASSENT_SCHEMA_ROWS] = {BEGIN_V1, COMMAND_V1, REPLY_V1,
                                                            OUTCOME_V1, CONTROL_V1};
        for (size_t i = 0; i < ASSENT_SCHEMA_ROWS; i++) {
                char form[4096];
                size_t size =
                    assent_schema_canonical(assent_schema_rows[i].json, form, sizeof form);
                cr_assert_gt(size, 0);
                cr_assert_eq(assent_avro_fingerprint(form, size), frozen[i], "%s", form);
                cr_assert_eq(assent_schema_rows[i].fingerprint, frozen[i]);
        }
}

Test(codec_schema, an_edited_schema_stops_the_program, .signal = SIGABRT)
{
        struct assent_schema_row rows[ASSENT_SCHEMA_ROWS];
        memcpy(rows, assent_schema_rows, sizeof rows);
        rows[3].fingerprint ^= 1;
        assent_codec_open_rows(RECORD_BYTES_MAX, rows, ASSENT_SCHEMA_ROWS);
}

/* Schemas that never were: a reply of a day when it had no reason, and a control from a day when it
 * has more fields, other widths and another order. */
static const char reply_older[] =
    "{\"type\":\"record\",\"name\":\"assent.reply\",\"fields\":["
    "{\"name\":\"message_id\",\"type\":{\"type\":\"fixed\",\"name\":\"message_id\",\"size\":16}},"
    "{\"name\":\"txn_id\",\"type\":{\"type\":\"fixed\",\"name\":\"txn_id\",\"size\":16}},"
    "{\"name\":\"lamport\",\"type\":\"int\"},{\"name\":\"branch\",\"type\":\"int\"},"
    "{\"name\":\"service\",\"type\":\"string\"},{\"name\":\"phase\",\"type\":\"string\"},"
    "{\"name\":\"answer\",\"type\":\"string\"}]}";
static const char control_newer[] =
    "{\"type\":\"record\",\"name\":\"assent.control\",\"fields\":["
    "{\"name\":\"colour\",\"type\":\"string\"},{\"name\":\"kind\",\"type\":\"string\"},"
    "{\"name\":\"txn_id\",\"type\":{\"type\":\"fixed\",\"name\":\"txn_id\",\"size\":16}},"
    "{\"name\":\"loud\",\"type\":\"boolean\"},"
    "{\"name\":\"message_id\",\"type\":{\"type\":\"fixed\",\"name\":\"message_id\",\"size\":16}},"
    "{\"name\":\"lamport\",\"type\":\"long\"},{\"name\":\"reason\",\"type\":\"string\"},"
    "{\"name\":\"weight\",\"type\":\"bytes\"}]}";

static struct assent_schema_row row_of(enum assent_message_type type, const char *json)
{
        char form[4096];
        size_t size = assent_schema_canonical(json, form, sizeof form);
        return (struct assent_schema_row){type, assent_avro_fingerprint(form, size), json};
}

static struct assent_codec *open_with(struct assent_schema_row extra)
{
        static struct assent_schema_row rows[ASSENT_SCHEMA_ROWS + 1];
        rows[0] = extra; /* before the released ones, which go on being written */
        memcpy(rows + 1, assent_schema_rows, sizeof assent_schema_rows);
        return assent_codec_open_rows(RECORD_BYTES_MAX, rows, ASSENT_SCHEMA_ROWS + 1);
}

Test(codec_schema, older_record_takes_defaults)
{
        static struct bytes bytes;
        struct assent_message message;
        struct assent_schema_row row = row_of(ASSENT_REPLY, reply_older);
        struct assent_codec *codec = open_with(row);
        put_head(&bytes, row.fingerprint, &txn_sample, 7);
        put_long(&bytes, 2);
        put_text(&bytes, "payment");
        put_text(&bytes, "COMMIT");
        put_text(&bytes, "DONE");
        cr_assert_eq(decode(codec, &bytes, &message), ASSENT_DECODE_NONE);
        cr_assert_eq(message.type, ASSENT_REPLY);
        cr_assert_eq(message.lamport, 7);
        cr_assert_eq(message.body.reply.branch, 2);
        cr_assert_eq(message.body.reply.answer, ASSENT_DONE);
        cr_assert_eq(message.body.reply.reason.size, 0);
        assent_codec_close(codec);
}

Test(codec_schema, newer_record_is_read_by_name)
{
        static struct bytes bytes;
        struct assent_message message;
        struct assent_schema_row row = row_of(ASSENT_CONTROL, control_newer);
        struct assent_codec *codec = open_with(row);
        put_head(&bytes, row.fingerprint, &txn_sample, 0);
        bytes.size = 10;
        put_text(&bytes, "blue");
        put_text(&bytes, "CANCEL");
        put_raw(&bytes, txn_sample.bytes, 16);
        put_byte(&bytes, 1);
        put_raw(&bytes, txn_sample.bytes, 16);
        put_long(&bytes, 9);
        put_text(&bytes, "OVERLOAD");
        put_letters(&bytes, 300);
        cr_assert_eq(decode(codec, &bytes, &message), ASSENT_DECODE_NONE);
        cr_assert_eq(message.body.control.kind, ASSENT_CANCEL);
        cr_assert_eq(message.lamport, 9);
        cr_assert_eq(message.body.control.branch, ASSENT_NO_BRANCH);
        cr_assert_eq(message.body.control.attempt, 0);
        cr_assert_eq(message.body.control.settings.size, 0);
        cr_assert_eq(message.body.control.reason.size, 8);
        cr_assert_eq(memcmp(message.body.control.reason.data, "OVERLOAD", 8), 0);
        cr_assert_eq(memcmp(&message.txn_id, &txn_sample, 16), 0);
        assent_codec_close(codec);
}

Test(codec_schema, the_last_row_of_a_type_is_written)
{
        struct assent_message message = sample(2);
        struct assent_bytes record;
        struct assent_codec *codec = open_with(row_of(ASSENT_REPLY, reply_older));
        cr_assert_eq(assent_codec_encode(codec, &message, &record), ASSENT_OK);
        cr_assert_eq(((const uint8_t *)record.data)[2], REPLY_V1 & 0xff);
        assent_codec_close(codec);
}
