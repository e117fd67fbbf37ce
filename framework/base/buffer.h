/* buffer.h: bytes that grow up to a maximum given at birth. The error is sticky: append as much as
 * you like, then look once. The bytes are always followed by a NUL that is not counted. */
#ifndef ASSENT_BASE_BUFFER_H
#define ASSENT_BASE_BUFFER_H

#include <assent/types.h>

struct assent_buffer {
        char *data;
        size_t size;
        size_t size_max;
        size_t capacity; /* bytes at `data`, with the NUL's */
        bool borrowed;   /* `data` is somebody else's and does not grow */
        enum assent_err err;
};

/* Starts empty, without allocating; holds at most `size_max` bytes. Ended by assent_buffer_close.
 */
void assent_buffer_init(struct assent_buffer *buffer, size_t size_max);
/* Starts empty in `memory` and never allocates; holds at most memory_size - 1 bytes. Needs no
 * close. */
void assent_buffer_wrap(struct assent_buffer *buffer, char *memory, size_t memory_size);
void assent_buffer_close(struct assent_buffer *buffer);

/* All of these change nothing once an error stands, and nothing when they fail: ASSENT_E_LIMIT
 * (size_max) or ASSENT_E_MEMORY. They return the buffer's error. `data` may not point into the
 * buffer. */
enum assent_err assent_buffer_append(struct assent_buffer *buffer, const void *data, size_t size);
enum assent_err assent_buffer_text(struct assent_buffer *buffer, const char *text);
enum assent_err assent_buffer_printf(struct assent_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes, in ASCII (escape.h). */
enum assent_err assent_buffer_json(struct assent_buffer *buffer, const void *data, size_t size);

/* Back to an earlier size, and to no error; clear is a cut to nothing. The memory is kept. */
void assent_buffer_cut(struct assent_buffer *buffer, size_t size);
void assent_buffer_clear(struct assent_buffer *buffer);

/* What it holds, borrowed until the next change; never NULL. */
const char *assent_buffer_string(const struct assent_buffer *buffer);

#endif
