/* message.h: a protocol message as a C struct. Every pointer in it is borrowed from whoever made the message. */
#ifndef ASSENT_CORE_MESSAGE_H
#define ASSENT_CORE_MESSAGE_H

#include <assent/types.h>

enum assent_message_type {
        ASSENT_BEGIN = 1,
        ASSENT_COMMAND = 2,
        ASSENT_REPLY = 3,
        ASSENT_OUTCOME = 4,
        ASSENT_CONTROL = 5,
};

enum assent_control_kind { ASSENT_SETTINGS = 1, ASSENT_TICK = 2, ASSENT_CANCEL = 3, ASSENT_INQUIRE = 4 };

#define ASSENT_NO_BRANCH (-1)

struct assent_branch_request {
        struct assent_bytes service, kind, payload;
};

struct assent_message {
        enum assent_message_type type;
        struct assent_uuid message_id;
        struct assent_uuid txn_id; /* all zero for SETTINGS and TICK */
        uint64_t lamport;          /* clamped to ASSENT_LAMPORT_MAX by the decoder */
        union {
                struct {
                        enum assent_protocol protocol;
                        uint32_t timeout_ms;
                        bool notify_completed;
                        /* May exceed ASSENT_BRANCHES_MAX (R2 rejects it); then only the first ASSENT_BRANCHES_MAX stand in
                         * `branches`. */
                        uint32_t branches_count;
                        const struct assent_branch_request *branches;
                } begin;
                struct {
                        uint16_t branch, branches_count;
                        struct assent_bytes service;
                        enum assent_phase phase;
                        int64_t deadline_ms;
                        struct assent_bytes kind, payload; /* first phase only, else empty */
                } command;
                struct {
                        uint16_t branch;
                        struct assent_bytes service;
                        enum assent_phase phase; /* the command's that it answers */
                        enum assent_answer answer;
                        struct assent_bytes reason; /* NO only, else empty */
                } reply;
                struct {
                        enum assent_outcome outcome;
                        struct assent_bytes reason;
                        int64_t decided_at_ms;
                        int32_t rejected_lane;   /* REJECTED: the lane and offset of the refused record; else -1 */
                        int64_t rejected_offset;
                } outcome;
                struct {
                        enum assent_control_kind kind;
                        int32_t branch;               /* INQUIRE by a participant; else ASSENT_NO_BRANCH */
                        uint32_t attempt;
                        struct assent_bytes reason;   /* CANCEL only, else empty */
                        struct assent_bytes settings; /* SETTINGS only, else empty: text, see settings.h */
                } control;
        } body;
};

static inline struct assent_bytes assent_bytes_of(const char *text)
{
        size_t size = 0;
        while (text && text[size])
                size++;
        return (struct assent_bytes){.data = text, .size = size};
}

static inline bool assent_phase_is_first(enum assent_phase phase)
{
        return phase == ASSENT_PREPARE || phase == ASSENT_CAN_COMMIT;
}

static inline bool assent_phase_is_decision(enum assent_phase phase)
{
        return phase == ASSENT_COMMIT || phase == ASSENT_ABORT;
}

/* "BEGIN", "COMMAND", …; "SETTINGS", "TICK", …; "?" outside the enumeration. */
const char *assent_message_type_name(enum assent_message_type type);
const char *assent_control_kind_name(enum assent_control_kind kind);

/* The words read back; false for an unknown one (a deterministic verdict, never an error of the process). */
bool assent_protocol_from(struct assent_bytes text, enum assent_protocol *out);
bool assent_phase_from(struct assent_bytes text, enum assent_phase *out);
bool assent_answer_from(struct assent_bytes text, enum assent_answer *out);
bool assent_outcome_from(struct assent_bytes text, enum assent_outcome *out);
bool assent_control_kind_from(struct assent_bytes text, enum assent_control_kind *out);

/* [a-z0-9-]{1,40} */
bool assent_service_valid(struct assent_bytes service);

#endif
