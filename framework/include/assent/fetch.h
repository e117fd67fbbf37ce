/* fetch.h: a conditional HTTP client. It remembers the entity tag and the body of what it fetched, asks with If-None-Match,
 * and says "not modified" when the server does. On libcurl; connections are kept. Redirects are told and not followed; proxies,
 * cookies and credentials come from nowhere but the options, so the environment changes nothing. */
#ifndef ASSENT_FETCH_H
#define ASSENT_FETCH_H

#include <assent/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct assent_fetch;

#define ASSENT_FETCH_URL_SIZE_MAX    2048
#define ASSENT_FETCH_HEADERS_MAX     32    /* of a question, beside those that are its own; of up to 1,000 bytes each */
#define ASSENT_FETCH_HEADER_SIZE_MAX 1000
#define ASSENT_FETCH_ANSWER_HEAD_MAX 65536 /* bytes of an answer's header fields */

struct assent_fetch_options {
        size_t struct_size;
        const char *token;       /* sent as Authorization: Bearer, also over plain HTTP; printable; NULL: none. Copied */
        uint32_t timeout_ms;     /* of a whole exchange, at least 1 */
        size_t body_bytes_max;   /* of an answer */
        size_t entities_max;     /* remembered; the least recently used gives way. 0: none. Each may be body_bytes_max large */
};
#define ASSENT_FETCH_OPTIONS_INIT \
        {.struct_size = sizeof(struct assent_fetch_options), .timeout_ms = 10000, .body_bytes_max = 1 << 20, \
         .entities_max = 1024}

/* Valid until the next call on the same handle. */
struct assent_fetched {
        unsigned status;          /* of the answer; 304 is told as 200 with not_modified */
        bool not_modified;        /* the body is the one remembered, and the server has confirmed it */
        const char *etag;         /* as it travels, with its quotes; "" for none */
        const char *content_type; /* "" for none */
        const char *location;     /* "" for none */
        int64_t retry_after_ms;   /* 0: not told */
        bool replayed;            /* Idempotent-Replayed: true */
        struct assent_bytes body;
};

/* Ownership: *out is NULL when the call fails. Returns ASSENT_OK, ASSENT_E_ARGUMENT, ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_fetch_open(const struct assent_fetch_options *options, struct assent_fetch **out);
/* GET, conditional when the entity is remembered: an answer with status 200 and a well-formed entity tag is, unless it says
 * no-store. `headers`: "Name: value" lines, ended by NULL; may be NULL. With an If-None-Match among them they are the caller's
 * own condition, and a 304 is told as it came; so is one that nobody asked for.
 * Blocks: at most timeout_ms. Thread: one at a time. Repeat: safe.
 * Returns ASSENT_OK (whatever the status), ASSENT_TIMED_OUT, ASSENT_E_BROKER (nobody answers there, or not in HTTP; see
 * errmsg), ASSENT_E_TOO_LARGE (the answer), ASSENT_E_ARGUMENT (the URL, which must be http: or https: and without credentials;
 * a header), ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_fetch_get(struct assent_fetch *fetch, const char *url, const char *const *headers,
                                            struct assent_fetched *out);
/* Any other method, of 1 to 16 capital letters. A body is sent as `content_type`. Nothing is remembered, and what was
 * remembered of the URL is dropped.
 * Repeat: with an Idempotency-Key, where the server honours it; a POST or PATCH without one is never sent twice, also not
 * when a kept connection turns out to be dead. Otherwise as get. */
ASSENT_API enum assent_err assent_fetch_send(struct assent_fetch *fetch, const char *method, const char *url,
                                             const char *const *headers, const char *content_type, struct assent_bytes body,
                                             struct assent_fetched *out);
ASSENT_API const char *assent_fetch_errmsg(const struct assent_fetch *fetch);
ASSENT_API void assent_fetch_close(struct assent_fetch *fetch); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
