/* log.c: one event, one line, one write(2), so that the lines of threads and processes do not mix.
 * No allocation: it also works when memory has run out. */
#include <assent/log.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/panic.h"

#define LINE_SIZE_MAX  4096
#define EVENT_SIZE_MAX 2048 /* an error's whole sentence: what, where, what to do */
#define VALUE_SIZE_MAX 256  /* bytes of one value as printed, without its quotes */
#define NAME_SIZE_MAX  64

static const struct {
        const char *name;
        char severity; /* syslog's */
} levels[] = {
    [ASSENT_LOG_ERROR] = {"error", '3'},
    [ASSENT_LOG_WARN] = {"warn", '4'},
    [ASSENT_LOG_INFO] = {"info", '6'},
    [ASSENT_LOG_DEBUG] = {"debug", '7'},
};

/* How the two formats write the parts of a line. The tail is kept free in every line, for the field
 * that does not fit. */
static const struct style {
        const char *open;
        const char *name_open, *name_close;
        const char *separator;
        const char *truncated;
        const char *close;
} styles[] = {
    [ASSENT_LOG_LOGFMT] = {"", "", "=", " ", " truncated=true", "\n"},
    [ASSENT_LOG_JSON] = {"{", "\"", "\":", ",", ",\"truncated\":true", "}\n"},
};
#define TAIL_SIZE_MAX 32

static atomic_int level_max = ASSENT_LOG_INFO;
static atomic_int line_format = ASSENT_LOG_LOGFMT;
static pthread_mutex_t name_mutex = PTHREAD_MUTEX_INITIALIZER;
static char process_name[NAME_SIZE_MAX];

static pthread_once_t journal_once = PTHREAD_ONCE_INIT;
static bool under_journal;

/* systemd sets both for a service whose stderr goes to the journal, which then reads "<n>" as the
 * line's severity. */
static void journal_look(void)
{
        under_journal = getenv("INVOCATION_ID") != NULL && getenv("JOURNAL_STREAM") != NULL;
}

void assent_log_setup(enum assent_log_level level, enum assent_log_format format, const char *name)
{
        ASSENT_ASSERT(level <= ASSENT_LOG_DEBUG);
        ASSENT_ASSERT(format <= ASSENT_LOG_JSON);
        atomic_store(&level_max, (int)level);
        atomic_store(&line_format, (int)format);
        pthread_mutex_lock(&name_mutex);
        snprintf(process_name, sizeof process_name, "%s", name != NULL ? name : "");
        pthread_mutex_unlock(&name_mutex);
}

bool assent_log_enabled(enum assent_log_level level)
{
        return (int)level <= atomic_load_explicit(&level_max, memory_order_relaxed);
}

/* A logfmt value can stand bare when no reader could split or join it. */
static bool bare(const char *text)
{
        if (*text == '\0')
                return false;
        for (; *text != '\0'; text++) {
                if (*text == ' ' || *text == '=' || *text == '"' || *text == '\\')
                        return false;
        }
        return true;
}

static void put_text(struct assent_buffer *line, enum assent_log_format format, const void *data,
                     size_t size)
{
        char value[VALUE_SIZE_MAX + 1];
        bool quoted = true;
        if (format == ASSENT_LOG_JSON) {
                assent_escape_json(data, size, value, sizeof value);
        } else {
                assent_escape_text(data, size, value, sizeof value);
                quoted = !bare(value);
        }
        const char *quote = quoted ? "\"" : "";
        assent_buffer_printf(line, "%s%s%s", quote, value, quote);
}

/* The locale's decimal comma is no number in JSON; nor is what is not finite. */
static void put_real(struct assent_buffer *line, enum assent_log_format format, double real)
{
        char text[40];
        snprintf(text, sizeof text, "%.9g", real);
        for (char *c = text; *c != '\0'; c++) {
                if (*c == ',')
                        *c = '.';
        }
        bool finite = real - real == 0;
        assent_buffer_text(line, finite || format == ASSENT_LOG_LOGFMT ? text : "null");
}

static void put_value(struct assent_buffer *line, enum assent_log_format format,
                      const struct assent_field *field)
{
        char id[ASSENT_UUID_TEXT_SIZE];
        switch (field->type) {
        case ASSENT_FIELD_TEXT: {
                const char *text = field->value.text != NULL ? field->value.text : "";
                put_text(line, format, text, strlen(text));
                return;
        }
        case ASSENT_FIELD_BYTES:
                put_text(line, format, field->value.bytes.data, field->value.bytes.size);
                return;
        case ASSENT_FIELD_UUID:
                assent_uuid_format(field->value.uuid, id);
                put_text(line, format, id, strlen(id));
                return;
        case ASSENT_FIELD_INT:
                assent_buffer_printf(line, "%" PRId64, field->value.integer);
                return;
        case ASSENT_FIELD_REAL:
                put_real(line, format, field->value.real);
                return;
        }
        assent_panic(__FILE__, __LINE__, "a field's type is outside its enumeration");
}

static void put_field(struct assent_buffer *line, enum assent_log_format format,
                      const struct assent_field *field)
{
        const struct style *style = &styles[format];
        ASSENT_ASSERT(field->name != NULL && field->name[0] != '\0');
        assent_buffer_printf(line, "%s%s%s%s", style->separator, style->name_open, field->name,
                             style->name_close);
        put_value(line, format, field);
}

/* The part that every line has: time, level, the process's name, the event. It always fits. */
static void put_head(struct assent_buffer *line, enum assent_log_format format,
                     enum assent_log_level level, const char *event)
{
        int64_t now_ms = assent_clock_wall_ms();
        time_t seconds = (time_t)(now_ms / 1000);
        struct tm utc;
        gmtime_r(&seconds, &utc);
        char stamp[32];
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);

        const char *quote = format == ASSENT_LOG_JSON ? "\"" : "";
        const struct style *style = &styles[format];
        if (under_journal)
                assent_buffer_printf(line, "<%c>", levels[level].severity);
        assent_buffer_printf(line, "%s%sts%s%s%s.%03dZ%s", style->open, style->name_open,
                             style->name_close, quote, stamp, (int)(now_ms % 1000), quote);
        put_field(line, format, &ASSENT_TEXT("level", levels[level].name));

        char name[NAME_SIZE_MAX];
        pthread_mutex_lock(&name_mutex);
        memcpy(name, process_name, sizeof name);
        pthread_mutex_unlock(&name_mutex);
        if (name[0] != '\0')
                put_field(line, format, &ASSENT_TEXT("name", name));

        char text[EVENT_SIZE_MAX + 1];
        if (format == ASSENT_LOG_JSON)
                assent_escape_json(event, strlen(event), text, sizeof text);
        else
                assent_escape_text(event, strlen(event), text, sizeof text);
        assent_buffer_printf(line, "%s%sevent%s\"%s\"", style->separator, style->name_open,
                             style->name_close, text);
        ASSENT_ASSERT(line->err == ASSENT_OK);
}

void assent_log_write(enum assent_log_level level, const char *event,
                      const struct assent_field *fields, size_t fields_count)
{
        ASSENT_ASSERT(level <= ASSENT_LOG_DEBUG);
        ASSENT_ASSERT(event != NULL);
        int errno_before = errno; /* people log before they look at it */
        enum assent_log_format format = (enum assent_log_format)atomic_load(&line_format);
        const struct style *style = &styles[format];
        pthread_once(&journal_once, journal_look);

        char text[LINE_SIZE_MAX];
        struct assent_buffer line;
        assent_buffer_wrap(&line, text, sizeof text - TAIL_SIZE_MAX);
        put_head(&line, format, level, event);
        bool truncated = false;
        for (size_t i = 0; i < fields_count; i++) {
                size_t before = line.size;
                put_field(&line, format, &fields[i]);
                if (line.err != ASSENT_OK) {
                        assent_buffer_cut(&line, before);
                        truncated = true;
                }
        }
        int tail = snprintf(text + line.size, TAIL_SIZE_MAX, "%s%s",
                            truncated ? style->truncated : "", style->close);
        ASSENT_ASSERT(tail > 0 && tail < TAIL_SIZE_MAX);
        if (write(STDERR_FILENO, text, line.size + (size_t)tail) < 0) {
                /* There is no other place to say so. */
        }
        errno = errno_before;
}
