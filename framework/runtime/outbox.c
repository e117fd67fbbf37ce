#include "runtime/outbox.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <assent/log.h>

#include "base/crash.h"
#include "base/hash.h"
#include "base/panic.h"
#include "base/uuid5.h"
#include "kafka/topics.h"
#include "runtime/outbound.h"

#define TOPICS_MAX       256
#define IN_FLIGHT_MAX    1024               /* of one topic */
#define FLIGHT_BYTES_MAX ((size_t)16 << 20) /* of one topic, or one event */
#define SETTLE_MS        50
#define SOURCE_SIZE_MAX  256

enum state { WAITING, ACKNOWLEDGED, REFUSED, OVER };

/* A partition. A leader just elected, which knows nothing of this producer yet, may refuse its first batch and take its second:
 * the client then sends the first one again, behind it. So there is no second one until the first has arrived. */
enum lane { NEW, OPENING, OPEN };

/* An event on its way. */
struct flight {
        int64_t sequence;
        uint32_t size;
        int32_t lane;
        uint8_t state;
        bool alone; /* sent with no other of its topic on the way: what is said about it is about it */
        uint8_t err;
};

/* A topic, and what is on its way there: a ring, in order of sequence. */
struct route {
        char name[ASSENT_EVENT_TOPIC_SIZE_MAX + 1];
        int number;
        int handle, lanes; /* lanes 0: to be looked up */
        uint8_t *lane;     /* enum lane, of each */
        bool more;         /* there may be rows above `after` */
        bool alone;        /* one at a time, until it is known which one the broker does not like */
        int64_t after;     /* rows up to here were sent */
        int64_t back;      /* the least one that came back; INT64_MAX: none */
        int64_t due_ms;    /* held back until then … */
        int64_t wait_ms;   /* … so long, and then one at a time until one arrives; 0: not held back */
        uint64_t head, tail;
        size_t waiting, settling, bytes; /* WAITING; ACKNOWLEDGED or REFUSED; of those waiting */
        struct flight ring[IN_FLIGHT_MAX];
};

struct assent_outbox {
        struct assent_outbox_options options;
        struct assent_uuid incarnation;
        char source[SOURCE_SIZE_MAX];
        int64_t retry_ms, retry_max_ms;
        uint64_t seen; /* of the store's written rows; how far the topics were looked at */
        struct route *routes[TOPICS_MAX];
        int routes_count;
        struct route *unknown; /* of those to be looked up in this turn the one that has been due for longest */
        int unknown_count;
        int64_t settle_ms; /* when what is to be settled has waited long enough; 0: nothing is */
        bool crowded;      /* a topic too many: told */
        struct assent_outbox_counts counts;
        enum assent_err failed;
        char errmsg[2048];
};

__attribute__((format(printf, 3, 4))) static enum assent_err fail(struct assent_outbox *outbox, enum assent_err err,
                                                                  const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(outbox->errmsg, sizeof outbox->errmsg, format, arguments);
        va_end(arguments);
        outbox->failed = err;
        return err;
}

static enum assent_err store_failed(struct assent_outbox *outbox, enum assent_err err)
{
        return fail(outbox, err, "%s", assent_store_errmsg(outbox->options.store));
}

static int64_t now_ms(const struct assent_outbox *outbox)
{
        return assent_bus_monotonic_ms(outbox->options.bus);
}

static struct flight *flight_at(struct route *route, uint64_t number)
{
        return &route->ring[number % IN_FLIGHT_MAX];
}

/* ---- one record ---- */

/* RFC 3339, or "" for what is beyond the calendar, and in setup, which has no time. */
static void format_time(int64_t time_ms, char text[32])
{
        const time_t seconds = (time_t)(time_ms / 1000);
        struct tm parts;
        size_t size = 0;
        if (time_ms > 0 && gmtime_r(&seconds, &parts) && parts.tm_year < 10000 - 1900)
                size = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &parts);
        if (size)
                snprintf(text + size, 32 - size, ".%03dZ", (int)(time_ms % 1000));
        else
                text[0] = '\0';
}

/* The same at every repetition: from the database's own id and the row's number, which is never used again. */
static void format_id(const struct assent_outbox *outbox, int64_t sequence, char text[ASSENT_UUID_TEXT_SIZE])
{
        uint8_t name[8];
        struct assent_uuid id;
        for (int i = 0; i < 8; i++)
                name[i] = (uint8_t)((uint64_t)sequence >> (56 - 8 * i));
        assent_uuid5(&outbox->incarnation, name, sizeof name, &id);
        assent_uuid_format(&id, text);
}

/* CloudEvents, binary mode. */
static enum assent_err send_row(struct assent_outbox *outbox, struct route *route, const struct assent_outbox_row *row,
                                int32_t lane)
{
        char id[ASSENT_UUID_TEXT_SIZE], moment[32];
        format_id(outbox, row->sequence, id);
        format_time(row->time_ms, moment);
        const struct assent_header headers[] = {{"ce_specversion", assent_bytes_of("1.0")},
                                                {"ce_id", {id, ASSENT_UUID_TEXT_SIZE - 1}},
                                                {"ce_source", assent_bytes_of(outbox->source)},
                                                {"ce_type", row->type},
                                                {"content-type", row->content_type},
                                                {"ce_time", assent_bytes_of(moment)}};
        const struct assent_outgoing outgoing = {.topic = route->handle,
                                                 .lane = lane,
                                                 .key = row->key,
                                                 .value = row->value,
                                                 .headers = headers,
                                                 .headers_count = moment[0] ? 6 : 5,
                                                 .tag = assent_tag(ASSENT_TAG_EVENT, route->number, route->tail)};
        ASSENT_CRASH_POINT(outbox_before_send); /* committed, not sent: found in the database at start */
        enum assent_err err = assent_bus_send(outbox->options.bus, &outgoing);
        ASSENT_CRASH_POINT(outbox_after_send); /* perhaps there: sent again under the same id */
        return err;
}

/* ---- what is held back ---- */

/* The topic is not there, or may not be written: later again. Many reports may say so of one attempt. */
static void hold(struct assent_outbox *outbox, struct route *route, enum assent_err err)
{
        int64_t now = now_ms(outbox);
        route->lanes = 0;
        if (route->due_ms > now)
                return;
        route->wait_ms = route->wait_ms ? route->wait_ms * 2 : outbox->retry_ms;
        if (route->wait_ms > outbox->retry_max_ms)
                route->wait_ms = outbox->retry_max_ms;
        route->due_ms = now + route->wait_ms;
        assent_log(ASSENT_LOG_WARN, "events wait: their topic cannot be written", ASSENT_TEXT("topic", route->name),
                   ASSENT_TEXT("why", assent_err_text(err)), ASSENT_INT("again_ms", route->wait_ms));
}

static void come_back(struct route *route, struct flight *flight)
{
        flight->state = OVER;
        if (flight->sequence < route->back)
                route->back = flight->sequence;
}

static void pop(struct route *route)
{
        while (route->head != route->tail && flight_at(route, route->head)->state == OVER)
                route->head++;
}

static void to_be_settled(struct assent_outbox *outbox, struct route *route)
{
        route->settling++;
        if (!outbox->settle_ms)
                outbox->settle_ms = now_ms(outbox) + SETTLE_MS;
}

static void refused(struct assent_outbox *outbox, struct route *route, struct flight *flight, enum assent_err err)
{
        flight->state = REFUSED;
        flight->err = (uint8_t)err;
        route->alone = false;
        to_be_settled(outbox, route);
}

void assent_outbox_delivered(struct assent_outbox *outbox, const struct assent_report *report)
{
        struct route *route = outbox->routes[assent_tag_lane(report->tag)];
        uint64_t ahead = (assent_tag_sequence(report->tag) - route->head) & ASSENT_TAG_SEQUENCE_MASK;
        ASSENT_ASSERT(ahead < route->tail - route->head);
        struct flight *flight = flight_at(route, route->head + ahead);
        ASSENT_ASSERT(flight->state == WAITING);
        route->waiting--;
        route->bytes -= flight->size;
        if (!report->err)
                route->lane[flight->lane] = OPEN;
        else if (route->lane[flight->lane] == OPENING)
                route->lane[flight->lane] = NEW;
        if (!report->err) {
                ASSENT_CRASH_POINT(outbox_acknowledged); /* its row is there: sent again under the same id */
                flight->state = ACKNOWLEDGED;
                route->wait_ms = 0;
                outbox->counts.acknowledged++;
                to_be_settled(outbox, route);
        } else if (report->err == ASSENT_E_NOT_FOUND || report->err == ASSENT_E_DENIED) {
                come_back(route, flight);
                hold(outbox, route, report->err);
        } else if (flight->alone) {
                refused(outbox, route, flight, report->err);
        } else { /* perhaps another one of its batch was meant */
                come_back(route, flight);
                if (!route->alone)
                        assent_log(ASSENT_LOG_WARN, "events are sent one at a time, to see which one is refused",
                                   ASSENT_TEXT("topic", route->name), ASSENT_TEXT("why", assent_err_text(report->err)));
                route->alone = true;
        }
        pop(route);
}

/* ---- what has come to an end ---- */

static enum assent_err settle_row(struct assent_outbox *outbox, const struct route *route, const struct flight *flight)
{
        if (flight->state == ACKNOWLEDGED) {
                enum assent_err err = assent_store_outbox_delete(outbox->options.store, flight->sequence);
                ASSENT_CRASH_POINT(outbox_deleting); /* rolled back: sent once more under the same id */
                return err;
        }
        const char *why = assent_err_text((enum assent_err)flight->err);
        outbox->counts.refused++;
        assent_log(ASSENT_LOG_ERROR, "event refused for good: set aside in assent_outbox, nobody will get it",
                   ASSENT_TEXT("topic", route->name), ASSENT_INT("sequence", flight->sequence),
                   ASSENT_INT("size", flight->size), ASSENT_TEXT("why", why));
        enum assent_err err = assent_store_outbox_refuse(outbox->options.store, flight->sequence, why);
        ASSENT_CRASH_POINT(outbox_refusing); /* rolled back: sent and refused once more */
        return err;
}

static enum assent_err settle_route(struct assent_outbox *outbox, struct route *route)
{
        for (uint64_t i = route->head; i != route->tail && route->settling; i++) {
                struct flight *flight = flight_at(route, i);
                if (flight->state != ACKNOWLEDGED && flight->state != REFUSED)
                        continue;
                enum assent_err err = settle_row(outbox, route, flight);
                if (err)
                        return store_failed(outbox, err);
                flight->state = OVER;
                route->settling--;
        }
        pop(route);
        return ASSENT_OK;
}

enum assent_err assent_outbox_settle(struct assent_outbox *outbox)
{
        if (!outbox->settle_ms)
                return outbox->failed;
        /* A client that has failed for good reports whatever it held as refused: nothing of that counts. */
        if (assent_bus_poll(outbox->options.bus, 0))
                return fail(outbox, ASSENT_E_KAFKA, "%s", assent_bus_errmsg(outbox->options.bus));
        for (int i = 0; i < outbox->routes_count && !outbox->failed; i++)
                settle_route(outbox, outbox->routes[i]);
        outbox->settle_ms = 0;
        return outbox->failed;
}

bool assent_outbox_due(const struct assent_outbox *outbox)
{
        bool due = outbox->settle_ms && now_ms(outbox) >= outbox->settle_ms;
        for (int i = 0; i < outbox->routes_count && !due; i++)
                due = outbox->routes[i]->settling >= IN_FLIGHT_MAX / 2;
        return due;
}

int assent_outbox_patience(const struct assent_outbox *outbox, int timeout_ms)
{
        int64_t now = now_ms(outbox), due_ms = outbox->settle_ms ? outbox->settle_ms : INT64_MAX;
        for (int i = 0; i < outbox->routes_count; i++) {
                const struct route *route = outbox->routes[i];
                bool waits = route->more || route->back != INT64_MAX;
                if (waits && route->due_ms > now && route->due_ms < due_ms)
                        due_ms = route->due_ms;
        }
        if (due_ms <= now || outbox->unknown_count > 1)
                return 0;
        return due_ms - now < timeout_ms ? (int)(due_ms - now) : timeout_ms;
}

/* ---- sending ---- */

static struct route *route_of(struct assent_outbox *outbox, const char *name)
{
        for (int i = 0; i < outbox->routes_count; i++)
                if (strcmp(outbox->routes[i]->name, name) == 0)
                        return outbox->routes[i];
        if (outbox->routes_count == TOPICS_MAX) {
                if (!outbox->crowded)
                        assent_log(ASSENT_LOG_ERROR, "too many topics of events: those of this one wait for a restart",
                                   ASSENT_TEXT("topic", name), ASSENT_INT("most", TOPICS_MAX));
                outbox->crowded = true;
                return NULL;
        }
        struct route *route = calloc(1, sizeof *route);
        if (!route) {
                fail(outbox, ASSENT_E_MEMORY, "out of memory");
                return NULL;
        }
        snprintf(route->name, sizeof route->name, "%s", name);
        route->number = outbox->routes_count;
        route->back = INT64_MAX;
        outbox->routes[outbox->routes_count++] = route;
        return route;
}

/* Which topics have rows: at start, and when some were written. */
static enum assent_err find_routes(struct assent_outbox *outbox)
{
        char topic[ASSENT_EVENT_TOPIC_SIZE_MAX + 1] = "";
        uint64_t written = assent_store_outbox_written(outbox->options.store);
        enum assent_err err = ASSENT_OK;
        while (written != outbox->seen && !outbox->failed &&
               (err = assent_store_outbox_topic(outbox->options.store, topic)) == ASSENT_OK) {
                struct route *route = route_of(outbox, topic);
                if (route)
                        route->more = true;
        }
        outbox->seen = written;
        return err && err != ASSENT_E_NOT_FOUND ? store_failed(outbox, err) : outbox->failed;
}

static bool look_up(struct assent_outbox *outbox, struct route *route)
{
        char name[ASSENT_TOPIC_SIZE_MAX];
        snprintf(name, sizeof name, "%s.%s", assent_config_get(outbox->options.config, "assent.prefix"), route->name);
        enum assent_err err = assent_bus_lookup(outbox->options.bus, name, &route->lanes);
        if (!err && (route->handle = assent_bus_topic(outbox->options.bus, name)) < 0)
                err = ASSENT_E_LIMIT;
        free(route->lane);
        route->lane = calloc((size_t)route->lanes + 1, sizeof *route->lane);
        if (!route->lane)
                err = ASSENT_E_MEMORY;
        if (err)
                hold(outbox, route, err);
        return !err;
}

struct sending {
        struct assent_outbox *outbox;
        struct route *route;
        size_t count;
        bool stopped; /* no room */
};

static bool send_next(void *context, const struct assent_outbox_row *row)
{
        struct sending *sending = context;
        struct assent_outbox *outbox = sending->outbox;
        struct route *route = sending->route;
        size_t size = row->key.size + row->value.size;
        int32_t lane = (int32_t)((assent_murmur2(row->key.data, row->key.size) & 0x7fffffff) % (uint32_t)route->lanes);
        enum assent_err err = ASSENT_AGAIN;
        if (route->lane[lane] != OPENING && (route->waiting == 0 || route->bytes + size <= FLIGHT_BYTES_MAX))
                err = send_row(outbox, route, row, lane);
        if (err == ASSENT_AGAIN) {
                sending->stopped = true;
                return false;
        }
        if (err && err != ASSENT_E_TOO_LARGE) {
                fail(outbox, err, "sending an event to %s: %s", route->name, assent_bus_errmsg(outbox->options.bus));
                return false;
        }
        struct flight *flight = flight_at(route, route->tail++);
        *flight = (struct flight){.sequence = row->sequence,
                                  .size = (uint32_t)size,
                                  .lane = lane,
                                  .alone = route->alone || route->wait_ms > 0};
        route->after = row->sequence;
        sending->count++;
        if (err) {
                refused(outbox, route, flight, err);
                return true;
        }
        route->waiting++;
        route->bytes += size;
        if (route->lane[lane] == NEW)
                route->lane[lane] = OPENING;
        outbox->counts.sent++;
        return true;
}

static enum assent_err relay_route(struct assent_outbox *outbox, struct route *route)
{
        if (route->back != INT64_MAX) { /* once the fate of the others is known, from the first that came back on */
                if (route->waiting || route->settling)
                        return ASSENT_OK;
                route->after = route->back - 1;
                route->back = INT64_MAX;
                route->more = true;
        }
        if (!route->more || route->due_ms > now_ms(outbox))
                return ASSENT_OK;
        size_t room = IN_FLIGHT_MAX - (size_t)(route->tail - route->head);
        if ((route->alone || route->wait_ms) && room)
                room = route->waiting == 0;
        if (!room)
                return ASSENT_OK;
        if (!route->lanes) {
                if (outbox->unknown_count++ == 0 || route->due_ms < outbox->unknown->due_ms)
                        outbox->unknown = route;
                return ASSENT_OK;
        }
        struct sending sending = {.outbox = outbox, .route = route};
        enum assent_err err =
                assent_store_outbox_scan(outbox->options.store, route->name, route->after, room, send_next, &sending);
        if (err)
                return store_failed(outbox, err);
        route->more = sending.stopped || sending.count == room;
        return outbox->failed;
}

/* The loop waits with a look-up, for as long as the bus waits for the cluster (bus.h): so there is one a turn, after whatever
 * goes without. */
enum assent_err assent_outbox_relay(struct assent_outbox *outbox)
{
        if (outbox->failed || find_routes(outbox))
                return outbox->failed;
        outbox->unknown_count = 0;
        for (int i = 0; i < outbox->routes_count && !outbox->failed; i++)
                relay_route(outbox, outbox->routes[i]);
        if (!outbox->failed && outbox->unknown_count && look_up(outbox, outbox->unknown))
                relay_route(outbox, outbox->unknown);
        return outbox->failed;
}

bool assent_outbox_ready(const struct assent_outbox *outbox)
{
        bool ready = false;
        for (int i = 0; i < outbox->routes_count && !ready; i++)
                ready = (outbox->routes[i]->more || outbox->routes[i]->back != INT64_MAX) &&
                        outbox->routes[i]->due_ms <= now_ms(outbox);
        return ready;
}

/* ---- birth and death ---- */

enum assent_err assent_outbox_open(const struct assent_outbox_options *options, struct assent_outbox **out)
{
        struct assent_outbox *outbox = calloc(1, sizeof *outbox);
        *out = outbox;
        if (!outbox)
                return ASSENT_E_MEMORY;
        outbox->options = *options;
        outbox->retry_ms = assent_config_int(options->config, "assent.retry_ms");
        outbox->retry_max_ms = assent_config_int(options->config, "assent.retry_max_ms");
        outbox->seen = UINT64_MAX; /* never looked */
        snprintf(outbox->source, sizeof outbox->source, "/%s", options->source);
        const char *hex = options->incarnation;
        char text[ASSENT_UUID_TEXT_SIZE] = "";
        if (strlen(hex) == 32)
                snprintf(text, sizeof text, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
        if (assent_uuid_parse(text, strlen(text), &outbox->incarnation))
                return fail(outbox, ASSENT_E_STORE, "the database's incarnation is \"%s\", not 32 hexadecimal digits", hex);
        return ASSENT_OK;
}

const struct assent_outbox_counts *assent_outbox_counts(const struct assent_outbox *outbox)
{
        return &outbox->counts;
}

const char *assent_outbox_errmsg(const struct assent_outbox *outbox)
{
        return outbox->errmsg;
}

void assent_outbox_close(struct assent_outbox *outbox)
{
        if (!outbox)
                return;
        for (int i = 0; i < outbox->routes_count; i++) {
                free(outbox->routes[i]->lane);
                free(outbox->routes[i]);
        }
        free(outbox);
}
