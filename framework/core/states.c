/* states.c: the states of a branch as tables: what each event does in each state, and what each
 * state must look like.
 *
 *                    retry ┌──┐
 *          ┌──────────► PARKED ┘───────────────────┐
 *    retry │               │ yes                   │ no, read-only, deadline passed
 *          │               ▼                       ▼
 *        NONE ─────────► PREPARED          REFUSED, READ_ONLY ──┐ ABORT: answered DONE
 *        │  │    yes      │  │  │                  ▲     ▲      │
 *        │  └─────────────│──│──│──────────────────┘     └──────┘
 *        │  no, read-only │  │  │
 *        │                │  │  │ PRE_COMMIT
 *        │ ABORT    ABORT │  │  └───────────► PRE_COMMITTED
 *        ▼                ▼  │ COMMIT               │ COMMIT
 *    TOMBSTONE      ABORTED  └─────► COMMITTED ◄────┘
 *
 * A tombstone answers NO to the PREPARE that comes after its ABORT (P6). Whatever is not drawn is a
 * contradiction: the branch is frozen where it stands (P8), which is a flag and no state, so that
 * the row still shows what was done. Messages of a branch with something parked wait in its queue,
 * whatever they say (P9), so PARKED meets nothing but its own first phase; what has a stored answer
 * is told apart before this table is asked (P3). */
#include "core/states.h"

#include "base/panic.h"

#define MOVE(action_, verdict_, next_, answer_, reason_)                                           \
        {                                                                                          \
                .action = ASSENT_##action_, .verdict = ASSENT_PV_##verdict_,                       \
                .next = ASSENT_BRANCH_##next_, .answer = (enum assent_answer)(answer_),            \
                .reason = (reason_)                                                                \
        }
#define RUN(handler, state)           MOVE(RUN_##handler, APPLIED, state, 0, NULL)
#define STORE(verdict, next, answer)  MOVE(STORE, verdict, next, ASSENT_##answer, NULL)
#define REFUSE(verdict, next, reason) MOVE(STORE, verdict, next, ASSENT_NO, reason)
#define FREEZE(state)                 MOVE(FREEZE, CONTRADICTION, state, 0, NULL)
#define QUEUE(next)                   MOVE(QUEUE, PARKED, next, 0, NULL)

#define TOO_LATE "deadline passed"
#define UNWANTED "aborted before it was prepared"

static const struct assent_branch_move moves[ASSENT_BRANCH_STATES][ASSENT_EVENTS] =
    {
        [ASSENT_BRANCH_NONE] =
            {
                [ASSENT_EVENT_PREPARE] = RUN(PREPARE, NONE),                            /* P4 */
                [ASSENT_EVENT_PREPARE_EXPIRED] = REFUSE(EXPIRED, REFUSED, TOO_LATE),    /* P4 */
                [ASSENT_EVENT_PREPARE_LATE] = MOVE(SKIP, LATE_PREPARE, NONE, 0, NULL),  /* P4 */
                [ASSENT_EVENT_PRE_COMMIT] = FREEZE(NONE),                               /* P7, P8 */
                [ASSENT_EVENT_COMMIT] = FREEZE(NONE),                                   /* P8 */
                [ASSENT_EVENT_ABORT] = STORE(TOMBSTONE, TOMBSTONE, DONE),               /* P6 */
                [ASSENT_EVENT_COPY_LATE] = MOVE(ANSWER, BEYOND_HORIZON, NONE, 0, NULL), /* P12 */
                [ASSENT_EVENT_YES] = STORE(APPLIED, PREPARED, YES),
                [ASSENT_EVENT_NO] = STORE(APPLIED, REFUSED, NO),
                [ASSENT_EVENT_READ_ONLY] = STORE(APPLIED, READ_ONLY, READ_ONLY),
                [ASSENT_EVENT_PREPARE_RETRY] = QUEUE(PARKED), /* P9 */
            },
        [ASSENT_BRANCH_PARKED] =
            {
                [ASSENT_EVENT_PREPARE] = RUN(PREPARE, PARKED),
                [ASSENT_EVENT_PREPARE_EXPIRED] = REFUSE(EXPIRED, REFUSED, TOO_LATE), /* P9 */
                [ASSENT_EVENT_YES] = STORE(APPLIED, PREPARED, YES),
                [ASSENT_EVENT_NO] = STORE(APPLIED, REFUSED, NO),
                [ASSENT_EVENT_READ_ONLY] = STORE(APPLIED, READ_ONLY, READ_ONLY),
                [ASSENT_EVENT_PREPARE_RETRY] = QUEUE(PARKED),
            },
        [ASSENT_BRANCH_PREPARED] =
            {
                [ASSENT_EVENT_PRE_COMMIT] = RUN(PRE_COMMIT, PREPARED), /* P7 */
                [ASSENT_EVENT_COMMIT] = RUN(COMMIT, PREPARED),         /* P5 */
                [ASSENT_EVENT_ABORT] = RUN(ABORT, PREPARED),           /* P6 */
                [ASSENT_EVENT_PRE_COMMIT_DONE] = STORE(APPLIED, PRE_COMMITTED, DONE),
                [ASSENT_EVENT_COMMIT_DONE] = STORE(APPLIED, COMMITTED, DONE),
                [ASSENT_EVENT_ABORT_DONE] = STORE(APPLIED, ABORTED, DONE),
                [ASSENT_EVENT_LATER_RETRY] = QUEUE(PREPARED), /* P9 */
            },
        [ASSENT_BRANCH_PRE_COMMITTED] =
            {
                [ASSENT_EVENT_COMMIT] = RUN(COMMIT, PRE_COMMITTED), /* P5 */
                [ASSENT_EVENT_ABORT] = FREEZE(PRE_COMMITTED),       /* P8 */
                [ASSENT_EVENT_COMMIT_DONE] = STORE(APPLIED, COMMITTED, DONE),
                [ASSENT_EVENT_LATER_RETRY] = QUEUE(PRE_COMMITTED),
            },
        [ASSENT_BRANCH_COMMITTED] =
            {
                [ASSENT_EVENT_PRE_COMMIT] = STORE(APPLIED, COMMITTED, DONE), /* P7 */
                [ASSENT_EVENT_ABORT] = FREEZE(COMMITTED),                    /* P8 */
            },
        [ASSENT_BRANCH_ABORTED] =
            {
                [ASSENT_EVENT_PRE_COMMIT] = FREEZE(ABORTED), /* P7 */
                [ASSENT_EVENT_COMMIT] = FREEZE(ABORTED),     /* P8 */
            },
        [ASSENT_BRANCH_REFUSED] =
            {
                [ASSENT_EVENT_PRE_COMMIT] = FREEZE(REFUSED),          /* P7 */
                [ASSENT_EVENT_COMMIT] = FREEZE(REFUSED),              /* P8 */
                [ASSENT_EVENT_ABORT] = STORE(APPLIED, REFUSED, DONE), /* P6 */
            },
        /* Nobody sends these a decision to commit (R5, R6): the coordinator has counted a YES that
           was never given. */
        [ASSENT_BRANCH_READ_ONLY] =
            {
                [ASSENT_EVENT_PRE_COMMIT] = FREEZE(READ_ONLY),
                [ASSENT_EVENT_COMMIT] = FREEZE(READ_ONLY),
                [ASSENT_EVENT_ABORT] = STORE(APPLIED, READ_ONLY, DONE), /* P6 */
            },
        [ASSENT_BRANCH_TOMBSTONE] =
            {
                [ASSENT_EVENT_PREPARE] = REFUSE(TOMBSTONE, TOMBSTONE, UNWANTED),         /* P6 */
                [ASSENT_EVENT_PREPARE_EXPIRED] = REFUSE(TOMBSTONE, TOMBSTONE, UNWANTED), /* P6 */
                [ASSENT_EVENT_PRE_COMMIT] = FREEZE(TOMBSTONE),                           /* P7 */
                [ASSENT_EVENT_COMMIT] = FREEZE(TOMBSTONE),                               /* P8 */
            },
};

/* What the slots of a row in each state hold. */
enum slot_form { EMPTY, FILLED, EITHER };

struct state_form {
        const char *name;
        bool final;
        enum slot_form first, pre_commit, decision;
        enum assent_answer vote;   /* in the first slot, if it is filled */
        enum assent_phase decided; /* in the decision slot, if it is filled */
};

#define FORM(name_, final_, first_, vote_, pre_commit_, decision_, decided_)                       \
        [ASSENT_BRANCH_##name_] = {.name = #name_,                                                 \
                                   .final = (final_),                                              \
                                   .first = (first_),                                              \
                                   .pre_commit = (pre_commit_),                                    \
                                   .decision = (decision_),                                        \
                                   .vote = (enum assent_answer)(vote_),                            \
                                   .decided = (enum assent_phase)(decided_)}

static const struct state_form forms[ASSENT_BRANCH_STATES] = {
    FORM(NONE, false, EMPTY, 0, EMPTY, EMPTY, 0),
    FORM(PARKED, false, EMPTY, 0, EMPTY, EMPTY, 0),
    FORM(PREPARED, false, FILLED, ASSENT_YES, EMPTY, EMPTY, 0),
    FORM(PRE_COMMITTED, false, FILLED, ASSENT_YES, FILLED, EMPTY, 0),
    FORM(COMMITTED, true, FILLED, ASSENT_YES, EITHER, FILLED, ASSENT_COMMIT),
    FORM(ABORTED, true, FILLED, ASSENT_YES, EMPTY, FILLED, ASSENT_ABORT),
    FORM(REFUSED, true, FILLED, ASSENT_NO, EMPTY, EITHER, ASSENT_ABORT),
    FORM(READ_ONLY, true, FILLED, ASSENT_READ_ONLY, EMPTY, EITHER, ASSENT_ABORT),
    FORM(TOMBSTONE, true, EITHER, ASSENT_NO, EMPTY, FILLED, ASSENT_ABORT),
};

static const char *const verdict_names[ASSENT_PV_COUNT] = {
#define X(name) #name,
    ASSENT_PARTICIPANT_VERDICTS(X)
#undef X
};

const struct assent_branch_move *assent_branch_move(enum assent_branch_state state,
                                                    enum assent_branch_event event)
{
        ASSENT_ASSERT((unsigned)state < ASSENT_BRANCH_STATES);
        ASSENT_ASSERT((unsigned)event < ASSENT_EVENTS);
        return &moves[state][event];
}

bool assent_branch_state_final(enum assent_branch_state state)
{
        ASSENT_ASSERT((unsigned)state < ASSENT_BRANCH_STATES);
        return forms[state].final;
}

const char *assent_branch_state_name(enum assent_branch_state state)
{
        return (unsigned)state < ASSENT_BRANCH_STATES ? forms[state].name : "?";
}

const char *assent_participant_verdict_name(enum assent_participant_verdict verdict)
{
        return (unsigned)verdict < ASSENT_PV_COUNT ? verdict_names[verdict] : "?";
}

static bool fits(const struct assent_slot *slot, enum slot_form form)
{
        if (!slot->phase)
                return form != FILLED && !slot->answer && !slot->unpublished;
        return form != EMPTY && slot->answer && slot->lamport > 0 &&
               slot->lamport <= ASSENT_LAMPORT_MAX;
}

void assent_branch_check(const struct assent_branch_row *row)
{
        ASSENT_ASSERT((unsigned)row->state < ASSENT_BRANCH_STATES);
        const struct state_form *form = &forms[row->state];
        const struct assent_slot *first = &row->slots[ASSENT_SLOT_FIRST];
        const struct assent_slot *pre_commit = &row->slots[ASSENT_SLOT_PRE_COMMIT];
        const struct assent_slot *decision = &row->slots[ASSENT_SLOT_DECISION];

        ASSENT_ASSERT(fits(first, form->first));
        ASSENT_ASSERT(fits(pre_commit, form->pre_commit));
        ASSENT_ASSERT(fits(decision, form->decision));
        ASSENT_ASSERT(!first->phase || first->answer == form->vote);
        ASSENT_ASSERT(!pre_commit->phase || pre_commit->answer == ASSENT_DONE);
        ASSENT_ASSERT(!decision->phase || decision->phase == form->decided);
        ASSENT_ASSERT(!decision->phase || decision->answer == ASSENT_DONE);
        ASSENT_ASSERT(row->state != ASSENT_BRANCH_NONE || row->parked == 0);
        ASSENT_ASSERT(row->state != ASSENT_BRANCH_PARKED || row->parked > 0);
        ASSENT_ASSERT(row->parked <= ASSENT_PARKED_MAX && row->lamport <= ASSENT_LAMPORT_MAX);
        ASSENT_ASSERT(row->reason_size <= ASSENT_REASON_SIZE_MAX);
        ASSENT_ASSERT(row->reason_size == 0 || first->answer == ASSENT_NO);
}
