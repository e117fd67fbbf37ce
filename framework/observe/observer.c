/* observer.c: the operators' listener: health, metrics, version, from a thread of its own. */
#include <assent/observe.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include <assent/http.h>
#include <assent/log.h>

#include "base/panic.h"
#include "observe/process.h"

#define SOURCES_MAX     16
#define CONNECTIONS_MAX 32

struct assent_observer {
        struct assent_http *http;
        const char *program, *port_file; /* port_file NULL: none was written */
        double started;
        pthread_mutex_t lock; /* over what follows; held while a page asks the sources */
        struct assent_observer_source sources[SOURCES_MAX];
        size_t sources_count;
        bool had_source;
        char errmsg[1024];
};

static struct assent_bytes bytes_of(const struct assent_buffer *text)
{
        return (struct assent_bytes){text->data, text->size};
}

static void answer_text(struct assent_http_request *request, unsigned status, struct assent_bytes text)
{
        assent_http_set(request, "Cache-Control", "no-store");
        assent_http_answer(request, status, "text/plain; charset=utf-8", text);
}

/* ---- the pages ---- */

static void livez(void *app, struct assent_http_request *request)
{
        (void)app;
        answer_text(request, 200, (struct assent_bytes){"ok\n", 3});
}

/* A line for each source; whether all are ready. */
static bool sources_ready(struct assent_observer *observer, struct assent_buffer *text)
{
        bool all = observer->sources_count > 0;
        if (!all)
                assent_buffer_printf(text, "[-]%s: %s\n", observer->program, observer->had_source ? "stopping" : "opening");
        for (size_t i = 0; i < observer->sources_count; i++) {
                const struct assent_observer_source *source = &observer->sources[i];
                char why[ASSENT_READY_SIZE_MAX] = "";
                bool ready = !source->ready || source->ready(source->context, why);
                assent_buffer_printf(text, "[%c]%s%s%s\n", ready ? '+' : '-', source->name, ready || !*why ? "" : ": ",
                                     ready ? "" : why);
                all &= ready;
        }
        return all;
}

static void readyz(void *app, struct assent_http_request *request)
{
        struct assent_observer *observer = app;
        struct assent_buffer text;
        assent_buffer_init(&text, ASSENT_PAGE_BYTES_MAX);
        pthread_mutex_lock(&observer->lock);
        bool ready = sources_ready(observer, &text);
        pthread_mutex_unlock(&observer->lock);
        if (!assent_http_query(request, "verbose"))
                assent_buffer_clear(&text);
        assent_buffer_text(&text, ready ? "ok\n" : "not ready\n");
        answer_text(request, ready ? 200 : 503, bytes_of(&text));
        assent_buffer_close(&text);
}

static void build_info(const struct assent_observer *observer, struct assent_exposition *out)
{
        char memory[ASSENT_LABELS_SIZE_MAX];
        assent_expose_one(out, "assent_build_info", ASSENT_GAUGE, "1; what runs is in the labels.",
                          assent_labels(memory, "", "program", observer->program, "version", ASSENT_VERSION, NULL), 1);
}

/* Under the lock. */
static void sources_expose(const struct assent_observer *observer, struct assent_exposition *out)
{
        char memory[ASSENT_LABELS_SIZE_MAX], why[ASSENT_READY_SIZE_MAX];
        for (size_t i = 0; i < observer->sources_count; i++)
                if (observer->sources[i].metrics)
                        observer->sources[i].metrics(observer->sources[i].context, out);
        assent_expose(out, "assent_ready", ASSENT_GAUGE, "1: ready, as /readyz tells; 0: not.");
        for (size_t i = 0; i < observer->sources_count; i++) {
                const struct assent_observer_source *source = &observer->sources[i];
                assent_expose_value(out, assent_labels(memory, "", "source", source->name, NULL),
                                    !source->ready || source->ready(source->context, why));
        }
}

static void metrics(void *app, struct assent_http_request *request)
{
        struct assent_observer *observer = app;
        struct assent_exposition *out = assent_exposition_open();
        struct assent_buffer page;
        assent_buffer_init(&page, ASSENT_PAGE_BYTES_MAX);
        enum assent_err err = ASSENT_E_MEMORY;
        if (out) {
                build_info(observer, out);
                assent_process_expose(out, observer->started);
                pthread_mutex_lock(&observer->lock);
                sources_expose(observer, out);
                pthread_mutex_unlock(&observer->lock);
                err = assent_exposition_page(out, &page);
        }
        if (err)
                assent_http_problem(request, 500, "internal",
                                    "the page of metrics cannot be made: %s; a page has at most %d families and %zu bytes",
                                    assent_err_text(err), ASSENT_FAMILIES_MAX, ASSENT_PAGE_BYTES_MAX);
        else
                assent_http_answer(request, 200, "text/plain; version=0.0.4; charset=utf-8", bytes_of(&page));
        assent_buffer_close(&page);
        assent_exposition_close(out);
}

/* What is loaded into this process, asked by name: most of it belongs to other parts of the framework, or to the service. */
static json_t *libraries(void)
{
        static const struct {
                const char *name, *function;
        } known[] = {
                {"jansson", "jansson_version_str"},     {"libcurl", "curl_version"},      {"libmicrohttpd", "MHD_get_version"},
                {"librdkafka", "rd_kafka_version_str"}, {"sqlite", "sqlite3_libversion"},
        };
        json_t *found = json_object();
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
                const char *(*version)(void) = NULL;
                *(void **)&version = dlsym(RTLD_DEFAULT, known[i].function);
                if (version)
                        json_object_set_new(found, known[i].name, json_string(version()));
        }
        return found;
}

static void version(void *app, struct assent_http_request *request)
{
        const struct assent_observer *observer = app;
        assent_http_answer_json(request, 200,
                                json_pack("{s:s, s:s, s:i, s:i, s:o}", "program", observer->program, "version", ASSENT_VERSION,
                                          "rules", ASSENT_RULES_VERSION, "schema", ASSENT_SCHEMA_VERSION, "libraries",
                                          libraries()));
}

/* Probes bring no token. */
static const struct assent_http_route routes[] = {
        {"GET", "/livez", livez, true},    {"GET", "/healthz", livez, true},    {"GET", "/readyz", readyz, true},
        {"GET", "/metrics", metrics, false}, {"GET", "/version", version, false}, {NULL, NULL, NULL, false},
};

/* ---- birth and death ---- */

/* Whoever waits for the file finds it whole. */
static enum assent_err port_tell(struct assent_observer *observer, const char *path)
{
        if (assent_notify_file(path, "%u\n", (unsigned)assent_http_port(observer->http))) {
                observer->port_file = path;
                return ASSENT_OK;
        }
        snprintf(observer->errmsg, sizeof observer->errmsg,
                 "assent.admin_port_file=%.512s cannot be written: %s; name a file in a folder that this process may write to",
                 path, strerror(errno));
        return ASSENT_E_CONFIG;
}

static enum assent_err observer_listen(struct assent_observer *observer, const struct assent_config *config)
{
        struct assent_http_options options = ASSENT_HTTP_OPTIONS_INIT;
        const char *token_file = assent_config_get(config, "assent.admin_token_file");
        const char *port_file = assent_config_get(config, "assent.admin_port_file");
        options.listen = assent_config_get(config, "assent.admin_listen");
        options.routes = routes;
        options.app = observer;
        options.token_file = *token_file ? token_file : NULL;
        options.threads = 1;
        options.connections_max = CONNECTIONS_MAX;
        enum assent_err err = assent_http_open(&options, &observer->http);
        if (err) {
                snprintf(observer->errmsg, sizeof observer->errmsg, "assent.admin_listen=%.128s: %s", options.listen,
                         observer->http ? assent_http_errmsg(observer->http) : assent_err_text(err));
                return err == ASSENT_E_MEMORY ? err : ASSENT_E_CONFIG;
        }
        if (*port_file)
                err = port_tell(observer, port_file);
        if (!err)
                assent_log(ASSENT_LOG_INFO, "admin listens", ASSENT_TEXT("address", options.listen),
                           ASSENT_INT("port", assent_http_port(observer->http)));
        return err;
}

enum assent_err assent_observer_open(const struct assent_config *config, const char *program, struct assent_observer **out)
{
        *out = NULL;
        if (strcmp(assent_config_get(config, "assent.admin_listen"), "off") == 0)
                return ASSENT_OK;
        struct assent_observer *observer = calloc(1, sizeof *observer);
        if (!observer)
                return ASSENT_E_MEMORY;
        *out = observer;
        observer->program = program;
        observer->started = assent_process_started();
        pthread_mutex_init(&observer->lock, NULL);
        return observer_listen(observer, config);
}

void assent_observer_add(struct assent_observer *observer, const struct assent_observer_source *source)
{
        if (!observer)
                return;
        pthread_mutex_lock(&observer->lock);
        ASSENT_ASSERT(source->name && source->context && observer->sources_count < SOURCES_MAX);
        observer->sources[observer->sources_count++] = *source;
        observer->had_source = true;
        pthread_mutex_unlock(&observer->lock);
}

void assent_observer_remove(struct assent_observer *observer, const void *context)
{
        if (!observer)
                return;
        pthread_mutex_lock(&observer->lock);
        size_t kept = 0;
        for (size_t i = 0; i < observer->sources_count; i++)
                if (observer->sources[i].context != context)
                        observer->sources[kept++] = observer->sources[i];
        observer->sources_count = kept;
        pthread_mutex_unlock(&observer->lock);
}

uint16_t assent_observer_port(const struct assent_observer *observer)
{
        return observer && observer->http && !observer->errmsg[0] ? assent_http_port(observer->http) : 0;
}

const char *assent_observer_errmsg(const struct assent_observer *observer)
{
        return observer ? observer->errmsg : "";
}

void assent_observer_close(struct assent_observer *observer)
{
        if (!observer)
                return;
        assent_http_close(observer->http);
        if (observer->port_file)
                unlink(observer->port_file);
        pthread_mutex_destroy(&observer->lock);
        free(observer);
}
