#!/bin/sh
# VAPID: sender libraries name the same push service by different `aud` claims.
#
# One would guess that a push server may compare `aud` with its own origin byte for byte: RFC 8292 says
# that the claim is the origin of the push resource in ASCII, a form that has no path, no capitals and no
# default port, and of which there is one for each origin.
#
# In fact each library builds the string in its own way. Rust's web-push and PyPI's webpush leave out even
# a port that is not the default one, so a service on port 8443 never finds its own origin in their tokens.
# Three libraries keep a default port that was written out, and three keep the host's capitals. Nothing
# is sent here: the libraries only sign. Needs Go, Node.js and cargo; the crate takes minutes to compile.
#
# Tested with pywebpush 2.5.0, PyPI's webpush 1.0.6, npm's web-push 3.6.7, webpush-go 1.4.0 and the crate
# web-push 0.11.0.
set -eu

work=$(mktemp -d)
# Go keeps its modules read-only.
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet pywebpush==2.5.0 webpush==1.0.6
npm install --silent --no-audit --no-fund --prefix npm web-push@3.6.7
mkdir -p go rust/src

# A phone's public key and secret, and a sender's key as PEM and as base64url.
venv/bin/python - >keys <<'PYTHON'
import base64
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, PublicFormat)

def text(b):
    return base64.urlsafe_b64encode(b).rstrip(b"=").decode()

def point(key):
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

phone, sender = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
with open("private.pem", "wb") as file:
    file.write(sender.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
with open("public.pem", "wb") as file:
    file.write(sender.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
scalar = sender.private_numbers().private_value.to_bytes(32, "big")
print(text(point(phone)), text(bytes(16)), text(point(sender)), text(scalar))
PYTHON
read -r p256dh auth public private <keys

cat >pywebpush.run.py <<'PYTHON'
import sys
from pywebpush import webpush

endpoint, p256dh, auth, public, private = sys.argv[1:]
# Asked for a command line, it signs and sends nothing.
print(webpush({"endpoint": endpoint, "keys": {"p256dh": p256dh, "auth": auth}}, "hello", curl=True,
              vapid_private_key=private, vapid_claims={"sub": "mailto:admin@example.org"}))
PYTHON
cat >webpush.run.py <<'PYTHON'
import pathlib
import sys
from webpush import WebPush, WebPushSubscription

endpoint, p256dh, auth, public, private = sys.argv[1:]
sender = WebPush(pathlib.Path("private.pem"), pathlib.Path("public.pem"), "admin@example.org")
subscription = WebPushSubscription.model_validate(
    {"endpoint": endpoint, "keys": {"p256dh": p256dh, "auth": auth}})
print(sender.get("hello", subscription).headers)
PYTHON
cat >npm/run.js <<'JS'
const [endpoint, p256dh, auth, publicKey, privateKey] = process.argv.slice(2);
console.log(require("web-push").generateRequestDetails({ endpoint, keys: { p256dh, auth } }, "hello", {
  vapidDetails: { subject: "mailto:admin@example.org", publicKey, privateKey },
}).headers.Authorization);
JS
cat >go/go.mod <<'GO'
module example.org/audience

require github.com/SherClockHolmes/webpush-go v1.4.0
GO
cat >go/main.go <<'GO'
package main

import (
	"fmt"
	"net/http"
	"os"

	webpush "github.com/SherClockHolmes/webpush-go"
)

type printer struct{}

func (printer) Do(request *http.Request) (*http.Response, error) {
	fmt.Println(request.Header.Get("Authorization"))
	return &http.Response{StatusCode: 201}, nil
}

func main() {
	_, err := webpush.SendNotification([]byte("hello"), &webpush.Subscription{
		Endpoint: os.Args[1],
		Keys:     webpush.Keys{P256dh: os.Args[2], Auth: os.Args[3]},
	}, &webpush.Options{
		HTTPClient: printer{}, Subscriber: "admin@example.org",
		VAPIDPublicKey: os.Args[4], VAPIDPrivateKey: os.Args[5],
	})
	if err != nil {
		panic(err)
	}
}
GO
(cd go && GOPATH="$work/gopath" GOCACHE="$work/gocache" GOFLAGS=-mod=mod go build -o ../webpush-go . 2>/dev/null)
cat >rust/Cargo.toml <<'TOML'
[package]
name = "audience"
edition = "2021"

[dependencies]
web-push = { version = "=0.11.0", default-features = false }

[profile.dev]
debug = false
TOML
cat >rust/src/main.rs <<'RUST'
use web_push::{SubscriptionInfo, VapidSignatureBuilder};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let subscription = SubscriptionInfo::new(&args[1], &args[2], &args[3]);
    let builder = VapidSignatureBuilder::from_base64(&args[5], &subscription).unwrap();
    println!("{}", builder.build().unwrap().auth_t);
}
RUST
(cd rust && CARGO_TARGET_DIR="$work/target" cargo build --quiet)

cat >aud.py <<'PYTHON'
import base64, json, re, sys

claims = re.search(r"eyJ[\w-]+\.([\w-]+)\.[\w-]+", sys.stdin.read())[1]
print(json.loads(base64.urlsafe_b64decode(claims + "=="))["aud"])
PYTHON
failed=
# NAME PROGRAM... then what is expected for each of the three endpoints.
check() {
    name=$1 program=$2
    shift 2
    for endpoint in https://push.example.org:8443/a https://push.example.org:443/a https://Push.Example.org/a; do
        aud=$($program $endpoint "$p256dh" "$auth" "$public" "$private" | venv/bin/python aud.py)
        printf '%-18s %-34s %s\n' "$name" $endpoint "$aud"
        [ "$aud" = "$1" ] || failed=yes
        shift
    done
}
origin=https://push.example.org
check 'pywebpush 2.5.0' 'venv/bin/python pywebpush.run.py' $origin:8443 $origin:443 https://Push.Example.org
check 'webpush 1.0.6' 'venv/bin/python webpush.run.py' $origin $origin $origin
check 'npm 3.6.7' 'node npm/run.js' $origin:8443 $origin:443 $origin
check 'webpush-go 1.4.0' ./webpush-go $origin:8443 $origin:443 https://Push.Example.org
check 'crate 0.11.0' target/debug/audience $origin $origin https://Push.Example.org
[ -z "$failed" ] || {
    echo 'the behaviour has changed' >&2
    exit 1
}
