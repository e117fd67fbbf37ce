/* Where values come from: files, the environment, the password's file, the command line. */
#include "config_files.h"

#include <stdio.h>
#include <sys/mman.h>

#include "base/config_table.h"

Test(config_file, blanks_comments_and_line_ends_are_no_part_of_values)
{
        struct assent_config *config = config_new();
        cr_assert_eq(load_text(config, "# comment\n"
                                       "\n"
                                       "   \t \n"
                                       "  # app.no=1\n"
                                       " app.trim \t=  a b  \n"
                                       "app.equals=a=b=c\n"
                                       "app.hash=a # b\n"
                                       "app.empty=\n"
                                       "app.crlf=x\r\n"
                                       "app.slash=a\\\n"
                                       "app.last=no newline"),
                     ASSENT_OK, "%s", assent_config_errmsg(config));
        cr_assert_str_eq(assent_config_get(config, "app.trim"), "a b");
        cr_assert_str_eq(assent_config_get(config, "app.equals"), "a=b=c");
        cr_assert_str_eq(assent_config_get(config, "app.hash"), "a # b");
        cr_assert_str_eq(assent_config_get(config, "app.empty"), "");
        cr_assert_str_eq(assent_config_get(config, "app.crlf"), "x");
        cr_assert_str_eq(assent_config_get(config, "app.slash"), "a\\", "no continuation lines");
        cr_assert_str_eq(assent_config_get(config, "app.last"), "no newline");
        cr_assert_null(assent_config_get(config, "app.no"));
        assent_config_close(config);
}

Test(config_file, empty_file_is_fine_and_later_lines_win)
{
        struct assent_config *config = config_new();
        cr_assert_eq(load_text(config, ""), ASSENT_OK);
        cr_assert_eq(load_text(config, "app.a=1\napp.a=2\n"), ASSENT_OK);
        cr_assert_str_eq(assent_config_get(config, "app.a"), "2");
        const char *origin = assent_config_origin(config, "app.a");
        cr_assert_str_eq(origin + strlen(origin) - 2, ":2");
        cr_assert_eq(strncmp(origin, file_path, strlen(file_path)), 0);
        assent_config_close(config);
}

Test(config_file, error_names_file_and_line)
{
        static const char *const wrong[] = {"app.a=1\n\nassent.dev=maybe\n",
                                            "#\n#\nno assignment\n", "\n\nfoo=1",
                                            "\n\napp.\x01=1\n"};
        struct assent_config *config = config_new();
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                cr_assert_eq(load_text(config, wrong[i]), ASSENT_E_CONFIG);
                char where[100];
                snprintf(where, sizeof where, "%s:3: ", file_path);
                check_errmsg(config, where);
        }
        assent_config_close(config);
}

Test(config_file, nul_bytes_and_escapes_are_refused)
{
        static const char nul[] = "app.a=x\0y\n";
        struct assent_config *config = config_new();
        file_write(nul, sizeof nul - 1, 0600);
        cr_assert_eq(assent_config_load(config, file_path), ASSENT_E_CONFIG);
        file_remove();
        cr_assert_null(assent_config_get(config, "app.a"));
        cr_assert_eq(load_text(config, "app.a=\x1b[31m\n"), ASSENT_E_CONFIG);
        cr_assert_eq(load_text(config, "\xef\xbb\xbf"
                                       "app.a=1\n"),
                     ASSENT_E_CONFIG);
        check_errmsg(config, "\\xef\\xbb\\xbf");
        assent_config_close(config);
}

Test(config_file, missing_file_and_directory_are_refused)
{
        struct assent_config *config = config_new();
        cr_assert_eq(assent_config_load(config, "/nowhere/x.properties"), ASSENT_E_CONFIG);
        check_errmsg(config, "/nowhere/x.properties: cannot be opened: No such file");
        cr_assert_eq(assent_config_load(config, "/tmp"), ASSENT_E_CONFIG);
        check_errmsg(config, "/tmp: cannot be read");
        assent_config_close(config);
}

Test(config_file, line_is_taken_at_the_limit_and_refused_one_past)
{
        struct assent_config *config = config_new();
        static char text[ASSENT_CONFIG_LINE_SIZE_MAX + 10];
        memset(text, ' ', sizeof text);
        memcpy(text, "app.a=1", 7);
        text[ASSENT_CONFIG_LINE_SIZE_MAX] = '\n';
        text[ASSENT_CONFIG_LINE_SIZE_MAX + 1] = '\0';
        cr_assert_eq(load_text(config, text), ASSENT_OK);
        text[ASSENT_CONFIG_LINE_SIZE_MAX] = ' ';
        text[ASSENT_CONFIG_LINE_SIZE_MAX + 1] = '\n';
        text[ASSENT_CONFIG_LINE_SIZE_MAX + 2] = '\0';
        cr_assert_eq(load_text(config, text), ASSENT_E_CONFIG);
        check_errmsg(config, "at most 8192");
        text[0] = '#';
        cr_assert_eq(load_text(config, text), ASSENT_E_CONFIG, "comments are lines too");
        assent_config_close(config);
}

Test(config_file, file_is_taken_at_a_mebibyte_and_refused_one_past)
{
        struct assent_config *config = config_new();
        size_t size = ASSENT_CONFIG_FILE_SIZE_MAX;
        char *text = malloc(size + 1);
        cr_assert_not_null(text);
        memset(text, '\n', size + 1);
        memcpy(text + size - 8, "\napp.a=1", 8);
        file_write(text, size, 0644);
        cr_assert_eq(assent_config_load(config, file_path), ASSENT_OK);
        cr_assert_str_eq(assent_config_get(config, "app.a"), "1");
        file_remove();
        file_write(text, size + 1, 0644);
        cr_assert_eq(assent_config_load(config, file_path), ASSENT_E_CONFIG);
        check_errmsg(config, "at most 1048576 bytes");
        file_remove();
        free(text);
        assent_config_close(config);
}

Test(config_file, secret_in_a_file_that_others_can_read_is_refused)
{
        static const char text[] = "app.a=1\n sasl.password = hush\n";
        static const mode_t open_modes[] = {0640, 0604, 0620, 0601};
        struct assent_config *config = config_new();
        for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
                file_write(text, sizeof text - 1, open_modes[i]);
                cr_assert_eq(assent_config_load(config, file_path), ASSENT_E_CONFIG);
                file_remove();
                check_errmsg(config,
                             ":2: a secret stands in a file that others can read; chmod 600");
                cr_assert_null(assent_config_get(config, "sasl.password"));
        }
        file_write(text, sizeof text - 1, 0600);
        cr_assert_eq(assent_config_load(config, file_path), ASSENT_OK);
        file_remove();
        cr_assert_str_eq(assent_config_get(config, "sasl.password"), "hush");
        assent_config_close(config);
}

Test(config_environment, variables_map_to_both_kinds_of_keys)
{
        struct assent_config *config = config_new();
        char *variables[] = {(char[]){"PATH=/bin"},
                             (char[]){"ASSENT_WINDOW_MS=100000"},
                             (char[]){"ASSENT_MIN_INSYNC_REPLICAS=1"},
                             (char[]){"ASSENT_KAFKA_SASL_USERNAME=me"},
                             (char[]){"ASSENT_KAFKA_QUEUED_MAX_MESSAGES_KBYTES=5"},
                             (char[]){"ASSENT_DB="},
                             (char[]){"ASSENT_CONFIG=/nowhere"},
                             (char[]){"ASSENT_NO_SUCH_THING=1"},
                             (char[]){"ASSENT_window_ms=5"},
                             NULL};
        cr_assert_eq(assent_config_environment(config, variables), ASSENT_OK, "%s",
                     assent_config_errmsg(config));
        cr_assert_eq(assent_config_int(config, "assent.window_ms"), 100000);
        cr_assert_str_eq(assent_config_origin(config, "assent.window_ms"), "ASSENT_WINDOW_MS");
        cr_assert_eq(assent_config_int(config, "assent.min_insync_replicas"), 1);
        cr_assert_str_eq(assent_config_get(config, "sasl.username"), "me");
        cr_assert_str_eq(assent_config_get(config, "queued.max.messages.kbytes"), "5");
        cr_assert_str_eq(assent_config_origin(config, "assent.db"), "ASSENT_DB");
        assent_config_close(config);
}

Test(config_environment, absent_environment_is_empty)
{
        struct assent_config *config = config_new();
        cr_assert_eq(assent_config_environment(config, NULL), ASSENT_OK);
        assent_config_close(config);
}

Test(config_environment, every_key_has_a_variable)
{
        for (size_t i = 0; i < assent_config_keys_count + assent_config_kafka_keys_count; i++) {
                bool kafka = i >= assent_config_keys_count;
                const char *key = kafka ? assent_config_kafka_keys[i - assent_config_keys_count]
                                        : assent_config_keys[i].name;
                char variable[200];
                snprintf(variable, sizeof variable, "%s%s", kafka ? "ASSENT_KAFKA_" : "", key);
                for (char *c = variable; *c != '\0'; c++)
                        *c = *c == '.' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
                const char *found = assent_config_variable_key(variable, strlen(variable));
                cr_assert_not_null(found, "%s", variable);
                cr_assert_str_eq(found, key);
        }
}

Test(config_environment, bad_value_and_denied_key_name_the_variable)
{
        struct assent_config *config = config_new();
        char *bad[] = {(char[]){"ASSENT_DEV=1"}, NULL};
        cr_assert_eq(assent_config_environment(config, bad), ASSENT_E_CONFIG);
        check_errmsg(config, "ASSENT_DEV: assent.dev must be true or false");
        char *denied[] = {(char[]){"ASSENT_KAFKA_ENABLE_AUTO_COMMIT=true"}, NULL};
        cr_assert_eq(assent_config_environment(config, denied), ASSENT_E_CONFIG);
        check_errmsg(config, "ASSENT_KAFKA_ENABLE_AUTO_COMMIT: enable.auto.commit may not be set");
        char *control[] = {(char[]){"ASSENT_DB=a\nb"}, NULL};
        cr_assert_eq(assent_config_environment(config, control), ASSENT_E_CONFIG);
        assent_config_close(config);
}

/* Names a file with these bytes as the password's and finishes. */
static enum assent_err finish_with(struct assent_config *config, const char *bytes, size_t size,
                                   mode_t mode)
{
        char text[100];
        file_write(bytes, size, mode);
        snprintf(text, sizeof text, "assent.sasl_password_file=%s", file_path);
        cr_assert_eq(assent_config_set(config, text, "--set"), ASSENT_OK);
        enum assent_err err = assent_config_finish(config);
        file_remove();
        return err;
}

Test(config_finish, password_file_becomes_the_password)
{
        struct assent_config *config = config_new();
        cr_assert_eq(assent_config_finish(config), ASSENT_OK);
        cr_assert_null(assent_config_get(config, "sasl.password"));
        cr_assert_eq(finish_with(config, "hush hush\r\n", 11, 0600), ASSENT_OK, "%s",
                     assent_config_errmsg(config));
        cr_assert_str_eq(assent_config_get(config, "sasl.password"), "hush hush");
        cr_assert_str_eq(assent_config_origin(config, "sasl.password"),
                         "assent.sasl_password_file");
        cr_assert_eq(finish_with(config, "other", 5, 0400), ASSENT_OK,
                     "a second time, from another file");
        cr_assert_str_eq(assent_config_get(config, "sasl.password"), "other");
        assent_config_close(config);
}

Test(config_finish, password_file_is_refused_unless_private_one_line_and_the_only_source)
{
        struct assent_config *config = config_new();
        cr_assert_eq(finish_with(config, "hush", 4, 0640), ASSENT_E_CONFIG);
        check_errmsg(config, "chmod 600");
        cr_assert_eq(finish_with(config, "hush", 4, 0604), ASSENT_E_CONFIG);
        cr_assert_eq(finish_with(config, "", 0, 0600), ASSENT_E_CONFIG);
        cr_assert_eq(finish_with(config, "\n", 1, 0600), ASSENT_E_CONFIG);
        cr_assert_eq(finish_with(config, "a\nb\n", 4, 0600), ASSENT_E_CONFIG);
        cr_assert_eq(finish_with(config, "a\0b", 3, 0600), ASSENT_E_CONFIG);
        cr_assert_null(assent_config_get(config, "sasl.password"));
        static char big[4098];
        memset(big, 'p', sizeof big);
        cr_assert_eq(finish_with(config, big, 4096, 0600), ASSENT_OK);
        cr_assert_eq(finish_with(config, big, 4097, 0600), ASSENT_E_CONFIG);
        assent_config_set(config, "sasl.password=x", "file:1");
        cr_assert_eq(finish_with(config, "hush", 4, 0600), ASSENT_E_CONFIG);
        check_errmsg(config, "both sasl.password (file:1) and assent.sasl_password_file");
        assent_config_close(config);
}

static const struct assent_flag own_flags[] = {
    {"seed", "FILE", "app.seed", "what to put in"}, {"fast", NULL, "app.fast", "no waiting"}, {0}};
static char output[1 << 16];
static int first_argument;

/* Parses with stdout and stderr together in `output`. */
static int arguments(struct assent_config *config, char *const *words)
{
        static char program[] = "/usr/bin/assent-x";
        static char *argv[17]; /* one of its own: getopt sorts it */
        int argc = 1;
        for (argv[0] = program; words[argc - 1] != NULL; argc++) {
                cr_assert_lt(argc, 16);
                argv[argc] = words[argc - 1];
        }
        argv[argc] = NULL;
        int file = memfd_create("output", 0);
        int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
        fflush(stdout);
        dup2(file, STDOUT_FILENO);
        dup2(file, STDERR_FILENO);
        int status = assent_config_arguments(config, argc, argv, "[options] TOPIC", "Tries.",
                                             own_flags, &first_argument);
        fflush(stdout);
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        ssize_t size = pread(file, output, sizeof output - 1, 0);
        output[size > 0 ? size : 0] = '\0';
        close(out), close(err), close(file);
        for (int i = 0; status == -1 && i < argc - first_argument; i++)
                snprintf(output + i * 32, 32, "%s", argv[first_argument + i]);
        return status;
}
#define parse(config, ...) arguments(config, (char *[]){__VA_ARGS__, NULL})

static void no_variables(void)
{
        clearenv();
}

Test(config_arguments, sources_win_in_order_and_positional_arguments_remain, .init = no_variables)
{
        static const char text[] = "app.a=file\napp.b=file\nassent.prefix=file\nassent.db=file\n";
        struct assent_config *config = config_new();
        file_write(text, sizeof text - 1, 0644);
        setenv("ASSENT_PREFIX", "variable", 1);
        setenv("ASSENT_DB", "variable", 1);
        cr_assert_eq(parse(config, "one", "--db=flag", "--set", "app.b=flag", "--config", file_path,
                           "two", "--fast", "--", "--three"),
                     -1);
        file_remove();
        cr_assert_str_eq(assent_config_get(config, "app.a"), "file");
        cr_assert_str_eq(assent_config_get(config, "app.b"), "flag");
        cr_assert_str_eq(assent_config_origin(config, "app.b"), "--set");
        cr_assert_str_eq(assent_config_get(config, "assent.prefix"), "variable");
        cr_assert_str_eq(assent_config_get(config, "assent.db"), "flag");
        cr_assert_str_eq(assent_config_origin(config, "assent.db"), "--db");
        cr_assert_str_eq(assent_config_get(config, "app.fast"), "true");
        cr_assert_null(assent_config_get(config, "app.seed"));
        cr_assert_str_eq(output, "one");
        cr_assert_str_eq(output + 32, "two");
        cr_assert_str_eq(output + 64, "--three");
        assent_config_close(config);
}

Test(config_arguments, config_variable_names_the_first_file, .init = no_variables)
{
        struct assent_config *config = config_new();
        setenv("ASSENT_CONFIG", "/nowhere", 1);
        cr_assert_eq(parse(config, "x"), 2);
        cr_assert_not_null(strstr(output, "assent-x: /nowhere: cannot be opened"));
        file_write("app.a=1\n", 8, 0644);
        setenv("ASSENT_CONFIG", file_path, 1);
        cr_assert_eq(parse(config, "x"), -1);
        file_remove();
        cr_assert_str_eq(assent_config_get(config, "app.a"), "1");
        assent_config_close(config);
}

Test(config_arguments, help_and_version_leave_with_0, .init = no_variables)
{
        static const char *const asks[] = {"--help", "-h"};
        struct assent_config *config = config_new();
        for (size_t i = 0; i < 2; i++) {
                cr_assert_eq(arguments(config, (char *[]){(char *)asks[i], NULL}), 0);
                const char *examples = strstr(output, "Examples");
                const char *options = strstr(output, "Options:");
                cr_assert_eq(strncmp(output, "Usage: assent-x [options] TOPIC\n\nTries.\n", 40), 0);
                cr_assert(examples != NULL && options != NULL && examples < options,
                          "examples first");
                cr_assert_not_null(strstr(output, "--seed FILE"));
                cr_assert_not_null(strstr(output, "--log-format FORMAT"));
        }
        cr_assert_eq(parse(config, "--version"), 0);
        cr_assert_str_eq(output, "assent-x " ASSENT_VERSION "\n");
        cr_assert_eq(parse(config, "--help-config"), 0);
        cr_assert_not_null(strstr(output, "#assent.window_ms=90000\n"));
        assent_config_close(config);
}

Test(config_arguments, wrong_options_leave_with_2_and_say_what_to_do, .init = no_variables)
{
        static const struct {
                const char *word, *next, *part;
        } wrong[] = {
            {"--see", "x", "options are not abbreviated; write --seed"},
            {"--see=x", "y", "options are not abbreviated; write --seed"},
            {"--lo", "x", "unknown option --lo\n"},
            {"--perfix", "x", "unknown option --perfix; did you mean --prefix?"},
            {"--perfix=x", "y", "unknown option --perfix; did you mean --prefix?"},
            {"-xyz", "x", "unknown option -x\n"},
            {"--fast=1", "x", "--fast takes no value"},
            {"--seed", NULL, "--seed needs a value"},
            {"--set", "app.a", "--set: there is no '='"},
            {"--set", "sasl.password=hush", "--set: sasl.password may not stand on a command line"},
            {"--prefix", "BAD", "--prefix: assent.prefix must be"},
            {"--config", "/nowhere", "/nowhere: cannot be opened"},
            {"--log-level", "loud",
             "--log-level: assent.log_level must be one of error|warn|info|debug"},
        };
        struct assent_config *config = config_new();
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                char *words[] = {(char *)wrong[i].word, (char *)wrong[i].next, NULL};
                cr_assert_eq(arguments(config, words), 2, "%s", wrong[i].word);
                cr_assert_not_null(strstr(output, wrong[i].part), "%s", output);
                cr_assert_null(strstr(output, "hush"));
        }
        assent_config_close(config);
}

Test(config_arguments, wrong_line_loads_nothing, .init = no_variables)
{
        struct assent_config *config = config_new();
        cr_assert_eq(parse(config, "--set", "app.a=1", "--nonsense"), 2);
        cr_assert_null(assent_config_get(config, "app.a"));
        assent_config_close(config);
}
