/* work.h: what other threads hand to a participant's (assent_participant_submit): a bounded queue, and what was taken out of it
 * until it is durable. */
#ifndef ASSENT_RUNTIME_WORK_H
#define ASSENT_RUNTIME_WORK_H

#include <assent/participant.h>
#include <pthread.h>

struct assent_works {
        pthread_mutex_t mutex; /* guards `closed`, and which list is the waiting one, and that list */
        bool closed, opened;
        struct assent_work lists[2][ASSENT_WORK_MAX];
        int waiting; /* the list that is being filled; the other one is the participant's */
        size_t waiting_count;
        size_t taken_count;
        bool undone[ASSENT_WORK_MAX]; /* of those taken: rolled back at its own wish */
};

/* `works` is zeroed. ASSENT_OK, ASSENT_E_MEMORY. */
enum assent_err assent_works_open(struct assent_works *works);
/* Thread: any. ASSENT_OK, ASSENT_AGAIN (full), ASSENT_E_ARGUMENT (closed). */
enum assent_err assent_works_put(struct assent_works *works, const struct assent_work *work);

/* The rest is for the participant's thread. */
bool assent_works_waiting(struct assent_works *works);
/* Takes everything that waits; what was taken before must have been told. Returns it, *count of them. */
const struct assent_work *assent_works_take(struct assent_works *works, size_t *count);
/* What was taken is durable, but for what is `undone`: calls each `done`. */
void assent_works_tell(struct assent_works *works);
/* Nothing more is let in. */
void assent_works_close(struct assent_works *works);
/* Closes, and tells all that was taken or waits that it failed. */
void assent_works_fail(struct assent_works *works, enum assent_err err);
/* Right also without an open. */
void assent_works_free(struct assent_works *works);

#endif
