/* assent-order: the order service. A participant, and, with --listen, an HTTP service beside it. */
#include <errno.h>
#include <sys/resource.h>

#include "../daemon.h"
#include "api.h"

struct program {
        struct order order; /* first: the handlers take the program for its order */
        struct settings settings;
        struct api api;
        const struct assent_config *config;
};

static void committed(void *app)
{
        api_committed(&((struct program *)app)->api);
}

static enum assent_err configured(void *app, const struct assent_config *config)
{
        struct program *program = app;

        program->config = config;
        enum assent_err err = settings_read(config, &program->settings);
        program->order.events_kept = program->settings.listen ? program->settings.events_kept : 0;
        if (err == ASSENT_OK && program->settings.listen)
                program->api.metrics = assent_http_metrics_open();
        return err;
}

static enum assent_err write_port(const char *path, uint16_t port)
{
        if (assent_notify_file(path, "%u\n", (unsigned)port))
                return ASSENT_OK;
        assent_log(ASSENT_LOG_ERROR, "the port file cannot be written", ASSENT_TEXT("path", path),
                   ASSENT_TEXT("error", strerror(errno)));
        return ASSENT_E_CONFIG;
}

/* Each request that waits has a connection. */
static void raise_file_limit(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
}

static void metrics(void *app, struct assent_exposition *out)
{
        const struct program *program = app;
        if (!program->api.metrics)
                return;
        assent_http_metrics_expose(program->api.metrics, out);
        assent_client_metrics(&program->api.counts, out);
        assent_expose(out, "assent_idempotent_replays_total", ASSENT_COUNTER,
                      "Kept answers given to a repeated Idempotency-Key.");
        assent_expose_value(out, NULL, (double)atomic_load(&program->api.replays));
}

static void closing(void *app)
{
        api_close(&((struct program *)app)->api);
}

static enum assent_err opened(void *app, struct assent_participant *participant)
{
        struct program *program = app;
        struct api *api = &program->api;

        if (!program->settings.listen)
                return ASSENT_OK;
        raise_file_limit();
        api->settings = &program->settings;
        api->participant = participant;
        enum assent_err err = api_open(api, program->config);
        if (err == ASSENT_OK && program->settings.port_file)
                err = write_port(program->settings.port_file, assent_http_port(api->http));
        if (err == ASSENT_OK)
                assent_log(ASSENT_LOG_INFO, "listening", ASSENT_TEXT("address", program->settings.listen),
                           ASSENT_INT("port", assent_http_port(api->http)));
        else
                closing(app);
        return err;
}

int main(int argc, char **argv)
{
        /* --seed is taken although there is nothing to seed, so that all services start with the same command line. */
        static const struct assent_flag flags[] = {
            {"listen", "ADDRESS", "app.listen", "serve HTTP there (127.0.0.1:8080; port 0: any free one)"},
            {"port-file", "FILE", "app.port_file", "write the port that HTTP is served on to this file"},
            {"tokens", "FILE", "app.tokens", "callers and their bearer tokens, a line \"NAME TOKEN\" each"},
            {"seed", NULL, "app.seed", "changes nothing: there is nothing to seed, orders begin empty"},
            {NULL, NULL, NULL, NULL},
        };
        static struct program program;
        struct assent_participant_options options = ASSENT_PARTICIPANT_OPTIONS_INIT;

        options.service = "order";
        options.handlers = &order_handlers;
        options.setup = order_setup;
        options.committed = committed;
        options.opened = opened;
        options.closing = closing;
        options.metrics = metrics;
        options.app = &program;
        program.api.order = &program.order;
        int status = assent_participant_main(
            argc, argv,
            "Keeps orders. kind \"place\", payload {\"order_id\": \"o-1\", \"customer\": \"alice\",\n"
            "\"total_cents\": 9900, \"items\": [{\"sku\": \"lamp\", \"quantity\": 1}]}; an order id is used once.\n"
            "With --listen it also takes orders by HTTP; /openapi.json describes that.\n"
            "--set app.wait_ms=5000        how long a POST waits for the outcome, unless it says so itself\n"
            "--set app.timeout_ms=10000    of an order's transaction\n"
            "--set app.key_expiry_ms=86400000  how long an Idempotency-Key is honoured\n"
            "--set app.events_kept=10000   for GET /v1/events; app.waiting_max=10000 requests that wait;\n"
            "                              app.connections_max=12000; app.threads=2\n"
            "--set app.streams_max=1000    of events at once; app.backlog_max=1000 new events that wait for a slow reader",
            flags, &options, configured);
        waiters_close(program.api.waiters); /* the participant's close still told work that was not done */
        assent_http_metrics_close(program.api.metrics);
        order_close(&program.order);        /* the connection waited for its statements */
        return status;
}
