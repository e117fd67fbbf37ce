/* cache.c: the consumer's handle: an event of an order becomes what the cache shows of it, unless something newer is there.
 */
#include "cache.h"

#include <string.h>

/* A deleted order stays as an entry without a value, so that no older version of it comes back. */
static enum assent_err event_put(struct cache_events *events, const struct order_event *event, enum cache_event *became)
{
        char *text = order_event_text(event);
        bool deleted = strcmp(event->state, "DELETED") == 0;
        if (!text)
                return ASSENT_E_MEMORY;
        enum assent_err err = cache_guard_event(events->guard, event->order_id, event->version, event->updated_ms,
                                                daemon_wall_ms(),
                                                (struct assent_bytes){text, deleted ? 0 : strlen(text)}, became);
        free(text);
        return err;
}

/* Nothing is written to the local database but the framework's own row: a crash after the put repeats it, which changes
 * nothing. */
enum assent_result cache_handle(void *app, struct assent_tx *tx, const struct assent_delivery *delivery)
{
        struct cache_events *events = app;
        struct order_event event;
        enum cache_event became = CACHE_EVENT_UNDECODABLE;
        (void)tx;
        enum assent_err err = order_event_decode(&events->codec, delivery->value, &event);
        if (!err) {
                err = event_put(events, &event, &became);
                order_event_clear(&event);
        }
        if (err == ASSENT_E_BROKER || err == ASSENT_E_MEMORY)
                return ASSENT_RESULT_RETRY; /* the lane waits until the backend is back; readers ask the source meanwhile */
        if (err)
                assent_log(ASSENT_LOG_WARN, "event skipped", ASSENT_INT("lane", delivery->lane),
                           ASSENT_INT("offset", delivery->offset), ASSENT_TEXT("why", assent_err_text(err)));
        atomic_fetch_add_explicit(&events->counts[became], 1, memory_order_relaxed);
        return ASSENT_RESULT_DONE;
}

void cache_events_metrics(const struct cache_events *events, struct assent_exposition *out)
{
        static const char *const labels[CACHE_EVENT_COUNT] = {[CACHE_EVENT_SET] = "result=\"set\"",
                                                              [CACHE_EVENT_OLDER] = "result=\"older\"",
                                                              [CACHE_EVENT_ABSENT] = "result=\"absent\"",
                                                              [CACHE_EVENT_UNDECODABLE] = "result=\"undecodable\""};
        assent_expose(out, "assent_cache_events_total", ASSENT_COUNTER,
                      "Events of orders, by what became of them in the cache.");
        for (size_t i = 0; i < CACHE_EVENT_COUNT; i++)
                assent_expose_value(out, labels[i], (double)atomic_load_explicit(&events->counts[i], memory_order_relaxed));
}
