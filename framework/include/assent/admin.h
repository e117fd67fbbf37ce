/* admin.h: what an operator does: make and check the topics of a prefix, read records decoded, tell a transaction's
 * story. */
#ifndef ASSENT_ADMIN_H
#define ASSENT_ADMIN_H

#include <assent/config.h>

#ifdef __cplusplus
extern "C" {
#endif

struct assent_admin;

/* Makes an admin for the prefix of `config`; nothing is asked of a broker yet.
 * Ownership: `config` is borrowed until close; *out is set even when the call fails (then only errmsg and close),
 * unless memory ran out. Blocks: no. Thread: an admin is used by one thread at a time.
 * Returns ASSENT_OK, ASSENT_E_CONFIG, ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_admin_open(const struct assent_config *config, struct assent_admin **out);
/* The sentence about the newest failure; "" when there was none. Ownership: the admin's, until the next call. */
ASSENT_API const char *assent_admin_errmsg(const struct assent_admin *admin);
/* NULL is fine; right also after a failed open. Blocks: at most assent.stop_timeout_ms. */
ASSENT_API void assent_admin_close(struct assent_admin *admin);
/* Ends a tail, this one and all to come. Thread: any; also from a signal handler. */
ASSENT_API void assent_admin_stop(struct assent_admin *admin);

/* All that follow block until the brokers answer, at most assent.start_timeout_ms for each thing asked, and return
 * ASSENT_E_BROKER when none did, ASSENT_E_DENIED, ASSENT_E_CONFIG or ASSENT_E_KAFKA when the client cannot be had,
 * ASSENT_E_MEMORY; what else stands with each. */

/* Lines of text go to `line` as they are found, NUL-terminated, without the newline, valid until it returns. */
typedef void (*assent_line)(void *context, const char *text);

/* Tells what is there of the topics of the prefix for these services, and what apply would create or refuse.
 * Durability: changes nothing.
 * Returns ASSENT_OK, ASSENT_E_ARGUMENT (a service name), ASSENT_E_LIMIT (too many services or topics), ASSENT_E_TOPIC
 * (apply would refuse), ASSENT_E_SETTINGS (a lane's differ, or are gone, R17), ASSENT_E_POSITION (the log's beginning
 * went while it was read), and the above. */
ASSENT_API enum assent_err assent_admin_topics_plan(struct assent_admin *admin, const char *const *services,
                                                    size_t services_count, assent_line line, void *context);
/* Creates what is missing (never changes or deletes), appends the SETTINGS record to lanes that have none (R17), and
 * checks everything.
 * Durability: each topic and record stays, also when a later one fails. Repeat: safe, and the way on after a failure.
 * Returns as plan, and ASSENT_TIMED_OUT (a SETTINGS record was not confirmed), ASSENT_E_TOO_LARGE. */
ASSENT_API enum assent_err assent_admin_topics_apply(struct assent_admin *admin, const char *const *services,
                                                     size_t services_count, assent_line line, void *context);
/* Creates <prefix>.<name> and its dead-letter topic if they are missing, for events (assent_tx_publish): with the lanes and
 * settings of the others, which nobody checks later.
 * Durability, Repeat: as apply.
 * Returns ASSENT_OK, ASSENT_E_ARGUMENT (the name), ASSENT_E_TOPIC, and the above. */
ASSENT_API enum assent_err assent_admin_topics_events(struct assent_admin *admin, const char *name, assent_line line,
                                                      void *context);
/* One line a topic: partitions, replication, the settings that the rules care for, and a verdict; then a line a lane.
 * Durability: changes nothing.
 * Returns ASSENT_OK (whatever the verdicts), ASSENT_E_NOT_FOUND (there is no inbox), ASSENT_E_LIMIT (too many topics),
 * ASSENT_E_TOPIC (their settings may not be read), ASSENT_E_POSITION, and the above. */
ASSENT_API enum assent_err assent_admin_topics_describe(struct assent_admin *admin, assent_line line, void *context);

/* Replays the transaction's lane through the coordinator's core and tells what happened to it, message by message.
 * Durability: changes nothing, asks no coordinator.
 * Returns ASSENT_OK, ASSENT_E_ARGUMENT (no UUID of version 7), ASSENT_E_NOT_FOUND (the lane holds nothing about it, or
 * there is no inbox), ASSENT_E_SETTINGS (R17), ASSENT_E_POSITION, and the above. */
ASSENT_API enum assent_err assent_admin_txn_show(struct assent_admin *admin, const struct assent_uuid *txn_id,
                                                 assent_line line, void *context);

struct assent_tail {
        size_t struct_size;
        const char *topic; /* "inbox", "outcomes", "payment.commands", or a full topic name */
        int32_t lane;      /* -1: all */
        int64_t from;      /* an offset; -1: the end; -2: the beginning */
        uint64_t count;    /* stop after so many; 0: no limit */
        bool follow;       /* false: stop at the end of the lanes as they were when it began */
};
#define ASSENT_TAIL_INIT {.struct_size = sizeof(struct assent_tail), .lane = -1, .from = -2}

/* Every record decoded as one line of JSON; a record that does not decode shows its fault, size and first bytes.
 * Durability: changes nothing, joins no group. Blocks: with `follow` until assent_admin_stop or `count`.
 * Returns ASSENT_OK, ASSENT_E_ARGUMENT (no such lane, or no topic named), ASSENT_E_NOT_FOUND (no such topic),
 * ASSENT_E_POSITION (the log does not hold `from`), ASSENT_E_LIMIT (a line above 1 MiB), and the above. */
ASSENT_API enum assent_err assent_admin_tail(struct assent_admin *admin, const struct assent_tail *tail,
                                             assent_line line, void *context);

#ifdef __cplusplus
}
#endif
#endif
