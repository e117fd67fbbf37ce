/* narrate.c: what the core did, as sentences for people. */
#include "core/narrate.h"

#include "base/text.h"

static void put_branch(struct assent_text *text, const struct assent_trace *trace)
{
        assent_text_put_escaped(text, trace->service);
        assent_text_put(text, " (branch ");
        assent_text_put_int(text, trace->branch + 1);
        assent_text_put(text, " of ");
        assent_text_put_int(text, trace->branches_count);
        assent_text_put(text, ")");
}

static void put_reason(struct assent_text *text, struct assent_bytes reason)
{
        if (reason.size == 0)
                return;
        assent_text_put(text, ": ");
        assent_text_put_escaped(text, reason);
}

static void put_time(struct assent_text *text, int64_t time_ms, int64_t origin_ms)
{
        assent_text_put_seconds(text, time_ms - origin_ms, true);
}

static void put_branches(struct assent_text *text, uint32_t count)
{
        assent_text_put_int(text, count);
        assent_text_put(text, count == 1 ? " branch" : " branches");
}

/* "BEGIN", "INQUIRE from branch 2", "reply YES to PREPARE from payment (branch 1)": the record itself. */
static void put_message(struct assent_text *text, const struct assent_message *message)
{
        if (!message) {
                assent_text_put(text, "a record that does not decode");
                return;
        }
        switch (message->type) {
        case ASSENT_REPLY:
                assent_text_put(text, "the reply ");
                assent_text_put(text, assent_answer_name(message->body.reply.answer));
                assent_text_put(text, " to ");
                assent_text_put(text, assent_phase_name(message->body.reply.phase));
                assent_text_put(text, " from ");
                assent_text_put_escaped(text, message->body.reply.service);
                assent_text_put(text, " (branch ");
                assent_text_put_int(text, message->body.reply.branch + 1);
                assent_text_put(text, ")");
                break;
        case ASSENT_CONTROL:
                assent_text_put(text, assent_control_kind_name(message->body.control.kind));
                if (message->body.control.branch < 0)
                        break;
                assent_text_put(text, " from branch ");
                assent_text_put_int(text, (int64_t)message->body.control.branch + 1);
                break;
        case ASSENT_BEGIN:
        case ASSENT_COMMAND:
        case ASSENT_OUTCOME:
                assent_text_put(text, assent_message_type_name(message->type));
                break;
        }
}

static const char *verdict_sentence(enum assent_verdict verdict)
{
        switch (verdict) {
        case ASSENT_V_APPLIED:
                return "taken";
        case ASSENT_V_DUPLICATE:
                return "seen before; nothing changes";
        case ASSENT_V_LATE:
                return "too late; nothing changes";
        case ASSENT_V_EARLY:
                return "answers what was not asked yet; nothing changes";
        case ASSENT_V_ANSWERED:
                return "answered with the decision";
        case ASSENT_V_PENDING:
                return "not decided yet; the question has moved the lane's time, so the deadline will come";
        case ASSENT_V_UNKNOWN:
                return "about a transaction that is not known here; nothing is presumed";
        case ASSENT_V_CONFLICT:
                return "contradicts what was said before with the same id; reported, not applied";
        case ASSENT_V_FORGED:
                return "not what its id or its transaction says; not applied";
        case ASSENT_V_MISROUTED:
                return "this is not its lane";
        case ASSENT_V_STALE:
                return "born before the window";
        case ASSENT_V_FUTURE:
                return "born further ahead of the lane's time than the skew allows";
        case ASSENT_V_LIMIT:
                return "beyond a limit: branches, service names, kinds or timeout";
        case ASSENT_V_NO_SETTINGS:
                return "the lane has no settings yet";
        case ASSENT_V_FOREIGN:
                return "has no business in the inbox";
        case ASSENT_V_MALFORMED:
                return "malformed; skipped";
        case ASSENT_VERDICT_COUNT:
                break;
        }
        return "?";
}

static void put_accepted(struct assent_text *text, const struct assent_trace *trace, int64_t origin_ms)
{
        assent_text_put(text, assent_protocol_name(trace->protocol));
        assent_text_put(text, " transaction begins with ");
        put_branches(text, trace->branches_count);
        assent_text_put(text, trace->protocol == ASSENT_3PC ? "; CAN_COMMIT goes to all" : "; PREPARE goes to all");
        assent_text_put(text, "; deadline ");
        put_time(text, trace->deadline_ms, origin_ms);
}

static void put_decided(struct assent_text *text, const struct assent_trace *trace)
{
        assent_text_put(text, "decided: ");
        assent_text_put(text, assent_outcome_name(trace->outcome));
        put_reason(text, trace->reason);
}

size_t assent_narrate(const struct assent_trace *trace, int64_t origin_ms, char *out, size_t size)
{
        struct assent_text text;
        assent_text_open(&text, out, size);
        switch (trace->kind) {
        case ASSENT_T_SETTINGS:
                assent_text_put(&text, "the lane takes its settings");
                break;
        case ASSENT_T_ACCEPTED:
                put_accepted(&text, trace, origin_ms);
                break;
        case ASSENT_T_REJECTED:
                assent_text_put(&text, "BEGIN is rejected: ");
                assent_text_put(&text, assent_verdict_name(trace->verdict));
                assent_text_put(&text, ", ");
                assent_text_put(&text, verdict_sentence(trace->verdict));
                break;
        case ASSENT_T_VOTE:
                put_branch(&text, trace);
                assent_text_put(&text, " votes ");
                assent_text_put(&text, assent_answer_name(trace->answer));
                put_reason(&text, trace->reason);
                break;
        case ASSENT_T_PRE_COMMIT:
                assent_text_put(&text, "all votes are in, none NO; PRE_COMMIT goes out, to be acknowledged by ");
                put_time(&text, trace->deadline_ms, origin_ms);
                break;
        case ASSENT_T_PRE_ACK:
                put_branch(&text, trace);
                assent_text_put(&text, " is ready to commit");
                break;
        case ASSENT_T_DECIDED:
                put_decided(&text, trace);
                break;
        case ASSENT_T_ACK:
                put_branch(&text, trace);
                assent_text_put(&text, " has applied the decision");
                break;
        case ASSENT_T_FINISHED:
                assent_text_put(&text, "finished: every branch that had to has applied ");
                assent_text_put(&text, assent_outcome_name(trace->outcome));
                break;
        case ASSENT_T_FORGOTTEN:
                assent_text_put(&text, "forgotten: born before the window, and ");
                assent_text_put(&text, assent_outcome_name(trace->outcome));
                break;
        case ASSENT_T_VERDICT:
                put_message(&text, trace->message);
                assent_text_put(&text, ": ");
                assent_text_put(&text, verdict_sentence(trace->verdict));
                break;
        }
        return text.size;
}
