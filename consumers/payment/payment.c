/* payment.c: the four functions of the payment service, three of them needed. */
#include "payment.h"

#include "../service.h"

/* Time-ordered keys (a txn id begins with its birth) and WITHOUT ROWID: the newest rows share a
 * page, which decides the speed of a large file. One row of `ledger` for each committed charge is
 * what the audit joins by. */
static const char schema[] = "CREATE TABLE IF NOT EXISTS accounts("
                             " account TEXT NOT NULL PRIMARY KEY, opening_cents INTEGER NOT NULL,"
                             " balance_cents INTEGER NOT NULL CHECK(balance_cents >= held_cents),"
                             " held_cents INTEGER NOT NULL CHECK(held_cents >= 0),"
                             " version INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
                             "CREATE TABLE IF NOT EXISTS holds("
                             " txn_id BLOB NOT NULL, branch INTEGER NOT NULL, account TEXT NOT NULL,"
                             " amount_cents INTEGER NOT NULL, payee TEXT NOT NULL,"
                             " PRIMARY KEY(txn_id, branch)) STRICT, WITHOUT ROWID;"
                             "CREATE TABLE IF NOT EXISTS ledger("
                             " txn_id BLOB NOT NULL, branch INTEGER NOT NULL, account TEXT NOT NULL,"
                             " amount_cents INTEGER NOT NULL, payee TEXT NOT NULL, applied_ms INTEGER NOT NULL,"
                             " PRIMARY KEY(txn_id, branch)) STRICT, WITHOUT ROWID;";

/* Sample data, once: a second start with --seed changes nothing. */
static const char seeds[] = "INSERT INTO accounts VALUES"
                            " ('alice', 50000, 50000, 0, 1), ('bob', 4000, 4000, 0, 1), ('shop', 0, 0, 0, 1)"
                            " ON CONFLICT DO NOTHING;"
                            "WITH RECURSIVE n(i) AS (VALUES(0) UNION ALL SELECT i + 1 FROM n WHERE i < 999)"
                            " INSERT INTO accounts SELECT format('load-%03d', i), 100000000, 100000000, 0, 1 FROM n"
                            " WHERE true ON CONFLICT DO NOTHING;";
_Static_assert(SERVICE_LOAD_ACCOUNTS == 1000, "the seeds make load-000 to load-999");

static const char *const texts[PAYMENT_SQL_COUNT] = {
    [PAYMENT_ACCOUNT] = "SELECT balance_cents, held_cents FROM accounts WHERE account = ?1",
    [PAYMENT_RESERVE] = "UPDATE accounts SET held_cents = held_cents + ?2, version = version + 1"
                        " WHERE account = ?1",
    [PAYMENT_HOLD] = "INSERT INTO holds VALUES(?1, ?2, ?3, ?4, ?5)",
    [PAYMENT_HELD] = "SELECT account, amount_cents, payee FROM holds"
                     " WHERE txn_id = ?1 AND branch = ?2",
    [PAYMENT_DEBIT] = "UPDATE accounts SET balance_cents = balance_cents - ?2,"
                      " held_cents = held_cents - ?2, version = version + 1 WHERE account = ?1",
    [PAYMENT_CREDIT] = "UPDATE accounts SET balance_cents = balance_cents + ?2,"
                       " version = version + 1 WHERE account = ?1",
    [PAYMENT_LEDGER] = "INSERT INTO ledger VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [PAYMENT_RELEASE] = "UPDATE accounts SET held_cents = held_cents - ?2, version = version + 1"
                        " WHERE account = ?1",
    [PAYMENT_UNHOLD] = "DELETE FROM holds WHERE txn_id = ?1 AND branch = ?2",
};

enum assent_err payment_setup(void *app, struct assent_tx *tx)
{
        struct payment *payment = app;
        enum assent_err err = service_schema(tx, schema);

        if (err == ASSENT_OK && payment->seed)
                err = service_schema(tx, seeds);
        if (err == ASSENT_OK)
                err = service_prepare(tx, texts, payment->sql, PAYMENT_SQL_COUNT);
        return err;
}

/* A charge as the payload or the hold has it. */
struct charge {
        const char *account, *payee;
        int64_t amount_cents;
};

/* SQLITE_ROW with the balance and what is held of it, SQLITE_DONE when there is no such account, or
 * an error. */
static int account_find(struct payment *payment, const char *account, int64_t *balance_cents, int64_t *held_cents)
{
        sqlite3_stmt *find = payment->sql[PAYMENT_ACCOUNT];

        sqlite3_bind_text(find, 1, account, -1, SQLITE_STATIC);
        int code = sqlite3_step(find);
        if (code == SQLITE_ROW) {
                *balance_cents = sqlite3_column_int64(find, 0);
                *held_cents = sqlite3_column_int64(find, 1);
        }
        sqlite3_reset(find);
        return code;
}

static bool account_change(struct payment *payment, struct assent_tx *tx, enum payment_sql change, const char *account,
                           int64_t amount_cents)
{
        assert(amount_cents > 0);
        sqlite3_bind_text(payment->sql[change], 1, account, -1, SQLITE_STATIC);
        sqlite3_bind_int64(payment->sql[change], 2, amount_cents);
        return service_run_one(tx, payment->sql[change]);
}

static enum assent_vote hold(struct payment *payment, struct assent_tx *tx, const struct assent_branch *branch,
                             const struct charge *charge)
{
        int64_t balance_cents = 0, held_cents = 0, free_cents;
        int code = account_find(payment, charge->payee, &balance_cents, &held_cents);

        if (code == SQLITE_DONE)
                return service_refuse(tx, "unknown payee '%s'", charge->payee);
        if (code == SQLITE_ROW)
                code = account_find(payment, charge->account, &balance_cents, &held_cents);
        if (code == SQLITE_DONE)
                return service_refuse(tx, "unknown account '%s'", charge->account);
        if (code != SQLITE_ROW) {
                service_sql_failed(tx, "find account");
                return ASSENT_VOTE_RETRY;
        }
        assert(held_cents >= 0 && held_cents <= balance_cents); /* the table's own CHECKs */
        free_cents = balance_cents - held_cents;
        if (free_cents < charge->amount_cents)
                return service_refuse(tx, "balance %lld.%02lld is short of %lld.%02lld", (long long)free_cents / 100,
                                      (long long)free_cents % 100, (long long)charge->amount_cents / 100,
                                      (long long)charge->amount_cents % 100);

        sqlite3_stmt *insert = payment->sql[PAYMENT_HOLD];
        service_bind_branch(insert, branch);
        sqlite3_bind_text(insert, 3, charge->account, -1, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 4, charge->amount_cents);
        sqlite3_bind_text(insert, 5, charge->payee, -1, SQLITE_STATIC);
        if (!account_change(payment, tx, PAYMENT_RESERVE, charge->account, charge->amount_cents) ||
            !service_run_one(tx, insert))
                return ASSENT_VOTE_RETRY;
        return ASSENT_VOTE_YES;
}

static enum assent_vote prepare_charge(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        static const char *const fields[] = {"account", "amount_cents", "payee", NULL};
        enum assent_vote vote = ASSENT_VOTE_NO;
        struct charge charge = {.payee = "shop"};
        json_t *payload;

        if (!service_kind_is(branch, "charge"))
                return service_refuse_kind(tx, branch, "charge");
        payload = service_payload(tx, branch, fields, &vote);
        if (!payload)
                return vote;
        charge.account = service_name(tx, payload, "account");
        if (charge.account)
                charge.amount_cents = service_count(tx, payload, "amount_cents", SERVICE_CENTS_MAX);
        if (charge.amount_cents && json_object_get(payload, "payee"))
                charge.payee = service_name(tx, payload, "payee");
        if (charge.amount_cents && charge.payee) {
                if (strcmp(charge.account, charge.payee) == 0)
                        vote = service_refuse(tx, "account and payee are both '%s'", charge.account);
                else
                        vote = hold(app, tx, branch, &charge);
        }
        json_decref(payload);
        return vote;
}

/* Moves the held amount: the debit and the credit stand in one statement each, within one local
 * transaction. */
static bool settle(struct payment *payment, struct assent_tx *tx, const struct assent_branch *branch,
                   const struct charge *charge)
{
        sqlite3_stmt *insert = payment->sql[PAYMENT_LEDGER];

        service_bind_branch(insert, branch);
        sqlite3_bind_text(insert, 3, charge->account, -1, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 4, charge->amount_cents);
        sqlite3_bind_text(insert, 5, charge->payee, -1, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 6, assent_tx_time_ms(tx));
        return account_change(payment, tx, PAYMENT_DEBIT, charge->account, charge->amount_cents) &&
               account_change(payment, tx, PAYMENT_CREDIT, charge->payee, charge->amount_cents) &&
               service_run_one(tx, insert);
}

static bool release(struct payment *payment, struct assent_tx *tx, const struct assent_branch *branch,
                    const struct charge *charge)
{
        (void)branch;
        return account_change(payment, tx, PAYMENT_RELEASE, charge->account, charge->amount_cents);
}

/* Finds the hold, applies the decision to it, and removes it. The texts belong to the row that the
 * cursor stands on, so it stays there until they are used. */
static enum assent_result decide(struct payment *payment, struct assent_tx *tx, const struct assent_branch *branch,
                                 bool (*apply)(struct payment *payment, struct assent_tx *tx,
                                               const struct assent_branch *branch, const struct charge *charge))
{
        sqlite3_stmt *held = payment->sql[PAYMENT_HELD];
        enum assent_result result = ASSENT_RESULT_RETRY;

        service_bind_branch(held, branch);
        int code = sqlite3_step(held);
        if (code == SQLITE_ROW) {
                const struct charge charge = {.account = (const char *)sqlite3_column_text(held, 0),
                                              .amount_cents = sqlite3_column_int64(held, 1),
                                              .payee = (const char *)sqlite3_column_text(held, 2)};
                if (charge.account && charge.payee && apply(payment, tx, branch, &charge))
                        result = ASSENT_RESULT_DONE;
        } else if (code == SQLITE_DONE) {
                result = service_gone(branch, "hold");
        } else {
                service_sql_failed(tx, "find hold");
        }
        sqlite3_reset(held);
        service_bind_branch(payment->sql[PAYMENT_UNHOLD], branch);
        if (result == ASSENT_RESULT_DONE && !service_run_one(tx, payment->sql[PAYMENT_UNHOLD]))
                result = ASSENT_RESULT_RETRY;
        return result;
}

static enum assent_result commit_charge(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        return decide(app, tx, branch, settle);
}

static enum assent_result abort_charge(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        return decide(app, tx, branch, release);
}

const struct assent_handlers payment_handlers = {
    .prepare = prepare_charge, .commit = commit_charge, .abort = abort_charge};
