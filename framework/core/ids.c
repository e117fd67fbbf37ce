/* ids.c: message ids and digests (R-ID). The byte values here are the wire contract and never change.
 *
 * Id: UUID version 5 (RFC 9562 section 5.5, SHA-1) in the namespace 7e1a4a48-01b1-4705-8c33-e6f3f9f441a7 over this
 * name, integers big-endian:
 *
 *     size  field
 *      1    type: BEGIN 1, COMMAND 2, REPLY 3, OUTCOME 4, CONTROL 5
 *     16    txn id (all zero for SETTINGS and TICK)
 *      2    branch; 0xffff for none (BEGIN, OUTCOME, and CONTROL without a branch)
 *      1    phase class:
 *             BEGIN           0
 *             COMMAND, REPLY  PREPARE and CAN_COMMIT 1, PRE_COMMIT 2, COMMIT and ABORT 3; anything else 0
 *             OUTCOME         COMMITTED and ABORTED 1, COMPLETED and UNCONFIRMED 2, REJECTED 3; anything else 0
 *             CONTROL         SETTINGS 1, TICK 2, CANCEL 3, INQUIRE 4
 *      4    CONTROL only: attempt
 *     12    REJECTED only: lane (4) and offset (8) of the refused record
 *
 * Digest: XXH64, seed 0, over type (1), txn id (16) and then these fields; integers big-endian in the width given
 * (signed ones as two's complement), byte strings as their size (4) and their bytes. Enumerations are the numbers of
 * types.h and message.h. The message id and the Lamport time are in no digest: the first follows from the rest, and the
 * second may differ when a client builds the same begin again.
 *
 *     BEGIN    protocol (1), timeout_ms (4), notify_completed (1), branches_count (4), then for each branch present (at
 * most 64): service, kind, payload COMMAND  branch (2), branches_count (2), service, phase (1), deadline_ms (8), kind,
 * payload REPLY    branch (2), service, phase (1), answer (1), reason OUTCOME  outcome (1), reason, decided_at_ms (8),
 * rejected_lane (4), rejected_offset (8) CONTROL  kind (1), branch (2; 0xffff for none), attempt (4), reason, settings
 */
#include "core/ids.h"

#include <string.h>

#include "base/hash.h"
#include "base/panic.h"
#include "base/uuid5.h"

#define NAME_SIZE_MAX 32
#define BRANCH_NONE   0xffff

static const struct assent_uuid namespace_id = {
    {0x7e, 0x1a, 0x4a, 0x48, 0x01, 0xb1, 0x47, 0x05, 0x8c, 0x33, 0xe6, 0xf3, 0xf9, 0xf4, 0x41, 0xa7}};

static size_t put_integer(uint8_t *out, uint64_t value, size_t size)
{
        for (size_t i = 0; i < size; i++)
                out[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
        return size;
}

static uint64_t branch_of(const struct assent_message *message)
{
        switch (message->type) {
        case ASSENT_COMMAND:
                return message->body.command.branch;
        case ASSENT_REPLY:
                return message->body.reply.branch;
        case ASSENT_CONTROL:
                return message->body.control.branch < 0 ? BRANCH_NONE : (uint16_t)message->body.control.branch;
        case ASSENT_BEGIN:
        case ASSENT_OUTCOME:
                break;
        }
        return BRANCH_NONE;
}

static uint64_t phase_class(enum assent_phase phase)
{
        if (assent_phase_is_first(phase))
                return 1;
        if (phase == ASSENT_PRE_COMMIT)
                return 2;
        return assent_phase_is_decision(phase) ? 3 : 0;
}

static uint64_t outcome_class(enum assent_outcome outcome)
{
        if (outcome == ASSENT_COMMITTED || outcome == ASSENT_ABORTED)
                return 1;
        if (outcome == ASSENT_COMPLETED || outcome == ASSENT_UNCONFIRMED)
                return 2;
        return outcome == ASSENT_REJECTED ? 3 : 0;
}

static uint64_t class_of(const struct assent_message *message)
{
        switch (message->type) {
        case ASSENT_COMMAND:
                return phase_class(message->body.command.phase);
        case ASSENT_REPLY:
                return phase_class(message->body.reply.phase);
        case ASSENT_OUTCOME:
                return outcome_class(message->body.outcome.outcome);
        case ASSENT_CONTROL:
                return (uint64_t)message->body.control.kind;
        case ASSENT_BEGIN:
                break;
        }
        return 0;
}

void assent_message_id_derive(const struct assent_message *message, struct assent_uuid *out)
{
        uint8_t name[NAME_SIZE_MAX];
        size_t size = put_integer(name, (uint64_t)message->type, 1);
        memcpy(name + size, message->txn_id.bytes, sizeof message->txn_id.bytes);
        size += sizeof message->txn_id.bytes;
        size += put_integer(name + size, branch_of(message), 2);
        size += put_integer(name + size, class_of(message), 1);
        if (message->type == ASSENT_CONTROL)
                size += put_integer(name + size, message->body.control.attempt, 4);
        if (message->type == ASSENT_OUTCOME && message->body.outcome.outcome == ASSENT_REJECTED) {
                size += put_integer(name + size, (uint32_t)message->body.outcome.rejected_lane, 4);
                size += put_integer(name + size, (uint64_t)message->body.outcome.rejected_offset, 8);
        }
        ASSENT_ASSERT(size <= sizeof name);
        assent_uuid5(&namespace_id, name, size, out);
}

void assent_message_seal(struct assent_message *message)
{
        assent_message_id_derive(message, &message->message_id);
}

bool assent_message_id_holds(const struct assent_message *message)
{
        struct assent_uuid id;
        assent_message_id_derive(message, &id);
        return memcmp(id.bytes, message->message_id.bytes, sizeof id.bytes) == 0;
}

static void add_integer(struct assent_hash *hash, uint64_t value, size_t size)
{
        uint8_t bytes[8];
        assent_hash_add(hash, bytes, put_integer(bytes, value, size));
}

static void add_bytes(struct assent_hash *hash, struct assent_bytes bytes)
{
        add_integer(hash, bytes.size, 4);
        if (bytes.size)
                assent_hash_add(hash, bytes.data, bytes.size);
}

static void add_begin(struct assent_hash *hash, const struct assent_message *message)
{
        uint32_t count = message->body.begin.branches_count;
        add_integer(hash, (uint64_t)message->body.begin.protocol, 1);
        add_integer(hash, message->body.begin.timeout_ms, 4);
        add_integer(hash, message->body.begin.notify_completed, 1);
        add_integer(hash, count, 4);
        for (uint32_t i = 0; i < count && i < ASSENT_BRANCHES_MAX; i++) {
                const struct assent_branch_request *branch = &message->body.begin.branches[i];
                add_bytes(hash, branch->service);
                add_bytes(hash, branch->kind);
                add_bytes(hash, branch->payload);
        }
}

static void add_command(struct assent_hash *hash, const struct assent_message *message)
{
        add_integer(hash, message->body.command.branch, 2);
        add_integer(hash, message->body.command.branches_count, 2);
        add_bytes(hash, message->body.command.service);
        add_integer(hash, (uint64_t)message->body.command.phase, 1);
        add_integer(hash, (uint64_t)message->body.command.deadline_ms, 8);
        add_bytes(hash, message->body.command.kind);
        add_bytes(hash, message->body.command.payload);
}

static void add_reply(struct assent_hash *hash, const struct assent_message *message)
{
        add_integer(hash, message->body.reply.branch, 2);
        add_bytes(hash, message->body.reply.service);
        add_integer(hash, (uint64_t)message->body.reply.phase, 1);
        add_integer(hash, (uint64_t)message->body.reply.answer, 1);
        add_bytes(hash, message->body.reply.reason);
}

static void add_outcome(struct assent_hash *hash, const struct assent_message *message)
{
        add_integer(hash, (uint64_t)message->body.outcome.outcome, 1);
        add_bytes(hash, message->body.outcome.reason);
        add_integer(hash, (uint64_t)message->body.outcome.decided_at_ms, 8);
        add_integer(hash, (uint32_t)message->body.outcome.rejected_lane, 4);
        add_integer(hash, (uint64_t)message->body.outcome.rejected_offset, 8);
}

static void add_control(struct assent_hash *hash, const struct assent_message *message)
{
        add_integer(hash, (uint64_t)message->body.control.kind, 1);
        add_integer(hash, branch_of(message), 2);
        add_integer(hash, message->body.control.attempt, 4);
        add_bytes(hash, message->body.control.reason);
        add_bytes(hash, message->body.control.settings);
}

uint64_t assent_message_digest(const struct assent_message *message)
{
        struct assent_hash hash;
        assent_hash_init(&hash, 0);
        add_integer(&hash, (uint64_t)message->type, 1);
        assent_hash_add(&hash, message->txn_id.bytes, sizeof message->txn_id.bytes);
        switch (message->type) {
        case ASSENT_BEGIN:
                add_begin(&hash, message);
                break;
        case ASSENT_COMMAND:
                add_command(&hash, message);
                break;
        case ASSENT_REPLY:
                add_reply(&hash, message);
                break;
        case ASSENT_OUTCOME:
                add_outcome(&hash, message);
                break;
        case ASSENT_CONTROL:
                add_control(&hash, message);
                break;
        }
        return assent_hash_value(&hash);
}
