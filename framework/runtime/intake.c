#include "runtime/intake.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <assent/log.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/hash.h"
#include "base/panic.h"

#define QUEUE_BYTES_MAX  ((size_t)1 << 30) /* of one local transaction's answers */
#define TIME_MAX         ((INT64_C(1) << 48) - 1)
#define ELECTION_TRIES   10 /* a log end below the position is looked at so often, ELECTION_WAIT_MS apart */
#define ELECTION_WAIT_MS 300
#define FIRST_LOOK_MS    5000
#define STORE_MS         1000
#define ROWS_MAX         100000

/* A record that waits for the local transaction to commit. */
struct queued {
        int topic;
        int32_t lane;
        uint64_t tag;
        struct assent_uuid txn_id;
        size_t at, size; /* in `bytes` */
};

struct assent_intake {
        struct assent_intake_options options;
        struct assent_bus_consumer *consumer;
        struct assent_intake_lane *lanes;
        struct assent_record *records;
        struct assent_lane_list list;
        int64_t look_ms; /* when the marks are looked at next */
        size_t batch_max;
        bool embedded;
        int64_t commit_ms, committed_ms, retry_ms, retry_max_ms;
        struct assent_buffer bytes;
        struct queued *queue;
        size_t queue_count, queue_max;
        struct assent_outbox *outbox;
        int64_t store_ms; /* when the outbox is counted next */
        enum assent_err failed;
        char errmsg[2048];
};

__attribute__((format(printf, 3, 4))) static enum assent_err fail(struct assent_intake *in, enum assent_err err,
                                                                  const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(in->errmsg, sizeof in->errmsg, format, arguments);
        va_end(arguments);
        in->failed = err;
        return err;
}

/* ---- P11: does the database fit the log? ---- */

/* Beside the group's offset stands no mark yet, or this database's. */
static enum assent_err check_mark(struct assent_intake *in, int32_t lane, const struct assent_committed *committed)
{
        const char *mine = in->options.incarnation;
        struct assent_bytes mark = committed->metadata;
        if (mark.size == 0 || (mark.size == strlen(mine) && memcmp(mark.data, mine, mark.size) == 0))
                return ASSENT_OK;
        return fail(in, ASSENT_E_POSITION,
                    "group %s, lane %" PRId32 " of %s: the group's offset was committed by database %.*s, this is database %s. "
                    "Two databases serve one lane: stop the other, or give each its own lanes",
                    in->options.group, lane, in->options.topic, (int)mark.size, (const char *)mark.data, mine);
}

static enum assent_err check_position(struct assent_intake *in, const struct assent_intake_lane *lane, bool known,
                                      const struct assent_committed *committed, int64_t low, int64_t high)
{
        const char *topic = in->options.topic;
        int64_t next = lane->position.next;
        if (check_mark(in, lane->number, committed))
                return in->failed;
        if (!known && (committed->offset > 0 || low > 0)) /* at 0 stands the mark of a first start that wrote nothing else */
                return fail(in, ASSENT_E_POSITION,
                            "lane %" PRId32 " of %s: this database has no position, but the group has offset %" PRId64
                            " and the log starts at %" PRId64 ". The database is older than the log, or new beside a used "
                            "one: bring back the right database file, or take a new service name",
                            lane->number, topic, committed->offset, low);
        if (known && (committed->offset > next || low > next))
                return fail(in, ASSENT_E_POSITION,
                            "lane %" PRId32 " of %s: the database stands at offset %" PRId64 ", but the group at %" PRId64
                            " and the log starts at %" PRId64 ". The database was restored from an old copy, or retention was "
                            "shorter than the outage: bring back the newest copy of the database",
                            lane->number, topic, next, committed->offset, low);
        if (known && high < next)
                return fail(in, ASSENT_E_POSITION,
                            "lane %" PRId32 " of %s: the database stands at offset %" PRId64 ", but the log ends at %" PRId64
                            ". The log has lost acknowledged records, or this is another cluster: restore the partition",
                            lane->number, topic, next, high);
        return ASSENT_OK;
}

static enum assent_err lane_assigned(void *context, int32_t number, const struct assent_committed *committed, int64_t *start)
{
        struct assent_intake *in = context;
        ASSENT_ASSERT(number >= 0 && number < in->options.lanes);
        struct assent_intake_lane *lane = &in->lanes[number];
        enum assent_err err = assent_store_position(in->options.store, in->options.topic, number, &lane->position);
        if (err && err != ASSENT_E_NOT_FOUND)
                return fail(in, err, "%s", assent_store_errmsg(in->options.store));
        bool known = !err;
        int64_t low = 0, high = 0;
        for (int tries = 0; tries <= ELECTION_TRIES; tries++) { /* a new leader may show an old end for a moment */
                if (tries)
                        usleep(ELECTION_WAIT_MS * 1000);
                err = assent_bus_watermarks(in->options.bus, in->options.topic, number, &low, &high);
                if (!err && (!known || high >= lane->position.next))
                        break;
        }
        if (err)
                return fail(in, err, "%s", assent_bus_errmsg(in->options.bus));
        if (!known) {
                lane->position = (struct assent_position){.lane = number, .tau_ms = INT64_MIN, .acked = -1};
                memset(&lane->position.open_from, 0xff, sizeof lane->position.open_from);
        }
        err = check_position(in, lane, known, committed, low, high);
        if (err)
                return err;

        /* The resend cursor: the newest of the two records of it. An expired group offset loses nothing (P2). */
        int64_t cursor = committed->offset > lane->position.acked ? committed->offset : lane->position.acked;
        if (cursor < low) {
                if (cursor >= 0)
                        assent_log(ASSENT_LOG_WARN, "retention removed records that may not be answered; P10 settles them",
                                   ASSENT_TEXT("topic", in->options.topic), ASSENT_INT("lane", number),
                                   ASSENT_INT("cursor", cursor), ASSENT_INT("log_start", low));
                cursor = low;
        }
        lane->mine = known ? lane->position.next : -1;
        lane->cursor = lane->read_next = lane->committed = cursor;
        lane->last_record_ms = assent_bus_monotonic_ms(in->options.bus);
        lane->held = true;
        *start = cursor;
        assent_log(ASSENT_LOG_INFO, "lane taken", ASSENT_TEXT("topic", in->options.topic), ASSENT_INT("lane", number),
                   ASSENT_INT("cursor", cursor), ASSENT_INT("position", lane->position.next), ASSENT_INT("log_end", high));
        return ASSENT_OK;
}

/* ---- publishing ---- */

void assent_intake_queue(struct assent_intake *in, int topic, int32_t lane, const struct assent_uuid *txn_id,
                         struct assent_bytes value, uint64_t tag)
{
        if (in->queue_count == in->queue_max) {
                in->queue_max = in->queue_max ? in->queue_max * 2 : 1024;
                in->queue = realloc(in->queue, in->queue_max * sizeof *in->queue);
                ASSENT_NEED(in->queue);
        }
        struct queued *queued = &in->queue[in->queue_count++];
        *queued = (struct queued){.topic = topic,
                                  .lane = lane,
                                  .tag = tag,
                                  .txn_id = *txn_id,
                                  .at = in->bytes.size,
                                  .size = value.size};
        assent_buffer_append(&in->bytes, value.data, value.size);
}

static enum assent_err publish(struct assent_intake *in)
{
        enum assent_err err = ASSENT_OK;
        ASSENT_ASSERT(!in->bytes.err);
        for (size_t i = 0; i < in->queue_count && !err; i++) {
                const struct queued *queued = &in->queue[i];
                char key[ASSENT_UUID_TEXT_SIZE];
                assent_uuid_format(&queued->txn_id, key);
                const struct assent_outgoing outgoing = {.topic = queued->topic,
                                                         .lane = queued->lane,
                                                         .key = {key, ASSENT_UUID_TEXT_SIZE - 1},
                                                         .value = {in->bytes.data + queued->at, queued->size},
                                                         .tag = queued->tag};
                err = assent_send(in->options.bus, &outgoing);
                ASSENT_CRASH_POINT(participant_between_answers); /* the others have not been sent: all are sent again */
        }
        in->queue_count = 0;
        assent_buffer_clear(&in->bytes);
        return err ? fail(in, err, "publishing for %s: %s", in->options.topic, assent_bus_errmsg(in->options.bus)) : ASSENT_OK;
}

void assent_intake_delivered(struct assent_intake *in, const struct assent_report *report)
{
        if (assent_tag_kind(report->tag) == ASSENT_TAG_EVENT) {
                assent_outbox_delivered(in->outbox, report);
                return;
        }
        struct assent_intake_lane *lane = &in->lanes[assent_tag_lane(report->tag)];
        if (!report->err)
                assent_tracker_ack(&lane->sent, assent_tag_sequence(report->tag));
        else if (!in->failed)
                fail(in, ASSENT_E_KAFKA,
                     "an answer for lane %" PRId32 " of %s was refused: %s; it is sent again after a restart", report->lane,
                     in->options.topic, assent_err_text(report->err));
}

/* The group offset follows what is acknowledged, never leads it. */
static void move_cursors(struct assent_intake *in, bool wait)
{
        int64_t now = assent_bus_monotonic_ms(in->options.bus);
        bool due = wait || now - in->committed_ms >= in->commit_ms;
        for (int32_t i = 0; i < in->options.lanes; i++) {
                struct assent_intake_lane *lane = &in->lanes[i];
                if (!lane->held)
                        continue;
                lane->cursor = assent_tracker_low(&lane->sent, lane->read_next);
                if (!due || lane->cursor <= lane->committed || lane->mine < 0)
                        continue;
                ASSENT_CRASH_POINT(participant_before_offset_commit); /* resent from the older offset, or the position row's */
                assent_bus_commit(in->options.bus, in->consumer, i, lane->cursor, assent_bytes_of(in->options.incarnation),
                                  wait);
                ASSENT_CRASH_POINT(participant_after_offset_commit); /* handed to the client: the greater of the two counts */
                lane->committed = lane->cursor;
        }
        if (due)
                in->committed_ms = now;
}

/* ---- the local transaction ---- */

static enum assent_err store_failed(struct assent_intake *in, enum assent_err err)
{
        return fail(in, err, "%s", assent_store_errmsg(in->options.store));
}

static enum assent_err outbox_failed(struct assent_intake *in, enum assent_err err)
{
        return fail(in, err, "%s", assent_outbox_errmsg(in->outbox));
}

enum assent_err assent_intake_begin(struct assent_intake *in)
{
        enum assent_err err = assent_store_begin(in->options.store);
        return err ? store_failed(in, err) : ASSENT_OK;
}

enum assent_err assent_intake_finish(struct assent_intake *in)
{
        struct assent_store *store = in->options.store;
        enum assent_err err = assent_outbox_settle(in->outbox);
        if (err)
                return outbox_failed(in, err);
        for (int32_t i = 0; i < in->options.lanes; i++) {
                struct assent_intake_lane *lane = &in->lanes[i];
                if (!lane->dirty)
                        continue;
                lane->position.acked = lane->cursor;
                err = assent_store_position_set(store, in->options.topic, &lane->position, lane->mine);
                if (err)
                        return store_failed(in, err);
        }
        ASSENT_CRASH_POINT(participant_before_store_commit); /* a crash here undoes the whole batch; it is read again */
        int64_t began_us = assent_clock_us();
        err = assent_store_commit(store);
        if (err)
                return store_failed(in, err);
        assent_durations_add(&in->options.watch->commit, assent_clock_us() - began_us);
        ASSENT_CRASH_POINT(participant_after_store_commit); /* from here on it is done; the answers are resent */
        for (int32_t i = 0; i < in->options.lanes; i++) {
                struct assent_intake_lane *lane = &in->lanes[i];
                if (lane->dirty)
                        lane->mine = lane->position.next;
                lane->dirty = false;
        }
        if (in->options.durable)
                in->options.durable(in->options.context);
        err = publish(in);
        ASSENT_CRASH_POINT(participant_after_publish); /* queued, perhaps sent: read again from the cursor and sent again */
        return err;
}

/* A handler said RETRY: the lane waits at this record; the others go on. */
static enum assent_err stall(struct assent_intake *in, struct assent_intake_lane *lane, const struct assent_record *record)
{
        lane->retry_ms = lane->retry_ms ? lane->retry_ms * 2 : in->retry_ms;
        if (lane->retry_ms > in->retry_max_ms)
                lane->retry_ms = in->retry_max_ms;
        lane->resume_ms = assent_bus_monotonic_ms(in->options.bus) + lane->retry_ms;
        enum assent_err err = assent_bus_seek(in->options.bus, in->consumer, lane->number, record->offset);
        if (!err)
                err = assent_bus_pause(in->options.bus, in->consumer, lane->number, true);
        return err ? fail(in, err, "%s", assent_bus_errmsg(in->options.bus)) : ASSENT_OK;
}

/* `now`: when the batch came; a clock read for every record of it would tell nothing more. */
static enum assent_err process(struct assent_intake *in, struct assent_intake_lane *lane, const struct assent_record *record,
                               int64_t now)
{
        if (!lane->held || lane->resume_ms || record->offset < lane->read_next)
                return ASSENT_OK;
        bool redelivered = record->offset < lane->position.next;
        struct assent_position before = lane->position;
        bool dirty = lane->dirty;
        if (!redelivered) {
                lane->position.next = record->offset + 1;
                lane->position.chain = assent_hash64_chain(lane->position.chain, record->value.data, record->value.size);
                if ((record->append_time || in->embedded || in->options.any_time) && record->timestamp_ms >= 0 &&
                    record->timestamp_ms <= TIME_MAX && record->timestamp_ms > lane->position.tau_ms) /* R1 */
                        lane->position.tau_ms = record->timestamp_ms;
                lane->dirty = true;
                lane->heard = true;
        }
        int64_t heard_ms = lane->last_record_ms; /* the estimate of log time needs τ and this together */
        lane->last_record_ms = now;
        enum assent_err err = in->options.process(in->options.context, lane, record, redelivered);
        if (err == ASSENT_AGAIN) {
                lane->position = before;
                lane->dirty = dirty;
                lane->last_record_ms = heard_ms;
                return stall(in, lane, record);
        }
        if (err)
                return in->failed ? in->failed : fail(in, err, "%s", assent_store_errmsg(in->options.store));
        lane->retry_ms = 0;
        lane->read_next = record->offset + 1;
        return ASSENT_OK;
}

static enum assent_err resume_lanes(struct assent_intake *in)
{
        int64_t now = assent_bus_monotonic_ms(in->options.bus);
        for (int32_t i = 0; i < in->options.lanes; i++) {
                struct assent_intake_lane *lane = &in->lanes[i];
                if (!lane->resume_ms || lane->resume_ms > now)
                        continue;
                lane->resume_ms = 0;
                enum assent_err err = assent_bus_pause(in->options.bus, in->consumer, i, false);
                if (err)
                        return fail(in, err, "%s", assent_bus_errmsg(in->options.bus));
        }
        return ASSENT_OK;
}

/* P11: this database's id beside every group offset, from the start on and again while nothing moves, because the offsets of
 * idle groups expire. */
static void put_marks(struct assent_intake *in)
{
        for (size_t i = 0; i < in->list.count; i++) {
                struct assent_intake_lane *lane = &in->lanes[in->list.lanes[i]];
                enum assent_err err = assent_bus_commit(in->options.bus, in->consumer, lane->number, lane->cursor,
                                                        assent_bytes_of(in->options.incarnation), true);
                if (!err)
                        lane->committed = lane->cursor;
                ASSENT_CRASH_POINT(participant_after_mark); /* some lanes carry this database's mark: it finds its own again */
        }
}

static enum assent_err look_at_mark(void *context, int32_t number, const struct assent_committed *committed, int64_t *start)
{
        struct assent_intake *in = context;
        *start = in->lanes[number].cursor;
        return check_mark(in, number, committed);
}

/* Two new databases that started at one moment both found no mark: the one whose mark was overwritten stops. */
static enum assent_err look_at_marks(struct assent_intake *in, int64_t now)
{
        const struct assent_bus_consumer_options options = {.topic = in->options.topic,
                                                            .group = in->options.group,
                                                            .lanes = in->list.lanes,
                                                            .lanes_count = in->list.count,
                                                            .assigned = look_at_mark,
                                                            .context = in};
        struct assent_bus_consumer *reader = NULL;
        int64_t low, high;
        in->look_ms = now + FIRST_LOOK_MS;
        /* Reading the group's offsets may wait long for a silent broker; this question is short, and there is no hurry. */
        if (assent_bus_watermarks(in->options.bus, in->options.topic, in->list.lanes[0], &low, &high))
                return in->failed;
        enum assent_err err = assent_bus_consumer_open(in->options.bus, &options, &reader);
        assent_bus_consumer_close(in->options.bus, reader); /* NULL after a failed open, or whatever it left */
        if (err)
                return in->failed;
        put_marks(in);
        in->look_ms = now + assent_config_int(in->options.config, "assent.checkpoint_idle_ms");
        return in->failed;
}

static bool work_waits(const struct assent_intake *in)
{
        return in->options.waiting && in->options.waiting(in->options.context);
}

/* What operators see. */
static void show(struct assent_intake *in, int64_t now)
{
        struct assent_intake_watch *watch = in->options.watch;
        const struct assent_outbox_counts *events = assent_outbox_counts(in->outbox);
        uint64_t rows;
        if (!assent_watch_begin(&watch->common, now))
                return;
        for (int32_t i = 0; i < in->options.lanes; i++) {
                const struct assent_intake_lane *lane = &in->lanes[i];
                const struct assent_watched_lane seen = {.tau_ms = lane->heard ? lane->position.tau_ms : INT64_MIN,
                                                         .heard_ms = lane->last_record_ms,
                                                         .committed = lane->committed,
                                                         .next = lane->read_next,
                                                         .ready = lane->read_next >= lane->position.next};
                if (lane->held)
                        assent_watch_lane(&watch->common, i, &seen);
        }
        assent_watch_end(&watch->common);
        assent_watch_set(&watch->outbox_sent, events->acknowledged);
        assent_watch_set(&watch->outbox_refused, events->refused);
        if (now < in->store_ms)
                return;
        in->store_ms = now + STORE_MS;
        struct statvfs disk; /* what is not there, is not full */
        assent_watch_set(&watch->common.unwritable,
                         statvfs(watch->path, &disk) == 0 && ((disk.f_flag & ST_RDONLY) || disk.f_bavail == 0));
        if (assent_store_outbox_count(in->options.store, ROWS_MAX, &rows) == ASSENT_OK)
                assent_watch_set(&watch->outbox_rows, rows);
}

enum assent_err assent_intake_step(struct assent_intake *in, int timeout_ms)
{
        if (in->failed || resume_lanes(in))
                return in->failed;
        enum assent_err err = assent_outbox_relay(in->outbox);
        if (err)
                return outbox_failed(in, err);
        bool behind = false; /* acknowledgements to wait for: come back soon and move the group offset */
        for (int32_t i = 0; i < in->options.lanes; i++)
                behind |= in->lanes[i].held && in->lanes[i].committed < in->lanes[i].read_next;
        if (behind && timeout_ms > in->commit_ms)
                timeout_ms = (int)in->commit_ms;
        timeout_ms = work_waits(in) ? 0 : assent_outbox_patience(in->outbox, timeout_ms);
        size_t count = 0;
        err = assent_bus_consume(in->options.bus, in->consumer, in->records, in->batch_max, timeout_ms, &count);
        if (err)
                return in->failed ? in->failed : fail(in, err, "%s", assent_bus_errmsg(in->options.bus));
        bool works = work_waits(in);
        int64_t now = assent_bus_monotonic_ms(in->options.bus);
        if (count || works || assent_outbox_due(in->outbox)) {
                err = assent_intake_begin(in);
                for (size_t i = 0; i < count && !err; i++)
                        err = process(in, &in->lanes[in->records[i].lane], &in->records[i], now);
                if (!err && works)
                        err = in->options.work(in->options.context);
                if (!err)
                        err = assent_intake_finish(in);
        }
        if (err)
                return err;
        move_cursors(in, false);
        now = assent_bus_monotonic_ms(in->options.bus);
        show(in, now);
        return now >= in->look_ms ? look_at_marks(in, now) : in->failed;
}

void assent_intake_drain(struct assent_intake *in, int timeout_ms)
{
        if (in->failed)
                return;
        ASSENT_CRASH_POINT(participant_draining); /* as a crash at work: nothing rests on the drain */
        int64_t left_ms = timeout_ms, until_ms = assent_bus_monotonic_ms(in->options.bus) + timeout_ms;
        bool flushed = true;
        do {
                if (assent_outbox_relay(in->outbox))
                        return;
                flushed = assent_bus_flush(in->options.bus, (int)left_ms) == ASSENT_OK;
                if (assent_intake_begin(in) || assent_intake_finish(in)) /* events that arrived are not sent again */
                        return;
                left_ms = until_ms - assent_bus_monotonic_ms(in->options.bus);
        } while (flushed && left_ms > 0 && assent_outbox_ready(in->outbox));
        if (flushed)
                move_cursors(in, true);
}

/* ---- birth and death ---- */

static enum assent_err take_lanes(struct assent_intake *in)
{
        const char *text = assent_config_get(in->options.config, "assent.lanes");
        const char *wrong = assent_lane_list_parse(text, "all", in->options.lanes, &in->list);
        if (wrong)
                return fail(in, ASSENT_E_CONFIG, "%s", wrong);
        if (in->list.subscribe)
                return fail(in, ASSENT_E_CONFIG,
                            "assent.lanes=subscribe needs a database that several processes share; with SQLite one process "
                            "owns its lanes: say \"all\", or which (P13)");
        const struct assent_bus_consumer_options options = {.topic = in->options.topic,
                                                            .group = in->options.group,
                                                            .lanes = in->list.lanes,
                                                            .lanes_count = in->list.count,
                                                            .assigned = lane_assigned,
                                                            .context = in};
        enum assent_err err = assent_bus_consumer_open(in->options.bus, &options, &in->consumer);
        if (err && !in->failed)
                fail(in, err, "%s", assent_bus_errmsg(in->options.bus));
        if (!err)
                put_marks(in);
        in->look_ms = assent_bus_monotonic_ms(in->options.bus) + FIRST_LOOK_MS;
        return in->failed;
}

enum assent_err assent_intake_open(const struct assent_intake_options *options, struct assent_intake **out)
{
        struct assent_intake *in = calloc(1, sizeof *in);
        *out = in;
        if (!in)
                return ASSENT_E_MEMORY;
        in->options = *options;
        in->options.watch->path = assent_config_get(options->config, "assent.db");
        in->embedded = strcmp(assent_config_get(options->config, "assent.broker"), "embedded") == 0;
        in->batch_max = (size_t)assent_config_int(options->config, "assent.batch_max");
        in->commit_ms = assent_config_int(options->config, "assent.checkpoint_ms");
        in->retry_ms = assent_config_int(options->config, "assent.retry_ms");
        in->retry_max_ms = assent_config_int(options->config, "assent.retry_max_ms");
        assent_buffer_init(&in->bytes, QUEUE_BYTES_MAX);
        in->records = calloc(in->batch_max, sizeof *in->records);
        in->lanes = calloc((size_t)options->lanes, sizeof *in->lanes);
        if (!in->records || !in->lanes || !assent_watch_lanes(&in->options.watch->common, options->lanes))
                return fail(in, ASSENT_E_MEMORY, "out of memory");
        for (int32_t i = 0; i < options->lanes; i++)
                in->lanes[i].number = i;
        const struct assent_outbox_options outbox = {.config = options->config,
                                                     .bus = options->bus,
                                                     .store = options->store,
                                                     .incarnation = options->incarnation,
                                                     .source = options->source};
        enum assent_err err = assent_outbox_open(&outbox, &in->outbox);
        if (err)
                return fail(in, err, "%s", in->outbox ? assent_outbox_errmsg(in->outbox) : "out of memory");
        return take_lanes(in);
}

struct assent_intake_lane *assent_intake_lane(struct assent_intake *in, int32_t lane)
{
        return lane >= 0 && lane < in->options.lanes && in->lanes[lane].held ? &in->lanes[lane] : NULL;
}

int64_t assent_intake_estimate(const struct assent_intake *in, const struct assent_intake_lane *lane)
{
        if (lane->position.tau_ms == INT64_MIN)
                return INT64_MIN;
        return lane->position.tau_ms + assent_bus_monotonic_ms(in->options.bus) - lane->last_record_ms;
}

const struct assent_outbox_counts *assent_intake_events(const struct assent_intake *in)
{
        static const struct assent_outbox_counts none;
        return in->outbox ? assent_outbox_counts(in->outbox) : &none;
}

int32_t assent_intake_lanes(const struct assent_intake *in)
{
        return in->options.lanes;
}

const char *assent_intake_errmsg(const struct assent_intake *in)
{
        return in->errmsg;
}

void assent_intake_close(struct assent_intake *in)
{
        if (!in)
                return;
        if (in->consumer)
                assent_bus_consumer_close(in->options.bus, in->consumer);
        for (int32_t i = 0; in->lanes && i < in->options.lanes; i++)
                assent_tracker_free(&in->lanes[i].sent);
        assent_outbox_close(in->outbox);
        assent_buffer_close(&in->bytes);
        free(in->records);
        free(in->lanes);
        free(in->queue);
        free(in);
}
