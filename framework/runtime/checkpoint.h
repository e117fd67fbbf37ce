/* checkpoint.h: the coordinator's checkpoint (R12, R13) as it stands in the group offset's metadata. */
#ifndef ASSENT_RUNTIME_CHECKPOINT_H
#define ASSENT_RUNTIME_CHECKPOINT_H

#include "core/settings.h"

#define ASSENT_CHECKPOINT_SIZE_MAX 1024

struct assent_checkpoint {
        int64_t start;    /* L: the group offset itself; not in the metadata */
        int64_t tau_ms;   /* τ(L−1); INT64_MIN when L is 0 */
        int64_t next;     /* N */
        uint64_t digest;  /* of the state at N */
        struct assent_settings settings;
        bool has_settings; /* false: the lane had none yet at N */
};

/* Writes the metadata, NUL-terminated, e.g. "assent-checkpoint 1 next=120 tau=1700000000000 digest=00…0f settings=rules=1 …".
 * Returns its length. */
size_t assent_checkpoint_format(const struct assent_checkpoint *checkpoint, char text[ASSENT_CHECKPOINT_SIZE_MAX]);

/* Reads it back; `start` is the group offset. False for anything that this build did not write: an offset-reset tool's
 * empty metadata, for one. */
bool assent_checkpoint_parse(struct assent_bytes text, int64_t start, struct assent_checkpoint *out);

#endif
