#!/bin/bash
# `make bench`: begin-to-outcome latency, throughput and CPU of 2PC with two participants, on a real Kafka and two SQLite
# databases with full sync; beside it, in turn, the raw relay, so that every figure is also a ratio. Prints a table in
# markdown. Exit status 0 only if every transaction was committed and the audit finds nothing wrong.
#
#   BENCH_SECONDS    length of one measurement (default 2)
#   BENCH_ROUNDS     relay and assent take turns so often; medians are printed (default 3)
#   BENCH_IN_FLIGHT  transactions kept in flight (default "1 256 1000"; 1 is the unloaded latency)
#   BENCH_WARM       transactions relayed first: a cold JVM is slow for its first 100,000 (default 100000)
#
# The defaults take about a minute and are a smoke test. Identical runs differ by a third between minutes, so compare
# ratios, and only with more and longer rounds.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${ASSENT_BUILD:-$root/build/release}
bin=$build/bin
relay=$build/tests/relay
seconds=${BENCH_SECONDS:-2}
rounds=${BENCH_ROUNDS:-3}
levels=${BENCH_IN_FLIGHT:-1 256 1000}
warm=${BENCH_WARM:-100000}
broker=kafka
prefix=bench
mkdir -p "$root/build"
dir=$(mktemp -d "$root/build/bench.XXXXXX") # on the disk that is measured, which /tmp may not be
# shellcheck source=producers/demo/pipeline.sh
source "$root/producers/demo/pipeline.sh"

finish() {
        local status=$?
        trap - EXIT
        pipeline_stop || true
        rm -rf "$dir"
        exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# ---- small tools -----------------------------------------------------------------------------------------------------
field() { # name file: a number of a flat JSON object
        sed -n "s/.*\"$1\":\([-0-9.e+]*\)[,}].*/\1/p" "$2"
}

calculate() { # an expression of awk
        awk "BEGIN { print $1 }" </dev/null
}

median() { # column, of the lines on stdin
        awk -v column="$1" '{ print $column }' | sort -g |
                awk '{ value[NR] = $1 } END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'
}

cpu_us() { # pid: user and system time
        local ticks
        ticks=$(sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }')
        echo $((ticks * (1000000 / $(getconf CLK_TCK))))
}

roles=(coordinator payment inventory)
cpu_all() { # of the roles and the broker, in one line
        local role
        for role in "${roles[@]}"; do
                cpu_us "$(cat "$dir/$role.pid")"
        done | tr '\n' ' '
        cpu_us "$(cat "$dir/kafka/node-1.pid")"
}

# ---- one measurement -------------------------------------------------------------------------------------------------
# Each leaves in $dir/NAME.line: tx/s, p50, p99, then CPU of coordinator, payment, inventory, client, all four, broker.
run_relay() { # in_flight count
        local before after played
        before=$(cpu_us "$(cat "$dir/kafka/node-1.pid")")
        "$relay" --config "$dir/relay.properties" --in-flight "$1" --count "$2" >"$dir/relay.json" 2>>"$dir/relay.log" ||
                die "the relay failed: $(tail -n 3 "$dir/relay.log")"
        after=$(cpu_us "$(cat "$dir/kafka/node-1.pid")")
        played=$(field played "$dir/relay.json")
        echo "$(field tx_per_s "$dir/relay.json") $(field p50_ms "$dir/relay.json") $(field p99_ms "$dir/relay.json")" \
                "- - - - $(field cpu_us_per_tx "$dir/relay.json") $(calculate "($after - $before) / $played")" \
                >"$dir/relay.line"
}

begun=0
run_assent() { # in_flight count
        local before after TIMEFORMAT='%U %S'
        before=$(cpu_all)
        { time "$bin/assent-load" --config "$dir/pipeline.properties" --in-flight "$1" --count "$2" --json \
                >"$dir/assent.json" 2>>"$dir/assent.log"; } 2>"$dir/client.time" ||
                die "not every transaction has a known outcome: $(cat "$dir/assent.json"; tail -n 3 "$dir/assent.log")"
        sleep 0.2 # the last acknowledgements
        after=$(cpu_all)
        begun=$((begun + $2))
        [ "$(field committed "$dir/assent.json")" = "$2" ] || die "not all committed: $(cat "$dir/assent.json")"
        echo "$(field tx_per_s "$dir/assent.json") $(field p50_ms "$dir/assent.json") $(field p99_ms "$dir/assent.json")" \
                "$(echo "$before $after $(cat "$dir/client.time") $2" | awk '{
                        client = ($9 + $10) * 1e6
                        all = $5 - $1 + $6 - $2 + $7 - $3 + client
                        print ($5 - $1) / $11, ($6 - $2) / $11, ($7 - $3) / $11, client / $11, all / $11, ($8 - $4) / $11
                }')" >"$dir/assent.line"
}

# How many fit into $seconds is found by a short run, which is a warm-up as well.
declare -A count_of
pilot() { # in_flight
        local count=$(($1 * 20 < 200 ? 200 : $1 * 20)) name
        for name in relay assent; do
                "run_$name" "$1" "$count"
                count_of[$name.$1]=$(calculate "int($seconds * $(field tx_per_s "$dir/$name.json")) + 1")
        done
}

pair() { # in_flight round: who goes first alternates
        local name order='relay assent'
        [ $(($2 % 2)) -eq 0 ] || order='assent relay'
        for name in $order; do
                "run_$name" "$1" "${count_of[$name.$1]}"
                echo "$1 $name $(cat "$dir/$name.line")" >>"$dir/results"
        done
        echo "$1 ratio $(cat "$dir/assent.line" "$dir/relay.line" | awk '
                { rate[NR] = $1; latency[NR] = $2 } END { print rate[1] / rate[2], latency[1] / latency[2] }')" >>"$dir/results"
}

# ---- the whole -------------------------------------------------------------------------------------------------------
row() { # in_flight name: one line of the table
        local column cells=() ratios
        for ((column = 3; column <= 11; column++)); do
                cells+=("$(grep "^$1 $2 " "$dir/results" | median $column)")
        done
        if [ "$2" = assent ]; then
                ratios=$(printf '%.2f | %.1f' "$(grep "^$1 ratio " "$dir/results" | median 3)" \
                        "$(grep "^$1 ratio " "$dir/results" | median 4)")
                printf '| %s | assent | %.0f | %.1f | %.1f | %s | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n' \
                        "$1" "${cells[@]:0:3}" "$ratios" "${cells[@]:3}"
        else
                printf '| %s | relay | %.0f | %.1f | %.1f | | | | | | | %.0f | %.0f |\n' "$1" "${cells[@]:0:3}" "${cells[@]:7}"
        fi
}

table() {
        local level
        echo
        echo "2PC, payment and inventory on SQLite (WAL, synchronous=FULL), Kafka with one node and acks=all, 4 lanes."
        echo "$(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(df --output=fstype "$dir" | tail -n 1)," \
                "Linux $(uname -r), $(date -u +%Y-%m-%d); medians of $rounds rounds of $seconds s."
        echo
        echo '| in flight | what | tx/s | p50 ms | p99 ms | tx/s of relay | p50 of relay | coordinator µs | payment µs | inventory µs | client µs | all roles µs | broker µs |'
        echo '|---|---|---|---|---|---|---|---|---|---|---|---|---|'
        for level in $levels; do
                row "$level" relay
                row "$level" assent
        done
        echo
        echo 'Latency is begin to outcome, of a closed loop; µs are of CPU, for each transaction; the relay plays all roles in'
        echo 'one process.'
}

# The audit must also have seen as many transactions as were begun.
audit() {
        local seen
        "$bin/assent-audit" --payment "$dir/payment.db" --inventory "$dir/inventory.db" --wait 30s --json \
                >"$dir/audit.json" || {
                cat "$dir/audit.json"
                die "the audit found something wrong"
        }
        seen=$(field transactions "$dir/audit.json")
        [ "$seen" = "$begun" ] || die "the audit saw $seen transactions, $begun were begun"
        echo "Audit of both databases: nothing wrong with $seen transactions."
}

echo "broker, topics, services"
broker_start
properties_write
sed 's/^assent\.prefix=.*/assent.prefix=relay/' "$dir/pipeline.properties" >"$dir/relay.properties"
topics_apply
"$bin/assentctl" topics apply --config "$dir/relay.properties" --service payment --service inventory >"$dir/topics.log" 2>&1 ||
        die "assentctl topics apply: $(tail -n 3 "$dir/topics.log")"
for service in payment inventory; do start_service "$service"; done
start coordinator

echo "warming up"
run_relay 4000 "$warm"
for level in $levels; do pilot "$level"; done
for ((round = 1; round <= rounds; round++)); do
        for level in $levels; do
                pair "$level" "$round"
        done
        echo "round $round of $rounds"
done
table
audit
