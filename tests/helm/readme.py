"""Makes helm/README.md from the comments of helm/values.yaml; --check compares instead."""

import json
import re
import sys
from pathlib import Path

import yaml

CHART = Path(__file__).parents[2] / "helm"

HEAD = """# Helm chart of unified-push

docs/install-kubernetes.md explains how to install the chart. tests/helm/readme.py generates this page
from the comments in values.yaml.

With the embedded store, the daemon runs in a StatefulSet of one pod. With PostgreSQL, it runs in a
Deployment of as many pods as you like. docs/configuration.md explains everything under `config` in
detail.

| value | default | meaning |
|---|---|---|
"""


def rows(text):
    """(path, default, comment) of each commented key that is no section with comments inside."""
    values = yaml.safe_load(text)
    comment, path, found = [], [], []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith("# "):
            comment.append(line.strip()[2:])
        elif match := re.match(r"( *)([\w]+):", line):
            path = [*path[: indent // 2], match[2]]
            # What stands deeper is the value of a commented key.
            if comment:
                found.append((list(path), " ".join(comment)))
            comment = []
        elif not line.strip():
            comment = []
    parents = {tuple(path[:length]) for path, _ in found for length in range(len(path))}
    for path, meaning in found:
        value = values
        for name in path:
            value = value[name]
        default = "" if tuple(path) in parents else f"`{json.dumps(value, ensure_ascii=False)}`"
        yield ".".join(path), default, meaning


def readme():
    text = (CHART / "values.yaml").read_text()
    lines = [f"| `{path}` | {value} | {meaning} |\n" for path, value, meaning in rows(text)]
    return HEAD + "".join(lines)


def leaves(value, path=()):
    """The paths that a user sets: what the chart hands on to Kubernetes as it is counts as one."""
    if isinstance(value, dict) and value and path not in HANDED_ON:
        return [leaf for name in value for leaf in leaves(value[name], (*path, name))]
    return [".".join(path)]


HANDED_ON = {
    ("resources",),
    ("podSecurityContext",),
    ("securityContext",),
    ("prosody", "resources"),
    ("metrics", "dashboard", "labels"),
}

if __name__ == "__main__":
    text = (CHART / "values.yaml").read_text()
    commented = {path for path, default, _ in rows(text) if default}
    silent = set(leaves(yaml.safe_load(text))) - commented
    if silent:
        sys.exit(f"helm/values.yaml: no comment above {', '.join(sorted(silent))}")
    if sys.argv[1:] != ["--check"]:
        (CHART / "README.md").write_text(readme())
    elif (CHART / "README.md").read_text() != readme():
        sys.exit("helm/README.md is not what values.yaml says: run tests/helm/readme.py")
