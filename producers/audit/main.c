/* assent-audit: the audit of audit.h as a program. Exit status: 0 nothing wrong, 1 a violation or
 * an unreadable database, 2 usage. */
#include "audit.h"

#include <jansson.h>

#include <assent/config.h>

static const struct assent_flag flags[] = {
    {"order", "DB", "app.order", "database of the order service"},
    {"payment", "DB", "app.payment", "database of the payment service"},
    {"inventory", "DB", "app.inventory", "database of the inventory service"},
    {"complete", NULL, "app.complete", "these are all databases: a branch that is in none of them is a violation"},
    {"wait", "TIME", "app.wait", "audit until nothing is wrong, at most for TIME (30s, 500ms, 2m; default 0s)"},
    {"json", NULL, "app.json", "one JSON object on stdout"},
    {NULL, NULL, NULL, NULL},
};

static const char description[] =
    "Proves from the services' databases that no transaction was split, lost or applied twice, that money and pieces "
    "are\n"
    "conserved, and that nothing is held or in doubt. Reads only; the services may be running.\n"
    "Each DB is the database of another participant, of which only the branches are audited.\n"
    "\n"
    "Examples:\n"
    "  assent-audit --order order.db --payment payment.db --inventory inventory.db --complete --wait 30s\n"
    "  assent-audit --payment payment.db shipping.db invoices.db\n"
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

static json_t *database_json(const struct audit_database *database)
{
        return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "branches", (json_int_t)database->branches,
                         "committed", (json_int_t)database->committed, "aborted", (json_int_t)database->aborted,
                         "effects", (json_int_t)database->effects, "in_doubt", (json_int_t)database->in_doubt, "held",
                         (json_int_t)database->held, "opening", (json_int_t)database->opening, "now",
                         (json_int_t)database->now);
}

/* Files may bear one name in several folders: the others are a list. */
static json_t *other_json(const struct audit_database *database)
{
        return json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", database->name, "branches",
                         (json_int_t)database->branches, "committed", (json_int_t)database->committed, "aborted",
                         (json_int_t)database->aborted, "in_doubt", (json_int_t)database->in_doubt);
}

static void print_json(const struct audit_report *report)
{
        json_t *databases = json_object(), *others = json_array(), *object;

        for (int i = 0; i < AUDIT_DATABASES_MAX; i++) {
                const struct audit_database *database = &report->databases[i];
                if (database->audited && i < AUDIT_SERVICES)
                        json_object_set_new(databases, database->name, database_json(database));
                else if (database->audited)
                        json_array_append_new(others, other_json(database));
        }
        object = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "transactions",
                           (json_int_t)report->transactions, "committed", (json_int_t)report->committed, "aborted",
                           (json_int_t)report->aborted, "in_doubt", (json_int_t)report->in_doubt, "elsewhere",
                           (json_int_t)report->elsewhere, "violations", (json_int_t)report->violations, "databases",
                           databases, "others", others, "shown", violations_json(report));
        json_dumpf(object, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(object);
}

static int audit_main(const struct assent_config *config, const char *const *others, size_t others_count)
{
        struct audit_options options = {.paths = {assent_config_get(config, "app.order"),
                                                  assent_config_get(config, "app.payment"),
                                                  assent_config_get(config, "app.inventory")},
                                        .others = others,
                                        .others_count = others_count,
                                        .complete = assent_config_get(config, "app.complete") != NULL};
        struct audit_report report;
        const char *wait = assent_config_get(config, "app.wait");
        int64_t wait_ms = 0;

        if (!options.paths[AUDIT_ORDER] && !options.paths[AUDIT_PAYMENT] && !options.paths[AUDIT_INVENTORY] &&
            others_count == 0) {
                fprintf(stderr, "assent-audit: no database given: --order DB, --payment DB, --inventory DB, DB…\n");
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
        status =
            assent_config_arguments(config, argc, argv, "[--order DB] [--payment DB] [--inventory DB] [OPTION]… [DB]…",
                                    description, flags, &first);
        if (status < 0)
                status = audit_main(config, (const char *const *)argv + first, (size_t)(argc - first));
        assent_config_close(config);
        return status;
}
