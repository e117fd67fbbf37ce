/* main.c: the simulator: one world told, or many worlds in several jobs, counted. A world that crashes takes its job with it:
 * the parent says which seed it was and starts another job. */
#include "sim.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/panic.h"
#include "check.h"
#include "faults.h"
#include "matrix.h"
#include "stories.h"

enum { JOBS_MAX = 64, FAILURES_MAX = 1000, CPU_SECONDS_MAX = 60, POINT_SIZE = 48 };

#define LIVENESS_US INT64_C(120000000) /* so long after the last fault everything must be finished … */
#define SETTLED_US  INT64_C(4000000) /* … and stay so: by then whoever was starting has started, and reads its repeats */
#define STOP_US     INT64_C(30000000)  /* so long after they were asked to all processes must have ended */
#define LOOK_US     50000

/* What was counted, over all worlds of a job. */
struct tally {
        uint64_t worlds, transactions, committed, aborted, rejected, simulated_us, restarts;
        uint64_t settled_us; /* the longest from the last fault until everything was finished */
        uint64_t faults[SIM_FAULT_COUNT];
        struct {
                char name[POINT_SIZE];
                uint64_t hits;
        } points[SIM_POINTS_MAX];
};

struct failure {
        uint64_t seed;
        char text[1024]; /* "I4: …" */
};

/* Shared by the parent and its jobs. */
static struct shared {
        atomic_uint_fast64_t next; /* seed */
        atomic_bool stop;
        atomic_uint failures_count;
        struct failure failures[FAILURES_MAX];
        struct job {
                atomic_bool busy;
                atomic_uint_fast64_t seed;
                struct tally tally;
        } jobs[JOBS_MAX];
} *shared;

static struct {
        uint64_t seed, seeds, from;
        unsigned transactions, jobs, budget_s;
        bool narrate, verify, bugs, tap, require_all;
        const char *counts;
} arguments = {.seed = 1, .from = 1, .transactions = 200};

static struct tally single, *tally = &single; /* a job has its own, in shared memory */

void sim_count(enum sim_fault fault)
{
        tally->faults[fault]++;
}

/* ---- one world ---- */

static void count_points(void)
{
        for (size_t i = 0; i < SIM_POINTS_MAX && sim_points[i].name; i++) {
                snprintf(tally->points[i].name, POINT_SIZE, "%s", sim_points[i].name);
                tally->points[i].hits = sim_points[i].hits;
        }
}

static void count_world(void)
{
        tally->worlds++;
        tally->simulated_us += (uint64_t)sim_now_us();
        for (unsigned i = 0; i < sim_transactions_count; i++) {
                tally->transactions += sim_transactions[i].minted;
                tally->committed += sim_transactions[i].told == ASSENT_COMMITTED;
                tally->aborted += sim_transactions[i].told == ASSENT_ABORTED;
                const struct check_txn *txn = sim_check_txn(&sim_transactions[i].txn_id);
                tally->rejected += sim_transactions[i].minted && txn && txn->refused && !txn->accepted;
        }
        for (int i = 0; i < sim_processes_count; i++)
                tally->restarts += sim_processes[i]->lives > 0 ? sim_processes[i]->lives - 1 : 0;
        count_points();
}

static void tell_unfinished(void)
{
        unsigned begun = 0, down = 0;
        for (unsigned i = 0; i < sim_transactions_count; i++)
                begun += sim_transactions[i].begun;
        for (int i = 0; i < sim_processes_count; i++)
                down += !sim_processes[i]->running;
        sim_violation("liveness",
                      "two minutes after the last fault %" PRIu64 " transactions are undecided, %" PRIu64 " answers owed, %"
                      PRIu64 " messages not published; %u of %u transactions begun, %u processes down",
                      sim_judge.undecided, sim_judge.owing, sim_judge.unpublished, begun, sim_transactions_count, down);
}

/* P10: as long as the lanes can be read and written, nobody in doubt depends on a coordinator. */
static void live_without_coordinators(void)
{
        int64_t least_us = sim_now_us() + 5000000, deadline_us = sim_now_us() + LIVENESS_US;
        sim_coordinators_gone = true;
        for (int i = 0; i < sim_processes_count; i++)
                if (sim_processes[i]->role == SIM_COORDINATOR)
                        sim_kill(sim_processes[i], SIM_KILLED);
        while (!sim_violated() && (sim_now_us() < least_us || !sim_check_doubtless())) {
                if (sim_now_us() >= deadline_us)
                        sim_violation("P10", "two minutes without a coordinator, and somebody is in doubt");
                sim_run(sim_now_us() + LOOK_US, NULL);
        }
        sim_coordinators_gone = false;
}

static void end_well(void)
{
        if (sim_options.seed % 4 == 0)
                live_without_coordinators();
        int64_t began_us = sim_now_us(), deadline_us = began_us + LIVENESS_US, since_us = began_us;
        while (!sim_violated() && sim_now_us() - since_us < SETTLED_US) {
                if (!sim_check_finished())
                        since_us = sim_now_us();
                if (sim_now_us() >= deadline_us)
                        tell_unfinished();
                sim_run(sim_now_us() + LOOK_US, NULL);
        }
        if ((uint64_t)(since_us - began_us) > tally->settled_us)
                tally->settled_us = (uint64_t)(since_us - began_us);
        sim_roles_stop();
        deadline_us = sim_now_us() + STOP_US;
        sim_run(deadline_us, sim_roles_stopped);
        for (int i = 0; i < sim_processes_count && !sim_violated(); i++)
                if (sim_processes[i]->running)
                        sim_violation("liveness", "%s does not end when it is asked to", sim_processes[i]->name);
        if (!sim_violated())
                sim_check_audit();
}

/* True if everything held; else *text says what did not. Returns the hash in any case. */
static uint64_t run_world(uint64_t seed, bool narrate, char *text, size_t size)
{
        struct sim_options options = {.seed = seed, .transactions = arguments.transactions, .narrate = narrate};
        sim_draw(&options);
        sim_check_bounds_open();
        sim_world_open(&options);
        sim_roles_open();
        sim_check_open();
        sim_faults_open();
        sim_run(options.quiet_us, NULL);
        sim_faults_stop();
        end_well();
        count_world();
        uint64_t hash = sim_hash();
        sim_check_close();
        sim_roles_close();
        sim_world_close();
        sim_check_bounds_close();
        snprintf(text, size, "%s", sim_violated() ? sim_verdict() : "");
        return hash;
}

static int tell_world(void)
{
        char text[1024], again[1024];
        uint64_t hash = run_world(arguments.seed, arguments.narrate, text, sizeof text);
        if (arguments.verify && run_world(arguments.seed, false, again, sizeof again) != hash)
                snprintf(text, sizeof text, "determinism: a second run was another one: %.900s", *again ? again : "ok");
        printf("seed %" PRIu64 ": %s\n", arguments.seed, *text ? text : "ok");
        printf("%" PRIu64 " transactions: %" PRIu64 " committed, %" PRIu64 " aborted, %" PRIu64 " rejected; %.1f s simulated; "
               "hash %016" PRIx64 "\n",
               single.transactions, single.committed, single.aborted, single.rejected, (double)single.simulated_us / 1e6, hash);
        return *text != '\0';
}

/* ---- jobs ---- */

static double seconds(void)
{
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fail(uint64_t seed, const char *text)
{
        unsigned at = atomic_fetch_add(&shared->failures_count, 1);
        if (at >= FAILURES_MAX)
                return;
        shared->failures[at].seed = seed;
        snprintf(shared->failures[at].text, sizeof shared->failures[at].text, "%s", text);
}

/* CPU time, not the clock's: a busy machine is no failure. */
static void limit_cpu(time_t cpu_seconds)
{
        const struct itimerval limit = {.it_value.tv_sec = cpu_seconds};
        setitimer(ITIMER_PROF, &limit, NULL);
}

static void work(struct job *job, double deadline)
{
        char text[1024];
        uint64_t end = arguments.from + arguments.seeds;
        tally = &job->tally;
        while (!atomic_load(&shared->stop) && seconds() < deadline) {
                uint64_t seed = atomic_fetch_add(&shared->next, 1);
                if (seed >= end)
                        break;
                atomic_store(&job->seed, seed);
                atomic_store(&job->busy, true);
                limit_cpu(CPU_SECONDS_MAX);
                uint64_t hash = run_world(seed, false, text, sizeof text);
                if (arguments.verify && !*text && run_world(seed, false, text, sizeof text) != hash)
                        snprintf(text, sizeof text, "determinism: a second run was another one");
                limit_cpu(0);
                if (*text) {
                        fail(seed, text);
                        if (arguments.bugs)
                                atomic_store(&shared->stop, true);
                }
                atomic_store(&job->busy, false);
        }
}

static pid_t start_job(struct job *job, double deadline)
{
        fflush(NULL);
        pid_t pid = fork();
        ASSENT_ASSERT(pid >= 0);
        if (pid > 0)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever kills one means all */
        work(job, deadline);
        exit(0);
}

static void bury_job(struct job *job, int status)
{
        char text[128];
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF)
                snprintf(text, sizeof text, "timeout: more than %d s of CPU time", CPU_SECONDS_MAX);
        else if (WIFSIGNALED(status))
                snprintf(text, sizeof text, "crash: signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
        else
                snprintf(text, sizeof text, "crash: exit status %d", WEXITSTATUS(status));
        fail(atomic_load(&job->seed), text);
        if (arguments.bugs)
                atomic_store(&shared->stop, true);
        atomic_store(&job->busy, false);
}

/* ---- sums ---- */

static void add_points(struct tally *sum, const struct tally *part)
{
        for (size_t i = 0; i < SIM_POINTS_MAX && part->points[i].name[0]; i++) {
                size_t at = 0;
                while (sum->points[at].name[0] && strcmp(sum->points[at].name, part->points[i].name) != 0)
                        at++;
                ASSENT_ASSERT(at < SIM_POINTS_MAX);
                memcpy(sum->points[at].name, part->points[i].name, POINT_SIZE);
                sum->points[at].hits += part->points[i].hits;
        }
}

static struct tally add_up(void)
{
        struct tally sum = {0};
        for (unsigned i = 0; i < arguments.jobs; i++) {
                const struct tally *part = &shared->jobs[i].tally;
                sum.worlds += part->worlds;
                sum.transactions += part->transactions;
                sum.committed += part->committed;
                sum.aborted += part->aborted;
                sum.rejected += part->rejected;
                sum.simulated_us += part->simulated_us;
                sum.restarts += part->restarts;
                if (part->settled_us > sum.settled_us)
                        sum.settled_us = part->settled_us;
                for (size_t f = 0; f < SIM_FAULT_COUNT; f++)
                        sum.faults[f] += part->faults[f];
                add_points(&sum, part);
        }
        return sum;
}

static void tell_progress(double since)
{
        struct tally sum = add_up();
        fprintf(stderr, "%s%8.0f s  %" PRIu64 " of %" PRIu64 " worlds, %" PRIu64 " transactions, %u failed%s",
                isatty(2) ? "\r" : "", since, sum.worlds, arguments.seeds, sum.transactions,
                atomic_load(&shared->failures_count), isatty(2) ? "" : "\n");
}

static const struct {
        const char *name, *text;
} faults[SIM_FAULT_COUNT] = {
#define X(name, text) {#name, text},
        SIM_FAULTS(X)
#undef X
};

/* Each line as a comment when TAP is spoken. */
static void tell_counts(FILE *out, const char *lead, const struct tally *sum, double took)
{
        fprintf(out,
                "%s%" PRIu64 " worlds, %" PRIu64 " transactions: %" PRIu64 " committed, %" PRIu64 " aborted, %" PRIu64
                " rejected\n",
                lead, sum->worlds, sum->transactions, sum->committed, sum->aborted, sum->rejected);
        fprintf(out, "%s%.1f hours simulated in %.0f s, %.0f transactions a second, %" PRIu64 " restarts of processes\n", lead,
                (double)sum->simulated_us / 3.6e9, took, (double)sum->transactions / (took > 0 ? took : 1), sum->restarts);
        fprintf(out, "%sat most %.2f s simulated from the last fault until everything was finished\n", lead,
                (double)sum->settled_us / 1e6);
        for (size_t i = 0; i < SIM_FAULT_COUNT; i++)
                fprintf(out, "%s%12" PRIu64 "  %s\n", lead, sum->faults[i], faults[i].text);
        for (size_t i = 0; i < SIM_POINTS_MAX && sum->points[i].name[0]; i++)
                fprintf(out, "%s%12" PRIu64 "  passed %s\n", lead, sum->points[i].hits, sum->points[i].name);
}

static int compare_failures(const void *a, const void *b)
{
        uint64_t left = ((const struct failure *)a)->seed, right = ((const struct failure *)b)->seed;
        return (left > right) - (left < right);
}

/* `SEED INVARIANT text`, of the least seed. Seeds are handed out in order, so it is the same for any number of jobs. */
static void tell_bug(const struct failure *failure)
{
        int size = (int)strcspn(failure->text, ":");
        const char *rest = failure->text + size;
        printf("%" PRIu64 " %.*s%s\n", failure->seed, size, failure->text, *rest ? rest + 1 : "");
}

static int tell_end(double took)
{
        struct tally sum = add_up();
        const char *lead = arguments.tap ? "# " : "";
        unsigned failed = atomic_load(&shared->failures_count), number = 0;
        unsigned kept = failed < FAILURES_MAX ? failed : FAILURES_MAX;
        qsort(shared->failures, kept, sizeof *shared->failures, compare_failures);
        if (arguments.bugs) {
                if (failed)
                        tell_bug(&shared->failures[0]);
                return failed > 0;
        }
        tell_counts(stdout, lead, &sum, took);
        for (unsigned i = 0; i < kept; i++) {
                const struct failure *failure = &shared->failures[i];
                if (arguments.tap)
                        printf("not ok %u - ", ++number);
                printf("seed %" PRIu64 ": %s\n%sreplay: make sim SEED=%" PRIu64 "\n", failure->seed, failure->text, lead,
                       failure->seed);
        }
        for (size_t i = 0; i < SIM_FAULT_COUNT && arguments.require_all; i++) {
                if (sum.faults[i])
                        continue;
                failed++;
                if (arguments.tap)
                        printf("not ok %u - ", ++number);
                printf("%s never happened: %s\n", faults[i].name, faults[i].text);
        }
        if (!failed && !arguments.budget_s && sum.worlds < arguments.seeds) {
                failed++;
                if (arguments.tap)
                        printf("not ok %u - ", ++number);
                printf("only %" PRIu64 " of %" PRIu64 " worlds came to their end\n", sum.worlds, arguments.seeds);
        }
        if (arguments.tap && !failed)
                printf("ok %u - %" PRIu64 " worlds\n", ++number, sum.worlds);
        if (arguments.tap)
                printf("1..%u\n", number);
        return failed > 0;
}

/* Name and count, a line each, tabulated. */
static void write_counts(double took)
{
        struct tally sum = add_up();
        FILE *out = fopen(arguments.counts, "w");
        if (!out) {
                fprintf(stderr, "%s: %s\n", arguments.counts, strerror(errno));
                exit(2);
        }
        fprintf(out,
                "worlds\t%" PRIu64 "\ntransactions\t%" PRIu64 "\ncommitted\t%" PRIu64 "\naborted\t%" PRIu64
                "\nrejected\t%" PRIu64 "\nsimulated_s\t%.0f\nsettled_s\t%.2f\nseconds\t%.1f\nrestarts\t%" PRIu64
                "\nfailures\t%u\n",
                sum.worlds, sum.transactions, sum.committed, sum.aborted, sum.rejected, (double)sum.simulated_us / 1e6,
                (double)sum.settled_us / 1e6, took, sum.restarts, atomic_load(&shared->failures_count));
        for (size_t i = 0; i < SIM_FAULT_COUNT; i++)
                fprintf(out, "%s\t%" PRIu64 "\n", faults[i].name, sum.faults[i]);
        for (size_t i = 0; i < SIM_POINTS_MAX && sum.points[i].name[0]; i++)
                fprintf(out, "%s\t%" PRIu64 "\n", sum.points[i].name, sum.points[i].hits);
        fclose(out);
}

/* ---- many worlds ---- */

/* Jobs that crash leave files behind: they are in a folder of the parent's. */
static char folder[64];

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
        (void)status, (void)type, (void)where;
        return remove(path);
}

static void make_folder(void)
{
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%.20s/simulator.XXXXXX", base && strlen(base) <= 20 ? base : "/tmp");
        ASSENT_ASSERT(mkdtemp(folder) && setenv("TMPDIR", folder, 1) == 0);
}

static void watch_jobs(pid_t pids[JOBS_MAX], double began, double deadline)
{
        const struct timespec pause = {.tv_nsec = 50000000};
        double told = began, interval = isatty(2) ? 1 : 30;
        unsigned named = 0;
        for (unsigned running = arguments.jobs; running > 0;) {
                int status;
                pid_t pid = waitpid(-1, &status, WNOHANG);
                if (pid <= 0)
                        nanosleep(&pause, NULL);
                for (unsigned i = 0; pid > 0 && i < arguments.jobs; i++) {
                        if (pids[i] != pid)
                                continue;
                        bool crashed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
                        if (crashed)
                                bury_job(&shared->jobs[i], status);
                        if (crashed && !atomic_load(&shared->stop) && atomic_load(&shared->failures_count) < FAILURES_MAX)
                                pids[i] = start_job(&shared->jobs[i], deadline);
                        else
                                running--;
                }
                if (seconds() - told >= interval) {
                        told = seconds();
                        tell_progress(told - began);
                        for (; named < FAILURES_MAX && shared->failures[named].text[0] && !arguments.bugs; named++)
                                fprintf(stderr, "%sseed %" PRIu64 " failed: %s\n", isatty(2) ? "\n" : "",
                                        shared->failures[named].seed, shared->failures[named].text);
                }
        }
}

static int run_worlds(void)
{
        pid_t pids[JOBS_MAX];
        double began = seconds(), deadline = began + (arguments.budget_s ? arguments.budget_s : 1e9);
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ASSENT_ASSERT(shared != MAP_FAILED);
        atomic_store(&shared->next, arguments.from);
        make_folder();
        for (unsigned i = 0; i < arguments.jobs; i++)
                pids[i] = start_job(&shared->jobs[i], deadline);
        watch_jobs(pids, began, deadline);
        nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        if (isatty(2))
                fputc('\n', stderr);
        double took = seconds() - began;
        if (arguments.counts)
                write_counts(took);
        return tell_end(took);
}

/* ---- the program ---- */

static int tell_stories(int argc, char **argv)
{
        return sim_stories(argc > 1 ? argv[1] : NULL);
}

static const char help[] =
        "simulator [--seed N] [--narrate] [--transactions N] [--verify]      one world; --verify runs it twice and compares\n"
        "simulator --seeds COUNT [--from N] [--transactions N] [--jobs N]    many worlds, on all processors\n"
        "    --budget SECONDS  begin no world after that       --require-all  fail if a kind of fault never happened\n"
        "    --counts FILE     how often each thing happened    --tap          report for a test runner\n"
        "    --bugs            end with the first violation, told in one line\n"
        "    --ignore NAME     the invariant of that name may be broken\n"
        "simulator stories [NAME]                                            the worlds with a name\n"
        "simulator matrix [POINT [CASE]]                                     every crash point, once and twice\n";

static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
} programs[] = {
        {"matrix", sim_matrix},
        {"stories", tell_stories},
};

static uint64_t number(const char *text)
{
        char *end;
        errno = 0;
        uint64_t value = strtoull(text, &end, 10);
        if (errno || *end || end == text || *text == '-') {
                fprintf(stderr, "simulator: %s is not a number\n", text);
                exit(2);
        }
        return value;
}

static void parse(int argc, char **argv)
{
        enum {
                SEED = 1, SEEDS, FROM, TRANSACTIONS, JOBS, BUDGET, COUNTS, IGNORE, NARRATE, VERIFY, BUGS, TAP, REQUIRE_ALL,
                HELP
        };
        static const struct option options[] = {
                {"seed", 1, NULL, SEED},       {"seeds", 1, NULL, SEEDS},   {"from", 1, NULL, FROM},
                {"jobs", 1, NULL, JOBS},       {"budget", 1, NULL, BUDGET}, {"transactions", 1, NULL, TRANSACTIONS},
                {"counts", 1, NULL, COUNTS},   {"bugs", 0, NULL, BUGS},     {"narrate", 0, NULL, NARRATE},
                {"verify", 0, NULL, VERIFY},   {"tap", 0, NULL, TAP},       {"require-all", 0, NULL, REQUIRE_ALL},
                {"help", 0, NULL, HELP},       {"ignore", 1, NULL, IGNORE}, {0},
        };
        for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
                uint64_t value = option >= SEED && option <= BUDGET ? number(optarg) : 0;
                switch (option) {
                case SEED: arguments.seed = value; break;
                case SEEDS: arguments.seeds = value; break;
                case FROM: arguments.from = value; break;
                case TRANSACTIONS: arguments.transactions = (unsigned)value; break;
                case JOBS: arguments.jobs = value < JOBS_MAX ? (unsigned)value : JOBS_MAX; break;
                case BUDGET: arguments.budget_s = (unsigned)value; break;
                case COUNTS: arguments.counts = optarg; break;
                case IGNORE: sim_ignored = optarg; break;
                case NARRATE: arguments.narrate = true; break;
                case VERIFY: arguments.verify = true; break;
                case BUGS: arguments.bugs = true; break;
                case TAP: arguments.tap = true; break;
                case REQUIRE_ALL: arguments.require_all = true; break;
                case HELP: fputs(help, stdout); exit(0);
                default: exit(2); /* getopt has said why */
                }
        }
        if (optind < argc) {
                fprintf(stderr, "simulator: what is %s?\n", argv[optind]);
                exit(2);
        }
        if (!arguments.jobs)
                arguments.jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
        if (arguments.jobs > JOBS_MAX)
                arguments.jobs = JOBS_MAX;
}

int main(int argc, char **argv)
{
        /* What one world gives back the next one takes: the kernel need not clear it again. */
        mallopt(M_MMAP_THRESHOLD, 1 << 25);
        mallopt(M_TRIM_THRESHOLD, 1 << 30);
        for (size_t i = 0; argc > 1 && i < sizeof programs / sizeof *programs; i++)
                if (strcmp(argv[1], programs[i].name) == 0)
                        return programs[i].run(argc - 1, argv + 1);
        parse(argc, argv);
        return arguments.seeds ? run_worlds() : tell_world();
}
