#include "codec/codec.h"

#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include <avro.h>

#include "base/escape.h"
#include "base/panic.h"
#include "codec/columns.h"
#include "codec/json.h"
#include "codec/pool.h"
#include "codec/schema.h"

enum {
        FRAME_SIZE = 10,            /* C3 01, fingerprint */
        SCHEMAS_MAX = 16,           /* enough for three versions of each */
        BODY_OVERHEAD_MAX = 4096,   /* of a body beside its texts and bytes: 64 branches of 3 lengths */
        JSON_OVERHEAD = 32 * 1024,  /* names and numbers, for 64 branches */
        POOL_OVERHEAD = 128 * 1024, /* avro-c's own structures, for 64 branches */
};

struct assent_codec {
        size_t record_bytes_max;
        struct assent_pool pool;
        /* Decoded into, one value per schema; a decoded message borrows from its value. */
        struct assent_schema schemas[SCHEMAS_MAX];
        avro_value_t values[SCHEMAS_MAX];
        size_t schemas_count;
        /* Encoded from, one value per type. */
        const struct assent_schema *writes[ASSENT_CONTROL + 1];
        avro_value_t written[ASSENT_CONTROL + 1];
        avro_reader_t reader;
        avro_writer_t writer;
        uint8_t *record;  /* record_bytes_max + BODY_OVERHEAD_MAX bytes, so that avro-c never fails */
        uint8_t *scratch; /* a begin's body cut to 64 branches: record_bytes_max + 16 bytes */
        struct assent_branch_request branches[ASSENT_BRANCHES_MAX];
        struct assent_buffer json;
};

const char *assent_decode_fault_name(enum assent_decode_fault fault)
{
        static const char *const names[] = {
#define X(name) #name,
            ASSENT_DECODE_FAULTS(X)
#undef X
        };
        return (unsigned)fault < ASSENT_DECODE_COUNT ? names[fault] : "?";
}

/* avro-c parses schemas with error texts in static memory, so one codec opens at a time. */
static once_flag open_once = ONCE_FLAG_INIT;
static mtx_t open_lock;

static void make_open_lock(void)
{
        int made = mtx_init(&open_lock, mtx_plain);
        ASSENT_ASSERT(made == thrd_success);
}

static void open_schemas(struct assent_codec *codec, const struct assent_schema_row *rows, size_t rows_count)
{
        ASSENT_ASSERT(rows_count <= SCHEMAS_MAX);
        for (size_t i = 0; i < rows_count; i++) {
                assent_schema_open(&codec->schemas[i], &rows[i]);
                int failed = avro_generic_value_new(codec->schemas[i].class, &codec->values[i]);
                ASSENT_ASSERT(!failed);
                codec->writes[rows[i].type] = &codec->schemas[i];
        }
        codec->schemas_count = rows_count;
        for (int type = ASSENT_BEGIN; type <= ASSENT_CONTROL; type++) {
                ASSENT_ASSERT(codec->writes[type]);
                ASSENT_ASSERT(codec->writes[type]->fields.count ==
                              assent_columns_of((enum assent_message_type)type).count);
                int failed = avro_generic_value_new(codec->writes[type]->class, &codec->written[type]);
                ASSENT_ASSERT(!failed);
        }
        codec->reader = avro_reader_memory("", 0);
        codec->writer = avro_writer_memory((const char *)codec->record, 0);
        ASSENT_ASSERT(codec->reader && codec->writer);
}

struct assent_codec *assent_codec_open_rows(size_t record_bytes_max, const struct assent_schema_row *rows,
                                            size_t rows_count)
{
        ASSENT_ASSERT(record_bytes_max > FRAME_SIZE && record_bytes_max <= INT32_MAX);
        struct assent_codec *codec = calloc(1, sizeof *codec);
        uint8_t *record = malloc(record_bytes_max + BODY_OVERHEAD_MAX);
        uint8_t *scratch = malloc(record_bytes_max + 16);
        if (!codec || !record || !scratch) {
                free(codec);
                free(record);
                free(scratch);
                return NULL;
        }
        codec->record_bytes_max = record_bytes_max;
        codec->record = record;
        codec->scratch = scratch;
        assent_buffer_init(&codec->json, ASSENT_ESCAPE_UNIT_MAX * record_bytes_max + JSON_OVERHEAD);
        assent_pool_install();
        assent_pool_init(&codec->pool, 4 * record_bytes_max + POOL_OVERHEAD);
        call_once(&open_once, make_open_lock);
        mtx_lock(&open_lock);
        assent_pool_enter(&codec->pool);
        open_schemas(codec, rows, rows_count);
        assent_pool_leave(&codec->pool);
        mtx_unlock(&open_lock);
        return codec;
}

struct assent_codec *assent_codec_open(size_t record_bytes_max)
{
        return assent_codec_open_rows(record_bytes_max, assent_schema_rows, ASSENT_SCHEMA_ROWS);
}

void assent_codec_close(struct assent_codec *codec)
{
        if (!codec)
                return;
        assent_pool_enter(&codec->pool);
        avro_reader_free(codec->reader);
        avro_writer_free(codec->writer);
        for (int type = ASSENT_BEGIN; type <= ASSENT_CONTROL; type++)
                avro_value_decref(&codec->written[type]);
        for (size_t i = 0; i < codec->schemas_count; i++) {
                avro_value_decref(&codec->values[i]);
                assent_schema_close(&codec->schemas[i]);
        }
        assent_pool_leave(&codec->pool);
        assent_pool_done(&codec->pool);
        assent_buffer_close(&codec->json);
        free(codec->record);
        free(codec->scratch);
        free(codec);
}

/* Decoding. After assent_schema_walk avro-c cannot fail but for want of memory, and a record is
 * never judged by that: the verdict must follow from the bytes (R15). So its failures are panics:
 * replay is safer than a guess. */

static struct assent_bytes read_text(avro_value_t *field)
{
        const char *text = NULL;
        size_t size = 0; /* the NUL included */
        int failed = avro_value_get_string(field, &text, &size);
        ASSENT_ASSERT(!failed && size > 0);
        return (struct assent_bytes){.data = text, .size = size - 1};
}

static bool read_field(const struct assent_column *column, avro_type_t wire, avro_value_t *field, void *base)
{
        void *at = (char *)base + column->offset;
        const void *data = "";
        size_t size = 0;
        int32_t number = 0;
        int64_t wide = 0;
        int flag = 0, failed = 0;
        bool good = true;
        switch (column->kind) {
        case ASSENT_COLUMN_UUID:
                failed = avro_value_get_fixed(field, &data, &size);
                ASSENT_ASSERT(failed || size == sizeof(struct assent_uuid));
                if (!failed)
                        memcpy(at, data, sizeof(struct assent_uuid));
                break;
        case ASSENT_COLUMN_NUMBER:
                if (wire == AVRO_INT32) {
                        failed = avro_value_get_int(field, &number);
                        wide = number;
                } else {
                        failed = avro_value_get_long(field, &wide);
                }
                good = assent_column_set_number(column, base, wide);
                break;
        case ASSENT_COLUMN_FLAG:
                failed = avro_value_get_boolean(field, &flag);
                *(bool *)at = flag != 0;
                break;
        case ASSENT_COLUMN_WORD:
                good = column->words->read(read_text(field), at);
                break;
        case ASSENT_COLUMN_TEXT: {
                struct assent_bytes text = read_text(field);
                good = text.size <= (uint64_t)column->max;
                *(struct assent_bytes *)at = text;
                break;
        }
        default:
                ASSENT_ASSERT(column->kind == ASSENT_COLUMN_BYTES);
                failed = avro_value_get_bytes(field, &data, &size);
                *(struct assent_bytes *)at = (struct assent_bytes){.data = size > 0 ? data : "", .size = size};
        }
        ASSENT_ASSERT(!failed);
        return good;
}

static void read_branches(struct assent_codec *codec, const struct assent_schema *schema, avro_value_t *list);

static bool read_record(struct assent_codec *codec, const struct assent_schema *schema,
                        const struct assent_fields *fields, struct assent_columns columns, avro_value_t *record,
                        void *base)
{
        for (size_t i = 0; i < columns.count; i++) {
                const struct assent_column *column = &columns.columns[i];
                avro_value_t field;
                int at = fields->at[i];
                if (at < 0) {
                        assent_column_set_absent(column, base);
                        continue;
                }
                int failed = avro_value_get_by_index(record, (size_t)at, &field, NULL);
                ASSENT_ASSERT(!failed);
                if (column->kind == ASSENT_COLUMN_LIST)
                        read_branches(codec, schema, &field);
                else if (!read_field(column, fields->wire[at].type, &field, base))
                        return false;
        }
        return true;
}

static void read_branches(struct assent_codec *codec, const struct assent_schema *schema, avro_value_t *list)
{
        size_t count = 0;
        int failed = avro_value_get_size(list, &count);
        ASSENT_ASSERT(!failed && count <= ASSENT_BRANCHES_MAX);
        for (size_t i = 0; i < count; i++) {
                avro_value_t item;
                failed = avro_value_get_by_index(list, i, &item, NULL);
                ASSENT_ASSERT(!failed);
                bool good =
                    read_record(codec, schema, &schema->items, assent_columns_of_branch(), &item, &codec->branches[i]);
                ASSENT_ASSERT(good); /* a branch's columns have no limits */
        }
}

static bool is_zero(const struct assent_uuid *id)
{
        static const struct assent_uuid zero;
        return memcmp(id, &zero, sizeof zero) == 0;
}

/* What no single column can say. Holds for everything that is decoded or encoded. */
static bool is_sound(const struct assent_message *message)
{
        bool of_lane = message->type == ASSENT_CONTROL &&
                       (message->body.control.kind == ASSENT_SETTINGS || message->body.control.kind == ASSENT_TICK);
        if (of_lane ? !is_zero(&message->txn_id) : !assent_txn_id_valid(&message->txn_id))
                return false;
        switch (message->type) {
        case ASSENT_COMMAND:
                return assent_service_valid(message->body.command.service) &&
                       (assent_phase_is_first(message->body.command.phase) ||
                        (message->body.command.kind.size == 0 && message->body.command.payload.size == 0));
        case ASSENT_REPLY:
                return assent_service_valid(message->body.reply.service) &&
                       (message->body.reply.answer == ASSENT_NO || message->body.reply.reason.size == 0);
        case ASSENT_OUTCOME:
                return message->body.outcome.outcome == ASSENT_REJECTED
                           ? message->body.outcome.rejected_lane >= 0 && message->body.outcome.rejected_offset >= 0
                           : message->body.outcome.rejected_lane == -1 && message->body.outcome.rejected_offset == -1;
        case ASSENT_CONTROL:
                return (message->body.control.kind == ASSENT_INQUIRE ||
                        message->body.control.branch == ASSENT_NO_BRANCH) &&
                       (message->body.control.kind == ASSENT_CANCEL || message->body.control.reason.size == 0) &&
                       (message->body.control.kind == ASSENT_SETTINGS || message->body.control.settings.size == 0);
        default:
                ASSENT_ASSERT(message->type == ASSENT_BEGIN);
                return true;
        }
}

static enum assent_decode_fault unframe(const struct assent_codec *codec, struct assent_bytes record, size_t *schema)
{
        const uint8_t *bytes = record.data;
        uint64_t fingerprint = 0;
        if (record.size == 0)
                return ASSENT_DECODE_EMPTY;
        if (record.size > codec->record_bytes_max)
                return ASSENT_DECODE_TOO_LARGE;
        if (bytes[0] != 0xc3 || (record.size > 1 && bytes[1] != 0x01))
                return ASSENT_DECODE_NO_MARKER;
        if (record.size < FRAME_SIZE)
                return ASSENT_DECODE_TRUNCATED;
        for (int i = FRAME_SIZE - 1; i >= 2; i--)
                fingerprint = fingerprint << 8 | bytes[i];
        for (size_t i = 0; i < codec->schemas_count; i++) {
                if (codec->schemas[i].row->fingerprint == fingerprint) {
                        *schema = i;
                        return ASSENT_DECODE_NONE;
                }
        }
        return ASSENT_DECODE_UNKNOWN_SCHEMA;
}

/* avro-c would make a value of every branch, however many; it is shown a body that has only the
 * first. */
static struct assent_bytes cut_branches(struct assent_codec *codec, const struct assent_schema *schema,
                                        struct assent_bytes body)
{
        struct assent_layout layout;
        uint8_t *to = codec->scratch;
        const uint8_t *from = body.data;
        size_t kept_size = 0;
        enum assent_decode_fault fault = assent_schema_walk(schema, body, &layout, 0, NULL, NULL);
        ASSENT_ASSERT(fault == ASSENT_DECODE_NONE && layout.items_count > ASSENT_BRANCHES_MAX);
        memcpy(to, from, layout.array_at);
        to += layout.array_at;
        *to++ = ((2 * ASSENT_BRANCHES_MAX) & 0x7f) | 0x80; /* the count as a zigzag varint of two bytes */
        *to++ = (2 * ASSENT_BRANCHES_MAX) >> 7;
        fault = assent_schema_walk(schema, body, &layout, ASSENT_BRANCHES_MAX, to, &kept_size);
        ASSENT_ASSERT(fault == ASSENT_DECODE_NONE);
        to += kept_size;
        *to++ = 0;
        memcpy(to, from + layout.array_end, body.size - layout.array_end);
        to += body.size - layout.array_end;
        ASSENT_ASSERT((size_t)(to - codec->scratch) <= codec->record_bytes_max);
        return (struct assent_bytes){.data = codec->scratch, .size = (size_t)(to - codec->scratch)};
}

enum assent_decode_fault assent_codec_decode(struct assent_codec *codec, struct assent_bytes record,
                                             struct assent_message *out)
{
        size_t at = 0;
        struct assent_layout layout;
        enum assent_decode_fault fault = unframe(codec, record, &at);
        if (fault)
                return fault;
        const struct assent_schema *schema = &codec->schemas[at];
        struct assent_bytes body = {.data = (const uint8_t *)record.data + FRAME_SIZE,
                                    .size = record.size - FRAME_SIZE};
        fault = assent_schema_walk(schema, body, &layout, 0, NULL, NULL);
        if (fault)
                return fault;
        if (layout.items_count > ASSENT_BRANCHES_MAX)
                body = cut_branches(codec, schema, body);

        assent_pool_enter(&codec->pool);
        avro_reader_memory_set_source(codec->reader, body.data, (int64_t)body.size);
        int failed = avro_value_read(codec->reader, &codec->values[at]);
        assent_pool_leave(&codec->pool);
        ASSENT_ASSERT(!failed);

        *out = (struct assent_message){.type = schema->row->type};
        if (!read_record(codec, schema, &schema->fields, assent_columns_of(out->type), &codec->values[at], out))
                return ASSENT_DECODE_BAD_VALUE;
        if (out->lamport > ASSENT_LAMPORT_MAX)
                out->lamport = ASSENT_LAMPORT_MAX;
        if (out->type == ASSENT_BEGIN) {
                out->body.begin.branches_count = (uint32_t)layout.items_count;
                out->body.begin.branches = codec->branches;
        }
        return is_sound(out) ? ASSENT_DECODE_NONE : ASSENT_DECODE_BAD_VALUE;
}

/* Encoding. Texts and bytes are lent to avro-c, not copied (its own copies grow at each use); it
 * reads the texts' bytes but never their NULs, so they need none. */

static void write_text(avro_value_t *field, const char *text, size_t size)
{
        avro_wrapped_buffer_t lent;
        int failed = avro_wrapped_buffer_new(&lent, size > 0 ? text : "", size + 1);
        failed |= avro_value_give_string_len(field, &lent);
        ASSENT_ASSERT(!failed);
}

static void write_field(const struct assent_column *column, avro_type_t wire, avro_value_t *field, const void *base)
{
        const void *at = (const char *)base + column->offset;
        const struct assent_bytes *bytes = at;
        avro_wrapped_buffer_t lent;
        int64_t number;
        int failed = 0;
        switch (column->kind) {
        case ASSENT_COLUMN_UUID:
                failed = avro_value_set_fixed(field, (void *)(uintptr_t)at, sizeof(struct assent_uuid));
                break;
        case ASSENT_COLUMN_NUMBER:
                number = assent_column_number(column, base);
                ASSENT_ASSERT(number >= column->min && number <= column->max);
                failed = wire == AVRO_INT32 ? avro_value_set_int(field, (int32_t)number)
                                            : avro_value_set_long(field, number);
                break;
        case ASSENT_COLUMN_FLAG:
                failed = avro_value_set_boolean(field, *(const bool *)at);
                break;
        case ASSENT_COLUMN_WORD: {
                const char *word = column->words->name(at);
                ASSENT_ASSERT(word[0] != '?');
                write_text(field, word, strlen(word));
                break;
        }
        case ASSENT_COLUMN_TEXT:
                ASSENT_ASSERT(bytes->size <= (uint64_t)column->max);
                write_text(field, bytes->data, bytes->size);
                break;
        default:
                ASSENT_ASSERT(column->kind == ASSENT_COLUMN_BYTES);
                failed = avro_wrapped_buffer_new(&lent, bytes->size > 0 ? bytes->data : "", bytes->size);
                failed |= avro_value_give_bytes(field, &lent);
        }
        ASSENT_ASSERT(!failed);
}

static void write_branches(const struct assent_message *message, const struct assent_schema *schema,
                           avro_value_t *list);

static void write_record(const struct assent_message *message, const struct assent_schema *schema,
                         const struct assent_fields *fields, struct assent_columns columns, avro_value_t *record,
                         const void *base)
{
        for (size_t i = 0; i < columns.count; i++) {
                const struct assent_column *column = &columns.columns[i];
                avro_value_t field;
                int at = fields->at[i];
                ASSENT_ASSERT(at >= 0);
                int failed = avro_value_get_by_index(record, (size_t)at, &field, NULL);
                ASSENT_ASSERT(!failed);
                if (column->kind == ASSENT_COLUMN_LIST)
                        write_branches(message, schema, &field);
                else
                        write_field(column, fields->wire[at].type, &field, base);
        }
}

static void write_branches(const struct assent_message *message, const struct assent_schema *schema, avro_value_t *list)
{
        ASSENT_ASSERT(message->body.begin.branches_count <= ASSENT_BRANCHES_MAX);
        int failed = avro_value_reset(list);
        ASSENT_ASSERT(!failed);
        for (uint32_t i = 0; i < message->body.begin.branches_count; i++) {
                avro_value_t item;
                failed = avro_value_append(list, &item, NULL);
                ASSENT_ASSERT(!failed);
                write_record(message, schema, &schema->items, assent_columns_of_branch(), &item,
                             &message->body.begin.branches[i]);
        }
}

/* The bytes of texts and payloads: when they fit, BODY_OVERHEAD_MAX covers the rest. */
static bool variable_parts_fit(const struct assent_message *message, size_t size_max)
{
        struct assent_columns columns = assent_columns_of(message->type);
        uint64_t left = size_max;
        for (size_t i = 0; i < columns.count; i++) {
                const struct assent_bytes *bytes = (const void *)((const char *)message + columns.columns[i].offset);
                if (columns.columns[i].kind != ASSENT_COLUMN_TEXT && columns.columns[i].kind != ASSENT_COLUMN_BYTES)
                        continue;
                if (bytes->size > left)
                        return false;
                left -= bytes->size;
        }
        for (uint32_t i = 0; message->type == ASSENT_BEGIN && i < message->body.begin.branches_count; i++) {
                const struct assent_branch_request *branch = &message->body.begin.branches[i];
                const size_t sizes[] = {branch->service.size, branch->kind.size, branch->payload.size};
                for (size_t part = 0; part < 3; part++) {
                        if (sizes[part] > left)
                                return false;
                        left -= sizes[part];
                }
        }
        return true;
}

enum assent_err assent_codec_encode(struct assent_codec *codec, const struct assent_message *message,
                                    struct assent_bytes *out)
{
        ASSENT_ASSERT(is_sound(message));
        struct assent_message clamped = *message;
        if (clamped.lamport > ASSENT_LAMPORT_MAX)
                clamped.lamport = ASSENT_LAMPORT_MAX;
        if (!variable_parts_fit(message, codec->record_bytes_max))
                return ASSENT_E_TOO_LARGE;

        const struct assent_schema *schema = codec->writes[message->type];
        avro_value_t *value = &codec->written[message->type];
        codec->record[0] = 0xc3;
        codec->record[1] = 0x01;
        for (unsigned i = 0; i < 8; i++)
                codec->record[2 + i] = (uint8_t)(schema->row->fingerprint >> (8 * i));
        assent_pool_enter(&codec->pool);
        write_record(message, schema, &schema->fields, assent_columns_of(message->type), value, &clamped);
        avro_writer_memory_set_dest(codec->writer, (const char *)codec->record + FRAME_SIZE,
                                    (int64_t)(codec->record_bytes_max + BODY_OVERHEAD_MAX - FRAME_SIZE));
        int failed = avro_value_write(codec->writer, value);
        assent_pool_leave(&codec->pool);
        ASSENT_ASSERT(!failed);
        size_t size = FRAME_SIZE + (size_t)avro_writer_tell(codec->writer);
        if (size > codec->record_bytes_max)
                return ASSENT_E_TOO_LARGE;
        *out = (struct assent_bytes){.data = codec->record, .size = size};
        return ASSENT_OK;
}

const char *assent_codec_json(struct assent_codec *codec, const struct assent_message *message)
{
        return assent_json_message(&codec->json, message);
}
