/* counter.c: an idempotent consumer for tests: counts messages by key in its own table.
 *   counter --db FILE --set app.topic=T --set app.group=G …; a value "retry:N" is refused N times before it is taken. */
#include <assent/consumer.h>
#include <assent/log.h>

#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static struct assent_consumer *consumer;
static long refusals;

static void on_signal(int number)
{
        (void)number;
        assent_consumer_stop(consumer);
}

static enum assent_err setup(void *app, struct assent_tx *tx)
{
        (void)app;
        const char *sql = "CREATE TABLE IF NOT EXISTS counts(key TEXT PRIMARY KEY, n INTEGER NOT NULL)";
        return sqlite3_exec(assent_tx_sqlite(tx), sql, NULL, NULL, NULL) == SQLITE_OK ? ASSENT_OK : ASSENT_E_STORE;
}

static enum assent_result handle(void *app, struct assent_tx *tx, const struct assent_delivery *delivery)
{
        (void)app;
        sqlite3_stmt *statement = NULL;
        const char *sql = "INSERT INTO counts VALUES(?1, 1) ON CONFLICT(key) DO UPDATE SET n = n + 1";
        if (sqlite3_prepare_v2(assent_tx_sqlite(tx), sql, -1, &statement, NULL) == SQLITE_OK) {
                sqlite3_bind_text(statement, 1, delivery->key.data, (int)delivery->key.size, SQLITE_STATIC);
                sqlite3_step(statement);
        }
        bool done = sqlite3_finalize(statement) == SQLITE_OK;
        if (delivery->value.size > 6 && memcmp(delivery->value.data, "retry:", 6) == 0 &&
            refusals++ < ((const char *)delivery->value.data)[6] - '0')
                return ASSENT_RESULT_RETRY;
        return done ? ASSENT_RESULT_DONE : ASSENT_RESULT_RETRY;
}

int main(int argc, char **argv)
{
        struct assent_config *config;
        int first;
        if (assent_config_open(&config))
                return 1;
        int status = assent_config_arguments(config, argc, argv, "[OPTION]…", "Counts messages.", NULL, &first);
        if (status >= 0)
                return status;
        struct assent_consumer_options options = ASSENT_CONSUMER_OPTIONS_INIT;
        options.topic = assent_config_get(config, "app.topic");
        options.group = assent_config_get(config, "app.group");
        options.handle = handle;
        options.setup = setup;
        options.config = config;
        enum assent_err err = assent_consumer_open(&options, &consumer);
        if (!err) {
                signal(SIGTERM, on_signal);
                assent_log(ASSENT_LOG_INFO, "ready", ASSENT_TEXT("topic", options.topic));
                err = assent_consumer_run(consumer);
        }
        if (err)
                assent_log(ASSENT_LOG_ERROR, assent_consumer_errmsg(consumer), ASSENT_TEXT("err", assent_err_name(err)));
        assent_consumer_close(consumer);
        assent_config_close(config);
        return err ? 1 : 0;
}
