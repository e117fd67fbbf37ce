/* assent-payment: the payment service. */
#include "payment.h"

#include "../service.h"

static enum assent_err configured(void *app, const struct assent_config *config)
{
        struct payment *payment = app;
        payment->seed = service_seed_wanted(config);
        return ASSENT_OK;
}

int main(int argc, char **argv)
{
        static const struct assent_flag flags[] = {
            {"seed", NULL, "app.seed", "make the accounts alice (500.00), bob (40.00), shop and load-000 to load-999"},
            {NULL, NULL, NULL, NULL},
        };
        struct payment payment = {0};
        struct assent_participant_options options = ASSENT_PARTICIPANT_OPTIONS_INIT;

        options.service = "payment";
        options.handlers = &payment_handlers;
        options.setup = payment_setup;
        options.app = &payment;
        int status = assent_participant_main(
            argc, argv,
            "Takes payments. kind \"charge\", payload {\"account\": \"alice\", \"amount_cents\": 9900,\n"
            "\"payee\": \"shop\"}; payee may be left out and is the shop then.",
            flags, &options, configured);
        service_finalize(payment.sql, PAYMENT_SQL_COUNT); /* the connection waited for them */
        return status;
}
