/* uuid.c: the text form of UUIDs, and transaction ids. */
#include <assent/types.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/panic.h"

void assent_uuid_format(const struct assent_uuid *id, char text[ASSENT_UUID_TEXT_SIZE])
{
        static const char digits[] = "0123456789abcdef";
        char *at = text;
        for (size_t i = 0; i < sizeof id->bytes; i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10)
                        *at++ = '-';
                *at++ = digits[id->bytes[i] >> 4];
                *at++ = digits[id->bytes[i] & 15];
        }
        *at = '\0';
        ASSENT_ASSERT(at - text == ASSENT_UUID_TEXT_SIZE - 1);
}

/* The value of a hexadecimal digit, or -1. */
static int digit_value(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

enum assent_err assent_uuid_parse(const char *text, size_t size, struct assent_uuid *out)
{
        if (size != ASSENT_UUID_TEXT_SIZE - 1)
                return ASSENT_E_ARGUMENT;
        struct assent_uuid id;
        for (size_t i = 0; i < sizeof id.bytes; i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10) {
                        if (*text++ != '-')
                                return ASSENT_E_ARGUMENT;
                }
                int high = digit_value(*text++);
                int low = digit_value(*text++);
                if (high < 0 || low < 0)
                        return ASSENT_E_ARGUMENT;
                id.bytes[i] = (uint8_t)(high << 4 | low);
        }
        *out = id;
        return ASSENT_OK;
}

static void random_fill(void *out, size_t size)
{
        ASSENT_ASSERT(size <= 256); /* up to here getrandom gives all or nothing */
        ssize_t got;
        do
                got = getrandom(out, size, 0);
        while (got < 0 && errno == EINTR);
        ASSENT_ASSERT(got == (ssize_t)size);
}

/* RFC 9562 section 6.2, method 1: a counter of 26 bits stands right below the milliseconds (the 12
 * bits of rand_a and the first 14 of rand_b), starts at random in its lower half in each new
 * millisecond and counts up within one; 48 random bits follow. When the counter is full, or the
 * wall clock steps back, the id's own time goes on from where it was. */
#define COUNTER_BITS 26
#define COUNTER_MAX  ((1u << COUNTER_BITS) - 1)

static pthread_mutex_t minting = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_ms;
static uint32_t last_counter;

static void next_in_order(uint64_t wall_ms, uint32_t seed, uint64_t *ms, uint32_t *counter)
{
        pthread_mutex_lock(&minting);
        if (wall_ms > last_ms) {
                last_ms = wall_ms;
                last_counter = seed & COUNTER_MAX >> 1;
        } else if (last_counter < COUNTER_MAX) {
                last_counter++;
        } else {
                last_ms++;
                last_counter = seed & COUNTER_MAX >> 1;
        }
        *ms = last_ms;
        *counter = last_counter;
        pthread_mutex_unlock(&minting);
}

void assent_txn_id_new(struct assent_uuid *out)
{
        struct {
                uint32_t seed;
                uint8_t tail[6];
        } noise;
        random_fill(&noise, sizeof noise);

        uint64_t ms;
        uint32_t counter;
        next_in_order((uint64_t)assent_clock_wall_ms(), noise.seed, &ms, &counter);
        ASSENT_ASSERT(ms >> 48 == 0);
        ASSENT_ASSERT(counter <= COUNTER_MAX);

        for (int i = 0; i < 6; i++)
                out->bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
        out->bytes[6] = (uint8_t)(0x70 | counter >> 22);
        out->bytes[7] = (uint8_t)(counter >> 14);
        out->bytes[8] = (uint8_t)(0x80 | (counter >> 8 & 0x3f));
        out->bytes[9] = (uint8_t)counter;
        memcpy(out->bytes + 10, noise.tail, sizeof noise.tail);
        ASSENT_ASSERT(assent_txn_id_valid(out));
}

int64_t assent_txn_id_birth_ms(const struct assent_uuid *txn_id)
{
        int64_t ms = 0;
        for (int i = 0; i < 6; i++)
                ms = ms << 8 | txn_id->bytes[i];
        return ms;
}

bool assent_txn_id_valid(const struct assent_uuid *id)
{
        return id->bytes[6] >> 4 == 7 && id->bytes[8] >> 6 == 2;
}
