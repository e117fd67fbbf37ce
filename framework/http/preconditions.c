/* preconditions.c: see preconditions.h. */
#include "http/preconditions.h"

#include <string.h>

static bool blank(char c)
{
        return c == ' ' || c == '\t';
}

/* RFC 9110 section 8.8.3: etagc. */
static bool tag_character(char c)
{
        unsigned char byte = (unsigned char)c;
        return byte == 0x21 || (byte >= 0x23 && byte != 0x7f);
}

/* One entity tag at `at`; returns where it ends, or NULL. */
static const char *entity_tag(const char *at, const char *end, bool *weak, struct assent_bytes *opaque)
{
        *weak = end - at >= 2 && at[0] == 'W' && at[1] == '/';
        if (*weak)
                at += 2;
        if (at == end || *at++ != '"')
                return NULL;
        const char *start = at;
        while (at < end && tag_character(*at))
                at++;
        if (at == end || *at != '"')
                return NULL;
        *opaque = (struct assent_bytes){.data = start, .size = (size_t)(at - start)};
        return at + 1;
}

/* One element at `at`; returns where it ends, or NULL. */
static const char *element(struct assent_tags *tags, const char *at, const char *end, const char *etag)
{
        bool weak;
        struct assent_bytes opaque;
        tags->count++;
        if (*at == '*') {
                tags->any = true;
                at++;
        } else if ((at = entity_tag(at, end, &weak, &opaque))) {
                if (etag && opaque.size == strlen(etag) && memcmp(opaque.data, etag, opaque.size) == 0) {
                        tags->weak = true;
                        tags->strong = tags->strong || !weak;
                }
        }
        return at && (at == end || *at == ',' || blank(*at)) ? at : NULL;
}

void assent_tags_add(struct assent_tags *tags, struct assent_bytes line, const char *etag)
{
        const char *at = line.data, *end = at + line.size;
        bool separated = true; /* elements may be empty, but two need a comma between them */
        tags->given = true;
        while (at < end) {
                if (*at == ',' || blank(*at)) {
                        separated = separated || *at == ',';
                        at++;
                } else if (!separated || !(at = element(tags, at, end, etag))) {
                        tags->malformed = true;
                        return;
                } else {
                        separated = false;
                }
        }
        tags->malformed = tags->malformed || (tags->any && tags->count > 1);
}

enum assent_judgement assent_judge(const struct assent_tags *if_match, const struct assent_tags *if_none_match, bool exists,
                                   bool safe)
{
        if (if_match->malformed || if_none_match->malformed)
                return ASSENT_MALFORMED;
        if (if_match->given && !(if_match->any ? exists : if_match->strong))
                return ASSENT_FAILED;
        if (if_none_match->given && (if_none_match->any ? exists : if_none_match->weak))
                return safe ? ASSENT_NOT_MODIFIED : ASSENT_FAILED;
        return ASSENT_GO_ON;
}
