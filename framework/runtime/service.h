/* service.h: what the main() of every daemon does: arguments, signals, run, drain, exit status. */
#ifndef ASSENT_RUNTIME_SERVICE_H
#define ASSENT_RUNTIME_SERVICE_H

#include <assent/observe.h>

/* SIGTERM and SIGINT call stop(object) once; a second one ends the process at once with status 128 + number. With NULL
 * (before there is anything to drain, and after) the first one does. SIGPIPE and SIGXFSZ are ignored. `stop`
 * must be async-signal-safe. */
void assent_service_signals(void (*stop)(void *object), void *object);

/* Turns until *stopping, or until one fails. Tells the service manager what it waits for, READY=1 once, and STOPPING=1. */
enum assent_err assent_service_run(const struct assent_observer_source *source, enum assent_err (*turn)(void *object),
                                   void *object, const volatile int *stopping);

/* The line with which a daemon ends that failed; an empty errmsg stands for the code's own text. */
void assent_service_failed(enum assent_err err, const char *errmsg);

/* A log line of at most `per_second_max` a second for one kind of event: true when it may be written. `state` is two zeroed
 * numbers kept by the caller. */
bool assent_service_may_log(int64_t state[2], int64_t now_ms, int64_t per_second_max);

#endif
