/* fuzz_texts.c: the small texts that come from outside: settings, checkpoints, lane lists, ids, words, names. What is
 * read must be what would be written; everything else is refused. And foreign text on its way out: reasons are cut
 * between characters, escapes can be undone, a line of logging is one line that a reader of its format understands. */
#include <inttypes.h>
#include <jansson.h>
#include <unistd.h>

static ssize_t caught_write(int fd, const void *data, size_t size);
#define write caught_write
#include "base/log.c"
#undef write

#include "base/text.h"
#include "core/participant.h"
#include "core/settings.h"
#include "fuzz.h"
#include "runtime/checkpoint.h"
#include "runtime/lane_list.h"

enum { FIELDS = 8, UNIT_MAX = 12 };

static void settings(struct assent_bytes text)
{
        struct assent_settings read;
        char again[ASSENT_SETTINGS_SIZE_MAX];
        if (!assent_settings_parse(text, &read))
                return;
        ASSENT_ASSERT(!assent_settings_wrong(&read));
        size_t size = assent_settings_format(&read, again);
        ASSENT_ASSERT(fuzz_same(text, (struct assent_bytes){again, size}));
}

static uint64_t number(struct fuzz_input *input, unsigned bytes)
{
        uint64_t value = 0;
        while (bytes--)
                value = value << 8 | fuzz_byte(input);
        return value;
}

/* The other way round: every valid value can be read from its text. */
static void made_settings(struct fuzz_input *input, struct assent_settings *made)
{
        struct assent_settings read;
        char text[ASSENT_SETTINGS_SIZE_MAX], again[ASSENT_SETTINGS_SIZE_MAX];
        *made = (struct assent_settings){.rules_version = ASSENT_RULES_VERSION,
                                         .schema_version = ASSENT_SCHEMA_VERSION,
                                         .lanes = (uint32_t)number(input, 2),
                                         .window_ms = (int64_t)number(input, 4),
                                         .skew_ms = (int64_t)number(input, 4),
                                         .timeout_max_ms = (int64_t)number(input, 4),
                                         .grace_ms = (int64_t)number(input, 4),
                                         .branches_max = (uint32_t)number(input, 1),
                                         .record_bytes_max = (uint32_t)number(input, 4)};
        size_t size = assent_settings_format(made, text);
        bool good = assent_settings_parse((struct assent_bytes){text, size}, &read);
        ASSENT_ASSERT(good == !assent_settings_wrong(made));
        ASSENT_ASSERT(!good || (assent_settings_format(&read, again) == size && memcmp(text, again, size) == 0));
}

static void checkpoint(struct assent_bytes text, int64_t start)
{
        struct assent_checkpoint read;
        char again[ASSENT_CHECKPOINT_SIZE_MAX];
        if (!assent_checkpoint_parse(text, start, &read))
                return;
        ASSENT_ASSERT(read.start == start && start >= 0 && read.next >= start);
        size_t size = assent_checkpoint_format(&read, again);
        ASSENT_ASSERT(fuzz_same(text, (struct assent_bytes){again, size}));
}

static void made_checkpoint(struct fuzz_input *input)
{
        struct assent_checkpoint made = {0}, read;
        char text[ASSENT_CHECKPOINT_SIZE_MAX];
        made_settings(input, &made.settings);
        made.start = (int64_t)(number(input, 8) >> 1);
        made.next = (int64_t)(number(input, 8) >> 1);
        made.tau_ms = fuzz_byte(input) & 1 ? INT64_MIN : (int64_t)number(input, 7);
        made.digest = number(input, 8);
        made.has_settings = !assent_settings_wrong(&made.settings);
        bool sound = made.next >= made.start && (made.tau_ms == INT64_MIN ? made.start == 0 : made.tau_ms >> 48 == 0);
        size_t size = assent_checkpoint_format(&made, text);
        bool good = assent_checkpoint_parse((struct assent_bytes){text, size}, made.start, &read);
        ASSENT_ASSERT(good == sound);
        ASSENT_ASSERT(!good || (read.next == made.next && read.tau_ms == made.tau_ms && read.digest == made.digest));
}

static long decimal(const char *digits, size_t size)
{
        long value = 0;
        for (size_t i = 0; i < size && value < ASSENT_LANES_MAX; i++)
                value = value * 10 + (digits[i] - '0');
        return value;
}

/* The list said again, item by item. */
static bool listed(const char *text, int lanes, bool taken[ASSENT_LANES_MAX])
{
        static const char digits[] = "0123456789";
        for (const char *at = text; *at; at += *at == ',') {
                size_t item = strcspn(at, ","), first = strspn(at, digits),
                       last = first < item ? strspn(at + first + 1, digits) : 0;
                if (!first || (first < item && (at[first] != '-' || !last || first + 1 + last != item)))
                        return false;
                long from = decimal(at, first), to = last ? decimal(at + first + 1, last) : from;
                if (from > to || to >= lanes)
                        return false;
                for (; from <= to; from++)
                        taken[from] = true;
                at += item;
        }
        return *text;
}

static void lane_list(const char *text, int lanes)
{
        static struct assent_lane_list list, again;
        static char written[ASSENT_LANES_MAX * 6];
        bool taken[ASSENT_LANES_MAX] = {false};
        const char *wrong = assent_lane_list_parse(text, "all", lanes, &list);
        if (*text && strcmp(text, "all") != 0 && strcmp(text, "subscribe") != 0) {
                size_t count = 0;
                ASSENT_ASSERT(listed(text, lanes, taken) == !wrong);
                for (int lane = 0; lane < lanes; lane++)
                        count += taken[lane];
                ASSENT_ASSERT(wrong || count == list.count);
                for (size_t i = 0; i < list.count; i++)
                        ASSENT_ASSERT(taken[list.lanes[i]]);
        }
        if (wrong || list.subscribe) {
                ASSENT_ASSERT(wrong ? wrong[0] != '\0' : strcmp(text, "subscribe") == 0 && list.count == 0);
                return;
        }
        ASSENT_ASSERT(list.count >= 1 && list.count <= (size_t)lanes);
        size_t size = 0;
        for (size_t i = 0; i < list.count; i++) {
                ASSENT_ASSERT(list.lanes[i] >= 0 && list.lanes[i] < lanes);
                ASSENT_ASSERT(i == 0 || list.lanes[i - 1] < list.lanes[i]);
                size += (size_t)snprintf(written + size, sizeof written - size, "%s%d", i ? "," : "", list.lanes[i]);
        }
        ASSENT_ASSERT(!assent_lane_list_parse(written, "", lanes, &again));
        ASSENT_ASSERT(again.count == list.count &&
                      memcmp(again.lanes, list.lanes, list.count * sizeof *list.lanes) == 0);
}

static void id(struct assent_bytes text)
{
        struct assent_uuid read, again;
        char written[ASSENT_UUID_TEXT_SIZE];
        enum assent_err err = assent_uuid_parse(text.data, text.size, &read);
        ASSENT_ASSERT(err == ASSENT_OK || err == ASSENT_E_ARGUMENT);
        if (err != ASSENT_OK)
                return;
        assent_uuid_format(&read, written);
        ASSENT_ASSERT(text.size == strlen(written));
        for (size_t i = 0; i < text.size; i++) { /* the same, but for case */
                char c = ((const char *)text.data)[i];
                ASSENT_ASSERT(written[i] == (c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c));
        }
        ASSENT_ASSERT(assent_uuid_parse(written, strlen(written), &again) == ASSENT_OK);
        ASSENT_ASSERT(memcmp(&read, &again, sizeof read) == 0);
}

static void word(struct assent_bytes text)
{
        enum assent_protocol protocol;
        enum assent_phase phase;
        enum assent_answer answer;
        enum assent_outcome outcome;
        enum assent_control_kind kind;
        if (assent_protocol_from(text, &protocol))
                ASSENT_ASSERT(fuzz_same(text, assent_bytes_of(assent_protocol_name(protocol))));
        if (assent_phase_from(text, &phase))
                ASSENT_ASSERT(fuzz_same(text, assent_bytes_of(assent_phase_name(phase))));
        if (assent_answer_from(text, &answer))
                ASSENT_ASSERT(fuzz_same(text, assent_bytes_of(assent_answer_name(answer))));
        if (assent_outcome_from(text, &outcome))
                ASSENT_ASSERT(fuzz_same(text, assent_bytes_of(assent_outcome_name(outcome))));
        if (assent_control_kind_from(text, &kind))
                ASSENT_ASSERT(fuzz_same(text, assent_bytes_of(assent_control_kind_name(kind))));
        size_t good = 0; /* [a-z0-9-]{1,40}, by another route */
        while (good < text.size && ((const char *)text.data)[good] &&
               strchr("abcdefghijklmnopqrstuvwxyz0123456789-", ((const char *)text.data)[good]))
                good++;
        ASSENT_ASSERT(assent_service_valid(text) == (good == text.size && good >= 1 && good <= 40));
}

/* ---- foreign text on its way out ---- */

/* The size of the well-formed character at `s`, or 0: table 3-7 of the Unicode standard. */
static size_t character(const uint8_t *s, size_t size)
{
        static const uint8_t rows[][5] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                                          {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                                          {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                                          {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
        if (s[0] < 0x80)
                return 1;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                const uint8_t *row = rows[i];
                if (s[0] < row[0] || s[0] > row[1] || size < row[4] || s[1] < row[2] || s[1] > row[3])
                        continue;
                if (row[4] > 2 && (s[2] < 0x80 || s[2] > 0xbf))
                        return 0;
                return row[4] == 4 && (s[3] < 0x80 || s[3] > 0xbf) ? 0 : row[4];
        }
        return 0;
}

/* Behind some letters, so that the cut falls anywhere. */
static void reason(struct assent_bytes text, size_t letters)
{
        char out[ASSENT_REASON_SIZE_MAX];
        size_t whole = letters;
        char *bytes = malloc(letters + text.size + 1);
        ASSENT_ASSERT(bytes);
        memset(bytes, 'a', letters);
        if (text.size)
                memcpy(bytes + letters, text.data, text.size);
        while (whole < letters + text.size && bytes[whole])
                whole++;
        size_t size = assent_reason_copy(out, (struct assent_bytes){bytes, letters + text.size});
        ASSENT_ASSERT(size <= sizeof out && size <= whole && memcmp(out, bytes, size) == 0);
        ASSENT_ASSERT(whole > sizeof out ? size + 3 >= sizeof out : size == whole);
        for (size_t back = 1; back < 4 && back <= size && size < whole; back++)
                ASSENT_ASSERT(character((uint8_t *)bytes + size - back, whole - size + back) <= back);
        /* What is left out of the room is the beginning of a character that needs more, unless the text is no UTF-8. */
        size_t step = size < whole ? character((uint8_t *)bytes + size, whole - size) : 0;
        if (size < sizeof out && step)
                ASSENT_ASSERT(size + step > sizeof out || (bytes[size + step] & 0xc0) == 0x80);
        free(bytes);
}

static void printable(const char *text, size_t size)
{
        for (size_t i = 0; i < size; i++)
                ASSENT_ASSERT(text[i] >= ' ' && text[i] <= '~');
}

static void undo_text(const char *escaped, struct assent_bytes text)
{
        const uint8_t *byte = text.data;
        for (size_t i = 0; i < text.size; i++, byte++) {
                char unit[8];
                const char *letter = *byte ? strchr("\nn\rr\tt\\\\\"\"", *byte) : NULL;
                if (letter && (letter[1] == 'n' || letter[1] == 'r' || letter[1] == 't' || *letter == letter[1]))
                        snprintf(unit, sizeof unit, "\\%c", letter[1]);
                else
                        snprintf(unit, sizeof unit, *byte >= ' ' && *byte <= '~' ? "%c" : "\\x%02x", *byte);
                ASSENT_ASSERT(strncmp(escaped, unit, strlen(unit)) == 0);
                escaped += strlen(unit);
        }
        ASSENT_ASSERT(!*escaped);
}

/* What a JSON reader finds is the text, with U+FFFD for each byte that is no UTF-8. */
static void undo_json(const json_t *read, struct assent_bytes text)
{
        const char *got = json_string_value(read);
        size_t got_size = json_string_length(read), step;
        for (size_t at = 0; at < text.size; at += step) {
                const uint8_t *bytes = (const uint8_t *)text.data + at;
                size_t size = character(bytes, text.size - at);
                const void *want = size ? (const void *)bytes : "\xef\xbf\xbd";
                step = size ? size : 1;
                size = size ? size : 3;
                ASSENT_ASSERT(got_size >= size && memcmp(got, want, size) == 0);
                got += size;
                got_size -= size;
        }
        ASSENT_ASSERT(got_size == 0);
}

/* In the little room there is: the beginning of the whole, never half an escape, with a mark. */
static void cut(const char *whole, const char *escaped, size_t size, size_t room)
{
        printable(escaped, size);
        ASSENT_ASSERT(strlen(escaped) == size && size < room);
        if (strcmp(whole, escaped) == 0)
                return;
        ASSENT_ASSERT(size >= 3 && strcmp(escaped + size - 3, "...") == 0 && strlen(whole) > room - 1);
        ASSENT_ASSERT(strncmp(whole, escaped, size - 3) == 0 && size + UNIT_MAX + 3 > room);
        size_t slashes = 0;
        while (slashes < size - 3 && escaped[size - 4 - slashes] == '\\')
                slashes++;
        ASSENT_ASSERT(slashes % 2 == 0);
}

static void escapes(struct assent_bytes text, size_t room)
{
        size_t whole_size = text.size * UNIT_MAX + 4;
        char *whole = malloc(whole_size + 2), *little = malloc(room);
        ASSENT_ASSERT(whole && little);
        size_t size = assent_escape_text(text.data, text.size, whole, whole_size);
        printable(whole, size);
        undo_text(whole, text);
        cut(whole, little, assent_escape_text(text.data, text.size, little, room), room);

        whole[0] = '"';
        size = assent_escape_json(text.data, text.size, whole + 1, whole_size);
        printable(whole, size + 1);
        cut(whole + 1, little, assent_escape_json(text.data, text.size, little, room), room);
        memcpy(whole + 1 + size, "\"", 2);
        json_t *read = json_loads(whole, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        ASSENT_ASSERT(json_is_string(read));
        undo_json(read, text);
        json_decref(read);
        free(whole);
        free(little);
}

/* Pieces of text written one behind the other, in too little room as well. */
static void pieces(struct fuzz_input *input, size_t room)
{
        char cut_short[256], want[64];
        struct assent_text text;
        struct assent_buffer all;
        assent_text_open(&text, cut_short, room + 1);
        assent_buffer_init(&all, 1 << 16);
        for (int i = 0; i < FIELDS && fuzz_more(input); i++) {
                unsigned how = fuzz_byte(input);
                int64_t value = (int64_t)number(input, how >> 3 & 8 ? 8 : 2);
                uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
                snprintf(want, sizeof want, "%" PRId64, value);
                if (how & 1) {
                        snprintf(want, sizeof want, "%s%" PRIu64 ".%03u s",
                                 value < 0 ? "-"
                                 : how & 2 ? "+"
                                           : "",
                                 size / 1000, (unsigned)(size % 1000));
                        assent_text_put_seconds(&text, value, how & 2);
                } else {
                        assent_text_put_int(&text, value);
                }
                assent_buffer_text(&all, want);
        }
        ASSENT_ASSERT(text.size == strlen(cut_short) && text.size == (all.size < room ? all.size : room));
        ASSENT_ASSERT(strncmp(assent_buffer_string(&all), cut_short, text.size) == 0 && text.cut == (all.size > room));
        assent_buffer_close(&all);
}

/* ---- lines of logging ---- */

static char line[2 * LINE_SIZE_MAX];
static size_t line_size;

static ssize_t caught_write(int fd, const void *data, size_t size)
{
        ASSENT_ASSERT(fd == STDERR_FILENO && line_size == 0 && size > 0 && size <= LINE_SIZE_MAX);
        memcpy(line, data, size);
        line_size = size;
        return (ssize_t)size;
}

static void json_line(const struct assent_field *fields, size_t count)
{
        json_t *read = json_loadb(line, line_size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
        bool truncated = json_is_true(json_object_get(read, "truncated"));
        ASSENT_ASSERT(json_is_object(read) && json_object_get(read, "ts") && json_object_get(read, "event"));
        ASSENT_ASSERT(truncated ? json_object_size(read) < count + 4 : json_object_size(read) == count + 3);
        for (size_t i = 0; i < count; i++) {
                const json_t *value = json_object_get(read, fields[i].name);
                if (!value)
                        ASSENT_ASSERT(truncated);
                else if (fields[i].type == ASSENT_FIELD_INT)
                        ASSENT_ASSERT(json_is_integer(value) && json_integer_value(value) == fields[i].value.integer);
                else if (fields[i].type == ASSENT_FIELD_BYTES &&
                         fields[i].value.bytes.size * UNIT_MAX <= VALUE_SIZE_MAX)
                        undo_json(value, fields[i].value.bytes);
                else
                        ASSENT_ASSERT(fields[i].type == ASSENT_FIELD_REAL ? json_is_number(value) || json_is_null(value)
                                                                          : json_is_string(value));
        }
        json_decref(read);
}

/* name=value or name="value" with backslashes, and single blanks between them. */
static void logfmt_line(size_t count)
{
        const char *at = line, *end = line + line_size - 1;
        size_t words = 0;
        bool truncated = false;
        for (; at < end; words++, at += at < end) {
                const char *name = at;
                while (at < end && *at != '=' && *at != ' ' && *at != '"')
                        at++;
                ASSENT_ASSERT(at > name && at + 1 < end && *at == '=');
                truncated = truncated || strncmp(name, "truncated=true", 14) == 0;
                if (*++at == '"') {
                        for (at++; at < end && *at != '"'; at++)
                                at += *at == '\\';
                        ASSENT_ASSERT(at < end);
                        at++;
                } else {
                        for (; at < end && *at != ' '; at++)
                                ASSENT_ASSERT(*at != '"' && *at != '=' && *at != '\\');
                }
                ASSENT_ASSERT(at == end || *at == ' ');
        }
        ASSENT_ASSERT(truncated ? words < count + 4 : words == count + 3);
}

static void log_line(struct fuzz_input *input, const char *event)
{
        static const char *const names[FIELDS] = {"a", "b", "c", "d", "e", "f", "g", "h"};
        struct assent_field fields[FIELDS];
        struct assent_uuid id = {{7}};
        unsigned how = fuzz_byte(input);
        size_t count = 0;
        double real;
        while (count < FIELDS && fuzz_more(input)) {
                struct assent_field *field = &fields[count];
                uint64_t bits;
                *field =
                    (struct assent_field){.name = names[count], .type = (enum assent_field_type)fuzz_below(input, 5)};
                count++;
                if (field->type == ASSENT_FIELD_TEXT) {
                        field->value.text = how & 64 ? event : NULL;
                } else if (field->type == ASSENT_FIELD_UUID) {
                        field->value.uuid = &id;
                } else if (field->type == ASSENT_FIELD_BYTES) {
                        size_t size = fuzz_byte(input) * 2u;
                        size = size < input->size - input->at ? size : input->size - input->at;
                        field->value.bytes = (struct assent_bytes){input->data + input->at, size};
                        input->at += size;
                } else {
                        bits = number(input, 8);
                        memcpy(&real, &bits, sizeof real);
                        if (field->type == ASSENT_FIELD_INT)
                                field->value.integer = (int64_t)bits;
                        else
                                field->value.real = real;
                }
        }
        line_size = 0;
        assent_log_setup(ASSENT_LOG_INFO, how & 1 ? ASSENT_LOG_JSON : ASSENT_LOG_LOGFMT, NULL);
        assent_log_write((enum assent_log_level)(how >> 1 & 3), event, fields, count);
        ASSENT_ASSERT(line_size > 0 && line[line_size - 1] == '\n');
        printable(line, line_size - 1);
        if (how & 1)
                json_line(fields, count);
        else
                logfmt_line(count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct fuzz_input input = {data, size, 0};
        struct assent_settings made;
        unsigned which = fuzz_below(&input, 11), argument = fuzz_byte(&input);
        size_t rest = input.size - input.at;
        char *text = malloc(rest + 1); /* of its exact size, so that a byte too far is noticed */
        ASSENT_ASSERT(text);
        if (rest)
                memcpy(text, data + input.at, rest);
        text[rest] = '\0';
        struct assent_bytes bytes = {text, rest};
        if (which == 0)
                settings(bytes);
        else if (which == 1)
                checkpoint(bytes, argument);
        else if (which == 2)
                lane_list(text, argument == 255 ? ASSENT_LANES_MAX : (int)argument + 1);
        else if (which == 3)
                id(bytes);
        else if (which == 4)
                word(bytes);
        else if (which == 5)
                made_settings(&input, &made);
        else if (which == 6)
                made_checkpoint(&input);
        else if (which == 7)
                reason(bytes, argument);
        else if (which == 8)
                escapes(bytes, argument + 4u);
        else if (which == 9)
                pieces(&input, argument);
        else
                log_line(&input, text);
        free(text);
        return 0;
}
