/* plot.c: reads what --save wrote and draws two panels: latency over its percentile, on a logarithmic axis as in HDR
 * histograms, and outcomes a second over time. */
#include "plot.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX      8
#define LABEL_SIZE_MAX 200

#define WIDTH  960
#define LEFT   76
#define RIGHT  30
#define LEGEND 58 /* where its first line stands */
#define LINE   21
#define UPPER  300 /* heights of the panels */
#define LOWER  190
#define GAP    78 /* under a panel: its axis and the title of the next one */

enum { EXIT_DRAWN, EXIT_WRONG, EXIT_USAGE };

struct point {
        double x, y;
};

struct saved {
        const char *path;
        json_t *root;
        double count;
        size_t buckets, rows;
        struct point *latency;    /* percentile as nines (0.9 is 1, 0.99 is 2), milliseconds */
        struct point *throughput; /* the middle of a second, outcomes in it */
        char figures[LABEL_SIZE_MAX];
};

struct plot {
        struct saved saved[FILES_MAX];
        size_t count;
        char errmsg[512];
};

/* A panel maps what it shows to the picture. */
struct panel {
        double top, height, x_max, y_max;
};

__attribute__((format(printf, 2, 3))) static bool wrong(struct plot *plot, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(plot->errmsg, sizeof plot->errmsg, format, arguments);
        va_end(arguments);
        return false;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static bool no_result(struct plot *plot, const struct saved *saved, const char *what)
{
        return wrong(plot, "%.300s: %s: not what assent-load --save FILE writes", saved->path, what);
}

static bool is_row(const json_t *row, size_t size)
{
        bool good = json_array_size(row) == size;

        for (size_t i = 0; i < size && good; i++)
                good = json_is_number(json_array_get(row, i)) && json_number_value(json_array_get(row, i)) >= 0;
        return good;
}

/* The curve has a point for each bucket: so many of the values lie no higher. The last one would be at infinity and
 * stands where the greatest of so many values is expected. */
static bool read_latency(struct plot *plot, struct saved *saved)
{
        const json_t *buckets = json_object_get(saved->root, "histogram_us");
        double seen = 0, last = -1;

        saved->buckets = json_array_size(buckets);
        if (saved->buckets == 0)
                return no_result(plot, saved, "no histogram_us, or no values in it");
        saved->latency = calloc(saved->buckets, sizeof *saved->latency);
        if (!saved->latency)
                return wrong(plot, "out of memory");
        for (size_t i = 0; i < saved->buckets; i++) {
                const json_t *bucket = json_array_get(buckets, i);
                if (!is_row(bucket, 2) || json_number_value(json_array_get(bucket, 0)) <= last ||
                    json_number_value(json_array_get(bucket, 1)) < 1)
                        return no_result(plot, saved, "histogram_us is no list of [microseconds, count], in order");
                last = json_number_value(json_array_get(bucket, 0));
                saved->count += json_number_value(json_array_get(bucket, 1));
        }
        for (size_t i = 0; i < saved->buckets; i++) {
                const json_t *bucket = json_array_get(buckets, i);
                seen += json_number_value(json_array_get(bucket, 1));
                const double above = seen < saved->count ? saved->count - seen : 1;
                saved->latency[i] =
                    (struct point){log10(saved->count / above), json_number_value(json_array_get(bucket, 0)) / 1e3};
        }
        return true;
}

static int column_of(const json_t *columns, const char *name)
{
        size_t i;
        json_t *column;

        json_array_foreach(columns, i, column)
        {
                if (json_is_string(column) && strcmp(json_string_value(column), name) == 0)
                        return (int)i;
        }
        return -1;
}

static bool read_throughput(struct plot *plot, struct saved *saved)
{
        const json_t *series = json_object_get(saved->root, "series"), *columns = json_object_get(series, "columns");
        const json_t *rows = json_object_get(series, "rows");
        const int second = column_of(columns, "second"), rate = column_of(columns, "tx_per_s");

        saved->rows = json_array_size(rows);
        if (second < 0 || rate < 0 || saved->rows == 0)
                return no_result(plot, saved, "no series with the columns second and tx_per_s");
        saved->throughput = calloc(saved->rows, sizeof *saved->throughput);
        if (!saved->throughput)
                return wrong(plot, "out of memory");
        for (size_t i = 0; i < saved->rows; i++) {
                const json_t *row = json_array_get(rows, i);
                if (!is_row(row, json_array_size(columns)))
                        return no_result(plot, saved, "a row of the series is not as its columns say");
                const double end = json_number_value(json_array_get(row, (size_t)second));
                saved->throughput[i] =
                    (struct point){((double)i + end) / 2, json_number_value(json_array_get(row, (size_t)rate))};
                if (i > 0 && end < (double)i + 0.5) { /* the last, unfinished second, too short to say anything */
                        saved->rows = i;
                        break;
                }
        }
        return true;
}

static double figure(const struct saved *saved, const char *name)
{
        return json_number_value(json_object_get(saved->root, name)); /* 0 if it is missing, or null */
}

static bool read_saved(struct plot *plot, struct saved *saved, const char *path)
{
        json_error_t error;

        saved->path = path;
        saved->root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
        if (!saved->root)
                return wrong(plot, "%.300s: %s%s", path, error.text, error.line > 0 ? ": not JSON" : "");
        if (!read_latency(plot, saved) || !read_throughput(plot, saved))
                return false;
        const json_t *settings = json_object_get(saved->root, "settings");
        const double rate = json_number_value(json_object_get(settings, "rate"));
        const double in_flight = json_number_value(json_object_get(settings, "in_flight"));
        snprintf(saved->figures, sizeof saved->figures,
                 "%.0f tx/s%s%.0f%s, p50 %.4g ms, p99 %.4g ms, p99.9 %.4g ms, max %.4g ms", figure(saved, "tx_per_s"),
                 rate > 0 ? " of " : " with ", rate > 0 ? rate : in_flight, rate > 0 ? "/s asked for" : " in flight",
                 figure(saved, "p50_ms"), figure(saved, "p99_ms"), figure(saved, "p999_ms"), figure(saved, "max_ms"));
        return true;
}

/* --- drawing ------------------------------------------------------------------------------------------------------ */

/* Colours that stand apart on both grounds, also for those who see few of them; the dashes tell the lines apart without
 * any. */
static const struct {
        const char *light, *dark, *dashes;
} lines[FILES_MAX] = {
    {"#0550ae", "#6cb6ff", "none"},    {"#bc4c00", "#ffa657", "7 3"}, {"#116329", "#6bc46d", "2 3"},
    {"#8250df", "#dcbdfb", "9 3 2 3"}, {"#a40e26", "#ff938a", "5 2"}, {"#0e7490", "#67d6e6", "3 2"},
    {"#6f5500", "#e3c34b", "12 4"},    {"#57606a", "#c4cdd6", "1 2"},
};

static void draw_styles(FILE *out, size_t count)
{
        fputs("<style>\n"
              "text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}\n"
              ".ground{fill:#fff}.title{font-size:17px;font-weight:600}.name{font-weight:600}.faint{fill:#59636e}\n"
              ".grid{stroke:#d1d9e0}.axis{stroke:#59636e}\n"
              ".line{fill:none;stroke-width:2;stroke-linejoin:round}\n",
              out);
        for (size_t i = 0; i < count; i++)
                fprintf(out, ".s%zu{stroke:%s;stroke-dasharray:%s}.e%zu{fill:%s}\n", i, lines[i].light, lines[i].dashes,
                        i, lines[i].light);
        fputs("@media (prefers-color-scheme:dark){\n"
              "text{fill:#f0f6fc}.ground{fill:#0d1117}.faint{fill:#9198a1}.grid{stroke:#3d444d}.axis{stroke:#9198a1}\n",
              out);
        for (size_t i = 0; i < count; i++)
                fprintf(out, ".s%zu{stroke:%s}.e%zu{fill:%s}\n", i, lines[i].dark, i, lines[i].dark);
        fputs("}\n</style>\n", out);
}

/* A file name, which may be any bytes: at most 40 characters, the last ones. */
static void draw_escaped(FILE *out, const char *text)
{
        const size_t size = strlen(text);
        size_t from = size;

        for (int characters = 0; from > 0 && characters < 40; characters++)
                do
                        from--;
                while (from > 0 && ((unsigned char)text[from] & 0xc0) == 0x80);
        json_t *valid = json_string(text + from); /* jansson knows what is UTF-8 */
        if (from > 0)
                fputs("…", out);
        for (const char *next = text + from; *next; next++)
                if (*next == '&' || *next == '<' || *next == '>' || *next == '"')
                        fprintf(out, "&#%d;", *next);
                else
                        fputc((unsigned char)*next < ' ' || *next == 0x7f || (!valid && *next < 0) ? '?' : *next, out);
        json_decref(valid);
}

static double x_of(const struct panel *panel, double x)
{
        return LEFT + (x < panel->x_max ? x / panel->x_max : 1) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct panel *panel, double y)
{
        return panel->top + (1 - (y < panel->y_max ? y / panel->y_max : 1)) * panel->height;
}

/* 1, 2 or 5 times a power of ten, so that there are at most `count` steps. */
static double nice_step(double range, int count)
{
        const double raw = range > 0 ? range / count : 1, power = pow(10, floor(log10(raw)));

        return raw <= power ? power : raw <= 2 * power ? 2 * power : raw <= 5 * power ? 5 * power : 10 * power;
}

static void draw_x_tick(FILE *out, const struct panel *panel, double x, const char *label)
{
        const double at = x_of(panel, x), bottom = panel->top + panel->height;

        fprintf(out,
                "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
                at, panel->top, at, bottom, at, bottom + 18, label);
}

/* Title, horizontal lines and the frame's lower edge. Rounds y_max up to a line. */
static void draw_frame(FILE *out, struct panel *panel, const char *title, const char *x_title)
{
        const double step = nice_step(panel->y_max, 6);

        panel->y_max = fmax(ceil(panel->y_max / step), 1) * step;
        fprintf(out, "<text class=\"name\" x=\"%d\" y=\"%.1f\">%s</text>\n", LEFT, panel->top - 14, title);
        for (int i = 0; i * step <= panel->y_max * 1.0001; i++) {
                const double at = y_of(panel, i * step);
                fprintf(out,
                        "<line class=\"%s\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"
                        "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.10g</text>\n",
                        i ? "grid" : "axis", LEFT, at, WIDTH - RIGHT, at, LEFT - 8, at + 4, i * step);
        }
        fprintf(out, "<text class=\"faint\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", WIDTH - RIGHT,
                panel->top + panel->height + 36, x_title);
}

/* One point a pixel is enough: of those that share one the last is drawn. */
static void draw_line(FILE *out, const struct panel *panel, const struct point *points, size_t count, size_t number)
{
        const struct point *end = &points[count - 1];

        fprintf(out, "<polyline class=\"line s%zu\" points=\"", number);
        for (size_t i = 0; i < count; i++)
                if (i == 0 || i + 1 == count || floor(x_of(panel, points[i].x)) < floor(x_of(panel, points[i + 1].x)))
                        fprintf(out, "%.1f,%.1f ", x_of(panel, points[i].x), y_of(panel, points[i].y));
        fprintf(out, "\"/><circle class=\"e%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>\n", number, x_of(panel, end->x),
                y_of(panel, end->y));
}

static void draw_latency(FILE *out, const struct plot *plot, double top)
{
        static const char *const nines[] = {"0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"};
        struct panel panel = {.top = top, .height = UPPER, .x_max = 2};

        for (size_t i = 0; i < plot->count; i++) {
                const struct point *end = &plot->saved[i].latency[plot->saved[i].buckets - 1];
                panel.x_max = fmax(panel.x_max, fmin(end->x, 6.5));
                panel.y_max = fmax(panel.y_max, end->y);
        }
        draw_frame(out, &panel, "Begin to outcome, milliseconds", "share of the transactions that took no longer");
        for (int i = 0; i <= 6 && i <= panel.x_max; i++)
                draw_x_tick(out, &panel, i, nines[i]);
        draw_x_tick(out, &panel, log10(2), "50 %");
        for (size_t i = 0; i < plot->count; i++)
                draw_line(out, &panel, plot->saved[i].latency, plot->saved[i].buckets, i);
}

static void draw_throughput(FILE *out, const struct plot *plot, double top)
{
        struct panel panel = {.top = top, .height = LOWER, .x_max = 1};

        for (size_t i = 0; i < plot->count; i++)
                for (size_t row = 0; row < plot->saved[i].rows; row++) {
                        panel.x_max = fmax(panel.x_max, plot->saved[i].throughput[row].x);
                        panel.y_max = fmax(panel.y_max, plot->saved[i].throughput[row].y);
                }
        const double step = nice_step(panel.x_max, 12);
        draw_frame(out, &panel, "Outcomes a second", "seconds");
        for (int i = 0; i * step <= panel.x_max * 1.0001; i++) {
                char label[32];
                snprintf(label, sizeof label, "%.10g", i * step);
                draw_x_tick(out, &panel, i * step, label);
        }
        for (size_t i = 0; i < plot->count; i++)
                draw_line(out, &panel, plot->saved[i].throughput, plot->saved[i].rows, i);
}

static void draw(FILE *out, const struct plot *plot)
{
        const double top = LEGEND + (double)plot->count * LINE + 30, height = top + UPPER + GAP + LOWER + 50;

        fprintf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\" "
                "role=\"img\">\n"
                "<title>assent-load: latency by percentile, and throughput over time</title>\n",
                WIDTH, height, WIDTH, height);
        draw_styles(out, plot->count);
        fprintf(
            out,
            "<rect class=\"ground\" width=\"%d\" height=\"%.0f\"/>\n"
            "<text class=\"title\" x=\"%d\" y=\"32\">Transactions: how long they took, and how many a second</text>\n",
            WIDTH, height, LEFT);
        for (size_t i = 0; i < plot->count; i++) {
                const double y = LEGEND + (double)i * LINE;
                fprintf(out,
                        "<line class=\"line s%zu\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"
                        "<text x=\"%d\" y=\"%.1f\"><tspan class=\"name\">",
                        i, LEFT, y - 4, LEFT + 36, y - 4, LEFT + 46, y);
                draw_escaped(out, plot->saved[i].path);
                fprintf(out, "</tspan>  %s</text>\n", plot->saved[i].figures);
        }
        draw_latency(out, plot, top);
        draw_throughput(out, plot, top + UPPER + GAP);
        fputs("</svg>\n", out);
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static const char help[] =
    "Usage: assent-load plot FILE… -o FILE.svg\n"
    "\n"
    "Draws latency percentiles and throughput over time of what assent-load --save FILE wrote, up to eight results in "
    "one\n"
    "picture. The picture needs nothing but itself, and follows the light or dark mode of whoever looks at it.\n"
    "\n"
    "Example:\n"
    "  assent-load --rate 500 --duration 30s --save before.json      # change something, then again: after.json\n"
    "  assent-load plot before.json after.json -o compared.svg\n"
    "\n"
    "Options:\n"
    "  -o, --svg FILE    where the picture goes; - is standard output (no default)\n"
    "  -h, --help        print this and exit\n"
    "\n"
    "Exit status: 0 drawn, 1 the picture could not be written, 2 usage, or a file that is no saved result.\n";

static int refuse(const char *text)
{
        fprintf(stderr, "assent-load plot: %s\nassent-load plot --help shows an example\n", text);
        return EXIT_USAGE;
}

static int write_svg(const struct plot *plot, const char *path)
{
        FILE *out = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");

        if (out)
                draw(out, plot);
        if (out && !ferror(out) && (out == stdout ? fflush(out) : fclose(out)) == 0)
                return EXIT_DRAWN;
        fprintf(stderr, "assent-load plot: %s: %s\n", path, strerror(errno));
        return EXIT_WRONG;
}

int plot_main(int argc, char **argv)
{
        static const struct option options[] = {
            {"svg", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
        struct plot plot = {0};
        const char *path = NULL;
        int option, status = EXIT_DRAWN;

        opterr = 0;
        while ((option = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
                if (option == 'h')
                        return fputs(help, stdout) < 0 || fflush(stdout) != 0;
                if (option != 'o')
                        return refuse(option == ':' ? "-o needs a file"
                                                    : "unknown option; there are -o FILE and --help");
                path = optarg;
        }
        if (!path)
                return refuse("where to? Give -o FILE.svg");
        if (optind == argc)
                return refuse("no result given; assent-load --save FILE writes one");
        if (argc - optind > FILES_MAX)
                return refuse("more than eight results; draw fewer in one picture");
        for (; optind < argc && status == EXIT_DRAWN; optind++)
                if (!read_saved(&plot, &plot.saved[plot.count++], argv[optind]))
                        status = refuse(plot.errmsg);
        if (status == EXIT_DRAWN)
                status = write_svg(&plot, path);
        for (size_t i = 0; i < plot.count; i++) {
                json_decref(plot.saved[i].root);
                free(plot.saved[i].latency);
                free(plot.saved[i].throughput);
        }
        return status;
}
