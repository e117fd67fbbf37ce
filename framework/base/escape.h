/* escape.h: text of foreign origin made safe to print. Whatever goes in, printable ASCII comes out,
 * bounded. */
#ifndef ASSENT_BASE_ESCAPE_H
#define ASSENT_BASE_ESCAPE_H

#include <stddef.h>
#include <stdint.h>

#define ASSENT_ESCAPE_UNIT_MAX 12 /* a surrogate pair: \ud83d\ude00 */

/* Both write at most out_size - 1 bytes and a NUL, never half an escape, and return how many bytes;
 * when the text does not fit, it ends in "...". out_size is at least 4. text: \n \r \t \\ \" and
 * \xNN for every other byte outside 0x20 … 0x7e. json: the inside of a JSON string; non-ASCII UTF-8
 * as \uNNNN (a pair beyond the BMP), each byte that is not UTF-8 as \ufffd. */
size_t assent_escape_text(const void *data, size_t size, char *out, size_t out_size);
size_t assent_escape_json(const void *data, size_t size, char *out, size_t out_size);

/* One step of the JSON form: the escape of the first character of `data` (size >= 1). Returns its
 * length. */
size_t assent_escape_json_unit(const uint8_t *data, size_t size, char unit[ASSENT_ESCAPE_UNIT_MAX],
                               size_t *taken);

#endif
