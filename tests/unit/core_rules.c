/* core_rules.c: the coordinator's rules one by one, by their numbers in framework/DESIGN.md, and every verdict. */
#include <criterion/criterion.h>

#include "core_lab.h"

static const struct assent_branch_request two[] = {
    {.service = {"payment", 7}, .kind = {"hold", 4}, .payload = {"99.00", 5}},
    {.service = {"stock", 5}, .kind = {"pick", 4}, .payload = {"", 0}}};

static struct lab lab;

static void open_at(int64_t tau_ms)
{
        lab_open(&lab, tau_ms, ASSENT_TIME_NONE, &lab_settings);
}

static void open_lab(void)
{
        open_at(LAB_T0);
}

static void close_lab(void)
{
        lab_close(&lab);
}

TestSuite(core_rules, .init = open_lab, .fini = close_lab);

static struct assent_uuid txn(uint64_t n)
{
        return lab_txn(LAB_T0, n);
}

static enum assent_verdict step_at(int64_t time_ms, struct assent_message message)
{
        lab.count = 0;
        return lab_step(&lab, time_ms, &message);
}

static enum assent_verdict step(struct assent_message message)
{
        return step_at(LAB_T0, message);
}

static struct assent_message begin(uint64_t n, enum assent_protocol protocol)
{
        return lab_begin(txn(n), protocol, 50, true, two, 2);
}

static struct assent_message vote(uint64_t n, uint16_t branch, enum assent_phase phase, enum assent_answer answer)
{
        return lab_reply(txn(n), branch, branch == 0 ? "payment" : "stock", phase, answer,
                         answer == ASSENT_NO ? "balance 40.00 is short" : NULL, 3);
}

static struct assent_message prepare_reply(uint64_t n, uint16_t branch, enum assent_answer answer)
{
        return vote(n, branch, ASSENT_PREPARE, answer);
}

static struct assent_message can_commit_reply(uint64_t n, uint16_t branch, enum assent_answer answer)
{
        return vote(n, branch, ASSENT_CAN_COMMIT, answer);
}

static struct assent_message ack(uint64_t n, uint16_t branch, enum assent_phase phase)
{
        return vote(n, branch, phase, ASSENT_DONE);
}

static struct assent_message tick(void)
{
        return lab_control(ASSENT_TICK, (struct assent_uuid){{0}}, ASSENT_NO_BRANCH, 0, NULL);
}

static struct assent_message cancel(uint64_t n)
{
        return lab_control(ASSENT_CANCEL, txn(n), ASSENT_NO_BRANCH, 0, "no longer wanted");
}

static struct assent_message inquire(uint64_t n, int32_t branch)
{
        return lab_control(ASSENT_INQUIRE, txn(n), branch, 1, NULL);
}

static void expect_count(size_t count)
{
        cr_assert_eq(lab.count, count, "%zu emissions instead of %zu", lab.count, count);
}

static void expect_command(size_t i, uint16_t branch, enum assent_phase phase, int64_t deadline_ms, uint64_t lamport)
{
        const struct assent_message *m = lab_emission(&lab, i);
        cr_assert_eq(m->type, ASSENT_COMMAND);
        cr_assert_eq(m->body.command.branch, branch);
        cr_assert_eq(m->body.command.branches_count, 2);
        cr_assert_eq(m->body.command.phase, phase, "%s", assent_phase_name(m->body.command.phase));
        cr_assert_eq(m->body.command.deadline_ms, deadline_ms);
        cr_assert_eq(m->lamport, lamport, "Lamport %lu", (unsigned long)m->lamport);
        cr_assert_eq(m->body.command.service.size, two[branch].service.size);
        cr_assert_eq(memcmp(m->body.command.service.data, two[branch].service.data, two[branch].service.size), 0);
        size_t kind_size = assent_phase_is_first(phase) ? two[branch].kind.size : 0;
        cr_assert_eq(m->body.command.kind.size, kind_size);
        cr_assert_eq(m->body.command.payload.size, assent_phase_is_first(phase) ? two[branch].payload.size : 0);
}

static void expect_outcome(size_t i, enum assent_outcome outcome, const char *reason, int64_t decided_at_ms,
                           uint64_t lamport)
{
        const struct assent_message *m = lab_emission(&lab, i);
        cr_assert_eq(m->type, ASSENT_OUTCOME);
        cr_assert_eq(m->body.outcome.outcome, outcome, "%s", assent_outcome_name(m->body.outcome.outcome));
        cr_assert_eq(m->body.outcome.reason.size, strlen(reason), "%.*s", (int)m->body.outcome.reason.size,
                     (const char *)m->body.outcome.reason.data);
        cr_assert_eq(memcmp(m->body.outcome.reason.data, reason, strlen(reason)), 0);
        cr_assert_eq(m->body.outcome.decided_at_ms, decided_at_ms);
        cr_assert_eq(m->lamport, lamport, "Lamport %lu", (unsigned long)m->lamport);
        bool rejected = outcome == ASSENT_REJECTED;
        cr_assert_eq(m->body.outcome.rejected_lane, rejected ? 0 : -1);
        cr_assert_eq(m->body.outcome.rejected_offset, rejected ? lab.offset - 1 : -1);
}

/* A committed 2PC transaction at LAB_T0, its acks missing. */
static void commit(uint64_t n)
{
        cr_assert_eq(step(begin(n, ASSENT_2PC)), ASSENT_V_APPLIED);
        cr_assert_eq(step(prepare_reply(n, 0, ASSENT_YES)), ASSENT_V_APPLIED);
        cr_assert_eq(step(prepare_reply(n, 1, ASSENT_YES)), ASSENT_V_APPLIED);
}

static struct assent_core_view view(uint64_t n)
{
        struct assent_core_view view;
        struct assent_uuid id = txn(n);
        cr_assert(assent_core_find(lab.core, &id, &view), "transaction is not known");
        return view;
}

static bool known(uint64_t n)
{
        struct assent_core_view view;
        struct assent_uuid id = txn(n);
        return assent_core_find(lab.core, &id, &view);
}

/* ---- R1 ---- */

Test(core_rules, r1_time_only_grows_and_runs_for_malformed_records_too)
{
        step_at(LAB_T0 + 5, tick());
        step_at(LAB_T0 + 3, tick());
        cr_assert_eq(assent_core_tau(lab.core), LAB_T0 + 5);
        cr_assert_eq(lab_step(&lab, LAB_T0 + 9, NULL), ASSENT_V_MALFORMED);
        cr_assert_eq(assent_core_tau(lab.core), LAB_T0 + 9);
}

Test(core_rules, r1_what_is_no_append_time_moves_nothing)
{
        step_at(ASSENT_TIME_NONE, tick());
        step_at(-1, tick());
        step_at((int64_t)1 << 48, tick());
        step_at(INT64_MAX, tick());
        cr_assert_eq(assent_core_tau(lab.core), LAB_T0);
        step_at(((int64_t)1 << 48) - 1, tick());
        cr_assert_eq(assent_core_tau(lab.core), ((int64_t)1 << 48) - 1);
}

Test(core_rules, r13_a_time_from_elsewhere_is_bounded)
{
        close_lab();
        open_at(INT64_MAX);
        cr_assert_eq(assent_core_tau(lab.core), ((int64_t)1 << 48) - 1);
        cr_assert_eq(step(begin(1, ASSENT_2PC)), ASSENT_V_STALE);
        close_lab();
        open_at(INT64_MIN + 1);
        cr_assert_eq(assent_core_tau(lab.core), ASSENT_TIME_NONE);
        cr_assert_eq(step(begin(1, ASSENT_2PC)), ASSENT_V_APPLIED);
}

Test(core_rules, r1_deadlines_come_before_the_message)
{
        step(begin(1, ASSENT_2PC));
        step(prepare_reply(1, 0, ASSENT_YES));
        cr_assert_eq(step_at(LAB_T0 + 51, prepare_reply(1, 1, ASSENT_YES)), ASSENT_V_LATE);
        cr_assert_eq(view(1).outcome, ASSENT_ABORTED);
}

/* ---- R2, R3 ---- */

Test(core_rules, r2_r3_accepted_begin_prepares_every_branch)
{
        cr_assert_eq(step(begin(1, ASSENT_2PC)), ASSENT_V_APPLIED);
        expect_count(2);
        expect_command(0, 0, ASSENT_PREPARE, LAB_T0 + 50, 2);
        expect_command(1, 1, ASSENT_PREPARE, LAB_T0 + 50, 2);
        cr_assert_eq(step(begin(2, ASSENT_3PC)), ASSENT_V_APPLIED);
        expect_count(2);
        expect_command(0, 0, ASSENT_CAN_COMMIT, LAB_T0 + 50, 2);
}

Test(core_rules, r2_timeout_is_capped_by_the_settings)
{
        step(lab_begin(txn(1), ASSENT_2PC, LAB_TMAX, false, two, 2));
        expect_command(0, 0, ASSENT_PREPARE, LAB_T0 + LAB_TMAX, 2);
        step(lab_begin(txn(2), ASSENT_2PC, LAB_TMAX + 1, false, two, 2));
        expect_command(0, 0, ASSENT_PREPARE, LAB_T0 + LAB_TMAX, 2);
}

Test(core_rules, r2_same_begin_again_is_a_duplicate_whatever_its_lamport)
{
        step(begin(1, ASSENT_2PC));
        struct assent_message again = begin(1, ASSENT_2PC);
        again.lamport = 7;
        cr_assert_eq(step(again), ASSENT_V_DUPLICATE);
        expect_count(0);
}

Test(core_rules, r2_duplicate_of_a_decided_begin_tells_the_outcome_again)
{
        commit(1);
        struct lab_print first = lab.prints[2];
        expect_outcome(2, ASSENT_COMMITTED, "", LAB_T0, 4);
        cr_assert_eq(step_at(LAB_T0 + 9, begin(1, ASSENT_2PC)), ASSENT_V_DUPLICATE);
        expect_count(1);
        cr_assert_eq(memcmp(&first.id, &lab.prints[0].id, sizeof first - sizeof first.offset), 0);
}

Test(core_rules, r2_duplicate_of_a_finished_begin_tells_completed_too)
{
        commit(1);
        step(ack(1, 0, ASSENT_COMMIT));
        step(ack(1, 1, ASSENT_COMMIT));
        expect_count(1);
        struct lab_print completed = lab.prints[0];
        struct assent_message again = begin(1, ASSENT_2PC);
        again.lamport = 100; /* too late to count: the transaction is finished */
        cr_assert_eq(step_at(LAB_T0 + 9, again), ASSENT_V_DUPLICATE);
        expect_count(2);
        expect_outcome(0, ASSENT_COMMITTED, "", LAB_T0, 4);
        cr_assert_eq(memcmp(&completed.id, &lab.prints[1].id, sizeof completed - sizeof completed.offset), 0);
}

Test(core_rules, r2_known_id_with_another_content_is_a_conflict)
{
        step(begin(1, ASSENT_2PC));
        cr_assert_eq(step(begin(1, ASSENT_3PC)), ASSENT_V_CONFLICT);
        expect_count(1);
        expect_outcome(0, ASSENT_REJECTED, "CONFLICT", LAB_T0, 2);
        cr_assert(!view(1).decided);
}

Test(core_rules, r2_begin_in_another_lane_is_misrouted)
{
        struct assent_settings settings = lab_settings;
        settings.lanes = 2;
        close_lab();
        lab_open(&lab, LAB_T0, ASSENT_TIME_NONE, &settings);
        int seen[2] = {0};
        for (uint64_t n = 1; n <= 32; n++) {
                struct assent_uuid id = txn(n);
                int32_t lane = assent_lane_of(&id, 2);
                seen[lane]++;
                cr_assert_eq(step(begin(n, ASSENT_2PC)), lane == 0 ? ASSENT_V_APPLIED : ASSENT_V_MISROUTED);
                if (lane == 1)
                        expect_outcome(0, ASSENT_REJECTED, "MISROUTED", LAB_T0, 2);
        }
        cr_assert(seen[0] > 0 && seen[1] > 0);
}

Test(core_rules, r2_birth_at_the_window_is_accepted_and_one_before_is_stale)
{
        cr_assert_eq(step(lab_begin(lab_txn(LAB_T0 - LAB_W, 1), ASSENT_2PC, 50, false, two, 2)), ASSENT_V_APPLIED);
        cr_assert_eq(step(lab_begin(lab_txn(LAB_T0 - LAB_W - 1, 2), ASSENT_2PC, 50, false, two, 2)), ASSENT_V_STALE);
        expect_count(1);
        expect_outcome(0, ASSENT_REJECTED, "STALE", LAB_T0, 2);
}

Test(core_rules, r2_birth_at_the_skew_is_accepted_and_one_after_is_future)
{
        cr_assert_eq(step(lab_begin(lab_txn(LAB_T0 + LAB_S, 1), ASSENT_2PC, 50, false, two, 2)), ASSENT_V_APPLIED);
        cr_assert_eq(step(lab_begin(lab_txn(LAB_T0 + LAB_S + 1, 2), ASSENT_2PC, 50, false, two, 2)), ASSENT_V_FUTURE);
        expect_count(1);
        expect_outcome(0, ASSENT_REJECTED, "FUTURE", LAB_T0, 2);
}

Test(core_rules, r2_r13_birth_at_the_floor_is_stale)
{
        close_lab();
        lab_open(&lab, LAB_T0, LAB_T0 + 7, &lab_settings);
        cr_assert_eq(step(lab_begin(lab_txn(LAB_T0 + 7, 1), ASSENT_2PC, 50, false, two, 2)), ASSENT_V_STALE);
        cr_assert_eq(step(lab_begin(lab_txn(LAB_T0 + 8, 2), ASSENT_2PC, 50, false, two, 2)), ASSENT_V_APPLIED);
}

Test(core_rules, r2_branches_at_the_limit_pass_and_one_more_does_not)
{
        struct assent_branch_request many[9];
        for (int i = 0; i < 9; i++)
                many[i] = two[0]; /* a service may occur in several branches */
        cr_assert_eq(step(lab_begin(txn(1), ASSENT_2PC, 50, false, many, 8)), ASSENT_V_APPLIED);
        expect_count(8);
        cr_assert_eq(step(lab_begin(txn(2), ASSENT_2PC, 50, false, many, 9)), ASSENT_V_LIMIT);
        expect_outcome(0, ASSENT_REJECTED, "LIMIT", LAB_T0, 2);
        cr_assert_eq(step(lab_begin(txn(3), ASSENT_2PC, 50, false, many, 0)), ASSENT_V_LIMIT);
        cr_assert_eq(step(lab_begin(txn(4), ASSENT_2PC, 50, false, many, 1)), ASSENT_V_APPLIED);
}

Test(core_rules, r2_sixty_four_branches_pass_where_the_settings_allow_them)
{
        struct assent_settings settings = lab_settings;
        settings.branches_max = ASSENT_BRANCHES_MAX;
        close_lab();
        lab_open(&lab, LAB_T0, ASSENT_TIME_NONE, &settings);
        struct assent_branch_request many[ASSENT_BRANCHES_MAX];
        for (int i = 0; i < ASSENT_BRANCHES_MAX; i++)
                many[i] = two[0];
        cr_assert_eq(step(lab_begin(txn(1), ASSENT_3PC, 50, false, many, 64)), ASSENT_V_APPLIED);
        for (uint16_t i = 0; i < 64; i++)
                cr_assert_eq(step(lab_reply(txn(1), i, "payment", ASSENT_CAN_COMMIT, ASSENT_YES, NULL, 1)),
                             ASSENT_V_APPLIED);
        expect_count(64);
        cr_assert_eq(step(lab_begin(txn(2), ASSENT_2PC, 50, false, many, 65)), ASSENT_V_LIMIT);
}

Test(core_rules, r2_fields_at_their_limits_pass_and_one_past_does_not)
{
        char service[ASSENT_SERVICE_SIZE_MAX + 1], kind[ASSENT_KIND_SIZE_MAX + 1];
        memset(service, 'a', sizeof service);
        memset(kind, 'k', sizeof kind);
        struct assent_branch_request one = {.service = {service, ASSENT_SERVICE_SIZE_MAX},
                                            .kind = {kind, ASSENT_KIND_SIZE_MAX}};
        cr_assert_eq(step(lab_begin(txn(1), ASSENT_2PC, 1, false, &one, 1)), ASSENT_V_APPLIED);
        one.service.size++;
        cr_assert_eq(step(lab_begin(txn(2), ASSENT_2PC, 1, false, &one, 1)), ASSENT_V_LIMIT);
        one.service.size = 0;
        cr_assert_eq(step(lab_begin(txn(3), ASSENT_2PC, 1, false, &one, 1)), ASSENT_V_LIMIT);
        one.service = assent_bytes_of("Payment");
        cr_assert_eq(step(lab_begin(txn(4), ASSENT_2PC, 1, false, &one, 1)), ASSENT_V_LIMIT);
        one.service = assent_bytes_of("payment");
        one.kind.size++;
        cr_assert_eq(step(lab_begin(txn(5), ASSENT_2PC, 1, false, &one, 1)), ASSENT_V_LIMIT);
        one.kind.size = 0;
        cr_assert_eq(step(lab_begin(txn(6), ASSENT_2PC, 0, false, &one, 1)), ASSENT_V_LIMIT);
        cr_assert_eq(step(lab_begin(txn(7), ASSENT_2PC, 1, false, &one, 1)), ASSENT_V_APPLIED);
}

/* A known id hides the window, and the window hides the limits. */
Test(core_rules, r2_reasons_come_in_order)
{
        commit(2);
        cr_assert_eq(step(lab_begin(txn(2), ASSENT_2PC, 0, false, two, 0)), ASSENT_V_CONFLICT);
        cr_assert_eq(step(lab_begin(lab_txn(LAB_T0 - 300, 9), ASSENT_2PC, 0, false, two, 0)), ASSENT_V_STALE);
        cr_assert_eq(step(lab_begin(lab_txn(LAB_T0 + 300, 9), ASSENT_2PC, 0, false, two, 0)), ASSENT_V_FUTURE);
}

Test(core_rules, r_id_a_begin_without_a_transaction_id_or_protocol_is_malformed)
{
        struct assent_uuid id = txn(1);
        id.bytes[6] = 0x40; /* version 4 */
        cr_assert_eq(step(lab_begin(id, ASSENT_2PC, 50, false, two, 2)), ASSENT_V_MALFORMED);
        cr_assert_eq(step(lab_begin(txn(1), (enum assent_protocol)4, 50, false, two, 2)), ASSENT_V_MALFORMED);
        expect_count(0);
}

Test(core_rules, r_id_every_type_is_forged_when_its_id_does_not_follow)
{
        step(begin(1, ASSENT_2PC));
        struct assent_message messages[] = {begin(2, ASSENT_2PC), prepare_reply(1, 0, ASSENT_NO), cancel(1), tick(),
                                            inquire(1, 0)};
        for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
                messages[i].message_id.bytes[15] ^= 1;
                cr_assert_eq(step(messages[i]), ASSENT_V_FORGED);
                expect_count(0);
        }
        cr_assert(!view(1).decided);
        cr_assert(!known(2));
}

Test(core_rules, commands_and_outcomes_in_the_inbox_are_foreign)
{
        struct assent_message m = {.type = ASSENT_COMMAND, .txn_id = txn(1)};
        m.body.command.phase = ASSENT_ABORT;
        assent_message_seal(&m);
        cr_assert_eq(step(m), ASSENT_V_FOREIGN);
        m = (struct assent_message){.type = ASSENT_OUTCOME, .txn_id = txn(1)};
        m.body.outcome.outcome = ASSENT_ABORTED;
        assent_message_seal(&m);
        cr_assert_eq(step(m), ASSENT_V_FOREIGN);
        m = (struct assent_message){.type = (enum assent_message_type)9};
        assent_message_seal(&m);
        cr_assert_eq(step(m), ASSENT_V_MALFORMED);
        m = lab_control((enum assent_control_kind)9, txn(1), ASSENT_NO_BRANCH, 0, NULL);
        cr_assert_eq(step(m), ASSENT_V_MALFORMED);
}

/* ---- R4, R5 ---- */

Test(core_rules, r4_votes_that_do_not_match_change_nothing)
{
        step(begin(1, ASSENT_2PC));
        step(begin(2, ASSENT_3PC));
        cr_assert_eq(step(lab_reply(txn(1), 2, "stock", ASSENT_PREPARE, ASSENT_NO, NULL, 1)), ASSENT_V_FORGED);
        cr_assert_eq(step(lab_reply(txn(1), 1, "payment", ASSENT_PREPARE, ASSENT_NO, NULL, 1)), ASSENT_V_FORGED);
        cr_assert_eq(step(lab_reply(txn(1), 1, "stoc", ASSENT_PREPARE, ASSENT_NO, NULL, 1)), ASSENT_V_FORGED);
        cr_assert_eq(step(can_commit_reply(1, 0, ASSENT_NO)), ASSENT_V_FORGED);
        cr_assert_eq(step(prepare_reply(2, 0, ASSENT_NO)), ASSENT_V_FORGED);
        cr_assert_eq(step(prepare_reply(1, 0, ASSENT_DONE)), ASSENT_V_FORGED);
        cr_assert_eq(step(vote(1, 0, ASSENT_PRE_COMMIT, ASSENT_DONE)), ASSENT_V_FORGED);
        cr_assert_eq(step(vote(2, 0, ASSENT_PRE_COMMIT, ASSENT_YES)), ASSENT_V_FORGED);
        cr_assert_eq(step(vote(1, 0, ASSENT_COMMIT, ASSENT_YES)), ASSENT_V_FORGED);
        cr_assert_eq(step(vote(1, 0, (enum assent_phase)9, ASSENT_DONE)), ASSENT_V_FORGED);
        expect_count(0);
        cr_assert(!view(1).decided && !view(2).decided);
}

Test(core_rules, r4_replies_to_what_was_not_asked_yet_are_early)
{
        step(begin(1, ASSENT_2PC));
        step(begin(2, ASSENT_3PC));
        cr_assert_eq(step(ack(1, 0, ASSENT_COMMIT)), ASSENT_V_EARLY);
        cr_assert_eq(step(ack(2, 0, ASSENT_PRE_COMMIT)), ASSENT_V_EARLY);
        cr_assert_eq(view(1).decided || view(2).pre_commit, false);
}

Test(core_rules, r4_the_first_vote_counts)
{
        step(begin(1, ASSENT_2PC));
        cr_assert_eq(step(prepare_reply(1, 0, ASSENT_YES)), ASSENT_V_APPLIED);
        cr_assert_eq(step(prepare_reply(1, 0, ASSENT_YES)), ASSENT_V_DUPLICATE);
        cr_assert_eq(step(prepare_reply(1, 0, ASSENT_NO)), ASSENT_V_CONFLICT);
        expect_count(0);
        cr_assert(!view(1).decided);
        cr_assert_eq(step(prepare_reply(1, 1, ASSENT_YES)), ASSENT_V_APPLIED);
        cr_assert_eq(view(1).outcome, ASSENT_COMMITTED);
        cr_assert_eq(step(prepare_reply(1, 1, ASSENT_NO)), ASSENT_V_CONFLICT,
                     "equivocation is reported even afterwards");
}

Test(core_rules, r4_votes_about_unknown_or_decided_transactions_change_nothing)
{
        cr_assert_eq(step(prepare_reply(1, 0, ASSENT_NO)), ASSENT_V_UNKNOWN);
        step(begin(2, ASSENT_2PC));
        step(prepare_reply(2, 0, ASSENT_NO));
        cr_assert_eq(step(prepare_reply(2, 1, ASSENT_YES)), ASSENT_V_LATE);
        expect_count(0);
}

Test(core_rules, r5_all_yes_commits_and_tells_everybody)
{
        commit(1);
        expect_count(3);
        expect_command(0, 0, ASSENT_COMMIT, LAB_T0 + 50, 4);
        expect_command(1, 1, ASSENT_COMMIT, LAB_T0 + 50, 4);
        expect_outcome(2, ASSENT_COMMITTED, "", LAB_T0, 4);
}

Test(core_rules, r5_a_no_aborts_at_once_and_its_voter_is_not_told)
{
        step(begin(1, ASSENT_2PC));
        cr_assert_eq(step_at(LAB_T0 + 3, prepare_reply(1, 0, ASSENT_NO)), ASSENT_V_APPLIED);
        expect_count(2);
        expect_command(0, 1, ASSENT_ABORT, LAB_T0 + 50, 4); /* not voted yet: it may hold something */
        expect_outcome(1, ASSENT_ABORTED, "payment: balance 40.00 is short", LAB_T0 + 3, 4);
        cr_assert_eq(step(ack(1, 0, ASSENT_ABORT)), ASSENT_V_FORGED, "was not asked");
}

Test(core_rules, r5_reason_is_cut_at_the_limit_between_characters)
{
        char reason[ASSENT_REASON_SIZE_MAX + 1], want[ASSENT_REASON_SIZE_MAX + 1];
        memset(reason, 'x', sizeof reason);
        reason[ASSENT_REASON_SIZE_MAX] = '\0';
        memcpy(reason + 190, "\xe2\x82\xac", 3); /* a euro sign over the 200th byte of the whole */
        step(begin(1, ASSENT_2PC));
        step(lab_reply(txn(1), 0, "payment", ASSENT_PREPARE, ASSENT_NO, reason, 1));
        memcpy(want, "payment: ", 9);
        memcpy(want + 9, reason, 190);
        want[199] = '\0';
        expect_outcome(1, ASSENT_ABORTED, want, LAB_T0, 2);
        step(begin(2, ASSENT_2PC));
        step(lab_reply(txn(2), 1, "stock", ASSENT_PREPARE, ASSENT_NO, NULL, 1));
        expect_outcome(1, ASSENT_ABORTED, "stock: NO", LAB_T0, 2);
}

Test(core_rules, r5_read_only_voters_are_not_told)
{
        step(begin(1, ASSENT_2PC));
        step(prepare_reply(1, 0, ASSENT_READ_ONLY));
        step(prepare_reply(1, 1, ASSENT_YES));
        expect_count(2);
        expect_command(0, 1, ASSENT_COMMIT, LAB_T0 + 50, 4);
}

Test(core_rules, r5_r9_nobody_to_tell_is_completed_at_once)
{
        step(begin(1, ASSENT_2PC));
        step(prepare_reply(1, 0, ASSENT_READ_ONLY));
        step(prepare_reply(1, 1, ASSENT_READ_ONLY));
        expect_count(2);
        expect_outcome(0, ASSENT_COMMITTED, "", LAB_T0, 4);
        expect_outcome(1, ASSENT_COMPLETED, "", LAB_T0, 4);
        cr_assert(view(1).finished);
}

/* ---- R6 ---- */

static void to_pre_commit(uint64_t n)
{
        step(begin(n, ASSENT_3PC));
        step(can_commit_reply(n, 0, ASSENT_YES));
        cr_assert_eq(step_at(LAB_T0 + 40, can_commit_reply(n, 1, ASSENT_YES)), ASSENT_V_APPLIED);
}

Test(core_rules, r6_all_votes_in_pre_commits_with_a_deadline_of_its_own)
{
        to_pre_commit(1);
        expect_count(2);
        expect_command(0, 0, ASSENT_PRE_COMMIT, LAB_T0 + 90, 4);
        expect_command(1, 1, ASSENT_PRE_COMMIT, LAB_T0 + 90, 4);
        cr_assert(view(1).pre_commit && !view(1).decided);
        cr_assert_eq(view(1).deadline_ms, LAB_T0 + 90);
}

Test(core_rules, r6_all_acknowledged_commits)
{
        to_pre_commit(1);
        cr_assert_eq(step(ack(1, 0, ASSENT_PRE_COMMIT)), ASSENT_V_APPLIED);
        cr_assert_eq(step(ack(1, 0, ASSENT_PRE_COMMIT)), ASSENT_V_DUPLICATE);
        expect_count(0);
        cr_assert_eq(step(ack(1, 1, ASSENT_PRE_COMMIT)), ASSENT_V_APPLIED);
        expect_count(3);
        expect_command(0, 0, ASSENT_COMMIT, LAB_T0 + 50, 4); /* d again, not d₂ */
        expect_outcome(2, ASSENT_COMMITTED, "", LAB_T0 + 40, 4);
}

Test(core_rules, r6_only_yes_voters_are_asked)
{
        step(begin(1, ASSENT_3PC));
        step(can_commit_reply(1, 0, ASSENT_READ_ONLY));
        step(can_commit_reply(1, 1, ASSENT_YES));
        expect_count(1);
        expect_command(0, 1, ASSENT_PRE_COMMIT, LAB_T0 + 50, 4);
        cr_assert_eq(step(ack(1, 0, ASSENT_PRE_COMMIT)), ASSENT_V_FORGED);
        cr_assert_eq(step(ack(1, 1, ASSENT_PRE_COMMIT)), ASSENT_V_APPLIED);
        cr_assert_eq(view(1).outcome, ASSENT_COMMITTED);
        step(begin(2, ASSENT_3PC));
        step(can_commit_reply(2, 0, ASSENT_READ_ONLY));
        step(can_commit_reply(2, 1, ASSENT_READ_ONLY));
        cr_assert_eq(view(2).outcome, ASSENT_COMMITTED, "nobody to pre-commit");
        cr_assert_eq(step(ack(2, 1, ASSENT_PRE_COMMIT)), ASSENT_V_FORGED);
}

Test(core_rules, r6_r7_r8_after_pre_commit_no_path_leads_to_abort)
{
        to_pre_commit(1);
        cr_assert_eq(step(cancel(1)), ASSENT_V_LATE);
        cr_assert_eq(step(can_commit_reply(1, 0, ASSENT_NO)), ASSENT_V_CONFLICT);
        step_at(LAB_T0 + 90, tick());
        cr_assert(!view(1).decided, "d₂ itself is not past it");
        step_at(LAB_T0 + 91, tick());
        cr_assert_eq(view(1).outcome, ASSENT_COMMITTED);
        expect_count(3);
        expect_outcome(2, ASSENT_COMMITTED, "", LAB_T0 + 91, 4);
        cr_assert_eq(step(ack(1, 0, ASSENT_PRE_COMMIT)), ASSENT_V_LATE);
}

Test(core_rules, r5_a_no_in_3pc_aborts)
{
        step(begin(1, ASSENT_3PC));
        step(can_commit_reply(1, 0, ASSENT_YES));
        step(can_commit_reply(1, 1, ASSENT_NO));
        expect_count(2);
        expect_command(0, 0, ASSENT_ABORT, LAB_T0 + 50, 4);
        expect_outcome(1, ASSENT_ABORTED, "stock: balance 40.00 is short", LAB_T0, 4);
}

/* ---- R7, R8 ---- */

Test(core_rules, r7_cancel_aborts_before_the_votes_are_in_and_is_late_after)
{
        step(begin(1, ASSENT_2PC));
        step(prepare_reply(1, 0, ASSENT_YES));
        cr_assert_eq(step(cancel(1)), ASSENT_V_APPLIED);
        expect_count(3);
        expect_outcome(2, ASSENT_ABORTED, "no longer wanted", LAB_T0, 4);
        cr_assert_eq(step(cancel(1)), ASSENT_V_LATE);
        commit(2);
        cr_assert_eq(step(cancel(2)), ASSENT_V_LATE);
        cr_assert_eq(step(cancel(3)), ASSENT_V_UNKNOWN);
        expect_count(0);
}

Test(core_rules, r7_cancel_reason_is_bounded)
{
        char reason[ASSENT_REASON_SIZE_MAX + 2];
        memset(reason, 'r', sizeof reason);
        reason[ASSENT_REASON_SIZE_MAX + 1] = '\0';
        step(begin(1, ASSENT_2PC));
        cr_assert_eq(step(lab_control(ASSENT_CANCEL, txn(1), ASSENT_NO_BRANCH, 0, reason)), ASSENT_V_APPLIED);
        cr_assert_eq(lab_emission(&lab, 2)->body.outcome.reason.size, ASSENT_REASON_SIZE_MAX);
}

Test(core_rules, r8_deadline_itself_is_in_time_and_one_later_aborts)
{
        step(begin(1, ASSENT_2PC));
        step_at(LAB_T0 + 50, tick());
        cr_assert(!view(1).decided);
        cr_assert_eq(step_at(LAB_T0 + 51, tick()), ASSENT_V_APPLIED);
        expect_count(3);
        expect_command(0, 0, ASSENT_ABORT, LAB_T0 + 50, 2);
        expect_outcome(2, ASSENT_ABORTED, "TIMEOUT", LAB_T0 + 51, 2);
        struct assent_core_counts counts;
        assent_core_counts(lab.core, &counts);
        cr_assert_eq(counts.aborted, 1);
        cr_assert_eq(counts.timed_out, 1);
}

Test(core_rules, r8_expiry_is_settled_by_deadline_then_txn_id)
{
        step(lab_begin(txn(5), ASSENT_2PC, 50, false, two, 1));
        step(lab_begin(txn(9), ASSENT_2PC, 30, false, two, 1));
        step(lab_begin(txn(2), ASSENT_2PC, 50, false, two, 1));
        step(lab_begin(txn(7), ASSENT_2PC, 10, false, two, 1));
        int64_t deadline_ms;
        cr_assert(assent_core_deadline(lab.core, &deadline_ms));
        cr_assert_eq(deadline_ms, LAB_T0 + 10);
        step_at(LAB_T0 + 80, tick());
        expect_count(8);
        const uint8_t order[] = {7, 9, 2, 5};
        for (size_t i = 0; i < 4; i++)
                cr_assert_eq(lab_emission(&lab, 2 * i)->txn_id.bytes[15], order[i]);
        cr_assert(!assent_core_deadline(lab.core, &deadline_ms));
}

Test(core_rules, r8_r15_a_malformed_record_lets_deadlines_pass)
{
        step(begin(1, ASSENT_2PC));
        lab.count = 0;
        cr_assert_eq(lab_step(&lab, LAB_T0 + 51, NULL), ASSENT_V_MALFORMED);
        expect_count(3);
        cr_assert_eq(view(1).outcome, ASSENT_ABORTED);
}

/* ---- R9, R10 ---- */

Test(core_rules, r9_last_ack_completes)
{
        commit(1);
        cr_assert_eq(step(ack(1, 0, ASSENT_COMMIT)), ASSENT_V_APPLIED);
        cr_assert_eq(step(ack(1, 0, ASSENT_COMMIT)), ASSENT_V_DUPLICATE);
        cr_assert_eq(step(ack(1, 1, ASSENT_ABORT)), ASSENT_V_FORGED, "COMMIT was asked");
        expect_count(0);
        struct assent_message last = ack(1, 1, ASSENT_COMMIT);
        last.lamport = 11;
        cr_assert_eq(step_at(LAB_T0 + 20, last), ASSENT_V_APPLIED);
        expect_count(1);
        expect_outcome(0, ASSENT_COMPLETED, "", LAB_T0, 12);
        cr_assert(view(1).finished);
        cr_assert_eq(step(ack(1, 1, ASSENT_COMMIT)), ASSENT_V_DUPLICATE);
        expect_count(0);
}

Test(core_rules, r9_completed_is_not_told_unless_asked_for)
{
        step(lab_begin(txn(1), ASSENT_2PC, 50, false, two, 1));
        step(prepare_reply(1, 0, ASSENT_YES));
        step(ack(1, 0, ASSENT_COMMIT));
        expect_count(0);
        cr_assert(view(1).finished);
        step(inquire(1, ASSENT_NO_BRANCH));
        expect_count(1);
}

Test(core_rules, r10_inquiry_is_answered_by_what_is_known)
{
        cr_assert_eq(step(inquire(1, 0)), ASSENT_V_UNKNOWN);
        expect_count(0);
        step(begin(1, ASSENT_2PC));
        cr_assert_eq(step(inquire(1, 0)), ASSENT_V_PENDING);
        cr_assert_eq(step(inquire(1, 2)), ASSENT_V_FORGED);
        expect_count(0);
        step(prepare_reply(1, 0, ASSENT_YES));
        step(prepare_reply(1, 1, ASSENT_NO));
        struct lab_print command = lab.prints[0], outcome = lab.prints[1];
        size_t fields = sizeof command - sizeof command.offset;
        struct assent_message late = inquire(1, 0);
        late.lamport = 50; /* seen, but the decision's own time stands */
        cr_assert_eq(step_at(LAB_T0 + 5, late), ASSENT_V_ANSWERED);
        expect_count(1);
        cr_assert_eq(memcmp(&command.id, &lab.prints[0].id, fields), 0);
        cr_assert_eq(step_at(LAB_T0 + 5, inquire(1, ASSENT_NO_BRANCH)), ASSENT_V_ANSWERED);
        expect_count(1);
        cr_assert_eq(memcmp(&outcome.id, &lab.prints[0].id, fields), 0);
        cr_assert_eq(step(inquire(1, 1)), ASSENT_V_ANSWERED);
        expect_count(0); /* a NO voter is owed nothing */
}

Test(core_rules, r10_the_question_itself_moves_time)
{
        step(begin(1, ASSENT_2PC));
        cr_assert_eq(step_at(LAB_T0 + 51, inquire(1, 0)), ASSENT_V_ANSWERED);
        expect_count(4);
        expect_command(3, 0, ASSENT_ABORT, LAB_T0 + 50, 2);
}

/* ---- R11, R12 ---- */

Test(core_rules, r11_decided_is_forgotten_when_born_before_the_window)
{
        commit(1);
        step(ack(1, 0, ASSENT_COMMIT));
        step(ack(1, 1, ASSENT_COMMIT));
        step_at(LAB_T0 + LAB_W, tick());
        cr_assert(known(1));
        uint64_t before = assent_core_digest(lab.core);
        step_at(LAB_T0 + LAB_W + 1, tick());
        cr_assert(!known(1));
        cr_assert_neq(before, assent_core_digest(lab.core));
        expect_count(0);
        cr_assert_eq(step(begin(1, ASSENT_2PC)), ASSENT_V_STALE, "and cannot come back");
}

Test(core_rules, r11_missing_acks_are_unconfirmed_if_the_client_asked)
{
        commit(1);
        step(lab_begin(txn(2), ASSENT_2PC, 50, false, two, 2));
        struct assent_message some = ack(1, 0, ASSENT_COMMIT);
        some.lamport = 9;
        step(some);
        step_at(LAB_T0 + 60, tick());
        step_at(LAB_T0 + LAB_W + 1, tick());
        expect_count(1);
        expect_outcome(0, ASSENT_UNCONFIRMED, "", LAB_T0, 10);
}

Test(core_rules, r11_runs_last_so_the_forgetting_record_still_finds_it)
{
        commit(1);
        cr_assert_eq(step_at(LAB_T0 + LAB_W + 1, inquire(1, 0)), ASSENT_V_ANSWERED);
        expect_count(2);
        expect_command(0, 0, ASSENT_COMMIT, LAB_T0 + 50, 4);
        expect_outcome(1, ASSENT_UNCONFIRMED, "", LAB_T0, 4);
        cr_assert(!known(1));
}

/* Undecided behind the window: only 3PC's second deadline, or a stepping clock, brings one there. */
Test(core_rules, r11_r12_undecided_is_kept_and_holds_until_decided)
{
        step(lab_begin(lab_txn(LAB_T0 - LAB_W + 5, 1), ASSENT_3PC, 80, true, two, 1));
        struct assent_uuid id = lab_txn(LAB_T0 - LAB_W + 5, 1);
        struct assent_core_view view;
        cr_assert_eq(assent_core_hold(lab.core), LAB_T0 - LAB_W - LAB_S);
        step_at(LAB_T0 + 20, tick());
        cr_assert(assent_core_find(lab.core, &id, &view) && !view.decided);
        cr_assert_eq(assent_core_hold(lab.core), LAB_T0 - LAB_W + 5 - LAB_S, "its birth holds the window");
        cr_assert_eq(step_at(LAB_T0 + 21, lab_reply(id, 0, "payment", ASSENT_CAN_COMMIT, ASSENT_YES, NULL, 1)),
                     ASSENT_V_APPLIED);
        cr_assert_eq(assent_core_hold(lab.core), LAB_T0 - LAB_W + 5 - LAB_S);
        cr_assert_eq(step_at(LAB_T0 + 22, lab_reply(id, 0, "payment", ASSENT_PRE_COMMIT, ASSENT_DONE, NULL, 1)),
                     ASSENT_V_APPLIED);
        expect_count(3); /* COMMIT, COMMITTED and, forgotten in the deciding step, UNCONFIRMED */
        cr_assert_eq(lab_emission(&lab, 2)->body.outcome.outcome, ASSENT_UNCONFIRMED);
        cr_assert(!assent_core_find(lab.core, &id, &view));
        cr_assert_eq(assent_core_hold(lab.core), LAB_T0 + 22 - LAB_W - LAB_S);
}

Test(core_rules, r12_least_of_several_overdue_births_holds)
{
        for (uint64_t n = 0; n < 5; n++)
                step(lab_begin(lab_txn(LAB_T0 - LAB_W + 5 + (int64_t)(n * 3 % 5), n), ASSENT_2PC, 80, false, two, 1));
        step_at(LAB_T0 + 30, tick());
        for (int64_t least = 5; least < 10; least++) {
                cr_assert_eq(assent_core_hold(lab.core), LAB_T0 - LAB_W + least - LAB_S);
                uint64_t n = (uint64_t)(least - 5) * 2 % 5; /* 3 · 2 = 1 modulo 5 */
                step_at(LAB_T0 + 30, lab_reply(lab_txn(LAB_T0 - LAB_W + least, n), 0, "payment", ASSENT_PREPARE,
                                               ASSENT_NO, NULL, 1));
        }
        cr_assert_eq(assent_core_hold(lab.core), LAB_T0 + 30 - LAB_W - LAB_S);
}

/* ---- R15, R16, R17, R-LAMPORT ---- */

Test(core_rules, r15_r16_everything_is_counted)
{
        commit(1);
        lab_step(&lab, LAB_T0, NULL);
        struct assent_core_counts counts;
        assent_core_counts(lab.core, &counts);
        cr_assert_eq(counts.decided, 1);
        cr_assert_eq(counts.undecided + counts.finished, 0);
        cr_assert_eq(counts.committed, 1);
        cr_assert_eq(counts.verdicts[ASSENT_V_APPLIED], 3);
        cr_assert_eq(counts.verdicts[ASSENT_V_MALFORMED], 1);
        cr_assert(counts.memory > 0);
}

Test(core_rules, r17_begins_before_the_settings_are_rejected_and_the_first_settings_count)
{
        char texts[3][ASSENT_SETTINGS_SIZE_MAX];
        close_lab();
        lab_open(&lab, ASSENT_TIME_NONE, ASSENT_TIME_NONE, NULL);
        cr_assert_eq(assent_core_tau(lab.core), ASSENT_TIME_NONE);
        cr_assert_eq(step(begin(1, ASSENT_2PC)), ASSENT_V_NO_SETTINGS);
        expect_outcome(0, ASSENT_REJECTED, "NO_SETTINGS", LAB_T0, 2);
        struct assent_settings other = lab_settings;
        other.window_ms = 1; /* not above 2·timeout_max + grace */
        cr_assert_eq(step(lab_settings_record(&other, texts[0])), ASSENT_V_MALFORMED);
        cr_assert_null(assent_core_settings(lab.core));
        cr_assert_eq(assent_core_hold(lab.core), ASSENT_TIME_NONE);
        uint64_t before = assent_core_digest(lab.core);
        cr_assert_eq(step(lab_settings_record(&lab_settings, texts[1])), ASSENT_V_APPLIED);
        cr_assert_neq(assent_core_digest(lab.core), before);
        cr_assert_eq(step(lab_settings_record(&lab_settings, texts[1])), ASSENT_V_DUPLICATE);
        other = lab_settings;
        other.branches_max++;
        cr_assert_eq(step(lab_settings_record(&other, texts[2])), ASSENT_V_CONFLICT);
        cr_assert_eq(assent_core_settings(lab.core)->branches_max, lab_settings.branches_max);
        cr_assert_eq(step(begin(1, ASSENT_2PC)), ASSENT_V_APPLIED);
}

/* An L at or before the SETTINGS record would accept, on replay, what was rejected before it. */
Test(core_rules, r12_r17_no_hold_until_the_settings_are_behind_it)
{
        char text[ASSENT_SETTINGS_SIZE_MAX];
        close_lab();
        lab_open(&lab, ASSENT_TIME_NONE, ASSENT_TIME_NONE, NULL);
        step(lab_settings_record(&lab_settings, text));
        step_at(LAB_T0 + LAB_W + LAB_S, tick());
        cr_assert_eq(assent_core_hold(lab.core), ASSENT_TIME_NONE);
        step_at(LAB_T0 + LAB_W + LAB_S + 1, tick());
        cr_assert_eq(assent_core_hold(lab.core), LAB_T0 + 1);
}

Test(core_rules, r_lamport_follows_the_greatest_seen_and_is_clamped)
{
        struct assent_message m = begin(1, ASSENT_2PC);
        m.lamport = ASSENT_LAMPORT_MAX - 1;
        step(m);
        expect_command(0, 0, ASSENT_PREPARE, LAB_T0 + 50, ASSENT_LAMPORT_MAX);
        m = prepare_reply(1, 0, ASSENT_NO);
        m.lamport = UINT64_MAX;
        step(m);
        expect_command(0, 1, ASSENT_ABORT, LAB_T0 + 50, ASSENT_LAMPORT_MAX);
        step(begin(2, ASSENT_2PC));
        m = cancel(2);
        m.lamport = 30;
        step(m);
        expect_outcome(2, ASSENT_ABORTED, "no longer wanted", LAB_T0, 31);
}

Test(core_rules, digest_is_a_function_of_the_state_and_not_of_the_way_there)
{
        struct lab other = {0};
        lab_open(&other, LAB_T0 - 9, LAB_T0 - 50, &lab_settings); /* another past, another floor */
        struct assent_message a = begin(1, ASSENT_2PC), b = begin(2, ASSENT_3PC);
        step(a);
        uint64_t one = assent_core_digest(lab.core);
        step(b);
        lab_step(&other, LAB_T0, &b);
        lab_step(&other, LAB_T0, NULL);
        cr_assert_neq(assent_core_digest(lab.core), assent_core_digest(other.core));
        lab_step(&other, LAB_T0, &a);
        cr_assert_eq(assent_core_digest(lab.core), assent_core_digest(other.core));
        cr_assert_neq(assent_core_digest(lab.core), one);
        lab_close(&other);
}

/* The digest of a fresh lane after these. */
static uint64_t digest_after(const struct assent_message *messages, size_t count)
{
        close_lab();
        open_lab();
        for (size_t i = 0; i < count; i++)
                step(messages[i]);
        return assent_core_digest(lab.core);
}

Test(core_rules, digest_sees_whatever_can_still_be_emitted)
{
        struct assent_branch_request others[2] = {two[0], two[0]};
        struct assent_message m[2] = {begin(1, ASSENT_2PC), prepare_reply(1, 0, ASSENT_NO)};
        const uint64_t undecided = digest_after(m, 1), decided = digest_after(m, 2);
        cr_assert_eq(digest_after(m, 2), decided);
        m[1] = lab_reply(txn(1), 0, "payment", ASSENT_PREPARE, ASSENT_NO, "balance 40.01 is short", 3);
        cr_assert_neq(digest_after(m, 2), decided, "reason");
        m[1] = prepare_reply(1, 0, ASSENT_NO);
        m[1].lamport++;
        cr_assert_neq(digest_after(m, 2), decided, "Lamport time");
        m[0].lamport++;
        cr_assert_neq(digest_after(m, 1), undecided, "Lamport time of the begin");
        m[0] = lab_begin(txn(1), ASSENT_2PC, 51, true, two, 2);
        cr_assert_neq(digest_after(m, 1), undecided, "deadline");
        m[0] = lab_begin(txn(1), ASSENT_2PC, 50, false, two, 2);
        cr_assert_neq(digest_after(m, 1), undecided, "notify");
        m[0] = lab_begin(txn(1), ASSENT_2PC, 50, true, others, 2);
        cr_assert_neq(digest_after(m, 1), undecided, "service");
        m[0] = begin(1, ASSENT_2PC);
        m[1] = prepare_reply(1, 0, ASSENT_YES);
        cr_assert_neq(digest_after(m, 2), undecided, "vote");
        m[1] = inquire(1, 0);
        m[1].lamport = 2;
        cr_assert_neq(digest_after(m, 2), undecided, "what a question has shown");
}

/* Acks decide when COMPLETED goes out, and their Lamport time what it carries. */
Test(core_rules, digest_sees_acks)
{
        struct assent_message m[4] = {begin(1, ASSENT_2PC), prepare_reply(1, 0, ASSENT_YES),
                                      prepare_reply(1, 1, ASSENT_YES), ack(1, 0, ASSENT_COMMIT)};
        const uint64_t without = digest_after(m, 3), with = digest_after(m, 4);
        cr_assert_neq(without, with);
        m[3].lamport = 9;
        cr_assert_neq(digest_after(m, 4), with);
        m[3] = ack(1, 1, ASSENT_COMMIT);
        cr_assert_neq(digest_after(m, 4), with);
}

Test(core_rules, digest_sees_what_was_fixed_at_the_decision)
{
        struct assent_message question = inquire(1, 0), no = prepare_reply(1, 0, ASSENT_NO);
        question.lamport = 9;
        struct assent_message before[] = {begin(1, ASSENT_2PC), question, no},
                              after[] = {begin(1, ASSENT_2PC), no, question};
        cr_assert_neq(digest_after(before, 3), digest_after(after, 3), "the decision's Lamport time");
        uint64_t digests[2];
        for (int64_t i = 0; i < 2; i++) {
                struct assent_message start = begin(1, ASSENT_2PC);
                digest_after(&start, 1);
                step_at(LAB_T0 + i, no);
                step_at(LAB_T0 + 5, tick());
                digests[i] = assent_core_digest(lab.core);
        }
        cr_assert_neq(digests[0], digests[1], "decided_at");
        struct assent_branch_request other[] = {two[0], two[1]};
        struct assent_message start = begin(1, ASSENT_2PC);
        uint64_t digest = digest_after(&start, 1);
        other[1].kind = assent_bytes_of("pack");
        start = lab_begin(txn(1), ASSENT_2PC, 50, true, other, 2);
        cr_assert_neq(digest_after(&start, 1), digest, "the begin's digest, which tells DUPLICATE from CONFLICT");
}
