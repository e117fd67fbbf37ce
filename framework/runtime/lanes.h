/* lanes.h: reading a lane of the inbox as anybody may: to evaluate it without a coordinator (P10,
 * C3), to tell a transaction's story, to find the lane's settings (R17). Readers join no group and
 * write nothing. */
#ifndef ASSENT_RUNTIME_LANES_H
#define ASSENT_RUNTIME_LANES_H

#include "codec/codec.h"
#include "core/coordinator.h"
#include "kafka/bus.h"

#define ASSENT_LANES_ERRMSG_SIZE_MAX 2048 /* two settings texts and a sentence */

/* The settings of a lane of the inbox (R17): its first SETTINGS record, or, where the log no longer
 * starts at 0, those of the coordinator group's checkpoint. ASSENT_OK; ASSENT_E_NOT_FOUND when
 * there are none (*log_start tells an empty lane from one whose beginning is gone);
 * ASSENT_E_SETTINGS when they are not settings that this build reads; ASSENT_E_BROKER,
 * ASSENT_E_KAFKA. `errmsg` holds the sentence. */
enum assent_err assent_lane_settings(struct assent_bus *bus, struct assent_codec *codec,
                                     const struct assent_config *config, int32_t lane, struct assent_settings *out,
                                     int64_t *log_start, char errmsg[ASSENT_LANES_ERRMSG_SIZE_MAX]);

/* The records about one transaction, put through the coordinator's own core as P10 asks: from the
 * first offset whose timestamp is at least birth − S, or from the log start where the broker cannot
 * look up times. */
struct assent_story {
        const struct assent_settings *settings; /* verified by the caller; also names the number of lanes */
        struct assent_uuid txn_id;
        int64_t end_offset; /* not included; -1: the high watermark at the start */
        void (*emit)(void *context, const struct assent_message *message);
        void (*trace)(void *context, const struct assent_trace *trace); /* may be NULL */
        /* After each record: false ends the story. It also ends by itself where no begin can be
         * accepted any more. */
        bool (*more)(void *context, const struct assent_core *core);
        void *context;
        /* Filled in. */
        int32_t lane;
        int64_t from, next; /* the offsets read: from ≤ … < next */
        int64_t first_ms;   /* time of the first record; ASSENT_TIME_NONE: there was none */
        int64_t tau_ms;     /* τ at the end */
        bool accepted;      /* the begin was seen and accepted */
        bool at_log_start;  /* it was read from a log start above 0 */
        bool cut;           /* and that is too late: records that decide it may be gone */
        char errmsg[ASSENT_LANES_ERRMSG_SIZE_MAX];
};

/* ASSENT_OK, ASSENT_E_BROKER, ASSENT_E_POSITION, ASSENT_E_KAFKA, ASSENT_E_MEMORY; see
 * story->errmsg. */
enum assent_err assent_lane_story(struct assent_bus *bus, struct assent_codec *codec,
                                  const struct assent_config *config, struct assent_story *story);

/* What an evaluation found. */
struct assent_evaluation {
        bool begin_seen; /* the lane holds an accepted begin */
        bool decided;
        enum assent_outcome outcome; /* COMMITTED or ABORTED, when decided */
        char reason[ASSENT_REASON_SIZE_MAX];
        size_t reason_size;
        int64_t decided_at_ms;
        uint64_t lamport;    /* the outcome's */
        int64_t next_offset; /* how far was read */
        char errmsg[ASSENT_LANES_ERRMSG_SIZE_MAX];
};

/* C3: the outcome that the core *emitted* for the transaction on the way to `end_offset`, which is
 * not included: the offset of one's own INQUIRE + 1, or -1 for the high watermark. `settings` are
 * the verified ones. Repeat: safe; nothing is written. Returns ASSENT_OK (look at begin_seen and decided),
 * ASSENT_E_POSITION (the log starts too late to tell), ASSENT_E_BROKER, ASSENT_E_KAFKA, ASSENT_E_MEMORY; out->errmsg
 * holds the sentence. */
enum assent_err assent_lane_evaluate(struct assent_bus *bus, struct assent_codec *codec,
                                     const struct assent_config *config, const struct assent_settings *settings,
                                     const struct assent_uuid *txn_id, int64_t end_offset,
                                     struct assent_evaluation *out);

#endif
