"""Renders the chart over values/*.yaml and wrong.yaml with the real helm, and looks at what comes
out. `--update` rewrites snapshots/. Programs: $HELM, $UNIFIED_PUSH, $POD_SECURITY."""

import base64
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

HERE = Path(__file__).parent
CHART = HERE.parents[1] / "helm"
HELM, UNIFIED_PUSH, POD_SECURITY = (
    os.environ[name] for name in ("HELM", "UNIFIED_PUSH", "POD_SECURITY")
)

# The oldest that the chart names, one between, and the newest that there are schemas for.
KUBERNETES = ("1.25", "1.31", "1.37")
CUSTOM = yaml.safe_load((HERE / "custom-resources.yaml").read_text())
NATIVE = "traefik.ingress.kubernetes.io/service.nativelb"
SECRET_DIR = "/run/secrets/unified-push"
# No random values: what comes out is always the same.
SNAPSHOTS = ("everything", "postgres", "autoscaled", "files", "federated")
WORKLOADS = ("StatefulSet", "Deployment")

faults = []


def run(*command, text=None):
    return subprocess.run(command, input=text, capture_output=True, text=True)


def check(name, good, what):
    if not good:
        faults.append(f"{name}: {what}")


def template(values):
    return run(HELM, "template", "up", CHART, "--namespace=push", *(f"--values={v}" for v in values))


def scenario(path, update):
    name = path.stem
    lint = run(HELM, "lint", "--strict", CHART, f"--values={path}")
    check(name, lint.returncode == 0, f"helm lint: {lint.stdout}{lint.stderr}")
    rendered = template([path])
    if rendered.returncode != 0:
        return check(name, False, rendered.stderr)
    documents = [doc for doc in yaml.safe_load_all(rendered.stdout) if doc]
    by_kind = {doc["kind"]: doc for doc in documents}
    for doc in documents:
        valid(f"{name}: {doc['kind']} {doc['metadata']['name']}", doc)
    pod_security(name, rendered.stdout)
    consistent(name, documents)
    carrier(name, documents)
    never_empty(name, documents)
    reachable(name, by_kind, documents)
    configuration(name, by_kind, documents, rendered.stdout)
    handed_out(name, by_kind, documents)
    if name in SNAPSHOTS:
        snapshot(name, rendered.stdout, update)
    print(f"{name}: {len(documents)} objects, {', '.join(sorted(by_kind))}")


def valid(name, doc):
    if doc["kind"] in CUSTOM["definitions"]:
        schema = {"$ref": f"#/definitions/{doc['kind']}", **CUSTOM}
        errors = jsonschema.Draft7Validator(schema).iter_errors(doc)
        return [check(name, False, error.message) for error in errors]
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(doc, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            check(name, False, f"Kubernetes {version}: {error.message}")


def pod_security(name, manifests):
    verdict = run(POD_SECURITY, text=manifests)
    check(name, verdict.returncode == 0, verdict.stdout + verdict.stderr)


def daemon(documents):
    """The workload whose pods run it."""
    workloads = (doc for doc in documents if doc["kind"] in WORKLOADS)
    return next(d for d in workloads if d["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] == "daemon")


def carrier(name, documents):
    """The chart's own Prosody, which the daemon finds without being told of it."""
    for doc in documents:
        if doc["kind"] != "Deployment" or not doc["metadata"]["name"].endswith("-prosody"):
            continue
        spec = doc["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        check(name, container["securityContext"]["readOnlyRootFilesystem"], "prosody: the root is writable")
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        check(name, mounted == {volume["name"] for volume in spec["volumes"]}, f"prosody: mounts: {mounted}")
        config = next(d for d in documents if "config.toml" in d.get("data", {}))["data"]["config.toml"]
        host = re.search('^host = "(.*)"$', config, re.M)
        check(name, host and host[1] == doc["metadata"]["name"], f"the daemon connects elsewhere: {host}")


def consistent(name, documents):
    """What names another object, names one that is there."""
    there = {(doc["kind"], doc["metadata"]["name"]) for doc in documents}
    workload = daemon(documents)
    pod = workload["spec"]["template"]
    pods = [doc["spec"]["template"]["metadata"]["labels"] for doc in documents if doc["kind"] in WORKLOADS]
    labels = pod["metadata"]["labels"]
    for doc in documents:
        spec = doc.get("spec", {})
        selectors = {
            "Service": lambda: spec["selector"],
            "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
            "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
            "StatefulSet": lambda: spec["selector"]["matchLabels"],
            "Deployment": lambda: spec["selector"]["matchLabels"],
        }
        selector = selectors.get(doc["kind"], dict)()
        selected = sum(selector.items() <= pod_labels.items() for pod_labels in pods)
        check(name, selected == 1 or not selector, f"{doc['kind']} selects {selected} pods: {selector}")
    admin = next(doc for doc in documents if doc["metadata"]["name"].endswith("-admin"))
    for doc in documents:
        if doc["kind"] == "ServiceMonitor":
            wanted = doc["spec"]["selector"]["matchLabels"].items()
            check(name, wanted <= admin["metadata"]["labels"].items(), "ServiceMonitor: no Service")
    if workload["kind"] == "StatefulSet":
        check(name, workload["spec"]["replicas"] < 2, "two pods on one file")
        check(name, ("Service", workload["spec"]["serviceName"]) in there, "no governing Service")
    for test_pod in (doc for doc in documents if doc["kind"] == "Pod"):
        check(name, not labels.items() <= test_pod["metadata"]["labels"].items(), "the test is served")
        variable = test_pod["spec"]["containers"][0]["env"][0]["value"]
        service = admin["metadata"]["name"].upper().replace("-", "_")
        check(name, variable == f"$({service}_SERVICE_HOST):$({service}_SERVICE_PORT)", variable)
    spec = pod["spec"]
    check(name, spec["enableServiceLinks"] is False, "enableServiceLinks")
    check(name, spec["automountServiceAccountToken"] is False, "a token is mounted")
    container = spec["containers"][0]
    check(name, container["securityContext"]["readOnlyRootFilesystem"], "the root is writable")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        check(name, probe in container, f"no {probe}")
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    check(name, mounted == {volume["name"] for volume in spec["volumes"]}, f"mounts: {mounted}")


def never_empty(name, documents):
    """The public Service has an address whatever the state of an only pod, and Traefik uses its own."""
    kinds = {doc["kind"] for doc in documents}
    replicas = daemon(documents)["spec"].get("replicas", 2)
    many = replicas > 1 or "HorizontalPodAutoscaler" in kinds
    public, admin = (doc for doc in documents if doc["kind"] == "Service" and "-prosody" not in doc["metadata"]["name"])
    check(name, public["spec"].get("publishNotReadyAddresses", False) != many, "publishNotReadyAddresses")
    check(name, "publishNotReadyAddresses" not in admin["spec"], "metrics of a pod that is not ready")
    check(name, public["metadata"]["annotations"][NATIVE] == "true", "no annotation for Traefik")


def reachable(name, by_kind, documents):
    """What has an endpoint's path, and the Matrix gateway at the root, goes to the public Service."""
    public = next(doc for doc in documents if doc["kind"] == "Service")["metadata"]["name"]
    for kind in by_kind.keys() & {"Ingress", "HTTPRoute"}:
        (rule,) = by_kind[kind]["spec"]["rules"]
        if kind == "Ingress":
            paths = {(path["pathType"], path["path"]) for path in rule["http"]["paths"]}
            services = {path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
        else:
            paths = {(match["path"]["type"], match["path"]["value"]) for match in rule["matches"]}
            services = {backend["name"] for backend in rule["backendRefs"]}
        matrix = ("Exact", "/_matrix/push/v1/notify")
        everything = {("Prefix", "/"), ("PathPrefix", "/")}
        check(name, matrix in paths or paths & everything, f"{kind}: no Matrix gateway: {paths}")
        check(name, services == {public}, f"{kind}: {services}")


def configuration(name, by_kind, documents, rendered):
    """The daemon itself accepts the ConfigMap with the Secret's files, without a warning."""
    config = next(d for d in documents if "config.toml" in d.get("data", {}))["data"]["config.toml"]
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        secrets = {key: base64.b64decode(v) for key, v in by_kind.get("Secret", {"data": {}})["data"].items()}
        for option, path in re.findall(r'^(\w+_file) = "(.*)"$', config, re.M):
            content = {"url_file": b"postgres://up@db/up"}.get(option, b"of-somebody-else-0123456789-" + path.encode())
            content = secrets.get(Path(path).name, content)
            file = directory / path.replace("/", "_")
            file.touch(0o600)
            file.write_bytes(content)
            config = config.replace(f'"{path}"', f'"{file}"')
        (directory / "config.toml").write_text(config)
        verdict = run(UNIFIED_PUSH, "check-config", "--config", directory / "config.toml")
    said = verdict.stdout + verdict.stderr
    check(name, verdict.returncode == 0 and "warning" not in said, f"check-config: {said}")
    for key, value in secrets.items():
        check(name, value.decode() not in config, f"{key} stands in the ConfigMap")
        check(name, rendered.count(value.decode()) == 0, f"{key} stands somewhere in plain")


def handed_out(name, by_kind, documents):
    """The files that promtool and the metrics' check look at are those that the chart hands out."""
    if "PrometheusRule" in by_kind:
        alerts = yaml.safe_load((CHART / "files/alerts.yaml").read_text())
        check(name, by_kind["PrometheusRule"]["spec"] == alerts, "other alerts")
    for doc in documents:
        if doc["metadata"]["name"].endswith("-board"):
            dashboard = json.loads((CHART / "files/dashboard.json").read_text())
            check(name, json.loads(doc["data"]["unified-push.json"]) == dashboard, "other dashboard")


def snapshot(name, rendered, update):
    path = HERE / "snapshots" / f"{name}.yaml"
    # They change with the version, and checksums() looks at them.
    rendered = re.sub(r"^( *checksum/\w+: ).*$", r"\1CHECKSUM", rendered, flags=re.M)
    if update:
        path.write_text(rendered)
    before = path.read_text() if path.exists() else ""
    changes = difflib.unified_diff(before.splitlines(), rendered.splitlines(), str(path), "now", lineterm="")
    text = "\n".join(changes)
    check(name, not text, f"changed; if rightly so, run tests/helm.sh --update\n{text}")


def refusals():
    cases = yaml.safe_load((HERE / "wrong.yaml").read_text())
    for case in cases:
        name = f"wrong {json.dumps(case['values'])}"
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(case["values"], file)
            file.flush()
            refused = template([HERE / "values/minimal.yaml", file.name])
        check(name, refused.returncode != 0, "is accepted")
        check(name, case["says"] in refused.stderr, f"says: {refused.stderr}")
        if "hides" in case:
            check(name, case["hides"] not in refused.stderr, f"shows it: {refused.stderr}")
    print(f"{len(cases)} wrong values refused")


def notes():
    """What Helm says about Traefik: nothing, what the chart does, or that it was told not to."""
    off = '--set-json=service.annotations={"%s": "false"}' % NATIVE
    traefik = "--set=ingress.enabled=true,ingress.className=traefik"
    cases = [
        ("--set=ingress.enabled=true", [], ["Traefik"]),
        (traefik, ["Traefik would answer 404", "nativeLB: true"], ["WARNING: Traefik"]),
        (traefik, ["WARNING: Traefik", NATIVE, "allowEmptyServices"], ["Traefik would"], off),
        ("--set=httpRoute.enabled=false", ["never 404"], ["Traefik"], off),
    ]
    for option, there, absent, *more in cases:
        base = HERE / "values/minimal.yaml"
        command = (HELM, "install", "up", CHART, "--dry-run=client", f"--values={base}", option, *more)
        said = run(*command)
        name = f"notes {option} {' '.join(more)}"
        check(name, said.returncode == 0, said.stderr)
        told = said.stdout.partition("NOTES:")[2]
        for words in there:
            check(name, words in told, f"do not say {words}: {told}")
        for words in absent:
            check(name, words not in told, f"say {words}: {told}")


def checksums():
    """A change of the configuration or of a secret changes the pods; nothing else does."""

    def marks(*more):
        arguments = [argument for value in more for argument in ("--set", value)]
        base = HERE / "values/everything.yaml"
        rendered = run(HELM, "template", "up", CHART, f"--values={base}", *arguments).stdout
        return re.findall(r"checksum/\w+: (\w+)", rendered)

    config, secret = marks()
    check("checksums", marks() == [config, secret], "they change by themselves")
    check("checksums", marks("service.port=81") == [config, secret], "they change with anything")
    changed = marks("config.log.level=error")
    check("checksums", changed[0] != config and changed[1] == secret, "not by the configuration")
    changed = marks("config.component.secret=another")
    check("checksums", changed[0] == config and changed[1] != secret, "not by a secret")


def metrics():
    """Alerts and dashboard use only metrics, and values of labels, that the daemon has."""
    source = HERE.parents[1] / "src"
    known = set(re.findall(r'"(unified_push_\w+)"', (source / "metrics.rs").read_text()))
    labels = (source / "metrics/labels.rs").read_text() + (source / "runtime/health.rs").read_text()
    labels = set(re.findall(r'= "([a-z-]+)",', labels))
    for file in ("alerts.yaml", "dashboard.json"):
        text = re.sub(r'"uid": "[^"]*"', "", (CHART / "files" / file).read_text())
        for used in set(re.findall(r"\bunified_push_\w+", text)):
            check(file, used.removesuffix("_bucket") in known, f"{used} is no metric")
        for values in re.findall(r'\b(?:result|state|event|cause)=~?\\*"([^"\\]*)', text):
            for value in values.split("|"):
                check(file, value in labels, f"{value} is no label")


def main():
    update = sys.argv[1:] == ["--update"]
    for path in sorted((HERE / "values").glob("*.yaml")):
        scenario(path, update)
    refusals()
    notes()
    checksums()
    metrics()
    sys.exit("\n".join(faults) or None)


main()
