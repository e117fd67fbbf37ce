/* panic.c: the last words of a broken process. */
#include "base/panic.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* One write, so that the line stays whole among those of other threads and processes on the same
 * stderr. */
_Noreturn void assent_panic(const char *file, int line, const char *condition)
{
        char text[512];
        int size =
            snprintf(text, sizeof text, "%s:%d: assertion failed: %s\n", file, line, condition);
        if (size >= (int)sizeof text) {
                size = (int)sizeof text - 1;
                text[size - 1] = '\n';
        }
        if (size > 0 && write(STDERR_FILENO, text, (size_t)size) < 0) {
                /* Nobody is listening; the core dump still tells. */
        }
        abort();
}
