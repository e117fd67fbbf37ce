/* redis.c: the cache's backend on Redis. An entry is a hash of version, confirmed_ms and value under <prefix>.cache.<key>; it
 * is set and confirmed by scripts, so that several daemons may share it. Numbers are compared as decimals, by length and then
 * by character: Lua's own would round above 2^53. */
#include "cache.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <assent/log.h>

#define IDLE_MAX     64
#define PAUSE_MS     100 /* after the first connection that failed; doubles */
#define PAUSE_MAX_MS 5000
#define SHA_SIZE     41
#define KEY_SIZE_MAX 256
#define NUMBER_SIZE  24

enum { PUT, CONFIRM, SCRIPTS };

static const char *const scripts[SCRIPTS] = {
    [PUT] = "local old = redis.call('HGET', KEYS[1], 'version')\n"
            "if old and (#old > #ARGV[1] or #old == #ARGV[1] and old >= ARGV[1]) then return 0 end\n"
            "if ARGV[5] == '0' then redis.call('DEL', KEYS[1]) return 0 end\n" /* too large: the elder goes all the same */
            "redis.call('HSET', KEYS[1], 'version', ARGV[1], 'confirmed_ms', ARGV[2], 'value', ARGV[4])\n"
            "if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end\n"
            "return 1\n",
    [CONFIRM] = "if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end\n"
                "local at = redis.call('HGET', KEYS[1], 'confirmed_ms')\n"
                "if #at < #ARGV[2] or #at == #ARGV[2] and at < ARGV[2] then\n"
                "  redis.call('HSET', KEYS[1], 'confirmed_ms', ARGV[2])\n"
                "end\n"
                "if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end\n"
                "return 1\n",
};

struct link {
        redisContext *context;
        int64_t since_ms; /* monotonic; when it was begun */
        char sha[SCRIPTS][SHA_SIZE];
};

struct redis {
        struct assent_cache cache;
        char host[256];
        int port;
        char *password, *prefix;
        struct timeval timeout;
        int64_t ttl_ms;
        pthread_mutex_t mutex; /* for all below */
        struct link idle[IDLE_MAX];
        size_t idle_count;
        bool away;
        int64_t pause_ms, retry_ms; /* monotonic; not asked before */
        int64_t failed_ms;          /* the last connection that failed, failed then */
        char last[128];             /* why it is away */
};

static _Thread_local char failure[512];

/* ---- connections ---- */

/* Everything that hangs on the same Redis has most likely broken with it. */
static void idle_drop(struct redis *redis)
{
        while (redis->idle_count > 0)
                redisFree(redis->idle[--redis->idle_count].context);
}

/* Said once an outage. `attempt`: a connection that could not be made; there is a pause after it, which doubles, but once for
 * all who tried at the same time. */
static enum assent_err away(struct redis *redis, const struct link *attempt, const char *why)
{
        pthread_mutex_lock(&redis->mutex);
        idle_drop(redis);
        snprintf(redis->last, sizeof redis->last, "%s", why);
        if (attempt && attempt->since_ms > redis->failed_ms) {
                redis->pause_ms = redis->pause_ms ? redis->pause_ms * 2 : PAUSE_MS;
                if (redis->pause_ms > PAUSE_MAX_MS)
                        redis->pause_ms = PAUSE_MAX_MS;
                redis->failed_ms = daemon_monotonic_ms();
                redis->retry_ms = redis->failed_ms + redis->pause_ms;
        }
        bool first = !redis->away;
        redis->away = true;
        pthread_mutex_unlock(&redis->mutex);
        snprintf(failure, sizeof failure, "Redis at %.100s:%d: %.100s; reads are answered by the source alone", redis->host,
                 redis->port, why);
        if (first)
                assent_log(ASSENT_LOG_WARN, "backend away", ASSENT_TEXT("redis", redis->host),
                           ASSENT_INT("port", redis->port), ASSENT_TEXT("why", why));
        return ASSENT_E_BROKER;
}

static enum assent_err broken(struct redis *redis, struct link *link, redisReply *reply, bool connecting)
{
        char why[128];
        snprintf(why, sizeof why, "%s",
                 reply && reply->type == REDIS_REPLY_ERROR               ? reply->str
                 : link->context->err == REDIS_ERR_IO && errno == EAGAIN ? "no answer in time"
                 : link->context->err                                    ? link->context->errstr
                                                                         : "an answer of an unknown kind");
        if (reply)
                freeReplyObject(reply);
        redisFree(link->context);
        return away(redis, connecting ? link : NULL, why);
}

static enum assent_err greet(struct redis *redis, struct link *link)
{
        if (redis->password) {
                redisReply *reply = redisCommand(link->context, "AUTH %s", redis->password);
                if (!reply || reply->type != REDIS_REPLY_STATUS)
                        return broken(redis, link, reply, true);
                freeReplyObject(reply);
        }
        for (size_t i = 0; i < SCRIPTS; i++) {
                redisReply *reply = redisCommand(link->context, "SCRIPT LOAD %s", scripts[i]);
                if (!reply || reply->type != REDIS_REPLY_STRING || reply->len != SHA_SIZE - 1)
                        return broken(redis, link, reply, true);
                memcpy(link->sha[i], reply->str, SHA_SIZE);
                freeReplyObject(reply);
        }
        return ASSENT_OK;
}

static enum assent_err link_take(struct redis *redis, struct link *link)
{
        pthread_mutex_lock(&redis->mutex);
        bool had = redis->idle_count > 0;
        if (had)
                *link = redis->idle[--redis->idle_count];
        int64_t wait_ms = had ? 0 : redis->retry_ms - daemon_monotonic_ms();
        if (wait_ms > 0)
                snprintf(failure, sizeof failure, "Redis at %.100s:%d: %s; it is asked again in %" PRId64 " ms", redis->host,
                         redis->port, redis->last, wait_ms);
        pthread_mutex_unlock(&redis->mutex);
        if (had)
                return ASSENT_OK;
        if (wait_ms > 0)
                return ASSENT_E_BROKER;
        link->since_ms = daemon_monotonic_ms();
        link->context = redisConnectWithTimeout(redis->host, redis->port, redis->timeout);
        if (!link->context)
                return ASSENT_E_MEMORY;
        if (link->context->err || redisSetTimeout(link->context, redis->timeout) != REDIS_OK)
                return broken(redis, link, NULL, true);
        enum assent_err err = greet(redis, link);
        if (err)
                return err;
        pthread_mutex_lock(&redis->mutex);
        bool back = redis->away;
        redis->away = false;
        redis->pause_ms = redis->retry_ms = 0;
        pthread_mutex_unlock(&redis->mutex);
        if (back)
                assent_log(ASSENT_LOG_INFO, "backend is back", ASSENT_TEXT("redis", redis->host),
                           ASSENT_INT("port", redis->port));
        return ASSENT_OK;
}

static void link_give(struct redis *redis, const struct link *link)
{
        pthread_mutex_lock(&redis->mutex);
        bool kept = redis->idle_count < IDLE_MAX;
        if (kept)
                redis->idle[redis->idle_count++] = *link;
        pthread_mutex_unlock(&redis->mutex);
        if (!kept)
                redisFree(link->context);
}

/* ---- the table ---- */

static enum assent_err key_of(const struct redis *redis, const char *key, char out[KEY_SIZE_MAX])
{
        size_t size = strlen(key);
        if (size >= 1 && size <= ASSENT_CACHE_KEY_SIZE_MAX) {
                snprintf(out, KEY_SIZE_MAX, "%s.cache.%s", redis->prefix, key);
                return ASSENT_OK;
        }
        snprintf(failure, sizeof failure, "a key has %zu bytes; 1 to %d are allowed", size, ASSENT_CACHE_KEY_SIZE_MAX);
        return ASSENT_E_LIMIT;
}

/* Redis forgets scripts when it is told to: then the text goes along, and is known again. */
static redisReply *script_call(const struct link *link, int script, const char *const words[6], size_t value_size)
{
        const char *all[9] = {"EVALSHA", link->sha[script], "1"};
        size_t sizes[9];
        for (size_t i = 0; i < 9; i++) {
                if (i >= 3)
                        all[i] = words[i - 3];
                sizes[i] = i == 7 ? value_size : strlen(all[i]);
        }
        redisReply *reply = redisCommandArgv(link->context, 9, all, sizes);
        if (!reply || reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "NOSCRIPT", 8) != 0)
                return reply;
        freeReplyObject(reply);
        all[0] = "EVAL", sizes[0] = 4;
        all[1] = scripts[script], sizes[1] = strlen(scripts[script]);
        return redisCommandArgv(link->context, 9, all, sizes);
}

static enum assent_err script_run(struct redis *redis, int script, const char *key, int64_t version, int64_t now_ms,
                                  struct assent_bytes value, bool keep, bool *done)
{
        char name[KEY_SIZE_MAX], numbers[3][NUMBER_SIZE];
        struct link link;
        enum assent_err err = key_of(redis, key, name);
        if (!err)
                err = link_take(redis, &link);
        if (err)
                return err;
        snprintf(numbers[0], NUMBER_SIZE, "%" PRId64, version);
        snprintf(numbers[1], NUMBER_SIZE, "%" PRId64, now_ms > 0 ? now_ms : 0);
        snprintf(numbers[2], NUMBER_SIZE, "%" PRId64, redis->ttl_ms);
        bool send = keep && value.size;
        const char *const words[6] = {name, numbers[0], numbers[1], numbers[2], send ? value.data : "", keep ? "1" : "0"};
        redisReply *reply = script_call(&link, script, words, send ? value.size : 0);
        if (!reply || reply->type != REDIS_REPLY_INTEGER)
                return broken(redis, &link, reply, false);
        *done = reply->integer == 1;
        freeReplyObject(reply);
        link_give(redis, &link);
        return ASSENT_OK;
}

static enum assent_err redis_put(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms,
                                 struct assent_bytes value, bool *set)
{
        bool keep = value.size <= CACHE_VALUE_BYTES_MAX;
        *set = false;
        enum assent_err err =
            version < 0 ? ASSENT_OK : script_run((struct redis *)cache, PUT, key, version, now_ms, value, keep, set);
        if (err || (keep && version >= 0))
                return err;
        snprintf(failure, sizeof failure, "version %" PRId64 " of %zu bytes; versions begin at 0, and %zu bytes are allowed",
                 version, value.size, CACHE_VALUE_BYTES_MAX);
        return ASSENT_E_LIMIT;
}

static enum assent_err redis_confirm(struct assent_cache *cache, const char *key, int64_t version, int64_t now_ms)
{
        bool stands; /* or is older or newer, which is no failure */
        return script_run((struct redis *)cache, CONFIRM, key, version, now_ms, (struct assent_bytes){0}, true, &stands);
}

static bool number_of(const redisReply *reply, int64_t *out)
{
        char *end;
        if (reply->type != REDIS_REPLY_STRING || reply->len == 0 || reply->str[0] == '-')
                return false;
        errno = 0;
        *out = strtoll(reply->str, &end, 10);
        return !errno && !*end;
}

static enum assent_err entry_of(const redisReply *reply, int64_t *version, int64_t *confirmed_ms, char **value, size_t *size)
{
        const redisReply *body = reply->element[2];
        if (!number_of(reply->element[0], version) || !number_of(reply->element[1], confirmed_ms) ||
            body->type != REDIS_REPLY_STRING) {
                snprintf(failure, sizeof failure, "there is no such entry");
                return ASSENT_E_NOT_FOUND;
        }
        *value = malloc(body->len + 1);
        if (!*value)
                return ASSENT_E_MEMORY;
        memcpy(*value, body->str, body->len + 1);
        *size = body->len;
        return ASSENT_OK;
}

static enum assent_err redis_get(struct assent_cache *cache, const char *key, int64_t *version, int64_t *confirmed_ms,
                                 char **value, size_t *size)
{
        struct redis *redis = (struct redis *)cache;
        char name[KEY_SIZE_MAX];
        struct link link;
        enum assent_err err = key_of(redis, key, name);
        if (!err)
                err = link_take(redis, &link);
        if (err)
                return err;
        redisReply *reply = redisCommand(link.context, "HMGET %s version confirmed_ms value", name);
        if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
                return broken(redis, &link, reply, false);
        err = entry_of(reply, version, confirmed_ms, value, size);
        freeReplyObject(reply);
        link_give(redis, &link);
        return err;
}

static const char *redis_errmsg(struct assent_cache *cache)
{
        (void)cache;
        return failure;
}

static void redis_close(struct assent_cache *cache)
{
        struct redis *redis = (struct redis *)cache;
        idle_drop(redis);
        pthread_mutex_destroy(&redis->mutex);
        if (redis->password)
                explicit_bzero(redis->password, strlen(redis->password));
        free(redis->password);
        free(redis->prefix);
        free(redis);
}

static bool address_read(const char *address, struct redis *redis)
{
        char *end;
        const char *colon = strrchr(address, ':');
        bool brackets = colon && address[0] == '[' && colon > address + 1 && colon[-1] == ']';
        size_t size = colon ? (size_t)(colon - address) - (brackets ? 2 : 0) : 0;
        if (size == 0 || size >= sizeof redis->host || strspn(colon + 1, "0123456789") != strlen(colon + 1))
                return false;
        memcpy(redis->host, address + brackets, size); /* the rest is zero */
        errno = 0;
        long port = strtol(colon + 1, &end, 10);
        redis->port = (int)port;
        return !errno && !*end && port >= 1 && port <= 65535;
}

enum assent_err cache_redis_open(const struct cache_redis_options *options, struct assent_cache **out)
{
        static const struct assent_cache_ops ops = {
            .put = redis_put, .get = redis_get, .confirm = redis_confirm, .errmsg = redis_errmsg, .close = redis_close};
        *out = NULL;
        struct redis *redis = calloc(1, sizeof *redis);
        if (!redis)
                return ASSENT_E_MEMORY;
        redis->cache.ops = &ops;
        redis->timeout = (struct timeval){.tv_sec = options->timeout_ms / 1000, .tv_usec = options->timeout_ms % 1000 * 1000};
        redis->ttl_ms = options->ttl_ms;
        redis->prefix = strdup(options->prefix);
        redis->password = options->password ? strdup(options->password) : NULL;
        pthread_mutex_init(&redis->mutex, NULL);
        enum assent_err err = ASSENT_OK;
        if (!redis->prefix || (options->password && !redis->password))
                err = ASSENT_E_MEMORY;
        else if (!address_read(options->address, redis))
                err = ASSENT_E_ARGUMENT;
        if (err)
                redis_close(&redis->cache);
        else
                *out = &redis->cache;
        return err;
}
