/* exposition.c: Prometheus' text format 0.0.4. Each family is gathered in a text of its own, because the format wants its
 * samples together and several sources may have some. */
#include "observe/exposition.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "base/text.h"

#define NAME_SIZE_MAX 96
#define WHOLE_MAX     9007199254740992.0 /* 2^53: up to here every whole number is a double */

struct family {
        char name[NAME_SIZE_MAX];
        enum assent_metric type;
        struct assent_buffer text;
};

struct assent_exposition {
        struct family families[ASSENT_FAMILIES_MAX];
        size_t count;
        struct family *current; /* NULL before the first, and after one too many */
        enum assent_err err;
};

static const struct {
        int64_t us;
        const char *le;
} bounds[ASSENT_DURATION_BUCKETS] = {
        {100, "0.0001"},      {200, "0.0002"},      {500, "0.0005"},      {1000, "0.001"},    {2000, "0.002"},
        {5000, "0.005"},      {10000, "0.01"},      {20000, "0.02"},      {50000, "0.05"},    {100000, "0.1"},
        {200000, "0.2"},      {500000, "0.5"},      {1000000, "1"},       {2000000, "2"},     {5000000, "5"},
        {10000000, "10"},     {20000000, "20"},     {50000000, "50"},     {100000000, "100"},
};

struct assent_exposition *assent_exposition_open(void)
{
        return calloc(1, sizeof(struct assent_exposition));
}

void assent_exposition_close(struct assent_exposition *out)
{
        for (size_t i = 0; out && i < out->count; i++)
                assent_buffer_close(&out->families[i].text);
        free(out);
}

static bool name_fine(const char *name)
{
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789";
        size_t size = strlen(name);
        return size > 0 && size < NAME_SIZE_MAX && strspn(name, letters) == size && (name[0] < '0' || name[0] > '9');
}

/* Help may hold anything; only these two would end or change the line. */
static void help_put(struct assent_buffer *text, const char *help)
{
        for (; *help; help++) {
                if (*help == '\\' || *help == '\n')
                        assent_buffer_text(text, *help == '\n' ? "\\n" : "\\\\");
                else
                        assent_buffer_append(text, help, 1);
        }
}

void assent_expose(struct assent_exposition *out, const char *name, enum assent_metric type, const char *help)
{
        static const char *const types[] = {
                [ASSENT_COUNTER] = "counter", [ASSENT_GAUGE] = "gauge", [ASSENT_HISTOGRAM] = "histogram"};
        ASSENT_ASSERT(name_fine(name) && type >= ASSENT_COUNTER && type <= ASSENT_HISTOGRAM);
        for (size_t i = 0; i < out->count; i++) {
                out->current = &out->families[i];
                if (strcmp(out->current->name, name) != 0)
                        continue;
                ASSENT_ASSERT(out->current->type == type);
                return;
        }
        out->current = NULL;
        if (out->count == ASSENT_FAMILIES_MAX) {
                out->err = ASSENT_E_LIMIT;
                return;
        }
        struct family *family = out->current = &out->families[out->count++];
        snprintf(family->name, sizeof family->name, "%s", name);
        family->type = type;
        assent_buffer_init(&family->text, ASSENT_PAGE_BYTES_MAX);
        assent_buffer_printf(&family->text, "# HELP %s ", name);
        help_put(&family->text, help);
        assent_buffer_printf(&family->text, "\n# TYPE %s %s\n", name, types[type]);
}

/* The shortest text that reads back as the same number. */
static void number_format(char text[40], double value)
{
        double from_zero = value < 0 ? -value : value;
        if (value != value || value - value != 0) {
                snprintf(text, 40, "%s", value != value ? "NaN" : value > 0 ? "+Inf" : "-Inf");
                return;
        }
        if (from_zero <= WHOLE_MAX && value == (double)(int64_t)value) {
                snprintf(text, 40, "%" PRId64, (int64_t)value);
                return;
        }
        int digits = 15;
        do
                snprintf(text, 40, "%.*g", digits, value);
        while (digits++ < 17 && strtod(text, NULL) != value);
        for (char *c = text; *c; c++)
                if (*c == ',') /* the locale's */
                        *c = '.';
}

/* `le` NULL: none. */
static void sample_put(struct assent_exposition *out, const char *suffix, const char *labels, const char *le, double value)
{
        struct assent_buffer *text = &out->current->text;
        char number[40];
        bool labelled = labels && *labels;
        number_format(number, value);
        assent_buffer_printf(text, "%s%s", out->current->name, suffix);
        if (labelled || le) {
                assent_buffer_printf(text, "{%s", labelled ? labels : "");
                if (le)
                        assent_buffer_printf(text, "%sle=\"%s\"", labelled ? "," : "", le);
                assent_buffer_text(text, "}");
        }
        assent_buffer_printf(text, " %s\n", number);
}

void assent_expose_value(struct assent_exposition *out, const char *labels, double value)
{
        ASSENT_ASSERT(out->err || (out->current && out->current->type != ASSENT_HISTOGRAM));
        if (out->current)
                sample_put(out, "", labels, NULL, value);
}

void assent_expose_durations(struct assent_exposition *out, const char *labels, const struct assent_durations *durations)
{
        ASSENT_ASSERT(out->err || (out->current && out->current->type == ASSENT_HISTOGRAM));
        uint64_t count = 0;
        if (!out->current)
                return;
        for (size_t i = 0; i < ASSENT_DURATION_BUCKETS; i++) {
                count += assent_counted(&durations->counts[i]);
                sample_put(out, "_bucket", labels, bounds[i].le, (double)count);
        }
        count += assent_counted(&durations->counts[ASSENT_DURATION_BUCKETS]);
        sample_put(out, "_bucket", labels, "+Inf", (double)count);
        sample_put(out, "_sum", labels, NULL, (double)assent_counted(&durations->sum_us) / 1e6);
        sample_put(out, "_count", labels, NULL, (double)count);
}

void assent_durations_add(struct assent_durations *durations, int64_t us)
{
        size_t i = 0;
        if (us < 0) /* clocks that differ */
                us = 0;
        while (i < ASSENT_DURATION_BUCKETS && us > bounds[i].us)
                i++;
        assent_count(&durations->counts[i], 1);
        assent_count(&durations->sum_us, (uint64_t)us);
}

enum assent_err assent_exposition_page(const struct assent_exposition *out, struct assent_buffer *page)
{
        enum assent_err err = out->err;
        for (size_t i = 0; i < out->count && !err; i++) {
                const struct assent_buffer *text = &out->families[i].text;
                err = text->err ? text->err : assent_buffer_append(page, text->data, text->size);
        }
        return err;
}

void assent_expose_one(struct assent_exposition *out, const char *name, enum assent_metric type, const char *help,
                       const char *labels, double value)
{
        assent_expose(out, name, type, help);
        assent_expose_value(out, labels, value);
}

static void label_put(struct assent_text *text, const char *name, const char *value)
{
        assent_text_put(text, text->size ? "," : "");
        assent_text_put(text, name);
        assent_text_put(text, "=\"");
        for (; *value; value++) {
                const char one[2] = {*value};
                assent_text_put(text, *value == '\n' ? "\\n" : *value == '"' ? "\\\"" : *value == '\\' ? "\\\\" : one);
        }
        assent_text_put(text, "\"");
}

const char *assent_labels(char memory[ASSENT_LABELS_SIZE_MAX], const char *labels, ...)
{
        struct assent_text text;
        const char *name;
        va_list pairs;
        assent_text_open(&text, memory, ASSENT_LABELS_SIZE_MAX);
        assent_text_put(&text, labels);
        va_start(pairs, labels);
        while ((name = va_arg(pairs, const char *)) != NULL)
                label_put(&text, name, va_arg(pairs, const char *));
        va_end(pairs);
        ASSENT_ASSERT(!text.cut);
        return memory;
}
