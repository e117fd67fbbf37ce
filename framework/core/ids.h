/* ids.h: message ids and digests are functions of the message (R-ID); the byte values stand in schemas/README.md. */
#ifndef ASSENT_CORE_IDS_H
#define ASSENT_CORE_IDS_H

#include "core/message.h"

/* The UUID v5 that follows from the message's fields: kind byte, txn id, branch, phase class, attempt or (lane, offset).
 * PREPARE and CAN_COMMIT share one phase class, COMMIT and ABORT another, so that two that contradict each other have one
 * id and differ in the digest. COMMITTED and ABORTED share one, COMPLETED and UNCONFIRMED another. */
void assent_message_id_derive(const struct assent_message *message, struct assent_uuid *out);

/* message_id := the derived one. */
void assent_message_seal(struct assent_message *message);

/* False: FORGED. */
bool assent_message_id_holds(const struct assent_message *message);

/* XXH64 (seed 0) over a fixed list of fields in fixed order, not over the encoding. Same id, other digest: CONFLICT. */
uint64_t assent_message_digest(const struct assent_message *message);

/* The lane of a transaction: Kafka's murmur2 of the id's canonical text, made positive, modulo the number of lanes. */
int32_t assent_lane_of(const struct assent_uuid *txn_id, uint32_t lanes);

#endif
