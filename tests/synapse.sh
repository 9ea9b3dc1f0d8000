#!/bin/sh
# A real Synapse, with SQLite, notifies a phone through the Matrix gateway: Synapse from PyPI, the daemon,
# a real Prosody, and a phone that leaves and comes back. See tests/apps/synapse.py for what is tried.
# Takes a minute, and longer when it installs Synapse. Everything is on loopback. $UNIFIED_PUSH is the
# program; without it, it is built.
set -eu
cd "$(dirname "$0")/.."

SYNAPSE=1.163.0

. tests/packages.sh
need /usr/bin/prosody prosody
need /usr/share/doc/python3-venv python3-venv
install_packages

venv=${SYNAPSE_VENV:-target/synapse}
if [ ! -x "$venv/bin/synapse_homeserver" ]; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet "matrix-synapse==$SYNAPSE"
fi
if [ -z "${UNIFIED_PUSH:-}" ]; then
    cargo build --locked --quiet
    export UNIFIED_PUSH="$PWD/target/debug/unified-push"
fi
exec "$venv/bin/python" tests/apps/synapse.py
