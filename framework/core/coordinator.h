/* coordinator.h: the coordinator's pure core, R1 to R11, R15, R16 and the state of R12 and R13. One lane, one object:
 * state × (offset, timestamp, message) → state, emissions, verdict. No I/O, clock, randomness, thread or global; memory
 * only from the arena it reserves at birth. Two cores fed the same records are equal to the last emission and digest. */
#ifndef ASSENT_CORE_COORDINATOR_H
#define ASSENT_CORE_COORDINATOR_H

#include "core/message.h"
#include "core/settings.h"

struct assent_core;

#define ASSENT_TIME_NONE INT64_MIN /* τ before the first record; floor where there is none */

/* What the core made of a record. */
#define ASSENT_VERDICTS(X)                                                                                             \
        X(APPLIED)      /* it changed the transaction's state, or is a TICK, or the lane's first SETTINGS */           \
        X(DUPLICATE)    /* seen before, nothing new; a begin's outcome is emitted again (R2) */                        \
        X(LATE)         /* a vote, ack or cancel about something already settled: changes nothing */                  \
        X(EARLY)        /* a reply to a phase that was not asked yet */                                                \
        X(ANSWERED)     /* an INQUIRE about a decided transaction (R10) */                                             \
        X(PENDING)      /* an INQUIRE about an undecided one */                                                        \
        X(UNKNOWN)      /* about a transaction that is not known here */                                               \
        X(CONFLICT)     /* same id, other digest; or a second, different vote */                                       \
        X(FORGED)       /* the id does not follow from the fields, or branch, service or phase do not match */         \
        X(MISROUTED)    /* a begin in a lane that is not its own */                                                    \
        X(STALE)        /* born before the window, or at or below the floor */                                         \
        X(FUTURE)       /* born after τ + S */                                                                         \
        X(LIMIT)        /* more branches, or a longer field, than the limits allow */                                  \
        X(NO_SETTINGS)  /* a begin before the lane's first SETTINGS */                                                 \
        X(FOREIGN)      /* a well-formed message that has no business in the inbox (a command, an outcome) */          \
        X(MALFORMED)    /* does not decode, or breaks a limit of the wire format (R15) */

enum assent_verdict {
#define X(name) ASSENT_V_##name,
        ASSENT_VERDICTS(X)
#undef X
        ASSENT_VERDICT_COUNT
};

const char *assent_verdict_name(enum assent_verdict verdict); /* "APPLIED", … */

/* One thing the core did, for narration, counters and tests. Not part of the state. */
enum assent_trace_kind {
        ASSENT_T_SETTINGS,  /* the lane's settings were taken */
        ASSENT_T_ACCEPTED,  /* R2 */
        ASSENT_T_REJECTED,  /* R2; verdict says why */
        ASSENT_T_VOTE,      /* R4 */
        ASSENT_T_PRE_COMMIT,/* R6: PRE_COMMIT goes out */
        ASSENT_T_PRE_ACK,   /* R6 */
        ASSENT_T_DECIDED,   /* R5 to R8 */
        ASSENT_T_ACK,       /* R9 */
        ASSENT_T_FINISHED,  /* R9: all acks in */
        ASSENT_T_FORGOTTEN, /* R11 */
        ASSENT_T_VERDICT,   /* any other verdict about a message */
};

struct assent_trace {
        enum assent_trace_kind kind;
        int64_t offset, tau_ms;
        enum assent_verdict verdict;
        const struct assent_message *message; /* the record's, NULL when malformed */
        struct assent_uuid txn_id;            /* whom it is about; all zero for none */
        enum assent_protocol protocol;
        uint16_t branch, branches_count;
        struct assent_bytes service;
        enum assent_answer answer;
        enum assent_outcome outcome;          /* DECIDED */
        struct assent_bytes reason;
        int64_t deadline_ms;
};

struct assent_core_options {
        int32_t lane;
        int64_t tau_ms;   /* τ(L−1), or ASSENT_TIME_NONE at offset 0 */
        int64_t floor_ms; /* τ(L−1) + S, or ASSENT_TIME_NONE: none (R13) */
        /* Those of the record before L; NULL: the lane's first valid SETTINGS record counts. NULL also when the replay starts
         * at offset 0, whatever a checkpoint says: begins before that record were rejected, and must be again (R17). */
        const struct assent_settings *settings;
        size_t memory_max;                      /* bytes of the arena, reserved, not touched, at birth */
        /* Emissions, in order, during step; the message and what it points to are valid until it returns. */
        void (*emit)(void *context, const struct assent_message *message);
        void (*trace)(void *context, const struct assent_trace *trace); /* may be NULL */
        void *context;
};

/* Returns NULL when memory_max cannot be reserved. */
struct assent_core *assent_core_open(const struct assent_core_options *options);
void assent_core_close(struct assent_core *core); /* NULL is fine */

/* Applies one record: R1, then R8, then the message, then R11 (`message` NULL: malformed, R15). `timestamp_ms` is the
 * broker's append time; one outside 0 … 2^48 - 1 (ASSENT_TIME_NONE, say) is none and moves nothing. Offsets must grow.
 * Returns false only when the arena is exhausted (R16's hard limit): the core is
 * then of no further use, and the caller stops with an error; *verdict is set otherwise. */
bool assent_core_step(struct assent_core *core, int64_t offset, int64_t timestamp_ms, const struct assent_message *message,
                      enum assent_verdict *verdict);

int64_t assent_core_tau(const struct assent_core *core);
/* h − S of R12, h = min(τ − W, births of undecided transactions): L is the first offset whose τ is ≥ it. ASSENT_TIME_NONE,
 * which makes L 0, while the lane has no settings and for W + S after it took them (an L at or before the record that
 * brought them would accept, on replay, begins that came before it). */
int64_t assent_core_hold(const struct assent_core *core);
/* The state digest, kept incrementally: a sum over entries, and τ. Counters and the floor are not in it. */
uint64_t assent_core_digest(const struct assent_core *core);
/* The earliest deadline of an undecided transaction; false when there is none. For R14. */
bool assent_core_deadline(const struct assent_core *core, int64_t *deadline_ms);
/* The lane's settings, or NULL before the first. */
const struct assent_settings *assent_core_settings(const struct assent_core *core);

struct assent_core_counts {
        uint64_t undecided; /* in flight, not decided */
        uint64_t decided;   /* decided, acks missing */
        uint64_t finished;  /* all acks in, kept for the window */
        size_t memory;      /* arena bytes in use */
        uint64_t verdicts[ASSENT_VERDICT_COUNT];
        uint64_t committed, aborted, timed_out; /* decisions since birth; timed_out is part of aborted */
};
void assent_core_counts(const struct assent_core *core, struct assent_core_counts *out);

/* What is known of one transaction: for tests, `txn show` and P10's caller. False: not known (never, or forgotten). */
struct assent_core_view {
        bool decided, finished, pre_commit;
        enum assent_outcome outcome;
        int64_t deadline_ms;
        uint16_t branches_count;
};
bool assent_core_find(const struct assent_core *core, const struct assent_uuid *txn_id, struct assent_core_view *out);

#endif
