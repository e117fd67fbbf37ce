/* uuid5.c: SHA-1 by libcrypto, which uses what the processor has for it: a quarter of the time that libuuid takes, and every
 * message costs several ids. The functions that say how they are called are the old ones; the new ones look an algorithm up by
 * its name, which takes three times as long as the sum itself. */
#define OPENSSL_API_COMPAT 10100
#include "base/uuid5.h"

#include <openssl/sha.h>
#include <string.h>

void assent_uuid5(const struct assent_uuid *namespace_id, const void *name, size_t size, struct assent_uuid *out)
{
        SHA_CTX context;
        uint8_t sum[SHA_DIGEST_LENGTH];

        SHA1_Init(&context);
        SHA1_Update(&context, namespace_id->bytes, sizeof namespace_id->bytes);
        SHA1_Update(&context, name, size);
        SHA1_Final(sum, &context);
        memcpy(out->bytes, sum, sizeof out->bytes);
        out->bytes[6] = (uint8_t)((out->bytes[6] & 0x0f) | 0x50);
        out->bytes[8] = (uint8_t)((out->bytes[8] & 0x3f) | 0x80);
}
