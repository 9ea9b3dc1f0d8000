#!/bin/sh
# Builds the program twice, in directories of different names and from one commit, and compares the two:
# tests/reproducible.sh [PROFILE]. What is compiled stays in target/reproducible for the next time.
# docs/security.md says what a build depends on.
set -eu
cd "$(dirname "$0")/.."
profile=${1:-dev}
work=$PWD/target/reproducible
mkdir -p "$work"

build() {
    source=$work/$1
    rm -rf "$source"
    mkdir -p "$source"
    git archive HEAD | tar --extract --directory "$source"
    (
        cd "$source"
        export CARGO_TARGET_DIR="$source.target" CARGO_INCREMENTAL=0
        # As contrib/debian/build.sh and the Containerfile do.
        RUSTFLAGS="$(contrib/remap.sh)" CFLAGS="$(contrib/remap.sh --c)" \
            cargo build --locked --quiet --profile "$profile" --bin unified-push
    )
}
build one
build another-name
folder=$profile
[ "$profile" != dev ] || folder=debug
one=$work/one.target/$folder/unified-push
other=$work/another-name.target/$folder/unified-push

for path in "$work" "${CARGO_HOME:-$HOME/.cargo}"; do
    if grep --quiet --text --fixed-strings -e "$path" "$one"; then
        echo "FAILED: the program names $path" >&2
        exit 1
    fi
done
cmp "$one" "$other" || { echo "FAILED: the two differ" >&2; exit 1; }
sha256sum "$one" | sed 's/ .*//'
echo "tests/reproducible.sh: both are the same"
