/* lane.c: which lane a transaction lives in. The same arithmetic as Kafka's default partitioner, so a foreign producer
 * that only sets the key lands in the right lane. */
#include "base/hash.h"
#include "base/panic.h"
#include "core/ids.h"

int32_t assent_lane_of(const struct assent_uuid *txn_id, uint32_t lanes)
{
        ASSENT_ASSERT(lanes >= 1 && lanes <= INT32_MAX);
        char key[ASSENT_UUID_TEXT_SIZE];
        assent_uuid_format(txn_id, key);
        uint32_t positive = assent_murmur2(key, ASSENT_UUID_TEXT_SIZE - 1) & 0x7fffffff;
        return (int32_t)(positive % lanes);
}
