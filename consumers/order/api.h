/* api.h: the order service by HTTP (openapi.json says what it answers). Handlers run on the server's threads and read through
 * connections of their own; what changes something is handed to the participant's thread, and answered once it is durable. */
#ifndef ASSENT_CONSUMERS_ORDER_API_H
#define ASSENT_CONSUMERS_ORDER_API_H

#include <stdatomic.h>

#include <assent/http.h>
#include <assent/observe.h>

#include "begins.h"
#include "order.h"
#include "reads.h"
#include "settings.h"
#include "waiters.h"

struct api {
        struct order *order;
        const struct settings *settings;
        struct assent_participant *participant;
        struct assent_http *http;
        struct assent_http_metrics *metrics; /* of whoever opens this; may be NULL */
        struct read_pool *reads;
        struct waiters *waiters;
        struct begins *begins;
        struct assent_client_counts counts; /* of its clients, and of those who waited here */
        _Atomic uint64_t replays; /* answers given once more to an Idempotency-Key */
        bool closed; /* no request is left; the participant's thread's */
};

/* Serves until api_close. `order`, `settings` and `participant` are filled in and outlive it.
 * Returns ASSENT_OK, or why not (said in the log); api_close is right in either case. */
enum assent_err api_open(struct api *api, const struct assent_config *config);
/* Answers what waits, and ends. On the participant's thread, when that has run. */
void api_close(struct api *api);
/* What has been settled or told is durable. On the participant's thread. */
void api_committed(struct api *api);

/* An answer about one order: its representation, with its entity tag. */
void api_answer_order(struct assent_http_request *request, const struct order_event *order);
/* True when *row is one that may be seen; otherwise answered with 404, 410 or 503. */
bool api_found(struct assent_http_request *request, enum assent_err err, const struct order_row *row, const char *order_id);
/* Answers with a problem that goes away by itself. */
void api_unavailable(struct assent_http_request *request, enum assent_err err);
void api_etag(struct assent_http_request *request, int64_t version);

/* The routes that are not in api.c. */
void place_post(void *app, struct assent_http_request *request);
void change_patch(void *app, struct assent_http_request *request);
void change_delete(void *app, struct assent_http_request *request);
void events_get(void *app, struct assent_http_request *request);

/* place.c: for api_committed, and for `late` of the waiters. */
void place_settled(struct api *api, const struct order_settled *settled);
void place_late(void *api, struct waiter *waiter);

#endif
