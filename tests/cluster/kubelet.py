#!/usr/bin/python3
"""Stands in for the kubelet of the one node: each pod is a network of its own, with the address that
its status names, and runs the daemon with what the pod mounts, its probes and its grace period. Which
states a pod goes through, and in what order, is as the kubelet does it.

kubelet.py API_PORT CERTIFICATE TOKEN DIRECTORY PROGRAM. As root. A pod whose image's tag is "missing"
never gets it; any other image takes three seconds to be pulled.
"""

import base64
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

PORT, CERTIFICATE, TOKEN, DIRECTORY, PROGRAM = sys.argv[1:]
BRIDGE = "10.244.0.1"
USER = 65532
# The kubelet starts a container that ended again after ten seconds, then twenty and so on.
BACKOFF = 10
PULL = 3
TLS = ssl.create_default_context(cafile=CERTIFICATE)
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def call(method, path, body=None, kind="application/json", timeout=30):
    connection = http.client.HTTPSConnection("127.0.0.1", int(PORT), context=TLS, timeout=timeout)
    connection.request(method, path, body and json.dumps(body), {**HEADERS, "Content-Type": kind})
    return connection.getresponse()


def get(path):
    answer = call("GET", path)
    if answer.status != 200:
        raise OSError(f"{path}: {answer.status} {answer.read()}")
    return json.load(answer)


def patch(path, body):
    answer = call("PATCH", f"{path}/status", {"status": body}, "application/merge-patch+json")
    text = answer.read()
    if answer.status not in (200, 404):
        print(path, answer.status, text, flush=True)


def run(*command):
    subprocess.run(command, check=True)


class Pod:
    """One pod on this node, in a thread of its own."""

    addresses = iter(range(10, 250))

    def __init__(self, pod):
        self.name, self.uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        self.path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{self.name}"
        self.namespace = pod["metadata"]["namespace"]
        self.spec = pod["spec"]
        self.container = self.spec["containers"][0]
        self.directory = Path(DIRECTORY) / self.uid
        self.number = next(Pod.addresses)
        self.address = f"10.244.0.{self.number}"
        self.grace = None
        self.stop = threading.Event()
        self.started, self.restarts = now(), 0
        self.sandbox = self.process = None
        threading.Thread(target=self.live, daemon=True).start()

    def live(self):
        try:
            self.make_sandbox()
            self.report("Pending", False, {"waiting": {"reason": "ContainerCreating"}})
            if self.container["image"].endswith(":missing"):
                self.report("Pending", False, {"waiting": {"reason": "ErrImagePull"}})
                self.stop.wait()
            elif not self.stop.wait(PULL):
                self.make_volumes()
                self.keep_running()
            self.end()
        except Exception as error:  # the test sees that the pod does not come up
            print(self.name, repr(error), flush=True)
            raise

    def report(self, phase, ready, state):
        truth = "True" if ready else "False"
        conditions = {"PodScheduled": "True", "Initialized": "True", "Ready": truth, "ContainersReady": truth}
        container = {"name": self.container["name"], "image": self.container["image"], "imageID": ""}
        container |= {"ready": ready, "restartCount": self.restarts, "state": state}
        patch(self.path, {
            "phase": phase,
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self.started,
            "conditions": [
                {"type": name, "status": value, "lastTransitionTime": now()}
                for name, value in conditions.items()
            ],
            "containerStatuses": [container],
        })

    def make_sandbox(self):
        self.sandbox = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        own, target = os.readlink("/proc/self/ns/net"), f"/proc/{self.sandbox.pid}/ns/net"
        while os.readlink(target) == own:
            time.sleep(0.01)
        link = f"pod{self.number}"
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(self.sandbox.pid))
        run("ip", "link", "set", link, "master", "pods", "up")
        inside = ["nsenter", "--net", "--target", str(self.sandbox.pid), "ip"]
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", "default", "via", BRIDGE)

    def make_volumes(self):
        base = f"/api/v1/namespaces/{self.namespace}"
        self.volumes = {}
        for volume in self.spec["volumes"]:
            directory = self.directory / volume["name"]
            files = {}
            if "configMap" in volume:
                data = get(f"{base}/configmaps/{volume['configMap']['name']}")["data"]
                files = {key: value.encode() for key, value in data.items()}
            elif "secret" in volume:
                data = get(f"{base}/secrets/{volume['secret']['secretName']}")["data"]
                data = {item["path"]: data[item["key"]] for item in volume["secret"]["items"]}
                files = {key: base64.b64decode(value) for key, value in data.items()}
            elif "persistentVolumeClaim" in volume:
                directory = Path(DIRECTORY) / volume["persistentVolumeClaim"]["claimName"]
            directory.mkdir(parents=True, exist_ok=True)
            os.chown(directory, USER, USER)
            for name, content in files.items():
                (directory / name).write_bytes(content)
                os.chown(directory / name, 0, USER)
                (directory / name).chmod(0o440)
            self.volumes[volume["name"]] = directory

    def start(self):
        """The container: this machine's libraries, the program, and the volumes. Nothing else."""
        root = self.directory / "root"
        root.mkdir(exist_ok=True)
        steps = [f"mount -t tmpfs tmpfs {root}", f"cd {root}", "mkdir usr", "mount --bind /usr usr"]
        steps += ["ln -s usr/lib lib", "ln -s usr/lib64 lib64", "touch unified-push"]
        steps += [f"mount --bind {PROGRAM} unified-push"]
        for mount in self.container["volumeMounts"]:
            steps += [f"mkdir -p .{mount['mountPath']}"]
            steps += [f"mount --bind {self.volumes[mount['name']]} .{mount['mountPath']}"]
        arguments = " ".join(self.container["args"])
        steps += [f"exec chroot --userspec={USER}:{USER} . /unified-push {arguments}"]
        command = ["nsenter", "--net", "--target", str(self.sandbox.pid)]
        command += ["unshare", "--mount", "sh", "-euc", "\n".join(steps)]
        environment = {variable["name"]: variable["value"] for variable in self.container["env"]}
        log = open(Path(DIRECTORY) / f"{self.name}.log", "ab")
        path = {"PATH": "/usr/bin:/usr/sbin"}
        self.process = subprocess.Popen(command, env=environment | path, stdout=log, stderr=log)

    def keep_running(self):
        while not self.stop.is_set():
            self.start()
            self.serve()
            if self.stop.is_set():
                return
            self.restarts += 1
            waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
            self.report("Running", False, waiting)
            self.stop.wait(BACKOFF)

    def serve(self):
        """Until the container ends, or shall end."""
        running = {"running": {"startedAt": now()}}
        self.report("Running", False, running)
        ready = started = False
        while self.process.poll() is None and not self.stop.is_set():
            if not started:
                started = self.probe("startupProbe")
                pause = self.container["startupProbe"]["periodSeconds"]
            if started:
                if self.probe("readinessProbe") != ready:
                    ready = not ready
                    self.report("Running", ready, running)
                pause = self.container["readinessProbe"]["periodSeconds"]
            # Sooner than the next probe, the end of the container is noticed.
            until = time.monotonic() + pause
            while time.monotonic() < until and self.process.poll() is None and not self.stop.is_set():
                time.sleep(0.05)

    def probe(self, kind):
        path = self.container[kind]["httpGet"]["path"]
        port = next(p["containerPort"] for p in self.container["ports"] if p["name"] == "admin")
        connection = http.client.HTTPConnection(self.address, port, timeout=1)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def end(self):
        state = {"terminated": {"exitCode": 0, "finishedAt": now()}}
        if self.process:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(self.grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            state["terminated"]["exitCode"] = abs(self.process.returncode)
        self.sandbox.kill()
        self.sandbox.wait()
        self.report("Failed" if state["terminated"]["exitCode"] else "Succeeded", False, state)
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        call("DELETE", self.path, options).read()
        shutil.rmtree(self.directory, ignore_errors=True)


def heartbeat():
    while True:
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        ready |= {"lastHeartbeatTime": now(), "lastTransitionTime": now()}
        addresses = [{"type": "InternalIP", "address": BRIDGE}]
        patch("/api/v1/nodes/node", {"conditions": [ready], "addresses": addresses})
        time.sleep(10)


def main():
    threading.Thread(target=heartbeat, daemon=True).start()
    pods = {}
    while True:
        # From the beginning each time: a pod that is known already is not started twice.
        answer = call("GET", "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dnode", timeout=3600)
        for line in answer:
            event = json.loads(line)
            pod = event["object"]
            if event["type"] not in ("ADDED", "MODIFIED"):
                continue
            known = pods.get(pod["metadata"]["uid"])
            if not known:
                known = pods[pod["metadata"]["uid"]] = Pod(pod)
            if "deletionTimestamp" in pod["metadata"]:
                known.grace = pod["metadata"]["deletionGracePeriodSeconds"]
                known.stop.set()


main()
