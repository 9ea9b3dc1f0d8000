#!/bin/sh
# A real mollysocket, the server of Molly, notifies a phone: mollysocket from crates.io, the daemon, a real
# Prosody, and a phone that leaves and comes back. See tests/apps/mollysocket.py for what is tried. Takes ten
# seconds, and 15 minutes when it builds mollysocket. Everything is on loopback. $UNIFIED_PUSH is the program;
# without it, it is built.
set -eu
cd "$(dirname "$0")/.."

MOLLYSOCKET=1.7.1

. tests/packages.sh
need /usr/bin/prosody prosody
need /usr/bin/pkg-config pkg-config
need /usr/include/openssl/ssl.h libssl-dev
need /usr/include/sqlite3.h libsqlite3-dev
install_packages

tools=${MOLLYSOCKET_ROOT:-$PWD/target/mollysocket}
if [ ! -x "$tools/bin/mollysocket" ]; then
    cargo install --quiet --locked --debug --root "$tools" "mollysocket@$MOLLYSOCKET"
fi
if [ -z "${UNIFIED_PUSH:-}" ]; then
    cargo build --locked --quiet
    export UNIFIED_PUSH="$PWD/target/debug/unified-push"
fi
MOLLYSOCKET="$tools/bin/mollysocket" exec python3 tests/apps/mollysocket.py
