/* check_audit.c: what the databases must say: of a process that is down, whatever it was doing; and of all when the world is
 * quiet. See check.h. */
#include "check.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "core/ids.h"
#include "core/states.h"

#define BRANCHES                                                                                                               \
        "SELECT txn_id, branch, lane, state, frozen, parked, unpublished, first_answer, pre_commit_phase, decision_phase,"     \
        " branches_count, \"offset\" FROM assent_branch"
enum { TXN, BRANCH, LANE, STATE, FROZEN, PARKED, UNPUBLISHED, FIRST_ANSWER, PRE_COMMIT_PHASE, DECISION_PHASE, COUNT, OFFSET };

/* A database that is looked at. */
struct book {
        sqlite3 *db;
        unsigned service;
        int first_lane, end_lane;
        bool quiet; /* everything is finished */
        uint32_t database;
        int64_t large; /* events that no broker takes */
        int64_t sum; /* of all that is booked */
        int64_t since_us; /* when its process last started, if it is known to have got to work */
};

/* ---- rows ---- */

static void each(struct book *book, const char *sql, void (*look)(struct book *book, sqlite3_stmt *row))
{
        sqlite3_stmt *statement = NULL;
        int result = sqlite3_prepare_v2(book->db, sql, -1, &statement, NULL);
        while (result == SQLITE_OK && (result = sqlite3_step(statement)) == SQLITE_ROW && !sim_violated()) {
                look(book, statement);
                result = SQLITE_OK;
        }
        if (result != SQLITE_DONE && !sim_violated())
                sim_violation("audit", "%s: %s: %s", sim_service_name(book->service), sql, sqlite3_errmsg(book->db));
        sqlite3_finalize(statement);
}

static int64_t ask(struct book *book, const char *sql)
{
        sqlite3_stmt *statement = NULL;
        int64_t value = 0;
        if (sqlite3_prepare_v2(book->db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
                value = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
        return value;
}

static struct check_row *row_of(struct check_branch *branch)
{
        if (branch->row.audit != sim_judge.audits)
                branch->row = (struct check_row){.audit = sim_judge.audits};
        return &branch->row;
}

/* Columns 0 and 1 of a row. NULL: nobody ever began that, or it is not to be judged. */
static struct check_txn *branch_of(const struct book *book, sqlite3_stmt *row, struct check_branch **branch, const char *what)
{
        struct assent_uuid id = {{0}};
        char text[24];
        unsigned number = (unsigned)sqlite3_column_int(row, BRANCH);
        if (sqlite3_column_bytes(row, TXN) == sizeof id)
                memcpy(&id, sqlite3_column_blob(row, TXN), sizeof id);
        struct check_txn *txn = sim_check_txn(&id);
        if (txn && txn->tainted)
                return NULL;
        if (txn && txn->accepted && number < txn->count && txn->branches[number].service == book->service) {
                *branch = &txn->branches[number];
                return txn;
        }
        struct check_txn nobody = {.id = id};
        sim_violation("I15", "%s has a %s for %s.%u, which is none of its", sim_service_name(book->service), what,
                      sim_check_short(txn ? txn : &nobody, text), number);
        return NULL;
}

static void branch_row(struct book *book, sqlite3_stmt *columns)
{
        struct check_branch *branch;
        char text[24];
        if (sqlite3_column_int(columns, FROZEN) && sqlite3_column_bytes(columns, TXN) == sizeof(struct assent_uuid))
                sim_check_frozen_row(sqlite3_column_blob(columns, TXN), (unsigned)sqlite3_column_int(columns, BRANCH),
                                     sim_service_name(book->service), book->since_us);
        const struct check_txn *txn = branch_of(book, columns, &branch, "branch");
        if (!txn)
                return;
        struct check_row *row = row_of(branch);
        const struct check_log *commands = sim_check_log((int)book->service, txn->lane);
        const char *name = sim_service_name(book->service);
        int number = sqlite3_column_int(columns, BRANCH), parked = sqlite3_column_int(columns, PARKED);
        row->rows++;
        row->state = (enum assent_branch_state)sqlite3_column_int(columns, STATE);
        row->vote = (enum assent_answer)sqlite3_column_int(columns, FIRST_ANSWER);
        row->pre_committed = sqlite3_column_int(columns, PRE_COMMIT_PHASE) != 0;
        row->decision = (enum assent_phase)sqlite3_column_int(columns, DECISION_PHASE);
        row->unpublished = sqlite3_column_int(columns, UNPUBLISHED);
        sim_check_short(txn, text);
        if (sqlite3_column_int(columns, LANE) != txn->lane || (unsigned)sqlite3_column_int(columns, COUNT) != txn->count ||
            txn->lane < book->first_lane || txn->lane >= book->end_lane)
                sim_violation("I11", "%s has %s.%d in lane %d, of %d branches", name, text, number,
                              sqlite3_column_int(columns, LANE), sqlite3_column_int(columns, COUNT));
        else if (sqlite3_column_int64(columns, OFFSET) >= commands->position)
                sim_violation("I5", "%s knows %s.%d from offset %lld, and has read up to %" PRId64, name, text, number,
                              sqlite3_column_int64(columns, OFFSET), commands->position);
        else if (sqlite3_column_int(columns, FROZEN))
                sim_violation("I18", "%s: %s.%d is frozen; nothing was forged", name, text, number);
        else if (book->quiet && (!assent_branch_state_final(row->state) || parked || row->unpublished))
                sim_violation("I13", "%s: %s.%d is %s, %d parked, unpublished %d", name, text, number,
                              assent_branch_state_name(row->state), parked, row->unpublished);
}

static void hold_row(struct book *book, sqlite3_stmt *columns)
{
        struct check_branch *branch;
        if (branch_of(book, columns, &branch, "hold"))
                row_of(branch)->holds++;
}

static void ledger_row(struct book *book, sqlite3_stmt *columns)
{
        struct check_branch *branch;
        const struct check_txn *txn = branch_of(book, columns, &branch, "ledger entry");
        char text[24];
        if (!txn)
                return;
        row_of(branch)->entries++;
        book->sum += sqlite3_column_int64(columns, 2);
        if (sqlite3_column_int(columns, 2) != branch->payload.amount)
                sim_violation("I4", "%s booked %d for %s.%d; it was to be %d", sim_service_name(book->service),
                              sqlite3_column_int(columns, 2), sim_check_short(txn, text), sqlite3_column_int(columns, BRANCH),
                              branch->payload.amount);
}

static void balance_row(struct book *book, sqlite3_stmt *columns)
{
        if (sqlite3_column_int64(columns, 0) != sqlite3_column_int64(columns, 1))
                sim_violation("I4", "%s has balance %lld; its ledger says %lld", sim_service_name(book->service),
                              sqlite3_column_int64(columns, 0), sqlite3_column_int64(columns, 1));
}

/* Each event is one row, in the order of its database. */
static void event_row(struct book *book, sqlite3_stmt *columns)
{
        const struct sim_event event = {.database = book->database,
                                        .number = sqlite3_column_int64(columns, 0),
                                        .nonce = (uint64_t)sqlite3_column_int64(columns, 1),
                                        .key = (uint32_t)sqlite3_column_int(columns, 2)};
        book->large += sim_event_large(event.nonce);
        sim_check_event_row(&event);
}

/* When everything is finished, no event is left but those that no broker takes. */
static void audit_outbox(struct book *book)
{
        each(book, "SELECT number, nonce, key FROM event", event_row);
        int64_t waiting = ask(book, "SELECT count(*) FROM assent_outbox WHERE refused IS NULL"),
                refused = ask(book, "SELECT count(*) FROM assent_outbox WHERE refused IS NOT NULL");
        if (waiting != 0 || refused != book->large)
                sim_violation("outbox", "%s: %" PRId64 " events wait, %" PRId64 " are refused; %" PRId64 " are too large",
                              sim_service_name(book->service), waiting, refused, book->large);
}

/* P11: position, running hash and log time are those of the records themselves. */
static void position_row(struct book *book, sqlite3_stmt *columns)
{
        int lane = sqlite3_column_int(columns, 1);
        struct check_log *commands = sim_check_log((int)book->service, lane);
        const char *topic = (const char *)sqlite3_column_text(columns, 0), *name = sim_service_name(book->service);
        int64_t next = sqlite3_column_int64(columns, 2), tau_ms = INT64_MIN;
        if (!commands || strcmp(commands->log->topic, topic) != 0 || lane < book->first_lane || lane >= book->end_lane) {
                sim_violation("I11", "%s has a position for %s, lane %d", name, topic, lane);
                return;
        }
        const struct sim_log *log = commands->log;
        uint64_t chain = 0;
        commands->position = next;
        commands->cursor = sqlite3_column_int64(columns, 5);
        for (int64_t offset = log->low; offset < next && next <= log->visible; offset++) {
                const struct sim_record *record = &log->records[offset];
                if (record->marker)
                        continue;
                chain = assent_hash64_chain(chain, record->bytes + record->key_size, record->size);
                if (record->timestamp_ms >= 0 && record->timestamp_ms < INT64_C(1) << 48 && record->timestamp_ms > tau_ms)
                        tau_ms = record->timestamp_ms;
        }
        char group[64];
        snprintf(group, sizeof group, "assent.%s", name);
        if (sim_group_offset(group, lane) > commands->cursor)
                commands->cursor = sim_group_offset(group, lane);
        if (next < commands->consumed && !sim_check_refusals_allowed)
                sim_violation("I7", "%s: lane %d is read up to %" PRId64 ", and was up to %" PRId64, name, lane, next,
                              commands->consumed);
        else if (next > log->visible)
                sim_violation("I14", "%s: lane %d is read up to %" PRId64 " of %" PRId64, name, lane, next, log->visible);
        else if (log->low == 0 && chain != (uint64_t)sqlite3_column_int64(columns, 3))
                sim_violation("I5", "%s: lane %d has another chain than its %" PRId64 " records", name, lane, next);
        else if (log->low == 0 && tau_ms != sqlite3_column_int64(columns, 4))
                sim_violation("I5", "%s: lane %d has log time %lld; its records say %" PRId64, name, lane,
                              sqlite3_column_int64(columns, 4), tau_ms);
        else if (commands->cursor > next)
                sim_violation("P2", "%s: lane %d: the cursor stands at %" PRId64 ", the database at %" PRId64, name, lane,
                              commands->cursor, next);
}

/* ---- one database ---- */

/* An answer that nobody has heard yet will be sent again: for it is marked, or its command is read again (P2). */
static bool comes_again(const struct book *book, const struct check_txn *txn, unsigned number, int slot)
{
        static const enum assent_phase phases[CHECK_SLOTS] = {ASSENT_PREPARE, ASSENT_PRE_COMMIT, ASSENT_COMMIT};
        const struct check_branch *branch = &txn->branches[number];
        struct assent_message command = {.type = ASSENT_COMMAND, .txn_id = txn->id};
        command.body.command.branch = (uint16_t)number;
        command.body.command.phase = phases[slot];
        if (branch->answers[slot].phase || branch->row.unpublished >> slot & 1)
                return true;
        struct assent_uuid id;
        assent_message_id_derive(&command, &id);
        const struct check_emission *emission = sim_check_emission(&id);
        return emission && emission->copy >= sim_check_log((int)book->service, txn->lane)->cursor;
}

/* What it says of a branch is one thing: row, effect and answers; and it fits the lane as far as that goes (I5, I1, I9). */
static void audit_branch(const struct book *book, struct check_txn *txn, unsigned number)
{
        struct check_branch *branch = &txn->branches[number];
        const struct check_row *row = row_of(branch);
        const struct check_answer *answers = branch->answers;
        const char *name = sim_service_name(book->service);
        bool holds = row->state == ASSENT_BRANCH_PREPARED || row->state == ASSENT_BRANCH_PRE_COMMITTED;
        bool aborted = row->state == ASSENT_BRANCH_ABORTED || row->decision == ASSENT_ABORT;
        bool told = txn->outcome == ASSENT_COMMITTED || (!txn->outcome && row->pre_committed && branch->cut_off);
        char text[24];
        sim_check_short(txn, text);
        if (row->rows > 1) {
                sim_violation("I11", "%s.%u of %s is in %u databases", text, number, name, row->rows);
        } else if (row->rows == 0) {
                if (!sim_check_expired(txn, branch, sim_check_log((int)book->service, txn->lane)) &&
                    (answers[CHECK_FIRST].phase || answers[CHECK_DECISION].phase || row->holds || row->entries || book->quiet))
                        sim_violation("I15", "%s does not remember %s.%u, which is not past the horizon", name, text, number);
        } else if (row->holds != holds || row->entries != (row->state == ASSENT_BRANCH_COMMITTED)) {
                sim_violation("I5", "%s: %s.%u is %s, with %u holds and %u ledger entries", name, text, number,
                              assent_branch_state_name(row->state), row->holds, row->entries);
        } else if ((row->state == ASSENT_BRANCH_COMMITTED && !told) || (aborted && txn->outcome != ASSENT_ABORTED)) {
                sim_violation("I1", "%s: %s.%u is %s; it is %s", name, text, number, assent_branch_state_name(row->state),
                              txn->outcome ? assent_outcome_name(txn->outcome) : "not decided");
        } else if (row->state == ASSENT_BRANCH_PRE_COMMITTED && !branch->asked) {
                sim_violation("I10", "%s: %s.%u is pre-committed; nobody asked", name, text, number);
        } else if ((answers[CHECK_FIRST].phase && answers[CHECK_FIRST].answer != row->vote) ||
                   (answers[CHECK_PRE_COMMIT].phase && !row->pre_committed) ||
                   (answers[CHECK_DECISION].phase && answers[CHECK_DECISION].phase != row->decision)) {
                sim_violation("P2", "%s: %s.%u is %s, vote %s; that is not what was answered", name, text, number,
                              assent_branch_state_name(row->state), assent_answer_name(row->vote));
        } else if ((row->vote && !comes_again(book, txn, number, CHECK_FIRST)) ||
                   (row->pre_committed && !comes_again(book, txn, number, CHECK_PRE_COMMIT)) ||
                   (row->decision && !comes_again(book, txn, number, CHECK_DECISION))) {
                sim_violation("I12", "%s: %s.%u is %s, vote %s; nobody will hear of it", name, text, number,
                              assent_branch_state_name(row->state), assent_answer_name(row->vote));
        }
}

/* What the position has passed has left its row (I5), and nothing waits behind it when the world is quiet (I14). */
static void audit_lane(const struct book *book, int lane)
{
        const struct check_log *commands = sim_check_log((int)book->service, lane);
        char text[24];
        for (int64_t offset = commands->log->low; offset < commands->log->high && offset < commands->marks_max; offset++) {
                const struct check_mark *mark = &commands->marks[offset];
                if (offset >= commands->position) {
                        if (!book->quiet || offset >= commands->finished || commands->log->records[offset].marker)
                                continue;
                        sim_violation("I14", "%s: lane %d is read up to %" PRId64 " of %" PRId64,
                                      sim_service_name(book->service), lane, commands->position, commands->finished);
                        return;
                }
                if (!mark->emission)
                        continue;
                const struct model_print *print = &sim_judge.emissions[mark->emission - 1].print;
                struct check_txn *txn = sim_check_txn(&print->txn_id);
                struct check_branch *branch = &txn->branches[print->branch];
                const struct check_answer *answers = branch->answers;
                /* P12: a row all of whose commands are at or above the cursor cannot have gone. */
                bool unheard = branch->first > commands->cursor && answers[CHECK_FIRST].phase &&
                               !answers[sim_check_slot((enum assent_phase)print->word)].phase;
                if (row_of(branch)->rows == 0 && !txn->tainted && (unheard || !sim_check_expired(txn, branch, commands))) {
                        sim_violation("I5", "%s: lane %d is read up to %" PRId64 ", and nothing is known of %s.%u at %" PRId64,
                                      sim_service_name(book->service), lane, commands->position, sim_check_short(txn, text),
                                      print->branch, offset);
                        return;
                }
        }
}

static void audit_book(struct book *book)
{
        bool made = ask(book, "SELECT count(*) FROM sqlite_schema WHERE name = 'ledger'") != 0;
        for (int lane = book->first_lane; lane < book->end_lane; lane++)
                sim_check_log((int)book->service, lane)->position = 0;
        if (made) {
                each(book, "SELECT topic, lane, next, chain, tau_ms, acked FROM assent_position", position_row);
                each(book, BRANCHES, branch_row);
                each(book, "SELECT txn_id, branch FROM hold", hold_row);
                each(book, "SELECT txn_id, branch, amount FROM ledger", ledger_row);
                each(book, "SELECT amount, (SELECT coalesce(sum(amount), 0) FROM ledger) FROM balance", balance_row);
        }
        if (book->quiet && made && !sim_violated())
                audit_outbox(book);
        if (book->quiet && ask(book, "SELECT count(*) FROM assent_parking") != 0 && sim_judge.foreigners_count == 0)
                sim_violation("I13", "%s has messages parked", sim_service_name(book->service));
        for (uint32_t i = 0; i < sim_judge.txns_index.count; i++) {
                struct check_txn *txn = sim_judge.txns[i];
                if (!txn->accepted || txn->tainted || txn->lane < book->first_lane || txn->lane >= book->end_lane)
                        continue;
                for (unsigned number = 0; number < txn->count && !sim_violated(); number++)
                        if (txn->branches[number].service == book->service)
                                audit_branch(book, txn, number);
        }
        for (int lane = book->first_lane; lane < book->end_lane && !sim_violated(); lane++) {
                audit_lane(book, lane);
                sim_check_alarms_audit(sim_check_log((int)book->service, lane), book->quiet);
        }
}

/* Nothing is written, and nothing befalls the reader. */
static void audit_database(struct book *book, unsigned service, int shard)
{
        const struct sim_disk_faults faults = sim_disk_faults;
        sim_disk_faults = (struct sim_disk_faults){0};
        book->service = service;
        book->database = 2 * service + (uint32_t)shard;
        book->large = 0;
        book->first_lane = shard * sim_options.lanes / sim_options.shards;
        book->end_lane = (shard + 1) * sim_options.lanes / sim_options.shards;
        if (sqlite3_open_v2(sim_database(service, shard), &book->db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK) {
                sqlite3_db_config(book->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
                audit_book(book);
        } else if (book->quiet) {
                sim_violation("audit", "%s: %s", sim_database(service, shard), sqlite3_errmsg(book->db));
        }
        sqlite3_close(book->db);
        sim_disk_faults = faults;
}

void sim_check_images(void)
{
        int number = 0;
        for (int i = 0; i < sim_processes_count && !sim_check_refusals_allowed; i++) {
                const struct sim_process *process = sim_processes[i];
                if (process->role != SIM_PARTICIPANT || !process->disk)
                        continue;
                int service = number / sim_options.shards, shard = number % sim_options.shards;
                number++;
                if (process->running || process->lives == sim_judge.audited[i] || sim_violated())
                        continue;
                sim_judge.audited[i] = process->lives;
                sim_judge.audits++;
                audit_database(&(struct book){0}, (unsigned)service, shard);
        }
}

/* ---- transactions ---- */

static void audit_txn(struct check_txn *txn)
{
        char text[24];
        if (!txn->accepted || txn->tainted)
                return;
        if (!txn->outcome)
                sim_violation("I8", "%s is not decided", sim_check_short(txn, text));
        else if (sim_check_owed(txn))
                sim_violation("liveness", "%s: %u branches have not said that it is %s", sim_check_short(txn, text), txn->owing,
                              assent_outcome_name(txn->outcome));
        for (unsigned i = 0; i < txn->count; i++) {
                struct check_branch *branch = &txn->branches[i];
                bool booked = txn->outcome == ASSENT_COMMITTED && branch->answers[CHECK_FIRST].answer == ASSENT_YES;
                if (branch->service != CHECK_NOBODY && row_of(branch)->entries != booked)
                        sim_violation("I4", "%s booked %s.%u %u times; it is %s", sim_service_name(branch->service),
                                      sim_check_short(txn, text), i, branch->row.entries, assent_outcome_name(txn->outcome));
        }
}

/* I8: what the broker acknowledged is decided, or refused by R2; and clients were told what is true. */
static void audit_client(const struct sim_transaction *transaction)
{
        const struct check_txn *txn = transaction->minted ? sim_check_txn(&transaction->txn_id) : NULL;
        const unsigned number = (unsigned)(transaction - sim_transactions);
        if (transaction->begun && (!txn || (!txn->accepted && !txn->refused)))
                sim_violation("I8", "#%u was acknowledged, and no lane has it", number);
        else if (transaction->told && (!txn || !txn->accepted || txn->outcome != transaction->told))
                sim_violation("I1", "the client of #%u was told %s; it is %s", number, assent_outcome_name(transaction->told),
                              txn && txn->outcome ? assent_outcome_name(txn->outcome) : "not decided");
}

/* I17: whoever is gone has left nothing open. */
static void audit_files(void)
{
        unsigned files = sim_check_files();
        for (int i = 0; i < sim_processes_count; i++) {
                const struct sim_process *process = sim_processes[i];
                if (process->disk && sim_disk_opens(process->disk) > 0)
                        sim_violation("I17", "%s has left %d files open", process->name, sim_disk_opens(process->disk));
        }
        if (files != sim_judge.files)
                sim_violation("I17", "%u files and locks are open; there were %u", files, sim_judge.files);
}

void sim_check_audit(void)
{
        struct book book = {.quiet = true};
        sim_check_lanes();
        sim_judge.audits++;
        audit_files();
        for (int i = 0; i < sim_judge.lanes_count; i++) {
                if (sim_judge.lanes[i].lost)
                        return;
                sim_check_published(&sim_judge.lanes[i], sim_judge.lanes[i].inbox->finished);
        }
        for (int i = 0, number = 0; i < sim_processes_count && !sim_violated(); i++) {
                if (sim_processes[i]->role != SIM_PARTICIPANT || !sim_processes[i]->disk)
                        continue;
                book.since_us = sim_processes[i]->err || sim_processes[i]->ghost ? 0 : sim_processes[i]->started_us;
                audit_database(&book, (unsigned)(number / sim_options.shards), number % sim_options.shards);
                number++;
        }
        for (uint32_t i = 0; i < sim_judge.txns_index.count && !sim_violated(); i++)
                audit_txn(sim_judge.txns[i]);
        if (!sim_violated())
                sim_check_events_audit();
        for (unsigned i = 0; i < sim_transactions_count && !sim_violated(); i++)
                audit_client(&sim_transactions[i]);
        sim_check_bounds_audit();
        if (book.sum != 0 && !sim_violated())
                sim_violation("I4", "what is booked adds up to %" PRId64, book.sum);
}
