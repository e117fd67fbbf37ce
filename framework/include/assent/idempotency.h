/* idempotency.h: the Idempotency-Key header field (draft-ietf-httpapi-idempotency-key-header-07) for services whose effects
 * are transactions. A claim is a row in the same local transaction as the effect; it keeps the id of the distributed
 * transaction, so that whoever asks again meets the one that runs (C1).
 *
 *   no key where one is required         400     key in use, not finished       409 with Retry-After
 *   key used for another payload         422     finished                       the same status and body again
 *
 * Keys are scoped to the caller, 1 to 255 printable ASCII characters, bare or as an RFC 8941 string. */
#ifndef ASSENT_IDEMPOTENCY_H
#define ASSENT_IDEMPOTENCY_H

#include <assent/http.h>
#include <assent/store.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ASSENT_IDEMPOTENCY_KEY_SIZE_MAX      255
#define ASSENT_IDEMPOTENCY_LOCATION_SIZE_MAX 255

enum assent_idempotency_state {
        ASSENT_IDEMPOTENCY_NEW = 1,     /* nobody has used the key; claimed now, if that was asked for */
        ASSENT_IDEMPOTENCY_IN_PROGRESS, /* claimed, not finished */
        ASSENT_IDEMPOTENCY_FINISHED,    /* status, location and body are what was answered */
        ASSENT_IDEMPOTENCY_MISMATCH,    /* claimed for another payload */
};

struct assent_idempotency {
        char caller[ASSENT_HTTP_NAME_SIZE_MAX + 1];
        char key[ASSENT_IDEMPOTENCY_KEY_SIZE_MAX + 1];
        uint8_t fingerprint[16]; /* of method, path and body */
        struct assent_uuid txn_id; /* a new claim's; afterwards that of the claim that stands */
        unsigned status;
        char location[ASSENT_IDEMPOTENCY_LOCATION_SIZE_MAX + 1]; /* "" for none */
        struct assent_bytes etag; /* of the answer, without quotes; empty for none */
        struct assent_bytes body; /* these two: copies, ended by assent_idempotency_clear */
};

/* Reads caller, key and fingerprint (XXH3 128 over method, path and `body` with its names sorted; NULL: none) from a request.
 * False when it has no key or a bad one; then it has been answered with 400 (or 503, when memory ran out). */
ASSENT_API bool assent_idempotency_read(struct assent_http_request *request, const struct json_t *body,
                                        struct assent_idempotency *out);
/* Makes the table `idempotency` if need be; for a service's setup. Returns ASSENT_OK, ASSENT_E_STORE. */
ASSENT_API enum assent_err assent_idempotency_setup(struct assent_tx *tx);
/* Looks the key up in any connection to the database. A finished claim that has expired counts as not there; one that is not
 * finished never expires. What a failure of the database was is in the diagnostics, here and below.
 * Ownership: drops what the claim held; etag and body are new copies. Thread: the connection's.
 * Returns ASSENT_OK with *state, ASSENT_E_STORE, ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_idempotency_find(struct sqlite3 *db, struct assent_idempotency *claim,
                                                   enum assent_idempotency_state *state);
/* The same within the effect's local transaction, and claims a key that is new, until `expires_ms` (Unix time; or as long
 * again from when it is finished). A transaction has one claim.
 * Durability: with the local transaction. Returns: as find; ASSENT_E_STORE also for a second claim of one transaction. */
ASSENT_API enum assent_err assent_idempotency_claim(struct assent_tx *tx, struct assent_idempotency *claim, int64_t expires_ms,
                                                    enum assent_idempotency_state *state);
/* Keeps the answer for the claim of this transaction; one that is finished stays as it is, one that is not there is no error.
 * `etag` and `location` may be NULL. A body goes out again as application/json, from status 400 on as
 * application/problem+json.
 * Durability: with the local transaction. Repeat: safe.
 * Returns ASSENT_OK, ASSENT_E_LIMIT (the location), ASSENT_E_STORE. */
ASSENT_API enum assent_err assent_idempotency_finish(struct assent_tx *tx, const struct assent_uuid *txn_id, unsigned status,
                                                     const char *location, const char *etag, struct assent_bytes body);
/* Removes finished claims that have expired, at most rows_max of them. Returns ASSENT_OK, ASSENT_E_STORE. */
ASSENT_API enum assent_err assent_idempotency_forget(struct assent_tx *tx, int64_t now_ms, size_t rows_max, size_t *count);
ASSENT_API void assent_idempotency_clear(struct assent_idempotency *claim);
/* Answers a request by the state of its claim: 409 (with Retry-After, and /v1/transactions/<txn id> as Location), 422, or what
 * is kept, marked `Idempotent-Replayed: true`. Asserts that the state is not NEW. */
ASSENT_API void assent_idempotency_answer(struct assent_http_request *request, const struct assent_idempotency *claim,
                                          enum assent_idempotency_state state);

#ifdef __cplusplus
}
#endif
#endif
