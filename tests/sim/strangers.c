/* strangers.c: records that no process of the world sent: garbage, forgeries that the rules can tell, and messages that anybody
 * may send. None is ever a valid vote or decision: nothing could tell it from a real one (DESIGN §10). See sim.h. */
#include "faults.h"

#include <string.h>

#include <assent/participant.h>

#include "base/panic.h"
#include "check.h"
#include "codec/codec.h"
#include "core/ids.h"
#include "core/settings.h"

enum { COPY_MAX = 4096, TRIES = 40, RECENT = 64 };

static struct assent_codec *codec; /* one for all worlds: its schemas take longer than a world's start */

void sim_strangers_open(void)
{
        if (!codec)
                codec = assent_codec_open(256 << 10);
        ASSENT_ASSERT(codec);
}

/* ---- sending and finding ---- */

/* True if it was sent. The bytes may stand in the very log. */
static bool append(struct sim_log *log, struct assent_bytes bytes)
{
        uint8_t copy[COPY_MAX];
        if (bytes.size > sizeof copy)
                return false;
        if (bytes.size)
                memcpy(copy, bytes.data, bytes.size);
        sim_check_foreign(true);
        sim_append(log, "stranger", (struct assent_bytes){copy, bytes.size});
        sim_check_foreign(false);
        return true;
}

/* With the id as it stands in the message. */
static bool post(struct sim_log *log, const struct assent_message *message)
{
        struct assent_bytes bytes;
        return assent_codec_encode(codec, message, &bytes) == ASSENT_OK && append(log, bytes);
}

static struct assent_bytes value_of(const struct sim_record *record)
{
        return (struct assent_bytes){record->bytes + record->key_size, record->size};
}

/* A record of the log, half of the time a recent one; empty if there is none. */
static struct assent_bytes any_value(const struct sim_log *log)
{
        int64_t least = log->low;
        if (sim_below(2) && log->high - RECENT > least)
                least = log->high - RECENT;
        if (log->high <= least)
                return (struct assent_bytes){0};
        const struct sim_record *record = &log->records[sim_between(least, log->high - 1)];
        return record->marker ? (struct assent_bytes){0} : value_of(record);
}

/* A message of that type in a lane of the inbox, or of a commands topic; lent until the next decode. False: none was met. */
static bool find(enum assent_message_type type, struct sim_log **log, struct assent_message *out, struct assent_bytes *value)
{
        for (int i = 0; i < TRIES; i++) {
                int lane = (int)sim_below((uint64_t)sim_options.lanes);
                *log = type == ASSENT_COMMAND ? sim_commands((unsigned)sim_below((uint64_t)sim_options.services), lane)
                                              : sim_log_of(SIM_INBOX, lane);
                *value = any_value(*log);
                if (value->size && assent_codec_decode(codec, *value, out) == ASSENT_DECODE_NONE && out->type == type &&
                    assent_message_id_holds(out))
                        return true;
        }
        return false;
}

/* Its own lane, as its client would have it. */
static struct sim_log *inbox_of(const struct assent_uuid *txn_id)
{
        return sim_log_of(SIM_INBOX, assent_lane_of(txn_id, (uint32_t)sim_options.lanes));
}

static struct sim_log *another_lane(const struct sim_log *log)
{
        int lane = (log->lane + 1 + (int)sim_below((uint64_t)sim_options.lanes - 1)) % sim_options.lanes;
        return sim_log_of(log->topic, lane);
}

/* ---- garbage ---- */

/* One bit is wrong. False if what came out is a message all the same. */
static bool flip(uint8_t *bytes, size_t size)
{
        struct assent_message message;
        bytes[sim_below(size)] ^= (uint8_t)(1u << sim_below(8));
        return assent_codec_decode(codec, (struct assent_bytes){bytes, size}, &message) != ASSENT_DECODE_NONE ||
               !assent_message_id_holds(&message);
}

void sim_garbage(void)
{
        struct sim_log *log = sim_any_log();
        uint8_t bytes[COPY_MAX];
        struct assent_bytes value = any_value(log);
        size_t size = value.size;
        unsigned choice = (unsigned)sim_below(3);
        if (choice == 0 || size == 0 || size > sizeof bytes) {
                size = sim_below(200);
                for (size_t i = 0; i < size; i++)
                        bytes[i] = (uint8_t)sim_random();
        } else {
                memcpy(bytes, value.data, size);
                if (choice == 1)
                        size = sim_below(size);
                else if (!flip(bytes, size))
                        return;
        }
        if (append(log, (struct assent_bytes){bytes, size}))
                sim_count(SIM_GARBAGE);
}

/* ---- forgeries ---- */

/* A reply that cannot be one of this transaction's. */
static bool forge_reply(void)
{
        struct sim_log *log;
        struct assent_message begin;
        struct assent_bytes value;
        if (!find(ASSENT_BEGIN, &log, &begin, &value) || begin.body.begin.branches_count == 0)
                return false;
        bool three = begin.body.begin.protocol == ASSENT_3PC;
        uint16_t branch = (uint16_t)sim_below(begin.body.begin.branches_count);
        struct assent_message reply = {.type = ASSENT_REPLY, .txn_id = begin.txn_id, .lamport = 1 + sim_below(100)};
        reply.body.reply.branch = branch;
        reply.body.reply.service = begin.body.begin.branches[branch].service;
        reply.body.reply.phase = three ? ASSENT_CAN_COMMIT : ASSENT_PREPARE;
        reply.body.reply.answer = sim_below(2) ? ASSENT_YES : ASSENT_NO;
        unsigned choice = (unsigned)sim_below(5);
        if (choice == 0)
                reply.body.reply.service = assent_bytes_of("intruder");
        else if (choice == 1)
                reply.body.reply.phase = three ? ASSENT_PREPARE : sim_below(2) ? ASSENT_CAN_COMMIT : ASSENT_PRE_COMMIT;
        else if (choice == 2)
                reply.body.reply.branch = (uint16_t)(begin.body.begin.branches_count + sim_below(3));
        else if (choice == 3)
                reply.body.reply.answer = ASSENT_DONE;
        assent_message_seal(&reply);
        if (choice == 4)
                reply.message_id.bytes[sim_below(16)] ^= 1;
        return post(inbox_of(&begin.txn_id), &reply);
}

/* Another transaction, of the same lane. */
static void rename_in_lane(struct assent_message *message, int lane)
{
        do
                for (int i = 9; i < 16; i++)
                        message->txn_id.bytes[i] = (uint8_t)sim_random();
        while (assent_lane_of(&message->txn_id, (uint32_t)sim_options.lanes) != lane);
}

static bool forge_command(void)
{
        struct sim_log *log;
        struct assent_message command;
        struct assent_bytes value;
        if (!find(ASSENT_COMMAND, &log, &command, &value))
                return false;
        switch (sim_below(6)) {
        case 5: /* a decision about what nobody began */
                rename_in_lane(&command, log->lane);
                command.body.command.phase = ASSENT_COMMIT;
                command.body.command.deadline_ms = SIM_EPOCH_MS + sim_now_ms();
                command.body.command.kind = command.body.command.payload = (struct assent_bytes){0};
                assent_message_seal(&command);
                break;
        case 4: /* the same id, other contents */
                command.body.command.deadline_ms++;
                break;
        case 0:
                return sim_options.lanes > 1 && append(another_lane(log), value);
        case 1:
                command.message_id.bytes[sim_below(16)] ^= 1;
                break;
        case 2:
                command.body.command.service = assent_bytes_of("intruder");
                break;
        case 3:
                command.body.command.branch = (uint16_t)(command.body.command.branches_count + sim_below(3));
                assent_message_seal(&command);
                break;
        }
        return post(log, &command);
}

/* A message in a topic where it does not belong. */
static bool forge_place(void)
{
        struct sim_log *log, *other;
        struct assent_message message;
        struct assent_bytes value;
        if (sim_below(2))
                return find(ASSENT_COMMAND, &log, &message, &value) && append(inbox_of(&message.txn_id), value);
        other = sim_commands((unsigned)sim_below((uint64_t)sim_options.services),
                             (int)sim_below((uint64_t)sim_options.lanes));
        return find(sim_below(2) ? ASSENT_BEGIN : ASSENT_REPLY, &log, &message, &value) && append(other, value);
}

/* The first settings of a lane count, for ever (R17). */
static bool forge_settings(void)
{
        struct assent_message message;
        struct assent_settings settings;
        char text[ASSENT_SETTINGS_SIZE_MAX];
        struct sim_log *log = sim_log_of(SIM_INBOX, (int)sim_below((uint64_t)sim_options.lanes));
        if (log->low > 0 || assent_codec_decode(codec, value_of(&log->records[0]), &message) != ASSENT_DECODE_NONE ||
            message.type != ASSENT_CONTROL || !assent_settings_parse(message.body.control.settings, &settings))
                return false;
        settings.window_ms += (int64_t)sim_below(2);
        assent_settings_format(&settings, text);
        message.body.control.settings = assent_bytes_of(text);
        assent_message_seal(&message);
        return post(log, &message);
}

/* The same id, other contents. */
static bool forge_begin(void)
{
        struct sim_log *log;
        struct assent_message begin;
        struct assent_bytes value;
        if (!find(ASSENT_BEGIN, &log, &begin, &value))
                return false;
        begin.body.begin.timeout_ms++;
        return post(log, &begin);
}

static bool forge_outcome(void)
{
        struct sim_log *log = sim_log_of(SIM_OUTCOMES, (int)sim_below((uint64_t)sim_options.lanes));
        struct assent_message outcome;
        struct assent_bytes value = any_value(log);
        if (!value.size || assent_codec_decode(codec, value, &outcome) != ASSENT_DECODE_NONE ||
            !assent_message_id_holds(&outcome) || outcome.type != ASSENT_OUTCOME)
                return false;
        outcome.message_id.bytes[sim_below(16)] ^= 1;
        return post(log, &outcome);
}

void sim_forge(void)
{
        static bool (*const forgers[])(void) = {forge_reply, forge_reply,    forge_command, forge_command,
                                                forge_place, forge_settings, forge_outcome, forge_begin};
        if (forgers[sim_below(sizeof forgers / sizeof *forgers)]())
                sim_count(SIM_FORGED);
}

/* ---- what anybody may send ---- */

void sim_tick(void)
{
        struct assent_message tick = {.type = ASSENT_CONTROL, .lamport = 1};
        tick.body.control.kind = ASSENT_TICK;
        tick.body.control.branch = ASSENT_NO_BRANCH;
        tick.body.control.attempt = (uint32_t)sim_below(3);
        assent_message_seal(&tick);
        if (post(sim_log_of(SIM_INBOX, (int)sim_below((uint64_t)sim_options.lanes)), &tick))
                sim_count(SIM_TICK);
}

static void ask(enum assent_control_kind kind, const char *reason, enum sim_fault fault)
{
        struct sim_log *log;
        struct assent_message begin;
        struct assent_bytes value;
        if (!find(ASSENT_BEGIN, &log, &begin, &value))
                return;
        struct assent_message control = {.type = ASSENT_CONTROL, .txn_id = begin.txn_id, .lamport = 1 + sim_below(10)};
        control.body.control.kind = kind;
        control.body.control.branch = ASSENT_NO_BRANCH;
        if (kind == ASSENT_INQUIRE && sim_below(2))
                control.body.control.branch = (int32_t)sim_below(begin.body.begin.branches_count + 1);
        control.body.control.attempt = (uint32_t)sim_below(1000);
        control.body.control.reason = assent_bytes_of(reason);
        assent_message_seal(&control);
        if (post(inbox_of(&begin.txn_id), &control))
                sim_count(fault);
}

void sim_inquire(void)
{
        ask(ASSENT_INQUIRE, "", SIM_INQUIRE);
}

void sim_cancel(void)
{
        ask(ASSENT_CANCEL, "changed my mind", SIM_CANCEL);
}

/* A begin that will be too old in a moment: who has forgotten it must not take its copy for new (R13's floor). */
static bool find_last_moment(struct sim_log **log, struct assent_bytes *value)
{
        struct assent_message message;
        int64_t tau_ms = 0;
        *log = sim_log_of(SIM_INBOX, (int)sim_below((uint64_t)sim_options.lanes));
        for (int64_t i = (*log)->low; i < (*log)->high; i++)
                if ((*log)->records[i].timestamp_ms > tau_ms)
                        tau_ms = (*log)->records[i].timestamp_ms;
        for (int64_t i = (*log)->low; i < (*log)->high; i++) {
                if ((*log)->records[i].marker)
                        continue;
                *value = value_of(&(*log)->records[i]);
                if (assent_codec_decode(codec, *value, &message) != ASSENT_DECODE_NONE || message.type != ASSENT_BEGIN)
                        continue;
                int64_t age_ms = tau_ms - assent_txn_id_birth_ms(&message.txn_id);
                if (age_ms <= sim_options.window_ms && age_ms > sim_options.window_ms - 300)
                        return true;
        }
        return false;
}

void sim_begin_again(void)
{
        struct sim_log *log;
        struct assent_message begin;
        struct assent_bytes value;
        bool found = sim_below(2) ? find_last_moment(&log, &value) : find(ASSENT_BEGIN, &log, &begin, &value);
        if (found && append(log, value))
                sim_count(SIM_BEGIN_AGAIN);
}

/* Born too early, too late, or sent to the wrong lane: refused, whatever the clocks have done meanwhile. */
void sim_begin_stale(void)
{
        struct assent_message begin = {.type = ASSENT_BEGIN, .lamport = 1};
        int64_t birth_ms = SIM_EPOCH_MS + sim_now_ms();
        unsigned choice = (unsigned)sim_below(sim_options.lanes > 1 ? 3 : 2);
        if (choice < 2)
                birth_ms += sim_between(100000, INT64_C(10000000000)) * (choice == 0 ? 1 : -1);
        for (int i = 0; i < 16; i++)
                begin.txn_id.bytes[i] = (uint8_t)(i < 6 ? (uint64_t)birth_ms >> (40 - 8 * i) : sim_random());
        begin.txn_id.bytes[6] = (uint8_t)(0x70 | (begin.txn_id.bytes[6] & 0x0f));
        begin.txn_id.bytes[8] = (uint8_t)(0x80 | (begin.txn_id.bytes[8] & 0x3f));
        const struct sim_payload payload = {.vote = ASSENT_VOTE_NO};
        const struct assent_branch_request branch = {
                .service = assent_bytes_of(sim_service_name((unsigned)sim_below((uint64_t)sim_options.services))),
                .kind = assent_bytes_of("move"),
                .payload = {&payload, sizeof payload},
        };
        begin.body.begin.protocol = ASSENT_2PC;
        begin.body.begin.timeout_ms = 100;
        begin.body.begin.branches_count = 1;
        begin.body.begin.branches = &branch;
        assent_message_seal(&begin);
        struct sim_log *log = inbox_of(&begin.txn_id);
        if (post(choice < 2 ? log : another_lane(log), &begin))
                sim_count(SIM_BEGIN_STALE);
}

/* What nobody began is aborted before it is prepared. (From coordinators a PREPARE comes first: whoever replays a begin sends
 * it again.) The first phase of another transaction is taken for its own. */
void sim_abort_first(void)
{
        struct sim_log *log;
        struct assent_message first, abort;
        struct assent_bytes value;
        if (!find(ASSENT_COMMAND, &log, &first, &value) || !assent_phase_is_first(first.body.command.phase) ||
            first.body.command.payload.size != sizeof(struct sim_payload) ||
            first.body.command.branch >= first.body.command.branches_count)
                return;
        rename_in_lane(&first, log->lane);
        first.body.command.deadline_ms = SIM_EPOCH_MS + sim_now_ms();
        abort = first;
        abort.body.command.phase = ASSENT_ABORT;
        abort.body.command.kind = abort.body.command.payload = (struct assent_bytes){0};
        assent_message_seal(&abort);
        assent_message_seal(&first);
        if (post(log, &abort) && post(log, &first))
                sim_count(SIM_FORGED);
}
