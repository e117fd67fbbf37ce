/* coordinator.h: the coordinator is a consumer group that evaluates the lanes of <prefix>.inbox and publishes what
 * follows (R1 to R18 in framework/DESIGN.md). It owns no database; any number may run, also at once. */
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

/* Connects, checks topics and the number of lanes (R17), and takes its lanes: with assent.lanes=subscribe they come
 * later, in step; others are replayed from their checkpoints (R13).
 * Ownership: *out is set even when the call fails (then only errmsg and close), unless memory ran out.
 * Blocks: until the broker answers, at most assent.start_timeout_ms for each thing asked.
 * Returns ASSENT_OK, ASSENT_E_ARGUMENT, ASSENT_E_CONFIG, ASSENT_E_BROKER, ASSENT_E_DENIED, ASSENT_E_TOPIC,
 * ASSENT_E_SETTINGS (R17), ASSENT_E_CHECKPOINT (R13), ASSENT_E_KAFKA, ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_coordinator_open(const struct assent_coordinator_options *options,
                                                   struct assent_coordinator **out);
/* One turn: reads up to assent.batch_max records, steps their lanes (R1 to R11), publishes what follows, commits the
 * checkpoints that are due (R12), ticks (R14).
 * Durability: nothing is decided here that is not in the log; a checkpoint is committed only when what it covers is
 * acknowledged, so a crash loses nothing and repeats only records with the same ids and bytes (R-ID).
 * Blocks: for at most `timeout_ms` (milliseconds) while there is nothing to read; longer while a lane is taken over.
 * Thread: one at a time.
 * Returns ASSENT_OK, or for good: ASSENT_E_DIGEST and ASSENT_E_CHECKPOINT (R13), ASSENT_E_SETTINGS (R17),
 * ASSENT_E_KAFKA, ASSENT_E_BROKER or ASSENT_E_DENIED (while a lane was taken), ASSENT_E_MEMORY (also at
 * assent.in_flight_max, R16): close and open again. */
ASSENT_API enum assent_err assent_coordinator_step(struct assent_coordinator *coordinator, int timeout_ms);
/* Turns until assent_coordinator_stop; close commits the last checkpoints.
 * Blocks: until then. Thread: as step.
 * Returns ASSENT_OK after a stop, or what step returned. */
ASSENT_API enum assent_err assent_coordinator_run(struct assent_coordinator *coordinator);
/* Makes run return after the turn it is in. Thread: any; also from a signal handler. Repeat: safe. */
ASSENT_API void assent_coordinator_stop(struct assent_coordinator *coordinator);
/* The sentence about the newest failure: what, where, what to do; "" when there was none.
 * Ownership: the coordinator's, until the next call. */
ASSENT_API const char *assent_coordinator_errmsg(const struct assent_coordinator *coordinator);
/* Publishes what is queued, commits last checkpoints, gives the lanes back. NULL is fine; right also after a failed
 * open.
 * Durability: what is not acknowledged in time is published again by whoever replays from the checkpoint (R13).
 * Blocks: at most assent.stop_timeout_ms. Thread: none may be in step or run. */
ASSENT_API void assent_coordinator_close(struct assent_coordinator *coordinator);

/* What operators see of it: hand it to assent_observer_add, and its context to assent_observer_remove before the close. Ready
 * when it has its lanes and every one is replayed and proved (R13); a member that the group gave no lane is ready as well.
 * Thread: any, between an open that succeeded and close. */
struct assent_observer_source; /* of observe.h */
ASSENT_API void assent_coordinator_source(struct assent_coordinator *coordinator, struct assent_observer_source *source);
/* main() of the coordinator daemon: arguments, configuration, signals (SIGTERM and SIGINT stop it, a second one exits
 * at once), the operators' listener (observe.h), open, run, close; tells a service manager READY=1 and STOPPING=1.
 * Returns the exit status: 0 after a stop or --help, 1 for a failure, 2 for a usage or configuration error. */
ASSENT_API int assent_coordinator_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif
#endif
