/* assent-begin: begins one transaction, waits, and says what came of it. */
#include <assent/admin.h>
#include <assent/client.h>

#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "request.h"

enum {
        EXIT_COMMITTED = 0,
        EXIT_FAILED = 1,
        EXIT_USAGE = 2,
        EXIT_ABORTED = 3,
        EXIT_UNKNOWN = 4,
        EXIT_NO_BROKER = 5,
        EXIT_REJECTED = 6
};

static const char synopsis[] = "(--branch SERVICE:KIND:PAYLOAD… | --file FILE) [OPTION]…";
static const char description[] =
    "Begins one transaction, prints its id, waits, and prints the outcome; the timeline goes to "
    "standard error.\n"
    "\n"
    "Examples:\n"
    "  assent-begin --branch 'order:place:{\"order_id\":\"o-1\",\"customer\":\"alice\",\"total_cents\":9900,"
    "\"items\":[{\"sku\":\"lamp\",\"quantity\":1}]}' \\\n"
    "               --branch 'payment:charge:{\"account\":\"alice\",\"amount_cents\":9900}' \\\n"
    "               --branch 'inventory:reserve:{\"items\":[{\"sku\":\"lamp\",\"quantity\":1}]}'\n"
    "  assent-begin --file tx.json --protocol 3pc --timeout 5s --completed\n"
    "  assent-begin --file tx.json --txn 0193502e-8f3c-7c1e-9f6e-2b9d3a1c4f55      (the same "
    "transaction again)\n"
    "  assent-begin --file tx.json --no-wait --quiet\n"
    "\n"
    "FILE holds {\"protocol\": \"2PC\", \"timeout_ms\": 10000, \"branches\": [{\"service\": …, "
    "\"kind\": …, \"payload\": any JSON}, …]}.\n"
    "Exit status: 0 committed, 3 aborted, 4 outcome unknown, 5 no broker, 6 rejected, 2 usage, 1 "
    "anything else.";

static const struct assent_flag flags[] = {
    {"branch", "SERVICE:KIND:PAYLOAD", "app.branch", "one participant's share; repeat for each"},
    {"file", "FILE", "app.file", "the transaction as JSON; - is standard input"},
    {"protocol", "2pc|3pc", "app.protocol", "default 2pc"},
    {"timeout", "DURATION", "app.timeout", "for all votes to arrive: 500ms, 10s, 2m (default assent.timeout_ms)"},
    {"txn", "ID", "app.txn", "repeat a transaction under its id, instead of a new one"},
    {"wait", "DURATION", "app.wait",
     "how long to wait to be told the outcome before the lane is evaluated (default 30s)"},
    {"no-wait", NULL, "app.no_wait", "return as soon as the broker holds the begin"},
    {"completed", NULL, "app.completed", "wait until every participant has confirmed"},
    {"json", NULL, "app.json", "print one JSON object instead of lines"},
    {"quiet", NULL, "app.quiet", "no timeline"},
    {NULL, NULL, NULL, NULL},
};

struct program {
        struct assent_config *config;
        struct request request;
        struct assent_begin begin;
        char id[ASSENT_UUID_TEXT_SIZE];
        uint32_t wait_ms;
        double waited_s;
        bool no_wait, json, quiet;
        struct assent_client *client;
        bool interrupted;
        bool begun; /* the broker has reported what became of the begin: */
        enum assent_err begun_err;
        /* What the outcomes topic said of it. */
        enum assent_outcome decision, completion; /* 0: nothing yet */
        bool rejected;
        char reason[ASSENT_REASON_SIZE_MAX + 1];
        int64_t decided_at_ms;
        json_t *timeline;
};

static struct assent_client *interrupted_client;

static void interrupt(int signal_number)
{
        (void)signal_number;
        assent_client_stop(interrupted_client); /* the handler is reset: a second Ctrl-C ends the process */
}

static int64_t now_ms(void)
{
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool flag_set(const struct assent_config *config, const char *key)
{
        const char *value = assent_config_get(config, key);
        return value && strcmp(value, "true") == 0;
}

__attribute__((format(printf, 1, 2))) static int usage(const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        fputs("assent-begin: ", stderr);
        vfprintf(stderr, format, arguments);
        fputs("\nassent-begin --help shows examples\n", stderr);
        va_end(arguments);
        return EXIT_USAGE;
}

static int exit_status_of(enum assent_err err)
{
        if (err == ASSENT_E_BROKER)
                return EXIT_NO_BROKER;
        if (err == ASSENT_TIMED_OUT || err == ASSENT_AGAIN)
                return EXIT_UNKNOWN;
        return err == ASSENT_E_CONFIG || err == ASSENT_E_ARGUMENT || err == ASSENT_E_LIMIT ? EXIT_USAGE : EXIT_FAILED;
}

/* Takes every --branch VALUE and --branch=VALUE out of the arguments: a configuration key holds
 * only one value. */
static bool take_branches(struct request *request, int *argc, char **argv)
{
        int kept = 1;
        bool ok = true;
        for (int i = 1; i < *argc; i++) {
                if (strcmp(argv[i], "--branch") == 0 && i + 1 < *argc)
                        ok = ok && request_add_branch(request, argv[++i]);
                else if (strncmp(argv[i], "--branch=", 9) == 0)
                        ok = ok && request_add_branch(request, argv[i] + 9);
                else
                        argv[kept++] = argv[i];
        }
        *argc = kept;
        argv[kept] = NULL;
        return ok;
}

/* Flags win over the file, the file over the configuration. Returns 0, or the exit status. */
static int take_request(struct program *program)
{
        const struct assent_config *config = program->config;
        struct request *request = &program->request;
        const char *file = assent_config_get(config, "app.file"), *value;
        if (file && request->branches_count > 0)
                return usage("give the branches by --branch or by --file, not both");
        if (file && !request_read(request, file))
                return usage("%s", request->errmsg);
        if (request->branches_count == 0)
                return usage("nothing to begin: give --branch SERVICE:KIND:PAYLOAD or --file FILE");
        if ((value = assent_config_get(config, "app.protocol")) && !request_protocol(value, &request->protocol))
                return usage("--protocol %s: must be 2pc or 3pc", value);
        if ((value = assent_config_get(config, "app.timeout")) && !request_duration(value, &request->timeout_ms))
                return usage("--timeout %s: write 500ms, 10s or 2m (1 ms to 1 h)", value);
        program->wait_ms = 30000;
        if ((value = assent_config_get(config, "app.wait")) && !request_duration(value, &program->wait_ms))
                return usage("--wait %s: write 500ms, 10s or 2m (1 ms to 1 h)", value);
        program->no_wait = flag_set(config, "app.no_wait");
        program->json = flag_set(config, "app.json");
        program->quiet = flag_set(config, "app.quiet");
        request->notify_completed |= flag_set(config, "app.completed");
        return 0;
}

static int take_txn_id(struct program *program)
{
        struct assent_uuid *txn_id = &program->begin.txn_id;
        const char *value = assent_config_get(program->config, "app.txn");
        if (!value)
                assent_txn_id_new(txn_id);
        else if (assent_uuid_parse(value, strlen(value), txn_id) != ASSENT_OK || !assent_txn_id_valid(txn_id))
                return usage("--txn %.60s: not a transaction id (a UUID of version 7)", value);
        assent_uuid_format(txn_id, program->id);
        return 0;
}

static int take_options(struct program *program)
{
        const struct request *request = &program->request;
        struct assent_begin *begin = &program->begin;
        *begin = (struct assent_begin)ASSENT_BEGIN_INIT;
        int status = take_request(program);
        if (status == 0)
                status = take_txn_id(program);
        if (status != 0)
                return status;
        if (request->protocol)
                begin->protocol = request->protocol;
        begin->timeout_ms = request->timeout_ms ? request->timeout_ms
                                                : (uint32_t)assent_config_int(program->config, "assent.timeout_ms");
        begin->notify_completed = request->notify_completed;
        begin->branches = request->branches;
        begin->branches_count = request->branches_count;
        return 0;
}

/* Foreign text for a terminal: no control characters. */
static void keep_reason(struct program *program, struct assent_bytes reason)
{
        const unsigned char *bytes = reason.data;
        size_t size = reason.size < ASSENT_REASON_SIZE_MAX ? reason.size : ASSENT_REASON_SIZE_MAX;
        for (size_t i = 0; i < size; i++)
                program->reason[i] = (char)(bytes[i] < 0x20 || bytes[i] == 0x7f ? '?' : bytes[i]);
        program->reason[size] = '\0';
}

static void note_outcome(void *context, const struct assent_notice *notice)
{
        struct program *program = context;
        if (memcmp(&notice->txn_id, &program->begin.txn_id, sizeof notice->txn_id) != 0)
                return;
        switch (notice->outcome) {
        case ASSENT_COMPLETED:
        case ASSENT_UNCONFIRMED:
                program->completion = notice->outcome;
                return;
        case ASSENT_REJECTED:
                program->rejected = true;
                break;
        case ASSENT_COMMITTED:
        case ASSENT_ABORTED:
                program->decision = notice->outcome;
                break;
        }
        program->decided_at_ms = notice->decided_at_ms;
        keep_reason(program, notice->reason);
}

static void note_begun(void *context, const struct assent_uuid *txn_id, enum assent_err err)
{
        struct program *program = context;
        (void)txn_id; /* it is the only one */
        program->begun = true;
        program->begun_err = err;
}

static bool outcome_known(const struct program *program)
{
        if (program->completion)
                return true;
        return program->decision ? !program->begin.notify_completed : program->rejected;
}

static bool begin_known(const struct program *program)
{
        return program->begun;
}

/* Serves the client until `known`, the time is over or Ctrl-C; all three are ASSENT_OK. */
static enum assent_err wait_until(struct program *program, bool (*known)(const struct program *program))
{
        const int64_t started_ms = now_ms(), until_ms = started_ms + program->wait_ms;
        enum assent_err err = ASSENT_OK;
        int64_t left_ms;
        while (err == ASSENT_OK && !known(program) && (left_ms = until_ms - now_ms()) > 0)
                err = assent_client_step(program->client, left_ms < 100 ? (int)left_ms : 100);
        program->waited_s = (double)(now_ms() - started_ms) / 1000;
        program->interrupted = err == ASSENT_AGAIN;
        return program->interrupted ? ASSENT_OK : err;
}

/* C3: nobody has told the outcome, so the lane is asked itself, which needs no coordinator. */
static void evaluate(struct program *program)
{
        struct assent_notice notice;
        fprintf(stderr, "assent-begin: %s within %.1f s; evaluating the lane\n",
                program->begun ? "no coordinator has told an outcome" : "no broker has confirmed the begin",
                program->waited_s);
        const enum assent_err err = assent_client_evaluate(program->client, &program->begin.txn_id, &notice);
        if (err == ASSENT_OK)
                note_outcome(program, &notice);
        else
                fprintf(stderr, "assent-begin: %s\n", assent_client_errmsg(program->client));
}

static void print_line(void *context, const char *text)
{
        struct program *program = context;
        if (program->json)
                json_array_append_new(program->timeline, json_string(text));
        else
                fprintf(stderr, "%s\n", text);
}

/* The lane's own story, as assentctl txn show tells it. */
static void tell_timeline(struct program *program)
{
        struct assent_admin *admin = NULL;
        enum assent_err err = assent_admin_open(program->config, &admin);
        if (err == ASSENT_OK)
                err = assent_admin_txn_show(admin, &program->begin.txn_id, print_line, program);
        if (err != ASSENT_OK)
                fprintf(stderr, "assent-begin: no timeline: %s\n",
                        admin ? assent_admin_errmsg(admin) : assent_err_text(err));
        assent_admin_close(admin);
}

struct verdict {
        const char *word;
        int exit_status;
};

static struct verdict verdict_of(const struct program *program)
{
        if (program->decision == ASSENT_ABORTED)
                return (struct verdict){"ABORTED", EXIT_ABORTED};
        if (program->decision == ASSENT_COMMITTED)
                return (struct verdict){"COMMITTED", EXIT_COMMITTED};
        if (program->completion) /* the decision was told before this program asked */
                return (struct verdict){assent_outcome_name(program->completion), EXIT_COMMITTED};
        if (program->rejected)
                return (struct verdict){"REJECTED", EXIT_REJECTED};
        return (struct verdict){"UNKNOWN", EXIT_UNKNOWN};
}

/* What the word alone does not say, and what to do next. */
static void explain(const struct program *program, struct verdict verdict)
{
        const char *id = program->id;
        if (verdict.exit_status == EXIT_UNKNOWN)
                fprintf(stderr,
                        "No outcome after %.1f s. This says nothing about the transaction: it may "
                        "still commit or abort.\n"
                        "Ask again:  assentctl txn inquire %s\n"
                        "Its story:  assentctl txn show %s\n",
                        program->waited_s, id, id);
        else if (verdict.exit_status == EXIT_REJECTED && strstr(program->reason, "STALE"))
                fprintf(stderr,
                        "The id is too old for a begin to be accepted, and the coordinator no "
                        "longer remembers it. If it was\n"
                        "begun before, it had an outcome then:  assentctl txn show %s\n"
                        "To begin anew, leave --txn away.\n",
                        id);
        else if (verdict.exit_status == EXIT_REJECTED && strstr(program->reason, "CONFLICT"))
                fprintf(stderr,
                        "Something else was begun under this id: other branches, payloads, protocol or options. It is "
                        "not touched:\n"
                        "  assentctl txn show %s\n",
                        id);
        else if (verdict.exit_status == EXIT_REJECTED)
                fprintf(stderr,
                        "This begin was refused; an earlier copy under the same id, if any, is not "
                        "touched by that:\n"
                        "  assentctl txn show %s\n",
                        id);
        else if (program->begin.notify_completed && !program->completion)
                fprintf(stderr,
                        "Decided, but not every participant has confirmed after %.1f s:  "
                        "assentctl txn show %s\n",
                        program->waited_s, id);
        else if (program->completion == ASSENT_UNCONFIRMED)
                fprintf(stderr, "Decided, but a participant did not confirm in time; it will apply "
                                "the decision when it is back.\n");
}

static int print_json(const struct program *program, struct verdict verdict)
{
        json_t *object = json_pack("{s:s, s:s}", "txn_id", program->id, "outcome", verdict.word);
        if (program->reason[0])
                json_object_set_new(object, "reason", json_string(program->reason));
        if (program->decision)
                json_object_set_new(object, "decided_at_ms", json_integer(program->decided_at_ms));
        if (program->completion)
                json_object_set_new(object, "completion", json_string(assent_outcome_name(program->completion)));
        if (json_array_size(program->timeline) > 0)
                json_object_set(object, "timeline", program->timeline);
        int failed = json_dumpf(object, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF || fflush(stdout) != 0;
        json_decref(object);
        return failed;
}

static int report(struct program *program)
{
        const struct verdict verdict = verdict_of(program);
        if (!program->json)
                printf("%s%s%s%s%s\n", verdict.word, program->reason[0] ? ": " : "", program->reason,
                       program->decision && program->completion ? "; " : "",
                       program->decision && program->completion ? assent_outcome_name(program->completion) : "");
        if (fflush(stdout) != 0)
                return EXIT_FAILED;
        if (!program->quiet && program->begun && verdict.exit_status != EXIT_REJECTED)
                tell_timeline(program);
        if (program->json && print_json(program, verdict))
                return EXIT_FAILED;
        explain(program, verdict);
        return verdict.exit_status;
}

static int client_failed(const struct program *program, enum assent_err err)
{
        fprintf(stderr, "assent-begin: %s\n",
                program->client ? assent_client_errmsg(program->client) : assent_err_text(err));
        return exit_status_of(err);
}

static int open_client(struct program *program)
{
        struct assent_client_options options = ASSENT_CLIENT_OPTIONS_INIT;
        options.config = program->config;
        options.outcome = note_outcome;
        options.began = note_begun;
        options.context = program;
        const enum assent_err err = assent_client_open(&options, &program->client);
        if (err != ASSENT_OK)
                return client_failed(program, err);
        interrupted_client = program->client;
        const struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        return 0;
}

/* Queues the begin and prints its id. In this order, so that what is refused has no id that somebody would ask about;
 * and before anything is waited for, so that whatever happens then, the same transaction can be asked about. */
static int send_begin(struct program *program)
{
        const enum assent_err err = assent_client_send(program->client, &program->begin);
        if (err != ASSENT_OK)
                return client_failed(program, err);
        if (!program->json)
                printf("%s\n", program->id);
        if (fflush(stdout) == 0)
                return 0;
        fprintf(stderr, "assent-begin: standard output is lost; the transaction is %s\n", program->id);
        return EXIT_FAILED;
}

static int begin_and_wait(struct program *program)
{
        int status = open_client(program);
        if (status == 0)
                status = send_begin(program);
        if (status != 0)
                return status;
        enum assent_err err = wait_until(program, begin_known);
        if (err == ASSENT_OK && program->begun_err != ASSENT_OK) {
                fprintf(stderr, "assent-begin: the broker refused the begin for good: %s\n",
                        assent_err_text(program->begun_err));
                return exit_status_of(program->begun_err);
        }
        if (err == ASSENT_OK && program->begun && program->no_wait)
                return program->json ? print_json(program, (struct verdict){"BEGUN", 0}) : EXIT_COMMITTED;
        if (err == ASSENT_OK && program->begun)
                err = wait_until(program, outcome_known);
        if (err != ASSENT_OK)
                return client_failed(program, err);
        if (!program->interrupted && verdict_of(program).exit_status == EXIT_UNKNOWN)
                evaluate(program);
        return report(program);
}

int main(int argc, char **argv)
{
        struct program program = {.timeline = json_array()};
        request_init(&program.request);
        if (!program.timeline || assent_config_open(&program.config) != ASSENT_OK) {
                fputs("assent-begin: out of memory\n", stderr);
                return EXIT_FAILED;
        }
        assent_config_set(program.config, "assent.log_level=warn", "default of assent-begin");
        int first = 0, status;
        if (!take_branches(&program.request, &argc, argv))
                status = usage("%s", program.request.errmsg);
        else
                status = assent_config_arguments(program.config, argc, argv, synopsis, description, flags, &first);
        if (status == -1 && first < argc)
                status = usage("%s: unexpected argument; options begin with --", argv[first]);
        if (status == -1)
                status = take_options(&program);
        if (status == 0 && program.begin.branches)
                status = begin_and_wait(&program);
        assent_client_close(program.client);
        request_close(&program.request);
        json_decref(program.timeline);
        assent_config_close(program.config);
        return status;
}
