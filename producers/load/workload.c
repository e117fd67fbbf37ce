#include "workload.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

#define PAYLOAD_PLAIN_MAX 256 /* not padded */
#define CENTS_BEYOND      INT64_C(1000000000000) /* more than any account has */

/* Of `count`, by the Zipf law; each with those before it. */
static double *shares(int64_t count, double skew)
{
        double sum = 0, *shares = malloc((size_t)count * sizeof *shares);

        for (int64_t i = 0; shares && i < count; i++)
                shares[i] = sum += pow((double)i + 1, -skew);
        for (int64_t i = 0; shares && i < count; i++)
                shares[i] /= sum;
        return shares;
}

bool workload_open(struct workload *workload, const struct settings *settings)
{
        const size_t padded = (size_t)settings->payload_size + 1;

        *workload = (struct workload){.settings = settings,
                                      .random = (uint64_t)settings->seed,
                                      .room = padded > PAYLOAD_PLAIN_MAX ? padded : PAYLOAD_PLAIN_MAX,
                                      .draft.begin = ASSENT_BEGIN_INIT};
        workload->payloads = malloc((size_t)settings->participants * workload->room);
        workload->accounts = shares(settings->accounts, settings->skew);
        workload->items = shares(settings->items, settings->skew);
        if (!workload->payloads || !workload->accounts || !workload->items)
                return false;
        workload->draft.begin.timeout_ms = (uint32_t)settings->timeout_ms;
        workload->draft.begin.branches = workload->draft.branches;
        workload->draft.begin.branches_count = (size_t)settings->participants;
        return true;
}

void workload_close(struct workload *workload)
{
        free(workload->payloads);
        free(workload->accounts);
        free(workload->items);
}

/* The first one is the most frequent one. */
static int64_t draw_one(struct workload *workload, const double *shares, int64_t count)
{
        const double share = random_share(&workload->random);
        int64_t low = 0, high = count - 1;

        while (low < high) {
                const int64_t middle = (low + high) / 2;
                if (shares[middle] > share)
                        high = middle;
                else
                        low = middle + 1;
        }
        return low;
}

static int64_t draw_account(struct workload *workload)
{
        return draw_one(workload, workload->accounts, workload->settings->accounts);
}

static size_t pad(const struct workload *workload, char *text, size_t size)
{
        const size_t padded = (size_t)workload->settings->payload_size;

        if (size >= padded)
                return size;
        memset(text + size, ' ', padded - size);
        return padded;
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
        return pad(workload, text, (size_t)size);
}

/* One that cannot succeed wants more than there is: of a thing that was seeded in twos, or of money. */
static void draw_order(struct workload *workload)
{
        struct draft *draft = &workload->draft;
        const bool no_stock = draft->refuse && random_share(&workload->random) < 0.5;

        draft->later = random_share(&workload->random) < 0.5;
        const int64_t item = draw_one(workload, workload->items, workload->settings->items);
        char sku[16] = "bolt"; /* the first, which has always been seeded */

        if (item > 0)
                snprintf(sku, sizeof sku, "load-%03d", (int)item);
        draft->account = draw_account(workload);
        draft->cents = draft->refuse && !no_stock ? CENTS_BEYOND : 1;
        draft->number++;
        draft->begin.txn_id = (struct assent_uuid){0};
        memcpy(draft->begin.txn_id.bytes + 8, &draft->number, sizeof draft->number); /* unique in this run */
        int size = snprintf(workload->payloads, workload->room,
                            "{\"customer\":\"load-%03d\",\"items\":[{\"sku\":\"%s\",\"quantity\":%d}],\"total_cents\":%" PRId64
                            "}", (int)draft->account, no_stock ? "desk" : sku, no_stock ? 1000000000 : 1, draft->cents);
        assert(size > 0 && (size_t)size < workload->room);
        draft->branches[0].payload = (struct assent_bytes){workload->payloads, pad(workload, workload->payloads, (size_t)size)};
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
        if (settings->url) {
                draw_order(workload);
                return draft;
        }
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
