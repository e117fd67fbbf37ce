#include "base/crash.h"

/* ISO C wants a declaration in every unit. */
typedef int assent_crash_unit;

#ifdef ASSENT_TEST_SEAMS
#include <signal.h>
#include <stdlib.h>
#include <string.h>

void assent_crash_point(const char *name)
{
        static const char *armed;
        static long left = -1;
        if (left < 0) {
                armed = getenv("ASSENT_CRASH_POINT");
                const char *colon = armed ? strchr(armed, ':') : NULL;
                left = colon ? strtol(colon + 1, NULL, 10) : 1;
        }
        if (!armed || strncmp(armed, name, strlen(name)) != 0)
                return;
        if ((armed[strlen(name)] == '\0' || armed[strlen(name)] == ':') && --left == 0)
                raise(SIGKILL);
}
#endif
