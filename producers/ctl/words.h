/* words.h: reading what was typed: numbers, positions, near misses. */
#ifndef CTL_WORDS_H
#define CTL_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORD_SIZE_MAX 32

/* Fewest insertions, deletions and replacements that make one word of the other; longer words than
 * WORD_SIZE_MAX are as far apart as can be. */
size_t word_distance(const char *a, const char *b);

/* A whole number from `min` to `max`, nothing before or after it. */
bool word_number(const char *text, int64_t min, int64_t max, int64_t *out);

/* A duration, at most an hour: 0s, 500ms, 10s, 2m. */
bool word_duration(const char *text, int64_t *out_ms);

/* "beginning" (-2), "end" (-1) or an offset, as struct assent_tail has it. */
bool word_position(const char *text, int64_t *out);

/* Takes every NAME VALUE and NAME=VALUE out of the arguments (argv[0] stays); at most `values_max`,
 * false beyond. */
bool words_take(int *argc, char **argv, const char *name, const char **values, size_t values_max, size_t *count);

#endif
