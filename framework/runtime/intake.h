/* intake.h: the half of a participant and of an idempotent consumer that is the same: lanes with positions in the local
 * database, batches in one local transaction, answers published after it, the group offset behind them (P1, P2, P11, P13).
 *
 * Order is law: local transaction → publish → acknowledged → group offset. The group offset is the resend cursor: after a
 * crash the records from it up to the position are read again and answered again from the database. */
#ifndef ASSENT_RUNTIME_INTAKE_H
#define ASSENT_RUNTIME_INTAKE_H

#include "base/buffer.h"
#include "core/message.h"
#include "kafka/topics.h"
#include "runtime/lane_list.h"
#include "runtime/outbound.h"
#include "runtime/outbox.h"
#include "runtime/watch.h"
#include "store/store.h"

struct assent_intake_lane {
        int32_t number;
        bool held;
        struct assent_position position; /* as it will be when the open local transaction commits */
        int64_t mine;                    /* the next offset that the database holds; -1: no row yet (P11) */
        int64_t read_next;               /* the next offset to be read: below `position.next` while resending */
        int64_t cursor;                  /* everything below is processed, published and acknowledged */
        int64_t committed;               /* the group offset last committed, or tried */
        int64_t last_record_ms;          /* monotonic */
        int64_t resume_ms;               /* stalled by a RETRY until then; 0: not */
        int64_t retry_ms;                /* the back-off of that */
        bool dirty;
        bool heard; /* a new record, since the lane was taken */
        struct assent_tracker sent;
};

struct assent_intake;

struct assent_intake_options {
        const struct assent_config *config;
        struct assent_bus *bus;
        struct assent_store *store;
        const char *topic, *group;
        const char *source; /* of events */
        int lanes;               /* the topic's */
        const char *incarnation; /* this database's, put beside every group offset */
        bool any_time;           /* a topic of others: its producers' own timestamps move the log time too */
        /* One record; `redelivered` when it lies below the position: its effect is in the database already. Runs inside the
         * local transaction with lane->position already past it. ASSENT_OK; ASSENT_AGAIN: undone, the lane waits and brings
         * it again; anything else is fatal. */
        enum assent_err (*process)(void *context, struct assent_intake_lane *lane, const struct assent_record *record,
                                   bool redelivered);
        /* For work that does not come by the lanes; all three or none. `waiting`: there is some, so that a turn without records
         * needs a local transaction too; `work` does it, after the records; `durable` runs after every commit. */
        bool (*waiting)(void *context);
        enum assent_err (*work)(void *context);
        void (*durable)(void *context);
        struct assent_intake_watch *watch; /* opened */
        void *context;
};

/* *out is set even on failure (then only errmsg and close). Lanes are taken: P11 is checked for each. */
enum assent_err assent_intake_open(const struct assent_intake_options *options, struct assent_intake **out);
/* Polls, processes in one local transaction, publishes, moves the group offset. */
enum assent_err assent_intake_step(struct assent_intake *intake, int timeout_ms);
/* For work of one's own between steps: opens the local transaction … */
enum assent_err assent_intake_begin(struct assent_intake *intake);
/* … queues a record to be sent after its commit (key and value copied) … */
void assent_intake_queue(struct assent_intake *intake, int topic, int32_t lane, const struct assent_uuid *txn_id,
                         struct assent_bytes value, uint64_t tag);
/* … and commits it with the lanes' positions, then publishes. */
enum assent_err assent_intake_finish(struct assent_intake *intake);
/* For the bus's report of a tracked record, and of an event. */
void assent_intake_delivered(struct assent_intake *intake, const struct assent_report *report);
/* Waits for what was published, and commits the group offsets. For the drain. */
void assent_intake_drain(struct assent_intake *intake, int timeout_ms);

struct assent_intake_lane *assent_intake_lane(struct assent_intake *intake, int32_t lane); /* NULL: not held */
/* The lane's log time by this process's estimate: τ plus the monotonic time since its last record. INT64_MIN before one. */
int64_t assent_intake_estimate(const struct assent_intake *intake, const struct assent_intake_lane *lane);
const struct assent_outbox_counts *assent_intake_events(const struct assent_intake *intake);
int32_t assent_intake_lanes(const struct assent_intake *intake);
const char *assent_intake_errmsg(const struct assent_intake *intake);
void assent_intake_close(struct assent_intake *intake);

#endif
