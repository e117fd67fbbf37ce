#include "kafka/errors.h"

enum assent_err assent_kafka_produce_err(rd_kafka_resp_err_t err)
{
        switch (err) {
        case RD_KAFKA_RESP_ERR_NO_ERROR:
                return ASSENT_OK;
        case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
                return ASSENT_E_TOO_LARGE;
        case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
                return ASSENT_E_NOT_FOUND;
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
                return ASSENT_E_DENIED;
        default:
                return ASSENT_E_KAFKA;
        }
}

enum assent_err assent_kafka_query_err(rd_kafka_resp_err_t err)
{
        switch (assent_kafka_produce_err(err)) {
        case ASSENT_OK:
                return ASSENT_OK;
        case ASSENT_E_NOT_FOUND:
                return ASSENT_E_NOT_FOUND;
        case ASSENT_E_DENIED:
                return ASSENT_E_DENIED;
        default:
                return err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ? ASSENT_E_DENIED : ASSENT_E_BROKER;
        }
}

enum assent_err assent_kafka_consume_err(rd_kafka_resp_err_t err)
{
        switch (err) {
        case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
                return ASSENT_E_POSITION;
        case RD_KAFKA_RESP_ERR__FATAL:
        case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
                return ASSENT_E_KAFKA;
        default:
                return ASSENT_OK;
        }
}
