#include "codec/json.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/escape.h"
#include "base/panic.h"
#include "codec/columns.h"

enum { PAYLOAD_TEXT_SIZE_MAX = 256 };

/* A cut line would lie about the record; to be out of memory here loses nothing, since only people
 * read this. */
static void put_text(struct assent_buffer *json, const char *text)
{
        enum assent_err err = assent_buffer_text(json, text);
        ASSENT_ASSERT(err == ASSENT_OK);
}

static void put_string(struct assent_buffer *json, struct assent_bytes text)
{
        enum assent_err err = assent_buffer_json(json, text.data, text.size);
        ASSENT_ASSERT(err == ASSENT_OK);
}

/* UTF-8 without control characters (C0, DEL, C1). */
static bool is_printable(struct assent_bytes text)
{
        const uint8_t *bytes = text.data;
        char unit[ASSENT_ESCAPE_UNIT_MAX];
        size_t taken;
        for (size_t at = 0; at < text.size; at += taken) {
                assent_escape_json_unit(bytes + at, text.size - at, unit, &taken);
                if (taken == 1 && (bytes[at] < 0x20 || bytes[at] >= 0x7f))
                        return false;
                if (taken == 2 && bytes[at] == 0xc2 && bytes[at + 1] < 0xa0)
                        return false;
        }
        return true;
}

static void put_number(struct assent_buffer *json, int64_t number)
{
        char digits[24];
        snprintf(digits, sizeof digits, "%" PRId64, number);
        put_text(json, digits);
}

static void put_uuid(struct assent_buffer *json, const struct assent_uuid *id)
{
        char text[ASSENT_UUID_TEXT_SIZE];
        assent_uuid_format(id, text);
        put_string(json, assent_bytes_of(text));
}

static void put_key(struct assent_buffer *json, const char *name)
{
        if (assent_buffer_string(json)[json->size - 1] != '{')
                put_text(json, ",");
        put_string(json, assent_bytes_of(name));
        put_text(json, ":");
}

/* "payload_size":3,"payload":"abc" */
static void put_bytes(struct assent_buffer *json, const char *name, struct assent_bytes bytes)
{
        char key[32];
        int size = snprintf(key, sizeof key, "%s_size", name);
        ASSENT_ASSERT(size > 0 && (size_t)size < sizeof key);
        put_key(json, key);
        put_number(json, (int64_t)bytes.size);
        if (bytes.size > 0 && bytes.size <= PAYLOAD_TEXT_SIZE_MAX && is_printable(bytes)) {
                put_key(json, name);
                put_string(json, bytes);
        }
}

static void put_branches(struct assent_buffer *json, const struct assent_message *message);

static void put_columns(struct assent_buffer *json, struct assent_columns columns, const void *base)
{
        for (size_t i = 0; i < columns.count; i++) {
                const struct assent_column *column = &columns.columns[i];
                const void *at = (const char *)base + column->offset;
                if (column->kind == ASSENT_COLUMN_BYTES) {
                        put_bytes(json, column->name, *(const struct assent_bytes *)at);
                        continue;
                }
                if (column->kind == ASSENT_COLUMN_LIST) {
                        put_branches(json, base);
                        continue;
                }
                put_key(json, column->name);
                switch (column->kind) {
                case ASSENT_COLUMN_UUID:
                        put_uuid(json, at);
                        break;
                case ASSENT_COLUMN_NUMBER:
                        put_number(json, assent_column_number(column, base));
                        break;
                case ASSENT_COLUMN_FLAG:
                        put_text(json, *(const bool *)at ? "true" : "false");
                        break;
                case ASSENT_COLUMN_WORD:
                        put_string(json, assent_bytes_of(column->words->name(at)));
                        break;
                default:
                        ASSENT_ASSERT(column->kind == ASSENT_COLUMN_TEXT);
                        put_string(json, *(const struct assent_bytes *)at);
                }
        }
}

static void put_branches(struct assent_buffer *json, const struct assent_message *message)
{
        uint32_t count = message->body.begin.branches_count;
        put_key(json, "branches_count");
        put_number(json, count);
        put_key(json, "branches");
        put_text(json, "[");
        for (uint32_t i = 0; i < count && i < ASSENT_BRANCHES_MAX; i++) {
                put_text(json, i > 0 ? ",{" : "{");
                put_columns(json, assent_columns_of_branch(), &message->body.begin.branches[i]);
                put_text(json, "}");
        }
        put_text(json, "]");
}

const char *assent_json_message(struct assent_buffer *json, const struct assent_message *message)
{
        assent_buffer_clear(json);
        put_text(json, "{");
        put_key(json, "type");
        put_string(json, assent_bytes_of(assent_message_type_name(message->type)));
        put_columns(json, assent_columns_of(message->type), message);
        put_text(json, "}");
        return assent_buffer_string(json);
}
