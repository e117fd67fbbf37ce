/* What assentctl makes of what was typed. */
#include <criterion/criterion.h>

#include "../../producers/ctl/words.c"

Test(ctl_words, distance_counts_single_edits)
{
        cr_assert_eq(word_distance("show", "show"), 0);
        cr_assert_eq(word_distance("shwo", "show"), 2);
        cr_assert_eq(word_distance("topic", "topics"), 1);
        cr_assert_eq(word_distance("", "tail"), 4);
        cr_assert_eq(word_distance("kitten", "sitting"), 3);
}

Test(ctl_words, distance_gives_up_one_past_its_limit)
{
        char word[WORD_SIZE_MAX + 2];
        memset(word, 'a', sizeof word);
        word[WORD_SIZE_MAX] = '\0';
        cr_assert_eq(word_distance(word, "a"), WORD_SIZE_MAX - 1);
        word[WORD_SIZE_MAX] = 'a';
        word[WORD_SIZE_MAX + 1] = '\0';
        cr_assert_eq(word_distance(word, "a"), SIZE_MAX);
        cr_assert_eq(word_distance("a", word), SIZE_MAX);
}

Test(ctl_words, numbers_are_whole_and_bounded)
{
        int64_t number = 0;
        cr_assert(word_number("0", 0, 10, &number) && number == 0);
        cr_assert(word_number("10", 0, 10, &number) && number == 10);
        cr_assert_not(word_number("11", 0, 10, &number));
        cr_assert_not(word_number("0", 1, 10, &number));
        static const char *const wrong[] = {"", "x", "1x", " 1", "+1", "-1", "1.0", "99999999999999999999"};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
                cr_assert_not(word_number(wrong[i], 0, INT64_MAX, &number), "%s", wrong[i]);
}

Test(ctl_words, durations_have_a_unit_and_end_at_an_hour)
{
        int64_t ms = -1;
        cr_assert(word_duration("0s", &ms) && ms == 0);
        cr_assert(word_duration("500ms", &ms) && ms == 500);
        cr_assert(word_duration("2m", &ms) && ms == 120000);
        cr_assert(word_duration("60m", &ms) && ms == 3600000);
        cr_assert(word_duration("3600000ms", &ms) && ms == 3600000);
        static const char *const wrong[] = {"",
                                            "5",
                                            "s",
                                            "1h",
                                            "1.5s",
                                            "-1s",
                                            "+1s",
                                            " 1s",
                                            "1 s",
                                            "1s ",
                                            "61m",
                                            "3601s",
                                            "3600001ms",
                                            "99999999999999999999s",
                                            "00000000000000000000000000000000001s"};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
                cr_assert_not(word_duration(wrong[i], &ms), "%s", wrong[i]);
}

Test(ctl_words, positions_are_words_or_offsets)
{
        int64_t position = 0;
        cr_assert(word_position("end", &position) && position == -1);
        cr_assert(word_position("beginning", &position) && position == -2);
        cr_assert(word_position("12", &position) && position == 12);
        cr_assert_not(word_position("-1", &position));
        cr_assert_not(word_position("start", &position));
}

Test(ctl_words, repeated_flags_are_taken_out_in_both_spellings)
{
        char *argv[] = {"ctl", "--service", "a", "x", "--service=b", "--services", "--service", NULL};
        const char *values[2];
        size_t count = 0;
        int argc = 7;
        cr_assert(words_take(&argc, argv, "--service", values, 2, &count));
        cr_assert_eq(count, 2);
        cr_assert_str_eq(values[0], "a");
        cr_assert_str_eq(values[1], "b");
        cr_assert_eq(argc, 4); /* the last --service has no value: left for the common parser to refuse */
        cr_assert_str_eq(argv[1], "x");
        cr_assert_str_eq(argv[2], "--services");
        cr_assert_str_eq(argv[3], "--service");
        cr_assert_null(argv[4]);
}

Test(ctl_words, one_flag_too_many_is_refused)
{
        char *argv[] = {"ctl", "--service=a", "--service=b", "--service=c", NULL};
        const char *values[2];
        size_t count = 0;
        int argc = 4;
        cr_assert_not(words_take(&argc, argv, "--service", values, 2, &count));
}
