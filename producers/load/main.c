/* assent-load: a closed loop. N transactions are kept in flight until COUNT have ended; then the
 * latencies are told, and with databases given the audit proves that nothing was lost or done
 * twice.
 *
 * Closed loop means: a slow system is asked less often, so the latencies leave out the waiting that
 * an open arrival process would have seen. They are latencies at this concurrency, not at a rate.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include <assent/client.h>

#include "../audit/audit.h"
#include "slots.h"

#define COUNT_MAX        10000000
#define IN_FLIGHT_MAX    100000
#define ACCOUNTS_MAX     1000 /* what the payment service seeds */
#define PAYLOAD_SIZE_MAX 256
#define AUDIT_WAIT_MS    30000
/* What is not answered this long after its deadline is counted as unknown. */
#define OVERDUE_MS 15000

struct settings {
        int64_t count, in_flight, accounts, seed, timeout_ms;
        double abort_ratio, duplicate_ratio;
        enum assent_protocol protocol;
        enum audit_service services[AUDIT_SERVICES];
        size_t services_count;
        struct audit_options databases;
        bool json;
};

struct load {
        struct settings settings;
        struct assent_client *client;
        struct slots slots;
        uint32_t *latencies_us;
        uint64_t latencies_count;
        uint64_t random; /* splitmix64 */
        int64_t begun;   /* transactions sent */
        int64_t unheld;  /* begins, copies included, that the broker has not acknowledged */
        uint64_t duplicates, committed, aborted, rejected, unknown;
        char first_rejection[ASSENT_REASON_SIZE_MAX + 1];
        int64_t start_us, end_us, progress_us, swept_us;
        uint64_t progress_done;
};

static const char *const kinds[AUDIT_SERVICES] = {"place", "charge", "reserve"};

static struct assent_client *stopping; /* for the signal handler */
static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
        (void)number;
        stopped = 1;
        if (stopping)
                assent_client_stop(stopping);
}

static int64_t now_us(void)
{
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint64_t random_next(struct load *load)
{
        uint64_t z = load->random += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

static bool random_chance(struct load *load, double ratio)
{
        return (double)(random_next(load) >> 11) * 0x1p-53 < ratio;
}

static uint64_t done_count(const struct load *load)
{
        return load->committed + load->aborted + load->rejected + load->unknown;
}

/* --- one transaction
 * ------------------------------------------------------------------------------------------------
 */

/* `refuse` asks for more than there is. */
static size_t payload(struct load *load, enum audit_service service, const struct assent_uuid *txn_id, bool refuse,
                      char text[PAYLOAD_SIZE_MAX])
{
        char id[ASSENT_UUID_TEXT_SIZE];
        int size = 0;

        assent_uuid_format(txn_id, id);
        switch (service) {
        case AUDIT_ORDER:
                size = snprintf(text, PAYLOAD_SIZE_MAX,
                                "{\"order_id\":\"load-%s\",\"customer\":\"load\",\"total_cents\":%d,"
                                "\"items\":[{\"sku\":\"bolt\",\"quantity\":1}]}",
                                id, refuse ? 0 : 1);
                break;
        case AUDIT_PAYMENT:
                size = snprintf(text, PAYLOAD_SIZE_MAX, "{\"account\":\"load-%03d\",\"amount_cents\":%s}",
                                (int)(random_next(load) % (uint64_t)load->settings.accounts),
                                refuse ? "1000000000000" : "1");
                break;
        case AUDIT_INVENTORY:
                size = snprintf(text, PAYLOAD_SIZE_MAX, "{\"items\":[{\"sku\":\"%s\",\"quantity\":1}]}",
                                refuse ? "nothing" : "bolt");
                break;
        case AUDIT_SERVICES:
                break;
        }
        assert(size > 0 && size < PAYLOAD_SIZE_MAX);
        return (size_t)size;
}

/* Sends one more transaction, or the second copy of it. The first service of the list is the one
 * that refuses. */
static enum assent_err send_one(struct load *load)
{
        char payloads[AUDIT_SERVICES][PAYLOAD_SIZE_MAX];
        struct assent_begin_branch branches[AUDIT_SERVICES];
        struct assent_begin begin = ASSENT_BEGIN_INIT;
        const struct settings *settings = &load->settings;
        bool refuse = random_chance(load, settings->abort_ratio);
        bool twice = random_chance(load, settings->duplicate_ratio);

        assent_txn_id_new(&begin.txn_id);
        for (size_t i = 0; i < settings->services_count; i++) {
                enum audit_service service = settings->services[i];
                branches[i] = (struct assent_begin_branch){
                    .service = audit_service_name(service),
                    .kind = kinds[service],
                    .payload = {payloads[i], payload(load, service, &begin.txn_id, refuse && i == 0, payloads[i])}};
        }
        begin.protocol = settings->protocol;
        begin.timeout_ms = (uint32_t)settings->timeout_ms;
        begin.branches = branches;
        begin.branches_count = settings->services_count;

        int64_t begun_us = now_us();
        enum assent_err err = assent_client_send(load->client, &begin);
        if (err != ASSENT_OK)
                return err; /* AGAIN: this one is never sent, another will be */
        struct slot *slot = slots_put(&load->slots, &begin.txn_id);
        slot->begun_us = begun_us;
        load->begun++;
        load->unheld++;
        if (twice && assent_client_send(load->client, &begin) == ASSENT_OK) {
                slot->copies++;
                load->duplicates++;
                load->unheld++;
        }
        return ASSENT_OK;
}

static void finish(struct load *load, struct slot *slot, uint64_t *counter)
{
        int64_t latency_us = now_us() - slot->begun_us;

        assert(latency_us >= 0 && load->latencies_count < (uint64_t)load->settings.count);
        load->latencies_us[load->latencies_count++] = latency_us < UINT32_MAX ? (uint32_t)latency_us : UINT32_MAX;
        ++*counter;
        slots_remove(&load->slots, slot);
}

static void drop(struct load *load, struct slot *slot, uint64_t *counter)
{
        ++*counter;
        slots_remove(&load->slots, slot);
}

/* One copy of a begin was turned away; the transaction is only when no other copy is left (C2). */
static void on_copy_lost(struct load *load, struct slot *slot, struct assent_bytes reason)
{
        if (!load->first_rejection[0])
                snprintf(load->first_rejection, sizeof load->first_rejection, "%.*s", (int)reason.size,
                         reason.size ? (const char *)reason.data : "");
        if (slot->copies > 1)
                slot->copies--;
        else
                drop(load, slot, &load->rejected);
}

static void on_outcome(void *context, const struct assent_notice *notice)
{
        struct load *load = context;
        struct slot *slot = slots_find(&load->slots, &notice->txn_id);

        if (!slot)
                return; /* somebody else's, or told once already */
        if (notice->outcome == ASSENT_COMMITTED)
                finish(load, slot, &load->committed);
        else if (notice->outcome == ASSENT_ABORTED)
                finish(load, slot, &load->aborted);
        else if (notice->outcome == ASSENT_REJECTED)
                on_copy_lost(load, slot, notice->reason);
}

static void on_began(void *context, const struct assent_uuid *txn_id, enum assent_err err)
{
        struct load *load = context;
        struct slot *slot = err == ASSENT_OK ? NULL : slots_find(&load->slots, txn_id);
        const char *text = assent_err_text(err);

        load->unheld--;
        assert(load->unheld >= 0);
        if (slot)
                on_copy_lost(load, slot, (struct assent_bytes){text, strlen(text)});
}

/* --- the loop
 * -------------------------------------------------------------------------------------------------------
 */

/* Gives up on what is overdue. Removing may move a slot into one that was passed: then the next
 * sweep finds it. */
static void sweep(struct load *load, int64_t now)
{
        int64_t oldest_us = now - (load->settings.timeout_ms + OVERDUE_MS) * 1000;

        load->swept_us = now;
        for (size_t i = 0; i <= load->slots.mask; i++)
                if (load->slots.slots[i].copies && load->slots.slots[i].begun_us < oldest_us)
                        drop(load, &load->slots.slots[i], &load->unknown);
}

static void progress(struct load *load, int64_t now)
{
        uint64_t done = done_count(load);
        double seconds = (double)(now - load->progress_us) / 1e6;

        fprintf(stderr,
                "%5.0f s  %9" PRIu64 " done  %8.0f tx/s  %6zu in flight  %" PRIu64 " aborted  %" PRIu64 " rejected\n",
                (double)(now - load->start_us) / 1e6, done, (double)(done - load->progress_done) / seconds,
                load->slots.used, load->aborted, load->rejected);
        load->progress_us = now;
        load->progress_done = done;
}

static enum assent_err fill(struct load *load)
{
        enum assent_err err = ASSENT_OK;

        while (err == ASSENT_OK && !stopped && load->begun < load->settings.count &&
               load->slots.used < (size_t)load->settings.in_flight)
                err = send_one(load);
        return err == ASSENT_AGAIN ? ASSENT_OK : err;
}

static bool finished(const struct load *load)
{
        return done_count(load) == (uint64_t)load->settings.count && load->unheld == 0;
}

/* After a signal nothing new is begun, and what is in flight is left to its fate. A second copy may still be on its way
 * when all outcomes are known: it is waited for. */
static enum assent_err run(struct load *load)
{
        enum assent_err err = ASSENT_OK;

        load->start_us = load->progress_us = load->swept_us = now_us();
        while (!stopped && err == ASSENT_OK && !finished(load)) {
                err = fill(load);
                if (err == ASSENT_OK)
                        err = assent_client_step(load->client, 100);
                int64_t now = now_us();
                if (now - load->progress_us >= 1000000)
                        progress(load, now);
                if (now - load->swept_us >= 1000000)
                        sweep(load, now);
        }
        load->end_us = now_us();
        load->unknown += load->slots.used;
        return stopped ? ASSENT_OK : err;
}

/* --- the report
 * -----------------------------------------------------------------------------------------------------
 */

static int by_value(const void *left, const void *right)
{
        uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
        return (a > b) - (a < b);
}

/* The smallest latency that a share of at least `quantile` does not exceed. */
static double latency_ms(const struct load *load, double quantile)
{
        uint64_t count = load->latencies_count;
        uint64_t rank = (uint64_t)ceil(quantile * (double)count);

        if (count == 0)
                return 0;
        assert(quantile > 0 && rank <= count);
        return (double)load->latencies_us[rank ? rank - 1 : 0] / 1000;
}

static double rate(const struct load *load)
{
        double seconds = (double)(load->end_us - load->start_us) / 1e6;
        return seconds > 0 ? (double)(load->committed + load->aborted) / seconds : 0;
}

static void print_json(const struct load *load, const struct audit_report *audit)
{
        json_t *object = json_pack(
            "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I}", "tx_per_s", rate(load), "seconds",
            (double)(load->end_us - load->start_us) / 1e6, "p50_ms", latency_ms(load, 0.5), "p95_ms",
            latency_ms(load, 0.95), "p99_ms", latency_ms(load, 0.99), "p999_ms", latency_ms(load, 0.999), "max_ms",
            latency_ms(load, 1), "count", (json_int_t)load->begun, "committed", (json_int_t)load->committed, "aborted",
            (json_int_t)load->aborted, "rejected", (json_int_t)load->rejected, "unknown", (json_int_t)load->unknown,
            "duplicates", (json_int_t)load->duplicates);

        /* Without databases nothing is known about these two, so nothing is said. */
        json_object_set_new(object, "in_doubt", audit ? json_integer((json_int_t)audit->in_doubt) : json_null());
        json_object_set_new(object, "violations", audit ? json_integer((json_int_t)audit->violations) : json_null());
        json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        putchar('\n');
        json_decref(object);
}

static void print_text(const struct load *load)
{
        printf("%" PRIu64 " transactions in %.1f s: %.0f tx/s with %" PRId64 " in flight\n",
               load->committed + load->aborted, (double)(load->end_us - load->start_us) / 1e6, rate(load),
               load->settings.in_flight);
        printf("  %" PRIu64 " committed, %" PRIu64 " aborted, %" PRIu64 " rejected, %" PRIu64 " unknown; %" PRIu64
               " begun twice\n",
               load->committed, load->aborted, load->rejected, load->unknown, load->duplicates);
        printf("  begin to outcome  p50 %.1f ms  p95 %.1f ms  p99 %.1f ms  p99.9 %.1f ms  max %.1f "
               "ms\n",
               latency_ms(load, 0.5), latency_ms(load, 0.95), latency_ms(load, 0.99), latency_ms(load, 0.999),
               latency_ms(load, 1));
        if (load->first_rejection[0])
                printf("  the first rejection said: %s\n", load->first_rejection);
}

/* 0 all known and right, 1 a violation, 4 outcomes unknown, 6 rejected. */
static int report(struct load *load)
{
        const struct audit_options *databases = &load->settings.databases;
        struct audit_report audit;
        bool audited = false;

        for (int service = 0; service < AUDIT_SERVICES; service++)
                audited = audited || databases->paths[service];
        qsort(load->latencies_us, load->latencies_count, sizeof *load->latencies_us, by_value);
        if (!load->settings.json)
                print_text(load);
        if (audited && !audit_wait(databases, AUDIT_WAIT_MS, &audit)) {
                fprintf(stderr, "assent-load: audit: %s\n", audit.errmsg);
                return 1;
        }
        if (load->settings.json)
                print_json(load, audited ? &audit : NULL);
        if (audited)
                audit_print(&audit, load->settings.json ? stderr : stdout);
        if (audited && audit.violations)
                return 1;
        return load->unknown ? 4 : load->rejected ? 6 : 0;
}

/* --- settings
 * -------------------------------------------------------------------------------------------------------
 */

static const char description[] =
    "Runs transactions through the sample services and tells how fast they were decided. Given databases, it audits "
    "them\n"
    "at the end as assent-audit does.\n"
    "\n"
    "Examples:\n"
    "  assent-load -n 10000 --in-flight 256\n"
    "  assent-load -n 3000 --abort-ratio 0.05 --duplicate-ratio 0.05 --payment payment.db --inventory inventory.db\n"
    "\n"
    "Exit status: 0 every outcome known and right, 1 a violation or a failure, 2 usage, 4 outcomes unknown, 5 no "
    "broker,\n"
    "6 begins rejected.";

static const struct assent_flag flags[] = {
    {"count", "N", "app.count", "transactions to run, also -n (default 1000, at most 10000000)"},
    {"in-flight", "N", "app.in_flight", "transactions kept in flight (default 64)"},
    {"protocol", "P", "app.protocol", "2pc or 3pc (default 2pc)"},
    {"participants", "LIST", "app.participants", "of order, payment, inventory (default payment,inventory)"},
    {"abort-ratio", "R", "app.abort_ratio", "share that the first participant refuses (default 0)"},
    {"duplicate-ratio", "R", "app.duplicate_ratio", "share whose begin is sent twice (default 0)"},
    {"accounts", "N", "app.accounts", "accounts that pay, of the 1000 seeded (default 1000)"},
    {"timeout", "TIME", "app.timeout", "for all votes of a transaction to arrive: 500ms, 10s, 2m (default 10s)"},
    {"seed", "N", "app.seed", "of the random choices (default 1)"},
    {"order", "DB", "app.order", "database of the order service, audited at the end"},
    {"payment", "DB", "app.payment", "database of the payment service, audited at the end"},
    {"inventory", "DB", "app.inventory", "database of the inventory service, audited at the end"},
    {"json", NULL, "app.json", "one JSON object on stdout"},
    {NULL, NULL, NULL, NULL},
};

/* What the user typed, for a configuration key of ours. */
static const char *flag_of(const char *key)
{
        size_t i = 0;

        while (flags[i].name && strcmp(flags[i].key, key) != 0)
                i++;
        assert(flags[i].name);
        return flags[i].name;
}

static bool read_integer(const struct assent_config *config, const char *key, int64_t fallback, int64_t min,
                         int64_t max, int64_t *value)
{
        const char *text = assent_config_get(config, key);
        char *end;

        *value = fallback;
        if (!text)
                return true;
        errno = 0;
        *value = strtoll(text, &end, 10);
        if (errno || end == text || *end || *value < min || *value > max) {
                fprintf(stderr, "assent-load: --%s %s is no whole number from %" PRId64 " to %" PRId64 "\n",
                        flag_of(key), text, min, max);
                return false;
        }
        return true;
}

static bool read_timeout(const struct assent_config *config, int64_t *value_ms)
{
        const char *text = assent_config_get(config, "app.timeout");

        *value_ms = 10000;
        if (!text || (audit_duration_parse(text, value_ms) && *value_ms > 0))
                return true;
        fprintf(stderr, "assent-load: --timeout %s is no time such as 500ms, 10s, 2m (at most an hour)\n", text);
        return false;
}

static bool read_ratio(const struct assent_config *config, const char *key, double *value)
{
        const char *text = assent_config_get(config, key);
        char *end;

        *value = 0;
        if (!text)
                return true;
        *value = strtod(text, &end);
        if (end == text || *end || !(*value >= 0 && *value <= 1)) {
                fprintf(stderr, "assent-load: --%s %s is no number from 0 to 1\n", flag_of(key), text);
                return false;
        }
        return true;
}

static bool read_protocol(const struct assent_config *config, enum assent_protocol *protocol)
{
        const char *text = assent_config_get(config, "app.protocol");

        *protocol = text && strcmp(text, "3pc") == 0 ? ASSENT_3PC : ASSENT_2PC;
        if (!text || strcmp(text, "2pc") == 0 || strcmp(text, "3pc") == 0)
                return true;
        fprintf(stderr, "assent-load: --protocol %s is neither 2pc nor 3pc\n", text);
        return false;
}

static bool read_participants(const struct assent_config *config, struct settings *settings)
{
        const char *list = assent_config_get(config, "app.participants");
        const char *next = list ? list : "payment,inventory";
        unsigned named = 0;

        while (*next) {
                size_t size = strcspn(next, ",");
                int service = 0;
                while (service < AUDIT_SERVICES &&
                       (strlen(audit_service_name((enum audit_service)service)) != size ||
                        memcmp(audit_service_name((enum audit_service)service), next, size) != 0))
                        service++;
                if (service == AUDIT_SERVICES || named & 1U << service)
                        break;
                named |= 1U << service;
                settings->services[settings->services_count++] = (enum audit_service)service;
                next += size + (next[size] == ',');
        }
        if (*next == '\0' && settings->services_count > 0)
                return true;
        fprintf(stderr,
                "assent-load: --participants %s: give order, payment and inventory, each once at "
                "most\n",
                list ? list : "");
        return false;
}

static bool read_settings(const struct assent_config *config, struct settings *settings)
{
        *settings = (struct settings){
            .databases = {.paths = {assent_config_get(config, "app.order"), assent_config_get(config, "app.payment"),
                                    assent_config_get(config, "app.inventory")}},
            .json = assent_config_get(config, "app.json") != NULL};
        settings->databases.complete = settings->databases.paths[AUDIT_ORDER] &&
                                       settings->databases.paths[AUDIT_PAYMENT] &&
                                       settings->databases.paths[AUDIT_INVENTORY];
        return read_integer(config, "app.count", 1000, 1, COUNT_MAX, &settings->count) &&
               read_integer(config, "app.in_flight", 64, 1, IN_FLIGHT_MAX, &settings->in_flight) &&
               read_integer(config, "app.accounts", ACCOUNTS_MAX, 1, ACCOUNTS_MAX, &settings->accounts) &&
               read_timeout(config, &settings->timeout_ms) &&
               read_integer(config, "app.seed", 1, 0, INT64_MAX, &settings->seed) &&
               read_ratio(config, "app.abort_ratio", &settings->abort_ratio) &&
               read_ratio(config, "app.duplicate_ratio", &settings->duplicate_ratio) &&
               read_protocol(config, &settings->protocol) && read_participants(config, settings);
}

static int load_main(const struct assent_config *config)
{
        struct load load = {0};
        struct assent_client_options options = ASSENT_CLIENT_OPTIONS_INIT;
        int status = 1;

        if (!read_settings(config, &load.settings))
                return 2;
        load.random = (uint64_t)load.settings.seed;
        load.latencies_us = malloc((size_t)load.settings.count * sizeof *load.latencies_us);
        if (!load.latencies_us || !slots_open(&load.slots, (size_t)load.settings.in_flight)) {
                fprintf(stderr, "assent-load: %s\n", assent_err_text(ASSENT_E_MEMORY));
                goto out;
        }
        options.config = config;
        options.outcome = on_outcome;
        options.began = on_began;
        options.context = &load;
        enum assent_err err = assent_client_open(&options, &load.client);
        stopping = load.client;
        if (err == ASSENT_OK && !stopped)
                err = run(&load);
        stopping = NULL;
        if (err != ASSENT_OK) {
                fprintf(stderr, "assent-load: %s\n",
                        load.client ? assent_client_errmsg(load.client) : assent_err_text(err));
                status = err == ASSENT_E_BROKER ? 5 : 1;
                goto out;
        }
        status = report(&load);
out:
        assent_client_close(load.client);
        if (load.slots.slots)
                slots_close(&load.slots);
        free(load.latencies_us);
        return status;
}

int main(int argc, char **argv)
{
        struct assent_config *config;
        int first, status;

        for (int i = 1; i < argc; i++)
                if (strcmp(argv[i], "-n") == 0)
                        argv[i] = (char *)(uintptr_t) "--count"; /* getopt_long only reads it */
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
        if (assent_config_open(&config) != ASSENT_OK)
                return 1;
        assent_config_set(config, "assent.log_level=warn", "default of assent-load");
        status = assent_config_arguments(config, argc, argv, "[OPTION]…", description, flags, &first);
        if (status < 0 && first < argc) {
                fprintf(stderr, "assent-load: unexpected argument '%s'\n", argv[first]);
                status = 2;
        }
        if (status < 0)
                status = load_main(config);
        assent_config_close(config);
        return status;
}
