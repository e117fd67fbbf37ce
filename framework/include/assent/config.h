/* config.h: one bag of `key=value` for a process: defaults < file < environment < flags. Keys that
 * begin with "assent." are ours and checked by the table in base/config_table.c (name, type,
 * default, bounds, help); keys that begin with "app." belong to the program; every other key goes
 * to librdkafka if it stands on the allowlist. An unknown key, a bad value and a denied key are
 * errors that name the file and line (or the variable, or the flag) they came from.
 *
 * Environment: ASSENT_WINDOW_MS sets assent.window_ms, ASSENT_KAFKA_SASL_USERNAME sets
 * sasl.username (upper case, '.' and '_' both written '_'; KAFKA_ marks a librdkafka key). Unknown
 * ASSENT_… variables are reported with a warning only. assent.brokers and bootstrap.servers are two
 * names of one value, listed under the first. */
#ifndef ASSENT_CONFIG_H
#define ASSENT_CONFIG_H

#include <assent/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct assent_config;

/* All functions that return ASSENT_E_CONFIG may also return ASSENT_E_MEMORY. Limits: 1 MiB a file,
 * 8 KiB a line, 128 bytes a key, 4 KiB a value, 512 keys. Secrets (sasl.password, ssl.key.password)
 * are taken from the environment and from files that only their owner may read. */

/* Opens a configuration that holds the defaults. Ownership: the caller's, ended by
 * assent_config_close (NULL is fine). Returns ASSENT_OK or ASSENT_E_MEMORY. */
ASSENT_API enum assent_err assent_config_open(struct assent_config **out);
ASSENT_API void assent_config_close(struct assent_config *config);

/* Reads a properties file: `key=value` a line, '#' comments, blanks around both trimmed, no
 * continuation lines. Returns ASSENT_OK or ASSENT_E_CONFIG (see errmsg: file, line, what, what to
 * do). */
ASSENT_API enum assent_err assent_config_load(struct assent_config *config, const char *path);

/* Takes ASSENT_… variables from `environment` (as in environ(7)). Returns ASSENT_OK or
 * ASSENT_E_CONFIG. */
ASSENT_API enum assent_err assent_config_environment(struct assent_config *config,
                                                     char *const *environment);

/* Takes one "key=value"; `origin` says where it came from in messages ("--set"). An origin that
 * begins with '-' is a command line, from which secrets are refused. Returns ASSENT_OK or
 * ASSENT_E_CONFIG. */
ASSENT_API enum assent_err assent_config_set(struct assent_config *config, const char *assignment,
                                             const char *origin);

/* To be called once when everything is set: reads the password that assent.sasl_password_file names
 * into sasl.password. assent_config_arguments does it. Returns ASSENT_OK or ASSENT_E_CONFIG. */
ASSENT_API enum assent_err assent_config_finish(struct assent_config *config);

/* The value, or NULL when the key is not set and has no default. Valid until the key is set again
 * or the close. */
ASSENT_API const char *assent_config_get(const struct assent_config *config, const char *key);
/* The value of a key that the table says is a number or a flag (true/false); asserts that the key
 * is known. */
ASSENT_API int64_t assent_config_int(const struct assent_config *config, const char *key);
ASSENT_API bool assent_config_bool(const struct assent_config *config, const char *key);
/* Where the value came from ("default", "file.properties:12", "ASSENT_DB", "--set"). */
ASSENT_API const char *assent_config_origin(const struct assent_config *config, const char *key);

/* Calls `each` for every key that is set or has a default, sorted; secrets are masked ("********").
 */
ASSENT_API void assent_config_each(const struct assent_config *config,
                                   void (*each)(void *context, const char *key, const char *value,
                                                const char *origin),
                                   void *context);

/* Every key with its default, bounds and help, as the lines of a properties file in which all is
 * commented out. */
ASSENT_API void assent_config_reference(void (*line)(void *context, const char *text),
                                        void *context);

ASSENT_API const char *assent_config_errmsg(const struct assent_config *config);

/* A program's own flag. `key` is the configuration key it sets ("app.seed", "assent.db"); a flag
 * with `value_name` NULL takes no value and sets "true". */
struct assent_flag {
        const char *name;       /* without the dashes: "seed" */
        const char *value_name; /* "FILE", or NULL */
        const char *key;
        const char *help;
};

/* The command line all our programs share: --config FILE (repeatable), --set KEY=VALUE
 * (repeatable), --brokers LIST,
 * --prefix NAME, --db FILE, --lanes LIST, --log-level L, --log-format F, --help (-h),
 * --help-config, --version, and the program's own `flags` (at most 64, ended by a NULL name; may be
 * NULL); never abbreviated. `synopsis` is what follows the program's name on the usage line
 * ("[options] TOPIC"). Loads, in this order: $ASSENT_CONFIG, --config files, the environment,
 * flags; finishes; sets up logging. Options and positional arguments may be mixed, "--" ends the
 * options; positional arguments are left at argv[*first_argument …]. Returns -1 to go on, else the
 * exit status with which to leave at once (0 after --help, --help-config or --version, 2 for a
 * usage or configuration error, already reported on stderr). */
ASSENT_API int assent_config_arguments(struct assent_config *config, int argc, char **argv,
                                       const char *synopsis, const char *description,
                                       const struct assent_flag *flags, int *first_argument);

#ifdef __cplusplus
}
#endif
#endif
