#!/bin/bash
# `make up` and `make down`: leaves the pipeline running on a real Kafka, with its data, logs and pid files in build/up.
#
#   up.sh up      start what is not running, and say how to talk to it
#   up.sh down    stop everything; what was written stays, and the next up goes on from there
#
#   ORDER_PORT=8080 CACHE_PORT=8081     where the order service and its cache serve HTTP, on 127.0.0.1; 0: on any free port
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=$(cd "${ASSENT_BUILD:-$root/build/release}/bin" 2>/dev/null && pwd) || bin=${ASSENT_BUILD:-$root/build/release}/bin
dir=$root/build/up
broker=kafka
prefix=shop
order_port=${ORDER_PORT:-8080}
cache_port=${CACHE_PORT:-8081}
# shellcheck source=producers/demo/pipeline.sh
source "$here/pipeline.sh"

how_to_talk() {
        cat <<TEXT

The pipeline is up: Kafka at $(cat "$dir/brokers"), topics under the prefix '$prefix'.
Databases, logs and pid files are in $dir.

For a shell that talks to it:
  export PATH='$bin':"\$PATH" ASSENT_CONFIG='$dir/pipeline.properties'
  cd '$dir'

An order by HTTP. The same request again gets the same answer and charges once; the next order needs another key:
  curl -i -H 'Content-Type: application/json' -H 'Idempotency-Key: k1' \\
    -d '{"customer":"alice","items":[{"sku":"lamp","quantity":1}],"total_cents":9900}' $(url_of order)/v1/orders

Read it (the path is in Location) from the order service, or from the cache in front of it; and what there is besides:
  curl -i $(url_of cache)/v1/orders/ID
  curl $(url_of order)/openapi.json

An order by hand, without HTTP (another order_id each time; exit status 0 committed, 3 aborted, 4 unknown):
  assent-begin \\
    --branch 'order:place:{"order_id":"o-1","customer":"alice","total_cents":9900,"items":[{"sku":"lamp","quantity":1}]}' \\
    --branch 'payment:charge:{"account":"alice","amount_cents":9900}' \\
    --branch 'inventory:reserve:{"items":[{"sku":"lamp","quantity":1}]}'

What happened to it, message by message (the id is what assent-begin printed first), and the topics as they are read:
  assentctl txn show ID
  assentctl tail inbox
  assentctl topics describe
  kcat -b $(cat "$dir/brokers") -C -t $prefix.inbox -e -f '%o %k %S bytes\n'

Balances, a load, and the proof that nothing was lost:
  sqlite3 -readonly payment.db "SELECT * FROM accounts WHERE account NOT LIKE 'load-%'"
  assent-load -n 10000 --in-flight 256
  assent-audit --order order.db --payment payment.db --inventory inventory.db --complete --wait 30s

Stop it:  make -C '$root' down
TEXT
}

# Better said before a minute's work than after it. Who runs already has its port.
port_check() { # name VARIABLE port
        alive "$1" || ! (: <>"/dev/tcp/127.0.0.1/$3") 2>/dev/null ||
                die "127.0.0.1:$3, where $1 is to serve HTTP, is taken by somebody else; another port: $2=8090 make up (0: any)"
}

up() {
        local name
        programs_check
        port_check order ORDER_PORT "$order_port"
        port_check cache CACHE_PORT "$cache_port"
        mkdir -p "$dir"
        echo "Kafka (the first time it is downloaded from Maven Central)"
        broker_start
        properties_write
        echo "topics"
        topics_apply
        for name in "${services[@]}"; do
                alive "$name" && continue
                echo "$name"
                start_service "$name"
        done
        if ! alive coordinator; then
                echo "coordinator"
                start coordinator
        fi
        if ! alive cache; then
                echo "cache"
                start_cache
        fi
        how_to_talk
}

down() {
        [ -d "$dir" ] || die "nothing to stop: there is no $dir"
        pipeline_stop
        echo "Stopped. What was written is still in $dir; rm -r it to begin anew."
}

case ${1:-} in
up) up ;;
down) down ;;
*)
        echo "usage: up.sh up|down" >&2
        exit 2
        ;;
esac
