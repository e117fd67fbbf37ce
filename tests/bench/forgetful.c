/* forgetful: an idle participant whose store keeps nothing: store/store.h in the memory of the process, without SQL, undo or
 * disk. Linked to idle.c in the place of the one on SQLite, it leaves what framework and codec cost. Branches are found until
 * they are forgotten, so what comes twice is recognised. Handlers get no database, so there is nothing to undo; what nobody
 * here asks for, parking and events, is refused. It must not be started twice in one prefix. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/panic.h"
#include "store/store.h"

#define ROWS_FIRST 65536

struct assent_tx {
        struct assent_store *store;
        int64_t tau_ms;
        char refusal[ASSENT_REASON_SIZE_MAX];
        uint16_t refusal_size;
};

struct identity {
        struct identity *next;
        char *key, *value;
};

struct position {
        struct position *next;
        char *topic;
        struct assent_position position;
};

/* Rows [first, end), in the order of their keys. They come nearly in that order and go in it, so both ends are near. */
struct assent_store {
        struct assent_branch_row **rows;
        size_t first, end, rows_max;
        struct identity *identities;
        struct position *positions;
        struct assent_tx tx;
        bool rolled_back; /* which takes nothing back: no further use */
        char error[256];
};

static enum assent_err refused(struct assent_store *store, enum assent_err err, const char *why)
{
        snprintf(store->error, sizeof store->error, "the store that keeps nothing: %s", why);
        return err;
}

static enum assent_err exhausted(struct assent_store *store)
{
        return refused(store, ASSENT_E_MEMORY, "out of memory");
}

/* ---- birth and death, the local transaction ---- */

void assent_store_process(void)
{
}

enum assent_err assent_store_open(const char *path, struct assent_store **out)
{
        struct assent_store *store = calloc(1, sizeof *store);
        uint64_t random[2];
        char incarnation[33];

        (void)path;
        *out = store;
        if (!store)
                return ASSENT_E_MEMORY;
        store->tx.store = store;
        if (getrandom(random, sizeof random, 0) != sizeof random)
                return refused(store, ASSENT_E_STORE, "no random bytes for its incarnation");
        snprintf(incarnation, sizeof incarnation, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
        return assent_store_identity_put(store, "incarnation", incarnation);
}

void assent_store_close(struct assent_store *store)
{
        if (!store)
                return;
        for (size_t i = store->first; i < store->end; i++)
                free(store->rows[i]);
        free(store->rows);
        for (struct identity *next, *one = store->identities; one; one = next) {
                next = one->next;
                free(one->key);
                free(one->value);
                free(one);
        }
        for (struct position *next, *one = store->positions; one; one = next) {
                next = one->next;
                free(one->topic);
                free(one);
        }
        free(store);
}

const char *assent_store_errmsg(const struct assent_store *store)
{
        return store->error;
}

enum assent_err assent_store_begin(struct assent_store *store)
{
        return store->rolled_back ? refused(store, ASSENT_E_STORE, "cannot roll back") : ASSENT_OK;
}

enum assent_err assent_store_commit(struct assent_store *store)
{
        (void)store;
        return ASSENT_OK;
}

void assent_store_rollback(struct assent_store *store)
{
        store->rolled_back = true;
}

enum assent_err assent_store_savepoint(struct assent_store *store)
{
        (void)store;
        return ASSENT_OK;
}

enum assent_err assent_store_release(struct assent_store *store)
{
        (void)store;
        return ASSENT_OK;
}

enum assent_err assent_store_undo(struct assent_store *store)
{
        (void)store; /* between savepoint and undo only a handler could have written */
        return ASSENT_OK;
}

struct assent_tx *assent_store_enter(struct assent_store *store, int64_t tau_ms)
{
        store->tx.tau_ms = tau_ms;
        store->tx.refusal_size = 0;
        return &store->tx;
}

enum assent_err assent_store_leave(struct assent_store *store)
{
        (void)store;
        return ASSENT_OK;
}

struct assent_bytes assent_store_refusal(const struct assent_store *store)
{
        return (struct assent_bytes){store->tx.refusal, store->tx.refusal_size};
}

void assent_tx_refuse(struct assent_tx *tx, const char *reason)
{
        tx->refusal_size = assent_reason_copy(tx->refusal, assent_bytes_of(reason));
}

/* ---- identity, positions ---- */

static struct identity *identity_of(const struct assent_store *store, const char *key)
{
        struct identity *one = store->identities;
        while (one && strcmp(one->key, key) != 0)
                one = one->next;
        return one;
}

const char *assent_store_identity(struct assent_store *store, const char *key)
{
        const struct identity *one = identity_of(store, key);
        return one ? one->value : NULL;
}

enum assent_err assent_store_identity_put(struct assent_store *store, const char *key, const char *value)
{
        struct identity *one = identity_of(store, key);
        if (!one) {
                one = calloc(1, sizeof *one);
                if (!one || !(one->key = strdup(key))) {
                        free(one);
                        return exhausted(store);
                }
                one->next = store->identities;
                store->identities = one;
        }
        free(one->value);
        one->value = strdup(value);
        return one->value ? ASSENT_OK : exhausted(store);
}

static struct position *position_of(const struct assent_store *store, const char *topic, int32_t lane)
{
        struct position *one = store->positions;
        while (one && (one->position.lane != lane || strcmp(one->topic, topic) != 0))
                one = one->next;
        return one;
}

enum assent_err assent_store_position(struct assent_store *store, const char *topic, int32_t lane, struct assent_position *out)
{
        const struct position *one = position_of(store, topic, lane);
        if (!one)
                return ASSENT_E_NOT_FOUND;
        *out = one->position;
        return ASSENT_OK;
}

enum assent_err assent_store_position_set(struct assent_store *store, const char *topic, const struct assent_position *position,
                                          int64_t mine)
{
        struct position *one = position_of(store, topic, position->lane);
        if ((one ? one->position.next : -1) != mine)
                return refused(store, ASSENT_E_POSITION, "a position is no longer what it was");
        if (!one) {
                one = calloc(1, sizeof *one);
                if (!one || !(one->topic = strdup(topic))) {
                        free(one);
                        return exhausted(store);
                }
                one->next = store->positions;
                store->positions = one;
        }
        one->position = *position;
        return ASSENT_OK;
}

/* ---- branches ---- */

static int compare(const struct assent_branch_row *row, const struct assent_uuid *txn_id, uint16_t branch)
{
        int order = memcmp(&row->txn_id, txn_id, sizeof *txn_id);
        return order ? order : (row->branch > branch) - (row->branch < branch);
}

/* Where the first row is that does not come before this key. In strides from the newest on, which double: what is asked for is
 * mostly in flight. */
static size_t place_of(const struct assent_store *store, const struct assent_uuid *txn_id, uint16_t branch)
{
        size_t low = store->first, high = store->end, stride = 1;

        for (; high - low > stride && compare(store->rows[high - stride], txn_id, branch) >= 0; stride *= 2)
                high -= stride;
        if (high - low > stride)
                low = high - stride + 1;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (compare(store->rows[middle], txn_id, branch) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static bool is_at(const struct assent_store *store, size_t place, const struct assent_uuid *txn_id, uint16_t branch)
{
        return place < store->end && compare(store->rows[place], txn_id, branch) == 0;
}

enum assent_err assent_store_branch(struct assent_store *store, const struct assent_uuid *txn_id, uint16_t branch,
                                    struct assent_branch_row *row)
{
        size_t place = place_of(store, txn_id, branch);
        if (is_at(store, place, txn_id, branch)) {
                *row = *store->rows[place];
                return ASSENT_OK;
        }
        *row = (struct assent_branch_row){.offset = -1};
        return ASSENT_E_NOT_FOUND;
}

static bool make_room(struct assent_store *store)
{
        size_t count = store->end - store->first;

        if (store->end < store->rows_max)
                return true;
        if (count > store->rows_max / 2 || !store->rows) {
                size_t rows_max = store->rows_max ? 2 * store->rows_max : ROWS_FIRST;
                struct assent_branch_row **rows = reallocarray(store->rows, rows_max, sizeof *rows);
                if (!rows)
                        return false;
                store->rows = rows;
                store->rows_max = rows_max;
        }
        memmove(store->rows, store->rows + store->first, count * sizeof *store->rows);
        store->first = 0;
        store->end = count;
        return true;
}

enum assent_err assent_store_branch_put(struct assent_store *store, const struct assent_branch_row *row)
{
        size_t place = place_of(store, &row->txn_id, row->branch);
        if (!is_at(store, place, &row->txn_id, row->branch)) {
                struct assent_branch_row *copy = malloc(sizeof *copy);
                size_t after = store->end - place;
                if (!copy || !make_room(store)) {
                        free(copy);
                        return exhausted(store);
                }
                place = store->end++ - after;
                memmove(store->rows + place + 1, store->rows + place, after * sizeof *store->rows);
                store->rows[place] = copy;
        }
        *store->rows[place] = *row;
        return ASSENT_OK;
}

enum assent_err assent_store_branch_delete(struct assent_store *store, const struct assent_uuid *txn_id, uint16_t branch)
{
        size_t place = place_of(store, txn_id, branch);
        if (is_at(store, place, txn_id, branch)) {
                free(store->rows[place]);
                memmove(store->rows + store->first + 1, store->rows + store->first,
                        (place - store->first) * sizeof *store->rows);
                store->first++;
        }
        return ASSENT_OK;
}

enum assent_err assent_store_branch_scan(struct assent_store *store, int32_t lane, const struct assent_uuid *from,
                                         size_t rows_max, bool (*each)(void *context, const struct assent_branch_row *row),
                                         void *context)
{
        bool more = true;
        for (size_t i = place_of(store, from, 0), count = 0; i < store->end && more && (!rows_max || count < rows_max); i++) {
                if (lane >= 0 && store->rows[i]->lane != lane)
                        continue;
                more = each(context, store->rows[i]);
                count++;
        }
        return ASSENT_OK;
}

/* ---- what nobody here asks for ---- */

enum assent_err assent_store_park(struct assent_store *store, struct assent_parked *parked)
{
        (void)parked;
        return refused(store, ASSENT_E_STORE, "parks no message");
}

enum assent_err assent_store_parked_first(struct assent_store *store, const struct assent_uuid *txn_id, uint16_t branch,
                                          struct assent_parked *out)
{
        (void)store, (void)txn_id, (void)branch, (void)out;
        return ASSENT_E_NOT_FOUND;
}

enum assent_err assent_store_unpark(struct assent_store *store, int64_t sequence)
{
        (void)sequence;
        return refused(store, ASSENT_E_STORE, "parks no message");
}

void assent_store_record_bytes_max(struct assent_store *store, size_t record_bytes_max)
{
        (void)store, (void)record_bytes_max;
}

uint64_t assent_store_outbox_written(const struct assent_store *store)
{
        (void)store;
        return 0;
}

enum assent_err assent_store_outbox_topic(struct assent_store *store, char topic[ASSENT_EVENT_TOPIC_SIZE_MAX + 1])
{
        (void)store, (void)topic;
        return ASSENT_E_NOT_FOUND;
}

enum assent_err assent_store_outbox_scan(struct assent_store *store, const char *topic, int64_t after, size_t rows_max,
                                         bool (*each)(void *context, const struct assent_outbox_row *row), void *context)
{
        (void)store, (void)topic, (void)after, (void)rows_max, (void)each, (void)context;
        return ASSENT_OK;
}

enum assent_err assent_store_outbox_count(struct assent_store *store, uint64_t most, uint64_t *count)
{
        (void)store, (void)most;
        *count = 0;
        return ASSENT_OK;
}

enum assent_err assent_store_outbox_delete(struct assent_store *store, int64_t sequence)
{
        (void)sequence;
        return refused(store, ASSENT_E_STORE, "has no events");
}

enum assent_err assent_store_outbox_refuse(struct assent_store *store, int64_t sequence, const char *reason)
{
        (void)sequence, (void)reason;
        return refused(store, ASSENT_E_STORE, "has no events");
}
