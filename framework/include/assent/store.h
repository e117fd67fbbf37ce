/* store.h: the local database transaction that a handler works in. It also holds the dedup row, the answer and the
 * position (P1), so it commits or vanishes with them; nothing a handler can do ends it early. */
#ifndef ASSENT_STORE_H
#define ASSENT_STORE_H

#include <assent/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sqlite3;
struct assent_tx;

/* What a handler made of it: DONE keeps what it wrote; RETRY rolls it back, and it is called again after a back-off. */
enum assent_result { ASSENT_RESULT_DONE = 1, ASSENT_RESULT_RETRY = 2 };

/* The connection the local transaction runs on. BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE, ATTACH, DETACH and PRAGMA are
 * denied on it, also in statements prepared earlier; "OR ROLLBACK" ends the process, because it would take other messages'
 * effects with it. Statements may be prepared in `setup` and kept; the program finalizes them when it is done with them,
 * before or after it closes the participant or consumer. Tables named assent_… belong to the framework.
 * Ownership: the framework's. Thread: only inside setup and the handlers, on the thread that calls them. */
ASSENT_API struct sqlite3 *assent_tx_sqlite(struct assent_tx *tx);

/* The reason that travels with a NO. Copied; cut at ASSENT_REASON_SIZE_MAX bytes on a UTF-8 boundary; last call wins. */
ASSENT_API void assent_tx_refuse(struct assent_tx *tx, const char *reason);

/* The lane's log time τ in milliseconds since the Unix epoch: the time to use in effects, the same at every replay. */
ASSENT_API int64_t assent_tx_time_ms(const struct assent_tx *tx);

#ifdef __cplusplus
}
#endif
#endif
