#include "runtime/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/panic.h"

size_t assent_checkpoint_format(const struct assent_checkpoint *c, char text[ASSENT_CHECKPOINT_SIZE_MAX])
{
        char settings[ASSENT_SETTINGS_SIZE_MAX] = "none";
        if (c->has_settings)
                assent_settings_format(&c->settings, settings);
        int size = snprintf(text, ASSENT_CHECKPOINT_SIZE_MAX,
                            "assent-checkpoint 1 next=%" PRId64 " tau=%" PRId64 " digest=%016" PRIx64 " settings=%s", c->next,
                            c->tau_ms, c->digest, settings);
        ASSENT_ASSERT(size > 0 && size < ASSENT_CHECKPOINT_SIZE_MAX);
        return (size_t)size;
}

bool assent_checkpoint_parse(struct assent_bytes text, int64_t start, struct assent_checkpoint *out)
{
        char copy[ASSENT_CHECKPOINT_SIZE_MAX];
        if (text.size == 0 || text.size >= sizeof copy)
                return false;
        memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';

        memset(out, 0, sizeof *out);
        out->start = start;
        int settings = -1;
        int fields = sscanf(copy, "assent-checkpoint 1 next=%" SCNd64 " tau=%" SCNd64 " digest=%16" SCNx64 " settings=%n",
                            &out->next, &out->tau_ms, &out->digest, &settings);
        if (fields != 3 || settings < 0 || out->next < start || start < 0)
                return false;
        bool before_all = out->tau_ms == INT64_MIN; /* only a start at 0 has no time before it */
        if (before_all ? start > 0 : out->tau_ms < 0 || out->tau_ms >= INT64_C(1) << 48)
                return false;
        out->has_settings = strcmp(copy + settings, "none") != 0;
        if (out->has_settings && !assent_settings_parse(assent_bytes_of(copy + settings), &out->settings))
                return false;

        /* What it would be written as is the definition of what is read. */
        char again[ASSENT_CHECKPOINT_SIZE_MAX];
        return assent_checkpoint_format(out, again) == text.size && memcmp(again, copy, text.size) == 0;
}
