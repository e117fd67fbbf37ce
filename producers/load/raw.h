/* raw.h: the way in that begins transactions over Kafka. The loop knows nothing of it but these functions, so that
 * another way in can stand beside it. */
#ifndef ASSENT_PRODUCERS_RAW_H
#define ASSENT_PRODUCERS_RAW_H

#include "workload.h"

struct load;

struct raw {
        struct assent_client *client;
};

/* Closed also after a failure. */
enum assent_err raw_open(struct raw *raw, const struct assent_config *config, struct load *load);
void raw_close(struct raw *raw);
/* Returns at once. ASSENT_AGAIN: after the next step. */
enum assent_err raw_send(struct raw *raw, const struct draft *draft);
/* Sends, and tells the load what came; waits for at most `timeout_ms` if nothing does. */
enum assent_err raw_step(struct raw *raw, int timeout_ms);
/* Ends a step, and makes all others return ASSENT_AGAIN. From any thread or a signal handler. */
void raw_stop(struct raw *raw);
const char *raw_errmsg(const struct raw *raw, enum assent_err err);

#endif
