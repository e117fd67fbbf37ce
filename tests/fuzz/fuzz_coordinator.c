/* fuzz_coordinator.c: bytes become the records of one lane; the coordinator's core and the slow model of the rules take
 * each of them and must agree in verdict, emissions, decisions, hold and digest. Then the coordinator dies at some N
 * and a second core takes over by R12 and R13: same digest at N, same verdicts and emissions from N on. */
#include "core/ids.h"
#include "core/narrate.h"
#include "fuzz.h"
#include "lane_model.h"

enum { RECORDS = 256, STORIES = 24, WINDOW = 200, SKEW = 30, TIMEOUT_MAX = 80, MEMORY = 1 << 20 };

struct story { /* of one transaction id */
        struct assent_message begin;
        struct assent_branch_request branches[MODEL_BRANCHES + 1];
};

struct record {
        int64_t time_ms;
        bool malformed;
        struct assent_message message;
        /* What became of it. */
        enum assent_verdict verdict;
        size_t first_print, prints_count;
        int64_t tau_ms, hold_ms; /* after it */
        uint64_t digest;
};

struct run { /* a core, and what it emitted in its last step */
        struct assent_core *core;
        struct model_print prints[MODEL_EMISSIONS];
        size_t prints_count;
};

struct lane {
        struct fuzz_input input;
        struct assent_settings settings;
        char texts[2][ASSENT_SETTINGS_SIZE_MAX];
        int64_t now_ms;
        struct story stories[STORIES];
        unsigned stories_count;
        struct record records[RECORDS];
        size_t records_count;
        struct model_print prints[RECORDS * 64];
        size_t prints_count;
        struct model model;
        struct run run;
};

static const char *const services[] = {"payment", "stock", "mail"};
/* Longer than a reason may be once the service stands before it; the cut falls into a character. */
static const char long_reason[] =
    "\xc3\xa4\xc3\xb6\xc3\xbc aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc";
static const char *const reasons[] = {"", "no", long_reason};

/* ---- records from bytes ---- */

static struct assent_message control(enum assent_control_kind kind, struct assent_uuid id, int32_t branch)
{
        struct assent_message m = {.type = ASSENT_CONTROL, .txn_id = id, .lamport = 1};
        m.body.control.kind = kind;
        m.body.control.branch = branch;
        return m;
}

static struct assent_message settings_record(struct lane *lane, bool other)
{
        struct assent_settings settings = lane->settings;
        settings.grace_ms -= other;
        struct assent_message m = control(ASSENT_SETTINGS, (struct assent_uuid){{0}}, ASSENT_NO_BRANCH);
        size_t size = assent_settings_format(&settings, lane->texts[other]);
        m.body.control.settings = (struct assent_bytes){lane->texts[other], size};
        return m;
}

static struct story *new_story(struct lane *lane)
{
        static const int births[] = {0, 0, 0, 1, 10, 100, WINDOW - 1, WINDOW, WINDOW + 1, -SKEW + 1, -SKEW, -SKEW - 1};
        static const uint32_t timeouts[] = {50, 20, 1, TIMEOUT_MAX, TIMEOUT_MAX + 1, 500, 0};
        static const uint32_t counts[] = {1, 2, 3, 2, MODEL_BRANCHES, MODEL_BRANCHES + 1, 0};
        struct fuzz_input *in = &lane->input;
        struct story *story = &lane->stories[lane->stories_count++];
        int64_t birth_ms = lane->now_ms - births[fuzz_below(in, sizeof births / sizeof *births)];
        struct assent_message *m = &story->begin;
        *m = (struct assent_message){.type = ASSENT_BEGIN, .lamport = 1};
        for (int i = 0; i < 6; i++)
                m->txn_id.bytes[i] = (uint8_t)(birth_ms >> (8 * (5 - i)));
        m->txn_id.bytes[6] = 0x70;
        m->txn_id.bytes[8] = (uint8_t)(0x80 | fuzz_below(in, 64)); /* ids of one birth, in any order */
        m->txn_id.bytes[15] = (uint8_t)lane->stories_count;
        unsigned how = fuzz_byte(in);
        m->body.begin.protocol = how & 1 ? ASSENT_3PC : ASSENT_2PC;
        m->body.begin.notify_completed = how & 2;
        m->body.begin.timeout_ms = timeouts[(how >> 2) % 8 % (sizeof timeouts / sizeof *timeouts)];
        m->body.begin.branches_count = counts[(how >> 5) % (sizeof counts / sizeof *counts)];
        m->body.begin.branches = story->branches;
        unsigned shift = fuzz_byte(in);
        for (unsigned i = 0; i < m->body.begin.branches_count; i++) {
                story->branches[i].service = assent_bytes_of(shift == 255 ? "Not.One" : services[(i + shift) % 3]);
                story->branches[i].kind = assent_bytes_of("charge");
                if (shift >= 253) /* a kind of 64 bytes, or of one more */
                        story->branches[i].kind = (struct assent_bytes){long_reason, shift - 189};
                story->branches[i].payload = (struct assent_bytes){&story->begin.txn_id, shift % 17};
        }
        return story;
}

static struct assent_message begin_record(struct lane *lane, bool fresh)
{
        struct fuzz_input *in = &lane->input;
        if (lane->stories_count == 0 || (fresh && lane->stories_count < STORIES))
                return new_story(lane)->begin;
        struct assent_message m = lane->stories[fuzz_below(in, lane->stories_count)].begin;
        unsigned how = fuzz_byte(in);
        m.lamport = how >> 3;
        m.body.begin.timeout_ms += (how & 7) == 7; /* another digest */
        return m;
}

/* Any reply to anything. */
static struct assent_message wild_reply(struct lane *lane)
{
        struct fuzz_input *in = &lane->input;
        const struct story *story = &lane->stories[fuzz_below(in, lane->stories_count)];
        unsigned branch = fuzz_below(in, MODEL_BRANCHES + 1), how = fuzz_byte(in), lamport = fuzz_byte(in);
        struct assent_message m = {.type = ASSENT_REPLY, .txn_id = story->begin.txn_id, .lamport = lamport & 127};
        if (lamport & 128)
                m.lamport = UINT64_C(2147483600) + (lamport & 127); /* about the clamp */
        m.body.reply.branch = (uint16_t)branch;
        m.body.reply.phase = (enum assent_phase)(ASSENT_PREPARE + (how & 7) % 5);
        m.body.reply.answer = (enum assent_answer)(ASSENT_YES + ((how >> 3) & 3));
        m.body.reply.service = branch < story->begin.body.begin.branches_count ? story->branches[branch].service
                                                                               : assent_bytes_of("stock");
        if (how >> 5 == 7)
                m.body.reply.service = assent_bytes_of("elsewhere");
        if (m.body.reply.answer == ASSENT_NO)
                m.body.reply.reason = assent_bytes_of(reasons[(how >> 5) % 3]);
        return m;
}

/* The reply that the transaction waits for, so that few bytes reach the later states. */
static struct assent_message apt_reply(struct lane *lane)
{
        struct fuzz_input *in = &lane->input;
        const struct model_txn *txn = &lane->model.txns[fuzz_below(in, MODEL_TXNS)];
        unsigned how = fuzz_byte(in);
        struct assent_message m = {.type = ASSENT_REPLY, .txn_id = txn->id, .lamport = txn->lamport + 1};
        if (txn->state == MODEL_GONE)
                return control(ASSENT_TICK, (struct assent_uuid){{0}}, ASSENT_NO_BRANCH);
        unsigned branch = (how >> 4) % txn->count;
        m.body.reply.branch = (uint16_t)branch;
        m.body.reply.service = txn->services[branch];
        m.body.reply.answer = ASSENT_DONE;
        if (txn->state == MODEL_VOTING) {
                m.body.reply.phase = txn->protocol == ASSENT_2PC ? ASSENT_PREPARE : ASSENT_CAN_COMMIT;
                m.body.reply.answer = (how & 15) == 15 ? ASSENT_NO : (how & 3) == 3 ? ASSENT_READ_ONLY : ASSENT_YES;
                m.body.reply.reason = assent_bytes_of(m.body.reply.answer == ASSENT_NO ? "no" : "");
        } else if (txn->state == MODEL_PRE_COMMIT) {
                m.body.reply.phase = ASSENT_PRE_COMMIT;
        } else {
                m.body.reply.phase = txn->commit ? ASSENT_COMMIT : ASSENT_ABORT;
        }
        return m;
}

static struct assent_message other_record(struct lane *lane)
{
        struct fuzz_input *in = &lane->input;
        struct assent_uuid id = lane->stories[fuzz_below(in, lane->stories_count)].begin.txn_id;
        unsigned how = fuzz_byte(in);
        struct assent_message m = control(ASSENT_TICK, (struct assent_uuid){{0}}, ASSENT_NO_BRANCH);
        switch (how & 7) {
        case 0:
        case 1:
                m = control(ASSENT_CANCEL, id, ASSENT_NO_BRANCH);
                m.body.control.reason = assent_bytes_of(reasons[(how >> 3) % 3]);
                break;
        case 2:
        case 3:
                m = control(ASSENT_INQUIRE, id, (int32_t)(how >> 3) % (MODEL_BRANCHES + 2) - 1);
                m.body.control.attempt = how >> 6;
                break;
        case 4:
                return settings_record(lane, how & 8);
        case 5:
                m = settings_record(lane, false);
                m.body.control.settings.size -= 1 + (how >> 3); /* not such a text */
                break;
        case 6:
                m = (struct assent_message){.type = how & 8 ? ASSENT_OUTCOME : ASSENT_COMMAND, .txn_id = id};
                break;
        default:
                break;
        }
        return m;
}

static void make_record(struct lane *lane, struct record *record)
{
        static const int steps[] = {0, 0, 1, 2, 5, 20, 50, 51, 80, 81, 150, 400, -1, -30, -200, 0};
        struct fuzz_input *in = &lane->input;
        unsigned op = fuzz_byte(in);
        lane->now_ms += steps[op >> 4];
        *record = (struct record){.time_ms = lane->now_ms};
        op &= 15;
        if (op == 0 || lane->stories_count == 0)
                record->message = begin_record(lane, true);
        else if (op == 1)
                record->message = begin_record(lane, false);
        else if (op < 9)
                record->message = apt_reply(lane);
        else if (op < 12)
                record->message = wild_reply(lane);
        else if (op < 14)
                record->message = other_record(lane);
        else if (op == 14)
                record->malformed = true;
        else
                record->message = settings_record(lane, false);
        assent_message_seal(&record->message);
        if (op == 14) { /* as a record without a time, or as one that is forged */
                unsigned how = fuzz_byte(in);
                if (how & 1)
                        record->time_ms = how & 2 ? ASSENT_TIME_NONE : INT64_C(1) << 48;
                if (how & 4 && lane->stories_count) {
                        record->malformed = false;
                        record->message = begin_record(lane, false);
                        assent_message_seal(&record->message);
                        record->message.message_id.bytes[how >> 4] ^= 1;
                }
        }
}

/* ---- core and model ---- */

static void keep(void *context, const struct assent_message *message)
{
        struct run *run = context;
        ASSENT_ASSERT(run->prints_count < MODEL_EMISSIONS);
        run->prints[run->prints_count++] = model_print_of(message);
}

/* Whatever it does can be told in one printable line. */
static void tell(void *context, const struct assent_trace *trace)
{
        (void)context;
        char sentence[160]; /* some are cut */
        size_t size = assent_narrate(trace, 1000000, sentence, sizeof sentence);
        ASSENT_ASSERT(size > 0 && size < sizeof sentence && strlen(sentence) == size);
        for (size_t i = 0; i < size; i++)
                ASSENT_ASSERT(sentence[i] >= ' ' && sentence[i] <= '~');
}

static void start(struct run *run, int64_t tau_ms, int64_t floor_ms, const struct assent_settings *settings)
{
        struct assent_core_options options = {.tau_ms = tau_ms,
                                              .floor_ms = floor_ms,
                                              .settings = settings,
                                              .memory_max = MEMORY,
                                              .emit = keep,
                                              .trace = tell,
                                              .context = run};
        run->core = assent_core_open(&options);
        ASSENT_ASSERT(run->core);
}

static enum assent_verdict step(struct run *run, size_t offset, const struct record *record)
{
        enum assent_verdict verdict;
        run->prints_count = 0;
        bool whole = assent_core_step(run->core, (int64_t)offset, record->time_ms,
                                      record->malformed ? NULL : &record->message, &verdict);
        ASSENT_ASSERT(whole);
        return verdict;
}

static void same_prints(const struct model_print *want, size_t want_count, const struct run *run)
{
        bool same = want_count == run->prints_count;
        for (size_t i = 0; same && i < want_count; i++)
                same = memcmp(&want[i].id, &run->prints[i].id, sizeof want[i].id) == 0 &&
                       want[i].digest == run->prints[i].digest && want[i].lamport == run->prints[i].lamport &&
                       want[i].type == run->prints[i].type;
        if (same)
                return;
        fprintf(stderr, "wanted %zu emissions, got %zu\n", want_count, run->prints_count);
        for (size_t i = 0; i < want_count || i < run->prints_count; i++)
                fprintf(stderr, "  %zu: type %d, lamport %llu; got type %d, lamport %llu\n", i,
                        i < want_count ? (int)want[i].type : 0,
                        i < want_count ? (unsigned long long)want[i].lamport : 0,
                        i < run->prints_count ? (int)run->prints[i].type : 0,
                        i < run->prints_count ? (unsigned long long)run->prints[i].lamport : 0);
        ASSENT_ASSERT(same);
}

/* What is known of each transaction, and when the next one is due. */
static void same_state(const struct lane *lane)
{
        uint64_t undecided = 0, decided = 0, finished = 0;
        int64_t earliest_ms = INT64_MAX, deadline_ms = INT64_MAX;
        struct assent_core_counts counts;
        struct assent_core_view view;
        for (size_t i = 0; i < MODEL_TXNS; i++) {
                const struct model_txn *txn = &lane->model.txns[i];
                if (txn->state == MODEL_GONE)
                        continue;
                int64_t due_ms = txn->state == MODEL_PRE_COMMIT ? txn->d2_ms : txn->d_ms;
                bool open = txn->state < MODEL_DECIDED;
                undecided += open;
                decided += txn->state == MODEL_DECIDED;
                finished += txn->state == MODEL_FINISHED;
                if (open && due_ms < earliest_ms)
                        earliest_ms = due_ms;
                ASSENT_ASSERT(assent_core_find(lane->run.core, &txn->id, &view));
                ASSENT_ASSERT(view.decided == !open && view.finished == (txn->state == MODEL_FINISHED));
                ASSENT_ASSERT(open || (view.outcome == ASSENT_COMMITTED) == txn->commit);
        }
        assent_core_counts(lane->run.core, &counts);
        ASSENT_ASSERT(counts.undecided == undecided && counts.decided == decided && counts.finished == finished);
        ASSENT_ASSERT(assent_core_deadline(lane->run.core, &deadline_ms) == (undecided > 0));
        ASSENT_ASSERT(deadline_ms == earliest_ms);
}

static void one_record(struct lane *lane)
{
        size_t offset = lane->records_count++;
        struct record *record = &lane->records[offset];
        const struct model *model = &lane->model;
        make_record(lane, record);
        record->verdict =
            model_step(&lane->model, (int64_t)offset, record->time_ms, record->malformed ? NULL : &record->message);
        enum assent_verdict got = step(&lane->run, offset, record);
        if (got != record->verdict)
                fprintf(stderr, "offset %zu: wanted %s, got %s\n", offset, assent_verdict_name(record->verdict),
                        assent_verdict_name(got));
        ASSENT_ASSERT(got == record->verdict);
        same_prints(model->emissions, model->emissions_count, &lane->run);
        record->first_print = lane->prints_count;
        record->prints_count = model->emissions_count;
        ASSENT_ASSERT(lane->prints_count + model->emissions_count <= sizeof lane->prints / sizeof *lane->prints);
        memcpy(lane->prints + lane->prints_count, model->emissions, model->emissions_count * sizeof *model->emissions);
        lane->prints_count += model->emissions_count;
        record->tau_ms = assent_core_tau(lane->run.core);
        record->hold_ms = assent_core_hold(lane->run.core);
        record->digest = assent_core_digest(lane->run.core);
        ASSENT_ASSERT(record->hold_ms == model_hold(model));
        ASSENT_ASSERT(record->digest == model_digest(model));
        same_state(lane);
}

/* R12 and R13: a checkpoint taken at N, and the takeover. */
static void take_over(struct lane *lane, size_t n)
{
        static struct run again;
        const struct record *records = lane->records;
        int64_t hold_ms = records[n - 1].hold_ms;
        size_t l = 0;
        while (hold_ms != ASSENT_TIME_NONE && l < n && records[l].tau_ms < hold_ms)
                l++;
        bool timed = l > 0 && records[l - 1].tau_ms != ASSENT_TIME_NONE;
        int64_t tau_ms = timed ? records[l - 1].tau_ms : ASSENT_TIME_NONE;
        start(&again, tau_ms, timed ? tau_ms + SKEW : ASSENT_TIME_NONE,
              l > 0 ? assent_core_settings(lane->run.core) : NULL);
        for (size_t i = l; i < n; i++)
                step(&again, i, &records[i]);
        ASSENT_ASSERT(assent_core_digest(again.core) == records[n - 1].digest);
        for (size_t i = n; i < lane->records_count; i++) {
                enum assent_verdict verdict = step(&again, i, &records[i]);
                ASSENT_ASSERT(verdict == records[i].verdict);
                same_prints(lane->prints + records[i].first_print, records[i].prints_count, &again);
                ASSENT_ASSERT(assent_core_digest(again.core) == records[i].digest);
        }
        assent_core_close(again.core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct lane lane;
        lane.input = (struct fuzz_input){data, size, 0};
        unsigned how = fuzz_byte(&lane.input), crash = fuzz_byte(&lane.input);
        lane.settings = (struct assent_settings){.rules_version = ASSENT_RULES_VERSION,
                                                 .schema_version = ASSENT_SCHEMA_VERSION,
                                                 .lanes = how & 1 ? 2 : 1,
                                                 .window_ms = WINDOW,
                                                 .skew_ms = SKEW,
                                                 .timeout_max_ms = TIMEOUT_MAX,
                                                 .grace_ms = 20,
                                                 .branches_max = MODEL_BRANCHES,
                                                 .record_bytes_max = 65536};
        lane.now_ms = 1000000;
        lane.stories_count = 0;
        lane.records_count = lane.prints_count = 0;
        model_open(&lane.model, 0);
        start(&lane.run, ASSENT_TIME_NONE, ASSENT_TIME_NONE, NULL);
        if (!(how & 2)) { /* as topics are made: the settings first */
                struct record *first = &lane.records[lane.records_count++];
                *first = (struct record){.time_ms = lane.now_ms, .message = settings_record(&lane, false)};
                assent_message_seal(&first->message);
                model_step(&lane.model, 0, first->time_ms, &first->message);
                first->verdict = step(&lane.run, 0, first);
                ASSENT_ASSERT(first->verdict == ASSENT_V_APPLIED);
                first->tau_ms = assent_core_tau(lane.run.core);
                first->hold_ms = assent_core_hold(lane.run.core);
                first->digest = assent_core_digest(lane.run.core);
        }
        while (fuzz_more(&lane.input) && lane.records_count < RECORDS)
                one_record(&lane);
        if (lane.records_count > 0)
                take_over(&lane, 1 + crash % lane.records_count);
        assent_core_close(lane.run.core);
        return 0;
}
