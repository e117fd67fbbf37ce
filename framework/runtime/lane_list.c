#include "runtime/lane_list.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool number(const char **text, long *out)
{
        if (!isdigit((unsigned char)**text))
                return false;
        char *end;
        *out = strtol(*text, &end, 10);
        *text = end;
        return *out < ASSENT_LANES_MAX;
}

const char *assent_lane_list_parse(const char *text, const char *when_empty, int lanes, struct assent_lane_list *out)
{
        memset(out, 0, sizeof *out);
        if (!*text)
                text = when_empty;
        if (strcmp(text, "subscribe") == 0) {
                out->subscribe = true;
                return NULL;
        }
        if (lanes > ASSENT_LANES_MAX)
                return "the topic has more lanes than this build serves (1024)";
        bool taken[ASSENT_LANES_MAX] = {false};
        if (strcmp(text, "all") == 0)
                memset(taken, true, (size_t)lanes);
        for (const char *p = text; *p && strcmp(text, "all") != 0;) {
                long first, last;
                if (!number(&p, &first))
                        return "assent.lanes must be \"all\", \"subscribe\", or lane numbers such as \"0-3,7\"";
                last = first;
                if (*p == '-' && (p++, !number(&p, &last)))
                        return "assent.lanes has a range without an end; write it as \"0-3\"";
                if (*p == ',')
                        p++;
                else if (*p)
                        return "assent.lanes must be \"all\", \"subscribe\", or lane numbers such as \"0-3,7\"";
                if (first > last || last >= lanes)
                        return "assent.lanes names a lane that the topics do not have; see assentctl topics describe";
                for (long i = first; i <= last; i++)
                        taken[i] = true;
        }
        for (int32_t i = 0; i < lanes; i++)
                if (taken[i])
                        out->lanes[out->count++] = i;
        return out->count ? NULL : "assent.lanes names no lane";
}
