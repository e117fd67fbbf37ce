/* request.h: what to begin, from flags or from a JSON file. No I/O but the reading of that file. */
#ifndef BEGIN_REQUEST_H
#define BEGIN_REQUEST_H

#include <assent/client.h>

#define REQUEST_FILE_SIZE_MAX ((size_t)16 << 20)

struct json_t;

struct request {
        enum assent_protocol protocol; /* 0: not said */
        uint32_t timeout_ms;           /* 0: not said */
        bool notify_completed;
        struct assent_begin_branch branches[ASSENT_BRANCHES_MAX];
        size_t branches_count;
        struct json_t *root;                 /* holds the strings of a file's branches */
        char *payloads[ASSENT_BRANCHES_MAX]; /* and these their payloads */
        char errmsg[512];
};

/* An empty request; ended by request_close, also after a failure. */
void request_init(struct request *request);
void request_close(struct request *request);

/* Adds SERVICE:KIND[:PAYLOAD]; the payload may hold colons. Splits `text` in place and borrows it.
 */
bool request_add_branch(struct request *request, char *text);

/* Takes a request as JSON; unknown and doubled keys are errors. `name` stands in messages. A
 * payload travels as its compact JSON text, the keys as they stand. */
bool request_parse(struct request *request, const char *text, size_t size, const char *name);
/* The same from a file; "-" is standard input. */
bool request_read(struct request *request, const char *path);

/* "2pc" or "3pc", in either case. */
bool request_protocol(const char *text, enum assent_protocol *out);

/* "500ms", "10s", "2m": 1 ms to 1 h. A bare number is refused, because nobody agrees on its unit.
 */
bool request_duration(const char *text, uint32_t *out_ms);

#endif
