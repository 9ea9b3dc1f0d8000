#!/bin/sh
# Runs a command in a Debian tree whose mounts, beside /dev, /proc and /sys, nobody else sees: a
# plain chroot is not enough for podman. enter.sh TREE COMMAND...
set -eu
tree=$1
shift
# shellcheck disable=SC2016 # the inner shell's
exec unshare --mount --propagation private sh -c '
    tree=$1
    shift
    mount --rbind "$tree" "$tree"
    for part in dev proc sys tmp; do
        mount --rbind /$part "$tree/$part"
    done
    mkdir -p "$tree/old"
    cd "$tree"
    pivot_root . old
    umount --lazy /old
    exec "$@"' sh "$tree" "$@"
