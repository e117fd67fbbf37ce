/* The picture of saved results: well-formed, whatever the files are called, and no picture of what is no result. */
#include <criterion/criterion.h>

#include <ctype.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../producers/load/plot.c"

static char folder[] = "/tmp/assent-plot-XXXXXX";
static char path[256];
static struct plot plot;

static void set_up(void)
{
        cr_assert_not_null(mkdtemp(folder));
}

static void tear_down(void)
{
        for (size_t i = 0; i < plot.count; i++) {
                json_decref(plot.saved[i].root);
                free(plot.saved[i].latency);
                free(plot.saved[i].throughput);
        }
        unlink(path);
        rmdir(folder);
}

TestSuite(load_plot, .init = set_up, .fini = tear_down);

#define SERIES "\"series\":{\"columns\":[\"second\",\"tx_per_s\"],\"rows\":[[1,250.5],[2,300],[2.1,10]]}"
#define GOOD                                                                                                           \
        "{\"tx_per_s\":250,\"p50_ms\":2,\"settings\":{\"rate\":null,\"in_flight\":64},"                                \
        "\"histogram_us\":[[1000,50],[2000,900],[50000,49],[90000,1]]," SERIES "}"

static bool reads(const char *name, const char *text)
{
        snprintf(path, sizeof path, "%s/%s", folder, name);
        FILE *file = fopen(path, "w");
        cr_assert_not_null(file);
        fputs(text, file);
        fclose(file);
        return read_saved(&plot, &plot.saved[plot.count++], path);
}

/* Every tag is closed, in order, attributes are quoted, and no bare & or < stands in a text. */
static void well_formed(const char *xml)
{
        char open[32][16];
        size_t depth = 0;

        for (const char *next = xml; *next;) {
                if (*next == '&') {
                        cr_assert_eq(next[1], '#', "%.40s", next);
                        next += strspn(next + 2, "0123456789") + 2;
                        cr_assert_eq(*next, ';');
                }
                if (*next++ != '<')
                        continue;
                const bool closes = *next == '/';
                next += closes;
                const size_t size = strspn(next, "abcdefghijklmnopqrstuvwxyz");
                cr_assert(size > 0 && size < 16, "%.40s", next);
                if (closes) {
                        cr_assert(depth > 0 && strlen(open[depth - 1]) == size, "%.40s", next);
                        cr_assert_eq(memcmp(open[--depth], next, size), 0);
                } else {
                        cr_assert_lt(depth, 32);
                        snprintf(open[depth++], 16, "%.*s", (int)size, next);
                }
                for (next += size; *next != '>' && *next != '/'; next++) {
                        cr_assert(*next && *next != '<');
                        if (*next == '"')
                                next = strchr(next + 1, '"');
                        cr_assert_not_null(next);
                }
                if (*next == '/')
                        depth--;
                next = strchr(next, '>') + 1;
        }
        cr_assert_eq(depth, 0);
}

static char *drawn(void)
{
        char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);

        draw(file, &plot);
        fclose(file);
        return text;
}

Test(load_plot, the_picture_is_well_formed_and_has_both_panels)
{
        cr_assert(reads("a.json", GOOD), "%s", plot.errmsg);
        cr_assert(reads("b.json", GOOD), "%s", plot.errmsg);
        char *xml = drawn();
        well_formed(xml);
        cr_assert_not_null(strstr(xml, "prefers-color-scheme:dark"));
        cr_assert_not_null(strstr(xml, "99.9 %"));
        cr_assert_not_null(strstr(xml, "250 tx/s with 64 in flight, p50 2 ms"));
        size_t curves = 0;
        for (const char *next = xml; (next = strstr(next, "<polyline")); next++)
                curves++;
        cr_assert_eq(curves, 4);
        free(xml);
}

Test(load_plot, a_result_of_nothing_but_zeros_is_drawn_at_the_bottom)
{
        cr_assert(reads("a.json", "{\"histogram_us\":[[0,1]],\"series\":{\"columns\":[\"second\",\"tx_per_s\"],"
                                  "\"rows\":[[0.1,0]]}}"),
                  "%s", plot.errmsg);
        char *xml = drawn();
        well_formed(xml);
        const double bottoms[] = {LEGEND + LINE + 30 + UPPER, LEGEND + LINE + 30 + UPPER + GAP + LOWER};
        for (size_t i = 0; i < 2; i++) {
                char at[32];
                snprintf(at, sizeof at, "cy=\"%.1f\"", bottoms[i]);
                cr_assert_not_null(strstr(xml, at), "%s: %s", at, xml);
        }
        free(xml);
}

Test(load_plot, a_file_name_is_text_whatever_its_bytes)
{
        cr_assert(reads("<&\">\x01\xff.json", GOOD), "%s", plot.errmsg);
        char *xml = drawn();
        well_formed(xml);
        cr_assert_not_null(strstr(xml, "&#60;&#38;&#34;&#62;??.json"), "%s", xml);
        free(xml);
}

Test(load_plot, points_stand_at_their_percentile)
{
        cr_assert(reads("a.json", GOOD));
        const struct saved *saved = &plot.saved[0];
        cr_assert_eq(saved->buckets, 4);
        cr_assert_float_eq(saved->latency[1].x, log10(1000 / 50.0), 1e-9); /* 95 % */
        cr_assert_float_eq(saved->latency[1].y, 2, 1e-9);
        cr_assert_float_eq(saved->latency[3].x, 3, 1e-9); /* the greatest of a thousand */
        cr_assert_eq(saved->rows, 2, "a tenth of a second is left out");
}

Test(load_plot, what_is_no_saved_result_is_refused)
{
        static const char *const bad[] = {
            "",
            "[]",
            "{}",
            "{\"histogram_us\":[]}",
            "{\"histogram_us\":[[1]]," SERIES "}",
            "{\"histogram_us\":[[2,1],[1,1]]," SERIES "}",
            "{\"histogram_us\":[[1,0]]," SERIES "}",
            "{\"histogram_us\":[[1,-1]]," SERIES "}",
            "{\"histogram_us\":[[1,1]]}",
            "{\"histogram_us\":[[1,1]],\"series\":{\"columns\":[\"second\",\"tx_per_s\"],\"rows\":[[1]]}}",
            "{\"histogram_us\":[[1,1]],\"series\":{\"columns\":[\"second\",\"tx_per_s\"],\"rows\":[[1,\"x\"]]}}"};

        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                cr_assert_not(reads("bad.json", bad[i]), "%s", bad[i]);
                cr_assert(strstr(plot.errmsg, "what assent-load --save FILE writes") || strstr(plot.errmsg, "not JSON"),
                          "%s: %s", bad[i], plot.errmsg);
                json_decref(plot.saved[0].root);
                free(plot.saved[0].latency);
                free(plot.saved[0].throughput);
                plot = (struct plot){0};
        }
        cr_assert_not(read_saved(&plot, &plot.saved[plot.count++], "/nonexistent.json"));
        cr_assert_not_null(strstr(plot.errmsg, "/nonexistent.json"), "%s", plot.errmsg);
}

Test(load_plot, eight_files_are_drawn_and_nine_refused)
{
        char svg[] = "/dev/null", option[] = "-o", name[] = "plot";
        char *arguments[3 + FILES_MAX + 2] = {name, option, svg};

        cr_assert(reads("a.json", GOOD));
        for (int i = 0; i < FILES_MAX + 1; i++)
                arguments[3 + i] = path;
        optind = 0;
        cr_assert_eq(plot_main(3 + FILES_MAX, arguments), EXIT_DRAWN);
        optind = 0;
        cr_assert_eq(plot_main(3 + FILES_MAX + 1, arguments), EXIT_USAGE);
}

Test(load_plot, ticks_are_round)
{
        cr_assert_float_eq(nice_step(800, 6), 200, 1e-9);
        cr_assert_float_eq(nice_step(3, 6), 0.5, 1e-9);
        cr_assert_float_eq(nice_step(0, 6), 1, 1e-9);
}
