/* core_lab.h: what the core's tests share: messages made by hand, a core whose emissions and traces are kept, and a
 * small random generator. */
#ifndef CORE_LAB_H
#define CORE_LAB_H

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "core/coordinator.h"
#include "core/ids.h"

#define LAB_T0     1000000 /* the lane's clock in the tests of single rules */
#define LAB_W      200
#define LAB_S      30
#define LAB_TMAX   80
#define LAB_MEMORY (4u << 20)

static const struct assent_settings lab_settings = {.rules_version = ASSENT_RULES_VERSION,
                                                    .schema_version = ASSENT_SCHEMA_VERSION,
                                                    .lanes = 1,
                                                    .window_ms = LAB_W,
                                                    .skew_ms = LAB_S,
                                                    .timeout_max_ms = LAB_TMAX,
                                                    .grace_ms = 20,
                                                    .branches_max = 8,
                                                    .record_bytes_max = 65536};

/* ---- messages ---- */

/* A version 7 UUID with this birth; `n` makes it unique. */
static inline struct assent_uuid lab_txn(int64_t birth_ms, uint64_t n)
{
        struct assent_uuid id = {{0}};
        for (int i = 0; i < 6; i++)
                id.bytes[i] = (uint8_t)(birth_ms >> (8 * (5 - i)));
        id.bytes[6] = 0x70;
        id.bytes[8] = 0x80;
        for (int i = 0; i < 7; i++)
                id.bytes[15 - i] = (uint8_t)(n >> (8 * i));
        return id;
}

static inline struct assent_message lab_begin(struct assent_uuid id, enum assent_protocol protocol, uint32_t timeout_ms,
                                              bool notify, const struct assent_branch_request *branches, uint32_t count)
{
        struct assent_message m = {.type = ASSENT_BEGIN, .txn_id = id, .lamport = 1};
        m.body.begin.protocol = protocol;
        m.body.begin.timeout_ms = timeout_ms;
        m.body.begin.notify_completed = notify;
        m.body.begin.branches = branches;
        m.body.begin.branches_count = count;
        assent_message_seal(&m);
        return m;
}

static inline struct assent_message lab_reply(struct assent_uuid id, uint16_t branch, const char *service,
                                              enum assent_phase phase, enum assent_answer answer, const char *reason,
                                              uint64_t lamport)
{
        struct assent_message m = {.type = ASSENT_REPLY, .txn_id = id, .lamport = lamport};
        m.body.reply.branch = branch;
        m.body.reply.service = assent_bytes_of(service);
        m.body.reply.phase = phase;
        m.body.reply.answer = answer;
        m.body.reply.reason = assent_bytes_of(reason);
        assent_message_seal(&m);
        return m;
}

static inline struct assent_message lab_control(enum assent_control_kind kind, struct assent_uuid id, int32_t branch,
                                                uint32_t attempt, const char *reason)
{
        struct assent_message m = {.type = ASSENT_CONTROL, .txn_id = id, .lamport = 1};
        m.body.control.kind = kind;
        m.body.control.branch = branch;
        m.body.control.attempt = attempt;
        m.body.control.reason = assent_bytes_of(reason);
        assent_message_seal(&m);
        return m;
}

/* `text` is where the settings' text is put. */
static inline struct assent_message lab_settings_record(const struct assent_settings *settings,
                                                        char text[ASSENT_SETTINGS_SIZE_MAX])
{
        struct assent_message m = lab_control(ASSENT_SETTINGS, (struct assent_uuid){{0}}, ASSENT_NO_BRANCH, 0, NULL);
        m.body.control.settings.data = text;
        m.body.control.settings.size = assent_settings_format(settings, text);
        assent_message_seal(&m);
        return m;
}

/* ---- emissions ---- */

/* Two emissions with equal prints are equal byte for byte: the digest is over all of the body. */
struct lab_print {
        int64_t offset;
        struct assent_uuid id;
        uint64_t digest, lamport;
};

struct lab_emission {
        struct lab_print print;
        struct assent_message message; /* its bytes point into `text` */
        char service[ASSENT_SERVICE_SIZE_MAX], reason[ASSENT_REASON_SIZE_MAX];
};

struct lab {
        struct assent_core *core;
        int64_t offset; /* of the next record */
        int64_t mute;   /* emissions of records below it are not kept */
        bool prints_only;
        struct lab_emission *emissions;
        struct lab_print *prints;
        size_t count, capacity;
        struct assent_trace traces[64]; /* of the last step; their bytes are gone */
        size_t traces_count;
        enum assent_verdict verdict;
};

static inline struct assent_bytes lab_keep(char *to, struct assent_bytes bytes)
{
        if (bytes.size)
                memcpy(to, bytes.data, bytes.size);
        return (struct assent_bytes){.data = to, .size = bytes.size};
}

static inline void lab_emit(void *context, const struct assent_message *message)
{
        struct lab *lab = context;
        if (lab->offset < lab->mute)
                return;
        if (lab->count == lab->capacity) {
                lab->capacity = lab->capacity ? lab->capacity * 2 : 256;
                lab->prints = realloc(lab->prints, lab->capacity * sizeof *lab->prints);
                if (!lab->prints_only)
                        lab->emissions = realloc(lab->emissions, lab->capacity * sizeof *lab->emissions);
                ASSENT_ASSERT(lab->prints && (lab->prints_only || lab->emissions));
        }
        struct lab_print *print = &lab->prints[lab->count++];
        *print = (struct lab_print){lab->offset, message->message_id, assent_message_digest(message), message->lamport};
        if (lab->prints_only)
                return;
        struct lab_emission *kept = &lab->emissions[lab->count - 1];
        kept->print = *print;
        kept->message = *message;
        ASSENT_ASSERT(assent_message_id_holds(message));
        if (message->type == ASSENT_COMMAND)
                kept->message.body.command.service = lab_keep(kept->service, message->body.command.service);
        else
                kept->message.body.outcome.reason = lab_keep(kept->reason, message->body.outcome.reason);
}

static inline void lab_trace(void *context, const struct assent_trace *trace)
{
        struct lab *lab = context;
        if (lab->traces_count < sizeof lab->traces / sizeof *lab->traces)
                lab->traces[lab->traces_count++] = *trace;
}

static inline void lab_open(struct lab *lab, int64_t tau_ms, int64_t floor_ms, const struct assent_settings *settings)
{
        struct assent_core_options options = {.tau_ms = tau_ms,
                                              .floor_ms = floor_ms,
                                              .settings = settings,
                                              .memory_max = LAB_MEMORY,
                                              .emit = lab_emit,
                                              .trace = lab->prints_only ? NULL : lab_trace,
                                              .context = lab};
        lab->core = assent_core_open(&options);
        ASSENT_ASSERT(lab->core);
}

static inline enum assent_verdict lab_step(struct lab *lab, int64_t time_ms, const struct assent_message *message)
{
        lab->traces_count = 0;
        bool whole = assent_core_step(lab->core, lab->offset, time_ms, message, &lab->verdict);
        ASSENT_ASSERT(whole);
        lab->offset++;
        return lab->verdict;
}

static inline void lab_close(struct lab *lab)
{
        assent_core_close(lab->core);
        free(lab->emissions);
        free(lab->prints);
        *lab = (struct lab){0};
}

/* The emissions are pointed into again, because the array may have moved. */
static inline const struct assent_message *lab_emission(struct lab *lab, size_t i)
{
        ASSENT_ASSERT(i < lab->count && !lab->prints_only);
        struct lab_emission *kept = &lab->emissions[i];
        if (kept->message.type == ASSENT_COMMAND)
                kept->message.body.command.service.data = kept->service;
        else
                kept->message.body.outcome.reason.data = kept->reason;
        return &kept->message;
}

/* ---- randomness ---- */

static inline uint64_t lab_random(uint64_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state * UINT64_C(0x2545f4914f6cdd1d) >> 11;
}

static inline uint64_t lab_below(uint64_t *state, uint64_t n)
{
        return lab_random(state) % n;
}

static inline bool lab_chance(uint64_t *state, unsigned percent)
{
        return lab_below(state, 100) < percent;
}

#define LAB_PICK(state, ...)                                                                                           \
        (((const int64_t[]){__VA_ARGS__})[lab_below(state, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))])

#endif
