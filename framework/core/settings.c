/* settings.c: the settings' canonical text. One table drives writing, reading and the bounds, so they cannot drift
 * apart. */
#include "core/settings.h"

#include <string.h>

#include "base/panic.h"
#include "base/text.h"

#define DAY_MS 86400000

struct field {
        const char *name;
        size_t offset;
        bool wide; /* int64_t, else uint32_t */
        int64_t least, most;
        const char *wrong;
};

#define FIELD(name, wide, least, most, wrong)                                                                          \
        {                                                                                                              \
#name, offsetof(struct assent_settings, name), wide, least, most, wrong                                \
        }

/* The widest sums and differences of times stay far from 64 bits: times are below 2^48, these below 2^30. */
static const struct field fields[] = {
    {"rules", offsetof(struct assent_settings, rules_version), false, ASSENT_RULES_VERSION, ASSENT_RULES_VERSION,
     "rules must be 1: this build knows no other version of the rules"},
    {"schema", offsetof(struct assent_settings, schema_version), false, ASSENT_SCHEMA_VERSION, ASSENT_SCHEMA_VERSION,
     "schema must be 1: this build knows no other version of the schemas"},
    FIELD(lanes, false, 1, ASSENT_LANES_MAX, "lanes must be 1 to 1024"),
    FIELD(window_ms, true, 1, 7 * DAY_MS, "window_ms must be 1 ms to 7 days"),
    FIELD(skew_ms, true, 0, DAY_MS, "skew_ms must be 0 ms to 1 day"),
    FIELD(timeout_max_ms, true, 1, 7 * DAY_MS, "timeout_max_ms must be 1 ms to 7 days"),
    FIELD(grace_ms, true, 0, DAY_MS, "grace_ms must be 0 ms to 1 day"),
    FIELD(branches_max, false, 1, ASSENT_BRANCHES_MAX, "branches_max must be 1 to 64"),
    FIELD(record_bytes_max, false, 1024, 16777216, "record_bytes_max must be 1 KiB to 16 MiB"),
};

#define FIELDS (sizeof fields / sizeof *fields)

static int64_t get(const struct assent_settings *settings, const struct field *field)
{
        const char *at = (const char *)settings + field->offset;
        int64_t wide;
        uint32_t narrow;
        if (field->wide) {
                memcpy(&wide, at, sizeof wide);
                return wide;
        }
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
}

static void set(struct assent_settings *settings, const struct field *field, int64_t value)
{
        char *at = (char *)settings + field->offset;
        uint32_t narrow = (uint32_t)value;
        if (field->wide)
                memcpy(at, &value, sizeof value);
        else
                memcpy(at, &narrow, sizeof narrow);
}

size_t assent_settings_format(const struct assent_settings *settings, char text[ASSENT_SETTINGS_SIZE_MAX])
{
        struct assent_text out;
        assent_text_open(&out, text, ASSENT_SETTINGS_SIZE_MAX);
        for (size_t i = 0; i < FIELDS; i++) {
                assent_text_put(&out, i ? " " : "");
                assent_text_put(&out, fields[i].name);
                assent_text_put(&out, "=");
                assent_text_put_int(&out, get(settings, &fields[i]));
        }
        ASSENT_ASSERT(!out.cut);
        return out.size;
}

/* Reads "name=123" at *at and moves behind it. Loose (leading zeros pass): the caller compares the whole text. */
static bool read_field(struct assent_bytes text, size_t *at, const struct field *field, int64_t *value)
{
        const char *data = text.data;
        size_t size = strlen(field->name);
        if (text.size - *at <= size || memcmp(data + *at, field->name, size) != 0 || data[*at + size] != '=')
                return false;
        *value = 0;
        for (*at += size + 1; *at < text.size && data[*at] >= '0' && data[*at] <= '9'; ++*at) {
                *value = *value * 10 + (data[*at] - '0');
                if (*value > field->most)
                        return false;
        }
        return true;
}

bool assent_settings_parse(struct assent_bytes text, struct assent_settings *out)
{
        struct assent_settings read = {0};
        size_t at = 0;
        for (size_t i = 0; i < FIELDS; i++) {
                int64_t value;
                if (!read_field(text, &at, &fields[i], &value))
                        return false;
                set(&read, &fields[i], value);
                if (at < text.size)
                        at++; /* the blank; the comparison below sees any other character */
        }
        char canonical[ASSENT_SETTINGS_SIZE_MAX];
        if (assent_settings_format(&read, canonical) != text.size || memcmp(canonical, text.data, text.size) != 0 ||
            assent_settings_wrong(&read))
                return false;
        *out = read;
        return true;
}

const char *assent_settings_wrong(const struct assent_settings *settings)
{
        for (size_t i = 0; i < FIELDS; i++) {
                int64_t value = get(settings, &fields[i]);
                if (value < fields[i].least || value > fields[i].most)
                        return fields[i].wrong;
        }
        if (settings->window_ms <= 2 * settings->timeout_max_ms + settings->grace_ms) /* R17 */
                return "window_ms must exceed 2 * timeout_max_ms + grace_ms";
        return NULL;
}
