/* payment.h: accounts and holds. kind "charge", payload {"account": "alice", "amount_cents": 9900,
 * "payee": "shop"} (payee may be left out: "shop"). prepare holds the amount, commit moves it to
 * the payee, abort releases it: money is moved within this database only, so the sum of all
 * balances never changes. */
#ifndef ASSENT_CONSUMERS_PAYMENT_H
#define ASSENT_CONSUMERS_PAYMENT_H

#include <sqlite3.h>

#include <assent/participant.h>

enum payment_sql {
        PAYMENT_ACCOUNT, /* find one */
        PAYMENT_RESERVE, /* hold an amount of an account */
        PAYMENT_HOLD,    /* remember for whom */
        PAYMENT_HELD,    /* find the hold */
        PAYMENT_DEBIT,
        PAYMENT_CREDIT,
        PAYMENT_LEDGER,
        PAYMENT_RELEASE, /* give the amount back to the account */
        PAYMENT_UNHOLD,  /* remove the hold */
        PAYMENT_SQL_COUNT
};

struct payment {
        bool seed;
        sqlite3_stmt *sql[PAYMENT_SQL_COUNT];
};

extern const struct assent_handlers payment_handlers;

enum assent_err payment_setup(void *app, struct assent_tx *tx);

#endif
