"""Turns the chart into what `podman kube play` knows: the StatefulSet becomes the pod that it makes,
and only what the pod needs stays. podman does not give volumes to fsGroup: everybody may read the
secrets, and the claim says whose it is. The pod is unchanged else."""

import sys

import yaml

NEEDED = ("ConfigMap", "Secret", "PersistentVolumeClaim")

documents = []
for document in yaml.safe_load_all(sys.stdin):
    if document["kind"] == "PersistentVolumeClaim":
        owner = {"volume.podman.io/uid": "65532", "volume.podman.io/gid": "65532"}
        document["metadata"]["annotations"].update(owner)
    if document["kind"] in NEEDED:
        documents.append(document)
    elif document["kind"] == "StatefulSet":
        pod = document["spec"]["template"]
        pod["metadata"]["name"] = document["metadata"]["name"] + "-pod"
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                volume["secret"]["defaultMode"] = 0o444
        documents.append({"apiVersion": "v1", "kind": "Pod", **pod})
yaml.safe_dump_all(documents, sys.stdout)
