/* assentctl: what an operator does by hand. The noun and the verb come first, then options. */
#include <assent/admin.h>
#include <assent/client.h>

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "words.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNKNOWN = 4, EXIT_NO_BROKER = 5, GO_ON = -1 };
enum { SERVICES_MAX = 250, ARGUMENTS_MAX = 1024 };

struct ctl {
        struct assent_config *config;
        const char *argument; /* the positional one, where the command has one */
        struct assent_uuid txn_id;
        const char *services[SERVICES_MAX];
        size_t services_count;
        const char *events[SERVICES_MAX]; /* topics of events */
        size_t events_count;
        struct assent_admin *admin;
        struct assent_client *client;
        bool output_lost; /* nobody reads standard output any more, or it is full */
};

struct command {
        const char *noun, *verb; /* a verb NULL: the noun alone */
        const char *argument;    /* the name of the positional argument, or NULL */
        const char *summary;
        const char *description; /* examples first */
        const struct assent_flag *flags;
        int (*run)(struct ctl *ctl);
};

static struct ctl *interrupted;

static void interrupt(int signal_number)
{
        (void)signal_number; /* the handler is reset: a second Ctrl-C ends the process */
        if (interrupted->admin)
                assent_admin_stop(interrupted->admin);
        if (interrupted->client)
                assent_client_stop(interrupted->client);
}

__attribute__((format(printf, 1, 2))) static int usage(const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        fputs("assentctl: ", stderr);
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
        return EXIT_USAGE;
}

static int exit_status_of(enum assent_err err)
{
        switch (err) {
        case ASSENT_OK:
                return EXIT_DONE;
        case ASSENT_E_BROKER:
                return EXIT_NO_BROKER;
        case ASSENT_TIMED_OUT:
        case ASSENT_AGAIN:
                return EXIT_UNKNOWN;
        case ASSENT_E_CONFIG:
        case ASSENT_E_ARGUMENT:
        case ASSENT_E_LIMIT:
                return EXIT_USAGE;
        default:
                return EXIT_FAILED;
        }
}

static int report(enum assent_err err, const char *errmsg)
{
        if (err != ASSENT_OK)
                fprintf(stderr, "assentctl: %s\n", errmsg);
        return exit_status_of(err);
}

static int admin_report(const struct ctl *ctl, enum assent_err err)
{
        return report(err, ctl->admin ? assent_admin_errmsg(ctl->admin) : assent_err_text(err));
}

static int client_report(const struct ctl *ctl, enum assent_err err)
{
        return report(err, ctl->client ? assent_client_errmsg(ctl->client) : assent_err_text(err));
}

static void print_line(void *context, const char *text)
{
        struct ctl *ctl = context;
        if (ctl->output_lost)
                return;
        /* Line by line, so that `tail --follow` shows each record as it comes. */
        if (puts(text) == EOF || fflush(stdout) != 0) {
                ctl->output_lost = true;
                assent_admin_stop(ctl->admin);
        }
}

/* --- topics --- */

#define SERVICE_FLAG {"service", "NAME", "app.service", "a service whose topics belong to the prefix; repeat for each"}

static const struct assent_flag plan_flags[] = {SERVICE_FLAG, {NULL, NULL, NULL, NULL}};
static const struct assent_flag apply_flags[] = {
    SERVICE_FLAG,
    {"events", "TOPIC", "app.events", "a topic that a service publishes events to, \"order.events\"; repeat for each"},
    {NULL, NULL, NULL, NULL},
};

static int run_plan(struct ctl *ctl)
{
        enum assent_err err = assent_admin_open(ctl->config, &ctl->admin);
        if (err == ASSENT_OK)
                err = assent_admin_topics_plan(ctl->admin, ctl->services, ctl->services_count, print_line, ctl);
        return admin_report(ctl, err);
}

static int run_apply(struct ctl *ctl)
{
        enum assent_err err = assent_admin_open(ctl->config, &ctl->admin);
        if (err == ASSENT_OK)
                err = assent_admin_topics_apply(ctl->admin, ctl->services, ctl->services_count, print_line, ctl);
        for (size_t i = 0; i < ctl->events_count && err == ASSENT_OK; i++)
                err = assent_admin_topics_events(ctl->admin, ctl->events[i], print_line, ctl);
        if (err == ASSENT_OK)
                fprintf(stderr, "All topics are there and checked. Next: start assent-coordinator "
                                "and the services.\n");
        return admin_report(ctl, err);
}

static int run_describe(struct ctl *ctl)
{
        enum assent_err err = assent_admin_open(ctl->config, &ctl->admin);
        if (err == ASSENT_OK)
                err = assent_admin_topics_describe(ctl->admin, print_line, ctl);
        return admin_report(ctl, err);
}

/* --- txn --- */

static const struct assent_flag cancel_flags[] = {
    {"reason", "TEXT", "app.reason", "why, told to whoever waits for the outcome (required)"},
    {NULL, NULL, NULL, NULL},
};

static const struct assent_flag inquire_flags[] = {
    {"wait", "DURATION", "app.wait", "how long a coordinator may take to answer: 0s, 500ms, 2m (default 5s)"},
    {NULL, NULL, NULL, NULL},
};

static int run_show(struct ctl *ctl)
{
        enum assent_err err = assent_admin_open(ctl->config, &ctl->admin);
        if (err == ASSENT_OK)
                err = assent_admin_txn_show(ctl->admin, &ctl->txn_id, print_line, ctl);
        return admin_report(ctl, err);
}

static enum assent_err open_client(struct ctl *ctl)
{
        struct assent_client_options options = ASSENT_CLIENT_OPTIONS_INIT;
        options.config = ctl->config;
        return assent_client_open(&options, &ctl->client);
}

static int run_cancel(struct ctl *ctl)
{
        const char *reason = assent_config_get(ctl->config, "app.reason");
        if (!reason || !*reason)
                return usage("txn cancel needs --reason TEXT: it is recorded, and told to whoever waits");
        const int timeout_ms = (int)assent_config_int(ctl->config, "assent.start_timeout_ms");
        enum assent_err err = open_client(ctl);
        if (err == ASSENT_OK)
                err = assent_client_cancel(ctl->client, &ctl->txn_id, reason, timeout_ms);
        if (err == ASSENT_OK)
                fprintf(stderr,
                        "The cancel is in the lane. It aborts the transaction unless all votes "
                        "were in before it.\n"
                        "What came of it:  assentctl txn inquire %s\n",
                        ctl->argument);
        return client_report(ctl, err);
}

static void print_notice(const struct assent_notice *notice)
{
        char reason[ASSENT_REASON_SIZE_MAX + 1];
        const unsigned char *bytes = notice->reason.data;
        size_t size = notice->reason.size < ASSENT_REASON_SIZE_MAX ? notice->reason.size : ASSENT_REASON_SIZE_MAX;
        for (size_t i = 0; i < size; i++) /* foreign text on a terminal */
                reason[i] = (char)(bytes[i] < 0x20 || bytes[i] == 0x7f ? '?' : bytes[i]);
        reason[size] = '\0';
        printf("%s%s%s\n", assent_outcome_name(notice->outcome), size ? ": " : "", reason);
}

/* First the coordinator, who is asked for a decision that stands; then the lane itself, which needs
 * nobody (C3). */
static int run_inquire(struct ctl *ctl)
{
        int64_t wait_ms = 5000;
        const char *value = assent_config_get(ctl->config, "app.wait");
        if (value && !word_duration(value, &wait_ms))
                return usage("--wait %.60s: write 0s, 500ms, 10s or 2m (at most an hour)", value);
        struct assent_notice notice;
        enum assent_err err = open_client(ctl);
        if (err == ASSENT_OK)
                err = assent_client_inquire(ctl->client, &ctl->txn_id,
                                            (int)assent_config_int(ctl->config, "assent.start_timeout_ms"));
        if (err == ASSENT_OK) {
                err = assent_client_await(ctl->client, &ctl->txn_id, (int)wait_ms, &notice);
                if (err == ASSENT_TIMED_OUT) {
                        fprintf(stderr, "No coordinator has answered within %.1f s; evaluating the lane.\n",
                                (double)wait_ms / 1000);
                        err = assent_client_evaluate(ctl->client, &ctl->txn_id, &notice);
                }
        }
        if (err == ASSENT_OK)
                print_notice(&notice);
        return client_report(ctl, err);
}

/* --- tail --- */

static const struct assent_flag tail_flags[] = {
    {"lane", "N", "app.lane", "one lane only"},
    {"from", "POSITION", "app.from", "an offset, beginning (default) or end"},
    {"count", "N", "app.count", "stop after so many records (also -n N)"},
    {"follow", NULL, "app.follow", "wait for more"},
    {NULL, NULL, NULL, NULL},
};

static int run_tail(struct ctl *ctl)
{
        struct assent_tail tail = ASSENT_TAIL_INIT;
        int64_t number;
        const char *value;
        tail.topic = ctl->argument;
        if ((value = assent_config_get(ctl->config, "app.lane"))) {
                if (!word_number(value, 0, ASSENT_LANES_MAX - 1, &number))
                        return usage("--lane %s: must be a number from 0 to %d", value, ASSENT_LANES_MAX - 1);
                tail.lane = (int32_t)number;
        }
        if ((value = assent_config_get(ctl->config, "app.from")) && !word_position(value, &tail.from))
                return usage("--from %s: must be an offset, beginning or end", value);
        if ((value = assent_config_get(ctl->config, "app.count"))) {
                if (!word_number(value, 1, INT64_MAX, &number))
                        return usage("--count %s: must be a number from 1 on", value);
                tail.count = (uint64_t)number;
        }
        tail.follow = assent_config_get(ctl->config, "app.follow") != NULL;
        enum assent_err err = assent_admin_open(ctl->config, &ctl->admin);
        if (err == ASSENT_OK)
                err = assent_admin_tail(ctl->admin, &tail, print_line, ctl);
        return admin_report(ctl, err);
}

/* --- config --- */

static void print_key(void *context, const char *key, const char *value, const char *origin)
{
        (void)context;
        char left[160];
        snprintf(left, sizeof left, "%s=%s", key, value);
        if (strlen(key) + strlen(value) + 2 > sizeof left)
                printf("%s=%s  (%s)\n", key, value, origin);
        else
                printf("%-50s  (%s)\n", left, origin);
}

static int run_config(struct ctl *ctl)
{
        assent_config_each(ctl->config, print_key, NULL);
        return EXIT_DONE;
}

/* --- the table --- */

static const struct command commands[] = {
    {"topics", "plan", NULL, "what apply would create, keep or refuse",
     "Says what `topics apply` would do, and changes nothing.\n\nExample:\n"
     "  assentctl topics plan --service order --service payment",
     plan_flags, run_plan},
    {"topics", "apply", NULL, "create the topics of a prefix and record its settings",
     "Creates the topics that are missing, with their dead-letter topics; appends the SETTINGS "
     "record to lanes\n"
     "that have none; checks everything. Never changes or deletes a topic; may be "
     "repeated.\n\nExamples:\n"
     "  assentctl topics apply --service order --service payment --service inventory --events order.events\n"
     "  assentctl topics apply --set assent.replication=1 --set assent.min_insync_replicas=1 --set "
     "assent.dev=true",
     apply_flags, run_apply},
    {"topics", "describe", NULL, "topics, their settings, and the lanes of the inbox",
     "Shows each topic of the prefix with the settings that matter and a verdict, then each lane "
     "of the inbox.\n\nExample:\n"
     "  assentctl topics describe --prefix shop",
     NULL, run_describe},
    {"txn", "show", "ID", "a transaction's story, message by message",
     "Replays the transaction's lane and tells what happened to it, and where it stands. Needs no "
     "coordinator.\n\nExample:\n"
     "  assentctl txn show 0193502e-8f3c-7c1e-9f6e-2b9d3a1c4f55",
     NULL, run_show},
    {"txn", "inquire", "ID", "the outcome, asked for or evaluated",
     "Asks the coordinator for the outcome; when none answers, evaluates the lane. Exit status 4: "
     "not decided yet.\n\nExample:\n"
     "  assentctl txn inquire 0193502e-8f3c-7c1e-9f6e-2b9d3a1c4f55 --wait 2s",
     inquire_flags, run_inquire},
    {"txn", "cancel", "ID", "ask for an abort before all votes are in",
     "Asks for an abort. It has an effect only before all votes are in.\n\nExample:\n"
     "  assentctl txn cancel 0193502e-8f3c-7c1e-9f6e-2b9d3a1c4f55 --reason 'customer left'",
     cancel_flags, run_cancel},
    {"tail", NULL, "TOPIC", "records of a topic, decoded, as lines of JSON",
     "Prints records decoded, one line of JSON each. TOPIC is inbox, outcomes, SERVICE.commands, "
     "one of these with\n"
     "-dlt behind it, or a full name.\n\nExamples:\n"
     "  assentctl tail inbox --lane 2 --from 1200 -n 10\n"
     "  assentctl tail outcomes --from end --follow\n"
     "  assentctl tail payment.commands | jq 'select(.message.phase == \"ABORT\")'",
     tail_flags, run_tail},
    {"config", "show", NULL, "every key with its value and where it came from",
     "Shows the configuration as a program with the same options would see it. Secrets are "
     "masked.\n\nExample:\n"
     "  assentctl config show --config assent.properties",
     NULL, run_config},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_commands(FILE *out, const char *noun)
{
        for (size_t i = 0; i < COMMANDS; i++) {
                const struct command *command = &commands[i];
                if (noun && strcmp(noun, command->noun) != 0)
                        continue;
                char left[64];
                snprintf(left, sizeof left, "%s%s%s%s%s", command->noun, command->verb ? " " : "",
                         command->verb ? command->verb : "", command->argument ? " " : "",
                         command->argument ? command->argument : "");
                fprintf(out, "  %-18s %s\n", left, command->summary);
        }
}

/* What was asked for and could not be written is a failure. */
static int written(void)
{
        return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_DONE : EXIT_FAILED;
}

static int print_help(FILE *out)
{
        fputs("Usage: assentctl COMMAND [OPTION]…\n"
              "\nMakes and shows the topics of a prefix, and tells what became of a transaction.\n"
              "\nExamples:\n"
              "  assentctl topics apply --brokers localhost:9092 --service order --service payment\n"
              "  assentctl txn show 0193502e-8f3c-7c1e-9f6e-2b9d3a1c4f55\n"
              "  assentctl tail inbox --from end --follow\n"
              "\nCommands:\n",
              out);
        print_commands(out, NULL);
        fputs("  help [COMMAND]     this, or one command's options (also COMMAND --help)\n"
              "\nEvery command takes --brokers LIST, --prefix NAME, --config FILE, --set KEY=VALUE "
              "and the environment (ASSENT_…).\n"
              "Exit status: 0 done, 1 failed, 2 usage, 4 outcome unknown, 5 no broker.\n",
              out);
        return out == stderr ? EXIT_USAGE : written();
}

/* "did you mean": nouns when `noun` is NULL, else the verbs of that noun. */
static int refuse_word(const char *word, const char *noun)
{
        const char *nearest = NULL;
        size_t nearest_distance = 3; /* farther away is not a slip of the finger */
        for (size_t i = 0; i < COMMANDS; i++) {
                const char *candidate = noun ? commands[i].verb : commands[i].noun;
                if (!candidate || (noun && strcmp(noun, commands[i].noun) != 0))
                        continue;
                const size_t distance = word_distance(word, candidate);
                if (distance < nearest_distance && distance < strlen(candidate)) {
                        nearest = candidate;
                        nearest_distance = distance;
                }
        }
        const char *space = noun ? " " : "";
        if (nearest)
                return usage("unknown command %s%s%.60s; did you mean %s%s%s?", noun ? noun : "", space, word,
                             noun ? noun : "", space, nearest);
        usage("unknown command %s%s%.60s; there are:", noun ? noun : "", space, word);
        print_commands(stderr, noun);
        return EXIT_USAGE;
}

/* The command that words[0] and words[1] name; *taken: how many words. NULL: *status says how to
 * leave. */
static const struct command *find_command(int count, char **words, int *taken, int *status)
{
        bool noun_known = false;
        for (size_t i = 0; i < COMMANDS && count > 0; i++) {
                if (strcmp(words[0], commands[i].noun) != 0)
                        continue;
                noun_known = true;
                *taken = commands[i].verb ? 2 : 1;
                if (!commands[i].verb || (count > 1 && strcmp(words[1], commands[i].verb) == 0))
                        return &commands[i];
        }
        if (noun_known && (count == 1 || words[1][0] == '-')) {
                const bool asked = count > 1 && (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0);
                print_commands(asked ? stdout : stderr, words[0]);
                *status = asked ? written() : EXIT_USAGE;
        } else {
                *status = noun_known ? refuse_word(words[1], words[0]) : refuse_word(words[0], NULL);
        }
        return NULL;
}

/* Reads the arguments of a command; argv[0] is the program. GO_ON, or the exit status. */
static int read_arguments(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
        /* For whoever reads help and complaints the command's words belong to the program's name. */
        char name[64], synopsis[64], number[] = "--count";
        snprintf(name, sizeof name, "assentctl %s%s%s", command->noun, command->verb ? " " : "",
                 command->verb ? command->verb : "");
        snprintf(synopsis, sizeof synopsis, "%s%s[OPTION]…", command->argument ? command->argument : "",
                 command->argument ? " " : "");
        argv[0] = name;
        const bool topics = command->flags == plan_flags || command->flags == apply_flags;
        if (topics && !words_take(&argc, argv, "--service", ctl->services, SERVICES_MAX, &ctl->services_count))
                return usage("more than %d services", SERVICES_MAX);
        if (command->flags == apply_flags &&
            !words_take(&argc, argv, "--events", ctl->events, SERVICES_MAX, &ctl->events_count))
                return usage("more than %d topics of events", SERVICES_MAX);
        for (int i = 1; i + 1 < argc && command->flags == tail_flags; i++)
                if (strcmp(argv[i], "-n") == 0)
                        argv[i] = number;
        int first = argc;
        const int status =
            assent_config_arguments(ctl->config, argc, argv, synopsis, command->description, command->flags, &first);
        if (status != GO_ON)
                return status;
        const int wanted = command->argument ? 1 : 0;
        if (argc - first < wanted)
                return usage("%s is missing: %s %s", command->argument, name, synopsis);
        if (argc - first > wanted)
                return usage("%.60s: unexpected argument: %s %s", argv[first + wanted], name, synopsis);
        if (wanted)
                ctl->argument = argv[first];
        if (!wanted || strcmp(command->argument, "ID") != 0)
                return GO_ON;
        if (assent_uuid_parse(ctl->argument, strlen(ctl->argument), &ctl->txn_id) != ASSENT_OK ||
            !assent_txn_id_valid(&ctl->txn_id))
                return usage("%.60s: not a transaction id (a UUID of version 7)", ctl->argument);
        return GO_ON;
}

static int run_command(const struct command *command, int argc, char **argv)
{
        struct ctl *ctl = calloc(1, sizeof *ctl);
        if (!ctl || assent_config_open(&ctl->config) != ASSENT_OK) {
                free(ctl);
                return report(ASSENT_E_MEMORY, "out of memory");
        }
        assent_config_set(ctl->config, "assent.log_level=warn", "default of assentctl");
        interrupted = ctl;
        const struct sigaction stop = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};
        const struct sigaction ignore = {.sa_handler = SIG_IGN};
        sigaction(SIGPIPE, &ignore, NULL);
        int status = read_arguments(ctl, command, argc, argv);
        if (status == GO_ON) {
                sigaction(SIGINT, &stop, NULL);
                sigaction(SIGTERM, &stop, NULL);
                status = command->run(ctl);
        }
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        assent_client_close(ctl->client);
        assent_admin_close(ctl->admin);
        assent_config_close(ctl->config);
        const bool lost = ctl->output_lost || written() != EXIT_DONE;
        free(ctl);
        return lost && status == EXIT_DONE ? EXIT_FAILED : status;
}

int main(int argc, char **argv)
{
        if (argc < 2)
                return print_help(stderr);
        char *words[ARGUMENTS_MAX + 1], help[] = "--help";
        int count = 0, taken = 0, status = 0;
        for (int i = 1; i < argc && count < ARGUMENTS_MAX; i++)
                words[count++] = argv[i];
        const bool asked = strcmp(words[0], "help") == 0;
        if ((asked && count == 1) || strcmp(words[0], "--help") == 0 || strcmp(words[0], "-h") == 0)
                return print_help(stdout);
        if (asked) { /* help txn show = txn show --help */
                memmove(words, words + 1, (size_t)(count - 1) * sizeof *words);
                words[count - 1] = help;
        }
        if (strcmp(words[0], "--version") == 0) {
                printf("assentctl %s\n", ASSENT_VERSION);
                return written();
        }
        if (words[0][0] == '-')
                return usage("the command comes first: assentctl NOUN VERB [OPTION]…; assentctl "
                             "help lists them");
        const struct command *command = find_command(count, words, &taken, &status);
        if (!command)
                return status;
        /* argv[0] and what follows the command's words. */
        words[taken - 1] = argv[0];
        words[count] = NULL;
        return run_command(command, count - taken + 1, words + taken - 1);
}
