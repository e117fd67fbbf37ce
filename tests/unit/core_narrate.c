/* core_narrate.c: what the core did, told in sentences. */
#include <criterion/criterion.h>

#include "core/narrate.h"
#include "core_lab.h"

#define B(text)                                                                                                        \
        {                                                                                                              \
                text, sizeof text - 1                                                                                  \
        }

static char *told;
static size_t told_size;

/* Tells every trace as a line. */
static void tell(void *context, const struct assent_trace *trace)
{
        (void)context;
        char line[200];
        size_t size = assent_narrate(trace, LAB_T0, line, sizeof line);
        cr_assert_eq(size, strlen(line));
        told = realloc(told, told_size + size + 2);
        cr_assert(told);
        memcpy(told + told_size, line, size);
        told_size += size;
        memcpy(told + told_size++, "\n", 2);
}

static void ignore(void *context, const struct assent_message *message)
{
        (void)context;
        (void)message;
}

static const struct assent_branch_request two[] = {{.service = B("payment")}, {.service = B("stock")}};

static void run(const struct assent_message *messages, const int64_t *times_ms, size_t count, const char *want)
{
        struct assent_core_options options = {.tau_ms = LAB_T0,
                                              .floor_ms = ASSENT_TIME_NONE,
                                              .settings = &lab_settings,
                                              .memory_max = LAB_MEMORY,
                                              .emit = ignore,
                                              .trace = tell};
        struct assent_core *core = assent_core_open(&options);
        enum assent_verdict verdict;
        for (size_t i = 0; i < count; i++)
                cr_assert(assent_core_step(core, (int64_t)i, LAB_T0 + times_ms[i],
                                           messages[i].type ? &messages[i] : NULL, &verdict));
        assent_core_close(core);
        cr_assert_str_eq(told, want);
        free(told);
}

Test(core_narrate, a_transaction_that_aborts)
{
        struct assent_uuid id = lab_txn(LAB_T0, 1);
        struct assent_message messages[] = {
            lab_begin(id, ASSENT_2PC, 50, true, two, 2),
            lab_begin(id, ASSENT_2PC, 50, true, two, 2),
            lab_reply(id, 1, "stock", ASSENT_PREPARE, ASSENT_YES, NULL, 3),
            lab_control(ASSENT_INQUIRE, id, 1, 1, NULL),
            lab_reply(id, 0, "payment", ASSENT_PREPARE, ASSENT_NO, "40.00 is \xe2\x82\xac short\n", 3),
            lab_reply(id, 1, "stock", ASSENT_ABORT, ASSENT_DONE, NULL, 3),
            {0},
            lab_begin(lab_txn(LAB_T0 - 300, 2), ASSENT_2PC, 50, true, two, 1),
            lab_control(ASSENT_TICK, (struct assent_uuid){{0}}, ASSENT_NO_BRANCH, 0, NULL),
        };
        int64_t times_ms[] = {0, 0, 10, 11, 12, 13, 14, 15, 201};
        run(messages, times_ms, sizeof times_ms / sizeof *times_ms,
            "2PC transaction begins with 2 branches; PREPARE goes to all; deadline +0.050 s\n"
            "BEGIN: seen before; nothing changes\n"
            "stock (branch 2 of 2) votes YES\n"
            "INQUIRE from branch 2: not decided yet; the question has moved the lane's time, so the deadline will "
            "come\n"
            "payment (branch 1 of 2) votes NO: 40.00 is \\xe2\\x82\\xac short\\n\n"
            "decided: ABORTED: payment: 40.00 is \\xe2\\x82\\xac short\\n\n"
            "stock (branch 2 of 2) has applied the decision\n"
            "finished: every branch that had to has applied ABORTED\n"
            "a record that does not decode: malformed; skipped\n"
            "BEGIN is rejected: STALE, born before the window\n"
            "TICK: taken\n"
            "forgotten: born before the window, and ABORTED\n");
}

Test(core_narrate, three_phases_and_settings)
{
        struct assent_uuid id = lab_txn(LAB_T0, 1);
        char text[ASSENT_SETTINGS_SIZE_MAX];
        struct assent_message messages[] = {
            lab_settings_record(&lab_settings, text),
            lab_begin(id, ASSENT_3PC, 50, false, two, 1),
            lab_reply(id, 0, "payment", ASSENT_CAN_COMMIT, ASSENT_YES, NULL, 3),
            lab_reply(id, 0, "payment", ASSENT_CAN_COMMIT, ASSENT_NO, NULL, 3),
            lab_reply(id, 0, "payment", ASSENT_PRE_COMMIT, ASSENT_DONE, NULL, 3),
        };
        int64_t times_ms[] = {0, 0, 40, 41, 42};
        run(messages, times_ms, sizeof times_ms / sizeof *times_ms,
            "SETTINGS: seen before; nothing changes\n"
            "3PC transaction begins with 1 branch; CAN_COMMIT goes to all; deadline +0.050 s\n"
            "payment (branch 1 of 1) votes YES\n"
            "all votes are in, none NO; PRE_COMMIT goes out, to be acknowledged by +0.090 s\n"
            "the reply NO to CAN_COMMIT from payment (branch 1): contradicts what was said before with the same id; "
            "reported, not applied\n"
            "payment (branch 1 of 1) is ready to commit\n"
            "decided: COMMITTED\n");
}

Test(core_narrate, every_verdict_has_a_sentence_and_none_overruns)
{
        for (int v = 0; v < ASSENT_VERDICT_COUNT; v++) {
                struct assent_trace trace = {.kind = ASSENT_T_VERDICT, .verdict = (enum assent_verdict)v};
                char whole[200], cut[34];
                size_t size = assent_narrate(&trace, 0, whole, sizeof whole);
                cr_assert_neq(whole[size - 1], '?', "%s", assent_verdict_name((enum assent_verdict)v));
                memset(cut, '#', sizeof cut);
                size = assent_narrate(&trace, 0, cut, sizeof cut - 1);
                cr_assert_leq(size, sizeof cut - 2);
                cr_assert_eq(cut[size], '\0');
                cr_assert_eq(cut[sizeof cut - 1], '#');
                cr_assert_eq(memcmp(whole, cut, size), 0);
        }
}
