/* lane_model.c: see lane_model.h. In the order of the rules. */
#include "lane_model.h"

#include <string.h>

#include "base/hash.h"
#include "base/panic.h"
#include "core/ids.h"

int64_t model_birth(const struct model_txn *txn)
{
        int64_t birth = 0;
        for (int i = 0; i < 6; i++)
                birth = birth * 256 + txn->id.bytes[i];
        return birth;
}

static bool undecided(const struct model_txn *txn)
{
        return txn->state == MODEL_VOTING || txn->state == MODEL_PRE_COMMIT;
}

static int64_t due(const struct model_txn *txn)
{
        return txn->state == MODEL_PRE_COMMIT ? txn->d2_ms : txn->d_ms;
}

static uint64_t clamp(uint64_t lamport)
{
        return lamport < ASSENT_LAMPORT_MAX ? lamport : ASSENT_LAMPORT_MAX;
}

static bool same(struct assent_bytes a, struct assent_bytes b)
{
        return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void touch(struct model *model, struct model_txn *txn)
{
        if (!txn->touched)
                model->touched[model->touched_count++] = (size_t)(txn - model->txns);
        txn->touched = true;
}

static void at_most(int64_t *least, int64_t value)
{
        if (value < *least)
                *least = value;
}

/* ---- emissions ---- */

struct model_print model_print_of(const struct assent_message *message)
{
        bool command = message->type == ASSENT_COMMAND;
        return (struct model_print){
            .id = message->message_id,
            .digest = assent_message_digest(message),
            .lamport = message->lamport,
            .type = message->type,
            .txn_id = message->txn_id,
            .branch = command ? message->body.command.branch : 0,
            .word = command ? (unsigned)message->body.command.phase : (unsigned)message->body.outcome.outcome};
}

static void emit(struct model *model, struct assent_message *message)
{
        ASSENT_ASSERT(model->emissions_count < MODEL_EMISSIONS);
        message->lamport = clamp(message->lamport);
        assent_message_seal(message);
        model->emissions[model->emissions_count++] = model_print_of(message);
}

static void command(struct model *model, const struct model_txn *txn, unsigned branch, enum assent_phase phase,
                    uint64_t lamport, const struct assent_branch_request *request)
{
        struct assent_message m = {.type = ASSENT_COMMAND, .txn_id = txn->id, .lamport = lamport};
        m.body.command.branch = (uint16_t)branch;
        m.body.command.branches_count = (uint16_t)txn->count;
        m.body.command.service = txn->services[branch];
        m.body.command.phase = phase;
        m.body.command.deadline_ms = phase == ASSENT_PRE_COMMIT ? txn->d2_ms : txn->d_ms;
        if (request) {
                m.body.command.kind = request->kind;
                m.body.command.payload = request->payload;
        }
        emit(model, &m);
}

static void outcome(struct model *model, const struct model_txn *txn, enum assent_outcome outcome, uint64_t lamport)
{
        struct assent_message m = {.type = ASSENT_OUTCOME, .txn_id = txn->id, .lamport = lamport};
        m.body.outcome.outcome = outcome;
        m.body.outcome.decided_at_ms = txn->decided_ms;
        m.body.outcome.rejected_lane = -1;
        m.body.outcome.rejected_offset = -1;
        if (outcome == ASSENT_ABORTED)
                m.body.outcome.reason = (struct assent_bytes){txn->reason, txn->reason_size};
        emit(model, &m);
}

static void decided_outcome(struct model *model, const struct model_txn *txn)
{
        outcome(model, txn, txn->commit ? ASSENT_COMMITTED : ASSENT_ABORTED, txn->decision_lamport);
        if (txn->state == MODEL_FINISHED && txn->notify)
                outcome(model, txn, ASSENT_COMPLETED, txn->lamport + 1);
}

static void decision(struct model *model, const struct model_txn *txn, unsigned branch)
{
        command(model, txn, branch, txn->commit ? ASSENT_COMMIT : ASSENT_ABORT, txn->decision_lamport, NULL);
}

/* ---- R5 to R9 ---- */

static bool owed(const struct model_txn *txn, unsigned branch)
{
        return txn->votes[branch] != ASSENT_NO && txn->votes[branch] != ASSENT_READ_ONLY;
}

/* R9; COMPLETED follows the outcome where nobody is owed anything. */
static bool all_acked(const struct model_txn *txn)
{
        for (unsigned i = 0; i < txn->count; i++)
                if (owed(txn, i) && !txn->acks[i])
                        return false;
        return true;
}

static void finish_if_done(struct model *model, struct model_txn *txn)
{
        if (!all_acked(txn))
                return;
        txn->state = MODEL_FINISHED;
        if (txn->notify)
                outcome(model, txn, ASSENT_COMPLETED, txn->lamport + 1);
}

/* Cut at 200 bytes, never inside a character. */
static void keep_reason(struct model_txn *txn, const char *first, size_t first_size, struct assent_bytes rest)
{
        char all[1024];
        ASSENT_ASSERT(first_size + rest.size <= sizeof all);
        memcpy(all, first, first_size);
        if (rest.size)
                memcpy(all + first_size, rest.data, rest.size);
        size_t size = first_size + rest.size;
        if (size > ASSENT_REASON_SIZE_MAX) {
                size = ASSENT_REASON_SIZE_MAX;
                while (size > 0 && ((unsigned char)all[size] & 0xc0) == 0x80)
                        size--;
        }
        memcpy(txn->reason, all, size);
        txn->reason_size = size;
}

static void decide(struct model *model, struct model_txn *txn, bool commit)
{
        touch(model, txn);
        txn->state = MODEL_DECIDED;
        at_most(&model->born_ms, model_birth(txn));
        txn->commit = commit;
        txn->decided_ms = model->tau_ms;
        txn->decision_lamport = clamp(txn->lamport + 1);
        for (unsigned i = 0; i < txn->count; i++)
                if (owed(txn, i))
                        decision(model, txn, i);
        decided_outcome(model, txn);
        finish_if_done(model, txn);
}

static void all_voted(struct model *model, struct model_txn *txn)
{
        bool anybody = false;
        for (unsigned i = 0; i < txn->count; i++) {
                if (!txn->votes[i])
                        return;
                anybody = anybody || txn->votes[i] == ASSENT_YES;
        }
        if (txn->protocol == ASSENT_2PC || !anybody) {
                decide(model, txn, true);
                return;
        }
        txn->state = MODEL_PRE_COMMIT;
        txn->asked_pre_commit = true;
        txn->d2_ms = model->tau_ms + txn->timeout_ms;
        at_most(&model->due_ms, txn->d2_ms);
        for (unsigned i = 0; i < txn->count; i++)
                if (txn->votes[i] == ASSENT_YES)
                        command(model, txn, i, ASSENT_PRE_COMMIT, txn->lamport + 1, NULL);
}

static int by_deadline(const struct model_txn *a, const struct model_txn *b)
{
        if (due(a) != due(b))
                return due(a) < due(b) ? -1 : 1;
        return memcmp(&a->id, &b->id, sizeof a->id);
}

static void expire(struct model *model) /* R8 */
{
        while (model->tau_ms > model->due_ms) {
                struct model_txn *next = NULL;
                model->due_ms = INT64_MAX;
                for (size_t i = 0; i < model->txns_count; i++) {
                        struct model_txn *txn = &model->txns[i];
                        if (!undecided(txn))
                                continue;
                        at_most(&model->due_ms, due(txn));
                        if (model->tau_ms > due(txn) && (!next || by_deadline(txn, next) < 0))
                                next = txn;
                }
                if (!next)
                        return;
                if (next->state == MODEL_VOTING)
                        keep_reason(next, "TIMEOUT", 7, (struct assent_bytes){0});
                decide(model, next, next->state == MODEL_PRE_COMMIT);
        }
}

static void forget(struct model *model) /* R11, the eldest first */
{
        while (model->has_settings && model->born_ms < model->tau_ms - model->settings.window_ms) {
                struct model_txn *next = NULL;
                model->born_ms = INT64_MAX;
                for (size_t i = 0; i < model->txns_count; i++) {
                        struct model_txn *txn = &model->txns[i];
                        if (txn->state != MODEL_DECIDED && txn->state != MODEL_FINISHED)
                                continue;
                        at_most(&model->born_ms, model_birth(txn));
                        if (model_birth(txn) < model->tau_ms - model->settings.window_ms &&
                            (!next || memcmp(&txn->id, &next->id, sizeof txn->id) < 0))
                                next = txn;
                }
                if (!next)
                        return;
                touch(model, next);
                if (next->state == MODEL_DECIDED && next->notify)
                        outcome(model, next, ASSENT_UNCONFIRMED, next->lamport + 1);
                next->state = MODEL_GONE;
                memset(&model->ids[next - model->txns], 0, sizeof next->id);
        }
}

/* ---- messages ---- */

/* Whoever looks for a transaction may change it. */
static struct model_txn *find(struct model *model, const struct assent_uuid *id)
{
        for (size_t i = 0; i < model->txns_count; i++) {
                if (memcmp(&model->ids[i], id, sizeof *id) != 0 || model->txns[i].state == MODEL_GONE)
                        continue;
                touch(model, &model->txns[i]);
                return &model->txns[i];
        }
        return NULL;
}

static void see(struct model_txn *txn, const struct assent_message *message)
{
        if (txn->state != MODEL_FINISHED && clamp(message->lamport) > txn->lamport)
                txn->lamport = clamp(message->lamport);
}

static bool within_limits(const struct model *model, const struct assent_message *begin)
{
        uint32_t count = begin->body.begin.branches_count;
        if (count < 1 || count > model->settings.branches_max || begin->body.begin.timeout_ms < 1)
                return false;
        for (uint32_t i = 0; i < count; i++)
                if (!assent_service_valid(begin->body.begin.branches[i].service) ||
                    begin->body.begin.branches[i].kind.size > ASSENT_KIND_SIZE_MAX)
                        return false;
        return true;
}

static enum assent_verdict judge_begin(struct model *model, const struct assent_message *begin)
{
        const struct model_txn *known = find(model, &begin->txn_id);
        struct model_txn born = {.id = begin->txn_id};
        int64_t birth = model_birth(&born);
        if (!model->has_settings)
                return ASSENT_V_NO_SETTINGS;
        if (assent_lane_of(&begin->txn_id, model->settings.lanes) != model->lane)
                return ASSENT_V_MISROUTED;
        if (known)
                return known->begin_digest == assent_message_digest(begin) ? ASSENT_V_DUPLICATE : ASSENT_V_CONFLICT;
        if (birth < model->tau_ms - model->settings.window_ms || birth <= model->floor_ms)
                return ASSENT_V_STALE;
        if (birth > model->tau_ms + model->settings.skew_ms)
                return ASSENT_V_FUTURE;
        return within_limits(model, begin) ? ASSENT_V_APPLIED : ASSENT_V_LIMIT;
}

/* The name, where it stays as long as the model. */
static struct assent_bytes service_of(struct model *model, struct assent_bytes name)
{
        struct model_service *service = model->services;
        while (service < model->services + model->services_count &&
               !same(name, (struct assent_bytes){service->name, service->size}))
                service++;
        if (service == model->services + model->services_count) {
                ASSENT_ASSERT(model->services_count++ < MODEL_SERVICES);
                memcpy(service->name, name.data, name.size);
                service->size = name.size;
        }
        return (struct assent_bytes){service->name, service->size};
}

static void accept(struct model *model, const struct assent_message *begin)
{
        static const struct assent_uuid nobody;
        size_t place = 0;
        while (place < model->txns_count && memcmp(&model->ids[place], &nobody, sizeof nobody) != 0)
                place++;
        ASSENT_ASSERT(place < MODEL_TXNS_MAX && begin->body.begin.branches_count <= MODEL_BRANCHES);
        if (place == model->txns_count)
                model->txns_count++;
        struct model_txn *txn = &model->txns[place];
        model->ids[place] = begin->txn_id;
        model->images[place] = 0;
        *txn = (struct model_txn){.state = MODEL_VOTING,
                                  .id = begin->txn_id,
                                  .begin_digest = assent_message_digest(begin),
                                  .lamport = clamp(begin->lamport),
                                  .protocol = begin->body.begin.protocol,
                                  .notify = begin->body.begin.notify_completed,
                                  .count = begin->body.begin.branches_count};
        touch(model, txn);
        txn->timeout_ms = begin->body.begin.timeout_ms;
        if (txn->timeout_ms > model->settings.timeout_max_ms)
                txn->timeout_ms = model->settings.timeout_max_ms;
        txn->d_ms = model->tau_ms + txn->timeout_ms;
        at_most(&model->due_ms, txn->d_ms);
        at_most(&model->eldest_ms, model_birth(txn));
        for (unsigned i = 0; i < txn->count; i++) { /* R3 */
                txn->services[i] = service_of(model, begin->body.begin.branches[i].service);
                command(model, txn, i, txn->protocol == ASSENT_2PC ? ASSENT_PREPARE : ASSENT_CAN_COMMIT,
                        txn->lamport + 1, &begin->body.begin.branches[i]);
        }
}

static enum assent_verdict apply_begin(struct model *model, int64_t offset, const struct assent_message *begin)
{
        enum assent_verdict verdict = judge_begin(model, begin);
        if (verdict == ASSENT_V_APPLIED) {
                accept(model, begin);
        } else if (verdict == ASSENT_V_DUPLICATE) {
                struct model_txn *txn = find(model, &begin->txn_id);
                see(txn, begin);
                if (!undecided(txn))
                        decided_outcome(model, txn);
        } else {
                struct assent_message m = {
                    .type = ASSENT_OUTCOME, .txn_id = begin->txn_id, .lamport = clamp(begin->lamport) + 1};
                m.body.outcome.outcome = ASSENT_REJECTED;
                m.body.outcome.reason = assent_bytes_of(assent_verdict_name(verdict));
                m.body.outcome.decided_at_ms = model->tau_ms == MODEL_NEVER ? 0 : model->tau_ms;
                m.body.outcome.rejected_lane = model->lane;
                m.body.outcome.rejected_offset = offset;
                emit(model, &m);
        }
        return verdict;
}

static enum assent_verdict vote(struct model *model, struct model_txn *txn, unsigned branch,
                                const struct assent_message *reply)
{
        enum assent_answer answer = reply->body.reply.answer;
        if (txn->votes[branch])
                return txn->votes[branch] == answer ? ASSENT_V_DUPLICATE : ASSENT_V_CONFLICT;
        if (txn->state != MODEL_VOTING)
                return ASSENT_V_LATE;
        txn->votes[branch] = answer;
        if (answer == ASSENT_NO) {
                char prefix[ASSENT_SERVICE_SIZE_MAX + 2];
                size_t size = txn->services[branch].size;
                memcpy(prefix, txn->services[branch].data, size);
                memcpy(prefix + size, ": ", 2);
                struct assent_bytes why = reply->body.reply.reason;
                keep_reason(txn, prefix, size + 2, why.size ? why : assent_bytes_of("NO"));
                decide(model, txn, false);
        } else {
                all_voted(model, txn);
        }
        return ASSENT_V_APPLIED;
}

static enum assent_verdict pre_ack(struct model *model, struct model_txn *txn, unsigned branch)
{
        if (txn->state == MODEL_VOTING)
                return ASSENT_V_EARLY;
        if (!txn->asked_pre_commit || txn->votes[branch] != ASSENT_YES)
                return ASSENT_V_FORGED;
        if (txn->pre_acks[branch])
                return ASSENT_V_DUPLICATE;
        if (txn->state != MODEL_PRE_COMMIT)
                return ASSENT_V_LATE;
        txn->pre_acks[branch] = true;
        for (unsigned i = 0; i < txn->count; i++)
                if (txn->votes[i] == ASSENT_YES && !txn->pre_acks[i])
                        return ASSENT_V_APPLIED;
        decide(model, txn, true);
        return ASSENT_V_APPLIED;
}

static enum assent_verdict ack(struct model *model, struct model_txn *txn, unsigned branch, enum assent_phase phase)
{
        if (undecided(txn))
                return ASSENT_V_EARLY;
        if (txn->commit != (phase == ASSENT_COMMIT) || !owed(txn, branch))
                return ASSENT_V_FORGED;
        if (txn->acks[branch])
                return ASSENT_V_DUPLICATE;
        txn->acks[branch] = true;
        finish_if_done(model, txn);
        return ASSENT_V_APPLIED;
}

static bool fits(const struct model_txn *txn, const struct assent_message *reply)
{
        enum assent_phase phase = reply->body.reply.phase;
        enum assent_answer answer = reply->body.reply.answer;
        if (reply->body.reply.branch >= txn->count ||
            !same(reply->body.reply.service, txn->services[reply->body.reply.branch]))
                return false;
        if (phase == ASSENT_PREPARE || phase == ASSENT_CAN_COMMIT)
                return answer != ASSENT_DONE && (phase == ASSENT_PREPARE) == (txn->protocol == ASSENT_2PC);
        return answer == ASSENT_DONE && (phase != ASSENT_PRE_COMMIT || txn->protocol == ASSENT_3PC);
}

static enum assent_verdict apply_reply(struct model *model, const struct assent_message *reply)
{
        struct model_txn *txn = find(model, &reply->txn_id);
        unsigned branch = reply->body.reply.branch;
        enum assent_phase phase = reply->body.reply.phase;
        if (!txn)
                return ASSENT_V_UNKNOWN;
        if (!fits(txn, reply))
                return ASSENT_V_FORGED;
        const uint64_t lamport = txn->lamport;
        enum assent_verdict verdict;
        see(txn, reply);
        if (phase == ASSENT_PREPARE || phase == ASSENT_CAN_COMMIT)
                verdict = vote(model, txn, branch, reply);
        else if (phase == ASSENT_PRE_COMMIT)
                verdict = pre_ack(model, txn, branch);
        else
                verdict = ack(model, txn, branch, phase);
        if (verdict == ASSENT_V_FORGED) /* not seen */
                txn->lamport = lamport;
        return verdict;
}

static enum assent_verdict apply_settings(struct model *model, const struct assent_message *control)
{
        struct assent_settings settings;
        char text[ASSENT_SETTINGS_SIZE_MAX];
        if (!assent_settings_parse(control->body.control.settings, &settings))
                return ASSENT_V_MALFORMED;
        if (model->has_settings) {
                size_t size = assent_settings_format(&model->settings, text);
                return same(control->body.control.settings, (struct assent_bytes){text, size}) ? ASSENT_V_DUPLICATE
                                                                                                    : ASSENT_V_CONFLICT;
        }
        model->has_settings = true;
        model->settings = settings;
        model->settings_image = assent_hash64(control->body.control.settings.data, control->body.control.settings.size, 0);
        model->settings_tau_ms = model->tau_ms;
        return ASSENT_V_APPLIED;
}

static enum assent_verdict apply_control(struct model *model, const struct assent_message *control)
{
        struct model_txn *txn = find(model, &control->txn_id);
        int32_t branch = control->body.control.branch;
        if (control->body.control.kind == ASSENT_SETTINGS)
                return apply_settings(model, control);
        if (control->body.control.kind == ASSENT_TICK)
                return ASSENT_V_APPLIED;
        if (!txn)
                return ASSENT_V_UNKNOWN;
        if (control->body.control.kind == ASSENT_CANCEL) { /* R7 */
                see(txn, control);
                if (txn->state != MODEL_VOTING)
                        return ASSENT_V_LATE;
                keep_reason(txn, "", 0, control->body.control.reason);
                decide(model, txn, false);
                return ASSENT_V_APPLIED;
        }
        if (branch >= (int32_t)txn->count) /* R10 */
                return ASSENT_V_FORGED;
        see(txn, control);
        if (undecided(txn))
                return ASSENT_V_PENDING;
        if (branch < 0)
                decided_outcome(model, txn);
        else if (owed(txn, (unsigned)branch))
                decision(model, txn, (unsigned)branch);
        return ASSENT_V_ANSWERED;
}

/* ---- R12 ---- */

static size_t put(uint8_t *image, size_t at, uint64_t value, size_t bytes)
{
        for (size_t i = 0; i < bytes; i++)
                image[at + i] = (uint8_t)(value >> (8 * i));
        return at + bytes;
}

static uint64_t image_of(const struct model_txn *txn)
{
        uint8_t image[64 + 9 * MODEL_BRANCHES + ASSENT_REASON_SIZE_MAX];
        bool decided = !undecided(txn), finished = txn->state == MODEL_FINISHED;
        int64_t time = txn->state == MODEL_VOTING ? txn->timeout_ms : decided ? txn->decided_ms : txn->d2_ms;
        size_t size = sizeof txn->id;
        memcpy(image, &txn->id, size);
        size = put(image, size, txn->begin_digest, 8);
        size = put(image, size, (uint64_t)txn->d_ms, 8);
        size = put(image, size, (uint64_t)time, 8);
        size = put(image, size, txn->lamport, 4);
        size = put(image, size, decided ? txn->decision_lamport : 0, 4);
        size = put(image, size, txn->protocol, 1);
        size = put(image, size,
                   (txn->notify ? 1u : 0) | (txn->asked_pre_commit ? 2u : 0) | (decided ? 4u : 0) |
                       (txn->commit ? 8u : 0) | (finished ? 16u : 0),
                   1);
        size = put(image, size, txn->count, 1);
        for (unsigned i = 0; i < txn->count; i++) {
                size = put(image, size, assent_hash64(txn->services[i].data, txn->services[i].size, 0), 8);
                size = put(image, size, txn->votes[i] | (txn->pre_acks[i] ? 4u : 0) | (txn->acks[i] ? 8u : 0), 1);
        }
        size = put(image, size, txn->reason_size, 2);
        memcpy(image + size, txn->reason, txn->reason_size);
        return assent_hash64(image, size + txn->reason_size, 0);
}

/* After every step: the images of whoever was touched, and the eldest anew when it may have been decided. */
static void settle(struct model *model)
{
        bool known = true;
        for (size_t i = 0; i < model->touched_count; i++) {
                size_t place = model->touched[i];
                struct model_txn *txn = &model->txns[place];
                txn->touched = false;
                model->images_sum -= model->images[place];
                model->images[place] = txn->state == MODEL_GONE ? 0 : image_of(txn);
                model->images_sum += model->images[place];
                known = known && (undecided(txn) || model_birth(txn) != model->eldest_ms);
        }
        while (model->txns_count > 0 && model->txns[model->txns_count - 1].state == MODEL_GONE)
                model->txns_count--;
        if (known)
                return;
        model->eldest_ms = INT64_MAX;
        for (size_t i = 0; i < model->txns_count; i++)
                if (undecided(&model->txns[i]))
                        at_most(&model->eldest_ms, model_birth(&model->txns[i]));
}

uint64_t model_digest(const struct model *model)
{
        uint8_t tau[8];
        put(tau, 0, (uint64_t)model->tau_ms, 8);
        return assent_hash64(tau, sizeof tau, 1) + model->settings_image + model->images_sum;
}

int64_t model_hold(const struct model *model)
{
        if (!model->has_settings)
                return ASSENT_TIME_NONE;
        int64_t h = model->tau_ms - model->settings.window_ms;
        at_most(&h, model->eldest_ms);
        h -= model->settings.skew_ms;
        return h > model->settings_tau_ms ? h : ASSENT_TIME_NONE;
}

/* ---- steps ---- */

void model_open(struct model *model, int32_t lane)
{
        memset(model, 0, offsetof(struct model, emissions));
        for (size_t i = 0; i < MODEL_TXNS; i++)
                model->txns[i].state = MODEL_GONE;
        model->lane = lane;
        model->tau_ms = model->floor_ms = model->settings_tau_ms = MODEL_NEVER;
        model->due_ms = model->born_ms = model->eldest_ms = INT64_MAX;
}

enum assent_verdict model_step(struct model *model, int64_t offset, int64_t timestamp_ms,
                               const struct assent_message *message)
{
        enum assent_verdict verdict = ASSENT_V_MALFORMED; /* R15 */
        model->emissions_count = model->touched_count = 0;
        if (timestamp_ms >= 0 && timestamp_ms < INT64_C(1) << 48 && timestamp_ms > model->tau_ms) /* R1 */
                model->tau_ms = timestamp_ms;
        expire(model);
        if (message && !assent_message_id_holds(message))
                verdict = ASSENT_V_FORGED;
        else if (message && (message->type == ASSENT_COMMAND || message->type == ASSENT_OUTCOME))
                verdict = ASSENT_V_FOREIGN;
        else if (message && message->type == ASSENT_BEGIN)
                verdict = apply_begin(model, offset, message);
        else if (message && message->type == ASSENT_REPLY)
                verdict = apply_reply(model, message);
        else if (message)
                verdict = apply_control(model, message);
        forget(model);
        settle(model);
        return verdict;
}
