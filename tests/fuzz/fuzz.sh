#!/bin/bash
# Runs the fuzz targets that `make fuzz` or tests/run.sh built, as many at a time as there are cores. TAP on standard output,
# one test a target and part; what a target said is in build/fuzz/TARGET.PART.log, an input that it failed on beside it as
# TARGET-crash-…, and in the report in hexadecimal.
#
#   tests/fuzz/fuzz.sh new SECONDS [TARGET…]     the corpus, then new inputs for so long; finds go to build/fuzz/corpus
#   tests/fuzz/fuzz.sh again [TARGET…]           the corpus, and some seconds' worth of the same new inputs every time
#   tests/fuzz/fuzz.sh both SECONDS [TARGET…]    `again`, then `new` from the kept corpus alone
#   SEED=N tests/fuzz/fuzz.sh both …             the new inputs of the run that said this seed, as far as the time reaches
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# What `again` adds to the corpus: some seconds on a slow core. Counted in inputs, not seconds, so that they are the same.
declare -A runs=([coordinator]=1000 [headers]=2500 [participant]=20000 [decode]=80000 [texts]=150000 [properties]=3000 [http]=40000)
# New inputs that a target must at least make in a minute: a twentieth of what was measured (README.md). Fewer are no test of it:
# it was starved of the processor, or stuck.
declare -A least=([coordinator]=325 [headers]=245 [participant]=1930 [decode]=9200 [texts]=9400 [properties]=740 [http]=15000)
declare -A size_max=([coordinator]=1024 [headers]=600 [participant]=512 [decode]=4098 [texts]=2000 [properties]=10000 [http]=1000)
# The sanitizer's own queue of freed memory would count as the target's.
export ASAN_OPTIONS=quarantine_size_mb=16
readonly limits=(-timeout=25 -malloc_limit_mb=64 -rss_limit_mb=512 -print_final_stats=1)
readonly results=build/fuzz/results
seed=${SEED:-$(($(od -An -N4 -tu4 /dev/urandom) | 1))} # 0 would be any
failed=0 number=0

usage() {
        sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >&2
        exit 2
}

# one PART TARGET: writes its lines of TAP, without the numbers, to a file.
one() {
        local part=$1 target=$2 status=0 executed read made wanted=1 limit_s=600 why log=build/fuzz/$2.$1.log
        local kept=tests/fuzz/corpus/$target found=build/fuzz/corpus/$target input
        local -a options=("${limits[@]}" "-max_len=${size_max[$target]}" "-artifact_prefix=build/fuzz/$target-")
        if [ "$part" = again ]; then
                found=$results/$target.corpus
                options+=(-seed=1 "-runs=${runs[$target]}")
        else
                options+=("-seed=$seed" "-max_total_time=$seconds")
                wanted=$((least[$target] * seconds / 60)) limit_s=$((3 * seconds + 120))
        fi
        mkdir -p "$found"
        # The target has no limit of its own for what it does before its first input.
        timeout --foreground -k 10 "$limit_s" "build/fuzz/tests/fuzz_$target" "${options[@]}" "$found" "$kept" >"$log" 2>&1 || status=$?
        executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        read=$(sed -nE 's/^#([0-9]+)\s+INITED .*/\1/p' "$log") # the corpus; all, if not even that came to its end
        made=$((${executed:-0} - ${read:-${executed:-0}}))
        why="exit status $status"
        case $status in
        0) why="only $made new inputs, at least $wanted are wanted: no processor time, or stuck" ;;
        124) why="stopped after $limit_s s" ;;
        esac
        if [ "$status" -eq 0 ] && [ "$made" -ge "$wanted" ]; then
                echo "ok - $target $part: $executed inputs" >"$results/$target.$part"
                return
        fi
        {
                echo "not ok - $target $part: $why; see $log"
                grep -E 'assertion failed|ERROR:|SUMMARY:' "$log" | sed 's/^/# /' || true
                input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
                if [ -n "$input" ]; then
                        echo "# $input, $(stat -c %s "$input") bytes; again: build/fuzz/tests/fuzz_$target $input"
                        od -An -v -tx1 -w56 "$input" | sed 's/ //g; s/^/# /'
                fi
        } >"$results/$target.$part"
}

# all PART
all() {
        local target
        for target in "${targets[@]}"; do
                while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
                        wait -n || true
                done
                one "$1" "$target" &
        done
        wait
        for target in "${targets[@]}"; do
                number=$((number + 1))
                sed -E "1s/^(not ok|ok)/\1 $number/" "$results/$target.$1"
                ! grep -q '^not ok' "$results/$target.$1" || failed=$((failed + 1))
        done
}

part=${1:-} seconds=0
shift || usage
case $part in
new | both)
        seconds=${1:?"fuzz: how many seconds?"}
        shift
        ;;
again) ;;
*) usage ;;
esac
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(basename -a -s .c tests/fuzz/fuzz_*.c | sed 's/^fuzz_//')
for target in "${targets[@]}"; do
        [ -n "${runs[$target]:-}" ] || {
                echo "fuzz: no such target: $target (there are: ${!runs[*]})" >&2
                exit 2
        }
        [ "$part" != both ] || rm -rf "build/fuzz/corpus/$target"
done
rm -rf "$results"
mkdir -p "$results"
[ "$part" = new ] || all again
[ "$part" = again ] || {
        echo "# seed $seed"
        all new
}
echo "1..$number"
[ "$failed" -eq 0 ]
