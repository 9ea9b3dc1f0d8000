#!/bin/sh
# Runs a command in a tree of Debian 13: ./test.sh, unless another is given. The tree has this project,
# this machine's Rust, and its Go if there is one; all other programs are Debian 13's. As root, on Debian
# with cargo. With --backports, Prosody and ejabberd come from Debian 13's backports. The trees, and what
# cargo compiles there, are kept in target/debian13.
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/mmdebstrap mmdebstrap
install_packages

work=$PWD/target/debian13
tree=$work/stable
[ "${1-}" != --backports ] || {
    shift
    tree=$work/backports
}
[ $# != 0 ] || set -- ./test.sh

if [ ! -e "$tree" ]; then
    mkdir -p "$work"
    rm -rf "$tree.new"
    # shellcheck disable=SC2016 # $1 is for the hook
    mmdebstrap --quiet --variant=minbase --include=ca-certificates \
        --setup-hook='sed -n "s/ trixie / trixie-backports /p" "$1/etc/apt/sources.list" >"$1/etc/apt/sources.list.d/backports.list"' \
        trixie "$tree.new"
    echo 'APT::Keep-Downloaded-Packages "false";' >"$tree.new/etc/apt/apt.conf.d/small"
    [ "$tree" = "$work/stable" ] ||
        cat >"$tree.new/etc/apt/preferences.d/servers" <<'PINS'
Package: prosody prosody-modules ejabberd* erlang-*
Pin: release n=trixie-backports
Pin-Priority: 990
PINS
    mv "$tree.new" "$tree"
fi

# Cargo finds all that it needs in its cache, whatever certificates the tree trusts.
cargo fetch --locked --quiet
CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}
RUSTUP_HOME=$(rustup show home)
export CARGO_HOME RUSTUP_HOME
path=$CARGO_HOME/bin
mounts="$CARGO_HOME $RUSTUP_HOME /etc/ssl/certs/ca-certificates.crt"
# Where the work tree is one of several, the repository is elsewhere.
mounts="$mounts $(git rev-parse --path-format=absolute --git-common-dir)"
if command -v go >/dev/null; then
    path=$path:$(go env GOROOT)/bin
    mounts="$mounts $(go env GOROOT) $(go env GOPATH)"
fi
mkdir -p "$work/target"
# shellcheck disable=SC2016 # the inner shell's
TREE=$tree MOUNTS=$mounts OWN=$work/target exec unshare --mount --propagation private sh -euc '
    for place in "$PWD" $MOUNTS; do
        [ ! -d "$place" ] || mkdir -p "$TREE$place"
        mount --bind "$place" "$TREE$place"
    done
    mount --bind "$OWN" "$TREE$PWD/target"
    exec tests/image/enter.sh "$TREE" "$@"' sh \
    env PATH="$path:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    sh -euc 'cd "$0"; exec "$@"' "$PWD" "$@"
