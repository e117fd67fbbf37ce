/* Takeovers by a coordinator's own loop (R12, R13): one coordinator runs over a lane undisturbed; whoever takes the
 * lane at any of its checkpoints sends, from N on, exactly what it sent, and nothing for what lies below. */
#define RUNTIME_UNDER_TEST "runtime/coordinator.c"
#include "runtime_bus.h"

/* A record every 10 ms. W + S is 1100 ms, so replays begin above offset 0 after some 110 records. */
enum { LANE_RECORDS = 220, STEP_MS = 10, COPY_AGE = 107 };

static struct assent_coordinator *coordinator;
static struct broker_sent truth[SENT_MAX]; /* of the undisturbed run, commands and outcomes only */
static int truth_count;
static struct broker_commit commits[COMMITS_MAX];
static int commits_count;

static enum assent_err open_coordinator(void)
{
        struct assent_coordinator_options options = ASSENT_COORDINATOR_OPTIONS_INIT;
        options.config = config;
        return assent_coordinator_open(&options, &coordinator);
}

static void start(void)
{
        enum assent_err err = open_coordinator();
        cr_assert_eq(err, ASSENT_OK, "%s", assent_coordinator_errmsg(coordinator));
}

static void step(void)
{
        enum assent_err err = assent_coordinator_step(coordinator, 0);
        cr_assert_eq(err, ASSENT_OK, "%s", assent_coordinator_errmsg(coordinator));
        broker.now_ms += STEP_MS;
}

static struct broker_group *group(void)
{
        return broker_group("assent.coordinator");
}

static struct assent_checkpoint parsed(const struct broker_commit *commit)
{
        struct assent_checkpoint checkpoint;
        cr_assert(assent_checkpoint_parse((struct assent_bytes){commit->metadata, commit->size}, commit->offset,
                                          &checkpoint));
        return checkpoint;
}

/* Record k. Every fourth is a begin, whose client's clock is ahead by all of S; then follow its vote, its
 * acknowledgement, and a begin from almost W ago once more. Every fifth transaction gets no vote and runs into its
 * deadline. */
static struct assent_message record_of(int k)
{
        int number = k - k % 4;
        struct assent_uuid id = born(T0 + STEP_MS * number + 100, number);
        bool voted = number / 4 % 5 != 0;
        struct assent_message tick = {.type = ASSENT_CONTROL, .lamport = 1};
        tick.body.control.kind = ASSENT_TICK;
        tick.body.control.branch = ASSENT_NO_BRANCH;
        switch (k % 4) {
        case 0:
                return begin_of(id);
        case 1:
                return voted ? reply_of(id, ASSENT_PREPARE, ASSENT_YES) : tick;
        case 2:
                return voted ? reply_of(id, ASSENT_COMMIT, ASSENT_DONE) : tick;
        default:
                number = k - COPY_AGE;
                return number > 0 ? begin_of(born(T0 + STEP_MS * number + 100, number)) : tick;
        }
}

/* Forgets what was sent, so that the next coordinator's is its own. */
static void forget_sent(void)
{
        for (int i = 0; i < broker.sent_count; i++)
                free(broker.sent[i].value);
        broker.sent_count = 0;
}

static void stop(void)
{
        assent_coordinator_close(coordinator);
        coordinator = NULL;
        forget_sent();
}

/* Ends the undisturbed run: what it sent and every checkpoint it made are kept. */
static void keep_truth(void)
{
        for (int i = 0; i < broker.sent_count; i++) {
                if (broker.sent[i].topic == inbox)
                        continue;
                truth[truth_count] = broker.sent[i];
                truth[truth_count].value = malloc(broker.sent[i].size);
                memcpy(truth[truth_count++].value, broker.sent[i].value, broker.sent[i].size);
        }
        memcpy(commits, broker.commits, sizeof commits);
        commits_count = broker.commits_count;
}

static void set_up(void)
{
        broker_setup();
        broker_set("assent.checkpoint_ms=10");
        append_settings(T0, SETTINGS);
        for (int k = 1; k < LANE_RECORDS; k++)
                append(inbox, T0 + STEP_MS * k, record_of(k));
        broker.batch_max = 1;
        start();
        for (broker.limit = 1; broker.limit <= LANE_RECORDS; broker.limit++) {
                step();
                step(); /* acknowledged: a checkpoint at every N */
        }
        keep_truth();
        stop();
        cr_assert_gt(truth_count, LANE_RECORDS / 2);
        broker.commits_count = 0;
}

static void tear_down(void)
{
        assent_coordinator_close(coordinator);
        for (int i = 0; i < truth_count; i++)
                free(truth[i].value);
        broker_teardown();
}

TestSuite(order_takeover, .init = set_up, .fini = tear_down);

/* What the running coordinator has sent is exactly what follows from the records from..to-1. */
static void sent_exactly(int64_t from, int64_t to)
{
        int i = 0;
        for (int t = 0; t < truth_count; t++) {
                if (truth[t].source < from || truth[t].source >= to)
                        continue;
                while (i < broker.sent_count && broker.sent[i].topic == inbox)
                        i++;
                cr_assert_lt(i, broker.sent_count, "nothing more from N = %d, but the other run sent for offset %d",
                             (int)from, (int)truth[t].source);
                cr_assert(same_bytes(&truth[t], &broker.sent[i]), "from N = %d: another message for offset %d",
                          (int)from, (int)truth[t].source);
                i++;
        }
        while (i < broker.sent_count && broker.sent[i].topic == inbox)
                i++;
        cr_assert_eq(i, broker.sent_count, "from N = %d: too much was sent", (int)from);
}

Test(order_takeover, every_checkpoint_is_proved_and_continued_as_if_nothing_had_been)
{
        int above_zero = 0;
        broker.limit = LANE_RECORDS;
        broker.batch_max = 1000;
        for (int i = 0; i < commits_count; i++) {
                if (commits[i].offset == 0)
                        continue; /* replayed from the beginning: the easy half */
                struct assent_checkpoint checkpoint = parsed(&commits[i]);
                above_zero++;
                cr_assert_lt(checkpoint.start, checkpoint.next);
                group()->commit = commits[i];
                start();
                step();
                sent_exactly(checkpoint.next, LANE_RECORDS);
                stop();
                broker.commits_count = 0;
        }
        cr_assert_geq(above_zero, 90);
}

Test(order_takeover, another_digest_stops_it)
{
        struct assent_checkpoint wrong = parsed(&commits[commits_count - 2]);
        wrong.digest++;
        group()->commit.offset = wrong.start;
        group()->commit.size = assent_checkpoint_format(&wrong, group()->commit.metadata);
        broker.batch_max = 1000;
        start();
        cr_assert_eq(assent_coordinator_step(coordinator, 0), ASSENT_E_DIGEST);
        cr_assert_eq(assent_coordinator_step(coordinator, 0), ASSENT_E_DIGEST);
        cr_assert_eq(broker.sent_count, 0);
        cr_assert_eq(broker.commits_count, 0);
}

Test(order_takeover, offset_without_a_checkpoint_refuses_the_start)
{
        group()->commit = (struct broker_commit){.offset = 5};
        cr_assert_eq(open_coordinator(), ASSENT_E_CHECKPOINT);
}

Test(order_takeover, checkpoint_waits_for_the_proof)
{
        group()->commit = commits[commits_count - 2];
        int64_t next = parsed(&group()->commit).next;
        start();
        for (broker.limit = 0; broker.limit < next; broker.limit++) {
                step();
                cr_assert_eq(broker.commits_count, 0, "not at N yet");
        }
        cr_assert_eq(broker.sent_count, 0);
}

/* A owns the lane to its 150th record, then another owner to the 180th, then A again. */
Test(order_takeover, kept_lane_goes_on_silently_to_the_other_owners_N)
{
        enum { AWAY = 150, BACK = 180 };
        group()->commit = (struct broker_commit){.offset = -1};
        start();
        broker.limit = AWAY;
        for (int i = 0; i <= AWAY; i++)
                step();
        sent_exactly(0, AWAY);
        broker.revoke = true;
        step();
        forget_sent();
        for (int i = 0; i < commits_count; i++)
                if (parsed(&commits[i]).next == BACK)
                        group()->commit = commits[i];
        cr_assert_eq(parsed(&group()->commit).next, BACK);
        cr_assert_geq(group()->commit.offset, 1);
        broker.assign = true;
        broker.limit = AWAY + 1;
        step();
        cr_assert_eq(broker.source, AWAY, "it goes on where it stood, without a replay");
        broker.limit = BACK;
        for (int i = AWAY; i < BACK; i++)
                step();
        cr_assert_eq(broker.sent_count, 0, "the other owner sent all this");
        broker.limit = LANE_RECORDS;
        for (int i = BACK; i <= LANE_RECORDS; i++)
                step();
        sent_exactly(BACK, LANE_RECORDS);
}
