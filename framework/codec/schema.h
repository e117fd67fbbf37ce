/* schema.h: the schemas that this build reads and writes, as tables and as avro-c has them. */
#ifndef ASSENT_CODEC_SCHEMA_H
#define ASSENT_CODEC_SCHEMA_H

#include <avro.h>

#include "codec/codec.h"
#include "codec/columns.h"

/* One released schema file. A new version of a type is one more row below the older ones. */
struct assent_schema_row {
        enum assent_message_type type;
        uint64_t fingerprint;
        const char *json;
};
enum { ASSENT_SCHEMA_ROWS = 5 };
extern const struct assent_schema_row assent_schema_rows[ASSENT_SCHEMA_ROWS];

/* As assent_codec_open, with other schemas; `rows` are borrowed until the close. Of each type the
 * last row is the one that is written; every type has one. */
struct assent_codec *assent_codec_open_rows(size_t record_bytes_max, const struct assent_schema_row *rows,
                                            size_t rows_count);

enum { ASSENT_FIELDS_MAX = 16 };

/* A record's fields in the writer's order, and for each column the field that holds it, or -1. */
struct assent_fields {
        size_t count;
        struct {
                avro_type_t type;
                size_t size; /* AVRO_FIXED */
        } wire[ASSENT_FIELDS_MAX];
        int at[ASSENT_COLUMNS_MAX];
};

struct assent_schema {
        const struct assent_schema_row *row;
        avro_schema_t avro;
        avro_value_iface_t *class;
        struct assent_fields fields;
        struct assent_fields items; /* of the one array, where there is one */
};

/* Makes *schema from its row. Our own schemas are the only ones: what does not fit is a bug, so it
 * panics. */
void assent_schema_open(struct assent_schema *schema, const struct assent_schema_row *row);
void assent_schema_close(struct assent_schema *schema);

/* What a look at a body's structure finds. */
struct assent_layout {
        uint64_t items_count;       /* in the array */
        size_t array_at, array_end; /* where it lies in the body, block counts included */
};

/* Walks a body by the writer's schema: every length, count and block against the bytes that are
 * left, every varint against its type. Only a body that passes is shown to avro-c, which believes
 * what it reads, leaks when it ends early, and keeps error texts in static memory. Returns NONE,
 * TRUNCATED, BAD_BODY or TRAILING_BYTES. If `kept` is not NULL, the array's first `kept_max` items
 * are copied there (never more than the body's bytes) and *kept_size is set. */
enum assent_decode_fault assent_schema_walk(const struct assent_schema *schema, struct assent_bytes body,
                                            struct assent_layout *layout, uint64_t kept_max, uint8_t *kept,
                                            size_t *kept_size);

#endif
