/* settings.h: the settings (R17) that this configuration and build ask for, and whether a lane's
 * are the same. */
#ifndef ASSENT_RUNTIME_SETTINGS_H
#define ASSENT_RUNTIME_SETTINGS_H

#include <assent/config.h>

#include "core/settings.h"

/* What the configuration asks for. It may still be wrong by R17: see assent_settings_wrong. */
void assent_settings_of(const struct assent_config *config, struct assent_settings *out);

/* R17: true when both are the same text. Else false, and `why` holds both texts and what to do,
 * NUL-terminated. */
bool assent_settings_agree(const struct assent_settings *mine, const struct assent_settings *lane, char *why,
                           size_t why_size);

#endif
