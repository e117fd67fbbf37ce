/* escape.c: foreign text as printable ASCII. A terminal, a line of logging or a JSON reader must
 * never be steered by what a stranger put into a record. */
#include "base/escape.h"

#include <string.h>

#include "base/panic.h"

typedef size_t unit_writer(const uint8_t *data, size_t size, char unit[ASSENT_ESCAPE_UNIT_MAX],
                           size_t *taken);

/* The letter that follows the backslash for a character with a short form, or 0. */
static char short_form(uint8_t byte)
{
        switch (byte) {
        case '\n':
                return 'n';
        case '\r':
                return 'r';
        case '\t':
                return 't';
        case '\\':
        case '"':
                return (char)byte;
        default:
                return 0;
        }
}

static size_t put_hex(char *at, uint32_t value, int digits)
{
        for (int i = digits - 1; i >= 0; i--, value >>= 4)
                at[i] = "0123456789abcdef"[value & 15];
        return (size_t)digits;
}

/* One byte, in the form that both outputs share; 0 when it has none. */
static size_t plain_unit(uint8_t byte, char unit[ASSENT_ESCAPE_UNIT_MAX])
{
        char letter = short_form(byte);
        if (letter != 0) {
                unit[0] = '\\';
                unit[1] = letter;
                return 2;
        }
        unit[0] = (char)byte;
        return byte >= 0x20 && byte <= 0x7e;
}

static size_t text_unit(const uint8_t *data, size_t size, char unit[ASSENT_ESCAPE_UNIT_MAX],
                        size_t *taken)
{
        ASSENT_ASSERT(size > 0);
        *taken = 1;
        size_t made = plain_unit(data[0], unit);
        if (made > 0)
                return made;
        unit[0] = '\\';
        unit[1] = 'x';
        return 2 + put_hex(unit + 2, data[0], 2);
}

/* Reads one UTF-8 character as RFC 3629 has it: shortest form, no surrogates, up to U+10FFFF.
 * Returns its bytes, or 0. */
static size_t utf8_read(const uint8_t *data, size_t size, uint32_t *out)
{
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        size_t length = data[0] < 0x80       ? 1
                        : data[0] >> 5 == 6  ? 2
                        : data[0] >> 4 == 14 ? 3
                        : data[0] >> 3 == 30 ? 4
                                             : 0;
        if (length == 0 || length > size)
                return 0;
        uint32_t point = length == 1 ? data[0] : data[0] & (0x7fu >> length);
        for (size_t i = 1; i < length; i++) {
                if (data[i] >> 6 != 2)
                        return 0;
                point = point << 6 | (data[i] & 0x3fu);
        }
        if (point < least[length] || point > 0x10ffff || point >> 11 == 0x1b)
                return 0;
        *out = point;
        return length;
}

static size_t put_u(char *at, uint32_t value)
{
        at[0] = '\\';
        at[1] = 'u';
        return 2 + put_hex(at + 2, value, 4);
}

size_t assent_escape_json_unit(const uint8_t *data, size_t size, char unit[ASSENT_ESCAPE_UNIT_MAX],
                               size_t *taken)
{
        ASSENT_ASSERT(size > 0);
        *taken = 1;
        size_t made = plain_unit(data[0], unit);
        if (made > 0)
                return made;
        uint32_t point;
        size_t length = utf8_read(data, size, &point);
        if (length == 0)
                return put_u(unit, 0xfffd);
        *taken = length;
        if (point < 0x10000)
                return put_u(unit, point);
        point -= 0x10000;
        made = put_u(unit, 0xd800 + (point >> 10));
        return made + put_u(unit + made, 0xdc00 + (point & 0x3ff));
}

static size_t escape(const uint8_t *data, size_t size, char *out, size_t out_size,
                     unit_writer *write_unit)
{
        static const char mark[] = "...";
        ASSENT_ASSERT(data != NULL || size == 0);
        ASSENT_ASSERT(out_size >= sizeof mark);
        size_t room = out_size - 1;
        size_t length = 0;
        size_t length_with_mark = 0; /* where the text must end if a later unit does not fit */
        while (size > 0) {
                char unit[ASSENT_ESCAPE_UNIT_MAX];
                size_t taken;
                size_t made = write_unit(data, size, unit, &taken);
                if (length + made > room) {
                        memcpy(out + length_with_mark, mark, sizeof mark);
                        return length_with_mark + sizeof mark - 1;
                }
                memcpy(out + length, unit, made);
                length += made;
                if (length + sizeof mark - 1 <= room)
                        length_with_mark = length;
                data += taken;
                size -= taken;
        }
        out[length] = '\0';
        return length;
}

size_t assent_escape_text(const void *data, size_t size, char *out, size_t out_size)
{
        return escape(data, size, out, out_size, text_unit);
}

size_t assent_escape_json(const void *data, size_t size, char *out, size_t out_size)
{
        return escape(data, size, out, out_size, assent_escape_json_unit);
}
