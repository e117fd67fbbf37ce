/* coordinator.c: the rules R1 to R11, R15 and R16, one function each, and the state of R12 and R13.
 *
 * The life of a transaction:
 *
 *     begin                last vote, none NO            last ack
 *     ──R2──▶ voting ──────────R5──────────▶ decided ──────R9──────▶ finished ──R11──▶ forgotten
 *               │  │    NO: R5, cancel: R7,     ▲  │                                    ▲
 *               │  └────── τ > d: R8 ───────────┤  └──────────── R11, UNCONFIRMED ──────┘
 *               │                               │
 *               └─3PC, R6──▶ pre-commit ──R6, τ > d₂: R8──┘
 *
 * Nothing here may depend on how many transactions are known: a replay from L sees fewer of them (R2). */
#include "core/coordinator.h"

#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "core/ids.h"
#include "core/table.h"

/* τ before the first record, inside: so far back that W and S can be subtracted from it. */
#define TIME_BEFORE (INT64_MIN / 4)
/* Births have 48 bits; an append time beyond them is none. */
#define TIME_MAX (((int64_t)1 << 48) - 1)

struct assent_core {
        struct assent_arena arena;
        struct assent_table table;
        int32_t lane;
        int64_t tau_ms, floor_ms;
        int64_t offset; /* of the record being applied, -1 before the first */
        const struct assent_message *message;
        bool told;      /* the record has been traced */
        bool exhausted; /* of no further use; nothing is emitted any more */
        bool has_settings;
        struct assent_settings settings;
        int64_t settings_tau_ms; /* τ at the record that brought them; TIME_BEFORE when they came with the birth */
        uint64_t settings_digest;
        void (*emit)(void *context, const struct assent_message *message);
        void (*trace)(void *context, const struct assent_trace *trace);
        void *context;
        uint64_t verdicts[ASSENT_VERDICT_COUNT];
        uint64_t committed, aborted, timed_out;
};

const char *assent_verdict_name(enum assent_verdict verdict)
{
        static const char *const names[] = {
#define X(name) #name,
            ASSENT_VERDICTS(X)
#undef X
        };
        return (unsigned)verdict < ASSENT_VERDICT_COUNT ? names[verdict] : "?";
}

/* ---- birth and death ---- */

static void take_settings(struct assent_core *core, const struct assent_settings *settings, int64_t tau_ms)
{
        char text[ASSENT_SETTINGS_SIZE_MAX];
        size_t size = assent_settings_format(settings, text);
        core->has_settings = true;
        core->settings = *settings;
        core->settings_tau_ms = tau_ms;
        core->settings_digest = assent_hash64(text, size, 0);
}

/* A checkpoint from elsewhere may say anything; its digest will not match, but arithmetic must stay defined. */
static int64_t time_inside(int64_t time_ms)
{
        if (time_ms > TIME_MAX)
                return TIME_MAX;
        return time_ms < TIME_BEFORE ? TIME_BEFORE : time_ms;
}

struct assent_core *assent_core_open(const struct assent_core_options *options)
{
        ASSENT_ASSERT(options->emit && options->memory_max > 0);
        struct assent_arena arena;
        if (!assent_arena_open(&arena, options->memory_max, ASSENT_TABLE_VECTORS))
                return NULL;
        struct assent_core *core = assent_arena_carve(&arena, sizeof *core);
        if (!core)
                goto out;
        core->arena = arena;
        if (!assent_table_open(&core->table, &core->arena))
                goto out;
        core->lane = options->lane;
        core->tau_ms = time_inside(options->tau_ms);
        core->floor_ms = options->floor_ms;
        core->offset = -1;
        core->emit = options->emit;
        core->trace = options->trace;
        core->context = options->context;
        if (options->settings) {
                ASSENT_ASSERT(!assent_settings_wrong(options->settings));
                take_settings(core, options->settings, TIME_BEFORE);
        }
        return core;
out:
        assent_arena_close(&arena);
        return NULL;
}

void assent_core_close(struct assent_core *core)
{
        if (!core)
                return;
        struct assent_arena arena = core->arena; /* the core lies in it */
        assent_arena_close(&arena);
}

/* ---- what goes out ---- */

static void tell(struct assent_core *core, struct assent_trace *trace)
{
        core->told = true;
        if (!core->trace)
                return;
        trace->offset = core->offset;
        trace->tau_ms = assent_core_tau(core);
        trace->message = core->message;
        core->trace(core->context, trace);
}

static struct assent_trace about(enum assent_trace_kind kind, const struct assent_txn *txn)
{
        return (struct assent_trace){.kind = kind,
                                     .txn_id = txn->id,
                                     .protocol = (enum assent_protocol)txn->protocol,
                                     .branches_count = txn->branches_count,
                                     .deadline_ms = assent_txn_due_ms(txn)};
}

/* What the record in hand did to one branch. */
static void tell_branch(struct assent_core *core, enum assent_trace_kind kind, const struct assent_txn *txn)
{
        struct assent_trace trace = about(kind, txn);
        trace.branch = core->message->body.reply.branch;
        trace.service = core->message->body.reply.service;
        trace.answer = core->message->body.reply.answer;
        trace.reason = core->message->body.reply.reason;
        tell(core, &trace);
}

static void emit(struct assent_core *core, struct assent_message *message)
{
        if (core->exhausted)
                return;
        assent_message_seal(message);
        core->emit(core->context, message);
}

static uint32_t lamport_clamp(uint64_t lamport)
{
        return lamport > ASSENT_LAMPORT_MAX ? ASSENT_LAMPORT_MAX : (uint32_t)lamport;
}

/* R-LAMPORT: an emission's own time, one above what was seen. */
static uint32_t lamport_after(uint64_t lamport)
{
        return lamport_clamp((uint64_t)lamport_clamp(lamport) + 1);
}

static void emit_command(struct assent_core *core, const struct assent_txn *txn, uint16_t branch,
                         enum assent_phase phase, uint32_t lamport, const struct assent_branch_request *request)
{
        struct assent_message message = {.type = ASSENT_COMMAND, .txn_id = txn->id, .lamport = lamport};
        message.body.command.branch = branch;
        message.body.command.branches_count = txn->branches_count;
        message.body.command.service = assent_table_service(&core->table, txn, branch);
        message.body.command.phase = phase;
        message.body.command.deadline_ms = phase == ASSENT_PRE_COMMIT ? txn->time_ms : txn->deadline_ms;
        if (request) {
                message.body.command.kind = request->kind;
                message.body.command.payload = request->payload;
        }
        emit(core, &message);
}

static void emit_decision(struct assent_core *core, const struct assent_txn *txn, uint16_t branch)
{
        enum assent_phase phase = txn->flags & ASSENT_TXN_COMMIT ? ASSENT_COMMIT : ASSENT_ABORT;
        emit_command(core, txn, branch, phase, txn->at.decided.lamport, NULL);
}

static void emit_outcome(struct assent_core *core, const struct assent_txn *txn, enum assent_outcome outcome,
                         uint32_t lamport, struct assent_bytes reason)
{
        struct assent_message message = {.type = ASSENT_OUTCOME, .txn_id = txn->id, .lamport = lamport};
        message.body.outcome.outcome = outcome;
        message.body.outcome.reason = reason;
        message.body.outcome.decided_at_ms = txn->time_ms;
        message.body.outcome.rejected_lane = -1;
        message.body.outcome.rejected_offset = -1;
        emit(core, &message);
}

static enum assent_outcome outcome_of(const struct assent_txn *txn)
{
        return txn->flags & ASSENT_TXN_COMMIT ? ASSENT_COMMITTED : ASSENT_ABORTED;
}

static void emit_decided(struct assent_core *core, const struct assent_txn *txn)
{
        emit_outcome(core, txn, outcome_of(txn), txn->at.decided.lamport, assent_table_reason(&core->table, txn));
}

/* The Lamport time is still that of the finish, because a finished transaction sees no more. */
static void emit_completed(struct assent_core *core, const struct assent_txn *txn)
{
        if (txn->flags & ASSENT_TXN_NOTIFY)
                emit_outcome(core, txn, ASSENT_COMPLETED, lamport_after(txn->lamport), (struct assent_bytes){0});
}

/* R2, R10: everything the client was told, again, byte for byte. */
static void emit_outcomes_again(struct assent_core *core, const struct assent_txn *txn)
{
        emit_decided(core, txn);
        if (txn->flags & ASSENT_TXN_FINISHED)
                emit_completed(core, txn);
}

/* ---- decisions ---- */

/* R-LAMPORT: what a message of the transaction adds to the greatest seen. */
static void see(struct assent_core *core, struct assent_txn *txn)
{
        uint32_t lamport = lamport_clamp(core->message->lamport);
        if (!(txn->flags & ASSENT_TXN_FINISHED) && lamport > txn->lamport)
                txn->lamport = lamport;
}

static void finish(struct assent_core *core, uint32_t handle) /* R9 */
{
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        ASSENT_ASSERT(txn->missing == 0);
        assent_table_finish(&core->table, handle);
        struct assent_trace trace = about(ASSENT_T_FINISHED, txn);
        trace.outcome = outcome_of(txn);
        tell(core, &trace);
        emit_completed(core, txn);
}

/* A NO or READ_ONLY voter holds nothing and is told nothing (R5). */
static bool needs_decision(struct assent_txn *txn, uint32_t branch)
{
        unsigned vote = assent_txn_branches(txn)[branch] & ASSENT_BRANCH_VOTE;
        return vote != ASSENT_NO && vote != ASSENT_READ_ONLY;
}

/* R5 to R8 all end here. The transaction is lifted. */
static void decide(struct assent_core *core, uint32_t handle, bool commit, struct assent_bytes reason)
{
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        struct assent_trace trace = about(ASSENT_T_DECIDED, txn);
        if (!assent_table_decide(&core->table, handle, commit, reason, core->tau_ms, lamport_after(txn->lamport))) {
                core->exhausted = true;
                return;
        }
        *(commit ? &core->committed : &core->aborted) += 1;
        trace.outcome = outcome_of(txn);
        trace.reason = reason;
        tell(core, &trace);
        txn->missing = 0;
        for (uint16_t i = 0; i < txn->branches_count; i++) {
                if (!needs_decision(txn, i))
                        continue;
                txn->missing++;
                emit_decision(core, txn, i);
        }
        emit_decided(core, txn);
        if (txn->missing == 0)
                finish(core, handle);
}

/* R6: all votes are in, none NO. From here no path leads to ABORT. */
static void pre_commit(struct assent_core *core, uint32_t handle)
{
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        if (!assent_table_pre_commit(&core->table, handle, core->tau_ms + txn->time_ms)) {
                core->exhausted = true;
                return;
        }
        struct assent_trace trace = about(ASSENT_T_PRE_COMMIT, txn);
        tell(core, &trace);
        ASSENT_ASSERT(txn->missing == 0);
        for (uint16_t i = 0; i < txn->branches_count; i++) {
                if ((assent_txn_branches(txn)[i] & ASSENT_BRANCH_VOTE) != ASSENT_YES)
                        continue;
                txn->missing++;
                emit_command(core, txn, i, ASSENT_PRE_COMMIT, lamport_after(txn->lamport), NULL);
        }
}

static void all_votes_in(struct assent_core *core, uint32_t handle) /* R5, R6 */
{
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        bool yes = false;
        for (uint32_t i = 0; i < txn->branches_count; i++)
                yes = yes || (assent_txn_branches(txn)[i] & ASSENT_BRANCH_VOTE) == ASSENT_YES;
        if (txn->protocol == ASSENT_3PC && yes)
                pre_commit(core, handle);
        else
                decide(core, handle, true, (struct assent_bytes){0});
}

static void expire(struct assent_core *core) /* R8 */
{
        for (uint32_t handle; (handle = assent_table_due(&core->table)) && !core->exhausted;) {
                struct assent_txn *txn = assent_table_at(&core->table, handle);
                if (core->tau_ms <= assent_txn_due_ms(txn))
                        break;
                bool commit = txn->flags & ASSENT_TXN_PRE_COMMIT;
                if (!commit)
                        core->timed_out++;
                assent_table_lift(&core->table, handle);
                decide(core, handle, commit, assent_bytes_of(commit ? NULL : "TIMEOUT"));
                assent_table_settle(&core->table, handle);
        }
}

/* ---- begin (R2, R3) ---- */

static bool within_limits(const struct assent_core *core, const struct assent_message *begin)
{
        uint32_t count = begin->body.begin.branches_count;
        if (count < 1 || count > core->settings.branches_max || begin->body.begin.timeout_ms < 1)
                return false;
        for (uint32_t i = 0; i < count; i++) {
                const struct assent_branch_request *branch = &begin->body.begin.branches[i];
                if (!assent_service_valid(branch->service) || branch->kind.size > ASSENT_KIND_SIZE_MAX)
                        return false;
        }
        return true;
}

/* R2's order. Without settings nothing else can be judged: not even how many lanes there are. */
static enum assent_verdict judge_begin(const struct assent_core *core, const struct assent_message *begin,
                                       uint64_t digest, uint32_t *known)
{
        if (!core->has_settings)
                return ASSENT_V_NO_SETTINGS;
        if (assent_lane_of(&begin->txn_id, core->settings.lanes) != core->lane)
                return ASSENT_V_MISROUTED;
        *known = assent_table_find(&core->table, &begin->txn_id);
        if (*known)
                return assent_table_at(&core->table, *known)->begin_digest == digest ? ASSENT_V_DUPLICATE
                                                                                     : ASSENT_V_CONFLICT;
        int64_t birth_ms = assent_txn_id_birth_ms(&begin->txn_id);
        if (birth_ms < core->tau_ms - core->settings.window_ms || birth_ms <= core->floor_ms) /* R13's floor */
                return ASSENT_V_STALE;
        if (birth_ms > core->tau_ms + core->settings.skew_ms)
                return ASSENT_V_FUTURE;
        return within_limits(core, begin) ? ASSENT_V_APPLIED : ASSENT_V_LIMIT;
}

static void accept(struct assent_core *core, const struct assent_message *begin, uint64_t digest)
{
        int64_t timeout_ms = begin->body.begin.timeout_ms;
        if (timeout_ms > core->settings.timeout_max_ms)
                timeout_ms = core->settings.timeout_max_ms;
        uint32_t handle = assent_table_add(&core->table, begin, digest, core->tau_ms + timeout_ms, timeout_ms);
        if (!handle) {
                core->exhausted = true;
                return;
        }
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        assent_table_lift(&core->table, handle);
        see(core, txn);
        assent_table_settle(&core->table, handle);
        struct assent_trace trace = about(ASSENT_T_ACCEPTED, txn);
        tell(core, &trace);
        enum assent_phase phase = txn->protocol == ASSENT_3PC ? ASSENT_CAN_COMMIT : ASSENT_PREPARE; /* R3 */
        for (uint16_t i = 0; i < txn->branches_count; i++)
                emit_command(core, txn, i, phase, lamport_after(txn->lamport), &begin->body.begin.branches[i]);
}

/* Answers this record, and says nothing about the transaction. */
static void reject(struct assent_core *core, const struct assent_message *begin, enum assent_verdict verdict)
{
        struct assent_message message = {
            .type = ASSENT_OUTCOME, .txn_id = begin->txn_id, .lamport = lamport_after(begin->lamport)};
        message.body.outcome.outcome = ASSENT_REJECTED;
        message.body.outcome.reason = assent_bytes_of(assent_verdict_name(verdict));
        message.body.outcome.decided_at_ms = core->tau_ms == TIME_BEFORE ? 0 : core->tau_ms;
        message.body.outcome.rejected_lane = core->lane;
        message.body.outcome.rejected_offset = core->offset;
        emit(core, &message);
        struct assent_trace trace = {.kind = ASSENT_T_REJECTED,
                                     .verdict = verdict,
                                     .txn_id = begin->txn_id,
                                     .protocol = begin->body.begin.protocol,
                                     .branches_count = (uint16_t)begin->body.begin.branches_count,
                                     .outcome = ASSENT_REJECTED,
                                     .reason = message.body.outcome.reason};
        tell(core, &trace);
}

static enum assent_verdict apply_begin(struct assent_core *core, const struct assent_message *begin)
{
        if (!assent_txn_id_valid(&begin->txn_id) ||
            (begin->body.begin.protocol != ASSENT_2PC && begin->body.begin.protocol != ASSENT_3PC))
                return ASSENT_V_MALFORMED;
        uint32_t known = 0;
        uint64_t digest = assent_message_digest(begin);
        enum assent_verdict verdict = judge_begin(core, begin, digest, &known);
        if (verdict == ASSENT_V_APPLIED) {
                accept(core, begin, digest);
        } else if (verdict == ASSENT_V_DUPLICATE) {
                struct assent_txn *txn = assent_table_at(&core->table, known);
                assent_table_lift(&core->table, known);
                see(core, txn);
                assent_table_settle(&core->table, known);
                if (txn->flags & ASSENT_TXN_DECIDED)
                        emit_outcomes_again(core, txn);
        } else {
                reject(core, begin, verdict);
        }
        return verdict;
}

/* ---- reply (R4, R5, R6, R9) ---- */

static enum assent_verdict apply_vote(struct assent_core *core, uint32_t handle)
{
        const struct assent_message *reply = core->message;
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        uint8_t *branch = &assent_txn_branches(txn)[reply->body.reply.branch];
        enum assent_answer answer = reply->body.reply.answer;
        if (*branch & ASSENT_BRANCH_VOTE)
                return (*branch & ASSENT_BRANCH_VOTE) == answer ? ASSENT_V_DUPLICATE : ASSENT_V_CONFLICT;
        if (txn->flags & ASSENT_TXN_DECIDED)
                return ASSENT_V_LATE;
        ASSENT_ASSERT(!(txn->flags & ASSENT_TXN_PRE_COMMIT) && txn->missing > 0);
        *branch |= (uint8_t)answer;
        txn->missing--;
        tell_branch(core, ASSENT_T_VOTE, txn);
        if (answer == ASSENT_NO) {
                char reason[ASSENT_REASON_SIZE_MAX + ASSENT_SERVICE_SIZE_MAX + 3];
                struct assent_text text;
                struct assent_bytes why = reply->body.reply.reason;
                assent_text_open(&text, reason, sizeof reason);
                assent_text_put_bytes(&text, reply->body.reply.service);
                assent_text_put(&text, ": ");
                assent_text_put_bytes(&text, why.size ? why : assent_bytes_of("NO"));
                size_t size = assent_utf8_cut(reason, text.size, ASSENT_REASON_SIZE_MAX);
                decide(core, handle, false, (struct assent_bytes){.data = reason, .size = size});
        } else if (txn->missing == 0) {
                all_votes_in(core, handle);
        }
        return ASSENT_V_APPLIED;
}

static enum assent_verdict apply_pre_ack(struct assent_core *core, uint32_t handle) /* R6 */
{
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        uint8_t *branch = &assent_txn_branches(txn)[core->message->body.reply.branch];
        bool decided = txn->flags & ASSENT_TXN_DECIDED;
        if (!(txn->flags & ASSENT_TXN_PRE_COMMIT))
                return decided ? ASSENT_V_FORGED : ASSENT_V_EARLY;
        if ((*branch & ASSENT_BRANCH_VOTE) != ASSENT_YES)
                return ASSENT_V_FORGED;
        if (*branch & ASSENT_BRANCH_PRE_ACK)
                return ASSENT_V_DUPLICATE;
        if (decided)
                return ASSENT_V_LATE;
        ASSENT_ASSERT(txn->missing > 0);
        *branch |= ASSENT_BRANCH_PRE_ACK;
        txn->missing--;
        tell_branch(core, ASSENT_T_PRE_ACK, txn);
        if (txn->missing == 0)
                decide(core, handle, true, (struct assent_bytes){0});
        return ASSENT_V_APPLIED;
}

static enum assent_verdict apply_ack(struct assent_core *core, uint32_t handle) /* R9 */
{
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        uint8_t *branch = &assent_txn_branches(txn)[core->message->body.reply.branch];
        if (!(txn->flags & ASSENT_TXN_DECIDED))
                return ASSENT_V_EARLY;
        bool commit = core->message->body.reply.phase == ASSENT_COMMIT;
        if (commit != !!(txn->flags & ASSENT_TXN_COMMIT) || !needs_decision(txn, core->message->body.reply.branch))
                return ASSENT_V_FORGED;
        if (*branch & ASSENT_BRANCH_ACK)
                return ASSENT_V_DUPLICATE;
        ASSENT_ASSERT(txn->missing > 0);
        *branch |= ASSENT_BRANCH_ACK;
        txn->missing--;
        tell_branch(core, ASSENT_T_ACK, txn);
        if (txn->missing == 0)
                finish(core, handle);
        return ASSENT_V_APPLIED;
}

/* R4: the reply comes from a branch of the transaction and answers a phase that its protocol has. */
static bool reply_matches(const struct assent_core *core, const struct assent_txn *txn)
{
        const struct assent_message *reply = core->message;
        if (reply->body.reply.branch >= txn->branches_count)
                return false;
        struct assent_bytes service = assent_table_service(&core->table, txn, reply->body.reply.branch);
        if (service.size != reply->body.reply.service.size ||
            memcmp(service.data, reply->body.reply.service.data, service.size) != 0)
                return false;
        enum assent_answer answer = reply->body.reply.answer;
        switch (reply->body.reply.phase) {
        case ASSENT_PREPARE:
        case ASSENT_CAN_COMMIT:
                return (reply->body.reply.phase == ASSENT_CAN_COMMIT) == (txn->protocol == ASSENT_3PC) &&
                       (answer == ASSENT_YES || answer == ASSENT_NO || answer == ASSENT_READ_ONLY);
        case ASSENT_PRE_COMMIT:
                return txn->protocol == ASSENT_3PC && answer == ASSENT_DONE;
        case ASSENT_COMMIT:
        case ASSENT_ABORT:
                return answer == ASSENT_DONE;
        }
        return false;
}

static enum assent_verdict apply_reply(struct assent_core *core, const struct assent_message *reply)
{
        uint32_t handle = assent_table_find(&core->table, &reply->txn_id);
        if (!handle)
                return ASSENT_V_UNKNOWN;
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        if (!reply_matches(core, txn))
                return ASSENT_V_FORGED;
        enum assent_verdict verdict;
        const uint32_t lamport = txn->lamport;
        assent_table_lift(&core->table, handle);
        see(core, txn);
        if (assent_phase_is_first(reply->body.reply.phase))
                verdict = apply_vote(core, handle);
        else if (reply->body.reply.phase == ASSENT_PRE_COMMIT)
                verdict = apply_pre_ack(core, handle);
        else
                verdict = apply_ack(core, handle);
        if (verdict == ASSENT_V_FORGED) /* R4: it changes nothing, so it was not seen either */
                txn->lamport = lamport;
        assent_table_settle(&core->table, handle);
        return verdict;
}

/* ---- control (R7, R10, R14, R17) ---- */

static enum assent_verdict apply_settings(struct assent_core *core, const struct assent_message *control)
{
        struct assent_settings settings;
        if (!assent_settings_parse(control->body.control.settings, &settings))
                return ASSENT_V_MALFORMED;
        if (core->has_settings) {
                struct assent_bytes text = control->body.control.settings;
                return assent_hash64(text.data, text.size, 0) == core->settings_digest ? ASSENT_V_DUPLICATE
                                                                                       : ASSENT_V_CONFLICT;
        }
        take_settings(core, &settings, core->tau_ms);
        struct assent_trace trace = {.kind = ASSENT_T_SETTINGS};
        tell(core, &trace);
        return ASSENT_V_APPLIED;
}

static enum assent_verdict apply_cancel(struct assent_core *core, uint32_t handle) /* R7 */
{
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        if (txn->flags & (ASSENT_TXN_DECIDED | ASSENT_TXN_PRE_COMMIT))
                return ASSENT_V_LATE;
        struct assent_bytes reason = core->message->body.control.reason;
        reason.size = assent_utf8_cut(reason.data, reason.size, ASSENT_REASON_SIZE_MAX);
        decide(core, handle, false, reason);
        return ASSENT_V_APPLIED;
}

/* R10. A branch that is owed no decision gets none. */
static enum assent_verdict apply_inquire(struct assent_core *core, uint32_t handle)
{
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        int32_t branch = core->message->body.control.branch;
        if (!(txn->flags & ASSENT_TXN_DECIDED))
                return ASSENT_V_PENDING;
        if (branch < 0)
                emit_outcomes_again(core, txn);
        else if (needs_decision(txn, (uint32_t)branch))
                emit_decision(core, txn, (uint16_t)branch);
        return ASSENT_V_ANSWERED;
}

static enum assent_verdict apply_control(struct assent_core *core, const struct assent_message *control)
{
        enum assent_control_kind kind = control->body.control.kind;
        if (kind == ASSENT_SETTINGS)
                return apply_settings(core, control);
        if (kind == ASSENT_TICK)
                return ASSENT_V_APPLIED; /* R14: its timestamp was all it had to bring */
        if (kind != ASSENT_CANCEL && kind != ASSENT_INQUIRE)
                return ASSENT_V_MALFORMED;
        uint32_t handle = assent_table_find(&core->table, &control->txn_id);
        if (!handle)
                return ASSENT_V_UNKNOWN;
        struct assent_txn *txn = assent_table_at(&core->table, handle);
        if (kind == ASSENT_INQUIRE && control->body.control.branch >= (int32_t)txn->branches_count)
                return ASSENT_V_FORGED;
        assent_table_lift(&core->table, handle);
        see(core, txn);
        enum assent_verdict verdict = kind == ASSENT_CANCEL ? apply_cancel(core, handle) : apply_inquire(core, handle);
        assent_table_settle(&core->table, handle);
        return verdict;
}

/* ---- the step ---- */

static enum assent_verdict apply(struct assent_core *core, const struct assent_message *message)
{
        if (!message)
                return ASSENT_V_MALFORMED; /* R15 */
        if (!assent_message_id_holds(message))
                return ASSENT_V_FORGED; /* R-ID */
        switch (message->type) {
        case ASSENT_BEGIN:
                return apply_begin(core, message);
        case ASSENT_REPLY:
                return apply_reply(core, message);
        case ASSENT_CONTROL:
                return apply_control(core, message);
        case ASSENT_COMMAND:
        case ASSENT_OUTCOME:
                return ASSENT_V_FOREIGN;
        }
        return ASSENT_V_MALFORMED;
}

/* Whatever had no more to say for itself than its verdict. */
static void tell_verdict(struct assent_core *core, enum assent_verdict verdict)
{
        if (!core->trace)
                return;
        uint32_t handle = core->message ? assent_table_find(&core->table, &core->message->txn_id) : 0;
        struct assent_trace trace = {.kind = ASSENT_T_VERDICT};
        if (handle)
                trace = about(ASSENT_T_VERDICT, assent_table_at(&core->table, handle));
        else if (core->message)
                trace.txn_id = core->message->txn_id;
        trace.verdict = verdict;
        tell(core, &trace);
}

/* R11. What is undecided behind the window waits in `overdue`; deciding it brings it back here in the same step. */
static void forget(struct assent_core *core)
{
        if (!core->has_settings)
                return;
        int64_t window_start_ms = core->tau_ms - core->settings.window_ms;
        for (uint32_t handle; (handle = assent_table_eldest(&core->table)) && !core->exhausted;) {
                struct assent_txn *txn = assent_table_at(&core->table, handle);
                if (assent_txn_id_birth_ms(&txn->id) >= window_start_ms)
                        break;
                if (!(txn->flags & ASSENT_TXN_DECIDED)) {
                        core->exhausted = !assent_table_defer(&core->table);
                        continue;
                }
                if ((txn->flags & ASSENT_TXN_NOTIFY) && !(txn->flags & ASSENT_TXN_FINISHED))
                        emit_outcome(core, txn, ASSENT_UNCONFIRMED, lamport_after(txn->lamport),
                                     (struct assent_bytes){0});
                struct assent_trace trace = about(ASSENT_T_FORGOTTEN, txn);
                trace.outcome = outcome_of(txn);
                tell(core, &trace);
                assent_table_forget(&core->table);
        }
}

bool assent_core_step(struct assent_core *core, int64_t offset, int64_t timestamp_ms,
                      const struct assent_message *message, enum assent_verdict *verdict)
{
        ASSENT_ASSERT(offset > core->offset && !core->exhausted);
        core->offset = offset;
        core->message = message;
        if (timestamp_ms >= 0 && timestamp_ms <= TIME_MAX && timestamp_ms > core->tau_ms)
                core->tau_ms = timestamp_ms; /* R1 */
        expire(core);
        core->told = false;
        *verdict = apply(core, message);
        if (!core->told)
                tell_verdict(core, *verdict);
        forget(core);
        core->verdicts[*verdict]++;
        core->message = NULL;
        return !core->exhausted;
}

/* ---- what can be asked ---- */

int64_t assent_core_tau(const struct assent_core *core)
{
        return core->tau_ms == TIME_BEFORE ? ASSENT_TIME_NONE : core->tau_ms;
}

/* R12. A replay that is given the settings must begin behind the record that brought them, or it would accept begins
 * that were rejected before it: until the hold has passed that record, there is none. */
int64_t assent_core_hold(const struct assent_core *core)
{
        if (!core->has_settings || core->tau_ms == TIME_BEFORE)
                return ASSENT_TIME_NONE;
        int64_t hold_ms = core->tau_ms - core->settings.window_ms, birth_ms;
        if (assent_table_overdue(&core->table, &birth_ms)) {
                ASSENT_ASSERT(birth_ms < hold_ms);
                hold_ms = birth_ms;
        }
        hold_ms -= core->settings.skew_ms;
        return core->settings_tau_ms < hold_ms ? hold_ms : ASSENT_TIME_NONE;
}

uint64_t assent_core_digest(const struct assent_core *core)
{
        uint8_t tau[8];
        for (unsigned i = 0; i < sizeof tau; i++)
                tau[i] = (uint8_t)((uint64_t)core->tau_ms >> (8 * i));
        return core->table.sum + core->settings_digest + assent_hash64(tau, sizeof tau, 1);
}

bool assent_core_deadline(const struct assent_core *core, int64_t *deadline_ms)
{
        uint32_t handle = assent_table_due(&core->table);
        if (handle)
                *deadline_ms = assent_txn_due_ms(assent_table_at(&core->table, handle));
        return handle != 0;
}

const struct assent_settings *assent_core_settings(const struct assent_core *core)
{
        return core->has_settings ? &core->settings : NULL;
}

void assent_core_counts(const struct assent_core *core, struct assent_core_counts *out)
{
        *out = (struct assent_core_counts){.undecided = core->table.undecided,
                                           .decided = core->table.decided,
                                           .finished = core->table.finished,
                                           .memory = core->arena.used,
                                           .committed = core->committed,
                                           .aborted = core->aborted,
                                           .timed_out = core->timed_out};
        memcpy(out->verdicts, core->verdicts, sizeof out->verdicts);
}

bool assent_core_find(const struct assent_core *core, const struct assent_uuid *txn_id, struct assent_core_view *out)
{
        uint32_t handle = assent_table_find(&core->table, txn_id);
        if (!handle)
                return false;
        const struct assent_txn *txn = assent_table_at(&core->table, handle);
        *out = (struct assent_core_view){.decided = txn->flags & ASSENT_TXN_DECIDED,
                                         .finished = txn->flags & ASSENT_TXN_FINISHED,
                                         .pre_commit = txn->flags & ASSENT_TXN_PRE_COMMIT,
                                         .deadline_ms = assent_txn_due_ms(txn),
                                         .branches_count = txn->branches_count};
        if (out->decided)
                out->outcome = outcome_of(txn);
        return true;
}
