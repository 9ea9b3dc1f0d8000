#!/bin/sh
# The crate web-push and Java's HttpURLConnection: a push is sent twice, and its sender does not learn of it.
#
# A push server that is killed after it has read a POST closes the connection without an answer. One would
# guess that the application server gets an error then and decides for itself, as with pywebpush: a POST is
# not idempotent, and RFC 9110 tells clients not to repeat one on their own.
#
# In fact both send the same bytes again, on another connection, and report the second answer as the only
# one. The crate's default client (isahc, which is libcurl) does so when the connection had served a push
# before; HttpURLConnection does so on a new one too, unless sun.net.http.retryPost is set to false. To the
# push server they are two messages, whatever identity it gives to each POST, and the phone shows both.
#
# Needs cargo and a JDK; the crate takes minutes to compile.
# Tested with web-push 0.11.0 (isahc 1.8.3, libcurl 8.22.0), Java 17 and pywebpush 2.5.0.
set -eu

work=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || kill $server
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet pywebpush==2.5.0

# Reads every POST to its end and answers 201, but closes the connection on the first one to a path that
# begins with /dies.
cat >server.py <<'PYTHON'
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

read = set()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        print(self.path, flush=True)
        if self.path.startswith("/dies") and self.path not in read:
            read.add(self.path)
            self.close_connection = True
            return
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open("port", "w") as file:
    file.write(f"{server.server_port}\n")
server.serve_forever()
PYTHON
python3 server.py >seen &
server=$!
while [ ! -s port ]; do sleep 0.1; done
origin=http://127.0.0.1:$(cat port)

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

mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "sender"
version = "0.0.0"
edition = "2021"

[dependencies]
isahc = "=1.8.3"
curl-sys = "=0.4.91"
tokio = { version = "1", features = ["macros", "rt"] }
web-push = "=0.11.0"

[profile.dev]
debug = false

[workspace]
TOML
cat >src/main.rs <<'RUST'
use web_push::{
    ContentEncoding, IsahcWebPushClient, SubscriptionInfo, WebPushClient, WebPushMessageBuilder,
};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let client = IsahcWebPushClient::new().unwrap();
    for endpoint in &arguments[3..] {
        let [p256dh, auth] = [1, 2].map(|n| arguments[n].clone());
        let phone = SubscriptionInfo::new(endpoint.clone(), p256dh, auth);
        let mut message = WebPushMessageBuilder::new(&phone);
        message.set_payload(ContentEncoding::Aes128Gcm, b"hello");
        match client.send(message.build().unwrap()).await {
            Ok(()) => println!("web-push: sent"),
            Err(error) => println!("web-push: {error}"),
        }
    }
}
RUST
cargo build --quiet
cat >Push.java <<'JAVA'
import java.net.HttpURLConnection;
import java.net.URL;

public class Push {
    public static void main(String[] endpoints) throws Exception {
        for (String endpoint : endpoints) {
            HttpURLConnection push = (HttpURLConnection) new URL(endpoint).openConnection();
            push.setRequestMethod("POST");
            push.setDoOutput(true);
            push.setRequestProperty("TTL", "60");
            push.getOutputStream().write("hello".getBytes());
            System.out.println("HttpURLConnection: " + push.getResponseCode());
        }
    }
}
JAVA
java -version 2>&1 | head -1
cat >push.py <<'PYTHON'
import sys

import requests
from pywebpush import webpush

keys = {"p256dh": sys.argv[1], "auth": sys.argv[2]}
session = requests.Session()
for endpoint in sys.argv[3:]:
    try:
        print("pywebpush:", webpush({"endpoint": endpoint, "keys": keys}, "hello", ttl=60,
                                    requests_session=session).status_code)
    except requests.ConnectionError as error:
        print("pywebpush:", type(error).__name__)
PYTHON

# How often the server has read a push.
arrived() {
    times=$(grep -c "$1\$" seen)
    echo "the server has read the last one: $times"
}
target/debug/sender "$p256dh" "$auth" "$origin/lives" "$origin/dies/crate" | tee said
arrived /dies/crate
crate=$times
java Push.java "$origin/dies/java" | tee -a said
arrived /dies/java
java=$times
venv/bin/python push.py "$p256dh" "$auth" "$origin/lives" "$origin/dies/python" | tee -a said
arrived /dies/python
if [ "$crate" != 2 ] || [ "$java" != 2 ] || [ "$times" != 1 ] || [ "$(tr '\n' ';' <said)" != \
    'web-push: sent;web-push: sent;HttpURLConnection: 201;pywebpush: 201;pywebpush: ConnectionError;' ]; then
    echo 'the behaviour has changed' >&2
    exit 1
fi
