/* assent-inventory: the inventory service. */
#include "inventory.h"

#include "../service.h"

static enum assent_err configured(void *app, const struct assent_config *config)
{
        struct inventory *inventory = app;
        inventory->seed = inventory->seed_load = service_seed_wanted(config);
        return ASSENT_OK;
}

int main(int argc, char **argv)
{
        static const struct assent_flag flags[] = {
            {"seed", NULL, "app.seed", "make the stock: 20 of lamp, 2 of desk, plenty of bolt and of load-001 to load-999"},
            {NULL, NULL, NULL, NULL},
        };
        struct inventory inventory = {0};
        struct assent_participant_options options = ASSENT_PARTICIPANT_OPTIONS_INIT;

        options.service = "inventory";
        options.handlers = &inventory_handlers;
        options.setup = inventory_setup;
        options.app = &inventory;
        int status = assent_participant_main(
            argc, argv,
            "Keeps the stock. kind \"reserve\", payload {\"items\": [{\"sku\": \"lamp\", \"quantity\": 1}]}.", flags,
            &options, configured);
        service_finalize(inventory.sql, INVENTORY_SQL_COUNT); /* the connection waited for them */
        return status;
}
