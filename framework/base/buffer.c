/* buffer.c: growing bytes, bounded. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "base/panic.h"

#define CAPACITY_MIN 256

void assent_buffer_init(struct assent_buffer *buffer, size_t size_max)
{
        ASSENT_ASSERT(size_max < SIZE_MAX / 2); /* so that doubling and the NUL cannot overflow */
        *buffer = (struct assent_buffer){.size_max = size_max};
}

void assent_buffer_wrap(struct assent_buffer *buffer, char *memory, size_t memory_size)
{
        ASSENT_ASSERT(memory != NULL && memory_size > 0);
        ASSENT_ASSERT(memory_size < SIZE_MAX / 2);
        memory[0] = '\0';
        *buffer = (struct assent_buffer){
            .data = memory, .size_max = memory_size - 1, .capacity = memory_size, .borrowed = true};
}

void assent_buffer_close(struct assent_buffer *buffer)
{
        if (!buffer->borrowed)
                free(buffer->data);
        *buffer = (struct assent_buffer){0};
}

/* `size` writable bytes at the end, to be filled and then counted by grow(); NULL when they cannot be had. */
static char *reserve(struct assent_buffer *buffer, size_t size)
{
        ASSENT_ASSERT(buffer->size <= buffer->size_max);
        if (buffer->err != ASSENT_OK)
                return NULL;
        if (size > buffer->size_max - buffer->size) {
                buffer->err = ASSENT_E_LIMIT;
                return NULL;
        }
        size_t needed = buffer->size + size + 1;
        if (needed > buffer->capacity) {
                ASSENT_ASSERT(!buffer->borrowed);
                size_t capacity = buffer->capacity * 2 > CAPACITY_MIN ? buffer->capacity * 2 : CAPACITY_MIN;
                if (capacity < needed)
                        capacity = needed;
                if (capacity > buffer->size_max + 1)
                        capacity = buffer->size_max + 1;
                char *data = realloc(buffer->data, capacity);
                if (data == NULL) {
                        buffer->err = ASSENT_E_MEMORY;
                        return NULL;
                }
                buffer->data = data;
                buffer->capacity = capacity;
        }
        return buffer->data + buffer->size;
}

static void grow(struct assent_buffer *buffer, size_t size)
{
        ASSENT_ASSERT(buffer->err == ASSENT_OK);
        ASSENT_ASSERT(buffer->size + size < buffer->capacity);
        buffer->size += size;
        buffer->data[buffer->size] = '\0';
}

enum assent_err assent_buffer_append(struct assent_buffer *buffer, const void *data, size_t size)
{
        ASSENT_ASSERT(data != NULL || size == 0);
        char *at = reserve(buffer, size);
        if (at != NULL) {
                if (size > 0)
                        memcpy(at, data, size);
                grow(buffer, size);
        }
        return buffer->err;
}

enum assent_err assent_buffer_text(struct assent_buffer *buffer, const char *text)
{
        return assent_buffer_append(buffer, text, strlen(text));
}

enum assent_err assent_buffer_printf(struct assent_buffer *buffer, const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        int size = vsnprintf(NULL, 0, format, arguments);
        va_end(arguments);
        ASSENT_ASSERT(size >= 0);

        char *at = reserve(buffer, (size_t)size);
        if (at != NULL) {
                va_start(arguments, format);
                int written = vsnprintf(at, (size_t)size + 1, format, arguments);
                va_end(arguments);
                ASSENT_ASSERT(written == size);
                grow(buffer, (size_t)size);
        }
        return buffer->err;
}

enum assent_err assent_buffer_json(struct assent_buffer *buffer, const void *data, size_t size)
{
        const uint8_t *from = data;
        size_t before = buffer->size;
        assent_buffer_append(buffer, "\"", 1);
        while (size > 0 && buffer->err == ASSENT_OK) {
                char unit[ASSENT_ESCAPE_UNIT_MAX];
                size_t taken;
                size_t made = assent_escape_json_unit(from, size, unit, &taken);
                ASSENT_ASSERT(taken > 0 && taken <= size);
                assent_buffer_append(buffer, unit, made);
                from += taken;
                size -= taken;
        }
        assent_buffer_append(buffer, "\"", 1);

        enum assent_err err = buffer->err;
        if (err != ASSENT_OK && buffer->size > before) { /* half a string is worse than none */
                assent_buffer_cut(buffer, before);
                buffer->err = err;
        }
        return err;
}

void assent_buffer_cut(struct assent_buffer *buffer, size_t size)
{
        ASSENT_ASSERT(size <= buffer->size);
        buffer->size = size;
        buffer->err = ASSENT_OK;
        if (buffer->data != NULL)
                buffer->data[size] = '\0';
}

void assent_buffer_clear(struct assent_buffer *buffer)
{
        assent_buffer_cut(buffer, 0);
}

const char *assent_buffer_string(const struct assent_buffer *buffer)
{
        return buffer->data != NULL ? buffer->data : "";
}
