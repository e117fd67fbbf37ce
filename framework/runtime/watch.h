/* watch.h: what the loops tell operators. Each has a block of numbers that its own thread moves and the listener's reads, with
 * neither lock nor fence: counters as things happen, gauges every ASSENT_WATCH_MS, so that watching costs the loop nothing that
 * can be measured. Nothing here decides anything. */
#ifndef ASSENT_RUNTIME_WATCH_H
#define ASSENT_RUNTIME_WATCH_H

#include <assent/observe.h>

#include "core/coordinator.h"
#include "core/participant.h"
#include "kafka/bus.h"
#include "observe/statistics.h"
#include "runtime/outbox.h"

#define ASSENT_WATCH_MS 100

struct assent_watch_lane {
        uint64_t held;
        uint64_t heard;    /* log time is known */
        int64_t behind_ms; /* the clock minus τ, when the newest record was handled */
        /* The loop's own: it is held; what is committed, and since when that has not moved. */
        bool seen;
        int64_t committed, since_ms;
};

/* What all loops have. */
struct assent_watch {
        char *name, *labels; /* "participant payment"; service="payment" */
        struct assent_statistics *statistics;
        int32_t lanes_count;
        struct assent_watch_lane *lanes;
        uint64_t dead_letters, failed, stopping;
        uint64_t ready, recovering;  /* lanes */
        uint64_t unwritable;         /* the disk of the store is full, or may only be read */
        uint64_t shared;             /* the group has shared its lanes out, perhaps none to this member */
        int64_t uncovered_since_ms;  /* monotonic: since when work waits for its checkpoint; 0: none does */
        /* The loop's own, between begin and end. */
        int64_t now_ms, wall_ms, next_ms, oldest_ms;
        uint64_t ready_now, recovering_now;
};

/* Before the bus, and when the lanes are known. False: no memory. A coordinator's service is NULL. */
bool assent_watch_open(struct assent_watch *watch, const char *role, const char *service);
bool assent_watch_lanes(struct assent_watch *watch, int32_t count);
void assent_watch_close(struct assent_watch *watch); /* also right for zeroed memory */

/* A bus's `statistics`, with a watch for its context. */
void assent_watch_statistics(void *watch, bool consumer, char *json);

/* Gauges: begin says whether it is time; then each lane that is held; then end. */
bool assent_watch_begin(struct assent_watch *watch, int64_t now_ms);
struct assent_watched_lane {
        int64_t tau_ms, heard_ms;  /* log time; when it was told, monotonic */
        int64_t committed, next;   /* offsets: of the newest checkpoint; of the loop. Equal where no checkpoint is due */
        bool ready;                /* nothing is replayed or resent */
};
void assent_watch_lane(struct assent_watch *watch, int32_t lane, const struct assent_watched_lane *seen);
void assent_watch_end(struct assent_watch *watch);

static inline void assent_watch_set(uint64_t *gauge, uint64_t value)
{
        __atomic_store_n(gauge, value, __ATOMIC_RELAXED);
}

/* For the listener. */
void assent_watch_expose(const struct assent_watch *watch, struct assent_exposition *out);
bool assent_watch_ready(void *watch, char why[ASSENT_READY_SIZE_MAX]);

/* ---- the coordinator's ---- */

#define ASSENT_WATCH_TYPES 6 /* of messages, 0 for what does not decode */

struct assent_coordinator_watch {
        struct assent_watch common; /* first */
        uint64_t decided[2][3];     /* 2PC, 3PC; committed, aborted, timed out */
        struct assent_durations committed, aborted, recovery;
        uint64_t messages[ASSENT_WATCH_TYPES][ASSENT_VERDICT_COUNT];
        uint64_t undeliverable, overload, cancelled_undeliverable;
        uint64_t undecided, waiting, refusals, acting;
};

void assent_coordinator_decided(struct assent_coordinator_watch *watch, const struct assent_trace *trace);
void assent_coordinator_metrics(void *watch, struct assent_exposition *out);

/* ---- a participant's, and a consumer's ---- */

struct assent_intake_watch {
        struct assent_watch common; /* first */
        const char *path;           /* of the database */
        struct assent_durations commit;
        uint64_t retries;
        uint64_t outbox_sent, outbox_refused, outbox_rows;
};

struct assent_participant_watch {
        struct assent_intake_watch intake; /* first */
        uint64_t verdicts[ASSENT_PV_COUNT];
        uint64_t votes[3]; /* yes, no, read-only */
        uint64_t inquired, terminated;
        uint64_t in_doubt, parked, frozen;
        int64_t oldest_ms; /* birth of the oldest in doubt; 0: none */
};

void assent_participant_voted(struct assent_participant_watch *watch, enum assent_answer vote);
void assent_participant_doubts(struct assent_participant_watch *watch, uint64_t in_doubt, uint64_t parked, int64_t oldest_ms);
void assent_participant_metrics(const struct assent_participant_watch *watch, struct assent_exposition *out);

struct assent_consumer_watch {
        struct assent_intake_watch intake; /* first */
        uint64_t handled, duplicates, conflicts, without_id;
};

void assent_consumer_metrics(void *watch, struct assent_exposition *out);

#endif
