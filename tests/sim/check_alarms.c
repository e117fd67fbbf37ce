/* check_alarms.c: what must be said aloud, each time that it happens (I18): a record that is refused (R15), a known message
 * with other contents (R2, P3), a branch that is frozen (P8), a tombstone (P6). See check.h. */
#include "check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

enum { LINES_MAX = 10, LANES_MAX = 8 }; /* LINES_MAX: of one verdict a second, in runtime/participant.c and coordinator.c */

/* Of a record in a lane of commands. */
struct alarm {
        const struct check_log *commands;
        int64_t offset;
        enum assent_participant_verdict verdict; /* CONFLICT, CONTRADICTION, FROZEN, TOMBSTONE */
        enum assent_phase phase;
        struct assent_uuid txn_id;
        unsigned branch;
        bool told;
        unsigned frozen; /* the audit in which its branch was last found so */
};

/* A branch that was said to be frozen, and when last. */
struct said {
        struct assent_uuid txn_id;
        unsigned branch;
        int64_t at_us;
};

/* A process's lines of one verdict: it says so many, and no more until the second is over. */
struct lines {
        unsigned life, count;
        int64_t since_ms; /* as the process counts, for whom 999.9 ms may be 1000 */
};

static struct {
        struct alarm *alarms;
        struct said *said;
        size_t alarms_count, said_count;
        struct lines lines[sizeof sim_processes / sizeof *sim_processes][ASSENT_PV_COUNT];
        struct lines refusals[sizeof sim_processes / sizeof *sim_processes][LANES_MAX][ASSENT_VERDICT_COUNT];
        /* A process of the service, an owner of the lane may have had more to say. */
        bool flooded[SIM_SERVICES_MAX][ASSENT_PV_COUNT], lane_flooded[LANES_MAX][ASSENT_VERDICT_COUNT];
} judge;

static bool floods(const struct sim_process *process, struct lines *lines)
{
        if (lines->life != process->lives || sim_now_ms() - lines->since_ms >= 1000)
                *lines = (struct lines){.life = process->lives, .since_ms = sim_now_ms()};
        return ++lines->count >= LINES_MAX;
}

static struct alarm *alarm_at(const struct check_log *commands, int64_t offset, enum assent_participant_verdict verdict)
{
        for (size_t i = judge.alarms_count; i-- > 0;)
                if (judge.alarms[i].commands == commands && judge.alarms[i].offset == offset &&
                    judge.alarms[i].verdict == verdict)
                        return &judge.alarms[i];
        return NULL;
}

/* What was said before of this branch; `count`: how often. */
static const struct alarm *first_of(const struct assent_message *command, unsigned *count)
{
        const struct alarm *first = NULL;
        *count = 0;
        for (size_t i = judge.alarms_count; i-- > 0;) {
                if (judge.alarms[i].branch != command->body.command.branch ||
                    memcmp(&judge.alarms[i].txn_id, &command->txn_id, sizeof command->txn_id) != 0)
                        continue;
                first = &judge.alarms[i];
                ++*count;
        }
        return first;
}

void sim_check_alarm(const struct check_log *commands, int64_t offset, const struct assent_message *command,
                     enum assent_participant_verdict verdict)
{
        judge.alarms = realloc(judge.alarms, (judge.alarms_count + 1) * sizeof *judge.alarms);
        ASSENT_ASSERT(judge.alarms);
        judge.alarms[judge.alarms_count++] = (struct alarm){.commands = commands,
                                                            .offset = offset,
                                                            .verdict = verdict,
                                                            .phase = command->body.command.phase,
                                                            .txn_id = command->txn_id,
                                                            .branch = command->body.command.branch};
}

/* COMMIT freezes (P8), ABORT leaves a tombstone (P6), which is there when its PREPARE comes; unless that is beyond the horizon
 * (P12). Further copies may be repeats. */
void sim_check_alarm_unknown(const struct check_log *commands, int64_t offset, const struct assent_message *command)
{
        enum assent_phase phase = command->body.command.phase;
        bool commit = phase == ASSENT_COMMIT || phase == ASSENT_PRE_COMMIT;
        unsigned count;
        const struct alarm *first = first_of(command, &count);
        if (first && first->verdict == ASSENT_PV_CONTRADICTION && commit)
                sim_check_alarm(commands, offset, command, ASSENT_PV_FROZEN);
        else if (commands->tau_ms - command->body.command.deadline_ms > sim_horizon_ms())
                return;
        else if (!first && commit)
                sim_check_alarm(commands, offset, command, ASSENT_PV_CONTRADICTION);
        else if (phase == ASSENT_ABORT ? !first : count == 1 && first->phase == ASSENT_ABORT && assent_phase_is_first(phase))
                sim_check_alarm(commands, offset, command, ASSENT_PV_TOMBSTONE);
}

bool sim_check_alarm_told(const struct sim_process *process, enum assent_participant_verdict verdict, int64_t lane,
                          int64_t offset)
{
        unsigned service = sim_service_of(process);
        judge.flooded[service][verdict] |= floods(process, &judge.lines[process->index][verdict]);
        struct alarm *alarm = alarm_at(sim_check_log((int)service, (int)lane), offset, verdict);
        if (!alarm)
                return false;
        if (!alarm->told && verdict == ASSENT_PV_CONFLICT)
                sim_count(SIM_CONFLICT);
        if (!alarm->told && verdict == ASSENT_PV_TOMBSTONE)
                sim_count(alarm->phase == ASSENT_ABORT ? SIM_ABORT_FIRST : SIM_PREPARE_LAST);
        return alarm->told = true;
}

void sim_check_frozen_told(const struct assent_uuid *txn_id, unsigned branch)
{
        size_t at = 0;
        while (at < judge.said_count &&
               (judge.said[at].branch != branch || memcmp(&judge.said[at].txn_id, txn_id, sizeof *txn_id) != 0))
                at++;
        if (at == judge.said_count) {
                judge.said = realloc(judge.said, ++judge.said_count * sizeof *judge.said);
                ASSENT_ASSERT(judge.said);
                sim_count(SIM_CONTRADICTION);
        }
        judge.said[at] = (struct said){*txn_id, branch, sim_now_us()};
}

/* ---- the audit ---- */

void sim_check_frozen_row(const struct assent_uuid *txn_id, unsigned branch, const char *name, int64_t since_us)
{
        bool told = false;
        char text[ASSENT_UUID_TEXT_SIZE];
        for (size_t i = 0; i < judge.said_count; i++)
                told |= judge.said[i].at_us >= since_us && judge.said[i].branch == branch &&
                        memcmp(&judge.said[i].txn_id, txn_id, sizeof *txn_id) == 0;
        for (size_t i = 0; i < judge.alarms_count; i++)
                if (judge.alarms[i].branch == branch && memcmp(&judge.alarms[i].txn_id, txn_id, sizeof *txn_id) == 0)
                        judge.alarms[i].frozen = sim_judge.audits;
        assent_uuid_format(txn_id, text);
        if (!told)
                sim_violation("I18", "%s: %s.%u is frozen, and nobody has said so%s", name, text, branch,
                              since_us > 0 ? " since its process started" : "");
}

/* Dead letters are told one by one, however many they are. */
static bool must_be_copied(uint8_t verdict)
{
        return verdict == ASSENT_V_MALFORMED || verdict == ASSENT_V_FORGED || verdict == ASSENT_V_FOREIGN;
}

static void check_copy(const struct check_log *log, int64_t offset)
{
        if (must_be_copied(log->marks[offset].verdict) && !log->marks[offset].copied)
                sim_violation("I18", "%s/%d, offset %" PRId64 ": it is no message, and not dead-lettered", log->log->topic,
                              log->lane, offset);
}

void sim_check_alarms_audit(const struct check_log *commands, bool quiet)
{
        for (int64_t offset = commands->log->low; offset < commands->position && offset < commands->marks_max; offset++)
                check_copy(commands, offset);
        for (size_t i = 0; i < judge.alarms_count && !sim_violated(); i++) {
                const struct alarm *alarm = &judge.alarms[i];
                const struct check_txn *txn = sim_check_txn(&alarm->txn_id);
                bool conflict = alarm->verdict == ASSENT_PV_CONFLICT;
                if (alarm->commands != commands || alarm->offset >= commands->position)
                        continue;
                if (alarm->verdict == ASSENT_PV_CONTRADICTION && alarm->frozen != sim_judge.audits)
                        sim_violation("I18", "%s/%d, offset %" PRId64 ": a decision about what nobody began freezes nothing",
                                      commands->log->topic, commands->lane, alarm->offset);
                /* One that is parked is judged later; and nobody says more lines a second than LINES_MAX. */
                if (alarm->told || (conflict && (!quiet || txn->tainted)) ||
                    (alarm->verdict != ASSENT_PV_CONTRADICTION && judge.flooded[commands->topic][alarm->verdict]))
                        continue;
                sim_violation("I18", "%s/%d, offset %" PRId64 ": nobody has said that it is %s", commands->log->topic,
                              commands->lane, alarm->offset, assent_participant_verdict_name(alarm->verdict));
        }
}

void sim_check_refusal_told(const struct sim_process *coordinator, int lane, struct check_mark *mark)
{
        mark->told = true;
        struct lines *lines = &judge.refusals[coordinator->index][lane][mark->verdict];
        judge.lane_flooded[lane][mark->verdict] |= floods(coordinator, lines);
}

static bool must_be_told(uint8_t verdict)
{
        return must_be_copied(verdict) || verdict == ASSENT_V_CONFLICT || verdict == ASSENT_V_MISROUTED ||
               verdict == ASSENT_V_STALE || verdict == ASSENT_V_FUTURE || verdict == ASSENT_V_LIMIT ||
               verdict == ASSENT_V_NO_SETTINGS;
}

/* Whoever said that the lane is done below `end` has said what it refused there. */
void sim_check_refusals(struct check_lane *lane, int64_t end)
{
        const struct check_log *inbox = lane->inbox;
        for (; lane->told < end && !sim_violated(); lane->told++) {
                const struct check_mark *mark = &inbox->marks[lane->told];
                if (must_be_told(mark->verdict) && !mark->told && !judge.lane_flooded[inbox->lane][mark->verdict])
                        sim_violation("I18", "lane %d, offset %" PRId64 " is %s, and nobody has said so", inbox->lane,
                                      lane->told, assent_verdict_name((enum assent_verdict)mark->verdict));
                check_copy(inbox, lane->told);
        }
}

void sim_check_alarms_close(void)
{
        free(judge.alarms);
        free(judge.said);
        memset(&judge, 0, sizeof judge);
}
