/* assent-audit: the audit of audit.h as a program. Exit status: 0 nothing wrong, 1 a violation or
 * an unreadable database, 2 usage. */
#include "audit.h"

#include <jansson.h>

#include <assent/config.h>

static const struct assent_flag flags[] = {
    {"order", "DB", "app.order", "database of the order service"},
    {"payment", "DB", "app.payment", "database of the payment service"},
    {"inventory", "DB", "app.inventory", "database of the inventory service"},
    {"wait", "TIME", "app.wait", "audit until nothing is wrong, at most for TIME (30s, 500ms, 2m; default 0s)"},
    {"json", NULL, "app.json", "one JSON object on stdout"},
    {NULL, NULL, NULL, NULL},
};

static const char description[] =
    "Proves from the services' databases that no transaction was split, lost or applied twice, that money and pieces "
    "are\n"
    "conserved, and that nothing is held or in doubt. Reads only; the services may be running.\n"
    "\n"
    "Example:\n"
    "  assent-audit --order order.db --payment payment.db --inventory inventory.db --wait 30s\n"
    "\n"
    "Exit status: 0 nothing wrong, 1 a violation or an unreadable database, 2 usage.";

static json_t *violations_json(const struct audit_report *report)
{
        json_t *violations = json_array();

        for (uint64_t i = 0; i < report->violations && i < AUDIT_SHOWN_MAX; i++)
                json_array_append_new(violations,
                                      json_pack("{s:s, s:s, s:s}", "service", report->shown[i].service, "txn_id",
                                                report->shown[i].txn_id, "text", report->shown[i].text));
        return violations;
}

static void print_json(const struct audit_report *report)
{
        json_t *databases = json_object(), *object;

        for (int service = 0; service < AUDIT_SERVICES; service++) {
                const struct audit_database *database = &report->databases[service];
                if (database->audited)
                        json_object_set_new(
                            databases, audit_service_name((enum audit_service)service),
                            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "branches",
                                      (json_int_t)database->branches, "committed", (json_int_t)database->committed,
                                      "aborted", (json_int_t)database->aborted, "effects",
                                      (json_int_t)database->effects, "in_doubt", (json_int_t)database->in_doubt, "held",
                                      (json_int_t)database->held, "opening", (json_int_t)database->opening, "now",
                                      (json_int_t)database->now));
        }
        object = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "transactions", (json_int_t)report->transactions,
                           "committed", (json_int_t)report->committed, "aborted", (json_int_t)report->aborted,
                           "in_doubt", (json_int_t)report->in_doubt, "violations", (json_int_t)report->violations,
                           "databases", databases, "shown", violations_json(report));
        json_dumpf(object, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(object);
}

static int audit_main(const struct assent_config *config)
{
        struct audit_options options = {{assent_config_get(config, "app.order"),
                                         assent_config_get(config, "app.payment"),
                                         assent_config_get(config, "app.inventory")}};
        struct audit_report report;
        const char *wait = assent_config_get(config, "app.wait");
        int64_t wait_ms = 0;

        if (!options.paths[AUDIT_ORDER] && !options.paths[AUDIT_PAYMENT] && !options.paths[AUDIT_INVENTORY]) {
                fprintf(stderr, "assent-audit: no database given: --order DB, --payment DB, --inventory DB\n");
                return 2;
        }
        if (wait && !audit_duration_parse(wait, &wait_ms)) {
                fprintf(stderr, "assent-audit: --wait %s is no time such as 30s, 500ms, 2m (at most an hour)\n", wait);
                return 2;
        }
        if (!audit_wait(&options, wait_ms, &report)) {
                fprintf(stderr, "assent-audit: %s\n", report.errmsg);
                return 1;
        }
        if (assent_config_get(config, "app.json"))
                print_json(&report);
        else
                audit_print(&report, stdout);
        return report.violations ? 1 : 0;
}

int main(int argc, char **argv)
{
        struct assent_config *config;
        int first, status;

        if (assent_config_open(&config) != ASSENT_OK)
                return 1;
        assent_config_set(config, "assent.log_level=warn", "default of assent-audit");
        status = assent_config_arguments(config, argc, argv, "[--order DB] [--payment DB] [--inventory DB] [OPTION]…",
                                         description, flags, &first);
        if (status < 0 && first < argc) {
                fprintf(stderr, "assent-audit: unexpected argument '%s'\n", argv[first]);
                status = 2;
        }
        if (status < 0)
                status = audit_main(config);
        assent_config_close(config);
        return status;
}
