/* narrate.h: one line of plain English per thing the core did; the only place such sentences are made. */
#ifndef ASSENT_CORE_NARRATE_H
#define ASSENT_CORE_NARRATE_H

#include "core/coordinator.h"

/* Writes a sentence such as "payment (branch 1 of 3) votes NO: balance 40.00 is short of 99.00", NUL-terminated, cut at
 * `size`; foreign bytes are escaped to printable ASCII. Returns its length. Times are relative to `origin_ms`. */
size_t assent_narrate(const struct assent_trace *trace, int64_t origin_ms, char *text, size_t size);

#endif
