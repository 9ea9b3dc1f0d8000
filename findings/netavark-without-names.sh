#!/bin/sh
# netavark: without aardvark-dns, a container gets onto a network and never off it.
#
# Debian only recommends aardvark-dns, the name server of podman's networks. One would guess that a network
# without it works as it does without names, or that the set-up is refused.
#
# In fact the set-up succeeds, and even tells the container to ask the name server that does not exist. It is
# the taking down that fails, for a missing file of names that only the name server would have made, and so
# does the "podman rm" (5.4.2) of such a container. A network without names (--disable-dns) is not affected.
#
# Tested with netavark 1.14.0 (Debian 13). As root.
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/mmdebstrap mmdebstrap
install_packages

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
mmdebstrap --quiet --variant=minbase --include=netavark,nftables,iproute2 trixie "$work/tree"

cat >"$work/tree/try" <<'SH'
network() { # $1: whether it has names
    cat <<JSON
{"container_id": "c0ffee", "container_name": "web",
 "networks": {"n$1": {"static_ips": ["10.88.7.2"], "interface_name": "eth0"}},
 "network_info": {"n$1": {"name": "n$1", "id": "facade", "driver": "bridge", "network_interface": "nv0",
   "subnets": [{"subnet": "10.88.7.0/24", "gateway": "10.88.7.1"}], "ipv6_enabled": false,
   "internal": false, "dns_enabled": $1, "ipam_options": {"driver": "host-local"}}}}
JSON
}
netavark() {
    network "$2" | /usr/lib/podman/netavark --config /run/nv --aardvark-binary \
        /usr/lib/podman/aardvark-dns "$1" /proc/$container/ns/net && status=0 || status=$?
    echo "$1 with names $2: exit status $status"
}
mkdir -p /run/nv
ip link set lo up
/usr/lib/podman/netavark --version
for names in false true; do
    unshare --net sleep 60 &
    container=$!
    while [ "$(readlink /proc/$container/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
    netavark setup $names
    netavark teardown $names
    kill $container
done
SH
# What it does to interfaces and to the firewall stays in a network namespace of its own.
# shellcheck disable=SC2016 # the inner shell's
unshare --net --mount --propagation private sh -euc '
    mount -t proc proc "$1/proc"
    chroot "$1" sh -eu /try' sh "$work/tree" >"$work/seen" 2>&1
cat "$work/seen"
for line in 'setup with names false: exit status 0' 'teardown with names false: exit status 0' \
    'setup with names true: exit status 0' '"dns_server_ips":\["10.88.7.1"\]' \
    'remove aardvark entries: IO error: No such file' 'teardown with names true: exit status 1'; do
    grep -q "$line" "$work/seen" || {
        echo "the behaviour has changed: no '$line'" >&2
        exit 1
    }
done
