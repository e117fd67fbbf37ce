#include "runtime/lane_ends.h"

#include "base/panic.h"

enum { PAUSE_MS = 100 };

enum assent_err assent_lane_ends(struct assent_bus *bus, const struct assent_config *config, const char *topic,
                                 int32_t lane, int64_t *low, int64_t *high)
{
        ASSENT_ASSERT(lane >= 0 && low && high);
        const int64_t until_ms = assent_bus_monotonic_ms(bus) + assent_config_int(config, "assent.start_timeout_ms");
        for (;;) {
                enum assent_err err = assent_bus_watermarks(bus, topic, lane, low, high);
                /* The topic is known to exist: "not found" is a broker that has not heard of it yet. */
                if (err != ASSENT_E_BROKER && err != ASSENT_E_NOT_FOUND)
                        return err;
                if (assent_bus_monotonic_ms(bus) >= until_ms)
                        return ASSENT_E_BROKER;
                err = assent_bus_poll(bus, PAUSE_MS);
                if (err != ASSENT_OK)
                        return err;
        }
}
