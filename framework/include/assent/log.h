/* log.h: the program's own diagnostics ("logging"; bare "log" is the Kafka log everywhere in this project). One line
 * per event on stderr, logfmt or JSON; foreign text is escaped to printable ASCII and bounded. Thread: safe. */
#ifndef ASSENT_LOG_H
#define ASSENT_LOG_H

#include <assent/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum assent_log_level { ASSENT_LOG_ERROR, ASSENT_LOG_WARN, ASSENT_LOG_INFO, ASSENT_LOG_DEBUG };
enum assent_log_format { ASSENT_LOG_LOGFMT, ASSENT_LOG_JSON };

enum assent_field_type { ASSENT_FIELD_TEXT, ASSENT_FIELD_INT, ASSENT_FIELD_BYTES, ASSENT_FIELD_UUID,
                         ASSENT_FIELD_REAL };

struct assent_field {
        const char *name;
        enum assent_field_type type;
        union {
                const char *text;
                int64_t integer;
                double real;
                struct assent_bytes bytes; /* text of foreign origin, not NUL-terminated */
                const struct assent_uuid *uuid;
        } value;
};

#define ASSENT_TEXT(name_, value_)                                                                                     \
        ((struct assent_field){.name = (name_), .type = ASSENT_FIELD_TEXT, .value.text = (value_)})
#define ASSENT_INT(name_, value_)                                                                                      \
        ((struct assent_field){.name = (name_), .type = ASSENT_FIELD_INT, .value.integer = (int64_t)(value_)})
#define ASSENT_REAL(name_, value_)                                                                                     \
        ((struct assent_field){.name = (name_), .type = ASSENT_FIELD_REAL, .value.real = (value_)})
#define ASSENT_BYTES(name_, value_)                                                                                    \
        ((struct assent_field){.name = (name_), .type = ASSENT_FIELD_BYTES, .value.bytes = (value_)})
#define ASSENT_UUID(name_, value_)                                                                                     \
        ((struct assent_field){.name = (name_), .type = ASSENT_FIELD_UUID, .value.uuid = (value_)})

/* assent_log(ASSENT_LOG_INFO, "lane assigned", ASSENT_INT("lane", 3), …): at least one field; what it names is
 * evaluated only when the level is on. `event` is a short constant sentence, or an error's whole one. */
#define assent_log(level, event, ...)                                                                                  \
        do {                                                                                                           \
                if (assent_log_enabled(level)) {                                                                       \
                        const struct assent_field fields_[] = {__VA_ARGS__};                                           \
                        assent_log_write(level, event, fields_, sizeof fields_ / sizeof *fields_);                     \
                }                                                                                                      \
        } while (0)

/* Whether lines of this level are written. Thread: any. */
ASSENT_API bool assent_log_enabled(enum assent_log_level level);
/* Writes one line, whatever the level, with one write(2), so that lines of several threads do not mix. At most 4096
 * bytes: the event 2048 and each value 256 as printed (longer ones end in "..."), fields that no longer fit are left
 * out and truncated=true is said.
 * Ownership: nothing is kept. Blocks: as long as standard error takes. Thread: any; errno stays as it was. */
ASSENT_API void assent_log_write(enum assent_log_level level, const char *event, const struct assent_field *fields,
                                 size_t fields_count);

/* Sets the process's level (default INFO), format (default logfmt) and the `name` that stands in every line.
 * Ownership: `name` is copied, its first 63 bytes; NULL or "": none. Repeat: the newest call counts. Thread: any. */
ASSENT_API void assent_log_setup(enum assent_log_level level, enum assent_log_format format, const char *name);

#ifdef __cplusplus
}
#endif
#endif
