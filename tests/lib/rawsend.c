/* rawsend: writes one record of any bytes to one lane, for tests that send garbage. Prints the offset; exits 1 when the
 * broker refuses the record. Uses the client library alone, so that nothing of ours cleans the garbage up. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#define SIZE_MAX_BYTES (64 * 1024 * 1024)
#define WAIT_MS        30000

static const char usage[] =
    "usage: rawsend -b BROKERS -t TOPIC -p LANE [-k KEY] [-H NAME=VALUE] [--hex TEXT | --size N]\n"
    "Sends standard input, the bytes of --hex, or N filler bytes as one record; prints its offset.\n";

struct request {
        const char *brokers, *topic, *key, *header, *hex;
        long lane, size;
        unsigned char *value;
        size_t value_size;
};

struct result {
        bool done;
        rd_kafka_resp_err_t err;
        int64_t offset;
};

static bool number(const char *text, long max, long *out)
{
        char *end;
        errno = 0;
        *out = strtol(text, &end, 10);
        return !errno && end != text && !*end && *out >= 0 && *out <= max;
}

static bool request_parse(int argc, char **argv, struct request *request)
{
        static const struct option flags[] = {
            {"hex", required_argument, NULL, 'x'}, {"size", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
        int flag;
        bool fine = true;
        while ((flag = getopt_long(argc, argv, "b:t:p:k:H:", flags, NULL)) != -1) {
                if (flag == 'b')
                        request->brokers = optarg;
                else if (flag == 't')
                        request->topic = optarg;
                else if (flag == 'k')
                        request->key = optarg;
                else if (flag == 'H')
                        request->header = optarg;
                else if (flag == 'x')
                        request->hex = optarg;
                else if (flag == 'p')
                        fine = fine && number(optarg, INT32_MAX, &request->lane);
                else if (flag == 's')
                        fine = fine && number(optarg, SIZE_MAX_BYTES, &request->size);
                else
                        fine = false;
        }
        fine = fine && (!request->header || strchr(request->header, '=')) && optind == argc;
        return fine && request->brokers && request->topic && request->lane >= 0;
}

static bool value_from_hex(struct request *request)
{
        size_t digits = strlen(request->hex);
        request->value = calloc(1, digits / 2 + 1);
        request->value_size = digits / 2;
        if (!request->value || digits % 2)
                return false;
        for (size_t i = 0; i < request->value_size; i++) {
                unsigned int byte;
                if (strspn(request->hex + 2 * i, "0123456789abcdefABCDEF") < 2 ||
                    sscanf(request->hex + 2 * i, "%2x", &byte) != 1)
                        return false;
                request->value[i] = (unsigned char)byte;
        }
        return true;
}

static bool value_make(struct request *request)
{
        if (request->hex)
                return value_from_hex(request);
        size_t room = request->size >= 0 ? (size_t)request->size : SIZE_MAX_BYTES;
        request->value = malloc(room + 1);
        if (!request->value)
                return false;
        if (request->size >= 0) {
                memset(request->value, 'x', room);
                request->value_size = room;
                return true;
        }
        request->value_size = fread(request->value, 1, room, stdin);
        return !ferror(stdin) && feof(stdin);
}

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
        struct result *result = opaque;
        (void)client;
        *result = (struct result){.done = true, .err = message->err, .offset = message->offset};
}

static rd_kafka_t *client_open(const struct request *request, struct result *result)
{
        const char *const properties[][2] = {{"bootstrap.servers", request->brokers},
                                             {"message.max.bytes", "100000000"},
                                             {"message.timeout.ms", "20000"},
                                             {"topic.metadata.propagation.max.ms", "5000"},
                                             {"linger.ms", "0"},
                                             {"acks", "all"}};
        char errmsg[512];
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
                if (rd_kafka_conf_set(conf, properties[i][0], properties[i][1], errmsg, sizeof errmsg) !=
                    RD_KAFKA_CONF_OK) {
                        fprintf(stderr, "rawsend: %s\n", errmsg);
                        rd_kafka_conf_destroy(conf);
                        return NULL;
                }
        }
        rd_kafka_conf_set_opaque(conf, result);
        rd_kafka_conf_set_dr_msg_cb(conf, delivered);
        rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errmsg, sizeof errmsg);
        if (!client) {
                fprintf(stderr, "rawsend: %s\n", errmsg);
                rd_kafka_conf_destroy(conf);
        }
        return client;
}

/* What a client that knows of no broker yet is given to send can lie there for a second, until it looks again; its time in the
 * log of the embedded broker is nevertheless the time it was given. */
static bool connected(rd_kafka_t *client)
{
        const struct rd_kafka_metadata *metadata;
        rd_kafka_resp_err_t err = rd_kafka_metadata(client, 1, NULL, &metadata, WAIT_MS);
        if (err)
                fprintf(stderr, "rawsend: no broker answers: %s\n", rd_kafka_err2str(err));
        else
                rd_kafka_metadata_destroy(metadata);
        return !err;
}

static int send_one(const struct request *request)
{
        struct result result = {.done = false};
        rd_kafka_t *client = client_open(request, &result);
        if (!client)
                return 1;
        if (!connected(client)) {
                rd_kafka_destroy(client);
                return 1;
        }
        rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
        if (request->header) {
                const char *value = strchr(request->header, '=') + 1;
                rd_kafka_header_add(headers, request->header, value - 1 - request->header, value, -1);
        }
        rd_kafka_resp_err_t err =
            rd_kafka_producev(client, RD_KAFKA_V_TOPIC(request->topic), RD_KAFKA_V_PARTITION((int32_t)request->lane),
                              RD_KAFKA_V_VALUE(request->value, request->value_size),
                              RD_KAFKA_V_KEY(request->key, request->key ? strlen(request->key) : 0),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        if (err)
                rd_kafka_headers_destroy(headers);
        else
                err = rd_kafka_flush(client, WAIT_MS);
        if (!err && result.done)
                err = result.err;
        rd_kafka_destroy(client);
        if (err) {
                fprintf(stderr, "rawsend: topic %s lane %ld: %s\n", request->topic, request->lane,
                        rd_kafka_err2str(err));
                return 1;
        }
        printf("%lld\n", (long long)result.offset);
        return 0;
}

int main(int argc, char **argv)
{
        struct request request = {.lane = -1, .size = -1};
        if (!request_parse(argc, argv, &request)) {
                fputs(usage, stderr);
                return 2;
        }
        int status = 2;
        if (value_make(&request))
                status = send_one(&request);
        else
                fprintf(stderr, "rawsend: the value cannot be had: bad --hex, or more than %d bytes\n", SIZE_MAX_BYTES);
        free(request.value);
        return status;
}
