/* participant.h: the participant's pure core, P3 to P9 and P12: what a command means for a branch, and what the
 * branch is afterwards. Functions of (row, command, lane time); no I/O, clock or memory. The state table and its
 * drawing stand in states.c. */
#ifndef ASSENT_CORE_PARTICIPANT_H
#define ASSENT_CORE_PARTICIPANT_H

#include "core/message.h"

/* States of a branch. Stored as these numbers; never renumbered. */
enum assent_branch_state {
        ASSENT_BRANCH_NONE = 0,          /* no row */
        ASSENT_BRANCH_PARKED = 1,        /* a first phase answered RETRY: not voted yet (P9) */
        ASSENT_BRANCH_PREPARED = 2,      /* voted YES, in doubt */
        ASSENT_BRANCH_PRE_COMMITTED = 3, /* 3PC: the outcome can only be COMMIT */
        ASSENT_BRANCH_COMMITTED = 4,
        ASSENT_BRANCH_ABORTED = 5,
        ASSENT_BRANCH_REFUSED = 6,   /* voted NO */
        ASSENT_BRANCH_READ_ONLY = 7,
        ASSENT_BRANCH_TOMBSTONE = 8, /* ABORT came before any PREPARE (P6) */
};

/* Phases of a branch row: the first phase, PRE_COMMIT, the decision. */
enum { ASSENT_SLOT_FIRST, ASSENT_SLOT_PRE_COMMIT, ASSENT_SLOT_DECISION, ASSENT_SLOTS };

int assent_slot_of(enum assent_phase phase);

/* A stored answer: with these fields and the branch's identity the reply is rebuilt byte for byte (P2, P3). */
struct assent_slot {
        enum assent_phase phase;   /* 0: this slot is empty */
        enum assent_answer answer;
        uint64_t digest;           /* the command's; 0 when the answer was made without one (P7's own decision) */
        uint32_t lamport;          /* the reply's, fixed at its first emission */
        bool unpublished;          /* P2: nothing at or above the cursor will bring it back; sent again at start */
};

/* A branch's row: (txn id, branch) is its key (P4b). */
struct assent_branch_row {
        struct assent_uuid txn_id;
        uint16_t branch, branches_count;
        int32_t lane;
        enum assent_branch_state state;
        bool frozen;         /* P8: a contradiction was seen; sticky */
        uint8_t parked;      /* messages of this branch waiting in the parking table; the core counts it up and down */
        int64_t deadline_ms; /* the greatest of its commands' */
        int64_t offset;      /* the greatest offset of a command about it; -1: none came by the lane */
        uint32_t lamport;    /* the greatest seen in this branch's commands */
        struct assent_slot slots[ASSENT_SLOTS];
        char reason[ASSENT_REASON_SIZE_MAX]; /* of a NO */
        uint16_t reason_size;
};

/* Where a command comes from: read from the lane; the first of the branch's messages in the parking table (P9);
 * emitted by the core in this participant's own evaluation of the lane (P10: the same command, so its digest is
 * real); made by this participant alone because it is cut off (P7: COMMIT in PRE_COMMITTED with nothing parked,
 * the only case; its digest is stored as 0 and filled in by the first real command). */
enum assent_source {
        ASSENT_FROM_LANE,
        ASSENT_FROM_PARKING,
        ASSENT_FROM_EVALUATION,
        ASSENT_FROM_CUT_OFF,
};

/* Messages of one branch in the parking table. What comes above it is skipped (verdict PARKED): copies, for a
 * branch has three distinct commands at most; a decision lost this way is found again by P10. */
#define ASSENT_PARKED_MAX 16

enum assent_action {
        /* What to do with the row: put it after STORE, RESEND, QUEUE and FREEZE (a redelivery's RESEND has not
         * changed it); nothing to put after SKIP and ANSWER, unless the message came from the parking table
         * (`parked` went down). */
        ASSENT_RUN_PREPARE = 1, /* run the handler, then assent_branch_settle with its vote */
        ASSENT_RUN_PRE_COMMIT,  /* … with DONE or RETRY */
        ASSENT_RUN_COMMIT,
        ASSENT_RUN_ABORT,
        ASSENT_STORE,    /* nothing to run: the row was moved and the answer stored; put it, publish slots[slot] */
        ASSENT_RESEND,   /* P3: publish the stored answer slots[slot] again */
        ASSENT_ANSWER,   /* P12: no row and beyond the horizon: publish DONE without storing anything */
        ASSENT_QUEUE,    /* P9: park this message behind the branch's others (it stays, if it came from there) */
        ASSENT_SKIP,     /* counted, nothing else: see the verdict */
        ASSENT_FREEZE,   /* P8: `frozen` was set; put the row (if there was none, make one) and raise the alarm */
};

/* Why, for counters and logging. */
#define ASSENT_PARTICIPANT_VERDICTS(X)                                                                                 \
        X(APPLIED) X(DUPLICATE) X(CONFLICT) X(FORGED) X(MISROUTED) X(LATE_PREPARE) X(EXPIRED) X(BEYOND_HORIZON)        \
        X(TOMBSTONE) X(PARKED) X(FROZEN) X(CONTRADICTION) X(REDELIVERED) X(MALFORMED) X(FOREIGN)

enum assent_participant_verdict {
#define X(name) ASSENT_PV_##name,
        ASSENT_PARTICIPANT_VERDICTS(X)
#undef X
        ASSENT_PV_COUNT
};
const char *assent_participant_verdict_name(enum assent_participant_verdict verdict);
const char *assent_branch_state_name(enum assent_branch_state state);

struct assent_judgement {
        enum assent_action action;
        enum assent_participant_verdict verdict;
        int slot;
};

/* A message that came from the parking table leaves it (assent_store_unpark) unless the last word on it is QUEUE.
 *
 * What to do with `command` (a COMMAND for this service and lane whose id holds; FORGED and MISROUTED were sorted
 * out before). `row` is the stored row, or has state NONE and is filled in here from the command (but for `lane`,
 * which the caller sets). `offset` is the record's (-1 without one). `tau_ms` is the lane's processed log time,
 * this record's included. `redelivered`: the offset lies below the position (P11): never runs a handler; a stored
 * answer is resent, anything else skipped. Updates offset, lamport and deadline; for STORE also the state and the
 * slot; sets slots[].unpublished as P2 says by `source`. Rules P3 to P8, P12. */
struct assent_judgement assent_branch_judge(struct assent_branch_row *row, const struct assent_message *command,
                                            int64_t offset, int64_t tau_ms, int64_t horizon_ms, bool redelivered,
                                            enum assent_source source);

/* What a handler said: a vote (enum assent_vote's numbers) for the first phase, or enum assent_result's. */
enum assent_said { ASSENT_SAID_YES = 1, ASSENT_SAID_NO, ASSENT_SAID_READ_ONLY, ASSENT_SAID_DONE, ASSENT_SAID_RETRY };

/* Moves the row by what the handler said: state, slot, answer (STORE), or QUEUE for RETRY (P9): a first phase
 * becomes PARKED, anything else keeps its state. RETRY of a command that has no record (P7, P10) is SKIP: the row
 * is as it was, so P10 asks again. `reason` is stored with a NO, as assent_reason_copy leaves it. */
struct assent_judgement assent_branch_settle(struct assent_branch_row *row, const struct assent_message *command,
                                             enum assent_said said, struct assent_bytes reason,
                                             enum assent_source source);

/* Copies a reason: it ends at a NUL, and at ASSENT_REASON_SIZE_MAX bytes, never inside a UTF-8 character. Returns
 * the size. */
uint16_t assent_reason_copy(char out[ASSENT_REASON_SIZE_MAX], struct assent_bytes reason);

/* In doubt: PREPARED or PRE_COMMITTED, not frozen (P10 applies; while messages are parked, those go first). */
bool assent_branch_in_doubt(const struct assent_branch_row *row);
/* P12: final, nothing parked, nothing unpublished, offset below `cursor`, deadline older than the horizon at tau; where a
 * PRE_COMMIT may still come, whose deadline is later than the CAN_COMMIT's by a timeout at most, older by that, too. */
bool assent_branch_forgettable(const struct assent_branch_row *row, int64_t cursor, int64_t tau_ms, int64_t horizon_ms,
                               int64_t timeout_max_ms);
/* Open: must be found again at start: in doubt, parked, unpublished or frozen. */
bool assent_branch_open(const struct assent_branch_row *row);

/* The reply for a slot, sealed; borrows `service` and the row's reason. */
void assent_branch_reply(const struct assent_branch_row *row, int slot, struct assent_bytes service,
                         struct assent_message *reply);
/* P12's answer for a command without a row: DONE. */
void assent_command_done(const struct assent_message *command, struct assent_message *reply);

#endif
