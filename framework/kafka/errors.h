/* errors.h: librdkafka's error codes as ours, in one place. */
#ifndef ASSENT_KAFKA_ERRORS_H
#define ASSENT_KAFKA_ERRORS_H

#include <librdkafka/rdkafka.h>

#include <assent/types.h>

/* Why a record was not written, for good: ASSENT_OK, ASSENT_E_TOO_LARGE, ASSENT_E_NOT_FOUND, ASSENT_E_DENIED, else
 * ASSENT_E_KAFKA. What may pass by itself never gets here: the client retries it for ever. */
enum assent_err assent_kafka_produce_err(rd_kafka_resp_err_t err);

/* Why a question to the cluster was not answered: ASSENT_OK, ASSENT_E_NOT_FOUND, ASSENT_E_DENIED, else ASSENT_E_BROKER.
 */
enum assent_err assent_kafka_query_err(rd_kafka_resp_err_t err);

/* What an error event of a consumer means for who reads: ASSENT_E_POSITION, ASSENT_E_KAFKA (it will not pass by
 * itself), or ASSENT_OK: the client deals with it, log it. */
enum assent_err assent_kafka_consume_err(rd_kafka_resp_err_t err);

#endif
