/* table.c: see table.h. */
#include "core/table.h"

#include <string.h>

#include "base/hash.h"

/* A service's name, kept once for all the branches that name it. */
struct service {
        struct assent_link link;
        uint64_t digest; /* XXH64 of the name */
        uint32_t uses;
        uint32_t size;
        char name[];
};

struct reason {
        uint16_t size;
        char text[];
};

static struct service *service_at(const struct assent_table *table, uint32_t handle)
{
        return assent_arena_at(table->arena, handle);
}

static size_t txn_size(uint32_t branches_count)
{
        return sizeof(struct assent_txn) + branches_count * (sizeof(uint32_t) + sizeof(uint8_t));
}

static bool born_before(const struct assent_arena *arena, uint32_t a, uint32_t b)
{
        const struct assent_txn *x = assent_arena_at(arena, a), *y = assent_arena_at(arena, b);
        return memcmp(x->id.bytes, y->id.bytes, sizeof x->id.bytes) < 0;
}

int64_t assent_txn_due_ms(const struct assent_txn *txn)
{
        bool waits = (txn->flags & (ASSENT_TXN_PRE_COMMIT | ASSENT_TXN_DECIDED)) == ASSENT_TXN_PRE_COMMIT;
        return waits ? txn->time_ms : txn->deadline_ms;
}

static bool due_before(const struct assent_arena *arena, uint32_t a, uint32_t b)
{
        int64_t x = assent_txn_due_ms(assent_arena_at(arena, a));
        int64_t y = assent_txn_due_ms(assent_arena_at(arena, b));
        return x == y ? born_before(arena, a, b) : x < y;
}

static void overdue_placed(const struct assent_arena *arena, uint32_t item, uint32_t position)
{
        ((struct assent_txn *)assent_arena_at(arena, item))->at.undecided.overdue_at = position;
}

static void deadline_placed(const struct assent_arena *arena, uint32_t item, uint32_t position)
{
        ((struct assent_txn *)assent_arena_at(arena, item))->at.undecided.deadline_at = position;
}

bool assent_table_open(struct assent_table *table, struct assent_arena *arena)
{
        *table = (struct assent_table){.arena = arena};
        assent_heap_open(&table->births, arena, born_before, NULL);
        assent_heap_open(&table->overdue, arena, born_before, overdue_placed);
        assent_heap_open(&table->deadlines, arena, due_before, deadline_placed);
        return assent_map_open(&table->txns, arena) && assent_map_open(&table->services, arena);
}

static uint32_t txn_hash(const struct assent_uuid *id)
{
        return (uint32_t)assent_hash64(id->bytes, sizeof id->bytes, 0);
}

uint32_t assent_table_find(const struct assent_table *table, const struct assent_uuid *txn_id)
{
        uint32_t handle = assent_map_first(&table->txns, txn_hash(txn_id));
        while (handle && memcmp(assent_table_at(table, handle)->id.bytes, txn_id->bytes, sizeof txn_id->bytes) != 0)
                handle = assent_map_next(&table->txns, handle);
        return handle;
}

/* Finds or makes the service and counts one more use. 0: exhausted. */
static uint32_t service_take(struct assent_table *table, struct assent_bytes name)
{
        uint64_t digest = assent_hash64(name.data, name.size, 0);
        uint32_t handle = assent_map_first(&table->services, (uint32_t)digest);
        for (; handle; handle = assent_map_next(&table->services, handle)) {
                struct service *service = service_at(table, handle);
                if (service->size == name.size && memcmp(service->name, name.data, name.size) == 0) {
                        service->uses++;
                        return handle;
                }
        }
        handle = assent_arena_alloc(table->arena, sizeof(struct service) + name.size);
        if (!handle || !assent_map_add(&table->services, handle, (uint32_t)digest))
                return 0;
        struct service *service = service_at(table, handle);
        service->digest = digest;
        service->uses = 1;
        service->size = (uint32_t)name.size;
        memcpy(service->name, name.data, name.size);
        return handle;
}

static void service_drop(struct assent_table *table, uint32_t handle)
{
        struct service *service = service_at(table, handle);
        ASSENT_ASSERT(service->uses > 0);
        if (--service->uses > 0)
                return;
        assent_map_remove(&table->services, handle);
        assent_arena_free(table->arena, handle, sizeof *service + service->size);
}

uint32_t assent_table_add(struct assent_table *table, const struct assent_message *begin, uint64_t digest,
                          int64_t deadline_ms, int64_t timeout_ms)
{
        uint32_t count = begin->body.begin.branches_count;
        ASSENT_ASSERT(count >= 1 && count <= ASSENT_BRANCHES_MAX);
        uint32_t handle = assent_arena_alloc(table->arena, txn_size(count));
        if (!handle)
                return 0;
        struct assent_txn *txn = assent_table_at(table, handle);
        memset(txn, 0, txn_size(count));
        txn->id = begin->txn_id;
        txn->begin_digest = digest;
        txn->deadline_ms = deadline_ms;
        txn->time_ms = timeout_ms;
        txn->protocol = (uint8_t)begin->body.begin.protocol;
        txn->flags = begin->body.begin.notify_completed ? ASSENT_TXN_NOTIFY : 0;
        txn->branches_count = txn->missing = (uint8_t)count;
        for (uint32_t i = 0; i < count; i++) {
                txn->services[i] = service_take(table, begin->body.begin.branches[i].service);
                if (!txn->services[i])
                        return 0;
        }
        if (!assent_map_add(&table->txns, handle, txn_hash(&txn->id)) || !assent_heap_push(&table->births, handle) ||
            !assent_heap_push(&table->deadlines, handle))
                return 0;
        table->undecided++;
        assent_table_settle(table, handle);
        return handle;
}

struct assent_bytes assent_table_service(const struct assent_table *table, const struct assent_txn *txn,
                                         uint32_t branch)
{
        ASSENT_ASSERT(branch < txn->branches_count);
        const struct service *service = service_at(table, txn->services[branch]);
        return (struct assent_bytes){.data = service->name, .size = service->size};
}

struct assent_bytes assent_table_reason(const struct assent_table *table, const struct assent_txn *txn)
{
        ASSENT_ASSERT(txn->flags & ASSENT_TXN_DECIDED);
        if (!txn->at.decided.reason)
                return (struct assent_bytes){0};
        const struct reason *reason = assent_arena_at(table->arena, txn->at.decided.reason);
        return (struct assent_bytes){.data = reason->text, .size = reason->size};
}

/* ---- the digest ---- */

#define IMAGE_SIZE_MAX (64 + ASSENT_BRANCHES_MAX * 9 + 2 + ASSENT_REASON_SIZE_MAX)

static uint8_t *put(uint8_t *at, uint64_t value, size_t size)
{
        for (size_t i = 0; i < size; i++)
                at[i] = (uint8_t)(value >> (8 * i));
        return at + size;
}

/* Of everything in the transaction that can influence a later emission. Not in it: positions in heaps, and what follows
 * from the rest (`missing`, OVERDUE). */
static uint64_t digest_of(const struct assent_table *table, uint32_t handle)
{
        struct assent_txn *txn = assent_table_at(table, handle);
        uint8_t image[IMAGE_SIZE_MAX], *at = image;
        bool decided = txn->flags & ASSENT_TXN_DECIDED;
        memcpy(at, txn->id.bytes, sizeof txn->id.bytes);
        at += sizeof txn->id.bytes;
        at = put(at, txn->begin_digest, 8);
        at = put(at, (uint64_t)txn->deadline_ms, 8);
        at = put(at, (uint64_t)txn->time_ms, 8);
        at = put(at, txn->lamport, 4);
        at = put(at, decided ? txn->at.decided.lamport : 0, 4);
        at = put(at, txn->protocol, 1);
        at = put(at, txn->flags & ~(unsigned)ASSENT_TXN_OVERDUE, 1);
        at = put(at, txn->branches_count, 1);
        for (uint32_t i = 0; i < txn->branches_count; i++) {
                at = put(at, service_at(table, txn->services[i])->digest, 8);
                at = put(at, assent_txn_branches(txn)[i], 1);
        }
        struct assent_bytes reason = decided ? assent_table_reason(table, txn) : (struct assent_bytes){0};
        at = put(at, reason.size, 2);
        if (reason.size)
                memcpy(at, reason.data, reason.size);
        at += reason.size;
        ASSENT_ASSERT((size_t)(at - image) <= sizeof image);
        return assent_hash64(image, (size_t)(at - image), 0);
}

void assent_table_lift(struct assent_table *table, uint32_t handle)
{
        table->sum -= digest_of(table, handle);
}

void assent_table_settle(struct assent_table *table, uint32_t handle)
{
        table->sum += digest_of(table, handle);
}

/* ---- moves ---- */

bool assent_table_pre_commit(struct assent_table *table, uint32_t handle, int64_t deadline_ms)
{
        struct assent_txn *txn = assent_table_at(table, handle);
        ASSENT_ASSERT(!(txn->flags & (ASSENT_TXN_DECIDED | ASSENT_TXN_PRE_COMMIT)));
        assent_heap_remove(&table->deadlines, txn->at.undecided.deadline_at);
        txn->flags |= ASSENT_TXN_PRE_COMMIT;
        txn->time_ms = deadline_ms;
        return assent_heap_push(&table->deadlines, handle);
}

/* An overdue one goes back among the births, where R11 finds it at the end of this very step. */
bool assent_table_decide(struct assent_table *table, uint32_t handle, bool commit, struct assent_bytes reason,
                         int64_t tau_ms, uint32_t lamport)
{
        struct assent_txn *txn = assent_table_at(table, handle);
        ASSENT_ASSERT(!(txn->flags & ASSENT_TXN_DECIDED) && reason.size <= ASSENT_REASON_SIZE_MAX);
        assent_heap_remove(&table->deadlines, txn->at.undecided.deadline_at);
        if (txn->flags & ASSENT_TXN_OVERDUE) {
                assent_heap_remove(&table->overdue, txn->at.undecided.overdue_at);
                txn->flags &= (uint8_t)~ASSENT_TXN_OVERDUE;
                if (!assent_heap_push(&table->births, handle))
                        return false;
        }
        txn->flags |= commit ? ASSENT_TXN_DECIDED | ASSENT_TXN_COMMIT : ASSENT_TXN_DECIDED;
        txn->time_ms = tau_ms;
        txn->at.decided.lamport = lamport;
        txn->at.decided.reason = 0;
        table->undecided--;
        table->decided++;
        if (reason.size == 0)
                return true;
        uint32_t block = assent_arena_alloc(table->arena, sizeof(struct reason) + reason.size);
        if (!block)
                return false;
        struct reason *kept = assent_arena_at(table->arena, block);
        kept->size = (uint16_t)reason.size;
        memcpy(kept->text, reason.data, reason.size);
        txn->at.decided.reason = block;
        return true;
}

void assent_table_finish(struct assent_table *table, uint32_t handle)
{
        struct assent_txn *txn = assent_table_at(table, handle);
        ASSENT_ASSERT((txn->flags & ASSENT_TXN_DECIDED) && !(txn->flags & ASSENT_TXN_FINISHED));
        txn->flags |= ASSENT_TXN_FINISHED;
        table->decided--;
        table->finished++;
}

uint32_t assent_table_due(const struct assent_table *table)
{
        return assent_heap_least(&table->deadlines);
}

uint32_t assent_table_eldest(const struct assent_table *table)
{
        return assent_heap_least(&table->births);
}

bool assent_table_defer(struct assent_table *table)
{
        uint32_t handle = assent_table_eldest(table);
        struct assent_txn *txn = assent_table_at(table, handle);
        ASSENT_ASSERT(!(txn->flags & (ASSENT_TXN_DECIDED | ASSENT_TXN_OVERDUE)));
        assent_heap_remove(&table->births, 0);
        txn->flags |= ASSENT_TXN_OVERDUE;
        return assent_heap_push(&table->overdue, handle);
}

void assent_table_forget(struct assent_table *table)
{
        uint32_t handle = assent_table_eldest(table);
        struct assent_txn *txn = assent_table_at(table, handle);
        ASSENT_ASSERT(txn->flags & ASSENT_TXN_DECIDED);
        assent_table_lift(table, handle);
        assent_heap_remove(&table->births, 0);
        assent_map_remove(&table->txns, handle);
        if (txn->flags & ASSENT_TXN_FINISHED)
                table->finished--;
        else
                table->decided--;
        size_t reason_size = assent_table_reason(table, txn).size;
        if (reason_size)
                assent_arena_free(table->arena, txn->at.decided.reason, sizeof(struct reason) + reason_size);
        for (uint32_t i = 0; i < txn->branches_count; i++)
                service_drop(table, txn->services[i]);
        assent_arena_free(table->arena, handle, txn_size(txn->branches_count));
}

bool assent_table_overdue(const struct assent_table *table, int64_t *birth_ms)
{
        uint32_t handle = assent_heap_least(&table->overdue);
        if (handle)
                *birth_ms = assent_txn_id_birth_ms(&assent_table_at(table, handle)->id);
        return handle != 0;
}
