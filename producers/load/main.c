/* assent-load: runs transactions, closed loop or on a schedule, tells how fast they were decided, and with databases
 * given proves by the audit that nothing was lost or done twice. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "assertion.h"
#include "load.h"
#include "plot.h"
#include "readback.h"

#define AUDIT_WAIT_MS 30000 /* and for what is read back to settle */

enum { EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_UNKNOWN = 4, EXIT_NO_BROKER = 5, EXIT_REJECTED = 6 };

static const char description[] =
    "Runs transactions through the sample services, or yours, and tells how fast they were decided. Given databases, "
    "it\n"
    "audits them at the end as assent-audit does; each DB is the database of another service than the three.\n"
    "\n"
    "Latencies are from the begin, as scheduled if there is a --rate, to the outcome; they are told up to 0.8 % too "
    "high.\n"
    "A service of yours gets the kind \"load\", if none is given, and the payload {\"key\": 17}, with \"refuse\": true "
    "beside\n"
    "it for what --abort-ratio asks for.\n"
    "\n"
    "With --mode order it places orders as the order service's clients do: each with an Idempotency-Key of its own, sent\n"
    "again with it after a lost connection, 202, 409, 429 and 5xx, as Retry-After says. In the end it reads every order\n"
    "back, conditionally until it is settled: it must be there, be what was sent and answered, and no version goes back.\n"
    "\n"
    "Examples:\n"
    "  assent-load -n 10000 --in-flight 256\n"
    "  assent-load -n 3000 --abort-ratio 0.05 --duplicate-ratio 0.05 --payment payment.db --inventory inventory.db\n"
    "  assent-load --rate 500 --arrivals poisson --warm-up 5s --duration 1m --assert 'p99<50ms' --save 500.json\n"
    "  assent-load --mode order --url http://127.0.0.1:8080 -n 5000 --abort-ratio 0.05 --duplicate-ratio 0.05\n"
    "  assent-load plot 500.json 1000.json -o latency.svg\n"
    "\n"
    "CONDITION is METRIC, one of < <= > >= ==, and a number with its unit: 'p99.9 <= 1s', 'tx_per_s>400', "
    "'aborted==0';\n"
    "the metrics are the numbers of --json.\n"
    "Exit status: 0 every outcome known and right, 1 a violation, a broken --assert or a failure, 2 usage, 4 outcomes\n"
    "unknown, 5 no broker or order service, 6 begins or orders rejected.";

struct program {
        struct settings settings;
        struct assertion assertions[ASSERTIONS_MAX];
        size_t assertions_count;
        struct load load;
        struct audit_report audit;
        bool audited; /* the report is there */
        struct read_back read;
        bool read_back; /* and this one */
        double metrics[METRICS];
};

static struct load *running; /* for the signal handler */

static void on_signal(int number)
{
        (void)number;
        if (running)
                load_stop(running);
}

static int usage(const char *text)
{
        fprintf(stderr, "assent-load: %s\nassent-load --help lists all options\n", text);
        return EXIT_USAGE;
}

/* --- what is asked for -------------------------------------------------------------------------------------------- */

static bool add_assertion(struct program *program, const char *text, char errmsg[512])
{
        if (program->assertions_count < ASSERTIONS_MAX)
                return assertion_parse(text, &program->assertions[program->assertions_count++], errmsg);
        snprintf(errmsg, 512, "--assert '%.60s': more than %d of them", text, ASSERTIONS_MAX);
        return false;
}

/* Takes every --assert out of the arguments: a configuration key holds only one value. */
static bool take_assertions(struct program *program, int *argc, char **argv, char errmsg[512])
{
        int kept = 1;
        bool ok = true;

        for (int i = 1; i < *argc; i++) {
                if (strcmp(argv[i], "--assert") == 0 && i + 1 < *argc)
                        ok = ok && add_assertion(program, argv[++i], errmsg);
                else if (strncmp(argv[i], "--assert=", 9) == 0)
                        ok = ok && add_assertion(program, argv[i] + 9, errmsg);
                else
                        argv[kept++] = argv[i];
        }
        *argc = kept;
        argv[kept] = NULL;
        return ok;
}

/* What will not be known cannot be asserted: said now, and not when the load has run. */
static bool check_assertions(const struct program *program, char errmsg[512])
{
        for (size_t i = 0; i < program->assertions_count; i++) {
                const struct assertion *assertion = &program->assertions[i];
                const struct metric_kind *kind = &metric_kinds[assertion->metric];
                const bool audited = program->settings.audited || (program->settings.url && !program->settings.no_audit);
                if ((kind->needs == NEEDS_AUDIT && !audited) ||
                    (kind->needs == NEEDS_RATE && program->settings.rate == 0)) {
                        snprintf(errmsg, 512, "--assert '%.60s': %s is known only %s", assertion->text, kind->name,
                                 kind->needs == NEEDS_AUDIT
                                     ? "to the audit: name the databases with --order, --payment, --inventory"
                                     : "with --rate");
                        return false;
                }
        }
        return true;
}

/* What cannot be written is said at once too. What stands there is not lost to a load that then fails. */
static bool check_output(const char *flag, const char *path, char errmsg[512])
{
        FILE *file = path ? fopen(path, "a") : NULL;

        if (file)
                fclose(file);
        else if (path)
                snprintf(errmsg, 512, "--%s %.300s: %s", flag, path, strerror(errno));
        return file || !path;
}

static int prepare(struct program *program, const struct assent_config *config, const char *const *others,
                   size_t others_count)
{
        struct settings *settings = &program->settings;
        const char *configured = assent_config_get(config, "app.assert");
        char errmsg[512];

        if (!settings_read(config, others, others_count, settings))
                return usage(settings->errmsg);
        if ((configured && !add_assertion(program, configured, errmsg)) || !check_assertions(program, errmsg) ||
            !check_output("csv", settings->csv, errmsg) || !check_output("save", settings->save, errmsg))
                return usage(errmsg);
        return 0;
}

/* --- the report --------------------------------------------------------------------------------------------------- */

/* What was never begun would have been the slowest. */
static bool unmeasured(const struct program *program, enum metric metric)
{
        return metric_kinds[metric].unit == UNIT_MS && metric != METRIC_LAG_MAX && program->load.results.not_begun > 0;
}

static bool holds(const struct program *program, const struct assertion *assertion)
{
        return !unmeasured(program, assertion->metric) && assertion_holds(assertion, program->metrics[assertion->metric]);
}

static json_t *assertions_json(const struct program *program)
{
        json_t *list = json_array();

        for (size_t i = 0; i < program->assertions_count; i++) {
                const struct assertion *assertion = &program->assertions[i];
                json_array_append_new(list, json_pack("{s:s, s:b}", "assert", assertion->text, "holds",
                                                      holds(program, assertion)));
        }
        return list;
}

/* What all accounts began with is what they have. */
static json_t *money_json(const struct program *program)
{
        const struct audit_database *payment = &program->audit.databases[AUDIT_PAYMENT];

        return program->audited && payment->audited ? json_boolean(payment->opening == payment->now) : json_null();
}

static json_t *orders_json(const struct program *program)
{
        const struct order *order = &program->load.order;
        const struct read_back *read = &program->read;
        json_t *faults = json_array();

        for (uint64_t i = 0; i < order->faults.count && i < ORDER_FAULTS_SHOWN_MAX; i++)
                json_array_append_new(faults, json_string(order->faults.shown[i]));
        return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "retries", (json_int_t)order->retries, "replays",
                         (json_int_t)order->replays, "read_back", (json_int_t)read->orders, "not_modified",
                         (json_int_t)read->not_modified, "late", (json_int_t)read->late, "late_committed",
                         (json_int_t)read->late_committed, "unsettled", (json_int_t)read->unsettled, "violations",
                         (json_int_t)order->faults.count, "faults", faults);
}

static void print_orders(const struct program *program, FILE *out)
{
        const struct order *order = &program->load.order;
        const struct read_back *read = &program->read;

        fprintf(out, "  run id %s: %" PRIu64 " requests were sent again, %" PRIu64 " answers were replays\n",
                program->settings.run_id, order->retries, order->replays);
        if (program->read_back)
                fprintf(out,
                        "  read back: %" PRIu64 " orders, %" PRIu64 " times not modified, %" PRIu64 " settled late, %" PRIu64
                        " not settled; %" PRIu64 " violations\n",
                        read->orders, read->not_modified, read->late, read->unsettled, order->faults.count);
        if (read->unsettled && *read->unread_why)
                fprintf(out, "  the last that was not read: %s\n", read->unread_why);
        for (uint64_t i = 0; i < order->faults.count && i < ORDER_FAULTS_SHOWN_MAX; i++)
                fprintf(out, "  violation: %s\n", order->faults.shown[i]);
}

static bool close_output(const char *flag, FILE *file)
{
        const bool failed = !file || ferror(file) != 0;

        if ((!file || fclose(file) == 0) && !failed)
                return true;
        fprintf(stderr, "assent-load: --%s: not all could be written: %s\n", flag, strerror(errno));
        return false;
}

static bool write_json(const struct program *program, const struct assent_config *config)
{
        const struct results *results = &program->load.results;
        json_t *object = results_json(results, program->metrics);
        bool written = true;

        json_object_set_new(object, "money_conserved", money_json(program));
        if (program->settings.url)
                json_object_set_new(object, "orders", orders_json(program));
        json_object_set_new(object, "settings", settings_json(&program->settings, config));
        json_object_set_new(object, "assertions", assertions_json(program));
        if (program->settings.json) {
                json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
                putchar('\n');
        }
        if (program->settings.save) {
                FILE *file = fopen(program->settings.save, "w");
                results_json_more(results, object);
                if (file) {
                        json_dumpf(object, file, JSON_COMPACT | JSON_REAL_PRECISION(9));
                        fputc('\n', file);
                }
                written = close_output("save", file);
        }
        json_decref(object);
        return written;
}

static bool write_csv(const struct program *program)
{
        if (!program->settings.csv)
                return true;
        FILE *file = fopen(program->settings.csv, "w");
        if (file)
                results_csv(&program->load.results, file);
        return close_output("csv", file);
}

static size_t broken_assertions(const struct program *program)
{
        size_t broken = 0;

        for (size_t i = 0; i < program->assertions_count; i++) {
                const struct assertion *assertion = &program->assertions[i];
                const double value = program->metrics[assertion->metric];
                const char *name = metric_kinds[assertion->metric].name;
                if (holds(program, assertion))
                        continue;
                broken++;
                fflush(stdout);
                if (unmeasured(program, assertion->metric))
                        fprintf(stderr, "assent-load: broken: %s: %s is not known: begins of the schedule were never made\n",
                                assertion->text, name);
                else if (isnan(value))
                        fprintf(stderr, "assent-load: broken: %s: %s is not known\n", assertion->text, name);
                else
                        fprintf(stderr, "assent-load: broken: %s: %s is %.6g\n", assertion->text, name, value);
        }
        return broken;
}

/* The orders whose end nobody knows. */
static uint64_t orders_in_doubt(const struct program *program)
{
        const struct results *results = &program->load.results;
        const uint64_t unknown = results->measured.ended[ENDED_UNKNOWN] + results->warm_up.ended[ENDED_UNKNOWN];

        return unknown > program->read.late ? unknown - program->read.late : 0;
}

static void judge(struct program *program)
{
        const struct settings *settings = &program->settings;
        double *metrics = program->metrics;

        program->read_back = settings->url && !settings->no_audit;
        if (program->read_back)
                read_back(&program->load.order, AUDIT_WAIT_MS, &program->load.stopped, &program->read);
        program->audited = settings->audited && audit_wait(&settings->databases, AUDIT_WAIT_MS, &program->audit);
        results_metrics(&program->load.results, settings, program->audited ? &program->audit : NULL, metrics);
        if (!program->read_back)
                return;
        if (!settings->audited) {
                metrics[METRIC_IN_DOUBT] = (double)orders_in_doubt(program);
                metrics[METRIC_VIOLATIONS] = 0;
        }
        metrics[METRIC_VIOLATIONS] += (double)program->load.order.faults.count;
}

static int report(struct program *program, const struct assent_config *config)
{
        const struct settings *settings = &program->settings;
        const struct tally *measured = &program->load.results.measured, *warm_up = &program->load.results.warm_up;

        judge(program);
        bool failed = settings->audited && !program->audited;
        if (!settings->json)
                results_print(&program->load.results, settings, program->metrics);
        if (settings->url && (!settings->json || program->load.order.faults.count))
                print_orders(program, settings->json ? stderr : stdout);
        failed |= program->load.order.faults.count > 0;
        failed |= !write_json(program, config);
        failed |= !write_csv(program);
        if (program->audited)
                audit_print(&program->audit, settings->json ? stderr : stdout);
        else if (settings->audited)
                fprintf(stderr, "assent-load: audit: %s\n", program->audit.errmsg);
        failed |= program->audited && program->audit.violations;
        failed |= broken_assertions(program) > 0;
        failed |= fflush(stdout) != 0;
        if (failed)
                return EXIT_WRONG;
        if (orders_in_doubt(program) || program->read.unsettled)
                return EXIT_UNKNOWN;
        return measured->ended[ENDED_REJECTED] || warm_up->ended[ENDED_REJECTED] ? EXIT_REJECTED : 0;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static int run(struct program *program, const struct assent_config *config)
{
        if (!load_open(&program->load, &program->settings)) {
                fprintf(stderr, "assent-load: %s\n", assent_err_text(ASSENT_E_MEMORY));
                return EXIT_WRONG;
        }
        if (program->settings.url && !program->settings.quiet)
                fprintf(stderr, "assent-load: run id %s\n", program->settings.run_id);
        running = &program->load;
        const enum assent_err err = load_run(&program->load, config);
        if (err == ASSENT_OK) {
                program->load.stopped = 0; /* from now on it is the reading back that is stopped */
                const int status = report(program, config);
                running = NULL;
                return status;
        }
        running = NULL;
        fprintf(stderr, "assent-load: %s\n", load_errmsg(&program->load, err));
        if (program->settings.url)
                return err == ASSENT_E_BROKER ? EXIT_NO_BROKER : err == ASSENT_E_ARGUMENT ? EXIT_USAGE : EXIT_WRONG;
        if (err == ASSENT_E_LIMIT) /* the same for all that would be begun */
                fputs("assent-load: lower --payload-size or --participants\n", stderr);
        return err == ASSENT_E_BROKER ? EXIT_NO_BROKER : err == ASSENT_E_LIMIT ? EXIT_USAGE : EXIT_WRONG;
}

int main(int argc, char **argv)
{
        static struct program program;
        struct assent_config *config;
        char errmsg[512];
        int first, status;

        if (argc > 1 && strcmp(argv[1], "plot") == 0)
                return plot_main(argc - 1, argv + 1);
        for (int i = 1; i < argc; i++)
                if (strcmp(argv[i], "-n") == 0)
                        argv[i] = (char *)(uintptr_t) "--count"; /* getopt_long only reads it */
        if (!take_assertions(&program, &argc, argv, errmsg))
                return usage(errmsg);
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
        if (assent_config_open(&config) != ASSENT_OK)
                return EXIT_WRONG;
        assent_config_set(config, "assent.log_level=warn", "default of assent-load");
        status = assent_config_arguments(config, argc, argv, "[OPTION]… [DB]…, or plot FILE… -o FILE.svg", description,
                                         settings_flags, &first);
        if (status < 0) {
                status = prepare(&program, config, (const char *const *)argv + first, (size_t)(argc - first));
                if (status == 0)
                        status = run(&program, config);
        }
        load_close(&program.load);
        assent_config_close(config);
        return status;
}
