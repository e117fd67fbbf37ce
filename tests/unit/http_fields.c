/* Accept, Prefer, Authorization, Content-Type and Host, read. */
#include <criterion/criterion.h>

#include <string.h>

#include "http/fields.h"

static struct assent_bytes bytes(const char *text)
{
        return (struct assent_bytes){.data = text, .size = strlen(text)};
}

/* ---- Accept ---- */

static bool accepts(const char *field, const char *second)
{
        struct assent_accept accept = {0};
        assent_accept_add(&accept, bytes(field), bytes("application/json"));
        if (second)
                assent_accept_add(&accept, bytes(second), bytes("application/json"));
        return assent_accepted(&accept);
}

Test(http_fields, accept_admits_what_its_most_precise_range_says)
{
        static const char *const yes[] = {"",
                                          "*/*",
                                          "application/json",
                                          "APPLICATION/JSON",
                                          "application/*",
                                          "text/html, */*;q=0.1",
                                          "text/html;q=1, application/json;q=0.001",
                                          "application/json;q=1.0",
                                          "*/*;q=0, application/json",
                                          "application/*;q=0, application/json;q=0.5",
                                          "application/json;charset=utf-8",
                                          "application/json;x=\",\";q=1",
                                          "application/json;q=0, application/json",
                                          " , , */* ,",
                                          "nonsense",
                                          ",",
                                          "application/json ; q=0.5",
                                          "text/html;level=1;q=0.4, application/json"};
        static const char *const no[] = {"text/html",
                                         "application/json;q=0",
                                         "application/json;q=0.0",
                                         "application/json;q=0.000",
                                         "*/*, application/json;q=0",
                                         "application/*;q=0, */*",
                                         "text/*",
                                         "application/xml",
                                         "application/jsonx",
                                         "application/jso",
                                         "*/*;q=0",
                                         "application/json; Q=0",
                                         "nonsense, text/html",
                                         "text/html;x=\"*/*, application/json\"",
                                         "application/json;q=\"0\""};
        for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
                cr_expect(accepts(yes[i], NULL), "%s", yes[i]);
        for (size_t i = 0; i < sizeof no / sizeof *no; i++)
                cr_expect_not(accepts(no[i], NULL), "%s", no[i]);
        cr_expect(accepts("text/html", "application/json"));
        cr_expect_not(accepts("*/*", "application/json;q=0"));
}

/* ---- Prefer ---- */

static struct assent_prefer prefers(const char *first, const char *second)
{
        struct assent_prefer prefer = {.wait_s = -1};
        assent_prefer_add(&prefer, bytes(first));
        if (second)
                assent_prefer_add(&prefer, bytes(second));
        return prefer;
}

Test(http_fields, prefer_is_read)
{
        static const struct {
                const char *field;
                bool respond_async;
                int64_t wait_s;
        } rows[] = {
            {"", false, -1},
            {"wait=10", false, 10},
            {"Wait = 10", false, 10},
            {"wait=\"10\"", false, 10},
            {"wait=0", false, 0},
            {"respond-async", true, -1},
            {"RESPOND-ASYNC, wait=10", true, 10},
            {"return=minimal; foo=\"wait=3, x\", wait=4", false, 4},
            {"wait=4;x=5", false, 4},
            {"wait=1, wait=2", false, 1},
            {"wait", false, -1},
            {"wait=", false, -1},
            {"wait=x", false, -1},
            {"wait=-1", false, -1},
            {"wait=1.5", false, -1},
            {"wait=99999999999999999999999999", false, 1000000},
            {"respond-asynchronously", false, -1},
            {"x=respond-async", false, -1},
            {"wait=\"", false, -1},
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct assent_prefer prefer = prefers(rows[i].field, NULL);
                cr_expect_eq(prefer.respond_async, rows[i].respond_async, "%s", rows[i].field);
                cr_expect_eq(prefer.wait_s, rows[i].wait_s, "%s: %d", rows[i].field, (int)prefer.wait_s);
        }
        cr_expect_eq(prefers("respond-async", "wait=3").wait_s, 3);
        cr_expect(prefers("respond-async", "wait=3").respond_async);
}

/* ---- the rest ---- */

Test(http_fields, a_media_type_has_no_parameters)
{
        cr_expect(assent_same_word(assent_media_type("application/json; charset=utf-8"), "application/json"));
        cr_expect(assent_same_word(assent_media_type(" Application/JSON "), "application/json"));
        cr_expect_not(assent_same_word(assent_media_type("application/jsonx"), "application/json"));
        cr_expect_not(assent_same_word(assent_media_type(""), "application/json"));
}

static bool bearer_is(const char *authorization, const char *token)
{
        struct assent_bytes found = assent_bearer(authorization);
        return found.size == strlen(token) && memcmp(found.data, token, found.size) == 0;
}

Test(http_fields, a_bearer_token_is_found)
{
        cr_expect(bearer_is("Bearer abc", "abc"));
        cr_expect(bearer_is("bearer   abc", "abc"));
        cr_expect(bearer_is("Basic abc", ""));
        cr_expect(bearer_is("Bearer", ""));
        cr_expect(bearer_is("Bearerabc", ""));
        cr_expect(bearer_is("", ""));
}

Test(http_fields, hosts_are_told_apart)
{
        cr_expect_eq(assent_host_kind(bytes("localhost:80")), ASSENT_HOST_LOCAL);
        cr_expect_eq(assent_host_kind(bytes("255.255.255.255")), ASSENT_HOST_LOCAL);
        cr_expect_eq(assent_host_kind(bytes("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535")), ASSENT_HOST_LOCAL);
        cr_expect_eq(assent_host_kind(bytes("256.0.0.1")), ASSENT_HOST_NAMED);
        cr_expect_eq(assent_host_kind(bytes("127.0.0.1.")), ASSENT_HOST_NAMED);
        cr_expect_eq(assent_host_kind(bytes("a-name-that-is-longer-than-any-address-could-ever-be.example")),
                     ASSENT_HOST_NAMED);
        cr_expect_eq(assent_host_kind(bytes("[127.0.0.1]")), ASSENT_HOST_MALFORMED);
        cr_expect_eq(assent_host_kind(bytes("[]")), ASSENT_HOST_MALFORMED);
        cr_expect_eq(assent_host_kind(bytes(":80")), ASSENT_HOST_MALFORMED);
        cr_expect_eq(assent_host_kind(bytes("user@localhost")), ASSENT_HOST_MALFORMED);
}
