/* process.h: the metrics that every process has, under the names that Prometheus' own client libraries use. */
#ifndef ASSENT_OBSERVE_PROCESS_H
#define ASSENT_OBSERVE_PROCESS_H

#include "observe/exposition.h"

/* When this process began, in seconds since the Unix epoch. Clocks that are set now and then tell it, so it is asked once. */
double assent_process_started(void);
void assent_process_expose(struct assent_exposition *out, double started);

#endif
