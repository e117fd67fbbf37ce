/* reset_offset.c: does to a group's offset what should not happen to it.
 *   reset_offset BROKERS TOPIC GROUP PARTITION OFFSET    commits a bare offset, as an offset-reset tool would
 *   reset_offset BROKERS TOPIC GROUP PARTITION corrupt   changes one digit of the digest in the offset's metadata */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rd_kafka_resp_err_t corrupt(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list)
{
        rd_kafka_resp_err_t err = rd_kafka_committed(client, list, 10000);
        if (err)
                return err;
        char *metadata = list->elems[0].metadata;
        char *digest = metadata ? memmem(metadata, list->elems[0].metadata_size, "digest=", 7) : NULL;
        if (!digest)
                return RD_KAFKA_RESP_ERR__NOENT;
        digest[7] = digest[7] == '0' ? '1' : '0';
        return RD_KAFKA_RESP_ERR_NO_ERROR;
}

int main(int argc, char **argv)
{
        char why[512];
        if (argc != 6)
                return 2;
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        if (rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], why, sizeof why) ||
            rd_kafka_conf_set(conf, "group.id", argv[3], why, sizeof why))
                return 2;
        rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
        if (!client)
                return 1;
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, argv[2], (int32_t)strtol(argv[4], NULL, 10));
        rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
        if (strcmp(argv[5], "corrupt") == 0)
                err = corrupt(client, list);
        else
                list->elems[0].offset = strtoll(argv[5], NULL, 10);
        if (!err)
                err = rd_kafka_commit(client, list, 0);
        rd_kafka_topic_partition_list_destroy(list);
        rd_kafka_destroy(client);
        if (err)
                fprintf(stderr, "%s\n", rd_kafka_err2str(err));
        return err ? 1 : 0;
}
