/*
 * One transaction, one lane, seen from above: the inbox as a log, two coordinators that may overlap, N participants, a
 * client, and time. Rule numbers are those of framework/DESIGN.md. What is left out, and what is wider here than in the
 * code, stands in README.md beside this file.
 *
 * Shape: -DN=2|3 participants; -DTHREE_PHASE; -DTIMEOUT, -DWINDOW, -DTIME_MAX in units of log time; the budgets below.
 * -DCHECK=bits says which properties count (all by default); -DPLANT_… plants one mistake.
 */
#ifndef N
#define N 2
#endif
#ifndef COORDINATORS
#define COORDINATORS 2
#endif
#ifndef TIMEOUT
#define TIMEOUT 0 /* a record is past its deadline when log time > deadline: 0 still leaves one instant to vote in */
#endif
#ifndef WINDOW
#define WINDOW 1 /* R17: W > 2 * timeout */
#endif
/* The latest begin is accepted at W, its pre-commit deadline is W + 2 * timeout; one later, all is past. */
#ifndef TIME_MAX
#define TIME_MAX (WINDOW + 2 * TIMEOUT + 1)
#endif
/* How often each misfortune may happen in one run. */
#ifndef RESTARTS /* coordinators, all together */
#define RESTARTS 1
#endif
#ifndef CHECKPOINTS
#define CHECKPOINTS 1
#endif
#ifndef PARTICIPANT_CRASHES
#define PARTICIPANT_CRASHES 1
#endif
#ifndef REPEATED_BEGINS
#define REPEATED_BEGINS 1
#endif
#ifndef CANCELS
#define CANCELS 1
#endif
#ifndef SECOND_VOTES /* a branch contradicts its own vote */
#define SECOND_VOTES 0
#endif
#ifndef EARLY_INQUIRIES
#define EARLY_INQUIRIES 1
#endif
#ifndef CHECK
#define CHECK 255
#endif

/* The names appear in the verifier's report; a property that is switched off is true from the start. */
bool I1_agreement = !(CHECK & 1);
bool I2_validity = !(CHECK & 2);
bool I9_no_unilateral_outcome = !(CHECK & 4);
bool I16_forgetting = !(CHECK & 8);
bool P8_no_contradiction = !(CHECK & 16);
bool R13_digest = !(CHECK & 32);
bool termination = !(CHECK & 64);

/* Answers, and the states of branches and of the transaction. */
#define YES 1
#define NO 2
#define READ_ONLY 3

#define NONE 0
#define VOTING 1
#define PRE 2
#define COMMIT 3
#define ABORT 4

#define PREPARED 1
#define PRE_COMMITTED 2
#define COMMITTED 3
#define ABORTED 4
#define REFUSED 5
#define HAD_NOTHING 6 /* READ_ONLY */
#define TOMBSTONE 7
#define FROZEN 8

/* Commands as bits: a topic is the set of what was ever published, and any of it may be delivered, at any time, again. */
#define C_PREPARE 1
#define C_PRE_COMMIT 2
#define C_COMMIT 4
#define C_ABORT 8

/* Records: kind * 4 + branch. */
#define BEGIN 0
#define VOTE_YES 1
#define VOTE_NO 2
#define VOTE_READ_ONLY 3
#define PRE_ACK 4
#define CANCEL 5
#define INQUIRE 6
#define TICK 7

#define LOG_MAX (1 + REPEATED_BEGINS + 2 * N + CANCELS + SECOND_VOTES + EARLY_INQUIRIES + N + 3 * PARTICIPANT_CRASHES + TIME_MAX)

byte log[LOG_MAX];
byte stamp[LOG_MAX]; /* broker append time; only its running maximum matters (R1), so it is never drawn smaller */
byte length;
byte now;

/* Cores: one for each coordinator, and the last for whoever evaluates the lane itself (P10). */
#define CORES (COORDINATORS + 1)
#define READER COORDINATORS
byte phase[CORES];
byte tau[CORES];
byte deadline[CORES];
byte vote[CORES * N];
bool acked[CORES * N];
byte emitted[CORES * N]; /* what was computed and has not got through; dies with the coordinator */
bool cut[COORDINATORS * N]; /* from here on nothing of this coordinator gets through to that topic, until it restarts */
bool floored[CORES];     /* R13: the transaction's birth, 0, lies at or below the floor */
byte at[COORDINATORS];
byte emit_from[COORDINATORS];
int digest[COORDINATORS]; /* what the state at emit_from must be */

/* The checkpoint in the group offset (R12). */
byte saved_next, saved_start;
int saved_digest;

byte published[N];
byte branch[N];
byte answer[N];       /* of the first phase, in the row */
bool pre_answer[N];   /* of PRE_COMMIT, in the row */
byte vote_sent[N];    /* 1: acknowledged, which a crash forgets: 2 */
bool pre_sent[N];     /* acknowledged; likewise */
bool asked_last[N];
bool dead[N];
#ifdef PLANT_ANSWER_FIRST
bool half[N];
#endif

byte restarts = RESTARTS;
byte checkpoints = CHECKPOINTS;
byte crashes = PARTICIPANT_CRASHES;
byte repeats = REPEATED_BEGINS + 1;
byte cancels = CANCELS;
byte seconds = SECOND_VOTES;
byte early = EARLY_INQUIRIES;

/* The specification, kept apart from the rules: what the log means, with no phases, crashes or forgetting. */
byte fate; /* NONE, VOTING, COMMIT or ABORT */
byte fate_deadline;
byte first_vote[N];

hidden byte lost_, i_, n_, kind_, who_, yes_;
hidden byte result_, at_;
hidden int digest_;

#define V(k, i) vote[(k) * N + (i)]
#define A(k, i) acked[(k) * N + (i)]
#define E(k, i) emitted[(k) * N + (i)]
#define decided(i) (published[i] & (C_COMMIT | C_ABORT)) /* P10: the own commands are read to their end first */
#define in_doubt(i) (branch[i] == PREPARED || branch[i] == PRE_COMMITTED)
/*
 * The branches are alike too: their numbers are the order in which they first vote, and those that never vote come last. Any
 * run becomes such a one when its branches are renumbered.
 */
#define may_vote(i) (i == 0 || vote_sent[i - 1] != 0)
#define is_vote(kind) ((kind) >= VOTE_YES && (kind) <= VOTE_READ_ONLY)
#define says_abort(i) (branch[i] == ABORTED || branch[i] == REFUSED || branch[i] == TOMBSTONE)

/* ---- the log -------------------------------------------------------------------------------------------------- */

inline append(kind, who)
{
        assert(length < LOG_MAX);
        log[length] = (kind) * 4 + (who);
        stamp[length] = now;
        length++;
        if
        :: fate == NONE && (kind) == BEGIN && now <= WINDOW ->
                fate = VOTING;
                fate_deadline = now + TIMEOUT
        :: fate == VOTING && (now > fate_deadline || (kind) == CANCEL || (kind) == VOTE_NO && first_vote[who] == 0) ->
                fate = ABORT
        :: fate == VOTING && now <= fate_deadline && ((kind) == VOTE_YES || (kind) == VOTE_READ_ONLY) &&
           first_vote[who] == 0 ->
                first_vote[who] = kind;
                n_ = 0;
                for (i_ : 0 .. N - 1) {
                        n_ = n_ + (first_vote[i_] != 0)
                }
                if
                :: n_ == N -> fate = COMMIT
                :: else
                fi
        :: else
        fi
}

/* ---- the core: R1, R8, the message, R11; in this order ---------------------------------------------------------- */

inline decide(k, decision, command)
{
        assert(I2_validity || k == READER || at[k] < emit_from[k] || decision == fate);
        phase[k] = decision;
        deadline[k] = tau[k];
        for (i_ : 0 .. N - 1) {
#ifdef PLANT_ABORT_VOTERS_ONLY
                E(k, i_) = E(k, i_) | (V(k, i_) == YES -> command : 0);
#else
                E(k, i_) = E(k, i_) | (V(k, i_) != NO && V(k, i_) != READ_ONLY -> command : 0); /* R5 */
#endif
                A(k, i_) = 0
        }
}

inline all_in(k)
{
        n_ = 0;
        yes_ = 0;
        for (i_ : 0 .. N - 1) {
                n_ = n_ + (V(k, i_) != 0);
                yes_ = yes_ + (V(k, i_) == YES)
        }
        if
        :: n_ < N
#ifdef THREE_PHASE
        :: n_ == N && yes_ > 0 -> /* R6 */
                phase[k] = PRE;
                deadline[k] = tau[k] + TIMEOUT;
                for (i_ : 0 .. N - 1) {
                        E(k, i_) = E(k, i_) | (V(k, i_) == YES -> C_PRE_COMMIT : 0)
                }
        :: n_ == N && yes_ == 0 -> decide(k, COMMIT, C_COMMIT)
#else
        :: n_ == N -> decide(k, COMMIT, C_COMMIT)
#endif
        fi
}

inline apply(k)
{
        if
        :: kind_ == BEGIN && phase[k] == NONE && tau[k] <= WINDOW && !floored[k] -> /* R2, R3 */
                phase[k] = VOTING;
                deadline[k] = tau[k] + TIMEOUT;
                for (i_ : 0 .. N - 1) {
                        E(k, i_) = E(k, i_) | C_PREPARE
                }
#ifdef PLANT_LAST_VOTE
        :: is_vote(kind_) && phase[k] == VOTING ->
#else
        :: is_vote(kind_) && phase[k] == VOTING && V(k, who_) == 0 -> /* R4 */
#endif
                V(k, who_) = kind_;
                if
                :: kind_ == VOTE_NO -> decide(k, ABORT, C_ABORT) /* R5 */
                :: else -> all_in(k)
                fi
        :: kind_ == PRE_ACK && phase[k] == PRE && V(k, who_) == YES -> /* R6 */
                A(k, who_) = 1;
                n_ = 0;
                for (i_ : 0 .. N - 1) {
                        n_ = n_ + (V(k, i_) == YES && !A(k, i_))
                }
                if
                :: n_ == 0 -> decide(k, COMMIT, C_COMMIT)
                :: else
                fi
        :: kind_ == CANCEL && phase[k] == VOTING -> decide(k, ABORT, C_ABORT) /* R7 */
        :: kind_ == INQUIRE && (phase[k] == COMMIT || phase[k] == ABORT) -> /* R10 */
                assert(I16_forgetting || k == READER || at[k] < emit_from[k] || phase[k] == fate);
                E(k, who_) = E(k, who_) |
                        (V(k, who_) == NO || V(k, who_) == READ_ONLY -> 0 : (phase[k] == COMMIT -> C_COMMIT : C_ABORT))
#ifdef PLANT_PRESUME_ABORT
        :: kind_ == INQUIRE && phase[k] == NONE ->
                assert(I16_forgetting || k == READER || at[k] < emit_from[k] || fate == ABORT);
                E(k, who_) = E(k, who_) | C_ABORT
#endif
        :: else
        fi
}

inline forget(k)
{
        phase[k] = NONE;
        deadline[k] = 0;
        for (i_ : 0 .. N - 1) {
                V(k, i_) = 0;
                A(k, i_) = 0
        }
}

inline step(k, offset)
{
        kind_ = log[offset] / 4;
        who_ = log[offset] % 4;
        tau[k] = (stamp[offset] > tau[k] -> stamp[offset] : tau[k]); /* R1 */
        if
        :: phase[k] == VOTING && tau[k] > deadline[k] -> decide(k, ABORT, C_ABORT) /* R8 */
        :: phase[k] == PRE && tau[k] > deadline[k] ->
#ifdef PLANT_PRE_COMMIT_ABORTS
                decide(k, ABORT, C_ABORT)
#else
                decide(k, COMMIT, C_COMMIT)
#endif
        :: else
        fi;
        apply(k);
        if
        :: (phase[k] == COMMIT || phase[k] == ABORT) && tau[k] > WINDOW -> forget(k) /* R11 */
        :: else
        fi
}

/* ---- coordinators ----------------------------------------------------------------------------------------------- */

inline take_digest(k)
{
        digest_ = ((floored[k] && phase[k] != NONE) * 8 + phase[k]) * 64 + tau[k] * 8 + deadline[k];
        for (i_ : 0 .. N - 1) {
                digest_ = digest_ * 8 + V(k, i_) * 2 + A(k, i_)
        }
}

inline read_record(k)
{
        step(k, at[k]);
        if
        :: at[k] < emit_from[k] -> /* R13: a replay is silent below N and proves itself at N */
                for (i_ : 0 .. N - 1) {
                        E(k, i_) = 0
                }
                if
                :: at[k] + 1 == emit_from[k] ->
                        take_digest(k);
                        assert(R13_digest || digest_ == digest[k]);
                        emit_from[k] = 0;
                        digest[k] = 0
                :: else
                fi
        :: else
        fi;
        at[k]++
}

/* R12: the tail of a step that decided and forgot is in `emitted`, so what is durable is looked at there too. */
inline checkpoint(k)
{
        saved_next = at[k];
        take_digest(k);
        saved_digest = digest_;
        n_ = (phase[k] == VOTING || phase[k] == PRE || tau[k] <= WINDOW -> 0 : tau[k] - WINDOW);
        saved_start = 0;
        do
        :: stamp[saved_start] < n_ -> saved_start++
        :: else -> break
        od;
        for (i_ : 0 .. N - 1) {
                assert(I16_forgetting || saved_start == 0 || fate != COMMIT || first_vote[i_] != YES ||
                       (published[i_] & C_COMMIT))
        }
        checkpoints--
}

inline restart(k)
{
        forget(k);
        for (i_ : 0 .. N - 1) {
                cut[(k) * N + i_] = 0;
                E(k, i_) = 0
        }
        at[k] = saved_start;
        emit_from[k] = saved_next;
        digest[k] = saved_digest;
        tau[k] = (saved_start > 0 -> stamp[saved_start - 1] : 0);
#ifndef PLANT_NO_FLOOR
        floored[k] = (saved_start > 0);
#endif
        restarts--
}

#if N == 2
#define silent(k) (E(k, 0) == 0 && E(k, 1) == 0)
#else
#define silent(k) (E(k, 0) == 0 && E(k, 1) == 0 && E(k, 2) == 0)
#endif
#ifdef PLANT_EARLY_CHECKPOINT
#define durable(k) true
#else
#define durable(k) silent(k)
#endif

/*
 * What gets through is published in the step that computes it: a later publication is a later delivery, and delivery is free
 * anyway. What matters is the part that is lost when a coordinator dies, in any mixture over the topics: that is what a cut
 * leaves behind. It begins with the first emission that is lost (`lost_`: to which topics).
 */
inline publish(k)
{
        for (i_ : 0 .. N - 1) {
                cut[(k) * N + i_] = cut[(k) * N + i_] || E(k, i_) != 0 && (lost_ & (1 << i_));
                if
                :: !cut[(k) * N + i_] ->
                        published[i_] = published[i_] | E(k, i_);
                        E(k, i_) = 0
                :: else
                fi
        };
        i_ = 0 /* a d_step may not end with a loop */
}

/*
 * The coordinators are alike, so a name may be given by what happens: the one that dies in a run with one death, or loses what
 * it emitted, is 0, and in a run without either the one that reads first.
 */
#define may_die(k) (restarts > 0 && (k == 0 || RESTARTS > 1))
#ifdef MORTAL_COORDINATORS
#define may_lose(k) (k == 0)
#define may_read(k) true
#else
#define may_lose(k) may_die(k)
#define may_read(k) (RESTARTS > 0 || k == 0 || at[0] > 0)
#endif

proctype coordinator(byte k)
{
end:
        do
        :: atomic { at[k] < length && may_read(k) ->
                if
                :: lost_ = 0
                :: may_lose(k) -> lost_ = 1
                :: may_lose(k) -> lost_ = 2
                :: may_lose(k) -> lost_ = 3
#if N == 3
                :: may_lose(k) -> lost_ = 4
                :: may_lose(k) -> lost_ = 5
                :: may_lose(k) -> lost_ = 6
                :: may_lose(k) -> lost_ = 7
#endif
                fi;
                d_step { read_record(k); publish(k) } }
        :: d_step { checkpoints > 0 && at[k] > 0 && emit_from[k] == 0 && durable(k) && saved_next != at[k] -> checkpoint(k) }
        :: d_step { may_die(k) && at[k] > 0 -> restart(k) }
#ifdef PLANT_LOCAL_CLOCK
        :: d_step { phase[k] == VOTING && now > deadline[k] -> decide(k, ABORT, C_ABORT); lost_ = 0; publish(k) }
#endif
#ifdef MORTAL_COORDINATORS
        :: break /* dead for ever: nobody's end may depend on it */
#endif
        od
}

/* ---- participants ----------------------------------------------------------------------------------------------- */

inline agree(i)
{
        for (i_ : 0 .. N - 1) {
                assert(I1_agreement || !(branch[i_] == COMMITTED && says_abort(i) || branch[i] == COMMITTED && says_abort(i_)))
        };
        i_ = 0
}

inline move(i, state)
{
        branch[i] = state;
        agree(i)
}

inline freeze(i)
{
        assert(P8_no_contradiction || false);
        branch[i] = FROZEN
}

inline on_pre_commit(i)
{
        if
        :: branch[i] == PREPARED -> branch[i] = PRE_COMMITTED; pre_answer[i] = 1
        :: branch[i] == COMMITTED -> pre_answer[i] = 1
        :: else -> freeze(i)
        fi
}

inline on_commit(i)
{
        if
        :: in_doubt(i) ->
                assert(I9_no_unilateral_outcome || fate == COMMIT);
                move(i, COMMITTED)
        :: else -> freeze(i)
        fi
}

inline on_abort(i)
{
        if
        :: branch[i] == PREPARED ->
                assert(I9_no_unilateral_outcome || fate == ABORT);
                move(i, ABORTED)
        :: branch[i] == NONE -> move(i, TOMBSTONE)
        :: else -> freeze(i)
        fi
}

/* P10: the lane up to the own question, which is its last record at this moment, through the same core; what it emitted counts, not where it ended. */
inline evaluate(i)
{
        n_ = 0;
        tau[READER] = 0;
        for (at_ : 0 .. length - 1) {
                step(READER, at_)
        }
#ifdef PLANT_STATE_NOT_EMISSION
        result_ = (phase[READER] == COMMIT -> C_COMMIT : (phase[READER] == ABORT -> C_ABORT : 0));
#else
        result_ = E(READER, i) & (C_COMMIT | C_ABORT);
#endif
        assert(P8_no_contradiction || result_ != (C_COMMIT | C_ABORT));
        forget(READER);
        tau[READER] = 0;
        for (i_ : 0 .. N - 1) {
                E(READER, i_) = 0
        }
        if
        :: result_ & C_COMMIT -> on_commit(i)
        :: result_ == C_ABORT -> on_abort(i)
        :: else /* undecided: ask again later */
        fi
}

inline crash(i)
{
        crashes--;
        vote_sent[i] = (vote_sent[i] -> 2 : 0);
        pre_sent[i] = 0;
        asked_last[i] = 0;
#ifdef PLANT_ANSWER_FIRST
        half[i] = 0
#endif
}

/* The row is written with the position and the answer (P1), so each of these is one step; publishing is another (P2). */
proctype participant(byte i)
{
end:
        do
#ifdef PLANT_ANSWER_FIRST
        :: d_step { branch[i] == NONE && (published[i] & C_PREPARE) && !half[i] && may_vote(i) ->
                half[i] = 1; vote_sent[i] = 2; append(VOTE_YES, i) }
        :: d_step { half[i] && branch[i] == NONE -> half[i] = 0; answer[i] = YES; vote_sent[i] = 1; branch[i] = PREPARED }
#else
        :: d_step { branch[i] == NONE && (published[i] & C_PREPARE) -> answer[i] = YES; branch[i] = PREPARED }
#endif
        :: d_step { branch[i] == NONE && (published[i] & C_PREPARE) -> answer[i] = NO; move(i, REFUSED) }
#ifdef READ_ONLY_VOTES
        :: d_step { branch[i] == NONE && (published[i] & C_PREPARE) -> answer[i] = READ_ONLY; branch[i] = HAD_NOTHING }
#endif
        :: d_step { branch[i] == TOMBSTONE && answer[i] == 0 && (published[i] & C_PREPARE) -> answer[i] = NO }
        :: d_step { answer[i] != 0 && vote_sent[i] != 1 && may_vote(i) -> append(answer[i], i); vote_sent[i] = 1 }
#ifdef THREE_PHASE
        :: d_step { (published[i] & C_PRE_COMMIT) && branch[i] != PRE_COMMITTED && branch[i] != FROZEN && !pre_answer[i] ->
                on_pre_commit(i) }
        :: d_step { pre_answer[i] && !pre_sent[i] -> append(PRE_ACK, i); pre_sent[i] = 1 }
#endif
        :: d_step { (published[i] & C_COMMIT) && branch[i] != COMMITTED && branch[i] != FROZEN -> on_commit(i) }
        :: d_step { (published[i] & C_ABORT) && branch[i] != FROZEN && (in_doubt(i) || branch[i] == NONE || branch[i] == COMMITTED) ->
                on_abort(i) }
        :: d_step { in_doubt(i) && !decided(i) && early > 0 && now < TIME_MAX -> early--; append(INQUIRE, i); evaluate(i) }
        :: d_step { in_doubt(i) && !decided(i) && !asked_last[i] && now == TIME_MAX ->
                asked_last[i] = 1; append(INQUIRE, i); evaluate(i) }
        :: d_step { crashes > 0 && (vote_sent[i] == 1 || pre_sent[i]
#ifdef PLANT_ANSWER_FIRST
                || half[i]
#endif
                ) -> crash(i) }
#ifdef CUT_OFF
        :: d_step { branch[i] == PRE_COMMITTED -> on_commit(i) } /* P7, pre_commit_cut_off=commit */
#endif
#ifdef PLANT_UNILATERAL_ABORT
        :: d_step { branch[i] == PREPARED && now > 0 -> on_abort(i) }
#endif
#ifdef PLANT_TEXTBOOK
        :: d_step { branch[i] == PREPARED && now > 0 -> on_abort(i) }
        :: d_step { branch[i] == PRE_COMMITTED && now > 0 -> on_commit(i) }
#endif
#ifdef MORTAL_PARTICIPANTS
        :: atomic { crashes > 0 -> crashes--; dead[i] = 1; break } /* and never comes back; the others must finish */
#endif
        od
}

/* ---- the world -------------------------------------------------------------------------------------------------- */

proctype world()
{
end:
        do
        :: d_step { now < TIME_MAX && (length > 0 -> stamp[length - 1] == now : now < WINDOW) -> now++ } /* one record later */
        :: d_step { repeats > 0 -> repeats--; append(BEGIN, 0) }
        :: d_step { cancels > 0 && fate != NONE -> cancels--; append(CANCEL, 0) }
        :: d_step { length > 0 && stamp[length - 1] < now -> append(TICK, 0) } /* R14: anyone's */
#if SECOND_VOTES > 0
        :: d_step { seconds > 0 && first_vote[0] == YES -> seconds--; append(VOTE_NO, 0) }
        :: d_step { seconds > 0 && first_vote[1] == YES -> seconds--; append(VOTE_NO, 1) }
#if N == 3
        :: d_step { seconds > 0 && first_vote[2] == YES -> seconds--; append(VOTE_NO, 2) }
#endif
#endif
        od
}

/* When nothing can move any more, nobody may be left in doubt. That runs do end is a search of its own (check.sh). */
proctype end_of_run()
{
end:
        timeout -> d_step {
                for (i_ : 0 .. N - 1) {
                        assert(termination || dead[i_] || !in_doubt(i_))
                };
                i_ = 0
        }
}

init
{
        atomic {
                for (i_ : 0 .. COORDINATORS - 1) {
                        run coordinator(i_)
                }
                for (i_ : 0 .. N - 1) {
                        run participant(i_)
                }
                run world();
                run end_of_run()
        }
}
