/* check.c: what is held against the rules while the world runs. See check.h. */
#include "check.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/panic.h"
#include "codec/codec.h"
#include "core/ids.h"
#include "runtime/checkpoint.h"

#define PREFIX           "assent."
#define RECORD_BYTES_MAX 262144  /* the settings' default */
#define QUIET_US         1000000 /* nothing was said for so long: nobody has anything to do */
#define TOO_LATE         "deadline passed"
#define UNWANTED         "aborted before it was prepared"

struct check sim_judge;
bool sim_check_refusals_allowed, sim_check_cut_off_allowed;

/* ---- what is kept ---- */

static const struct assent_uuid *emission_id(uint32_t number)
{
        return &sim_judge.emissions[number].print.id;
}

static const struct assent_uuid *txn_id(uint32_t number)
{
        return &sim_judge.txns[number]->id;
}

/* Where it is, or belongs. */
static uint32_t *index_slot(const struct check_index *index, const struct assent_uuid *id)
{
        uint64_t hash;
        memcpy(&hash, id->bytes + 8, sizeof hash);
        uint32_t at = (uint32_t)(hash ^ hash >> 32) & (index->size - 1);
        while (index->slots[at] && memcmp(index->id_of(index->slots[at] - 1), id, sizeof *id) != 0)
                at = (at + 1) & (index->size - 1);
        return &index->slots[at];
}

/* Before the array that it is about gets its next member. True: that array must grow to half of index->size first. */
static bool index_grow(struct check_index *index)
{
        if (2 * index->count < index->size)
                return false;
        index->size = index->size ? 2 * index->size : 512;
        free(index->slots);
        index->slots = calloc(index->size, sizeof *index->slots);
        ASSENT_ASSERT(index->slots);
        for (uint32_t i = 0; i < index->count; i++)
                *index_slot(index, index->id_of(i)) = i + 1;
        return true;
}

static struct check_emission *find_emission(const struct assent_uuid *id)
{
        uint32_t number = sim_judge.emissions_index.size ? *index_slot(&sim_judge.emissions_index, id) : 0;
        return number ? &sim_judge.emissions[number - 1] : NULL;
}

const struct check_emission *sim_check_emission(const struct assent_uuid *id)
{
        return find_emission(id);
}

struct check_txn *sim_check_txn(const struct assent_uuid *id)
{
        uint32_t number = sim_judge.txns_index.size ? *index_slot(&sim_judge.txns_index, id) : 0;
        return number ? sim_judge.txns[number - 1] : NULL;
}

static struct check_txn *txn_of(const struct assent_uuid *id)
{
        struct check_txn *txn = sim_check_txn(id);
        if (txn)
                return txn;
        struct check_index *index = &sim_judge.txns_index;
        if (index_grow(index)) {
                sim_judge.txns = realloc(sim_judge.txns, index->size / 2 * sizeof *sim_judge.txns);
                ASSENT_ASSERT(sim_judge.txns);
        }
        txn = calloc(1, sizeof *txn);
        ASSENT_ASSERT(txn);
        txn->id = *id;
        uint32_t *slot = index_slot(index, id);
        sim_judge.txns[index->count++] = txn;
        *slot = index->count;
        return txn;
}

static struct check_emission *add_emission(const struct model_print *print)
{
        struct check_index *index = &sim_judge.emissions_index;
        if (index_grow(index)) {
                sim_judge.emissions = realloc(sim_judge.emissions, index->size / 2 * sizeof *sim_judge.emissions);
                ASSENT_ASSERT(sim_judge.emissions);
        }
        uint32_t *slot = index_slot(index, &print->id);
        struct check_emission *emission = &sim_judge.emissions[index->count++];
        *slot = index->count;
        *emission = (struct check_emission){.print = *print, .copy = -1};
        return emission;
}

struct check_log *sim_check_log(int topic, int lane)
{
        for (size_t i = 0; i < sim_judge.logs_count; i++)
                if (sim_judge.logs[i].topic == topic && sim_judge.logs[i].lane == lane)
                        return &sim_judge.logs[i];
        return NULL;
}

static struct check_log *log_of(const struct sim_log *log)
{
        for (size_t i = 0; i < sim_judge.logs_count; i++)
                if (sim_judge.logs[i].log == log)
                        return &sim_judge.logs[i];
        return NULL;
}

static struct check_mark *mark_of(struct check_log *log, int64_t offset)
{
        if (offset >= log->marks_max) {
                int64_t max = log->marks_max ? log->marks_max : 256;
                while (offset >= max)
                        max *= 2;
                log->marks = realloc(log->marks, (size_t)max * sizeof *log->marks);
                ASSENT_ASSERT(log->marks);
                memset(log->marks + log->marks_max, 0, (size_t)(max - log->marks_max) * sizeof *log->marks);
                log->marks_max = max;
        }
        return &log->marks[offset];
}

static struct assent_bytes value_of(const struct sim_record *record)
{
        return (struct assent_bytes){record->bytes + record->key_size, record->size};
}

/* ---- words ---- */

const char *sim_check_short(const struct check_txn *txn, char text[24])
{
        char whole[ASSENT_UUID_TEXT_SIZE];
        assent_uuid_format(&txn->id, whole);
        if (txn->accepted && txn->branches[0].has_payload)
                snprintf(text, 24, "#%" PRIu64 "(%s)", txn->branches[0].payload.number, whole + 32);
        else
                snprintf(text, 24, "%s", whole + 24);
        return text;
}

static const char *short_of(const struct assent_uuid *id, char text[24])
{
        struct check_txn nobody = {.id = *id}, *txn = sim_check_txn(id);
        return sim_check_short(txn ? txn : &nobody, text);
}

static void describe(const struct assent_message *m, char text[160])
{
        char txn[24];
        if (!m) {
                snprintf(text, 160, "?");
                return;
        }
        short_of(&m->txn_id, txn);
        switch (m->type) {
        case ASSENT_BEGIN:
                snprintf(text, 160, "BEGIN %s %s, %u branches", txn, assent_protocol_name(m->body.begin.protocol),
                         (unsigned)m->body.begin.branches_count);
                break;
        case ASSENT_COMMAND:
                snprintf(text, 160, "%s %s.%u", assent_phase_name(m->body.command.phase), txn, m->body.command.branch);
                break;
        case ASSENT_REPLY:
                snprintf(text, 160, "%s to %s %s.%u by %.*s%s%.*s", assent_answer_name(m->body.reply.answer),
                         assent_phase_name(m->body.reply.phase), txn, m->body.reply.branch,
                         (int)m->body.reply.service.size, (const char *)m->body.reply.service.data,
                         m->body.reply.reason.size ? ": " : "", (int)m->body.reply.reason.size,
                         (const char *)m->body.reply.reason.data);
                break;
        case ASSENT_OUTCOME:
                snprintf(text, 160, "%s %s%s%.*s", assent_outcome_name(m->body.outcome.outcome), txn,
                         m->body.outcome.reason.size ? ": " : "", (int)m->body.outcome.reason.size,
                         (const char *)m->body.outcome.reason.data);
                break;
        case ASSENT_CONTROL:
                snprintf(text, 160, "%s", assent_control_kind_name(m->body.control.kind));
                if (m->body.control.kind == ASSENT_CANCEL)
                        snprintf(text, 160, "CANCEL %s: %.*s", txn, (int)m->body.control.reason.size,
                                 (const char *)m->body.control.reason.data);
                else if (m->body.control.kind == ASSENT_INQUIRE)
                        snprintf(text, 160, m->body.control.branch < 0 ? "INQUIRE %s" : "INQUIRE %s.%d", txn,
                                 m->body.control.branch);
                break;
        }
}

/* ---- forged records ---- */

/* Whoever keeps the rules writes the transaction's id as the key; strangers do not. */
static bool forged(const struct sim_record *record)
{
        return !record->marker && record->key_size != ASSENT_UUID_TEXT_SIZE - 1;
}

static void forge(const struct sim_record *record)
{
        sim_judge.foreigners = realloc(sim_judge.foreigners, (sim_judge.foreigners_count + 1) * sizeof *sim_judge.foreigners);
        ASSENT_ASSERT(sim_judge.foreigners);
        sim_judge.foreigners[sim_judge.foreigners_count++] = assent_hash64(record->bytes, record->key_size + record->size, 0);
}

/* What is appended in between may become visible, and so be judged, before or after the end of it. */
void sim_check_foreign(bool on)
{
        sim_judge.foreign = on;
        for (size_t i = 0; i < sim_judge.logs_count; i++) {
                struct check_log *log = &sim_judge.logs[i];
                for (int64_t offset = log->announced; !on && offset < log->log->high; offset++)
                        if (forged(&log->log->records[offset]))
                                forge(&log->log->records[offset]);
                log->announced = log->log->high;
        }
}

static bool is_foreign(const struct sim_record *record, const struct sim_process *sender)
{
        if (sender || !forged(record))
                return false;
        if (sim_judge.foreign)
                forge(record);
        uint64_t hash = assent_hash64(record->bytes, record->key_size + record->size, 0);
        for (size_t i = sim_judge.foreigners_count; i-- > 0;)
                if (sim_judge.foreigners[i] == hash)
                        return true;
        return false;
}

static void taint(struct check_txn *txn)
{
        char text[24];
        if (txn->tainted)
                return;
        sim_note("forged: %s is not judged any further", sim_check_short(txn, text));
        if (txn->accepted)
                sim_count(SIM_TAINTED);
        txn->tainted = true;
        sim_judge.owing -= txn->owing;
        txn->owing = 0;
}

/* ---- what a lane says ---- */

/* Is there a copy that readers can see, made after the record was appended? */
static bool stands(const struct check_emission *emission, uint64_t after)
{
        struct check_log *home = emission->home;
        uint32_t number = (uint32_t)(emission - sim_judge.emissions) + 1;
        if (!home || emission->refused > after)
                return true;
        for (int64_t offset = emission->copy; offset >= 0; offset--) {
                const struct check_mark *mark = mark_of(home, offset);
                if (offset < home->log->visible && mark->emission == number && mark->sequence > after)
                        return true;
        }
        return false;
}

bool sim_check_published(struct check_lane *lane, int64_t end)
{
        for (; lane->published < lane->sources_count && lane->sources[lane->published].offset < end; lane->published++) {
                const struct check_source *source = &lane->sources[lane->published];
                const struct check_emission *emission = &sim_judge.emissions[source->emission];
                if (stands(emission, mark_of(lane->inbox, source->offset)->sequence))
                        continue;
                char text[24];
                sim_violation("I16", "lane %d: what follows from offset %" PRId64 " about %s (%s) is not in its topic",
                              lane->inbox->lane, source->offset, short_of(&emission->print.txn_id, text),
                              emission->print.type == ASSENT_COMMAND
                                      ? assent_phase_name((enum assent_phase)emission->print.word)
                                      : assent_outcome_name((enum assent_outcome)emission->print.word));
                return false;
        }
        return true;
}

static struct check_log *home_of(const struct check_lane *lane, const struct model_print *print)
{
        if (print->type == ASSENT_OUTCOME)
                return sim_check_log(CHECK_OUTCOMES, lane->inbox->lane);
        const struct check_txn *txn = sim_check_txn(&print->txn_id);
        unsigned service = txn->branches[print->branch].service;
        return service == CHECK_NOBODY ? NULL : sim_check_log((int)service, lane->inbox->lane);
}

/* An answer to the decision, once there is one. */
static bool owes(const struct check_branch *branch)
{
        return branch->vote != ASSENT_NO && branch->vote != ASSENT_READ_ONLY && branch->service != CHECK_NOBODY &&
               !branch->answers[CHECK_DECISION].phase;
}

/* I2 by the votes alone; who owes an answer from now on. */
static void decided(struct check_txn *txn, enum assent_outcome outcome)
{
        bool all = true, refused = false;
        char text[24];
        txn->outcome = outcome;
        sim_judge.undecided--;
        for (unsigned i = 0; i < txn->count; i++) {
                const struct check_branch *branch = &txn->branches[i];
                all &= branch->vote != 0;
                refused |= branch->vote == ASSENT_NO;
                if (owes(branch) && !txn->tainted)
                        txn->owing++;
        }
        sim_judge.owing += txn->owing;
        if (outcome == ASSENT_COMMITTED ? !all || refused : all && !refused)
                sim_violation("I2", "%s is %s, which its votes do not say", sim_check_short(txn, text),
                              assent_outcome_name(outcome));
}

static void emitted(struct check_lane *lane, int64_t offset, const struct model_print *print)
{
        struct check_emission *emission = find_emission(&print->id);
        struct check_txn *txn = sim_check_txn(&print->txn_id);
        char text[24];
        if (!emission) {
                emission = add_emission(print);
                emission->home = home_of(lane, print);
                sim_judge.unpublished += emission->home != NULL;
        } else if (emission->print.digest != print->digest || emission->print.lamport != print->lamport) {
                sim_violation("I3", "lane %d says the same thing about %s twice, and differently at offset %" PRId64,
                              lane->inbox->lane, short_of(&print->txn_id, text), offset);
        }
        if (lane->sources_count == lane->sources_max) {
                lane->sources_max = lane->sources_max ? 2 * lane->sources_max : 512;
                lane->sources = realloc(lane->sources, lane->sources_max * sizeof *lane->sources);
                ASSENT_ASSERT(lane->sources);
        }
        lane->sources[lane->sources_count++] =
                (struct check_source){offset, (uint32_t)(emission - sim_judge.emissions)};
        if (print->type == ASSENT_COMMAND && print->word == ASSENT_PRE_COMMIT && !txn->branches[print->branch].asked) {
                txn->branches[print->branch].asked = txn->pre_commit = true;
                txn->second_deadline_ms = lane->model->tau_ms + txn->timeout_ms;
        }
        if (print->type == ASSENT_OUTCOME && !txn->outcome &&
            (print->word == ASSENT_COMMITTED || print->word == ASSENT_ABORTED))
                decided(txn, (enum assent_outcome)print->word);
}

static unsigned service_of(struct assent_bytes name)
{
        for (unsigned i = 0; sim_service_name(i); i++)
                if (strlen(sim_service_name(i)) == name.size && memcmp(sim_service_name(i), name.data, name.size) == 0)
                        return i;
        return CHECK_NOBODY;
}

static void begun(struct check_lane *lane, const struct assent_message *begin, enum assent_verdict verdict, unsigned before)
{
        struct check_txn *txn = txn_of(&begin->txn_id);
        if (verdict == ASSENT_V_DUPLICATE)
                return;
        if (verdict != ASSENT_V_APPLIED) {
                if (!txn->refused)
                        txn->refusal = verdict;
                txn->refused = true;
                return;
        }
        txn->accepted = true;
        txn->lane = lane->inbox->lane;
        txn->protocol = begin->body.begin.protocol;
        txn->count = begin->body.begin.branches_count;
        txn->timeout_ms = begin->body.begin.timeout_ms;
        if (txn->timeout_ms > lane->model->settings.timeout_max_ms)
                txn->timeout_ms = lane->model->settings.timeout_max_ms;
        txn->deadline_ms = lane->model->tau_ms + txn->timeout_ms;
        for (unsigned i = 0; i < txn->count; i++) {
                const struct assent_branch_request *request = &begin->body.begin.branches[i];
                struct check_branch *branch = &txn->branches[i];
                branch->service = service_of(request->service);
                branch->has_payload = request->payload.size == sizeof branch->payload;
                if (branch->has_payload)
                        memcpy(&branch->payload, request->payload.data, sizeof branch->payload);
        }
        sim_judge.undecided++;
        sim_check_crowd(lane, txn, before);
}

/* ---- what participants say ---- */

static bool says(struct assent_bytes reason, const char *text)
{
        return reason.size == strlen(text) && memcmp(reason.data, text, reason.size) == 0;
}

/* P12, by what the branch has answered. */
bool sim_check_expired(const struct check_txn *txn, const struct check_branch *branch, const struct check_log *commands)
{
        bool pre_committed = branch->answers[CHECK_PRE_COMMIT].phase;
        int64_t last_ms = pre_committed ? txn->second_deadline_ms : txn->deadline_ms;
        if (branch->answers[CHECK_FIRST].phase == ASSENT_CAN_COMMIT && !pre_committed)
                last_ms += sim_judge.lanes[txn->lane].model->settings.timeout_max_ms;
        return commands->tau_ms - last_ms > sim_horizon_ms();
}

/* The vote is the handler's, or a NO that the rules give without asking it. Who asks for RETRY may come too late afterwards. */
static void judge_vote(const struct check_txn *txn, const struct check_branch *branch, const struct assent_message *reply)
{
        enum assent_answer answer = reply->body.reply.answer;
        char text[24];
        if (!branch->has_payload || branch->first == 0)
                return;
        struct check_log *commands = sim_check_log((int)branch->service, txn->lane);
        bool late = mark_of(commands, branch->first - 1)->tau_ms > txn->deadline_ms;
        if (answer == ASSENT_NO && says(reply->body.reply.reason, TOO_LATE)) {
                if (!late && (branch->payload.retries == 0 || commands->tau_ms <= txn->deadline_ms))
                        sim_violation("P4", "%s.%u is refused as late before its deadline", sim_check_short(txn, text),
                                      reply->body.reply.branch);
        } else if ((unsigned)answer == branch->payload.vote && !says(reply->body.reply.reason, UNWANTED)) {
                if (late)
                        sim_violation("P4", "%s.%u votes %s after its deadline", sim_check_short(txn, text),
                                      reply->body.reply.branch, assent_answer_name(answer));
        } else if (answer == ASSENT_NO && says(reply->body.reply.reason, UNWANTED)) {
                if (txn->outcome != ASSENT_ABORTED)
                        sim_violation("I9", "%s.%u says that it was aborted; it was not", sim_check_short(txn, text),
                                      reply->body.reply.branch);
        } else {
                sim_violation("P4", "%s.%u votes %s (%.*s); its handler does not", sim_check_short(txn, text),
                              reply->body.reply.branch, assent_answer_name(answer), (int)reply->body.reply.reason.size,
                              (const char *)reply->body.reply.reason.data);
        }
}

static void judge_done(struct check_txn *txn, struct check_branch *branch, const struct assent_message *reply)
{
        enum assent_phase phase = reply->body.reply.phase;
        bool commit = phase == ASSENT_COMMIT;
        char text[24];
        sim_check_short(txn, text);
        if (phase == ASSENT_PRE_COMMIT) {
                if (!branch->asked)
                        sim_violation("I10", "%s.%u is pre-committed; nobody asked", text, reply->body.reply.branch);
                return;
        }
        if (!txn->outcome && !(commit && branch->asked && branch->cut_off))
                sim_violation("I9", "%s.%u did %s; nothing is decided", text, reply->body.reply.branch,
                              assent_phase_name(phase));
        else if (txn->outcome && commit != (txn->outcome == ASSENT_COMMITTED))
                sim_violation("I1", "%s.%u did %s; it is %s", text, reply->body.reply.branch, assent_phase_name(phase),
                              assent_outcome_name(txn->outcome));
        else if (commit && branch->answers[CHECK_FIRST].answer != ASSENT_YES)
                sim_violation("I10", "%s.%u committed; it has not voted YES", text, reply->body.reply.branch);
        else if (txn->outcome && txn->owing > 0 && branch->vote != ASSENT_NO && branch->vote != ASSENT_READ_ONLY) {
                txn->owing--;
                sim_judge.owing--;
        }
}

int sim_check_slot(enum assent_phase phase)
{
        return assent_phase_is_first(phase) ? CHECK_FIRST : phase == ASSENT_PRE_COMMIT ? CHECK_PRE_COMMIT : CHECK_DECISION;
}

/* A genuine answer, by the state of the lane before it. */
static void judge_reply(const struct assent_message *reply)
{
        struct check_txn *txn = sim_check_txn(&reply->txn_id);
        unsigned number = reply->body.reply.branch;
        char text[24];
        if (txn && txn->tainted)
                return;
        if (!txn || !txn->accepted || number >= txn->count ||
            service_of(reply->body.reply.service) != txn->branches[number].service) {
                sim_violation("I9", "an answer about %s.%u, which nobody asked for", short_of(&reply->txn_id, text), number);
                return;
        }
        struct check_branch *branch = &txn->branches[number];
        int slot = sim_check_slot(reply->body.reply.phase);
        struct check_answer *answer = &branch->answers[slot];
        uint64_t digest = assent_message_digest(reply);
        if (!answer->phase) {
                *answer = (struct check_answer){reply->body.reply.phase, reply->body.reply.answer, digest, reply->lamport};
                if (slot == CHECK_FIRST)
                        judge_vote(txn, branch, reply);
                else
                        judge_done(txn, branch, reply);
        } else if (answer->digest != digest || (slot == CHECK_FIRST && answer->lamport != reply->lamport)) {
                /* (A decision that comes again when its row is forgotten is answered by its own Lamport time.) */
                sim_violation("I3", "%s.%u answers %s with %s and Lamport time %" PRIu64 "; it was %s to %s, %" PRIu64,
                              sim_check_short(txn, text), number, assent_phase_name(reply->body.reply.phase),
                              assent_answer_name(reply->body.reply.answer), reply->lamport, assent_answer_name(answer->answer),
                              assent_phase_name(answer->phase), answer->lamport);
        }
}

/* ---- a record of the inbox ---- */

/* What nobody who keeps the rules would send. */
static void judge_verdict(const struct check_lane *lane, int64_t offset, const struct assent_message *message,
                          enum assent_verdict verdict)
{
        char text[160];
        const struct check_txn *txn = message ? sim_check_txn(&message->txn_id) : NULL;
        bool conflict = verdict == ASSENT_V_CONFLICT && message->type == ASSENT_REPLY;
        if ((verdict != ASSENT_V_MALFORMED && verdict != ASSENT_V_FORGED && verdict != ASSENT_V_FOREIGN &&
             verdict != ASSENT_V_MISROUTED && !conflict) ||
            (txn && txn->tainted))
                return;
        describe(message, text);
        sim_violation("I3", "lane %d, offset %" PRId64 ": %s is %s", lane->inbox->lane, offset, text,
                      assent_verdict_name(verdict));
}

/* A forged vote that counts is believed by all. */
static void judge_forged(const struct assent_message *message, enum assent_verdict verdict)
{
        if (!message || message->type != ASSENT_REPLY || verdict != ASSENT_V_APPLIED)
                return;
        struct check_txn *txn = txn_of(&message->txn_id);
        const struct check_branch *branch = &txn->branches[message->body.reply.branch];
        if (branch->answers[sim_check_slot(message->body.reply.phase)].digest != assent_message_digest(message))
                taint(txn);
}

static void note_reply(const struct assent_message *reply)
{
        struct check_txn *txn = sim_check_txn(&reply->txn_id);
        if (assent_phase_is_first(reply->body.reply.phase))
                txn->branches[reply->body.reply.branch].vote = reply->body.reply.answer;
}

static void note_inquiry(const struct assent_message *control)
{
        struct check_txn *txn = sim_check_txn(&control->txn_id);
        int32_t branch = control->body.control.branch;
        if (txn && branch >= 0 && (unsigned)branch < txn->count)
                txn->branches[branch].inquired = true;
}

/* As long as something is said about a transaction that counts, the world is not quiet. */
static void active(const struct assent_uuid *id)
{
        const struct check_txn *txn = sim_check_txn(id);
        if (!txn || !txn->tainted)
                sim_judge.active_us = sim_now_us();
}

static void narrate(struct check_log *log, int64_t offset, const struct assent_message *message, const char *verdict)
{
        char text[160];
        if (!sim_narrates())
                return;
        describe(message, text);
        const char *whose = mark_of(log, offset)->foreign ? " (a stranger's)" : "";
        sim_note("%s/%d @%" PRId64 "%s  %s%s%s", log->log->topic + strlen(PREFIX), log->lane, offset, whose, text,
                 *verdict ? "  -> " : "", verdict);
}

static void step(struct check_lane *lane, int64_t offset)
{
        const struct sim_record *record = &lane->inbox->log->records[offset];
        struct check_mark *mark = mark_of(lane->inbox, offset);
        struct model *model = lane->model;
        struct assent_message decoded, *message = NULL;
        ASSENT_ASSERT(offset >= lane->inbox->log->low);
        if (!record->marker) {
                if (!assent_codec_decode(sim_judge.codec, value_of(record), &decoded))
                        message = &decoded;
                bool begins = message && message->type == ASSENT_BEGIN;
                unsigned in_flight = begins ? sim_check_in_flight(model) : 0;
                enum assent_verdict verdict = model_step(model, offset, record->timestamp_ms, message);
                bool reply = message && message->type == ASSENT_REPLY;
                mark->verdict = (uint8_t)verdict;
                if (begins && assent_message_id_holds(message))
                        begun(lane, message, verdict, in_flight);
                if (message && message->type == ASSENT_CONTROL && message->body.control.kind == ASSENT_CANCEL &&
                    !mark->foreign)
                        sim_check_shed(lane, message);
                if (message && message->type == ASSENT_CONTROL && message->body.control.kind == ASSENT_INQUIRE)
                        note_inquiry(message);
                if (mark->foreign)
                        judge_forged(message, verdict);
                else
                        judge_verdict(lane, offset, message, verdict);
                if (reply && !mark->foreign)
                        judge_reply(message);
                if (reply && verdict == ASSENT_V_APPLIED)
                        note_reply(message);
                narrate(lane->inbox, offset, message, assent_verdict_name(verdict));
                for (size_t i = 0; i < model->emissions_count; i++)
                        emitted(lane, offset, &model->emissions[i]);
                if (message)
                        active(&message->txn_id);
        }
        mark->digest = model_digest(model);
        mark->hold_ms = model_hold(model);
        mark->tau_ms = model->tau_ms == MODEL_NEVER ? ASSENT_TIME_NONE : model->tau_ms;
}

/* ---- topics ---- */

static void add_log(const char *name, int topic, int lane)
{
        const struct sim_log *log = sim_log_of(name, lane);
        ASSENT_ASSERT(log);
        sim_judge.logs[sim_judge.logs_count++] =
                (struct check_log){.log = log, .lane = lane, .topic = topic, .tau_ms = INT64_MIN / 2};
}

/* Once they are made. */
static bool find_topics(void)
{
        char name[64];
        if (sim_judge.logs_count > 0)
                return true;
        if (!sim_log_of(PREFIX "outcomes", 0))
                return false;
        int lanes = sim_judge.lanes_count = sim_options.lanes;
        sim_judge.logs = calloc((size_t)(lanes * (2 + sim_options.services)), sizeof *sim_judge.logs);
        sim_judge.lanes = calloc((size_t)lanes, sizeof *sim_judge.lanes);
        ASSENT_ASSERT(sim_judge.logs && sim_judge.lanes);
        for (int lane = 0; lane < lanes; lane++) {
                add_log(PREFIX "inbox", CHECK_INBOX, lane);
                add_log(PREFIX "outcomes", CHECK_OUTCOMES, lane);
                for (int service = 0; service < sim_options.services; service++) {
                        snprintf(name, sizeof name, PREFIX "%s.commands", sim_service_name((unsigned)service));
                        add_log(name, service, lane);
                }
        }
        for (int lane = 0; lane < lanes; lane++) {
                sim_judge.lanes[lane].inbox = sim_check_log(CHECK_INBOX, lane);
                sim_judge.lanes[lane].model = calloc(1, sizeof(struct model));
                ASSENT_ASSERT(sim_judge.lanes[lane].model);
                model_open(sim_judge.lanes[lane].model, lane);
        }
        return true;
}

void sim_check_lanes(void)
{
        if (!find_topics())
                return;
        for (int i = 0; i < sim_judge.lanes_count; i++) {
                struct check_lane *lane = &sim_judge.lanes[i];
                if (lane->inbox->log->visible < lane->next && !lane->lost) {
                        sim_note("lane %d has lost acknowledged records: it is not judged any further", i);
                        lane->lost = true;
                }
                while (!lane->lost && lane->next < lane->inbox->log->visible)
                        step(lane, lane->next++);
        }
}

/* ---- commands and outcomes ---- */

/* A command that a participant may take for one of its own (P4b). With the id of one that stands before it, whose answer its
 * row has, it is a CONFLICT and changes nothing. */
static void judge_forged_command(struct check_log *log, int64_t offset, const struct assent_message *command)
{
        const struct check_emission *emission = find_emission(&command->message_id);
        unsigned branch = command->body.command.branch;
        if (branch >= command->body.command.branches_count || !assent_message_id_holds(command) ||
            service_of(command->body.command.service) != (unsigned)log->topic ||
            assent_lane_of(&command->txn_id, (uint32_t)sim_options.lanes) != log->lane)
                return;
        struct check_txn *txn = txn_of(&command->txn_id);
        if (emission && emission->home == log && emission->copy >= 0 && !txn->tainted &&
            !sim_check_expired(txn, &txn->branches[branch], log)) {
                sim_check_alarm(log, offset, command, ASSENT_PV_CONFLICT);
                return;
        }
        taint(txn);
        if (!txn->accepted)
                sim_check_alarm_unknown(log, offset, command);
}

/* Not among what the lanes say. */
static void judge_stranger(struct check_log *log, int64_t offset, const struct assent_message *message,
                           const struct sim_process *sender)
{
        char text[160];
        if (mark_of(log, offset)->foreign) {
                if (!message)
                        mark_of(log, offset)->verdict = ASSENT_V_MALFORMED;
                if (message && message->type == ASSENT_COMMAND && log->topic >= 0)
                        judge_forged_command(log, offset, message);
                return;
        }
        describe(message, text);
        bool known = message && find_emission(&message->message_id);
        sim_violation(known ? "I3" : "I6", "%s/%d, offset %" PRId64 ": %s publishes %s; the lane %s", log->log->topic,
                      log->lane, offset, sender ? sender->name : "somebody who is gone", text,
                      known ? "says otherwise" : "does not say that");
}

/* R18: a first phase that a topic refuses counts as delivered; a decision is sent until it is taken. */
static void on_refused(const struct sim_log *log, struct assent_bytes value)
{
        struct assent_message message;
        sim_check_lanes();
        if (assent_codec_decode(sim_judge.codec, value, &message) || message.type != ASSENT_COMMAND ||
            !assent_phase_is_first(message.body.command.phase))
                return;
        struct check_emission *emission = find_emission(&message.message_id);
        if (!emission || !emission->home || emission->home->log != log)
                return;
        if (emission->copy < 0 && !emission->refused)
                sim_judge.unpublished--;
        emission->refused = ++sim_judge.sequence;
}

static void published(struct check_log *log, int64_t offset, const struct sim_process *sender)
{
        const struct sim_record *record = &log->log->records[offset];
        struct assent_message decoded, *message = NULL;
        struct check_mark *mark = mark_of(log, offset);
        if (!assent_codec_decode(sim_judge.codec, value_of(record), &decoded))
                message = &decoded;
        narrate(log, offset, message, "");
        struct check_emission *emission = message ? find_emission(&message->message_id) : NULL;
        if (!emission || emission->print.digest != assent_message_digest(message) || emission->print.type != message->type ||
            emission->print.lamport != message->lamport || emission->home != log) {
                judge_stranger(log, offset, message, sender);
                return;
        }
        if (emission->copy < 0 && !emission->refused)
                sim_judge.unpublished--;
        emission->copy = offset;
        mark->emission = (uint32_t)(emission - sim_judge.emissions) + 1;
        if (message->type == ASSENT_COMMAND) {
                struct check_branch *branch = &sim_check_txn(&message->txn_id)->branches[message->body.command.branch];
                if (branch->first == 0)
                        branch->first = offset + 1;
        }
        active(&message->txn_id);
}

static void on_appended(const struct sim_log *log, int64_t offset, const struct sim_process *sender)
{
        struct check_log *found = find_topics() ? log_of(log) : NULL;
        const struct sim_record *record = &log->records[offset];
        if (!found) { /* or dead letters */
                if (strcmp(log->topic, SIM_EVENTS) == 0 && !record->marker)
                        sim_check_event(log, offset);
                return;
        }
        sim_judge.disk_faults |= sim_disk_faults.full || sim_disk_faults.write || sim_disk_faults.sync;
        *mark_of(found, offset) = (struct check_mark){.sequence = ++sim_judge.sequence, .foreign = is_foreign(record, sender)};
        if (record->timestamp_ms < INT64_C(1) << 48 && record->timestamp_ms > found->tau_ms)
                found->tau_ms = record->timestamp_ms;
        mark_of(found, offset)->tau_ms = found->tau_ms;
        sim_check_lanes();
        if (found->topic != CHECK_INBOX && !record->marker && !sim_judge.lanes[found->lane].lost)
                published(found, offset, sender);
        if (!sim_self())
                sim_check_images();
}

/* ---- group offsets ---- */

/* R12, from the lane alone. */
static void judge_checkpoint(int number, int64_t offset, struct assent_bytes metadata)
{
        struct check_lane *lane = &sim_judge.lanes[number];
        struct assent_checkpoint checkpoint;
        if (lane->lost)
                return;
        if (!assent_checkpoint_parse(metadata, offset, &checkpoint)) {
                sim_violation("R12", "lane %d: the group's offset %" PRId64 " has no checkpoint: \"%.*s\"", number, offset,
                              (int)metadata.size, (const char *)metadata.data);
                return;
        }
        if (checkpoint.next > lane->next) {
                sim_violation("R12", "lane %d: a checkpoint at %" PRId64 "; readers see up to %" PRId64, number,
                              checkpoint.next, lane->next);
                return;
        }
        const struct check_mark nothing = {.hold_ms = ASSENT_TIME_NONE, .tau_ms = ASSENT_TIME_NONE};
        const struct check_mark *before = offset > 0 ? mark_of(lane->inbox, offset - 1) : &nothing;
        if (before->tau_ms != checkpoint.tau_ms)
                sim_violation("R12", "lane %d: a checkpoint says that log time was %" PRId64 " before offset %" PRId64
                              "; it was %" PRId64, number, checkpoint.tau_ms, offset, before->tau_ms);
        const struct check_mark *at = checkpoint.next > 0 ? mark_of(lane->inbox, checkpoint.next - 1) : &nothing;
        if (offset > 0 && before->tau_ms >= at->hold_ms)
                sim_violation("R12", "lane %d: a replay from %" PRId64 " (log time %" PRId64 ") to %" PRId64
                              " starts too late: %" PRId64 " is needed", number, offset, before->tau_ms, checkpoint.next,
                              at->hold_ms);
        if (checkpoint.next > 0 && at->digest != checkpoint.digest)
                sim_violation("I6", "lane %d: a checkpoint's state at %" PRId64 " has digest %016" PRIx64
                              "; the lane's has %016" PRIx64, number, checkpoint.next, checkpoint.digest, at->digest);
        sim_check_published(lane, checkpoint.next);
        sim_check_refusals(lane, checkpoint.next);
}

/* P2: what lies below the cursor is answered. Handlers that ask for RETRY have their messages parked meanwhile, and the answer
 * to a decision that was found in the lane is not waited for: it is marked; if it is lost, it is owed in the end. */
static void judge_cursor(struct check_log *commands, int64_t offset)
{
        char text[24];
        if (offset > commands->log->visible) {
                sim_violation("P2", "%s/%d: the group stands at %" PRId64 ", behind the end", commands->log->topic,
                              commands->lane, offset);
                return;
        }
        for (; commands->processed < offset; commands->processed++) {
                const struct check_mark *mark = mark_of(commands, commands->processed);
                if (!mark->emission)
                        continue;
                const struct model_print *print = &sim_judge.emissions[mark->emission - 1].print;
                const struct check_txn *txn = sim_check_txn(&print->txn_id);
                const struct check_branch *branch = &txn->branches[print->branch];
                const struct check_answer *answer = &branch->answers[sim_check_slot((enum assent_phase)print->word)];
                bool told = print->word == ASSENT_COMMIT || print->word == ASSENT_ABORT; /* perhaps by the lane (P10) */
                if (answer->phase || txn->tainted || told || branch->cut_off || !branch->has_payload ||
                    branch->payload.retries || branch->payload.retries_later || sim_check_expired(txn, branch, commands))
                        continue;
                sim_violation("P2", "%s/%d: the group stands at %" PRId64 "; %s for %s.%u at %" PRId64 " is not answered",
                              commands->log->topic, commands->lane, offset, assent_phase_name((enum assent_phase)print->word),
                              sim_check_short(txn, text), print->branch, commands->processed);
                return;
        }
}

static void on_committed(const char *group, int lane, int64_t offset, struct assent_bytes metadata)
{
        if (offset < 0 || strncmp(group, PREFIX, strlen(PREFIX)) != 0)
                return;
        sim_check_lanes();
        const char *name = group + strlen(PREFIX);
        unsigned service = service_of(assent_bytes_of(name));
        if (sim_judge.logs_count == 0 || sim_judge.lanes[lane].lost)
                return;
        if (strcmp(name, "coordinator") == 0)
                judge_checkpoint(lane, offset, metadata);
        else if (service != CHECK_NOBODY)
                judge_cursor(sim_check_log((int)service, lane), offset);
}

/* ---- what processes say about themselves ---- */

static const struct assent_field *field(const struct assent_field *fields, size_t count, const char *name)
{
        for (size_t i = 0; i < count; i++)
                if (strcmp(fields[i].name, name) == 0)
                        return &fields[i];
        return NULL;
}

static bool excused(const struct assent_field *txn)
{
        static const struct assent_uuid nobody;
        if (memcmp(txn->value.uuid, &nobody, sizeof nobody) == 0)
                return sim_judge.foreigners_count > 0;
        const struct check_txn *found = sim_check_txn(txn->value.uuid);
        return found && found->tainted;
}

/* P8's alarm, and commands that only a forger writes. */
static void judge_alarm(const struct sim_process *process, const struct assent_field *txn, const char *what)
{
        char text[24];
        if (!excused(txn))
                sim_violation("I18", "%s says %s about %s; nothing was forged", process->name, what,
                              short_of(txn->value.uuid, text));
}

static void judge_refusal(const struct sim_process *process, int64_t number, int64_t offset, const char *verdict)
{
        const struct check_lane *lane = &sim_judge.lanes[number];
        if (lane->lost || offset >= lane->next)
                return;
        struct check_mark *mark = mark_of(lane->inbox, offset);
        const char *mine = assent_verdict_name((enum assent_verdict)mark->verdict);
        sim_check_refusal_told(process, lane->inbox->lane, mark);
        if (strcmp(mine, verdict) != 0)
                sim_violation("I6", "%s: lane %" PRId64 ", offset %" PRId64 " is %s; by the rules it is %s", process->name,
                              number, offset, verdict, mine);
}

static void not_applied(const struct sim_process *process, const struct assent_field *txn, const char *verdict, int64_t lane,
                        int64_t offset)
{
        static const enum assent_participant_verdict forged[] = {ASSENT_PV_CONFLICT,  ASSENT_PV_FROZEN,    ASSENT_PV_FORGED,
                                                                 ASSENT_PV_MISROUTED, ASSENT_PV_MALFORMED, ASSENT_PV_FOREIGN};
        if (strcmp(verdict, assent_participant_verdict_name(ASSENT_PV_TOMBSTONE)) == 0)
                sim_check_alarm_told(process, ASSENT_PV_TOMBSTONE, lane, offset);
        for (size_t i = 0; i < sizeof forged / sizeof *forged; i++)
                if (strcmp(verdict, assent_participant_verdict_name(forged[i])) == 0 &&
                    !sim_check_alarm_told(process, forged[i], lane, offset))
                        judge_alarm(process, txn, verdict);
}

static void on_logged(const struct sim_process *process, enum assent_log_level level, const char *event,
                      const struct assent_field *fields, size_t count)
{
        const struct assent_field *txn = field(fields, count, "txn"), *verdict = field(fields, count, "verdict"),
                                  *lane = field(fields, count, "lane"), *offset = field(fields, count, "offset");
        char text[24];
        if (level > ASSENT_LOG_WARN)
                return;
        sim_check_lanes();
        if (strstr(event, "cut off from the broker") && txn) {
                struct check_txn *found = sim_check_txn(txn->value.uuid);
                unsigned branch = (unsigned)field(fields, count, "branch")->value.integer;
                bool known = found && branch < found->count;
                if (known)
                        found->branches[branch].cut_off = true;
                sim_count(SIM_CUT_OFF);
                if (!sim_check_cut_off_allowed && !sim_options.cut_off_commits)
                        sim_violation("I9", "%s decides alone; nobody has allowed it (pre_commit_cut_off)", process->name);
                else if (known && !found->tainted && !found->branches[branch].asked)
                        sim_violation("I9", "%s decides alone about %s.%u, which nobody has asked to pre-commit", process->name,
                                      short_of(txn->value.uuid, text), branch);
        } else if (strstr(event, "CONTRADICTION") || strstr(event, "frozen by a contradiction")) {
                sim_check_frozen_told(txn->value.uuid, (unsigned)field(fields, count, "branch")->value.integer);
                if (offset)
                        sim_check_alarm_told(process, ASSENT_PV_CONTRADICTION, lane->value.integer, offset->value.integer);
                judge_alarm(process, txn, "CONTRADICTION");
        } else if (strstr(event, "NOT proved")) {
                sim_violation("I6", "%s takes a lane over without proof", process->name);
        } else if (strcmp(event, "record refused") == 0) {
                judge_refusal(process, lane->value.integer, offset->value.integer, verdict->value.text);
        } else if (strcmp(event, "record dead-lettered") == 0 && process->role != SIM_CLIENT) {
                int topic = process->role == SIM_COORDINATOR ? CHECK_INBOX : (int)sim_service_of(process);
                mark_of(sim_check_log(topic, (int)lane->value.integer), offset->value.integer)->copied = true;
        } else if (strcmp(event, "command not applied as it came") == 0) {
                not_applied(process, txn, verdict->value.text, lane->value.integer, offset->value.integer);
        }
}

static bool may_end(const struct sim_process *process, enum assent_err err, const char *why)
{
        switch (err) {
        case ASSENT_OK:
        case ASSENT_E_BROKER: /* nobody answered while it started */
                return true;
        case ASSENT_AGAIN: /* asked to stop while its queue was full */
                return process->role == SIM_CLIENT;
        case ASSENT_E_STORE:
                return sim_judge.disk_faults || sim_disk_faults.full || sim_disk_faults.write || sim_disk_faults.sync;
        case ASSENT_E_KAFKA: /* while it took lanes */
                return process->role != SIM_CLIENT && strstr(why, "committed offsets cannot be read");
        case ASSENT_E_OWNER: /* its twin has the database, or it is a twin */
                return sim_check_refusals_allowed || process->role == SIM_PARTICIPANT;
        case ASSENT_E_POSITION:
        case ASSENT_E_CHECKPOINT:
        case ASSENT_E_DIGEST:
                return sim_check_refusals_allowed;
        default:
                return false;
        }
}

void sim_check_ended(const struct sim_process *process, enum assent_err err, const char *why)
{
        sim_check_lanes();
        if (!may_end(process, err, why))
                sim_violation("ended", "%s ends with %s: %s", process->name, assent_err_name(err), why);
}

/* ---- the end ---- */

bool sim_check_doubtless(void)
{
        sim_check_lanes();
        for (uint32_t i = 0; i < sim_judge.txns_index.count; i++) {
                const struct check_txn *txn = sim_judge.txns[i];
                for (unsigned b = 0; b < txn->count && !txn->tainted; b++)
                        if (txn->branches[b].answers[CHECK_FIRST].answer == ASSENT_YES &&
                            !txn->branches[b].answers[CHECK_DECISION].phase)
                                return false;
        }
        return true;
}

/* Every transaction of the workload has come, and if its client knows of it, so does its lane. */
static bool all_begun(void)
{
        for (; sim_judge.begun < sim_transactions_count; sim_judge.begun++) {
                const struct sim_transaction *transaction = &sim_transactions[sim_judge.begun];
                if (!transaction->minted || (transaction->begun && !sim_check_txn(&transaction->txn_id)))
                        return false;
        }
        return true;
}

/* A branch that is forgotten may have answered in vain: a copy of its decision is no business of its any more (P12). */
bool sim_check_owed(const struct check_txn *txn)
{
        for (unsigned b = 0; txn->owing > 0 && b < txn->count; b++) {
                const struct check_branch *branch = &txn->branches[b];
                if (owes(branch) && !sim_check_expired(txn, branch, sim_check_log((int)branch->service, txn->lane)))
                        return true;
        }
        return false;
}

static bool answers_owed(void)
{
        for (uint32_t i = 0; sim_judge.owing > 0 && i < sim_judge.txns_index.count; i++)
                if (sim_check_owed(sim_judge.txns[i]))
                        return true;
        return false;
}

bool sim_check_finished(void)
{
        sim_check_lanes();
        if (sim_judge.logs_count == 0 || sim_judge.undecided || sim_judge.unpublished ||
            sim_now_us() - sim_judge.active_us < QUIET_US || !all_begun() || answers_owed() || !sim_check_events_finished())
                return false;
        for (size_t i = 0; i < sim_judge.logs_count; i++) {
                if (sim_judge.logs[i].log->visible != sim_judge.logs[i].log->high)
                        return false;
                sim_judge.logs[i].finished = sim_judge.logs[i].log->high;
        }
        return true;
}

unsigned sim_check_files(void)
{
        unsigned files = 0;
        DIR *folder = opendir("/proc/self/fd");
        if (!folder)
                return 0;
        while (readdir(folder))
                files++;
        closedir(folder);
        return files;
}

void sim_check_open(void)
{
        sim_judge = (struct check){.emissions_index.id_of = emission_id, .txns_index.id_of = txn_id};
        sim_judge.codec = assent_codec_open(RECORD_BYTES_MAX);
        ASSENT_ASSERT(sim_judge.codec);
        sim_judge.files = sim_check_files();
        sim_appended = on_appended;
        sim_committed = on_committed;
        sim_refused = on_refused;
        sim_taken = sim_check_taken;
        sim_given_back = sim_check_given_back;
        sim_logged = on_logged;
        find_topics();
}

void sim_check_close(void)
{
        sim_appended = NULL;
        sim_committed = NULL;
        sim_refused = NULL;
        sim_taken = NULL;
        sim_given_back = NULL;
        sim_logged = NULL;
        sim_check_events_close();
        sim_check_alarms_close();
        assent_codec_close(sim_judge.codec);
        for (size_t i = 0; i < sim_judge.logs_count; i++)
                free(sim_judge.logs[i].marks);
        for (int i = 0; i < sim_judge.lanes_count; i++) {
                free(sim_judge.lanes[i].model);
                free(sim_judge.lanes[i].sources);
        }
        for (uint32_t i = 0; i < sim_judge.txns_index.count; i++)
                free(sim_judge.txns[i]);
        free(sim_judge.logs);
        free(sim_judge.lanes);
        free(sim_judge.txns);
        free(sim_judge.txns_index.slots);
        free(sim_judge.emissions);
        free(sim_judge.emissions_index.slots);
        free(sim_judge.foreigners);
        memset(&sim_judge, 0, sizeof sim_judge);
}
