/* fields.c: see fields.h. */
#include "http/fields.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define WAIT_S_MAX 1000000 /* what is more is cut, long before it overflows */

static bool blank(char c)
{
        return c == ' ' || c == '\t';
}

static bool digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool letter(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static struct assent_bytes span(const char *start, const char *end)
{
        while (start < end && blank(*start))
                start++;
        while (end > start && blank(end[-1]))
                end--;
        return (struct assent_bytes){.data = start, .size = (size_t)(end - start)};
}

/* Takes from *rest what stands before the next separator outside of quotes. False: nothing is left. */
static bool next_part(struct assent_bytes *rest, char separator, struct assent_bytes *part)
{
        if (!rest->data)
                return false;
        const char *start = rest->data, *end = start + rest->size, *at = start;
        for (bool quoted = false; at < end && (quoted || *at != separator); at++) {
                if (*at == '"')
                        quoted = !quoted;
                else if (quoted && *at == '\\' && at + 1 < end)
                        at++;
        }
        *part = span(start, at);
        *rest = at < end ? (struct assent_bytes){.data = at + 1, .size = (size_t)(end - at - 1)} : (struct assent_bytes){0};
        return true;
}

bool assent_same_word(struct assent_bytes word, const char *other)
{
        return word.size == strlen(other) && strncasecmp(word.data, other, word.size) == 0;
}

/* "name=value", the value without quotes around it. */
static struct assent_bytes value_of(struct assent_bytes part, struct assent_bytes *name)
{
        struct assent_bytes rest = part, value = {.data = "", .size = 0};
        next_part(&rest, '=', name);
        if (rest.data)
                value = span(rest.data, (const char *)rest.data + rest.size);
        const char *text = value.data;
        if (value.size >= 2 && text[0] == '"' && text[value.size - 1] == '"')
                value = (struct assent_bytes){.data = text + 1, .size = value.size - 2};
        return value;
}

/* ---- Accept ---- */

/* qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] ); only whether it is zero matters here. */
static bool weight_is_zero(struct assent_bytes value)
{
        const char *text = value.data;
        if (value.size == 0 || text[0] != '0')
                return false;
        for (size_t i = 1; i < value.size; i++)
                if (text[i] != '0' && !(i == 1 && text[i] == '.'))
                        return false;
        return true;
}

/* How precisely `range` names `type`: 0 when it does not, -1 when it is no range. */
static int precision_of(struct assent_bytes range, struct assent_bytes type)
{
        const char *text = range.data, *slash = memchr(text, '/', range.size);
        const char *name = type.data, *name_slash = memchr(name, '/', type.size);
        if (!slash || slash == text || slash + 1 == text + range.size || !name_slash)
                return -1;
        size_t major = (size_t)(slash - text) + 1;
        if (range.size == 3 && memcmp(text, "*/*", 3) == 0)
                return 1;
        if (major != (size_t)(name_slash - name) + 1 || strncasecmp(text, name, major) != 0)
                return 0;
        if (range.size == major + 1 && text[major] == '*')
                return 2;
        return range.size == type.size && strncasecmp(text, name, type.size) == 0 ? 3 : 0;
}

void assent_accept_add(struct assent_accept *accept, struct assent_bytes line, struct assent_bytes type)
{
        struct assent_bytes element;
        while (next_part(&line, ',', &element)) {
                struct assent_bytes range, parameter, name;
                next_part(&element, ';', &range);
                int precision = precision_of(range, type);
                bool wanted = true;
                while (next_part(&element, ';', &parameter)) {
                        struct assent_bytes value = value_of(parameter, &name);
                        if (assent_same_word(name, "q"))
                                wanted = !weight_is_zero(value);
                }
                if (precision < 0)
                        continue;
                accept->given = true;
                if (precision > accept->precision) {
                        accept->precision = precision;
                        accept->wanted = wanted;
                } else if (precision > 0 && precision == accept->precision) {
                        accept->wanted = accept->wanted || wanted;
                }
        }
}

bool assent_accepted(const struct assent_accept *accept)
{
        return !accept->given || accept->wanted;
}

/* ---- Prefer ---- */

static int64_t seconds(struct assent_bytes value)
{
        const char *text = value.data;
        int64_t result = 0;
        if (value.size == 0)
                return -1;
        for (size_t i = 0; i < value.size; i++) {
                if (!digit(text[i]))
                        return -1;
                result = result * 10 + (text[i] - '0');
                if (result > WAIT_S_MAX)
                        result = WAIT_S_MAX;
        }
        return result;
}

void assent_prefer_add(struct assent_prefer *prefer, struct assent_bytes line)
{
        struct assent_bytes element, preference, name;
        while (next_part(&line, ',', &element)) {
                next_part(&element, ';', &preference);
                struct assent_bytes value = value_of(preference, &name);
                if (assent_same_word(name, "respond-async"))
                        prefer->respond_async = true;
                else if (assent_same_word(name, "wait") && prefer->wait_s < 0)
                        prefer->wait_s = seconds(value);
        }
}

/* ---- the rest ---- */

struct assent_bytes assent_media_type(const char *content_type)
{
        struct assent_bytes rest = {.data = content_type, .size = strlen(content_type)}, type;
        next_part(&rest, ';', &type);
        return type;
}

struct assent_bytes assent_bearer(const char *authorization)
{
        static const char scheme[] = "Bearer ";
        if (strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
                return (struct assent_bytes){.data = "", .size = 0};
        const char *token = authorization + sizeof scheme - 1;
        return span(token, token + strlen(token));
}

static void cut_port(struct assent_bytes *host)
{
        const char *text = host->data;
        size_t size = host->size;
        while (size > 0 && digit(text[size - 1]))
                size--;
        if (size > 0 && text[size - 1] == ':')
                host->size = size - 1;
}

static bool host_character(char c)
{
        return letter(c) || digit(c) || (c && strchr(".-_~%!$&'()*+,;=", c));
}

enum assent_host assent_host_kind(struct assent_bytes host)
{
        char text[INET6_ADDRSTRLEN];
        unsigned char address[16];
        const char *start = host.data;
        bool bracketed = host.size > 0 && start[0] == '[';
        const char *close = bracketed ? memchr(start, ']', host.size) : NULL;
        if (bracketed) {
                if (!close)
                        return ASSENT_HOST_MALFORMED;
                struct assent_bytes rest = {.data = close, .size = host.size - (size_t)(close - start)};
                cut_port(&rest);
                if (rest.size != 1)
                        return ASSENT_HOST_MALFORMED;
                host = (struct assent_bytes){.data = start + 1, .size = (size_t)(close - start) - 1};
        } else {
                cut_port(&host);
        }
        start = host.data;
        for (size_t i = 0; !bracketed && i < host.size; i++)
                if (!host_character(start[i]))
                        return ASSENT_HOST_MALFORMED;
        if (host.size == 0)
                return ASSENT_HOST_MALFORMED;
        if (!bracketed && assent_same_word(host, "localhost"))
                return ASSENT_HOST_LOCAL;
        if (host.size >= sizeof text)
                return bracketed ? ASSENT_HOST_MALFORMED : ASSENT_HOST_NAMED;
        memcpy(text, start, host.size);
        text[host.size] = '\0';
        if (inet_pton(bracketed ? AF_INET6 : AF_INET, text, address) == 1)
                return ASSENT_HOST_LOCAL;
        return bracketed ? ASSENT_HOST_MALFORMED : ASSENT_HOST_NAMED;
}
