/* workload.c: what a seed means: how big the world is, which faults it has and how often, what its transactions are. As in
 * swarm testing no world has everything: what is always on hides what only its absence shows. See sim.h, faults.h. */
#include "faults.h"

#include <math.h>
#include <string.h>

#include <assent/participant.h>

/* The settings by default, as in roles.c: nothing here may be beyond them. */
enum { GRACE_MS = 200, SKEW_MS = 200, WINDOW_LEAST_MS = 1000 };

struct sim_fault_plan sim_fault_plan;

/* ---- the world and its faults: drawn before there is a world, so from numbers of their own ---- */

static uint64_t state;

static uint64_t draw(void) /* splitmix64 */
{
        uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

static int between(int least, int greatest)
{
        return least + (int)(draw() % (uint64_t)(greatest - least + 1));
}

/* Log-uniform: a tenth is as likely as ten times as much. */
static int64_t scale(double least, double greatest)
{
        double at = (double)(draw() >> 11) / (double)(UINT64_C(1) << 53);
        return (int64_t)(least * exp(at * log(greatest / least)));
}

static void draw_settings(struct sim_options *options)
{
        options->timeout_max_ms = scale(300, 1500);
        options->window_ms = 2 * options->timeout_max_ms + GRACE_MS + scale(100, 3000);
        if (options->window_ms < WINDOW_LEAST_MS)
                options->window_ms = WINDOW_LEAST_MS;
        options->horizon_ms = options->window_ms + SKEW_MS + 2 * options->timeout_max_ms + scale(5000, 20000);
        options->checkpoint_ms = scale(10, 300);
        options->batch_max = (int)scale(2, 1000);
}

static void draw_rates(struct sim_fault_plan *plan, bool (*on)(void))
{
        struct sim_cluster_faults *cluster = &plan->cluster;
        struct sim_disk_faults *disk = &plan->disk;
        struct {
                unsigned *rate;
                double least, greatest;
        } const rates[] = {
                {&plan->kill_point, 200, 5000},      {&plan->pause_point, 200, 10000},    {&plan->kill_call, 5, 200},
                {&plan->pause_call, 10, 1000},       {&plan->kill_again, 100000, 800000}, {&plan->skew, 50000, 1000000},
                {&plan->lose_tail, 100000, 1000000}, {&cluster->duplicate, 1000, 100000}, {&cluster->replay, 500, 30000},
                {&cluster->ack_late, 1000, 200000},  {&cluster->commit_lost, 10000, 500000},
                {&cluster->commit_late, 10000, 500000}, {&cluster->queue_full, 1000, 100000},
                {&cluster->old_end, 100000, 1000000}, {&disk->full, 10, 1000},            {&disk->write, 10, 1000},
                {&disk->sync, 10, 1000},             {&disk->kill, 10, 1000},
        };
        for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
                *rates[i].rate = on() ? (unsigned)scale(rates[i].least, rates[i].greatest) : 0;
        plan->skew_ms = on() ? scale(1000, 20000) : scale(10, 1000);
        cluster->send_us = scale(100, on() ? 50000 : 2000);
        cluster->ack_us = scale(100, on() ? 100000 : 2000);
        cluster->fetch_us = scale(100, on() ? 50000 : 2000);
        cluster->replay_us = scale(10000, 8000000);
}

static bool never(void)
{
        return false;
}

static bool always(void)
{
        return true;
}

static bool sometimes(void)
{
        return draw() % 3 == 0;
}

void sim_draw(struct sim_options *options)
{
        static const struct {
                double least, greatest;
        } periods[] = {
#define X(name, least_ms, greatest_ms) {1e3 * (least_ms), 1e3 * (greatest_ms)},
                SIM_TROUBLES(X)
#undef X
        };
        struct sim_fault_plan *plan = &sim_fault_plan;
        state = options->seed ^ UINT64_C(0x7377726d);
        options->lanes = between(1, 4);
        options->coordinators = between(1, 3);
        options->standbys = between(0, 2) == 0;
        options->services = between(2, 4);
        options->shards = options->lanes >= 2 && between(0, 3) == 0 ? 2 : 1;
        options->clients = between(1, 2);
        options->embedded = between(0, 9) == 0;
        draw_settings(options);
        memset(plan, 0, sizeof *plan);
        int mood = between(0, 19);
        bool (*on)(void) = mood == 0 ? never : mood == 1 ? always : sometimes;
        for (int i = 0; i < SIM_TROUBLE_sim_abort_first; i++)
                plan->period_us[i] = on() ? scale(periods[i].least, periods[i].greatest) : 0;
        draw_rates(plan, on);
        if (plan->period_us[SIM_TROUBLE_retain]) { /* DESIGN §14: what it removes was stamped by a clock that did not jump */
                plan->period_us[SIM_TROUBLE_set_clock] = 0;
                plan->skew = 0;
        }
        if (options->embedded) /* whose log has no way to be found by time, and so must be whole */
                plan->period_us[SIM_TROUBLE_retain] = 0;
        int64_t load_us = scale(plan->period_us[SIM_TROUBLE_retain] ? 12e6 : 3e6, 20e6);
        options->load_us = load_us / (options->transactions ? options->transactions : 1);
        options->quiet_us = load_us + scale(2e5, 2e6);
        options->events = between(0, 5) == 0;
        options->work = (unsigned)scale(5000, 50000);
        options->events_us = between(0, 3) == 0 ? scale(1e5, 5e6) : 0;
        options->cut_off_commits = between(0, 2) == 0;
        if (between(0, 3) == 0) /* just above what P12 asks for */
                options->horizon_ms = options->window_ms + SKEW_MS + 2 * options->timeout_max_ms + scale(1, 500);
        const int last = SIM_TROUBLE_sim_abort_first;
        plan->period_us[last] = on() ? scale(periods[last].least, periods[last].greatest) : 0;
        options->in_flight_soft = between(0, 3) == 0 ? (int)scale(2, 60) : 0;
        plan->cluster.refuse = on() ? (unsigned)scale(500, 20000) : 0;
        plan->cluster.queue_max = on() ? (unsigned)scale(4, 4000) : 0;
}

/* ---- the transactions: drawn in the world ---- */

static unsigned share(double least, double greatest)
{
        double at = (double)sim_below(1000001) / 1e6;
        return sim_below(3) == 0 ? 0 : (unsigned)(least * exp(at * log(greatest / least)));
}

/* Who only reads moves nothing, and what the others move adds up to 0. */
static void draw_branches(struct sim_transaction *transaction, unsigned no, unsigned read_only, unsigned retry)
{
        unsigned services = (unsigned)sim_options.services, first = (unsigned)sim_below(services);
        bool same = sim_below(20) == 0; /* one service in two branches */
        transaction->branches_count = (uint16_t)(1 + sim_below(services + same));
        struct sim_payload *mover = NULL;
        int32_t sum = 0;
        for (unsigned i = 0; i < transaction->branches_count; i++) {
                struct sim_payload *payload = &transaction->payloads[i];
                transaction->services[i] = (uint16_t)((first + i) % services);
                payload->number = (uint64_t)(transaction - sim_transactions);
                payload->vote = sim_chance(no)          ? ASSENT_VOTE_NO
                                : sim_chance(read_only) ? ASSENT_VOTE_READ_ONLY
                                                        : ASSENT_VOTE_YES;
                if (sim_chance(retry))
                        payload->retries = (uint8_t)sim_between(1, 3);
                if (sim_chance(retry))
                        payload->retries_later = (uint8_t)sim_between(1, 3);
                if (payload->vote == ASSENT_VOTE_READ_ONLY)
                        continue;
                mover = payload;
                sum += payload->amount = (int32_t)sim_between(-1000, 1000);
        }
        if (mover)
                mover->amount -= sum;
}

void sim_workload(void)
{
        int64_t timeout_max_ms = sim_options.timeout_max_ms ? sim_options.timeout_max_ms : 600;
        unsigned no = share(5000, 200000), read_only = share(10000, 300000), retry = share(2000, 100000);
        unsigned three = (unsigned)sim_below(5) * 250000, hasty = share(5000, 200000), completed = share(100000, 1000000);
        unsigned unknown = share(1000, 50000);
        for (unsigned i = 0; i < sim_transactions_count; i++) {
                struct sim_transaction *transaction = &sim_transactions[i];
                transaction->protocol = sim_chance(three) ? ASSENT_3PC : ASSENT_2PC;
                transaction->timeout_ms = (uint32_t)(sim_chance(hasty) ? sim_between(1, 60)
                                                                       : sim_between(timeout_max_ms / 2, 2 * timeout_max_ms));
                transaction->notify_completed = sim_chance(completed);
                draw_branches(transaction, no, read_only, retry);
                if (sim_chance(unknown)) {
                        transaction->services[sim_below(transaction->branches_count)] = (uint16_t)sim_options.services;
                        sim_count(SIM_UNDELIVERABLE);
                }
        }
}
