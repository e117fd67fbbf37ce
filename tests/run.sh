#!/bin/bash
# Runs the tests and adds them up. The last line is `N passed, N failed in N s`; the exit status is 0 only if nothing failed.
#
#   tests/run.sh all                          what `make test` runs
#   tests/run.sh quick                        what `make check` runs: no broker
#   tests/run.sh STAGE…                       contract-embedded contract-kafka e2e-embedded e2e-kafka chaos tidy; and,
#                                             which `all` runs beside these, asan unit contract-sim, sim, planted fuzz model
#   ONLY='coord*' tests/run.sh unit           only the programs of these stages whose name matches
#
# A skipped test, a test that crashed, one that the plan announced and that never reported, a program that says nothing and
# a sanitizer's report beside a passing test all count as failed. Output is kept in build/test-logs/STAGE/.
#
# Programs find in their environment: ASSENT_BUILD (the release build), ASSENT_BUILD_SEAMS (the build with crash points),
# and, where there is a broker, ASSENT_TEST_BROKERS (HOST:PORT) and ASSENT_TEST_BROKER (embedded or kafka); a scratch folder
# of their own, removed afterwards, is in TMPDIR. Contract suites have no ASSENT_TEST_BROKERS on the embedded broker: they
# make one in each test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly root=$PWD logs=$PWD/build/test-logs began=$SECONDS
readonly all_stages='contract-embedded contract-kafka e2e-embedded e2e-kafka chaos tidy'
# Each of these rows, which only compute, runs beside at low priority, on what the others leave of the processors: they wait.
readonly asan_stages='asan unit contract-sim' sim_stages='sim' search_stages='planted fuzz model'
readonly quick_stages='unit tidy'
export ASSENT_BUILD=$root/build/release ASSENT_BUILD_SEAMS=$root/build/asan
unset ASSENT_TEST_BROKERS ASSENT_TEST_BROKER
export LC_ALL=C.UTF-8 TZ=UTC PYTHONDONTWRITEBYTECODE=1
# Undefined behaviour that only prints a line would pass in every program that nobody reads.
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
passed=0 failed=0 failures=()
kafka_state=none kafka_servers='' embedded_servers='' broker_pid='' program_pid='' programs=0
declare -A beside_pids=()
scratch=$(mktemp -d "${TMPDIR:-/tmp}/assent-test.XXXXXX")

cleanup() {
        local status=$?
        trap - EXIT INT TERM HUP
        program_stop
        local pid
        for pid in "${beside_pids[@]}"; do
                kill -TERM -- "-$pid" 2>/dev/null || true
        done
        embedded_stop
        if [ "$kafka_state" = up ]; then
                tests/broker/kafka.sh stop "$scratch/kafka" >/dev/null 2>&1 || true
        fi
        rm -rf "$scratch"
        exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() { printf '%s\n' "$@"; }

# fail NAME WHY: one failure that no program reported.
fail() {
        failed=$((failed + 1))
        failures+=("$1: $2")
        say "  FAIL  $1: $2"
}

finish() {
        local failure
        [ $((passed + failed)) -gt 0 ] || [ -n "${BESIDE:-}" ] ||
                fail run.sh "nothing was run: ONLY='${ONLY:-}' names nothing here"
        if [ ${#failures[@]} -gt 0 ]; then
                say '' 'failed:'
                for failure in "${failures[@]}"; do
                        say "  $failure"
                done
        fi
        say "$passed passed, $failed failed in $((SECONDS - began)) s"
        [ "$failed" -eq 0 ] || exit 1
        exit 0
}

# ---- brokers ---------------------------------------------------------------------------------------------------------

servers_in() { sed -n 's/^bootstrap\.servers=//p' "$1" 2>/dev/null | head -n 1; }

# A fresh embedded broker for one program: it keeps little, and nothing of one test is to be seen by the next.
embedded_start() {
        local file=$1/devbroker.port i
        "$ASSENT_BUILD/bin/assent-devbroker" --port-file "$file" >"$1/devbroker.log" 2>&1 &
        broker_pid=$!
        for ((i = 0; i < 100; i++)); do
                if [ -s "$file" ]; then
                        embedded_servers=$(servers_in "$file")
                        return 0
                fi
                kill -0 "$broker_pid" 2>/dev/null || break
                sleep 0.05
        done
        cat "$1/devbroker.log" >&2
        return 1
}

embedded_stop() {
        [ -n "$broker_pid" ] || return 0
        kill "$broker_pid" 2>/dev/null || true
        wait "$broker_pid" 2>/dev/null || true
        broker_pid=''
}

# The real broker is started once, by the first stage that wants it. A second try after a failure would only wait again.
kafka_start() {
        case $kafka_state in
        up) return 0 ;;
        failed) nothing='no real Kafka to run it on' && return 1 ;;
        esac
        kafka_state=failed nothing='no real Kafka to run it on (see kafka-*.log)'
        mkdir -p "$scratch/kafka" "$logs"
        say '  starting Apache Kafka (the first time its jars are fetched by Maven)'
        if ! timeout -k 10 400 tests/broker/kafka.sh install >"$logs/kafka-install.log" 2>&1 </dev/null; then
                tail -n 20 "$logs/kafka-install.log"
                return 1
        fi
        kafka_state=up # from here on there may be something to stop
        if ! timeout -k 10 120 tests/broker/kafka.sh start "$scratch/kafka" >"$logs/kafka-start.log" 2>&1 </dev/null; then
                tail -n 20 "$logs/kafka-start.log"
                tests/broker/kafka.sh stop "$scratch/kafka" >/dev/null 2>&1 || true
                kafka_state=failed
                return 1
        fi
        kafka_servers=$(servers_in "$logs/kafka-start.log")
        [ -n "$kafka_servers" ] || {
                kafka_state=failed nothing='Kafka does not say where it is (see kafka-start.log)'
                return 1
        }
}

# ---- one program -----------------------------------------------------------------------------------------------------

# Adds up a TAP report: prints "PASSED FAILED" and, on lines of their own, the names of what failed.
tap_sum() {
        awk '
        /^1\.\.[0-9]+/     { plan = substr($1, 4) + 0; planned = 1; next }
        /^not ok/          { bad++; sub(/^not ok( [0-9]+)?( -)? */, ""); names[++n] = $0; next }
        /^ok( |$)/         {
                if (toupper($0) ~ /# *SKIP/) { bad++; sub(/^ok( [0-9]+)?( -)? */, ""); names[++n] = "skipped: " $0 }
                else good++
                next
        }
        /^Bail out!/       { bad++; names[++n] = $0 }
        END {
                lost = planned ? plan - good - bad : 0
                if (lost > 0) { bad += lost; names[++n] = lost " of " plan " planned tests never reported" }
                print good + 0, bad + 0
                for (i = 1; i <= n; i++) print names[i]
        }' "$1"
}

# judge STAGE NAME STATUS TAP LOG STARTED: counts a program that has ended and prints its line, and its tail if it failed.
judge() {
        local label=$1/$2 status=$3 tap=$4 log=$5 took=$((SECONDS - $6)) sum good=0 bad=0 name
        local -a names=()
        if [ -s "$tap" ] && grep -qE '^(not )?ok( |$)|^1\.\.' "$tap"; then
                mapfile -t names < <(tap_sum "$tap")
                read -r good bad <<<"${names[0]}"
                names=("${names[@]:1}")
        elif [ "$status" -eq 0 ] && [[ $1 == e2e-* ]]; then
                good=1 # a script without TAP is one test
        fi
        if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
                bad=$((bad + 1)) && names+=("stopped: it ran into its time limit")
        elif [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
                bad=1 && names+=("exit status $status though no test failed")
        elif [ $((good + bad)) -eq 0 ]; then
                bad=1 && names+=('it reported no test at all')
        fi
        passed=$((passed + good)) failed=$((failed + bad))
        if [ "$bad" -eq 0 ]; then
                printf '  ok    %-44s %4d passed %4d s\n' "$label" "$good" "$took"
                return
        fi
        printf '  FAIL  %-44s %4d passed, %d failed %4d s\n' "$label" "$good" "$bad" "$took"
        for name in "${names[@]}"; do
                failures+=("$label: $name")
        done
        say "  ---- the end of $log"
        tail -n 40 "$log" | sed 's/^/  | /'
        say '  ----'
}

# timeout makes a process group of its own: what a test left running ends with it, after a moment to clean up.
program_stop() {
        [ -n "$program_pid" ] || return 0
        local i
        if kill -TERM -- "-$program_pid" 2>/dev/null; then
                for ((i = 0; i < 50; i++)); do
                        kill -0 -- "-$program_pid" 2>/dev/null || break
                        sleep 0.1
                done
                kill -KILL -- "-$program_pid" 2>/dev/null || true
        fi
        program_pid=''
}

# run STAGE NAME LIMIT_S MODE COMMAND…: MODE is criterion (writes its TAP to a file) or tap (prints it).
run() {
        local stage=$1 name=$2 limit_s=$3 mode=$4 status=0 started=$SECONDS log tap
        shift 4
        # shellcheck disable=SC2053
        [[ $name == ${ONLY:-*} ]] || return 0
        programs=$((programs + 1))
        log=$logs/$stage/$name.log tap=$logs/$stage/$name.tap
        mkdir -p "$logs/$stage" "$scratch/$stage.$name"
        if [ "$mode" = criterion ]; then
                set -- "$@" --tap="$tap"
        fi
        local -a environment=(TMPDIR="$scratch/$stage.$name")
        case $stage in
        e2e-embedded)
                if ! embedded_start "$scratch/$stage.$name"; then
                        fail "$stage/$name" 'the embedded broker does not start'
                        return 0
                fi
                environment+=(ASSENT_TEST_BROKER=embedded ASSENT_TEST_BROKERS="$embedded_servers")
                ;;
        *-kafka) environment+=(ASSENT_TEST_BROKER=kafka ASSENT_TEST_BROKERS="$kafka_servers") ;;
        esac
        env "${environment[@]}" timeout -k 10 "$limit_s" "$@" >"$log" 2>&1 </dev/null &
        program_pid=$!
        wait "$program_pid" || status=$?
        program_stop
        embedded_stop
        rm -rf "${scratch:?}/$stage.$name"
        [ "$mode" = criterion ] || cp "$log" "$tap"
        judge "$stage" "$name" "$status" "$tap" "$log" "$started"
}

# ---- stages ----------------------------------------------------------------------------------------------------------

stage_unit() {
        local source
        for source in tests/unit/*.c; do
                run unit "$(basename "$source" .c)" 120 criterion "build/release/tests/unit/$(basename "$source" .c)"
        done
}

# Criterion passes a test that only leaks, so the sanitizers write files, and any file is a failure.
stage_asan() {
        local source name report reports=$logs/asan/reports
        mkdir -p "$reports"
        for source in tests/unit/*.c; do
                name=$(basename "$source" .c)
                ASAN_OPTIONS=detect_leaks=1:log_path=$reports/$name \
                        UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:log_path=$reports/$name \
                        LSAN_OPTIONS=print_suppressions=0 \
                        run asan "$name" 240 criterion "build/asan/tests/unit/$name"
        done
        # The undefined-behaviour half says it on the program's own output.
        for report in $(grep -ls 'runtime error:' "$logs"/asan/*.log); do
                cp "$report" "$reports/$(basename "$report" .log).undefined"
        done
        for report in "$reports"/*; do
                fail "asan/$(basename "$report")" 'a sanitizer found something'
                head -n 40 "$report" | sed 's/^/  | /'
        done
}

# What the simulator puts in the place of the broker and of the disks must pass what they pass.
stage_contract-sim() {
        local program
        for program in build/sim/tests/contract-sim/*; do
                run contract-sim "$(basename "$program")" 120 criterion "$program"
        done
}

# One test a seed of seeds.txt.
kept_seeds() {
        local seed why told number=0
        while read -r seed why; do
                [[ -n $seed && $seed != \#* ]] || continue
                told=ok
                build/sim/tests/simulator --seed "$seed" || told='not ok'
                echo "$told $((++number)) - $seed $why"
        done <tests/sim/seeds.txt
        echo "1..$number"
}
export -f kept_seeds

# Worlds that failed once, worlds with a name, every crash point; then thousands of worlds, each with faults of its own. They
# come last because they use every processor, also when all else has ended.
stage_sim() {
        run sim kept 300 tap bash -c kept_seeds
        run sim stories 300 tap build/sim/tests/simulator stories
        run sim matrix 600 tap build/sim/tests/simulator matrix
        ASAN_OPTIONS=detect_leaks=1 run sim sanitized 900 tap build/asan/tests/simulator --seeds 100 --tap
        run sim seeds 1800 tap build/sim/tests/simulator --seeds 10000 --require-all --tap
}

# Mistakes planted in the framework: the simulator must find each.
stage_planted() { run planted table 1200 tap tests/sim/planted.py; }

# The suites make an embedded broker of their own, test by test, unless they are told of a real one. Those that know of no
# broker at all (the store's) run once.
wants_broker() { grep -qE '"contract\.h"|ASSENT_TEST_BROKERS' "$1"; }

stage_contract-embedded() {
        local source name
        for source in tests/contract/*.c; do
                name=$(basename "$source" .c)
                run contract-embedded "$name" 180 criterion "build/release/tests/contract/$name"
        done
}

stage_contract-kafka() {
        local source name
        kafka_start || return 0
        for source in tests/contract/*.c; do
                name=$(basename "$source" .c)
                ! wants_broker "$source" || own_broker "$source" ||
                        run contract-kafka "$name" 180 criterion "build/release/tests/contract/$name"
        done
}

# A test that brings an embedded broker of its own, to do to it what a shared one is spared, says so in its first lines; on
# the real one it would prove the same thing again.
own_broker() { head -n 12 "$1" | grep -q 'broker of its own\|broker of the test.s own'; }

e2e_scripts() {
        local script
        for script in tests/e2e/e2e_*.py tests/e2e/e2e_*.sh; do
                [ "$1" = e2e-embedded ] || ! own_broker "$script" || continue
                run "$1" "$(basename "${script%.*}")" 180 tap "$script"
        done
}

stage_e2e-embedded() { e2e_scripts e2e-embedded; }

stage_e2e-kafka() {
        kafka_start || return 0
        e2e_scripts e2e-kafka
}

# Three real brokers of its own, and a minute in which they, what runs on them and the network between fail. First the judge is
# judged.
stage_chaos() {
        run chaos doctored 120 tap tests/chaos/doctored.py
        mkdir -p "$logs"
        if timeout -k 10 400 tests/broker/kafka.sh install >"$logs/kafka-install.log" 2>&1 </dev/null; then
                run chaos minute 480 tap tests/chaos/chaos.py
        else
                tail -n 20 "$logs/kafka-install.log"
                fail chaos 'no real Kafka to run it on (see kafka-install.log)'
        fi
}

# Each target over the kept corpus and some new input, the same every time; then a minute of inputs that nobody has seen.
stage_fuzz() { run fuzz targets 1500 tap tests/fuzz/fuzz.sh both 60; }

# The rules searched exhaustively in small set-ups, and mistakes planted in them; `make model` searches the large ones too.
stage_model() { run model check 900 tap tests/model/check.sh quick; }

stage_tidy() {
        local script
        for script in tests/tidy/tidy_*; do
                run tidy "$(basename "${script%.*}")" 60 tap "$script"
        done
}

# ---- all of it -------------------------------------------------------------------------------------------------------

install_all() {
        tests/lib/install.sh build test || {
                fail install 'packages for the build and the tests are missing'
                finish
        }
        [[ $* != *-kafka* && $* != *chaos* ]] || tests/lib/install.sh kafka || fail install 'Java or Maven for the real Kafka are missing'
        [[ $* != *chaos* ]] || tests/lib/install.sh chaos || fail install 'kcat or ip are missing'
}

simulator() {
        "${MAKE:-make}" --no-print-directory "${jobs[@]}" FLAVOUR="$1" "$2" || {
                fail build "make FLAVOUR=$1 $2"
                finish
        }
}

build_all() {
        local flavour
        local -a jobs=()
        [[ ${MAKEFLAGS:-} == *jobserver* ]] || jobs=("-j$(nproc)")
        for flavour in release asan; do
                if [ "$flavour" = asan ] && [[ $* != *asan* ]] && [[ $* != *e2e* ]]; then
                        continue
                fi
                say "building build/$flavour"
                "${MAKE:-make}" --no-print-directory "${jobs[@]}" FLAVOUR=$flavour all || {
                        fail build "make FLAVOUR=$flavour"
                        finish
                }
        done
        [[ " $* " != *sim* && $* != *planted* ]] || simulator sim simulator
        [[ " $* " != *" sim "* ]] || simulator asan build/asan/tests/simulator
        [[ $* != *fuzz* ]] ||
                "${MAKE:-make}" --no-print-directory "${jobs[@]}" FLAVOUR=fuzz CC=clang fuzzers || {
                fail build 'make FLAVOUR=fuzz CC=clang fuzzers'
                finish
        }
}

run_stages() {
        local stage
        for stage; do
                say "$stage"
                rm -rf "${logs:?}/$stage"
                programs=0 nothing='there is nothing to run'
                "stage_$stage"
                [ "$programs" -gt 0 ] || [ -n "${ONLY:-}" ] || fail "$stage" "$nothing"
        done
}

# Stages beside the others; when they have ended, their report is told and added up, and what failed there stands in the list at
# the end. (A run.sh of its own, in a session of its own, so that it cleans up after itself.)
beside_start() {
        local niceness=$1
        shift
        mkdir -p "$logs"
        say "beside the others: $*"
        BESIDE=yes nice -n "$niceness" setsid "${BASH_SOURCE[0]}" built "$@" >"$logs/beside-$1.log" 2>&1 </dev/null &
        beside_pids[$1]=$!
}

beside_finish() {
        local good=0 bad=0 status=0 named log=$logs/beside-$1.log _
        wait "${beside_pids[$1]}" || status=$?
        unset "beside_pids[$1]"
        sed -E '/^failed:$/,$d; /^[0-9]+ passed, [0-9]+ failed in [0-9]+ s$/d' "$log"
        mapfile -t named < <(sed -n '/^failed:$/,$s/^  //p' "$log")
        failures+=("${named[@]}")
        read -r good _ bad _ < <(tail -n 1 "$log" | grep -E '^[0-9]+ passed, [0-9]+ failed in [0-9]+ s$') ||
                fail "beside-$1" "no report; exit status $status (see $log)"
        passed=$((passed + good)) failed=$((failed + bad))
}

main() {
        local stage stages="$*" beside='' known="$all_stages $asan_stages $sim_stages $search_stages"
        case ${1:-} in
        all) stages=$all_stages beside="$asan_stages $sim_stages $search_stages" ;;
        quick) stages=$quick_stages ;;
        '')
                sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p' >&2
                exit 2
                ;;
        esac
        for stage in ${stages#built }; do
                [[ " $known " == *" $stage "* ]] || {
                        echo "run.sh: no such stage: $stage (there are: $known)" >&2
                        exit 2
                }
        done
        shopt -s nullglob
        if [[ $stages != 'built '* ]]; then
                install_all "$stages $beside"
                build_all "$stages $beside"
        fi
        # shellcheck disable=SC2086
        [ -z "$beside" ] || {
                beside_start 10 $asan_stages
                beside_start 19 $sim_stages
                beside_start 19 $search_stages
        }
        # shellcheck disable=SC2086
        run_stages ${stages#built }
        [ -z "$beside" ] || {
                beside_finish asan
                beside_finish sim
                beside_finish planted
        }
        finish
}

main "$@"
