/* If-Match and If-None-Match against RFC 9110 sections 8.8.3.2, 13.1.1, 13.1.2 and 13.2.2, case by case. */
#include <criterion/criterion.h>

#include <string.h>

#include "http/preconditions.h"

struct row {
        const char *if_match[3], *if_none_match[3]; /* field lines, ended by NULL */
        const char *etag;                           /* the current one; NULL: there is no such resource */
        enum assent_judgement safe, unsafe;         /* what GET and PUT are told */
};

#define ON ASSENT_GO_ON
#define NM ASSENT_NOT_MODIFIED
#define NO ASSENT_FAILED
#define BAD ASSENT_MALFORMED

static const struct row rows[] = {
        {{NULL}, {NULL}, "7", ON, ON},
        {{NULL}, {NULL}, NULL, ON, ON},
        /* If-Match: strongly */
        {{"\"7\""}, {NULL}, "7", ON, ON},
        {{"\"8\""}, {NULL}, "7", NO, NO},
        {{"\"7\""}, {NULL}, NULL, NO, NO},
        {{"W/\"7\""}, {NULL}, "7", NO, NO},
        {{"W/\"7\", \"7\""}, {NULL}, "7", ON, ON},
        {{"*"}, {NULL}, "7", ON, ON},
        {{"*"}, {NULL}, NULL, NO, NO},
        {{" \t* "}, {NULL}, "7", ON, ON},
        {{"\"6\", \"7\" ,\"8\""}, {NULL}, "7", ON, ON},
        {{"\"6\",\"7\""}, {NULL}, "7", ON, ON},
        {{"\"6\"", "\"7\""}, {NULL}, "7", ON, ON},
        {{"\"6\"", "\"8\""}, {NULL}, "7", NO, NO},
        {{""}, {NULL}, "7", NO, NO},
        {{","}, {NULL}, "7", NO, NO},
        {{",,\"7\", ,"}, {NULL}, "7", ON, ON},
        {{"\"\""}, {NULL}, "", ON, ON},
        {{"\"\""}, {NULL}, "7", NO, NO},
        {{"\"a,b\""}, {NULL}, "a,b", ON, ON},
        {{"\"a,\", \"b\""}, {NULL}, "b", ON, ON},
        {{"\"\\\""}, {NULL}, "\\", ON, ON}, /* a backslash escapes nothing */
        {{"\"\xc3\xa4\""}, {NULL}, "\xc3\xa4", ON, ON},
        {{"\"77\""}, {NULL}, "7", NO, NO},
        {{"\"7\""}, {NULL}, "77", NO, NO},
        /* If-None-Match: weakly */
        {{NULL}, {"\"7\""}, "7", NM, NO},
        {{NULL}, {"W/\"7\""}, "7", NM, NO},
        {{NULL}, {"\"8\""}, "7", ON, ON},
        {{NULL}, {"\"8\"", "W/\"7\""}, "7", NM, NO},
        {{NULL}, {"*"}, "7", NM, NO},
        {{NULL}, {"*"}, NULL, ON, ON},
        {{NULL}, {"\"7\""}, NULL, ON, ON},
        {{NULL}, {""}, "7", ON, ON},
        /* If-Match first */
        {{"\"7\""}, {"\"7\""}, "7", NM, NO},
        {{"\"8\""}, {"\"7\""}, "7", NO, NO},
        {{"\"7\""}, {"\"8\""}, "7", ON, ON},
        {{"*"}, {"*"}, "7", NM, NO},
        {{"*"}, {"*"}, NULL, NO, NO},
        /* not well-formed */
        {{"*", "*"}, {NULL}, "7", BAD, BAD},
        {{"*, \"7\""}, {NULL}, "7", BAD, BAD},
        {{"\"7\", *"}, {NULL}, "7", BAD, BAD},
        {{"\"7\"", "*"}, {NULL}, "7", BAD, BAD},
        {{"7"}, {NULL}, "7", BAD, BAD},
        {{"\"7"}, {NULL}, "7", BAD, BAD},
        {{"7\""}, {NULL}, "7", BAD, BAD},
        {{"\"7\" \"8\""}, {NULL}, "7", BAD, BAD},
        {{"\"7\"\"8\""}, {NULL}, "7", BAD, BAD},
        {{"\"7\"x"}, {NULL}, "7", BAD, BAD},
        {{"w/\"7\""}, {NULL}, "7", BAD, BAD},
        {{"W\"7\""}, {NULL}, "7", BAD, BAD},
        {{"W/ \"7\""}, {NULL}, "7", BAD, BAD},
        {{"W/"}, {NULL}, "7", BAD, BAD},
        {{"W"}, {NULL}, "7", BAD, BAD},
        {{"W/7"}, {NULL}, "7", BAD, BAD},
        {{"**"}, {NULL}, "7", BAD, BAD},
        {{"\"7 8\""}, {NULL}, "7", BAD, BAD},
        {{"\"7\x7f\""}, {NULL}, "7", BAD, BAD},
        {{"\"7\"; x"}, {NULL}, "7", BAD, BAD},
        {{NULL}, {"7"}, "7", BAD, BAD},
        {{NULL}, {"*, *"}, "7", BAD, BAD},
        {{"\"8\""}, {"7"}, "7", BAD, BAD},
};

static struct assent_tags read_lines(const char *const *lines, const char *etag)
{
        struct assent_tags tags = {0};
        for (; *lines; lines++)
                assent_tags_add(&tags, (struct assent_bytes){.data = *lines, .size = strlen(*lines)}, etag);
        return tags;
}

Test(http_preconditions, every_row_is_judged_as_the_standard_has_it)
{
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                const struct row *row = &rows[i];
                struct assent_tags if_match = read_lines(row->if_match, row->etag);
                struct assent_tags if_none_match = read_lines(row->if_none_match, row->etag);
                enum assent_judgement safe = assent_judge(&if_match, &if_none_match, row->etag, true);
                enum assent_judgement unsafe = assent_judge(&if_match, &if_none_match, row->etag, false);
                const char *first = row->if_match[0] ? row->if_match[0] : row->if_none_match[0];
                cr_expect_eq(safe, row->safe, "row %zu (%s): %d", i, first, (int)safe);
                cr_expect_eq(unsafe, row->unsafe, "row %zu (%s), not safe: %d", i, first, (int)unsafe);
        }
}
