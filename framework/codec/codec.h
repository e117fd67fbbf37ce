/* codec.h: bytes <-> struct assent_message, by avro-c in Avro's single-object encoding (C3 01,
 * CRC-64-AVRO fingerprint of the writer's schema as 8 bytes little-endian, body). The only includer
 * of <avro.h>. */
#ifndef ASSENT_CODEC_CODEC_H
#define ASSENT_CODEC_CODEC_H

#include "core/message.h"

struct assent_codec;

/* Opens a codec with the schemas compiled in from schemas/ (schema_version 1). `record_bytes_max`
 * bounds what is encoded and decoded; avro-c's memory is bounded by 4 times that plus 128 KiB,
 * whatever is on the wire. Thread: one codec per thread. Returns NULL when out of memory. */
struct assent_codec *assent_codec_open(size_t record_bytes_max);
void assent_codec_close(struct assent_codec *codec); /* NULL is fine */

/* Why a record does not decode: a stable word for counters and logging. BAD_VALUE: it decodes, but a
 * field is outside its domain (an unknown word, a negative count, a bad id …). */
#define ASSENT_DECODE_FAULTS(X)                                                                                        \
        X(NONE)                                                                                                        \
        X(EMPTY)                                                                                                       \
        X(TOO_LARGE)                                                                                                   \
        X(NO_MARKER)                                                                                                   \
        X(TRUNCATED)                                                                                                   \
        X(UNKNOWN_SCHEMA)                                                                                              \
        X(BAD_BODY)                                                                                                    \
        X(TRAILING_BYTES)                                                                                              \
        X(BAD_VALUE)

enum assent_decode_fault {
#define X(name) ASSENT_DECODE_##name,
        ASSENT_DECODE_FAULTS(X)
#undef X
            ASSENT_DECODE_COUNT
};
const char *assent_decode_fault_name(enum assent_decode_fault fault);

/* Decodes one record. On NONE, *out borrows from the codec (not from `record`) until the next
 * decode; encodes in between do not touch it. Deterministic: the verdict follows from the bytes and
 * record_bytes_max alone (R15). The id is not checked here (ids.h). No allocation in the steady
 * state. */
enum assent_decode_fault assent_codec_decode(struct assent_codec *codec, struct assent_bytes record,
                                             struct assent_message *out);

/* Encodes a message (its id as it stands in it) and lends the bytes until the next encode. Returns
 * ASSENT_OK, or ASSENT_E_TOO_LARGE when it would exceed record_bytes_max. Same message, same bytes.
 * A message that no decoder would accept (BAD_VALUE; a begin of more than ASSENT_BRANCHES_MAX
 * branches) is our own bug and panics: input is judged before. */
enum assent_err assent_codec_encode(struct assent_codec *codec, const struct assent_message *message,
                                    struct assent_bytes *out);

/* One record as a line of JSON (no newline, NUL-terminated, foreign text escaped; payloads as their
 * size and, where they are printable UTF-8 of at most 256 bytes, their text). The text is lent
 * until the next call. */
const char *assent_codec_json(struct assent_codec *codec, const struct assent_message *message);

/* CRC-64-AVRO of `size` bytes, as the Avro specification defines it; of "\"int\"" it is
 * 0x7275d51a3f395c8f. */
uint64_t assent_avro_fingerprint(const void *data, size_t size);

#endif
