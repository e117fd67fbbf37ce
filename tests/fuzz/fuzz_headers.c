/* fuzz_headers.c: bytes become the records of a foreign topic, with headers of any kind, and the idempotent consumer
 * reads them. Which record has a message id, which is a duplicate, a conflict or long forgotten is said a second time
 * with plain lists; calls of the handler, dead letters, counters, positions and log time must be theirs. The headers
 * are looked up by the real bus and the client library; the rest of the bus is a stand-in. */
#define assent_bus_kafka_open fuzz_bus_open

#include <inttypes.h>
#include <sqlite3.h>

#include "fuzz.h"
#include "kafka/bus_kafka.h"
#include "runtime/consumer.c"

enum { LANES = 2, RECORDS = 64, HEADERS = 4, COPIED = 5, MARK_SIZE_MAX = 64, HORIZON = 1000, TIME_STEP = 1000 };

struct foreign { /* a record */
        int32_t lane;
        int64_t offset, timestamp_ms;
        struct assent_bytes key, value;
        struct assent_header headers[HEADERS];
        unsigned headers_count;
        unsigned refusals; /* RETRY so often, then DONE */
        rd_kafka_headers_t *list;
        rd_kafka_message_t native;
};

struct call { /* of the handler */
        const struct foreign *record;
        struct assent_bytes id;
        int64_t tau_ms;
};

struct letter {
        const struct foreign *record;
        char headers[COPIED][64];
};

struct assent_bus_consumer {
        struct assent_bus_consumer_options options;
        int64_t next[LANES];
        bool paused[LANES];
};

static struct assent_config *config;

static struct topic {
        struct assent_bus bus; /* first */
        struct foreign records[RECORDS];
        unsigned records_count;
        int64_t ends[LANES], committed[LANES];
        char marks[LANES][MARK_SIZE_MAX];
        size_t mark_sizes[LANES];
        int64_t now_ms;
        unsigned batch_max;
        const struct foreign *handed[RECORDS]; /* by the newest consume */
        unsigned handed_count;
        struct call calls[RECORDS];
        unsigned calls_count;
        struct letter letters[RECORDS];
        unsigned letters_count;
        enum assent_err letters_fate;
        void (*delivered)(void *context, const struct assent_report *report);
        void *context;
} topic;

/* The list. */
static struct known {
        struct assent_bytes id, value;
        int32_t lane;
        int64_t seen_ms;
} known[RECORDS];

static struct expected {
        const char *header; /* NULL: the callback */
        size_t known_count;
        int64_t next[LANES], tau_ms[LANES], housekeeping_ms;
        uint64_t handled, duplicates, conflicts, without_id, forgotten;
        unsigned calls_count, letters_count;
} expected;

/* ---- the stand-in for the bus ---- */

/* In the place of the client library's, which wants a message that came over the wire. */
rd_kafka_resp_err_t rd_kafka_message_headers(const rd_kafka_message_t *message, rd_kafka_headers_t **headers)
{
        *headers = message->_private;
        return *headers ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR__NOENT;
}

static void bus_close(struct assent_bus *bus)
{
        (void)bus;
}

static const char *bus_errmsg(const struct assent_bus *bus)
{
        (void)bus;
        return "";
}

static int bus_topic(struct assent_bus *bus, const char *name)
{
        (void)bus;
        ASSENT_ASSERT(strcmp(name, "foreign-dlt") == 0);
        return 7;
}

static enum assent_err bus_lookup(struct assent_bus *bus, const char *name, int *lanes)
{
        (void)bus;
        ASSENT_ASSERT(strcmp(name, "foreign") == 0);
        *lanes = LANES;
        return ASSENT_OK;
}

/* Only dead letters are sent. */
static enum assent_err bus_send(struct assent_bus *bus, const struct assent_outgoing *outgoing)
{
        static const char *const names[COPIED] = {"kafka_dlt-original-topic", "kafka_dlt-original-partition",
                                                  "kafka_dlt-original-offset", "kafka_dlt-original-timestamp",
                                                  "kafka_dlt-exception-message"};
        (void)bus;
        ASSENT_ASSERT(outgoing->topic == 7 && outgoing->headers_count == COPIED && topic.letters_count < RECORDS);
        struct letter *letter = &topic.letters[topic.letters_count++];
        for (int i = 0; i < COPIED; i++) {
                struct assent_bytes value = outgoing->headers[i].value;
                ASSENT_ASSERT(strcmp(outgoing->headers[i].name, names[i]) == 0);
                ASSENT_ASSERT(value.size < sizeof letter->headers[i]);
                memcpy(letter->headers[i], value.data, value.size);
                letter->headers[i][value.size] = '\0';
        }
        for (unsigned i = 0; i < topic.handed_count; i++)
                if (topic.handed[i]->lane == outgoing->lane &&
                    strtoll(letter->headers[2], NULL, 10) == topic.handed[i]->offset)
                        letter->record = topic.handed[i];
        ASSENT_ASSERT(letter->record && fuzz_same(outgoing->key, letter->record->key));
        ASSENT_ASSERT(fuzz_same(outgoing->value, letter->record->value));
        const struct assent_report report = {.err = topic.letters_fate, .tag = outgoing->tag, .lane = outgoing->lane};
        topic.delivered(topic.context, &report);
        return ASSENT_OK;
}

static enum assent_err bus_poll(struct assent_bus *bus, int timeout_ms)
{
        (void)bus, (void)timeout_ms;
        return ASSENT_OK;
}

static enum assent_err bus_watermarks(struct assent_bus *bus, const char *name, int32_t lane, int64_t *low,
                                      int64_t *high)
{
        (void)bus, (void)name;
        *low = 0;
        *high = topic.ends[lane];
        return ASSENT_OK;
}

static enum assent_err bus_consumer_open(struct assent_bus *bus, const struct assent_bus_consumer_options *options,
                                         struct assent_bus_consumer **out)
{
        (void)bus;
        struct assent_bus_consumer *consumer = *out = calloc(1, sizeof *consumer);
        ASSENT_ASSERT(consumer && options->lanes_count == LANES);
        consumer->options = *options;
        for (int32_t lane = 0; lane < LANES; lane++) {
                const struct assent_committed committed = {topic.committed[lane],
                                                           {topic.marks[lane], topic.mark_sizes[lane]}};
                ASSENT_ASSERT(!options->assigned(options->context, lane, &committed, &consumer->next[lane]));
        }
        return ASSENT_OK;
}

static void bus_consumer_close(struct assent_bus_consumer *consumer)
{
        free(consumer);
}

static enum assent_err bus_consume(struct assent_bus_consumer *consumer, struct assent_record *records,
                                   size_t records_max, int timeout_ms, size_t *count)
{
        (void)timeout_ms;
        topic.handed_count = 0;
        for (unsigned i = 0; i < topic.records_count; i++) {
                struct foreign *record = &topic.records[i];
                if (topic.handed_count == records_max || topic.handed_count == topic.batch_max)
                        break;
                if (consumer->paused[record->lane] || record->offset != consumer->next[record->lane])
                        continue;
                consumer->next[record->lane]++;
                records[topic.handed_count] = (struct assent_record){.lane = record->lane,
                                                                     .offset = record->offset,
                                                                     .timestamp_ms = record->timestamp_ms,
                                                                     .key = record->key,
                                                                     .value = record->value,
                                                                     .native = &record->native};
                topic.handed[topic.handed_count++] = record;
        }
        *count = topic.handed_count;
        return ASSENT_OK;
}

static enum assent_err bus_pause(struct assent_bus_consumer *consumer, int32_t lane, bool paused)
{
        consumer->paused[lane] = paused;
        return ASSENT_OK;
}

static enum assent_err bus_seek(struct assent_bus_consumer *consumer, int32_t lane, int64_t offset)
{
        consumer->next[lane] = offset;
        return ASSENT_OK;
}

static enum assent_err bus_commit(struct assent_bus_consumer *consumer, int32_t lane, int64_t offset,
                                  struct assent_bytes metadata, bool wait)
{
        (void)consumer, (void)wait;
        ASSENT_ASSERT(metadata.size <= MARK_SIZE_MAX && offset >= topic.committed[lane]);
        topic.committed[lane] = offset;
        memcpy(topic.marks[lane], metadata.data, metadata.size);
        topic.mark_sizes[lane] = metadata.size;
        return ASSENT_OK;
}

static int64_t bus_monotonic_ms(struct assent_bus *bus)
{
        (void)bus;
        return topic.now_ms;
}

enum assent_err fuzz_bus_open(const struct assent_bus_options *options, struct assent_bus **out)
{
        static const struct assent_bus_ops ops = {.close = bus_close,
                                                  .errmsg = bus_errmsg,
                                                  .topic = bus_topic,
                                                  .lookup = bus_lookup,
                                                  .send = bus_send,
                                                  .poll = bus_poll,
                                                  .watermarks = bus_watermarks,
                                                  .consumer_open = bus_consumer_open,
                                                  .consumer_close = bus_consumer_close,
                                                  .consume = bus_consume,
                                                  .pause = bus_pause,
                                                  .seek = bus_seek,
                                                  .commit = bus_commit,
                                                  .header = assent_bus_kafka_header,
                                                  .monotonic_ms = bus_monotonic_ms};
        topic.bus.ops = &ops;
        topic.delivered = options->delivered;
        topic.context = options->context;
        *out = &topic.bus;
        return ASSENT_OK;
}

/* ---- records from bytes ---- */

static struct assent_bytes piece(struct fuzz_input *input)
{
        static const char longest[ASSENT_MESSAGE_ID_SIZE_MAX + 1] = "7f1c";
        static const struct assent_bytes pieces[] = {{"a", 1},
                                                     {"b", 1},
                                                     {"ab", 2},
                                                     {"a\0b", 3},
                                                     {"", 0},
                                                     {NULL, 0},
                                                     {longest, sizeof longest - 1},
                                                     {longest, sizeof longest}};
        unsigned how = fuzz_byte(input);
        if (how < 192)
                return pieces[how % 8];
        size_t size = how % 8 < input->size - input->at ? how % 8 : input->size - input->at;
        struct assent_bytes own = {input->data + input->at, size};
        input->at += size;
        return own;
}

static void headers_of(struct fuzz_input *input, struct foreign *record)
{
        static const char *const names[] = {"ce_id", "ce_id", "message-id", "message-id",
                                            "CE_ID", "ce_i",  "ce_id ",     ""};
        record->headers_count = fuzz_below(input, HEADERS + 1);
        for (unsigned i = 0; i < record->headers_count; i++) {
                record->headers[i].name = names[fuzz_below(input, sizeof names / sizeof *names)];
                record->headers[i].value = piece(input);
        }
        unsigned how = fuzz_byte(input);
        record->refusals = how % 8 == 7 ? how >> 6 : 0;
        if (!record->headers_count && how & 8)
                return; /* no headers at all, or an empty list of them */
        record->list = rd_kafka_headers_new(HEADERS);
        for (unsigned i = 0; i < record->headers_count; i++) {
                const struct assent_header *header = &record->headers[i];
                ASSENT_ASSERT(!rd_kafka_header_add(record->list, header->name, -1, header->value.data,
                                                   (ssize_t)header->value.size));
        }
}

static void add_record(struct fuzz_input *input)
{
        static const int64_t steps[] = {0, 1, 10, 500, HORIZON - 1, HORIZON, HORIZON + 1, -1};
        struct foreign *record = &topic.records[topic.records_count++];
        unsigned how = fuzz_byte(input);
        int64_t before_ms = topic.records_count > 1 ? record[-1].timestamp_ms : 1000000;
        *record = (struct foreign){.lane = how & 1, .key = piece(input), .value = piece(input)};
        record->offset = topic.ends[record->lane]++;
        record->timestamp_ms = how >> 4 == 15   ? INT64_C(1) << 48
                               : how >> 4 == 14 ? -1
                                                : before_ms + steps[how >> 1 & 7];
        headers_of(input, record);
        record->native._private = record->list;
}

/* ---- the program that consumes ---- */

static bool id_of_key(void *app, const struct assent_delivery *delivery, struct assent_bytes *id)
{
        (void)app;
        *id = delivery->key;
        return delivery->key.size != 2;
}

static void run_sql(struct assent_tx *tx, const char *sql)
{
        ASSENT_ASSERT(sqlite3_exec(assent_tx_sqlite(tx), sql, NULL, NULL, NULL) == SQLITE_OK);
}

static enum assent_err setup(void *app, struct assent_tx *tx)
{
        (void)app;
        run_sql(tx, "CREATE TABLE effect(n)");
        return ASSENT_OK;
}

static enum assent_result handle(void *app, struct assent_tx *tx, const struct assent_delivery *delivery)
{
        (void)app;
        struct foreign *record = topic.records;
        while (record->lane != delivery->lane || record->offset != delivery->offset)
                record++;
        ASSENT_ASSERT(topic.calls_count < RECORDS && strcmp(delivery->topic, "foreign") == 0);
        ASSENT_ASSERT(fuzz_same(delivery->key, record->key) && fuzz_same(delivery->value, record->value));
        ASSENT_ASSERT(delivery->timestamp_ms == record->timestamp_ms);
        run_sql(tx, "INSERT INTO effect VALUES(1)");
        if (record->refusals) {
                record->refusals--;
                return ASSENT_RESULT_RETRY;
        }
        topic.calls[topic.calls_count++] = (struct call){record, delivery->message_id, assent_tx_time_ms(tx)};
        return ASSENT_RESULT_DONE;
}

/* ---- what must come of it ---- */

static bool id_of(const struct foreign *record, struct assent_bytes *id)
{
        bool found = !expected.header && record->key.size != 2;
        *id = record->key;
        for (unsigned i = 0; expected.header && i < record->headers_count; i++) {
                if (strcmp(record->headers[i].name, expected.header) != 0)
                        continue;
                *id = record->headers[i].value; /* the last one counts */
                found = true;
        }
        return found && id->size >= 1 && id->size <= 128;
}

static void expect_letter(const struct foreign *record)
{
        ASSENT_ASSERT(expected.letters_count < topic.letters_count);
        const struct letter *letter = &topic.letters[expected.letters_count++];
        char lane[16], timestamp[24];
        snprintf(lane, sizeof lane, "%" PRId32, record->lane);
        snprintf(timestamp, sizeof timestamp, "%" PRId64, record->timestamp_ms);
        ASSENT_ASSERT(letter->record == record && strcmp(letter->headers[0], "foreign") == 0);
        ASSENT_ASSERT(strcmp(letter->headers[1], lane) == 0 && strcmp(letter->headers[3], timestamp) == 0);
        ASSENT_ASSERT(strcmp(letter->headers[4], "NO_MESSAGE_ID") == 0);
}

/* Returns whether the record is done with; if not, its lane waits. */
static bool expect(const struct foreign *record)
{
        int64_t *tau_ms = &expected.tau_ms[record->lane], before_ms = *tau_ms;
        struct assent_bytes id;
        ASSENT_ASSERT(record->offset == expected.next[record->lane]);
        if (record->timestamp_ms >= 0 && record->timestamp_ms >> 48 == 0 && record->timestamp_ms > *tau_ms)
                *tau_ms = record->timestamp_ms;
        if (!id_of(record, &id)) {
                expected.without_id++;
                expect_letter(record);
                return true;
        }
        for (size_t i = 0; i < expected.known_count; i++) {
                if (!fuzz_same(known[i].id, id))
                        continue;
                bool same = fuzz_same(known[i].value, record->value);
                expected.duplicates += same;
                expected.conflicts += !same;
                return true;
        }
        const struct call *call = &topic.calls[expected.calls_count];
        if (expected.calls_count == topic.calls_count || call->record != record) {
                *tau_ms = before_ms;
                return false;
        }
        expected.calls_count++;
        expected.handled++;
        ASSENT_ASSERT(record->refusals == 0 && fuzz_same(call->id, id) && call->tau_ms == *tau_ms);
        known[expected.known_count++] = (struct known){id, record->value, record->lane, *tau_ms};
        return true;
}

static void expect_forgotten(void)
{
        if (topic.now_ms < expected.housekeeping_ms)
                return;
        expected.housekeeping_ms = topic.now_ms + 1000;
        size_t kept = 0;
        for (size_t i = 0; i < expected.known_count; i++) {
                int64_t tau_ms = expected.tau_ms[known[i].lane];
                if (tau_ms == INT64_MIN || known[i].seen_ms >= tau_ms - HORIZON)
                        known[kept++] = known[i];
        }
        expected.forgotten += expected.known_count - kept;
        expected.known_count = kept;
}

static void turn(struct assent_consumer *consumer)
{
        bool waits[LANES] = {false};
        enum assent_err err = assent_consumer_step(consumer, 0);
        if (err)
                fprintf(stderr, "%s\n", assent_consumer_errmsg(consumer));
        ASSENT_ASSERT(!err);
        for (unsigned i = 0; i < topic.handed_count; i++) {
                const struct foreign *record = topic.handed[i];
                if (waits[record->lane])
                        continue;
                waits[record->lane] = !expect(record);
                expected.next[record->lane] += !waits[record->lane];
        }
        expect_forgotten();
        ASSENT_ASSERT(expected.calls_count == topic.calls_count && expected.letters_count == topic.letters_count);
        ASSENT_ASSERT(consumer->watch.handled == expected.handled && consumer->watch.duplicates == expected.duplicates);
        ASSENT_ASSERT(consumer->watch.conflicts == expected.conflicts && consumer->watch.without_id == expected.without_id);
        ASSENT_ASSERT(consumer->forgotten == expected.forgotten);
        for (int32_t lane = 0; lane < LANES; lane++) {
                const struct assent_intake_lane *taken = assent_intake_lane(consumer->intake, lane);
                ASSENT_ASSERT(taken->position.next == expected.next[lane] &&
                              topic.committed[lane] <= expected.next[lane]);
                ASSENT_ASSERT(taken->position.tau_ms == expected.tau_ms[lane]);
        }
}

/* As many effects as messages handled: what RETRY wrote is gone. */
static void effects(struct assent_consumer *consumer)
{
        sqlite3_stmt *count;
        ASSENT_ASSERT(!assent_store_begin(consumer->store));
        struct assent_tx *tx = assent_store_enter(consumer->store, 0);
        ASSENT_ASSERT(sqlite3_prepare_v2(assent_tx_sqlite(tx), "SELECT count(*) FROM effect", -1, &count, NULL) ==
                      SQLITE_OK);
        ASSENT_ASSERT(sqlite3_step(count) == SQLITE_ROW);
        ASSENT_ASSERT((uint64_t)sqlite3_column_int64(count, 0) == expected.handled);
        sqlite3_finalize(count);
        ASSENT_ASSERT(!assent_store_leave(consumer->store));
        assent_store_rollback(consumer->store);
}

static void begin(const char *header)
{
        memset(&topic, 0, sizeof topic);
        expected = (struct expected){.header = header};
        for (int lane = 0; lane < LANES; lane++) {
                topic.committed[lane] = -1;
                expected.tau_ms[lane] = INT64_MIN;
        }
        if (config)
                return;
        assent_log_setup(ASSENT_LOG_ERROR, ASSENT_LOG_LOGFMT, NULL);
        ASSENT_ASSERT(!assent_config_open(&config) && !assent_config_set(config, "assent.db=:memory:", "test"));
        ASSENT_ASSERT(!assent_config_set(config, "assent.horizon_ms=1000", "test"));
        ASSENT_ASSERT(!assent_config_set(config, "assent.batch_max=64", "test"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct fuzz_input input = {data, size, 0};
        struct assent_consumer *consumer;
        unsigned how = fuzz_byte(&input);
        begin(how % 4 < 2 ? "ce_id" : how % 4 == 2 ? "message-id" : NULL);
        topic.letters_fate = how & 4 ? ASSENT_E_NOT_FOUND : ASSENT_OK;
        struct assent_consumer_options options = ASSENT_CONSUMER_OPTIONS_INIT;
        options.topic = "foreign";
        options.group = "fuzz";
        options.id_header = how % 4 == 2 ? "message-id" : NULL;
        options.message_id = how % 4 == 3 ? id_of_key : NULL;
        options.handle = handle;
        options.setup = setup;
        options.config = config;
        ASSENT_ASSERT(!assent_consumer_open(&options, &consumer));
        while (fuzz_more(&input) && topic.records_count < RECORDS) {
                unsigned op = fuzz_byte(&input);
                add_record(&input);
                topic.batch_max = op >> 3;
                topic.now_ms += op & 1 ? (op & 6) * 100 : 0;
                if (op & 8)
                        turn(consumer);
        }
        topic.batch_max = RECORDS;
        for (int patience = 0; expected.next[0] < topic.ends[0] || expected.next[1] < topic.ends[1]; patience++) {
                ASSENT_ASSERT(patience < 4 * RECORDS);
                topic.now_ms += TIME_STEP;
                turn(consumer);
        }
        effects(consumer);
        assent_consumer_close(consumer);
        for (unsigned i = 0; i < topic.records_count; i++)
                if (topic.records[i].list)
                        rd_kafka_headers_destroy(topic.records[i].list);
        return 0;
}
