# shellcheck shell=bash
# Sourced by cluster.sh and ingress.sh: builds Kubernetes from its published Go modules, and starts an
# API server with its controllers and its scheduler. Only ingress.sh has a use for kube-proxy.

tools=$PWD/target/cluster
children=
fail() {
    echo "$0: $*" >&2
    exit 1
}
eventually() {
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    fail "in vain: $*"
}
start() {
    "$@" >"$bed/${1##*/}.log" 2>&1 &
    children="$! $children"
}
# Ends what the bed started; after a failure, shows what it said.
clear_bed() {
    local result=$? child
    trap - EXIT
    if [ $result != 0 ]; then
        kubectl get all,events --all-namespaces 2>&1 | tail -n 40 || true
        tail -n 5 "$bed"/*.log || true
    fi
    for child in $children; do
        # The API server would wait for the rest.
        kill -KILL "$child" 2>/dev/null || true
    done
    wait 2>/dev/null
    rm -rf "$bed"
    exit $result
}

build_cluster() {
    mkdir -p "$tools"
    local version minor stamp tool package
    version=$(sed -n 's/.*k8s.io\/kubernetes v\([0-9.]*\).*/\1/p' tests/cluster/go.mod)
    minor=${version#1.}
    # Helm asks the server for its version, which only the linker knows.
    stamp=k8s.io/component-base/version
    stamp="-X $stamp.gitVersion=v$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%.*}"
    for tool in etcd kubectl kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do
        package=k8s.io/kubernetes/cmd/$tool
        [ "$tool" != etcd ] || package=go.etcd.io/etcd/server/v3
        [ -x "$tools/$tool" ] ||
            (cd tests/cluster && nice go build -ldflags "$stamp" -o "$tools/$tool" "$package")
    done
    cp "target/helm/helm-$(sed -n 's/^HELM_VERSION=//p' tests/helm.sh)" "$tools/helm"
    PATH=$tools:$PATH
}

# With the node of node.yaml and the namespace "push". Sets $token and $API.
start_cluster() {
    bed=$(mktemp -d)
    trap clear_bed EXIT
    ETCD=127.0.0.1:23790 API=16443
    export KUBECONFIG=$bed/kubeconfig HELM_CONFIG_HOME=$bed HELM_CACHE_HOME=$bed
    token=$(openssl rand -hex 16)
    echo "$token,admin,admin,system:masters" >"$bed/tokens"
    openssl genrsa -out "$bed/accounts.key" 2048 2>/dev/null
    cat >"$KUBECONFIG" <<END
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$API", certificate-authority: $bed/certs/apiserver.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
END
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
    kubectl apply --filename tests/cluster/node.yaml >/dev/null
    eventually kubectl get serviceaccount default
    kubectl create namespace push >/dev/null
    kubectl label namespace push pod-security.kubernetes.io/enforce=restricted >/dev/null
    kubectl version | sed -n 's/^Server/The server is/p'
}

# The commands of a section of docs/install-kubernetes.md.
told() {
    awk -v section="## $1" '
        /^## / { inside = $0 == section }
        /^```/ { block = inside && $0 == "```sh"; next }
        inside && block' docs/install-kubernetes.md
}
