/* table.h: what the core of one lane remembers: its transactions, found by id and ordered by birth and by deadline, the
 * services they name, and the sum that the state digest is. No rules here: they stand in coordinator.c. */
#ifndef ASSENT_CORE_TABLE_H
#define ASSENT_CORE_TABLE_H

#include "base/heap.h"
#include "base/map.h"
#include "core/message.h"

enum {
        ASSENT_TXN_NOTIFY = 1,     /* the begin asked for COMPLETED */
        ASSENT_TXN_PRE_COMMIT = 2, /* R6: PRE_COMMIT went out */
        ASSENT_TXN_DECIDED = 4,
        ASSENT_TXN_COMMIT = 8,    /* decided: COMMIT, else ABORT */
        ASSENT_TXN_FINISHED = 16, /* R9 */
        ASSENT_TXN_OVERDUE = 32,  /* undecided, and born before the window: stands in `overdue` */
};

/* A branch: its vote (enum assent_answer; 0: none yet) and what it has acknowledged. */
enum {
        ASSENT_BRANCH_VOTE = 3,
        ASSENT_BRANCH_PRE_ACK = 4,
        ASSENT_BRANCH_ACK = 8,
};

/* One transaction; a finished one keeps the same block, because R2 and R10 may ask for all of it again. The services'
 * handles are followed by a byte for each branch. */
struct assent_txn {
        struct assent_link link;
        struct assent_uuid id;
        uint64_t begin_digest;
        int64_t deadline_ms; /* d */
        int64_t time_ms;     /* voting: the timeout; in pre-commit: d₂; decided: τ at the decision */
        uint32_t lamport;    /* the greatest seen, until finished */
        union {
                struct {
                        uint32_t deadline_at, overdue_at; /* positions in the heaps */
                } undecided;
                struct {
                        uint32_t lamport; /* the decision's own */
                        uint32_t reason;  /* 0: none */
                } decided;
        } at;
        uint8_t protocol;
        uint8_t flags;
        uint8_t branches_count;
        uint8_t missing; /* votes, pre-commit acks or acks, whichever comes next */
        uint32_t services[];
};

struct assent_table {
        struct assent_arena *arena;
        struct assent_map txns, services;
        /* Every known transaction is in `births` or, once undecided and behind the window, in `overdue`; every
         * undecided one is in `deadlines` too. The first two are ordered by id, which is by birth; the third by
         * deadline, then id. */
        struct assent_heap births, overdue, deadlines;
        uint64_t sum; /* of all transactions' digests, modulo 2^64 */
        uint64_t undecided, decided, finished;
};

#define ASSENT_TABLE_VECTORS 5 /* what the arena must have room for */

/* False from any of these: the arena is exhausted, and the table is of no further use. */
bool assent_table_open(struct assent_table *table, struct assent_arena *arena);
uint32_t assent_table_add(struct assent_table *table, const struct assent_message *begin, uint64_t digest,
                          int64_t deadline_ms, int64_t timeout_ms);                             /* 0: exhausted */
uint32_t assent_table_find(const struct assent_table *table, const struct assent_uuid *txn_id); /* 0: not known */

static inline struct assent_txn *assent_table_at(const struct assent_table *table, uint32_t handle)
{
        return assent_arena_at(table->arena, handle);
}

static inline uint8_t *assent_txn_branches(struct assent_txn *txn)
{
        return (uint8_t *)(txn->services + txn->branches_count);
}

/* Valid until the transaction is forgotten. */
struct assent_bytes assent_table_service(const struct assent_table *table, const struct assent_txn *txn,
                                         uint32_t branch);
struct assent_bytes assent_table_reason(const struct assent_table *table, const struct assent_txn *txn); /* decided */

/* The deadline that R8 looks at: d, or d₂ while in pre-commit; d again once decided. */
int64_t assent_txn_due_ms(const struct assent_txn *txn);

/* A transaction is changed between lift, which takes its digest out of the sum, and settle, which adds the new one. */
void assent_table_lift(struct assent_table *table, uint32_t handle);
void assent_table_settle(struct assent_table *table, uint32_t handle);

/* Moves of a lifted transaction. */
bool assent_table_pre_commit(struct assent_table *table, uint32_t handle, int64_t deadline_ms);
bool assent_table_decide(struct assent_table *table, uint32_t handle, bool commit, struct assent_bytes reason,
                         int64_t tau_ms, uint32_t lamport);
void assent_table_finish(struct assent_table *table, uint32_t handle);

/* The transaction with the earliest deadline, and the one born first; 0: none. */
uint32_t assent_table_due(const struct assent_table *table);
uint32_t assent_table_eldest(const struct assent_table *table);
/* R11's two ends for the eldest: an undecided one becomes overdue, a decided one is dropped. */
bool assent_table_defer(struct assent_table *table);
void assent_table_forget(struct assent_table *table);
/* The least birth of an overdue transaction; false: there is none. */
bool assent_table_overdue(const struct assent_table *table, int64_t *birth_ms);

#endif
