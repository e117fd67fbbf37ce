#include "runtime/settings.h"

#include <stdio.h>
#include <string.h>

#include "base/panic.h"

void assent_settings_of(const struct assent_config *config, struct assent_settings *out)
{
        ASSENT_ASSERT(config && out);
        /* The configuration's own table keeps every number within the bounds of its type here. */
        *out = (struct assent_settings){
            .rules_version = ASSENT_RULES_VERSION,
            .schema_version = ASSENT_SCHEMA_VERSION,
            .lanes = (uint32_t)assent_config_int(config, "assent.lanes_count"),
            .window_ms = assent_config_int(config, "assent.window_ms"),
            .skew_ms = assent_config_int(config, "assent.skew_ms"),
            .timeout_max_ms = assent_config_int(config, "assent.timeout_max_ms"),
            .grace_ms = assent_config_int(config, "assent.grace_ms"),
            .branches_max = (uint32_t)assent_config_int(config, "assent.branches_max"),
            .record_bytes_max = (uint32_t)assent_config_int(config, "assent.record_bytes_max"),
        };
}

bool assent_settings_agree(const struct assent_settings *mine, const struct assent_settings *lane, char *why,
                           size_t why_size)
{
        ASSENT_ASSERT(why && why_size > 0);
        char mine_text[ASSENT_SETTINGS_SIZE_MAX], lane_text[ASSENT_SETTINGS_SIZE_MAX];
        assent_settings_format(mine, mine_text);
        assent_settings_format(lane, lane_text);
        why[0] = '\0';
        if (strcmp(mine_text, lane_text) == 0) /* R17: byte for byte */
                return true;
        snprintf(why, why_size,
                 "the lane was made with the settings \"%s\", this configuration and build ask for "
                 "\"%s\"; settings of a prefix never change: correct the configuration, or drain "
                 "this prefix and use a new one",
                 lane_text, mine_text);
        return false;
}
