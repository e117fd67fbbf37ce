#!/bin/bash
# Searches the model (commit.pml) with spin: the rules must hold in every set-up, and each planted mistake must be caught by
# the property named beside it, that property alone being switched on. Prints TAP, one line a search.
#
#   tests/model/check.sh quick       small set-ups and all planted mistakes
#   tests/model/check.sh [all]       also the large ones (some minutes, up to 7 GB)
#   tests/model/check.sh long        these and the largest, whose states are kept as hashes (an hour, up to 9 GB)
#   SEARCH='3pc*' tests/model/check.sh  only the searches whose name matches
set -euo pipefail
readonly model=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/commit.pml
readonly depth_max=10000
readonly set_wanted=${1:-all}
limit_s=600 memory_mb=7000
[[ $set_wanted == quick || $set_wanted == all || $set_wanted == long ]] || {
        echo "usage: check.sh [quick|all|long]" >&2
        exit 2
}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/assent-model.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# budgets R K P B C Q: restarts of coordinators, checkpoints, participants' crashes, repeated begins, cancels, early inquiries
budgets() {
        echo "-DRESTARTS=$1 -DCHECKPOINTS=$2 -DPARTICIPANT_CRASHES=$3 -DREPEATED_BEGINS=$4 -DCANCELS=$5 -DEARLY_INQUIRIES=$6"
}

declare -A bit=([I1_agreement]=1 [I2_validity]=2 [I9_no_unilateral_outcome]=4 [I16_forgetting]=8 [P8_no_contradiction]=16
        [R13_digest]=32 [termination]=64)
number=0 failed=0

report() {
        number=$((number + 1))
        [ "$1" = ok ] || failed=$((failed + 1))
        printf '%s %d - %s\n' "$1" "$number" "$2"
}

# search NAME EXPECTED FLAG…: EXPECTED is pass, compact (pass, and a state is known by some 60 bits of hash), bitstate (pass, and
# by three bits in 2^35), acyclic (no run is endless), or the property that must be violated.
search() {
        local name=$1 expected=$2 states depth took outcome factor status=0 started
        local -a build=(-DSAFETY) how=(-w22)
        shift 2
        # shellcheck disable=SC2053
        [[ $name == ${SEARCH:-*} ]] || return 0
        case $expected in
        acyclic) build=(-DNP) && how+=(-l) ;;
        compact) build+=(-DHC4) && how=(-w27) ;;
        bitstate) build+=(-DBITSTATE) && how=(-w35) ;;
        esac
        [ -z "${bit[$expected]:-}" ] || set -- "$@" "-DCHECK=${bit[$expected]}"
        cd "$scratch"
        rm -f -- *
        if ! spin -a "$@" "$model" >spin.log 2>&1 || ! gcc -O1 -w "${build[@]}" -DNOCLAIM -DMEMLIM=$memory_mb -DVECTORSZ=512 -o pan pan.c; then
                sed 's/^/# /' spin.log
                report 'not ok' "$name: it does not compile"
                return
        fi
        started=$(date +%s%N)
        timeout "$limit_s" ./pan -m$depth_max "${how[@]}" >pan.log 2>&1 || status=$?
        took=$(($(date +%s%N) - started))
        states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log)
        depth=$(sed -n 's/.*depth reached \([0-9]*\), errors.*/\1/p' pan.log)
        if [ "$status" -ne 0 ] || grep -qE 'Search not completed|max search depth too small|out of memory' pan.log && ! grep -q '^pan:1: ' pan.log; then
                outcome="not finished (status $status)"
        elif grep -q 'errors: 0' pan.log; then
                outcome=pass
        else
                outcome=$(sed -n 's/^pan:1: //p' pan.log | head -n 1)
                for property in "${!bit[@]}"; do
                        [[ $outcome != *"assertion violated"*"$property"* ]] || outcome=$property
                done
        fi
        [[ $outcome != pass || $expected != @(acyclic|compact|bitstate) ]] || outcome=$expected
        printf -v line '%-36s %10s states, depth %3s, %3d.%d s: %s' "$name" "$states" "$depth" $((took / 1000000000)) \
                $((took / 100000000 % 10)) "$outcome"
        factor=$(sed -n 's/^hash factor: \([0-9]*\).*/\1/p' pan.log)
        [ -z "$factor" ] || line+=", $factor bits a state"
        if [ "$outcome" = "$expected" ] && [ "${factor:-100}" -ge 100 ]; then
                report ok "$line"
        else
                report 'not ok' "$line; wanted $expected"
        fi
}

holds() { search "$1" pass "${@:2}"; }
caught() { search "planted: $1" "${@:2}"; }

small=$(budgets 0 0 0 0 0 0)
# A begin repeated late, and time enough left for its copy to run out.
late="$(budgets 1 1 0 1 0 0) -DTIMEOUT=1 -DTIME_MAX=4 -DCOORDINATORS=1"
readonly three=-DN=3
# shellcheck disable=SC2046,SC2086 # flags are words
quick_set() {
        holds '2pc' $small
        holds '3pc' $small -DTHREE_PHASE
        holds '3pc, cut-off commits' $small -DTHREE_PHASE -DCUT_OFF
        holds '2pc, coordinators die' $small -DMORTAL_COORDINATORS
        holds '2pc, a coordinator restarts' $(budgets 1 0 0 0 0 0)
        holds '2pc, restart and checkpoint' $(budgets 1 1 0 0 0 0)
        holds '2pc, the same, begin repeated' $(budgets 1 1 0 1 0 0) -DCOORDINATORS=1
        holds '2pc, participants crash, ask early' $(budgets 0 0 1 0 0 1)
        holds '2pc, three participants' $small $three
        holds '3pc, three participants' $small $three -DTHREE_PHASE
        search '2pc, every run ends' acyclic $small -DMORTAL_COORDINATORS
        search '3pc, every run ends' acyclic $small -DTHREE_PHASE
        caught 'textbook 3pc timeouts' I1_agreement $small -DTHREE_PHASE -DPLANT_TEXTBOOK
        caught 'textbook 3pc timeouts (I9)' I9_no_unilateral_outcome $small -DTHREE_PHASE -DPLANT_TEXTBOOK
        caught 'the same, three participants' I1_agreement $small $three -DTHREE_PHASE -DPLANT_TEXTBOOK
        caught 'prepared aborts by itself' I1_agreement $small -DPLANT_UNILATERAL_ABORT
        caught 'last vote wins' I2_validity $small -DSECOND_VOTES=1 -DPLANT_LAST_VOTE
        caught 'unknown means abort' I16_forgetting $(budgets 0 0 0 0 0 1) -DPLANT_PRESUME_ABORT
        caught 'timeout by own clock' I1_agreement $small -DPLANT_LOCAL_CLOCK
        caught 'pre-commit times out to abort' P8_no_contradiction $small -DTHREE_PHASE -DPLANT_PRE_COMMIT_ABORTS
        caught 'the same, with cut-off' I1_agreement $small -DTHREE_PHASE -DCUT_OFF -DPLANT_PRE_COMMIT_ABORTS
        caught 'abort to voters only' termination $small -DPLANT_ABORT_VOTERS_ONLY
        caught 'P10 by state, not emission' termination $small -DMORTAL_COORDINATORS -DPLANT_STATE_NOT_EMISSION
        caught 'checkpoint before delivery' I16_forgetting $(budgets 1 1 0 0 0 0) -DPLANT_EARLY_CHECKPOINT
        caught 'answer before its row' I1_agreement $(budgets 0 0 1 0 0 0) -DPLANT_ANSWER_FIRST
}

# shellcheck disable=SC2046,SC2086
large_set() {
        holds '2pc, second votes' $small -DSECOND_VOTES=1
        holds '2pc, read-only votes' $small -DREAD_ONLY_VOTES
        holds '3pc, read-only votes' $small -DTHREE_PHASE -DREAD_ONLY_VOTES
        holds '2pc, longer time' $small -DTIMEOUT=1 -DWINDOW=3
        holds '3pc, a coordinator restarts' $(budgets 1 0 0 0 0 0) -DTHREE_PHASE
        holds '3pc, restart and checkpoint' $(budgets 1 1 0 0 0 0) -DTHREE_PHASE
        holds '3pc, coordinators die' $small -DTHREE_PHASE -DMORTAL_COORDINATORS
        holds '2pc, anyone dies for ever' $(budgets 0 0 1 0 0 0) -DMORTAL_COORDINATORS -DMORTAL_PARTICIPANTS
        holds '3pc, cancel, begin repeated' $(budgets 0 0 0 1 1 0) -DTHREE_PHASE -DCUT_OFF -DCOORDINATORS=1
        holds '2pc, three, a coordinator restarts' $(budgets 1 0 0 0 0 0) $three
        holds '2pc, three, one crashes' $(budgets 0 0 1 0 0 0) $three
        holds '2pc, three, begin repeated' $(budgets 0 0 0 1 0 0) $three
        holds '2pc, three, cancel' $(budgets 0 0 0 0 1 0) $three
        search '2pc, three, every run ends' acyclic $small $three
        holds '2pc, begin repeated, longer time' $late
        caught 'no floor' I2_validity $late -DPLANT_NO_FLOOR
        caught 'no floor (R13)' R13_digest $late -DPLANT_NO_FLOOR
}

# shellcheck disable=SC2046,SC2086
long_set() {
        search '2pc, three, restart and checkpoint' compact $(budgets 1 1 0 0 0 0) $three
        search '2pc, three, restart, begin repeated' compact $(budgets 1 0 0 1 0 0) $three
        search '3pc, three, a coordinator restarts' compact $(budgets 1 0 0 0 0 0) $three -DTHREE_PHASE
        search '3pc, three, one crashes' compact $(budgets 0 0 1 0 0 0) $three -DTHREE_PHASE
        search '2pc, three, anyone restarts' bitstate $(budgets 1 0 1 0 0 0) $three
}

quick_set
[ "$set_wanted" = quick ] || large_set
[ "$set_wanted" != long ] || { limit_s=10800 memory_mb=9000 && long_set; }
echo "1..$number"
[ "$number" -gt 0 ] && [ "$failed" -eq 0 ]
