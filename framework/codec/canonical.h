/* canonical.h: what Avro identifies a schema by and avro-c does not have: Parsing Canonical Form.
 */
#ifndef ASSENT_CODEC_CANONICAL_H
#define ASSENT_CODEC_CANONICAL_H

#include <stddef.h>

/* Writes the Parsing Canonical Form of a schema's JSON text, NUL-terminated: full names, only the
 * attributes that decide the encoding, in fixed order, without blanks. Returns its length, or 0
 * when the text is not JSON, not of a schema's shape, or the form does not fit. Names are expected
 * to be well formed; schemas are ours, never a stranger's. */
size_t assent_schema_canonical(const char *json, char *form, size_t form_size);

#endif
