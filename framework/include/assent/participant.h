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

struct assent_participant;
struct assent_exposition; /* of observe.h, as is the next */
struct assent_observer_source;

struct assent_participant_options {
        size_t struct_size;
        const char *service; /* [a-z0-9-]{1,40}; its topic is <prefix>.<service>.commands */
        const struct assent_handlers *handlers;
        void *app; /* handed to every callback */
        /* Called once per open in a local transaction of its own: create tables, seed, prepare statements. May be NULL. */
        enum assent_err (*setup)(void *app, struct assent_tx *tx);
        const struct assent_config *config; /* borrowed until close; assent.db names the database file */
        /* Called after each local transaction in which a handler or work (assent_participant_submit) ran and that is durable
         * now, after the work's `done`: time to tell those who wait for its effects. On the participant's thread; may be
         * NULL. */
        void (*committed)(void *app);
        /* For assent_participant_main: between open and run, for what works beside the participant (it says in the log why it
         * fails), and, if that succeeded, between run and close. Both on the participant's thread; may be NULL. */
        enum assent_err (*opened)(void *app, struct assent_participant *participant);
        void (*closing)(void *app);
        /* Metrics of the service's own, told after the participant's (assent_expose). On the listener's thread, with
         * assent_participant_main between opened and closing; may be NULL. */
        void (*metrics)(void *app, struct assent_exposition *out);
};
#define ASSENT_PARTICIPANT_OPTIONS_INIT {.struct_size = sizeof(struct assent_participant_options)}

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
/* Something of one's own to be done in a local transaction of the participant's database, which has no other writer. */
struct assent_work {
        /* Runs as a handler does, in a savepoint of its own; assent_tx_time_ms is the wall clock. DONE keeps what it wrote,
         * RETRY rolls it back; neither runs it again. */
        enum assent_result (*run)(void *context, struct assent_tx *tx);
        /* ASSENT_OK: durable. ASSENT_AGAIN: rolled back at its own wish. Anything else: the participant has failed or is
         * closing, and nothing of it is there; only after ASSENT_E_STORE, a commit that failed, it may be found there when the
         * database is opened again. On the participant's thread; must not block. */
        void (*done)(void *context, enum assent_err err);
        void *context;
};
#define ASSENT_WORK_MAX 4096 /* waiting in one participant */
/* Hands work to the participant's thread, which is woken; many share one local transaction.
 * Ownership: context until `done`, which is called once if this returns ASSENT_OK, else never. Thread: any, between open and
 * close. Blocks: no.
 * Returns ASSENT_OK, ASSENT_AGAIN (ASSENT_WORK_MAX are waiting), ASSENT_E_ARGUMENT (it is stopping). */
ASSENT_API enum assent_err assent_participant_submit(struct assent_participant *participant, const struct assent_work *work);
/* Async-signal-safe; also from another thread. */
ASSENT_API void assent_participant_stop(struct assent_participant *participant);
/* What operators see of it: hand it to assent_observer_add, and its context to assent_observer_remove before the close. Ready
 * when it has its lanes, and has resent what it may have answered before (P2). assent_participant_main does that.
 * Thread: any, between an open that succeeded and close. */
ASSENT_API void assent_participant_source(struct assent_participant *participant, struct assent_observer_source *source);
ASSENT_API const char *assent_participant_errmsg(const struct assent_participant *participant);
/* NULL is fine; right also after a failed open. Blocks at most assent.stop_timeout_ms. */
ASSENT_API void assent_participant_close(struct assent_participant *participant);

/* main() of a participant daemon: arguments, configuration, signals (SIGTERM and SIGINT drain, a second one exits at
 * once), the operators' listener (observe.h), open, run, close; tells a service manager READY=1 and STOPPING=1.
 * `flags` as in assent_config_arguments; options->config is filled in. `configured` (may be NULL)
 * runs when the configuration is complete, before the open, and may fill in options->app. Returns the exit status. */
ASSENT_API int assent_participant_main(int argc, char **argv, const char *description, const struct assent_flag *flags,
                                       struct assent_participant_options *options,
                                       enum assent_err (*configured)(void *app, const struct assent_config *config));

#ifdef __cplusplus
}
#endif
#endif
