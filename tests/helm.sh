#!/bin/sh
# Tests the chart in helm/ with the real helm, without a cluster: lint, rendering over
# tests/helm/values, Kubernetes' schemas and Pod Security, wrong values, the daemon's own
# check-config, alerts. Needs Go, and cargo or $UNIFIED_PUSH. `--update` rewrites the snapshots and
# helm/README.md.
set -eu
cd "$(dirname "$0")/.."

HELM_VERSION=v4.3.1
KUBERNETES_VALIDATE=1.37.0

. tests/packages.sh
need /usr/bin/promtool prometheus
need /usr/share/doc/python3-venv python3-venv
install_packages

tools=$PWD/target/helm
export HELM="$tools/helm-$HELM_VERSION" POD_SECURITY="$tools/pod-security"
mkdir -p "$tools"
if [ ! -x "$HELM" ]; then
    GOBIN="$tools" go install "helm.sh/helm/v4/cmd/helm@$HELM_VERSION"
    mv "$tools/helm" "$HELM"
fi
(cd tests/helm/pod-security && go build -o "$POD_SECURITY" .)
python="$tools/venv/bin/python"
if ! "$python" -c 'import kubernetes_validate' 2>/dev/null; then
    python3 -m venv "$tools/venv"
    "$python" -m pip install --quiet "kubernetes-validate==$KUBERNETES_VALIDATE"
fi
if [ -z "${UNIFIED_PUSH:-}" ]; then
    cargo build --locked --quiet
    export UNIFIED_PUSH="$PWD/target/debug/unified-push"
fi

if [ "${1:-}" = --update ]; then
    "$python" tests/helm/readme.py
fi
"$python" tests/helm/readme.py --check
"$python" tests/helm/render.py "$@"
promtool check rules helm/files/alerts.yaml
rules=$(mktemp -d)
trap 'rm -r "$rules"' EXIT
cp helm/files/alerts.yaml tests/helm/alerts_test.yaml "$rules"
(cd "$rules" && promtool test rules alerts_test.yaml)
