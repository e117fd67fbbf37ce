/* sqlite_guard.c: the connection in the hands of the application (P1). An authorizer refuses what
 * could split the local transaction when a statement is prepared. It cannot see what a running
 * statement does ("OR ROLLBACK"), and an application can take it out; so a commit hook agrees to no
 * commit but the store's own, and a rollback hook remembers what happened. */
#include "store/sqlite.h"

#include <assent/store.h>
#include <string.h>
#include <strings.h>

#include "base/panic.h"

static bool ours(const char *name)
{
        return name && strncasecmp(name, "assent_", 7) == 0;
}

/* Runs when a statement is prepared, also when a changed schema makes SQLite prepare it again. */
static int authorize(void *context, int action, const char *first, const char *second,
                     const char *schema, const char *trigger)
{
        const struct assent_store *store = context;
        (void)schema;
        (void)trigger;

        if (!store->lent)
                return SQLITE_OK;
        switch (action) {
        case SQLITE_TRANSACTION:
        case SQLITE_SAVEPOINT:
        case SQLITE_ATTACH:
        case SQLITE_DETACH:
        case SQLITE_PRAGMA:
                return SQLITE_DENY;
        case SQLITE_READ: /* looking does no harm */
        case SQLITE_SELECT:
        case SQLITE_FUNCTION:
        case SQLITE_RECURSIVE:
                return SQLITE_OK;
        case SQLITE_UPDATE: /* the second name is a column's */
                return ours(first) ? SQLITE_DENY : SQLITE_OK;
        default: /* tables, indexes, triggers and views, made, changed and dropped; TEMP ones too */
                return ours(first) || ours(second) ? SQLITE_DENY : SQLITE_OK;
        }
}

static int on_commit(void *context)
{
        struct assent_store *store = context;

        if (store->committing)
                return 0;
        if (store->lent && !store->split)
                store->split = "it tried to COMMIT";
        return 1; /* SQLite rolls back instead */
}

static void on_rollback(void *context)
{
        struct assent_store *store = context;

        if (store->lent && !store->split)
                store->split = "a statement of its rolled everything back (ROLLBACK, INSERT OR "
                               "ROLLBACK, RAISE(ROLLBACK))";
}

enum assent_err assent_sqlite_guard(struct assent_store *store)
{
        static const struct {
                int option, value;
        } switches[] = {
            {SQLITE_DBCONFIG_DEFENSIVE, 1},
            {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
            {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        };
        for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
                int now = -1;
                if (sqlite3_db_config(store->db, switches[i].option, switches[i].value, &now) !=
                        SQLITE_OK ||
                    now != switches[i].value)
                        return assent_sqlite_fail(store, "cannot secure the connection");
        }
        sqlite3_limit(store->db, SQLITE_LIMIT_ATTACHED, 0);
        if (sqlite3_set_authorizer(store->db, authorize, store) != SQLITE_OK)
                return assent_sqlite_fail(store, "cannot install the authorizer");
        sqlite3_commit_hook(store->db, on_commit, store);
        sqlite3_rollback_hook(store->db, on_rollback, store);
        return ASSENT_OK;
}

void assent_sqlite_sweep(struct assent_store *store)
{
        sqlite3_stmt *statement = NULL;

        while ((statement = sqlite3_next_stmt(store->db, statement)))
                if (sqlite3_stmt_busy(statement))
                        sqlite3_reset(statement);
}

struct assent_tx *assent_store_enter(struct assent_store *store, int64_t tau_ms)
{
        ASSENT_ASSERT(store->begun && !store->lent && !store->broken);
        store->lent = true;
        store->split = NULL;
        store->tx.tau_ms = tau_ms;
        store->tx.refusal_size = 0;
        return &store->tx;
}

/* The application's last statement met what no retry mends. It may have ended the transaction,
 * through no fault of its own. */
static bool disk_failed(sqlite3 *db)
{
        int code = sqlite3_errcode(db) & 0xff;

        return code == SQLITE_IOERR || code == SQLITE_FULL || code == SQLITE_CORRUPT;
}

enum assent_err assent_store_leave(struct assent_store *store)
{
        ASSENT_ASSERT(store->lent);
        if (store->broken) { /* while it published */
                assent_sqlite_sweep(store);
                store->lent = false;
                return ASSENT_E_STORE;
        }
        if (disk_failed(store->db)) {
                enum assent_err err = assent_sqlite_fail(store, "a statement of a handler failed");
                assent_sqlite_sweep(store);
                store->lent = false;
                return err;
        }
        assent_sqlite_sweep(store); /* still lent: what a reset ends is the application's doing */
        store->lent = false;
        if (!store->split && sqlite3_get_autocommit(store->db))
                store->split = "it committed behind the framework's back";
        if (!store->split)
                return ASSENT_OK;
        store->broken = true;
        assent_sqlite_say(store,
                          "%s: a handler ended the local transaction: %s. Nothing of this batch "
                          "may be kept; correct the handler and start again",
                          store->path, store->split);
        return ASSENT_E_HANDLER;
}

struct assent_bytes assent_store_refusal(const struct assent_store *store)
{
        return (struct assent_bytes){.data = store->tx.refusal, .size = store->tx.refusal_size};
}

struct sqlite3 *assent_tx_sqlite(struct assent_tx *tx)
{
        ASSENT_ASSERT(tx->store->lent);
        return tx->store->db;
}

void assent_tx_refuse(struct assent_tx *tx, const char *reason)
{
        ASSENT_ASSERT(tx->store->lent);
        tx->refusal_size = assent_reason_copy(tx->refusal, assent_bytes_of(reason));
}

static bool size_fits(struct assent_bytes bytes, size_t size_max)
{
        return bytes.size >= 1 && bytes.size <= size_max;
}

enum assent_err assent_tx_publish(struct assent_tx *tx, const struct assent_event *event)
{
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
        struct assent_store *store = tx->store;
        struct assent_bytes topic = assent_bytes_of(event->topic);

        ASSENT_ASSERT(store->lent);
        if (!size_fits(topic, ASSENT_EVENT_TOPIC_SIZE_MAX) ||
            !size_fits(assent_bytes_of(event->type), ASSENT_EVENT_WORD_SIZE_MAX) ||
            !size_fits(assent_bytes_of(event->content_type), ASSENT_EVENT_WORD_SIZE_MAX) ||
            !size_fits(event->key, ASSENT_EVENT_KEY_SIZE_MAX) ||
            event->key.size + event->value.size > store->record_bytes_max)
                return ASSENT_E_LIMIT;
        if (strspn(event->topic, letters) != topic.size)
                return ASSENT_E_ARGUMENT;
        if (store->broken)
                return ASSENT_E_STORE;
        if (disk_failed(store->db)) /* what the application has not looked at, and `leave` will not see any more */
                return assent_sqlite_fail(store, "a statement of a handler failed");
        sqlite3_int64 rowid = sqlite3_last_insert_rowid(store->db);
        store->lent = false; /* a changed schema has the statement prepared, and so judged, again */
        enum assent_err err = assent_sqlite_outbox_put(store, event, tx->tau_ms);
        store->lent = true;
        sqlite3_set_last_insert_rowid(store->db, rowid);
        return err;
}

int64_t assent_tx_time_ms(const struct assent_tx *tx)
{
        return tx->tau_ms;
}
