/* settings.h: what the command line and the configuration ask of a load. */
#ifndef ASSENT_PRODUCERS_SETTINGS_H
#define ASSENT_PRODUCERS_SETTINGS_H

#include <jansson.h>

#include <assent/config.h>

#include "../audit/audit.h"

#define COUNT_MAX        10000000
#define IN_FLIGHT_MAX    100000
#define ORDERS_MAX       10000 /* in flight; each request has a connection */
#define ACCOUNTS_MAX     1000 /* what the payment service seeds */
#define ITEMS_MAX        1000 /* what the inventory service seeds */
#define PAYLOAD_SIZE_MAX 1048576
#define ORDER_SIZE_MAX   65536 /* what the order service reads */
#define ORDER_URL_SIZE_MAX 256
#define RUN_ID_SIZE_MAX  64
#define TOKEN_SIZE_MAX   255
#define RATE_MIN         0.01
#define RATE_MAX         1e6
#define SKEW_MAX         5

enum load_protocol { LOAD_2PC, LOAD_3PC, LOAD_MIX, LOAD_PROTOCOLS };

struct load_service {
        char name[ASSENT_SERVICE_SIZE_MAX + 1];
        char kind[ASSENT_KIND_SIZE_MAX + 1];
        enum audit_service sample; /* AUDIT_SERVICES: none of the three */
};

struct settings {
        int64_t count;                     /* transactions to measure; 0: as many as the duration allows */
        int64_t duration_ms;               /* 0: until the count is reached */
        int64_t warm_up_count, warm_up_ms; /* one of them at most */
        double rate;                       /* 0: a closed loop */
        bool poisson;
        int64_t in_flight, accounts, items, seed, timeout_ms, payload_size, participants;
        double skew, abort_ratio, duplicate_ratio;
        enum load_protocol protocol;
        struct load_service services[ASSENT_BRANCHES_MAX];
        size_t services_count;
        struct audit_options databases;
        bool audited, no_audit, json, quiet;
        const char *url; /* of the order service; NULL: raw */
        char run_id[RUN_ID_SIZE_MAX + 1], token[TOKEN_SIZE_MAX + 1]; /* with a URL; "": no token */
        const char *csv, *save; /* files, or NULL */
        char errmsg[512];
};

extern const struct assent_flag settings_flags[];

/* False, with errmsg, when something is wrong. `others` are databases beside those of the three sample services; they
 * and the configuration are borrowed. */
bool settings_read(const struct assent_config *config, const char *const *others, size_t others_count,
                   struct settings *settings);

/* As they are said again in a result. */
json_t *settings_json(const struct settings *settings, const struct assent_config *config);

#endif
