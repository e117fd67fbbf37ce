/* The cache's backend on Redis: what every backend keeps to, on a redis-server of this test; and what is left of it when
 * Redis dies, comes back empty or with an old snapshot, forgets its scripts, wants a password, or says nothing at all. */
#include "contract/cache_backend.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

#include "../../consumers/cache/redis.c"
/* Both are whole programs' parts with no names in common. */
#include "../../consumers/cache/guard.c"

static char folder[] = "/tmp/cache-redis.XXXXXX", address[32];
static uint16_t redis_port;
static pid_t server;
static struct assent_cache *cache;

static uint16_t free_port(void)
{
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof name;
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&name, size) == 0);
        cr_assert_eq(getsockname(fd, (struct sockaddr *)&name, &size), 0);
        close(fd);
        return ntohs(name.sin_port);
}

/* One command to the server, past the backend; the reply's text or number. */
static const char *tell(const char *command)
{
        static char text[128];
        redisContext *context = redisConnect("127.0.0.1", redis_port);
        redisReply *reply = context && !context->err ? redisCommand(context, command) : NULL;
        if (reply && reply->type == REDIS_REPLY_INTEGER)
                snprintf(text, sizeof text, "%lld", reply->integer);
        else
                snprintf(text, sizeof text, "%s", reply && reply->str ? reply->str : "");
        if (reply)
                freeReplyObject(reply);
        if (context)
                redisFree(context);
        return text;
}

static void server_start(const char *password)
{
        char port[8];
        int64_t until_ms = assent_clock_ms() + 30000;
        snprintf(port, sizeof port, "%u", (unsigned)redis_port);
        server = fork();
        if (server == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly",
                       "no", "--dir", folder, "--daemonize", "no", "--logfile", "log", "--requirepass", password,
                       (char *)NULL);
                _exit(127);
        }
        cr_assert_gt(server, 0);
        while (strncmp(tell("PING"), *password ? "NOAUTH" : "PONG", 4) != 0) {
                cr_assert_eq(waitpid(server, NULL, WNOHANG), 0, "redis-server does not start");
                cr_assert_lt(assent_clock_ms(), until_ms, "redis-server says nothing");
                usleep(10000);
        }
}

static void server_kill(void)
{
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
}

static struct assent_cache *backend(const char *prefix, const char *password, int64_t ttl_ms)
{
        const struct cache_redis_options options = {
            .address = address, .password = password, .prefix = prefix, .timeout_ms = 2000, .ttl_ms = ttl_ms};
        struct assent_cache *out;
        cr_assert_eq(cache_redis_open(&options, &out), ASSENT_OK);
        return out;
}

static void set_up(void)
{
        cr_assert_not_null(mkdtemp(folder));
        redis_port = free_port();
        snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)redis_port);
        server_start("");
        cache = backend("a", NULL, 0);
}

static void tear_down(void)
{
        static const char *const files[] = {"log", "dump.rdb"};
        char path[64];
        cache->ops->close(cache);
        server_kill();
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
                snprintf(path, sizeof path, "%s/%s", folder, files[i]);
                unlink(path);
        }
        cr_assert_eq(rmdir(folder), 0);
}

TestSuite(cache_redis, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- as every backend ---- */

Test(cache_redis, keeps_the_newest)
{
        cache_keeps_the_newest(cache);
}

Test(cache_redis, confirms_only_what_stands_there)
{
        cache_confirms_only_what_stands_there(cache);
}

Test(cache_redis, limits_keys_and_versions)
{
        cache_limits_keys_and_versions(cache);
}

Test(cache_redis, limits_values)
{
        cache_limits_values(cache, CACHE_VALUE_BYTES_MAX);
}

Test(cache_redis, keeps_any_bytes)
{
        cache_keeps_any_bytes(cache);
}

Test(cache_redis, keeps_the_newest_of_many_threads)
{
        cache_keeps_the_newest_of_many_threads(cache, 500);
}

Test(cache_redis, reads_never_go_back)
{
        cache_reads_never_go_back(cache, 500);
}

/* ---- as a server that others use as well, and that fails ---- */

Test(cache_redis, prefixes_do_not_meet)
{
        struct assent_cache *other = backend("b", NULL, 0);
        cache_put(cache, "o-1", 1, 1, cache_text("a"));
        cache_put(other, "o-1", 7, 1, cache_text("b"));
        cr_assert_eq(cache_version(cache, "o-1", NULL, "a"), 1);
        cr_assert_eq(cache_version(other, "o-1", NULL, "b"), 7);
        other->ops->close(other);
}

Test(cache_redis, two_backends_of_one_prefix_are_one_cache)
{
        struct assent_cache *other = backend("a", NULL, 0);
        cache_put(cache, "o-1", 2, 1, cache_text("two"));
        cr_assert_not(cache_put(other, "o-1", 1, 2, cache_text("one")));
        cr_assert_eq(cache_version(other, "o-1", NULL, "two"), 2);
        other->ops->close(other);
}

Test(cache_redis, a_value_of_somebody_else_is_no_entry)
{
        int64_t version, confirmed_ms;
        char *value;
        size_t size;
        tell("SET a.cache.o-1 text");
        cr_assert_eq(cache->ops->get(cache, "o-1", &version, &confirmed_ms, &value, &size), ASSENT_E_BROKER);
        cr_assert_not_null(strstr(cache->ops->errmsg(cache), "WRONGTYPE"), "%s", cache->ops->errmsg(cache));
        tell("HSET a.cache.o-2 version x confirmed_ms 1 value v");
        cr_assert_eq(cache->ops->get(cache, "o-2", &version, &confirmed_ms, &value, &size), ASSENT_E_NOT_FOUND);
}

Test(cache_redis, an_entry_lives_as_long_as_it_is_confirmed)
{
        struct assent_cache *brief = backend("brief", NULL, 60000);
        cache_put(brief, "o-1", 1, 1, cache_text("v"));
        tell("PEXPIRE brief.cache.o-1 5000");
        cr_assert_eq(brief->ops->confirm(brief, "o-1", 2, 2), ASSENT_OK);
        cr_assert_leq(strtol(tell("PTTL brief.cache.o-1"), NULL, 10), 5000);
        cr_assert_eq(brief->ops->confirm(brief, "o-1", 1, 2), ASSENT_OK);
        cr_assert_gt(strtol(tell("PTTL brief.cache.o-1"), NULL, 10), 5000);
        cache_put(cache, "o-1", 1, 1, cache_text("v"));
        cr_assert_eq(strtol(tell("PTTL a.cache.o-1"), NULL, 10), -1);
        brief->ops->close(brief);
}

Test(cache_redis, scripts_that_were_forgotten_go_along)
{
        cache_put(cache, "o-1", 1, 1, cache_text("one"));
        tell("SCRIPT FLUSH");
        cr_assert(cache_put(cache, "o-1", 2, 2, cache_text("two")));
        cr_assert_eq(cache_version(cache, "o-1", NULL, "two"), 2);
}

/* An outage ends by itself; the entries are gone, and nothing hangs. */
static void comes_back(struct assent_cache *of)
{
        int64_t until_ms = assent_clock_ms() + 30000;
        bool set;
        while (of->ops->put(of, "after", 1, 1, cache_text("v"), &set) == ASSENT_E_BROKER) {
                cr_assert_lt(assent_clock_ms(), until_ms, "%s", of->ops->errmsg(of));
                usleep(20000);
        }
        cr_assert_eq(cache_version(of, "after", NULL, "v"), 1);
}

Test(cache_redis, a_restart_is_an_outage_and_then_an_empty_cache)
{
        int64_t version, confirmed_ms;
        char *value;
        size_t size;
        bool set = true;
        cache_put(cache, "o-1", 3, 1, cache_text("three"));
        server_kill();
        cr_assert_eq(cache->ops->get(cache, "o-1", &version, &confirmed_ms, &value, &size), ASSENT_E_BROKER);
        cr_assert_not_null(strstr(cache->ops->errmsg(cache), address), "%s", cache->ops->errmsg(cache));
        cr_assert_eq(cache->ops->put(cache, "o-1", 4, 1, cache_text("four"), &set), ASSENT_E_BROKER);
        cr_assert_not(set);
        int tries = 0;
        do /* the pause may be over; each outage makes it longer */
                cr_assert_eq(cache->ops->confirm(cache, "o-1", 3, 1), ASSENT_E_BROKER);
        while (!strstr(cache->ops->errmsg(cache), "it is asked again in") && ++tries < 5);
        cr_assert_not_null(strstr(cache->ops->errmsg(cache), "it is asked again in"), "%s", cache->ops->errmsg(cache));
        server_start("");
        comes_back(cache);
        cr_assert_eq(cache_version(cache, "o-1", NULL, NULL), -1);
}

Test(cache_redis, the_pause_doubles_once_for_all_who_tried_at_the_same_time)
{
        struct redis *redis = (struct redis *)cache;
        struct link early = {.since_ms = daemon_monotonic_ms()};
        for (int64_t pause_ms = PAUSE_MS; pause_ms < 2 * PAUSE_MAX_MS; pause_ms *= 2) {
                const struct link later = {.since_ms = INT64_MAX};
                away(redis, &later, "it does not answer");
                away(redis, &early, "nor does it here");
                cr_assert_eq(redis->pause_ms, pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS);
        }
        comes_back(cache);
        cr_assert_eq(redis->pause_ms, 0);
}

Test(cache_redis, silence_is_an_outage)
{
        const struct cache_redis_options options = {.address = address, .prefix = "a", .timeout_ms = 1000};
        struct assent_cache *hasty;
        bool set;
        cr_assert_eq(cache_redis_open(&options, &hasty), ASSENT_OK);
        comes_back(hasty);
        kill(server, SIGSTOP);
        cr_assert_eq(hasty->ops->put(hasty, "o-1", 1, 1, cache_text("v"), &set), ASSENT_E_BROKER);
        cr_assert_eq(hasty->ops->put(hasty, "o-1", 1, 1, cache_text("v"), &set), ASSENT_E_BROKER);
        kill(server, SIGCONT);
        comes_back(hasty);
        hasty->ops->close(hasty);
}

Test(cache_redis, a_password_is_asked_for_and_brought)
{
        struct assent_cache *wrong = backend("a", "not so", 0), *right = backend("a", "open sesame", 0);
        bool set;
        server_kill();
        server_start("open sesame");
        cr_assert_eq(wrong->ops->put(wrong, "o-1", 1, 1, cache_text("v"), &set), ASSENT_E_BROKER);
        cr_assert_not_null(strstr(wrong->ops->errmsg(wrong), "WRONGPASS"), "%s", wrong->ops->errmsg(wrong));
        cr_assert_eq(cache->ops->put(cache, "o-1", 1, 1, cache_text("v"), &set), ASSENT_E_BROKER);
        cr_assert(cache_put(right, "o-1", 1, 1, cache_text("v")));
        wrong->ops->close(wrong);
        right->ops->close(right);
}

Test(cache_redis, an_address_is_a_host_and_a_port, .init = NULL, .fini = NULL)
{
        static const char *const bad[] = {"", "host", ":6379", "host:", "host:0", "host:65536", "host:6x", "host:-1", "[]:1"};
        struct assent_cache *out;
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                const struct cache_redis_options options = {.address = bad[i], .prefix = "a", .timeout_ms = 50};
                cr_assert_eq(cache_redis_open(&options, &out), ASSENT_E_ARGUMENT, "%s", bad[i]);
                cr_assert_null(out);
        }
        static const char *const good[] = {"host:1", "host:65535", "127.0.0.1:6379", "[::1]:6379"};
        for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
                const struct cache_redis_options options = {.address = good[i], .prefix = "a", .timeout_ms = 50};
                cr_assert_eq(cache_redis_open(&options, &out), ASSENT_OK, "%s", good[i]);
                if (good[i][0] == '[')
                        cr_assert_str_eq(((struct redis *)out)->host, "::1");
                out->ops->close(out);
        }
}

/* ---- behind the guard ---- */

static enum assent_err says_2(void *asked, const char *key, int64_t known, int64_t *version, char **value, size_t *size)
{
        ++*(int *)asked;
        cr_assert_str_eq(key, "o-1");
        *version = 2;
        *value = known == 2 ? NULL : strdup("two");
        *size = 3;
        return ASSENT_OK;
}

static void read_cached(struct cache_guard *guard, int *asked, enum assent_cache_result result)
{
        struct assent_cached out;
        int64_t now_ms = daemon_wall_ms(), bound_ms = 0;
        enum assent_consistency consistency = cache_guard_judge(guard, ASSENT_CACHED, now_ms, &bound_ms);
        cr_assert_eq(assent_cache_read(cache_guard_cache(guard), "o-1", consistency, bound_ms, now_ms, says_2, asked, &out),
                     ASSENT_OK);
        cr_assert_eq(out.version, 2);
        cr_assert_eq(out.result, result, "result %d", (int)out.result);
        free(out.value);
}

/* Version 2 was read past Redis while it was away; then it comes back with version 1. */
Test(cache_redis, an_old_snapshot_is_not_shown)
{
        struct cache_guard *guard;
        enum cache_event became;
        int asked = 0;
        cr_assert_eq(cache_guard_open(cache, 0, 0, &guard), ASSENT_OK);
        while (daemon_wall_ms() <= atomic_load(&guard->trusted_ms))
                usleep(100);
        cr_assert_eq(cache_guard_event(guard, "o-1", 1, daemon_wall_ms(), daemon_wall_ms(), cache_text("one"), &became),
                     ASSENT_OK);
        cr_assert_eq(became, CACHE_EVENT_SET);
        cr_assert_str_eq(tell("SAVE"), "OK");
        server_kill();
        read_cached(guard, &asked, ASSENT_CACHE_MISS);
        cr_assert_eq(asked, 1);
        server_start("");
        comes_back(cache_guard_cache(guard));
        read_cached(guard, &asked, ASSENT_CACHE_STALE);
        cr_assert_eq(asked, 2);
        read_cached(guard, &asked, ASSENT_CACHE_HIT);
        cr_assert_eq(asked, 2);
        cache = cache_guard_cache(guard); /* is closed with it */
}
