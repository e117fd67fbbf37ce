#!/bin/bash
# A real Apache Kafka (KRaft) on loopback for tests, without Docker.
set -eu

version=4.1.1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
libs=${ASSENT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/assent}/kafka-$version

usage() {
        cat <<'TEXT'
usage: kafka.sh install                 download the jars (Maven Central) into the cache; does nothing the second time
       kafka.sh create DIR [options]    make the files of a cluster, start nothing; prints bootstrap.servers=...
       kafka.sh start DIR [options]     start (or start again) a cluster whose files are in DIR; prints bootstrap.servers=...
       kafka.sh stop DIR                stop its nodes; what they wrote stays in DIR

options of create and start:
  --port P         brokers listen on P, P+1, ...; controllers on the ports above (default: free ports)
  --nodes N        1 (default) or 3; three nodes replicate everything threefold, min.insync.replicas=2
  --hosts A,B,C    the nodes' addresses, one each (default: all 127.0.0.1)
  --set KEY=VALUE  one more line for server.properties, repeatable (only when DIR is new)
  --node N         (start) this node alone, of a cluster that was created before

In DIR: node-N.properties, node-N.pid, node-N.log, data-N/. A node that was killed comes back with the next start.
ASSENT_CACHE names the cache (default ~/.cache/assent), ASSENT_KAFKA_HEAP the heap option of a node (default -Xmx1g).
TEXT
}

fail() {
        echo "kafka.sh: $*" >&2
        exit 1
}

need() {
        command -v "$1" >/dev/null || fail "$1 is not installed: apt-get install $2"
}

install() {
        [ -f "$libs/complete" ] && return 0
        need java default-jre-headless
        need mvn maven
        mkdir -p "$(dirname "$libs")"
        local beside
        beside=$(mktemp -d "$libs.XXXXXX")
        if ! mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
                -Dkafka.version="$version" -DoutputDirectory="$beside" >&2; then
                rm -rf "$beside"
                fail "Maven could not download Kafka $version (see above)"
        fi
        touch "$beside/complete"
        chmod 755 "$beside"
        # Whoever renames first wins; a second installer at the same moment throws its copy away.
        mv -T "$beside" "$libs" 2>/dev/null || rm -rf "$beside"
        [ -f "$libs/complete" ] || fail "$libs exists but is not complete: remove it and run install again"
}

# Below the range that the kernel hands out by itself, so that nobody gets the port between this look and the start.
port_free() {
        ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

ports_choose() { # count
        local tries=0 port i
        while [ $((tries += 1)) -le 100 ]; do
                port=$((10000 + (RANDOM * 32768 + RANDOM) % 20000))
                for ((i = 0; i < $1; i++)); do
                        port_free $((port + i)) || continue 2
                done
                echo "$port"
                return 0
        done
        fail "no $1 free ports in a row between 10000 and 30000"
}

node_properties() { # dir node nodes port settings...
        local dir=$1 node=$2 nodes=$3 port=$4 voters='' i
        shift 4
        for ((i = 1; i <= nodes; i++)); do
                voters+=${voters:+,}$i@${hosts[i - 1]}:$((port + nodes + i - 1))
        done
        local isr=$((nodes > 1 ? 2 : 1))
        cat <<TEXT
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
listeners=PLAINTEXT://${hosts[node - 1]}:$((port + node - 1)),CONTROLLER://${hosts[node - 1]}:$((port + nodes + node - 1))
advertised.listeners=PLAINTEXT://${hosts[node - 1]}:$((port + node - 1))
controller.listener.names=CONTROLLER
log.dirs=$dir/data-$node
auto.create.topics.enable=false
default.replication.factor=$nodes
min.insync.replicas=$isr
offsets.topic.num.partitions=4
offsets.topic.replication.factor=$nodes
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=$nodes
transaction.state.log.min.isr=$isr
share.coordinator.state.topic.replication.factor=$nodes
share.coordinator.state.topic.min.isr=$isr
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
log.cleaner.dedupe.buffer.size=16777216
TEXT
        # A dead leader is replaced within about two seconds instead of nine.
        [ "$nodes" = 1 ] || cat <<TEXT
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=3000
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
TEXT
        [ $# = 0 ] || printf '%s\n' "$@"
}

format() { # dir node cluster-id
        java -XX:TieredStopAtLevel=1 -cp "$libs/*" "-Dlog4j2.configurationFile=$here/log4j2.properties" \
                kafka.tools.StorageTool format -t "$3" -c "$1/node-$2.properties" >"$1/node-$2.log" 2>&1
}

cluster_create() { # dir nodes port settings...
        local dir=$1 nodes=$2 port=$3 node servers='' id formats=()
        shift 3
        [ "$port" != 0 ] || port=$(ports_choose $((2 * nodes)))
        id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_')
        id=A${id:1:21} # 16 bytes, and no `-` in front: as StorageTool random-uuid, without a JVM
        for ((node = 1; node <= nodes; node++)); do
                node_properties "$dir" "$node" "$nodes" "$port" "$@" >"$dir/node-$node.properties"
                format "$dir" "$node" "$id" &
                formats+=($!)
                servers+=${servers:+,}${hosts[node - 1]}:$((port + node - 1))
        done
        for ((node = 1; node <= nodes; node++)); do
                wait "${formats[node - 1]}" || fail "cannot format $dir/data-$node: $(tail -n 3 "$dir/node-$node.log")"
        done
        echo "bootstrap.servers=$servers" >"$dir/servers.new"
        mv "$dir/servers.new" "$dir/servers"
}

# The command line is looked at too, because a process number is used again some day.
node_alive() { # dir node
        local pid
        pid=$(cat "$1/node-$2.pid" 2>/dev/null) || return 1
        tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$1/node-$2.properties"
}

node_start() { # dir node
        node_alive "$1" "$2" && return 0
        : >"$1/node-$2.log"
        # shellcheck disable=SC2086 # the heap option may be several
        setsid java ${ASSENT_KAFKA_HEAP:--Xmx1g} "-Dlog4j2.configurationFile=$here/log4j2.properties" -cp "$libs/*" \
                kafka.Kafka "$1/node-$2.properties" </dev/null >"$1/node-$2.log" 2>&1 &
        echo $! >"$1/node-$2.pid"
}

# The line is written once the broker is registered and takes requests.
node_wait() { # dir node
        local tries=0
        until grep -q 'Kafka Server started' "$1/node-$2.log"; do
                node_alive "$1" "$2" || [ $tries -lt 5 ] ||
                        fail "node $2 ended while starting: $(tail -n 5 "$1/node-$2.log")"
                [ $((tries += 1)) -le 600 ] || fail "node $2 is not ready after 60 s: see $1/node-$2.log"
                sleep 0.1
        done
}

nodes_of() { # dir
        local file
        for file in "$1"/node-*.properties; do
                [ -f "$file" ] || continue
                file=${file##*/node-}
                echo "${file%.properties}"
        done
}

options() { # options...
        while [ $# -gt 0 ]; do
                [ $# -ge 2 ] || fail "$1 takes a value"
                case $1 in
                --port) port=$2 ;;
                --nodes) nodes=$2 ;;
                --hosts) IFS=, read -r -a hosts <<<"$2" ;;
                --set) settings+=("$2") ;;
                --node) only=$2 ;;
                *) fail "unknown option $1" ;;
                esac
                shift 2
        done
        case $nodes in 1 | 3) ;; *) fail "--nodes $nodes: must be 1 or 3" ;; esac
        [ ${#hosts[@]} -ge "$nodes" ] || fail "--hosts: there are $nodes nodes"
}

create() { # dir options...
        local port=0 nodes=1 only='' settings=() hosts=(127.0.0.1 127.0.0.1 127.0.0.1)
        dir=$1
        shift
        options "$@"
        need java default-jre-headless
        install
        mkdir -p "$dir"
        dir=$(cd "$dir" && pwd)
        [ -f "$dir/servers" ] || cluster_create "$dir" "$nodes" "$port" ${settings[@]+"${settings[@]}"}
        started=${only:-$(nodes_of "$dir")}
}

start() { # dir options...
        local dir started node
        create "$@"
        for node in $started; do node_start "$dir" "$node"; done
        for node in $started; do node_wait "$dir" "$node"; done
        cat "$dir/servers"
}

stop() { # dir
        local dir node tries=0
        dir=$(cd "$1" && pwd)
        for node in $(nodes_of "$dir"); do
                if node_alive "$dir" "$node"; then kill "$(cat "$dir/node-$node.pid")" || true; fi
        done
        for node in $(nodes_of "$dir"); do
                while node_alive "$dir" "$node"; do
                        [ $((tries += 1)) -le 100 ] || kill -9 "$(cat "$dir/node-$node.pid")" 2>/dev/null || true
                        sleep 0.1
                done
                rm -f "$dir/node-$node.pid"
        done
}

case ${1-} in
install) [ $# = 1 ] || { usage >&2; exit 2; }; install; echo "$libs" ;;
create) [ $# -ge 2 ] || { usage >&2; exit 2; }; shift; create "$@"; cat "$dir/servers" ;;
start) [ $# -ge 2 ] || { usage >&2; exit 2; }; shift; start "$@" ;;
stop) [ $# = 2 ] || { usage >&2; exit 2; }; stop "$2" ;;
-h | --help | help) usage ;;
*) usage >&2; exit 2 ;;
esac
