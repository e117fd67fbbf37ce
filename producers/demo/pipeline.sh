# shellcheck shell=bash
# Starts and stops the pipeline: a broker, the coordinator, the three services and the cache in front of the order service, each
# with its log, database and pid file in $dir. Sourced by demo.sh and up.sh, which set:
#   dir     where everything goes          bin     the programs
#   broker  embedded, kafka or HOST:PORT   prefix  first part of all topic names
#   order_port, cache_port  where they serve HTTP on 127.0.0.1; 0: on any free port

: "${dir:?}" "${bin:?}" "${broker:?}" "${prefix:?}" "${order_port:?}" "${cache_port:?}"
readonly services=(order payment inventory)
readonly daemons=(cache "${services[@]}" coordinator) # in the order in which they stop
kafka_sh=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../tests/broker" && pwd)/kafka.sh
readonly kafka_sh

die() {
        printf '%s: %s\n' "${0##*/}" "$*" >&2
        exit 1
}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds; what is waited for is said once it takes long. The command is
# tried at least once, however long that takes.
wait_for() {
        local begun=$SECONDS limit=$1 what=$2 said=0
        shift 2
        until "$@"; do
                if [ $((SECONDS - begun)) -ge "$limit" ]; then
                        [ "$said" -eq 0 ] || printf ' not within %d s\n' "$limit"
                        return 1
                fi
                if [ "$said" -eq 0 ] && [ $((SECONDS - begun)) -ge 1 ]; then
                        printf '     waiting: %s ' "$what"
                        said=$((SECONDS - begun))
                elif [ "$said" -ne 0 ] && [ $((SECONDS - begun)) -gt "$said" ]; then
                        printf '.'
                        said=$((SECONDS - begun))
                fi
                sleep 0.1
        done
        [ "$said" -eq 0 ] || printf ' done after %d s\n' $((SECONDS - begun))
}

# A pid file outlives its process, and its number may be somebody else's by then: the name must be right too.
alive() { # name
        local pid comm
        pid=$(cat "$dir/$1.pid" 2>/dev/null) || return 1
        comm=$(cat "/proc/$pid/comm" 2>/dev/null) || return 1
        [ "$comm" = "$(printf 'assent-%s' "$1" | cut -c 1-15)" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null
}

signal() { # name SIGNAL
        alive "$1" && kill "-$2" "$(cat "$dir/$1.pid")"
}

# In a session of its own: Ctrl-C is for the script, which then stops everything in order.
launch() { # name arguments…
        local name=$1
        shift
        setsid "$bin/assent-$name" "$@" >>"$dir/$name.log" 2>&1 </dev/null &
        local pid=$!
        echo "$pid" >"$dir/$name.pid"
        disown "$pid"
        # For a moment it is still a copy of this shell, and then setsid.
        while [ -d "/proc/$pid" ] && ! alive "$name"; do
                sleep 0.02
        done
}

ready_count() { # name
        local count
        count=$(grep -c 'event="ready"' "$dir/$1.log" 2>/dev/null) || true
        echo "${count:-0}"
}

ready_or_dead() { # name count
        ! alive "$1" || [ "$(ready_count "$1")" -gt "$2" ]
}

# start NAME [arguments…]: a daemon of the pipeline; returns when it is ready.
start() {
        local name=$1 before
        shift
        before=$(ready_count "$name")
        launch "$name" --config "$dir/pipeline.properties" "$@"
        wait_for 60 "$name gets ready" ready_or_dead "$name" "$before" || die "see $dir/$name.log"
        alive "$name" || {
                tail -n 5 "$dir/$name.log" >&2
                die "$name did not start; see $dir/$name.log"
        }
}

# start_http NAME PORT [arguments…]: url_of says where it is then. The port file of one that was killed would tell an old port.
start_http() {
        local name=$1 port=$2
        shift 2
        rm -f "$dir/$name.port"
        start "$name" --db "$dir/$name.db" --listen "127.0.0.1:$port" --port-file "$dir/$name.port" "$@"
}

url_of() { # name
        printf 'http://127.0.0.1:%s' "$(cat "$dir/$1.port")"
}

start_service() { # name
        if [ "$1" = order ]; then
                start_http order "$order_port" --seed
                order_port=$(cat "$dir/order.port") # started again it is where the cache and clients know it
        else
                start "$1" --db "$dir/$1.db" --seed
        fi
}

start_cache() {
        start_http cache "$cache_port" --source "$(url_of order)"
}

kill_hard() { # name
        signal "$1" KILL || die "$1 is not running; see $dir/$1.log"
        wait_for 5 "$1 ends" not alive "$1"
}

not() {
        ! "$@"
}

stop() { # name
        alive "$1" || return 0
        signal "$1" CONT || true
        signal "$1" TERM || true
        wait_for 15 "$1 stops" not alive "$1" || signal "$1" KILL || true
        rm -f "$dir/$1.pid"
}

broker_start() {
        local servers
        case $broker in
        embedded)
                launch devbroker --port-file "$dir/devbroker.port"
                wait_for 10 'the embedded broker starts' test -s "$dir/devbroker.port" || die "see $dir/devbroker.log"
                servers=$(sed -n 's/^bootstrap\.servers=//p' "$dir/devbroker.port")
                ;;
        kafka)
                "$kafka_sh" install >/dev/null
                servers=$("$kafka_sh" start "$dir/kafka" | sed -n 's/^bootstrap\.servers=//p')
                ;;
        *) servers=$broker ;;
        esac
        [ -n "$servers" ] || die "the broker did not say where it listens"
        printf '%s\n' "$servers" >"$dir/brokers"
        # What the caller's shell says about some other prefix or cluster must not reach our programs.
        local variable
        for variable in "${!ASSENT_@}"; do
                unset "$variable"
        done
}

broker_stop() {
        case $broker in
        embedded) stop devbroker ;;
        kafka) [ ! -d "$dir/kafka" ] || "$kafka_sh" stop "$dir/kafka" >/dev/null || true ;;
        esac
}

# One file for everybody: the settings of a prefix must be the same wherever its lanes are read.
properties_write() {
        cat >"$dir/pipeline.properties" <<TEXT
# One broker, so one replica: good enough to try things out, and accepted as such by assent.dev.
assent.brokers=$(cat "$dir/brokers")
assent.prefix=$prefix
assent.dev=true
assent.replication=1
assent.min_insync_replicas=1
assent.grace_ms=500
TEXT
        if [ "$broker" = embedded ]; then
                # Its consumer groups settle badly, so lanes are assigned.
                printf '%s\n' assent.broker=embedded assent.lanes=0-3 >>"$dir/pipeline.properties"
        elif [ "$broker" = kafka ]; then
                # How soon the group gives a dead coordinator's lanes to the next one. The smallest that an unchanged broker
                # takes is 6000.
                printf '%s\n' session.timeout.ms=2000 heartbeat.interval.ms=500 >>"$dir/pipeline.properties"
        else
                printf '%s\n' session.timeout.ms=6000 heartbeat.interval.ms=1000 >>"$dir/pipeline.properties"
        fi
}

topics_apply() {
        local arguments=(--events order.events) service
        for service in "${services[@]}"; do
                arguments+=(--service "$service")
        done
        "$bin/assentctl" topics apply --config "$dir/pipeline.properties" "${arguments[@]}" >"$dir/topics.log" 2>&1 || {
                tail -n 20 "$dir/topics.log" >&2
                die 'assentctl topics apply failed'
        }
}

pipeline_stop() {
        local name
        for name in "${daemons[@]}"; do
                stop "$name"
        done
        broker_stop
}

programs_check() {
        local program programs=(assent-{coordinator,order,payment,inventory,cache,begin,load,audit} assentctl)
        [ "$broker" != embedded ] || programs+=(assent-devbroker)
        for program in "${programs[@]}"; do
                [ -x "$bin/$program" ] || die "$bin/$program is missing: run make first, or set ASSENT_BUILD"
        done
        for program in sqlite3 curl; do
                command -v "$program" >/dev/null || die "$program is not installed: apt-get install $program"
        done
        command -v setsid >/dev/null || die 'setsid is not installed: apt-get install util-linux'
}
