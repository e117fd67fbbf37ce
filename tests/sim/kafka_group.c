/* kafka_group.c: the cluster's other half: consumers, what they have read ahead, groups with their offsets and members. Lanes
 * change hands eagerly: all of a group's members give back what they have before anybody is given anything. See kafka.h. */
#include "kafka.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

#define HEARTBEAT_US   INT64_C(100000)
#define SESSION_US     INT64_C(1500000)
#define QUERY_RUN_US   INT64_C(1000000)
#define COMMIT_LATE_US INT64_C(3000000)
#define METADATA_MAX   3500

/* A lane that a consumer holds. */
struct reading {
        struct reading *next;                 /* among the lane's readers, or the unused ones */
        struct assent_bus_consumer *consumer; /* NULL: unused */
        struct lane *lane;                    /* NULL: there is none */
        int32_t number;
        int64_t position, fetched; /* the next to hand out; the end of what was read ahead */
        int64_t handed;            /* the last that was handed out, since the last seek */
        bool paused, fetching;
};

enum news { NOTHING, GIVE_BACK, TAKE, FENCED };

/* A subscribed consumer, as the group has it; a fenced one joins as another. */
struct member {
        struct member *next;
        struct group *group;
        struct assent_bus_consumer *consumer; /* NULL: gone without a word */
        enum news news;                       /* what the consumer has to do in its next consume */
        bool joining, joined;                 /* it asks for lanes; the group knows it */
        bool fenced, untold;                  /* thrown out; has not heard which lanes it has now */
        int64_t heard_us;
        uint64_t rank;
        int32_t first, count; /* its lanes */
};

struct group {
        struct group *next;
        const char *name, *topic;         /* NULL: nobody ever subscribed */
        struct assent_committed *offsets; /* by lane */
        int32_t offsets_count;
        struct member *members;
        unsigned generation;
        bool rebalancing, beating; /* an event is under way */
};

struct assent_bus_consumer {
        struct sim_bus *bus;
        const char *topic;
        struct group *group;   /* NULL: none */
        struct member *member; /* NULL: its lanes are its own choice */
        struct assent_bus_consumer_options options;
        struct reading **readings;
        size_t readings_count, turn;
        enum assent_err err; /* it has failed */
};

/* A group commit on its way. */
struct commit {
        struct group *group;
        struct sim_process *process;
        unsigned life;
        int32_t number;
        bool valid;
        struct assent_committed committed;
};

void (*sim_committed)(const char *group, int lane, int64_t offset, struct assent_bytes metadata);
void (*sim_taken)(const struct sim_process *process, const struct sim_log *log, const char *group, int64_t start,
                  int64_t committed);
void (*sim_given_back)(const struct sim_process *process, const struct sim_log *log, const char *group, int64_t end);

static struct group *groups;
static struct reading *free_readings;

/* ---- reading ahead ---- */

static enum assent_err fail(struct assent_bus_consumer *consumer, enum assent_err err, const char *why)
{
        return kafka_fail(consumer->bus, err, "topic %s: %s", consumer->topic, why);
}

static void wake(const struct assent_bus_consumer *consumer)
{
        if (consumer->bus->process)
                sim_wake(consumer->bus->process);
}

static bool cut(const struct sim_process *process)
{
        return process && (process->cut_in || process->cut_out);
}

static void fetched(void *argument)
{
        struct reading *reading = argument;
        struct assent_bus_consumer *consumer = reading->consumer;
        if (!reading->fetching || !consumer || consumer->err)
                return;
        if (cut(consumer->bus->process) || !kafka_leads(reading->lane)) {
                sim_at(kafka_again_us(), fetched, reading);
                return;
        }
        const struct sim_log *log = &reading->lane->log;
        reading->fetching = false;
        if (reading->fetched < log->low || reading->fetched > log->high)
                consumer->err = kafka_fail(consumer->bus, ASSENT_E_POSITION,
                                           "topic %s lane %" PRId32 ": offset %" PRId64 " is not in the log (any more), which "
                                           "has %" PRId64 " up to %" PRId64,
                                           consumer->topic, reading->number, reading->fetched, log->low, log->high);
        else if (reading->fetched < log->visible)
                reading->fetched = log->visible;
        wake(consumer);
}

static void fetch(struct reading *reading)
{
        if (reading->fetching || !reading->lane)
                return;
        reading->fetching = true;
        sim_at(sim_now_us() + kafka_delay(reading->consumer->bus->process, sim_cluster_faults.fetch_us), fetched, reading);
}

void kafka_kick(struct lane *lane)
{
        for (struct reading *reading = lane->readers; reading; reading = reading->next)
                if (reading->fetched < lane->log.visible)
                        fetch(reading);
}

void kafka_forget(struct lane *lane, int64_t end)
{
        for (struct reading *reading = lane->readers; reading; reading = reading->next) {
                if (reading->position < end && reading->fetched > end)
                        reading->fetched = end;
                else if (reading->position >= end)
                        reading->fetched = reading->position;
                fetch(reading);
        }
}

static struct reading *reading_find(const struct assent_bus_consumer *consumer, int32_t number)
{
        for (size_t i = 0; i < consumer->readings_count; i++)
                if (consumer->readings[i]->number == number)
                        return consumer->readings[i];
        return NULL;
}

static void reading_begin(struct assent_bus_consumer *consumer, int32_t number, int64_t start)
{
        struct reading *reading = free_readings;
        if (reading)
                free_readings = reading->next;
        else
                reading = kafka_room(sizeof *reading);
        *reading = (struct reading){
                .consumer = consumer, .number = number, .position = start, .fetched = start, .handed = start - 1};
        reading->lane = kafka_lane(consumer->topic, number);
        consumer->readings[consumer->readings_count++] = reading;
        if (!reading->lane) {
                consumer->err = kafka_fail(consumer->bus, ASSENT_E_KAFKA, "topic %s lane %" PRId32 " cannot be read: unknown",
                                           consumer->topic, number);
                return;
        }
        reading->next = reading->lane->readers;
        reading->lane->readers = reading;
        fetch(reading);
}

static void reading_end(struct reading *reading)
{
        if (reading->lane) {
                struct reading **at = &reading->lane->readers;
                while (*at != reading)
                        at = &(*at)->next;
                *at = reading->next;
        }
        *reading = (struct reading){.next = free_readings};
        free_readings = reading;
}

static bool readable(const struct reading *reading)
{
        return !reading->paused && reading->position < reading->fetched;
}

static void reading_take(struct reading *reading, struct assent_record *records, size_t records_max, size_t *count)
{
        const struct sim_log *log = &reading->lane->log;
        while (readable(reading) && *count < records_max) {
                const struct sim_record *record = &log->records[reading->position++];
                if (record->marker)
                        continue;
                if (reading->position - 1 <= reading->handed)
                        sim_violation("I7", "%s lane %" PRId32 ": offset %" PRId64 " is handed out after %" PRId64, log->topic,
                                      reading->number, reading->position - 1, reading->handed);
                reading->handed = reading->position - 1;
                records[(*count)++] = (struct assent_record){
                        .lane = reading->number,
                        .offset = reading->position - 1,
                        .timestamp_ms = record->timestamp_ms,
                        .append_time = !sim_options.embedded,
                        .key = {record->bytes, record->key_size},
                        .value = {record->bytes + record->key_size, record->size},
                        .native = (void *)(uintptr_t)(record->bytes - offsetof(struct letter, bytes)),
                };
        }
}

/* ---- lanes come and go ---- */

static struct group *group_of(const char *name)
{
        for (struct group *group = groups; group; group = group->next)
                if (strcmp(group->name, name) == 0)
                        return group;
        size_t size = strlen(name) + 1;
        struct group *group = kafka_room(sizeof *group);
        group->name = memcpy(kafka_room(size), name, size);
        group->next = groups;
        groups = group;
        return group;
}

static struct assent_committed group_offset(const struct group *group, int32_t number)
{
        return number < group->offsets_count ? group->offsets[number] : (struct assent_committed){.offset = -1};
}

static void lanes_drop(struct assent_bus_consumer *consumer, bool lost)
{
        while (consumer->readings_count > 0) {
                struct reading *reading = consumer->readings[--consumer->readings_count];
                int32_t number = reading->number;
                if (sim_given_back && reading->lane && consumer->group && !sim_ghost())
                        sim_given_back(consumer->bus->process, &reading->lane->log, consumer->group->name, reading->position);
                reading_end(reading);
                if (consumer->options.revoked)
                        consumer->options.revoked(consumer->options.context, number, lost);
        }
}

/* The group's offsets as they were at one moment. */
static enum assent_err committed_read(struct assent_bus_consumer *consumer, const int32_t *lanes, size_t count,
                                      struct assent_committed *committed)
{
        struct sim_bus *bus = consumer->bus;
        for (size_t i = 0; i < count; i++)
                committed[i].offset = -1;
        if (!consumer->group)
                return ASSENT_OK;
        bool urgent = bus->running && bus->stop_timeout_us < bus->start_timeout_us;
        int64_t deadline_us = sim_now_us() + (urgent ? bus->stop_timeout_us : bus->start_timeout_us);
        if (kafka_reach(bus, NULL, deadline_us)) {
                for (size_t i = 0; i < count; i++)
                        committed[i] = group_offset(consumer->group, lanes[i]);
                if (kafka_return(bus, deadline_us))
                        return ASSENT_OK;
        }
        return fail(consumer, ASSENT_E_KAFKA, "the group's committed offsets cannot be read");
}

static enum assent_err lanes_take(struct assent_bus_consumer *consumer, const int32_t *lanes, size_t count)
{
        struct assent_committed *committed = calloc(count + 1, sizeof *committed);
        consumer->readings = realloc(consumer->readings, (count + 1) * sizeof(struct reading *));
        ASSENT_ASSERT(committed && consumer->readings && consumer->readings_count == 0 && !consumer->bus->taking);
        consumer->bus->taking = true;
        enum assent_err err = committed_read(consumer, lanes, count, committed);
        for (size_t i = 0; i < count && !err; i++) {
                int64_t start = -1;
                err = consumer->options.assigned(consumer->options.context, lanes[i], &committed[i], &start);
                if (err)
                        break;
                ASSENT_ASSERT(start >= 0);
                reading_begin(consumer, lanes[i], start);
                const struct lane *lane = kafka_lane(consumer->topic, lanes[i]);
                if (sim_taken && lane && consumer->group && !sim_ghost())
                        sim_taken(consumer->bus->process, &lane->log, consumer->group->name, start, committed[i].offset);
        }
        consumer->bus->taking = false;
        free(committed);
        return err;
}

/* ---- groups ---- */

static void group_begin(struct group *group)
{
        group->rebalancing = true;
}

static bool reachable(const struct member *member)
{
        if (!member->consumer)
                return false;
        const struct sim_process *process = member->consumer->bus->process;
        return !cut(process) && (!process || (!process->ghost && process->paused_until_us <= sim_now_us()));
}

static bool belongs(const struct member *member)
{
        return member->joined && !member->fenced;
}

static bool overlaps(const struct group *group, int32_t number)
{
        for (const struct member *member = group->members; member; member = member->next)
                if (member->fenced && member->consumer && reading_find(member->consumer, number))
                        return true;
        return false;
}

static struct member *least_above(const struct group *group, const struct member *than)
{
        struct member *least = NULL;
        for (struct member *member = group->members; member; member = member->next)
                if (belongs(member) && (!than || member->rank > than->rank) && (!least || member->rank < least->rank))
                        least = member;
        return least;
}

/* Everybody is there: the lanes are dealt out. */
static void group_deal(struct group *group, int32_t members)
{
        struct member *member = NULL;
        const struct topic *topic = kafka_topic(group->topic);
        int32_t lanes = topic ? topic->lanes_count : 0, first = 0;
        for (int32_t i = 0; i < members; i++) {
                member = least_above(group, member);
                member->first = first;
                member->count = lanes / members + (i < lanes % members);
                first += member->count;
                member->joining = false;
                member->untold = true;
        }
        group->rebalancing = false;
        if (group->generation++)
                sim_count(SIM_REBALANCE);
        sim_note("group %s, generation %u: %" PRId32 " lanes among %" PRId32 " members", group->name, group->generation, lanes,
                 members);
}

/* Heartbeats of one member, and what it hears by them. */
static void member_beat(struct member *member)
{
        struct group *group = member->group;
        if (!reachable(member)) {
                if (belongs(member) && sim_now_us() - member->heard_us > SESSION_US) {
                        sim_note("group %s: a member is fenced", group->name);
                        member->fenced = true;
                        group_begin(group);
                }
                return;
        }
        member->heard_us = sim_now_us();
        enum news news = member->news;
        if (member->fenced) {
                member->news = FENCED;
        } else if (member->joining && !member->joined) {
                member->joined = true;
                group_begin(group);
        } else if (group->rebalancing && !member->joining) {
                member->untold = false;
                member->news = GIVE_BACK;
        } else if (member->untold && !group->rebalancing) {
                member->untold = false;
                member->news = TAKE;
        }
        if (member->news != news)
                wake(member->consumer);
}

static void group_beat(void *argument)
{
        struct group *group = argument;
        int32_t members = 0, waiting = 0;
        group->beating = group->members != NULL;
        if (!group->beating)
                return;
        for (struct member **at = &group->members, *member; (member = *at) != NULL;) {
                member_beat(member);
                if (!member->consumer && (member->fenced || !member->joined)) {
                        *at = member->next;
                        continue;
                }
                members += belongs(member);
                waiting += belongs(member) && !member->joining;
                at = &member->next;
        }
        if (group->rebalancing && members > 0 && waiting == 0)
                group_deal(group, members);
        sim_at(sim_now_us() + HEARTBEAT_US / 2 + (int64_t)sim_below(HEARTBEAT_US), group_beat, group);
}

static void member_join(struct assent_bus_consumer *consumer)
{
        struct member *member = kafka_room(sizeof *member);
        struct group *group = consumer->group;
        *member = (struct member){.next = group->members, .group = group, .consumer = consumer, .joining = true};
        member->rank = sim_random();
        member->heard_us = sim_now_us();
        consumer->member = group->members = member;
        group->topic = consumer->topic;
        if (!group->beating) {
                group->beating = true;
                sim_at(sim_now_us() + (int64_t)sim_below(HEARTBEAT_US), group_beat, group);
        }
}

static void member_leave(struct assent_bus_consumer *consumer)
{
        struct member *member = consumer->member;
        struct member **at = &member->group->members;
        bool told = reachable(member);
        consumer->member = NULL;
        member->consumer = NULL;
        if (!told && !member->fenced)
                return; /* it is missed after a while */
        while (*at != member)
                at = &(*at)->next;
        *at = member->next;
        if (!member->fenced)
                group_begin(member->group);
}

void sim_cluster_rebalance(const char *name)
{
        struct group *group = group_of(name);
        for (struct member *member = group->members; member; member = member->next)
                member->rank = sim_random();
        group_begin(group);
}

/* What the group has told its member since the last consume. */
static enum assent_err rebalance(struct assent_bus_consumer *consumer)
{
        struct member *member = consumer->member;
        int32_t lanes[ASSENT_LANES_MAX];
        switch (member->news) {
        case FENCED:
                lanes_drop(consumer, true);
                member_leave(consumer);
                member_join(consumer);
                return ASSENT_OK;
        case GIVE_BACK:
                lanes_drop(consumer, false); /* takes its time: it may be fenced meanwhile */
                if (member->news == GIVE_BACK)
                        member->news = NOTHING;
                member->joining = true;
                return ASSENT_OK;
        case TAKE:
                member->news = NOTHING;
                for (int32_t i = 0; i < member->count; i++) {
                        lanes[i] = member->first + i;
                        if (overlaps(consumer->group, lanes[i]))
                                sim_count(SIM_OVERLAP);
                }
                return lanes_take(consumer, lanes, (size_t)member->count);
        default:
                return ASSENT_OK;
        }
}

/* ---- commits ---- */

static void commit_store(struct group *group, int32_t number, struct assent_committed committed)
{
        if (number >= group->offsets_count) {
                group->offsets = realloc(group->offsets, (size_t)(number + 1) * sizeof *group->offsets);
                ASSENT_ASSERT(group->offsets);
                while (group->offsets_count <= number)
                        group->offsets[group->offsets_count++] = (struct assent_committed){.offset = -1};
        }
        group->offsets[number] = committed;
        sim_trace(&committed.offset, sizeof committed.offset);
        if (sim_committed)
                sim_committed(group->name, number, committed.offset, committed.metadata);
}

static void commit_arrives(void *argument)
{
        const struct commit *commit = argument;
        const struct sim_process *process = commit->process;
        if (process && process->cut_out && process->lives == commit->life) {
                sim_count(SIM_COMMIT_LOST);
                return;
        }
        if (commit->valid)
                commit_store(commit->group, commit->number, commit->committed);
}

/* As the broker sees it: a member that it threw out is not one of the group, and while the group has members, nobody else
 * may. */
static bool may_commit(const struct assent_bus_consumer *consumer)
{
        if (consumer->member)
                return !consumer->member->fenced;
        for (const struct member *member = consumer->group->members; member; member = member->next)
                if (!member->fenced)
                        return false;
        return true;
}

static struct commit *commit_new(const struct assent_bus_consumer *consumer, int32_t number, int64_t offset,
                                 struct assent_bytes metadata)
{
        struct commit *commit = kafka_room(sizeof *commit);
        *commit = (struct commit){.group = consumer->group, .process = consumer->bus->process, .number = number};
        commit->life = commit->process ? commit->process->lives : 0;
        commit->valid = may_commit(consumer);
        commit->committed.offset = offset;
        commit->committed.metadata.size = metadata.size;
        if (metadata.size)
                commit->committed.metadata.data = memcpy(kafka_room(metadata.size), metadata.data, metadata.size);
        return commit;
}

static enum assent_err commit_and_wait(struct assent_bus_consumer *consumer, const struct commit *commit, bool stray)
{
        struct sim_bus *bus = consumer->bus;
        if (!kafka_present(bus))
                return ASSENT_AGAIN;
        int64_t deadline_us = sim_now_us() + bus->query_timeout_us;
        bool answered = false;
        if (stray) {
                sim_wait(deadline_us, NULL, NULL);
        } else if (kafka_reach(bus, NULL, deadline_us)) {
                if (commit->valid)
                        commit_store(commit->group, commit->number, commit->committed);
                answered = kafka_return(bus, deadline_us);
        }
        kafka_heard(bus, answered);
        if (answered && commit->valid)
                return ASSENT_OK;
        return fail(consumer, ASSENT_AGAIN, answered ? "an offset was not committed: the member is not of the group"
                                                     : "an offset was not committed: nobody answered");
}

enum assent_err kafka_commit(struct assent_bus_consumer *consumer, int32_t number, int64_t offset, struct assent_bytes metadata,
                             bool wait)
{
        ASSENT_ASSERT(consumer->group && offset >= 0 && metadata.size <= METADATA_MAX);
        if (!kafka_enter())
                return ASSENT_AGAIN;
        struct commit *commit = commit_new(consumer, number, offset, metadata);
        bool lost = sim_chance(sim_cluster_faults.commit_lost), late = !lost && sim_chance(sim_cluster_faults.commit_late);
        int64_t delay_us = kafka_delay(consumer->bus->process, 0);
        if (lost)
                sim_count(SIM_COMMIT_LOST);
        if (late) {
                sim_count(SIM_COMMIT_LATE);
                delay_us += sim_between(0, COMMIT_LATE_US);
        }
        if (late || (!wait && !lost))
                sim_at(sim_now_us() + delay_us, commit_arrives, commit);
        return wait ? commit_and_wait(consumer, commit, lost || late) : ASSENT_OK;
}

enum assent_err kafka_committed(struct assent_bus_consumer *consumer, int32_t number, struct assent_committed *committed)
{
        struct sim_bus *bus = consumer->bus;
        if (!kafka_enter() || !kafka_present(bus))
                return ASSENT_E_BROKER;
        int64_t deadline_us = sim_now_us() + bus->query_timeout_us;
        bool reached = kafka_reach(bus, NULL, deadline_us);
        if (reached)
                *committed = group_offset(consumer->group, number);
        bool answered = reached && kafka_return(bus, deadline_us);
        kafka_heard(bus, answered);
        return answered ? ASSENT_OK : fail(consumer, ASSENT_E_BROKER, "the group's offset cannot be read: nobody answered");
}

int64_t sim_group_offset(const char *name, int lane)
{
        return group_offset(group_of(name), lane).offset;
}

void sim_cluster_forget_group(const char *name, int lane)
{
        struct group *group = group_of(name);
        if (group_offset(group, lane).offset < 0)
                return;
        sim_note("group %s: its offset of lane %d has expired", name, lane);
        sim_count(SIM_OFFSETS_EXPIRED);
        commit_store(group, lane, (struct assent_committed){.offset = -1});
}

/* ---- a consumer ---- */

enum assent_err kafka_consumer_open(struct assent_bus *base, const struct assent_bus_consumer_options *options,
                                    struct assent_bus_consumer **out)
{
        struct sim_bus *bus = (struct sim_bus *)base;
        ASSENT_ASSERT(options->assigned && (options->group || options->lanes_count > 0));
        *out = NULL;
        if (!kafka_enter())
                return kafka_fail(bus, ASSENT_E_KAFKA, "the process is gone");
        struct assent_bus_consumer *consumer = calloc(1, sizeof *consumer);
        ASSENT_ASSERT(consumer);
        size_t size = strlen(options->topic) + 1;
        consumer->bus = bus;
        sim_hold(bus->process, SIM_CONSUMER, 1);
        consumer->options = *options;
        consumer->topic = memcpy(kafka_room(size), options->topic, size);
        consumer->group = options->group ? group_of(options->group) : NULL;
        enum assent_err err = ASSENT_OK;
        if (options->lanes_count == 0)
                member_join(consumer);
        else
                err = lanes_take(consumer, options->lanes, options->lanes_count);
        if (err) {
                kafka_consumer_close(consumer);
                return err;
        }
        *out = consumer;
        return ASSENT_OK;
}

void kafka_consumer_close(struct assent_bus_consumer *consumer)
{
        kafka_enter();
        lanes_drop(consumer, false);
        if (consumer->member)
                member_leave(consumer);
        sim_hold(consumer->bus->process, SIM_CONSUMER, -1);
        free(consumer->readings);
        free(consumer);
}

static bool has_something(void *argument)
{
        const struct assent_bus_consumer *consumer = argument;
        if (consumer->bus->reports.first || consumer->bus->woken || consumer->err ||
            (consumer->member && consumer->member->news != NOTHING))
                return true;
        for (size_t i = 0; i < consumer->readings_count; i++)
                if (readable(consumer->readings[i]))
                        return true;
        return false;
}

/* The start is over: from now on a loop must go on. */
static void running(struct sim_bus *bus)
{
        bus->running = true;
        if (bus->query_timeout_us > QUERY_RUN_US)
                bus->query_timeout_us = QUERY_RUN_US;
}

enum assent_err kafka_consume(struct assent_bus_consumer *consumer, struct assent_record *records, size_t records_max,
                              int timeout_ms, size_t *count)
{
        struct sim_bus *bus = consumer->bus;
        int64_t deadline_us = sim_now_us() + timeout_ms * INT64_C(1000);
        uint64_t reports_before = bus->reports_count;
        *count = 0;
        if (!kafka_enter())
                return ASSENT_E_KAFKA;
        if (consumer->group)
                running(bus);
        for (;;) {
                kafka_reports(bus);
                if (consumer->member && !consumer->err && consumer->member->news != NOTHING)
                        consumer->err = rebalance(consumer);
                if (sim_ghost())
                        return ASSENT_E_KAFKA;
                for (size_t i = 0; i < consumer->readings_count; i++)
                        reading_take(consumer->readings[(consumer->turn + i) % consumer->readings_count], records, records_max,
                                     count);
                if (*count > 0 || bus->reports_count != reports_before || bus->woken || consumer->err)
                        break;
                sim_wait(deadline_us, has_something, consumer);
                if (sim_ghost())
                        return ASSENT_E_KAFKA;
                if (!has_something(consumer))
                        break;
        }
        consumer->turn++;
        bus->woken = false;
        if (*count == 0)
                return consumer->err;
        kafka_heard(bus, true);
        return ASSENT_OK;
}

enum assent_err kafka_pause(struct assent_bus_consumer *consumer, int32_t number, bool paused)
{
        struct reading *reading = reading_find(consumer, number);
        ASSENT_ASSERT(reading);
        reading->paused = paused;
        return ASSENT_OK;
}

enum assent_err kafka_seek(struct assent_bus_consumer *consumer, int32_t number, int64_t offset)
{
        struct reading *reading = reading_find(consumer, number);
        ASSENT_ASSERT(reading && offset >= 0);
        if (consumer->bus->process && offset > reading->position)
                sim_violation("I7", "%s lane %" PRId32 ": a seek from %" PRId64 " to %" PRId64 " passes records over",
                              consumer->topic, number, reading->position, offset);
        reading->position = reading->fetched = offset;
        reading->handed = offset - 1;
        fetch(reading);
        return ASSENT_OK;
}

void kafka_groups_close(void)
{
        for (const struct group *group = groups; group; group = group->next)
                free(group->offsets);
        groups = NULL;
        free_readings = NULL;
}
