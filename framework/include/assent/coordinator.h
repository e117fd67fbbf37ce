/* coordinator.h: the coordinator is a consumer group that evaluates the lanes of <prefix>.inbox and publishes what follows
 * (R1 to R18 in framework/DESIGN.md). It owns no database; any number may run, also at once. */
#ifndef ASSENT_COORDINATOR_H
#define ASSENT_COORDINATOR_H

#include <assent/config.h>

#ifdef __cplusplus
extern "C" {
#endif

struct assent_coordinator_options {
        size_t struct_size;
        const struct assent_config *config; /* borrowed until close */
};
#define ASSENT_COORDINATOR_OPTIONS_INIT {.struct_size = sizeof(struct assent_coordinator_options)}

struct assent_coordinator;

/* *out is set even when the call fails (then only errmsg and close), unless memory ran out.
 * Returns ASSENT_OK, ASSENT_E_CONFIG, ASSENT_E_BROKER, ASSENT_E_TOPIC, ASSENT_E_SETTINGS, ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_coordinator_open(const struct assent_coordinator_options *options,
                                                   struct assent_coordinator **out);
/* One turn: polls for at most `timeout_ms`, steps the lanes, publishes, commits checkpoints, ticks.
 * Returns ASSENT_OK or a FATAL code: ASSENT_E_DIGEST, ASSENT_E_CHECKPOINT, ASSENT_E_SETTINGS, ASSENT_E_KAFKA,
 * ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_coordinator_step(struct assent_coordinator *coordinator, int timeout_ms);
ASSENT_API enum assent_err assent_coordinator_run(struct assent_coordinator *coordinator);
ASSENT_API void assent_coordinator_stop(struct assent_coordinator *coordinator); /* async-signal-safe */
ASSENT_API const char *assent_coordinator_errmsg(const struct assent_coordinator *coordinator);
ASSENT_API void assent_coordinator_close(struct assent_coordinator *coordinator); /* NULL is fine */

/* main() of the coordinator daemon; as assent_participant_main. */
ASSENT_API int assent_coordinator_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif
#endif
