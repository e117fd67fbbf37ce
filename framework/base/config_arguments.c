/* config_arguments.c: the command line that all programs share. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <assent/log.h>

#include "base/config_private.h"
#include "base/nearest.h"
#include "base/panic.h"

#define FLAGS_MAX   64
#define EXIT_USAGE  2
#define GO_ON       (-1)
#define OPTION_BASE 1000 /* getopt's value of flag i is OPTION_BASE + i: no character has it */

enum { FLAG_CONFIG, FLAG_SET, FLAG_HELP, FLAG_HELP_CONFIG, FLAG_VERSION, FLAG_KEYS };

/* The first rows stand in the order of the enumeration above; all others set a key. */
static const struct assent_flag common[] = {
    [FLAG_CONFIG] = {"config", "FILE", NULL,
                     "read a properties file; may be repeated, later ones win"},
    [FLAG_SET] = {"set", "KEY=VALUE", NULL, "set one key; may be repeated"},
    [FLAG_HELP] = {"help", NULL, NULL, "print this and exit (also -h)"},
    [FLAG_HELP_CONFIG] = {"help-config", NULL, NULL,
                          "print every key with its default and bounds and exit"},
    [FLAG_VERSION] = {"version", NULL, NULL, "print the version and exit"},
    [FLAG_KEYS] = {"brokers", "LIST", "assent.brokers", "Kafka brokers: host:port,host:port"},
    {"prefix", "NAME", "assent.prefix", "first part of every topic and group name"},
    {"db", "FILE", "assent.db", "SQLite file"},
    {"lanes", "LIST", "assent.lanes", "lanes to work on: 0-3,7 or all or subscribe"},
    {"log-level", "LEVEL", "assent.log_level", "error, warn, info or debug"},
    {"log-format", "FORMAT", "assent.log_format", "logfmt or json"},
};
#define COMMON_COUNT (sizeof common / sizeof *common)

struct command_line {
        struct assent_config *config;
        int argc;
        char **argv;
        const char *program; /* argv[0] without its folder */
        const char *synopsis, *description;
        const struct assent_flag *flags; /* the program's own */
        size_t flags_count;
        struct option options[COMMON_COUNT + FLAGS_MAX + 1];
};

static const struct assent_flag *flag_at(const struct command_line *line, size_t i)
{
        ASSENT_ASSERT(i < COMMON_COUNT + line->flags_count);
        return i < COMMON_COUNT ? &common[i] : &line->flags[i - COMMON_COUNT];
}

static void line_init(struct command_line *line)
{
        ASSENT_ASSERT(line->argc > 0);
        const char *slash = strrchr(line->argv[0], '/');
        line->program = slash != NULL ? slash + 1 : line->argv[0];
        while (line->flags != NULL && line->flags[line->flags_count].name != NULL)
                line->flags_count++;
        ASSENT_ASSERT(line->flags_count <= FLAGS_MAX);
        for (size_t i = 0; i < COMMON_COUNT + line->flags_count; i++) {
                const struct assent_flag *flag = flag_at(line, i);
                for (size_t j = 0; j < i; j++) /* getopt would never find the second */
                        ASSENT_ASSERT(strcmp(flag->name, flag_at(line, j)->name) != 0);
                line->options[i] = (struct option){
                    .name = flag->name,
                    .has_arg = flag->value_name != NULL ? required_argument : no_argument,
                    .val = OPTION_BASE + (int)i};
        }
}

static void print_flag(const struct assent_flag *flag)
{
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", flag->name, flag->value_name != NULL ? " " : "",
                 flag->value_name != NULL ? flag->value_name : "");
        printf("  %-22s %s\n", left, flag->help);
}

static void print_help(const struct command_line *line)
{
        printf("Usage: %s %s\n\n%s\n\n", line->program, line->synopsis, line->description);
        printf("Examples of configuration:\n"
               "  %s --config assent.properties …\n"
               "  %s --brokers localhost:9092 --prefix shop --set assent.window_ms=120000 …\n"
               "  ASSENT_BROKERS=localhost:9092 ASSENT_LOG_FORMAT=json %s …\n",
               line->program, line->program, line->program);
        printf("\nOptions:\n");
        for (size_t i = 0; i < line->flags_count; i++)
                print_flag(&line->flags[i]);
        for (size_t i = 0; i < COMMON_COUNT; i++)
                print_flag(&common[i]);
        printf("\nA later place wins: $ASSENT_CONFIG, --config files, the environment, options.\n");
}

static void print_line(void *context, const char *text)
{
        fprintf(context, "%s\n", text);
}

/* Exit status 0, unless what was asked for could not be written. */
static int printed(void)
{
        return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
}

__attribute__((format(printf, 2, 3))) static int usage_error(const struct command_line *line,
                                                             const char *format, ...)
{
        char text[512];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        fprintf(stderr, "%s: %s\n%s --help lists all options\n", line->program, text,
                line->program);
        return EXIT_USAGE;
}

static int config_error(const struct command_line *line)
{
        fprintf(stderr, "%s: %s\n", line->program, assent_config_errmsg(line->config));
        return EXIT_USAGE;
}

/* The argument that getopt has just read as an option: it stands before the value, unless the value
 * is a part of it. */
static const char *element_read(const struct command_line *line)
{
        ASSENT_ASSERT(optind >= 1 && optind <= line->argc);
        bool value_apart = optarg != NULL && optarg == line->argv[optind - 1];
        return line->argv[optind - (value_apart ? 2 : 1)];
}

static int refuse_option(const struct command_line *line, int what)
{
        char shown[ASSENT_CONFIG_SHOWN_SIZE];
        if (optopt > 0 && optopt < OPTION_BASE) { /* one letter, maybe of several behind one dash */
                char letter = (char)optopt;
                return usage_error(line, "unknown option -%s",
                                   assent_config_shown(&letter, 1, shown));
        }
        const char *element = element_read(line);
        size_t size = strcspn(element, "=");
        assent_config_shown(element, size, shown);
        if (what == ':')
                return usage_error(line, "%s needs a value", shown);
        if (optopt >= OPTION_BASE)
                return usage_error(line, "%s takes no value", shown);
        struct assent_nearest nearest;
        char name[ASSENT_CONFIG_SHOWN_SIZE];
        snprintf(name, sizeof name, "%s", shown + strspn(shown, "-"));
        assent_nearest_init(&nearest, name);
        for (size_t i = 0; i < COMMON_COUNT + line->flags_count; i++)
                assent_nearest_offer(&nearest, flag_at(line, i)->name);
        if (nearest.best != NULL)
                return usage_error(line, "unknown option %s; did you mean --%s?", shown,
                                   nearest.best);
        return usage_error(line, "unknown option %s", shown);
}

/* getopt_long takes any unambiguous beginning for the whole; a script that relies on that breaks
 * when an option is added. */
static bool abbreviated(const struct command_line *line, const struct assent_flag *flag)
{
        const char *element = element_read(line);
        return strncmp(element, "--", 2) == 0 && strcspn(element, "=") != 2 + strlen(flag->name);
}

/* The next option's number, '?' or ':' for a wrong one, -1 at the end. */
static int next_option(struct command_line *line)
{
        int option = getopt_long(line->argc, line->argv, ":h", line->options, NULL);
        return option == 'h' ? OPTION_BASE + FLAG_HELP : option;
}

/* First pass: nothing is loaded before the whole line is known to be right. */
static int check_options(struct command_line *line)
{
        int option;
        opterr = 0;
        optind = 0; /* glibc: forget an earlier scan */
        while ((option = next_option(line)) != -1) {
                if (option < OPTION_BASE)
                        return refuse_option(line, option);
                const struct assent_flag *flag = flag_at(line, (size_t)(option - OPTION_BASE));
                if (abbreviated(line, flag))
                        return usage_error(line, "options are not abbreviated; write --%s",
                                           flag->name);
                switch (option - OPTION_BASE) {
                case FLAG_HELP:
                        print_help(line);
                        return printed();
                case FLAG_HELP_CONFIG:
                        assent_config_reference(print_line, stdout);
                        return printed();
                case FLAG_VERSION:
                        printf("%s %s\n", line->program, ASSENT_VERSION);
                        return printed();
                default:
                        break;
                }
        }
        return GO_ON;
}

/* A later pass: the files first (`files`), or all that sets a key. */
static int apply_options(struct command_line *line, bool files)
{
        int option;
        optind = 0;
        while ((option = next_option(line)) != -1) {
                ASSENT_ASSERT(option >= OPTION_BASE);
                size_t number = (size_t)(option - OPTION_BASE);
                if (files != (number == FLAG_CONFIG))
                        continue;
                const struct assent_flag *flag = flag_at(line, number);
                enum assent_err err;
                if (number == FLAG_CONFIG) {
                        err = assent_config_load(line->config, optarg);
                } else if (number == FLAG_SET) {
                        err = assent_config_set(line->config, optarg, "--set");
                } else {
                        char origin[64];
                        snprintf(origin, sizeof origin, "--%s", flag->name);
                        err = assent_config_put(line->config, flag->key,
                                                flag->value_name != NULL ? optarg : "true", origin);
                }
                if (err != ASSENT_OK)
                        return config_error(line);
        }
        return GO_ON;
}

static void set_up_logging(const struct command_line *line)
{
        int level = assent_config_word_index("error|warn|info|debug",
                                             assent_config_get(line->config, "assent.log_level"));
        int format = assent_config_word_index("logfmt|json",
                                              assent_config_get(line->config, "assent.log_format"));
        ASSENT_ASSERT(level >= 0 && format >= 0); /* the table has judged them */
        assent_log_setup((enum assent_log_level)level, (enum assent_log_format)format,
                         line->program);
}

int assent_config_arguments(struct assent_config *config, int argc, char **argv,
                            const char *synopsis, const char *description,
                            const struct assent_flag *flags, int *first_argument)
{
        struct command_line line = {.config = config,
                                    .argc = argc,
                                    .argv = argv,
                                    .synopsis = synopsis,
                                    .description = description,
                                    .flags = flags};
        line_init(&line);
        int status = check_options(&line);
        if (status != GO_ON)
                return status;

        const char *path = getenv("ASSENT_CONFIG");
        if (path != NULL && path[0] != '\0' && assent_config_load(config, path) != ASSENT_OK)
                return config_error(&line);
        status = apply_options(&line, true);
        if (status != GO_ON)
                return status;
        if (assent_config_environment(config, environ) != ASSENT_OK)
                return config_error(&line);
        status = apply_options(&line, false);
        if (status != GO_ON)
                return status;
        if (assent_config_finish(config) != ASSENT_OK)
                return config_error(&line);
        set_up_logging(&line);
        *first_argument = optind;
        return GO_ON;
}
