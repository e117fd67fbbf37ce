/* nearest.h: "did you mean": the candidate that is fewest edits away from a word. */
#ifndef ASSENT_BASE_NEAREST_H
#define ASSENT_BASE_NEAREST_H

#include <stddef.h>

#define ASSENT_NEAREST_SIZE_MAX 128 /* longer words have no near miss */

struct assent_nearest {
        const char *word;
        const char *best; /* NULL while nothing is near: at most 2 edits, and fewer than half of the
                             word's letters */
        size_t edits;
};

void assent_nearest_init(struct assent_nearest *nearest, const char *word);
void assent_nearest_offer(struct assent_nearest *nearest,
                          const char *candidate); /* borrowed; NULL is fine */

#endif
