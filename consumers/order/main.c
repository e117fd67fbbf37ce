/* assent-order: the order service. */
#include "order.h"

#include "../service.h"

int main(int argc, char **argv)
{
        /* Taken although there is nothing to seed, so that all services start with the same command line. */
        static const struct assent_flag flags[] = {
            {"seed", NULL, "app.seed", "changes nothing: there is nothing to seed, orders begin empty"},
            {NULL, NULL, NULL, NULL},
        };
        struct order order = {0};
        struct assent_participant_options options = ASSENT_PARTICIPANT_OPTIONS_INIT;

        options.service = "order";
        options.handlers = &order_handlers;
        options.setup = order_setup;
        options.app = &order;
        int status = assent_participant_main(
            argc, argv,
            "Keeps orders. kind \"place\", payload {\"order_id\": \"o-1\", \"customer\": \"alice\",\n"
            "\"total_cents\": 9900, \"items\": [{\"sku\": \"lamp\", \"quantity\": 1}]}; an order id is used once.",
            flags, &options, NULL);
        service_finalize(order.sql, ORDER_SQL_COUNT); /* the connection waited for them */
        return status;
}
