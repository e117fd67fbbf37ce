/* uuid5.h: name-based UUIDs (RFC 9562 section 5.5). */
#ifndef ASSENT_BASE_UUID5_H
#define ASSENT_BASE_UUID5_H

#include <assent/types.h>

/* The UUID of version 5 of a name in a namespace. */
void assent_uuid5(const struct assent_uuid *namespace_id, const void *name, size_t size, struct assent_uuid *out);

#endif
