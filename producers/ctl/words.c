#include "words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DURATION_MS_MAX 3600000

size_t word_distance(const char *a, const char *b)
{
        const size_t a_size = strlen(a), b_size = strlen(b);
        if (a_size > WORD_SIZE_MAX || b_size > WORD_SIZE_MAX)
                return SIZE_MAX;
        size_t row[WORD_SIZE_MAX + 1]; /* of the table of Wagner and Fischer */
        for (size_t j = 0; j <= b_size; j++)
                row[j] = j;
        for (size_t i = 1; i <= a_size; i++) {
                size_t diagonal = row[0];
                row[0] = i;
                for (size_t j = 1; j <= b_size; j++) {
                        size_t best = diagonal + (a[i - 1] != b[j - 1]);
                        if (row[j] + 1 < best)
                                best = row[j] + 1;
                        if (row[j - 1] + 1 < best)
                                best = row[j - 1] + 1;
                        diagonal = row[j];
                        row[j] = best;
                }
        }
        return row[b_size];
}

bool word_duration(const char *text, int64_t *out_ms)
{
        static const struct {
                const char *unit;
                int64_t ms;
        } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}};
        const size_t digits = strspn(text, "0123456789");
        char number[WORD_SIZE_MAX];
        if (digits == 0 || digits >= sizeof number)
                return false;
        memcpy(number, text, digits);
        number[digits] = '\0';
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
                if (strcmp(text + digits, units[i].unit) != 0)
                        continue;
                if (!word_number(number, 0, DURATION_MS_MAX / units[i].ms, out_ms))
                        return false;
                *out_ms *= units[i].ms;
                return true;
        }
        return false;
}

bool word_number(const char *text, int64_t min, int64_t max, int64_t *out)
{
        if (*text < '0' || *text > '9') /* strtoll would take blanks and signs */
                return false;
        char *end;
        errno = 0;
        const long long number = strtoll(text, &end, 10);
        if (*end != '\0' || errno != 0 || number < min || number > max)
                return false;
        *out = number;
        return true;
}

bool word_position(const char *text, int64_t *out)
{
        if (strcmp(text, "beginning") == 0)
                *out = -2;
        else if (strcmp(text, "end") == 0)
                *out = -1;
        else
                return word_number(text, 0, INT64_MAX - 1, out);
        return true;
}

bool words_take(int *argc, char **argv, const char *name, const char **values, size_t values_max, size_t *count)
{
        const size_t size = strlen(name);
        int kept = 1;
        *count = 0;
        for (int i = 1; i < *argc; i++) {
                const char *value = NULL;
                if (strcmp(argv[i], name) == 0 && i + 1 < *argc)
                        value = argv[++i];
                else if (strncmp(argv[i], name, size) == 0 && argv[i][size] == '=')
                        value = argv[i] + size + 1;
                else
                        argv[kept++] = argv[i];
                if (value && *count == values_max)
                        return false;
                if (value)
                        values[(*count)++] = value;
        }
        *argc = kept;
        argv[kept] = NULL;
        return true;
}
