/* route.c: see route.h. */
#include "http/route.h"

#include <string.h>

#include "base/text.h"

static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", NULL};

const char *assent_method_known(const char *method)
{
        for (const char *const *known = methods; *known; known++)
                if (strcmp(*known, method) == 0)
                        return *known;
        return NULL;
}

/* ---- decoding ---- */

static int hex(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        c = (char)(c | 0x20);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
static bool is_utf8(const unsigned char *at, const unsigned char *end)
{
        while (at < end) {
                unsigned char first = *at++, least = 0x80, most = 0xbf;
                if (first < 0x80)
                        continue;
                int more = first >= 0xc2 && first <= 0xdf ? 1 : first >= 0xe0 && first <= 0xef ? 2 : 3;
                if (first < 0xc2 || first > 0xf4 || end - at < more)
                        return false;
                if (first == 0xe0)
                        least = 0xa0;
                else if (first == 0xf0)
                        least = 0x90;
                else if (first == 0xed)
                        most = 0x9f;
                else if (first == 0xf4)
                        most = 0x8f;
                for (; more > 0; more--, at++, least = 0x80, most = 0xbf)
                        if (*at < least || *at > most)
                                return false;
        }
        return true;
}

bool assent_percent_decode(struct assent_bytes raw, char *out, size_t out_size)
{
        const char *at = raw.data, *end = at + raw.size;
        size_t size = 0;
        while (at < end) {
                int byte = (unsigned char)*at++;
                if (byte == '%') {
                        if (end - at < 2 || hex(at[0]) < 0 || hex(at[1]) < 0)
                                return false;
                        byte = hex(at[0]) * 16 + hex(at[1]);
                        at += 2;
                }
                if (byte < 0x20 || byte == 0x7f || size + 1 >= out_size)
                        return false;
                out[size++] = (char)byte;
        }
        out[size] = '\0';
        return is_utf8((const unsigned char *)out, (const unsigned char *)out + size);
}

/* ---- routes ---- */

static size_t segment_size(const char *at)
{
        return strcspn(at, "/");
}

bool assent_route_fits(const struct assent_http_route *route, const char *path,
                       struct assent_param params[ASSENT_ROUTE_PARAMS_MAX])
{
        const char *pattern = route->path;
        size_t count = 0;
        while (*pattern == '/' && *path == '/') {
                size_t wanted = segment_size(++pattern), size = segment_size(++path);
                if (*pattern == '{') {
                        struct assent_param *param = &params[count++];
                        param->name = (struct assent_bytes){.data = pattern + 1, .size = wanted - 2};
                        if (size == 0 || !assent_percent_decode((struct assent_bytes){.data = path, .size = size}, param->text,
                                                                sizeof param->text))
                                return false;
                } else if (wanted != size || memcmp(pattern, path, size) != 0) {
                        return false;
                }
                pattern += wanted;
                path += size;
        }
        return *pattern == '\0' && *path == '\0';
}

static bool serves(const struct assent_http_route *route, const char *method)
{
        return strcmp(route->method, method) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

const struct assent_http_route *assent_route_find(const struct assent_http_route *routes, const char *method, const char *path,
                                                  struct assent_param params[ASSENT_ROUTE_PARAMS_MAX], bool *known)
{
        *known = false;
        for (const struct assent_http_route *route = routes; route->method; route++) {
                bool served = serves(route, method);
                if ((*known && !served) || !assent_route_fits(route, path, params))
                        continue;
                *known = true;
                if (served)
                        return route;
        }
        return NULL;
}

void assent_route_allow(const struct assent_http_route *routes, const char *path, char *text, size_t text_size)
{
        struct assent_param params[ASSENT_ROUTE_PARAMS_MAX];
        struct assent_text list;
        assent_text_open(&list, text, text_size);
        for (const char *const *method = methods; *method; method++) {
                bool known;
                if (!assent_route_find(routes, *method, path, params, &known))
                        continue;
                assent_text_put(&list, list.size ? ", " : "");
                assent_text_put(&list, *method);
        }
}

const char *assent_route_fault(const struct assent_http_route *route)
{
        size_t count = 0;
        if (!assent_method_known(route->method) || !route->handle || !route->path || route->path[0] != '/')
                return "a route needs a known method, a path that begins with a slash, and a handler";
        for (const char *at = route->path; *at == '/';) {
                size_t size = segment_size(++at);
                if (*at == '{' && (size < 3 || at[size - 1] != '}' || ++count > ASSENT_ROUTE_PARAMS_MAX))
                        return "a segment in braces has a name and a closing brace, and there are at most 4 of them";
                at += size;
        }
        return NULL;
}
