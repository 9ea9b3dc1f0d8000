"""Fails when docs/configuration.md (which a test compares with the table of options), the chart's
values and its schema do not know the same options, defaults and choices; or when chart, image and
program have different versions."""

import json
import re
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]

# Why the chart's default is another one than the daemon's.
DIFFERENT = {
    "component.host": "no server runs in the pod",
    "http.listen": "others reach the pod from outside",
    "admin.listen": "others reach the pod from outside",
    "http.trusted_proxies": "the proxy is another pod",
}


def documented():
    """The type and the default of each option."""
    text = (ROOT / "docs/configuration.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \| `UNIFIED_PUSH_\w+` \| (.*?) \| (.*?) \|", text, re.M)
    return {path: (kind, default) for path, kind, default in rows}


def flat(tree, is_leaf):
    found = {}
    for name, value in tree.items():
        if is_leaf(value):
            found[name] = value
        else:
            inner = flat(value.get("properties", value), is_leaf)
            found |= {f"{name}.{path}": leaf for path, leaf in inner.items()}
    return found


def value_of(default):
    """What the documentation says is the default, or nothing when it says it in words."""
    literal = re.fullmatch(r"`(.*)`", default)
    try:
        return tomllib.loads(f"value = {literal[1]}")["value"] if literal else None
    except tomllib.TOMLDecodeError:
        return None


def main():
    options = documented()
    chart = yaml.safe_load((ROOT / "helm/values.yaml").read_text())["config"]
    values = flat(chart, lambda value: not isinstance(value, dict))
    schema = json.loads((ROOT / "helm/values.schema.json").read_text())
    schema = schema["properties"]["config"]["properties"]
    checks = flat(schema, lambda value: "properties" not in value)

    faults = []
    sources = {
        "docs/configuration.md": set(options),
        "helm/values.yaml": set(values),
        "helm/values.schema.json": set(checks),
    }
    everything = set.union(*sources.values())
    for name, known in sources.items():
        faults += [f"{name} lacks {path}" for path in sorted(everything - known)]
    for path, (kind, default) in options.items():
        if path not in values or path not in checks:
            continue
        expected, actual = value_of(default), values[path]
        # What has no default is empty in the chart.
        expected = expected if expected is not None else type(actual)()
        if (expected != actual) != (path in DIFFERENT):
            faults.append(f"{path}: {expected!r} in docs/configuration.md, {actual!r} in helm/values.yaml")
        choices = re.findall(r'`"([a-z]+)"`', kind)
        if re.fullmatch(r'(`"[a-z]+"`(, | or )?)+', kind) and checks[path].get("enum") != choices:
            faults.append(f"{path}: {choices} in docs/configuration.md, helm/values.schema.json has others")
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    chart = yaml.safe_load((ROOT / "helm/Chart.yaml").read_text())
    image = re.search(r"^ARG VERSION=(.*)$", (ROOT / "Containerfile").read_text(), re.M)[1]
    if not version == chart["appVersion"] == image:
        faults.append(f"Cargo.toml has {version}, the chart {chart['appVersion']}, the image {image}")
    sys.exit("\n".join(faults) or None)


if __name__ == "__main__":
    main()
