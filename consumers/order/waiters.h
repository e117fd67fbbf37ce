/* waiters.h: requests that wait for a transaction to settle, each until a time of its own. */
#ifndef ASSENT_CONSUMERS_ORDER_WAITERS_H
#define ASSENT_CONSUMERS_ORDER_WAITERS_H

#include <assent/types.h>

/* Part of what waits. Its owner fills in the first two. */
struct waiter {
        struct assent_uuid txn_id;
        int64_t until_ms; /* of the monotonic clock */
        struct waiter *next;
};

struct waiters;

/* `late` gets each one whose time is over, on a thread of the object. Returns ASSENT_OK, ASSENT_E_MEMORY. */
enum assent_err waiters_open(size_t waiting_max, void (*late)(void *context, struct waiter *waiter), void *context,
                             struct waiters **out);
/* Those who still wait are late now, and nobody may be added any more. Once. */
void waiters_stop(struct waiters *waiters);
/* After the stop. NULL is fine. */
void waiters_close(struct waiters *waiters);
int64_t waiters_now_ms(void);

/* Takes a place for one who is going to wait; false when waiting_max have one. Thread: any, as all that follow. */
bool waiters_enter(struct waiters *waiters);
void waiters_leave(struct waiters *waiters);
/* One with a place begins to wait; `late` or waiters_settled hands it back, and with it its place. */
void waiters_add(struct waiters *waiters, struct waiter *waiter);
/* Takes out all that wait for this transaction, linked by `next`. */
struct waiter *waiters_settled(struct waiters *waiters, const struct assent_uuid *txn_id);

#endif
