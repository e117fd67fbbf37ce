/* settings.h: the SETTINGS of a prefix (R17): what every evaluator of a lane must agree on. They travel as canonical text,
 * "rules=1 schema=1 lanes=4 window_ms=90000 …", compared byte for byte, so that a refusal can print both. */
#ifndef ASSENT_CORE_SETTINGS_H
#define ASSENT_CORE_SETTINGS_H

#include "core/message.h"

#define ASSENT_SETTINGS_SIZE_MAX 512

struct assent_settings {
        uint32_t rules_version;
        uint32_t schema_version; /* names the accepted schema fingerprints: see schemas/README.md */
        uint32_t lanes;
        int64_t window_ms;       /* W */
        int64_t skew_ms;         /* S */
        int64_t timeout_max_ms;
        int64_t grace_ms;        /* P10's, also in W > 2·timeout_max + grace */
        uint32_t branches_max;   /* 1 … ASSENT_BRANCHES_MAX */
        uint32_t record_bytes_max;
};

/* Writes the canonical text, NUL-terminated. Returns its length. */
size_t assent_settings_format(const struct assent_settings *settings, char text[ASSENT_SETTINGS_SIZE_MAX]);

/* Reads it back. False when it is not exactly the canonical text of valid settings of these rules and schemas. */
bool assent_settings_parse(struct assent_bytes text, struct assent_settings *out);

/* NULL when they satisfy R17's conditions (W > 2·timeout_max + grace, every bound); else a sentence that says which not. */
const char *assent_settings_wrong(const struct assent_settings *settings);

#endif
