/* route.h: paths and methods: percent-decoding, once, and which route a path belongs to. Pure. */
#ifndef ASSENT_HTTP_ROUTE_H
#define ASSENT_HTTP_ROUTE_H

#include <assent/http.h>

#define ASSENT_ROUTE_PARAMS_MAX 4

struct assent_param {
        struct assent_bytes name;
        char text[ASSENT_HTTP_PARAM_SIZE_MAX + 1];
};

/* The methods that this server knows, as constants; NULL for any other. */
const char *assent_method_known(const char *method);

/* Decodes `raw` to at most out_size - 1 bytes and a NUL. False when it does not fit, is not well-formed, or holds a control
 * byte (NUL is one), encoded or not, or what is not UTF-8. */
bool assent_percent_decode(struct assent_bytes raw, char *out, size_t out_size);

/* Whether the raw path fits the route's; `params` gets what stands for its segments in braces. */
bool assent_route_fits(const struct assent_http_route *route, const char *path,
                       struct assent_param params[ASSENT_ROUTE_PARAMS_MAX]);
/* The route of method and path (a GET's for HEAD), or NULL; then *known says whether there is one for another method. */
const struct assent_http_route *assent_route_find(const struct assent_http_route *routes, const char *method, const char *path,
                                                  struct assent_param params[ASSENT_ROUTE_PARAMS_MAX], bool *known);
/* The methods that fit the path, for Allow: "GET, HEAD, POST". */
void assent_route_allow(const struct assent_http_route *routes, const char *path, char *text, size_t text_size);
/* NULL, or what is wrong with a route of ours. */
const char *assent_route_fault(const struct assent_http_route *route);

#endif
