#include "runtime/lanes.h"

#include <assent/log.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "base/panic.h"
#include "core/ids.h"
#include "kafka/topics.h"
#include "runtime/checkpoint.h"

enum { RECORDS_MAX = 256, POLL_MS = 100, QUIET_MS = 2000 };

/* A record as the reader found it. */
struct lane_entry {
        const struct assent_record *record;
        const struct assent_message *message; /* NULL: it does not decode */
};

/* Called for each record in offset order; false: that is enough. */
typedef bool (*lane_each)(void *context, const struct lane_entry *entry);

static enum assent_err start_at(void *context, int32_t lane, const struct assent_committed *committed, int64_t *start)
{
        (void)lane;
        (void)committed;
        *start = *(const int64_t *)context;
        return ASSENT_OK;
}

/* Nothing has come for a while, although the end is not reached. Either the rest of the range is a
 * gap (a foreign transaction's markers are offsets without records), or the broker is gone. */
static enum assent_err quiet(struct assent_bus *bus, const char *topic, int32_t lane, int64_t next, int64_t to)
{
        int64_t low = 0, high = 0;
        enum assent_err err = assent_bus_watermarks(bus, topic, lane, &low, &high);
        if (err != ASSENT_OK)
                return err;
        if (low > next)
                return ASSENT_E_POSITION;
        assent_log(ASSENT_LOG_WARN, "the rest of the lane seems to be a gap", ASSENT_TEXT("topic", topic),
                   ASSENT_INT("lane", lane), ASSENT_INT("next", next), ASSENT_INT("end", to));
        return ASSENT_OK;
}

/* Hands over what was read. Returns false when the reading is over. */
static bool hand_over(struct assent_codec *codec, const struct assent_record *records, size_t count, int64_t to,
                      int64_t *next, lane_each each, void *context)
{
        for (size_t i = 0; i < count; i++) {
                if (records[i].offset >= to)
                        return false;
                struct assent_message message;
                enum assent_decode_fault fault = assent_codec_decode(codec, records[i].value, &message);
                struct lane_entry entry = {.record = &records[i],
                                           .message = fault == ASSENT_DECODE_NONE ? &message : NULL};
                *next = records[i].offset + 1;
                if (!each(context, &entry))
                        return false;
        }
        return *next < to;
}

/* The records of one lane of `topic` from offset `from` up to but not including `to`; gaps are fine. Blocks. ASSENT_OK,
 * ASSENT_E_POSITION (`from` is no longer in the log), ASSENT_E_BROKER, ASSENT_E_KAFKA; see assent_bus_errmsg. */
static enum assent_err lane_read(struct assent_bus *bus, struct assent_codec *codec, const char *topic, int32_t lane,
                                 int64_t from, int64_t to, lane_each each, void *context)
{
        ASSENT_ASSERT(from >= 0 && each);
        if (from >= to)
                return ASSENT_OK;
        struct assent_bus_consumer *consumer = NULL;
        const struct assent_bus_consumer_options options = {
            .topic = topic, .lanes = &lane, .lanes_count = 1, .assigned = start_at, .context = &from};
        enum assent_err err = assent_bus_consumer_open(bus, &options, &consumer);

        int64_t next = from, heard_ms = assent_bus_monotonic_ms(bus);
        while (err == ASSENT_OK) {
                struct assent_record records[RECORDS_MAX];
                size_t count = 0;
                err = assent_bus_consume(bus, consumer, records, RECORDS_MAX, POLL_MS, &count);
                if (err != ASSENT_OK)
                        break;
                if (count > 0) {
                        heard_ms = assent_bus_monotonic_ms(bus);
                        if (!hand_over(codec, records, count, to, &next, each, context))
                                break;
                } else if (assent_bus_monotonic_ms(bus) - heard_ms > QUIET_MS) {
                        err = quiet(bus, topic, lane, next, to);
                        break;
                }
        }
        assent_bus_consumer_close(bus, consumer);
        return err;
}

/* R1: the broker's stamp, or none; the embedded broker, which cannot stamp, is excepted. */
static int64_t lane_time(const struct assent_config *config, const struct assent_record *record)
{
        const char *broker = assent_config_get(config, "assent.broker");
        bool embedded = broker && strcmp(broker, "embedded") == 0;
        return record->append_time || embedded ? record->timestamp_ms : ASSENT_TIME_NONE;
}

struct settings_search {
        struct assent_settings *out;
        bool found, readable;
        char *errmsg;
};

static bool look_for_settings(void *context, const struct lane_entry *entry)
{
        struct settings_search *search = context;
        const struct assent_message *message = entry->message;
        if (!message || message->type != ASSENT_CONTROL || message->body.control.kind != ASSENT_SETTINGS ||
            !assent_message_id_holds(message))
                return true;
        const struct assent_bytes text = message->body.control.settings;
        search->found = true;
        search->readable = assent_settings_parse(text, search->out) && !assent_settings_wrong(search->out);
        if (!search->readable) {
                char shown[ASSENT_SETTINGS_SIZE_MAX];
                assent_escape_text(text.data, text.size, shown, sizeof shown);
                snprintf(search->errmsg, ASSENT_LANES_ERRMSG_SIZE_MAX,
                         "lane %d, offset %" PRId64 ": the SETTINGS record \"%s\" is not one that this build "
                         "(rules=%d schema=%d) can follow; use the build that the prefix was made with",
                         entry->record->lane, entry->record->offset, shown, ASSENT_RULES_VERSION,
                         ASSENT_SCHEMA_VERSION);
        }
        return false;
}

struct checkpoint_search {
        struct assent_settings *out;
        int64_t low;
        bool found;
};

static enum assent_err look_at_checkpoint(void *context, int32_t lane, const struct assent_committed *committed,
                                          int64_t *start)
{
        (void)lane;
        struct checkpoint_search *search = context;
        struct assent_checkpoint checkpoint;
        if (committed->offset >= 0 && assent_checkpoint_parse(committed->metadata, committed->offset, &checkpoint) &&
            checkpoint.has_settings) {
                *search->out = checkpoint.settings;
                search->found = true;
        }
        *start = search->low;
        return ASSENT_OK;
}

enum assent_err assent_lane_settings(struct assent_bus *bus, struct assent_codec *codec,
                                     const struct assent_config *config, int32_t lane, struct assent_settings *out,
                                     int64_t *log_start, char errmsg[ASSENT_LANES_ERRMSG_SIZE_MAX])
{
        char topic[ASSENT_TOPIC_SIZE_MAX], group[ASSENT_TOPIC_SIZE_MAX];
        assent_topic_inbox(config, topic);
        assent_group_coordinator(config, group);
        errmsg[0] = '\0';
        int64_t high = 0;
        enum assent_err err = assent_bus_watermarks(bus, topic, lane, log_start, &high);
        if (err == ASSENT_OK && *log_start == 0) {
                struct settings_search search = {.out = out, .errmsg = errmsg};
                err = lane_read(bus, codec, topic, lane, 0, high, look_for_settings, &search);
                if (err == ASSENT_OK && search.found)
                        return search.readable ? ASSENT_OK : ASSENT_E_SETTINGS;
        } else if (err == ASSENT_OK) {
                /* The first SETTINGS record is gone with the log's beginning; a later one would not
                 * be the one that counts. Every checkpoint repeats it (R17). */
                struct checkpoint_search search = {.out = out, .low = *log_start};
                const struct assent_bus_consumer_options options = {.topic = topic,
                                                                    .group = group,
                                                                    .lanes = &lane,
                                                                    .lanes_count = 1,
                                                                    .assigned = look_at_checkpoint,
                                                                    .context = &search};
                struct assent_bus_consumer *consumer = NULL;
                err = assent_bus_consumer_open(bus, &options, &consumer);
                assent_bus_consumer_close(bus, consumer);
                if (err == ASSENT_OK && search.found)
                        return ASSENT_OK;
        }
        if (err != ASSENT_OK)
                snprintf(errmsg, ASSENT_LANES_ERRMSG_SIZE_MAX, "%s", assent_bus_errmsg(bus));
        else if (*log_start == 0)
                snprintf(errmsg, ASSENT_LANES_ERRMSG_SIZE_MAX,
                         "lane %d of %s has no SETTINGS record; run assentctl topics apply", lane, topic);
        else
                snprintf(errmsg, ASSENT_LANES_ERRMSG_SIZE_MAX,
                         "lane %d of %s: its log starts at offset %" PRId64
                         ", its SETTINGS record is gone, and group %s "
                         "has no checkpoint that repeats it; go on with a new prefix (assent.prefix)",
                         lane, topic, *log_start, group);
        return err == ASSENT_OK ? ASSENT_E_NOT_FOUND : err;
}

/* One story being read. */
struct reader {
        const struct assent_config *config;
        struct assent_story *story;
        struct assent_core *core;
        bool out_of_memory;
};

/* The least time for which a lane keeps its records: the start-up check sees to it. */
static int64_t kept_ms(const struct assent_settings *s)
{
        return s->window_ms + s->skew_ms + s->timeout_max_ms;
}

static void note_emission(void *context, const struct assent_message *message)
{
        struct reader *reader = context;
        reader->story->emit(reader->story->context, message);
}

static void note_trace(void *context, const struct assent_trace *trace)
{
        struct assent_story *story = ((struct reader *)context)->story;
        if (trace->kind == ASSENT_T_ACCEPTED && memcmp(&trace->txn_id, &story->txn_id, sizeof story->txn_id) == 0)
                story->accepted = true;
        if (story->trace)
                story->trace(story->context, trace);
}

static bool step_record(void *context, const struct lane_entry *entry)
{
        struct reader *reader = context;
        struct assent_story *story = reader->story;
        const int64_t time_ms = lane_time(reader->config, entry->record);
        enum assent_verdict verdict;
        if (story->first_ms == ASSENT_TIME_NONE)
                story->first_ms = time_ms;
        if (!assent_core_step(reader->core, entry->record->offset, time_ms, entry->message, &verdict)) {
                reader->out_of_memory = true;
                return false;
        }
        story->next = entry->record->offset + 1;
        story->tau_ms = assent_core_tau(reader->core);
        /* From a log start above 0 it is read on, whatever was found: only its end tells how old that is. */
        if (!story->more(story->context, reader->core) && !story->at_log_start)
                return false;
        /* R2: once the window has passed, every begin of it is STALE. */
        const int64_t age_max_ms = story->at_log_start ? kept_ms(story->settings) : story->settings->window_ms;
        return story->accepted || story->tau_ms == ASSENT_TIME_NONE ||
               story->tau_ms - assent_txn_id_birth_ms(&story->txn_id) <= age_max_ms;
}

/* Where P10 begins to read, and with which τ(L−1). */
static enum assent_err find_start(struct assent_bus *bus, const char *topic, struct assent_story *story, int64_t *low,
                                  struct assent_core_options *options)
{
        const int64_t from_ms = assent_txn_id_birth_ms(&story->txn_id) - story->settings->skew_ms;
        int64_t high = 0;
        enum assent_err err = assent_bus_watermarks(bus, topic, story->lane, low, &high);
        if (err != ASSENT_OK)
                return err;
        if (story->end_offset < 0)
                story->end_offset = high;
        err = assent_bus_offset_for_time(bus, topic, story->lane, from_ms, &story->from);
        if (err == ASSENT_OK) {
                options->tau_ms = from_ms - 1;
                options->settings = story->settings;
                return ASSENT_OK;
        }
        if (err != ASSENT_E_UNSUPPORTED)
                return err;
        story->from = *low;
        options->tau_ms = ASSENT_TIME_NONE;
        options->settings = *low == 0 ? NULL : story->settings;
        return ASSENT_OK;
}

/* A log that lost its beginning may have lost an earlier copy of the begin, with its votes, while a
 * later copy is still there and would be decided otherwise: then nothing may be concluded. But a
 * story younger than what a lane keeps is whole; and on the embedded broker, which drops by size,
 * so is one that a record from before birth − S precedes. */
static bool story_cut(const struct assent_story *story, bool by_time)
{
        const int64_t birth_ms = assent_txn_id_birth_ms(&story->txn_id);
        if (by_time)
                return story->tau_ms - birth_ms > kept_ms(story->settings);
        return story->first_ms == ASSENT_TIME_NONE || story->first_ms >= birth_ms - story->settings->skew_ms;
}

enum assent_err assent_lane_story(struct assent_bus *bus, struct assent_codec *codec,
                                  const struct assent_config *config, struct assent_story *story)
{
        ASSENT_ASSERT(story->settings && story->emit && story->more);
        char topic[ASSENT_TOPIC_SIZE_MAX];
        assent_topic_inbox(config, topic);
        struct reader reader = {.config = config, .story = story};
        story->lane = assent_lane_of(&story->txn_id, story->settings->lanes);
        story->first_ms = ASSENT_TIME_NONE;
        story->accepted = story->cut = story->at_log_start = false;
        story->errmsg[0] = '\0';
        struct assent_core_options options = {.lane = story->lane,
                                              .floor_ms = ASSENT_TIME_NONE,
                                              .memory_max =
                                                  (size_t)assent_config_int(config, "assent.memory_bytes_max"),
                                              .emit = note_emission,
                                              .trace = note_trace,
                                              .context = &reader};
        int64_t low = 0;
        enum assent_err err = find_start(bus, topic, story, &low, &options);
        if (err != ASSENT_OK)
                goto out;
        story->at_log_start = low > 0 && story->from <= low;
        story->next = story->from;
        story->tau_ms = options.tau_ms;
        reader.core = assent_core_open(&options);
        if (!reader.core) {
                err = ASSENT_E_MEMORY;
                goto out;
        }
        err = lane_read(bus, codec, topic, story->lane, story->from, story->end_offset, step_record, &reader);
        if (err == ASSENT_OK && reader.out_of_memory)
                err = ASSENT_E_MEMORY;
        story->cut = story->at_log_start && story_cut(story, options.tau_ms != ASSENT_TIME_NONE);
out:
        assent_core_close(reader.core);
        if (err == ASSENT_E_MEMORY)
                snprintf(story->errmsg, sizeof story->errmsg,
                         "lane %d of %s: evaluating it from offset %" PRId64 " needs more memory than there is "
                         "(assent.memory_bytes_max is %zu)",
                         story->lane, topic, story->from, options.memory_max);
        else if (err != ASSENT_OK)
                snprintf(story->errmsg, sizeof story->errmsg, "lane %d of %s: %s", story->lane, topic,
                         assent_bus_errmsg(bus));
        return err;
}

/* An evaluation under way. */
struct evaluating {
        struct assent_evaluation *out;
        struct assent_uuid txn_id;
};

static void keep_outcome(struct assent_evaluation *out, const struct assent_message *message)
{
        const enum assent_outcome outcome = message->body.outcome.outcome;
        if (out->decided || (outcome != ASSENT_COMMITTED && outcome != ASSENT_ABORTED))
                return;
        const struct assent_bytes reason = message->body.outcome.reason;
        ASSENT_ASSERT(reason.size <= sizeof out->reason);
        out->decided = true;
        out->outcome = outcome;
        if (reason.size > 0)
                memcpy(out->reason, reason.data, reason.size);
        out->reason_size = reason.size;
        out->decided_at_ms = message->body.outcome.decided_at_ms;
        out->lamport = message->lamport;
}

static void keep_emission(void *context, const struct assent_message *message)
{
        struct evaluating *evaluating = context;
        if (message->type == ASSENT_OUTCOME &&
            memcmp(&message->txn_id, &evaluating->txn_id, sizeof message->txn_id) == 0)
                keep_outcome(evaluating->out, message);
}

static bool undecided(void *context, const struct assent_core *core)
{
        (void)core;
        return !((const struct evaluating *)context)->out->decided;
}

enum assent_err assent_lane_evaluate(struct assent_bus *bus, struct assent_codec *codec,
                                     const struct assent_config *config, const struct assent_settings *settings,
                                     const struct assent_uuid *txn_id, int64_t end_offset,
                                     struct assent_evaluation *out)
{
        ASSENT_ASSERT(end_offset >= -1);
        memset(out, 0, sizeof *out);
        struct evaluating evaluating = {.out = out, .txn_id = *txn_id};
        struct assent_story story = {.settings = settings,
                                     .txn_id = *txn_id,
                                     .end_offset = end_offset,
                                     .emit = keep_emission,
                                     .more = undecided,
                                     .context = &evaluating};
        enum assent_err err = assent_lane_story(bus, codec, config, &story);
        out->begin_seen = story.accepted;
        out->next_offset = story.next;
        if (err == ASSENT_OK && story.cut) {
                out->decided = false;
                err = ASSENT_E_POSITION;
                snprintf(story.errmsg, sizeof story.errmsg,
                         "lane %d: the log starts at offset %" PRId64
                         ", too late to evaluate this transaction: records that "
                         "decide it may be gone; ask a coordinator (assentctl txn inquire)",
                         story.lane, story.from);
        }
        snprintf(out->errmsg, sizeof out->errmsg, "%s", story.errmsg);
        return err;
}
