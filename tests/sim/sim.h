/* sim.h: a world in one thread, made from a seed: processes that are fibers and run the real runtimes, a cluster that plays
 * Kafka, disks under the real SQLite, a clock that only moves when everybody waits. The same seed gives the same bytes.
 *
 *   world.c    clock, random numbers, events, fibers, life and death of processes, what the linker wraps
 *   kafka.c    the cluster, behind kafka/bus.h; kafka_group.c: consumers and their groups
 *   disk.c     the disks, behind SQLite's VFS
 *   roles.c    the programs that processes run: coordinators, participants with their handlers, clients
 *   workload.c what a world is like, drawn from the seed, and its transactions
 *   faults.c   what befalls it; strangers.c: records of nobody in the topics
 *   check.c    what must hold; check_events.c: of events and work; check_alarms.c: what must be said; check_bounds.c: what is
 *              consumed and used; check_audit.c: when the world is quiet
 *   stories.c  worlds with a name; matrix.c: every crash point
 *   main.c     seeds, jobs, counts
 *
 * How a process dies: it turns into a ghost. From that moment nothing that it does is seen by anybody: its bus drops what it
 * sends, its disk refuses to be written. Every call fails, so that its code unwinds to its main function, which closes what it
 * had opened; that is how its memory comes back. No time passes for a ghost. */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <assent/config.h>
#include <assent/log.h>

#include "core/message.h"

#define SIM_EPOCH_MS INT64_C(1700000000000) /* what every clock shows at the beginning, skew aside */

/* ---- random numbers (world.c): one stream per world, drawn in the order of events ---- */

uint64_t sim_random(void);
uint64_t sim_below(uint64_t limit);                  /* 0 … limit − 1; limit > 0 */
int64_t sim_between(int64_t least, int64_t greatest); /* both included */
bool sim_chance(unsigned parts_per_million);

/* ---- what befell (counted over all seeds; no count may be 0 in a long run) ---- */

#define SIM_FAULTS(X)                                                                                                   \
        X(KILL, "process killed")                                                                                       \
        X(KILL_POINT, "killed at a crash point")                                                                        \
        X(KILL_DISK, "killed inside a write to its disk")                                                               \
        X(KILL_AGAIN, "killed again while it started")                                                                  \
        X(POWER, "power lost")                                                                                          \
        X(WRITE_LOST, "un-synced write lost")                                                                           \
        X(WRITE_TORN, "un-synced write torn")                                                                           \
        X(WRITE_REORDERED, "un-synced write kept though an older one was lost")                                         \
        X(DISK_FULL, "disk full")                                                                                       \
        X(DISK_WRITE, "write refused by the disk")                                                                      \
        X(DISK_SYNC, "sync refused by the disk")                                                                        \
        X(PAUSE, "process stopped for a while")                                                                         \
        X(PAUSE_POINT, "stopped at a crash point")                                                                      \
        X(PAUSE_LONG, "stopped longer than its group waits")                                                            \
        X(CUT, "process cut off from the cluster")                                                                      \
        X(CUT_IN, "process hears nothing")                                                                              \
        X(CUT_OUT, "process is not heard")                                                                              \
        X(CLOG, "links cut one by one, restored in another order")                                                      \
        X(SLOW, "slow link")                                                                                            \
        X(ACK_DELAYED, "acknowledgement delayed")                                                                       \
        X(ACK_LOST, "acknowledgement lost with its sender")                                                             \
        X(SEND_LOST, "record lost with its sender")                                                                     \
        X(SEND_LATE, "record appended after its sender died")                                                           \
        X(DUPLICATE, "record appended twice")                                                                           \
        X(REPLAY, "old record appended again")                                                                          \
        X(LEADER, "leader moved")                                                                                       \
        X(TAIL_LOST, "unacknowledged tail lost with a leader")                                                          \
        X(OLD_END, "new leader shows an old end")                                                                       \
        X(CLOCK_AHEAD, "broker clock jumps ahead")                                                                      \
        X(CLOCK_BACK, "broker clock jumps back")                                                                        \
        X(CLIENT_CLOCK, "client clock wrong")                                                                           \
        X(GAP, "offsets skipped by a foreign transaction")                                                              \
        X(RETENTION, "old records removed")                                                                             \
        X(TWIN, "second process started beside the owner of a database")                                               \
        X(REBALANCE, "lanes rebalanced")                                                                                \
        X(OVERLAP, "two owners of one lane")                                                                            \
        X(COMMIT_LOST, "group commit lost")                                                                             \
        X(COMMIT_LATE, "group commit late")                                                                             \
        X(OFFSETS_EXPIRED, "group offsets expired")                                                                     \
        X(QUEUE_FULL, "send queue full")                                                                                \
        X(RETRY, "handler says RETRY")                                                                                  \
        X(GARBAGE, "garbage in a topic")                                                                                \
        X(FORGED, "forged message in a topic")                                                                          \
        X(BEGIN_AGAIN, "begin sent again")                                                                              \
        X(BEGIN_STALE, "begin from long ago")                                                                           \
        X(CANCEL, "cancel")                                                                                             \
        X(INQUIRE, "inquire")                                                                                           \
        X(TICK, "tick by a stranger")                                                                                   \
        X(UNDELIVERABLE, "begin for a service that does not exist")                                                     \
        X(CUT_OFF, "committed alone, cut off in PRE_COMMITTED")                                                         \
        X(ABORT_FIRST, "ABORT before its PREPARE")                                                                      \
        X(PREPARE_LAST, "PREPARE after its ABORT")                                                                      \
        X(CONFLICT, "command again with other contents")                                                                \
        X(CONTRADICTION, "branch frozen by a contradiction")                                                            \
        X(TAINTED, "transaction not judged any further, for a forgery may have changed it")                         \
        X(REFUSED, "command refused by its topic for good")                                                             \
        X(OVERLOAD, "begin shed, for too many are in flight")

enum sim_fault {
#define X(name, text) SIM_##name,
        SIM_FAULTS(X)
#undef X
                SIM_FAULT_COUNT
};

void sim_count(enum sim_fault fault);

/* ---- what was found ---- */

/* An invariant is broken ("I4", "liveness", …): kept if it is the first, and the world ends with this event. */
__attribute__((format(printf, 2, 3))) void sim_violation(const char *invariant, const char *format, ...);
bool sim_violated(void);
extern const char *sim_ignored; /* an invariant that may be broken; NULL: none */
/* A line of the narration, with the time and the process; nothing unless --narrate. */
__attribute__((format(printf, 1, 2))) void sim_note(const char *format, ...);
bool sim_narrates(void);
/* Mixes bytes into the run's hash: two runs of a seed must agree. */
void sim_trace(const void *data, size_t size);

/* ---- time and events ---- */

int64_t sim_now_us(void); /* since the world began */
static inline int64_t sim_now_ms(void)
{
        return sim_now_us() / 1000;
}
/* Runs `act(argument)` at that time (now, if it is past), on no process. Events of one moment run in the order in which they
 * were made. */
void sim_at(int64_t time_us, void (*act)(void *argument), void *argument);

/* ---- processes ---- */

enum sim_role { SIM_COORDINATOR, SIM_PARTICIPANT, SIM_CLIENT, SIM_ROLE_COUNT };
enum sim_death { SIM_KILLED, SIM_POWER_LOST };
enum sim_handle { SIM_BUS, SIM_CONSUMER, SIM_FILE, SIM_HANDLE_COUNT };

struct sim_fiber;
struct sim_disk;

struct sim_process {
        char name[24]; /* "coordinator-1" */
        enum sim_role role;
        int index;                                 /* among all processes */
        void (*main)(struct sim_process *process); /* returns when the process ends, or as a ghost */
        void (*ended)(struct sim_process *process); /* on no process; may start it again later */
        struct sim_disk *disk;                     /* NULL: none */
        void *app;                                 /* the role's own */
        /* world.c's */
        bool running, ghost;
        enum sim_death death;      /* of a ghost */
        unsigned lives;            /* starts so far */
        enum assent_err err;       /* with which it ended last by itself */
        int64_t paused_until_us;   /* it does nothing before */
        int64_t started_us;
        struct sim_fiber *fiber;
        /* kafka.c's */
        bool cut_in, cut_out;      /* hears nothing; is not heard */
        int64_t link_us;           /* added to every delay on its way */
        int handles[SIM_HANDLE_COUNT]; /* what it has open */
};

/* It opens one of these (1), or closes it (-1); the process may be NULL. */
void sim_hold(struct sim_process *process, enum sim_handle kind, int by);
/* The stacks that fibers have, bytes of address space. */
size_t sim_stacks_size(void);

/* The process whose code runs now; NULL for events, and in programs without processes (the contract suites). */
struct sim_process *sim_self(void);
/* True when nothing that the running process does may be seen any more. */
bool sim_ghost(void);

void sim_start(struct sim_process *process);
/* It is a ghost at once; its code unwinds before the clock moves, or when sim_kill's caller, if it is itself, calls anything
 * that blocks. Then its disk settles (disk.c), and `ended` runs. */
void sim_kill(struct sim_process *process, enum sim_death death);
/* Nothing of it runs before `until_us`. Its clock goes on. */
void sim_pause(struct sim_process *process, int64_t until_us);

/* Blocks the running process until `ready(argument)` holds (looked at once before, and whenever it is woken), or until the
 * deadline. False: the deadline passed, or it is a ghost. `ready` may be NULL: sleeps. Without a process, runs events. */
bool sim_wait(int64_t deadline_us, bool (*ready)(void *argument), void *argument);
/* Has a blocked process look again. */
void sim_wake(struct sim_process *process);
/* Called at every crash point of the framework, and by the bus at the beginning of its calls with NULL: the running process may
 * be made to wait there, or die. Set by faults.c, the matrix and the stories; NULL: nothing. */
extern void (*sim_at_point)(struct sim_process *process, const char *name);
/* A line of a process's own log, of level WARN and above, or of any when narrating. Set by check.c. */
extern void (*sim_logged)(const struct sim_process *process, enum assent_log_level level, const char *event,
                          const struct assent_field *fields, size_t count);

/* ---- a world's life ---- */

struct sim_options {
        uint64_t seed;
        unsigned transactions;
        bool narrate;
        bool calm;      /* no faults: for stories and the matrix, which bring their own */
        /* Drawn from the seed unless calm (faults.c). */
        int lanes, coordinators, clients, services, shards; /* a service's lanes may be shared out to `shards` databases */
        int standbys;         /* coordinators that stand by (R19), besides */
        bool events;          /* participants publish events and are handed work … */
        unsigned work;        /* … in so many turns of a million, until it is quiet */
        int64_t events_us;    /* when the events' topic is made; 0: at the beginning */
        bool embedded;        /* as on the embedded broker: CreateTime, no lookup by time, assigned coordinators */
        int64_t load_us;      /* mean time between two begins */
        int64_t quiet_us;     /* when the faults stop */
        /* Of every role's configuration; 0: what roles.c takes by default. */
        int64_t window_ms, timeout_max_ms, horizon_ms, checkpoint_ms;
        int batch_max;
        int in_flight_soft; /* of a lane */
        bool cut_off_commits; /* pre_commit_cut_off=commit (P7) */
};
extern struct sim_options sim_options;
static inline int64_t sim_horizon_ms(void)
{
        return sim_options.horizon_ms ? sim_options.horizon_ms : 5000;
}

void sim_world_open(const struct sim_options *options);
/* Every process becomes a ghost and unwinds; none starts again. */
void sim_end_all(void);
void sim_world_close(void);
/* Runs events until the time comes, `done` (may be NULL) holds, a violation is found, or nothing is left to do. */
void sim_run(int64_t until_us, bool (*done)(void));
/* The hash of everything that was traced. */
uint64_t sim_hash(void);

/* For main.c: the first violation of this world, or NULL. */
const char *sim_verdict(void);

/* ---- the cluster (kafka.c) ---- */

struct sim_record {
        int64_t timestamp_ms;
        uint32_t key_size, size, headers_size;
        const uint8_t *bytes; /* key, value, headers */
        bool marker;          /* a gap: no reader gets it */
};

struct sim_log {
        char topic[250];
        int lane;
        struct sim_record *records; /* [0 … high − 1]; those below `low` are gone for whoever asks for them now */
        int64_t low, high;          /* log start, end of what was appended */
        int64_t visible;            /* the high watermark: readers get what is below; lower than `high` for a moment */
};

void sim_cluster_open(void);
void sim_cluster_close(void);
/* Makes a topic with sim_options.lanes lanes. */
void sim_topic(const char *name);
/* Another one, whose records have at most so many bytes. */
void sim_topic_of(const char *name, int lanes, size_t bytes_max);
/* The last header of that name. */
bool sim_record_header(const struct sim_record *record, const char *name, struct assent_bytes *value);
/* NULL: no such topic or lane. */
struct sim_log *sim_log_of(const char *topic, int lane);
/* Appends at once, as the broker: its own clock stamps it. Returns the offset. */
int64_t sim_append(struct sim_log *log, const char *key, struct assent_bytes value);
/* Every record, once, also those of sim_append: called in the order of its lane when it becomes visible and so cannot be lost,
 * before anybody reads it; not for markers; again after sim_cluster_truncate. `sender` is NULL for sim_append and for
 * records of the dead. */
extern void (*sim_appended)(const struct sim_log *log, int64_t offset, const struct sim_process *sender);
/* A group's committed offset changed. */
extern void (*sim_committed)(const char *group, int lane, int64_t offset, struct assent_bytes metadata);
/* A consumer of that group begins to read a lane at `start`, beside the group's offset `committed`; or has read it up to there,
 * and gives it back. */
extern void (*sim_taken)(const struct sim_process *process, const struct sim_log *log, const char *group, int64_t start,
                         int64_t committed);
extern void (*sim_given_back)(const struct sim_process *process, const struct sim_log *log, const char *group, int64_t end);
/* The topic does not take a record, now and for ever; its sender, who lives, is told. */
extern void (*sim_refused)(const struct sim_log *log, struct assent_bytes value);
/* The group's offset as the broker has it; -1: none. */
int64_t sim_group_offset(const char *group, int lane);

/* What the world does to the cluster; faults.c and the stories call these. */
void sim_cluster_cut(struct sim_process *process, bool in, bool out); /* both false: heals */
void sim_cluster_slow(struct sim_process *process, int64_t extra_us);
/* The lane's leader goes: for `away_us` nobody can read or write it; unacknowledged records at its end may go with it; the new
 * one's clock is `clock_ms` off. */
void sim_cluster_leader(struct sim_log *log, int64_t away_us, int64_t clock_ms, bool lose_tail);
void sim_cluster_clock(int64_t offset_ms); /* of all leaders that did not get one of their own since */
void sim_cluster_gap(struct sim_log *log, int count);
void sim_cluster_retain(struct sim_log *log, int64_t low); /* removes what is below */
void sim_cluster_truncate(struct sim_log *log, int64_t end); /* loses acknowledged records: for stories only */
void sim_cluster_forget_group(const char *group, int lane);  /* its offset expired */
void sim_cluster_rebalance(const char *group);
/* Rates in parts per million, and greatest delays: what happens to single records. All 0 and false when faults stop. */
struct sim_cluster_faults {
        unsigned duplicate;      /* appended twice, the second a moment later */
        unsigned replay;         /* … and once more within replay_us */
        unsigned ack_late;       /* acknowledged up to ack_us later than others */
        unsigned commit_lost, commit_late; /* group commits; late ones may come after another owner's */
        unsigned queue_full;
        unsigned refuse;         /* commands: for good, though a copy that was on its way may come later */
        unsigned queue_max;      /* of a client, records; 0: UNREPORTED_MAX */
        unsigned old_end;        /* watermarks shows an end from before, within 500 ms after an election */
        int64_t send_us, ack_us, fetch_us, replay_us; /* greatest delays; at least 100 µs is taken */
};
extern struct sim_cluster_faults sim_cluster_faults;

/* ---- disks (disk.c) ---- */

/* Registers the VFS as SQLite's default, once. */
void sim_disks_open(void);
/* A disk lives as long as the world; what was synced outlives power cuts. Its files are those under `folder`, a real folder in
 * which nothing but lock files is made. */
struct sim_disk *sim_disk_new(const char *folder);
void sim_disk_free(struct sim_disk *disk);
/* The process that used it is gone (its files are closed): what of the un-synced writes is there afterwards. */
void sim_disk_settle(struct sim_disk *disk, enum sim_death death);
/* How often its files are open. */
int sim_disk_opens(const struct sim_disk *disk);
/* An old copy, and back to it: for stories. */
struct sim_disk_copy *sim_disk_save(const struct sim_disk *disk);
void sim_disk_restore(struct sim_disk *disk, const struct sim_disk_copy *copy);
void sim_disk_copy_free(struct sim_disk_copy *copy);
/* Faults, in parts per million of the calls. */
struct sim_disk_faults {
        unsigned full, write, sync, kill; /* kill: the process dies in the middle of a write or sync */
};
extern struct sim_disk_faults sim_disk_faults;
/* After so many further writes and syncs of this disk its process dies in the middle of one; −1: never. */
void sim_disk_kill_after(struct sim_disk *disk, int64_t calls);
int64_t sim_disk_calls(const struct sim_disk *disk);

/* ---- programs (roles.c) ---- */

/* The world's processes, [0 … count − 1]. */
extern struct sim_process *sim_processes[64];
extern int sim_processes_count;
void sim_roles_open(void);
void sim_roles_close(void);
extern bool sim_no_restart; /* what ends stays down */
extern bool sim_coordinators_gone; /* as long as this is set */
/* How far a client's wall clock is off, by the client's number. */
extern int64_t sim_client_skew_ms[8];
/* Asks every process to end as on SIGTERM; none starts again. True once they are all gone. */
void sim_roles_stop(void);
bool sim_roles_stopped(void);
/* Fills in sim_transactions (all but the ids): in faults.c, called by sim_roles_open unless sim_plan is set. */
void sim_workload(void);
extern void (*sim_plan)(void);
/* Another process with the same program and configuration, a participant's with the same database (whose disk stays the first
 * one's to lose). Not started. */
struct sim_process *sim_twin(const struct sim_process *process);
enum { SIM_SERVICES_MAX = 8 };
unsigned sim_service_of(const struct sim_process *participant);

/* What one branch is to do; the payload of a begin's branch, 16 bytes. */
struct sim_payload {
        int32_t amount;      /* added to the service's balance at commit; a transaction's amounts sum up to 0 */
        uint8_t vote;        /* enum assent_vote: YES, NO or READ_ONLY */
        uint8_t retries;     /* so often RETRY comes first, in prepare */
        uint8_t retries_later; /* … and in commit and abort */
        uint8_t reserved;
        uint64_t number;     /* the transaction's, in the order of the workload */
};

/* A transaction of the workload, as its client knows it. */
struct sim_transaction {
        struct assent_uuid txn_id;
        enum assent_protocol protocol;
        uint32_t timeout_ms;
        bool notify_completed;
        uint16_t branches_count;
        uint16_t services[8];
        struct sim_payload payloads[8];
        bool minted;         /* it has its id; its begin may have been sent */
        bool begun;          /* the broker acknowledged its begin */
        bool refused;        /* … or refused it: it never was */
        enum assent_outcome told; /* 0: nothing yet; what the client was told first: COMMITTED or ABORTED */
};
extern struct sim_transaction *sim_transactions;
extern unsigned sim_transactions_count;
/* The name of a service, "svc-0" …; NULL beyond sim_options.services. */
const char *sim_service_name(unsigned service);
/* A database that serves lanes of `service`: its path, or NULL beyond the last. For check.c, which opens it when the world is
 * quiet and its process has ended. */
const char *sim_database(unsigned service, int shard);

/* ---- events (roles.c, check_events.c) ---- */

#define SIM_EVENTS       "assent.events"
#define SIM_EVENTS_LANES 3
#define SIM_EVENT_MAX    1000 /* bytes of a record there: some events are larger, and refused */
enum { SIM_EVENT_KEYS = 3, SIM_DATABASES = 16 };

/* What an event says, and a row of its database's own table `event` says too. */
struct sim_event {
        uint32_t database; /* 2 × service + shard */
        uint32_t key;
        int64_t number; /* in its database, in order; one that was rolled back leaves its own to the next */
        uint64_t nonce; /* from 1 on, over all databases: a handler that runs again says another event */
};
uint64_t sim_event_nonce(void);
static inline bool sim_event_large(uint64_t nonce)
{
        return nonce % 37 == 0;
}
static inline bool sim_event_undone(uint64_t nonce) /* of work: rolls itself back */
{
        return nonce % 5 == 0;
}
/* It is known to be durable: it must get into the topic. `told`: by the `done` of work. */
void sim_event_durable(uint64_t nonce, bool told);
/* Whoever handed it in was told that it was rolled back. */
void sim_event_vain(uint64_t nonce);

/* ---- faults (faults.c) ---- */

/* Draws options and plans; starts the workload. */
void sim_draw(struct sim_options *options);
void sim_faults_open(void);
/* No more of them; every link is whole, every process that is down starts again. */
void sim_faults_stop(void);

/* ---- what must hold (check.c) ---- */

void sim_check_open(void);
void sim_check_close(void);
/* A participant's process has these positions in its database, durably. */
void sim_check_consumed(const struct sim_process *process, unsigned service, int lane, int64_t next, uint64_t chain);
/* I17, of the whole program: what a world took from the system it gives back. */
void sim_check_bounds_open(void);
void sim_check_bounds_close(void);
/* A process ended by itself, with this error of its runtime (ASSENT_OK: it was asked to). */
void sim_check_ended(const struct sim_process *process, enum assent_err err, const char *why);
/* True when everything that was begun is finished: every lane decided, every command handled and acknowledged. Cheap enough to
 * be asked after every simulated 50 ms. */
bool sim_check_finished(void);
/* The audit at the end, over logs and databases. */
void sim_check_audit(void);

#endif
