#include "workload.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

#define PAYLOAD_PLAIN_MAX 256 /* not padded */

bool workload_open(struct workload *workload, const struct settings *settings)
{
        const size_t padded = (size_t)settings->payload_size + 1;
        double sum = 0;

        *workload = (struct workload){.settings = settings,
                                      .random = (uint64_t)settings->seed,
                                      .room = padded > PAYLOAD_PLAIN_MAX ? padded : PAYLOAD_PLAIN_MAX,
                                      .draft.begin = ASSENT_BEGIN_INIT};
        workload->payloads = malloc((size_t)settings->participants * workload->room);
        workload->reach = malloc((size_t)settings->accounts * sizeof *workload->reach);
        if (!workload->payloads || !workload->reach)
                return false;
        for (int64_t i = 0; i < settings->accounts; i++)
                workload->reach[i] = sum += pow((double)i + 1, -settings->skew);
        for (int64_t i = 0; i < settings->accounts; i++)
                workload->reach[i] /= sum;
        workload->draft.begin.timeout_ms = (uint32_t)settings->timeout_ms;
        workload->draft.begin.branches = workload->draft.branches;
        workload->draft.begin.branches_count = (size_t)settings->participants;
        return true;
}

void workload_close(struct workload *workload)
{
        free(workload->payloads);
        free(workload->reach);
}

/* The first account is the most frequent one. */
static int64_t draw_account(struct workload *workload)
{
        const double share = random_share(&workload->random);
        int64_t low = 0, high = workload->settings->accounts - 1;

        while (low < high) {
                const int64_t middle = (low + high) / 2;
                if (workload->reach[middle] > share)
                        high = middle;
                else
                        low = middle + 1;
        }
        return low;
}

/* `refuse` asks the sample services for more than there is; any other must understand the word. */
static size_t payload_write(struct workload *workload, const struct load_service *service, int64_t branch, bool refuse,
                            char *text)
{
        char id[ASSENT_UUID_TEXT_SIZE];
        int size = 0;

        switch (service->sample) {
        case AUDIT_ORDER: /* an order id is used once */
                assent_uuid_format(&workload->draft.begin.txn_id, id);
                size = snprintf(text, workload->room,
                                "{\"order_id\":\"load-%s-%d\",\"customer\":\"load\",\"total_cents\":%d,"
                                "\"items\":[{\"sku\":\"bolt\",\"quantity\":1}]}",
                                id, (int)branch, refuse ? 0 : 1);
                break;
        case AUDIT_PAYMENT:
                size = snprintf(text, workload->room, "{\"account\":\"load-%03d\",\"amount_cents\":%s}",
                                (int)draw_account(workload), refuse ? "1000000000000" : "1");
                break;
        case AUDIT_INVENTORY:
                size = snprintf(text, workload->room, "{\"items\":[{\"sku\":\"%s\",\"quantity\":1}]}",
                                refuse ? "nothing" : "bolt");
                break;
        case AUDIT_SERVICES:
                size = snprintf(text, workload->room, "{\"key\":%d%s}", (int)draw_account(workload),
                                refuse ? ",\"refuse\":true" : "");
                break;
        }
        assert(size > 0 && (size_t)size < workload->room);
        const size_t padded = (size_t)workload->settings->payload_size;
        if ((size_t)size >= padded)
                return (size_t)size;
        memset(text + size, ' ', padded - (size_t)size);
        return padded;
}

static enum assent_protocol draw_protocol(struct workload *workload)
{
        const enum load_protocol protocol = workload->settings->protocol;

        if (protocol == LOAD_MIX)
                return random_share(&workload->random) < 0.5 ? ASSENT_2PC : ASSENT_3PC;
        return protocol == LOAD_3PC ? ASSENT_3PC : ASSENT_2PC;
}

/* The first branch is the one that is refused. */
const struct draft *workload_draw(struct workload *workload)
{
        const struct settings *settings = workload->settings;
        struct draft *draft = &workload->draft;

        draft->refuse = random_share(&workload->random) < settings->abort_ratio;
        draft->twice = random_share(&workload->random) < settings->duplicate_ratio;
        draft->begin.protocol = draw_protocol(workload);
        assent_txn_id_new(&draft->begin.txn_id);
        for (int64_t i = 0; i < settings->participants; i++) {
                const struct load_service *service = &settings->services[(size_t)i % settings->services_count];
                char *text = workload->payloads + (size_t)i * workload->room;
                const size_t size = payload_write(workload, service, i, draft->refuse && i == 0, text);
                draft->branches[i] = (struct assent_begin_branch){
                    .service = service->name, .kind = service->kind, .payload = {text, size}};
        }
        return draft;
}
