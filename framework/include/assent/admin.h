/* admin.h: what an operator does: make and check the topics of a prefix, read records decoded, tell a transaction's story. */
#ifndef ASSENT_ADMIN_H
#define ASSENT_ADMIN_H

#include <assent/config.h>

#ifdef __cplusplus
extern "C" {
#endif

struct assent_admin;

ASSENT_API enum assent_err assent_admin_open(const struct assent_config *config, struct assent_admin **out);
ASSENT_API const char *assent_admin_errmsg(const struct assent_admin *admin);
ASSENT_API void assent_admin_close(struct assent_admin *admin);
ASSENT_API void assent_admin_stop(struct assent_admin *admin); /* async-signal-safe: tail ends */

/* Lines of text go to `line` as they are found, NUL-terminated, without the newline, valid until it returns. */
typedef void (*assent_line)(void *context, const char *text);

/* The topics of the prefix for these services: what is there, what apply would create or refuse. */
ASSENT_API enum assent_err assent_admin_topics_plan(struct assent_admin *admin, const char *const *services,
                                                    size_t services_count, assent_line line, void *context);
/* Creates what is missing (never changes or deletes), appends the SETTINGS record to lanes that have none (R17), and
 * checks everything. Repeat: safe. */
ASSENT_API enum assent_err assent_admin_topics_apply(struct assent_admin *admin, const char *const *services,
                                                     size_t services_count, assent_line line, void *context);
/* One line a topic: partitions, replication, the settings that the rules care for, and a verdict; then a line a lane. */
ASSENT_API enum assent_err assent_admin_topics_describe(struct assent_admin *admin, assent_line line, void *context);

/* Replays the transaction's lane through the coordinator's core and tells what happened to it, message by message.
 * ASSENT_E_NOT_FOUND when the lane holds nothing about it. */
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

/* Every record decoded as one line of JSON; a record that does not decode shows its verdict, size and first bytes. */
ASSENT_API enum assent_err assent_admin_tail(struct assent_admin *admin, const struct assent_tail *tail, assent_line line,
                                             void *context);

#ifdef __cplusplus
}
#endif
#endif
