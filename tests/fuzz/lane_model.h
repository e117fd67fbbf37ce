/* lane_model.h: a coordinator's lane again, slow and plain, from the rules in framework/DESIGN.md §5 and not from the
 * code: arrays, no heaps, everything looked at in every step. It shares with the core the message's struct, its id and
 * digest, and the hash; those have tests of their own. */
#ifndef LANE_MODEL_H
#define LANE_MODEL_H

#include "core/coordinator.h"

enum { MODEL_TXNS = 32, MODEL_BRANCHES = 8, MODEL_EMISSIONS = 1024 };

#define MODEL_NEVER (-(INT64_C(1) << 61)) /* τ before any record */

enum model_state { MODEL_GONE, MODEL_VOTING, MODEL_PRE_COMMIT, MODEL_DECIDED, MODEL_FINISHED };

struct model_txn {
        enum model_state state;
        struct assent_uuid id;
        uint64_t begin_digest, lamport, decision_lamport;
        enum assent_protocol protocol;
        bool notify, asked_pre_commit, commit;
        unsigned count;
        struct assent_bytes services[MODEL_BRANCHES];
        enum assent_answer votes[MODEL_BRANCHES]; /* 0: none */
        bool pre_acks[MODEL_BRANCHES], acks[MODEL_BRANCHES];
        int64_t timeout_ms, d_ms, d2_ms, decided_ms;
        char reason[ASSENT_REASON_SIZE_MAX];
        size_t reason_size;
};

/* Equal prints: equal messages; the digest is over the whole body. */
struct model_print {
        struct assent_uuid id;
        uint64_t digest, lamport;
        enum assent_message_type type;
};

struct model {
        int32_t lane;
        int64_t tau_ms, floor_ms, settings_tau_ms;
        bool has_settings;
        struct assent_settings settings;
        struct model_txn txns[MODEL_TXNS];
        struct model_print emissions[MODEL_EMISSIONS]; /* of the last step */
        size_t emissions_count;
};

void model_open(struct model *model, int32_t lane);
enum assent_verdict model_step(struct model *model, int64_t offset, int64_t timestamp_ms,
                               const struct assent_message *message);
struct model_print model_print_of(const struct assent_message *message);
/* The digest of DESIGN §5, and R12's hold. */
uint64_t model_digest(const struct model *model);
int64_t model_hold(const struct model *model);
int64_t model_birth(const struct model_txn *txn);

#endif
