/* faults.c: what befalls a world's processes, links, clocks and topics until it is quiet. Drawn in workload.c. See sim.h. */
#include "faults.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/panic.h"

/* Records that any late commit, slow replay or restarted reader might still ask for are not removed: what retention may go up
 * to is the least group offset of the last SAMPLES seconds, and for the inbox also behind W + S + timeout_max. */
enum { LANES_MAX = 4, SERVICES_MAX = 4, SAMPLES = 8, SKEW_MS = 200, MARGIN_MS = 3000, CLOGGED_MAX = 16 };

struct sim_point sim_points[SIM_POINTS_MAX];

static bool stopped;

/* ---- choosing ---- */

struct sim_log *sim_commands(unsigned service, int lane)
{
        char topic[64];
        snprintf(topic, sizeof topic, "assent.%s.commands", sim_service_name(service));
        return sim_log_of(topic, lane);
}

struct sim_log *sim_any_log(void)
{
        int lane = (int)sim_below((uint64_t)sim_options.lanes);
        unsigned choice = (unsigned)sim_below(5);
        return choice < 2   ? sim_log_of(SIM_INBOX, lane)
               : choice < 4 ? sim_commands((unsigned)sim_below((uint64_t)sim_options.services), lane)
                            : sim_log_of(SIM_OUTCOMES, lane);
}

/* Strangers have no business in the events' topic, faults do. */
static struct sim_log *any_log(void)
{
        if (sim_options.events && sim_below(6) == 0 && sim_log_of(SIM_EVENTS, 0))
                return sim_log_of(SIM_EVENTS, (int)sim_below(SIM_EVENTS_LANES));
        return sim_any_log();
}

/* One that lives; NULL if the one that was chosen does not. */
static struct sim_process *any_process(void)
{
        struct sim_process *process = sim_processes[sim_below((uint64_t)sim_processes_count)];
        return process->running && !process->ghost ? process : NULL;
}

/* Log-uniform, in microseconds from milliseconds. */
static int64_t some_time(double least_ms, double greatest_ms)
{
        double at = (double)sim_below(1000001) / 1e6;
        return (int64_t)(1e3 * least_ms * exp(at * log(greatest_ms / least_ms)));
}

/* The end of something that takes so long; not beyond the time of faults. */
static int64_t until(double least_ms, double greatest_ms)
{
        int64_t end_us = sim_now_us() + some_time(least_ms, greatest_ms);
        return end_us < sim_options.quiet_us ? end_us : sim_options.quiet_us;
}

/* ---- death ---- */

static struct {
        unsigned lives, looks;
} awaited[sizeof sim_processes / sizeof *sim_processes];

static void kill_again(void *argument)
{
        struct sim_process *process = argument;
        if (stopped || !process->running || process->ghost || process->lives != awaited[process->index].lives + 1)
                return;
        sim_count(SIM_KILL_AGAIN);
        sim_kill(process, sim_chance(300000) ? SIM_POWER_LOST : SIM_KILLED);
}

static void await_start(void *argument)
{
        struct sim_process *process = argument;
        if (stopped)
                return;
        if (process->running && process->lives != awaited[process->index].lives)
                sim_at(process->started_us + some_time(5, 300), kill_again, process);
        else if (awaited[process->index].looks-- > 0)
                sim_at(sim_now_us() + 5000, await_start, process);
}

static void die(struct sim_process *process, enum sim_death death, enum sim_fault fault)
{
        if (fault != SIM_POWER || !process->disk) /* a disk counts its own */
                sim_count(fault);
        sim_kill(process, death);
        if (sim_chance(sim_fault_plan.kill_again)) {
                awaited[process->index].lives = process->lives;
                awaited[process->index].looks = 200;
                sim_at(sim_now_us(), await_start, process);
        }
}

static void kill_one(void)
{
        struct sim_process *process = any_process();
        if (process)
                die(process, SIM_KILLED, SIM_KILL);
}

static void lose_power(void)
{
        struct sim_process *process = any_process();
        if (process)
                die(process, SIM_POWER_LOST, SIM_POWER);
}

static void kill_in_write(void)
{
        struct sim_process *process = any_process();
        if (process && process->disk)
                sim_disk_kill_after(process->disk, sim_between(0, 40));
}

/* ---- stops ---- */

static void stop_for_a_while(struct sim_process *process, enum sim_fault fault, double least_ms, double greatest_ms)
{
        sim_count(fault);
        sim_note("%s stops for a while", process->name);
        sim_pause(process, until(least_ms, greatest_ms));
}

static void pause_one(void)
{
        struct sim_process *process = any_process();
        if (process)
                stop_for_a_while(process, SIM_PAUSE, 1, 1000);
}

static void pause_one_long(void)
{
        struct sim_process *process = any_process();
        if (process)
                stop_for_a_while(process, SIM_PAUSE_LONG, 1600, 4000);
}

static void count_point(const char *name)
{
        struct sim_point *point = sim_points;
        while (point->name && point->name != name)
                point++;
        ASSENT_ASSERT(point < sim_points + SIM_POINTS_MAX - 1);
        point->name = name;
        point->hits++;
}

static void at_point(struct sim_process *process, const char *name)
{
        const struct sim_fault_plan *plan = &sim_fault_plan;
        if (name)
                count_point(name);
        if (stopped)
                return;
        if (sim_chance(name ? plan->kill_point : plan->kill_call))
                die(process, sim_chance(300000) ? SIM_POWER_LOST : SIM_KILLED, name ? SIM_KILL_POINT : SIM_KILL);
        else if (sim_chance(name ? plan->pause_point : plan->pause_call))
                stop_for_a_while(process, name ? SIM_PAUSE_POINT : SIM_PAUSE, 1, 3000);
}

/* ---- links ---- */

static void heal(void *argument)
{
        if (!stopped)
                sim_cluster_cut(argument, false, false);
}

/* One process, or all of its kind. */
static void cut(void)
{
        const struct sim_process *victim = sim_processes[sim_below((uint64_t)sim_processes_count)];
        bool all = sim_below(4) == 0;
        unsigned way = (unsigned)sim_below(3);
        int64_t end_us = until(20, 3000);
        for (int i = 0; i < sim_processes_count; i++) {
                struct sim_process *process = sim_processes[i];
                if (process != victim && (!all || process->role != victim->role))
                        continue;
                sim_cluster_cut(process, way != 2, way != 1);
                sim_at(end_us, heal, process);
        }
}

/* Swizzle-clogging: links are cut one by one and restored in another order. */
static struct {
        struct sim_process *victims[CLOGGED_MAX];
        size_t count, steps;
} clogged;

static void shuffle(struct sim_process **processes, size_t count)
{
        for (size_t i = count; i > 1; i--) {
                size_t j = sim_below(i);
                struct sim_process *process = processes[i - 1];
                processes[i - 1] = processes[j];
                processes[j] = process;
        }
}

static void clog_next(void *argument)
{
        (void)argument;
        if (stopped)
                return;
        size_t step = clogged.steps++, count = clogged.count;
        if (step == count)
                shuffle(clogged.victims, count);
        sim_cluster_cut(clogged.victims[step % count], step < count, step < count);
        if (clogged.steps == 2 * count)
                clogged.count = 0;
        else
                sim_at(sim_now_us() + some_time(5, 400), clog_next, NULL);
}

static void clog_links(void)
{
        struct sim_process *all[sizeof sim_processes / sizeof *sim_processes];
        if (clogged.count)
                return;
        memcpy(all, sim_processes, sizeof all);
        shuffle(all, (size_t)sim_processes_count);
        clogged.count = (size_t)sim_between(2, sim_processes_count < CLOGGED_MAX ? sim_processes_count : CLOGGED_MAX);
        memcpy(clogged.victims, all, clogged.count * sizeof *all);
        clogged.steps = 0;
        sim_count(SIM_CLOG);
        clog_next(NULL);
}

static void speed_up(void *argument)
{
        if (!stopped)
                sim_cluster_slow(argument, 0);
}

static void slow_down(void)
{
        struct sim_process *process = any_process();
        if (!process)
                return;
        sim_cluster_slow(process, some_time(1, 500));
        sim_at(until(100, 3000), speed_up, process);
}

/* ---- leaders and clocks ---- */

static int64_t some_skew(int64_t greatest_ms)
{
        int64_t ms = some_time(1, (double)greatest_ms + 1) / 1000;
        return sim_below(2) ? ms : -ms;
}

static void move_leader(void)
{
        int64_t skew_ms = sim_chance(sim_fault_plan.skew) ? some_skew(sim_fault_plan.skew_ms) : 0;
        sim_cluster_leader(any_log(), until(1, 1500) - sim_now_us(), skew_ms, sim_chance(sim_fault_plan.lose_tail));
}

static void set_clock(void)
{
        sim_cluster_clock(sim_below(3) ? some_skew(sim_fault_plan.skew_ms) : 0);
}

static void set_client_clock(void)
{
        int64_t *skew_ms = &sim_client_skew_ms[sim_below((uint64_t)sim_options.clients)];
        *skew_ms = sim_below(3) ? some_skew(sim_below(2) ? 300 : 6000) : 0;
        if (*skew_ms)
                sim_count(SIM_CLIENT_CLOCK);
}

/* ---- logs and groups ---- */

static void skip_offsets(void)
{
        sim_cluster_gap(any_log(), (int)sim_between(1, 3));
}

/* Whoever looks after processes takes a silent one for dead, and starts another beside it (P13). */
static void start_twin(void)
{
        struct sim_process *process = any_process();
        bool full = sim_processes_count == (int)(sizeof sim_processes / sizeof *sim_processes);
        if (full || !process || process->role != SIM_PARTICIPANT || strncmp(process->name, "twin", 4) == 0)
                return;
        sim_count(SIM_TWIN);
        struct sim_process *twin = sim_twin(process);
        twin->ended = NULL;
        if (sim_below(2))
                stop_for_a_while(process, SIM_PAUSE, 100, 3000);
        sim_start(twin);
}

static void rebalance(void)
{
        sim_cluster_rebalance(SIM_COORDINATORS);
}

static struct {
        int64_t offsets[1 + SERVICES_MAX][LANES_MAX][SAMPLES];
        unsigned count;
} sampled;

/* Those of coordinators only as long as the log is whole: without a checkpoint it is replayed from 0 (R13). */
static void expire_offsets(void)
{
        int lane = (int)sim_below((uint64_t)sim_options.lanes);
        char group[64] = SIM_COORDINATORS;
        unsigned service = (unsigned)sim_below((uint64_t)sim_options.services);
        if (sim_below(4))
                snprintf(group, sizeof group, "assent.%s", sim_service_name(service));
        else if (sim_log_of(SIM_INBOX, lane)->low > 0)
                return;
        if (sim_group_offset(group, lane) < 0)
                return;
        sim_cluster_forget_group(group, lane);
        for (int s = 0; s <= SERVICES_MAX; s++) /* who knew it may still read from its beginning */
                memset(sampled.offsets[s][lane], 0, sizeof sampled.offsets[s][lane]);
}

/* The first record that a story might need: the first of log time τ − W − S − timeout_max − margin or later. */
static int64_t first_young(const struct sim_log *log)
{
        int64_t tau_ms = INT64_MIN, first = log->low;
        for (int64_t i = log->low; i < log->high; i++)
                if (!log->records[i].marker && log->records[i].timestamp_ms > tau_ms)
                        tau_ms = log->records[i].timestamp_ms;
        if (tau_ms > SIM_EPOCH_MS + sim_now_ms()) /* what a clock ahead has stamped is kept for longer, by brokers too */
                tau_ms = SIM_EPOCH_MS + sim_now_ms();
        tau_ms -= sim_options.window_ms + SKEW_MS + sim_options.timeout_max_ms + MARGIN_MS;
        while (first < log->high && (log->records[first].marker || log->records[first].timestamp_ms < tau_ms))
                first++;
        return first;
}

static void retain_lane(struct sim_log *log, const int64_t offsets[SAMPLES], int64_t low)
{
        for (int i = 0; i < SAMPLES; i++)
                if (offsets[i] < low)
                        low = offsets[i];
        if (low > log->low && sim_below(2))
                sim_cluster_retain(log, low);
}

/* Every participant has read the settings, once and for all: it has put its mark beside its group's offset (P11). */
static bool settings_known(void)
{
        for (int s = 1; s <= sim_options.services; s++)
                for (int lane = 0; lane < sim_options.lanes; lane++)
                        for (int i = 0; i < SAMPLES; i++)
                                if (sampled.offsets[s][lane][i] < 0)
                                        return false;
        return true;
}

static void look_at_offsets(void *argument)
{
        char group[64] = SIM_COORDINATORS;
        if (stopped)
                return;
        for (int s = 0; s <= sim_options.services; s++) {
                if (s > 0)
                        snprintf(group, sizeof group, "assent.%s", sim_service_name((unsigned)s - 1));
                for (int lane = 0; lane < sim_options.lanes; lane++)
                        sampled.offsets[s][lane][sampled.count % SAMPLES] = sim_group_offset(group, lane);
        }
        sampled.count++;
        sim_at(sim_now_us() + 1000000, look_at_offsets, argument);
}

static void retain(void)
{
        if (sampled.count < SAMPLES)
                return;
        bool known = settings_known();
        for (int lane = 0; lane < sim_options.lanes; lane++) {
                struct sim_log *inbox = sim_log_of(SIM_INBOX, lane);
                if (known)
                        retain_lane(inbox, sampled.offsets[0][lane], first_young(inbox));
                for (int s = 0; s < sim_options.services; s++)
                        retain_lane(sim_commands((unsigned)s, lane), sampled.offsets[1 + s][lane], INT64_MAX);
        }
}

/* ---- when ---- */

static struct trouble {
        const char *name;
        void (*strike)(void);
} troubles[] = {
#define X(name, least_ms, greatest_ms) {#name, name},
        SIM_TROUBLES(X)
#undef X
};

static void strike(void *argument);

static void strike_later(struct trouble *trouble)
{
        double wait = -log(1 - (double)sim_below(1000000) / 1e6);
        sim_at(sim_now_us() + (int64_t)(wait * (double)sim_fault_plan.period_us[trouble - troubles]), strike, trouble);
}

static void strike(void *argument)
{
        struct trouble *trouble = argument;
        if (stopped)
                return;
        trouble->strike();
        strike_later(trouble);
}

static void tell_world(void)
{
        const struct sim_options *o = &sim_options;
        sim_note("%s broker: %d lanes, %d coordinators, %d services with %d databases each, %d clients",
                 o->embedded ? "embedded" : "real", o->lanes, o->coordinators, o->services, o->shards, o->clients);
        sim_note("window %" PRId64 " ms, longest timeout %" PRId64 " ms, horizon %" PRId64 " ms; faults until %" PRId64 " ms",
                 o->window_ms, o->timeout_max_ms, o->horizon_ms, o->quiet_us / 1000);
        for (size_t i = 0; i < SIM_TROUBLE_COUNT; i++)
                if (sim_fault_plan.period_us[i])
                        sim_note("%s: every %" PRId64 " ms", troubles[i].name, sim_fault_plan.period_us[i] / 1000);
}

void sim_faults_open(void)
{
        if (sim_options.calm)
                memset(&sim_fault_plan, 0, sizeof sim_fault_plan);
        sim_strangers_open();
        tell_world();
        stopped = false;
        clogged.count = 0;
        memset(&sampled, 0, sizeof sampled);
        sim_cluster_faults = sim_fault_plan.cluster;
        sim_disk_faults = sim_fault_plan.disk;
        sim_at_point = at_point;
        for (size_t i = 0; i < SIM_TROUBLE_COUNT; i++)
                if (sim_fault_plan.period_us[i])
                        strike_later(&troubles[i]);
        if (sim_fault_plan.period_us[SIM_TROUBLE_retain])
                look_at_offsets(NULL);
}

/* Clocks stay where they are: a leader's clock that steps now would be one more fault. Nobody is stopped beyond this time. */
void sim_faults_stop(void)
{
        stopped = true;
        sim_note("no more faults");
        sim_cluster_faults = (struct sim_cluster_faults){0};
        sim_disk_faults = (struct sim_disk_faults){0};
        memset(sim_client_skew_ms, 0, sizeof sim_client_skew_ms);
        for (int i = 0; i < sim_processes_count; i++) {
                sim_cluster_cut(sim_processes[i], false, false);
                sim_cluster_slow(sim_processes[i], 0);
                if (sim_processes[i]->disk)
                        sim_disk_kill_after(sim_processes[i]->disk, -1);
        }
}
