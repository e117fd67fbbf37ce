/* The load generator's table of transactions in flight, against a plain list. */
#include <criterion/criterion.h>

#include "../../producers/load/slots.h"

#define IN_FLIGHT 64

static struct slots slots;

/* Few distinct tails, so that chains are long and wrap around. */
static struct assent_uuid id_of(uint32_t number)
{
        struct assent_uuid id = {{0}};
        uint64_t tail = number % 7;

        memcpy(id.bytes, &number, sizeof number);
        memcpy(id.bytes + 8, &tail, sizeof tail);
        return id;
}

Test(slots, full_table_finds_what_is_there_and_nothing_else)
{
        uint32_t there[IN_FLIGHT], state = 1;

        cr_assert(slots_open(&slots, IN_FLIGHT));
        for (uint32_t i = 0; i < IN_FLIGHT; i++) {
                struct assent_uuid id = id_of(there[i] = i);
                slots_put(&slots, &id)->begun_us = i;
        }
        for (uint32_t round = IN_FLIGHT; round < 20000; round++) {
                state = state * 1664525 + 1013904223;
                uint32_t victim = (state >> 16) % IN_FLIGHT;
                struct assent_uuid gone = id_of(there[victim]), come = id_of(round);
                slots_remove(&slots, slots_find(&slots, &gone));
                cr_assert_null(slots_find(&slots, &gone));
                slots_put(&slots, &come)->begun_us = round;
                there[victim] = round;
                for (uint32_t i = 0; i < IN_FLIGHT; i++) {
                        struct assent_uuid id = id_of(there[i]);
                        struct slot *slot = slots_find(&slots, &id);
                        cr_assert_not_null(slot);
                        cr_assert_eq(slot->begun_us, there[i]);
                }
        }
        cr_assert_eq(slots.used, IN_FLIGHT);
        slots_close(&slots);
}

Test(slots, table_for_one_holds_one)
{
        struct assent_uuid id = id_of(1), other = id_of(8);

        cr_assert(slots_open(&slots, 1));
        slots_put(&slots, &id);
        cr_assert_null(slots_find(&slots, &other));
        slots_remove(&slots, slots_find(&slots, &id));
        cr_assert_not_null(slots_put(&slots, &other));
        slots_close(&slots);
}
