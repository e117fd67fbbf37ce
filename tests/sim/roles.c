/* roles.c: the programs that processes run: the real runtimes, with handlers that move money between balances. See sim.h. */
#include "sim.h"

#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <assent/client.h>
#include <assent/coordinator.h>
#include <assent/participant.h>

#include "base/panic.h"
#include "codec/codec.h"
#include "core/ids.h"
#include "core/settings.h"
#include "kafka/topics.h"
#include "runtime/settings.h"

enum {
        SERVICES_MAX = SIM_SERVICES_MAX,
        SHARDS_MAX = 2,
        PROCESSES_MAX = 64,
        BRANCHES_MAX = 8,
        ASKS_MAX = 8,
        PENDING_MAX = 8192
};

/* What a process runs with; `process` comes first. */
struct app {
        struct sim_process process;
        struct assent_config *config;
        bool stop;
        /* a participant's */
        unsigned service;
        uint32_t database;
        sqlite3_stmt *hold, *held, *release, *book, *balance, *event, *positions;
        uint64_t *pending; /* events of the open local transaction */
        size_t pending_count;
        unsigned jobs; /* handed in, and not told yet */
        /* a client's */
        struct assent_client *client;
        unsigned number, next; /* the next of its transactions to begin */
};

/* What a client remembers of a transaction, also when it dies: its caller's database would. */
struct memory {
        int64_t due_us, ask_us;
        unsigned asks;
        uint8_t retries[BRANCHES_MAX], retries_later[BRANCHES_MAX]; /* left */
};

struct sim_process *sim_processes[PROCESSES_MAX];
int sim_processes_count;
bool sim_no_restart, sim_coordinators_gone;
int64_t sim_client_skew_ms[8];
struct sim_transaction *sim_transactions;
unsigned sim_transactions_count;

void (*sim_plan)(void);

static struct memory *memories;
static struct sim_disk *disks[SERVICES_MAX * SHARDS_MAX];
static char folder[64], paths[SERVICES_MAX * SHARDS_MAX][96];
static bool stopping;

const char *sim_service_name(unsigned service)
{
        static const char *const names[SERVICES_MAX] = {"svc-0", "svc-1", "svc-2", "svc-3", "svc-4", "svc-5", "svc-6", "svc-7"};
        return service < (unsigned)sim_options.services ? names[service] : NULL;
}

const char *sim_database(unsigned service, int shard)
{
        bool is = service < (unsigned)sim_options.services && shard < sim_options.shards;
        return is ? paths[service * SHARDS_MAX + (unsigned)shard] : NULL;
}

unsigned sim_service_of(const struct sim_process *participant)
{
        return ((const struct app *)participant)->service;
}

/* ---- a participant's handlers ---- */

static struct memory *memory_of(const struct assent_branch *branch, struct sim_payload *payload)
{
        ASSENT_ASSERT(branch->payload.size == sizeof *payload);
        memcpy(payload, branch->payload.data, sizeof *payload);
        ASSENT_ASSERT(payload->number < sim_transactions_count && branch->branch < BRANCHES_MAX);
        return &memories[payload->number];
}

/* Whether the handler says RETRY once more. What a ghost does does not count. */
static bool retries(uint8_t *left)
{
        if (*left == 0 || sim_ghost())
                return false;
        --*left;
        sim_count(SIM_RETRY);
        return true;
}

static bool run(sqlite3_stmt *statement)
{
        bool done = sqlite3_step(statement) == SQLITE_DONE;
        sqlite3_reset(statement);
        return done;
}

static void bind_branch(sqlite3_stmt *statement, const struct assent_branch *branch)
{
        sqlite3_bind_blob(statement, 1, branch->txn_id.bytes, 16, SQLITE_STATIC);
        sqlite3_bind_int(statement, 2, branch->branch);
}

/* An event, and a row of one's own that says the same. 0: there is no disk. */
static uint64_t publish(struct app *app, struct assent_tx *tx)
{
        uint64_t nonce = sim_event_nonce();
        static uint8_t large[2 * SIM_EVENT_MAX];
        struct sim_event said = {.database = app->database, .key = (uint32_t)(nonce % SIM_EVENT_KEYS), .nonce = nonce};
        char key[8];
        sqlite3_bind_int64(app->event, 1, (int64_t)nonce);
        sqlite3_bind_int(app->event, 2, (int)said.key);
        if (!run(app->event))
                return 0;
        said.number = sqlite3_last_insert_rowid(assent_tx_sqlite(tx));
        snprintf(key, sizeof key, "key-%" PRIu32, said.key);
        const struct assent_event event = {.topic = "events",
                                           .type = "moved",
                                           .content_type = "application/octet-stream",
                                           .key = {key, strlen(key)},
                                           .value = {&said, sizeof said}};
        struct assent_event refused = event;
        refused.value = (struct assent_bytes){large, sizeof large};
        enum assent_err err = assent_tx_publish(tx, sim_event_large(nonce) ? &refused : &event);
        if (err && err != ASSENT_E_STORE)
                sim_violation("event", "%s cannot publish: %s", app->process.name, assent_err_name(err));
        ASSENT_ASSERT(app->pending_count < PENDING_MAX);
        if (err)
                return 0;
        app->pending[app->pending_count++] = nonce;
        return nonce;
}

/* What is to be rolled back. */
static void publish_in_vain(struct app *app, struct assent_tx *tx)
{
        if (publish(app, tx))
                app->pending_count--;
}

static void committed(void *context)
{
        struct app *app = context;
        for (size_t i = 0; i < app->pending_count && !sim_ghost(); i++)
                sim_event_durable(app->pending[i], false);
        app->pending_count = 0;
}

/* Between two steps no local transaction is open: what stands there is durable. */
static void look_at_positions(struct app *app)
{
        sqlite3_stmt *positions = app->positions;
        while (!sim_ghost() && sqlite3_step(positions) == SQLITE_ROW)
                sim_check_consumed(&app->process, app->service, sqlite3_column_int(positions, 0),
                                   sqlite3_column_int64(positions, 1), (uint64_t)sqlite3_column_int64(positions, 2));
        sqlite3_reset(positions);
}

/* ---- work for a participant ---- */

struct job {
        struct app *app;
        uint64_t nonce; /* 0: it has not run, or in vain */
};

static enum assent_result run_job(void *context, struct assent_tx *tx)
{
        struct job *job = context;
        job->nonce = publish(job->app, tx);
        if (!job->nonce || !sim_event_undone(job->nonce))
                return ASSENT_RESULT_DONE;
        job->app->pending_count--;
        return ASSENT_RESULT_RETRY;
}

static void job_done(void *context, enum assent_err err)
{
        struct job *job = context;
        bool told = err == ASSENT_OK || err == ASSENT_AGAIN;
        if (!sim_ghost() && told && (!job->nonce || sim_event_undone(job->nonce) != (err == ASSENT_AGAIN)))
                sim_violation("work", "%s says %s of what it was handed", job->app->process.name, assent_err_name(err));
        if (!sim_ghost() && err == ASSENT_OK && job->nonce)
                sim_event_durable(job->nonce, true);
        if (!sim_ghost() && err == ASSENT_AGAIN && job->nonce)
                sim_event_vain(job->nonce);
        job->app->jobs--;
        free(job);
}

static void submit_job(struct app *app, struct assent_participant *participant)
{
        struct job *job = calloc(1, sizeof *job);
        ASSENT_ASSERT(job);
        job->app = app;
        const struct assent_work work = {.run = run_job, .done = job_done, .context = job};
        app->jobs++;
        if (assent_participant_submit(participant, &work) == ASSENT_OK)
                return;
        if (!sim_ghost())
                sim_violation("work", "%s does not take work", app->process.name);
        app->jobs--;
        free(job);
}

/* ---- its handlers ---- */

static enum assent_vote prepare(void *context, struct assent_tx *tx, const struct assent_branch *branch)
{
        struct app *app = context;
        struct sim_payload payload;
        struct memory *memory = memory_of(branch, &payload);
        if (retries(&memory->retries[branch->branch]))
                return ASSENT_VOTE_RETRY;
        if (payload.vote == ASSENT_VOTE_NO)
                assent_tx_refuse(tx, "no funds");
        if (payload.vote == ASSENT_VOTE_NO && sim_options.events)
                publish_in_vain(app, tx);
        if (payload.vote == ASSENT_VOTE_READ_ONLY)
                return ASSENT_VOTE_READ_ONLY;
        bind_branch(app->hold, branch);
        sqlite3_bind_int(app->hold, 3, payload.amount);
        sqlite3_bind_int64(app->hold, 4, (int64_t)payload.number);
        if (!run(app->hold) && !sim_ghost() && sqlite3_extended_errcode(assent_tx_sqlite(tx)) == SQLITE_CONSTRAINT_PRIMARYKEY)
                sim_violation("I4", "%s prepares a branch that it holds already", sim_service_name(app->service));
        return (enum assent_vote)payload.vote; /* a NO's row is rolled back */
}

/* What prepare put aside. False: nothing, or no disk. */
static bool find_hold(struct app *app, const struct assent_branch *branch, int *amount, uint64_t *number)
{
        bind_branch(app->held, branch);
        bool found = sqlite3_step(app->held) == SQLITE_ROW;
        if (found) {
                *amount = sqlite3_column_int(app->held, 0);
                *number = (uint64_t)sqlite3_column_int64(app->held, 1);
        }
        sqlite3_reset(app->held);
        return found;
}

static enum assent_result settle(struct app *app, struct assent_tx *tx, const struct assent_branch *branch, bool commits)
{
        int amount = 0;
        uint64_t number = 0;
        if (!find_hold(app, branch, &amount, &number)) {
                int code = sqlite3_errcode(assent_tx_sqlite(tx));
                if (!sim_ghost() && (code == SQLITE_DONE || code == SQLITE_OK))
                        sim_violation("I5", "%s is asked to %s a branch that it does not hold", sim_service_name(app->service),
                                      commits ? "commit" : "abort");
                return ASSENT_RESULT_DONE;
        }
        if (retries(&memories[number].retries_later[branch->branch]))
                return ASSENT_RESULT_RETRY;
        bind_branch(app->release, branch);
        run(app->release);
        if (commits) {
                bind_branch(app->book, branch);
                sqlite3_bind_int(app->book, 3, amount);
                run(app->book);
                sqlite3_bind_int(app->balance, 1, amount);
                run(app->balance);
                if (sim_options.events)
                        publish(app, tx);
        }
        return ASSENT_RESULT_DONE;
}

static enum assent_result commit(void *context, struct assent_tx *tx, const struct assent_branch *branch)
{
        return settle(context, tx, branch, true);
}

static enum assent_result abort_(void *context, struct assent_tx *tx, const struct assent_branch *branch)
{
        return settle(context, tx, branch, false);
}

/* What the life before has left is durable, whether it knew that or not. */
static bool find_events(sqlite3 *db)
{
        sqlite3_stmt *events = NULL;
        if (sqlite3_prepare_v2(db, "SELECT nonce FROM event", -1, &events, NULL) != SQLITE_OK)
                return false;
        while (sqlite3_step(events) == SQLITE_ROW)
                if (!sim_ghost())
                        sim_event_durable((uint64_t)sqlite3_column_int64(events, 0), false);
        return sqlite3_finalize(events) == SQLITE_OK;
}

static enum assent_err setup(void *context, struct assent_tx *tx)
{
        struct app *app = context;
        sqlite3 *db = assent_tx_sqlite(tx);
        struct {
                const char *sql;
                sqlite3_stmt **out;
        } const statements[] = {
                {"INSERT INTO hold VALUES(?, ?, ?, ?)", &app->hold},
                {"SELECT amount, number FROM hold WHERE txn_id = ? AND branch = ?", &app->held},
                {"DELETE FROM hold WHERE txn_id = ? AND branch = ?", &app->release},
                {"INSERT INTO ledger VALUES(?, ?, ?)", &app->book},
                {"UPDATE balance SET amount = amount + ? WHERE id = 1", &app->balance},
                {"INSERT INTO event(nonce, key) VALUES(?, ?)", &app->event},
                {"SELECT lane, next, chain FROM assent_position", &app->positions},
        };
        if (sqlite3_exec(db,
                         "CREATE TABLE IF NOT EXISTS balance(id INTEGER PRIMARY KEY, amount INTEGER NOT NULL);"
                         "INSERT OR IGNORE INTO balance VALUES(1, 0);"
                         "CREATE TABLE IF NOT EXISTS hold(txn_id BLOB, branch INTEGER, amount INTEGER NOT NULL,"
                         " number INTEGER NOT NULL, PRIMARY KEY(txn_id, branch)) WITHOUT ROWID;"
                         "CREATE TABLE IF NOT EXISTS ledger(txn_id BLOB NOT NULL, branch INTEGER NOT NULL, amount INTEGER);"
                         "CREATE TABLE IF NOT EXISTS event(number INTEGER PRIMARY KEY, nonce INTEGER, key INTEGER)",
                         NULL, NULL, NULL) != SQLITE_OK)
                return ASSENT_E_STORE;
        for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
                if (sqlite3_prepare_v3(db, statements[i].sql, -1, SQLITE_PREPARE_PERSISTENT, statements[i].out, NULL))
                        return ASSENT_E_STORE;
        return find_events(db) ? ASSENT_OK : ASSENT_E_STORE;
}

/* ---- the three programs ---- */

static void over(struct sim_process *process, enum assent_err err, const char *why)
{
        if (sim_ghost())
                return;
        sim_note("%s ends: %s %s", process->name, assent_err_name(err), why);
        process->err = err;
        sim_check_ended(process, err, why);
}

static void participant_main(struct sim_process *process)
{
        static const struct assent_handlers handlers = {.prepare = prepare, .commit = commit, .abort = abort_};
        struct app *app = (struct app *)process;
        struct assent_participant_options options = ASSENT_PARTICIPANT_OPTIONS_INIT;
        options.service = sim_service_name(app->service);
        options.handlers = &handlers;
        options.app = app;
        options.setup = setup;
        options.committed = committed;
        options.config = app->config;
        app->pending = sim_options.events ? calloc(PENDING_MAX, sizeof *app->pending) : NULL;
        ASSENT_ASSERT(app->pending || !sim_options.events);
        app->pending_count = 0;
        struct assent_participant *participant;
        enum assent_err err = assent_participant_open(&options, &participant);
        while (!err && !app->stop) {
                if (sim_options.events && sim_now_us() < sim_options.quiet_us && sim_chance(sim_options.work))
                        submit_job(app, participant);
                err = assent_participant_step(participant, 100);
                if (!err)
                        look_at_positions(app);
        }
        over(process, err, participant ? assent_participant_errmsg(participant) : "");
        assent_participant_close(participant);
        free(app->pending);
        if (app->jobs)
                sim_violation("work", "%s never tells what became of %u things it was handed", process->name, app->jobs);
        app->jobs = 0;
        sqlite3_stmt **statements[] = {&app->hold,    &app->held,  &app->release,  &app->book,
                                       &app->balance, &app->event, &app->positions};
        for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
                sqlite3_finalize(*statements[i]);
                *statements[i] = NULL;
        }
}

static void coordinator_main(struct sim_process *process)
{
        struct app *app = (struct app *)process;
        struct assent_coordinator_options options = ASSENT_COORDINATOR_OPTIONS_INIT;
        options.config = app->config;
        struct assent_coordinator *coordinator;
        enum assent_err err = assent_coordinator_open(&options, &coordinator);
        while (!err && !app->stop)
                err = assent_coordinator_step(coordinator, 100);
        over(process, err, coordinator ? assent_coordinator_errmsg(coordinator) : "");
        assent_coordinator_close(coordinator);
}

/* An id is minted once; whoever serves idempotency keys keeps it before the first begin (C1). */
static void mint(const struct app *app, struct sim_transaction *transaction)
{
        int64_t birth_ms = SIM_EPOCH_MS + sim_now_ms() + sim_client_skew_ms[app->number];
        uint8_t *bytes = transaction->txn_id.bytes;
        for (int i = 0; i < 6; i++)
                bytes[i] = (uint8_t)(birth_ms >> (40 - 8 * i));
        uint64_t high = sim_random(), low = sim_random();
        memcpy(bytes + 6, &high, 2);
        memcpy(bytes + 8, &low, 8);
        bytes[6] = (uint8_t)(0x70 | (bytes[6] & 0x0f));
        bytes[8] = (uint8_t)(0x80 | (bytes[8] & 0x3f));
        transaction->minted = true;
}

static enum assent_err send_begin(struct app *app, const struct sim_transaction *transaction)
{
        struct assent_begin_branch branches[BRANCHES_MAX];
        for (unsigned i = 0; i < transaction->branches_count; i++) {
                const char *service = sim_service_name(transaction->services[i]);
                branches[i] = (struct assent_begin_branch){.service = service ? service : "nobody",
                                                           .kind = "move",
                                                           .payload = {&transaction->payloads[i], sizeof(struct sim_payload)}};
        }
        struct assent_begin begin = ASSENT_BEGIN_INIT;
        begin.txn_id = transaction->txn_id;
        begin.protocol = transaction->protocol;
        begin.timeout_ms = transaction->timeout_ms;
        begin.notify_completed = transaction->notify_completed;
        begin.branches = branches;
        begin.branches_count = transaction->branches_count;
        enum assent_err err;
        while ((err = assent_client_send(app->client, &begin)) == ASSENT_AGAIN && !sim_ghost() && !app->stop)
                assent_client_step(app->client, 10);
        return err;
}

static struct sim_transaction *transaction_of(const struct assent_uuid *txn_id)
{
        for (unsigned i = 0; i < sim_transactions_count; i++)
                if (sim_transactions[i].minted && memcmp(&sim_transactions[i].txn_id, txn_id, sizeof *txn_id) == 0)
                        return &sim_transactions[i];
        return NULL;
}

static void told(const struct assent_uuid *txn_id, enum assent_outcome outcome)
{
        struct sim_transaction *transaction = transaction_of(txn_id);
        if (!transaction || (outcome != ASSENT_COMMITTED && outcome != ASSENT_ABORTED))
                return;
        if (transaction->told && transaction->told != outcome)
                sim_violation("I1", "a client was told %s, and then %s", assent_outcome_name(transaction->told),
                              assent_outcome_name(outcome));
        transaction->told = outcome;
}

static void on_outcome(void *context, const struct assent_notice *notice)
{
        (void)context;
        if (!sim_ghost())
                told(&notice->txn_id, notice->outcome);
}

static void on_began(void *context, const struct assent_uuid *txn_id, enum assent_err err)
{
        (void)context;
        struct sim_transaction *transaction = transaction_of(txn_id);
        if (sim_ghost() || !transaction)
                return;
        transaction->begun |= !err;
        transaction->refused |= err != ASSENT_OK;
}

/* No outcome for a while: the client begins again, asks, or reads the lane itself (C1, C3). */
static enum assent_err ask_again(struct app *app, struct sim_transaction *transaction, struct memory *memory)
{
        struct assent_notice notice;
        enum assent_err err = ASSENT_OK;
        int64_t pause_ms = 200 << (memory->asks < 5 ? memory->asks : 5);
        memory->ask_us = sim_now_us() + 1000 * sim_between(pause_ms, 2 * pause_ms);
        unsigned choice = !transaction->begun ? 0 : (unsigned)sim_below(4);
        if (choice < 2 && ++memory->asks <= ASKS_MAX) {
                if (transaction->begun)
                        sim_count(SIM_BEGIN_AGAIN);
                return send_begin(app, transaction);
        }
        memory->asks++;
        if (choice == 2) {
                sim_count(SIM_INQUIRE);
                err = assent_client_inquire(app->client, &transaction->txn_id, 200);
        } else {
                err = assent_client_evaluate(app->client, &transaction->txn_id, &notice);
                if (!err && !sim_ghost())
                        told(&transaction->txn_id, notice.outcome);
        }
        return err == ASSENT_E_KAFKA ? err : ASSENT_OK; /* whatever it says, it may be asked again */
}

/* The transactions of one client are every n-th. */
static enum assent_err client_turn(struct app *app)
{
        enum assent_err err = ASSENT_OK;
        int64_t wait_us = 50000;
        while (!err && app->next < sim_transactions_count && memories[app->next].due_us <= sim_now_us()) {
                struct sim_transaction *transaction = &sim_transactions[app->next];
                mint(app, transaction);
                memories[app->next].ask_us = sim_now_us() + 1000 * (int64_t)(2 * transaction->timeout_ms + 300);
                app->next += (unsigned)sim_options.clients;
                err = send_begin(app, transaction);
        }
        for (unsigned i = app->number; !err && i < app->next; i += (unsigned)sim_options.clients) {
                struct sim_transaction *transaction = &sim_transactions[i];
                if (!transaction->told && !transaction->refused && memories[i].asks < ASKS_MAX &&
                    memories[i].ask_us <= sim_now_us())
                        err = ask_again(app, transaction, &memories[i]);
        }
        if (app->next < sim_transactions_count && memories[app->next].due_us < sim_now_us() + wait_us)
                wait_us = memories[app->next].due_us - sim_now_us();
        return err ? err : assent_client_step(app->client, wait_us > 1000 ? (int)(wait_us / 1000) : 1);
}

static void client_main(struct sim_process *process)
{
        struct app *app = (struct app *)process;
        struct assent_client_options options = ASSENT_CLIENT_OPTIONS_INIT;
        options.config = app->config;
        options.outcome = on_outcome;
        options.began = on_began;
        options.context = app;
        enum assent_err err = assent_client_open(&options, &app->client);
        while (!err && !app->stop)
                err = client_turn(app);
        over(process, err, app->client ? assent_client_errmsg(app->client) : "");
        assent_client_close(app->client);
        app->client = NULL;
}

/* ---- their life ---- */

static void start_again(void *argument)
{
        struct sim_process *process = argument;
        if (sim_coordinators_gone && process->role == SIM_COORDINATOR) {
                sim_at(sim_now_us() + 50000, start_again, process);
                return;
        }
        if (!process->running && !stopping && !sim_no_restart)
                sim_start(process);
}

static void ended(struct sim_process *process)
{
        if (!stopping && !sim_no_restart)
                sim_at(sim_now_us() + sim_between(5000, 400000), start_again, process);
}

void sim_roles_stop(void)
{
        stopping = true;
        for (int i = 0; i < sim_processes_count; i++) {
                ((struct app *)sim_processes[i])->stop = true;
                sim_wake(sim_processes[i]);
        }
}

bool sim_roles_stopped(void)
{
        for (int i = 0; i < sim_processes_count; i++)
                if (sim_processes[i]->running)
                        return false;
        return true;
}

static void set_text(struct assent_config *config, const char *key, const char *value)
{
        char text[192];
        snprintf(text, sizeof text, "%s=%s", key, value);
        if (assent_config_set(config, text, "sim")) {
                fprintf(stderr, "%s\n", assent_config_errmsg(config));
                abort();
        }
}

static void set(struct assent_config *config, const char *key, int64_t value)
{
        char text[24];
        snprintf(text, sizeof text, "%" PRId64, value);
        set_text(config, key, text);
}

static int64_t or_else(int64_t value, int64_t otherwise)
{
        return value ? value : otherwise;
}

static struct assent_config *configure(void)
{
        struct assent_config *config;
        ASSENT_ASSERT(assent_config_open(&config) == ASSENT_OK);
        set_text(config, "assent.broker", sim_options.embedded ? "embedded" : "kafka");
        set_text(config, "assent.dev", "true");
        set(config, "assent.lanes_count", sim_options.lanes);
        set(config, "assent.branches_max", BRANCHES_MAX);
        set(config, "assent.window_ms", or_else(sim_options.window_ms, 2000));
        set(config, "assent.skew_ms", 200);
        set(config, "assent.timeout_max_ms", or_else(sim_options.timeout_max_ms, 600));
        set(config, "assent.grace_ms", 200);
        set(config, "assent.horizon_ms", sim_horizon_ms());
        set_text(config, "assent.pre_commit_cut_off", sim_options.cut_off_commits ? "commit" : "wait");
        set(config, "assent.checkpoint_ms", or_else(sim_options.checkpoint_ms, 50));
        set(config, "assent.retry_ms", 20);
        set(config, "assent.retry_max_ms", 200);
        set(config, "assent.batch_max", or_else(sim_options.batch_max, 100));
        set(config, "assent.memory_bytes_max", 16 << 20);
        set(config, "assent.in_flight_soft", or_else(sim_options.in_flight_soft, 1000000));
        set(config, "assent.start_timeout_ms", 3000);
        set(config, "assent.stop_timeout_ms", 2000);
        return config;
}

static struct app *process_new(enum sim_role role, const char *word, int number, void (*main)(struct sim_process *process))
{
        ASSENT_ASSERT(sim_processes_count < PROCESSES_MAX);
        struct app *app = calloc(1, sizeof *app);
        ASSENT_ASSERT(app);
        snprintf(app->process.name, sizeof app->process.name, "%s-%d", word, number);
        app->process.role = role;
        app->process.index = sim_processes_count;
        app->process.main = main;
        app->process.ended = ended;
        app->config = configure();
        app->number = app->next = (unsigned)number;
        sim_processes[sim_processes_count++] = &app->process;
        return app;
}

static void remove_folder(void)
{
        char path[160];
        for (unsigned i = 0; i < SERVICES_MAX * SHARDS_MAX; i++) {
                snprintf(path, sizeof path, "%s/%u/db.owner", folder, i);
                unlink(path);
                *strrchr(path, '/') = '\0';
                rmdir(path);
        }
        rmdir(folder);
}

/* A real folder for lock files, in memory if possible: one for each process of the operating system, kept from world to
 * world. */
static void make_folder(void)
{
        static pid_t owner;
        if (owner == getpid())
                return;
        owner = getpid();
        snprintf(folder, sizeof folder, "%s/assent-sim.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        ASSENT_ASSERT(mkdtemp(folder));
        for (unsigned i = 0; i < SERVICES_MAX * SHARDS_MAX; i++) {
                snprintf(paths[i], sizeof paths[i], "%s/%u", folder, i);
                ASSENT_ASSERT(mkdir(paths[i], 0700) == 0);
                snprintf(paths[i], sizeof paths[i], "%s/%u/db", folder, i);
        }
        atexit(remove_folder);
}

static void make_participant(unsigned service, int shard)
{
        unsigned slot = service * SHARDS_MAX + (unsigned)shard;
        char lanes[32], disk[96];
        struct app *app = process_new(SIM_PARTICIPANT, sim_service_name(service), shard, participant_main);
        app->service = service;
        app->database = SHARDS_MAX * service + (uint32_t)shard;
        snprintf(disk, sizeof disk, "%.*s", (int)(strlen(paths[slot]) - 3), paths[slot]);
        app->process.disk = disks[slot] = sim_disk_new(disk);
        set_text(app->config, "assent.db", paths[slot]);
        int first = shard * sim_options.lanes / sim_options.shards, end = (shard + 1) * sim_options.lanes / sim_options.shards;
        snprintf(lanes, sizeof lanes, "%d-%d", first, end - 1);
        set_text(app->config, "assent.lanes", lanes);
}

struct sim_process *sim_twin(const struct sim_process *process)
{
        const struct app *app = (const struct app *)process;
        struct app *twin = process_new(process->role, "twin", sim_processes_count, process->main);
        twin->service = app->service;
        twin->database = app->database;
        twin->number = twin->next = app->number;
        set_text(twin->config, "assent.db", assent_config_get(app->config, "assent.db"));
        set_text(twin->config, "assent.lanes", assent_config_get(app->config, "assent.lanes"));
        return &twin->process;
}

static void make_events(void *argument)
{
        (void)argument;
        sim_topic_of(SIM_EVENTS, SIM_EVENTS_LANES, SIM_EVENT_MAX);
}

/* As `assentctl topics apply` makes them: every topic, and the settings in every lane. */
static void make_topics(const struct assent_config *config)
{
        char name[ASSENT_TOPIC_SIZE_MAX], dead_letters[ASSENT_TOPIC_SIZE_MAX], text[ASSENT_SETTINGS_SIZE_MAX];
        for (int i = -1; i < sim_options.services; i++) {
                if (i < 0)
                        assent_topic_inbox(config, name);
                else
                        assent_topic_commands(config, assent_bytes_of(sim_service_name((unsigned)i)), name);
                sim_topic(name);
                assent_topic_dead_letters(name, dead_letters);
                sim_topic(dead_letters);
        }
        assent_topic_outcomes(config, name);
        sim_topic(name);
        struct assent_settings settings;
        assent_settings_of(config, &settings);
        assent_settings_format(&settings, text);
        struct assent_message message = {.type = ASSENT_CONTROL, .lamport = 1};
        message.body.control.kind = ASSENT_SETTINGS;
        message.body.control.branch = ASSENT_NO_BRANCH;
        message.body.control.settings = assent_bytes_of(text);
        assent_message_seal(&message);
        struct assent_codec *codec = assent_codec_open(settings.record_bytes_max);
        struct assent_bytes bytes;
        ASSENT_ASSERT(codec && assent_codec_encode(codec, &message, &bytes) == ASSENT_OK);
        assent_topic_inbox(config, name);
        for (int lane = 0; lane < sim_options.lanes; lane++)
                sim_append(sim_log_of(name, lane), "settings", bytes);
        assent_codec_close(codec);
}

/* Arrivals at random, the same for every number of clients. */
static void plan_load(void)
{
        int64_t due_us = 100000;
        for (unsigned i = 0; i < sim_transactions_count; i++) {
                struct memory *memory = &memories[i];
                double wait = -log(1 - (double)sim_below(1000000) / 1e6);
                memory->due_us = due_us += (int64_t)(wait * (double)sim_options.load_us);
                for (unsigned b = 0; b < sim_transactions[i].branches_count; b++) {
                        memory->retries[b] = sim_transactions[i].payloads[b].retries;
                        memory->retries_later[b] = sim_transactions[i].payloads[b].retries_later;
                }
        }
}

void sim_roles_open(void)
{
        stopping = sim_no_restart = sim_coordinators_gone = false;
        sim_processes_count = 0;
        memset(sim_client_skew_ms, 0, sizeof sim_client_skew_ms);
        make_folder();
        sim_disks_open();
        sim_cluster_open();
        sim_transactions_count = sim_options.transactions;
        sim_transactions = calloc(sim_transactions_count + 1, sizeof *sim_transactions);
        memories = calloc(sim_transactions_count + 1, sizeof *memories);
        ASSENT_ASSERT(sim_transactions && memories);
        if (sim_plan)
                sim_plan();
        else
                sim_workload();
        plan_load();
        for (int i = 0; i < sim_options.coordinators; i++)
                process_new(SIM_COORDINATOR, "coordinator", i, coordinator_main);
        for (int s = 0; s < sim_options.services; s++)
                for (int shard = 0; shard < sim_options.shards; shard++)
                        make_participant((unsigned)s, shard);
        for (int i = 0; i < sim_options.clients; i++)
                process_new(SIM_CLIENT, "client", i, client_main);
        for (int i = 0; i < sim_options.standbys; i++) {
                struct app *standby = process_new(SIM_COORDINATOR, "standby", i, coordinator_main);
                set_text(standby->config, "assent.standby", "true");
                set(standby->config, "assent.takeover_ms", 300);
        }
        make_topics(((struct app *)sim_processes[0])->config);
        if (sim_options.events_us)
                sim_at(sim_options.events_us, make_events, NULL);
        else
                make_events(NULL);
        for (int i = 0; i < sim_processes_count; i++)
                sim_at(sim_between(0, 50000), start_again, sim_processes[i]);
}

void sim_roles_close(void)
{
        sim_end_all();
        for (int i = 0; i < sim_processes_count; i++) {
                assent_config_close(((struct app *)sim_processes[i])->config);
                free(sim_processes[i]);
        }
        for (size_t i = 0; i < sizeof disks / sizeof *disks; i++) {
                if (disks[i])
                        sim_disk_free(disks[i]);
                disks[i] = NULL;
        }
        free(sim_transactions);
        free(memories);
        sim_transactions = NULL;
        memories = NULL;
        sim_transactions_count = 0;
        sim_cluster_close();
}
