/* What assent-begin makes of its flags and of --file. */
#include <criterion/criterion.h>

#include "../../producers/begin/request.c"

static struct request request;

static void set_up(void)
{
        request_init(&request);
}

static void tear_down(void)
{
        request_close(&request);
}

TestSuite(client_request, .init = set_up, .fini = tear_down);

static bool parse(const char *text)
{
        return request_parse(&request, text, strlen(text), "tx.json");
}

Test(client_request, a_whole_file_is_taken)
{
        cr_assert(parse("{\"protocol\":\"3PC\",\"timeout_ms\":5000,\"notify_completed\":true,\"branches\":["
                        "{\"service\":\"order\",\"kind\":\"create\",\"payload\":{\"b\":1, "
                        "\"a\":[true,null]}},"
                        "{\"service\":\"payment\",\"kind\":\"\"}]}"),
                  "%s", request.errmsg);
        cr_assert_eq(request.protocol, ASSENT_3PC);
        cr_assert_eq(request.timeout_ms, 5000);
        cr_assert(request.notify_completed);
        cr_assert_eq(request.branches_count, 2);
        cr_assert_str_eq(request.branches[0].service, "order");
        cr_assert_str_eq(request.branches[0].kind, "create");
        const char payload[] = "{\"b\":1,\"a\":[true,null]}"; /* compact, keys as they stand */
        cr_assert_eq(request.branches[0].payload.size, sizeof payload - 1);
        cr_assert_eq(memcmp(request.branches[0].payload.data, payload, sizeof payload - 1), 0);
        cr_assert_eq(request.branches[1].payload.size, 0);
}

Test(client_request, a_syntax_error_names_its_line)
{
        cr_assert_not(parse("{\"branches\": [\n  {\"service\": \"order\",\n   oops}\n]}"));
        cr_assert_not_null(strstr(request.errmsg, "tx.json:3:"), "%s", request.errmsg);
}

#define REFUSES(name, text, sentence)                                                                                  \
        Test(client_request, name)                                                                                     \
        {                                                                                                              \
                cr_assert_not(parse(text));                                                                            \
                cr_assert_not_null(strstr(request.errmsg, sentence), "%s", request.errmsg);                            \
        }

REFUSES(an_unknown_key_is_refused, "{\"timeout\":1,\"branches\":[]}", "unknown key \"timeout\"")
REFUSES(a_doubled_key_is_refused, "{\"branches\":[],\"branches\":[]}", "tx.json:1:")
REFUSES(trailing_text_is_refused, "{\"branches\":[]} x", "tx.json:1:")
REFUSES(an_array_is_no_transaction, "[]", "must be a JSON object")
REFUSES(no_branches_are_refused, "{\"branches\":[]}", "at least one branch")
REFUSES(an_unknown_protocol_is_refused, "{\"protocol\":\"4PC\",\"branches\":[]}", "\"2PC\" or \"3PC\"")
REFUSES(a_timeout_of_zero_is_refused, "{\"timeout_ms\":0,\"branches\":[]}", "from 1 to 3600000")
REFUSES(a_timeout_beyond_an_hour_is_refused, "{\"timeout_ms\":3600001,\"branches\":[]}", "from 1 to 3600000")
REFUSES(a_fractional_timeout_is_refused, "{\"timeout_ms\":1.5,\"branches\":[]}", "from 1 to 3600000")
REFUSES(a_flag_that_is_no_flag_is_refused, "{\"notify_completed\":1,\"branches\":[]}", "true or false")
REFUSES(a_branch_must_be_an_object, "{\"branches\":[1]}", "branches[0]: must be an object")
REFUSES(a_branch_needs_its_service, "{\"branches\":[{\"kind\":\"x\"}]}", "\"service\" must be a string")
REFUSES(a_branch_needs_its_kind, "{\"branches\":[{\"service\":\"x\"}]}", "\"kind\" must be a string")
REFUSES(a_branch_key_is_checked, "{\"branches\":[{\"service\":\"x\",\"kind\":\"y\",\"payloads\":1}]}",
        "branches[0]: unknown key \"payloads\"")

Test(client_request, sixty_four_branches_are_taken_and_sixty_five_are_not)
{
        char text[8192];
        size_t size = (size_t)snprintf(text, sizeof text, "{\"branches\":[");
        for (int i = 0; i < 64; i++)
                size += (size_t)snprintf(text + size, sizeof text - size, "{\"service\":\"a\",\"kind\":\"b\"},");
        memcpy(text + size - 1, "]}", 3);
        cr_assert(parse(text), "%s", request.errmsg);
        cr_assert_eq(request.branches_count, 64);
        request_close(&request);
        request_init(&request);
        memcpy(text + size - 1, ",{}]}", 6);
        cr_assert_not(parse(text));
        cr_assert_not_null(strstr(request.errmsg, "65 branches"));
}

Test(client_request, a_flag_splits_at_the_first_two_colons)
{
        char whole[] = "payment:charge:{\"a\":1}", bare[] = "payment:charge",
             empty[] = "payment:charge:", bad[] = "payment";
        cr_assert(request_add_branch(&request, whole) && request_add_branch(&request, bare) &&
                  request_add_branch(&request, empty));
        cr_assert_str_eq(request.branches[0].service, "payment");
        cr_assert_str_eq(request.branches[0].kind, "charge");
        cr_assert_str_eq(request.branches[0].payload.data, "{\"a\":1}");
        cr_assert_eq(request.branches[1].payload.size, 0);
        cr_assert_eq(request.branches[2].payload.size, 0);
        cr_assert_not(request_add_branch(&request, bad));
        cr_assert_not_null(strstr(request.errmsg, "SERVICE:KIND:PAYLOAD"));
}

Test(client_request, a_sixty_fifth_flag_is_refused)
{
        char text[65][6];
        for (int i = 0; i < 65; i++)
                memcpy(text[i], "a:b:c", 6);
        for (int i = 0; i < 64; i++)
                cr_assert(request_add_branch(&request, text[i]));
        cr_assert_not(request_add_branch(&request, text[64]));
}

Test(client_request, a_file_that_is_not_there_is_named)
{
        cr_assert_not(request_read(&request, "/nonexistent/tx.json"));
        cr_assert_not_null(strstr(request.errmsg, "/nonexistent/tx.json: No such file"));
}

Test(client_request, durations_have_a_unit_and_bounds)
{
        uint32_t ms = 0;
        cr_assert(request_duration("1ms", &ms));
        cr_assert_eq(ms, 1);
        cr_assert(request_duration("10s", &ms));
        cr_assert_eq(ms, 10000);
        cr_assert(request_duration("60m", &ms));
        cr_assert_eq(ms, 3600000);
        static const char *const wrong_ones[] = {"",
                                                 "10",
                                                 "s",
                                                 "0ms",
                                                 "-1s",
                                                 "+1s",
                                                 " 1s",
                                                 "1h",
                                                 "1.5s",
                                                 "1 s",
                                                 "61m",
                                                 "3600001ms",
                                                 "99999999999999999999s"};
        for (size_t i = 0; i < sizeof wrong_ones / sizeof *wrong_ones; i++)
                cr_assert_not(request_duration(wrong_ones[i], &ms), "%s", wrong_ones[i]);
}
