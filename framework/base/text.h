/* text.h: text written piece by piece into a fixed buffer, without stdio: always NUL-terminated, cut when full. */
#ifndef ASSENT_BASE_TEXT_H
#define ASSENT_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <assent/types.h>

struct assent_text {
        char *data;
        size_t size;     /* characters so far, without the NUL */
        size_t size_max; /* of the buffer, the NUL included; at least 1 */
        bool cut;        /* something did not fit */
};

void assent_text_open(struct assent_text *text, char *data, size_t size_max);
void assent_text_put(struct assent_text *text, const char *word);
void assent_text_put_bytes(struct assent_text *text, struct assent_bytes bytes);
void assent_text_put_int(struct assent_text *text, int64_t value);
/* Foreign bytes as printable ASCII (escape.h); what does not fit ends in "...". */
void assent_text_put_escaped(struct assent_text *text, struct assent_bytes bytes);
/* Milliseconds as seconds: "0.132 s", "-2.000 s"; with a sign always if `sign`: "+0.132 s". */
void assent_text_put_seconds(struct assent_text *text, int64_t value_ms, bool sign);

/* The greatest size <= size_max at which UTF-8 text of `size` bytes may be cut without cutting a character in two. */
size_t assent_utf8_cut(const void *data, size_t size, size_t size_max);

#endif
