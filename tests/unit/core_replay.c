/* core_replay.c: random lanes against the core: that a window replay is exact (R12, R13) and every wrong way to do it
 * is noticed; that outcomes are what a slow scan of the lane says they are (R2 to R8); that P10's short replay finds
 * what was emitted. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "core_lab.h"

#define RECORDS 400
#define TXNS    200

static const char *const services[] = {"payment", "stock", "mail"};

struct record {
        int64_t time_ms;
        bool malformed;
        struct assent_message message;
};

struct story { /* a begin that was made up */
        struct assent_message begin;
        struct assent_branch_request branches[9];
};

struct lane {
        uint64_t random;
        struct assent_settings settings;
        char settings_text[2][ASSENT_SETTINGS_SIZE_MAX];
        struct record records[RECORDS];
        size_t count;
        struct story stories[TXNS];
        size_t stories_count;
        struct lab lab; /* the uninterrupted run */
        int64_t tau[RECORDS], hold[RECORDS];
        uint64_t digest[RECORDS];
        int64_t accepted[TXNS]; /* offset, or -1, as traced */
};

/* ---- a random lane; replies answer what the core asked, so that transactions get somewhere ---- */

static struct story *some_story(struct lane *lane)
{
        size_t recent = lane->stories_count < 8 ? lane->stories_count : 8;
        size_t back = lab_chance(&lane->random, 90) ? lab_below(&lane->random, recent)
                                                    : lab_below(&lane->random, lane->stories_count);
        return &lane->stories[lane->stories_count - 1 - back];
}

static struct assent_message new_begin(struct lane *lane, int64_t now_ms)
{
        uint64_t *random = &lane->random;
        struct story *story = &lane->stories[lane->stories_count++];
        int64_t birth_ms = now_ms - LAB_PICK(random, 0, 0, 0, 1, 10, 100, 190, 205, -10, -29, -30, -31, -40);
        uint32_t count = (uint32_t)LAB_PICK(random, 1, 1, 2, 2, 3, 8);
        if (lab_chance(random, 2))
                count = (uint32_t)LAB_PICK(random, 0, 9); /* beyond branches_max */
        for (uint32_t i = 0; i < count; i++)
                story->branches[i].service = assent_bytes_of(services[lab_below(random, 3)]);
        story->begin = lab_begin(
            lab_txn(birth_ms, lane->stories_count), lab_chance(random, 50) ? ASSENT_2PC : ASSENT_3PC,
            (uint32_t)LAB_PICK(random, 0, 1, 20, 50, 50, 50, 80, 500), lab_chance(random, 50), story->branches, count);
        return story->begin;
}

static struct assent_message old_begin(struct lane *lane)
{
        struct assent_message message = some_story(lane)->begin;
        message.lamport = lab_below(&lane->random, 20);
        if (lab_chance(&lane->random, 15))
                message.body.begin.timeout_ms++;
        return message;
}

static struct assent_message answer(struct lane *lane)
{
        uint64_t *random = &lane->random;
        const struct assent_message *asked = NULL;
        for (int tries = 0; tries < 8 && lane->lab.count && (!asked || asked->type != ASSENT_COMMAND); tries++) {
                size_t recent = lane->lab.count < 24 ? lane->lab.count : 24;
                asked = lab_emission(&lane->lab, lane->lab.count - 1 - lab_below(random, recent));
        }
        if (!asked || asked->type != ASSENT_COMMAND)
                return lab_control(ASSENT_TICK, (struct assent_uuid){{0}}, ASSENT_NO_BRANCH, 0, NULL);
        enum assent_answer said = ASSENT_DONE;
        if (assent_phase_is_first(asked->body.command.phase))
                said = (enum assent_answer)LAB_PICK(random, ASSENT_YES, ASSENT_YES, ASSENT_YES, ASSENT_YES, ASSENT_YES,
                                                    ASSENT_YES, ASSENT_YES, ASSENT_YES, ASSENT_NO, ASSENT_READ_ONLY,
                                                    ASSENT_READ_ONLY);
        const char *service = services[lab_below(random, 3)];
        for (size_t i = 0; i < 3 && !lab_chance(random, 2); i++)
                if (strlen(services[i]) == asked->body.command.service.size &&
                    memcmp(services[i], asked->body.command.service.data, strlen(services[i])) == 0)
                        service = services[i];
        return lab_reply(asked->txn_id, asked->body.command.branch, service, asked->body.command.phase, said,
                         said == ASSENT_NO ? "no" : NULL, asked->lamport + lab_below(random, 3));
}

static struct assent_message noise(struct lane *lane)
{
        uint64_t *random = &lane->random;
        const struct story *story = some_story(lane);
        struct assent_uuid id = story->begin.txn_id;
        uint16_t branch = (uint16_t)lab_below(random, 4);
        switch (lab_below(random, 8)) {
        case 0:
                return lab_control(ASSENT_CANCEL, id, ASSENT_NO_BRANCH, 0, "no longer wanted");
        case 1:
                return lab_control(ASSENT_INQUIRE, id, (int32_t)branch - 1, (uint32_t)lab_below(random, 3), NULL);
        case 2:
                return lab_reply(id, branch, services[lab_below(random, 3)],
                                 (enum assent_phase)(1 + lab_below(random, 5)),
                                 (enum assent_answer)(1 + lab_below(random, 4)), NULL, lab_below(random, 40));
        case 3: {
                struct assent_message forged = story->begin;
                forged.message_id.bytes[0] ^= 1;
                return forged;
        }
        case 4:
                return lab_settings_record(&lane->settings, lane->settings_text[0]);
        case 5: {
                struct assent_settings other = lane->settings;
                other.grace_ms--;
                return lab_settings_record(&other, lane->settings_text[1]);
        }
        case 6: {
                struct assent_message foreign = {.type = ASSENT_OUTCOME, .txn_id = id};
                foreign.body.outcome.outcome = ASSENT_ABORTED;
                assent_message_seal(&foreign);
                return foreign;
        }
        }
        return lab_control(ASSENT_TICK, (struct assent_uuid){{0}}, ASSENT_NO_BRANCH, 0, NULL);
}

static void make_record(struct lane *lane, struct record *record, int64_t now_ms, bool settings_now)
{
        uint64_t *random = &lane->random, dice = lab_below(random, 100);
        record->malformed = false;
        if (settings_now) {
                record->message = lab_settings_record(&lane->settings, lane->settings_text[0]);
        } else if ((dice < 18 || lane->stories_count == 0) && lane->stories_count < TXNS) {
                record->message = new_begin(lane, now_ms);
        } else if (dice < 28) {
                record->message = old_begin(lane);
        } else if (dice < 88) {
                record->message = answer(lane);
        } else if (dice < 99) {
                record->message = noise(lane);
        } else {
                record->malformed = true;
        }
}

static void note_accepted(struct lane *lane, int64_t offset)
{
        for (size_t i = 0; i < lane->lab.traces_count; i++)
                if (lane->lab.traces[i].kind == ASSENT_T_ACCEPTED)
                        for (size_t n = 0; n < lane->stories_count; n++)
                                if (memcmp(&lane->stories[n].begin.txn_id, &lane->lab.traces[i].txn_id, 16) == 0) {
                                        cr_assert_eq(lane->accepted[n], -1, "accepted twice");
                                        lane->accepted[n] = offset;
                                }
}

static const struct assent_message *message_of(const struct record *record)
{
        return record->malformed ? NULL : &record->message;
}

/* Makes a lane up and runs it without interruption. Its settings come at offset `settings_at`, or others before. */
static struct lane *lane_open(uint64_t seed, size_t settings_at)
{
        struct lane *lane = calloc(1, sizeof *lane);
        cr_assert(lane);
        lane->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
        lane->settings = lab_settings;
        lane->settings.lanes = lab_chance(&lane->random, 20) ? 2 : 1;
        for (size_t i = 0; i < TXNS; i++)
                lane->accepted[i] = -1;
        lab_open(&lane->lab, ASSENT_TIME_NONE, ASSENT_TIME_NONE, NULL);
        int64_t now_ms = 1000 + LAB_W;
        for (lane->count = 0; lane->count < RECORDS; lane->count++) {
                struct record *record = &lane->records[lane->count];
                now_ms += lab_chance(&lane->random, 97)   ? LAB_PICK(&lane->random, 0, 0, 1, 2, 5, 20)
                          : lab_chance(&lane->random, 90) ? LAB_PICK(&lane->random, -30, -10, -1, 30, 60)
                                                          : LAB_PICK(&lane->random, 150, 400);
                record->time_ms = lab_chance(&lane->random, 1) ? ASSENT_TIME_NONE : now_ms;
                make_record(lane, record, now_ms, lane->count == settings_at);
                lab_step(&lane->lab, record->time_ms, message_of(record));
                note_accepted(lane, (int64_t)lane->count);
                lane->tau[lane->count] = assent_core_tau(lane->lab.core);
                lane->hold[lane->count] = assent_core_hold(lane->lab.core);
                lane->digest[lane->count] = assent_core_digest(lane->lab.core);
        }
        return lane;
}

static void lane_close(struct lane *lane)
{
        lab_close(&lane->lab);
        free(lane);
}

/* ---- window replay ---- */

enum wrong { RIGHT, NO_FLOOR, LATE_L, LOOSE, EAGER_SETTINGS, WRONGS };

static const char *const wrong_names[] = {"right", "no floor", "L taken late", "<= for <", "settings at offset 0"};

/* Checkpoint at N, read position R >= N at the crash. Returns whether the replay was exact: digest at N, emissions from
 * N. */
static bool replay_exact(struct lane *lane, size_t n, size_t r, enum wrong wrong)
{
        int64_t hold = lane->hold[(wrong == LATE_L ? r : n) - 1];
        size_t l = 0;
        while (l < n && hold != ASSENT_TIME_NONE && (wrong == LOOSE ? lane->tau[l] <= hold : lane->tau[l] < hold))
                l++;
        int64_t tau = l ? lane->tau[l - 1] : ASSENT_TIME_NONE;
        bool floor = l && tau != ASSENT_TIME_NONE && wrong != NO_FLOOR;
        struct lab again = {.offset = (int64_t)l, .mute = (int64_t)n, .prints_only = true};
        lab_open(&again, tau, floor ? tau + LAB_S : ASSENT_TIME_NONE,
                 l || wrong == EAGER_SETTINGS ? assent_core_settings(lane->lab.core) : NULL);
        size_t end = n + 160 < lane->count ? n + 160 : lane->count;
        for (size_t o = l; o < n; o++)
                lab_step(&again, lane->records[o].time_ms, message_of(&lane->records[o]));
        bool exact = assent_core_digest(again.core) == lane->digest[n - 1];
        for (size_t o = n; o < end; o++)
                lab_step(&again, lane->records[o].time_ms, message_of(&lane->records[o]));
        exact = exact && assent_core_digest(again.core) == lane->digest[end - 1];
        size_t first = 0, last;
        while (first < lane->lab.count && lane->lab.prints[first].offset < (int64_t)n)
                first++;
        for (last = first; last < lane->lab.count && lane->lab.prints[last].offset < (int64_t)end;)
                last++;
        exact = exact && again.count == last - first &&
                (again.count == 0 ||
                 memcmp(again.prints, lane->lab.prints + first, again.count * sizeof *again.prints) == 0);
        lab_close(&again);
        return exact;
}

/* Returns how many of `points` random crash points were not exact. */
static size_t replay_points(size_t points, enum wrong wrong, size_t settings_at_max)
{
        size_t bad = 0, done = 0;
        for (uint64_t seed = 1; done < points; seed++) {
                struct lane *lane = lane_open(seed, seed % (settings_at_max + 1));
                uint64_t random = seed;
                for (int i = 0; i < 64 && done < points; i++, done++) {
                        size_t n = 1 + lab_below(&random, lane->count - 1);
                        size_t r = n + lab_below(&random, 30);
                        bad += !replay_exact(lane, n, r < lane->count ? r : lane->count, wrong);
                }
                lane_close(lane);
        }
        return bad;
}

#if defined(__SANITIZE_ADDRESS__)
#define POINTS 4000
#else
#define POINTS 20480
#endif

Test(core_replay, r12_r13_window_replay_is_exact, .timeout = 120)
{
        size_t bad = replay_points(POINTS, RIGHT, 40);
        cr_assert_eq(bad, 0, "%zu of %d crash points were not exact", bad, POINTS);
}

Test(core_replay, wrong_ways_to_replay_are_noticed, .timeout = 120)
{
        for (enum wrong wrong = NO_FLOOR; wrong < WRONGS; wrong++) {
                size_t bad = replay_points(4000, wrong, 40);
                printf("replay, planted error \"%s\": caught at %zu of 4000 crash points\n", wrong_names[wrong], bad);
                cr_assert_gt(bad, 0, "\"%s\" went unnoticed", wrong_names[wrong]);
        }
}

/* ---- a slow oracle: one scan of the lane for each transaction ---- */

struct fate {
        int64_t offset; /* of the decision; -1: none yet */
        enum assent_outcome outcome;
};

/* An accepted begin is the first of its id that R2 lets in; no memory of what was forgotten is needed to say so,
 * because a forgotten transaction was born before the window. */
static int64_t oracle_accepted(const struct lane *lane, const struct assent_uuid *id,
                               const struct assent_settings *settings, size_t settings_at)
{
        int64_t birth_ms = assent_txn_id_birth_ms(id);
        for (size_t o = settings_at + 1; o < lane->count; o++) {
                const struct assent_message *m = message_of(&lane->records[o]);
                if (!m || m->type != ASSENT_BEGIN || memcmp(&m->txn_id, id, sizeof *id) != 0 ||
                    !assent_message_id_holds(m))
                        continue;
                if (assent_lane_of(id, settings->lanes) == 0 && lane->tau[o] != ASSENT_TIME_NONE &&
                    birth_ms >= lane->tau[o] - LAB_W && birth_ms <= lane->tau[o] + LAB_S &&
                    m->body.begin.timeout_ms > 0 && m->body.begin.branches_count > 0 &&
                    m->body.begin.branches_count <= settings->branches_max)
                        return (int64_t)o;
        }
        return -1;
}

static bool same_service(struct assent_bytes a, struct assent_bytes b)
{
        return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* The rules R4 to R8 for one transaction, from its begin on, with nothing in common with the core but the messages. */
static struct fate oracle_fate(const struct lane *lane, size_t begun)
{
        const struct assent_message *begin = &lane->records[begun].message;
        const bool three = begin->body.begin.protocol == ASSENT_3PC;
        const uint32_t count = begin->body.begin.branches_count;
        int64_t timeout = begin->body.begin.timeout_ms > LAB_TMAX ? LAB_TMAX : (int64_t)begin->body.begin.timeout_ms;
        int64_t due = lane->tau[begun] + timeout;
        int votes[16] = {0}, acks[16] = {0};
        uint32_t votes_in = 0, yes = 0, acks_in = 0;
        bool pre = false;
        for (size_t o = begun + 1; o < lane->count; o++) {
                if (lane->tau[o] > due)
                        return (struct fate){(int64_t)o, pre ? ASSENT_COMMITTED : ASSENT_ABORTED};
                const struct assent_message *m = message_of(&lane->records[o]);
                if (!m || memcmp(&m->txn_id, &begin->txn_id, 16) != 0 || !assent_message_id_holds(m))
                        continue;
                if (m->type == ASSENT_CONTROL && m->body.control.kind == ASSENT_CANCEL && !pre)
                        return (struct fate){(int64_t)o, ASSENT_ABORTED};
                if (m->type != ASSENT_REPLY || m->body.reply.branch >= count ||
                    !same_service(m->body.reply.service, begin->body.begin.branches[m->body.reply.branch].service))
                        continue;
                uint16_t i = m->body.reply.branch;
                enum assent_answer said = m->body.reply.answer;
                if (!pre && m->body.reply.phase == (three ? ASSENT_CAN_COMMIT : ASSENT_PREPARE) &&
                    said != ASSENT_DONE && !votes[i]) {
                        votes[i] = (int)said;
                        votes_in++;
                        yes += said == ASSENT_YES;
                        if (said == ASSENT_NO)
                                return (struct fate){(int64_t)o, ASSENT_ABORTED};
                        if (votes_in == count && !(three && yes))
                                return (struct fate){(int64_t)o, ASSENT_COMMITTED};
                        pre = votes_in == count;
                        due = pre ? lane->tau[o] + timeout : due;
                } else if (pre && m->body.reply.phase == ASSENT_PRE_COMMIT && said == ASSENT_DONE &&
                           votes[i] == ASSENT_YES && !acks[i]) {
                        acks[i] = 1;
                        if (++acks_in == yes)
                                return (struct fate){(int64_t)o, ASSENT_COMMITTED};
                }
        }
        return (struct fate){.offset = -1};
}

/* What the core told the client first. */
static struct fate core_fate(struct lane *lane, const struct assent_uuid *id)
{
        for (size_t i = 0; i < lane->lab.count; i++) {
                const struct assent_message *m = lab_emission(&lane->lab, i);
                if (m->type == ASSENT_OUTCOME && memcmp(&m->txn_id, id, sizeof *id) == 0 &&
                    (m->body.outcome.outcome == ASSENT_COMMITTED || m->body.outcome.outcome == ASSENT_ABORTED))
                        return (struct fate){lane->lab.prints[i].offset, m->body.outcome.outcome};
        }
        return (struct fate){.offset = -1};
}

Test(core_replay, outcomes_are_what_a_scan_of_the_lane_says, .timeout = 120)
{
        size_t accepted = 0, committed = 0, aborted = 0;
        for (uint64_t seed = 1; seed <= 150; seed++) {
                struct lane *lane = lane_open(seed, 0);
                for (size_t n = 0; n < lane->stories_count; n++) {
                        const struct assent_uuid *id = &lane->stories[n].begin.txn_id;
                        int64_t begun = oracle_accepted(lane, id, &lane->settings, 0);
                        cr_assert_eq(begun, lane->accepted[n], "seed %lu", (unsigned long)seed);
                        struct fate got = core_fate(lane, id), want = {.offset = -1};
                        if (begun >= 0)
                                want = oracle_fate(lane, (size_t)begun);
                        cr_assert_eq(got.offset, want.offset, "seed %lu story %zu", (unsigned long)seed, n);
                        cr_assert_eq(got.outcome, want.outcome, "seed %lu story %zu", (unsigned long)seed, n);
                        accepted += begun >= 0;
                        committed += got.outcome == ASSENT_COMMITTED;
                        aborted += got.outcome == ASSENT_ABORTED;
                }
                lane_close(lane);
        }
        printf("oracle: %zu accepted, %zu committed, %zu aborted\n", accepted, committed, aborted);
        cr_assert_gt(committed, 200);
        cr_assert_gt(aborted, 200);
}

/* The same emission always has the same bytes, however often and from whatever cause it goes out (R-ID). */
Test(core_replay, one_id_has_one_content, .timeout = 120)
{
        size_t again = 0;
        for (uint64_t seed = 1; seed <= 100; seed++) {
                struct lane *lane = lane_open(seed, 0);
                const struct lab_print *prints = lane->lab.prints;
                for (size_t i = 0; i < lane->lab.count; i++)
                        for (size_t k = i + 1; k < lane->lab.count; k++)
                                if (memcmp(&prints[i].id, &prints[k].id, sizeof prints[i].id) == 0) {
                                        again++;
                                        cr_assert_eq(prints[i].digest, prints[k].digest);
                                        cr_assert_eq(prints[i].lamport, prints[k].lamport);
                                }
                lane_close(lane);
        }
        cr_assert_gt(again, 100);
}

/* ---- P10 ---- */

static int is_decision(const struct assent_message *m, const struct assent_message *like)
{
        return m->type == ASSENT_COMMAND && assent_phase_is_decision(m->body.command.phase) &&
               memcmp(&m->txn_id, &like->txn_id, 16) == 0 && m->body.command.branch == like->body.command.branch;
}

/* Index of the first emission of the decision for the branch of `like`, at an offset below `end`; -1: none. */
static int64_t first_decision(struct lab *lab, const struct assent_message *like, int64_t end)
{
        for (size_t i = 0; i < lab->count && lab->prints[i].offset < end; i++)
                if (is_decision(lab_emission(lab, i), like))
                        return (int64_t)i;
        return -1;
}

/* A participant in doubt reads the lane from the first offset whose timestamp is >= b − S up to `end`. */
static void check_p10(struct lane *lane, const struct assent_message *asked, size_t end, size_t *decided)
{
        int64_t from_ms = assent_txn_id_birth_ms(&asked->txn_id) - LAB_S;
        size_t l = 0;
        while (l < lane->count && lane->records[l].time_ms < from_ms)
                l++;
        struct lab reader = {.offset = (int64_t)l};
        lab_open(&reader, l ? from_ms - 1 : ASSENT_TIME_NONE, ASSENT_TIME_NONE, l ? &lane->settings : NULL);
        for (size_t o = l; o < end; o++)
                lab_step(&reader, lane->records[o].time_ms, message_of(&lane->records[o]));
        int64_t want = first_decision(&lane->lab, asked, (int64_t)end);
        int64_t got = first_decision(&reader, asked, (int64_t)end);
        cr_assert_eq(want < 0, got < 0);
        if (want >= 0)
                cr_assert_eq(memcmp(&lane->lab.prints[want], &reader.prints[got], sizeof *reader.prints), 0);
        *decided += want >= 0;
        lab_close(&reader);
}

Test(core_replay, p10_replay_from_birth_finds_the_emitted_decision, .timeout = 120)
{
        size_t decided = 0, points = 0;
        for (uint64_t seed = 1; seed <= 60; seed++) {
                struct lane *lane = lane_open(seed, 0);
                uint64_t random = seed;
                for (int i = 0; i < 40; i++) {
                        size_t k = lab_below(&random, lane->lab.count);
                        const struct assent_message *asked = lab_emission(&lane->lab, k);
                        size_t asked_at = (size_t)lane->lab.prints[k].offset;
                        if (asked->type != ASSENT_COMMAND || !assent_phase_is_first(asked->body.command.phase))
                                continue;
                        size_t end = asked_at + 1 + lab_below(&random, 120);
                        check_p10(lane, asked, end < lane->count ? end : lane->count, &decided);
                        points++;
                }
                lane_close(lane);
        }
        printf("P10: %zu points, %zu of them decided\n", points, decided);
        cr_assert_gt(decided, 200);
        cr_assert_gt(points - decided, 50);
}
