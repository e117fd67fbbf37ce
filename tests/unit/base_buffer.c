/* The growable buffer and the escapes. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/escape.h"

Test(buffer, maximum_is_reached_and_one_more_refused)
{
        struct assent_buffer buffer;
        assent_buffer_init(&buffer, 1000);
        cr_assert_str_eq(assent_buffer_string(&buffer), "");
        for (int i = 0; i < 1000; i++)
                cr_assert_eq(assent_buffer_append(&buffer, "x", 1), ASSENT_OK);
        cr_assert_eq(buffer.size, 1000);
        cr_assert_eq(assent_buffer_append(&buffer, "", 0), ASSENT_OK);
        cr_assert_eq(assent_buffer_append(&buffer, "y", 1), ASSENT_E_LIMIT);
        cr_assert_eq(buffer.size, 1000);
        cr_assert_eq(strlen(assent_buffer_string(&buffer)), 1000);
        assent_buffer_close(&buffer);
}

Test(buffer, error_sticks_until_a_cut)
{
        struct assent_buffer buffer;
        assent_buffer_init(&buffer, 4);
        assent_buffer_text(&buffer, "abc");
        cr_assert_eq(assent_buffer_text(&buffer, "de"), ASSENT_E_LIMIT);
        cr_assert_eq(assent_buffer_text(&buffer, "d"), ASSENT_E_LIMIT);
        cr_assert_eq(assent_buffer_text(&buffer, ""), ASSENT_E_LIMIT);
        cr_assert_str_eq(assent_buffer_string(&buffer), "abc");
        assent_buffer_cut(&buffer, 2);
        cr_assert_eq(assent_buffer_text(&buffer, "de"), ASSENT_OK);
        cr_assert_str_eq(assent_buffer_string(&buffer), "abde");
        assent_buffer_clear(&buffer);
        cr_assert_eq(buffer.size, 0);
        cr_assert_eq(assent_buffer_printf(&buffer, "%d", 1234), ASSENT_OK);
        cr_assert_eq(assent_buffer_printf(&buffer, "%d", 5), ASSENT_E_LIMIT);
        cr_assert_str_eq(assent_buffer_string(&buffer), "1234");
        assent_buffer_close(&buffer);
}

Test(buffer, size_beyond_all_memory_is_refused_without_overflow)
{
        struct assent_buffer buffer;
        assent_buffer_init(&buffer, 10);
        assent_buffer_text(&buffer, "a");
        cr_assert_eq(assent_buffer_append(&buffer, "b", SIZE_MAX), ASSENT_E_LIMIT);
        cr_assert_eq(buffer.err, ASSENT_E_LIMIT);
        cr_assert_str_eq(assent_buffer_string(&buffer), "a");
        assent_buffer_close(&buffer);
}

Test(buffer, wrapped_memory_never_grows)
{
        char memory[5];
        struct assent_buffer buffer;
        assent_buffer_wrap(&buffer, memory, sizeof memory);
        cr_assert_eq(assent_buffer_text(&buffer, "1234"), ASSENT_OK);
        cr_assert_eq(assent_buffer_text(&buffer, "5"), ASSENT_E_LIMIT);
        cr_assert_str_eq(memory, "1234");
}

static void check_json(const char *text, size_t size, const char *expected)
{
        struct assent_buffer buffer;
        assent_buffer_init(&buffer, 1000);
        assent_buffer_json(&buffer, text, size);
        cr_assert_str_eq(assent_buffer_string(&buffer), expected);
        assent_buffer_close(&buffer);
}

Test(escape, json_is_ascii_and_keeps_characters)
{
        check_json("", 0, "\"\"");
        check_json("a\"\\/\n\r\t", 7, "\"a\\\"\\\\/\\n\\r\\t\"");
        check_json("\0\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\"");
        check_json("\xc3\xa4\xe2\x82\xac", 5, "\"\\u00e4\\u20ac\"");
        check_json("\xf0\x9f\x98\x80", 4, "\"\\ud83d\\ude00\"");
        check_json("\xf4\x8f\xbf\xbf", 4, "\"\\udbff\\udfff\"");
}

Test(escape, json_replaces_each_byte_that_is_not_utf8)
{
        check_json("\xff", 1, "\"\\ufffd\"");
        check_json("\xc3", 1, "\"\\ufffd\"");                                  /* cut */
        check_json("\xc0\xaf", 2, "\"\\ufffd\\ufffd\"");                       /* overlong */
        check_json("\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\"");            /* a surrogate */
        check_json("\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* U+110000 */
        check_json("\xe2\x28\xa1", 3, "\"\\ufffd(\\ufffd\"");
}

Test(escape, json_string_that_does_not_fit_leaves_nothing)
{
        struct assent_buffer buffer;
        assent_buffer_init(&buffer, 7);
        assent_buffer_text(&buffer, "ab");
        cr_assert_eq(assent_buffer_json(&buffer, "cde", 3), ASSENT_OK);
        assent_buffer_cut(&buffer, 2);
        cr_assert_eq(assent_buffer_json(&buffer, "cdef", 4), ASSENT_E_LIMIT);
        cr_assert_str_eq(assent_buffer_string(&buffer), "ab");
        cr_assert_eq(buffer.err, ASSENT_E_LIMIT);
        assent_buffer_close(&buffer);
}

Test(escape, text_is_printable_whatever_the_bytes)
{
        char out[2000];
        unsigned char all[256];
        for (int i = 0; i < 256; i++)
                all[i] = (unsigned char)i;
        size_t size = assent_escape_text(all, sizeof all, out, sizeof out);
        cr_assert_eq(size, strlen(out));
        for (size_t i = 0; i < size; i++)
                cr_assert(out[i] >= 0x20 && out[i] <= 0x7e);
        assent_escape_text("\x1b[2J\n\"", 6, out, sizeof out);
        cr_assert_str_eq(out, "\\x1b[2J\\n\\\"");
}

Test(escape, text_that_fits_exactly_is_whole_and_one_more_is_marked)
{
        char out[9];
        cr_assert_eq(assent_escape_text("12345678", 8, out, sizeof out), 8);
        cr_assert_str_eq(out, "12345678");
        cr_assert_eq(assent_escape_text("123456789", 9, out, sizeof out), 8);
        cr_assert_str_eq(out, "12345...");
        assent_escape_text("123\x01\x02", 5, out, sizeof out);
        cr_assert_str_eq(out, "123...", "no half escape");
        char least[4];
        assent_escape_text("abcd", 4, least, sizeof least);
        cr_assert_str_eq(least, "...");
}

Test(escape, megabyte_is_bounded)
{
        size_t size = 1 << 20;
        char *big = malloc(size);
        cr_assert_not_null(big);
        memset(big, '\x01', size);
        char out[257];
        cr_assert_leq(assent_escape_text(big, size, out, sizeof out), 256);
        cr_assert_leq(assent_escape_json(big, size, out, sizeof out), 256);
        cr_assert_str_eq(out + strlen(out) - 3, "...");
        free(big);
}
