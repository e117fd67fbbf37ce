/* core_ids.c: the wire contract of ids and digests, lanes, words and settings. The expected ids and digests were
 * computed by an independent program from the description in core/ids.c. */
#include <criterion/criterion.h>

#include "core_lab.h"

static const struct assent_branch_request one = {
    .service = {"payment", 7}, .kind = {"hold", 4}, .payload = {"99.00", 5}};

static struct assent_uuid txn(void)
{
        return lab_txn(LAB_T0, 5);
}

static void expect_id(const struct assent_message *message, const char *want)
{
        char text[ASSENT_UUID_TEXT_SIZE];
        struct assent_uuid id;
        assent_message_id_derive(message, &id);
        assent_uuid_format(&id, text);
        cr_assert_str_eq(text, want);
}

static struct assent_message command(uint16_t branch, enum assent_phase phase)
{
        struct assent_message m = {.type = ASSENT_COMMAND, .txn_id = txn()};
        m.body.command.branch = branch;
        m.body.command.branches_count = 4;
        m.body.command.service = one.service;
        m.body.command.phase = phase;
        m.body.command.deadline_ms = LAB_T0 + 50;
        m.body.command.kind = one.kind;
        m.body.command.payload = one.payload;
        return m;
}

static struct assent_message outcome(enum assent_outcome outcome)
{
        struct assent_message m = {.type = ASSENT_OUTCOME, .txn_id = txn()};
        m.body.outcome.outcome = outcome;
        m.body.outcome.reason = assent_bytes_of("TIMEOUT");
        m.body.outcome.decided_at_ms = LAB_T0 + 51;
        m.body.outcome.rejected_lane = -1;
        m.body.outcome.rejected_offset = -1;
        return m;
}

Test(core_ids, r_id_ids_are_what_the_contract_says)
{
        struct assent_message m = lab_begin(txn(), ASSENT_3PC, 50, true, &one, 1);
        expect_id(&m, "b10b53b7-a25e-5577-8c03-b35e677a73fd");
        m = command(3, ASSENT_PREPARE);
        expect_id(&m, "72be7818-4c78-5b0c-b014-4975ced036d1");
        m = command(3, ASSENT_CAN_COMMIT);
        expect_id(&m, "72be7818-4c78-5b0c-b014-4975ced036d1");
        m = command(3, ASSENT_COMMIT);
        expect_id(&m, "f60cb799-df67-56d8-a3b0-5a0feef1afeb");
        m = command(3, ASSENT_ABORT);
        expect_id(&m, "f60cb799-df67-56d8-a3b0-5a0feef1afeb");
        m = lab_reply(txn(), 3, "payment", ASSENT_PRE_COMMIT, ASSENT_DONE, NULL, 1);
        expect_id(&m, "0d0654ce-f5d2-5c5d-819a-93d94003083d");
        m = outcome(ASSENT_COMMITTED);
        expect_id(&m, "3a49c844-bcc8-5c6f-bbf1-0c9bd6a89dd8");
        m = outcome(ASSENT_ABORTED);
        expect_id(&m, "3a49c844-bcc8-5c6f-bbf1-0c9bd6a89dd8");
        m = outcome(ASSENT_COMPLETED);
        expect_id(&m, "6df0a6de-a187-5e69-8b3a-8c4e2f903419");
        m = outcome(ASSENT_UNCONFIRMED);
        expect_id(&m, "6df0a6de-a187-5e69-8b3a-8c4e2f903419");
        m = outcome(ASSENT_REJECTED);
        m.body.outcome.rejected_lane = 2;
        m.body.outcome.rejected_offset = 77;
        expect_id(&m, "75625ab9-32c3-5a6a-a240-ce87e4b33a4e");
        m = lab_control(ASSENT_INQUIRE, txn(), 3, 9, NULL);
        expect_id(&m, "1ffb56b0-d6f1-5303-b23e-8f29a4dc91d5");
        m = lab_control(ASSENT_CANCEL, txn(), ASSENT_NO_BRANCH, 0, "why");
        expect_id(&m, "dfe6f4f4-afb9-5fed-9d42-eb81d1afa7e5");
        m = lab_control(ASSENT_TICK, (struct assent_uuid){{0}}, ASSENT_NO_BRANCH, 1, NULL);
        expect_id(&m, "e0336443-8568-5e75-b0a0-ce2c50e88ea6");
}

Test(core_ids, r_id_a_sealed_message_holds_and_any_changed_field_of_the_name_does_not)
{
        struct assent_message m = lab_control(ASSENT_INQUIRE, txn(), 3, 9, NULL), changed = m;
        cr_assert(assent_message_id_holds(&m));
        changed.body.control.attempt++;
        cr_assert(!assent_message_id_holds(&changed));
        changed = m;
        changed.body.control.branch = ASSENT_NO_BRANCH;
        cr_assert(!assent_message_id_holds(&changed));
        changed = m;
        changed.body.control.kind = ASSENT_CANCEL;
        cr_assert(!assent_message_id_holds(&changed));
        changed = m;
        changed.txn_id.bytes[15]++;
        cr_assert(!assent_message_id_holds(&changed));
        changed = m;
        changed.message_id.bytes[0] ^= 0x80;
        cr_assert(!assent_message_id_holds(&changed));
        m = outcome(ASSENT_REJECTED);
        assent_message_seal(&m);
        m.body.outcome.rejected_offset++;
        cr_assert(!assent_message_id_holds(&m));
        m.body.outcome.rejected_offset--;
        m.body.outcome.rejected_lane++;
        cr_assert(!assent_message_id_holds(&m));
}

Test(core_ids, r_id_digests_are_what_the_contract_says)
{
        struct assent_message m = lab_begin(txn(), ASSENT_3PC, 50, true, &one, 1);
        cr_assert_eq(assent_message_digest(&m), UINT64_C(0x431c469120961aa5));
        m = command(3, ASSENT_PREPARE);
        cr_assert_eq(assent_message_digest(&m), UINT64_C(0xeaa7296c2b080e4f));
        m = lab_reply(txn(), 3, "payment", ASSENT_PREPARE, ASSENT_NO, "short", 1);
        cr_assert_eq(assent_message_digest(&m), UINT64_C(0x1bef02c1c557aec1));
        m = outcome(ASSENT_ABORTED);
        cr_assert_eq(assent_message_digest(&m), UINT64_C(0x7606a3157355c824));
        m = lab_control(ASSENT_CANCEL, txn(), ASSENT_NO_BRANCH, 7, "why");
        cr_assert_eq(assent_message_digest(&m), UINT64_C(0xbd2dc181b9ac54b8));
}

Test(core_ids, r_id_neither_id_nor_lamport_is_in_a_digest)
{
        struct assent_message m = lab_begin(txn(), ASSENT_3PC, 50, true, &one, 1);
        uint64_t digest = assent_message_digest(&m);
        m.lamport += 5;
        m.message_id.bytes[0] ^= 1;
        cr_assert_eq(assent_message_digest(&m), digest);
        m.body.begin.timeout_ms++;
        cr_assert_neq(assent_message_digest(&m), digest);
}

/* A begin of too many branches carries only the first 64, and its digest must not look further. */
Test(core_ids, r2_digest_of_a_begin_with_too_many_branches_reads_only_those_present)
{
        struct assent_branch_request *many = calloc(ASSENT_BRANCHES_MAX, sizeof *many);
        for (int i = 0; i < ASSENT_BRANCHES_MAX; i++)
                many[i] = one;
        struct assent_message m = lab_begin(txn(), ASSENT_2PC, 50, false, many, ASSENT_BRANCHES_MAX);
        uint64_t digest = assent_message_digest(&m);
        m.body.begin.branches_count = 1000;
        cr_assert_neq(assent_message_digest(&m), digest);
        free(many);
}

Test(core_ids, lanes_spread_and_a_single_lane_takes_all)
{
        int seen[12] = {0};
        for (uint64_t n = 0; n < 1200; n++) {
                struct assent_uuid id = lab_txn(LAB_T0, n);
                int32_t lane = assent_lane_of(&id, 12);
                cr_assert(lane >= 0 && lane < 12);
                seen[lane]++;
                cr_assert_eq(assent_lane_of(&id, 1), 0);
        }
        for (int i = 0; i < 12; i++)
                cr_assert_gt(seen[i], 50);
}

#define ROUND_TRIP(type, name, from, first, last)                                                                      \
        for (int v = (first); v <= (last); v++) {                                                                      \
                enum type out;                                                                                         \
                cr_assert(from(assent_bytes_of(name((enum type)v)), &out), "%d", v);                                   \
                cr_assert_eq((int)out, v);                                                                             \
        }

Test(core_ids, words_are_read_back){
    ROUND_TRIP(assent_protocol, assent_protocol_name, assent_protocol_from, 2, 3)
        ROUND_TRIP(assent_phase, assent_phase_name, assent_phase_from, 1, 5)
            ROUND_TRIP(assent_answer, assent_answer_name, assent_answer_from, 1, 4)
                ROUND_TRIP(assent_outcome, assent_outcome_name, assent_outcome_from, 1, 5)
                    ROUND_TRIP(assent_control_kind, assent_control_kind_name, assent_control_kind_from, 1, 4)}

Test(core_ids, unknown_words_and_values_are_refused)
{
        enum assent_phase phase = ASSENT_COMMIT;
        cr_assert(!assent_phase_from(assent_bytes_of("COMMI"), &phase));
        cr_assert(!assent_phase_from(assent_bytes_of("COMMITT"), &phase));
        cr_assert(!assent_phase_from(assent_bytes_of("commit"), &phase));
        cr_assert(!assent_phase_from(assent_bytes_of(""), &phase));
        cr_assert_eq(phase, ASSENT_COMMIT);
        cr_assert_str_eq(assent_phase_name((enum assent_phase)0), "?");
        cr_assert_str_eq(assent_phase_name((enum assent_phase)6), "?");
        cr_assert_str_eq(assent_message_type_name(ASSENT_REPLY), "REPLY");
        cr_assert_str_eq(assent_message_type_name((enum assent_message_type)6), "?");
        cr_assert_str_eq(assent_verdict_name(ASSENT_V_NO_SETTINGS), "NO_SETTINGS");
        cr_assert_str_eq(assent_verdict_name(ASSENT_VERDICT_COUNT), "?");
}

Test(core_ids, service_names_at_the_limit)
{
        char name[] = "abcdefghijklmnopqrstuvwxyz0123456789-abcd";
        cr_assert(assent_service_valid((struct assent_bytes){name, 40}));
        cr_assert(!assent_service_valid((struct assent_bytes){name, 41}));
        cr_assert(!assent_service_valid((struct assent_bytes){name, 0}));
        cr_assert(assent_service_valid((struct assent_bytes){name, 1}));
        const char *const wrong[] = {"A", "a.b", "a_b", "a b", "\xc3\xa4"};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
                cr_assert(!assent_service_valid(assent_bytes_of(wrong[i])), "%s", wrong[i]);
}

/* ---- settings ---- */

Test(core_settings, r17_canonical_text_is_read_back)
{
        char text[ASSENT_SETTINGS_SIZE_MAX];
        struct assent_settings out;
        size_t size = assent_settings_format(&lab_settings, text);
        cr_assert_str_eq(text, "rules=1 schema=1 lanes=1 window_ms=200 skew_ms=30 timeout_max_ms=80 grace_ms=20 "
                               "branches_max=8 record_bytes_max=65536");
        cr_assert_eq(size, strlen(text));
        cr_assert(assent_settings_parse((struct assent_bytes){text, size}, &out));
        cr_assert_eq(out.window_ms, 200);
        cr_assert_eq(out.record_bytes_max, 65536);
        cr_assert_null(assent_settings_wrong(&out));
}

Test(core_settings, r17_any_other_text_is_refused)
{
        char text[ASSENT_SETTINGS_SIZE_MAX];
        struct assent_settings out = {.lanes = 7};
        size_t size = assent_settings_format(&lab_settings, text);
        for (size_t cut = 0; cut < size - 1; cut++) /* without its last digit it is another number */
                cr_assert(!assent_settings_parse((struct assent_bytes){text, cut}, &out), "cut at %zu", cut);
        for (size_t i = 0; i < size; i++) {
                char kept = text[i];
                text[i] = '~';
                cr_assert(!assent_settings_parse((struct assent_bytes){text, size}, &out), "changed at %zu", i);
                text[i] = kept;
        }
        text[size] = ' ';
        cr_assert(!assent_settings_parse((struct assent_bytes){text, size + 1}, &out), "a blank too many");
        const char *const wrong[] = {
            "rules=01 schema=1 lanes=1 window_ms=200 skew_ms=30 timeout_max_ms=80 grace_ms=20 branches_max=8 "
            "record_bytes_max=65536",
            "rules=2 schema=1 lanes=1 window_ms=200 skew_ms=30 timeout_max_ms=80 grace_ms=20 branches_max=8 "
            "record_bytes_max=65536",
            "rules=1 schema=1 lanes=99999999999999999999999 window_ms=200 skew_ms=30 timeout_max_ms=80 grace_ms=20 "
            "branches_max=8 record_bytes_max=65536",
            "rules=1 schema=1 lanes= window_ms=200 skew_ms=30 timeout_max_ms=80 grace_ms=20 branches_max=8 "
            "record_bytes_max=65536",
        };
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
                cr_assert(!assent_settings_parse(assent_bytes_of(wrong[i]), &out), "%s", wrong[i]);
        cr_assert_eq(out.lanes, 7, "left alone");
}

Test(core_settings, r17_bounds_hold_at_the_limit_and_not_past_it)
{
        struct assent_settings s = lab_settings;
        s.window_ms = 2 * LAB_TMAX + 20;
        cr_assert_not_null(assent_settings_wrong(&s));
        s.window_ms++;
        cr_assert_null(assent_settings_wrong(&s));
        s.lanes = ASSENT_LANES_MAX;
        s.branches_max = ASSENT_BRANCHES_MAX;
        s.record_bytes_max = 1024;
        s.skew_ms = s.grace_ms = 0;
        cr_assert_null(assent_settings_wrong(&s));
        struct assent_settings past = s;
        past.lanes++;
        cr_assert_not_null(assent_settings_wrong(&past));
        past = s;
        past.branches_max++;
        cr_assert_not_null(assent_settings_wrong(&past));
        past = s;
        past.record_bytes_max--;
        cr_assert_not_null(assent_settings_wrong(&past));
        past = s;
        past.skew_ms = -1;
        cr_assert_not_null(assent_settings_wrong(&past));
        past = s;
        past.lanes = 0;
        cr_assert_not_null(assent_settings_wrong(&past));
        past = s;
        past.window_ms = INT64_MAX;
        cr_assert_not_null(assent_settings_wrong(&past));
        past = s;
        past.schema_version = 2;
        cr_assert_not_null(assent_settings_wrong(&past));
}
