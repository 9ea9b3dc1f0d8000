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
. tests/cluster/bed.sh
build_cluster
[ -x "$tools/kwok" ] || GOBIN=$tools nice go install "sigs.k8s.io/kwok/cmd/kwok@$KWOK"

echo "== a cluster"
start_cluster
start kwok --kubeconfig "$KUBECONFIG" --manage-all-nodes --config tests/cluster/stages.yaml

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
