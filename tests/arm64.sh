#!/bin/sh
# Compiles the static program for arm64 on another machine, as the Containerfile does on an arm64
# one, and runs it under qemu: a push over loopback, which takes SQLite and the cryptography along.
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
need /usr/aarch64-linux-gnu/include/stdlib.h libc6-dev-arm64-cross
need /usr/bin/qemu-aarch64-static qemu-user-static
need /usr/bin/file file
install_packages

target=aarch64-unknown-linux-gnu
rustup target add $target
CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --locked --bin unified-push --target $target
program=target/$target/debug/unified-push
file $program | grep 'ARM aarch64.*static'
tests/hardened.sh $program
qemu-aarch64-static $program --version

log=$(mktemp)
qemu-aarch64-static $program demo >"$log" 2>&1 &
demo=$!
trap 'kill $demo 2>/dev/null; rm "$log"' EXIT
for _ in $(seq 600); do
    if grep 'answered 201' "$log"; then
        echo "tests/arm64.sh: all is well"
        exit 0
    fi
    sleep 0.1
done
cat "$log"
exit 1
