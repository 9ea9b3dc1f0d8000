"""What the tests with real application servers share: processes that end with the test, a real Prosody,
the daemon, and a phone that leaves and comes back. Everything is on loopback. $UNIFIED_PUSH is the
program."""

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "nix/tests"))
import relay  # noqa: E402

DOMAIN = "up.example.org"
OWNER = "juliet@example.org"
# Not the usual one: another test may use that.
ADDRESS = "127.0.0.77"
COMPONENT_SECRET = secrets.token_hex(16)
PATIENCE = 60


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


CLIENTS, PUSH, ADMIN = (free_port() for _ in range(3))


def step(text):
    print(f"== {text}", flush=True)


def fail(text):
    sys.exit(f"FAILED: {text}")


def eventually(what, condition):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            found = condition()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.2)
    fail(what)


def http(method, url, body=None, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read()


def status(*request):
    try:
        http(*request)
        return 200
    except urllib.error.HTTPError as error:
        return error.code


class Bed:
    """Processes that end with the test, and what they say."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.running = []

    def start(self, name, *command, **environment):
        log = open(self.directory / f"{name}.log", "ab")
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment}
        )
        self.running.append(process)
        return process

    def clear(self, failed):
        for process in self.running:
            process.kill()
            process.wait()
        if failed:
            for log in self.directory.glob("*.log"):
                print(f"-- {log.name}\n{log.read_text(errors='replace')[-3000:]}")


def start_prosody(bed):
    where = {"BED": str(bed.directory), "ADDRESS": ADDRESS, "CLIENTS": str(CLIENTS), "SECRET": COMPONENT_SECRET}
    bed.start("prosody", "prosody", "--config", ROOT / "tests/image/prosody.cfg.lua", "-F", **where)


class Daemon:
    def __init__(self, bed):
        self.bed = bed
        self.config = bed.directory / "config.toml"
        self.config.write_text(
            f"""
state_dir = "{bed.directory}/state"
[component]
domain = "{DOMAIN}"
host = "{ADDRESS}"
secret = "{COMPONENT_SECRET}"
[http]
listen = "127.0.0.1:{PUSH}"
public_url = "http://127.0.0.1:{PUSH}"
[admin]
listen = "127.0.0.1:{ADMIN}"
"""
        )
        self.config.chmod(0o600)

    def start(self):
        self.process = self.bed.start("daemon", os.environ["UNIFIED_PUSH"], "serve", "--config", self.config)
        ready = lambda: b'"link":"up"' in http("GET", f"http://127.0.0.1:{ADMIN}/readyz")
        eventually("the daemon has no link", ready)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stored(self, count):
        """That so many messages have been kept since it started."""
        eventually(f"{count} are not stored", lambda: self.counted("stored") >= count)

    def counted(self, result):
        metrics = http("GET", f"http://127.0.0.1:{ADMIN}/metrics").decode()
        line = f'unified_push_pushes_total{{result="{result}"}} '
        return int(metrics.partition(line)[2].split()[0])

    def command(self, *arguments):
        subprocess.run([os.environ["UNIFIED_PUSH"], *arguments, "--config", self.config], check=True)


class Phone(relay.Phone):
    """Logs in and registers. What arrived is JSON."""

    def __init__(self):
        server = ("127.0.0.1", CLIENTS)
        super().__init__(argparse.Namespace(account=OWNER, password="x", server=server, component=DOMAIN))
        self.seen = 0
        self.start()
        self.wait(lambda: self.endpoint, lambda: "the phone does not register")

    def next(self, what):
        self.wait(lambda: len(self.arrived) > self.seen, lambda: f"the phone misses {what}")
        self.seen += 1
        return json.loads(self.arrived[self.seen - 1])

    def nothing_more(self):
        if self.wait_a_little(lambda: len(self.arrived) > self.seen):
            fail(f"the phone gets {self.next('too much')}")


def run(test):
    with tempfile.TemporaryDirectory() as directory:
        bed, failed = Bed(directory), True
        try:
            test(bed)
            failed = False
        finally:
            bed.clear(failed)
    print(f"{Path(sys.argv[0]).stem}: all is well")
