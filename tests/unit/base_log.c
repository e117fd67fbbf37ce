/* Lines of logging, as a reader of stderr gets them. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <assent/log.h>

static int file, stderr_before;
static char text[1 << 20];

static void capture_begin(void)
{
        file = memfd_create("stderr", 0);
        fcntl(file, F_SETFL, O_APPEND); /* as a shared log file has it: two writers never meet */
        stderr_before = dup(STDERR_FILENO);
        cr_assert(file >= 0 && stderr_before >= 0);
        dup2(file, STDERR_FILENO);
}

/* What was written since, as text; also its size. */
static size_t capture_end(void)
{
        dup2(stderr_before, STDERR_FILENO);
        close(stderr_before);
        ssize_t size = pread(file, text, sizeof text - 1, 0);
        cr_assert_geq(size, 0);
        text[size] = '\0';
        close(file);
        return (size_t)size;
}

/* The line without its time, whose form is checked here: ts=2026-11-22T12:00:00.123Z (logfmt). */
static const char *after_time(void)
{
        static const char form[] = "ts=dddd-dd-ddTdd:dd:dd.dddZ ";
        for (size_t i = 0; i < sizeof form - 1; i++) {
                if (form[i] == 'd')
                        cr_assert(text[i] >= '0' && text[i] <= '9', "%s", text);
                else
                        cr_assert_eq(text[i], form[i], "%s", text);
        }
        return text + sizeof form - 1;
}

static void quiet_journal(void)
{
        unsetenv("JOURNAL_STREAM");
        unsetenv("INVOCATION_ID");
}

Test(log, logfmt_quotes_only_what_needs_it, .init = quiet_journal)
{
        struct assent_uuid id = {{1, 2, 3}};
        assent_log_setup(ASSENT_LOG_INFO, ASSENT_LOG_LOGFMT, "payment");
        capture_begin();
        assent_log(ASSENT_LOG_WARN, "lane \"x\" assigned", ASSENT_INT("lane", -3),
                   ASSENT_TEXT("bare", "a-b.c:9/d"), ASSENT_TEXT("blank", "a b"),
                   ASSENT_TEXT("equals", "a=b"), ASSENT_TEXT("empty", ""),
                   ASSENT_TEXT("none", NULL), ASSENT_UUID("txn", &id), ASSENT_REAL("share", 0.25));
        capture_end();
        cr_assert_str_eq(
            after_time(),
            "level=warn name=payment event=\"lane \\\"x\\\" assigned\" lane=-3 bare=a-b.c:9/d "
            "blank=\"a b\" equals=\"a=b\" empty=\"\" none=\"\" "
            "txn=01020300-0000-0000-0000-000000000000 share=0.25\n");
}

Test(log, json_is_one_object_a_line, .init = quiet_journal)
{
        assent_log_setup(ASSENT_LOG_DEBUG, ASSENT_LOG_JSON, NULL);
        struct assent_bytes bytes = {"\xc3\xa4\n\xff", 4};
        capture_begin();
        assent_log(ASSENT_LOG_DEBUG, "say \"it\"", ASSENT_INT("n", INT64_MIN),
                   ASSENT_BYTES("b", bytes), ASSENT_REAL("bad", NAN), ASSENT_REAL("good", 1e300));
        capture_end();
        cr_assert_eq(strncmp(text, "{\"ts\":\"2", 8), 0);
        cr_assert_str_eq(
            text + strlen("{\"ts\":\"2026-11-22T12:00:00.123Z\""),
            ",\"level\":\"debug\",\"event\":\"say \\\"it\\\"\",\"n\":-9223372036854775808,"
            "\"b\":\"\\u00e4\\n\\ufffd\",\"bad\":null,\"good\":1e+300}\n");
}

Test(log, control_characters_never_reach_the_terminal, .init = quiet_journal)
{
        static const enum assent_log_format formats[] = {ASSENT_LOG_LOGFMT, ASSENT_LOG_JSON};
        char all[256];
        for (int i = 0; i < 256; i++)
                all[i] = (char)i;
        for (size_t f = 0; f < 2; f++) {
                assent_log_setup(ASSENT_LOG_INFO, formats[f], "n");
                for (size_t from = 0; from < sizeof all; from += 32) {
                        struct assent_bytes bytes = {all + from, 32};
                        capture_begin();
                        assent_log(ASSENT_LOG_INFO, "x\n\x1b[2Jy", ASSENT_BYTES("b", bytes));
                        size_t size = capture_end();
                        for (size_t i = 0; i + 1 < size; i++)
                                cr_assert(text[i] >= 0x20 && text[i] <= 0x7e);
                        cr_assert_eq(text[size - 1], '\n');
                }
        }
}

Test(log, megabyte_value_is_cut_to_256_bytes, .init = quiet_journal)
{
        size_t size = 1 << 20;
        char *big = malloc(size);
        cr_assert_not_null(big);
        memset(big, 'x', size);
        struct assent_bytes bytes = {big, size};
        assent_log_setup(ASSENT_LOG_INFO, ASSENT_LOG_LOGFMT, NULL);
        capture_begin();
        assent_log(ASSENT_LOG_INFO, "big", ASSENT_BYTES("b", bytes), ASSENT_INT("after", 1));
        capture_end();
        const char *value = strstr(text, "b=x");
        cr_assert_not_null(value);
        cr_assert_eq(strcspn(value + 2, " "), 256);
        cr_assert_str_eq(strstr(text, "..."), "... after=1\n");
        bytes.size = 256;
        capture_begin();
        assent_log(ASSENT_LOG_INFO, "big", ASSENT_BYTES("b", bytes));
        capture_end();
        cr_assert_null(strstr(text, "..."));
        free(big);
}

Test(log, line_stays_within_4096_bytes_and_says_what_it_left_out, .init = quiet_journal)
{
        static const enum assent_log_format formats[] = {ASSENT_LOG_LOGFMT, ASSENT_LOG_JSON};
        static const char *const ends[] = {" last=1 truncated=true\n",
                                           ",\"last\":1,\"truncated\":true}\n"};
        char value[251];
        memset(value, 'v', sizeof value - 1);
        value[250] = '\0';
        struct assent_field fields[21];
        for (size_t i = 0; i < 20; i++)
                fields[i] = ASSENT_TEXT("field", value);
        fields[20] = ASSENT_INT("last", 1);
        for (size_t f = 0; f < 2; f++) {
                assent_log_setup(ASSENT_LOG_INFO, formats[f], NULL);
                capture_begin();
                assent_log_write(ASSENT_LOG_INFO, "long", fields, 21);
                size_t size = capture_end();
                cr_assert_leq(size, 4096);
                cr_assert_gt(size, 3700);
                cr_assert_str_eq(text + size - strlen(ends[f]), ends[f]);
        }
}

Test(log, level_filters, .init = quiet_journal)
{
        assent_log_setup(ASSENT_LOG_WARN, ASSENT_LOG_LOGFMT, NULL);
        cr_assert(assent_log_enabled(ASSENT_LOG_ERROR));
        cr_assert(assent_log_enabled(ASSENT_LOG_WARN));
        cr_assert_not(assent_log_enabled(ASSENT_LOG_INFO));
        capture_begin();
        assent_log(ASSENT_LOG_INFO, "no", ASSENT_INT("n", 1));
        cr_assert_eq(capture_end(), 0);
}

Test(log, errno_survives, .init = quiet_journal)
{
        capture_begin();
        close(STDERR_FILENO); /* so that write fails */
        errno = ENOSPC;
        assent_log(ASSENT_LOG_ERROR, "disk", ASSENT_INT("n", 1));
        int after = errno;
        capture_end();
        cr_assert_eq(after, ENOSPC);
}

static void loud_journal(void)
{
        setenv("JOURNAL_STREAM", "8:1", 1);
        setenv("INVOCATION_ID", "1", 1);
}

Test(log, journal_gets_the_severity, .init = loud_journal)
{
        static const char *const prefixes[] = {"<3>ts=", "<4>ts=", "<6>ts=", "<7>ts="};
        assent_log_setup(ASSENT_LOG_DEBUG, ASSENT_LOG_LOGFMT, NULL);
        for (int level = ASSENT_LOG_ERROR; level <= ASSENT_LOG_DEBUG; level++) {
                capture_begin();
                assent_log((enum assent_log_level)level, "x", ASSENT_INT("n", 1));
                capture_end();
                cr_assert_eq(strncmp(text, prefixes[level], strlen(prefixes[level])), 0);
        }
}

static void *chatter(void *letter)
{
        char value[200];
        memset(value, *(const char *)letter, sizeof value - 1);
        value[sizeof value - 1] = '\0';
        for (int i = 0; i < 500; i++)
                assent_log(ASSENT_LOG_INFO, "chatter", ASSENT_TEXT("v", value));
        return NULL;
}

Test(log, lines_of_threads_stay_whole, .init = quiet_journal)
{
        static char letters[] = "abcd";
        pthread_t threads[4];
        assent_log_setup(ASSENT_LOG_INFO, ASSENT_LOG_LOGFMT, NULL);
        capture_begin();
        for (int i = 0; i < 4; i++)
                pthread_create(&threads[i], NULL, chatter, &letters[i]);
        for (int i = 0; i < 4; i++)
                pthread_join(threads[i], NULL);
        capture_end();
        int lines = 0;
        for (char *line = text; *line != '\0'; lines++) {
                char *value = strstr(line, " v=");
                cr_assert_not_null(value);
                char letter[2] = {value[3], '\0'};
                cr_assert_eq(strspn(value + 3, letter), 199);
                cr_assert_eq(value[3 + 199], '\n');
                line = value + 3 + 200;
        }
        cr_assert_eq(lines, 2000);
}
