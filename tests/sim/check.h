/* check.h: the judge. It reads every record that is appended, evaluates every lane by the slow model of the rules
 * (tests/fuzz/lane_model.c), and holds everything that the programs say, commit and store against that: check.c while the
 * world runs, check_audit.c when it is quiet; check_events.c what participants publish besides; check_alarms.c what must be
 * said aloud; check_bounds.c what is consumed (I7) and used (I17). */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "sim.h"

#include "core/participant.h"
#include "fuzz/lane_model.h"

/* Around sim_append, for records that nobody who keeps the rules would write: they are not judged, but who believes them may
 * be excused (DESIGN §10, 4). */
void sim_check_foreign(bool on);
/* Processes may refuse to go on: E_OWNER, E_POSITION, E_CHECKPOINT, E_DIGEST. For stories about logs and databases that are
 * not what they were, or have two owners. */
extern bool sim_check_refusals_allowed;
/* pre_commit_cut_off=commit (P7). */
extern bool sim_check_cut_off_allowed;

/* ---- the judge's own ---- */

enum { CHECK_INBOX = -1, CHECK_OUTCOMES = -2 }; /* else the number of a service */
enum { CHECK_NOBODY = 0xffff, CHECK_FIRST = 0, CHECK_PRE_COMMIT, CHECK_DECISION, CHECK_SLOTS };

/* What is known of a record. */
struct check_mark {
        uint64_t sequence; /* among all appends; 0: it was there before the judge */
        int64_t tau_ms;    /* log time after it */
        uint64_t digest;   /* the inbox: the state after it, and R12's hold then */
        int64_t hold_ms;
        uint32_t emission; /* commands and outcomes: which one it is, from 1 on */
        uint8_t verdict;   /* the inbox; commands: whether MALFORMED */
        bool told;         /* the inbox: a coordinator has said that it is refused */
        bool copied;       /* … whoever read it, that it goes to the dead letters */
        bool foreign;
};

/* A lane of a topic. */
struct check_log {
        const struct sim_log *log;
        int lane, topic;
        struct check_mark *marks;
        int64_t marks_max;
        int64_t tau_ms;    /* greatest timestamp */
        int64_t processed; /* a service's: below it every command is known to be answered (P2) */
        int64_t position, cursor; /* a service's: those of its database in the last audit */
        int64_t consumed; /* a service's: its database's position, known to be durable … */
        uint64_t chain;   /* … and P11's hash over the records below it */
        int64_t announced; /* the end, when sim_check_foreign was called last */
        int64_t finished;  /* the end, when everything was finished: an old copy may still come, when nobody reads any more */
};

/* A message that follows from a lane; its last copy, and where it belongs. */
struct check_emission {
        struct model_print print;
        struct check_log *home; /* NULL: a service without a topic */
        int64_t copy;           /* -1: none yet */
        uint64_t refused;       /* a first phase that its topic did not take (R18): when, among all appends */
};

/* A record that an emission follows from. */
struct check_source {
        int64_t offset;
        uint32_t emission;
};

/* A lane of the inbox. */
struct check_lane {
        struct model *model;
        struct check_log *inbox;
        int64_t next, told; /* refusals below `told` are known to have been told (R15) */
        bool lost; /* acknowledged records are gone: what it says now is nobody's fault */
        struct check_source *sources;
        size_t sources_count, sources_max, published; /* those below are known to stand in their topics (R12) */
        unsigned crowded, shed; /* begins accepted above the soft limit; told to go (R16) */
};

/* A genuine answer. */
struct check_answer {
        enum assent_phase phase; /* 0: none */
        enum assent_answer answer;
        uint64_t digest, lamport;
};

/* What databases have of a branch, in the audit of that number. */
struct check_row {
        unsigned audit, rows, holds, entries; /* entries: in the ledger */
        enum assent_branch_state state;
        enum assent_answer vote;
        bool pre_committed; /* has answered PRE_COMMIT */
        enum assent_phase decision;
        int unpublished;
};

struct check_branch {
        unsigned service; /* CHECK_NOBODY: it has no topic */
        bool has_payload;
        struct sim_payload payload;
        enum assent_answer vote; /* that counted in the lane */
        struct check_answer answers[CHECK_SLOTS];
        int64_t first; /* offset of its first command, + 1; 0: there is none yet */
        bool asked;    /* for PRE_COMMIT */
        bool inquired; /* it may know the decision from the lane (P10) */
        bool cut_off;  /* it has said that it decides alone (P7) */
        struct check_row row;
};

struct check_txn {
        struct assent_uuid id;
        int lane;
        bool accepted;
        enum assent_verdict refusal; /* of the first begin that was not accepted */
        bool refused;
        enum assent_protocol protocol;
        unsigned count;
        int64_t timeout_ms, deadline_ms, second_deadline_ms; /* d; d₂ once PRE_COMMIT follows */
        enum assent_outcome outcome;     /* 0: undecided */
        bool pre_commit;
        bool tainted; /* somebody may have believed what was forged about it */
        unsigned owing; /* branches that have not answered the decision */
        unsigned in_flight; /* in its lane with it, at most, when it was accepted */
        struct check_branch branches[MODEL_BRANCHES];
};

/* Numbers by id: open addressing, never more than half full. */
struct check_index {
        const struct assent_uuid *(*id_of)(uint32_t number);
        uint32_t *slots; /* number + 1; 0: free */
        uint32_t size, count;
};

struct check {
        struct assent_codec *codec;
        bool foreign;
        uint64_t *foreigners; /* hashes of what was forged */
        size_t foreigners_count;
        struct check_log *logs;
        size_t logs_count;
        struct check_lane *lanes;
        int lanes_count;
        struct check_emission *emissions;
        struct check_txn **txns;
        struct check_index emissions_index, txns_index; /* their counts are those of the arrays */
        uint64_t sequence;
        uint64_t undecided, owing, unpublished;
        unsigned begun; /* the first so many of the workload are known to the lanes */
        int64_t active_us;
        bool disk_faults;
        unsigned files; /* the operating system's, open when the world began */
        unsigned audits, audited[sizeof sim_processes / sizeof *sim_processes]; /* which of its lives, by process */
};
extern struct check sim_judge;

/* Evaluates what has become visible. */
void sim_check_lanes(void);
struct check_txn *sim_check_txn(const struct assent_uuid *id); /* NULL: nothing was ever said about it */
const struct check_emission *sim_check_emission(const struct assent_uuid *id);
struct check_log *sim_check_log(int topic, int lane);
/* R12: everything that follows from records below `end` stands in its topic. */
bool sim_check_published(struct check_lane *lane, int64_t end);
/* Branches have not said that they did what was decided. */
bool sim_check_owed(const struct check_txn *txn);
int sim_check_slot(enum assent_phase phase);
const char *sim_check_short(const struct check_txn *txn, char text[24]);
unsigned sim_check_files(void); /* that are open; 0: the system does not tell */
/* Nobody who has promised something still waits to hear what is decided. */
bool sim_check_doubtless(void);
/* Nothing about this branch may be executed any more: the horizon has passed, and its row may have gone. */
bool sim_check_expired(const struct check_txn *txn, const struct check_branch *branch, const struct check_log *commands);
/* A record of the events' topic; whether all that is known to be durable has come there. */
void sim_check_event(const struct sim_log *log, int64_t offset);
bool sim_check_events_finished(void);
/* In an audit: a row of the databases' tables `event`; then, when all were seen, what is there besides. */
void sim_check_event_row(const struct sim_event *event);
void sim_check_events_audit(void);
void sim_check_events_close(void);
/* I18. A record that must be called CONFLICT; a command about what nobody began. */
void sim_check_alarm(const struct check_log *commands, int64_t offset, const struct assent_message *command,
                     enum assent_participant_verdict verdict);
void sim_check_alarm_unknown(const struct check_log *commands, int64_t offset, const struct assent_message *command);
/* A participant says so. False: nothing like that was to be said of that record. */
bool sim_check_alarm_told(const struct sim_process *process, enum assent_participant_verdict verdict, int64_t lane,
                          int64_t offset);
void sim_check_frozen_told(const struct assent_uuid *txn_id, unsigned branch);
/* In an audit: a row that is frozen, of which that was said after `since_us`; then, when all were seen, what was to be said. */
void sim_check_frozen_row(const struct assent_uuid *txn_id, unsigned branch, const char *name, int64_t since_us);
void sim_check_alarms_audit(const struct check_log *commands, bool quiet);
/* The same of coordinators, about a record of the inbox. */
void sim_check_refusal_told(const struct sim_process *coordinator, int lane, struct check_mark *mark);
void sim_check_refusals(struct check_lane *lane, int64_t end);
void sim_check_alarms_close(void);
/* I7: a reader of that group takes a lane, and gives it back. */
void sim_check_taken(const struct sim_process *process, const struct sim_log *log, const char *group, int64_t start,
                     int64_t committed);
void sim_check_given_back(const struct sim_process *process, const struct sim_log *log, const char *group, int64_t end);
/* I17 and R16: transactions in flight in a lane; one is accepted, one is told to go; at the end. */
unsigned sim_check_in_flight(const struct model *model);
void sim_check_crowd(struct check_lane *lane, struct check_txn *txn, unsigned before);
void sim_check_shed(struct check_lane *lane, const struct assent_message *cancel);
void sim_check_bounds_audit(void);
/* Looks into the databases of those who are down. On no process. */
void sim_check_images(void);

#endif
