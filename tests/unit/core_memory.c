/* core_memory.c: what a transaction costs (R16), and what happens at the arena's end. Speed is printed, not asserted.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include "core_lab.h"

static void ignore(void *context, const struct assent_message *message)
{
        *(uint64_t *)context += message->lamport > 0;
}

static double seconds(void)
{
        struct timespec now;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct assent_core *core_open(size_t memory_max, uint64_t *emitted)
{
        static struct assent_settings settings;
        settings = lab_settings;
        settings.window_ms = 90000;
        settings.timeout_max_ms = 30000;
        struct assent_core_options options = {.tau_ms = LAB_T0,
                                              .floor_ms = ASSENT_TIME_NONE,
                                              .settings = &settings,
                                              .memory_max = memory_max,
                                              .emit = ignore,
                                              .context = emitted};
        return assent_core_open(&options);
}

static const struct assent_branch_request two[] = {{.service = {"payment", 7}}, {.service = {"stock", 5}}};

static bool begin(struct assent_core *core, int64_t offset, uint64_t n)
{
        struct assent_message m = lab_begin(lab_txn(LAB_T0, n), ASSENT_2PC, 30000, true, two, 2);
        enum assent_verdict verdict;
        bool whole = assent_core_step(core, offset, LAB_T0, &m, &verdict);
        cr_assert(!whole || verdict == ASSENT_V_APPLIED);
        return whole;
}

static void reply(struct assent_core *core, int64_t offset, uint64_t n, uint16_t branch, bool ack)
{
        struct assent_message m =
            lab_reply(lab_txn(LAB_T0, n), branch, branch ? "stock" : "payment", ack ? ASSENT_COMMIT : ASSENT_PREPARE,
                      ack ? ASSENT_DONE : ASSENT_YES, NULL, 2);
        enum assent_verdict verdict;
        cr_assert(assent_core_step(core, offset, LAB_T0, &m, &verdict));
        cr_assert_eq(verdict, ASSENT_V_APPLIED);
}

#if defined(__SANITIZE_ADDRESS__)
#define LIVE 50000u
#else
#define LIVE 1000000u
#endif

Test(core_memory, r16_bytes_per_transaction, .timeout = 300)
{
        uint64_t emitted = 0;
        struct assent_core *core = core_open((size_t)1 << 30, &emitted);
        cr_assert(core);
        struct assent_core_counts counts;
        int64_t offset = 0;
        double start = seconds();
        for (uint64_t n = 0; n < LIVE; n++)
                cr_assert(begin(core, offset++, n));
        double begun = seconds();
        assent_core_counts(core, &counts);
        cr_assert_eq(counts.undecided, LIVE);
        size_t live = counts.memory / LIVE;
        for (uint64_t n = 0; n < LIVE; n++)
                for (uint16_t i = 0; i < 4; i++)
                        reply(core, offset++, n, i % 2, i >= 2);
        double replied = seconds();
        assent_core_counts(core, &counts);
        cr_assert_eq(counts.finished, LIVE);
        size_t finished = counts.memory / LIVE;
        enum assent_verdict verdict;
        cr_assert(assent_core_step(core, offset, LAB_T0 + 90001, NULL, &verdict));
        double forgotten = seconds();
        assent_core_counts(core, &counts);
        cr_assert_eq(counts.finished, 0);
        cr_assert_lt(counts.memory, LIVE * 5, "forgotten transactions still hold memory");
        printf("memory: %zu bytes per live transaction, %zu per finished one, of 2 branches\n", live, finished);
        printf("speed, messages made here included: %.0f begins/s, %.0f replies/s, %.0f forgets/s\n",
               LIVE / (begun - start), 4.0 * LIVE / (replied - begun), LIVE / (forgotten - replied));
        cr_assert_leq(live, 300);
        cr_assert_leq(finished, 96);
        cr_assert_eq(emitted, LIVE * 6ull); /* PREPARE ×2, COMMIT ×2, COMMITTED, COMPLETED */
        assent_core_close(core);
}

Test(core_memory, r16_exhausted_arena_stops_the_core_and_its_emissions)
{
        uint64_t emitted = 0;
        struct assent_core *core = core_open(65536, &emitted);
        cr_assert(core);
        uint64_t n = 0;
        while (begin(core, (int64_t)n, n))
                n++;
        cr_assert_gt(n, 65536 / 300);
        cr_assert_eq(emitted, n * 2, "the begin that did not fit must not emit anything");
        assent_core_close(core);
}

/* What was given back is used again: rate times window, not everything ever seen. */
Test(core_memory, r16_memory_is_bounded_by_the_window)
{
        uint64_t emitted = 0;
        struct assent_core *core = core_open(262144, &emitted);
        cr_assert(core);
        enum assent_verdict verdict;
        for (int64_t i = 0; i < 20000; i++) {
                int64_t now_ms = LAB_T0 + i * 100;
                struct assent_message m = lab_begin(lab_txn(now_ms, (uint64_t)i), ASSENT_2PC, 1 + (uint32_t)(i % 7),
                                                    false, two, 1 + (uint32_t)(i % 2));
                cr_assert(assent_core_step(core, i, now_ms, &m, &verdict), "at %ld", (long)i);
        }
        struct assent_core_counts counts;
        assent_core_counts(core, &counts);
        cr_assert_eq(counts.undecided + counts.decided, 901);
        assent_core_close(core);
}

Test(core_memory, no_room_at_birth_gives_no_core)
{
        uint64_t emitted = 0;
        cr_assert_null(core_open(64, &emitted));
        assent_core_close(NULL);
}
