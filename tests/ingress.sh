#!/bin/bash
# Whether a sender is ever answered 404 while the chart's only pod is replaced: the real Traefik, with its
# providers kubernetesIngress and kubernetesGateway as they are by default, the real API server,
# controllers and kube-proxy, and the daemon with a real Prosody and a phone behind them. There is no
# kubelet: tests/cluster/kubelet.py runs the daemon in the pods. Everything is in a network of its own,
# and ends with this script. As root; needs Go and 4 GiB of memory; after tests/helm.sh and
# tests/traefik.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/curl curl
need /usr/bin/openssl openssl
need /usr/bin/prosody prosody
need /usr/sbin/ip iproute2
need /usr/sbin/nft nftables
need /usr/lib/python3/dist-packages/slixmpp python3-slixmpp
install_packages

. tests/cluster/bed.sh
build_cluster
traefik=$PWD/target/traefik/traefik
if [ -z "${UNIFIED_PUSH:-}" ]; then
    cargo build --locked --quiet
    export UNIFIED_PUSH="$PWD/target/debug/unified-push"
fi
if [ -z "${OWN_NETWORK:-}" ]; then
    source_of() {
        (cd tests/proxies/traefik && go list -m -f '{{.Dir}}' "$1")
    }
    gateway=$(source_of sigs.k8s.io/gateway-api)/config/crd/standard
    own=$(source_of github.com/traefik/traefik/v3)/integration/fixtures/k8s/01-traefik-crd.yml
    OWN_NETWORK=yes GATEWAY_KINDS=$gateway TRAEFIK_KINDS=$own \
        exec unshare --net --pid --fork --mount-proc --kill-child "$0" "$@"
fi

ip link set lo up
ip link add pods type bridge
ip address add 10.244.0.1/24 dev pods
ip link set pods up
# For Services too: kube-proxy changes the address before a packet leaves.
ip route add default dev pods

echo "== a cluster"
start_cluster
mkdir "$bed/pods"
chmod 711 "$bed" "$bed/pods"
start tests/cluster/kubelet.py $API "$bed/certs/apiserver.crt" "$token" "$bed/pods" "$UNIFIED_PUSH"
eventually kubectl wait --for condition=Ready node/node --timeout 1s
start kube-proxy --kubeconfig "$KUBECONFIG" --proxy-mode nftables --hostname-override node \
    --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0 \
    --conntrack-tcp-timeout-close-wait 0 --cluster-cidr 10.244.0.0/24
eventually curl --silent --fail http://127.0.0.1:10256/healthz

echo "== Traefik"
INGRESS=8443 GATEWAY=8444
declare -A of=([$INGRESS]=Ingress [$GATEWAY]=HTTPRoute)
COMPONENT=up.example.org CLIENTS=15222
openssl req -x509 -nodes -days 2 -subj /CN=$COMPONENT -addext subjectAltName=DNS:$COMPONENT \
    -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
    -keyout "$bed/key.pem" -out "$bed/certificate.pem" 2>/dev/null
kubectl create secret tls push-tls --namespace push --key "$bed/key.pem" --cert "$bed/certificate.pem" >/dev/null
kubectl apply --filename "$GATEWAY_KINDS" --filename "$TRAEFIK_KINDS" >/dev/null 2>&1
eventually kubectl apply --filename tests/cluster/traefik.yaml
# $1: the name of a provider, $2: its port.
start_traefik() {
    mkdir -p "$bed/$1"
    (cd "$bed/$1" && exec "$traefik" --global.checkNewVersion=false \
        --entryPoints.websecure.address="127.0.0.1:$2" --entryPoints.websecure.http.tls=true \
        "--providers.$1=true" "--providers.$1.endpoint=https://127.0.0.1:$API" \
        "--providers.$1.token=$token" "--providers.$1.certAuthFilePath=$bed/certs/apiserver.crt" \
        >"$bed/traefik-$1.log" 2>&1) &
    children="$! $children"
}
start_traefik kubernetesIngress $INGRESS
start_traefik kubernetesGateway $GATEWAY

echo "== install"
values="--set image.repository=registry.example.org/unified-push,image.tag=one
    --set config.component.domain=$COMPONENT,config.component.host=10.244.0.1
    --set ingress.enabled=true,ingress.className=traefik,ingress.tlsSecretName=push-tls
    --set httpRoute.enabled=true,httpRoute.parentRefs[0].name=public
    --set config.limits.endpoint_rate=1000/s"
upgrade() {
    # shellcheck disable=SC2086 # a list of options
    helm upgrade push helm --namespace push --install --timeout 60s $values "$@" >"$bed/notes"
}
upgrade --wait
grep -q "Traefik would answer 404" "$bed/notes" || fail "the notes do not tell of Traefik"
secret=$(kubectl get secret push-unified-push --namespace push --output 'jsonpath={.data.component-secret}' | base64 -d)
BED=$bed ADDRESS=10.244.0.1 CLIENTS=$CLIENTS SECRET=$secret \
    prosody --config tests/image/prosody.cfg.lua -F >"$bed/prosody.out.log" 2>&1 &
children="$! $children"
registered() {
    tests/image/phone.py 127.0.0.1 $CLIENTS juliet@example.org/phone $COMPONENT >"$bed/phone" 2>"$bed/phone.log" &
    phone=$!
    for _ in $(seq 50); do
        grep -q ^endpoint "$bed/phone" && children="$phone $children" && return
        sleep 0.2
    done
    kill $phone
    return 1
}
eventually registered
endpoint=$(sed -n 's/^endpoint //p' "$bed/phone")
accepts() {
    [ "$(curl --silent --output /dev/null --write-out '%{http_code}' --cacert "$bed/certificate.pem" \
        --connect-to "::127.0.0.1:$1" --header 'TTL: 60' --data news "$endpoint")" = 201 ]
}
for port in $INGRESS $GATEWAY; do
    eventually accepts "$port"
    tests/cluster/senders.py "$port" "$bed/certificate.pem" "$endpoint" >"$bed/$port.statuses" &
    children="$! $children"
    eventually grep -q 201 "$bed/$port.statuses"
done

# What each provider answered while the rest of the arguments ran, and until pushes are taken again.
during() {
    local what=$1 port
    shift
    for port in $INGRESS $GATEWAY; do
        wc -l <"$bed/$port.statuses" >"$bed/$port.before"
    done
    "$@"
    for port in $INGRESS $GATEWAY; do
        eventually accepts "$port"
    done
    sleep 2
    for port in $INGRESS $GATEWAY; do
        tail -n +$(($(cat "$bed/$port.before") + 1)) "$bed/$port.statuses" | sort | uniq -c |
            awk '{ printf "%s%s × %s", (NR > 1 ? ", " : ""), $2, $1 }' >"$bed/$port.told"
        printf '%-32s %s: %s\n' "$what" "${of[$port]}" "$(cat "$bed/$port.told")"
    done
}
never_404() {
    during "$@"
    for port in $INGRESS $GATEWAY; do
        ! grep -qE '[34][0-9][0-9] ×' "$bed/$port.told" || fail "$1: a sender was told to give up"
        grep -q 201 "$bed/$port.told" || fail "$1: no push was accepted"
    done
}
ready() {
    kubectl rollout status statefulset/push-unified-push --namespace push --timeout 60s >/dev/null
}
roll_back() {
    helm rollback push --namespace push --wait --timeout 60s >/dev/null
}
replace() {
    kubectl delete pod push-unified-push-0 --namespace push --wait=false >/dev/null
    sleep 1
    eventually ready
}
kill_daemon() {
    # shellcheck disable=SC2046 # several
    kill -KILL $(pgrep -f "^/unified-push serve")
    sleep 1
    eventually ready
}
# What the page says, with the controller at $port.
# shellcheck disable=SC2317 # the page calls them
as_told() {
    kubectl() {
        command kubectl "$@" >/dev/null
    }
    curl() {
        command curl --silent --cacert "$bed/certificate.pem" --connect-to "::127.0.0.1:$port" "$@" |
            sed "s/^HTTP/${of[$port]} answers the page's command with HTTP/; q" | tee -a "$bed/pages"
    }
    eval "$(told "Never a 404 while a pod is missing")"
    unset -f kubectl curl
    eventually ready
}
no_pod() {
    local port
    for port in $INGRESS $GATEWAY; do
        as_told
    done
}
wrong_image() {
    upgrade --set image.tag=missing
    sleep 10
    upgrade
    # A StatefulSet does not replace a pod that never was ready.
    replace
}

echo "== pushes, meanwhile"
never_404 "the pod is replaced" replace
never_404 "the release is upgraded" upgrade --wait --set config.log.level=debug
never_404 "the release is rolled back" roll_back
never_404 "the daemon is killed" kill_daemon
never_404 "an image that does not exist" wrong_image
never_404 "no pod, as the page says" no_pod

echo "== without what the chart does about Traefik"
upgrade --wait --set-string 'service.annotations.traefik\.ingress\.kubernetes\.io/service\.nativelb=false'
grep -q "WARNING: Traefik" "$bed/notes" || fail "the notes do not warn"
during "the pod is replaced" replace
during "no pod, as the page says" no_pod
grep -q "^Ingress .* 404" "$bed/pages" || fail "who tries Traefik as the page says learns nothing"
grep -q 404 "$bed/$INGRESS.told" || fail "Traefik answers no 404 anyway: does this test see one?"
echo "tests/ingress.sh: all is well"
