#include "raw.h"

#include <string.h>

#include "load.h"

static void on_began(void *context, const struct assent_uuid *txn_id, enum assent_err err)
{
        const char *text = assent_err_text(err);
        load_copy_held(context, txn_id, err == ASSENT_OK, (struct assent_bytes){text, strlen(text)});
}

static void on_outcome(void *context, const struct assent_notice *notice)
{
        if (notice->outcome == ASSENT_REJECTED)
                load_copy_rejected(context, &notice->txn_id, notice->reason);
        else if (notice->outcome == ASSENT_COMMITTED || notice->outcome == ASSENT_ABORTED)
                load_ended(context, &notice->txn_id, notice->outcome == ASSENT_COMMITTED, notice->reason);
}

enum assent_err raw_open(struct raw *raw, const struct assent_config *config, struct load *load)
{
        struct assent_client_options options = ASSENT_CLIENT_OPTIONS_INIT;

        options.config = config;
        options.outcome = on_outcome;
        options.began = on_began;
        options.context = load;
        return assent_client_open(&options, &raw->client);
}

void raw_close(struct raw *raw)
{
        assent_client_close(raw->client);
}

enum assent_err raw_send(struct raw *raw, const struct draft *draft)
{
        return assent_client_send(raw->client, &draft->begin);
}

enum assent_err raw_step(struct raw *raw, int timeout_ms)
{
        return assent_client_step(raw->client, timeout_ms);
}

void raw_stop(struct raw *raw)
{
        if (raw->client)
                assent_client_stop(raw->client);
}

const char *raw_errmsg(const struct raw *raw, enum assent_err err)
{
        return raw->client ? assent_client_errmsg(raw->client) : assent_err_text(err);
}
