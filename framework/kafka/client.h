/* client.h: a librdkafka client set up as the rules need it, whose diagnostics go to our logging, and whose end is
 * bounded. */
#ifndef ASSENT_KAFKA_CLIENT_H
#define ASSENT_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>

#include <assent/config.h>

/* Above assent.record_bytes_max: what a topic takes, so that a record of exactly that size fits with key, headers and
 * framing; what a dead-letter topic takes, whose records carry one more set of headers; what the client lets pass. */
#define ASSENT_TOPIC_OVERHEAD       4096
#define ASSENT_DEAD_LETTER_OVERHEAD 16384
#define ASSENT_CLIENT_OVERHEAD      12288

/* The configuration for a client of `type`: our profile, then the user's librdkafka settings, then what no setting may
 * change. `group` NULL for none. NULL with a sentence in errmsg when a property is refused. */
rd_kafka_conf_t *assent_kafka_conf(const struct assent_config *config, rd_kafka_type_t type, const char *client_id,
                                   const char *group, char *errmsg, size_t errmsg_size);

/* Has statistics made, if assent.statistics_ms says so. `told` returns 1 when it keeps the text, to free it. */
void assent_kafka_statistics(rd_kafka_conf_t *conf, const struct assent_config *config,
                             int (*told)(rd_kafka_t *client, char *json, size_t size, void *opaque));

/* Makes the client; the configuration is used up. NULL with a sentence in errmsg. */
rd_kafka_t *assent_kafka_client(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *errmsg, size_t errmsg_size);

/* Closes and destroys the client, then frees `owned` (what its callbacks use). It may hang in librdkafka 2.0.2 when a
 * lane was lost or a topic removed, or while a commit waits for brokers that are away: after timeout_ms it is left
 * behind, with a warning, to a thread of its own. */
void assent_kafka_destroy(rd_kafka_t *client, void *owned, int timeout_ms);

/* One line of foreign diagnostics, at most 20 a second in the whole process. */
void assent_kafka_warn(const char *client, const char *what, const char *text);

bool assent_kafka_embedded(const struct assent_config *config);

#endif
