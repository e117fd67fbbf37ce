/* text.c: see text.h. */
#include "base/text.h"

#include <string.h>

#include "base/escape.h"
#include "base/panic.h"

#define ESCAPE_ROOM_LEAST 4 /* escape.h asks for it */

void assent_text_open(struct assent_text *text, char *data, size_t size_max)
{
        ASSENT_ASSERT(size_max >= 1);
        *text = (struct assent_text){.data = data, .size_max = size_max};
        data[0] = '\0';
}

void assent_text_put_bytes(struct assent_text *text, struct assent_bytes bytes)
{
        size_t room = text->size_max - 1 - text->size, size = bytes.size;
        if (size > room) {
                size = room;
                text->cut = true;
        }
        if (size)
                memcpy(text->data + text->size, bytes.data, size);
        text->size += size;
        text->data[text->size] = '\0';
}

void assent_text_put(struct assent_text *text, const char *word)
{
        assent_text_put_bytes(text, (struct assent_bytes){.data = word, .size = strlen(word)});
}

/* The decimal digits of `value`, at least `digits_min`. */
static void put_digits(struct assent_text *text, uint64_t value, size_t digits_min)
{
        char digits[20];
        size_t at = sizeof digits;
        do {
                digits[--at] = (char)('0' + value % 10);
                value /= 10;
        } while (value || sizeof digits - at < digits_min);
        assent_text_put_bytes(text, (struct assent_bytes){.data = digits + at, .size = sizeof digits - at});
}

static uint64_t magnitude(int64_t value)
{
        return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

void assent_text_put_int(struct assent_text *text, int64_t value)
{
        if (value < 0)
                assent_text_put(text, "-");
        put_digits(text, magnitude(value), 1);
}

void assent_text_put_seconds(struct assent_text *text, int64_t value_ms, bool sign)
{
        if (value_ms < 0)
                assent_text_put(text, "-");
        else if (sign)
                assent_text_put(text, "+");
        put_digits(text, magnitude(value_ms) / 1000, 1);
        assent_text_put(text, ".");
        put_digits(text, magnitude(value_ms) % 1000, 3);
        assent_text_put(text, " s");
}

void assent_text_put_escaped(struct assent_text *text, struct assent_bytes bytes)
{
        size_t room = text->size_max - text->size;
        if (room < ESCAPE_ROOM_LEAST) {
                text->cut = text->cut || bytes.size;
                return;
        }
        text->size += assent_escape_text(bytes.data, bytes.size, text->data + text->size, room);
}

size_t assent_utf8_cut(const void *data, size_t size, size_t size_max)
{
        if (size <= size_max)
                return size;
        const unsigned char *bytes = data;
        size_t at = size_max;
        /* A character has at most three continuation bytes; text with more of them is not UTF-8 and may be cut
         * anywhere. */
        while (at > 0 && size_max - at < 3 && (bytes[at] & 0xc0) == 0x80)
                at--;
        return (bytes[at] & 0xc0) == 0x80 ? size_max : at;
}
