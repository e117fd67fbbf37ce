/* assent-cache: a read cache in front of the order service that follows its events. */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <assent/log.h>

#define SECRET_SIZE_MAX  512
#define MEMORY_BYTES_MAX ((size_t)256 << 20)

static const char description[] =
    "Answers GET /v1/orders/{id} from a cache that never goes back in version.\n"
    "  ?consistency=strong            compared with the order service at the time of the read (the default)\n"
    "  ?consistency=bounded&bound_ms=2000   the newest version no longer ago than that\n"
    "  ?consistency=cached            whatever stands there\n"
    "Also Cache-Control: max-age=2 for bounded. With an ETag; If-None-Match is answered with 304 from the cache.\n"
    "Answers say what they are made of: Cache-Status, Age, Assent-Cache-Version, Assent-Source-Version.";

static const struct assent_flag flags[] = {
    {"listen", "ADDRESS", "app.listen", "where to answer, host:port; port 0: any (default 127.0.0.1:8081)"},
    {"port-file", "FILE", "app.port_file", "a file that gets the port when the daemon listens"},
    {"tokens", "FILE", "app.tokens", "readers and their bearer tokens, a line \"NAME TOKEN\" each; needed beyond loopback"},
    {"source", "URL", "app.source", "the order service (default http://127.0.0.1:8080)"},
    {"source-token-file", "FILE", "app.source_token_file", "a file of one line, the token to bring there"},
    {"redis", "HOST:PORT", "app.redis", "keep entries in this Redis (default: in this process)"},
    {"redis-password-file", "FILE", "app.redis_password_file", "a file of one line, readable by its owner alone"},
    {"entries-max", "N", "app.entries_max", "entries in this process (default 100000)"},
    {"ttl-ms", "MS", "app.ttl_ms", "an entry that nobody confirmed for so long is asked about; 0: none (default 600000)"},
    {"group", "NAME", "app.group", "the consumer group, one for each daemon (default <prefix>.cache)"},
    {NULL, NULL, NULL, NULL},
};

struct program {
        struct assent_config *config;
        char topic[256], group[256], source_token[SECRET_SIZE_MAX], redis_password[SECRET_SIZE_MAX];
        const char *port_file;
        int64_t ttl_ms, entries_max, redis_timeout_ms;
        struct cache_serve_options options;
        struct cache_serve *serve;
        struct cache_events events;
        struct assent_consumer *consumer;
        struct assent_observer *observer;
};

static struct assent_consumer *volatile running;
static volatile sig_atomic_t signals_seen;

static void on_signal(int number)
{
        if (signals_seen++)
                _exit(128 + number);
        assent_consumer_stop(running);
}

static void signals_take(struct assent_consumer *consumer)
{
        struct sigaction action = {.sa_handler = on_signal};
        running = consumer;
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGINT, &action, NULL);
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
}

/* ---- settings ---- */

static const char *setting(const struct program *program, const char *key, const char *usual)
{
        const char *value = assent_config_get(program->config, key);
        return value && *value ? value : usual;
}

static bool number(const struct program *program, const char *key, int64_t usual, int64_t least, int64_t most, int64_t *out)
{
        const char *text = setting(program, key, NULL);
        char *end;
        *out = usual;
        if (!text)
                return true;
        errno = 0;
        *out = strtoll(text, &end, 10);
        if (!errno && !*end && strspn(text, "0123456789") == strlen(text) && *out >= least && *out <= most)
                return true;
        fprintf(stderr, "assent-cache: %s: %s must be a whole number from %" PRId64 " to %" PRId64 ", not \"%s\"\n",
                assent_config_origin(program->config, key), key, least, most, text);
        return false;
}

/* The first line of a file that is its owner's alone. Not set: "". */
static bool secret(const struct program *program, const char *key, char out[SECRET_SIZE_MAX])
{
        const char *path = setting(program, key, NULL), *wrong = NULL;
        struct stat status;
        if (!path)
                return true;
        FILE *file = fopen(path, "re");
        if (!file)
                wrong = strerror(errno);
        else if (fstat(fileno(file), &status) || (status.st_mode & (S_IRWXG | S_IRWXO)))
                wrong = "others than its owner can read it; chmod 600 it";
        else if (!fgets(out, SECRET_SIZE_MAX, file) || strlen(out) == SECRET_SIZE_MAX - 1 || strcspn(out, "\r\n") == 0)
                wrong = "it must begin with a line of 1 to 510 bytes";
        if (file)
                fclose(file);
        out[strcspn(out, "\r\n")] = '\0';
        if (wrong)
                fprintf(stderr, "assent-cache: %s=%s: %s\n", key, path, wrong);
        return !wrong;
}

static bool source_read(struct program *program, char out[1024])
{
        const char *url = setting(program, "app.source", "http://127.0.0.1:8080");
        size_t size = strlen(url);
        while (size > 0 && url[size - 1] == '/')
                size--;
        if ((strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) && size > 8 && size < 1024 &&
            !strpbrk(url, "?# ")) {
                memcpy(out, url, size);
                out[size] = '\0';
                return true;
        }
        fprintf(stderr, "assent-cache: %s: --source must be http://HOST:PORT or https://HOST, not \"%s\"\n",
                assent_config_origin(program->config, "app.source"), url);
        return false;
}

static bool settings_read(struct program *program, char source[1024])
{
        int64_t threads, connections, timeout_ms;
        struct cache_serve_options *options = &program->options;
        const char *prefix = assent_config_get(program->config, "assent.prefix");
        if (!number(program, "app.threads", 2, 1, 16, &threads) ||
            !number(program, "app.source_connections", 8, 1, 64, &connections) ||
            !number(program, "app.source_timeout_ms", 2000, 10, 60000, &timeout_ms) ||
            !number(program, "app.bound_ms", 5000, 0, 86400000, &options->bound_ms) ||
            !number(program, "app.ttl_ms", 600000, 0, INT64_C(31536000000), &program->ttl_ms) ||
            !number(program, "app.entries_max", 100000, 1, 10000000, &program->entries_max) ||
            !number(program, "app.redis_timeout_ms", 250, 10, 60000, &program->redis_timeout_ms) ||
            !secret(program, "app.source_token_file", program->source_token) ||
            !secret(program, "app.redis_password_file", program->redis_password) || !source_read(program, source))
                return false;
        snprintf(program->topic, sizeof program->topic, "%s.%s", prefix, ORDER_EVENT_TOPIC);
        snprintf(program->group, sizeof program->group, "%s.cache", prefix);
        options->listen = setting(program, "app.listen", "127.0.0.1:8081");
        options->token_file = setting(program, "app.tokens", NULL);
        options->source = source;
        options->source_token = *program->source_token ? program->source_token : NULL;
        options->threads = (unsigned)threads;
        options->source_connections = (unsigned)connections;
        options->source_timeout_ms = (uint32_t)timeout_ms;
        program->port_file = setting(program, "app.port_file", NULL);
        return true;
}

/* ---- the parts ---- */

static enum assent_err said(const char *what, enum assent_err err, const char *why)
{
        if (err)
                assent_log(ASSENT_LOG_ERROR, why, ASSENT_TEXT("what", what), ASSENT_TEXT("err", assent_err_name(err)));
        return err;
}

static enum assent_err backend_open(struct program *program)
{
        struct assent_cache *backend;
        const struct cache_redis_options redis = {.address = setting(program, "app.redis", NULL),
                                                  .password = *program->redis_password ? program->redis_password : NULL,
                                                  .prefix = assent_config_get(program->config, "assent.prefix"),
                                                  .timeout_ms = program->redis_timeout_ms,
                                                  .ttl_ms = program->ttl_ms};
        enum assent_err err = redis.address ? cache_redis_open(&redis, &backend)
                                            : assent_cache_memory_open((size_t)program->entries_max, MEMORY_BYTES_MAX,
                                                                       CACHE_VALUE_BYTES_MAX, &backend);
        if (err)
                return said("backend", err, err == ASSENT_E_ARGUMENT ? "--redis must be HOST:PORT" : assent_err_text(err));
        err = cache_guard_open(backend, program->ttl_ms, assent_config_int(program->config, "assent.skew_ms"),
                               &program->events.guard);
        program->options.guard = program->events.guard;
        return said("guard", err, assent_err_text(err));
}

static enum assent_err consumer_open(struct program *program)
{
        struct assent_consumer_options options = ASSENT_CONSUMER_OPTIONS_INIT;
        options.topic = program->topic;
        options.group = setting(program, "app.group", program->group);
        options.handle = cache_handle;
        options.app = &program->events;
        options.config = program->config;
        enum assent_err err = order_event_codec_open(&program->events.codec);
        if (!err)
                err = assent_consumer_open(&options, &program->consumer);
        return said("consumer", err, program->consumer ? assent_consumer_errmsg(program->consumer) : assent_err_text(err));
}

static enum assent_err port_tell(const struct program *program)
{
        if (!program->port_file)
                return ASSENT_OK;
        bool told = assent_notify_file(program->port_file, "%u\n", (unsigned)cache_serve_port(program->serve));
        return said(program->port_file, told ? ASSENT_OK : ASSENT_E_CONFIG, "the port file cannot be written");
}

static void metrics(void *context, struct assent_exposition *out)
{
        const struct program *program = context;
        cache_serve_metrics(program->serve, out);
        cache_events_metrics(&program->events, out);
}

/* Ready is who has heard of all that happened while it was away; whoever asks before that is answered as well. */
static enum assent_err follow(const struct program *program, const struct assent_observer_source *source)
{
        char why[ASSENT_READY_SIZE_MAX];
        enum assent_err err = ASSENT_OK;
        while (!err && !signals_seen && !source->ready(source->context, why))
                err = assent_consumer_step(program->consumer, 100);
        if (!err && !signals_seen) {
                assent_log(ASSENT_LOG_INFO, "ready", ASSENT_TEXT("topic", program->topic),
                           ASSENT_INT("port", cache_serve_port(program->serve)), ASSENT_TEXT("source", program->options.source),
                           ASSENT_TEXT("backend", setting(program, "app.redis", "memory")));
                assent_notify("READY=1\nSTATUS=ready");
        }
        return err ? err : assent_consumer_run(program->consumer);
}

static enum assent_err serve(struct program *program)
{
        const struct assent_observer_source source = {.name = "cache", .metrics = metrics, .context = program};
        struct assent_observer_source consumer;
        enum assent_err err = cache_serve_open(&program->options, &program->serve);
        if (said("listen", err, program->serve ? cache_serve_errmsg(program->serve) : assent_err_text(err)))
                return err;
        err = port_tell(program);
        if (err)
                return err;
        signals_take(program->consumer);
        assent_consumer_source(program->consumer, &consumer);
        assent_observer_add(program->observer, &consumer);
        assent_observer_add(program->observer, &source);
        err = said("consumer", follow(program, &consumer), assent_consumer_errmsg(program->consumer));
        assent_notify("STOPPING=1");
        assent_observer_remove(program->observer, program);
        assent_observer_remove(program->observer, consumer.context);
        return err;
}

/* A cache that cannot hear of events ends, and so do its readers' connections: they find the next one, or the source. */
static int run(struct program *program)
{
        char source[1024];
        if (!settings_read(program, source))
                return 2;
        enum assent_err err = assent_observer_open(program->config, "assent-cache", &program->observer);
        said("observer", err, program->observer ? assent_observer_errmsg(program->observer) : assent_err_text(err));
        if (!err)
                err = backend_open(program);
        if (!err)
                err = consumer_open(program);
        if (!err)
                err = serve(program);
        cache_serve_close(program->serve);
        if (program->port_file)
                unlink(program->port_file);
        assent_consumer_close(program->consumer);
        order_event_codec_close(&program->events.codec);
        if (program->events.guard)
                cache_guard_cache(program->events.guard)->ops->close(cache_guard_cache(program->events.guard));
        assent_observer_close(program->observer);
        explicit_bzero(program->redis_password, sizeof program->redis_password);
        explicit_bzero(program->source_token, sizeof program->source_token);
        return err ? 1 : 0;
}

int main(int argc, char **argv)
{
        static struct program program;
        int first;
        if (assent_config_open(&program.config))
                return 1;
        int status = assent_config_arguments(program.config, argc, argv, "[OPTION]…", description, flags, &first);
        if (status < 0)
                status = run(&program);
        assent_config_close(program.config);
        return status;
}
