#!/bin/bash
# Which lines of the framework the unit tests reach, per file, least first. For people; nothing depends on it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=build/coverage

find "$build" -name '*.gcda' -delete
for program in "$build"/tests/unit/*; do
        "$program" --quiet >/dev/null 2>&1 || echo "coverage: $program failed" >&2
done
find "$build/obj/framework" -name '*.gcno' -print0 | xargs -0 gcov -n 2>/dev/null | awk '
        /^File .framework\/.*\.c/    { file = substr($2, 2, length($2) - 2) }
        /^Lines executed:/ && file   {
                split($0, part, /[:% ]+/)
                printf "%6.1f%% of %4d  %s\n", part[3], part[5], file | "sort -n"
                lines += part[5]; reached += part[3] * part[5] / 100; file = ""
        }
        END {
                close("sort -n")
                if (lines) printf "%6.1f%% of %4d  all\n", 100 * reached / lines, lines
        }'
