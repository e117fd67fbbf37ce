/* lane_ends.h: where a lane starts and ends, asked until its leader answers. */
#ifndef ASSENT_RUNTIME_LANE_ENDS_H
#define ASSENT_RUNTIME_LANE_ENDS_H

#include <assent/config.h>

#include "kafka/bus.h"

/* assent_bus_watermarks of a lane that is known to exist. A broker that has just (re)started answers before it leads
 * its partitions again, so a refusal is asked again, for at most assent.start_timeout_ms. Blocks. ASSENT_OK,
 * ASSENT_E_BROKER, or ASSENT_E_DENIED at once; see assent_bus_errmsg. */
enum assent_err assent_lane_ends(struct assent_bus *bus, const struct assent_config *config, const char *topic,
                                 int32_t lane, int64_t *low, int64_t *high);

#endif
