/* The operators' listener, asked over its socket. */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <assent/observe.h>

static struct assent_config *config;
static struct assent_observer *observer;

static void set(const char *assignment)
{
        cr_assert_eq(assent_config_set(config, assignment, "test"), ASSENT_OK, "%s", assent_config_errmsg(config));
}

static void configured(void)
{
        cr_assert_eq(assent_config_open(&config), ASSENT_OK);
}

static void begin(void)
{
        configured();
        cr_assert_eq(assent_observer_open(config, "assent-test", &observer), ASSENT_OK, "%s", assent_observer_errmsg(observer));
        cr_assert_neq(assent_observer_port(observer), 0);
}

static void end(void)
{
        assent_observer_close(observer);
        assent_config_close(config);
}

/* The whole answer to one request. */
static const char *asked(const char *path, const char *header)
{
        static _Thread_local char answer[1 << 17];
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(assent_observer_port(observer)),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        char request[512];
        int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", path,
                            header);
        cr_assert_eq(write(fd, request, (size_t)size), size);
        size_t got = 0;
        ssize_t more;
        while (got < sizeof answer - 1 && (more = read(fd, answer + got, sizeof answer - 1 - got)) > 0)
                got += (size_t)more;
        answer[got] = '\0';
        close(fd);
        return answer;
}

static unsigned status_of(const char *answer)
{
        unsigned status = 0;
        sscanf(answer, "HTTP/1.1 %u", &status);
        return status;
}

static const char *body_of(const char *answer)
{
        const char *body = strstr(answer, "\r\n\r\n");
        return body ? body + 4 : "";
}

static void expect(const char *path, unsigned status, const char *body)
{
        const char *answer = asked(path, "");
        cr_expect_eq(status_of(answer), status, "%s: %s", path, answer);
        cr_expect_str_eq(body_of(answer), body, "%s: %s", path, answer);
}

/* ---- a source ---- */

struct watched {
        const char *label;
        atomic_bool ready, gone;
        atomic_int pages;
};

static void watched_metrics(void *context, struct assent_exposition *out)
{
        struct watched *watched = context;
        cr_assert(!atomic_load(&watched->gone));
        atomic_fetch_add(&watched->pages, 1);
        assent_expose(out, "test_watched", ASSENT_GAUGE, "Watched.");
        assent_expose_value(out, watched->label, 1);
}

static bool watched_ready(void *context, char why[ASSENT_READY_SIZE_MAX])
{
        struct watched *watched = context;
        snprintf(why, ASSENT_READY_SIZE_MAX, "%s", atomic_load(&watched->ready) ? "" : "lane 3 is replayed");
        return atomic_load(&watched->ready);
}

static struct assent_observer_source source_of(struct watched *watched, const char *name)
{
        return (struct assent_observer_source){
                .name = name, .metrics = watched_metrics, .ready = watched_ready, .context = watched};
}

TestSuite(observer, .init = begin, .fini = end, .timeout = 60);

Test(observer, lives_while_it_opens_and_is_not_ready)
{
        expect("/livez", 200, "ok\n");
        expect("/healthz", 200, "ok\n");
        expect("/readyz", 503, "not ready\n");
        expect("/readyz?verbose", 503, "[-]assent-test: opening\nnot ready\n");
        cr_expect_eq(status_of(asked("/nothing", "")), 404);
}

Test(observer, is_ready_when_all_sources_are)
{
        struct watched one = {.ready = true}, two = {0};
        struct assent_observer_source first = source_of(&one, "participant payment"), second = source_of(&two, "coordinator");
        const struct assent_observer_source third = {.name = "cache", .context = &config};
        assent_observer_add(observer, &first);
        expect("/readyz", 200, "ok\n");
        assent_observer_add(observer, &second);
        assent_observer_add(observer, &third);
        expect("/readyz", 503, "not ready\n");
        expect("/readyz?verbose", 503, "[+]participant payment\n[-]coordinator: lane 3 is replayed\n[+]cache\nnot ready\n");
        expect("/livez", 200, "ok\n");
        cr_expect(strstr(asked("/metrics", ""), "assent_ready{source=\"coordinator\"} 0\nassent_ready{source=\"cache\"} 1\n"));
        atomic_store(&two.ready, true);
        expect("/readyz?verbose", 200, "[+]participant payment\n[+]coordinator\n[+]cache\nok\n");
        assent_observer_remove(observer, &one);
        assent_observer_remove(observer, &two);
        expect("/readyz", 200, "ok\n");
        assent_observer_remove(observer, &config);
        expect("/readyz?verbose", 503, "[-]assent-test: stopping\nnot ready\n");
}

Test(observer, tells_the_metrics_of_all_sources_as_one_page)
{
        struct watched one = {.label = "of=\"one\""}, two = {.label = "of=\"two\""};
        struct assent_observer_source first = source_of(&one, "one"), second = source_of(&two, "two");
        assent_observer_add(observer, &first);
        assent_observer_add(observer, &second);
        const char *answer = asked("/metrics", "");
        cr_expect_eq(status_of(answer), 200);
        cr_expect(strcasestr(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "%s", answer);
        cr_expect(strstr(answer, "# HELP test_watched Watched.\n# TYPE test_watched gauge\n"
                                 "test_watched{of=\"one\"} 1\ntest_watched{of=\"two\"} 1\n"), "%s", answer);
        cr_expect(strstr(answer, "assent_build_info{program=\"assent-test\",version=\"" ASSENT_VERSION "\"} 1\n"), "%s",
                  answer);
        cr_expect(strstr(answer, "\nprocess_open_fds "));
        assent_observer_remove(observer, &one);
        cr_expect(strstr(asked("/metrics", ""), "of=\"one\"") == NULL);
}

Test(observer, tells_what_runs)
{
        const char *answer = asked("/version", "");
        cr_expect_eq(status_of(answer), 200);
        cr_expect(strstr(answer, "\"program\":\"assent-test\",\"version\":\"" ASSENT_VERSION "\",\"rules\":1,\"schema\":1"),
                  "%s", answer);
        cr_expect(strstr(answer, "\"libmicrohttpd\":\""), "%s", answer);
}

static void *asks_on_and_on(void *context)
{
        atomic_bool *over = context;
        while (!atomic_load(over))
                asked("/metrics", "");
        return NULL;
}

/* A page may be under way whenever a source goes: none is asked after that. */
Test(observer, a_source_goes_while_pages_are_made)
{
        atomic_bool over = false;
        pthread_t asker;
        struct watched watched = {.label = NULL};
        const struct assent_observer_source source = source_of(&watched, "x");
        cr_assert_eq(pthread_create(&asker, NULL, asks_on_and_on, &over), 0);
        for (int i = 0; i < 2000 || atomic_load(&watched.pages) < 20; i++) {
                atomic_store(&watched.gone, false);
                assent_observer_add(observer, &source);
                assent_observer_remove(observer, &watched);
                atomic_store(&watched.gone, true);
        }
        atomic_store(&over, true);
        pthread_join(asker, NULL);
}

Test(observer, takes_16_sources)
{
        struct watched watched[16] = {0};
        for (int i = 0; i < 16; i++) {
                const struct assent_observer_source source = {.name = "x", .context = &watched[i]};
                assent_observer_add(observer, &source);
        }
        expect("/readyz", 200, "ok\n");
}

Test(observer, takes_no_17th_source, .signal = SIGABRT)
{
        struct watched watched[17] = {0};
        for (int i = 0; i < 17; i++) {
                const struct assent_observer_source source = {.name = "x", .context = &watched[i]};
                assent_observer_add(observer, &source);
        }
}

/* ---- how it is configured ---- */

Test(observer_config, off_is_nothing_at_all)
{
        configured();
        set("assent.admin_listen=off");
        observer = (struct assent_observer *)&config;
        cr_assert_eq(assent_observer_open(config, "assent-test", &observer), ASSENT_OK);
        cr_assert_null(observer);
        const struct assent_observer_source source = {.name = "x", .context = &config};
        assent_observer_add(observer, &source);
        assent_observer_remove(observer, &config);
        cr_assert_eq(assent_observer_port(observer), 0);
        cr_assert_str_eq(assent_observer_errmsg(observer), "");
        end();
}

static char folder[] = "/tmp/observe-observer.XXXXXX";

static void in_folder(const char *key, const char *name, char *path, size_t size)
{
        char assignment[256];
        snprintf(path, size, "%s/%s", folder, name);
        snprintf(assignment, sizeof assignment, "%s=%s", key, path);
        set(assignment);
}

Test(observer_config, the_port_stands_in_a_file_while_it_listens)
{
        char path[128], line[16] = "";
        configured();
        cr_assert_not_null(mkdtemp(folder));
        in_folder("assent.admin_port_file", "port", path, sizeof path);
        cr_assert_eq(assent_observer_open(config, "assent-test", &observer), ASSENT_OK, "%s", assent_observer_errmsg(observer));
        FILE *file = fopen(path, "r");
        cr_assert(file && fgets(line, sizeof line, file));
        fclose(file);
        cr_assert_eq(strtol(line, NULL, 10), assent_observer_port(observer));
        end();
        cr_assert_neq(access(path, F_OK), 0);
        cr_assert_eq(rmdir(folder), 0, "nothing else is left behind");
}

Test(observer_config, a_port_file_that_cannot_be_written_is_an_error)
{
        configured();
        set("assent.admin_port_file=/nowhere/at/all");
        cr_assert_eq(assent_observer_open(config, "assent-test", &observer), ASSENT_E_CONFIG);
        const char *errmsg = assent_observer_errmsg(observer);
        cr_assert(strstr(errmsg, "/nowhere/at/all cannot be written"), "%s", errmsg);
        cr_assert_eq(assent_observer_port(observer), 0);
        end();
}

Test(observer_config, an_address_that_is_none_is_an_error)
{
        configured();
        set("assent.admin_listen=nonsense");
        cr_assert_eq(assent_observer_open(config, "assent-test", &observer), ASSENT_E_CONFIG);
        const char *errmsg = assent_observer_errmsg(observer);
        cr_assert(strstr(errmsg, "assent.admin_listen=nonsense: "), "%s", errmsg);
        end();
}

Test(observer_config, beyond_loopback_only_with_tokens)
{
        configured();
        set("assent.admin_listen=0.0.0.0:0");
        cr_assert_eq(assent_observer_open(config, "assent-test", &observer), ASSENT_E_CONFIG);
        end();
}

Test(observer_config, a_token_opens_what_is_not_for_probes)
{
        char path[128];
        configured();
        cr_assert_not_null(mkdtemp(folder));
        in_folder("assent.admin_token_file", "tokens", path, sizeof path);
        FILE *file = fopen(path, "w");
        fputs("prometheus 0123456789abcdef0123456789abcdef\n", file);
        fclose(file);
        chmod(path, 0600);
        cr_assert_eq(assent_observer_open(config, "assent-test", &observer), ASSENT_OK, "%s", assent_observer_errmsg(observer));
        expect("/livez", 200, "ok\n");
        cr_expect_eq(status_of(asked("/readyz", "")), 503);
        cr_expect_eq(status_of(asked("/metrics", "")), 401);
        cr_expect_eq(status_of(asked("/version", "")), 401);
        cr_expect_eq(status_of(asked("/metrics", "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n")), 200);
        end();
        unlink(path);
        rmdir(folder);
}
