/* lane_list.h: assent.lanes read: "0-3,7", "all", "subscribe", or "" (the caller's default). */
#ifndef ASSENT_RUNTIME_LANE_LIST_H
#define ASSENT_RUNTIME_LANE_LIST_H

#include <assent/types.h>

struct assent_lane_list {
        bool subscribe;
        size_t count;
        int32_t lanes[ASSENT_LANES_MAX]; /* ascending, no lane twice */
};

/* Reads `text` for a prefix of `lanes` lanes. NULL, or a sentence that says what is wrong with it. */
const char *assent_lane_list_parse(const char *text, const char *when_empty, int lanes, struct assent_lane_list *out);

#endif
