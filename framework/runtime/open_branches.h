/* open_branches.h: the branches that something is still due for: in doubt (P10), parked (P9), or with answers unpublished (P2).
 * In memory only; rebuilt at start from the rows at and above each lane's `open_from`. */
#ifndef ASSENT_RUNTIME_OPEN_BRANCHES_H
#define ASSENT_RUNTIME_OPEN_BRANCHES_H

#include "base/heap.h"
#include "base/map.h"
#include "core/participant.h"

struct assent_open_branch {
        struct assent_link link;
        struct assent_uuid txn_id;
        uint16_t branch;
        bool parked, in_doubt;
        int32_t lane;
        uint32_t position;      /* in the heap */
        uint32_t attempt;       /* INQUIREs sent */
        int64_t said;           /* the end of its commands' lane when it came due; -1: not looked at yet */
        int64_t due_ms;         /* monotonic; INT64_MAX: nothing to do by time */
        int64_t deadline_ms;    /* the branch's, as `due_ms` was reckoned from it */
        int64_t wait_ms;        /* the back-off */
        int64_t inquire_offset; /* of the newest INQUIRE; -1: not in the lane yet; INT64_MAX: there, offset unknown */
};

struct assent_open_branches {
        struct assent_arena arena;
        struct assent_map map;
        struct assent_heap heap;
};

/* False: no address space. */
bool assent_open_branches_open(struct assent_open_branches *table, size_t memory_max);
void assent_open_branches_close(struct assent_open_branches *table);

/* NULL: not in the table. */
struct assent_open_branch *assent_open_branches_find(const struct assent_open_branches *table,
                                                     const struct assent_uuid *txn_id, uint16_t branch);
/* Adds one that is not there, due never. NULL: the memory limit. */
struct assent_open_branch *assent_open_branches_add(struct assent_open_branches *table, const struct assent_uuid *txn_id,
                                                    uint16_t branch, int32_t lane);
void assent_open_branches_remove(struct assent_open_branches *table, struct assent_open_branch *entry);
void assent_open_branches_due(struct assent_open_branches *table, struct assent_open_branch *entry, int64_t due_ms);
/* The one due first, or NULL. */
struct assent_open_branch *assent_open_branches_first(const struct assent_open_branches *table);
/* How many there are, and each of them. */
size_t assent_open_branches_count(const struct assent_open_branches *table);
struct assent_open_branch *assent_open_branches_at(const struct assent_open_branches *table, size_t index);

#endif
