/* lane_model.h: a coordinator's lane again, slow and plain, from the rules in framework/DESIGN.md §5 and not from the
 * code: arrays, no heaps, everything looked at when anything may be due. It shares with the core the message's struct, its
 * id and digest, and the hash; those have tests of their own. The simulator's judge knows by it what is true. */
#ifndef LANE_MODEL_H
#define LANE_MODEL_H

#include "core/coordinator.h"

/* A fuzz input needs the first MODEL_TXNS places; a simulated lane may need them all. */
enum { MODEL_TXNS = 32, MODEL_TXNS_MAX = 2048, MODEL_BRANCHES = 8, MODEL_SERVICES = 64, MODEL_EMISSIONS = 8192 };

#define MODEL_NEVER (-(INT64_C(1) << 61)) /* τ before any record */

enum model_state { MODEL_GONE, MODEL_VOTING, MODEL_PRE_COMMIT, MODEL_DECIDED, MODEL_FINISHED };

struct model_txn {
        enum model_state state;
        struct assent_uuid id;
        uint64_t begin_digest, lamport, decision_lamport;
        enum assent_protocol protocol;
        bool notify, asked_pre_commit, commit;
        unsigned count;
        struct assent_bytes services[MODEL_BRANCHES]; /* in the model's `services` */
        enum assent_answer votes[MODEL_BRANCHES]; /* 0: none */
        bool pre_acks[MODEL_BRANCHES], acks[MODEL_BRANCHES];
        int64_t timeout_ms, d_ms, d2_ms, decided_ms;
        char reason[ASSENT_REASON_SIZE_MAX];
        size_t reason_size;
        bool touched;
};

struct model_service {
        char name[ASSENT_SERVICE_SIZE_MAX];
        size_t size;
};

/* Equal prints: equal messages; the digest is over the whole body. */
struct model_print {
        struct assent_uuid id;
        uint64_t digest, lamport;
        enum assent_message_type type;
        struct assent_uuid txn_id; /* for whoever wants to know what it says: a command's branch and phase, an outcome */
        unsigned branch, word;
};

struct model {
        int32_t lane;
        int64_t tau_ms, floor_ms, settings_tau_ms;
        bool has_settings;
        struct assent_settings settings;
        /* So that most steps need not look at every transaction: nothing is due before due_ms, nothing that may be forgotten
         * was born before born_ms; eldest_ms is the least birth of the undecided, INT64_MAX without one. */
        int64_t due_ms, born_ms, eldest_ms;
        uint64_t images_sum, settings_image; /* what transactions and settings add to the digest */
        size_t emissions_count, touched_count, txns_count, services_count;
        struct model_service services[MODEL_SERVICES];
        struct model_print emissions[MODEL_EMISSIONS]; /* of the last step */
        size_t touched[MODEL_TXNS_MAX];                /* the transactions that the last step was about */
        struct assent_uuid ids[MODEL_TXNS_MAX];        /* of txns; all zero for a place that is free */
        uint64_t images[MODEL_TXNS_MAX];
        struct model_txn txns[MODEL_TXNS_MAX];         /* GONE from txns_count to MODEL_TXNS, then anything */
};

void model_open(struct model *model, int32_t lane);
enum assent_verdict model_step(struct model *model, int64_t offset, int64_t timestamp_ms,
                               const struct assent_message *message);
struct model_print model_print_of(const struct assent_message *message);
/* The digest of DESIGN §5, and R12's hold, after the last step. */
uint64_t model_digest(const struct model *model);
int64_t model_hold(const struct model *model);
int64_t model_birth(const struct model_txn *txn);

#endif
