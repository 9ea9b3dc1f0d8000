#!/bin/sh
# Runs the tests with real XMPP servers, and the crash harness, with the servers of Debian 13 and with
# those of its backports: half an hour each, which is not for CI. As root, on Debian with cargo.
# Arguments go to cargo test.
set -eu
cd "$(dirname "$0")/.."

for servers in '' --backports; do
    # shellcheck disable=SC2086 # an option or none
    tests/debian13.sh $servers sh -euc '
        ./test.sh --test servers --test faults "$@"
        dpkg-query --show prosody prosody-modules ejabberd libexpat1' sh "$@"
done
