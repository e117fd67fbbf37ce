#include "codec/canonical.h"

#include <stdbool.h>
#include <string.h>

#include <jansson.h>

#include "base/panic.h"
#include "codec/codec.h"

/* "As the Avro specification defines it": the Rabin fingerprint of 64 bits, bit by bit; a schema is
 * hashed once. */
uint64_t assent_avro_fingerprint(const void *data, size_t size)
{
        const uint64_t empty = 0xc15d213aa4d7a795u;
        const uint8_t *bytes = data;
        uint64_t fingerprint = empty;
        for (size_t i = 0; i < size; i++) {
                fingerprint ^= bytes[i];
                for (int bit = 0; bit < 8; bit++)
                        fingerprint = (fingerprint >> 1) ^ (empty & -(fingerprint & 1));
        }
        return fingerprint;
}

struct form {
        char *text;
        size_t size, used;
        bool failed;
};

static void put(struct form *form, const char *text, size_t size)
{
        if (form->failed || size >= form->size - form->used) { /* one byte is the NUL's */
                form->failed = true;
                return;
        }
        memcpy(form->text + form->used, text, size);
        form->used += size;
}

static void put_text(struct form *form, const char *text)
{
        put(form, text, strlen(text));
}

static void put_quoted(struct form *form, const char *name)
{
        put_text(form, "\"");
        put_text(form, name);
        put_text(form, "\"");
}

/* `words` end with NULL. */
static bool is_one_of(const char *word, const char *const *words)
{
        while (*words && strcmp(*words, word) != 0)
                words++;
        return *words != NULL;
}

static const char *const primitives[] = {"null", "boolean", "int", "long", "float", "double", "bytes", "string", NULL};
static const char *const named[] = {"record", "error", "enum", "fixed", NULL};

static void put_full_name(struct form *form, const char *name, const char *space)
{
        put_text(form, "\"");
        if (!strchr(name, '.') && space[0] && !is_one_of(name, primitives)) {
                put_text(form, space);
                put_text(form, ".");
        }
        put_text(form, name);
        put_text(form, "\"");
}

static void put_schema(struct form *form, const json_t *schema, const char *space);

static const char *text_of(struct form *form, const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(object, key));
        if (!text)
                form->failed = true;
        return text ? text : "";
}

static void put_fields(struct form *form, const json_t *fields, const char *space)
{
        size_t i;
        json_t *field;
        if (!json_is_array(fields))
                form->failed = true;
        put_text(form, ",\"fields\":[");
        json_array_foreach(fields, i, field)
        {
                put_text(form, i > 0 ? ",{\"name\":" : "{\"name\":");
                put_quoted(form, text_of(form, field, "name"));
                put_text(form, ",\"type\":");
                put_schema(form, json_object_get(field, "type"), space);
                put_text(form, "}");
        }
        put_text(form, "]");
}

static void put_symbols(struct form *form, const json_t *symbols)
{
        size_t i;
        json_t *symbol;
        if (!json_is_array(symbols))
                form->failed = true;
        put_text(form, ",\"symbols\":[");
        json_array_foreach(symbols, i, symbol)
        {
                put_text(form, i > 0 ? "," : "");
                put_quoted(form, json_is_string(symbol) ? json_string_value(symbol) : "");
        }
        put_text(form, "]");
}

/* record, error, enum, fixed: the name's own dots win over "namespace", which wins over the
 * enclosing one. */
static void put_named(struct form *form, const json_t *schema, const char *type, const char *outer)
{
        char space[256] = "";
        const char *name = text_of(form, schema, "name");
        const char *own = json_string_value(json_object_get(schema, "namespace"));
        const char *dot = strrchr(name, '.');
        const char *from = dot ? name : own ? own : outer;
        size_t size = dot ? (size_t)(dot - name) : strlen(from);
        if (size >= sizeof space) {
                form->failed = true;
                return;
        }
        memcpy(space, from, size);

        put_text(form, "{\"name\":");
        put_full_name(form, name, space);
        put_text(form, ",\"type\":");
        put_quoted(form, type);
        if (strcmp(type, "enum") == 0)
                put_symbols(form, json_object_get(schema, "symbols"));
        else if (strcmp(type, "fixed") == 0) {
                char digits[24];
                snprintf(digits, sizeof digits, ",\"size\":%lld", json_integer_value(json_object_get(schema, "size")));
                put_text(form, digits);
        } else
                put_fields(form, json_object_get(schema, "fields"), space);
        put_text(form, "}");
}

static void put_object(struct form *form, const json_t *schema, const char *space)
{
        const json_t *inner = json_object_get(schema, "type");
        const char *type = json_string_value(inner);
        if (!type) { /* {"type": {…}} */
                put_schema(form, inner, space);
                return;
        }
        if (strcmp(type, "array") == 0 || strcmp(type, "map") == 0) {
                const char *key = type[0] == 'a' ? "items" : "values";
                put_text(form, "{\"type\":");
                put_quoted(form, type);
                put_text(form, type[0] == 'a' ? ",\"items\":" : ",\"values\":");
                put_schema(form, json_object_get(schema, key), space);
                put_text(form, "}");
        } else if (is_one_of(type, named)) {
                put_named(form, schema, type, space);
        } else {
                put_full_name(form, type, space); /* {"type": "int"} is "int" */
        }
}

static void put_schema(struct form *form, const json_t *schema, const char *space)
{
        size_t i;
        json_t *member;
        if (json_is_string(schema)) {
                put_full_name(form, json_string_value(schema), space);
        } else if (json_is_object(schema)) {
                put_object(form, schema, space);
        } else if (json_is_array(schema)) {
                put_text(form, "[");
                json_array_foreach(schema, i, member)
                {
                        put_text(form, i > 0 ? "," : "");
                        put_schema(form, member, space);
                }
                put_text(form, "]");
        } else {
                form->failed = true;
        }
}

size_t assent_schema_canonical(const char *json, char *text, size_t size)
{
        ASSENT_ASSERT(size > 0);
        json_t *schema = json_loads(json, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
        struct form form = {.text = text, .size = size, .failed = !schema};
        if (schema)
                put_schema(&form, schema, "");
        json_decref(schema);
        ASSENT_ASSERT(form.used < size);
        text[form.failed ? 0 : form.used] = '\0';
        return form.failed ? 0 : form.used;
}
