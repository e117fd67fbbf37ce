/* nearest.c: Levenshtein's distance, one row at a time. */
#include "base/nearest.h"

#include <string.h>

#include "base/panic.h"

#define EDITS_MAX 2

static size_t least(size_t a, size_t b, size_t c)
{
        size_t d = a < b ? a : b;
        return d < c ? d : c;
}

static size_t edits_between(const char *a, size_t a_size, const char *b, size_t b_size)
{
        ASSENT_ASSERT(a_size <= ASSENT_NEAREST_SIZE_MAX);
        ASSENT_ASSERT(b_size <= ASSENT_NEAREST_SIZE_MAX);
        size_t row[ASSENT_NEAREST_SIZE_MAX + 1];
        for (size_t j = 0; j <= b_size; j++)
                row[j] = j;
        for (size_t i = 1; i <= a_size; i++) {
                size_t diagonal = row[0];
                row[0] = i;
                for (size_t j = 1; j <= b_size; j++) {
                        size_t kept = diagonal + (a[i - 1] != b[j - 1]);
                        diagonal = row[j];
                        row[j] = least(row[j] + 1, row[j - 1] + 1, kept);
                }
        }
        return row[b_size];
}

void assent_nearest_init(struct assent_nearest *nearest, const char *word)
{
        *nearest = (struct assent_nearest){.word = word, .edits = EDITS_MAX + 1};
}

void assent_nearest_offer(struct assent_nearest *nearest, const char *candidate)
{
        if (candidate == NULL)
                return;
        size_t word_size = strlen(nearest->word);
        size_t candidate_size = strlen(candidate);
        if (word_size > ASSENT_NEAREST_SIZE_MAX || candidate_size > ASSENT_NEAREST_SIZE_MAX)
                return;
        size_t edits = edits_between(nearest->word, word_size, candidate, candidate_size);
        if (edits < nearest->edits && edits * 2 < word_size) {
                nearest->edits = edits;
                nearest->best = candidate;
        }
}
