/* order_event.h: an order as others see it: the JSON that GET answers, and the Avro record (schemas/order_event.v1.avsc)
 * that tells of each of its versions. Shared by who writes both (order) and who reads them (cache), so that they agree. */
#ifndef ASSENT_CONSUMERS_ORDER_EVENT_H
#define ASSENT_CONSUMERS_ORDER_EVENT_H

#include <avro.h>
#include <inttypes.h>
#include <stdlib.h>

#include "service.h"

#define ORDER_EVENT_TOPIC       "order.events"
#define ORDER_EVENT_FINGERPRINT UINT64_C(0x84184ec29f2ab493)
#define ORDER_EVENT_HEAD_SIZE   10 /* C3 01, fingerprint */
#define ORDER_EVENT_SIZE_MAX    16384 /* 100 lines of 64 bytes make 8 KiB */
#define ORDER_NOTE_SIZE_MAX     500

struct order_event {
        char order_id[SERVICE_NAME_SIZE_MAX + 1];
        char state[16]; /* PENDING, CONFIRMED, CANCELLED, DELETED */
        char customer[SERVICE_NAME_SIZE_MAX + 1];
        char note[ORDER_NOTE_SIZE_MAX + 1];
        int64_t version, total_cents, created_ms, updated_ms;
        struct assent_uuid txn_id;
        json_t *items; /* owned: [{"sku": …, "quantity": …}, …] */
};

static inline void order_event_clear(struct order_event *event)
{
        json_decref(event->items);
        event->items = NULL;
}

/* The representation of an order, of which the version is the entity tag. NULL: out of memory. */
static inline json_t *order_event_json(const struct order_event *event)
{
        char txn_id[ASSENT_UUID_TEXT_SIZE];

        assent_uuid_format(&event->txn_id, txn_id);
        return json_pack("{s:s, s:I, s:s, s:s, s:I, s:O, s:s, s:s, s:I, s:I}", "order_id", event->order_id, "version",
                         (json_int_t)event->version, "state", event->state, "customer", event->customer, "total_cents",
                         (json_int_t)event->total_cents, "items", event->items, "note", event->note, "txn_id", txn_id,
                         "created_ms", (json_int_t)event->created_ms, "updated_ms", (json_int_t)event->updated_ms);
}

/* The same as text. Ownership: the caller's, free. NULL: out of memory. */
static inline char *order_event_text(const struct order_event *event)
{
        json_t *json = order_event_json(event);
        char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

        json_decref(json);
        return text;
}

/* ---- Avro; a codec is used by one thread, for avro-c keeps its error texts in static memory ---- */

struct order_event_codec {
        avro_schema_t schema;
        avro_value_iface_t *class;
};

static inline void order_event_codec_close(struct order_event_codec *codec)
{
        if (codec->class)
                avro_value_iface_decref(codec->class);
        if (codec->schema)
                avro_schema_decref(codec->schema);
        *codec = (struct order_event_codec){0};
}

static inline enum assent_err order_event_codec_open(struct order_event_codec *codec)
{
        static const char schema[] =
#include <order_event.v1.avsc.inc>
            ;

        *codec = (struct order_event_codec){0};
        if (avro_schema_from_json_length(schema, sizeof schema - 1, &codec->schema) == 0)
                codec->class = avro_generic_class_from_schema(codec->schema);
        if (codec->class)
                return ASSENT_OK;
        order_event_codec_close(codec);
        return ASSENT_E_MEMORY; /* the schema is ours and parses */
}

static inline bool order_event_set_text(avro_value_t *record, const char *name, const char *text)
{
        avro_value_t field;
        return avro_value_get_by_name(record, name, &field, NULL) == 0 &&
               avro_value_set_string_len(&field, text, strlen(text) + 1) == 0;
}

static inline bool order_event_set_long(avro_value_t *record, const char *name, int64_t number)
{
        avro_value_t field;
        return avro_value_get_by_name(record, name, &field, NULL) == 0 && avro_value_set_long(&field, number) == 0;
}

static inline bool order_event_fill(avro_value_t *record, const struct order_event *event)
{
        struct assent_uuid txn_id = event->txn_id; /* avro-c asks for one that it may write to */
        avro_value_t field, item;
        size_t i;
        json_t *line;

        if (avro_value_get_by_name(record, "txn_id", &field, NULL) != 0 ||
            avro_value_set_fixed(&field, txn_id.bytes, sizeof txn_id.bytes) != 0 ||
            avro_value_get_by_name(record, "items", &field, NULL) != 0)
                return false;
        json_array_foreach(event->items, i, line)
        {
                if (avro_value_append(&field, &item, NULL) != 0 ||
                    !order_event_set_text(&item, "sku", json_string_value(json_object_get(line, "sku"))) ||
                    !order_event_set_long(&item, "quantity", json_integer_value(json_object_get(line, "quantity"))))
                        return false;
        }
        return order_event_set_text(record, "order_id", event->order_id) &&
               order_event_set_long(record, "version", event->version) &&
               order_event_set_text(record, "state", event->state) &&
               order_event_set_text(record, "customer", event->customer) &&
               order_event_set_long(record, "total_cents", event->total_cents) &&
               order_event_set_text(record, "note", event->note) &&
               order_event_set_long(record, "created_ms", event->created_ms) &&
               order_event_set_long(record, "updated_ms", event->updated_ms);
}

/* Encodes in single-object encoding. Ownership: out->data is the caller's, free.
 * Returns ASSENT_OK, ASSENT_E_MEMORY, ASSENT_E_LIMIT (longer than ORDER_EVENT_SIZE_MAX). */
static inline enum assent_err order_event_encode(const struct order_event_codec *codec, const struct order_event *event,
                                                 struct assent_bytes *out)
{
        avro_value_t record;
        avro_writer_t writer = NULL;
        uint8_t *data = NULL;
        size_t size = 0;
        enum assent_err err = ASSENT_E_MEMORY;

        if (avro_generic_value_new(codec->class, &record) != 0)
                return err;
        if (order_event_fill(&record, event) && avro_value_sizeof(&record, &size) == 0) {
                size += ORDER_EVENT_HEAD_SIZE;
                err = size > ORDER_EVENT_SIZE_MAX ? ASSENT_E_LIMIT : ASSENT_E_MEMORY;
                data = err == ASSENT_E_LIMIT ? NULL : malloc(size);
        }
        if (data)
                writer = avro_writer_memory((char *)data + ORDER_EVENT_HEAD_SIZE, (int64_t)(size - ORDER_EVENT_HEAD_SIZE));
        if (writer && avro_value_write(writer, &record) == 0) {
                data[0] = 0xc3;
                data[1] = 0x01;
                for (int i = 0; i < 8; i++)
                        data[2 + i] = (uint8_t)(ORDER_EVENT_FINGERPRINT >> 8 * i);
                *out = (struct assent_bytes){data, size};
                err = ASSENT_OK;
        } else {
                free(data);
        }
        if (writer)
                avro_writer_free(writer);
        avro_value_decref(&record);
        return err;
}

/* ---- and back; whoever may write to the topic may have written this ---- */

struct order_event_walk {
        const uint8_t *at, *end;
};

static inline bool order_event_walk_long(struct order_event_walk *walk, int64_t *out)
{
        uint64_t value = 0;

        for (int shift = 0; shift < 64 && walk->at < walk->end; shift += 7) {
                const uint64_t byte = *walk->at++;
                if (shift == 63 && byte > 1)
                        return false;
                value |= (byte & 0x7f) << shift;
                if (byte < 0x80) {
                        *out = (int64_t)(value >> 1 ^ (~(value & 1) + 1));
                        return true;
                }
        }
        return false;
}

static inline bool order_event_walk_fields(struct order_event_walk *walk, const char *shape);

/* No block with its size in bytes: our encoder writes none. */
static inline bool order_event_walk_items(struct order_event_walk *walk)
{
        int64_t count = 0;

        for (int64_t all = 0; order_event_walk_long(walk, &count); all += count) {
                if (count == 0)
                        return true;
                if (count < 0 || count > SERVICE_ITEMS_MAX - all)
                        return false;
                for (int64_t i = 0; i < count; i++)
                        if (!order_event_walk_fields(walk, "sl"))
                                return false;
        }
        return false;
}

/* Walks the body before avro-c sees it, for that believes every length. `shape`: s(tring), l(ong), f(ixed 16), i(tems). */
static inline bool order_event_walk_fields(struct order_event_walk *walk, const char *shape)
{
        for (; *shape; shape++) {
                int64_t number = 16;
                if (*shape == 'i' && !order_event_walk_items(walk))
                        return false;
                if ((*shape == 'l' || *shape == 's') && !order_event_walk_long(walk, &number))
                        return false;
                if (*shape != 's' && *shape != 'f')
                        continue;
                if (number < 0 || number > walk->end - walk->at)
                        return false;
                walk->at += number;
        }
        return true;
}

static inline bool order_event_get_text(const avro_value_t *record, const char *name, size_t least, size_t size_max, char *out)
{
        avro_value_t field;
        const char *text = NULL;
        size_t size = 0; /* with the NUL */

        if (avro_value_get_by_name(record, name, &field, NULL) != 0 || avro_value_get_string(&field, &text, &size) != 0 ||
            size <= least || size > size_max + 1 || strlen(text) != size - 1)
                return false;
        memcpy(out, text, size);
        return true;
}

static inline bool order_event_get_long(const avro_value_t *record, const char *name, int64_t least, int64_t most, int64_t *out)
{
        avro_value_t field;
        return avro_value_get_by_name(record, name, &field, NULL) == 0 && avro_value_get_long(&field, out) == 0 &&
               *out >= least && *out <= most;
}

static inline bool order_event_get_items(const avro_value_t *record, json_t *items)
{
        avro_value_t field, item;
        size_t count = 0;
        char sku[SERVICE_NAME_SIZE_MAX + 1];
        int64_t quantity;

        if (avro_value_get_by_name(record, "items", &field, NULL) != 0 || avro_value_get_size(&field, &count) != 0)
                return false;
        for (size_t i = 0; i < count; i++)
                if (avro_value_get_by_index(&field, i, &item, NULL) != 0 ||
                    !order_event_get_text(&item, "sku", 1, SERVICE_NAME_SIZE_MAX, sku) ||
                    !order_event_get_long(&item, "quantity", 1, SERVICE_QUANTITY_MAX, &quantity) ||
                    json_array_append_new(items, json_pack("{s:s, s:I}", "sku", sku, "quantity", (json_int_t)quantity)) != 0)
                        return false;
        return count > 0;
}

static inline bool order_event_get(const avro_value_t *record, struct order_event *out)
{
        avro_value_t field;
        const void *id = NULL;
        size_t size = 0;

        if (avro_value_get_by_name(record, "txn_id", &field, NULL) != 0 || avro_value_get_fixed(&field, &id, &size) != 0)
                return false;
        memcpy(out->txn_id.bytes, id, sizeof out->txn_id.bytes);
        return order_event_get_text(record, "order_id", 1, SERVICE_NAME_SIZE_MAX, out->order_id) &&
               order_event_get_long(record, "version", 1, INT64_MAX, &out->version) &&
               order_event_get_text(record, "state", 1, sizeof out->state - 1, out->state) &&
               order_event_get_text(record, "customer", 1, SERVICE_NAME_SIZE_MAX, out->customer) &&
               order_event_get_long(record, "total_cents", 1, SERVICE_CENTS_MAX, &out->total_cents) &&
               order_event_get_text(record, "note", 0, ORDER_NOTE_SIZE_MAX, out->note) &&
               order_event_get_long(record, "created_ms", 0, INT64_MAX, &out->created_ms) &&
               order_event_get_long(record, "updated_ms", 0, INT64_MAX, &out->updated_ms) &&
               order_event_get_items(record, out->items);
}

static inline bool order_event_words(const struct order_event *event)
{
        static const char *const states[] = {"PENDING", "CONFIRMED", "CANCELLED", "DELETED"};
        bool known = false;

        for (size_t i = 0; i < sizeof states / sizeof *states; i++)
                known |= strcmp(event->state, states[i]) == 0;
        if (!known)
                return false;
        char *text = order_event_text(event); /* NULL where a text is no UTF-8 */
        free(text);
        return text != NULL;
}

/* Ownership: *out is the caller's, order_event_clear, when this returns ASSENT_OK.
 * Returns ASSENT_OK, ASSENT_E_DECODE (not an order event, or one outside the limits), ASSENT_E_MEMORY. */
static inline enum assent_err order_event_decode(const struct order_event_codec *codec, struct assent_bytes bytes,
                                                 struct order_event *out)
{
        const uint8_t *data = bytes.data;
        struct order_event_walk walk = {data ? data + ORDER_EVENT_HEAD_SIZE : NULL, data ? data + bytes.size : NULL};
        avro_value_t record;
        bool good;

        if (bytes.size <= ORDER_EVENT_HEAD_SIZE || bytes.size > ORDER_EVENT_SIZE_MAX || data[0] != 0xc3 || data[1] != 0x01)
                return ASSENT_E_DECODE;
        for (int i = 0; i < 8; i++)
                if (data[2 + i] != (uint8_t)(ORDER_EVENT_FINGERPRINT >> 8 * i))
                        return ASSENT_E_DECODE;
        if (!order_event_walk_fields(&walk, "slsfslisll") || walk.at != walk.end)
                return ASSENT_E_DECODE;
        *out = (struct order_event){.items = json_array()};
        avro_reader_t reader =
            avro_reader_memory((const char *)data + ORDER_EVENT_HEAD_SIZE, (int64_t)(bytes.size - ORDER_EVENT_HEAD_SIZE));
        if (!out->items || !reader || avro_generic_value_new(codec->class, &record) != 0) {
                if (reader)
                        avro_reader_free(reader);
                order_event_clear(out);
                return ASSENT_E_MEMORY;
        }
        good = avro_value_read(reader, &record) == 0 && order_event_get(&record, out) && order_event_words(out);
        avro_value_decref(&record);
        avro_reader_free(reader);
        if (!good)
                order_event_clear(out);
        return good ? ASSENT_OK : ASSENT_E_DECODE;
}

#endif
