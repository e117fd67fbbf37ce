/* outbox.h: the relay of an outbox: rows that assent_tx_publish wrote become records, in the order of their sequence for each
 * topic, and go when the broker has them. A crash repeats what was not acknowledged, under the same message ids. */
#ifndef ASSENT_RUNTIME_OUTBOX_H
#define ASSENT_RUNTIME_OUTBOX_H

#include "kafka/bus.h"
#include "store/store.h"

struct assent_outbox;

struct assent_outbox_options {
        const struct assent_config *config;
        struct assent_bus *bus;
        struct assent_store *store;
        const char *incarnation; /* the database's: 32 hexadecimal digits */
        const char *source;      /* header ce_source is "/" and this */
};

struct assent_outbox_counts {
        uint64_t sent, acknowledged, refused;
};

/* *out is set even on failure (then only errmsg and close), unless memory ran out. */
enum assent_err assent_outbox_open(const struct assent_outbox_options *options, struct assent_outbox **out);
/* Sends what is committed and there is room for. Between local transactions; cheap when there is nothing. */
enum assent_err assent_outbox_relay(struct assent_outbox *outbox);
/* There are rows that it would send now. */
bool assent_outbox_ready(const struct assent_outbox *outbox);
/* For the bus's report of a record tagged ASSENT_TAG_EVENT. */
void assent_outbox_delivered(struct assent_outbox *outbox, const struct assent_report *report);
/* Inside a local transaction: takes away what is acknowledged, marks what is refused. */
enum assent_err assent_outbox_settle(struct assent_outbox *outbox);
/* There is so much to settle, or it has waited so long, that a local transaction is worth its while. */
bool assent_outbox_due(const struct assent_outbox *outbox);
/* How long a turn may wait for records, at most `timeout_ms`. */
int assent_outbox_patience(const struct assent_outbox *outbox, int timeout_ms);
const struct assent_outbox_counts *assent_outbox_counts(const struct assent_outbox *outbox);
const char *assent_outbox_errmsg(const struct assent_outbox *outbox);
void assent_outbox_close(struct assent_outbox *outbox); /* NULL is fine */

#endif
