#include "readback.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#define PAUSE_MS        200 /* before what is not settled is asked for again */
#define PAUSE_MS_MAX    5000
#define BETWEEN_LOOKS_MS 50 /* a pause can be interrupted */

enum look { LOOK_DONE, LOOK_AGAIN };

/* The states of an order, and of a transaction. */
static bool is_settled(const char *state, bool *committed)
{
        *committed = strcmp(state, "CONFIRMED") == 0 || strcmp(state, "COMMITTED") == 0;
        return *committed || strcmp(state, "CANCELLED") == 0 || strcmp(state, "ABORTED") == 0;
}

/* The order is the one that was sent. */
static bool same_order(const struct order_record *record, const json_t *body)
{
        char customer[16];
        const char *told = json_string_value(json_object_get(body, "customer"));

        snprintf(customer, sizeof customer, "load-%03d", record->account);
        return told && strcmp(told, customer) == 0 &&
               json_integer_value(json_object_get(body, "total_cents")) == record->cents;
}

static enum look judge(struct order *order, struct order_record *record, const struct assent_fetched *answer,
                       struct read_back *report)
{
        const int64_t version = order_version(answer->etag);
        json_t *body = json_loadb(answer->body.data, answer->body.size, 0, NULL);
        const char *state = json_string_value(json_object_get(body, "state"));
        const bool is_order = strncmp(record->path, "/v1/orders/", 11) == 0;
        bool committed = false;
        const bool settled = state && is_settled(state, &committed);

        if (version < record->version)
                order_fault(&order->faults, "%s: version %" PRId64 " was seen, and now %s", record->path, record->version,
                            *answer->etag ? answer->etag : "none");
        else
                record->version = version;
        if (!state || (is_order && !same_order(record, body)))
                order_fault(&order->faults, "%s: is not the order that was sent", record->path);
        else if (record->known && (!settled || committed != record->committed))
                order_fault(&order->faults, "%s: was answered as %s, and is %s", record->path,
                            record->committed ? "committed" : "aborted", state);
        json_decref(body);
        if (state && !settled && !record->known)
                return LOOK_AGAIN;
        report->late += settled && !record->known;
        report->late_committed += committed && !record->known;
        return LOOK_DONE;
}

static enum look unread(struct read_back *report, const struct order_record *record, unsigned status, const char *why)
{
        snprintf(report->unread_why, sizeof report->unread_why, "GET %s: %u %s", record->path, status, why);
        return LOOK_AGAIN;
}

static enum look look(struct order *order, struct order_record *record, struct read_back *report, int64_t *pause_ms)
{
        const size_t base = strlen(order->url) - strlen("/v1/orders");
        char url[sizeof order->url + sizeof record->path];
        struct assent_fetched answer;

        snprintf(url, sizeof url, "%.*s%s", (int)base, order->url, record->path);
        const enum assent_err err = assent_fetch_get(order->fetch, url, NULL, &answer);
        if (err != ASSENT_OK)
                return unread(report, record, 0, assent_fetch_errmsg(order->fetch));
        if (answer.status == 404 || answer.status == 410) {
                order_fault(&order->faults, "%s: was answered, and is not there: %u", record->path, answer.status);
                return LOOK_DONE;
        }
        if (answer.status != 200) {
                *pause_ms = answer.retry_after_ms < PAUSE_MS_MAX ? answer.retry_after_ms : PAUSE_MS_MAX;
                return unread(report, record, answer.status, "");
        }
        report->not_modified += answer.not_modified;
        return judge(order, record, &answer, report);
}

static void rest(int64_t ms, const volatile sig_atomic_t *stopped)
{
        for (; ms > 0 && !*stopped; ms -= BETWEEN_LOOKS_MS)
                usleep(BETWEEN_LOOKS_MS * 1000);
}

void read_back(struct order *order, int64_t wait_ms, const volatile sig_atomic_t *stopped, struct read_back *report)
{
        size_t left = order->records_count;
        int64_t until_us = INT64_MAX;

        *report = (struct read_back){.orders = left};
        while (left > 0 && !*stopped) {
                int64_t pause_ms = 0;
                size_t kept = 0, at = 0;
                for (; at < left && !*stopped; at++) {
                        struct order_record record = order->records[at];
                        if (look(order, &record, report, &pause_ms) == LOOK_AGAIN)
                                order->records[kept++] = record;
                }
                for (; at < left; at++) /* it was stopped */
                        order->records[kept++] = order->records[at];
                left = kept;
                if (until_us == INT64_MAX)
                        until_us = now_us() + wait_ms * 1000;
                if (now_us() >= until_us)
                        break;
                if (left > 0)
                        rest(pause_ms > PAUSE_MS ? pause_ms : PAUSE_MS, stopped);
        }
        report->unsettled = left;
}
