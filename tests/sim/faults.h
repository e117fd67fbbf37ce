/* faults.h: what a seed's faults are. workload.c draws them, faults.c and strangers.c carry them out. */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include "sim.h"

/* What strikes now and then: name, least and greatest mean time between two strikes, in milliseconds. */
#define SIM_TROUBLES(X)                         \
        X(kill_one, 150, 5000)                  \
        X(lose_power, 200, 5000)                \
        X(pause_one, 50, 2000)                  \
        X(pause_one_long, 1500, 8000)           \
        X(cut, 150, 5000)                       \
        X(clog_links, 1000, 5000)               \
        X(slow_down, 200, 4000)                 \
        X(move_leader, 100, 4000)               \
        X(set_clock, 400, 6000)                 \
        X(set_client_clock, 300, 3000)          \
        X(skip_offsets, 50, 2000)               \
        X(retain, 500, 1000)                    \
        X(rebalance, 100, 3000)                 \
        X(start_twin, 300, 6000) \
        X(expire_offsets, 200, 3000)            \
        X(kill_in_write, 200, 4000)             \
        X(sim_garbage, 20, 1000)                \
        X(sim_forge, 20, 1000)                  \
        X(sim_tick, 10, 1000)                   \
        X(sim_inquire, 20, 1000)                \
        X(sim_cancel, 50, 2000)                 \
        X(sim_begin_again, 20, 1000)            \
        X(sim_begin_stale, 50, 2000)            \
        X(sim_abort_first, 100, 3000)

enum sim_trouble {
#define X(name, least_ms, greatest_ms) SIM_TROUBLE_##name,
        SIM_TROUBLES(X)
#undef X
                SIM_TROUBLE_COUNT
};

/* Rates are in parts per million; what is 0 does not happen in this world. */
struct sim_fault_plan {
        int64_t period_us[SIM_TROUBLE_COUNT];
        unsigned kill_point, pause_point; /* at a crash point of the framework */
        unsigned kill_call, pause_call;   /* at a call of the bus */
        unsigned kill_again;              /* who was killed dies once more while it starts */
        unsigned skew, lose_tail;         /* of the moves of a leader */
        int64_t skew_ms;                  /* the most that clocks are off */
        struct sim_cluster_faults cluster;
        struct sim_disk_faults disk;
};
extern struct sim_fault_plan sim_fault_plan;

/* The crash points that were passed, up to the first one without a name. */
enum { SIM_POINTS_MAX = 64 };
struct sim_point {
        const char *name;
        uint64_t hits;
};
extern struct sim_point sim_points[SIM_POINTS_MAX];

#define SIM_INBOX        "assent.inbox"
#define SIM_OUTCOMES     "assent.outcomes"
#define SIM_COORDINATORS "assent.coordinator"

struct sim_log *sim_commands(unsigned service, int lane);
struct sim_log *sim_any_log(void);

/* strangers.c: records of nobody in the topics. */
void sim_strangers_open(void);
void sim_garbage(void);
void sim_forge(void);
void sim_tick(void);
void sim_inquire(void);
void sim_cancel(void);
void sim_begin_again(void);
void sim_begin_stale(void);
void sim_abort_first(void);

#endif
