/* terminate.h: P10, for many branches at once: replay one lane of the inbox through the coordinator's core and collect the
 * decisions it emits for the branches in doubt. No coordinator need be alive. */
#ifndef ASSENT_RUNTIME_TERMINATE_H
#define ASSENT_RUNTIME_TERMINATE_H

#include "runtime/lanes.h"
#include "runtime/open_branches.h"

struct assent_decisions {
        struct assent_message *commands; /* service: the caller's; no kind, no payload */
        size_t count, capacity;
        char errmsg[ASSENT_LANES_ERRMSG_SIZE_MAX];
};

/* Reads from birth(first) − S to `end_offset` (not included; -1: the high watermark). `doubted` says which branches are asked
 * about. The first decision command for `service` and each such branch is kept, if its transaction is not older than `first`:
 * about an older one this reading is not to be believed, because it begins too late and has no floor, so a begin that was
 * sent again would look new in it. Blocks. Returns ASSENT_OK, ASSENT_E_BROKER,
 * ASSENT_E_POSITION (the log starts too late to tell), ASSENT_E_KAFKA, ASSENT_E_MEMORY. */
enum assent_err assent_terminate(struct assent_bus *bus, struct assent_codec *codec, const struct assent_config *config,
                                 const struct assent_settings *settings, struct assent_bytes service,
                                 const struct assent_uuid *first, int64_t end_offset,
                                 const struct assent_open_branches *doubted, struct assent_decisions *out);
void assent_decisions_free(struct assent_decisions *decisions);

#endif
