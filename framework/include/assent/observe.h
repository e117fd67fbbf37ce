/* observe.h: what an operator and a machine can see of a running daemon: /livez, /readyz, /metrics and /version on a listener
 * of its own, and notices to systemd.
 *
 *   /livez    200 while the process serves at all; looks at nothing else (a broker that is away must not restart it)
 *   /readyz   200 when every source is ready, else 503; with ?verbose a line for each
 *   /metrics  Prometheus text format 0.0.4
 *   /version  program, version, rules, libraries as JSON
 *
 * Configured by assent.admin_listen ("127.0.0.1:0": any free port, told in the log; "off": none), assent.admin_port_file and
 * assent.admin_token_file (needed beyond loopback). */
#ifndef ASSENT_OBSERVE_H
#define ASSENT_OBSERVE_H

#include <assent/config.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ASSENT_READY_SIZE_MAX 200

struct assent_observer;
/* A page of metrics that is being written. */
struct assent_exposition;

/* Something that is watched. Both functions run on the listener's thread, between add and remove, and must only read what may
 * be read from any thread. */
struct assent_observer_source {
        const char *name; /* in /readyz?verbose: "participant payment" */
        void (*metrics)(void *context, struct assent_exposition *out); /* may be NULL */
        bool (*ready)(void *context, char why[ASSENT_READY_SIZE_MAX]); /* may be NULL: ready */
        void *context;
};

/* Opens the listener, or nothing at all when it is "off" (*out is then NULL, and all functions take that).
 * Ownership: *out is set even when the call fails (then only errmsg and close), unless memory ran out.
 * Returns ASSENT_OK, ASSENT_E_CONFIG, ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_observer_open(const struct assent_config *config, const char *program,
                                             struct assent_observer **out);
/* Not ready before the first source is there. `source` is copied, its name and context are borrowed until the remove, which
 * waits for a page under way. At most 16. */
ASSENT_API void assent_observer_add(struct assent_observer *observer, const struct assent_observer_source *source);
ASSENT_API void assent_observer_remove(struct assent_observer *observer, const void *context);
ASSENT_API uint16_t assent_observer_port(const struct assent_observer *observer); /* 0: none */
ASSENT_API const char *assent_observer_errmsg(const struct assent_observer *observer);
ASSENT_API void assent_observer_close(struct assent_observer *observer); /* NULL is fine */

enum assent_metric { ASSENT_COUNTER = 1, ASSENT_GAUGE, ASSENT_HISTOGRAM };

/* Begins a family: its samples follow. Names and labels are as Prometheus wants them: base units, _total for counters. A
 * family that several sources have is told once, with the samples of all. */
ASSENT_API void assent_expose(struct assent_exposition *out, const char *name, enum assent_metric type, const char *help);
/* A sample of the family begun last. `labels`: "service=\"payment\",lane=\"3\"", or NULL. */
ASSENT_API void assent_expose_value(struct assent_exposition *out, const char *labels, double value);
/* A histogram with the bounds of struct assent_durations. */
struct assent_durations;
ASSENT_API void assent_expose_durations(struct assent_exposition *out, const char *labels,
                                        const struct assent_durations *durations);

/* Durations in buckets of 100 µs to 100 s, three a decade; counted from one thread, read from any. Zeroed memory is empty. */
#define ASSENT_DURATION_BUCKETS 19
struct assent_durations {
        uint64_t counts[ASSENT_DURATION_BUCKETS + 1]; /* the last one: longer than all bounds */
        uint64_t sum_us;
};
ASSENT_API void assent_durations_add(struct assent_durations *durations, int64_t us);

/* Counters that one thread moves and any may read: no lock, no fence, whole values. */
static inline void assent_count(uint64_t *counter, uint64_t more)
{
        __atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}
static inline uint64_t assent_counted(const uint64_t *counter)
{
        return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* assent_http_requests_total{method,route,code} and assent_http_request_duration_seconds{method,route} of a server: hand what
 * its `observed` is called with to add, and call expose from a source. The routes are borrowed until close.
 * Thread: any, but close. open returns NULL when memory ran out; NULL is fine to close. */
struct assent_http_metrics;
struct assent_http_seen; /* of http.h */
ASSENT_API struct assent_http_metrics *assent_http_metrics_open(void);
ASSENT_API void assent_http_metrics_add(struct assent_http_metrics *metrics, const struct assent_http_seen *seen);
ASSENT_API void assent_http_metrics_expose(struct assent_http_metrics *metrics, struct assent_exposition *out);
ASSENT_API void assent_http_metrics_close(struct assent_http_metrics *metrics);

/* A line to the service manager (sd_notify(3): "READY=1", "STATUS=…", "STOPPING=1"), if $NOTIFY_SOCKET names one. */
ASSENT_API void assent_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes a text to the file `path`, a port for one, that whoever waits for the file finds whole: it is written beside, to
 * PATH.new, and renamed. A link that stands there is replaced, not followed. Blocks: for the file system.
 * False with errno when that failed; then nothing is left behind, and what stood there stands. */
ASSENT_API bool assent_notify_file(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
