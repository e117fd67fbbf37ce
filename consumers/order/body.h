/* body.h: the bodies of POST and PATCH, read strictly: all that is wrong is said at once. */
#ifndef ASSENT_CONSUMERS_ORDER_BODY_H
#define ASSENT_CONSUMERS_ORDER_BODY_H

#include "order.h"

/* {"customer", "items": [{"sku", "quantity"}], "total_cents"} into *out, whose items are then the caller's (free).
 * Otherwise the faults, [{"member", "detail"}, …], the caller's too; NULL then: out of memory. */
bool body_order(json_t *body, struct order_placing *out, json_t **faults);
/* {"note"}; null is "". *given is false when there is none: then nothing is to be changed. */
bool body_note(json_t *body, char note[ORDER_NOTE_SIZE_MAX + 1], bool *given, json_t **faults);

#endif
