#!/bin/sh
# fuzz/run.sh TARGET [SECONDS]: lets libFuzzer try what it can think of on a target, or on `all` of them
# one after the other, for a minute each unless told otherwise. Needs a C++ compiler, and no nightly Rust.
# An input that makes a target panic is left in fuzz/found, with the command that repeats it.
set -eu
cd "$(dirname "$0")"
wanted=${1:?TARGET, or all}
seconds=${2:-60}
host=$(rustc --print host-tuple)

# What a coverage-guided fuzzer needs to see, from the compiler as it is.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# With --target, or build scripts would want it as well.
RUSTFLAGS=$coverage cargo build --locked --profile fuzz --features engine --target "$host"
program=$(cargo metadata --format-version 1 --no-deps --locked |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$host/fuzz/fuzz

try() {
    echo "== $1"
    mkdir -p "target/corpus/$1" found
    UNIFIED_PUSH_FUZZ=$1 "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="found/$1-" "target/corpus/$1" "corpus/$1" \
        >"target/$1.log" 2>&1 || { tail -n 40 "target/$1.log"; exit 1; }
    grep -E 'DONE|number_of_executed_units' "target/$1.log"
}

if [ "$wanted" = all ]; then
    for target in corpus/*; do
        try "${target#corpus/}"
    done
else
    try "$wanted"
fi
