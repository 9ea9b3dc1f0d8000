#!/bin/sh
# Prints the flags with which a program names no directory of the machine that compiles it: for RUSTFLAGS,
# or with --c for CFLAGS, which then hide those of .cargo/config.toml. To be run in the root of the sources.
set -eu
cargo=${CARGO_HOME:-$HOME/.cargo}
source=$(pwd -P)
target=${CARGO_TARGET_DIR:-$source/target}
case ${1-} in
--c) echo "${CFLAGS--DMI_DEFAULT_ALLOW_THP=0} -ffile-prefix-map=$target=/target -ffile-prefix-map=$source=/source -ffile-prefix-map=$cargo=/cargo" ;;
*) echo "--remap-path-prefix=$source=/source --remap-path-prefix=$target=/target --remap-path-prefix=$cargo=/cargo ${RUSTFLAGS-}" ;;
esac
