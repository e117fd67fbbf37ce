/* begins.h: the thread that owns the client: it begins the transactions of orders placed here, hears of their outcomes, and
 * begins again what a crash or a lost outcome has left open. The table of orders is all it rests on: a begin is made from the
 * row alone, so one that is sent again is the same to the byte (C1). */
#ifndef ASSENT_CONSUMERS_ORDER_BEGINS_H
#define ASSENT_CONSUMERS_ORDER_BEGINS_H

#include <assent/client.h>

#include "order.h"

struct begins;

struct begins_options {
        const struct assent_config *config; /* borrowed until close */
        struct assent_client_counts *counts; /* borrowed likewise */
        int64_t timeout_ms;                 /* how old what is open must be to be begun again */
        /* A transaction that may be one of ours, and open, has aborted: order_aborted is to be run. On the thread. */
        void (*aborted)(void *context, const struct assent_uuid *txn_id, const char *reason);
        /* Now and then. On the thread. */
        void (*idle)(void *context);
        void *context;
};

/* Connects and starts the thread, which first begins again whatever is open. Blocks: as assent_client_open.
 * Ownership: *out is NULL when the call fails (said in the log). Returns ASSENT_OK, or why not. */
enum assent_err begins_open(const struct begins_options *options, struct begins **out);
/* Ends the thread. Begins that are queued are sent, or else found by the next start. NULL is fine. */
void begins_close(struct begins *begins);

/* Its row is durable. What finds no place in the queue is found in the table later. Thread: any. Blocks: no. */
void begins_add(struct begins *begins, const struct assent_uuid *txn_id);
/* Asks for the abort of a transaction, again and again until it has its outcome; a restart forgets it. False when too many are
 * being asked for. Thread: any. Blocks: no. */
bool begins_cancel(struct begins *begins, const struct assent_uuid *txn_id);

#endif
