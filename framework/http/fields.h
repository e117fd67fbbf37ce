/* fields.h: the values of Accept, Authorization, Content-Type, Host and Prefer, read. Pure. */
#ifndef ASSENT_HTTP_FIELDS_H
#define ASSENT_HTTP_FIELDS_H

#include <assent/types.h>

/* What Accept (RFC 9110 section 12.5.1) says of one type: the most specific range that covers it counts. Starts as {0}. */
struct assent_accept {
        bool given;    /* a range that can be read */
        int precision; /* of the range that counts: 1 for any type, 2 for a type's any subtype, 3 for both named */
        bool wanted;   /* and its weight is not 0 */
};

/* Adds one field line; several are one list. What cannot be read is passed over. `type` is "application/json", without
 * parameters. */
void assent_accept_add(struct assent_accept *accept, struct assent_bytes line, struct assent_bytes type);
bool assent_accepted(const struct assent_accept *accept);

/* What Prefer (RFC 7240) says; of each preference the first counts. Starts as {.wait_s = -1}. */
struct assent_prefer {
        bool respond_async;
        int64_t wait_s; /* -1: not said */
};
void assent_prefer_add(struct assent_prefer *prefer, struct assent_bytes line);

/* The type without its parameters: "application/json" of "application/json; charset=utf-8". */
struct assent_bytes assent_media_type(const char *content_type);
/* Whether both are the same media type or other word of ASCII, in either case. */
bool assent_same_word(struct assent_bytes word, const char *other);

/* The token of "Bearer TOKEN" (RFC 6750); empty for anything else. */
struct assent_bytes assent_bearer(const char *authorization);

enum assent_host { ASSENT_HOST_MALFORMED, ASSENT_HOST_NAMED, ASSENT_HOST_LOCAL };
/* Host (RFC 9110 section 7.2), with or without a port: an address in digits or localhost is LOCAL, any other name NAMED. */
enum assent_host assent_host_kind(struct assent_bytes host);

#endif
