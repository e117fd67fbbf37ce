/* fuzz.h: what the fuzz targets share. A target is a function of bytes that ends the process when something is wrong;
 * libFuzzer looks for the bytes. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "core/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input, taken from the front. Behind its end there are zeros, so every input means something. */
struct fuzz_input {
        const uint8_t *data;
        size_t size, at;
};

static inline bool fuzz_more(const struct fuzz_input *input)
{
        return input->at < input->size;
}

static inline unsigned fuzz_byte(struct fuzz_input *input)
{
        return fuzz_more(input) ? input->data[input->at++] : 0;
}

/* 0 … n - 1 */
static inline unsigned fuzz_below(struct fuzz_input *input, unsigned n)
{
        return fuzz_byte(input) % n;
}

static inline bool fuzz_same(struct assent_bytes a, struct assent_bytes b)
{
        return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
