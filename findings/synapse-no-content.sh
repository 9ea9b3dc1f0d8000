#!/bin/sh
# Synapse: a push gateway that answers 204, or 200 with nothing in it, is asked again and again.
#
# One would guess that any 2xx ends the matter: there is nothing to say when no pushkey is rejected, so 204
# No Content or an empty 200 is the obvious answer.
#
# In fact Synapse parses the body of every answer as JSON, and takes one that it cannot parse for a failed
# push. The same event is sent again after a second, then after twice as long each time, and the later
# events of that pusher wait behind it. Only `{}`, or JSON with `rejected` in it, ends it.
#
# Tested with Synapse 1.163.2 (Python 3.11).
set -eu

work=$(mktemp -d)
synapse=
stop() {
    [ -z "$synapse" ] || kill $synapse 2>/dev/null || true
    [ -z "$synapse" ] || wait $synapse 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet matrix-synapse==1.163.2
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >homeserver.yaml <<YAML
server_name: example.org
report_stats: false
pid_file: $work/synapse.pid
signing_key_path: $work/signing.key
media_store_path: $work/media
registration_shared_secret: secret
macaroon_secret_key: secret
# It talks to nobody but this script.
trusted_key_servers: []
federation_domain_whitelist: []
ip_range_whitelist: ["127.0.0.1/32"]
listeners:
  - {port: $port, bind_addresses: ["127.0.0.1"], type: http, resources: [{names: [client]}]}
database: {name: sqlite3, args: {database: $work/homeserver.db}}
YAML
venv/bin/python -m synapse.app.homeserver --config-path homeserver.yaml --generate-keys >log 2>&1
venv/bin/python -m synapse.app.homeserver --config-path homeserver.yaml >>log 2>&1 &
synapse=$!

cat >gateway.py <<'PYTHON'
import hashlib
import hmac
import http.server
import json
import queue
import sys
import threading
import time
import urllib.error
import urllib.request

origin = f"http://127.0.0.1:{sys.argv[1]}"

def ask(method, path, body=None, token=None):
    request = urllib.request.Request(origin + path, method=method, data=body and json.dumps(body).encode())
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)

for _ in range(600):
    try:
        ask("GET", "/_matrix/client/versions")
        break
    except urllib.error.URLError:
        time.sleep(0.1)

def register(name):
    nonce = ask("GET", "/_synapse/admin/v1/register")["nonce"]
    text = "\0".join((nonce, name, "password", "notadmin")).encode()
    return ask("POST", "/_synapse/admin/v1/register", {
        "nonce": nonce, "username": name, "password": "password", "admin": False,
        "mac": hmac.new(b"secret", text, hashlib.sha1).hexdigest()})["access_token"]

answers = [(204, b""), (200, b""), (200, b"{}")]
pushes = queue.Queue()

class Gateway(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        push = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["notification"]
        # One without an event tells the phone that the room was read.
        status, body = answers.pop(0) if "event_id" in push and answers else (200, b"{}")
        if "event_id" in push:
            pushes.put((push["event_id"], status, body.decode()))
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

gateway = http.server.HTTPServer(("127.0.0.1", 0), Gateway)
threading.Thread(target=gateway.serve_forever, daemon=True).start()

alice, bob = register("alice"), register("bob")
room = ask("POST", "/_matrix/client/v3/createRoom",
           {"preset": "trusted_private_chat", "invite": ["@bob:example.org"]}, alice)["room_id"]
ask("POST", f"/_matrix/client/v3/join/{room}", {}, bob)
ask("POST", "/_matrix/client/v3/pushers/set", {
    "app_id": "org.example.app", "app_display_name": "app", "device_display_name": "phone",
    "kind": "http", "lang": "en", "pushkey": "key", "data": {
        "url": f"http://127.0.0.1:{gateway.server_port}/_matrix/push/v1/notify", "format": "event_id_only"}}, bob)

def send(text):
    return ask("PUT", f"/_matrix/client/v3/rooms/{room}/send/m.room.message/{text}",
               {"msgtype": "m.text", "body": text}, alice)["event_id"]

events = [send("first"), send("second")]
seen = []
try:
    while True:
        event, status, body = pushes.get(timeout=20 if len(seen) < 4 else 5)
        seen.append((events.index(event), status, body))
        print(f"message {events.index(event) + 1} pushed, answered {status} {body!r}")
except queue.Empty:
    pass
sys.exit(seen != [(0, 204, ""), (0, 200, ""), (0, 200, "{}"), (1, 200, "{}")])
PYTHON
venv/bin/pip list 2>/dev/null | grep matrix-synapse
venv/bin/python gateway.py "$port" || {
    echo 'the behaviour has changed' >&2
    tail -5 log
    exit 1
}
