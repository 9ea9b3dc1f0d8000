#!/usr/bin/python3
"""Compares all that know the daemon's options: the table in src/config, unified-push.example.toml,
docs/configuration.md, the module's nix/settings.nix, and the chart's values and schema. Fails when
one lacks an option that another has, or has another default or other choices; and when chart, image
and program have different versions. Needs nix-bin and python3-yaml.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CODE, EXAMPLE, DOCS, NIX, VALUES, SCHEMA = SOURCES = (
    "src/config/keys.rs",
    "unified-push.example.toml",
    "docs/configuration.md",
    "nix/settings.nix",
    "helm/values.yaml",
    "helm/values.schema.json",
)

# What the module does by an option of its own (docs/install-nixos.md), or by itself.
NOT_IN_SETTINGS = {
    "secret": "secretFile",
    "secret_file": "secretFile",
    "previous_secrets": "previousSecretsFile",
    "previous_secrets_file": "previousSecretsFile",
    "component.secret": "component.secretFile",
    "component.secret_file": "component.secretFile",
    "store.url_file": "store.urlFile",
    "state_dir": None,
}

# Why the chart's default is another one than the daemon's.
DIFFERENT_IN_CHART = {
    "component.host": "no server runs in the pod",
    "http.listen": "others reach the pod from outside",
    "admin.listen": "others reach the pod from outside",
    "http.trusted_proxies": "the proxy is another pod",
}


def read(path):
    return (ROOT / path).read_text()


def toml(literal):
    return tomllib.loads(f"value = {literal}")["value"]


def quoted(text):
    """The value between backticks; nothing when there are words besides."""
    literal = re.fullmatch("`([^`]*)`", text)
    return toml(literal[1]) if literal else None


def choices(text):
    """`"a"`, `"b"` or `"c"`; nothing when it is not an enumeration."""
    found = re.findall(r'"([a-z]+)"', text)
    return found if re.fullmatch(r'(`"[a-z]+"`(, | or )?)+', text) else None


# Each gives the options with their defaults (nothing where there is none, or it depends on others),
# and those that are one of a few words, with these.


def of_code():
    table = read(CODE).split("pub const KEYS", 1)[1].split("\n];", 1)[0]
    raw = r'r#"(?:.*?)"#|"(?:[^"\\]|\\.)*"'
    entry = re.compile(
        rf'\b(?:key|secret)\(\s*"([a-z_.]+)",\s*({raw}),\s*(\w+)(?:\(({raw})\))?,?\s*\)'
    )
    found = entry.findall(table)
    entries = len(re.findall(r"^    (?:key|secret)\(", table, re.M))
    assert len(found) == entries > 25, f"{len(found)} of the {entries} entries are understood"

    def text(literal):
        return literal[3:-2] if literal.startswith("r#") else json.loads(literal)

    values = {"Fixed": toml, "Derived": quoted}
    defaults = {
        path: values[fallback](text(value)) if fallback in values else None
        for path, _, fallback, value in found
    }
    return defaults, {path: choices(text(form)) for path, form, *_ in found}


def of_example():
    section, defaults = "", {}
    for line in read(EXAMPLE).splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        elif option := re.match(r"#([a-z_]+) = (.*)", line):
            defaults[section + option[1]] = toml(option[2])
    return defaults, {}


def of_docs():
    rows = re.findall(r"^\| `([a-z_.]+)` \| `UNIFIED_PUSH_\w+` \| (.*?) \| (.*?) \|", read(DOCS), re.M)
    return {row[0]: quoted(row[2]) for row in rows}, {row[0]: choices(row[1]) for row in rows}


def of_nix():
    command = ["nix-instantiate", "--eval", "--strict", "--json", ROOT / "nix/tests", "-A", "options"]
    # Nothing is fetched.
    environment = {**os.environ, "NIX_CONFIG": "substituters ="}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    if answer.returncode != 0:
        sys.exit(answer.stderr)
    options = json.loads(answer.stdout)
    defaults = {path: option["default"] for path, option in options.items()}
    found = {path: re.findall(r'"([a-z]+)"', option["type"]) for path, option in options.items()}
    return defaults, {path: words or None for path, words in found.items()}


def flat(tree, inner):
    """The leaves by their paths; `inner` gives what is below a node, or nothing."""
    for name, node in tree.items():
        if below := inner(node):
            yield from ((f"{name}.{path}", leaf) for path, leaf in flat(below, inner))
        else:
            yield name, node


def of_values():
    config = yaml.safe_load(read(VALUES))["config"]
    leaves = flat(config, lambda node: isinstance(node, dict) and node)
    # What is empty is left to the daemon.
    return {path: None if value in ("", []) else value for path, value in leaves}, {}


def of_schema():
    config = json.loads(read(SCHEMA))["properties"]["config"]["properties"]
    leaves = dict(flat(config, lambda node: node.get("properties")))
    return leaves, {path: check.get("enum") for path, check in leaves.items()}


def options():
    known, words = {}, {}
    readers = (of_code, of_example, of_docs, of_nix, of_values, of_schema)
    for source, reader in zip(SOURCES, readers, strict=True):
        known[source], words[source] = reader()
    told = read("docs/install-nixos.md")
    for path, option in NOT_IN_SETTINGS.items():
        if path in known[NIX]:
            yield f"{NIX} has {path}, which the module does by itself"
        if option and f"\n| `{option}` |" not in told:
            yield f"{path}: docs/install-nixos.md has no {option}"
    for path in sorted(set().union(*known.values(), NOT_IN_SETTINGS)):
        lacking = [source for source in SOURCES if path not in known[source]]
        if path in NOT_IN_SETTINGS and NIX in lacking:
            lacking.remove(NIX)
        yield from (f"{source} lacks {path}" for source in lacking)
        if path not in known[CODE]:
            continue
        default = known[CODE][path]
        for source in (EXAMPLE, DOCS, NIX, VALUES):
            other = known[source].get(path, default)
            # Where there is no default, the example has an example; null leaves it to the daemon.
            if source == EXAMPLE and default is None or source == NIX and other is None:
                continue
            if (other != default) != (source == VALUES and path in DIFFERENT_IN_CHART):
                yield f"{path}: {default!r} in {CODE}, {other!r} in {source}"
        for source in (DOCS, NIX, SCHEMA):
            if path in known[source] and words[source].get(path) != words[CODE][path]:
                yield f"{path}: {words[CODE][path]} in {CODE}, {words[source].get(path)} in {source}"


def versions():
    program = tomllib.loads(read("Cargo.toml"))["package"]["version"]
    chart = yaml.safe_load(read("helm/Chart.yaml"))["appVersion"]
    image = re.search(r"^ARG VERSION=(.*)$", read("Containerfile"), re.M)[1]
    if not program == chart == image:
        yield f"Cargo.toml has {program}, the chart {chart}, the image {image}"


if __name__ == "__main__":
    faults = [*options(), *versions()]
    sys.exit("\n".join(faults) or None)
