#include "request.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DURATION_MS_MAX 3600000

__attribute__((format(printf, 2, 3))) static bool wrong(struct request *request, const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(request->errmsg, sizeof request->errmsg, format, arguments);
        va_end(arguments);
        return false;
}

void request_init(struct request *request)
{
        *request = (struct request){0};
}

void request_close(struct request *request)
{
        for (size_t i = 0; i < ASSENT_BRANCHES_MAX; i++)
                free(request->payloads[i]);
        json_decref(request->root);
}

bool request_add_branch(struct request *request, char *text)
{
        char *kind = strchr(text, ':');
        if (!kind)
                return wrong(request, "--branch %.60s: write SERVICE:KIND:PAYLOAD", text);
        if (request->branches_count == ASSENT_BRANCHES_MAX)
                return wrong(request, "more than %d branches", ASSENT_BRANCHES_MAX);
        *kind++ = '\0';
        char *payload = strchr(kind, ':');
        if (payload)
                *payload++ = '\0';
        struct assent_begin_branch *branch = &request->branches[request->branches_count++];
        *branch = (struct assent_begin_branch){
            .service = text, .kind = kind, .payload = {payload, payload ? strlen(payload) : 0}};
        return true;
}

bool request_protocol(const char *text, enum assent_protocol *out)
{
        if (strcasecmp(text, "2pc") != 0 && strcasecmp(text, "3pc") != 0)
                return false;
        *out = text[0] == '2' ? ASSENT_2PC : ASSENT_3PC;
        return true;
}

bool request_duration(const char *text, uint32_t *out_ms)
{
        static const struct {
                const char *unit;
                unsigned long long ms;
        } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}};
        if (text[0] < '0' || text[0] > '9') /* strtoull would take blanks and signs */
                return false;
        char *unit;
        errno = 0;
        const unsigned long long number = strtoull(text, &unit, 10);
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
                if (strcmp(unit, units[i].unit) != 0)
                        continue;
                if (errno != 0 || number < 1 || number > DURATION_MS_MAX / units[i].ms)
                        return false;
                *out_ms = (uint32_t)(number * units[i].ms);
                return true;
        }
        return false;
}

/* A mistyped key is an error: a transaction begun without what somebody meant to say is worse than
 * none. */
static bool known_keys(struct request *request, const json_t *object, const char *where, const char *const *keys)
{
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)object, key, value)
        {
                size_t i = 0;
                while (keys[i] && strcmp(keys[i], key) != 0)
                        i++;
                if (!keys[i])
                        return wrong(request, "%s: unknown key \"%.60s\"", where, key);
        }
        return true;
}

static bool take_branch(struct request *request, const json_t *value, const char *name, size_t i)
{
        static const char *const keys[] = {"service", "kind", "payload", NULL};
        char where[256];
        snprintf(where, sizeof where, "%.200s: branches[%zu]", name, i);
        if (!json_is_object(value))
                return wrong(request, "%s: must be an object {\"service\", \"kind\", \"payload\"}", where);
        if (!known_keys(request, value, where, keys))
                return false;
        const char *service = json_string_value(json_object_get(value, "service"));
        const char *kind = json_string_value(json_object_get(value, "kind"));
        const json_t *payload = json_object_get(value, "payload");
        if (!service)
                return wrong(request, "%s: \"service\" must be a string", where);
        if (!kind)
                return wrong(request, "%s: \"kind\" must be a string", where);
        char *text = NULL;
        if (payload && !(text = json_dumps(payload, JSON_COMPACT | JSON_ENCODE_ANY)))
                return wrong(request, "%s: out of memory", where);
        request->payloads[i] = text;
        request->branches[i] =
            (struct assent_begin_branch){.service = service, .kind = kind, .payload = {text, text ? strlen(text) : 0}};
        request->branches_count = i + 1;
        return true;
}

static bool take_head(struct request *request, const json_t *root, const char *name)
{
        static const char *const keys[] = {"protocol", "timeout_ms", "notify_completed", "branches", NULL};
        if (!json_is_object(root))
                return wrong(request, "%.200s: must be a JSON object with \"branches\"", name);
        if (!known_keys(request, root, name, keys))
                return false;
        const json_t *protocol = json_object_get(root, "protocol");
        if (protocol &&
            !(json_is_string(protocol) && request_protocol(json_string_value(protocol), &request->protocol)))
                return wrong(request, "%.200s: \"protocol\" must be \"2PC\" or \"3PC\"", name);
        const json_t *timeout = json_object_get(root, "timeout_ms");
        if (timeout) {
                const json_int_t ms = json_integer_value(timeout); /* 0 when it is not an integer */
                if (ms < 1 || ms > DURATION_MS_MAX)
                        return wrong(request, "%.200s: \"timeout_ms\" must be a whole number from 1 to %d", name,
                                     DURATION_MS_MAX);
                request->timeout_ms = (uint32_t)ms;
        }
        const json_t *completed = json_object_get(root, "notify_completed");
        if (completed && !json_is_boolean(completed))
                return wrong(request, "%.200s: \"notify_completed\" must be true or false", name);
        request->notify_completed = json_is_true(completed);
        return true;
}

bool request_parse(struct request *request, const char *text, size_t size, const char *name)
{
        json_error_t error;
        request->root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
        if (!request->root)
                return wrong(request, "%.200s:%d:%d: %s", name, error.line, error.column, error.text);
        if (!take_head(request, request->root, name))
                return false;
        const json_t *branches = json_object_get(request->root, "branches");
        if (!json_is_array(branches) || json_array_size(branches) == 0)
                return wrong(request, "%.200s: \"branches\" must be an array of at least one branch", name);
        if (json_array_size(branches) > ASSENT_BRANCHES_MAX)
                return wrong(request, "%.200s: %zu branches; at most %d are allowed", name, json_array_size(branches),
                             ASSENT_BRANCHES_MAX);
        for (size_t i = 0; i < json_array_size(branches); i++)
                if (!take_branch(request, json_array_get(branches, i), name, i))
                        return false;
        return true;
}

bool request_read(struct request *request, const char *path)
{
        const bool standard = strcmp(path, "-") == 0;
        FILE *file = standard ? stdin : fopen(path, "rb");
        if (!file)
                return wrong(request, "%.200s: %s", path, strerror(errno));
        bool ok = false;
        char *text = malloc(REQUEST_FILE_SIZE_MAX + 1);
        const size_t size = text ? fread(text, 1, REQUEST_FILE_SIZE_MAX + 1, file) : 0;
        if (!text)
                wrong(request, "%.200s: out of memory", path);
        else if (ferror(file))
                wrong(request, "%.200s: %s", path, strerror(errno));
        else if (size > REQUEST_FILE_SIZE_MAX)
                wrong(request, "%.200s: larger than %zu MiB", path, REQUEST_FILE_SIZE_MAX >> 20);
        else
                ok = request_parse(request, text, size, standard ? "standard input" : path);
        free(text);
        if (!standard)
                fclose(file);
        return ok;
}
