/* The record that tells of an order: what is written is read again, and nothing else is. */
#include <criterion/criterion.h>

#include "../../consumers/order_event.h"
#include "codec/canonical.h"
#include "codec/codec.h"

static struct order_event_codec codec;
static struct order_event event;

static json_t *lines(int count)
{
        json_t *items = json_array();
        for (int i = 0; i < count; i++)
                json_array_append_new(items,
                                      json_pack("{s:s, s:I}", "sku", "lamp", "quantity", (json_int_t)SERVICE_QUANTITY_MAX));
        return items;
}

static void set_up(void)
{
        cr_assert_eq(order_event_codec_open(&codec), ASSENT_OK);
        event = (struct order_event){.order_id = "o-1",
                                     .state = "CONFIRMED",
                                     .customer = "alice",
                                     .note = "grün",
                                     .version = 2,
                                     .total_cents = 9900,
                                     .created_ms = 1,
                                     .updated_ms = INT64_C(1700000000000),
                                     .items = lines(2)};
        for (uint8_t i = 0; i < 16; i++)
                event.txn_id.bytes[i] = i;
}

static void tear_down(void)
{
        order_event_clear(&event);
        order_event_codec_close(&codec);
}

TestSuite(order_event, .init = set_up, .fini = tear_down);

static enum assent_err encode_and_decode(struct order_event *out)
{
        struct assent_bytes record = {0};
        cr_assert_eq(order_event_encode(&codec, &event, &record), ASSENT_OK);
        enum assent_err err = order_event_decode(&codec, record, out);
        free((void *)record.data);
        return err;
}

static void comes_back(void)
{
        struct order_event out;
        cr_assert_eq(encode_and_decode(&out), ASSENT_OK);
        char *was = order_event_text(&event), *is = order_event_text(&out);
        cr_expect_str_eq(is, was);
        free(was);
        free(is);
        order_event_clear(&out);
}

static void is_refused(void)
{
        struct order_event out;
        cr_expect_eq(encode_and_decode(&out), ASSENT_E_DECODE);
}

Test(order_event, fingerprint_is_that_of_the_schema)
{
        static const char schema[] =
#include <order_event.v1.avsc.inc>
            ;
        char form[4096];
        size_t size = assent_schema_canonical(schema, form, sizeof form);
        cr_assert_gt(size, 0);
        cr_assert_eq(assent_avro_fingerprint(form, size), ORDER_EVENT_FINGERPRINT);
}

Test(order_event, comes_back_as_it_was)
{
        comes_back();
        event.version = INT64_MAX;
        memset(event.order_id, 'o', SERVICE_NAME_SIZE_MAX);
        memset(event.customer, '~', SERVICE_NAME_SIZE_MAX);
        memset(event.note, 'n', ORDER_NOTE_SIZE_MAX);
        event.total_cents = SERVICE_CENTS_MAX;
        order_event_clear(&event);
        event.items = lines(SERVICE_ITEMS_MAX);
        comes_back();
        event.note[0] = '\0';
        comes_back();
}

Test(order_event, is_the_json_that_get_answers)
{
        char *text = order_event_text(&event);
        cr_assert_str_eq(text, "{\"order_id\":\"o-1\",\"version\":2,\"state\":\"CONFIRMED\",\"customer\":\"alice\","
                               "\"total_cents\":9900,\"items\":[{\"sku\":\"lamp\",\"quantity\":1000000000},"
                               "{\"sku\":\"lamp\",\"quantity\":1000000000}],\"note\":\"grün\","
                               "\"txn_id\":\"00010203-0405-0607-0809-0a0b0c0d0e0f\",\"created_ms\":1,"
                               "\"updated_ms\":1700000000000}");
        free(text);
}

Test(order_event, values_outside_their_limits_are_refused)
{
        const struct order_event good = event;
#define REFUSED(change)                           \
        do {                                      \
                change;                           \
                is_refused();                     \
                if (event.items != good.items)    \
                        json_decref(event.items); \
                event = good;                     \
        } while (0)
        REFUSED(event.version = 0);
        REFUSED(event.total_cents = 0);
        REFUSED(event.total_cents = SERVICE_CENTS_MAX + 1);
        REFUSED(event.created_ms = -1);
        REFUSED(event.order_id[0] = '\0');
        REFUSED(event.customer[0] = '\0');
        REFUSED(memcpy(event.state, "LOST", 5));
        REFUSED(memcpy(event.note, "\xff", 2));
        REFUSED(event.items = lines(0));
        REFUSED(event.items = lines(SERVICE_ITEMS_MAX + 1));
        REFUSED(event.items = json_pack("[{s:s, s:i}]", "sku", "a", "quantity", 0));
        comes_back();
}

/* Every record that is cut, grown or bent somewhere is refused or is a whole event; never more is read than there is. */
Test(order_event, damaged_records_are_judged)
{
        struct assent_bytes record = {0};
        cr_assert_eq(order_event_encode(&codec, &event, &record), ASSENT_OK);
        const size_t size = record.size;
        uint8_t *bytes = malloc(size + 1);
        struct order_event out;

        for (size_t cut = 0; cut < size; cut++) {
                uint8_t *exact = malloc(cut ? cut : 1); /* for the sanitizer: nothing behind it */
                memcpy(exact, record.data, cut);
                cr_expect_eq(order_event_decode(&codec, (struct assent_bytes){exact, cut}, &out), ASSENT_E_DECODE, "%zu", cut);
                free(exact);
        }
        memcpy(bytes, record.data, size);
        bytes[size] = 0;
        cr_expect_eq(order_event_decode(&codec, (struct assent_bytes){bytes, size + 1}, &out), ASSENT_E_DECODE);
        for (size_t at = 0; at < size; at++)
                for (int bit = 0; bit < 8; bit++) {
                        memcpy(bytes, record.data, size);
                        bytes[at] = (uint8_t)(bytes[at] ^ 1 << bit);
                        enum assent_err err = order_event_decode(&codec, (struct assent_bytes){bytes, size}, &out);
                        cr_expect(err == ASSENT_E_DECODE || (err == ASSENT_OK && at >= ORDER_EVENT_HEAD_SIZE), "%zu.%d", at,
                                  bit);
                        if (err == ASSENT_OK)
                                order_event_clear(&out);
                }
        free(bytes);
        free((void *)record.data);
}

Test(order_event, lengths_that_claim_too_much_are_refused)
{
        static const char *const bodies[] = {
            "\xfe\xff\xff\xff\x0f",                                 /* a text of 2 GiB */
            "\x01",                                                 /* of −1 byte */
            "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",             /* more than 64 bits */
            "\x02o\x02\x02P0123456789abcdef\x02" "a\x02\xfe\xff\xff\xff\x0f", /* so many lines */
            "\x02o\x02\x02P0123456789abcdef\x02" "a\x02\x01\x02",             /* a block that tells its size */
        };
        uint8_t bytes[64];
        struct order_event out;

        for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
                bytes[0] = 0xc3;
                bytes[1] = 0x01;
                for (int at = 0; at < 8; at++)
                        bytes[2 + at] = (uint8_t)(ORDER_EVENT_FINGERPRINT >> 8 * at);
                memcpy(bytes + ORDER_EVENT_HEAD_SIZE, bodies[i], strlen(bodies[i]));
                const struct assent_bytes record = {bytes, ORDER_EVENT_HEAD_SIZE + strlen(bodies[i])};
                cr_expect_eq(order_event_decode(&codec, record, &out), ASSENT_E_DECODE, "%zu", i);
        }
        uint8_t *huge = calloc(1, ORDER_EVENT_SIZE_MAX + 1);
        memcpy(huge, bytes, ORDER_EVENT_HEAD_SIZE);
        cr_expect_eq(order_event_decode(&codec, (struct assent_bytes){huge, ORDER_EVENT_SIZE_MAX + 1}, &out), ASSENT_E_DECODE);
        cr_expect_eq(order_event_decode(&codec, (struct assent_bytes){NULL, 0}, &out), ASSENT_E_DECODE);
        free(huge);
}
