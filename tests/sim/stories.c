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

#define INBOX    "assent.inbox"
#define COMMANDS "assent.svc-%d.commands"

static struct {
        struct assent_codec *codec;
        void (*judge)(const struct sim_log *log, int64_t offset, const struct sim_process *sender);
        void (*watch)(const struct assent_message *message); /* every record, before anybody can read it */
        struct sim_process *victim;
        const char *point;
        int seen;
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
        const struct sim_record *record = &log->records[offset];
        struct assent_message message;
        if (!story.watch || record->marker ||
            assent_codec_decode(story.codec, (struct assent_bytes){record->bytes + record->key_size, record->size}, &message))
                return;
        story.watch(&message);
}

static void at_point(struct sim_process *process, const char *name)
{
        if (!name || !story.point || process != story.victim || strcmp(name, story.point) != 0)
                return;
        story.point = NULL;
        sim_pause(process, sim_now_us() + INT64_C(3600000000));
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

/* It goes and stays away until sim_start. */
static void down(struct sim_process *process)
{
        process->ended = NULL;
        sim_kill(process, SIM_KILLED);
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
        snprintf(key, sizeof key, "%.*s", (int)log->records[offset].key_size, (const char *)log->records[offset].bytes);
        ASSENT_ASSERT(log->records[offset].size <= sizeof story.kept);
        story.kept_size = log->records[offset].size;
        memcpy(story.kept, value_of(log, offset).data, story.kept_size);
        sim_append(log, key, (struct assent_bytes){story.kept, story.kept_size});
}

/* ---- the stories ---- */

/* What a participant of the textbook does when its timer fires: READY aborts, PRE-COMMITTED commits. */
static enum assent_branch_state textbook(int64_t state)
{
        return state == ASSENT_BRANCH_PRE_COMMITTED ? ASSENT_BRANCH_COMMITTED : ASSENT_BRANCH_ABORTED;
}

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
        expect(textbook(state_of(0)) != textbook(state_of(1)), "the textbook's rule no longer splits the decision here");
        run_ms(5000); /* every timer fires */
        expect(state_of(1) == ASSENT_BRANCH_PREPARED, "who is cut off decided alone");
        sim_cluster_cut(service(1), false, false);
        run_ms(5000);
        expect(state_of(0) == ASSENT_BRANCH_COMMITTED && state_of(1) == ASSENT_BRANCH_COMMITTED,
               "states %d and %d with no coordinator alive", (int)state_of(0), (int)state_of(1));
        sim_start(coordinator(0));
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
        sim_start(coordinator(0));
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
        sim_start(coordinator(0));
        finish();
}

/* A coordinator stopped in the middle of a step comes back an hour later. */
static void zombie_coordinator(void)
{
        open_world(30, 2, plan);
        run_ms(300);
        story.victim = coordinator(0);
        story.point = "coordinator_after_step";
        run_ms(300);
        if (story.point) { /* the other one has the lane */
                story.victim = coordinator(1);
                run_ms(300);
        }
        expect(!story.point, "no coordinator came to its step");
        run_ms(3605000);
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
        sim_start(service(0));
        run_ms(600);
        down(service(0));
        run_ms(1);
        struct sim_disk_copy *newest = sim_disk_save(service(0)->disk);
        sim_disk_restore(service(0)->disk, old);
        sim_check_refusals_allowed = true;
        sim_start(service(0));
        run_ms(4000);
        expect(!service(0)->running && service(0)->err == ASSENT_E_POSITION,
               "the old copy was not refused: %s", assent_err_name(service(0)->err));
        sim_disk_restore(service(0)->disk, newest);
        sim_start(service(0));
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
        sim_start(coordinator(0));
        sim_start(service(0));
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
        sim_start(twin);
        run_ms(1000);
        expect(!twin->running && twin->err == ASSENT_E_OWNER, "the second owner was let in: %s",
               assent_err_name(twin->err));
        down(service(0));
        run_ms(1);
        sim_start(twin);
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

/* PREPARE once more is answered with the first answer, byte for byte. */
static void same_answer(void)
{
        open_world(1, 1, plan);
        run_ms(1500);
        const struct sim_log *inbox = sim_log_of(INBOX, 0);
        struct assent_message message;
        int64_t first = -1;
        for (int64_t o = 0; o < inbox->high && first < 0; o++)
                if (!assent_codec_decode(story.codec, value_of(inbox, o), &message) && message.type == ASSENT_REPLY &&
                    message.body.reply.branch == 0)
                        first = o;
        append_again(commands_of(0), find_command(0, ASSENT_PREPARE));
        run_ms(500);
        struct assent_bytes a = value_of(inbox, first), b = value_of(inbox, inbox->high - 1);
        expect(a.size == b.size && memcmp(a.data, b.data, a.size) == 0, "another answer than before");
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

static const struct {
        const char *name;
        void (*tell)(void);
} stories[] = {
        {"textbook-3pc", textbook_3pc},
        {"coordinator-gone", coordinator_gone},
        {"warm-standby", warm_standby},
        {"zombie-coordinator", zombie_coordinator},
        {"late-prepare", late_prepare},
        {"abort-first", abort_first},
        {"old-backup", old_backup},
        {"truncated-log", truncated_log},
        {"two-owners", two_owners},
        {"clock-jump", clock_jump},
        {"forgotten", forgotten},
        {"poison", poison},
        {"same-answer", same_answer},
        {"killed-then-dark", killed_then_dark},
        {"disk-full", disk_full},
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
