/* fill: a dedup log with a past: makes a participant's database with so many branches in it, all committed, begun
 * evenly over the last 40 minutes and so too young to be forgotten (P12).
 *
 *   fill DB ROWS */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "core/ids.h"
#include "store/store.h"
#include "past.h"

#define LANES      4
#define TIMEOUT_MS 10000
#define BATCH      100000
#define ROWS_MAX   100000000

static _Noreturn void die(const char *why)
{
        fprintf(stderr, "fill: %s\n", why);
        exit(1);
}

static void put(struct assent_store *store, int64_t number, int64_t birth_ms, uint64_t *random)
{
        struct assent_branch_row row = {
            .txn_id = past_txn_id(birth_ms, random),
            .branches_count = 2,
            .state = ASSENT_BRANCH_COMMITTED,
            .deadline_ms = birth_ms + TIMEOUT_MS,
            .offset = 2 * number / LANES + 1,
            .lamport = 6,
        };
        row.lane = assent_lane_of(&row.txn_id, LANES);
        row.slots[ASSENT_SLOT_FIRST] = (struct assent_slot){
            .phase = ASSENT_PREPARE, .answer = ASSENT_YES, .digest = random_next(random), .lamport = 3};
        row.slots[ASSENT_SLOT_DECISION] = (struct assent_slot){
            .phase = ASSENT_COMMIT, .answer = ASSENT_DONE, .digest = random_next(random), .lamport = 7};
        if (assent_store_branch_put(store, &row))
                die(assent_store_errmsg(store));
}

int main(int argc, char **argv)
{
        struct assent_store *store;
        int64_t rows = argc == 3 ? strtoll(argv[2], NULL, 10) : 0;
        uint64_t random = 1;

        if (rows < 1 || rows > ROWS_MAX)
                die("usage: fill DB ROWS, at most 100000000");
        assent_store_process();
        if (assent_store_open(argv[1], &store))
                die(store ? assent_store_errmsg(store) : "out of memory");
        int64_t from_ms = assent_clock_wall_ms() - PAST_MS;
        for (int64_t i = 0; i < rows; i++) {
                if (i % BATCH == 0 && ((i && assent_store_commit(store)) || assent_store_begin(store)))
                        die(assent_store_errmsg(store));
                put(store, i, from_ms + (int64_t)((double)PAST_MS * (double)i / (double)rows), &random);
        }
        if (assent_store_commit(store))
                die(assent_store_errmsg(store));
        assent_store_close(store);
        return 0;
}
