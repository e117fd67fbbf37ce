/* The words of error.h, and the panic. */
#include <criterion/criterion.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <assent/error.h>

#include "base/panic.h"

Test(error, codes_have_name_class_and_sentence)
{
        for (int i = 0; i < ASSENT_ERR_COUNT; i++) {
                enum assent_err err = (enum assent_err)i;
                cr_assert_eq(strncmp(assent_err_name(err), "ASSENT_", 7), 0);
                cr_assert_gt(strlen(assent_err_text(err)), 5);
        }
        cr_assert_str_eq(assent_err_name(ASSENT_E_DIGEST), "ASSENT_E_DIGEST");
        cr_assert_eq(assent_err_class(ASSENT_OK), ASSENT_CLASS_OK);
        cr_assert_eq(assent_err_class(ASSENT_AGAIN), ASSENT_CLASS_RETRY);
        cr_assert_eq(assent_err_class(ASSENT_E_LIMIT), ASSENT_CLASS_ABORT);
        cr_assert_eq(assent_err_class(ASSENT_E_MEMORY), ASSENT_CLASS_FATAL);
}

Test(error, stranger_is_fatal_and_has_words)
{
        cr_assert_str_eq(assent_err_name(ASSENT_ERR_COUNT), "?");
        cr_assert_eq(assent_err_class((enum assent_err) - 1), ASSENT_CLASS_FATAL);
        cr_assert_str_eq(assent_err_text((enum assent_err)4711), "unknown error code");
}

/* Runs assent_panic in a child; returns what it wrote to stderr and checks that it aborted. */
static void panic_text(const char *file, const char *condition, char *text, size_t text_size)
{
        int ends[2];
        cr_assert_eq(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
                dup2(ends[1], STDERR_FILENO);
                signal(SIGABRT, SIG_DFL);
                assent_panic(file, 12, condition);
        }
        close(ends[1]);
        ssize_t size = read(ends[0], text, text_size - 1); /* one read: it must be one write */
        cr_assert_gt(size, 0);
        text[size] = '\0';
        close(ends[0]);
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

Test(panic, failed_assertion_names_place_and_condition_and_aborts)
{
        char text[1024];
        panic_text("a.c", "1 > 2", text, sizeof text);
        cr_assert_str_eq(text, "a.c:12: assertion failed: 1 > 2\n");
}

Test(panic, long_condition_is_cut_and_ends_its_line)
{
        char condition[2000], text[1024];
        memset(condition, 'x', sizeof condition - 1);
        condition[sizeof condition - 1] = '\0';
        panic_text("a.c", condition, text, sizeof text);
        cr_assert_eq(strlen(text), 511);
        cr_assert_eq(text[510], '\n');
}

Test(panic, condition_that_holds_goes_on)
{
        ASSENT_ASSERT(2 > 1);
}
