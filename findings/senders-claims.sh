#!/bin/sh
# pywebpush: the first push service that is sent to gets its name into the tokens for all the others.
#
# Its argument `vapid_claims` is a dictionary with the sender's address, and the library fills in the rest.
# One would guess that a dictionary which is the same for all subscriptions may be made once, beside the
# sender's key, and that each push is signed for the service that it goes to.
#
# In fact the library writes into the caller's dictionary and leaves alone what it finds there, so the `aud`
# of the first push stays for all later ones, wherever they go. Every push service but that one sees a token
# made out to somebody else, which RFC 8292 has it refuse, and which of them work depends on whose turn came
# first since the sender was started. npm's web-push, called in the same way, makes a token for each.
#
# Needs Node.js. Nothing is sent: each library hands over what it would send.
# Tested with pywebpush 2.5.0 and npm's web-push 3.6.7.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet pywebpush==2.5.0
npm install --silent --no-audit --no-fund web-push@3.6.7

cat >claims.py <<'PYTHON'
import base64
import json
import re
import subprocess
import sys

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pywebpush import webpush

def text(b):
    return base64.urlsafe_b64encode(b).rstrip(b"=").decode()

def point(key):
    return text(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

phone, sender = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
keys = {"p256dh": point(phone), "auth": text(bytes(16))}
private = text(sender.private_numbers().private_value.to_bytes(32, "big"))
services = ["https://a.example.org", "https://b.example.net", "https://a.example.org"]

def audience(request):
    claims = re.search(r"eyJ[\w-]+\.([\w-]+)\.[\w-]+", request)[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=="))["aud"]

def show(library, signed):
    print(library)
    for service, request in zip(services, signed, strict=True):
        print(f"  {service}: a token for {audience(request)}")
    return [audience(request) for request in signed]

CLAIMS = {"sub": "mailto:admin@example.org"}
shared = [webpush({"endpoint": service + "/1", "keys": keys}, "hello", vapid_private_key=private,
                  vapid_claims=CLAIMS, curl=True) for service in services]
copied = [webpush({"endpoint": service + "/1", "keys": keys}, "hello", vapid_private_key=private,
                  vapid_claims={"sub": "mailto:admin@example.org"}, curl=True) for service in services]
npm = subprocess.run(["node", "claims.js", json.dumps([keys, point(sender), private, services])],
                     check=True, capture_output=True, text=True).stdout.splitlines()
seen = (show("pywebpush, one dictionary:", shared), show("pywebpush, one for each:", copied),
        show("npm's web-push, one object:", npm))
print("the dictionary now:", sorted(CLAIMS))
sys.exit(seen != ([services[0]] * 3, services, services))
PYTHON
cat >claims.js <<'JS'
const [keys, publicKey, privateKey, services] = JSON.parse(process.argv[2]);
const options = { vapidDetails: { subject: "mailto:admin@example.org", publicKey, privateKey } };
for (const service of services) {
  const request = require("web-push").generateRequestDetails({ endpoint: service + "/1", keys }, "hello", options);
  console.log(request.headers.Authorization);
}
JS
venv/bin/pip list 2>/dev/null | grep pywebpush
venv/bin/python claims.py || {
    echo 'the behaviour has changed' >&2
    exit 1
}
