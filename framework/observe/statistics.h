/* statistics.h: librdkafka's statistics as metrics. Its thread hands over the text and goes on; it is read only when somebody
 * asks for the metrics, on the thread that asks, because with many lanes it is long. */
#ifndef ASSENT_OBSERVE_STATISTICS_H
#define ASSENT_OBSERVE_STATISTICS_H

#include "observe/exposition.h"

struct assent_statistics;

struct assent_statistics *assent_statistics_open(void); /* NULL: no memory */
/* The newest of the producer or the consumer. Ownership: takes `json`, which free() frees. Thread: any. */
void assent_statistics_put(struct assent_statistics *statistics, bool consumer, char *json);
/* `labels` stand before those of each sample. Thread: one at a time. */
void assent_statistics_expose(struct assent_statistics *statistics, const char *labels, struct assent_exposition *out);
void assent_statistics_close(struct assent_statistics *statistics); /* NULL is fine */

#endif
