#!/bin/bash
# The story that `make demo` tells: real transactions over a broker, processes killed in the middle, and an audit at the end.
# Exit status 0 only if everything was seen as it is told to be expected.
#
#   BROKER=embedded     the client library's own broker, in a process of its own (default)
#   BROKER=kafka        a real Apache Kafka, downloaded from Maven Central the first time
#   BROKER=HOST:PORT    a cluster of yours; makes topics under a prefix of its own and leaves them there
#   ASSENT_BUILD=DIR    where bin/ is (default build/release)      NO_COLOR=1   no colours
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${ASSENT_BUILD:-$here/../../build/release}/bin
broker=${BROKER:-embedded}
prefix=demo order_port=0 cache_port=0
case $broker in
embedded | kafka) ;;
*:*) prefix=demo-$(od -An -N4 -tx1 /dev/urandom | tr -d ' ') ;;
*)
        echo "demo.sh: BROKER=$broker: there are embedded, kafka and HOST:PORT" >&2
        exit 2
        ;;
esac
dir=$(mktemp -d "${TMPDIR:-/tmp}/assent-demo.XXXXXX")
# shellcheck source=producers/demo/pipeline.sh
source "$here/pipeline.sh"

wrong=0 finished=0 begun=$SECONDS bold='' green='' red='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
        bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

cleanup() {
        local status=$? client
        trap - EXIT INT TERM HUP
        for client in "$dir"/order-*.pid; do
                [ ! -e "$client" ] || kill "$(cat "$client")" 2>/dev/null || true
        done
        pipeline_stop || true
        if [ "$status" -eq 0 ] && [ "$wrong" -eq 0 ] && [ "$finished" -eq 1 ]; then
                rm -rf "$dir"
        else
                echo "demo.sh: databases and logs are kept in $dir" >&2
                [ "$status" -ne 0 ] || status=1
        fi
        exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- telling -----------------------------------------------------------------------------------------------------------

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '   %s\n' "$@"; }

# verdict WHAT EXPECTED SEEN
verdict() {
        if [ "$2" = "$3" ]; then
                printf '   %sok%s   %s: %s\n' "$green" "$plain" "$1" "$3"
        else
                printf '   %sBAD%s  %s: %s, expected was: %s\n' "$red" "$plain" "$1" "${3:-nothing}" "$2"
                wrong=1
        fi
}

same() { # WANTED COMMAND…
        local wanted=$1
        shift
        [ "$("$@")" = "$wanted" ]
}

# settles WHAT EXPECTED COMMAND…: a decision reaches the databases a moment after the client hears of it. Once something
# is wrong nothing is waited for any more.
settles() {
        local what=$1 expected=$2
        shift 2
        [ "$wrong" -ne 0 ] || wait_for "${patience:-10}" "$what" same "$expected" "$@" || true
        verdict "$what" "$expected" "$("$@")"
}

# ---- asking ------------------------------------------------------------------------------------------------------------

query() { # service SQL
        sqlite3 -readonly -cmd '.timeout 5000' "$dir/$1.db" "$2"
}

balances() {
        query payment "SELECT group_concat(format('%s %d.%02d', account, balance_cents / 100, balance_cents % 100), ', ')
                FROM (SELECT * FROM accounts WHERE account IN ('alice', 'bob', 'shop') ORDER BY account)"
}

held() { query payment 'SELECT count(*) FROM holds'; }
lamps() { query inventory "SELECT format('%d on hand, %d reserved', on_hand, reserved) FROM stock WHERE sku = 'lamp'"; }
order_is() { query order "SELECT format('%s, version %d', state, version) FROM orders WHERE order_id = '$1'"; }

told() { # TXN SENTENCE: the lane tells it
        "$bin/assentctl" txn show --config "$dir/pipeline.properties" "$1" 2>/dev/null | grep -E "$2" >/dev/null
}

# order_begin ORDER CUSTOMER CENTS QUANTITY [options…]: begins an order of lamps and waits for its outcome. What it prints
# goes to $dir/ORDER.out (the id, then the outcome) and $dir/ORDER.err (the story).
order_begin() {
        local order=$1 customer=$2 cents=$3 items="[{\"sku\":\"lamp\",\"quantity\":$4}]" status=0
        shift 4
        "$bin/assent-begin" --config "$dir/pipeline.properties" --log-level error "$@" \
                --branch "order:place:{\"order_id\":\"$order\",\"customer\":\"$customer\",\"total_cents\":$cents,\"items\":$items}" \
                --branch "payment:charge:{\"account\":\"$customer\",\"amount_cents\":$cents}" \
                --branch "inventory:reserve:{\"items\":$items}" >"$dir/$order.out" 2>"$dir/$order.err" &
        echo "$!" >"$dir/$order.pid"
        wait "$!" || status=$?
        rm -f "$dir/$order.pid"
        echo "$status" >"$dir/$order.status"
}

txn_of() { sed -n 1p "$dir/$1.out" 2>/dev/null; }
outcome_of() { # ORDER: what the client said, and its exit status
        printf '%s, exit status %s' "$(sed -n 2p "$dir/$1.out")" "$(cat "$dir/$1.status")"
}
has_begun() { [ -n "$(txn_of "$1")" ]; }
has_ended() { [ -s "$dir/$1.status" ]; }

# ask NAME [options of curl…] URL: says the request and what matters of its answer, which is kept in $dir/NAME.http.
ask() {
        local name=$1 word line='$ curl -i'
        shift
        for word; do
                [[ $word =~ ^[A-Za-z0-9:/.-]+$ ]] || word="'$word'"
                [[ ($word != -d && $word != *http://*) || ${#line} -lt 50 ]] || line+=$' \\\n       '
                line+=" $word"
        done
        say "$line"
        curl -sSi --max-time 40 "$@" 2>&1 | tr -d '\r' >"$dir/$name.http" || wrong=1
        { sed -nE '1p; /^(ETag|Location|Idempotent-Replayed|Cache-Status|Assent-.*): /p; /^\{/p' "$dir/$name.http" && echo; } |
                fold -w 112 | sed '/^$/d; s/^/      | /'
}

status_of() { sed -nE '1s/^HTTP[^ ]+ //p' "$dir/$1.http"; }
field_of() { sed -n "s/^$2: //p" "$dir/$1.http"; }
body_of() { sed '1,/^$/d' "$dir/$1.http"; }
member_of() { body_of "$1" | sed -nE "s/.*\"$2\":\"?([^\",}]*).*/\1/p"; }

story() { sed 's/^/      | /' "$dir/$1.err"; }

# ---- the story ---------------------------------------------------------------------------------------------------------

prologue() {
        programs_check
        step "Starting: broker ($broker), coordinator, order, payment, inventory, cache"
        broker_start
        properties_write
        say "broker at $(cat "$dir/brokers"), topics under the prefix '$prefix'"
        topics_apply
        local service
        for service in "${services[@]}"; do
                start_service "$service"
        done
        start coordinator
        start_cache
        say "everybody is ready; accounts: $(balances); lamps: $(lamps)"
}

commits() {
        step '1. An order that commits'
        say 'alice buys a lamp for 99.00: three databases, one transaction (2PC)'
        order_begin order-1 alice 9900 1
        verdict 'the client hears' 'COMMITTED, exit status 0' "$(outcome_of order-1)"
        settles 'balances' 'alice 401.00, bob 40.00, shop 99.00' balances
        settles 'lamps' '19 on hand, 0 reserved' lamps
        settles 'order-1' 'CONFIRMED, version 2' order_is order-1
        say 'its story, from the records in the lane:'
        story order-1
}

refused() {
        step '2. One that is refused'
        say 'bob has 40.00 and wants a lamp for 99.00: payment votes NO, so nobody may keep anything'
        order_begin order-2 bob 9900 1
        verdict 'the client hears' 'ABORTED: payment: balance 40.00 is short of 99.00, exit status 3' "$(outcome_of order-2)"
        settles 'balances' 'alice 401.00, bob 40.00, shop 99.00' balances
        settles 'lamps' '19 on hand, 0 reserved' lamps
        settles 'order-2' 'CANCELLED, version 2' order_is order-2
}

twice() {
        step '3. The same transaction begun twice'
        say 'alice buys a second lamp; the client forgets the answer and begins again under the same id'
        order_begin order-3 alice 9900 1
        verdict 'the client hears' 'COMMITTED, exit status 0' "$(outcome_of order-3)"
        order_begin order-3 alice 9900 1 --txn "$(txn_of order-3)"
        verdict 'and hears again' 'COMMITTED, exit status 0' "$(outcome_of order-3)"
        settles 'paid once' 'alice 302.00, bob 40.00, shop 198.00' balances
        settles 'shipped once' '18 on hand, 0 reserved' lamps
}

three_phases() {
        step '4. Three phases (3PC)'
        say 'the same, with a round between the votes and the commit, and the client waits until all have applied it'
        order_begin order-4 alice 9900 1 --protocol 3pc --completed
        verdict 'the client hears' 'COMMITTED; COMPLETED, exit status 0' "$(outcome_of order-4)"
        settles 'balances' 'alice 203.00, bob 40.00, shop 297.00' balances
        settles 'order-4' 'CONFIRMED, version 2' order_is order-4
}

participant_killed() {
        step '5. A participant killed between its vote and the decision'
        say 'inventory is frozen (SIGSTOP), so that its vote is missing; the others vote YES'
        signal inventory STOP
        order_begin order-5 alice 9900 1 --wait 60s &
        wait_for 10 'the begin' has_begun order-5 || die "the begin did not get through; see $dir/order-5.err"
        wait_for 10 "payment's vote in the lane" told "$(txn_of order-5)" 'payment .*votes YES' || wrong=1
        verdict 'payment holds money for' '1 order' "$(held) order"
        kill_hard payment
        say 'payment is killed (SIGKILL); inventory goes on and votes YES, so the decision falls without payment'
        signal inventory CONT
        wait_for 20 'the outcome' has_ended order-5 || true
        verdict 'the client hears' 'COMMITTED, exit status 0' "$(outcome_of order-5)"
        verdict 'payment, dead, has still the old' 'alice 203.00, bob 40.00, shop 297.00' "$(balances)"
        say 'payment starts again, from its database and its position in the lane'
        start_service payment
        settles 'balances' 'alice 104.00, bob 40.00, shop 396.00' balances
        settles 'orders still held' 0 held
}

coordinator_killed() {
        step '6. The coordinator killed with all votes in, and nobody to decide'
        say 'inventory is frozen again until the coordinator is dead (SIGKILL), then votes: YES, YES, YES, and silence'
        signal inventory STOP
        order_begin order-6 alice 9900 1 --timeout 5s --wait 60s &
        wait_for 10 'the begin' has_begun order-6 || die "the begin did not get through; see $dir/order-6.err"
        wait_for 5 "payment's vote in the lane" told "$(txn_of order-6)" 'payment .*votes YES' || wrong=1
        kill_hard coordinator
        signal inventory CONT
        say 'past the deadline (5 s) and the grace (0.5 s) the services read the lane and decide by the same rules'
        local patience=30
        settles 'balances' 'alice 5.00, bob 40.00, shop 495.00' balances
        settles 'lamps' '15 on hand, 0 reserved' lamps
        settles 'order-6' 'CONFIRMED, version 2' order_is order-6
        verdict 'the coordinator is' dead "$(alive coordinator && echo alive || echo dead)"
        say 'a new coordinator replays the lanes from the last checkpoint, proves its state by digest, and agrees'
        local proofs
        proofs=$(proofs_count)
        start coordinator
        wait_for 60 'the outcome' has_ended order-6 || true
        verdict 'the client, waiting all along, hears' 'COMMITTED, exit status 0' "$(outcome_of order-6)"
        settles 'lanes whose takeover was proved' 4 lanes_proved "$proofs"
        say 'its story: the services ask (INQUIRE), and the lane had the answer all along'
        story order-6
}

proofs_count() { grep -c 'event="takeover proved"' "$dir/coordinator.log" || true; }
lanes_proved() { echo $(($(proofs_count) - $1)); }

load() {
        step '7. A short load'
        say '3,000 transactions, 64 in flight; about one in twenty is refused, and one in twenty is begun twice'
        local status=0
        "$bin/assent-load" --config "$dir/pipeline.properties" --log-level error -n 3000 --in-flight 64 --abort-ratio 0.05 \
                --duplicate-ratio 0.05 2>&1 | sed 's/^/   /' || status=$?
        verdict 'exit status of assent-load' 0 "$status"
}

left() { query payment "SELECT format('%.2f', balance_cents / 100.0) FROM accounts WHERE account = '$1'"; }
charges() { query payment "SELECT count(*) FROM ledger WHERE txn_id = x'${1//-/}'"; }
note() { query order "SELECT format('\"%s\", version %d', note, version) FROM orders WHERE order_id = '$1'"; }

post() { # NAME
        ask "$1" -H 'Content-Type: application/json' -H 'Idempotency-Key: alice-7' \
                -d '{"customer":"alice","items":[{"sku":"lamp","quantity":1}],"total_cents":400}' "$(url_of order)/v1/orders"
}

by_http() {
        step '8. The same POST twice'
        say 'alice orders a lamp for 4.00 by HTTP; the same request again, with the same key, must not charge her again'
        post first
        verdict 'the first answer' '201 Created, the transaction committed' \
                "$(status_of first), the transaction $(member_of first outcome)"
        post again
        verdict 'the second answer' 'the same, replayed' "$([ "$(body_of first)" = "$(body_of again)" ] && echo 'the same'), $(
                [ "$(field_of again Idempotent-Replayed)" = true ] && echo replayed)"
        settles "charges in payment's ledger for both" 1 charges "$(member_of first txn_id)"
        settles 'alice has left' 1.00 left alice
}

# Of the order made above: its version, which is its ETag, decides who may change it and what a cache may say of it.
versions() {
        local id url patch=(-X PATCH -H 'Content-Type: application/merge-patch+json')
        id=$(member_of first order_id) url=$(url_of order)$(field_of first Location)
        step '9. One version: ETag, conditional changes, the cache'
        say "an order's ETag is its version; whoever has that version is told so, without the order"
        ask get "$url"
        ask unchanged -H "If-None-Match: $(field_of get ETag)" "$url"
        verdict 'nothing new' '304 Not Modified, 0 bytes' "$(status_of unchanged), $(body_of unchanged | wc -c) bytes"
        say 'two clients have read that version and both change the note; the second one would undo what it never saw'
        ask changed "${patch[@]}" -H "If-Match: $(field_of get ETag)" -d '{"note":"ring twice"}' "$url"
        verdict 'the first change' '200 OK, version 3' "$(status_of changed), version $(member_of changed version)"
        ask stale "${patch[@]}" -H "If-Match: $(field_of get ETag)" -d '{"note":"do not ring"}' "$url"
        verdict 'the second, refused' '412 Precondition Failed, application/problem+json' \
                "$(status_of stale), $(field_of stale Content-Type)"
        verdict 'in the database' '"ring twice", version 3' "$(note "$id")"
        say 'the cache follows the events; a strong read compares it with the order service, a cached one asks nobody'
        settles 'a cached read' 'version 3, assent-cache; hit' cached "$id"
        ask strong "$(url_of cache)/v1/orders/$id?consistency=strong"
        verdict 'its version' '3 in the database, 3 in the cache' "$(query order "SELECT version FROM orders
                WHERE order_id = '$id'") in the database, $(field_of strong Assent-Cache-Version) in the cache"
        say '300 more orders by HTTP, one in ten sent twice; each is read back in the end, and must be what was answered'
        local status=0
        "$bin/assent-load" --config "$dir/pipeline.properties" --log-level error --mode order --url "$(url_of order)" -n 300 \
                --in-flight 32 --duplicate-ratio 0.1 2>&1 | sed 's/^/   /' || status=$?
        verdict 'exit status of assent-load' 0 "$status"
}

cached() { # ORDER
        ask cached "$(url_of cache)/v1/orders/$1?consistency=cached" >/dev/null
        printf 'version %s, %s' "$(member_of cached version)" "$(field_of cached Cache-Status)"
}

audit() {
        step '10. The audit, over all three databases'
        say 'every transaction everywhere exactly once, or nowhere; money conserved; nothing held or in doubt'
        local status=0
        "$bin/assent-audit" --order "$dir/order.db" --payment "$dir/payment.db" --inventory "$dir/inventory.db" \
                --complete --wait 20s | sed 's/^/ /' || status=$?
        verdict 'exit status of assent-audit' 0 "$status"
}

errors_count() { cat "$dir"/{cache,coordinator,order,payment,inventory}.log | grep -c ' level=error ' || true; }

# chapter FUNCTION: one part of the story, after which everybody must be alive. What comes next builds on it, so the story
# ends where something was wrong.
chapter() {
        local name
        "$1"
        for name in "${daemons[@]}"; do
                alive "$name" || verdict "$name is" running "dead; see $dir/$name.log"
        done
        [ "$wrong" -eq 0 ] || give_up
}

give_up() {
        step 'Something was not as expected: see BAD above.'
        exit 1
}

prologue
for part in commits refused twice three_phases participant_killed coordinator_killed load by_http versions audit; do
        chapter "$part"
done
step 'Stopping'
verdict 'errors that the daemons logged' 0 "$(errors_count)"
pipeline_stop
finished=1
[ "$wrong" -eq 0 ] || give_up
step "All as expected, in $((SECONDS - begun)) s."
