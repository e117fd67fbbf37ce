/* matrix.c: a process dies at every crash point that the source names, in every role that passes it, for every way in which a
 * transaction may end, by SIGKILL and by a power cut, at the first, second and fifth passing, once or twice: the second time at
 * any point that it passes while it recovers. It starts again, and in the end everything is settled and the audit is clean.
 *
 * All worlds of one shape are the same up to the first death, and eventful enough that every point is passed: a handler says
 * RETRY, lanes are balanced anew, garbage comes, a service is missing, a decision is refused, processes are asked to stop,
 * coordinators are away until participants find out for themselves, one is cut off, and the horizon passes. */
#include "matrix.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <assent/consumer.h>
#include <assent/participant.h>

#include "base/panic.h"
#include "check.h"
#include "codec/codec.h"
#include "runtime/outbound.h"
#include "sim.h"

enum { CLIENT = SIM_CLIENT, CONSUMER = SIM_ROLE_COUNT, STANDBY, ROLES };
enum { TRANSACTIONS = 20, SHAPES = 8, REFUSED = 5, FORGET_MS = 1000 };

#define GARBAGE_US  INT64_C(700000)
#define CUT_US      INT64_C(2000000) /* longer than a PRE_COMMITTED branch waits */
#define HORIZON_US  INT64_C(6500000) /* the first answers are beyond the horizon */
#define EVENTFUL_US INT64_C(7800000)
#define LIVENESS_US INT64_C(60000000)
#define LOOK_US     50000
#define COMMANDS    "assent.svc-%d.commands"
#define GROUP       "matrix.consumer"
#define COUNTED     "assent.counted"

static const char *const points[] = {
#define X(name) #name,
#include "crash_points.inc"
#undef X
};
enum { POINTS = sizeof points / sizeof *points };

static const char *const roles[ROLES] = {"coordinator", "participant", "client", "consumer", "standby"};

static const struct shape {
        const char *name;
        enum assent_protocol protocol;
        enum assent_vote vote;
        uint8_t retries; /* of the second branch: so many that its deadline passes */
        int standbys;    /* beside the coordinators (R19) */
} shapes[SHAPES] = {
        {"2PC commit", ASSENT_2PC, ASSENT_VOTE_YES, 0, 0},
        {"2PC abort by NO", ASSENT_2PC, ASSENT_VOTE_NO, 0, 0},
        {"2PC abort by time", ASSENT_2PC, ASSENT_VOTE_YES, 255, 0},
        {"3PC commit", ASSENT_3PC, ASSENT_VOTE_YES, 0, 0},
        {"3PC abort by NO", ASSENT_3PC, ASSENT_VOTE_NO, 0, 0},
        {"3PC abort by time", ASSENT_3PC, ASSENT_VOTE_YES, 255, 0},
        {"2PC commit, a standby", ASSENT_2PC, ASSENT_VOTE_YES, 0, 1},
        {"3PC commit, a standby", ASSENT_3PC, ASSENT_VOTE_YES, 0, 1},
};

/* Where somebody dies. The second time it is whoever died first, in its next life, or the standby, which may be acting for it:
 * at the first passing after that death. */
struct death {
        int point, role;
        unsigned passing;
        enum sim_death by;
};

static struct {
        struct assent_codec *codec;
        const struct shape *shape;
        struct death deaths[2];
        unsigned deaths_count, died;
        struct sim_process *victim;
        unsigned passed[POINTS][ROLES]; /* up to the first death */
        bool again[POINTS][2];          /* after it: by the victim, by the standby */
        void (*judge)(const struct sim_log *log, int64_t offset, const struct sim_process *sender);
        bool on, stop, cut, alone;
        bool stopped[64]; /* once, by index of the process */
        unsigned refused;
        struct sim_process consumer;
        struct assent_config *consumer_config;
        bool stopping;
} matrix;

/* ---- dying ---- */

static int compare_names(const void *name, const void *entry)
{
        return strcmp(name, *(const char *const *)entry);
}

/* -1: there is none of that name. */
static int point_of(const char *name)
{
        const char *const *found = bsearch(name, points, POINTS, sizeof *points, compare_names);
        return found ? (int)(found - points) : -1;
}

static int role_of(const struct sim_process *process)
{
        if (process == &matrix.consumer)
                return CONSUMER;
        return strncmp(process->name, "standby", 7) == 0 ? (int)STANDBY : (int)process->role;
}

static void at_point(struct sim_process *process, const char *name)
{
        if (!name)
                return;
        int point = point_of(name), role = role_of(process);
        const struct death *next = matrix.died < matrix.deaths_count ? &matrix.deaths[matrix.died] : NULL;
        ASSENT_ASSERT(point >= 0); /* the list is made from the source */
        if (matrix.died == 0) {
                unsigned passing = ++matrix.passed[point][role];
                if (!next || next->point != point || next->role != role || next->passing != passing)
                        return;
                matrix.victim = process;
        } else if (process != matrix.victim && role != STANDBY) {
                return;
        } else {
                matrix.again[point][role == STANDBY] = true;
                if (!next || next->point != point || next->role != role)
                        return;
        }
        matrix.died++;
        sim_note("%s dies at %s", process->name, name);
        sim_kill(process, next->by);
}

/* ---- what happens ---- */

static void plan(void)
{
        for (unsigned i = 0; i < sim_transactions_count; i++) {
                struct sim_transaction *transaction = &sim_transactions[i];
                transaction->protocol = matrix.shape->protocol;
                transaction->timeout_ms = matrix.shape->retries ? 60 : 300;
                transaction->notify_completed = i % 2;
                transaction->branches_count = 2;
                for (uint16_t b = 0; b < 2; b++) {
                        transaction->services[b] = b;
                        transaction->payloads[b] =
                                (struct sim_payload){.amount = b ? -5 : 5, .vote = ASSENT_VOTE_YES, .number = i};
                }
                transaction->payloads[1].vote = (uint8_t)matrix.shape->vote;
                transaction->payloads[1].retries = matrix.shape->retries;
                transaction->payloads[0].retries = transaction->payloads[0].retries_later = i % 3 == 0;
        }
        sim_transactions[4].services[1] = (uint16_t)sim_options.services; /* nobody's */
}

static struct assent_bytes value_of(const struct sim_record *record)
{
        return (struct assent_bytes){record->bytes + record->key_size, record->size};
}

static void heal(void *argument)
{
        sim_cluster_cut(argument, false, false);
}

/* At the first votes everybody with a database is asked to stop; at the next ones lanes change hands. Later one who is
 * PRE_COMMITTED waits in vain for anybody (P7); and when he is back, all who have voted wait for coordinators (P10). */
static void appended(const struct sim_log *log, int64_t offset, const struct sim_process *sender)
{
        matrix.judge(log, offset, sender);
        struct assent_message message;
        if (!sender || sender->role != SIM_PARTICIPANT || matrix.alone ||
            assent_codec_decode(matrix.codec, value_of(&log->records[offset]), &message) || message.type != ASSENT_REPLY ||
            message.body.reply.branch != 0)
                return;
        unsigned number = 0;
        while (number < sim_transactions_count &&
               memcmp(&sim_transactions[number].txn_id, &message.txn_id, sizeof message.txn_id) != 0)
                number++;
        if (message.body.reply.phase == ASSENT_PRE_COMMIT && number >= 2 && !matrix.cut) {
                struct sim_process *lonely = sim_processes[sender->index];
                matrix.cut = true;
                sim_cluster_cut(lonely, true, true);
                sim_at(sim_now_us() + CUT_US, heal, lonely);
        } else if (assent_phase_is_first(message.body.reply.phase) && number >= 15) {
                matrix.alone = true;
                for (int i = 0; i < sim_options.coordinators; i++)
                        sim_kill(sim_processes[i], SIM_KILLED);
        } else if (assent_phase_is_first(message.body.reply.phase)) {
                matrix.stop = true;
                sim_cluster_rebalance("assent.coordinator");
        }
}

static struct sim_log *commands_of(int service, int lane)
{
        char topic[64];
        snprintf(topic, sizeof topic, COMMANDS, service);
        return sim_log_of(topic, lane);
}

static void garbage(void *argument)
{
        (void)argument;
        const struct assent_bytes bytes = {"garbage", 7};
        sim_check_foreign(true);
        for (int lane = 0; lane < sim_options.lanes; lane++) {
                sim_append(sim_log_of("assent.inbox", lane), "garbage", bytes);
                for (int service = 0; service < sim_options.services; service++)
                        sim_append(commands_of(service, lane), "garbage", bytes);
        }
        sim_check_foreign(false);
}

/* At its start a participant looks for what it may forget. */
static void restart(void *argument)
{
        (void)argument;
        for (int i = 0; i < sim_processes_count; i++)
                if (sim_processes[i]->role == SIM_PARTICIPANT)
                        sim_kill(sim_processes[i], SIM_KILLED);
}

static void schedule(void)
{
        sim_at(GARBAGE_US, garbage, NULL);
        sim_at(HORIZON_US, garbage, NULL);
        sim_at(HORIZON_US + 100000, restart, NULL);
}

/* ---- what the linker wraps ---- */

enum assent_err __wrap_assent_participant_open(const struct assent_participant_options *options,
                                               struct assent_participant **out);
enum assent_err __real_assent_participant_open(const struct assent_participant_options *options,
                                               struct assent_participant **out);
enum assent_err __wrap_assent_participant_step(struct assent_participant *participant, int timeout_ms);
enum assent_err __real_assent_participant_step(struct assent_participant *participant, int timeout_ms);
enum assent_err __wrap_assent_send(struct assent_bus *bus, const struct assent_outgoing *outgoing);
enum assent_err __real_assent_send(struct assent_bus *bus, const struct assent_outgoing *outgoing);
struct assent_codec *__wrap_assent_codec_open(size_t record_bytes_max);
struct assent_codec *__real_assent_codec_open(size_t record_bytes_max);
void __wrap_assent_codec_close(struct assent_codec *codec);
void __real_assent_codec_close(struct assent_codec *codec);

enum assent_err __wrap_assent_participant_open(const struct assent_participant_options *options,
                                               struct assent_participant **out)
{
        sim_check_cut_off_allowed = matrix.on;
        if (matrix.on)
                assent_config_set((struct assent_config *)options->config, "assent.pre_commit_cut_off=commit", "matrix");
        return __real_assent_participant_open(options, out);
}

/* Each is asked to stop once, and starts again. */
enum assent_err __wrap_assent_participant_step(struct assent_participant *participant, int timeout_ms)
{
        struct sim_process *self = sim_self();
        if (!matrix.on || !matrix.stop || matrix.stopped[self->index])
                return __real_assent_participant_step(participant, timeout_ms);
        matrix.stopped[self->index] = true;
        assent_participant_stop(participant);
        enum assent_err err = assent_participant_run(participant);
        sim_kill(self, SIM_KILLED);
        return err;
}

static bool is_decision(struct assent_bytes value)
{
        struct assent_message message;
        return assent_codec_decode(matrix.codec, value, &message) == ASSENT_DECODE_NONE && message.type == ASSENT_COMMAND &&
               assent_phase_is_decision(message.body.command.phase);
}

/* The first decisions for the second service are refused, and taken when they are sent again (R18): they go to a topic that
 * does not exist, and from there to where they belong. */
enum assent_err __wrap_assent_send(struct assent_bus *bus, const struct assent_outgoing *outgoing)
{
        struct assent_outgoing other = *outgoing;
        if (matrix.on && sim_self()->role == SIM_COORDINATOR) {
                int there = assent_bus_topic(bus, "assent.svc-1.commands"), nowhere = assent_bus_topic(bus, "nowhere");
                if (outgoing->topic == nowhere) {
                        other.topic = there;
                } else if (outgoing->topic == there && matrix.refused < REFUSED && is_decision(outgoing->value)) {
                        matrix.refused++;
                        other.topic = nowhere;
                }
        }
        return __real_assent_send(bus, &other);
}

/* Codecs are kept from world to world: their schemas and buffers take longer to make than most worlds to end. */
static struct {
        struct assent_codec *codec;
        size_t record_bytes_max;
        bool lent;
} codecs[256];

static void close_codecs(void)
{
        for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
                if (codecs[i].codec)
                        __real_assent_codec_close(codecs[i].codec);
}

struct assent_codec *__wrap_assent_codec_open(size_t record_bytes_max)
{
        static bool kept;
        if (!kept)
                kept = atexit(close_codecs) == 0;
        for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
                if (codecs[i].lent || (codecs[i].codec && codecs[i].record_bytes_max != record_bytes_max))
                        continue;
                if (!codecs[i].codec)
                        codecs[i].codec = __real_assent_codec_open(record_bytes_max);
                codecs[i].record_bytes_max = record_bytes_max;
                codecs[i].lent = codecs[i].codec != NULL;
                return codecs[i].codec;
        }
        return __real_assent_codec_open(record_bytes_max);
}

void __wrap_assent_codec_close(struct assent_codec *codec)
{
        for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
                if (!codec || codecs[i].codec != codec)
                        continue;
                codecs[i].lent = false;
                return;
        }
        __real_assent_codec_close(codec);
}

/* ---- the idempotent consumer: counts outcomes ---- */

static bool outcome_id(void *app, const struct assent_delivery *delivery, struct assent_bytes *id)
{
        static struct assent_uuid message_id;
        struct assent_message message;
        (void)app;
        if (assent_codec_decode(matrix.codec, delivery->value, &message) || message.type != ASSENT_OUTCOME)
                return false;
        message_id = message.message_id;
        *id = (struct assent_bytes){&message_id, sizeof message_id};
        return true;
}

static const struct assent_event counted = {.topic = "counted", .type = "counted", .content_type = "application/octet-stream"};

/* Within the horizon no id comes twice. */
static enum assent_result count_outcome(void *app, struct assent_tx *tx, const struct assent_delivery *delivery)
{
        sqlite3_stmt *statement = NULL;
        const char *sql = "INSERT INTO outcomes VALUES(?1, 1, ?2) ON CONFLICT(id) DO UPDATE SET n = n + (?2 - seen_ms <= ?3),"
                          " seen_ms = ?2 RETURNING n";
        (void)app;
        if (sqlite3_prepare_v2(assent_tx_sqlite(tx), sql, -1, &statement, NULL) == SQLITE_OK) {
                sqlite3_bind_blob(statement, 1, delivery->message_id.data, (int)delivery->message_id.size, SQLITE_STATIC);
                sqlite3_bind_int64(statement, 2, delivery->timestamp_ms);
                sqlite3_bind_int(statement, 3, FORGET_MS);
                if (sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_int(statement, 0) > 1 && !sim_ghost())
                        sim_violation("consumer", "the outcome at %d/%lld was counted before", (int)delivery->lane,
                                      (long long)delivery->offset);
        }
        struct assent_event event = counted;
        event.key = event.value = delivery->message_id;
        enum assent_err err = assent_tx_publish(tx, &event);
        if (err && err != ASSENT_E_STORE && !sim_ghost())
                sim_violation("consumer", "it cannot publish: %s", assent_err_name(err));
        return sqlite3_finalize(statement) == SQLITE_OK ? ASSENT_RESULT_DONE : ASSENT_RESULT_RETRY;
}

static enum assent_err make_table(void *app, struct assent_tx *tx)
{
        const char *sql = "CREATE TABLE IF NOT EXISTS outcomes(id BLOB PRIMARY KEY, n INTEGER, seen_ms INTEGER)";
        (void)app;
        return sqlite3_exec(assent_tx_sqlite(tx), sql, NULL, NULL, NULL) == SQLITE_OK ? ASSENT_OK : ASSENT_E_STORE;
}

/* It too is asked to stop once. */
static void consumer_main(struct sim_process *process)
{
        struct assent_consumer_options options = ASSENT_CONSUMER_OPTIONS_INIT;
        options.topic = "assent.outcomes";
        options.group = GROUP;
        options.message_id = outcome_id;
        options.handle = count_outcome;
        options.setup = make_table;
        options.config = matrix.consumer_config;
        struct assent_consumer *consumer;
        enum assent_err err = assent_consumer_open(&options, &consumer);
        while (!err && !matrix.stopping && (!matrix.stop || matrix.stopped[process->index]))
                err = assent_consumer_step(consumer, 100);
        if (!err && !sim_ghost()) {
                matrix.stopped[process->index] = true;
                assent_consumer_stop(consumer);
                err = assent_consumer_run(consumer);
        }
        if (err && err != ASSENT_E_BROKER && !sim_ghost())
                sim_violation("ended", "the consumer ends with %s: %s", assent_err_name(err),
                              consumer ? assent_consumer_errmsg(consumer) : "");
        assent_consumer_close(consumer);
}

static void consumer_again(void *argument)
{
        if (!matrix.stopping && !matrix.consumer.running)
                sim_start(argument);
}

static void consumer_ended(struct sim_process *process)
{
        sim_at(sim_now_us() + sim_between(5000, 100000), consumer_again, process);
}

/* Its database is in a folder that roles.c has made, and that nobody uses in a world without shards. */
static void consumer_open(void)
{
        char folder[96], db[112];
        const char *other = sim_database(0, 0); /* …/0/db */
        snprintf(folder, sizeof folder, "%.*s1", (int)(strrchr(other, '/') - other - 1), other);
        snprintf(db, sizeof db, "assent.db=%s/db", folder);
        matrix.consumer = (struct sim_process){.role = SIM_CLIENT,
                                               .name = "consumer",
                                               .index = sim_processes_count,
                                               .main = consumer_main,
                                               .ended = consumer_ended,
                                               .disk = sim_disk_new(folder)};
        const char *const settings[] = {db, "assent.dev=true", "assent.horizon_ms=1000", "assent.checkpoint_ms=50",
                                        "assent.start_timeout_ms=3000"};
        ASSENT_ASSERT(assent_config_open(&matrix.consumer_config) == ASSENT_OK);
        for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
                ASSENT_ASSERT(assent_config_set(matrix.consumer_config, settings[i], "matrix") == ASSENT_OK);
        sim_at(20000, consumer_again, &matrix.consumer);
}

static bool counted_id(void *app, const struct assent_delivery *delivery, struct assent_bytes *id)
{
        (void)app;
        *id = delivery->value;
        return id->size == sizeof(struct assent_uuid);
}

/* Those of a topic, each once. */
static int ids_of(const char *topic, bool (*id_of)(void *app, const struct assent_delivery *delivery, struct assent_bytes *id))
{
        struct assent_uuid seen[1024];
        int count = 0;
        for (int lane = 0; lane < sim_options.lanes; lane++) {
                const struct sim_log *log = sim_log_of(topic, lane);
                for (int64_t offset = log->low; offset < log->high; offset++) {
                        const struct assent_delivery delivery = {.value = value_of(&log->records[offset])};
                        struct assent_bytes id;
                        int i = 0;
                        if (!id_of(NULL, &delivery, &id))
                                continue;
                        while (i < count && memcmp(&seen[i], id.data, id.size) != 0)
                                i++;
                        ASSENT_ASSERT(i < 1024);
                        memcpy(&seen[i], id.data, id.size);
                        count += i == count;
                }
        }
        return count;
}

static void audit_consumer(void)
{
        sqlite3 *db;
        sqlite3_stmt *statement = NULL;
        int found = -1, wanted = ids_of("assent.outcomes", outcome_id);
        const char *path = assent_config_get(matrix.consumer_config, "assent.db");
        if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
            sqlite3_prepare_v2(db, "SELECT count(*) FROM outcomes", -1, &statement, NULL) == SQLITE_OK &&
            sqlite3_step(statement) == SQLITE_ROW)
                found = sqlite3_column_int(statement, 0);
        sqlite3_finalize(statement);
        sqlite3_close(db);
        if (found != wanted)
                sim_violation("consumer", "%d outcomes were counted of %d", found, wanted);
}

static bool consumer_finished(void)
{
        for (int lane = 0; lane < sim_options.lanes; lane++) {
                const struct sim_log *log = sim_log_of("assent.outcomes", lane);
                if (log->high > 0 && sim_group_offset(GROUP, lane) < log->high)
                        return false;
        }
        return ids_of(COUNTED, counted_id) == ids_of("assent.outcomes", outcome_id); /* and it has said so */
}

/* ---- one world ---- */

static void open_world(const struct shape *shape, const struct death *deaths, unsigned deaths_count, bool narrate)
{
        const struct sim_options options = {.seed = 1,
                                            .transactions = TRANSACTIONS,
                                            .narrate = narrate,
                                            .calm = true,
                                            .lanes = 2,
                                            .coordinators = 2,
                                            .clients = 1,
                                            .services = 2,
                                            .shards = 1,
                                            .standbys = shape->standbys,
                                            .events = true,
                                            .work = 100000,
                                            .events_us = 500000,
                                            .load_us = 180000,
                                            .quiet_us = EVENTFUL_US,
                                            .window_ms = 1000,
                                            .timeout_max_ms = 300,
                                            .horizon_ms = 1900};
        struct assent_codec *codec = matrix.codec;
        memset(&matrix, 0, sizeof matrix);
        matrix.codec = codec ? codec : assent_codec_open(262144);
        matrix.shape = shape;
        matrix.deaths_count = deaths_count;
        for (unsigned i = 0; i < deaths_count; i++)
                matrix.deaths[i] = deaths[i];
        memset(&sim_cluster_faults, 0, sizeof sim_cluster_faults);
        memset(&sim_disk_faults, 0, sizeof sim_disk_faults);
        sim_world_open(&options);
        sim_plan = plan;
        sim_roles_open();
        sim_topic(COUNTED);
        sim_check_open();
        matrix.judge = sim_appended;
        sim_appended = appended;
        sim_at_point = at_point;
        consumer_open();
        schedule();
        matrix.on = true;
}

static bool all_stopped(void)
{
        return !matrix.consumer.running && sim_roles_stopped();
}

static void run_world(void)
{
        sim_run(EVENTFUL_US, NULL);
        int64_t deadline_us = sim_now_us() + LIVENESS_US;
        while (!sim_violated() && !(sim_check_finished() && consumer_finished())) {
                if (sim_now_us() >= deadline_us)
                        sim_violation("liveness", "not everything came to its end");
                sim_run(sim_now_us() + LOOK_US, NULL);
        }
        matrix.stopping = true;
        sim_roles_stop();
        sim_run(sim_now_us() + LIVENESS_US, all_stopped);
        if (!sim_violated() && !all_stopped())
                sim_violation("liveness", "a process does not end when it is asked to");
        if (!sim_violated())
                sim_check_audit();
        if (!sim_violated())
                audit_consumer();
}

static void close_world(void)
{
        matrix.on = false;
        sim_at_point = NULL;
        sim_check_close();
        sim_roles_close();
        sim_world_close();
        sim_disk_free(matrix.consumer.disk);
        assent_config_close(matrix.consumer_config);
        sim_plan = NULL;
}

/* ---- the cases ---- */

static struct {
        unsigned only;  /* only this case of a point, told; 0: all */
        unsigned cases; /* of this point so far */
        unsigned worlds, deaths, failed;
        unsigned passed[SHAPES][POINTS][ROLES]; /* in a world where nobody dies */
} run;

static void tell(const struct shape *shape, const struct death *deaths, unsigned count, const char *verdict)
{
        printf("# %s %u: %s", points[deaths[0].point], run.cases, shape->name);
        for (unsigned i = 0; i < count; i++)
                printf(", %s%s %s at %s", i ? "then " : "", roles[deaths[i].role],
                       deaths[i].by == SIM_POWER_LOST ? "loses power" : "killed", points[deaths[i].point]);
        printf(" (passing %u): %s\n", deaths[0].passing, verdict);
}

/* What is passed afterwards goes to `again`, unless NULL. */
static void run_case(const struct shape *shape, const struct death *deaths, unsigned count, bool again[POINTS][2])
{
        run.cases++;
        if (run.only && run.only != run.cases && !again)
                return;
        open_world(shape, deaths, count, run.only == run.cases);
        run_world();
        run.worlds++;
        run.deaths += matrix.died;
        if (again)
                memcpy(again, matrix.again, sizeof matrix.again);
        const char *verdict = sim_verdict();
        if (!verdict && matrix.died < count)
                verdict = "it does not die";
        if (verdict || run.only == run.cases)
                tell(shape, deaths, count, verdict ? verdict : "ok");
        run.failed += verdict != NULL;
        close_world();
}

/* One place to die first; then again, wherever it comes by. Of the ways to die each pair of points has one in each shape. */
static void run_place(const struct shape *shape, const struct death *first, bool disk)
{
        bool again[POINTS][2];
        int turn = (int)(shape - shapes) + first->point;
        run_case(shape, first, 1, again);
        if (first->passing > 1 || (disk && (int)first->by != turn % 2))
                return;
        for (int point = 0; point < POINTS; point++) {
                enum sim_death by = disk && (turn / 2 + point) % 2 ? SIM_POWER_LOST : SIM_KILLED;
                for (int standby = 0; standby < 2; standby++) {
                        const struct death second = {.point = point, .role = standby ? (int)STANDBY : first->role, .by = by};
                        if (again[point][standby])
                                run_case(shape, (const struct death[]){*first, second}, 2, NULL);
                }
        }
}

/* Without a disk a power cut is a death like any other; where nobody else can tell, a standby changes nothing. */
static void run_point(int point, int role)
{
        static const unsigned passings[] = {1, 2, 5};
        bool disk = role == SIM_PARTICIPANT || role == CONSUMER;
        for (int s = 0; s < SHAPES; s++) {
                if (shapes[s].standbys && role != SIM_COORDINATOR && role != STANDBY)
                        continue;
                for (size_t p = 0; p < sizeof passings / sizeof *passings; p++)
                        for (int by = SIM_KILLED; by <= (disk ? SIM_POWER_LOST : SIM_KILLED); by++) {
                                const struct death first = {point, role, passings[p], (enum sim_death)by};
                                if (run.passed[s][point][role] >= passings[p])
                                        run_place(&shapes[s], &first, disk);
                        }
        }
}

/* What is passed when nobody dies; in this world too everything must be right. */
static bool take_census(void)
{
        for (int s = 0; s < SHAPES; s++) {
                open_world(&shapes[s], NULL, 0, false);
                run_world();
                memcpy(run.passed[s], matrix.passed, sizeof matrix.passed);
                const char *verdict = sim_verdict();
                if (verdict)
                        printf("not ok - nobody dies, %s: %s\n", shapes[s].name, verdict);
                bool failed = verdict != NULL;
                close_world();
                if (failed)
                        return false;
        }
        return true;
}

static bool passes(int point, int role)
{
        bool any = false;
        for (int s = 0; s < SHAPES; s++)
                any |= run.passed[s][point][role] > 0;
        return any;
}

int sim_matrix(int argc, char **argv)
{
        int lines = 0, failed = 0, first = argc > 1 ? point_of(argv[1]) : 0, last = argc > 1 ? first : POINTS - 1;
        run.only = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
        if (first < 0)
                fprintf(stderr, "simulator: there is no crash point %s\n", argv[1]);
        if (first < 0 || !take_census())
                return 1;
        for (int point = first; point <= last; point++) {
                bool passed = false;
                run.cases = 0;
                for (int role = 0; role < ROLES; role++) {
                        if (!passes(point, role))
                                continue;
                        passed = true;
                        run.worlds = run.deaths = run.failed = 0;
                        run_point(point, role);
                        failed += run.failed > 0;
                        printf("%s %d - %s of a %s: %u worlds, %u deaths\n", run.failed ? "not ok" : "ok", ++lines,
                               points[point], roles[role], run.worlds, run.deaths);
                        fflush(stdout);
                }
                if (!passed)
                        printf("not ok %d - %s: nobody ever passed it\n", ++lines, points[point]);
                failed += !passed;
        }
        printf("1..%d\n", lines);
        return failed > 0;
}
