/* types.h: the words of the protocol as C types. See framework/DESIGN.md for what each of them means. */
#ifndef ASSENT_TYPES_H
#define ASSENT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <assent/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ASSENT_API __attribute__((visibility("default")))

#define ASSENT_VERSION "0.1.0"

/* Of the rules and of the schemas that go with them; part of the settings of a prefix (R17). */
#define ASSENT_RULES_VERSION  1
#define ASSENT_SCHEMA_VERSION 1

/* Limits of the wire format. They belong to rules version 1 and never change within it. */
#define ASSENT_BRANCHES_MAX     64         /* branches in one transaction */
#define ASSENT_SERVICE_SIZE_MAX 40         /* bytes of a service name, [a-z0-9-]{1,40} */
#define ASSENT_KIND_SIZE_MAX    64         /* bytes of a branch's kind */
#define ASSENT_REASON_SIZE_MAX  200        /* bytes of a reason; longer ones are cut at a UTF-8 boundary */
#define ASSENT_LAMPORT_MAX      2147483647 /* greater Lamport times are clamped to this */
#define ASSENT_LANES_MAX        1024

/* Borrowed bytes: never NUL-terminated, valid only as long as whoever handed them out says. */
struct assent_bytes {
        const void *data;
        size_t size;
};

struct assent_uuid {
        uint8_t bytes[16];
};

#define ASSENT_UUID_TEXT_SIZE 37 /* 36 characters and the NUL */

enum assent_protocol { ASSENT_2PC = 2, ASSENT_3PC = 3 };

/* A first phase is PREPARE in 2PC and CAN_COMMIT in 3PC; a decision is COMMIT or ABORT. */
enum assent_phase {
        ASSENT_PREPARE = 1,
        ASSENT_CAN_COMMIT = 2,
        ASSENT_PRE_COMMIT = 3,
        ASSENT_COMMIT = 4,
        ASSENT_ABORT = 5,
};

enum assent_answer { ASSENT_YES = 1, ASSENT_NO = 2, ASSENT_READ_ONLY = 3, ASSENT_DONE = 4 };

/* What a client is told. REJECTED is about one begin record, not about the transaction (R2). */
enum assent_outcome {
        ASSENT_COMMITTED = 1,
        ASSENT_ABORTED = 2,
        ASSENT_COMPLETED = 3,
        ASSENT_UNCONFIRMED = 4,
        ASSENT_REJECTED = 5,
};

/* The words as they travel ("2PC", "PRE_COMMIT", "READ_ONLY", …); "?" for a value outside the enumeration. */
ASSENT_API const char *assent_protocol_name(enum assent_protocol protocol);
ASSENT_API const char *assent_phase_name(enum assent_phase phase);
ASSENT_API const char *assent_answer_name(enum assent_answer answer);
ASSENT_API const char *assent_outcome_name(enum assent_outcome outcome);

/* Writes the canonical lower-case text of `id`, NUL-terminated. */
ASSENT_API void assent_uuid_format(const struct assent_uuid *id, char text[ASSENT_UUID_TEXT_SIZE]);

/* Reads the 36-character canonical form (either case). Returns ASSENT_OK, or ASSENT_E_ARGUMENT and leaves *out alone. */
ASSENT_API enum assent_err assent_uuid_parse(const char *text, size_t size, struct assent_uuid *out);

/* Mints a transaction id: UUID version 7 (RFC 9562 section 5.7), whose first 48 bits are its birth in Unix milliseconds.
 * Thread: safe. Within one process ids are strictly increasing. Keep it for retries: a retried begin with the same id is
 * the same transaction (C1). */
ASSENT_API void assent_txn_id_new(struct assent_uuid *out);

/* The birth of a transaction: milliseconds since the Unix epoch, from the id's first 48 bits. */
ASSENT_API int64_t assent_txn_id_birth_ms(const struct assent_uuid *txn_id);

/* True for a UUID of version 7 and RFC variant: the only ids accepted as transaction ids. */
ASSENT_API bool assent_txn_id_valid(const struct assent_uuid *id);

#ifdef __cplusplus
}
#endif
#endif
