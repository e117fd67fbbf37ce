#include "begins.h"

#include <pthread.h>

#include "../daemon.h"
#include "reads.h"
#include "waiters.h"

enum {
        QUEUE_MAX = 16384,
        CANCELS_MAX = 1024,
        REJECTED_MAX = 256,  /* more are found again by the next sweep */
        SWEEP_MAX = 200,     /* begun again in one turn */
        SWEEP_MS = 2000,     /* between two looks at what is open, at least; and how late an outcome may be */
        IDLE_MS = 5000,
        CANCEL_MS = 2000,      /* until a cancellation is asked for again, at first; … */
        CANCEL_MS_MAX = 16000, /* … twice as long each time, up to this */
        REOPEN_MS = 1000,
};
_Static_assert(SERVICE_ITEMS_MAX <= 100, "three payloads of so many lines fit into a record of 64 KiB");

/* Transaction ids, first in, first out. */
struct ring {
        size_t first, count, max;
        struct assent_uuid *ids;
};

struct rejected {
        struct assent_uuid txn_id;
        char verdict[16];
};

/* An abort that is asked for until there is an outcome. */
struct cancel {
        struct assent_uuid txn_id;
        int64_t due_ms, wait_ms;
};

struct begins {
        struct begins_options options;
        pthread_t thread;
        pthread_mutex_t mutex; /* over what follows, to the next comment */
        pthread_cond_t changed;
        struct ring queue;
        struct cancel cancels[CANCELS_MAX];
        size_t cancels_count;
        struct assent_client *client; /* replaced by the thread alone */
        bool stopping;
        /* The thread's own. */
        struct read *read;
        struct rejected rejected[REJECTED_MAX];
        size_t rejected_count;
        struct assent_uuid swept; /* up to here */
        int64_t sweep_born_ms;    /* what was born later is left alone */
        bool sweeping;
        int64_t sweep_at_ms, idle_at_ms;
};

static bool ring_push(struct ring *ring, const struct assent_uuid *id)
{
        if (ring->count == ring->max)
                return false;
        ring->ids[(ring->first + ring->count++) % ring->max] = *id;
        return true;
}

static bool ring_pop(struct ring *ring, struct assent_uuid *id)
{
        if (ring->count == 0)
                return false;
        *id = ring->ids[ring->first];
        ring->first = (ring->first + 1) % ring->max;
        ring->count--;
        return true;
}

static bool pop(struct begins *begins, struct assent_uuid *txn_id)
{
        pthread_mutex_lock(&begins->mutex);
        bool popped = ring_pop(&begins->queue, txn_id);
        pthread_mutex_unlock(&begins->mutex);
        return popped;
}

static bool stopping(struct begins *begins)
{
        pthread_mutex_lock(&begins->mutex);
        bool is = begins->stopping;
        pthread_mutex_unlock(&begins->mutex);
        return is;
}

void begins_add(struct begins *begins, const struct assent_uuid *txn_id)
{
        pthread_mutex_lock(&begins->mutex);
        bool pushed = ring_push(&begins->queue, txn_id);
        if (pushed && begins->queue.count == 1 && begins->client) /* with more the thread is on its way */
                assent_client_wake(begins->client);
        pthread_mutex_unlock(&begins->mutex);
}

/* With the mutex; cancels_count: there is none. */
static size_t cancel_of(const struct begins *begins, const struct assent_uuid *txn_id)
{
        size_t i = 0;
        while (i < begins->cancels_count && memcmp(&begins->cancels[i].txn_id, txn_id, sizeof *txn_id) != 0)
                i++;
        return i;
}

bool begins_cancel(struct begins *begins, const struct assent_uuid *txn_id)
{
        pthread_mutex_lock(&begins->mutex);
        const size_t i = cancel_of(begins, txn_id);
        const bool room = i < CANCELS_MAX;
        if (room) {
                begins->cancels[i] = (struct cancel){.txn_id = *txn_id, .wait_ms = CANCEL_MS};
                begins->cancels_count += i == begins->cancels_count;
                if (begins->client)
                        assent_client_wake(begins->client);
        }
        pthread_mutex_unlock(&begins->mutex);
        return room;
}

static void forget_cancel(struct begins *begins, const struct assent_uuid *txn_id)
{
        pthread_mutex_lock(&begins->mutex);
        const size_t i = cancel_of(begins, txn_id);
        if (i < begins->cancels_count)
                begins->cancels[i] = begins->cancels[--begins->cancels_count];
        pthread_mutex_unlock(&begins->mutex);
}

/* One that is to be asked for now. */
static bool take_cancel(struct begins *begins, int64_t now_ms, struct assent_uuid *txn_id)
{
        size_t i = 0;
        pthread_mutex_lock(&begins->mutex);
        while (i < begins->cancels_count && begins->cancels[i].due_ms > now_ms)
                i++;
        const bool found = i < begins->cancels_count;
        if (found) {
                struct cancel *cancel = &begins->cancels[i];
                *txn_id = cancel->txn_id;
                cancel->due_ms = now_ms + cancel->wait_ms;
                cancel->wait_ms = 2 * cancel->wait_ms < CANCEL_MS_MAX ? 2 * cancel->wait_ms : CANCEL_MS_MAX;
        }
        pthread_mutex_unlock(&begins->mutex);
        return found;
}

/* ---- begin ---- */

/* Looked into by evaluation once the client is free. */
static void note_rejected(struct begins *begins, const struct assent_uuid *txn_id, struct assent_bytes verdict)
{
        if (begins->rejected_count == REJECTED_MAX)
                return;
        struct rejected *rejected = &begins->rejected[begins->rejected_count++];
        rejected->txn_id = *txn_id;
        snprintf(rejected->verdict, sizeof rejected->verdict, "%.*s", (int)verdict.size,
                 verdict.size ? (const char *)verdict.data : "");
}

/* The members stand in this order for good: other bytes under the same id would be another transaction (R2). */
static bool make_payloads(const struct order_event *order, char *payloads[3])
{
        json_t *objects[3] = {
            json_pack("{s:s, s:s, s:I, s:O}", "order_id", order->order_id, "customer", order->customer, "total_cents",
                      (json_int_t)order->total_cents, "items", order->items),
            json_pack("{s:s, s:I, s:s}", "account", order->customer, "amount_cents", (json_int_t)order->total_cents, "payee",
                      "shop"),
            json_pack("{s:O}", "items", order->items),
        };
        bool made = true;

        for (int i = 0; i < 3; i++) {
                payloads[i] = objects[i] ? json_dumps(objects[i], JSON_COMPACT) : NULL;
                made &= payloads[i] != NULL;
                json_decref(objects[i]);
        }
        return made;
}

static enum assent_err send_begin(struct begins *begins, const struct order_row *row)
{
        static const char *const shares[3][2] = {{"order", "place"}, {"payment", "charge"}, {"inventory", "reserve"}};
        struct assent_begin begin = ASSENT_BEGIN_INIT;
        struct assent_begin_branch branches[3];
        char *payloads[3];
        enum assent_err err = make_payloads(&row->seen, payloads) ? ASSENT_OK : ASSENT_AGAIN;

        for (int i = 0; i < 3; i++)
                branches[i] = (struct assent_begin_branch){shares[i][0], shares[i][1],
                                                           {payloads[i], payloads[i] ? strlen(payloads[i]) : 0}};
        begin.txn_id = row->seen.txn_id;
        begin.timeout_ms = (uint32_t)row->timeout_ms;
        begin.branches = branches;
        begin.branches_count = 3;
        if (err == ASSENT_OK)
                err = assent_client_send(begins->client, &begin);
        for (int i = 0; i < 3; i++)
                free(payloads[i]);
        return err;
}

/* ASSENT_AGAIN: the queue to the broker is full. */
static enum assent_err begin_one(struct begins *begins, const struct assent_uuid *txn_id)
{
        struct order_row row;
        enum assent_err err = read_txn(begins->read, txn_id, &row);

        if (err == ASSENT_OK && row.timeout_ms > 0 && row.settled_ms == 0)
                err = send_begin(begins, &row);
        order_event_clear(&row.seen);
        if (err == ASSENT_E_LIMIT || err == ASSENT_E_ARGUMENT) /* as the coordinator would say */
                note_rejected(begins, txn_id, (struct assent_bytes){"LIMIT", 5});
        if (err != ASSENT_OK && err != ASSENT_AGAIN)
                assent_log(ASSENT_LOG_ERROR, "an order's transaction cannot be begun; it is tried again",
                           ASSENT_UUID("txn", txn_id), ASSENT_TEXT("err", assent_err_name(err)),
                           ASSENT_TEXT("error", assent_client_errmsg(begins->client)));
        return err == ASSENT_AGAIN ? err : ASSENT_OK;
}

static void begin_queued(struct begins *begins)
{
        struct assent_uuid txn_id;

        while (pop(begins, &txn_id))
                if (begin_one(begins, &txn_id) == ASSENT_AGAIN) {
                        begins_add(begins, &txn_id);
                        return;
                }
}

/* What is open although its time is over: a crash, or an outcome that nobody heard. */
static void sweep(struct begins *begins)
{
        const int64_t now_ms = waiters_now_ms();
        enum assent_err err = ASSENT_OK;

        if (!begins->sweeping && now_ms < begins->sweep_at_ms)
                return;
        if (!begins->sweeping)
                begins->sweep_born_ms = daemon_wall_ms() - begins->options.timeout_ms - SWEEP_MS;
        begins->sweeping = true;
        for (int i = 0; i < SWEEP_MAX && err == ASSENT_OK; i++) {
                struct assent_uuid txn_id = begins->swept;
                err = read_begun(begins->read, begins->sweep_born_ms, &txn_id);
                if (err == ASSENT_OK)
                        err = begin_one(begins, &txn_id);
                if (err == ASSENT_OK)
                        begins->swept = txn_id;
        }
        if (err == ASSENT_OK || err == ASSENT_AGAIN)
                return;
        begins->sweeping = false;
        begins->swept = (struct assent_uuid){{0}};
        begins->sweep_at_ms = now_ms + (begins->options.timeout_ms > SWEEP_MS ? begins->options.timeout_ms : SWEEP_MS);
}

/* The next sweep, at once, takes everything. */
static void sweep_all(struct begins *begins)
{
        begins->sweeping = true;
        begins->swept = (struct assent_uuid){{0}};
        begins->sweep_born_ms = daemon_wall_ms();
}

/* ---- outcomes ---- */

static void outcome(void *context, const struct assent_notice *notice)
{
        struct begins *begins = context;
        char reason[ASSENT_REASON_SIZE_MAX + 1];

        if (notice->outcome == ASSENT_COMMITTED || notice->outcome == ASSENT_ABORTED)
                forget_cancel(begins, &notice->txn_id);
        if ((notice->outcome != ASSENT_ABORTED && notice->outcome != ASSENT_REJECTED) ||
            !read_is_begun(begins->read, &notice->txn_id))
                return;
        if (notice->outcome == ASSENT_REJECTED) {
                note_rejected(begins, &notice->txn_id, notice->reason);
                return;
        }
        snprintf(reason, sizeof reason, "%.*s", (int)notice->reason.size,
                 notice->reason.size ? (const char *)notice->reason.data : "");
        begins->options.aborted(begins->options.context, &notice->txn_id, reason);
}

static void began(void *context, const struct assent_uuid *txn_id, enum assent_err err)
{
        if (err == ASSENT_E_TOO_LARGE)
                note_rejected(context, txn_id, (struct assent_bytes){"LIMIT", 5});
        if (err != ASSENT_OK)
                assent_log(ASSENT_LOG_ERROR, "the broker refused an order's transaction", ASSENT_UUID("txn", txn_id),
                           ASSENT_TEXT("err", assent_err_name(err)));
}

/* One begin was refused. Another copy of it may have been accepted, so the lane is asked; what it does not hold after one of
 * these three verdicts it never will (R2). */
static void look_into(struct begins *begins, const struct rejected *rejected)
{
        const char *verdict = rejected->verdict;
        const bool final = strcmp(verdict, "STALE") == 0 || strcmp(verdict, "LIMIT") == 0 || strcmp(verdict, "MISROUTED") == 0;
        struct assent_notice notice;
        char reason[64];

        if (!final && strcmp(verdict, "CONFLICT") != 0) {
                assent_log(ASSENT_LOG_WARN, "an order's transaction was refused; it is begun again later",
                           ASSENT_UUID("txn", &rejected->txn_id), ASSENT_TEXT("verdict", verdict));
                return;
        }
        enum assent_err err = assent_client_evaluate(begins->client, &rejected->txn_id, &notice);
        if (err == ASSENT_OK) {
                outcome(begins, &notice);
        } else if (err == ASSENT_E_NOT_FOUND && final) {
                snprintf(reason, sizeof reason, "refused: %s", verdict);
                begins->options.aborted(begins->options.context, &rejected->txn_id, reason);
        } else if (err != ASSENT_AGAIN) {
                assent_log(ASSENT_LOG_WARN, "the outcome of an order's transaction is not known yet",
                           ASSENT_UUID("txn", &rejected->txn_id), ASSENT_TEXT("verdict", verdict),
                           ASSENT_TEXT("error", assent_client_errmsg(begins->client)));
        }
}

/* Behind its begin, in the same lane. Nobody waits for the broker here: what it does not confirm in time is asked again. */
static void cancel_due(struct begins *begins)
{
        const int64_t now_ms = waiters_now_ms();
        struct assent_uuid txn_id;

        while (take_cancel(begins, now_ms, &txn_id)) {
                if (!read_is_begun(begins->read, &txn_id)) {
                        forget_cancel(begins, &txn_id);
                        continue;
                }
                enum assent_err err = assent_client_cancel(begins->client, &txn_id, "cancelled by DELETE", 0);
                if (err != ASSENT_OK && err != ASSENT_TIMED_OUT && err != ASSENT_AGAIN)
                        assent_log(ASSENT_LOG_WARN, "an order's transaction cannot be asked to abort",
                                   ASSENT_UUID("txn", &txn_id), ASSENT_TEXT("error", assent_client_errmsg(begins->client)));
        }
}

/* ---- the thread ---- */

static enum assent_err connect_client(struct begins *begins)
{
        struct assent_client_options options = ASSENT_CLIENT_OPTIONS_INIT;
        struct assent_client *client = NULL;

        options.config = begins->options.config;
        options.outcome = outcome;
        options.began = began;
        options.counts = begins->options.counts;
        options.context = begins;
        enum assent_err err = assent_client_open(&options, &client);
        if (err != ASSENT_OK) {
                assent_log(ASSENT_LOG_ERROR, "the client that begins transactions cannot be opened",
                           ASSENT_TEXT("err", assent_err_name(err)),
                           ASSENT_TEXT("error", client ? assent_client_errmsg(client) : ""));
                assent_client_close(client);
                return err;
        }
        pthread_mutex_lock(&begins->mutex);
        begins->client = client;
        if (begins->stopping)
                assent_client_stop(client);
        pthread_mutex_unlock(&begins->mutex);
        return ASSENT_OK;
}

static void disconnect_client(struct begins *begins)
{
        pthread_mutex_lock(&begins->mutex);
        struct assent_client *client = begins->client;
        begins->client = NULL;
        pthread_mutex_unlock(&begins->mutex);
        assent_client_close(client);
}

/* Waits until it makes sense to connect again. */
static void pause_reopen(struct begins *begins)
{
        const int64_t until_ms = waiters_now_ms() + REOPEN_MS;
        const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

        pthread_mutex_lock(&begins->mutex);
        while (!begins->stopping && waiters_now_ms() < until_ms)
                pthread_cond_timedwait(&begins->changed, &begins->mutex, &until);
        pthread_mutex_unlock(&begins->mutex);
}

static bool busy(struct begins *begins)
{
        pthread_mutex_lock(&begins->mutex);
        bool waiting = begins->queue.count > 0;
        pthread_mutex_unlock(&begins->mutex);
        return waiting || begins->rejected_count > 0 || begins->sweeping;
}

static void turn(struct begins *begins)
{
        begin_queued(begins);
        cancel_due(begins);
        if (begins->rejected_count > 0) {
                const struct rejected rejected = begins->rejected[--begins->rejected_count];
                look_into(begins, &rejected);
        }
        sweep(begins);
        if (waiters_now_ms() >= begins->idle_at_ms) {
                begins->idle_at_ms = waiters_now_ms() + IDLE_MS;
                begins->options.idle(begins->options.context);
        }
        enum assent_err err = assent_client_step(begins->client, busy(begins) ? 1 : 500);
        if (err == ASSENT_OK || err == ASSENT_AGAIN)
                return;
        assent_log(ASSENT_LOG_WARN, "the client that begins transactions is opened again",
                   ASSENT_TEXT("error", assent_client_errmsg(begins->client)));
        disconnect_client(begins);
        pause_reopen(begins);
}

static void *run(void *context)
{
        struct begins *begins = context;

        while (!stopping(begins)) {
                if (begins->client)
                        turn(begins);
                else if (connect_client(begins) == ASSENT_OK)
                        sweep_all(begins); /* outcomes have been missed */
                else
                        pause_reopen(begins);
        }
        return NULL;
}

static void free_all(struct begins *begins)
{
        disconnect_client(begins);
        read_close(begins->read);
        pthread_cond_destroy(&begins->changed);
        pthread_mutex_destroy(&begins->mutex);
        free(begins->queue.ids);
        free(begins);
}

enum assent_err begins_open(const struct begins_options *options, struct begins **out)
{
        struct begins *begins = calloc(1, sizeof *begins);
        pthread_condattr_t monotonic;

        *out = NULL;
        if (!begins)
                return ASSENT_E_MEMORY;
        begins->options = *options;
        pthread_mutex_init(&begins->mutex, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&begins->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
        begins->queue = (struct ring){.max = QUEUE_MAX, .ids = calloc(QUEUE_MAX, sizeof *begins->queue.ids)};
        enum assent_err err = begins->queue.ids ? ASSENT_OK : ASSENT_E_MEMORY;
        if (err == ASSENT_OK)
                err = read_open(assent_config_get(options->config, "assent.db"), &begins->read);
        if (err == ASSENT_OK)
                err = connect_client(begins);
        if (err == ASSENT_OK) {
                sweep_all(begins);
                begins->idle_at_ms = waiters_now_ms() + IDLE_MS;
                err = pthread_create(&begins->thread, NULL, run, begins) == 0 ? ASSENT_OK : ASSENT_E_MEMORY;
        }
        if (err != ASSENT_OK)
                free_all(begins);
        else
                *out = begins;
        return err;
}

void begins_close(struct begins *begins)
{
        if (!begins)
                return;
        pthread_mutex_lock(&begins->mutex);
        begins->stopping = true;
        if (begins->client)
                assent_client_stop(begins->client);
        pthread_cond_signal(&begins->changed);
        pthread_mutex_unlock(&begins->mutex);
        pthread_join(begins->thread, NULL);
        free_all(begins);
}
