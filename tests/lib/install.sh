#!/bin/bash
# Installs the packages that are missing, and only those. Debian and Ubuntu, by apt-get, as root or through sudo -n.
#
#   tests/lib/install.sh build [test] [kafka] [chaos]
#
# Nothing missing: says nothing, asks nobody, exits 0. Missing and no way to install: prints the line to run, exits 1.
set -euo pipefail

declare -A packages=(
        [build]='gcc libc6-dev make pkg-config librdkafka-dev libavro-dev uuid-dev libsqlite3-dev libjansson-dev
                 libxxhash-dev libmicrohttpd-dev libssl-dev libcurl4-openssl-dev libhiredis-dev sqlite3 curl'
        [test]='libcriterion-dev python3 python3-yaml python3-venv spin clang libclang-rt-14-dev redis-server prometheus'
        [kafka]='default-jre-headless maven'
        [chaos]='kcat iproute2'
)
# Not every machine has these from a package of that name; the command is what counts.
declare -A command_of=([gcc]=gcc [clang]=clang [make]=make [pkg-config]=pkg-config [sqlite3]=sqlite3 [spin]=spin [maven]=mvn
                     [curl]=curl [redis-server]=redis-server [prometheus]=promtool)

java_is_enough() {
        local major
        command -v java >/dev/null || return 1
        major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
        [ "${major:-0}" -ge 17 ]
}

present() {
        local package=$1 program=${command_of[$1]:-}
        if [ -n "$program" ] && command -v "$program" >/dev/null; then
                return 0
        fi
        if [ "$package" = default-jre-headless ]; then
                java_is_enough
                return
        fi
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed
}

[ $# -gt 0 ] || set -- build
missing=()
for set_name; do
        [ -n "${packages[$set_name]:-}" ] || {
                echo "install: no such set of packages: $set_name (there are: ${!packages[*]})" >&2
                exit 2
        }
        for package in ${packages[$set_name]}; do
                if ! command -v dpkg-query >/dev/null; then
                        [ -z "${command_of[$package]:-}" ] || command -v "${command_of[$package]}" >/dev/null ||
                                missing+=("$package")
                elif ! present "$package"; then
                        missing+=("$package")
                fi
        done
done
[ ${#missing[@]} -gt 0 ] || exit 0

line="apt-get install -y --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null; then
        echo "install: missing, and there is no apt-get here; install what corresponds to: ${missing[*]}" >&2
        exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
        as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
else
        echo "install: missing packages, and neither root nor sudo without a password. Please run:" >&2
        echo "  sudo apt-get update && sudo $line" >&2
        exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
                -o Acquire::Retries=3 "$@" </dev/null >"$log" 2>&1
}

fetch_and_install() {
        echo "install: fetching the package lists first: apt-get update"
        apt update && apt install -y --no-install-recommends "${missing[@]}"
}

echo "install: ${as_root[*]:+${as_root[*]} }$line"
# A fresh machine has no package lists, an old one has stale ones; only then they are fetched.
if ! apt-cache show --no-all-versions "${missing[@]}" >/dev/null 2>&1 ||
        ! apt install -y --no-install-recommends "${missing[@]}"; then
        fetch_and_install || {
                tail -n 20 "$log" >&2
                echo "install: that failed. Please run it by hand: apt-get update && $line" >&2
                exit 1
        }
fi
for package in "${missing[@]}"; do
        present "$package" || {
                echo "install: $package is still missing after apt-get; run it by hand to see why: $line" >&2
                exit 1
        }
done
