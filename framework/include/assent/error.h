/* error.h: one code per thing a caller can do about a failure. The sentence for people is in the handle (…_errmsg). */
#ifndef ASSENT_ERROR_H
#define ASSENT_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* What the caller must do. RETRY: the same call later. ABORT: this request is lost, the handle goes on. FATAL: close the
 * handle (a daemon exits and is started again; replay is the recovery path). */
enum assent_class { ASSENT_CLASS_OK, ASSENT_CLASS_RETRY, ASSENT_CLASS_ABORT, ASSENT_CLASS_FATAL };

/*        name                  class    sentence */
#define ASSENT_ERRORS(X)                                                                                               \
        X(ASSENT_OK,            OK,      "no error")                                                                   \
        X(ASSENT_AGAIN,         RETRY,   "not possible right now; try again")                                          \
        X(ASSENT_TIMED_OUT,     RETRY,   "the time given has passed; this says nothing about the outcome")             \
        X(ASSENT_E_BROKER,      RETRY,   "no Kafka broker can be reached")                                             \
        X(ASSENT_E_ARGUMENT,    ABORT,   "an argument is not valid")                                                   \
        X(ASSENT_E_LIMIT,       ABORT,   "a limit would be exceeded")                                                  \
        X(ASSENT_E_DECODE,      ABORT,   "the bytes are not a message of a known schema")                              \
        X(ASSENT_E_TOO_LARGE,   ABORT,   "the record is larger than the topic takes")                                  \
        X(ASSENT_E_UNSUPPORTED, ABORT,   "the broker or this build does not support that")                             \
        X(ASSENT_E_NOT_FOUND,   ABORT,   "there is no such thing")                                                     \
        X(ASSENT_E_DENIED,      ABORT,   "not authorised")                                                             \
        X(ASSENT_E_CONFIG,      FATAL,   "the configuration is not valid")                                             \
        X(ASSENT_E_TOPIC,       FATAL,   "a topic is missing or not set up as it must be")                             \
        X(ASSENT_E_SETTINGS,    FATAL,   "the lane's settings differ from this configuration or build")                \
        X(ASSENT_E_DIGEST,      FATAL,   "the replayed state differs from the committed checkpoint")                   \
        X(ASSENT_E_CHECKPOINT,  FATAL,   "the group's committed offset is not a checkpoint that can be replayed")      \
        X(ASSENT_E_POSITION,    FATAL,   "the database's position does not fit the log")                               \
        X(ASSENT_E_OWNER,       FATAL,   "another process owns this database or lane")                                 \
        X(ASSENT_E_STORE,       FATAL,   "the local database failed")                                                  \
        X(ASSENT_E_HANDLER,     FATAL,   "a handler broke its contract")                                               \
        X(ASSENT_E_KAFKA,       FATAL,   "the Kafka client failed for good and must be opened again")                  \
        X(ASSENT_E_MEMORY,      FATAL,   "out of memory, or at a configured memory limit")

enum assent_err {
#define X(name, class, sentence) name,
        ASSENT_ERRORS(X)
#undef X
        ASSENT_ERR_COUNT
};

/* The code's name, its class and its sentence. Thread: safe. Never NULL. */
__attribute__((visibility("default"))) const char *assent_err_name(enum assent_err err);
__attribute__((visibility("default"))) enum assent_class assent_err_class(enum assent_err err);
__attribute__((visibility("default"))) const char *assent_err_text(enum assent_err err);

#ifdef __cplusplus
}
#endif
#endif
