#include "runtime/service.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <assent/log.h>

static void (*volatile stop_function)(void *);
static void *volatile stop_object;
static volatile sig_atomic_t signals_seen;

static void on_signal(int number)
{
        if (signals_seen++ || !stop_function)
                _exit(128 + number);
        stop_function(stop_object);
}

void assent_service_signals(void (*stop)(void *), void *object)
{
        stop_function = NULL; /* a signal in between must not call one with the other's object */
        stop_object = object;
        stop_function = stop;
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = on_signal;
        sigemptyset(&action.sa_mask);
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGINT, &action, NULL);
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
        sigaction(SIGXFSZ, &action, NULL); /* the write past a limit fails, and what it belongs to can say so */
}

enum assent_err assent_service_run(const struct assent_observer_source *source, enum assent_err (*turn)(void *object),
                                   void *object, const volatile int *stopping)
{
        char why[ASSENT_READY_SIZE_MAX] = "", told[ASSENT_READY_SIZE_MAX] = "";
        enum assent_err err = ASSENT_OK;
        bool ready = false;
        while (!err && !*stopping) {
                if (!ready && source->ready(source->context, why)) {
                        ready = true;
                        assent_notify("READY=1\nSTATUS=ready");
                } else if (!ready && strcmp(why, told) != 0) {
                        memcpy(told, why, sizeof told);
                        assent_notify("STATUS=%s", why);
                }
                err = turn(object);
        }
        assent_notify("STOPPING=1\nSTATUS=%s", err ? assent_err_text(err) : "stopping");
        return err;
}

void assent_service_failed(enum assent_err err, const char *errmsg)
{
        assent_log(ASSENT_LOG_ERROR, *errmsg ? errmsg : assent_err_text(err), ASSENT_TEXT("err", assent_err_name(err)));
}

bool assent_service_may_log(int64_t state[2], int64_t now_ms, int64_t per_second_max)
{
        if (now_ms - state[0] >= 1000) {
                state[0] = now_ms;
                state[1] = 0;
        }
        return state[1]++ < per_second_max;
}
