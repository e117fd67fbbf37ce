#include <assent/client.h>
#include <assent/log.h>
#include <assent/observe.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "base/panic.h"
#include "codec/codec.h"
#include "core/ids.h"
#include "kafka/bus.h"
#include "kafka/topics.h"
#include "observe/exposition.h"
#include "runtime/lane_ends.h"
#include "runtime/lanes.h"
#include "runtime/settings.h"

enum {
        RECORDS_MAX = 1000, /* of one turn */
        TURN_MS = 100,      /* how soon a blocking call notices assent_client_stop */
        BUCKETS = 2048,     /* what await remembers: BUCKETS × WAYS transactions, the oldest of a bucket
                               gives way */
        WAYS = 8,
};

/* A transaction that somebody may await: begun (by the blocking call, or by any call when there is
 * no outcome callback), asked about, or awaited. All others of the prefix cost one look at one
 * bucket. */
struct memory {
        struct assent_uuid txn_id;
        uint64_t used;               /* when; 0: free */
        uint64_t lamport;            /* the greatest seen */
        uint32_t begins;             /* copies sent from here (C2) */
        uint32_t attempts;           /* control messages sent from here */
        enum assent_outcome outcome; /* 0: none yet */
        int64_t decided_at_ms;
        uint16_t reason_size;
        char reason[ASSENT_REASON_SIZE_MAX];
};

struct begun {
        struct assent_uuid txn_id;
        enum assent_err err;
};

struct assent_client {
        struct assent_client_options options;
        struct assent_settings settings; /* this configuration's; `lanes` as the topics have them */
        struct assent_bus *bus;
        struct assent_codec *codec;
        struct assent_bus_consumer *outcomes;
        int inbox;
        int64_t *ends; /* of the outcomes lanes, noted before the first BEGIN */
        struct assent_record *records;
        struct memory *memory;
        uint64_t uses;
        /* Reports that the bus made: told to the caller at the end of the turn, since he may want
         * to send again. */
        struct begun *begun;
        size_t begun_count, begun_max;
        uint64_t waited_tag; /* of the blocking call under way; 0: none */
        uint64_t tags;
        uint64_t in_flight; /* begins */
        struct assent_client_counts unseen; /* what nobody wants to know */
        bool waited_done;
        enum assent_err waited_err;
        int64_t waited_offset;
        char reason[ASSENT_REASON_SIZE_MAX]; /* that notices lend */
        atomic_bool stopped, woken;
        char errmsg[ASSENT_LANES_ERRMSG_SIZE_MAX];
};

__attribute__((format(printf, 3, 4))) static enum assent_err fail(struct assent_client *client, enum assent_err err,
                                                                  const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(client->errmsg, sizeof client->errmsg, format, arguments);
        va_end(arguments);
        return err;
}

static struct assent_client_counts *counts_of(struct assent_client *client)
{
        return client->options.counts ? client->options.counts : &client->unseen;
}

static bool same(const struct assent_uuid *a, const struct assent_uuid *b)
{
        return memcmp(a, b, sizeof *a) == 0;
}

/* The last bytes of a UUID v7 are random. */
static struct memory *bucket_of(const struct assent_client *client, const struct assent_uuid *txn_id)
{
        const size_t bucket = ((size_t)txn_id->bytes[14] << 8 | txn_id->bytes[15]) % BUCKETS;
        return client->memory + bucket * WAYS;
}

static struct memory *recall(const struct assent_client *client, const struct assent_uuid *txn_id)
{
        struct memory *bucket = bucket_of(client, txn_id);
        for (int i = 0; i < WAYS; i++)
                if (bucket[i].used && same(&bucket[i].txn_id, txn_id))
                        return &bucket[i];
        return NULL;
}

static struct memory *remember(struct assent_client *client, const struct assent_uuid *txn_id)
{
        struct memory *found = recall(client, txn_id);
        if (!found) {
                struct memory *bucket = bucket_of(client, txn_id);
                found = bucket;
                for (int i = 1; i < WAYS; i++)
                        if (bucket[i].used < found->used)
                                found = &bucket[i];
                memset(found, 0, sizeof *found);
                found->txn_id = *txn_id;
                found->lamport = 1; /* a BEGIN's */
        }
        found->used = ++client->uses;
        return found;
}

/* Tags are odd for a BEGIN, whose fate `began` reports when nobody waits for it. */
static void delivered(void *context, const struct assent_report *report)
{
        struct assent_client *client = context;
        ASSENT_CRASH_POINT(client_acknowledged); /* the broker holds it, the caller does not know: asked by the same id (C3) */
        if (report->tag % 2) {
                client->in_flight--;
                assent_count(report->err ? &counts_of(client)->refused : &counts_of(client)->held, 1);
        }
        if (report->tag == client->waited_tag) {
                client->waited_done = true;
                client->waited_err = report->err;
                client->waited_offset = report->offset;
                return;
        }
        if (report->tag % 2 == 0 || !client->options.began)
                return;
        if (client->begun_count == client->begun_max) {
                const size_t max = client->begun_max ? 2 * client->begun_max : 1024;
                struct begun *begun = realloc(client->begun, max * sizeof *begun);
                ASSENT_NEED(begun); /* bounded by the producer's queue */
                client->begun = begun;
                client->begun_max = max;
        }
        struct begun *begun = &client->begun[client->begun_count++];
        begun->err = report->err;
        enum assent_err err = assent_uuid_parse(report->key.data, report->key.size, &begun->txn_id);
        ASSENT_ASSERT(err == ASSENT_OK); /* the key that build_and_send made */
}

static void tell_begun(struct assent_client *client)
{
        const size_t count = client->begun_count;
        if (count == 0)
                return;
        for (size_t i = 0; i < count; i++) {
                const struct begun begun = client->begun[i];
                client->options.began(client->options.context, &begun.txn_id, begun.err);
        }
        client->begun_count -= count;
        memmove(client->begun, client->begun + count, client->begun_count * sizeof *client->begun);
}

static enum assent_err start_at_end(void *context, int32_t lane, const struct assent_committed *committed,
                                    int64_t *start)
{
        (void)committed;
        *start = ((const int64_t *)context)[lane];
        return ASSENT_OK;
}

static enum assent_err open_outcomes(struct assent_client *client)
{
        char topic[ASSENT_TOPIC_SIZE_MAX];
        assent_topic_outcomes(client->options.config, topic);
        int32_t lanes[ASSENT_LANES_MAX];
        const uint32_t count = client->settings.lanes;
        client->ends = calloc(count, sizeof *client->ends);
        if (!client->ends)
                return fail(client, ASSENT_E_MEMORY, "out of memory");
        for (uint32_t lane = 0; lane < count; lane++) {
                int64_t low = 0;
                lanes[lane] = (int32_t)lane;
                enum assent_err err = assent_lane_ends(client->bus, client->options.config, topic, (int32_t)lane, &low,
                                                       &client->ends[lane]);
                if (err != ASSENT_OK)
                        return fail(client, err, "lane %" PRIu32 " of %s: %s", lane, topic,
                                    assent_bus_errmsg(client->bus));
        }
        const struct assent_bus_consumer_options options = {
            .topic = topic, .lanes = lanes, .lanes_count = count, .assigned = start_at_end, .context = client->ends};
        enum assent_err err = assent_bus_consumer_open(client->bus, &options, &client->outcomes);
        return err == ASSENT_OK ? err : fail(client, err, "%s: %s", topic, assent_bus_errmsg(client->bus));
}

static enum assent_err connect_bus(struct assent_client *client)
{
        const struct assent_config *config = client->options.config;
        assent_settings_of(config, &client->settings);
        const char *wrong = assent_settings_wrong(&client->settings);
        if (wrong)
                return fail(client, ASSENT_E_CONFIG, "the settings of this configuration are not valid: %s", wrong);
        const struct assent_bus_options options = {
            .config = config, .client_id = "assent-client", .delivered = delivered, .context = client};
        enum assent_err err = assent_bus_kafka_open(&options, &client->bus);
        if (err != ASSENT_OK)
                return fail(client, err, "%s", client->bus ? assent_bus_errmsg(client->bus) : "out of memory");
        struct assent_topics_report report;
        err = assent_topics_check(client->bus, config, (struct assent_bytes){0}, &report);
        if (err != ASSENT_OK)
                return fail(client, err, "%s", report.errmsg);
        ASSENT_ASSERT(report.lanes >= 1 && report.lanes <= ASSENT_LANES_MAX);
        client->settings.lanes = report.lanes;
        char inbox[ASSENT_TOPIC_SIZE_MAX];
        assent_topic_inbox(config, inbox);
        client->inbox = assent_bus_topic(client->bus, inbox);
        return open_outcomes(client);
}

enum assent_err assent_client_open(const struct assent_client_options *options, struct assent_client **out)
{
        *out = NULL;
        if (!options || options->struct_size != sizeof *options || !options->config)
                return ASSENT_E_ARGUMENT;
        struct assent_client *client = calloc(1, sizeof *client);
        if (!client)
                return ASSENT_E_MEMORY;
        *out = client;
        client->options = *options;
        client->memory = calloc((size_t)BUCKETS * WAYS, sizeof *client->memory);
        client->records = calloc(RECORDS_MAX, sizeof *client->records);
        const int64_t record_bytes_max = assent_config_int(options->config, "assent.record_bytes_max");
        client->codec = assent_codec_open((size_t)record_bytes_max);
        if (!client->memory || !client->records || !client->codec)
                return fail(client, ASSENT_E_MEMORY, "out of memory");
        return connect_bus(client);
}

/* The bus drops what it has not sent yet, and a caller that only queues would never know. */
static void flush(struct assent_client *client)
{
        const int timeout_ms = (int)assent_config_int(client->options.config, "assent.stop_timeout_ms") / 2;
        if (assent_bus_flush(client->bus, timeout_ms) != ASSENT_OK)
                assent_log(ASSENT_LOG_WARN, "the client closes with records that no broker has confirmed",
                           ASSENT_TEXT("error", assent_bus_errmsg(client->bus)));
}

void assent_client_close(struct assent_client *client)
{
        if (!client)
                return;
        if (client->outcomes) /* opened last: before that nothing was sent */
                flush(client);
        assent_bus_consumer_close(client->bus, client->outcomes);
        assent_bus_close(client->bus);
        assent_count(&counts_of(client)->dropped, client->in_flight);
        assent_codec_close(client->codec);
        free(client->begun);
        free(client->ends);
        free(client->records);
        free(client->memory);
        free(client);
}

void assent_client_stop(struct assent_client *client)
{
        atomic_store(&client->stopped, true);
}

/* Kept here too: the bus wakes whoever consumes, and that may be a reader of the lane. */
void assent_client_wake(struct assent_client *client)
{
        atomic_store(&client->woken, true);
        assent_bus_wake(client->bus);
}

const char *assent_client_errmsg(const struct assent_client *client)
{
        return client->errmsg;
}

/* What the coordinator would reject anyway is refused here, where the caller can still be told
 * exactly. `number` counts from 1, as a transaction's story does. */
static enum assent_err check_branch(struct assent_client *client, const struct assent_begin_branch *branch,
                                    size_t number)
{
        const struct assent_bytes service = assent_bytes_of(branch->service);
        if (!assent_service_valid(service))
                return fail(client, ASSENT_E_ARGUMENT,
                            "branch %zu: \"%.60s\" is not a service name: 1 to %d of the letters "
                            "a-z, digits and '-'",
                            number, branch->service ? branch->service : "", ASSENT_SERVICE_SIZE_MAX);
        const size_t kind_size = assent_bytes_of(branch->kind).size;
        if (kind_size > ASSENT_KIND_SIZE_MAX)
                return fail(client, ASSENT_E_LIMIT,
                            "branch %zu (%s): the kind is %zu bytes long; at most %d are allowed", number,
                            branch->service, kind_size, ASSENT_KIND_SIZE_MAX);
        if (branch->payload.size > 0 && !branch->payload.data)
                return fail(client, ASSENT_E_ARGUMENT, "branch %zu (%s): the payload has a size but no data", number,
                            branch->service);
        return ASSENT_OK;
}

static enum assent_err check_begin(struct assent_client *client, const struct assent_begin *begin)
{
        if (!begin || begin->struct_size != sizeof *begin)
                return fail(client, ASSENT_E_ARGUMENT, "struct assent_begin was not made with ASSENT_BEGIN_INIT");
        if (!assent_txn_id_valid(&begin->txn_id))
                return fail(client, ASSENT_E_ARGUMENT,
                            "the transaction id is not a UUID of version 7; mint it with "
                            "assent_txn_id_new");
        if (begin->protocol != ASSENT_2PC && begin->protocol != ASSENT_3PC)
                return fail(client, ASSENT_E_ARGUMENT, "protocol %d is neither 2PC nor 3PC", (int)begin->protocol);
        if (begin->timeout_ms == 0)
                return fail(client, ASSENT_E_ARGUMENT, "timeout_ms is 0: no participant could answer in time");
        if (begin->branches_count == 0 || !begin->branches)
                return fail(client, ASSENT_E_ARGUMENT, "a transaction needs at least one branch");
        if (begin->branches_count > client->settings.branches_max)
                return fail(client, ASSENT_E_LIMIT,
                            "%zu branches; this prefix allows at most %" PRIu32 " (assent.branches_max)",
                            begin->branches_count, client->settings.branches_max);
        enum assent_err err = ASSENT_OK;
        for (size_t i = 0; i < begin->branches_count && err == ASSENT_OK; i++)
                err = check_branch(client, &begin->branches[i], i + 1);
        return err;
}

/* Encodes, and queues it in the transaction's lane of the inbox. */
static enum assent_err seal_and_send(struct assent_client *client, struct assent_message *message, uint64_t tag)
{
        assent_message_seal(message);
        char key[ASSENT_UUID_TEXT_SIZE];
        assent_uuid_format(&message->txn_id, key);
        struct assent_outgoing outgoing = {.topic = client->inbox,
                                           .lane = assent_lane_of(&message->txn_id, client->settings.lanes),
                                           .key = assent_bytes_of(key),
                                           .tag = tag};
        enum assent_err err = assent_codec_encode(client->codec, message, &outgoing.value);
        if (err == ASSENT_OK)
                err = assent_bus_send(client->bus, &outgoing);
        ASSENT_CRASH_POINT(client_queued); /* it may arrive or not: sent again under the same id it is one (C1) */
        if (err == ASSENT_E_TOO_LARGE)
                return fail(client, ASSENT_E_LIMIT,
                            "the record would be larger than this prefix allows: %" PRIu32
                            " bytes (assent.record_bytes_max) with all payloads; send references "
                            "instead of data",
                            client->settings.record_bytes_max);
        if (err == ASSENT_AGAIN)
                return fail(client, err, "the producer's queue is full; step, then try again");
        return err == ASSENT_OK ? err : fail(client, err, "%s", assent_bus_errmsg(client->bus));
}

/* A BEGIN is made of the caller's values alone, so that a retry is the same record (R-ID). */
static enum assent_err send_begin(struct assent_client *client, const struct assent_begin *begin, uint64_t tag)
{
        struct assent_branch_request branches[ASSENT_BRANCHES_MAX];
        for (size_t i = 0; i < begin->branches_count; i++)
                branches[i] = (struct assent_branch_request){.service = assent_bytes_of(begin->branches[i].service),
                                                             .kind = assent_bytes_of(begin->branches[i].kind),
                                                             .payload = begin->branches[i].payload};
        struct assent_message message = {.type = ASSENT_BEGIN, .txn_id = begin->txn_id, .lamport = 1};
        message.body.begin.protocol = begin->protocol;
        message.body.begin.timeout_ms = begin->timeout_ms;
        message.body.begin.notify_completed = begin->notify_completed;
        message.body.begin.branches_count = (uint32_t)begin->branches_count;
        message.body.begin.branches = branches;
        enum assent_err err = seal_and_send(client, &message, tag);
        if (err == ASSENT_OK) {
                client->in_flight++;
                assent_count(&counts_of(client)->sent, 1);
        }
        return err;
}

enum assent_err assent_client_send(struct assent_client *client, const struct assent_begin *begin)
{
        enum assent_err err = check_begin(client, begin);
        if (err == ASSENT_OK)
                err = send_begin(client, begin, (++client->tags << 1) | 1);
        if (err == ASSENT_OK && !client->options.outcome)
                remember(client, &begin->txn_id)->begins++;
        return err;
}

/* Waits until the broker holds the record with client->waited_tag (C2). */
static enum assent_err wait_delivered(struct assent_client *client, int64_t until_ms)
{
        enum assent_err err = ASSENT_OK;
        while (err == ASSENT_OK && !client->waited_done) {
                const int64_t left_ms = until_ms - assent_bus_monotonic_ms(client->bus);
                if (left_ms <= 0)
                        err = fail(client, ASSENT_TIMED_OUT,
                                   "no broker has confirmed the record in the time given; it may "
                                   "still arrive");
                else if (atomic_load(&client->stopped))
                        err = fail(client, ASSENT_AGAIN, "stopped; the record may still arrive");
                else if ((err = assent_bus_poll(client->bus, left_ms < TURN_MS ? (int)left_ms : TURN_MS)) != ASSENT_OK)
                        fail(client, err, "%s", assent_bus_errmsg(client->bus));
        }
        client->waited_tag = 0;
        if (err != ASSENT_OK || client->waited_err == ASSENT_OK)
                return err;
        return fail(client, client->waited_err, "the broker refused the record for good: %s",
                    assent_err_text(client->waited_err));
}

static uint64_t begin_wait(struct assent_client *client, bool is_begin)
{
        client->waited_done = false;
        client->waited_err = ASSENT_OK;
        client->waited_offset = -1;
        client->waited_tag = (++client->tags << 1) | is_begin;
        return client->waited_tag;
}

/* Queue full: makes room by serving reports, until the time is over. */
static bool make_room(struct assent_client *client, enum assent_err err, int64_t until_ms)
{
        return err == ASSENT_AGAIN && assent_bus_monotonic_ms(client->bus) < until_ms &&
               !atomic_load(&client->stopped) && assent_bus_poll(client->bus, 10) == ASSENT_OK;
}

enum assent_err assent_client_begin(struct assent_client *client, const struct assent_begin *begin, int timeout_ms)
{
        enum assent_err err = check_begin(client, begin);
        if (err != ASSENT_OK)
                return err;
        const int64_t until_ms = assent_bus_monotonic_ms(client->bus) + timeout_ms;
        const uint64_t tag = begin_wait(client, true);
        do
                err = send_begin(client, begin, tag);
        while (make_room(client, err, until_ms));
        if (err != ASSENT_OK)
                return err;
        remember(client, &begin->txn_id)->begins++;
        return wait_delivered(client, until_ms);
}

/* Sends CANCEL or INQUIRE and waits until the broker holds it; *offset is where. */
static enum assent_err send_control(struct assent_client *client, const struct assent_uuid *txn_id,
                                    enum assent_control_kind kind, const char *reason, int timeout_ms, int64_t *offset)
{
        if (!assent_txn_id_valid(txn_id))
                return fail(client, ASSENT_E_ARGUMENT, "not a transaction id: those are UUIDs of version 7");
        const struct assent_bytes why = assent_bytes_of(reason);
        if (why.size > ASSENT_REASON_SIZE_MAX)
                return fail(client, ASSENT_E_LIMIT, "the reason is %zu bytes long; at most %d are allowed", why.size,
                            ASSENT_REASON_SIZE_MAX);
        struct memory *memory = remember(client, txn_id);
        struct assent_message message = {.type = ASSENT_CONTROL, .txn_id = *txn_id, .lamport = memory->lamport + 1};
        message.body.control.kind = kind;
        message.body.control.branch = ASSENT_NO_BRANCH;
        message.body.control.attempt = memory->attempts++;
        message.body.control.reason = why;

        const int64_t until_ms = assent_bus_monotonic_ms(client->bus) + timeout_ms;
        const uint64_t tag = begin_wait(client, false);
        enum assent_err err;
        do
                err = seal_and_send(client, &message, tag);
        while (make_room(client, err, until_ms));
        if (err == ASSENT_OK)
                err = wait_delivered(client, until_ms);
        *offset = client->waited_offset;
        return err;
}

enum assent_err assent_client_cancel(struct assent_client *client, const struct assent_uuid *txn_id, const char *reason,
                                     int timeout_ms)
{
        int64_t offset;
        return send_control(client, txn_id, ASSENT_CANCEL, reason, timeout_ms, &offset);
}

enum assent_err assent_client_inquire(struct assent_client *client, const struct assent_uuid *txn_id, int timeout_ms)
{
        int64_t offset;
        return send_control(client, txn_id, ASSENT_INQUIRE, NULL, timeout_ms, &offset);
}

/* Keeps what await may ask for. A REJECTED says nothing about the transaction, so it never replaces
 * an outcome (R2). */
static void keep_outcome(struct memory *memory, const struct assent_message *message)
{
        const enum assent_outcome outcome = message->body.outcome.outcome;
        if (message->lamport > memory->lamport)
                memory->lamport = message->lamport;
        const bool final = memory->outcome == ASSENT_COMPLETED || memory->outcome == ASSENT_UNCONFIRMED;
        if (final || (outcome == ASSENT_REJECTED && memory->outcome != 0))
                return;
        const struct assent_bytes reason = message->body.outcome.reason;
        memory->outcome = outcome;
        memory->decided_at_ms = message->body.outcome.decided_at_ms;
        memory->reason_size = (uint16_t)(reason.size < sizeof memory->reason ? reason.size : sizeof memory->reason);
        if (memory->reason_size > 0)
                memcpy(memory->reason, reason.data, memory->reason_size);
}

static void take_outcome(struct assent_client *client, const struct assent_record *record)
{
        struct assent_message message;
        enum assent_decode_fault fault = assent_codec_decode(client->codec, record->value, &message);
        if (fault != ASSENT_DECODE_NONE || message.type != ASSENT_OUTCOME || !assent_message_id_holds(&message)) {
                assent_log(ASSENT_LOG_WARN, "a record in the outcomes topic is not an outcome",
                           ASSENT_INT("lane", record->lane), ASSENT_INT("offset", record->offset),
                           ASSENT_TEXT("fault", assent_decode_fault_name(fault)));
                assent_count(&counts_of(client)->outcomes[0], 1);
                return;
        }
        assent_count(&counts_of(client)->outcomes[message.body.outcome.outcome], 1);
        struct memory *memory = recall(client, &message.txn_id);
        if (memory)
                keep_outcome(memory, &message);
        if (!client->options.outcome)
                return;
        const struct assent_notice notice = {.txn_id = message.txn_id,
                                             .outcome = message.body.outcome.outcome,
                                             .reason = message.body.outcome.reason,
                                             .decided_at_ms = message.body.outcome.decided_at_ms,
                                             .lamport = message.lamport};
        client->options.outcome(client->options.context, &notice);
}

enum assent_err assent_client_step(struct assent_client *client, int timeout_ms)
{
        if (atomic_load(&client->stopped))
                return fail(client, ASSENT_AGAIN, "stopped");
        size_t count = 0;
        if (atomic_exchange(&client->woken, false))
                timeout_ms = 0;
        enum assent_err err =
            assent_bus_consume(client->bus, client->outcomes, client->records, RECORDS_MAX, timeout_ms, &count);
        if (err != ASSENT_OK)
                return fail(client, err, "%s", assent_bus_errmsg(client->bus));
        tell_begun(client); /* first: its outcome may be among the records */
        for (size_t i = 0; i < count; i++)
                take_outcome(client, &client->records[i]);
        return ASSENT_OK;
}

/* C2: a REJECTED answers one copy of the begin. Only whoever sent the one copy there is may take it
 * as the end. */
static bool settled(const struct memory *memory)
{
        return memory->outcome != 0 && (memory->outcome != ASSENT_REJECTED || memory->begins == 1);
}

static void lend_notice(struct assent_client *client, const struct memory *memory, struct assent_notice *notice)
{
        memcpy(client->reason, memory->reason, memory->reason_size);
        *notice = (struct assent_notice){.txn_id = memory->txn_id,
                                         .outcome = memory->outcome,
                                         .reason = {client->reason, memory->reason_size},
                                         .decided_at_ms = memory->decided_at_ms,
                                         .lamport = memory->lamport};
}

enum assent_err assent_client_await(struct assent_client *client, const struct assent_uuid *txn_id, int timeout_ms,
                                    struct assent_notice *notice)
{
        ASSENT_ASSERT(client && txn_id && notice);
        const int64_t until_ms = assent_bus_monotonic_ms(client->bus) + timeout_ms;
        for (;;) {
                /* Looked up at each turn: an outcome callback may begin others, which may push this
                 * one out. */
                const struct memory *memory = remember(client, txn_id);
                if (settled(memory)) {
                        lend_notice(client, memory, notice);
                        return ASSENT_OK;
                }
                const int64_t left_ms = until_ms - assent_bus_monotonic_ms(client->bus);
                if (left_ms <= 0) {
                        assent_count(&counts_of(client)->expired, 1);
                        return fail(client, ASSENT_TIMED_OUT,
                                    "no outcome within %d ms, which says nothing about the transaction: ask again with "
                                    "assent_client_inquire, or evaluate the lane",
                                    timeout_ms);
                }
                enum assent_err err = assent_client_step(client, left_ms < TURN_MS ? (int)left_ms : TURN_MS);
                if (err != ASSENT_OK)
                        return err;
        }
}

/* R17: the lane's own settings, equal to ours. */
static enum assent_err verify_settings(struct assent_client *client, int32_t lane)
{
        struct assent_settings theirs, mine;
        int64_t log_start = 0;
        enum assent_err err = assent_lane_settings(client->bus, client->codec, client->options.config, lane, &theirs,
                                                   &log_start, client->errmsg);
        if (err == ASSENT_E_NOT_FOUND)
                return ASSENT_E_SETTINGS; /* without settings nobody evaluates */
        if (err != ASSENT_OK)
                return err;
        assent_settings_of(client->options.config, &mine);
        return assent_settings_agree(&mine, &theirs, client->errmsg, sizeof client->errmsg) ? ASSENT_OK
                                                                                            : ASSENT_E_SETTINGS;
}

enum assent_err assent_client_evaluate(struct assent_client *client, const struct assent_uuid *txn_id,
                                       struct assent_notice *notice)
{
        if (!assent_txn_id_valid(txn_id))
                return fail(client, ASSENT_E_ARGUMENT, "not a transaction id: those are UUIDs of version 7");
        enum assent_err err = verify_settings(client, assent_lane_of(txn_id, client->settings.lanes));
        if (err != ASSENT_OK)
                return err;
        /* The question moves the lane's time (R10), so that an overdue transaction is settled by
         * being asked about. */
        const int64_t timeout_ms = assent_config_int(client->options.config, "assent.start_timeout_ms");
        int64_t offset = -1;
        err = send_control(client, txn_id, ASSENT_INQUIRE, NULL, (int)timeout_ms, &offset);
        if (err != ASSENT_OK)
                return err;
        struct assent_evaluation found;
        err = assent_lane_evaluate(client->bus, client->codec, client->options.config, &client->settings, txn_id,
                                   offset < 0 ? -1 : offset + 1, &found);
        if (err != ASSENT_OK)
                return fail(client, err, "%s", found.errmsg);
        if (!found.begin_seen)
                return fail(client, ASSENT_E_NOT_FOUND, "the lane holds no accepted begin of this transaction");
        if (!found.decided)
                return fail(client, ASSENT_AGAIN, "the transaction is not decided yet");
        memcpy(client->reason, found.reason, found.reason_size);
        *notice = (struct assent_notice){.txn_id = *txn_id,
                                         .outcome = found.outcome,
                                         .reason = {client->reason, found.reason_size},
                                         .decided_at_ms = found.decided_at_ms,
                                         .lamport = found.lamport};
        return ASSENT_OK;
}

/* ---- what operators see ---- */

void assent_client_metrics(const struct assent_client_counts *counts, struct assent_exposition *out)
{
        static const char *const outcomes[] = {"outcome=\"unreadable\"", "outcome=\"committed\"",   "outcome=\"aborted\"",
                                               "outcome=\"completed\"",  "outcome=\"unconfirmed\"", "outcome=\"rejected\""};
        const double held = (double)assent_counted(&counts->held), refused = (double)assent_counted(&counts->refused),
                     dropped = (double)assent_counted(&counts->dropped);
        const double sent = (double)assent_counted(&counts->sent); /* last: it is never less than what became of them */
        assent_expose_one(out, "assent_client_begins_sent_total", ASSENT_COUNTER,
                          "Begins handed to the Kafka client, those sent again included.", NULL, sent);
        assent_expose(out, "assent_client_begins_total", ASSENT_COUNTER, "What became of them.");
        assent_expose_value(out, "result=\"held\"", held);
        assent_expose_value(out, "result=\"refused\"", refused);
        assent_expose_value(out, "result=\"dropped\"", dropped);
        assent_expose_one(out, "assent_client_begins_in_flight", ASSENT_GAUGE,
                          "Begins that the broker has neither confirmed nor refused yet.", NULL,
                          sent - held - refused - dropped);
        assent_expose(out, "assent_client_outcomes_total", ASSENT_COUNTER,
                      "Outcome records heard, of all transactions of the prefix.");
        for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++)
                assent_expose_value(out, outcomes[i], (double)assent_counted(&counts->outcomes[i]));
        assent_expose_one(out, "assent_client_waits_expired_total", ASSENT_COUNTER,
                          "Waits for an outcome that ended without it.", NULL, (double)assent_counted(&counts->expired));
}
