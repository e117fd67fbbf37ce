#!/bin/bash
# Runs the fuzz targets that `make fuzz` or tests/run.sh built. TAP on standard output, one test a target; what a target
# said is in build/fuzz/TARGET.log, an input that it failed on beside it as TARGET-crash-….
#
#   tests/fuzz/fuzz.sh new SECONDS [TARGET…]     the corpus, then new inputs for so long; finds go to build/fuzz/corpus
#   tests/fuzz/fuzz.sh again [TARGET…]           the corpus, and some seconds' worth of the same new inputs every time
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# What `again` adds to the corpus: a few seconds on a slow core. Counted in inputs, not seconds, so that they are the same.
declare -A runs=([decode]=100000 [coordinator]=6000 [participant]=25000 [properties]=3000 [texts]=200000)
declare -A size_max=([decode]=4098 [coordinator]=1024 [participant]=512 [properties]=10000 [texts]=2000)
# The sanitizer's own queue of freed memory would count as the target's.
export ASAN_OPTIONS=quarantine_size_mb=16
readonly limits='-timeout=1 -malloc_limit_mb=64 -rss_limit_mb=512 -print_final_stats=1'

mode=${1:-again}
shift || true
seconds=0
if [ "$mode" = new ]; then
        seconds=${1:-60}
        shift || true
fi
[ $# -gt 0 ] || set -- decode coordinator participant properties texts

count=0 failed=0
for target; do
        [ -n "${runs[$target]:-}" ] || {
                echo "fuzz: no such target: $target (there are: ${!runs[*]})" >&2
                exit 2
        }
        kept=tests/fuzz/corpus/$target found=build/fuzz/corpus/$target log=build/fuzz/$target.log
        options=($limits "-max_len=${size_max[$target]}" "-artifact_prefix=build/fuzz/$target-")
        if [ "$mode" = new ]; then
                options+=("-max_total_time=$seconds")
        else
                rm -rf "$found"
                options+=(-seed=1 "-runs=${runs[$target]}")
        fi
        mkdir -p "$found"
        status=0
        "build/fuzz/tests/fuzz_$target" "${options[@]}" "$found" "$kept" >"$log" 2>&1 || status=$?
        executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        count=$((count + 1))
        if [ "$status" -eq 0 ] && [ "${executed:-0}" -ge "$(find "$kept" -type f | wc -l)" ]; then
                echo "ok $count - $target: $executed inputs"
        else
                failed=$((failed + 1))
                echo "not ok $count - $target: exit status $status; see $log"
                grep -E 'assertion failed|ERROR:|Test unit written' "$log" | sed 's/^/# /' || true
        fi
done
echo "1..$count"
[ "$failed" -eq 0 ]
