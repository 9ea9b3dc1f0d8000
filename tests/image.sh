#!/bin/bash
# Tests the image: builds the Containerfile as it is, on a stand-in for the builder's image, and runs
# what docs/install-podman.md tells people to type, with a real Prosody outside the containers and a
# phone on it. As root; refuses to touch containers of the same names.
set -euo pipefail
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/podman podman
need /usr/lib/podman/netavark netavark
# Debian 12's podman needs the one, Debian 13's the other.
need /usr/sbin/iptables iptables
need /usr/sbin/nft nftables
need /usr/sbin/runc runc
need /usr/bin/mmdebstrap mmdebstrap
need /usr/bin/prosody prosody
need /usr/bin/curl curl
need /usr/bin/openssl openssl
need /usr/lib/python3/dist-packages/slixmpp python3-slixmpp
install_packages
. tests/image/host.sh
. tests/image/bed.sh

NAME=unified-push
BUILDER=localhost/unified-push-test/builder NETWORK=unified-push-test

# What is there belongs to somebody.
if podman container exists $NAME || podman volume exists $NAME ||
    podman secret inspect $NAME-component >/dev/null 2>&1; then
    fail "there is a container, a volume or a secret of unified-push already"
fi

cleanup() {
    result=$?
    trap - EXIT
    if [ $result != 0 ]; then
        podman logs $NAME 2>&1 | tail -n 20 || true
    fi
    podman rm --force --time 2 $NAME >/dev/null 2>&1 || true
    podman volume rm --force $NAME >/dev/null 2>&1 || true
    podman secret rm $NAME-component >/dev/null 2>&1 || true
    podman network rm --force $NETWORK >/dev/null 2>&1 || true
    clear_bed $result
    exit $result
}
trap cleanup EXIT

# The commands of a section of the documentation.
told() {
    awk -v section="## $1" '
        /^## / { inside = $0 == section }
        /^```/ { block = inside && $0 == "```sh"; next }
        inside && block' docs/install-podman.md
}

# What the documentation says, with the test's network, port and builder.
podman() {
    local command=$1
    shift
    case $command in
    build)
        # shellcheck disable=SC2046 # a list of arguments
        command podman build $(stand_in_builder $BUILDER) "$@"
        ;;
    run) command podman run --network $NETWORK --add-host "host.containers.internal:$gateway" \
        "${@/127.0.0.1:8080:8080/127.0.0.1:$PORT:8080}" ;;
    *) command podman "$command" "$@" ;;
    esac
}

stand_in_builder $BUILDER >/dev/null
fit_podman $BUILDER "$bed"
# Names are not asked for, and Debian 13's netavark fails without the server that would know them.
command podman network create --disable-dns --subnet 10.77.6.0/24 $NETWORK >/dev/null
gateway=$(command podman network inspect $NETWORK --format '{{(index .Subnets 0).Gateway}}')

echo "== build"
build=$(told "Build the image")
[ "$build" = "podman build --format docker --tag unified-push ." ] || fail "told to build by: $build"
eval "$build" >"$bed/build.log" 2>&1

inspect() {
    command podman image inspect unified-push --format "{{$1}}"
}
bytes=$(inspect .Size)
echo "the image has $((bytes / 1024)) KiB"
[ "$bytes" -lt $((15 * 1024 * 1024)) ] || fail "the image is too large"
[ "$(inspect .Config.User)" = 65532:65532 ] || fail "it has another user"
[ "$(inspect .Config.StopSignal)" = SIGTERM ] || fail "it has another signal"
[ "$(inspect 'index .Config.Volumes "/var/lib/unified-push"')" = "{}" ] || fail "it has no volume"
[ -n "$(inspect .Config.Healthcheck)" ] || fail "it has no health check"
version=$(sed -n 's/^version = "\(.*\)"/\1/p;/^version/q' Cargo.toml)
for label in title=unified-push licenses=Apache-2.0 "version=$version"; do
    value=$(inspect "index .Labels \"org.opencontainers.image.${label%%=*}\"")
    [ "$value" = "${label#*=}" ] || fail "label ${label%%=*} is '$value'"
done

mount=$(command podman image mount unified-push)
program=$mount/usr/local/bin/unified-push
others=$(cd "$mount" && find . -type f ! -path ./usr/local/bin/unified-push)
[ -z "$others" ] || fail "it holds $others"
readelf --program-headers "$program" | grep -q INTERP && fail "the program is not static"
[ "$("$program" --version)" = "unified-push $version" ] || fail "another version"
tests/hardened.sh "$program"
# By contrib/remap.sh.
grep -qaF -e /usr/local/cargo/ -e /src/target/ "$program" && fail "the program names the builder's directories"
objcopy --dump-section .dep-v0="$bed/crates" "$program" /dev/null
crates=$(python3 -c '
import json, sys, zlib
crates = json.loads(zlib.decompress(open(sys.argv[1], "rb").read()))["packages"]
assert {"ring", "axum", "unified-push"} <= {crate["name"] for crate in crates}
print(len(crates))' "$bed/crates")
echo "the program lists its $crates crates"
command podman image umount unified-push >/dev/null

echo "== run"
wait_for_link() {
    healthcheck_says '"link":"up"'
}
healthcheck_says() {
    command podman exec $NAME unified-push healthcheck | grep -q "$1"
}
eval "$(told "Run it")" >"$bed/told.log" 2>&1
# shellcheck disable=SC2154 # what the documentation calls it
grep -qx "$secret" "$bed/told.log" || fail "the secret is not shown"
# Ready without its XMPP server; the link comes by itself.
eventually healthcheck_says '"ready":true'
start_prosody "$gateway" "$secret"
eventually wait_for_link

process=$(command podman inspect $NAME --format '{{.State.Pid}}')
status() {
    awk -v name="$1:" '$1 == name { print $2 }' "/proc/$process/status"
}
[ "$(status Uid)" = 65532 ] || fail "runs as uid $(status Uid)"
[ "$(status CapEff)$(status CapBnd)" = 00000000000000000000000000000000 ] || fail "has capabilities"
[ "$(status THP_enabled)" = 0 ] || fail "takes huge pages"
[ "$(status NoNewPrivs)" = 1 ] || fail "may gain privileges"
[ "$(command podman inspect $NAME --format '{{.HostConfig.Memory}}')" = $((512 << 20)) ] ||
    fail "has no bound of memory"

echo "== push"
start_phone
push "hardened"

echo "== health"
eval "$(told "See that it works")" >"$bed/seen" 2>&1
health() {
    [ "$(command podman inspect $NAME --format '{{.State.Health.Status}}')" = "$1" ]
}
health healthy || fail "not healthy: $(cat "$bed/seen")"
command podman kill --signal STOP $NAME >/dev/null
# Three failures make it unhealthy; those of its first seconds do not count.
for _ in 1 2 3 4 5; do
    command podman healthcheck run $NAME >/dev/null && fail "a daemon that is stuck is healthy"
    if health unhealthy; then
        break
    fi
done
health unhealthy || fail "it is stuck, and not unhealthy"
command podman kill --signal CONT $NAME >/dev/null
command podman healthcheck run $NAME >/dev/null || fail "it is not healthy again"
health healthy || fail "it is not healthy again"
echo "healthy, unhealthy and healthy again"

echo "== stop"
before=$(date +%s%N)
mapfile -t stop <<<"$(told "Upgrade and stop")"
eval "${stop[0]}" >/dev/null
took=$((($(date +%s%N) - before) / 1000000))
code=$(command podman inspect $NAME --format '{{.State.ExitCode}}')
echo "stopped after $took ms with $code"
if [ "$code" != 0 ] || [ "$took" -gt 3000 ]; then
    fail "podman stop"
fi
eval "${stop[1]}" >/dev/null

echo "== a new container"
run=$(told "Run it" | sed '/^secret=/d; /^printf/d')
eval "$run" >/dev/null
eventually wait_for_link
push "the state is kept"
echo "tests/image.sh: all is well"
