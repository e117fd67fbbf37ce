#include "codec/schema.h"

#include <string.h>

#include "base/panic.h"
#include "codec/canonical.h"

const struct assent_schema_row assent_schema_rows[ASSENT_SCHEMA_ROWS] = {
    {
        ASSENT_BEGIN,
        0xbd7d4fb6103472c3,
#include "begin.v1.avsc.inc"
    },
    {
        ASSENT_COMMAND,
        0x4e8fd061341af62d,
#include "command.v1.avsc.inc"
    },
    {
        ASSENT_REPLY,
        0x0e44c06aaa66f2a0,
#include "reply.v1.avsc.inc"
    },
    {
        ASSENT_OUTCOME,
        0x56a4438ad7181cd4,
#include "outcome.v1.avsc.inc"
    },
    {
        ASSENT_CONTROL,
        0x0239d76c6a031565,
#include "control.v1.avsc.inc"
    },
};

static avro_type_t wire_of(enum assent_column_kind kind)
{
        static const avro_type_t of[] = {
            [ASSENT_COLUMN_UUID] = AVRO_FIXED,   [ASSENT_COLUMN_NUMBER] = AVRO_INT64,
            [ASSENT_COLUMN_FLAG] = AVRO_BOOLEAN, [ASSENT_COLUMN_TEXT] = AVRO_STRING,
            [ASSENT_COLUMN_WORD] = AVRO_STRING,  [ASSENT_COLUMN_BYTES] = AVRO_BYTES,
            [ASSENT_COLUMN_LIST] = AVRO_ARRAY,
        };
        return of[kind];
}

/* Field indexes by name, once per schema; and that every field has the type its column wants. */
static void resolve(struct assent_fields *fields, avro_schema_t record, struct assent_columns columns)
{
        fields->count = avro_schema_record_size(record);
        ASSENT_ASSERT(fields->count > 0 && fields->count <= ASSENT_FIELDS_MAX);
        for (size_t i = 0; i < fields->count; i++) {
                avro_schema_t field = avro_schema_record_field_get_by_index(record, (int)i);
                fields->wire[i].type = avro_typeof(field);
                if (is_avro_fixed(field)) {
                        int64_t size = avro_schema_fixed_size(field);
                        ASSENT_ASSERT(size > 0);
                        fields->wire[i].size = (size_t)size;
                }
        }
        ASSENT_ASSERT(columns.count <= ASSENT_COLUMNS_MAX);
        for (size_t i = 0; i < columns.count; i++) {
                const struct assent_column *column = &columns.columns[i];
                int at = avro_schema_record_field_get_index(record, column->name);
                fields->at[i] = at;
                ASSENT_ASSERT(at >= 0 || column->absent != ASSENT_COLUMN_REQUIRED);
                if (at < 0)
                        continue;
                avro_type_t wire = fields->wire[at].type;
                ASSENT_ASSERT(wire == wire_of(column->kind) ||
                              (wire == AVRO_INT32 && column->kind == ASSENT_COLUMN_NUMBER));
                ASSENT_ASSERT(wire != AVRO_FIXED || fields->wire[at].size == sizeof(struct assent_uuid));
        }
}

void assent_schema_open(struct assent_schema *schema, const struct assent_schema_row *row)
{
        char form[4096];
        size_t size = assent_schema_canonical(row->json, form, sizeof form);
        ASSENT_ASSERT(size > 0);
        ASSENT_ASSERT(assent_avro_fingerprint(form, size) == row->fingerprint); /* a released schema was edited */

        *schema = (struct assent_schema){.row = row};
        int failed = avro_schema_from_json_length(row->json, strlen(row->json), &schema->avro);
        ASSENT_ASSERT(!failed && is_avro_record(schema->avro));
        resolve(&schema->fields, schema->avro, assent_columns_of(row->type));
        for (size_t i = 0; i < schema->fields.count; i++) {
                if (schema->fields.wire[i].type != AVRO_ARRAY)
                        continue;
                avro_schema_t items =
                    avro_schema_array_items(avro_schema_record_field_get_by_index(schema->avro, (int)i));
                ASSENT_ASSERT(is_avro_record(items) && schema->items.count == 0);
                resolve(&schema->items, items, assent_columns_of_branch());
        }
        schema->class = avro_generic_class_from_schema(schema->avro);
        ASSENT_ASSERT(schema->class);
}

void assent_schema_close(struct assent_schema *schema)
{
        avro_value_iface_decref(schema->class);
        avro_schema_decref(schema->avro);
}

struct cursor {
        const uint8_t *at, *end;
        enum assent_decode_fault fault;
};

static bool fail(struct cursor *cursor, enum assent_decode_fault fault)
{
        cursor->fault = fault;
        return false;
}

static bool skip(struct cursor *cursor, uint64_t size)
{
        if (size > (uint64_t)(cursor->end - cursor->at))
                return fail(cursor, ASSENT_DECODE_TRUNCATED);
        cursor->at += size;
        return true;
}

/* Zigzag varint of at most ten bytes and 64 bits. */
static bool walk_long(struct cursor *cursor, int64_t *out)
{
        uint64_t zigzag = 0;
        for (unsigned shift = 0; shift < 70; shift += 7) {
                if (cursor->at == cursor->end)
                        return fail(cursor, ASSENT_DECODE_TRUNCATED);
                uint8_t byte = *cursor->at++;
                if (shift == 63 && byte > 1)
                        return fail(cursor, ASSENT_DECODE_BAD_BODY);
                zigzag |= (uint64_t)(byte & 0x7f) << shift;
                if (byte < 0x80) {
                        *out = (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
                        return true;
                }
        }
        return fail(cursor, ASSENT_DECODE_BAD_BODY);
}

static bool walk_field(struct cursor *cursor, avro_type_t type, size_t fixed_size)
{
        int64_t number;
        switch (type) {
        case AVRO_BOOLEAN:
                if (!skip(cursor, 1))
                        return false;
                return cursor->at[-1] <= 1 || fail(cursor, ASSENT_DECODE_BAD_BODY);
        case AVRO_INT32:
                if (!walk_long(cursor, &number))
                        return false;
                return (number >= INT32_MIN && number <= INT32_MAX) || fail(cursor, ASSENT_DECODE_BAD_BODY);
        case AVRO_INT64:
                return walk_long(cursor, &number);
        case AVRO_STRING:
        case AVRO_BYTES:
                if (!walk_long(cursor, &number))
                        return false;
                return number >= 0 ? skip(cursor, (uint64_t)number) : fail(cursor, ASSENT_DECODE_BAD_BODY);
        default:
                ASSENT_ASSERT(type == AVRO_FIXED);
                return skip(cursor, fixed_size);
        }
}

/* A block is a count and its items; a negative count is followed by the items' size in bytes. An
 * item has at least one byte, so a count is bounded by the bytes that are left. */
static bool walk_block(struct cursor *cursor, uint64_t *count, int64_t *size)
{
        int64_t number;
        if (!walk_long(cursor, &number))
                return false;
        *size = -1;
        if (number < 0) {
                if (number == INT64_MIN)
                        return fail(cursor, ASSENT_DECODE_BAD_BODY);
                number = -number;
                if (!walk_long(cursor, size))
                        return false;
                if (*size < 0)
                        return fail(cursor, ASSENT_DECODE_BAD_BODY);
        }
        if (number > cursor->end - cursor->at || *size > cursor->end - cursor->at)
                return fail(cursor, ASSENT_DECODE_TRUNCATED);
        *count = (uint64_t)number;
        return true;
}

struct keep {
        uint64_t items_max;
        uint8_t *to; /* NULL: only look */
        size_t size;
};

static bool walk_array(const struct assent_fields *items, struct cursor *cursor, uint64_t *items_count,
                       struct keep *keep)
{
        for (;;) {
                uint64_t count;
                int64_t size;
                if (!walk_block(cursor, &count, &size))
                        return false;
                if (count == 0)
                        return true;
                const uint8_t *block = cursor->at;
                for (uint64_t i = 0; i < count; i++) {
                        const uint8_t *item = cursor->at;
                        for (size_t f = 0; f < items->count; f++) {
                                if (!walk_field(cursor, items->wire[f].type, items->wire[f].size))
                                        return false;
                        }
                        if (keep->to && *items_count + i < keep->items_max) {
                                memcpy(keep->to + keep->size, item, (size_t)(cursor->at - item));
                                keep->size += (size_t)(cursor->at - item);
                        }
                }
                if (size >= 0 && cursor->at - block != size)
                        return fail(cursor, ASSENT_DECODE_BAD_BODY);
                *items_count += count;
        }
}

enum assent_decode_fault assent_schema_walk(const struct assent_schema *schema, struct assent_bytes body,
                                            struct assent_layout *layout, uint64_t kept_max, uint8_t *kept,
                                            size_t *kept_size)
{
        const uint8_t *start = body.data;
        struct cursor cursor = {.at = start, .end = start + body.size, .fault = ASSENT_DECODE_NONE};
        struct keep keep = {.items_max = kept_max, .to = kept};
        *layout = (struct assent_layout){0};
        for (size_t i = 0; i < schema->fields.count; i++) {
                if (schema->fields.wire[i].type == AVRO_ARRAY) {
                        layout->array_at = (size_t)(cursor.at - start);
                        if (!walk_array(&schema->items, &cursor, &layout->items_count, &keep))
                                return cursor.fault;
                        layout->array_end = (size_t)(cursor.at - start);
                } else if (!walk_field(&cursor, schema->fields.wire[i].type, schema->fields.wire[i].size)) {
                        return cursor.fault;
                }
        }
        if (kept_size)
                *kept_size = keep.size;
        return cursor.at == cursor.end ? ASSENT_DECODE_NONE : ASSENT_DECODE_TRAILING_BYTES;
}
