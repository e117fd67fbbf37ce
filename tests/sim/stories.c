/* stories.c: named worlds, without random faults: each tells one thing that went wrong somewhere, in a textbook, in another
 * system or here, and what must come of it. `simulator stories` runs all, `simulator stories NAME` tells one. */
#include "sim.h"
#include "stories.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <assent/participant.h>

#include "base/panic.h"
#include "check.h"
#include "codec/codec.h"
#include "core/ids.h"
#include "core/participant.h"
#include "kafka.h"

#define INBOX        "assent.inbox"
#define COMMANDS     "assent.svc-%d.commands"
#define COORDINATORS "assent.coordinator"
#define HOUR_MS      INT64_C(3600000)

static struct {
        struct assent_codec *codec;
        void (*judge)(const struct sim_log *log, int64_t offset, const struct sim_process *sender);
        void (*watch)(const struct assent_message *message); /* every record, before anybody can read it */
        struct sim_process *victim; /* who comes to `point` (NULL: any) stops for so long; what it sends then is counted */
        const char *point;
        int64_t pause_us, woken_us;
        const char *counted; /* who comes to this point is counted in `seen`, and stays so long */
        int64_t slow_us;
        int seen, sent;
        int64_t died_us, again_us;
        uint8_t kept[4096]; /* a record's value, to be appended again */
        size_t kept_size;
} story;

static void expect(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void expect(bool holds, const char *format, ...)
{
        char text[512];
        if (holds)
                return;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        sim_violation("story", "%s", text);
}

/* ---- a story's world ---- */

static void appended(const struct sim_log *log, int64_t offset, const struct sim_process *sender)
{
        if (story.judge)
                story.judge(log, offset, sender);
        story.sent += sender && sender == story.victim && story.woken_us && sim_now_us() >= story.woken_us;
        const struct sim_record *record = &log->records[offset];
        struct assent_message message;
        if (!story.watch || record->marker ||
            assent_codec_decode(story.codec, (struct assent_bytes){record->bytes + record->key_size, record->size}, &message))
                return;
        story.watch(&message);
}

static void at_point(struct sim_process *process, const char *name)
{
        if (name && story.counted && strcmp(name, story.counted) == 0) {
                story.seen++;
                if (story.slow_us)
                        sim_wait(sim_now_us() + story.slow_us, NULL, NULL);
        }
        if (!name || !story.point || (story.victim && process != story.victim) || strcmp(name, story.point) != 0)
                return;
        story.victim = process;
        story.point = NULL;
        story.woken_us = sim_now_us() + story.pause_us;
        sim_pause(process, story.woken_us);
}

/* Transactions of two branches, on the first two services, that everybody says YES to. */
static void plan(void)
{
        for (unsigned i = 0; i < sim_transactions_count; i++) {
                struct sim_transaction *transaction = &sim_transactions[i];
                transaction->protocol = ASSENT_2PC;
                transaction->timeout_ms = 500;
                transaction->branches_count = 2;
                for (unsigned b = 0; b < 2; b++) {
                        transaction->services[b] = (uint16_t)b;
                        transaction->payloads[b] =
                                (struct sim_payload){.amount = b ? -5 : 5, .vote = ASSENT_VOTE_YES, .number = i};
                }
        }
}

static void plan_3pc(void)
{
        plan();
        for (unsigned i = 0; i < sim_transactions_count; i++)
                sim_transactions[i].protocol = ASSENT_3PC;
}

static void plan_refused(void)
{
        plan();
        for (unsigned i = 0; i < sim_transactions_count; i++)
                sim_transactions[i].payloads[1].vote = ASSENT_VOTE_NO;
}

static void plan_stubborn(void)
{
        plan();
        sim_transactions[0].payloads[0].retries_later = 100;
}

static int standbys; /* of the next world */

static void open_world(unsigned transactions, int coordinators, void (*plan_of)(void))
{
        struct sim_options options = {.seed = 1,
                                      .transactions = transactions,
                                      .narrate = sim_options.narrate,
                                      .calm = true,
                                      .lanes = 1,
                                      .coordinators = coordinators,
                                      .standbys = standbys,
                                      .clients = 1,
                                      .services = 2,
                                      .shards = 1,
                                      .load_us = 20000};
        memset(&sim_cluster_faults, 0, sizeof sim_cluster_faults);
        memset(&sim_disk_faults, 0, sizeof sim_disk_faults);
        memset(&story, 0, sizeof story);
        sim_world_open(&options);
        sim_plan = plan_of;
        sim_roles_open();
        sim_check_open();
        story.codec = assent_codec_open(262144);
        story.judge = sim_appended;
        sim_appended = appended;
        sim_at_point = at_point;
}

static void run_ms(int64_t ms)
{
        sim_run(sim_now_us() + 1000 * ms, NULL);
}

static struct sim_process *coordinator(int number)
{
        return sim_processes[number];
}

static struct sim_process *service(int number)
{
        return sim_processes[sim_options.coordinators + number];
}

/* NULL: whoever comes to it first. */
static void stop_at(struct sim_process *process, const char *point, int64_t ms)
{
        story.victim = process;
        story.point = point;
        story.pause_us = 1000 * ms;
        for (int i = 0; i < 3000 && story.point; i++)
                run_ms(1);
        expect(!story.point, "nobody came to %s", point);
}

/* It goes and stays away until `up`. */
static void down(struct sim_process *process)
{
        process->ended = NULL;
        sim_kill(process, SIM_KILLED);
}

/* After a violation no time passes: who was to go is still there. */
static void up(struct sim_process *process)
{
        if (!sim_violated())
                sim_start(process);
}

/* Everything must come to its end, and the books must balance. */
static void finish(void)
{
        story.watch = NULL;
        sim_run(sim_now_us() + INT64_C(60000000), sim_check_finished);
        expect(sim_violated() || sim_check_finished(), "not everything came to its end");
        sim_roles_stop();
        sim_run(sim_now_us() + INT64_C(10000000), sim_roles_stopped);
        if (!sim_violated())
                sim_check_audit();
}

static void close_world(void)
{
        sim_at_point = NULL;
        sim_check_refusals_allowed = false;
        sim_check_close();
        sim_roles_close();
        sim_world_close();
        sim_appended = NULL;
        sim_plan = NULL;
        assent_codec_close(story.codec);
}

/* What a service's database says. -1: nothing. */
static int64_t ask(int number, const char *sql)
{
        sqlite3 *db;
        sqlite3_stmt *statement = NULL;
        int64_t value = -1;
        if (sqlite3_open_v2(sim_database((unsigned)number, 0), &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
            sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
                value = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
        sqlite3_close(db);
        return value;
}

static int64_t state_of(int number)
{
        return ask(number, "SELECT state FROM assent_branch LIMIT 1");
}

static bool is_command(const struct assent_message *message, enum assent_phase phase, const char *name)
{
        const struct assent_bytes *to = &message->body.command.service;
        return message->type == ASSENT_COMMAND && message->body.command.phase == phase && to->size == strlen(name) &&
               memcmp(to->data, name, to->size) == 0;
}

static struct sim_log *commands_of(int number)
{
        char topic[64];
        snprintf(topic, sizeof topic, COMMANDS, number);
        return sim_log_of(topic, 0);
}

static struct assent_bytes value_of(const struct sim_log *log, int64_t offset)
{
        const struct sim_record *record = &log->records[offset];
        return (struct assent_bytes){record->bytes + record->key_size, record->size};
}

/* The first command of that phase in a service's topic; -1: none. */
static int64_t find_command(int number, enum assent_phase phase)
{
        const struct sim_log *log = commands_of(number);
        struct assent_message message;
        for (int64_t o = log->low; o < log->high; o++)
                if (!log->records[o].marker && !assent_codec_decode(story.codec, value_of(log, o), &message) &&
                    message.type == ASSENT_COMMAND && message.body.command.phase == phase)
                        return o;
        return -1;
}

static void append_again(struct sim_log *log, int64_t offset)
{
        char key[64];
        if (sim_violated()) /* it may not even be there */
                return;
        snprintf(key, sizeof key, "%.*s", (int)log->records[offset].key_size, (const char *)log->records[offset].bytes);
        ASSENT_ASSERT(log->records[offset].size <= sizeof story.kept);
        story.kept_size = log->records[offset].size;
        memcpy(story.kept, value_of(log, offset).data, story.kept_size);
        sim_append(log, key, (struct assent_bytes){story.kept, story.kept_size});
}

/* ---- the stories ---- */

static void cut_before_pre_commit(const struct assent_message *message)
{
        if (is_command(message, ASSENT_PRE_COMMIT, "svc-1"))
                sim_cluster_cut(service(1), true, true);
        if (message->type == ASSENT_REPLY && message->body.reply.phase == ASSENT_PRE_COMMIT)
                down(coordinator(0));
}

/* The network fails between PRE_COMMIT to the one and PRE_COMMIT to the other, and the coordinator dies. */
static void textbook_3pc(void)
{
        open_world(1, 1, plan_3pc);
        story.watch = cut_before_pre_commit;
        for (int i = 0; i < 40 && state_of(0) != ASSENT_BRANCH_PRE_COMMITTED; i++)
                run_ms(20);
        run_ms(50);
        expect(state_of(0) == ASSENT_BRANCH_PRE_COMMITTED && state_of(1) == ASSENT_BRANCH_PREPARED,
               "the partition did not come as planned: states %d and %d", (int)state_of(0), (int)state_of(1));
        run_ms(5000); /* every timer fires: by the textbook READY aborts, PRE-COMMITTED commits */
        expect(state_of(1) == ASSENT_BRANCH_PREPARED, "who is cut off decided alone");
        sim_cluster_cut(service(1), false, false);
        run_ms(5000);
        expect(state_of(0) == ASSENT_BRANCH_COMMITTED && state_of(1) == ASSENT_BRANCH_COMMITTED,
               "states %d and %d with no coordinator alive", (int)state_of(0), (int)state_of(1));
        up(coordinator(0));
        finish();
}

static void coordinator_dies_at_vote(const struct assent_message *message)
{
        if (message->type == ASSENT_REPLY && ++story.seen == 15)
                down(coordinator(0));
}

/* A coordinator that is gone for ever: who has voted YES learns the outcome from the log. */
static void coordinator_gone(void)
{
        open_world(20, 1, plan);
        story.watch = coordinator_dies_at_vote;
        run_ms(1500);
        expect(!coordinator(0)->running, "the coordinator is still there");
        run_ms(6000);
        for (int i = 0; i < 2; i++)
                expect(ask(i, "SELECT count(*) FROM assent_branch WHERE state IN (2, 3)") == 0,
                       "svc-%d is still in doubt about %d branches", i,
                       (int)ask(i, "SELECT count(*) FROM assent_branch WHERE state IN (2, 3)"));
        expect(ask(0, "SELECT count(*) FROM ledger") > 0, "nothing was committed");
        up(coordinator(0));
        finish();
}

static void note_outcome(const struct assent_message *message)
{
        if (message->type == ASSENT_OUTCOME && story.died_us > 0 && sim_now_us() > story.died_us && !story.again_us)
                story.again_us = sim_now_us();
        if (message->type == ASSENT_REPLY && ++story.seen == 15) {
                down(coordinator(0));
                story.died_us = sim_now_us();
        }
}

/* The only owner is killed: a standby decides as soon as the checkpoints have stood still, without election or replay. */
static void warm_standby(void)
{
        standbys = 1;
        open_world(40, 1, plan);
        standbys = 0;
        story.watch = note_outcome;
        run_ms(5000);
        expect(story.died_us && story.again_us && story.again_us - story.died_us < 500000, "decided again after %d ms",
               (int)((story.again_us - story.died_us) / 1000));
        expect(ask(0, "SELECT count(*) FROM ledger") == 40, "%d of 40 were committed",
               (int)ask(0, "SELECT count(*) FROM ledger"));
        up(coordinator(0));
        finish();
}

/* A coordinator stopped in the middle of a step comes back an hour later. */
static void zombie_coordinator(void)
{
        open_world(30, 2, plan);
        run_ms(300);
        stop_at(NULL, "coordinator_after_step", HOUR_MS);
        run_ms(HOUR_MS + 5000);
        expect(story.sent > 0, "it did not go on where it had stopped");
        finish();
}

/* A coordinator stops between two emissions of one record, for longer than its group waits. When the other one has the lane
 * and has done all the work, it wakes and goes on with what it had read: it repeats, and moves nothing. */
static void work_after_revoke(void)
{
        open_world(40, 2, plan);
        run_ms(300);
        stop_at(NULL, "coordinator_between_emissions", 8000);
        run_ms(6000);
        expect(sim_check_finished(), "the other coordinator did not finish the work");
        int64_t committed = sim_group_offset(COORDINATORS, 0), booked = ask(0, "SELECT count(*) FROM ledger");
        expect(story.sent == 0, "it did not stop");
        run_ms(3000);
        expect(story.sent > 0, "it did not go on working");
        expect(sim_group_offset(COORDINATORS, 0) >= committed, "its checkpoint counted though it had lost the lane");
        expect(ask(0, "SELECT count(*) FROM ledger") == booked, "what it repeated was done twice");
        finish();
}

/* A participant stops inside its handler until the transaction is decided without it. Then it finishes and votes YES. */
static void late_vote(void)
{
        open_world(1, 1, plan);
        stop_at(service(1), "participant_after_handler", 5000);
        run_ms(4000);
        expect(state_of(0) == ASSENT_BRANCH_ABORTED, "state %d", (int)state_of(0));
        int64_t decided = sim_log_of(INBOX, 0)->high;
        run_ms(2000);
        expect(sim_log_of(INBOX, 0)->high > decided, "it did not vote");
        expect(state_of(1) == ASSENT_BRANCH_ABORTED, "state %d after a vote that came too late", (int)state_of(1));
        expect(ask(1, "SELECT count(*) FROM hold") == 0, "the hold of a vote that came too late stays");
        finish();
}

/* PREPARE comes again after ABORT: at once, and when its branch is long forgotten. */
static void late_prepare(void)
{
        open_world(1, 1, plan_refused);
        run_ms(1500);
        expect(state_of(0) == ASSENT_BRANCH_ABORTED, "state %d", (int)state_of(0));
        int64_t prepare = find_command(0, ASSENT_PREPARE), abort_ = find_command(0, ASSENT_ABORT);
        expect(prepare >= 0 && abort_ >= 0, "no PREPARE or no ABORT");
        append_again(commands_of(0), prepare);
        run_ms(300);
        expect(state_of(0) == ASSENT_BRANCH_ABORTED, "PREPARE after ABORT brought it to state %d", (int)state_of(0));
        for (int i = 0; i < 12 && state_of(0) >= 0; i++) {
                run_ms(5000);
                append_again(commands_of(0), abort_); /* log time goes on */
        }
        run_ms(12000);
        expect(state_of(0) == -1, "the branch is not forgotten");
        append_again(commands_of(0), prepare);
        run_ms(1000);
        expect(ask(0, "SELECT count(*) FROM hold") == 0, "a late PREPARE took a hold that nobody will release");
        finish();
}

static void keep_prepare(const struct assent_message *message)
{
        if (is_command(message, ASSENT_PREPARE, "svc-0") && ++story.seen == 1)
                sim_cluster_cut(service(0), true, true);
}

/* ABORT overtakes PREPARE on the way to a participant. */
static void abort_first(void)
{
        open_world(1, 1, plan_refused);
        story.watch = keep_prepare;
        run_ms(1500); /* aborted: svc-1 said NO; svc-0 has read nothing */
        int64_t abort_ = find_command(0, ASSENT_ABORT);
        expect(abort_ > find_command(0, ASSENT_PREPARE), "no ABORT");
        if (sim_violated())
                return;
        /* The same records in the other order, as if another coordinator's had come first. */
        struct sim_log *log = commands_of(0);
        struct sim_record first = log->records[0];
        log->records[0] = log->records[abort_];
        log->records[abort_] = first;
        log->records[0].timestamp_ms = first.timestamp_ms;
        sim_cluster_cut(service(0), false, false);
        run_ms(1000);
        expect(state_of(0) == ASSENT_BRANCH_TOMBSTONE, "state %d instead of a tombstone", (int)state_of(0));
        expect(ask(0, "SELECT count(*) FROM hold") == 0, "PREPARE after ABORT took a hold");
        finish();
}

/* A database is restored from a copy of before. */
static void old_backup(void)
{
        open_world(30, 1, plan);
        run_ms(400);
        down(service(0));
        run_ms(1);
        struct sim_disk_copy *old = sim_disk_save(service(0)->disk);
        up(service(0));
        run_ms(600);
        down(service(0));
        run_ms(1);
        struct sim_disk_copy *newest = sim_disk_save(service(0)->disk);
        sim_disk_restore(service(0)->disk, old);
        sim_check_refusals_allowed = true;
        up(service(0));
        run_ms(4000);
        expect(!service(0)->running && service(0)->err == ASSENT_E_POSITION,
               "the old copy was not refused: %s", assent_err_name(service(0)->err));
        sim_disk_restore(service(0)->disk, newest);
        up(service(0));
        finish();
        sim_disk_copy_free(old);
        sim_disk_copy_free(newest);
}

/* The log loses acknowledged records: everybody who acted on them stops. */
static void truncated_log(void)
{
        open_world(30, 1, plan);
        run_ms(1500);
        for (int i = 0; i < 2; i++)
                down(service(i));
        down(coordinator(0));
        run_ms(1);
        sim_check_refusals_allowed = true;
        sim_cluster_truncate(sim_log_of(INBOX, 0), 20);
        sim_cluster_truncate(commands_of(0), 5);
        up(coordinator(0));
        up(service(0));
        run_ms(10000);
        expect(coordinator(0)->err == ASSENT_E_CHECKPOINT, "the coordinator said %s",
               assent_err_name(coordinator(0)->err));
        expect(service(0)->err == ASSENT_E_POSITION, "the participant said %s",
               assent_err_name(service(0)->err));
}

/* A second process is started on a database that has an owner, who is only stopped for a moment. */
static void two_owners(void)
{
        open_world(20, 1, plan);
        run_ms(300);
        struct sim_process *twin = sim_twin(service(0));
        twin->ended = NULL;
        sim_pause(service(0), sim_now_us() + 3000000);
        sim_check_refusals_allowed = true;
        up(twin);
        run_ms(1000);
        expect(!twin->running && twin->err == ASSENT_E_OWNER, "the second owner was let in: %s",
               assent_err_name(twin->err));
        down(service(0));
        run_ms(1);
        up(twin);
        run_ms(3000);
        expect(twin->running, "the next owner was refused: %s", assent_err_name(twin->err));
        finish();
}

/* The broker's clock jumps two hours ahead and back: an outage for new begins, nothing else. */
static void clock_jump(void)
{
        open_world(40, 1, plan);
        run_ms(400);
        sim_cluster_clock(7200000);
        run_ms(400);
        sim_cluster_clock(0);
        run_ms(3000);
        finish();
        expect(ask(0, "SELECT count(*) FROM hold") == 0, "a hold is left");
}

/* Somebody asks about a transaction that the coordinator has forgotten: nobody presumes an ABORT. */
static void forgotten(void)
{
        open_world(2, 1, plan);
        run_ms(8000);
        for (int i = 0; i < 2; i++) {
                struct assent_message inquire = {.type = ASSENT_CONTROL, .txn_id = sim_transactions[0].txn_id, .lamport = 9};
                inquire.body.control.kind = ASSENT_INQUIRE;
                inquire.body.control.branch = i ? 0 : ASSENT_NO_BRANCH;
                inquire.body.control.attempt = 77;
                assent_message_seal(&inquire);
                struct assent_bytes bytes;
                ASSENT_ASSERT(assent_codec_encode(story.codec, &inquire, &bytes) == ASSENT_OK);
                sim_append(sim_log_of(INBOX, 0), "asked", bytes);
        }
        int64_t high = commands_of(0)->high;
        run_ms(2000);
        expect(commands_of(0)->high == high, "an answer was made up");
        expect(ask(0, "SELECT count(*) FROM ledger") == 2, "not committed");
        finish();
}

/* Garbage between the phases of a transaction holds up nobody. */
static void poison(void)
{
        open_world(20, 1, plan);
        sim_check_foreign(true);
        for (int i = 0; i < 20; i++) {
                sim_append(sim_log_of(INBOX, 0), "poison", (struct assent_bytes){"\xc3\x01garbage", 9});
                sim_append(commands_of(0), "poison", (struct assent_bytes){"", 0});
                run_ms(40);
        }
        sim_check_foreign(false);
        finish();
        expect(ask(0, "SELECT count(*) FROM ledger") == 20, "not everything was committed");
}

/* A handler does not get done with its COMMIT for long: it is called again, neither at once nor ever more seldom (every 200 to
 * 250 ms here), and holds up nobody. */
static void backs_off(void)
{
        open_world(20, 1, plan_stubborn);
        run_ms(5000);
        expect(ask(0, "SELECT count(*) FROM ledger") == 19, "%d of the 19 others are committed",
               (int)ask(0, "SELECT count(*) FROM ledger"));
        story.counted = "participant_after_handler";
        run_ms(10000);
        expect(story.seen >= 35 && story.seen <= 50, "its handler was called %d times in 10 s", story.seen);
        finish();
        expect(ask(0, "SELECT count(*) FROM ledger") == 20, "it is not committed");
}

/* PREPARE once more is answered with the first answer, byte for byte. */
static void prepare_again(void)
{
        const struct sim_log *inbox = sim_log_of(INBOX, 0);
        struct assent_message message;
        int64_t first = -1, high = inbox->high;
        for (int64_t o = 0; o < high && first < 0; o++)
                if (!assent_codec_decode(story.codec, value_of(inbox, o), &message) && message.type == ASSENT_REPLY &&
                    message.body.reply.branch == 0)
                        first = o;
        expect(first >= 0, "PREPARE was not answered");
        append_again(commands_of(0), find_command(0, ASSENT_PREPARE));
        run_ms(1000);
        expect(inbox->high > high, "PREPARE was not answered again");
        if (sim_violated())
                return;
        struct assent_bytes a = value_of(inbox, first), b = value_of(inbox, inbox->high - 1);
        expect(a.size == b.size && memcmp(a.data, b.data, a.size) == 0, "another answer than before");
}

static void same_answer(void)
{
        open_world(1, 1, plan);
        run_ms(1500);
        prepare_again();
        finish();
}

/* A participant is away for an hour, far beyond its horizon: what it has answered is forgotten by the log's time, and that of
 * its lane has stood still. */
static void hour_away(void)
{
        open_world(1, 1, plan);
        run_ms(1500);
        down(service(0));
        run_ms(HOUR_MS);
        up(service(0));
        run_ms(10000);
        expect(state_of(0) == ASSENT_BRANCH_COMMITTED, "state %d after an hour without records", (int)state_of(0));
        prepare_again();
        expect(ask(0, "SELECT count(*) FROM hold") == 0, "PREPARE was run a second time");
        finish();
}

/* Killed between a commit's write and its sync, started again, then the power fails: what the second life acted on must
 * still be there. */
static void killed_then_dark(void)
{
        for (int calls = 1; calls < 12 && !sim_violated(); calls++) {
                if (calls > 1)
                        close_world();
                open_world(10, 1, plan);
                run_ms(150);
                sim_disk_kill_after(service(0)->disk, calls);
                unsigned lives = service(0)->lives;
                for (int i = 0; i < 1000 && service(0)->lives == lives; i++)
                        run_ms(1);
                run_ms(calls % 4 * 10);
                sim_kill(service(0), SIM_POWER_LOST);
                finish();
        }
}

/* The disk is full for two seconds. */
static void disk_full(void)
{
        open_world(30, 1, plan);
        run_ms(300);
        sim_disk_faults.full = 1000000;
        run_ms(2000);
        expect(service(0)->lives > 1, "nobody noticed");
        sim_disk_faults.full = 0;
        finish();
}

/* ---- what was wrong here, once ---- */

/* From now on, for so long: what a new leader may show before it knows better. */
static void show_old_end(struct sim_log *log, int64_t end, int64_t ms)
{
        struct lane *lane = (struct lane *)log;
        lane->old_end = end;
        lane->old_end_until_us = sim_now_us() + 1000 * ms;
}

/* A coordinator loses its lane in the middle of a replay, an older checkpoint comes in late, and the lane comes back: what was
 * replayed begins too late for that one, and is thrown away. */
static void unproved_replay(void)
{
        open_world(1500, 1, plan);
        run_ms(3000);
        bool older = false;
        for (int tries = 0; tries < 8 && !older; tries++) { /* how late a commit comes is drawn */
                run_ms(1000);
                sim_cluster_faults.commit_late = 1000000;
                run_ms(400);
                sim_cluster_faults.commit_late = 0;
                run_ms(100);
                down(coordinator(0));
                run_ms(1);
                up(coordinator(0));
                story.seen = 0;
                story.counted = "coordinator_replaying";
                story.slow_us = 5000;
                for (int i = 0; i < 3000 && story.seen == 0; i++)
                        run_ms(1);
                int64_t committed = sim_group_offset(COORDINATORS, 0);
                for (int seen = 0; seen != story.seen && !older;) {
                        seen = story.seen;
                        run_ms(10);
                        older = sim_group_offset(COORDINATORS, 0) < committed;
                }
                sim_cluster_rebalance(COORDINATORS);
                run_ms(1000); /* until it is told and has the lane again */
                story.slow_us = 0;
        }
        expect(older, "no older checkpoint came in while a replay went on");
        finish();
}

/* A lane comes back to its coordinator while its new leader shows an old end, and retention goes on meanwhile. */
static void lane_returns(void)
{
        open_world(250, 1, plan);
        run_ms(3500);
        struct sim_log *inbox = sim_log_of(INBOX, 0);
        show_old_end(inbox, inbox->visible - 10, 900);
        sim_cluster_rebalance(COORDINATORS);
        for (int i = 0; i < 1500; i++) {
                run_ms(1);
                if (inbox->low < sim_group_offset(COORDINATORS, 0))
                        sim_cluster_retain(inbox, inbox->low + 1);
        }
        expect(inbox->low > 500, "retention took only what is below %d", (int)inbox->low);
        finish();
}

/* Participants start for the first time while the inbox' new leader shows it as empty. */
static void first_start(void)
{
        open_world(5, 1, plan);
        show_old_end(sim_log_of(INBOX, 0), 0, 500);
        run_ms(3000);
        expect(service(0)->lives == 1 && service(1)->lives == 1, "a first start found no SETTINGS record");
        finish();
}

static const struct {
        const char *name;
        void (*tell)(void);
} stories[] = {
        {"textbook-3pc", textbook_3pc},
        {"coordinator-gone", coordinator_gone},
        {"warm-standby", warm_standby},
        {"zombie-coordinator", zombie_coordinator},
        {"work-after-revoke", work_after_revoke},
        {"late-vote", late_vote},
        {"late-prepare", late_prepare},
        {"abort-first", abort_first},
        {"old-backup", old_backup},
        {"truncated-log", truncated_log},
        {"two-owners", two_owners},
        {"clock-jump", clock_jump},
        {"forgotten", forgotten},
        {"poison", poison},
        {"backs-off", backs_off},
        {"same-answer", same_answer},
        {"hour-away", hour_away},
        {"killed-then-dark", killed_then_dark},
        {"disk-full", disk_full},
        {"unproved-replay", unproved_replay},
        {"lane-returns", lane_returns},
        {"first-start", first_start},
};

int sim_stories(const char *name)
{
        int told = 0, failed = 0;
        sim_options.narrate = name != NULL;
        for (size_t i = 0; i < sizeof stories / sizeof *stories; i++) {
                if (name && strcmp(name, stories[i].name) != 0)
                        continue;
                stories[i].tell();
                const char *verdict = sim_verdict();
                printf("%s %d - %s%s%s\n", verdict ? "not ok" : "ok", ++told, stories[i].name, verdict ? ": " : "",
                       verdict ? verdict : "");
                failed += verdict != NULL;
                close_world();
        }
        printf("1..%d\n", told);
        return failed > 0 || told == 0;
}
