#!/bin/sh
# Tests the package for Debian: builds it, has lintian look at it, and does what docs/install-debian.md
# and the other documents for operators say, in a Debian with a real systemd and real XMPP servers.
# Needs root or sudo. The argument is the program; without one it is built. GUESTS is for some of them.
set -eu
cd "$(dirname "$0")/.."
work=target/debian-check
tree=$work/tree
. tests/packages.sh
. tests/machine/host.sh

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
step() {
    printf "%s: " "$*"
}

# As root, and with mounts that end with the script.
if [ "${1-}" != --inside ]; then
    need /usr/bin/lintian lintian
    need /usr/bin/dpkg-shlibdeps dpkg-dev
    need /usr/bin/strip binutils
    need /usr/bin/promtool prometheus
    need_machine
    install_packages
    [ $# != 0 ] || cargo build --locked
    program=$(realpath "${1:-target/debug/unified-push}")
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    exec $sudo unshare --mount "$PWD/tests/debian.sh" --inside "$program"
fi
program=$2
mkdir --parents $work

# For haste.
export DPKG_DEB_COMPRESSOR_TYPE=gzip DPKG_DEB_COMPRESSOR_LEVEL=1
export DEBFULLNAME=Nobody DEBEMAIL=nobody@debian.org
step "it is built"
first=$(contrib/debian/build.sh "$program")
second=$(contrib/debian/build.sh "$program" 99.0)
echo "$first"
step "its program is hardened"
rm -rf $work/unpacked
dpkg-deb --extract "$first" $work/unpacked
tests/hardened.sh $work/unpacked/usr/bin/unified-push
step "lintian finds no error"
lintian --fail-on error --suppress-tags no-manual-page "$first" 2>$work/log || fail "$(cat $work/log)"
echo none

for guest in ${GUESTS-install operate}; do
    make_tree
    mkdir --parents $tree/root/target/debian $tree/root/target/release $tree/root/new
    cp "$first" $tree/root/target/debian/
    cp "$second" $tree/root/new/
    cp "$program" $tree/root/target/release/unified-push
    cp --recursive contrib helm $tree/root/
    cp --recursive docs tests/debian/documents.sh $tree/check/
    cp src/token/tests/peers.json $tree/check/minted.json
    cp /usr/bin/promtool $tree/usr/bin/
    {
        prosody_settings
        echo 'VirtualHost "example.org"'
        echo 'Include "conf.d/*.cfg.lua"'
    } >$tree/etc/prosody/prosody.cfg.lua
    rm --recursive --force $tree/etc/prosody/conf.d/*
    echo "== $guest"
    run_machine "tests/debian/$guest.sh" $work/console || fail "the machine's check: $guest"
    umount $tree
done
