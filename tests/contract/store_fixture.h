/* store_fixture.h: a store for a test, in memory or in a file of a folder of its own. With CONTRACT_SIM files are on a
 * simulated disk, which must keep the same contract; in the folder there is then only the lock. */
#ifndef ASSENT_TESTS_STORE_FIXTURE_H
#define ASSENT_TESTS_STORE_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"

#ifdef CONTRACT_SIM
#include "sim/sim.h"

void sim_count(enum sim_fault fault)
{
        (void)fault; /* none is asked for here */
}
#endif

struct fixture {
        char folder[64], path[96];
        struct assent_store *store;
        struct sim_disk *disk; /* NULL: real */
};

static inline void fixture_name(struct fixture *fixture)
{
        snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/assent-store-XXXXXX");
        cr_assert_not_null(mkdtemp(fixture->folder));
#ifdef CONTRACT_SIM
        fixture->disk = sim_disk_new(fixture->folder);
#endif
        snprintf(fixture->path, sizeof(fixture->path), "%s/test.db", fixture->folder);
}

static inline struct fixture fixture_open(bool file)
{
        struct fixture fixture = {.path = ":memory:"};

#ifdef CONTRACT_SIM
        sim_world_open(&(struct sim_options){.seed = 1, .calm = true});
        sim_disks_open();
#endif
        if (file)
                fixture_name(&fixture);
        enum assent_err err = assent_store_open(fixture.path, &fixture.store);
        cr_assert_eq(err, ASSENT_OK, "%s", assent_store_errmsg(fixture.store));
        return fixture;
}

static inline void fixture_reopen(struct fixture *fixture)
{
        assent_store_close(fixture->store);
        enum assent_err err = assent_store_open(fixture->path, &fixture->store);
        cr_assert_eq(err, ASSENT_OK, "%s", assent_store_errmsg(fixture->store));
}

static inline void fixture_close(struct fixture *fixture)
{
        static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", ".owner"};
        char name[128];

        assent_store_close(fixture->store);
        if (!fixture->folder[0])
                return;
        for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
                snprintf(name, sizeof(name), "%s%s", fixture->path, suffixes[i]);
                unlink(name);
        }
        rmdir(fixture->folder);
#ifdef CONTRACT_SIM
        sim_disk_free(fixture->disk);
#endif
}

/* The contract holds for every kind of store: one body, a test for each. */
#define CONTRACT(suite, situation)                                                                 \
        static void suite##_##situation(struct fixture *fixture);                                  \
        Test(suite, situation##_in_memory)                                                         \
        {                                                                                          \
                struct fixture fixture = fixture_open(false);                                      \
                suite##_##situation(&fixture);                                                     \
                fixture_close(&fixture);                                                           \
        }                                                                                          \
        Test(suite, situation##_in_a_file)                                                         \
        {                                                                                          \
                struct fixture fixture = fixture_open(true);                                       \
                suite##_##situation(&fixture);                                                     \
                fixture_close(&fixture);                                                           \
        }                                                                                          \
        static void suite##_##situation(struct fixture *fixture)

#define OK(call) cr_assert_eq((call), ASSENT_OK, "%s", assent_store_errmsg(fixture->store))

#endif
