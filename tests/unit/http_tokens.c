/* The token file, and callers with and without a token. */
#include "http_client.h"

#include <sys/stat.h>

#include "http/tokens.h"

#define ALICE "alice-0123456789abcdef"
#define BOB   "bob_0123456789ABCDEF.~+/=="

static char path[64];

static void write_tokens(const char *text, size_t size, mode_t mode)
{
        snprintf(path, sizeof path, "/tmp/assent-tokens-XXXXXX");
        int fd = mkstemp(path);
        cr_assert_geq(fd, 0);
        cr_assert_eq(write(fd, text, size), (ssize_t)size);
        cr_assert_eq(fchmod(fd, mode), 0);
        close(fd);
}

static void remove_file(void)
{
        unlink(path);
}

TestSuite(http_tokens, .fini = remove_file, .timeout = 60);

static const char *name_of(const struct assent_tokens *tokens, const char *token)
{
        const char *name = assent_tokens_name(tokens, (struct assent_bytes){.data = token, .size = strlen(token)});
        return name ? name : "";
}

Test(http_tokens, names_are_found_by_their_tokens)
{
        static const char text[] = "# who may ask\n\nalice " ALICE "\nbob.1_x \t" BOB "\nalice alice-new-0123456789";
        char errmsg[256];
        struct assent_tokens *tokens;
        write_tokens(text, sizeof text - 1, 0400);
        cr_assert_eq(assent_tokens_open(path, &tokens, errmsg, sizeof errmsg), ASSENT_OK, "%s", errmsg);
        cr_expect_str_eq(name_of(tokens, ALICE), "alice");
        cr_expect_str_eq(name_of(tokens, "alice-new-0123456789"), "alice");
        cr_expect_str_eq(name_of(tokens, BOB), "bob.1_x");
        cr_expect_str_eq(name_of(tokens, ""), "");
        cr_expect_str_eq(name_of(tokens, "alice-0123456789abcde"), "");
        cr_expect_str_eq(name_of(tokens, "alice-0123456789abcdeF"), "");
        cr_expect_str_eq(name_of(tokens, ALICE "x"), "");
        char zeros[ASSENT_TOKEN_SIZE_MAX + 2] = {0};
        cr_expect_null(assent_tokens_name(tokens, (struct assent_bytes){.data = zeros, .size = ASSENT_TOKEN_SIZE_MAX + 1}));
        cr_expect_null(assent_tokens_name(tokens, (struct assent_bytes){.data = zeros, .size = ASSENT_TOKEN_SIZE_MAX}));
        assent_tokens_close(tokens);
}

static void refuses(const char *text, size_t size, mode_t mode, const char *part)
{
        char errmsg[512];
        struct assent_tokens *tokens;
        write_tokens(text, size, mode);
        enum assent_err err = assent_tokens_open(path, &tokens, errmsg, sizeof errmsg);
        cr_assert_eq(err, ASSENT_E_CONFIG);
        cr_assert_null(tokens);
        cr_expect_not_null(strstr(errmsg, part), "\"%s\" is not in: %s", part, errmsg);
        cr_expect_not_null(strstr(errmsg, path), "the file is not named: %s", errmsg);
        unlink(path);
}

#define REFUSES(text, part) refuses(text, sizeof text - 1, 0600, part)

Test(http_tokens, what_is_no_token_file_is_refused)
{
        static const char good[] = "alice " ALICE "\n";
        refuses(good, sizeof good - 1, 0640, "chmod 600");
        refuses(good, sizeof good - 1, 0604, "chmod 600");
        REFUSES("", "holds no token");
        REFUSES("# nobody\n", "holds no token");
        REFUSES("alice\n", ":1: the line is not \"NAME TOKEN\"");
        REFUSES("\nalice " ALICE " more\n", ":2: the line is not \"NAME TOKEN\"");
        REFUSES("al/ice " ALICE "\n", "is not \"NAME TOKEN\"");
        REFUSES("alice alice-0123456789\0abc\n", "is not \"NAME TOKEN\"");
        REFUSES("alice " ALICE "\r\n", "is not \"NAME TOKEN\"");
        REFUSES("alice 0123456789abcde\n", "not 16 to 255");
        REFUSES("alice " ALICE "\nbob " ALICE "\n", ":2: the line has a token that stands there already");
        static char many[257 * 40], large[ASSENT_TOKENS_FILE_SIZE_MAX + 1];
        size_t size = 0;
        for (int i = 0; i < 257; i++)
                size += (size_t)snprintf(many + size, sizeof many - size, "caller%d 0123456789abcdef%d\n", i, i);
        refuses(many, size, 0600, ":257: the line is one too many");
        memset(large, '#', sizeof large);
        refuses(large, sizeof large, 0600, "at most 98304 bytes");
}

Test(http_tokens, sizes_at_their_limits)
{
        char text[512], name[66], token[258], errmsg[512];
        struct assent_tokens *tokens;
        memset(name, 'n', sizeof name);
        memset(token, 't', sizeof token);
        int size = snprintf(text, sizeof text, "%.64s %.255s\na 0123456789abcdef\n", name, token);
        write_tokens(text, (size_t)size, 0600);
        cr_assert_eq(assent_tokens_open(path, &tokens, errmsg, sizeof errmsg), ASSENT_OK, "%s", errmsg);
        assent_tokens_close(tokens);
        unlink(path);
        size = snprintf(text, sizeof text, "%.65s %.255s\n", name, token);
        refuses(text, (size_t)size, 0600, "NAME TOKEN");
        size = snprintf(text, sizeof text, "%.64s %.256s\n", name, token);
        refuses(text, (size_t)size, 0600, "not 16 to 255");
}

/* ---- a server with tokens ---- */

static void who(void *app, struct assent_http_request *request)
{
        (void)app;
        const char *name = assent_http_caller(request);
        assent_http_answer(request, 200, "text/plain", (struct assent_bytes){name, strlen(name)});
}

static const struct assent_http_route routes[] = {
    {"GET", "/who", who, false},
    {"GET", "/open", who, true},
    {NULL, NULL, NULL, false},
};

Test(http_tokens, only_callers_with_a_token_are_served)
{
        static const char text[] = "alice " ALICE "\nbob " BOB "\n";
        static struct reply reply;
        struct assent_http_options made = ASSENT_HTTP_OPTIONS_INIT;
        write_tokens(text, sizeof text - 1, 0600);
        made.routes = routes;
        made.token_file = path;
        made.listen = "0.0.0.0:0"; /* with tokens it may; and then any one host is right */
        open_server(&made);
        ask(port, GET("/who"), &reply);
        check_status(reply, 401);
        check_field(reply, "WWW-Authenticate", "Bearer");
        ask(port, "GET /who HTTP/1.1\r\nHost: orders.example\r\nAuthorization: Bearer " ALICE "\r\n\r\n", &reply);
        check_status(reply, 200);
        cr_assert_str_eq(reply.body, "alice");
        ask(port, "GET /who HTTP/1.1\r\n" HOST "Authorization: bearer " BOB "\r\n\r\n", &reply);
        cr_assert_str_eq(reply.body, "bob");
        ask(port, "GET /who HTTP/1.1\r\n" HOST "Authorization: Bearer " ALICE "x\r\n\r\n", &reply);
        check_status(reply, 401);
        check_field(reply, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
        ask(port, "GET /who HTTP/1.1\r\n" HOST "Authorization: Basic " ALICE "\r\n\r\n", &reply);
        check_status(reply, 401);
        ask(port, GET("/nowhere"), &reply); /* what there is is not told either */
        check_status(reply, 401);
        ask(port, GET("/open"), &reply);
        check_status(reply, 200);
        cr_assert_str_eq(reply.body, "anonymous");
        ask(port, "GET /open HTTP/1.1\r\n" HOST "Authorization: Bearer " ALICE "\r\n\r\n", &reply);
        cr_assert_str_eq(reply.body, "alice");
        close_server();
}
