/* config_table.c: every key with its type, default, bounds and help; what librdkafka may be told;
 * and the judgement of one value against its row. */
#include "base/config_table.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/panic.h"

#define MIB INT64_C(1048576)

static const char *prefix_wrong(const char *value);

#define TEXT(name_, value_, wrong_, help_)                                                         \
        {                                                                                          \
                .name = (name_), .type = ASSENT_CONFIG_TEXT, .value = (value_), .wrong = (wrong_), \
                .help = (help_)                                                                    \
        }
#define WORD(name_, words_, value_, help_)                                                         \
        {                                                                                          \
                .name = (name_), .type = ASSENT_CONFIG_WORD, .words = (words_), .value = (value_), \
                .help = (help_)                                                                    \
        }
#define BOOL(name_, value_, help_)                                                                 \
        {                                                                                          \
                .name = (name_), .type = ASSENT_CONFIG_BOOL, .value = (value_), .help = (help_)    \
        }
#define INT(name_, value_, min_, max_, help_)                                                      \
        {                                                                                          \
                .name = (name_), .type = ASSENT_CONFIG_INT, .value = #value_, .min = (min_),       \
                .max = (max_), .help = (help_)                                                     \
        }

const struct assent_config_key assent_config_keys[] = {
    TEXT("assent.brokers", "", NULL,
         "Kafka brokers to begin with, host:port,host:port; bootstrap.servers is another name for "
         "it"),
    WORD("assent.broker", "kafka|embedded", "kafka",
         "what answers there; embedded is assent-devbroker, for demos and tests: it loses "
         "everything when it ends"),
    BOOL("assent.dev", "false",
         "accept topics that can lose acknowledged records (replication below 3 …)"),
    TEXT("assent.prefix", "assent", prefix_wrong,
         "the first part of every topic and group name; one prefix is one system of transactions"),
    TEXT("assent.lanes", "", NULL,
         "which lanes this process works on: \"0-3,7\", \"all\", \"subscribe\" (the group "
         "balances), or the program's choice"),
    INT("assent.lanes_count", 4, 1, 1024, "lanes of a new prefix; never changes afterwards"),
    INT("assent.replication", 3, 1, 9, "replicas of each new topic"),
    INT("assent.min_insync_replicas", 2, 1, 9,
        "replicas that must hold a record before it is acknowledged, of each new topic"),
    INT("assent.retention_ms", 604800000, 60000, INT64_MAX,
        "how long new topics keep records; must exceed the longest outage of a coordinator or "
        "participant"),
    INT("assent.window_ms", 90000, 1000, 3600000,
        "age up to which a begin is accepted; must exceed 2 * timeout_max_ms + grace_ms; fixed for "
        "a prefix"),
    INT("assent.skew_ms", 5000, 0, 600000,
        "how far clients' clocks may be ahead of the brokers'; fixed for a prefix"),
    INT("assent.timeout_max_ms", 30000, 100, 600000,
        "longer timeouts of begins are cut to this; fixed for a prefix"),
    INT("assent.timeout_ms", 10000, 1, 600000,
        "time for all votes to arrive, of transactions begun by this process"),
    INT("assent.branches_max", 64, 1, 64, "branches in one transaction; fixed for a prefix"),
    INT("assent.record_bytes_max", 262144, 1024, 8 * MIB,
        "bytes of one record; fixed for a prefix"),
    INT("assent.in_flight_soft", 1000000, 1, 100000000,
        "live transactions in a lane above which each new one is cancelled (OVERLOAD)"),
    INT("assent.in_flight_max", 2000000, 1, 100000000,
        "live transactions in a lane above which its coordinator stops"),
    INT("assent.memory_bytes_max", 4294967296, 16 * MIB, 1048576 * MIB,
        "memory that the state of one lane may take; beyond it the process stops"),
    INT("assent.grace_ms", 2000, 0, 600000,
        "time in doubt after the deadline before a participant asks for the outcome itself; fixed "
        "for a prefix"),
    INT("assent.checkpoint_ms", 250, 10, 60000, "time between two checkpoints of a busy lane"),
    INT("assent.checkpoint_idle_ms", 3600000, 1000, 86400000,
        "time between two checkpoints of an idle lane"),
    BOOL("assent.standby", "false",
         "coordinator: evaluate the lanes and publish only while their owner's checkpoints stand still"),
    INT("assent.takeover_ms", 500, 20, 600000,
        "coordinator, standing by: how long the owner's checkpoints may stand still while it has "
        "something to publish"),
    INT("assent.horizon_ms", 3600000, 1000, 31536000000,
        "log time for which a participant or consumer remembers what it did"),
    INT("assent.retry_ms", 100, 1, 60000,
        "first pause before a handler that asked for RETRY is called again; doubles"),
    INT("assent.retry_max_ms", 30000, 1, 3600000, "longest pause before a handler is called again"),
    INT("assent.batch_max", 1000, 1, 100000, "records handled in one local transaction"),
    TEXT("assent.db", "", NULL,
         "the SQLite file of a participant or consumer; local disk, one process at a time"),
    WORD("assent.pre_commit_cut_off", "wait|commit", "wait",
         "3PC: what a participant does that is pre-committed and cut off from the brokers past its "
         "timeout"),
    TEXT("assent.takeover_override", "", NULL,
         "the lane that may be taken over although its checkpoint does not match: an operator's "
         "way out"),
    INT("assent.start_timeout_ms", 30000, 100, 3600000,
        "how long to wait for brokers at the start"),
    INT("assent.stop_timeout_ms", 10000, 100, 3600000,
        "how long a stop may take to publish what is committed"),
    WORD("assent.log_level", "error|warn|info|debug", "info",
         "least severe level that is written to stderr"),
    WORD("assent.log_format", "logfmt|json", "logfmt", "how lines on stderr are written"),
    TEXT("assent.admin_listen", "127.0.0.1:0", NULL,
         "where a daemon answers /livez, /readyz, /metrics and /version; port 0: any that is free, \"off\": nowhere"),
    TEXT("assent.admin_port_file", "", NULL, "a file that gets the port of assent.admin_listen when a daemon listens"),
    TEXT("assent.admin_token_file", "", NULL,
         "lines \"NAME TOKEN\": whoever asks for /metrics or /version must bring a token; readable by its owner only"),
    INT("assent.statistics_ms", 5000, 0, 3600000,
        "time between two statistics of the Kafka client, of which metrics are made; 0: none"),
    TEXT("assent.sasl_password_file", "", NULL,
         "a file, readable by its owner only, that holds the value of sasl.password"),
};
const size_t assent_config_keys_count = sizeof assent_config_keys / sizeof *assent_config_keys;

/* Settings of librdkafka that cannot break a rule, whatever their value. */
const char *const assent_config_kafka_keys[] = {
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.type",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "group.instance.id",
    "heartbeat.interval.ms",
    "linger.ms",
    "max.poll.interval.ms",
    "message.max.bytes",
    "metadata.max.age.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "topic.metadata.refresh.interval.ms",
};
const size_t assent_config_kafka_keys_count =
    sizeof assent_config_kafka_keys / sizeof *assent_config_kafka_keys;

#define DURABLE "records are always produced with acks=all and idempotence; remove the line"
#define OFFSETS                                                                                    \
        "offsets are committed after the local transaction, never by the client; remove the line"
const struct assent_config_denied assent_config_denied[] = {
    {"acks", DURABLE},
    {"allow.auto.create.topics", "topics are made by assentctl topics apply; remove the line"},
    {"auto.commit.interval.ms", OFFSETS},
    {"auto.offset.reset",
     "a position outside the log must stop the process, not move it; remove the line"},
    {"check.crcs", "checksums are always checked; remove the line"},
    {"delivery.timeout.ms", "records are retried until they are held; remove the line"},
    {"enable.auto.commit", OFFSETS},
    {"enable.auto.offset.store", OFFSETS},
    {"enable.idempotence", DURABLE},
    {"enable.ssl.certificate.verification",
     "it would let anybody be the broker; set ssl.ca.location instead"},
    {"group.id", "it follows from assent.prefix and the service; set assent.prefix instead"},
    {"isolation.level", "lanes are always read uncommitted; remove the line"},
    {"max.in.flight", DURABLE},
    {"max.in.flight.requests.per.connection", DURABLE},
    {"message.send.max.retries", "records are retried until they are held; remove the line"},
    {"message.timeout.ms", "records are retried until they are held; remove the line"},
    {"metadata.broker.list", "set assent.brokers instead"},
    {"partition.assignment.strategy",
     "the cooperative ones lose assignments; the framework chooses; remove the line"},
    {"partitioner", "a transaction's lane is part of the wire contract; remove the line"},
    {"plugin.library.paths", "it would load foreign code into the process; remove the line"},
    {"request.required.acks", DURABLE},
    {"retries", "records are retried until they are held; remove the line"},
    {"sasl.kerberos.kinit.cmd", "it would run a shell command; run kinit outside"},
    {"sasl.oauthbearer.config",
     "OAUTHBEARER is not supported; use SCRAM, PLAIN or client certificates"},
    {"ssl.ca.pem", "name a file with ssl.ca.location instead"},
    {"ssl.certificate.pem", "name a file with ssl.certificate.location instead"},
    {"ssl.key.pem", "name a file with ssl.key.location instead"},
    {"ssl.engine.location", "it would load foreign code into the process; remove the line"},
    {"ssl.providers", "it would load foreign code into the process; remove the line"},
    {"statistics.interval.ms", "set assent.statistics_ms instead"},
    {"test.mock.num.brokers", "run assent-devbroker and set assent.broker=embedded instead"},
    {"transactional.id", "Kafka's own transactions are not used; remove the line"},
};
const size_t assent_config_denied_count =
    sizeof assent_config_denied / sizeof *assent_config_denied;

const struct assent_config_key *assent_config_key_find(const char *name)
{
        for (size_t i = 0; i < assent_config_keys_count; i++) {
                if (strcmp(assent_config_keys[i].name, name) == 0)
                        return &assent_config_keys[i];
        }
        return NULL;
}

bool assent_config_kafka_allowed(const char *name)
{
        for (size_t i = 0; i < assent_config_kafka_keys_count; i++) {
                if (strcmp(assent_config_kafka_keys[i], name) == 0)
                        return true;
        }
        return false;
}

const char *assent_config_denied_hint(const char *name)
{
        for (size_t i = 0; i < assent_config_denied_count; i++) {
                if (strcmp(assent_config_denied[i].name, name) == 0)
                        return assent_config_denied[i].hint;
        }
        return NULL;
}

bool assent_config_secret(const char *name)
{
        return strcmp(name, "sasl.password") == 0 || strcmp(name, "ssl.key.password") == 0;
}

int assent_config_word_index(const char *words, const char *word)
{
        size_t size = strlen(word);
        for (int i = 0;; i++) {
                size_t length = strcspn(words, "|");
                if (length == size && memcmp(words, word, size) == 0)
                        return i;
                if (words[length] == '\0')
                        return -1;
                words += length + 1;
        }
}

/* "WINDOW_MS" and "window_ms", "SASL_USERNAME" and "sasl.username". */
static bool variable_names(const char *variable, size_t size, const char *key)
{
        if (strlen(key) != size)
                return false;
        for (size_t i = 0; i < size; i++) {
                int expected = key[i] == '.' ? '_' : toupper((unsigned char)key[i]);
                if (variable[i] != expected)
                        return false;
        }
        return true;
}

const char *assent_config_variable_key(const char *variable, size_t size)
{
        static const char kafka[] = "ASSENT_KAFKA_";
        for (size_t i = 0; i < assent_config_keys_count; i++) {
                if (variable_names(variable, size, assent_config_keys[i].name))
                        return assent_config_keys[i].name;
        }
        if (size < sizeof kafka || memcmp(variable, kafka, sizeof kafka - 1) != 0)
                return NULL;
        variable += sizeof kafka - 1;
        size -= sizeof kafka - 1;
        for (size_t i = 0; i < assent_config_kafka_keys_count; i++) {
                if (variable_names(variable, size, assent_config_kafka_keys[i]))
                        return assent_config_kafka_keys[i];
        }
        for (size_t i = 0; i < assent_config_denied_count; i++) {
                if (variable_names(variable, size, assent_config_denied[i].name))
                        return assent_config_denied[i]
                            .name; /* so that it is refused with its hint */
        }
        return variable_names(variable, size, "bootstrap.servers") ? "bootstrap.servers" : NULL;
}

static const char *prefix_wrong(const char *value)
{
        size_t size = strlen(value);
        bool fine = size >= 1 && size <= 64 &&
                    strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789._-") == size &&
                    strstr(value, "..") == NULL && value[size - 1] != '.';
        return fine ? NULL
                    : "must be 1 to 64 characters of a-z 0-9 . _ - without \"..\" and not end in "
                      "\".\"";
}

/* Decimal digits only: no sign, no blanks, no units. */
static bool number_read(const char *text, int64_t *out)
{
        int64_t number = 0;
        if (*text == '\0')
                return false;
        for (; *text != '\0'; text++) {
                if (*text < '0' || *text > '9' || __builtin_mul_overflow(number, 10, &number) ||
                    __builtin_add_overflow(number, *text - '0', &number))
                        return false;
        }
        *out = number;
        return true;
}

bool assent_config_value_wrong(const struct assent_config_key *key, const char *value,
                               int64_t *number, char *text, size_t text_size)
{
        const char *sentence = NULL;
        *number = 0;
        text[0] = '\0';
        switch (key->type) {
        case ASSENT_CONFIG_TEXT:
                sentence = key->wrong != NULL ? key->wrong(value) : NULL;
                if (sentence != NULL)
                        snprintf(text, text_size, "%s", sentence);
                break;
        case ASSENT_CONFIG_WORD:
                if (assent_config_word_index(key->words, value) < 0)
                        snprintf(text, text_size, "must be one of %s", key->words);
                break;
        case ASSENT_CONFIG_INT:
                if (!number_read(value, number) || *number < key->min || *number > key->max)
                        snprintf(text, text_size,
                                 "must be a whole number from %" PRId64 " to %" PRId64, key->min,
                                 key->max);
                break;
        case ASSENT_CONFIG_BOOL:
                *number = strcmp(value, "true") == 0;
                if (*number == 0 && strcmp(value, "false") != 0)
                        snprintf(text, text_size, "must be true or false");
                break;
        }
        return text[0] != '\0';
}
