/* store.h: one local transaction: positions, branches with their answers, parked messages, dedup rows, identity,
 * and whatever the handler writes. sqlite.c implements it; the only includer of the database's header. One store
 * per thread.
 *
 * Any failure that leaves it unclear what is on disk (an I/O error, a failed commit) is ASSENT_E_STORE, and the
 * process stops: replay from the position is the recovery path (P1, P2). */
#ifndef ASSENT_STORE_STORE_H
#define ASSENT_STORE_STORE_H

#include <assent/store.h>

#include "core/participant.h"

struct assent_store;

/* Settings of the whole process, for a main() that owns it, before any database is opened: no memory statistics, whose mutex
 * costs some 6 % of a participant's throughput. */
void assent_store_process(void);

/* Opens (creating with mode 0600 if need be) the database and takes its owner lock, flock on "<path>.owner" (P13;
 * a lock file is kept, the lock goes with the process). WAL, synchronous=FULL, read back; application_id and
 * user_version checked; a foreign or newer database is refused with both values. ":memory:" is for tests: no owner
 * lock, nothing durable. *out is set even on failure (then only errmsg and close), unless memory ran out. Returns
 * ASSENT_OK, ASSENT_E_OWNER, ASSENT_E_STORE, ASSENT_E_MEMORY. */
enum assent_err assent_store_open(const char *path, struct assent_store **out);
void assent_store_close(struct assent_store *store); /* NULL is fine; rolls back what is open */
const char *assent_store_errmsg(const struct assent_store *store);

/* The local transaction: BEGIN IMMEDIATE, COMMIT (durable on return: the WAL is synced), ROLLBACK. */
enum assent_err assent_store_begin(struct assent_store *store);
enum assent_err assent_store_commit(struct assent_store *store);
void assent_store_rollback(struct assent_store *store);

/* One message's share in it: a savepoint. `undo` rolls back to it and releases it. */
enum assent_err assent_store_savepoint(struct assent_store *store);
enum assent_err assent_store_release(struct assent_store *store);
enum assent_err assent_store_undo(struct assent_store *store);

/* Lends the transaction to the application: between enter and leave an authorizer denies it everything that could
 * split the local transaction (P1). `leave` checks that it is whole: ASSENT_OK, or ASSENT_E_HANDLER when a
 * statement of the application ended it ("OR ROLLBACK"; nothing was committed then), ASSENT_E_STORE when its last
 * statement met a disk that is full, damaged or gone. */
struct assent_tx *assent_store_enter(struct assent_store *store, int64_t tau_ms);
enum assent_err assent_store_leave(struct assent_store *store);
/* What assent_tx_refuse said since enter; valid until the next enter. */
struct assent_bytes assent_store_refusal(const struct assent_store *store);

/* Identity: what this database belongs to, as key and value ("service", "prefix", "cluster", "lanes", "settings",
 * "event": the greatest number of an event whose row is gone, "incarnation": a random id made with the file). get: the
 * value, or NULL; valid until the next call for the same key. put: within a transaction; replaces. */
const char *assent_store_identity(struct assent_store *store, const char *key);
enum assent_err assent_store_identity_put(struct assent_store *store, const char *key, const char *value);

/* A lane's position (P11), for one topic. */
struct assent_position {
        int32_t lane;
        int64_t next;            /* the next offset to process */
        uint64_t chain;          /* running hash over the records processed */
        int64_t tau_ms;          /* the lane's log time, INT64_MIN before the first record */
        int64_t acked;           /* the newest group offset known to be committed when this row was written; -1: none */
        struct assent_uuid open_from; /* no open branch of this lane has a smaller txn id */
};
/* ASSENT_OK, ASSENT_E_NOT_FOUND, ASSENT_E_STORE. */
enum assent_err assent_store_position(struct assent_store *store, const char *topic, int32_t lane,
                                      struct assent_position *out);
/* Compare-and-set: writes `position` only where the stored next is still `mine` (-1: only where there is no row).
 * ASSENT_OK; ASSENT_E_POSITION when nothing was updated (another owner is ahead); ASSENT_E_STORE. */
enum assent_err assent_store_position_set(struct assent_store *store, const char *topic,
                                          const struct assent_position *position, int64_t mine);

/* Branches (P4b), keyed by (txn id, branch), in time order because the ids are.
 * get: ASSENT_OK, ASSENT_E_NOT_FOUND (row->state is NONE, everything else zero, offset -1), ASSENT_E_STORE. */
enum assent_err assent_store_branch(struct assent_store *store, const struct assent_uuid *txn_id, uint16_t branch,
                                    struct assent_branch_row *row);
enum assent_err assent_store_branch_put(struct assent_store *store, const struct assent_branch_row *row);
enum assent_err assent_store_branch_delete(struct assent_store *store, const struct assent_uuid *txn_id,
                                           uint16_t branch);
/* Calls `each` for the rows of `lane` (-1: of all) with txn id >= from, in key order, at most `rows_max` of them
 * (0: all); `each` returns false to end the scan and must not write. */
enum assent_err assent_store_branch_scan(struct assent_store *store, int32_t lane, const struct assent_uuid *from,
                                         size_t rows_max,
                                         bool (*each)(void *context, const struct assent_branch_row *row),
                                         void *context);

/* Parked messages (P9): the raw record of a command, in the order they were parked. */
struct assent_parked {
        int64_t sequence;       /* set by park */
        int32_t lane;
        struct assent_uuid txn_id;
        uint16_t branch;
        int64_t offset;
        struct assent_bytes record; /* read: valid until the next call */
};
enum assent_err assent_store_park(struct assent_store *store, struct assent_parked *parked);
/* The first parked message of a branch: ASSENT_OK, ASSENT_E_NOT_FOUND, ASSENT_E_STORE. */
enum assent_err assent_store_parked_first(struct assent_store *store, const struct assent_uuid *txn_id, uint16_t branch,
                                          struct assent_parked *out);
enum assent_err assent_store_unpark(struct assent_store *store, int64_t sequence);

/* Dedup rows of the generic consumer. find: ASSENT_OK with the digest, ASSENT_E_NOT_FOUND, ASSENT_E_STORE.
 * forget: removes rows of `topic` and `lane` seen before `seen_ms`, at most rows_max a call; *count says how many. */
enum assent_err assent_store_dedup_find(struct assent_store *store, const char *topic, struct assent_bytes message_id,
                                        uint64_t *digest);
enum assent_err assent_store_dedup_put(struct assent_store *store, const char *topic, int32_t lane,
                                       struct assent_bytes message_id, uint64_t digest, int64_t seen_ms);
enum assent_err assent_store_dedup_forget(struct assent_store *store, const char *topic, int32_t lane, int64_t seen_ms,
                                          size_t rows_max, size_t *count);

/* Outbox rows: what assent_tx_publish wrote, in the order of their sequence, which no two events of a database ever share. */
#define ASSENT_EVENT_TOPIC_SIZE_MAX 184 /* what the longest prefix leaves of a topic's name */
#define ASSENT_EVENT_WORD_SIZE_MAX  128 /* type, content type */
#define ASSENT_EVENT_KEY_SIZE_MAX   128

struct assent_outbox_row {
        int64_t sequence;
        int64_t time_ms; /* assent_tx_time_ms when it was published */
        struct assent_bytes type, content_type, key, value;
};
/* What key and value of an event may have together: until it is told, the setting's default. */
void assent_store_record_bytes_max(struct assent_store *store, size_t record_bytes_max);
/* How many rows were written through this store so far, rolled back ones included. */
uint64_t assent_store_outbox_written(const struct assent_store *store);
/* The first topic after `topic` ("": the first of all) that has rows to be sent, in its place. ASSENT_OK, ASSENT_E_NOT_FOUND,
 * ASSENT_E_STORE. */
enum assent_err assent_store_outbox_topic(struct assent_store *store, char topic[ASSENT_EVENT_TOPIC_SIZE_MAX + 1]);
/* Calls `each` for the rows of a topic above `after` that are to be sent, at most `rows_max` of them; `each` returns false to
 * end the scan and must not write. */
enum assent_err assent_store_outbox_scan(struct assent_store *store, const char *topic, int64_t after, size_t rows_max,
                                         bool (*each)(void *context, const struct assent_outbox_row *row), void *context);
/* How many rows are to be sent; at most `most` are counted. */
enum assent_err assent_store_outbox_count(struct assent_store *store, uint64_t most, uint64_t *count);
enum assent_err assent_store_outbox_delete(struct assent_store *store, int64_t sequence);
/* It stays, and is never sent again. */
enum assent_err assent_store_outbox_refuse(struct assent_store *store, int64_t sequence, const char *reason);

#endif
