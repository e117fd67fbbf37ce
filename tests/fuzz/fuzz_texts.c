/* fuzz_texts.c: the small texts that come from outside: settings, checkpoints, lane lists, ids, words, names. What is
 * read must be what would be written; everything else is refused. */
#include "core/settings.h"
#include "fuzz.h"
#include "runtime/checkpoint.h"
#include "runtime/lane_list.h"

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

static void lane_list(const char *text, int lanes)
{
        static struct assent_lane_list list, again;
        static char written[ASSENT_LANES_MAX * 6];
        const char *wrong = assent_lane_list_parse(text, "all", lanes, &list);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct fuzz_input input = {data, size, 0};
        struct assent_settings made;
        unsigned which = fuzz_below(&input, 7), argument = fuzz_byte(&input);
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
        else
                made_checkpoint(&input);
        free(text);
        return 0;
}
