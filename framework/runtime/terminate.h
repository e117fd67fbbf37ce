/* terminate.h: P10, for many branches at once: replay one lane of the inbox through the coordinator's core and collect the
 * decisions it emits for the branches in doubt. No coordinator need be alive. */
#ifndef ASSENT_RUNTIME_TERMINATE_H
#define ASSENT_RUNTIME_TERMINATE_H

#include "runtime/lanes.h"
#include "runtime/open_branches.h"

struct assent_decisions {
        struct assent_message *commands; /* service: the caller's; no kind, no payload */
        size_t count, capacity;
        bool reached_end; /* read to end_offset, so what was not found is not decided there */
        char errmsg[ASSENT_LANES_ERRMSG_SIZE_MAX];
};

/* Reads from `first` (the least txn id in doubt) to `end_offset` (not included). `doubted` says which branches are asked
 * about. The first decision command for `service` and each such branch is kept. Blocks. Returns ASSENT_OK, ASSENT_E_BROKER,
 * ASSENT_E_POSITION (the log starts too late to tell), ASSENT_E_KAFKA, ASSENT_E_MEMORY. */
enum assent_err assent_terminate(struct assent_bus *bus, struct assent_codec *codec, const struct assent_config *config,
                                 const struct assent_settings *settings, struct assent_bytes service,
                                 const struct assent_uuid *first, int64_t end_offset,
                                 const struct assent_open_branches *doubted, struct assent_decisions *out);
void assent_decisions_free(struct assent_decisions *decisions);

#endif
