/* fuzz_http.c: what HTTP clients write into a request: entity tags, Accept, Prefer, Host, percent-encoded paths. Several field
 * lines of one name are one list, cut wherever; a list made of tags says that each of them is in it; a path that can be decoded
 * is UTF-8 without control bytes, and comes again from its own encoding. */
#include <jansson.h>

#include "fuzz.h"
#include "http/fields.h"
#include "http/preconditions.h"
#include "http/route.h"

enum { TEXT_MAX = 1024 };

static struct assent_bytes part(const char *text, size_t from, size_t to)
{
        return (struct assent_bytes){.data = text + from, .size = to - from};
}

static struct assent_tags tags_of(struct assent_bytes line, const char *etag)
{
        struct assent_tags tags = {0};
        assent_tags_add(&tags, line, etag);
        return tags;
}

/* Cut at a comma, a list of tags means what it meant, unless the comma stands inside of one. */
static void tags(const char *text, size_t size, size_t cut)
{
        static const char etag[] = "7";
        struct assent_tags whole = tags_of(part(text, 0, size), etag), first = tags_of(part(text, 0, cut), etag), none = {0};
        if (whole.malformed || first.malformed || cut == size || text[cut] != ',')
                return;
        assent_tags_add(&first, part(text, cut + 1, size), etag);
        ASSENT_ASSERT(!first.malformed && first.any == whole.any && first.strong == whole.strong && first.weak == whole.weak &&
                      first.count == whole.count);
        ASSENT_ASSERT(!whole.strong || whole.weak);
        ASSENT_ASSERT(!whole.any || whole.count == 1);
        ASSENT_ASSERT(assent_judge(&whole, &none, true, true) == (whole.any || whole.strong ? ASSENT_GO_ON : ASSENT_FAILED));
        ASSENT_ASSERT(assent_judge(&none, &whole, true, true) ==
                      (whole.any || whole.weak ? ASSENT_NOT_MODIFIED : ASSENT_GO_ON));
}

/* The bytes as a tag, in a list with others. */
static void made_tag(const char *text, size_t size)
{
        char etag[TEXT_MAX + 1], line[TEXT_MAX + 64];
        size_t etag_size = 0;
        for (size_t i = 0; i < size; i++)
                if ((unsigned char)text[i] > 0x20 && text[i] != '"' && text[i] != 0x7f)
                        etag[etag_size++] = text[i];
        etag[etag_size] = '\0';
        int line_size = snprintf(line, sizeof line, " ,\"other%s\" , W/\"%s\"\t,", etag, etag);
        struct assent_tags weak = tags_of(part(line, 0, (size_t)line_size < sizeof line ? (size_t)line_size : 0), etag);
        ASSENT_ASSERT((size_t)line_size >= sizeof line || (!weak.malformed && weak.weak && !weak.strong && weak.count == 2));
        line_size = snprintf(line, sizeof line, "\"%s\"", etag);
        struct assent_tags strong = tags_of(part(line, 0, (size_t)line_size), etag);
        ASSENT_ASSERT(!strong.malformed && strong.weak && strong.strong && strong.count == 1);
}

static void lists(const char *text, size_t size, size_t cut)
{
        struct assent_bytes type = {"application/json", 16};
        struct assent_accept whole = {0}, cut_up = {0};
        struct assent_prefer prefer = {.wait_s = -1}, preferred = {.wait_s = -1};
        assent_accept_add(&whole, part(text, 0, size), type);
        assent_prefer_add(&prefer, part(text, 0, size));
        ASSENT_ASSERT(prefer.wait_s >= -1 && prefer.wait_s <= 1000000);
        if (cut == size || text[cut] != ',' || memchr(text, '"', cut))
                return;
        assent_accept_add(&cut_up, part(text, 0, cut), type);
        assent_accept_add(&cut_up, part(text, cut + 1, size), type);
        ASSENT_ASSERT(assent_accepted(&whole) == assent_accepted(&cut_up));
        assent_prefer_add(&preferred, part(text, 0, cut));
        assent_prefer_add(&preferred, part(text, cut + 1, size));
        ASSENT_ASSERT(prefer.wait_s == preferred.wait_s && prefer.respond_async == preferred.respond_async);
}

static void path(const char *text, size_t size)
{
        char decoded[TEXT_MAX + 1], encoded[3 * TEXT_MAX + 1], again[TEXT_MAX + 1];
        if (!assent_percent_decode(part(text, 0, size), decoded, sizeof decoded))
                return;
        size_t encoded_size = 0;
        for (const char *at = decoded; *at; at++) {
                ASSENT_ASSERT((unsigned char)*at >= 0x20 && *at != 0x7f);
                encoded_size += (size_t)snprintf(encoded + encoded_size, 4, "%%%02X", (unsigned char)*at);
        }
        ASSENT_ASSERT(assent_percent_decode(part(encoded, 0, encoded_size), again, sizeof again));
        ASSENT_ASSERT(strcmp(again, decoded) == 0);
        json_t *string = json_string(decoded); /* jansson takes UTF-8 alone */
        ASSENT_ASSERT(string);
        json_decref(string);
}

static void nothing(void *app, struct assent_http_request *request)
{
        (void)app;
        (void)request;
}

static void routes(const char *text)
{
        static const struct assent_http_route all[] = {
            {"GET", "/", nothing, false},
            {"GET", "/v1/orders/{id}", nothing, false},
            {"POST", "/v1/orders", nothing, false},
            {"GET", "/{a}/{b}/{c}/{d}", nothing, false},
            {NULL, NULL, NULL, false},
        };
        struct assent_param params[ASSENT_ROUTE_PARAMS_MAX];
        char allow[64];
        bool known;
        const struct assent_http_route *head = assent_route_find(all, "HEAD", text, params, &known);
        ASSENT_ASSERT(head == assent_route_find(all, "GET", text, params, &known));
        ASSENT_ASSERT(!head || known);
        assent_route_allow(all, text, allow, sizeof allow);
        ASSENT_ASSERT(!strstr(allow, "GET") == !head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char text[TEXT_MAX + 1];
        if (size > TEXT_MAX)
                return 0;
        if (size)
                memcpy(text, data, size);
        text[size] = '\0';
        for (size_t cut = 0; cut <= size; cut++)
                if (cut == size || text[cut] == ',') {
                        tags(text, size, cut);
                        lists(text, size, cut);
                }
        made_tag(text, size);
        path(text, size);
        routes(text);
        (void)assent_host_kind(part(text, 0, size));
        (void)assent_bearer(text);
        (void)assent_media_type(text);
        return 0;
}
