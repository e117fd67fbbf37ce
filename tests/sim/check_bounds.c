/* check_bounds.c: what is consumed, and what is used (I7, I17). See check.h. */
#include "check.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/panic.h"

enum { DESCRIPTORS_MAX = 256, LANES_MAX = 4, CROWD_MIN = 20 };

#define COORDINATORS "assent.coordinator"

/* ---- I7: offsets consumed only grow, and nothing is passed over but gaps ---- */

/* Up to where a process has been handed an inbox's records, in which of its lives. */
static struct {
        unsigned life;
        int64_t end;
} handed[sizeof sim_processes / sizeof *sim_processes][LANES_MAX];

/* After every local transaction of a participant. The hash says which records were consumed, and in which order. */
void sim_check_consumed(const struct sim_process *process, unsigned service, int lane, int64_t next, uint64_t chain)
{
        struct check_log *commands = sim_check_log((int)service, lane);
        if (!commands || sim_check_refusals_allowed || sim_judge.lanes[lane].lost)
                return;
        const struct sim_log *log = commands->log;
        if (next < commands->consumed || next > log->visible) {
                sim_violation("I7", "%s has consumed lane %d up to %" PRId64 ", after %" PRId64 "; the log ends at %" PRId64,
                              process->name, lane, next, commands->consumed, log->visible);
                return;
        }
        for (; commands->consumed < next; commands->consumed++) {
                const struct sim_record *record = &log->records[commands->consumed];
                if (!record->marker)
                        commands->chain = assent_hash64_chain(commands->chain, record->bytes + record->key_size, record->size);
        }
        if (chain != commands->chain)
                sim_violation("I7", "%s has not consumed the records of lane %d up to %" PRId64 ", each once and in order",
                              process->name, lane, next);
}

/* A coordinator begins at the group's offset; or, if it kept its state, at or below what it had been handed. */
void sim_check_taken(const struct sim_process *process, const struct sim_log *log, const char *group, int64_t start,
                     int64_t committed)
{
        if (sim_check_refusals_allowed || !process || strcmp(group, COORDINATORS) != 0 || log->lane >= LANES_MAX)
                return;
        int64_t most = committed > 0 ? committed : 0;
        if (handed[process->index][log->lane].life == process->lives && handed[process->index][log->lane].end > most)
                most = handed[process->index][log->lane].end;
        if (start > most)
                sim_violation("I7", "%s begins lane %d of %s at %" PRId64 "; what lies below was read up to %" PRId64,
                              process->name, log->lane, log->topic, start, most);
}

void sim_check_given_back(const struct sim_process *process, const struct sim_log *log, const char *group, int64_t end)
{
        if (!process || strcmp(group, COORDINATORS) != 0 || log->lane >= LANES_MAX)
                return;
        handed[process->index][log->lane].life = process->lives;
        handed[process->index][log->lane].end = end;
}

/* ---- I17: transactions in flight (R16) ---- */

unsigned sim_check_in_flight(const struct model *model)
{
        unsigned count = 0;
        for (size_t i = 0; i < model->txns_count; i++)
                count += model->txns[i].state >= MODEL_VOTING && model->txns[i].state <= MODEL_DECIDED;
        return count;
}

/* `before`: in flight before it. What is forgotten in the same step may have counted, or not. */
void sim_check_crowd(struct check_lane *lane, struct check_txn *txn, unsigned before)
{
        txn->in_flight = before + 1;
        if (sim_options.in_flight_soft && sim_check_in_flight(lane->model) > (unsigned)sim_options.in_flight_soft)
                lane->crowded++;
}

/* Who replays counts fewer, never more. */
void sim_check_shed(struct check_lane *lane, const struct assent_message *cancel)
{
        const struct assent_bytes reason = cancel->body.control.reason;
        const struct check_txn *txn = sim_check_txn(&cancel->txn_id);
        char text[24];
        if (reason.size != strlen("OVERLOAD") || memcmp(reason.data, "OVERLOAD", reason.size) != 0 || !txn)
                return;
        sim_count(SIM_OVERLOAD);
        lane->shed++;
        if (!sim_options.in_flight_soft || txn->in_flight <= (unsigned)sim_options.in_flight_soft)
                sim_violation("I17", "lane %d sheds %s, with %u in flight; it may have %d", lane->inbox->lane,
                              sim_check_short(txn, text), txn->in_flight, sim_options.in_flight_soft);
}

/* A CANCEL is lost with its coordinator; so many are not. */
void sim_check_bounds_audit(void)
{
        for (int i = 0; i < sim_judge.lanes_count; i++)
                if (sim_judge.lanes[i].crowded >= CROWD_MIN && !sim_judge.lanes[i].shed && !sim_violated())
                        sim_violation("I17", "lane %d took %u begins above its limit of %d in flight, and none was shed", i,
                                      sim_judge.lanes[i].crowded, sim_options.in_flight_soft);
}

/* ---- I17: the whole program's descriptors and address space ---- */

static struct {
        int descriptors;
        size_t bytes;
} before;

static int descriptors(void)
{
        int count = 0;
        for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
                count += fcntl(fd, F_GETFD) >= 0;
        return count;
}

/* Address space but for the heap and the fibers' stacks: the arenas, which no leak checker sees. 0: not known, for sanitizers
 * have their own. */
static size_t mapped(void)
{
#ifdef __SANITIZE_ADDRESS__
        return 0;
#else
        char text[32] = "";
        int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        ssize_t size = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
        size_t pages = 0;
        if (fd >= 0)
                close(fd);
        if (size <= 0 || sscanf(text, "%zu", &pages) != 1)
                return 0;
        const struct mallinfo2 heap = mallinfo2();
        return pages * (size_t)sysconf(_SC_PAGESIZE) - heap.arena - heap.hblkhd - sim_stacks_size();
#endif
}

void sim_check_bounds_open(void)
{
        memset(handed, 0, sizeof handed);
        before.descriptors = descriptors();
        before.bytes = mapped();
}

void sim_check_bounds_close(void)
{
        int open_now = descriptors();
        size_t bytes = mapped();
        if (open_now > before.descriptors)
                sim_violation("I17", "%d descriptors are open when all is over; there were %d", open_now, before.descriptors);
        else if (bytes > before.bytes)
                sim_violation("I17", "%zu bytes more are mapped when all is over than before", bytes - before.bytes);
}
