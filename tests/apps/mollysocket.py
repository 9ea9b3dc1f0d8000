"""Whether mollysocket's own commands reach a phone, and keep the connection. Run by
tests/mollysocket.sh; $MOLLYSOCKET is the program."""

import os
import subprocess
import uuid

from bed import OWNER, PUSH, Daemon, Phone, eventually, fail, run, start_prosody, status, step

ACCOUNT = str(uuid.uuid4())


def mollysocket(bed, *arguments):
    """Whether it ended well, and what it said."""
    environment = {
        "PATH": os.environ["PATH"],
        "MOLLY_DB": f"{bed.directory}/mollysocket.db",
        "MOLLY_VAPID_PRIVKEY": bed.key,
        # Without it, it sends nothing to a private address.
        "MOLLY_ALLOWED_ENDPOINTS": f'["http://127.0.0.1:{PUSH}"]',
        "RUST_LOG": "warn",
    }
    command = (os.environ["MOLLYSOCKET"], *arguments)
    ended = subprocess.run(command, env=environment, cwd=bed.directory, capture_output=True, text=True)
    return ended.returncode == 0, ended.stdout + ended.stderr


def ping(bed):
    ended, said = mollysocket(bed, "connection", "ping", ACCOUNT)
    if not ended:
        fail(f"mollysocket says {said}")


def test(bed):
    step("Prosody, the daemon, a phone")
    start_prosody(bed)
    daemon = Daemon(bed)
    daemon.start()
    phone = Phone()
    generated = subprocess.run((os.environ["MOLLYSOCKET"], "vapid", "gen"), capture_output=True, text=True)
    bed.key = generated.stdout.strip()

    step("mollysocket connection add")
    ended, said = mollysocket(bed, "connection", "add", ACCOUNT, "2", "password", phone.endpoint)
    if not ended or "added" not in said or "not ping" in said:
        fail(f"mollysocket says {said}")
    if phone.next("the test of the new connection") != {"test": True}:
        fail("the phone gets something else")

    step("the phone away and back")
    phone.leave()
    ping(bed)
    daemon.stored(1)
    phone.come_back()
    phone.next("what was kept")

    step("the daemon killed while it keeps a message")
    phone.leave()
    ping(bed)
    daemon.stored(2)
    daemon.kill()
    daemon.start()
    phone.come_back()
    phone.next("what was kept")

    step("a dead endpoint")
    daemon.command("registrations", "revoke", OWNER)
    eventually("the endpoint stays", lambda: status("POST", phone.endpoint, "x") == 404)
    ended, said = mollysocket(bed, "connection", "ping", ACCOUNT)
    if ended or "404" not in said:
        fail(f"mollysocket says {said}")


run(test)
