#!/bin/bash
# Runs the pod of the rendered chart for real, without a cluster: `podman kube play` of podman 5 in a
# Debian tree of its own, with the image that tests/image.sh built, a real Prosody outside and a phone
# on it. As root; after tests/image.sh and tests/helm.sh. Checks the quadlet units too.
set -euo pipefail
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/mmdebstrap mmdebstrap
need /usr/lib/python3/dist-packages/yaml python3-yaml
install_packages
. tests/image/host.sh
. tests/image/bed.sh

tree=$PWD/target/image/trixie
if [ ! -x "$tree/usr/bin/podman" ]; then
    mkdir -p "$(dirname "$tree")"
    rm -rf "$tree"
    # The newest Debian: podman 4 cannot play Secrets, and has no quadlet.
    mmdebstrap --quiet --variant=apt \
        --include=podman,runc,netavark,aardvark-dns,nftables,catatonit,mount,ca-certificates \
        trixie "$tree"
fi
# One set of mounts for all of podman's calls, or it would lose its network namespaces.
mkfifo "$bed/entered"
tests/image/enter.sh "$tree" sh -c 'echo entered; exec sleep infinity' >"$bed/entered" &
inhabitant=$!
children="$children $inhabitant"
read -r -t 10 _ <"$bed/entered"
inside() {
    # Its podman is not configured by what this one is configured by.
    nsenter --target "$inhabitant" --mount env --unset CONTAINERS_CONF \
        --unset CONTAINERS_STORAGE_CONF PODMAN_IGNORE_CGROUPSV1_WARNING=1 "$@"
}

echo "== quadlet"
mkdir -p "$tree/root/units"
cp contrib/quadlet/unified-push.* "$tree/root/units"
inside env QUADLET_UNIT_DIRS=/root/units /usr/libexec/podman/quadlet -dryrun >"$bed/units" 2>"$bed/quadlet.log" ||
    fail "quadlet: $(cat "$bed/quadlet.log")"
for option in --read-only '--cap-drop all' --security-opt=no-new-privileges --memory=512m; do
    grep -q -e "^ExecStart=.*$option" "$bed/units" || fail "quadlet: no $option"
done

echo "== kube play"
network=unified-push-pods
cleanup() {
    result=$?
    trap - EXIT
    if [ $result != 0 ]; then
        inside podman logs unified-push-pod-unified-push 2>&1 | tail -n 20 || true
    fi
    inside podman kube down --force "/root/pod.yaml" >/dev/null 2>&1 || true
    inside podman network rm --force $network >/dev/null 2>&1 || true
    clear_bed $result
    exit $result
}
trap cleanup EXIT
mkdir -p "$tree/etc/containers"
modest_podman >"$tree/etc/containers/containers.conf"
podman save --quiet unified-push | inside podman load --quiet >/dev/null
inside podman network create --ignore --subnet 10.77.5.0/24 $network >/dev/null
gateway=$(inside podman network inspect $network --format '{{(index .Subnets 0).Gateway}}')

"${HELM:-target/helm/helm-$(sed -n 's/^HELM_VERSION=//p' tests/helm.sh)}" template unified-push helm \
    --set image.repository=localhost/unified-push --set image.tag=latest \
    --set config.component.domain=$COMPONENT --set "config.component.host=$gateway" \
    --set config.component.secret=the-component-s-secret >"$bed/rendered.yaml"
python3 tests/image/pod.py <"$bed/rendered.yaml" >"$tree/root/pod.yaml"

play() {
    inside podman kube play --quiet --network $network --publish "127.0.0.1:$PORT:8080" \
        /root/pod.yaml >"$bed/play.log" 2>&1 || fail "$(cat "$bed/play.log")"
}
link_is_up() {
    inside podman exec unified-push-pod-unified-push unified-push healthcheck | grep -q '"link":"up"'
}
play
eventually ip -brief address show to "$gateway"
start_prosody "$gateway" the-component-s-secret
eventually link_is_up
start_phone
push "through the pod"
inside podman kube down /root/pod.yaml >/dev/null
play
eventually link_is_up
push "the claim keeps the state"
echo "tests/pods.sh: all is well"
