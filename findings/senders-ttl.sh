#!/bin/sh
# Three sender libraries ask for TTL 0 unless told otherwise, and in one of them a TTL outlives its push.
#
# One would guess that a push whose sender gave no TTL is kept for a while, and that a TTL given for one
# push is a matter of that push.
#
# In fact pywebpush, PyPI's webpush and webpush-go send `TTL: 0`, which RFC 8030 defines as "deliver now or
# never": the push server must not store the message, so a phone that is away never gets it. npm's
# web-push asks for four weeks. In PyPI's webpush the argument `ttl` of one message becomes the default
# of all later ones of that sender, and `ttl=0` does not set it back: it is taken for "not given".
#
# Needs Go and Node.js.
# Tested with pywebpush 2.5.0, PyPI's webpush 1.0.6, webpush-go 1.4.0 and npm's web-push 3.6.7.
set -eu

work=$(mktemp -d)
# Go keeps its modules read-only.
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet pywebpush==2.5.0 webpush==1.0.6
npm install --silent --no-audit --no-fund --prefix npm web-push@3.6.7
mkdir go

# Nothing is sent: each library hands over what it would send.
cat >ttl.py <<'PYTHON'
import base64
import re
from pathlib import Path

import pywebpush
import webpush
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, PublicFormat)

def text(b):
    return base64.urlsafe_b64encode(b).rstrip(b"=").decode()

phone, sender = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
point = phone.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
subscription = {"endpoint": "https://push.example.org/a",
                "keys": {"p256dh": text(point), "auth": text(bytes(16))}}
with open("keys", "w") as file:
    print(*subscription["keys"].values(), file=file)

command = pywebpush.webpush(subscription, "hello", curl=True)
print("pywebpush 2.5.0:", re.search(r'ttl: (\d+)', command)[1])

with open("private.pem", "wb") as file:
    file.write(sender.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
with open("public.pem", "wb") as file:
    file.write(sender.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
library = webpush.WebPush(Path("private.pem"), Path("public.pem"), "admin@example.org")
subscription = webpush.WebPushSubscription.model_validate(subscription)
ttls = [library.get("hello", subscription, **ttl).headers["ttl"]
        for ttl in ({}, {"ttl": 3600}, {}, {"ttl": 0})]
print("webpush 1.0.6, with none, 3600, none, 0:", *ttls)
PYTHON
venv/bin/python ttl.py >ttls
read -r p256dh auth <keys
cat >npm/ttl.js <<'JS'
const [p256dh, auth] = process.argv.slice(2);
console.log("npm's web-push 3.6.7:", require("web-push").generateRequestDetails(
  { endpoint: "https://push.example.org/a", keys: { p256dh, auth } }, "hello").headers.TTL);
JS
node npm/ttl.js "$p256dh" "$auth" >>ttls
cd go
export GOPATH="$work/gopath" GOCACHE="$work/gocache" GOFLAGS=-mod=mod
cat >go.mod <<'GO'
module example.org/ttl

require github.com/SherClockHolmes/webpush-go v1.4.0
GO
cat >main.go <<'GO'
package main

import (
	"fmt"
	"net/http"
	"os"

	webpush "github.com/SherClockHolmes/webpush-go"
)

type printer struct{}

func (printer) Do(request *http.Request) (*http.Response, error) {
	fmt.Println("webpush-go 1.4.0:", request.Header.Get("TTL"))
	return &http.Response{StatusCode: 201}, nil
}

func main() {
	private, public, err := webpush.GenerateVAPIDKeys()
	if err != nil {
		panic(err)
	}
	_, err = webpush.SendNotification([]byte("hello"), &webpush.Subscription{
		Endpoint: "https://push.example.org/a",
		Keys:     webpush.Keys{P256dh: os.Args[1], Auth: os.Args[2]},
	}, &webpush.Options{
		HTTPClient: printer{}, Subscriber: "admin@example.org",
		VAPIDPublicKey: public, VAPIDPrivateKey: private,
	})
	if err != nil {
		panic(err)
	}
}
GO
go build -o ../webpush-go . 2>/dev/null
cd ..
./webpush-go "$p256dh" "$auth" >>ttls

cat ttls
cat >expected <<'TTLS'
pywebpush 2.5.0: 0
webpush 1.0.6, with none, 3600, none, 0: 0 3600 3600 3600
npm's web-push 3.6.7: 2419200
webpush-go 1.4.0: 0
TTLS
cmp -s ttls expected || {
    echo 'the behaviour has changed' >&2
    exit 1
}
