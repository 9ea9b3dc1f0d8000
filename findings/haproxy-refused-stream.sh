#!/bin/sh
# HAProxy: a POST that the server has read to its end is reported as never begun, so clients send it again.
#
# A server that is killed closes its connections, also those whose request it has read and acted on. One
# would guess that the proxy answers such a POST with a 502, over HTTP/2 as over HTTP/1.1: it cannot know
# how far the server got, and a POST is not to be repeated then.
#
# In fact that is so for the first request of an HTTP/1.1 connection only. Over HTTP/2 the stream is reset
# with REFUSED_STREAM, which by RFC 9113 means that nothing has been done with the request and that it may
# be sent again, so clients do: one call of curl makes six POSTs, one of webpush-go as many as its time
# allows. A push server that crashes on something gets it again and again, and a phone that was reached
# before the crash shows the message several times. HAProxy 3.0.11 (Debian 13) does so only where its
# connection to the server had been used before, as here, and answers the second POST with a 502. Needs Go.
#
# Tested with HAProxy 2.6.12 and 3.0.11, curl 7.88.1 (Debian 12) and webpush-go 1.4.0 (Go 1.26.8).
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/sbin/haproxy haproxy
need /usr/bin/curl curl
need /usr/bin/openssl openssl
install_packages

work=$(mktemp -d)
pids=
stop() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    # Go keeps its modules read-only.
    chmod -R u+w "$work"
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
haproxy -v | head -1
curl --version | head -1
mkdir go
cd go
export GOPATH="$work/gopath" GOCACHE="$work/gocache" GOFLAGS=-mod=mod
go version
cat >go.mod <<'GO'
module example.org/refused

require github.com/SherClockHolmes/webpush-go v1.4.0
GO
cat >main.go <<'GO'
package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"
)

// Sends one push to each of the endpoints.
func main() {
	phone, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	keys := webpush.Keys{P256dh: text(phone.PublicKey().Bytes()), Auth: text(make([]byte, 16))}
	private, public, err := webpush.GenerateVAPIDKeys()
	if err != nil {
		panic(err)
	}
	for _, endpoint := range os.Args[1:] {
		response, err := webpush.SendNotification([]byte("hello"),
			&webpush.Subscription{Endpoint: endpoint, Keys: keys}, &webpush.Options{
				Subscriber: "admin@example.org", VAPIDPrivateKey: private, VAPIDPublicKey: public, TTL: 60,
				HTTPClient: &http.Client{Timeout: 10 * time.Second},
			})
		if err != nil {
			fmt.Println("webpush-go:", err)
			continue
		}
		fmt.Println("webpush-go:", response.Proto, response.Status)
		response.Body.Close()
	}
}
GO
go build -o ../webpush-go .
cd ..

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null
cat cert.pem key.pem >both.pem
# Reads every POST to its end. Then it answers 201, but closes the connection if the path is /dies.
cat >server.py <<'PYTHON'
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import socket

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        print("POST", self.path, flush=True)
        if self.path == "/dies":
            self.close_connection = True
            return
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
free = socket.create_server(("127.0.0.1", 0))
with open("ports", "w") as file:
    file.write(f"{server.server_port} {free.getsockname()[1]}\n")
free.close()
server.serve_forever()
PYTHON
python3 server.py >>seen &
pids=$!
while [ ! -s ports ]; do sleep 0.1; done
read -r server port <ports
cat >haproxy.cfg <<CFG
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend push
  bind 127.0.0.1:$port ssl crt both.pem alpn h2,http/1.1
  default_backend server
backend server
  server server 127.0.0.1:$server
CFG
haproxy -db -f haproxy.cfg >haproxy.log 2>&1 &
pids="$pids $!"
origin=https://localhost:$port
send() {
    curl --silent --verbose --cacert cert.pem --output /dev/null --write-out '%{http_code} ' --data hello \
        "$@" 2>said || true
}
for _ in $(seq 100); do
    [ "$(send "$origin/lives")" != '201 ' ] || break
    sleep 0.1
done

# How often the one that is not answered arrived.
arrived() { grep -c 'POST /dies' seen; }
: >seen
one=$(send --http1.1 "$origin/dies")
one_arrived=$(arrived)
echo "curl, HTTP/1.1: $one, and the server has read it $one_arrived time"
: >seen
two=$(send --http2 "$origin/lives" --output /dev/null "$origin/dies")
two_arrived=$(arrived)
again=$(grep -c 'retrying a fresh connect' said || true)
echo "curl, HTTP/2: $two, and the server has read the second one $two_arrived times"
grep 'retrying a fresh connect' said | sort | uniq -c
: >seen
SSL_CERT_FILE=cert.pem ./webpush-go "$origin/lives" "$origin/dies"
go_arrived=$(arrived)
echo "and the server has read the second one $go_arrived times"
if [ "$one" != '502 ' ] || [ "$one_arrived" != 1 ] || [ "$two_arrived" -lt 2 ] || [ "$again" = 0 ] ||
    [ "$go_arrived" -lt 2 ]; then
    echo 'the behaviour has changed' >&2
    exit 1
fi
