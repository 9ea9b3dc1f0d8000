"""Whether a Synapse's pusher lives, or goes, as it should. Run by tests/synapse.sh."""

import hashlib
import hmac
import json
import secrets
import subprocess
import sys
import time
import urllib.parse

import bed as beds
from bed import OWNER, PUSH, Daemon, eventually, fail, free_port, http, start_prosody, status, step

MATRIX = free_port()
GATEWAY = f"http://127.0.0.1:{PUSH}/_matrix/push/v1/notify"
REGISTRATION_SECRET = secrets.token_hex(16)


class User:
    def __init__(self, name):
        register = f"http://127.0.0.1:{MATRIX}/_synapse/admin/v1/register"
        nonce = json.loads(http("GET", register))["nonce"]
        parts = "\0".join((nonce, name, "password", "notadmin"))
        mac = hmac.new(REGISTRATION_SECRET.encode(), parts.encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": name, "password": "password", "admin": False, "mac": mac}
        answer = json.loads(http("POST", register, body))
        self.id, self.token = answer["user_id"], answer["access_token"]

    def ask(self, method, path, body=None):
        url = f"http://127.0.0.1:{MATRIX}/_matrix/client/v3/{path}"
        return json.loads(http(method, url, body, self.token))

    def send(self, room, text):
        path = f"rooms/{urllib.parse.quote(room)}/send/m.room.message/{secrets.token_hex(8)}"
        return self.ask("PUT", path, {"msgtype": "m.text", "body": text})["event_id"]

    def read(self, room, event):
        room, event = urllib.parse.quote(room), urllib.parse.quote(event)
        self.ask("POST", f"rooms/{room}/receipt/m.read/{event}", {})

    def set_pusher(self, pushkey, **data):
        self.ask(
            "POST",
            "pushers/set",
            {
                "kind": "http",
                "app_id": "im.example",
                "app_display_name": "an app",
                "device_display_name": "a phone",
                "pushkey": pushkey,
                "lang": "en",
                "append": True,
                "data": {"url": GATEWAY, **data},
            },
        )

    def pushkeys(self):
        return {pusher["pushkey"] for pusher in self.ask("GET", "pushers")["pushers"]}


def start_synapse(bed):
    config = bed.directory / "homeserver.yaml"
    homeserver = (sys.executable, "-m", "synapse.app.homeserver", "--config-path", config)
    more = ("--server-name", "localhost", "--report-stats", "no", "--generate-config")
    subprocess.run([*homeserver, *more], check=True, cwd=bed.directory, capture_output=True)
    # Without the list, Synapse takes the pusher, and silently sends nothing to a private address.
    config.write_text(
        f"""
server_name: localhost
pid_file: {bed.directory}/synapse.pid
listeners:
  - {{port: {MATRIX}, type: http, bind_addresses: ["127.0.0.1"], resources: [{{names: [client]}}]}}
database: {{name: sqlite3, args: {{database: {bed.directory}/homeserver.db}}}}
log_config: {bed.directory}/localhost.log.config
media_store_path: {bed.directory}/media
signing_key_path: {bed.directory}/localhost.signing.key
registration_shared_secret: {REGISTRATION_SECRET}
macaroon_secret_key: {secrets.token_hex(16)}
form_secret: {secrets.token_hex(16)}
report_stats: false
trusted_key_servers: []
ip_range_whitelist: ["127.0.0.1"]
rc_message: {{per_second: 1000, burst_count: 1000}}
"""
    )
    bed.start("synapse", *homeserver)
    eventually("Synapse does not start", lambda: http("GET", f"http://127.0.0.1:{MATRIX}/health"))


class Phone(beds.Phone):
    def notification(self, what):
        notification = self.next(what)["notification"]
        if "devices" in notification:
            fail(f"the phone gets the devices with {what}")
        return notification

    def expect(self, event):
        """The event, and before it perhaps counts."""
        while True:
            notification = self.notification(event)
            if notification.get("event_id") == event:
                return notification
            if notification.get("event_id"):
                fail(f"the phone gets {notification} instead of {event}")

    def expect_counts(self, unread):
        notification = self.notification("counts")
        if notification.get("event_id") or notification["counts"].get("unread", 0) != unread:
            fail(f"the phone gets {notification} instead of counts")


def test(bed):
    step("Prosody, the daemon, a phone, Synapse")
    start_prosody(bed)
    daemon = Daemon(bed)
    daemon.start()
    phone = Phone()
    endpoint = phone.endpoint
    start_synapse(bed)

    romeo, juliet = User("romeo"), User("juliet")
    room = romeo.ask("POST", "createRoom", {"preset": "private_chat", "invite": [juliet.id]})["room_id"]
    juliet.ask("POST", f"join/{urllib.parse.quote(room)}", {})
    juliet.set_pusher(endpoint, format="event_id_only")

    def pusher_lives():
        if endpoint not in juliet.pushkeys():
            fail("Synapse has forgotten the pusher")

    step("a message")
    first = romeo.send(room, "hello")
    notification = phone.expect(first)
    if notification["room_id"] != room or notification["prio"] != "high":
        fail(f"the phone gets {notification}")

    step("a read receipt")
    juliet.read(room, first)
    phone.expect_counts(0)

    step("the phone away and back")
    phone.leave()
    events = []
    for number in range(3):
        events.append(romeo.send(room, f"away {number}"))
        daemon.stored(2 * number + 1)
        juliet.read(room, events[-1])
        daemon.stored(2 * number + 2)
    phone.come_back()
    for event in events:
        phone.expect(event)
    phone.expect_counts(0)
    # Of three updates of the counts the newest.
    phone.nothing_more()
    pusher_lives()

    step("the daemon killed while Synapse sends")
    daemon.kill()
    events = [romeo.send(room, f"down {number}") for number in range(2)]
    time.sleep(5)
    daemon.start()
    for event in events:
        phone.expect(event)
    pusher_lives()

    step("the daemon killed while it keeps a message")
    phone.leave()
    event = romeo.send(room, "kept")
    daemon.stored(1)
    daemon.kill()
    daemon.start()
    phone.come_back()
    phone.expect(event)
    pusher_lives()

    step("whole events, a short one and one of 20 kB")
    juliet.set_pusher(endpoint)
    notification = phone.expect(romeo.send(room, "short"))
    if notification["content"]["body"] != "short" or notification["sender"] != romeo.id:
        fail(f"the phone gets {notification}")
    notification = phone.expect(romeo.send(room, "long" * 5000))
    if "content" in notification or notification["sender"] != romeo.id:
        fail(f"the phone gets {notification}")
    pusher_lives()

    step("a pusher of another push server")
    juliet.set_pusher("https://other.example/push/" + "x" * 43)
    phone.expect(romeo.send(room, "to both"))
    eventually("the foreign pusher stays", lambda: juliet.pushkeys() == {endpoint})

    step("a dead endpoint")
    daemon.command("registrations", "revoke", OWNER)
    eventually("the endpoint stays", lambda: status("POST", endpoint, "x") == 404)
    romeo.send(room, "to nobody")
    eventually("the dead pusher stays", lambda: juliet.pushkeys() == set())


beds.run(test)
