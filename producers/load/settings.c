#include "settings.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT_DEFAULT     1000
#define IN_FLIGHT_DEFAULT 64
#define ORDERS_DEFAULT    1000 /* in flight, on a schedule */
#define SERVICES_DEFAULT  "payment,inventory"
#define SERVICES_OF_ORDER "order,payment,inventory" /* what the order service asks */

const struct assent_flag settings_flags[] = {
    {"mode", "MODE", "app.mode", "raw: begin transactions over Kafka; order: POST /v1/orders to --url (default raw)"},
    {"url", "URL", "app.url", "mode order: where the order service listens, as http://127.0.0.1:8080"},
    {"token-file", "FILE", "app.token_file", "mode order: a file of one line, the token to bring there"},
    {"run-id", "TEXT", "app.run_id",
     "mode order: begins the Idempotency-Key of each order; the same again asks for the same orders (default a new one)"},
    {"count", "N", "app.count",
     "transactions to measure, also -n: 1 to 10000000 (default 1000, or no limit with --duration)"},
    {"duration", "TIME", "app.duration",
     "begin transactions for so long: 500ms, 10s, 2m; at most an hour; with --count: until the first of both"},
    {"warm-up", "N|TIME", "app.warm_up",
     "so many transactions before, or those of so long, are begun and left out of all figures (default 0)"},
    {"in-flight", "N", "app.in_flight",
     "transactions kept in flight, 1 to 100000 (default 64); with --rate: the most there may be (default 100000); orders: "
     "to 10000, with --rate 1000"},
    {"rate", "R", "app.rate",
     "open model: begin R a second, 0.01 to 1000000, whatever comes back; latencies count from the scheduled begin"},
    {"arrivals", "HOW", "app.arrivals", "with --rate: constant or poisson (default constant)"},
    {"protocol", "P", "app.protocol", "2pc, 3pc, or mix: each for one half, drawn (default 2pc)"},
    {"services", "LIST", "app.services",
     "NAME or NAME:KIND of each service (default payment,inventory); beside order, payment and inventory any of yours"},
    {"participants", "N", "app.participants",
     "branches of a transaction, 1 to 64, dealt to the services in turn (default one each); a LIST means --services"},
    {"accounts", "N", "app.accounts",
     "accounts that pay, 1 to 1000; also the keys for services of yours (default 1000)"},
    {"items", "N", "app.items", "mode order: items that are bought, 1 to 1000 (default 1)"},
    {"skew", "S", "app.skew", "Zipf exponent of the choice of accounts, and of items: 0, all alike, to 5 (default 0)"},
    {"payload-size", "BYTES", "app.payload_size",
     "pads the payload of each branch with blanks, up to 1048576 (default 0: as it is, about 100); mode order: the body of "
     "each POST, up to 65536"},
    {"abort-ratio", "R", "app.abort_ratio",
     "share that the first participant refuses, 0 to 1 (default 0); mode order: that is out of stock or of money"},
    {"duplicate-ratio", "R", "app.duplicate_ratio",
     "share whose begin is sent twice, 0 to 1 (default 0); mode order: at once, or when it is answered"},
    {"timeout", "TIME", "app.timeout",
     "for all votes of a transaction to arrive: 500ms, 10s, 2m (default 10s); mode order: for a result, retries included "
     "(default 1m)"},
    {"seed", "N", "app.seed", "of all that is drawn (default 1)"},
    {"order", "DB", "app.order", "database of the order service, audited at the end"},
    {"payment", "DB", "app.payment", "database of the payment service, audited at the end"},
    {"inventory", "DB", "app.inventory", "database of the inventory service, audited at the end"},
    {"no-audit", NULL, "app.no_audit", "no audit, though databases are configured; mode order: no reading back either"},
    {"assert", "CONDITION", "app.assert", "'p99<50ms': exit status 1 if it does not hold; may be repeated"},
    {"json", NULL, "app.json", "one JSON object on stdout, and nothing else there"},
    {"csv", "FILE", "app.csv", "write a line for each second"},
    {"save", "FILE", "app.save", "write the whole result as JSON, with the histogram, for assent-load plot"},
    {"quiet", NULL, "app.quiet", "no line of progress each second"},
    {NULL, NULL, NULL, NULL},
};

static const char *const protocol_names[LOAD_PROTOCOLS] = {"2pc", "3pc", "mix"};
static const char *const kinds[AUDIT_SERVICES + 1] = {"place", "charge", "reserve", "load"};

/* Says which option is wrong, and where it stands if that is not the command line. */
__attribute__((format(printf, 4, 5))) static bool wrong(struct settings *settings, const struct assent_config *config,
                                                        const char *key, const char *format, ...)
{
        const char *text = assent_config_get(config, key), *origin = text ? assent_config_origin(config, key) : "--";
        const bool elsewhere = strncmp(origin, "--", 2) != 0;
        const struct assent_flag *flag = settings_flags;
        va_list arguments;

        while (strcmp(flag->key, key) != 0)
                flag++;
        int used =
            snprintf(settings->errmsg, sizeof settings->errmsg, "--%s%s%.80s%s%.120s%s ", flag->name, text ? " " : "",
                     text ? text : "", elsewhere ? " (" : "", elsewhere ? origin : "", elsewhere ? ")" : "");
        va_start(arguments, format);
        vsnprintf(settings->errmsg + used, sizeof settings->errmsg - (size_t)used, format, arguments);
        va_end(arguments);
        return false;
}

static bool is_true(const struct assent_config *config, const char *key)
{
        const char *text = assent_config_get(config, key);
        return text && strcmp(text, "true") == 0;
}

static bool integer_parse(const char *text, int64_t min, int64_t max, int64_t *value)
{
        char *end;

        errno = 0;
        *value = strtoll(text, &end, 10);
        return !errno && end != text && !*end && *value >= min && *value <= max;
}

static bool read_integer(struct settings *settings, const struct assent_config *config, const char *key,
                         int64_t fallback, int64_t min, int64_t max, int64_t *value)
{
        const char *text = assent_config_get(config, key);

        *value = fallback;
        return !text || integer_parse(text, min, max, value) ||
               wrong(settings, config, key, "is no whole number from %" PRId64 " to %" PRId64, min, max);
}

static bool read_real(struct settings *settings, const struct assent_config *config, const char *key, double min,
                      double max, double *value)
{
        const char *text = assent_config_get(config, key);
        char *end;

        *value = 0;
        if (!text)
                return true;
        *value = strtod(text, &end);
        return (end != text && !*end && *value >= min && *value <= max) ||
               wrong(settings, config, key, "is no number from %g to %.0f", min, max);
}

static bool read_time(struct settings *settings, const struct assent_config *config, const char *key, int64_t fallback,
                      int64_t *value_ms)
{
        const char *text = assent_config_get(config, key);

        *value_ms = fallback;
        return !text || (audit_duration_parse(text, value_ms) && *value_ms > 0) ||
               wrong(settings, config, key, "is no time such as 500ms, 10s, 2m (above zero, at most an hour)");
}

static bool read_warm_up(struct settings *settings, const struct assent_config *config)
{
        const char *text = assent_config_get(config, "app.warm_up");

        return !text || audit_duration_parse(text, &settings->warm_up_ms) ||
               integer_parse(text, 0, COUNT_MAX, &settings->warm_up_count) ||
               wrong(settings, config, "app.warm_up",
                     "is neither a time such as 5s (at most an hour) nor a number of transactions from 0 to %d",
                     COUNT_MAX);
}

static bool read_schedule(struct settings *settings, const struct assent_config *config)
{
        const char *arrivals = assent_config_get(config, "app.arrivals");

        if (!read_real(settings, config, "app.rate", RATE_MIN, RATE_MAX, &settings->rate))
                return false;
        settings->poisson = arrivals && strcmp(arrivals, "poisson") == 0;
        if (arrivals && !settings->poisson && strcmp(arrivals, "constant") != 0)
                return wrong(settings, config, "app.arrivals", "is neither constant nor poisson");
        if (arrivals && settings->rate == 0)
                return wrong(settings, config, "app.arrivals",
                             "needs --rate R: without a rate the next begins when one has ended");
        const int64_t most = settings->url ? ORDERS_MAX : IN_FLIGHT_MAX;
        const int64_t scheduled = settings->url ? ORDERS_DEFAULT : IN_FLIGHT_MAX;
        return read_integer(settings, config, "app.in_flight", settings->rate > 0 ? scheduled : IN_FLIGHT_DEFAULT, 1, most,
                            &settings->in_flight);
}

/* What one of the two modes does not know is not silently left out. */
static bool check_mode(struct settings *settings, const struct assent_config *config)
{
        static const char *const of_raw[] = {"app.services", "app.participants", "app.protocol"};
        static const char *const of_order[] = {"app.token_file", "app.run_id", "app.items"};
        const char *const *foreign = settings->url ? of_raw : of_order;
        const size_t count = settings->url ? sizeof of_raw / sizeof *of_raw : sizeof of_order / sizeof *of_order;

        for (size_t i = 0; i < count; i++)
                if (assent_config_get(config, foreign[i]))
                        return wrong(settings, config, foreign[i], "is for --mode %s",
                                     settings->url ? "raw: here the order service chooses it" : "order");
        return true;
}

static bool read_mode(struct settings *settings, const struct assent_config *config)
{
        const char *mode = assent_config_get(config, "app.mode"), *url = assent_config_get(config, "app.url");
        const bool order = mode && strcmp(mode, "order") == 0;
        const char *host = url && strncmp(url, "https://", 8) == 0 ? url + 8 : url + 7;

        if (mode && !order && strcmp(mode, "raw") != 0)
                return wrong(settings, config, "app.mode", "is neither raw nor order");
        if (order && !url)
                return wrong(settings, config, "app.url", "is missing: --mode order needs it, as --url http://127.0.0.1:8080");
        if (url && !order)
                return wrong(settings, config, "app.url", "needs --mode order");
        settings->url = url;
        if (url && ((strncmp(url, "http://", 7) != 0 && host != url + 8) || !*host || *host == '/' || strpbrk(url, "?#@ ") ||
                    strlen(url) > ORDER_URL_SIZE_MAX))
                return wrong(settings, config, "app.url", "is no http://HOST:PORT of at most %d characters",
                             ORDER_URL_SIZE_MAX);
        return check_mode(settings, config);
}

static bool read_run_id(struct settings *settings, const struct assent_config *config)
{
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
        const char *text = assent_config_get(config, "app.run_id");
        struct assent_uuid id;

        if (!text) {
                assent_txn_id_new(&id);
                assent_uuid_format(&id, settings->run_id);
                return true;
        }
        const size_t size = strlen(text);
        if (size < 1 || size > RUN_ID_SIZE_MAX || strspn(text, plain) < size)
                return wrong(settings, config, "app.run_id", "is no text of 1 to %d letters, digits and - . _",
                             RUN_ID_SIZE_MAX);
        memcpy(settings->run_id, text, size + 1);
        return true;
}

static bool read_token(struct settings *settings, const struct assent_config *config)
{
        const char *path = assent_config_get(config, "app.token_file"), *why = NULL;
        char line[TOKEN_SIZE_MAX + 3] = "";
        struct stat status;
        FILE *file = path ? fopen(path, "re") : NULL;

        if (!path)
                return true;
        if (!file || fstat(fileno(file), &status) != 0)
                why = strerror(errno);
        else if (status.st_mode & (S_IRWXG | S_IRWXO))
                why = "others than its owner can read it; chmod 600 it";
        else if (!fgets(line, sizeof line, file) || strcspn(line, "\r\n") < 1 || strcspn(line, "\r\n") > TOKEN_SIZE_MAX)
                why = "it must begin with a line of 1 to 255 bytes";
        if (file)
                fclose(file);
        line[strcspn(line, "\r\n")] = '\0';
        if (why)
                return wrong(settings, config, "app.token_file", "cannot be used: %s", why);
        memcpy(settings->token, line, strlen(line) + 1);
        return true;
}

static bool read_protocol(struct settings *settings, const struct assent_config *config)
{
        const char *text = assent_config_get(config, "app.protocol");
        int protocol = LOAD_2PC;

        while (text && protocol < LOAD_PROTOCOLS && strcmp(text, protocol_names[protocol]) != 0)
                protocol++;
        settings->protocol = (enum load_protocol)protocol;
        return protocol < LOAD_PROTOCOLS || wrong(settings, config, "app.protocol", "is none of 2pc, 3pc and mix");
}

/* NAME or NAME:KIND, `size` bytes. */
static bool service_parse(const char *text, size_t size, struct load_service *service)
{
        const char *colon = memchr(text, ':', size);
        const size_t name_size = colon ? (size_t)(colon - text) : size;

        if (name_size < 1 || name_size > ASSENT_SERVICE_SIZE_MAX ||
            strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") < name_size)
                return false;
        *service = (struct load_service){.sample = AUDIT_ORDER};
        memcpy(service->name, text, name_size);
        while (service->sample < AUDIT_SERVICES && strcmp(audit_service_name(service->sample), service->name) != 0)
                service->sample++;
        if (!colon) {
                snprintf(service->kind, sizeof service->kind, "%s", kinds[service->sample]);
                return true;
        }
        const size_t kind_size = size - name_size - 1;
        if (kind_size < 1 || kind_size > ASSENT_KIND_SIZE_MAX)
                return false;
        memcpy(service->kind, colon + 1, kind_size);
        return true;
}

static bool read_services(struct settings *settings, const struct assent_config *config, const char *key)
{
        const char *list = assent_config_get(config, key);

        for (const char *next = list ? list : settings->url ? SERVICES_OF_ORDER : SERVICES_DEFAULT;;) {
                const size_t size = strcspn(next, ",");
                struct load_service *service = &settings->services[settings->services_count];
                if (settings->services_count == ASSENT_BRANCHES_MAX)
                        return wrong(settings, config, key, "names more than %d services", ASSENT_BRANCHES_MAX);
                if (!service_parse(next, size, service))
                        return wrong(settings, config, key,
                                     "is no list of services as in payment,seats:take: '%.*s' is no NAME or NAME:KIND"
                                     " (names: 1 to %d of a-z, 0-9 and -)",
                                     (int)(size < 60 ? size : 60), next, ASSENT_SERVICE_SIZE_MAX);
                for (size_t i = 0; i < settings->services_count; i++)
                        if (strcmp(settings->services[i].name, service->name) == 0)
                                return wrong(settings, config, key,
                                             "names %s twice; --participants N gives a service more than one branch",
                                             service->name);
                settings->services_count++;
                if (!next[size])
                        return true;
                next += size + 1;
        }
}

static bool read_branches(struct settings *settings, const struct assent_config *config)
{
        const char *text = assent_config_get(config, "app.participants");
        const bool listed = text && strspn(text, "0123456789") < strlen(text) && *text != '-';

        if (listed && assent_config_get(config, "app.services"))
                return wrong(settings, config, "app.participants",
                             "lists services, and so does --services: give their number with one, their names with the "
                             "other");
        if (!read_services(settings, config, listed ? "app.participants" : "app.services"))
                return false;
        settings->participants = (int64_t)settings->services_count;
        return listed || read_integer(settings, config, "app.participants", settings->participants, 1,
                                      ASSENT_BRANCHES_MAX, &settings->participants);
}

/* What cannot be read is said now, and not when the load has run. */
static bool check_database(struct settings *settings, const char *path)
{
        if (access(path, R_OK) == 0)
                return true;
        snprintf(settings->errmsg, sizeof settings->errmsg,
                 "database %.200s: %s; give the file that the service has as its --db, or --no-audit", path,
                 strerror(errno));
        return false;
}

static bool read_databases(struct settings *settings, const struct assent_config *config, const char *const *others,
                           size_t others_count)
{
        struct audit_options *databases = &settings->databases;
        static const char *const keys[AUDIT_SERVICES] = {"app.order", "app.payment", "app.inventory"};
        size_t given = 0;

        if (settings->no_audit)
                return true;
        if (others_count > AUDIT_OTHERS_MAX) {
                snprintf(settings->errmsg, sizeof settings->errmsg, "%zu further databases; at most %d are audited",
                         others_count, AUDIT_OTHERS_MAX);
                return false;
        }
        for (int service = 0; service < AUDIT_SERVICES; service++) {
                databases->paths[service] = assent_config_get(config, keys[service]);
                if (databases->paths[service] && !check_database(settings, databases->paths[service]))
                        return false;
                given += databases->paths[service] != NULL;
        }
        for (size_t i = 0; i < others_count; i++)
                if (!check_database(settings, others[i]))
                        return false;
        databases->others = others;
        databases->others_count = others_count;
        databases->complete = given == AUDIT_SERVICES;
        for (size_t i = 0; i < settings->services_count; i++)
                if (settings->services[i].sample == AUDIT_SERVICES)
                        databases->complete = false; /* its database may be among the others, or not */
        settings->audited = given + others_count > 0;
        return true;
}

bool settings_read(const struct assent_config *config, const char *const *others, size_t others_count,
                   struct settings *settings)
{
        *settings = (struct settings){.json = is_true(config, "app.json"),
                                      .quiet = is_true(config, "app.quiet"),
                                      .no_audit = is_true(config, "app.no_audit"),
                                      .csv = assent_config_get(config, "app.csv"),
                                      .save = assent_config_get(config, "app.save")};
        return read_mode(settings, config) && read_run_id(settings, config) && read_token(settings, config) &&
               read_time(settings, config, "app.duration", 0, &settings->duration_ms) &&
               read_integer(settings, config, "app.count", settings->duration_ms ? 0 : COUNT_DEFAULT, 1, COUNT_MAX,
                            &settings->count) &&
               read_warm_up(settings, config) && read_schedule(settings, config) && read_protocol(settings, config) &&
               read_branches(settings, config) &&
               read_integer(settings, config, "app.accounts", ACCOUNTS_MAX, 1, ACCOUNTS_MAX, &settings->accounts) &&
               read_integer(settings, config, "app.items", 1, 1, ITEMS_MAX, &settings->items) &&
               read_real(settings, config, "app.skew", 0, SKEW_MAX, &settings->skew) &&
               read_integer(settings, config, "app.payload_size", 0, 0, settings->url ? ORDER_SIZE_MAX : PAYLOAD_SIZE_MAX,
                            &settings->payload_size) &&
               read_real(settings, config, "app.abort_ratio", 0, 1, &settings->abort_ratio) &&
               read_real(settings, config, "app.duplicate_ratio", 0, 1, &settings->duplicate_ratio) &&
               read_time(settings, config, "app.timeout", settings->url ? 60000 : 10000, &settings->timeout_ms) &&
               read_integer(settings, config, "app.seed", 1, 0, INT64_MAX, &settings->seed) &&
               read_databases(settings, config, others, others_count);
}

static json_t *number_or_null(bool given, double number)
{
        return given ? json_real(number) : json_null();
}

static json_t *whole_or_null(int64_t number)
{
        return number ? json_integer(number) : json_null();
}

json_t *settings_json(const struct settings *settings, const struct assent_config *config)
{
        json_t *services = json_array();

        for (size_t i = 0; i < settings->services_count; i++)
                json_array_append_new(services,
                                      json_sprintf("%s:%s", settings->services[i].name, settings->services[i].kind));
        json_t *object =
            json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:f, s:I, s:f, s:f, s:I, s:I, s:I}", "mode",
                      settings->url ? "order" : "raw", "prefix",
                      assent_config_get(config, "assent.prefix"), "protocol", protocol_names[settings->protocol],
                      "services", services, "participants", settings->participants, "accounts", settings->accounts,
                      "skew", settings->skew, "payload_size", settings->payload_size, "abort_ratio",
                      settings->abort_ratio, "duplicate_ratio", settings->duplicate_ratio, "timeout_ms",
                      settings->timeout_ms, "in_flight", settings->in_flight, "seed", settings->seed);
        assert(object); /* the format fits */
        json_object_set_new(object, "rate", number_or_null(settings->rate > 0, settings->rate));
        json_object_set_new(object, "arrivals",
                            settings->rate > 0 ? json_string(settings->poisson ? "poisson" : "constant") : json_null());
        if (settings->url) {
                json_object_set_new(object, "url", json_string(settings->url));
                json_object_set_new(object, "items", json_integer(settings->items));
                json_object_set_new(object, "run_id", json_string(settings->run_id));
        }
        json_object_set_new(object, "begins", whole_or_null(settings->count));
        json_object_set_new(object, "duration_ms", whole_or_null(settings->duration_ms));
        json_object_set_new(object, "warm_up_begins", whole_or_null(settings->warm_up_count));
        json_object_set_new(object, "warm_up_ms", whole_or_null(settings->warm_up_ms));
        return object;
}
