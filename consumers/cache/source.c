/* source.c: asks the order service for an order, conditionally: what the cache has need not travel again. */
#include "cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_SIZE_MAX (2048 + 3 * ASSENT_CACHE_KEY_SIZE_MAX)

/* Everything but the unreserved characters of RFC 3986. */
static void key_encode(const char *key, char *out)
{
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
        for (; *key; key++) {
                if (strchr(plain, *key))
                        *out++ = *key;
                else
                        out += snprintf(out, 4, "%%%02X", (unsigned)(unsigned char)*key);
        }
        *out = '\0';
}

/* A strong entity tag that is a decimal number without leading zeroes, as the database has it. */
static bool version_of(const char *etag, int64_t *version)
{
        char again[32];
        int64_t number = 0;
        for (const char *c = etag + 1; etag[0] == '"' && *c >= '0' && *c <= '9'; c++)
                if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, *c - '0', &number))
                        return false;
        snprintf(again, sizeof again, "\"%" PRId64 "\"", number);
        *version = number;
        return strcmp(again, etag) == 0;
}

static enum assent_err useless(struct cache_ask *ask, enum assent_err err, const char *why)
{
        snprintf(ask->problem, sizeof ask->problem, "%s", why);
        return err;
}

static enum assent_err answer_read(struct cache_ask *ask, const char *etag, int64_t *version, char **value, size_t *size)
{
        if (!version_of(etag, version))
                return useless(ask, ASSENT_E_DECODE, "the source answered without an ETag that is a version");
        ask->version = *version;
        if (*version < ask->known)
                return useless(ask, ASSENT_E_DECODE, "the source is behind the cache: was its database put back?");
        if (*version == ask->known)
                return ASSENT_OK;
        *size = ask->status == 200 ? ask->body.size : 0;
        *value = malloc(*size + 1);
        if (!*value)
                return useless(ask, ASSENT_E_MEMORY, "out of memory");
        memcpy(*value, *size ? ask->body.data : "", *size);
        return ASSENT_OK;
}

enum assent_err cache_source(void *context, const char *key, int64_t known, int64_t *version, char **value, size_t *size)
{
        struct cache_ask *ask = context;
        char url[URL_SIZE_MAX], condition[64], encoded[3 * ASSENT_CACHE_KEY_SIZE_MAX + 1];
        struct assent_fetched answer;
        *value = NULL;
        *size = 0;
        *version = known;
        if (!ask->fetch)
                return ASSENT_AGAIN;
        key_encode(key, encoded);
        snprintf(url, sizeof url, "%s/v1/orders/%s", ask->base, encoded);
        snprintf(condition, sizeof condition, "If-None-Match: \"%" PRId64 "\"", known);
        ask->asked = true;
        ask->known = known;
        ask->version = -1;
        const char *const headers[] = {known >= 0 ? condition : NULL, NULL};
        enum assent_err err = assent_fetch_get(ask->fetch, url, headers, &answer);
        if (err)
                return useless(ask, err, assent_fetch_errmsg(ask->fetch));
        ask->status = answer.not_modified ? 304 : answer.status;
        ask->retry_after_ms = answer.retry_after_ms;
        ask->content_type = answer.content_type;
        ask->body = answer.body;
        if (ask->status == 304 && known >= 0) {
                ask->version = known;
                return ASSENT_OK;
        }
        if (ask->status == 200 || (ask->status == 410 && *answer.etag)) /* what was deleted keeps its version, and no value */
                return answer_read(ask, answer.etag, version, value, size);
        snprintf(ask->problem, sizeof ask->problem, "the source answered %u", ask->status);
        if (ask->status == 404 || ask->status == 410)
                return ASSENT_E_NOT_FOUND;
        return ask->status == 429 || ask->status >= 500 ? ASSENT_E_BROKER : ASSENT_E_DECODE;
}
