/* http_metrics.c: what became of a server's requests, counted on its threads. */
#include <assent/observe.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <assent/http.h>

#include "observe/exposition.h"

/* A server has few routes, methods and codes, so these lists are short; both end by what the service can answer. */
struct answer {
        const char *method, *route;
        unsigned status;
        uint64_t count;
};

struct served {
        const char *method, *route;
        struct assent_durations took;
};

struct assent_http_metrics {
        pthread_mutex_t lock;
        struct answer *answers;
        struct served *served;
        size_t answers_count, served_count;
        uint64_t refused; /* connections */
};

struct assent_http_metrics *assent_http_metrics_open(void)
{
        struct assent_http_metrics *metrics = calloc(1, sizeof *metrics);
        if (metrics)
                pthread_mutex_init(&metrics->lock, NULL);
        return metrics;
}

/* A label may not hold whatever a stranger sends. */
static const char *method_known(const char *method)
{
        static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
                if (strcmp(method, known[i]) == 0)
                        return known[i];
        return "other";
}

static struct answer *answer_find(struct assent_http_metrics *metrics, const char *method, const char *route, unsigned status)
{
        for (size_t i = 0; i < metrics->answers_count; i++) {
                struct answer *answer = &metrics->answers[i];
                if (answer->status == status && answer->method == method && strcmp(answer->route, route) == 0)
                        return answer;
        }
        struct answer *grown = realloc(metrics->answers, (metrics->answers_count + 1) * sizeof *grown);
        if (!grown)
                return NULL;
        metrics->answers = grown;
        grown += metrics->answers_count++;
        *grown = (struct answer){.method = method, .route = route, .status = status};
        return grown;
}

static struct served *served_find(struct assent_http_metrics *metrics, const char *method, const char *route)
{
        for (size_t i = 0; i < metrics->served_count; i++) {
                struct served *served = &metrics->served[i];
                if (served->method == method && strcmp(served->route, route) == 0)
                        return served;
        }
        struct served *grown = realloc(metrics->served, (metrics->served_count + 1) * sizeof *grown);
        if (!grown)
                return NULL;
        metrics->served = grown;
        grown += metrics->served_count++;
        *grown = (struct served){.method = method, .route = route};
        return grown;
}

void assent_http_metrics_add(struct assent_http_metrics *metrics, const struct assent_http_seen *seen)
{
        const char *method = method_known(seen->method), *route = *seen->route ? seen->route : "other";
        pthread_mutex_lock(&metrics->lock);
        if (!seen->status) {
                metrics->refused++;
                pthread_mutex_unlock(&metrics->lock);
                return;
        }
        struct answer *answer = answer_find(metrics, method, route, seen->status);
        struct served *served = served_find(metrics, method, route);
        if (answer)
                answer->count++;
        if (served)
                assent_durations_add(&served->took, seen->took_us);
        pthread_mutex_unlock(&metrics->lock);
}

void assent_http_metrics_expose(struct assent_http_metrics *metrics, struct assent_exposition *out)
{
        char memory[ASSENT_LABELS_SIZE_MAX], code[16];
        pthread_mutex_lock(&metrics->lock);
        assent_expose(out, "assent_http_connections_refused_total", ASSENT_COUNTER,
                      "Connections closed at once, there being as many as may be.");
        assent_expose_value(out, NULL, (double)metrics->refused);
        assent_expose(out, "assent_http_requests_total", ASSENT_COUNTER, "Requests answered.");
        for (size_t i = 0; i < metrics->answers_count; i++) {
                const struct answer *answer = &metrics->answers[i];
                snprintf(code, sizeof code, "%u", answer->status);
                assent_labels(memory, "", "method", answer->method, "route", answer->route, "code", code, NULL);
                assent_expose_value(out, memory, (double)answer->count);
        }
        assent_expose(out, "assent_http_request_duration_seconds", ASSENT_HISTOGRAM, "From a request to its answer.");
        for (size_t i = 0; i < metrics->served_count; i++) {
                const struct served *served = &metrics->served[i];
                assent_expose_durations(out, assent_labels(memory, "", "method", served->method, "route", served->route, NULL),
                                        &served->took);
        }
        pthread_mutex_unlock(&metrics->lock);
}

void assent_http_metrics_close(struct assent_http_metrics *metrics)
{
        if (!metrics)
                return;
        pthread_mutex_destroy(&metrics->lock);
        free(metrics->answers);
        free(metrics->served);
        free(metrics);
}
