#!/bin/sh
# Tries every way to install the daemon: the chart, the NixOS module, the
# package for Debian, and the image, alone, as a pod and with its compose file. As root, on Debian with Go and cargo.
# tests/cluster.sh and tests/ingress.sh are apart, which compile Kubernetes, and so is tests/arm64.sh.
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/shellcheck shellcheck
need /usr/bin/nix-instantiate nix-bin
install_packages

cargo build --locked
export UNIFIED_PUSH="$PWD/target/debug/unified-push"

check_scripts() {
    # shellcheck disable=SC2046 # no name has a space
    shellcheck .ci/run $(find . -name '*.sh' ! -path './target/*')
}

step() {
    echo "== $*"
    start=$(date +%s)
    "$@"
    times="$times$(printf '%6s s  %s' $(($(date +%s) - start)) "$*")
"
}

times=
step check_scripts
step tests/hardened.sh "$UNIFIED_PUSH"
step tests/helm.sh
step nix/check.sh
step tests/debian.sh "$UNIFIED_PUSH"
step tests/image.sh
step tests/pods.sh
step tests/compose.sh
printf '\n%s' "$times"
