/* columns.h: one row per field of a message: its name on the wire, where it stands in the C struct,
 * what it may hold, and what it is taken to be where the writer's schema does not have it. Decoder
 * and encoder both run on these tables. */
#ifndef ASSENT_CODEC_COLUMNS_H
#define ASSENT_CODEC_COLUMNS_H

#include "core/message.h"

enum assent_column_kind {
        ASSENT_COLUMN_UUID,   /* fixed(16) */
        ASSENT_COLUMN_NUMBER, /* int or long */
        ASSENT_COLUMN_FLAG,   /* boolean */
        ASSENT_COLUMN_TEXT,   /* string */
        ASSENT_COLUMN_WORD,   /* string, one of a fixed set */
        ASSENT_COLUMN_BYTES,  /* bytes */
        ASSENT_COLUMN_LIST,   /* array of the begin's branches */
};

struct assent_words {
        bool (*read)(struct assent_bytes text, void *out);
        const char *(*name)(const void *in);
};

#define ASSENT_COLUMN_REQUIRED INT64_MIN

struct assent_column {
        const char *name;
        enum assent_column_kind kind;
        size_t offset;
        uint8_t width;    /* NUMBER: bytes in the struct */
        int64_t min, max; /* NUMBER: the domain; TEXT: bytes */
        int64_t absent;   /* the value where the writer's schema has no such field: NUMBER, FLAG, WORD
                           * (its number); TEXT and BYTES are then empty; ASSENT_COLUMN_REQUIRED:
                           * every schema has it */
        const struct assent_words *words;
};

struct assent_columns {
        const struct assent_column *columns;
        size_t count;
};

enum { ASSENT_COLUMNS_MAX = 12 };

/* The columns of a message type, of struct assent_message; and of a begin's branch, of struct
 * assent_branch_request. */
struct assent_columns assent_columns_of(enum assent_message_type type);
struct assent_columns assent_columns_of_branch(void);

int64_t assent_column_number(const struct assent_column *column, const void *base);
/* False: outside the column's domain; nothing is stored. */
bool assent_column_set_number(const struct assent_column *column, void *base, int64_t number);
/* What stands where the writer had no such field. */
void assent_column_set_absent(const struct assent_column *column, void *base);

#endif
