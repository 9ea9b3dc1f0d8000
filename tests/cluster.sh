#!/bin/bash
# Installs the chart into a real Kubernetes API server, with its controllers and its scheduler, built
# from their published Go modules, and runs what docs/install-kubernetes.md tells people to type.
# There is no kubelet: KWOK stands in for the node and says of each pod that it runs, and of a test's
# that it succeeded. tests/pods.sh runs the pod for real. Needs Go and 4 GiB of memory; after
# tests/helm.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/curl curl
need /usr/bin/openssl openssl
install_packages

KWOK=v0.8.0
tools=$PWD/target/cluster
mkdir -p "$tools"
version=$(sed -n 's/.*k8s.io\/kubernetes v\([0-9.]*\).*/\1/p' tests/cluster/go.mod)
minor=${version#1.}
# Helm asks the server for its version, which only the linker knows.
stamp=k8s.io/component-base/version
stamp="-X $stamp.gitVersion=v$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%.*}"
for tool in etcd=go.etcd.io/etcd/server/v3 kubectl=k8s.io/kubernetes/cmd/kubectl \
    kube-apiserver=k8s.io/kubernetes/cmd/kube-apiserver \
    kube-controller-manager=k8s.io/kubernetes/cmd/kube-controller-manager \
    kube-scheduler=k8s.io/kubernetes/cmd/kube-scheduler; do
    [ -x "$tools/${tool%%=*}" ] ||
        (cd tests/cluster && nice go build -ldflags "$stamp" -o "$tools/${tool%%=*}" "${tool#*=}")
done
[ -x "$tools/kwok" ] || GOBIN=$tools nice go install "sigs.k8s.io/kwok/cmd/kwok@$KWOK"
cp "target/helm/helm-$(sed -n 's/^HELM_VERSION=//p' tests/helm.sh)" "$tools/helm"
PATH=$tools:$PATH

bed=$(mktemp -d)
children=
fail() {
    echo "tests/cluster.sh: $*" >&2
    exit 1
}
eventually() {
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    fail "in vain: $*"
}
cleanup() {
    result=$?
    trap - EXIT
    if [ $result != 0 ]; then
        kubectl get all,events --all-namespaces 2>&1 | tail -n 40 || true
        tail -n 5 "$bed"/*.log || true
    fi
    for child in $children; do
        kill "$child" 2>/dev/null || true
    done
    wait
    rm -rf "$bed"
    exit $result
}
trap cleanup EXIT
start() {
    "$@" >"$bed/$1.log" 2>&1 &
    children="$! $children"
}

echo "== a cluster"
ETCD=127.0.0.1:23790 API=16443
export KUBECONFIG=$bed/kubeconfig HELM_CONFIG_HOME=$bed HELM_CACHE_HOME=$bed
token=$(openssl rand -hex 16)
echo "$token,admin,admin,system:masters" >"$bed/tokens"
openssl genrsa -out "$bed/accounts.key" 2048 2>/dev/null
cat >"$KUBECONFIG" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$API", certificate-authority: $bed/certs/apiserver.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
EOF
start etcd --data-dir "$bed/etcd" --unsafe-no-fsync --listen-client-urls "http://$ETCD" \
    --advertise-client-urls "http://$ETCD" --listen-peer-urls http://127.0.0.1:23800 \
    --initial-advertise-peer-urls http://127.0.0.1:23800 --initial-cluster default=http://127.0.0.1:23800
start kube-apiserver --etcd-servers "http://$ETCD" --bind-address 127.0.0.1 --secure-port $API \
    --cert-dir "$bed/certs" --token-auth-file "$bed/tokens" --authorization-mode RBAC \
    --service-cluster-ip-range 10.96.0.0/24 --service-account-issuer https://kubernetes.default \
    --service-account-key-file "$bed/accounts.key" \
    --service-account-signing-key-file "$bed/accounts.key"
eventually kubectl get --raw /readyz
start kube-controller-manager --kubeconfig "$KUBECONFIG" --leader-elect=false --secure-port 0 \
    --service-account-private-key-file "$bed/accounts.key" --root-ca-file "$bed/certs/apiserver.crt"
start kube-scheduler --kubeconfig "$KUBECONFIG" --leader-elect=false --secure-port 0
start kwok --kubeconfig "$KUBECONFIG" --manage-all-nodes --config tests/cluster/stages.yaml
kubectl apply --filename tests/cluster/node.yaml >/dev/null
eventually kubectl get serviceaccount default
kubectl create namespace push >/dev/null
kubectl label namespace push pod-security.kubernetes.io/enforce=restricted >/dev/null
kubectl version | sed -n 's/^Server/The server is/p'

told() {
    awk -v section="## $1" '
        /^## / { inside = $0 == section }
        /^```/ { block = inside && $0 == "```sh"; next }
        inside && block' docs/install-kubernetes.md
}
get() {
    kubectl get --namespace push "$1" "$2" --output "jsonpath=$3"
}
# Everything that must not change by itself.
state() {
    get secret push-unified-push '{.data}'
    get persistentvolumeclaim push-unified-push '{.spec.volumeName}'
}
marks() {
    get statefulset push-unified-push '{.spec.template.metadata.annotations}'
}

echo "== install"
eval "$(told "Install it")" >"$bed/notes"
secret=$(get secret push-unified-push '{.data.component-secret}' | base64 -d)
[ ${#secret} = 64 ] || fail "the secret is '$secret'"
show=$(sed -n 's/^ *\(kubectl get secret .*\)/\1/p' "$bed/notes" | head -n 1)
[ "$(eval "$show")" = "$secret" ] || fail "told to see the secret by: $show"
[ "$(get pod push-unified-push-0 '{.status.phase}')" = Running ] || fail "no pod runs"
before=$(state) marks=$(marks)

echo "== helm test"
eval "$(told "See that it works" | sed 's/ --logs//')"

echo "== upgrade"
eval "$(told "Let application servers in")" >/dev/null
[ "$(get ingress push-unified-push '{.spec.rules[0].host}')" = up.example.org ] || fail "no Ingress"
[ "$(state)" = "$before" ] || fail "the upgrade changed the secret or the volume"
[ "$(marks)" = "$marks" ] || fail "the pods changed, and nothing of theirs did"
helm upgrade push helm --namespace push --reset-then-reuse-values --wait --set config.log.level=debug >/dev/null
[ "$(marks)" != "$marks" ] || fail "the configuration changed, and the pods did not"
[ "$(state)" = "$before" ] || fail "the upgrade changed the secret or the volume"

mapfile -t commands <<<"$(told "Upgrade, go back, uninstall")"
echo "== rollback"
eval "${commands[1]}"
[ "$(marks)" = "$marks" ] || fail "the rollback left the pods as they were"
eval "${commands[0]}" >/dev/null

echo "== wrong upgrades"
if helm upgrade push helm --namespace push --reset-then-reuse-values --set replicas=2 2>"$bed/refused"; then
    fail "two pods on one file"
fi
grep -q "replicas: 2 needs PostgreSQL" "$bed/refused" || fail "$(cat "$bed/refused")"

echo "== uninstall, and install again"
eval "${commands[2]}" 2>/dev/null
[ "$(state)" = "$before" ] || fail "the secret or the volume is gone"
kubectl wait --namespace push --for=delete pod/push-unified-push-0 --timeout 60s >/dev/null
eval "$(told "Install it")" >/dev/null
[ "$(state)" = "$before" ] || fail "the new release has another secret or volume"

echo "== PostgreSQL"
helm install many helm --namespace push --wait --set image.repository=registry.example.org/unified-push \
    --set config.component.domain=up.example.net,config.component.host=prosody.xmpp.svc \
    --set config.store.url=postgres://up:secret@postgres.db.svc/up,replicas=3 >/dev/null
[ "$(get deployment many-unified-push '{.status.readyReplicas}')" = 3 ] || fail "not three pods"
kubectl rollout restart --namespace push deployment/many-unified-push >/dev/null
kubectl rollout status --namespace push deployment/many-unified-push --timeout 60s >/dev/null
echo "tests/cluster.sh: all is well"
