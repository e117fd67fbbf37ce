#include "assertion.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const relations[] = {
    [BELOW] = "<", [AT_MOST] = "<=", [ABOVE] = ">", [AT_LEAST] = ">=", [EQUAL] = "=="};
#define RELATIONS (sizeof relations / sizeof *relations)

__attribute__((format(printf, 3, 4))) static bool wrong(char errmsg[512], const char *text, const char *format, ...)
{
        va_list arguments;
        const int used = snprintf(errmsg, 512, "--assert '%.60s': ", text);

        va_start(arguments, format);
        vsnprintf(errmsg + used, 512 - (size_t)used, format, arguments);
        va_end(arguments);
        return false;
}

static bool unknown_metric(char errmsg[512], const char *text)
{
        char names[400] = "";
        size_t used = 0;

        for (size_t i = 0; i < METRICS; i++)
                used += (size_t)snprintf(names + used, sizeof names - used, " %s", metric_kinds[i].name);
        assert(used < sizeof names);
        return wrong(errmsg, text, "write METRIC, <, <=, >, >= or ==, LIMIT, as in p99<50ms; the metrics are%s", names);
}

/* "p99_ms", or with the unit left to the limit "p99"; "p99.9" is "p999". */
static bool find_metric(const char *name, size_t size, struct assertion *assertion, bool *unit_open)
{
        char plain[32];
        size_t length = 0;

        const bool tail = size >= 5 && memcmp(name, "p99.9", 5) == 0;
        for (size_t i = 0; i < size; i++)
                if (!(tail && i == 3) && length < sizeof plain - 1)
                        plain[length++] = name[i];
        plain[length] = '\0';
        for (int i = 0; i < METRICS; i++) {
                const struct metric_kind *kind = &metric_kinds[i];
                const bool whole = strcmp(kind->name, plain) == 0;
                assertion->metric = (enum metric)i;
                *unit_open = !whole && kind->unit == UNIT_MS;
                if (whole || (*unit_open && strlen(kind->name) == length + 3 && memcmp(kind->name, plain, length) == 0))
                        return true;
        }
        return false;
}

static bool find_relation(const char *text, struct assertion *assertion)
{
        const size_t size = strspn(text, "<>=");

        for (size_t i = 0; i < RELATIONS; i++) {
                assertion->relation = i;
                if (strlen(relations[i]) == size && memcmp(relations[i], text, size) == 0)
                        return true;
        }
        return false;
}

/* What `unit` makes of a number, in the metric's own unit; 0 when it does not go with it. */
static double factor(const struct metric_kind *kind, bool unit_open, const char *unit)
{
        static const struct {
                const char *name;
                double ms;
        } units[] = {{"us", 1e-3}, {"ms", 1}, {"s", 1e3}};

        if (!*unit)
                return unit_open ? 0 : 1;
        for (size_t i = 0; i < sizeof units / sizeof *units && kind->unit != UNIT_NONE; i++)
                if (strcmp(units[i].name, unit) == 0)
                        return units[i].ms / (kind->unit == UNIT_S ? 1e3 : 1);
        return 0;
}

bool assertion_parse(const char *text, struct assertion *assertion, char errmsg[512])
{
        const char *name = text + strspn(text, " ");
        const size_t size = strcspn(name, " <>=");
        const char *relation = name + size + strspn(name + size, " ");
        bool unit_open;
        char *end;

        *assertion = (struct assertion){.text = text};
        if (!find_metric(name, size, assertion, &unit_open) || !find_relation(relation, assertion))
                return unknown_metric(errmsg, text);
        const struct metric_kind *kind = &metric_kinds[assertion->metric];
        const char *number = relation + strspn(relation, "<>=");
        number += strspn(number, " ");
        if (!isdigit((unsigned char)*number)) /* strtod takes signs, and words */
                return wrong(errmsg, text, "the limit is a number of 0 or more, as in %s<50%s", kind->name,
                             kind->unit == UNIT_NONE ? "" : "ms");
        assertion->limit = strtod(number, &end);
        const double scale = factor(kind, unit_open, end + strspn(end, " "));
        if (scale == 0 && kind->unit == UNIT_NONE)
                return wrong(errmsg, text, "%s is a plain number: '%.20s' must not follow the limit", kind->name, end);
        if (scale == 0)
                return wrong(errmsg, text, "the limit needs a unit, us, ms or s, as in p99<50ms");
        assertion->limit *= scale;
        return true;
}

bool assertion_holds(const struct assertion *assertion, double value)
{
        switch (assertion->relation) {
        case BELOW:
                return value < assertion->limit;
        case AT_MOST:
                return value <= assertion->limit;
        case ABOVE:
                return value > assertion->limit;
        case AT_LEAST:
                return value >= assertion->limit;
        case EQUAL:
                return value == assertion->limit;
        }
        return false;
}
