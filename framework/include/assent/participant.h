/* participant.h: a service that takes part in atomic commit. Four functions, all run inside the framework's local
 * transaction `tx`. Rules P1 to P13 in framework/DESIGN.md. */
#ifndef ASSENT_PARTICIPANT_H
#define ASSENT_PARTICIPANT_H

#include <assent/config.h>
#include <assent/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One participant's share in a transaction. Valid until the handler returns. */
struct assent_branch {
        struct assent_uuid txn_id;
        uint16_t branch;             /* 0 … branches_count - 1 */
        uint16_t branches_count;
        int64_t deadline_ms;         /* log time after which the transaction aborts unless all votes are in */
        struct assent_bytes kind;    /* what to do, in the service's own words; prepare only, else empty */
        struct assent_bytes payload; /* opaque to the framework; prepare only, else empty: keep what you need */
};

enum assent_vote { ASSENT_VOTE_YES = 1, ASSENT_VOTE_NO = 2, ASSENT_VOTE_READ_ONLY = 3, ASSENT_VOTE_RETRY = 4 };

/* Handlers must be deterministic given the database and the branch: no clock (assent_tx_time_ms), no random numbers.
 * A vote of NO or RETRY, or RESULT_RETRY, rolls back what the handler wrote. After YES the participant must be able to
 * commit and to abort, whatever happens; commit and abort may fail for now (RETRY), never be refused (P5). */
struct assent_handlers {
        enum assent_vote (*prepare)(void *app, struct assent_tx *tx, const struct assent_branch *branch);
        /* 3PC only; may be NULL. */
        enum assent_result (*pre_commit)(void *app, struct assent_tx *tx, const struct assent_branch *branch);
        enum assent_result (*commit)(void *app, struct assent_tx *tx, const struct assent_branch *branch);
        enum assent_result (*abort)(void *app, struct assent_tx *tx, const struct assent_branch *branch); /* only after a YES */
};

struct assent_participant_options {
        size_t struct_size;
        const char *service; /* [a-z0-9-]{1,40}; its topic is <prefix>.<service>.commands */
        const struct assent_handlers *handlers;
        void *app; /* handed to every callback */
        /* Called once per open in a local transaction of its own: create tables, seed, prepare statements. May be NULL. */
        enum assent_err (*setup)(void *app, struct assent_tx *tx);
        const struct assent_config *config; /* borrowed until close; assent.db names the database file */
};
#define ASSENT_PARTICIPANT_OPTIONS_INIT {.struct_size = sizeof(struct assent_participant_options)}

struct assent_participant;

/* Opens the database (owner lock, P13), checks identity, topics and settings (R17, P11), sends stored answers that may not
 * have been published (P2), and takes its lanes.
 * Ownership: *out is set even when the call fails (then only errmsg and close are allowed on it), unless memory ran out.
 * Blocks: until the broker answers, at most assent.start_timeout_ms.
 * Returns ASSENT_OK, ASSENT_E_CONFIG, ASSENT_E_ARGUMENT, ASSENT_E_BROKER, ASSENT_E_TOPIC, ASSENT_E_SETTINGS,
 * ASSENT_E_POSITION, ASSENT_E_OWNER, ASSENT_E_STORE, ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_participant_open(const struct assent_participant_options *options,
                                                   struct assent_participant **out);
/* One turn: polls up to assent.batch_max records for at most `timeout_ms`, handles them in one local transaction,
 * publishes, advances the group offset, does what is due (retries, termination, forgetting).
 * Returns ASSENT_OK, or a FATAL code (close and open again). */
ASSENT_API enum assent_err assent_participant_step(struct assent_participant *participant, int timeout_ms);
/* Turns until assent_participant_stop, then drains: publishes what is committed and commits the group offset. */
ASSENT_API enum assent_err assent_participant_run(struct assent_participant *participant);
/* Async-signal-safe; also from another thread. */
ASSENT_API void assent_participant_stop(struct assent_participant *participant);
ASSENT_API const char *assent_participant_errmsg(const struct assent_participant *participant);
/* NULL is fine; right also after a failed open. Blocks at most assent.stop_timeout_ms. */
ASSENT_API void assent_participant_close(struct assent_participant *participant);

/* main() of a participant daemon: arguments, configuration, signals (SIGTERM and SIGINT drain, a second one exits at
 * once), open, run, close. `flags` as in assent_config_arguments; options->config is filled in. `configured` (may be NULL)
 * runs when the configuration is complete, before the open, and may fill in options->app. Returns the exit status. */
ASSENT_API int assent_participant_main(int argc, char **argv, const char *description, const struct assent_flag *flags,
                                       struct assent_participant_options *options,
                                       enum assent_err (*configured)(void *app, const struct assent_config *config));

#ifdef __cplusplus
}
#endif
#endif
