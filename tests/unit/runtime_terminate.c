/* P10 for many branches at once, on a bus that is an array of records. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/ids.h"
#include "runtime/terminate.h"

#define T           INT64_C(1700000000000)
#define RECORDS_MAX 32

struct fake_bus {
        struct assent_bus bus; /* first */
        struct assent_record records[RECORDS_MAX];
        uint8_t bytes[RECORDS_MAX][256];
        size_t count, next;
};

static struct fake_bus fake;
static struct assent_codec *codec;
static struct assent_config *config;
static const struct assent_settings settings = {1, 1, 1, 90000, 5000, 30000, 2000, 64, 262144};
static struct assent_branch_request requests[2];

static const char *errmsg(const struct assent_bus *bus)
{
        (void)bus;
        return "";
}

static enum assent_err watermarks(struct assent_bus *bus, const char *topic, int32_t lane, int64_t *low, int64_t *high)
{
        (void)bus, (void)topic, (void)lane;
        *low = 0;
        *high = (int64_t)fake.count;
        return ASSENT_OK;
}

static enum assent_err offset_for_time(struct assent_bus *bus, const char *topic, int32_t lane, int64_t time_ms,
                                       int64_t *offset)
{
        (void)bus, (void)topic, (void)lane;
        for (*offset = 0; *offset < (int64_t)fake.count && fake.records[*offset].timestamp_ms < time_ms;)
                ++*offset;
        return ASSENT_OK;
}

static enum assent_err consumer_open(struct assent_bus *bus, const struct assent_bus_consumer_options *options,
                                     struct assent_bus_consumer **out)
{
        (void)bus;
        const struct assent_committed none = {.offset = -1};
        int64_t start = 0;
        enum assent_err err = options->assigned(options->context, 0, &none, &start);
        fake.next = (size_t)start;
        *out = (struct assent_bus_consumer *)&fake;
        return err;
}

static void consumer_close(struct assent_bus_consumer *consumer)
{
        (void)consumer;
}

static enum assent_err consume(struct assent_bus_consumer *consumer, struct assent_record *records, size_t records_max,
                               int timeout_ms, size_t *count)
{
        (void)consumer, (void)timeout_ms;
        for (*count = 0; *count < records_max && fake.next < fake.count;)
                records[(*count)++] = fake.records[fake.next++];
        return ASSENT_OK;
}

static int64_t monotonic_ms(struct assent_bus *bus)
{
        (void)bus;
        return 0;
}

static const struct assent_bus_ops operations = {.errmsg = errmsg,
                                                 .watermarks = watermarks,
                                                 .offset_for_time = offset_for_time,
                                                 .consumer_open = consumer_open,
                                                 .consumer_close = consumer_close,
                                                 .consume = consume,
                                                 .monotonic_ms = monotonic_ms};

static void setup(void)
{
        fake.bus.ops = &operations;
        codec = assent_codec_open(settings.record_bytes_max);
        cr_assert_eq(assent_config_open(&config), ASSENT_OK);
        requests[0].service = assent_bytes_of("a");
        requests[1].service = assent_bytes_of("b");
}

static void teardown(void)
{
        assent_codec_close(codec);
        assent_config_close(config);
}

static void append(int64_t timestamp_ms, struct assent_message message)
{
        struct assent_bytes bytes;
        assent_message_seal(&message);
        cr_assert_eq(assent_codec_encode(codec, &message, &bytes), ASSENT_OK);
        cr_assert_leq(bytes.size, sizeof fake.bytes[0]);
        memcpy(fake.bytes[fake.count], bytes.data, bytes.size);
        fake.records[fake.count] = (struct assent_record){.offset = (int64_t)fake.count,
                                                          .timestamp_ms = timestamp_ms,
                                                          .append_time = true,
                                                          .value = {fake.bytes[fake.count], bytes.size}};
        fake.count++;
}

static struct assent_uuid born(int64_t birth_ms, uint8_t number)
{
        struct assent_uuid id = {{0}};
        for (int i = 0; i < 6; i++)
                id.bytes[i] = (uint8_t)(birth_ms >> (40 - 8 * i));
        id.bytes[6] = 0x70;
        id.bytes[8] = 0x80;
        id.bytes[15] = number;
        return id;
}

static struct assent_message begin(struct assent_uuid id, uint32_t timeout_ms)
{
        struct assent_message m = {.type = ASSENT_BEGIN, .txn_id = id, .lamport = 1};
        m.body.begin.protocol = ASSENT_2PC;
        m.body.begin.timeout_ms = timeout_ms;
        m.body.begin.branches_count = 2;
        m.body.begin.branches = requests;
        return m;
}

static struct assent_message yes(struct assent_uuid id, uint16_t branch)
{
        struct assent_message m = {.type = ASSENT_REPLY, .txn_id = id, .lamport = 3};
        m.body.reply.branch = branch;
        m.body.reply.service = requests[branch].service;
        m.body.reply.phase = ASSENT_PREPARE;
        m.body.reply.answer = ASSENT_YES;
        return m;
}

static struct assent_message inquire(struct assent_uuid id, int32_t branch)
{
        struct assent_message m = {.type = ASSENT_CONTROL, .txn_id = id, .lamport = 1};
        m.body.control.kind = ASSENT_INQUIRE;
        m.body.control.branch = branch;
        return m;
}

static void doubt(struct assent_open_branches *table, struct assent_uuid id)
{
        struct assent_open_branch *entry = assent_open_branches_add(table, &id, 0, 0);
        cr_assert_not_null(entry);
        entry->in_doubt = true;
}

static void read_lane(const struct assent_uuid *first, int64_t end_offset, const struct assent_open_branches *table,
                      struct assent_decisions *found)
{
        enum assent_err err = assent_terminate(&fake.bus, codec, config, &settings, requests[0].service, first, end_offset,
                                               table, found);
        cr_assert_eq(err, ASSENT_OK, "%s", found->errmsg);
}

TestSuite(terminate, .init = setup, .fini = teardown);

/* X committed at τ = 300 and its begin was sent again at 1000. A reading for the younger Y begins behind X's votes: in it X is
 * new, and aborts. */
Test(terminate, a_reading_is_not_believed_about_transactions_older_than_its_first)
{
        struct assent_uuid x = born(T, 1), y = born(T + 5500, 2);
        append(T, begin(x, 10000));
        append(T + 200, yes(x, 0));
        append(T + 300, yes(x, 1));
        append(T + 1000, begin(x, 10000));
        append(T + 5500, begin(y, 4000));
        append(T + 5600, yes(y, 0));
        append(T + 11500, inquire(y, 0));
        struct assent_open_branches table;
        cr_assert(assent_open_branches_open(&table, (size_t)16 << 20));
        doubt(&table, x);
        doubt(&table, y);

        struct assent_decisions found;
        read_lane(&y, 7, &table, &found);
        cr_assert_eq(found.count, 1, "only Y");
        cr_assert_eq(memcmp(&found.commands[0].txn_id, &y, sizeof y), 0);
        cr_assert_eq(found.commands[0].body.command.phase, ASSENT_ABORT);
        assent_decisions_free(&found);

        read_lane(&x, -1, &table, &found);
        cr_assert_eq(found.count, 2, "a reading that begins with the eldest finds both");
        cr_assert_eq(memcmp(&found.commands[0].txn_id, &x, sizeof x), 0);
        cr_assert_eq(found.commands[0].body.command.phase, ASSENT_COMMIT, "X committed");
        cr_assert_eq(found.commands[1].body.command.phase, ASSENT_ABORT);
        assent_decisions_free(&found);
        assent_open_branches_close(&table);
}

Test(terminate, nothing_is_concluded_before_the_lane_decides)
{
        struct assent_uuid x = born(T, 1);
        append(T, begin(x, 10000));
        append(T + 200, yes(x, 0));
        append(T + 9000, inquire(x, 0));
        struct assent_open_branches table;
        cr_assert(assent_open_branches_open(&table, (size_t)16 << 20));
        doubt(&table, x);
        struct assent_decisions found;
        read_lane(&x, 3, &table, &found);
        cr_assert_eq(found.count, 0);
        assent_decisions_free(&found);
        append(T + 10001, inquire(x, 0));
        read_lane(&x, 4, &table, &found);
        cr_assert_eq(found.count, 1);
        cr_assert_eq(found.commands[0].body.command.phase, ASSENT_ABORT, "R8 by the question's own timestamp");
        assent_decisions_free(&found);
        assent_open_branches_close(&table);
}
