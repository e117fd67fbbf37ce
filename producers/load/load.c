#include "load.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

/* What is not answered this long after its deadline is counted as unknown. */
#define OVERDUE_MS 15000
/* Begun in one turn: then what has come back is looked at. */
#define BURST_MAX 1000
/* What was due before the end is still begun for so long after it; what is later lags too much to be waited for. */
#define GRACE_US 500000
/* A turn waits for whole milliseconds; what is left until the next arrival is slept in naps, */
#define NAP_US 200
/* unless arrivals are so far apart. */
#define FAR_US 250

bool load_open(struct load *load, const struct settings *settings)
{
        *load = (struct load){.settings = settings};
        return workload_open(&load->workload, settings) && slots_open(&load->slots, (size_t)settings->in_flight);
}

void load_close(struct load *load)
{
        raw_close(&load->raw);
        order_close(&load->order);
        workload_close(&load->workload);
        results_close(&load->results);
        if (load->slots.slots)
                slots_close(&load->slots);
}

void load_stop(struct load *load)
{
        load->stopped = 1;
        raw_stop(&load->raw);
}

/* ---- the way in ---- */

static enum assent_err way_open(struct load *load, const struct assent_config *config)
{
        return load->settings->url ? order_open(&load->order, load) : raw_open(&load->raw, config, load);
}

static enum assent_err way_send(struct load *load)
{
        return load->settings->url ? order_send(&load->order, load->draft) : raw_send(&load->raw, load->draft);
}

static enum assent_err way_step(struct load *load, int timeout_ms)
{
        return load->settings->url ? order_step(&load->order, timeout_ms) : raw_step(&load->raw, timeout_ms);
}

const char *load_errmsg(const struct load *load, enum assent_err err)
{
        if (load->settings->url)
                return *load->order.errmsg ? load->order.errmsg : assent_err_text(err);
        return raw_errmsg(&load->raw, err);
}

static struct tally *tally_of(struct load *load, bool measured)
{
        return measured ? &load->results.measured : &load->results.warm_up;
}

/* --- what comes back ---------------------------------------------------------------------------------------------- */

static void drop(struct load *load, struct slot *slot, enum ending ending, int64_t now)
{
        results_ended(&load->results, slot->measured, ending, now - slot->begun_us, now);
        slots_remove(&load->slots, slot);
}

/* Keeps the first reason. It is a foreign text, and this one goes to a terminal. */
static void keep_reason(char kept[ASSENT_REASON_SIZE_MAX + 1], struct assent_bytes reason)
{
        const char *text = reason.data;

        for (size_t i = 0; kept[0] == '\0' || i > 0; i++) {
                if (i == reason.size || i == ASSENT_REASON_SIZE_MAX)
                        return;
                kept[i] = text[i];
                if ((unsigned char)kept[i] < ' ' || kept[i] == 0x7f)
                        kept[i] = '?';
        }
}

void load_copy_rejected(struct load *load, const struct assent_uuid *txn_id, struct assent_bytes reason)
{
        struct slot *slot = slots_find(&load->slots, txn_id);

        if (!slot)
                return; /* somebody else's, or told once already */
        keep_reason(load->results.first_rejection, reason);
        /* The transaction is rejected only when no other copy is left (C2). */
        if (slot->copies > 1)
                slot->copies--;
        else
                drop(load, slot, ENDED_REJECTED, now_us());
}

void load_copy_held(struct load *load, const struct assent_uuid *txn_id, bool held, struct assent_bytes why_not)
{
        load->unheld--;
        assert(load->unheld >= 0);
        if (!held)
                load_copy_rejected(load, txn_id, why_not);
}

void load_ended(struct load *load, const struct assent_uuid *txn_id, bool committed, struct assent_bytes reason)
{
        struct slot *slot = slots_find(&load->slots, txn_id);

        if (!slot)
                return;
        if (slot->copies > 1)
                tally_of(load, slot->measured)->absorbed++;
        if (!committed && !slot->refuse)
                keep_reason(load->results.first_abort, reason);
        drop(load, slot, committed ? ENDED_COMMITTED : ENDED_ABORTED, now_us());
}

void load_lost(struct load *load, const struct assent_uuid *txn_id, struct assent_bytes why)
{
        struct slot *slot = slots_find(&load->slots, txn_id);

        keep_reason(load->results.first_rejection, why);
        if (slot)
                drop(load, slot, ENDED_UNKNOWN, now_us());
}

void load_copy_answered(struct load *load)
{
        load->unheld--;
        assert(load->unheld >= 0);
}

void load_absorbed(struct load *load, bool measured)
{
        tally_of(load, measured)->absorbed++;
}

/* --- what is begun ------------------------------------------------------------------------------------------------ */

/* When the next transaction is to begin; INT64_MAX: when one has ended. */
static int64_t next_due_us(const struct load *load, int64_t now)
{
        if (load->slots.used == (size_t)load->settings->in_flight)
                return INT64_MAX;
        return load->settings->rate > 0 ? load->start_us + (int64_t)load->arrivals.next_us : now;
}

static int64_t end_us(const struct load *load)
{
        return load->settings->duration_ms ? load->results.begin_us + load->settings->duration_ms * 1000 : INT64_MAX;
}

static bool counted_all(const struct load *load)
{
        return load->settings->count && load->results.measured.begun == (uint64_t)load->settings->count;
}

static bool begun_all(const struct load *load, int64_t now, int64_t due)
{
        const int64_t end = end_us(load);

        return load->results.measuring &&
               (counted_all(load) || (due != INT64_MAX && due >= end) || now - GRACE_US >= end);
}

static bool warm(const struct load *load, int64_t now)
{
        return load->results.warm_up.begun >= (uint64_t)load->settings->warm_up_count &&
               now - load->start_us >= load->settings->warm_up_ms * 1000;
}

static enum assent_err begin_one(struct load *load, int64_t now, int64_t due)
{
        struct results *results = &load->results;

        if (!load->draft)
                load->draft = workload_draw(&load->workload);
        const enum assent_err err = way_send(load);
        if (err != ASSENT_OK)
                return err;
        struct slot *slot = slots_put(&load->slots, &load->draft->begin.txn_id);
        slot->begun_us = due;
        slot->sent_us = now;
        slot->measured = results->measuring;
        slot->refuse = load->draft->refuse;
        load->unheld++;
        results_begun(results, now - due);
        if (load->settings->rate > 0)
                arrivals_pass(&load->arrivals);
        if (load->settings->url && load->draft->twice) { /* order_send has sent, or will send, both */
                load->unheld++;
                tally_of(load, results->measuring)->twice++;
        }
        load->repeat = load->draft->twice && !load->settings->url;
        if (!load->repeat)
                load->draft = NULL;
        return ASSENT_OK;
}

static enum assent_err repeat_one(struct load *load)
{
        struct slot *slot = slots_find(&load->slots, &load->draft->begin.txn_id);
        const enum assent_err err = raw_send(&load->raw, load->draft);

        if (err != ASSENT_OK)
                return err;
        if (slot) /* else it has ended already, while there was no room for this */
                slot->copies++;
        tally_of(load, load->results.measuring)->twice++;
        load->unheld++;
        load->draft = NULL;
        load->repeat = false;
        return ASSENT_OK;
}

/* Begins what is due. */
static enum assent_err begin_due(struct load *load)
{
        enum assent_err err = ASSENT_OK;

        for (int i = 0; i < BURST_MAX && err == ASSENT_OK && !load->no_more; i++) {
                const int64_t now = now_us();
                if (!load->results.measuring && warm(load, now))
                        results_measure(&load->results, now);
                const int64_t due = next_due_us(load, now);
                if (load->repeat)
                        err = repeat_one(load);
                else if (begun_all(load, now, due))
                        load->no_more = true;
                else if (due <= now)
                        err = begin_one(load, now, due);
                else
                        break;
        }
        return err == ASSENT_AGAIN ? ASSENT_OK : err;
}

/* Of the schedule, what lies between the first begin that was not made and the end. */
static void count_not_begun(struct load *load)
{
        struct results *results = &load->results;
        const int64_t due = load->start_us + (int64_t)load->arrivals.next_us;
        const int64_t end = load->stopped || counted_all(load) ? due : end_us(load);

        if (load->settings->rate == 0 || due >= end)
                return;
        results->not_begun = (uint64_t)ceil((double)(end - due) / load->arrivals.gap_us);
        if (end - due > results->lag_max_us)
                results->lag_max_us = end - due;
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

/* Gives up on what is overdue. Removing may move a slot into one that was passed: then the next sweep finds it. */
static void sweep(struct load *load, int64_t now)
{
        const int64_t oldest_us = now - (load->settings->timeout_ms + OVERDUE_MS) * 1000;

        load->swept_us = now;
        for (size_t i = 0; i <= load->slots.mask; i++)
                if (load->slots.slots[i].copies && load->slots.slots[i].sent_us < oldest_us)
                        drop(load, &load->slots.slots[i], ENDED_UNKNOWN, now);
}

static void progress(const struct load *load, const struct second *second, int64_t now)
{
        const uint64_t told = second->ended[ENDED_COMMITTED] + second->ended[ENDED_ABORTED];
        const bool terminal = isatty(STDERR_FILENO);

        if (load->settings->quiet)
                return;
        fprintf(stderr,
                "%s%5.0f s %8.0f tx/s %7zu in flight  p50 %.1f ms  p99 %.1f ms  max %.1f ms  %" PRIu64
                " aborted  %" PRIu64 " rejected%s%s",
                terminal ? "\r\033[K" : "", (double)(now - load->start_us) / 1e6, (double)told / second->seconds,
                second->in_flight, (double)second->p50_us / 1e3, (double)second->p99_us / 1e3,
                (double)second->max_us / 1e3, second->ended[ENDED_ABORTED], second->ended[ENDED_REJECTED],
                load->results.measuring ? "" : "  warm-up", terminal ? "" : "\n");
}

/* How long to wait for something to come: in milliseconds, or if it is too short for that, asleep. Begins that are far apart
 * may come a little late, up to a millisecond, and not linger: who does not wait at all is taken for busy. */
static int wait_ms(const struct load *load)
{
        const int64_t now = now_us(), due = load->no_more ? INT64_MAX : next_due_us(load, now);
        const int64_t left_us = due == INT64_MAX ? 100000 : due - now;

        if (left_us >= 1000)
                return left_us < 100000 ? (int)(left_us / 1000) : 100;
        if (left_us > 0 && load->arrivals.gap_us >= FAR_US)
                return 1;
        if (left_us > 0)
                usleep((useconds_t)(left_us < NAP_US ? left_us : NAP_US));
        return 0;
}

/* A second copy may still be on its way when all outcomes are known: it is waited for. */
static bool finished(const struct load *load)
{
        return load->no_more && load->slots.used == 0 && load->unheld == 0;
}

/* What is in flight is left to its fate. */
static void end(struct load *load)
{
        const int64_t now = now_us();

        count_not_begun(load);
        results_end(&load->results, now, load->slots.used);
        for (size_t i = 0; i <= load->slots.mask; i++)
                if (load->slots.slots[i].copies)
                        tally_of(load, load->slots.slots[i].measured)->ended[ENDED_UNKNOWN]++;
        if (!load->settings->quiet && isatty(STDERR_FILENO) && now - load->start_us >= 1000000)
                fputc('\n', stderr); /* behind the line of progress */
}

enum assent_err load_run(struct load *load, const struct assent_config *config)
{
        enum assent_err err = way_open(load, config);
        struct second second;

        if (err != ASSENT_OK)
                return err;
        load->start_us = load->swept_us = now_us();
        results_open(&load->results, load->start_us);
        if (load->settings->rate > 0)
                arrivals_start(&load->arrivals, load->settings->rate, load->settings->poisson,
                               (uint64_t)load->settings->seed);
        while (err == ASSENT_OK && !load->stopped && !finished(load)) {
                err = begin_due(load);
                if (err == ASSENT_OK)
                        err = way_step(load, load->draft ? 1 : wait_ms(load));
                const int64_t now = now_us();
                while (results_tick(&load->results, now, load->slots.used, &second))
                        progress(load, &second, now);
                if (now - load->swept_us >= 1000000)
                        sweep(load, now);
        }
        end(load);
        return load->stopped ? ASSENT_OK : err;
}
