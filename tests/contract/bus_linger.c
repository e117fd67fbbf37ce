/* bus_linger.c: what waits for company and what does not, with a linger that no test could wait for. */
#include "contract.h"

#define LINGER    "linger.ms=60000"
#define HURRIED   64 /* so many at most are not left to linger */
#define SOON_MS   20000
#define LATER_MS  1000

static char name[128], quiet[128];
static int topic;
static struct contract_lanes lanes = {.start = 0};
static struct assent_bus_consumer *consumer;

static void open_lingering(void)
{
        contract_cluster();
        contract_set(LINGER);
        contract_bus();
        contract_topic(contract_name("linger", name), LANES);
        contract_topic(contract_name("quiet", quiet), LANES);
        topic = assent_bus_topic(bus, name);
        consumer = contract_consumer(quiet, NULL, LANES, &lanes);
}

static void close_lingering(void)
{
        assent_bus_consumer_close(bus, consumer);
        contract_close();
}

TestSuite(bus_linger, .init = open_lingering, .fini = close_lingering, .timeout = 120);

static void send_some(int count)
{
        for (int i = 0; i < count; i++)
                contract_send_text(topic, i % LANES, "x");
}

/* As a loop that has nothing to read; until so many reports are there or the time is over. */
static size_t reports_within(size_t wanted, int64_t wait_ms)
{
        int64_t end_ms = assent_clock_ms() + wait_ms;
        while (reports_count < wanted && assent_clock_ms() < end_ms) {
                struct assent_record record;
                size_t count;
                cr_assert_eq(assent_bus_consume(bus, consumer, &record, 1, 100, &count), ASSENT_OK);
        }
        return reports_count;
}

Test(bus_linger, a_few_wait_for_nothing_again_and_again)
{
        for (size_t round = 1; round <= 5; round++) {
                send_some(3);
                cr_assert_eq(reports_within(3 * round, SOON_MS), 3 * round);
        }
        send_some(HURRIED);
        cr_assert_eq(reports_within(15 + HURRIED, SOON_MS), 15 + HURRIED);
}

Test(bus_linger, many_wait_for_more)
{
        send_some(HURRIED + 1);
        cr_assert_eq(reports_within(1, LATER_MS), 0);
        contract_flush();
        cr_assert_eq(reports_count, HURRIED + 1);
        send_some(1);
        cr_assert_eq(reports_within(HURRIED + 2, SOON_MS), HURRIED + 2);
}

Test(bus_linger, a_refused_record_is_not_waited_for)
{
        send_some(1);
        cr_assert_eq(reports_within(1, SOON_MS), 1);
        contract_send(topic, LANES, "x", 1, 2); /* no such lane */
        send_some(1);
        cr_assert_eq(reports_within(3, SOON_MS), 3);
        send_some(1);
        cr_assert_eq(reports_within(4, SOON_MS), 4);
}
