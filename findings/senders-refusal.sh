#!/bin/sh
# webpush-go and nl.martijndwars:web-push: a push that was refused is returned like one that was accepted.
#
# One would guess that a library whose one purpose is to deliver a push reports a 404 or a 503 as a
# failure, so that a caller who only handles errors forgets dead subscriptions and repeats the rest.
#
# In fact the Go library returns no error and the Java library throws nothing, whatever the status is: the
# refused push looks like the accepted one until somebody reads the status of the response. An application
# server that checks `err` alone keeps every dead subscription for ever and loses whatever got a 503.
# pywebpush raises an exception for both, so the three cannot be handled alike. Needs Go, a JDK and Maven.
#
# Tested with webpush-go 1.4.0 (Go 1.26.8), nl.martijndwars:web-push 5.1.2 (Java 17) and pywebpush 2.5.0.
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
venv/bin/pip install --quiet pywebpush==2.5.0
mkdir go java

cat >go/go.mod <<'GO'
module example.org/refusal

require github.com/SherClockHolmes/webpush-go v1.4.0
GO
cat >go/main.go <<'GO'
package main

import (
	"fmt"
	"os"

	webpush "github.com/SherClockHolmes/webpush-go"
)

func main() {
	subscription := &webpush.Subscription{
		Endpoint: os.Args[1], Keys: webpush.Keys{P256dh: os.Args[2], Auth: os.Args[3]},
	}
	private, public, err := webpush.GenerateVAPIDKeys()
	if err != nil {
		panic(err)
	}
	_, err = webpush.SendNotification([]byte("hello"), subscription, &webpush.Options{
		Subscriber: "admin@example.org", VAPIDPrivateKey: private, VAPIDPublicKey: public, TTL: 60,
	})
	if err == nil {
		fmt.Println("no error")
	} else {
		fmt.Println("an error")
	}
}
GO
go version
(cd go && GOPATH="$work/gopath" GOCACHE="$work/gocache" GOFLAGS=-mod=mod go build -o ../webpush-go . 2>/dev/null)

cat >java/pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.example</groupId>
  <artifactId>refusal</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>nl.martijndwars</groupId>
      <artifactId>web-push</artifactId>
      <version>5.1.2</version>
    </dependency>
    <dependency>
      <groupId>org.bouncycastle</groupId>
      <artifactId>bcprov-jdk18on</artifactId>
      <version>1.80</version>
    </dependency>
  </dependencies>
</project>
XML
cat >java/Send.java <<'JAVA'
import java.security.KeyPairGenerator;
import java.security.Security;
import java.security.spec.ECGenParameterSpec;
import nl.martijndwars.webpush.Notification;
import nl.martijndwars.webpush.PushService;
import org.bouncycastle.jce.provider.BouncyCastleProvider;

class Send {
    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        var generator = KeyPairGenerator.getInstance("ECDH", "BC");
        generator.initialize(new ECGenParameterSpec("secp256r1"));
        var service = new PushService(generator.generateKeyPair(), "mailto:admin@example.org");
        try {
            service.send(new Notification(args[0], args[1], args[2], "hello"));
            System.out.println("no error");
        } catch (Exception error) {
            System.out.println("an error");
        }
        System.exit(0);
    }
}
JAVA
mvn --quiet --batch-mode -Dstyle.color=never --file java/pom.xml -Dmaven.repo.local="$work/m2" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath -Dmdep.outputFile="$work/classpath"
java -version 2>&1 | head -1

cat >send.py <<'PYTHON'
import sys
from pywebpush import WebPushException, webpush

endpoint, p256dh, auth = sys.argv[1:]
try:
    webpush({"endpoint": endpoint, "keys": {"p256dh": p256dh, "auth": auth}}, "hello", ttl=60)
    print("no error")
except WebPushException:
    print("an error")
PYTHON

# A push service whose path is the status that it answers with. It prints its port and a phone's keys.
cat >service.py <<'PYTHON'
import base64
from http.server import BaseHTTPRequestHandler, HTTPServer
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Service(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


point = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
    Encoding.X962, PublicFormat.UncompressedPoint)
text = [base64.urlsafe_b64encode(b).rstrip(b"=").decode() for b in (point, bytes(16))]
server = HTTPServer(("127.0.0.1", 0), Service)
print(server.server_port, *text, flush=True)
server.serve_forever()
PYTHON
mkfifo ready
venv/bin/python service.py >ready &
server=$!
read -r port p256dh auth <ready

failed=
# NAME PROGRAM, then what is expected for a 201, a 404 and a 503.
check() {
    name=$1 program=$2
    shift 2
    for status in 201 404 503; do
        said=$($program "http://127.0.0.1:$port/$status" "$p256dh" "$auth" 2>log)
        printf '%-30s %s: %s\n' "$name" $status "$said"
        [ "$said" = "$1" ] || failed=yes
        shift
    done
}
check 'webpush-go 1.4.0' ./webpush-go 'no error' 'no error' 'no error'
check 'martijndwars web-push 5.1.2' "java -cp $(cat classpath) java/Send.java" 'no error' 'no error' 'no error'
check 'pywebpush 2.5.0' 'venv/bin/python send.py' 'no error' 'an error' 'an error'
[ -z "$failed" ] || {
    echo 'the behaviour has changed' >&2
    exit 1
}
