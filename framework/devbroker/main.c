/* assent-devbroker: the client library's mock cluster in a process of its own, for demos and tests
 * without a Kafka. It keeps its log in memory only, about 5 MiB a partition (older records vanish
 * silently), stamps CreateTime, knows no topic settings and cannot look offsets up by time.
 * Whatever runs for long needs a real Kafka. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <assent/observe.h>

#define TOPICS_MAX 256
#define LANES_MAX  1024
/* What the mock of librdkafka 2.0.2 gives a topic that a client creates by asking for it; it has no
 * setter. */
#define LANES_AUTO 4

struct options {
        int lanes;
        const char *topics[TOPICS_MAX];
        size_t topics_count;
        const char *port_file;
};

static const char usage[] =
    "usage: assent-devbroker [--lanes N] [--topic NAME]... [--port-file FILE]\n"
    "\n"
    "An embedded Kafka broker on a free port of 127.0.0.1, in memory only, for demos and tests.\n"
    "Prints bootstrap.servers=127.0.0.1:PORT when it is ready and runs until SIGTERM or SIGINT.\n"
    "\n"
    "  --lanes N         partitions of the topics named by --topic, 1 to 1024 (default 4)\n"
    "  --topic NAME      makes a topic at once; others are made, with 4 partitions, when a client\n"
    "                    that may do so asks for them\n"
    "  --port-file FILE  also writes the bootstrap.servers line to FILE, all of it or nothing\n"
    "  --help            this text\n";

static bool lanes_parse(const char *text, int *lanes)
{
        char *end = NULL;
        errno = 0;
        long value = strtol(text, &end, 10);
        if (errno || end == text || *end || value < 1 || value > LANES_MAX) {
                fprintf(stderr, "assent-devbroker: --lanes %s: must be a number from 1 to %d\n", text, LANES_MAX);
                return false;
        }
        *lanes = (int)value;
        return true;
}

/* -1: go on; else the exit status. */
static int options_parse(int argc, char **argv, struct options *options)
{
        static const struct option flags[] = {{"lanes", required_argument, NULL, 'l'},
                                              {"topic", required_argument, NULL, 't'},
                                              {"port-file", required_argument, NULL, 'p'},
                                              {"help", no_argument, NULL, 'h'},
                                              {NULL, 0, NULL, 0}};
        int flag;
        while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
                switch (flag) {
                case 'l':
                        if (!lanes_parse(optarg, &options->lanes))
                                return 2;
                        break;
                case 't':
                        if (options->topics_count == TOPICS_MAX) {
                                fprintf(stderr, "assent-devbroker: more than %d topics\n", TOPICS_MAX);
                                return 2;
                        }
                        options->topics[options->topics_count++] = optarg;
                        break;
                case 'p':
                        options->port_file = optarg;
                        break;
                case 'h':
                        fputs(usage, stdout);
                        return 0;
                default:
                        fputs(usage, stderr);
                        return 2;
                }
        }
        if (optind < argc) {
                fprintf(stderr, "assent-devbroker: unexpected argument %s\n", argv[optind]);
                return 2;
        }
        return -1;
}

static bool port_file_write(const char *path, const char *servers)
{
        bool written = assent_notify_file(path, "bootstrap.servers=%s\n", servers);
        if (!written)
                fprintf(stderr, "assent-devbroker: --port-file %s: %s\n", path, strerror(errno));
        return written;
}

static bool topics_create(rd_kafka_mock_cluster_t *cluster, const struct options *options)
{
        for (size_t i = 0; i < options->topics_count; i++) {
                rd_kafka_resp_err_t err = rd_kafka_mock_topic_create(cluster, options->topics[i], options->lanes, 1);
                if (err) {
                        fprintf(stderr, "assent-devbroker: --topic %s: %s\n", options->topics[i],
                                rd_kafka_err2str(err));
                        return false;
                }
        }
        return true;
}

static int serve(rd_kafka_mock_cluster_t *cluster, const struct options *options, const sigset_t *ends)
{
        const char *servers = rd_kafka_mock_cluster_bootstraps(cluster);
        if (!topics_create(cluster, options))
                return 1;
        if (printf("bootstrap.servers=%s\n", servers) < 0 || fflush(stdout))
                return 1;
        if (options->port_file && !port_file_write(options->port_file, servers))
                return 1;
        int signal_number;
        while (sigwait(ends, &signal_number))
                ;
        if (options->port_file)
                unlink(options->port_file);
        return 0;
}

int main(int argc, char **argv)
{
        struct options options = {.lanes = LANES_AUTO};
        int status = options_parse(argc, argv, &options);
        if (status >= 0)
                return status;

        /* Blocked before the library starts its threads, so that only sigwait takes them. */
        sigset_t ends;
        sigemptyset(&ends);
        sigaddset(&ends, SIGTERM);
        sigaddset(&ends, SIGINT);
        sigprocmask(SIG_BLOCK, &ends, NULL);
        signal(SIGPIPE, SIG_IGN);

        char errmsg[512];
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        /* Without its notice that no bootstrap.servers are configured: this client is only the
         * cluster's home. */
        rd_kafka_conf_set(conf, "log_level", "4", errmsg, sizeof errmsg);
        rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errmsg, sizeof errmsg);
        if (!client) {
                fprintf(stderr, "assent-devbroker: %s\n", errmsg);
                rd_kafka_conf_destroy(conf);
                return 1;
        }
        rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(client, 1);
        status = 1;
        if (cluster) {
                status = serve(cluster, &options, &ends);
                rd_kafka_mock_cluster_destroy(cluster);
        } else {
                fprintf(stderr, "assent-devbroker: the mock cluster cannot be started\n");
        }
        rd_kafka_destroy(client);
        return status;
}
