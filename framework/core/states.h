/* states.h: the participant's state table, private to the core. */
#ifndef ASSENT_CORE_STATES_H
#define ASSENT_CORE_STATES_H

#include "core/participant.h"

/* What can happen to a branch. The first seven are commands as judged by phase and time, the others
 * what a handler said. */
enum assent_branch_event {
        ASSENT_EVENT_PREPARE,         /* a first phase, in time */
        ASSENT_EVENT_PREPARE_EXPIRED, /* its deadline has passed */
        ASSENT_EVENT_PREPARE_LATE,    /* no row, and past the deadline by more than the horizon */
        ASSENT_EVENT_PRE_COMMIT,
        ASSENT_EVENT_COMMIT,
        ASSENT_EVENT_ABORT,
        ASSENT_EVENT_COPY_LATE, /* PRE_COMMIT or a decision: no row, and the deadline beyond the
                                   horizon */
        ASSENT_EVENT_YES,
        ASSENT_EVENT_NO,
        ASSENT_EVENT_READ_ONLY,
        ASSENT_EVENT_PREPARE_RETRY,
        ASSENT_EVENT_PRE_COMMIT_DONE,
        ASSENT_EVENT_COMMIT_DONE,
        ASSENT_EVENT_ABORT_DONE,
        ASSENT_EVENT_LATER_RETRY, /* RETRY from pre_commit, commit or abort */
        ASSENT_EVENTS
};

#define ASSENT_BRANCH_STATES (ASSENT_BRANCH_TOMBSTONE + 1)

struct assent_branch_move {
        enum assent_action action; /* 0: this cannot happen, and asking is our own bug */
        enum assent_participant_verdict verdict;
        enum assent_branch_state next;
        enum assent_answer answer; /* STORE only */
        const char *reason;        /* a NO that no handler gave */
};

const struct assent_branch_move *assent_branch_move(enum assent_branch_state state,
                                                    enum assent_branch_event event);

/* Nothing but the decision itself, or P12, will ever move a final state. */
bool assent_branch_state_final(enum assent_branch_state state);

/* The invariant: panics when the row's slots, queue and flags do not belong to its state. */
void assent_branch_check(const struct assent_branch_row *row);

#endif
