/* check_events.c: events that participants publish, and work that is handed to them (P1, P2): what must stand in the events'
 * topic, what must not, in which order, under which ids. See check.h. */
#include "check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/panic.h"

/* What is known of an event, by its nonce. */
struct event {
        struct assent_uuid id; /* of its first record */
        uint64_t digest;       /* of that whole record */
        int64_t number;
        uint32_t database;
        bool seen;    /* it stands in the topic */
        bool durable; /* its participant knows it to be in the database … */
        bool told;    /* … and has said so */
        bool vain;    /* it was said to be rolled back */
        bool stored;  /* it is there */
};

static struct {
        struct event *events;
        uint64_t count, max;
        uint64_t missing; /* durable, not seen, not too large */
        int64_t last[SIM_DATABASES][SIM_EVENT_KEYS]; /* the greatest number that came */
} judge;

uint64_t sim_event_nonce(void)
{
        if (judge.count + 1 >= judge.max) {
                uint64_t max = judge.max ? 2 * judge.max : 1024;
                judge.events = realloc(judge.events, max * sizeof *judge.events);
                ASSENT_ASSERT(judge.events);
                memset(judge.events + judge.max, 0, (max - judge.max) * sizeof *judge.events);
                judge.max = max;
        }
        return ++judge.count;
}

void sim_event_durable(uint64_t nonce, bool told)
{
        struct event *event = &judge.events[nonce];
        if (!event->durable) {
                judge.missing += !event->seen && !sim_event_large(nonce);
                sim_judge.active_us = sim_now_us();
        }
        event->durable = true;
        event->told |= told;
}

void sim_event_vain(uint64_t nonce)
{
        judge.events[nonce].vain = true;
}

/* ---- a record ---- */

static bool parse(const struct sim_record *record, struct sim_event *event)
{
        if (record->size != sizeof *event)
                return false;
        memcpy(event, record->bytes + record->key_size, sizeof *event);
        return event->nonce >= 1 && event->nonce <= judge.count && event->database < SIM_DATABASES &&
               event->key < SIM_EVENT_KEYS;
}

static bool has_header(const struct sim_record *record, const char *name, const char *wanted)
{
        struct assent_bytes value;
        return sim_record_header(record, name, &value) && value.size == strlen(wanted) &&
               memcmp(value.data, wanted, value.size) == 0;
}

static bool well_formed(const struct sim_log *log, const struct sim_record *record, struct assent_uuid *id)
{
        struct assent_bytes text;
        uint32_t lane = (assent_murmur2(record->bytes, record->key_size) & 0x7fffffff) % SIM_EVENTS_LANES;
        return (int)lane == log->lane && has_header(record, "ce_specversion", "1.0") &&
               has_header(record, "ce_type", "moved") && has_header(record, "content-type", "application/octet-stream") &&
               sim_record_header(record, "ce_id", &text) && assent_uuid_parse(text.data, text.size, id) == ASSENT_OK;
}

void sim_check_event(const struct sim_log *log, int64_t offset)
{
        const struct sim_record *record = &log->records[offset];
        struct sim_event said;
        struct assent_uuid id;
        sim_judge.active_us = sim_now_us();
        if (!parse(record, &said) || !well_formed(log, record, &id)) {
                sim_violation("event", "lane %d, offset %" PRId64 ": that is no event, or not in its lane", log->lane, offset);
                return;
        }
        struct event *event = &judge.events[said.nonce];
        uint64_t digest = assent_hash64(record->bytes, record->key_size + record->size + record->headers_size, 0);
        sim_note("event %" PRIu64 ": number %" PRId64 " of database %" PRIu32 ", key %" PRIu32 ", lane %d @%" PRId64,
                 said.nonce, said.number, said.database, said.key, log->lane, offset);
        if (event->seen) {
                if (event->digest != digest)
                        sim_violation("event", "event %" PRIu64 " comes again with other contents, or another id", said.nonce);
                return;
        }
        *event = (struct event){.id = id,
                                .digest = digest,
                                .number = said.number,
                                .database = said.database,
                                .seen = true,
                                .durable = event->durable,
                                .told = event->told,
                                .vain = event->vain};
        judge.missing -= event->durable && !sim_event_large(said.nonce);
        int64_t *last = &judge.last[said.database][said.key];
        if (said.number <= *last)
                sim_violation("event", "database %" PRIu32 ", key %" PRIu32 ": number %" PRId64 " comes after number %" PRId64,
                              said.database, said.key, said.number, *last);
        *last = said.number;
}

bool sim_check_events_finished(void)
{
        return judge.missing == 0;
}

/* ---- the audit ---- */

void sim_check_event_row(const struct sim_event *row)
{
        ASSENT_ASSERT(row->nonce >= 1 && row->nonce <= judge.count);
        struct event *event = &judge.events[row->nonce];
        bool fits = event->seen ? event->number == row->number && event->database == row->database
                                : sim_event_large(row->nonce);
        event->stored = true;
        if (event->vain)
                sim_violation("event", "event %" PRIu64 " was to be rolled back, and is there", row->nonce);
        else if (!fits)
                sim_violation("event", "number %" PRId64 " of database %" PRIu32 " (event %" PRIu64 ") %s", row->number,
                              row->database, row->nonce, event->seen ? "says otherwise in the topic" : "is not in the topic");
}

static int compare_ids(const void *a, const void *b)
{
        return memcmp(a, b, sizeof(struct assent_uuid));
}

void sim_check_events_audit(void)
{
        struct assent_uuid *ids = calloc(judge.count + 1, sizeof *ids);
        size_t count = 0;
        ASSENT_ASSERT(ids);
        for (uint64_t nonce = 1; nonce <= judge.count; nonce++) {
                const struct event *event = &judge.events[nonce];
                if (event->seen)
                        ids[count++] = event->id;
                if (!event->stored && (event->seen || event->durable))
                        sim_violation("event", "event %" PRIu64 " is in no database; %s", nonce,
                                      event->told    ? "whoever handed it in was told that it is done"
                                      : event->seen ? "it stands in the topic"
                                                    : "its participant took it for durable");
        }
        qsort(ids, count, sizeof *ids, compare_ids);
        for (size_t i = 1; i < count; i++)
                if (compare_ids(&ids[i - 1], &ids[i]) == 0)
                        sim_violation("event", "two events have one id");
        free(ids);
}

void sim_check_events_close(void)
{
        free(judge.events);
        memset(&judge, 0, sizeof judge);
}
