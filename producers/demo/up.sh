#!/bin/bash
# `make up` and `make down`: leaves the pipeline running on a real Kafka, with its data, logs and pid files in build/up.
#
#   up.sh up      start what is not running, and say how to talk to it
#   up.sh down    stop everything; what was written stays, and the next up goes on from there
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=$(cd "${ASSENT_BUILD:-$root/build/release}/bin" 2>/dev/null && pwd) || bin=${ASSENT_BUILD:-$root/build/release}/bin
dir=$root/build/up
broker=kafka
prefix=shop
# shellcheck source=producers/demo/pipeline.sh
source "$here/pipeline.sh"

how_to_talk() {
        cat <<TEXT

The pipeline is up: Kafka at $(cat "$dir/brokers"), topics under the prefix '$prefix'.
Databases, logs and pid files are in $dir.

For a shell that talks to it:
  export PATH='$bin':"\$PATH" ASSENT_CONFIG='$dir/pipeline.properties'
  cd '$dir'

An order (the next one needs another order_id; exit status 0 committed, 3 aborted, 4 unknown):
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

up() {
        local name
        programs_check
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
