/* preconditions.h: If-Match and If-None-Match as RFC 9110 sections 13.1 and 13.2.2 have them. Pure. */
#ifndef ASSENT_HTTP_PRECONDITIONS_H
#define ASSENT_HTTP_PRECONDITIONS_H

#include <assent/types.h>

/* What the field lines of one name say about one current entity tag. Starts as {0}. */
struct assent_tags {
        bool given;     /* there is such a field */
        bool any;       /* `*` */
        bool malformed; /* not a list of entity tags, or `*` among others */
        bool strong;    /* one of them is the current tag, strongly compared … */
        bool weak;      /* … or weakly */
        size_t count;
};

/* Adds one field line; several of one name are one list. `etag` is the current tag without its quotes; NULL: none. */
void assent_tags_add(struct assent_tags *tags, struct assent_bytes line, const char *etag);

enum assent_judgement { ASSENT_GO_ON, ASSENT_NOT_MODIFIED, ASSENT_FAILED, ASSENT_MALFORMED };

/* `exists`: there is such a resource now; `safe`: GET or HEAD. */
enum assent_judgement assent_judge(const struct assent_tags *if_match, const struct assent_tags *if_none_match, bool exists,
                                   bool safe);

#endif
