#!/bin/sh
# pywebpush and webpush-go: a push that meets a 301 or 302 loses its body and is reported as delivered.
#
# One would guess that a library which sends one encrypted POST either repeats that POST at the new
# address or reports the redirect, as RFC 8030 knows no other success than 201.
#
# In fact the HTTP client underneath does what browsers do: the POST becomes a GET without a body, and a
# 200 to that GET is the library's success. A push server whose endpoints answer GET, as those of
# UnifiedPush do, so loses every push behind a redirect from http to https or to a new name, and nobody
# is told. A 307 or 308 carries the body along in both libraries. Needs Go.
#
# Tested with pywebpush 2.5.0 (requests 2.34.2) and webpush-go 1.4.0 (Go 1.26.8).
set -eu

work=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || kill $server
    # Go keeps its modules read-only.
    chmod -R u+w "$work"
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet pywebpush==2.5.0 requests==2.34.2
mkdir go
cd go
export GOPATH="$work/gopath" GOCACHE="$work/gocache" GOFLAGS=-mod=mod
go version
cat >go.mod <<'GO'
module example.org/redirect

require github.com/SherClockHolmes/webpush-go v1.4.0
GO
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	webpush "github.com/SherClockHolmes/webpush-go"
)

func main() {
	subscription := &webpush.Subscription{
		Endpoint: os.Args[1],
		Keys:     webpush.Keys{P256dh: os.Args[2], Auth: os.Args[3]},
	}
	private, public, err := webpush.GenerateVAPIDKeys()
	if err != nil {
		panic(err)
	}
	response, err := webpush.SendNotification([]byte("hello"), subscription, &webpush.Options{
		Subscriber: "admin@example.org", VAPIDPrivateKey: private, VAPIDPublicKey: public, TTL: 60,
	})
	fmt.Println("webpush-go 1.4.0 says", response.StatusCode, err)
}
GO
go build -o ../webpush-go .
cd ..

# Redirects /STATUS/... to /endpoint, which answers 201 to a POST and 200 to a GET.
cat >server.py <<'PYTHON'
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = self.path.split("/")[1]
        if status.isdigit():
            self.send_response(int(status))
            self.send_header("Location", "/endpoint")
        else:
            print("the endpoint got", self.command, "with", "the body" if body else "no body", flush=True)
            self.send_response(201 if self.command == "POST" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
with open("port", "w") as file:
    file.write(f"{server.server_port}\n")
server.serve_forever()
PYTHON
venv/bin/python server.py >>seen &
server=$!
for _ in $(seq 100); do
    [ ! -s port ] || break
    sleep 0.1
done

# A phone's keys, of which only the public half is needed.
venv/bin/python - >keys <<'PYTHON'
import base64
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

public = ec.generate_private_key(ec.SECP256R1()).public_key()
point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
print(*(base64.urlsafe_b64encode(b).rstrip(b"=").decode() for b in (point, bytes(16))))
PYTHON
read -r p256dh auth <keys
cat >pywebpush.run.py <<'PYTHON'
import sys
from pywebpush import webpush

keys = {"p256dh": sys.argv[2], "auth": sys.argv[3]}
response = webpush({"endpoint": sys.argv[1], "keys": keys}, "hello", ttl=60)
print("pywebpush 2.5.0 says", response.status_code)
PYTHON

for status in 301 302 307; do
    endpoint="http://127.0.0.1:$(cat port)/$status/endpoint"
    for library in 'venv/bin/python pywebpush.run.py' ./webpush-go; do
        : >seen
        $library "$endpoint" "$p256dh" "$auth" >said
        echo "$status: $(cat said), $(cat seen)"
        case $status in
        307) expected=POST body='the body' answer=201 ;;
        *) expected=GET body='no body' answer=200 ;;
        esac
        if ! grep -q "got $expected with $body" seen || ! grep -q "says $answer" said; then
            echo 'the behaviour has changed' >&2
            exit 1
        fi
    done
done
