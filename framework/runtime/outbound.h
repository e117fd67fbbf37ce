/* outbound.h: what every runtime does when it sends: know what is not acknowledged yet, wait for room in the queue, and put
 * undecodable records aside. */
#ifndef ASSENT_RUNTIME_OUTBOUND_H
#define ASSENT_RUNTIME_OUTBOUND_H

#include "core/message.h"
#include "kafka/bus.h"

/* A delivery tag: what kind of record, for which of the sender's lanes, and which entry of that lane's tracker. */
enum assent_tag_kind {
        ASSENT_TAG_TRACKED = 1,
        ASSENT_TAG_UNTRACKED,
        ASSENT_TAG_DEAD_LETTER,
        ASSENT_TAG_OTHER,
        ASSENT_TAG_EVENT
};

#define ASSENT_TAG_SEQUENCE_MASK ((UINT64_C(1) << 44) - 1)

static inline uint64_t assent_tag(enum assent_tag_kind kind, int32_t lane, uint64_t sequence)
{
        return (uint64_t)kind << 60 | (uint64_t)(uint16_t)lane << 44 | (sequence & ASSENT_TAG_SEQUENCE_MASK);
}

static inline enum assent_tag_kind assent_tag_kind(uint64_t tag)
{
        return (enum assent_tag_kind)(tag >> 60);
}

static inline int32_t assent_tag_lane(uint64_t tag)
{
        return (int32_t)(tag >> 44 & 0xffff);
}

static inline uint64_t assent_tag_sequence(uint64_t tag)
{
        return tag & ASSENT_TAG_SEQUENCE_MASK;
}

/* The sends that follow from a lane's records, in the order they were made: a ring of source offsets. Its low end is what
 * R12's N and P2's resend cursor wait for. */
struct assent_tracker {
        int64_t *ring;  /* source offset × 2, + 1 once acknowledged */
        size_t capacity; /* a power of two, or 0 */
        uint64_t head, tail;
};

/* Notes one send that follows from the record at `offset`; offsets must not fall. Returns its sequence number for the tag;
 * panics when out of memory (the producer's queue bounds what can be outstanding). */
uint64_t assent_tracker_add(struct assent_tracker *tracker, int64_t offset);
void assent_tracker_ack(struct assent_tracker *tracker, uint64_t sequence);
/* The source offset of a send that is not acknowledged. */
int64_t assent_tracker_offset(const struct assent_tracker *tracker, uint64_t sequence);
/* The least source offset with an unacknowledged send, or `none` when all are acknowledged. */
int64_t assent_tracker_low(const struct assent_tracker *tracker, int64_t none);
void assent_tracker_free(struct assent_tracker *tracker);

/* Sends, serving delivery reports while the queue is full. ASSENT_OK, ASSENT_E_TOO_LARGE, ASSENT_E_KAFKA. */
enum assent_err assent_send(struct assent_bus *bus, const struct assent_outgoing *outgoing);

/* Copies a record that no rule can apply (R15, P4b) to its topic's dead-letter topic, same lane, bytes untouched, with the
 * header names other tools replay by. `why` is a constant word. A missing dead-letter topic costs a log line, no more. */
void assent_dead_letter(struct assent_bus *bus, int dead_letters, const char *topic, const struct assent_record *record,
                        const char *why);

#endif
