#!/bin/sh
# Sends pushes with the libraries that application servers use, each at the version that is pinned here
# and by the first call of its own documentation, through a real Prosody to a phone that decrypts them.
# Everything runs without a network: who sent to anywhere but the daemon would fail. Needs Go, Node.js, a
# JDK, Maven and cargo, and 5 minutes the first time, in which it installs the libraries below
# target/senders.
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/cc gcc
need /usr/include/openssl/ssl.h libssl-dev
need /usr/bin/pkg-config pkg-config
need /usr/bin/openssl openssl
need /usr/bin/unshare util-linux
need /usr/sbin/ip iproute2
need /usr/sbin/nginx nginx
need /usr/bin/prosody prosody
install_packages

programs=$PWD/tests/senders/programs
senders=$PWD/target/senders
mkdir -p "$senders"

[ -x "$senders/venv/bin/python" ] || python3 -m venv "$senders/venv"
# It brings what the phone decrypts with as well.
"$senders/venv/bin/python" -m pip install --quiet --disable-pip-version-check pywebpush==2.5.0

(cd "$senders" && npm install --silent --no-audit --no-fund web-push@3.6.7 @pushforge/builder@2.0.5)
# Node.js looks for modules beside the program.
cp "$programs/npm.js" "$programs/pushforge.mjs" "$senders/"

cp -r "$programs/go" "$senders/"
(cd "$senders/go" && GOFLAGS=-mod=mod go build -o ../webpush-go .)

CARGO_TARGET_DIR=$senders/rust cargo build --quiet --manifest-path "$programs/rust/Cargo.toml"

mkdir -p "$senders/java"
[ -s "$senders/java/classpath" ] || mvn --quiet --batch-mode --file "$programs/java/pom.xml" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath \
    -Dmdep.outputFile="$senders/java/classpath"
javac -cp "$(cat "$senders/java/classpath")" -d "$senders/java" "$programs/java/Send.java"

cargo test --locked --test senders --no-run
as_root=
[ "$(id -u)" = 0 ] || as_root=--map-root-user
# shellcheck disable=SC2016,SC2086 # for the inner shell; no word or one
UNIFIED_PUSH_TEST_SENDERS=$senders exec unshare --net $as_root sh -c '
    ip link set lo up
    exec cargo test --locked --offline --test senders -- "$@"' sh "$@"
