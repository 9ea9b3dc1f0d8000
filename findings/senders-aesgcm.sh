#!/bin/sh
# nl.martijndwars:web-push and @pushforge/builder: the first call of the README sends the draft encoding.
#
# One would guess that a sender library of today encrypts as RFC 8291 says, in force since 2017: with
# `Content-Encoding: aes128gcm` the body has the salt and the sender's key in front of the ciphertext, and
# is all that a receiver needs.
#
# In fact the shortest call produces `aesgcm`, from a draft of 2016. There the salt and the key are in
# the headers Encryption and Crypto-Key, so a push server that passes on the body alone hands the phone
# something that nobody can decrypt. @pushforge/builder has no other encoding; the Java library takes
# another one as an optional argument.
#
# Needs Node.js, a JDK and Maven.
# Tested with nl.martijndwars:web-push 5.1.2 (Java 17) and @pushforge/builder 2.0.5 (Node.js 20).
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cd "$work"

npm install --silent --no-audit --no-fund @pushforge/builder@2.0.5
cat >send.mjs <<'JS'
import { webcrypto } from "node:crypto";
import { buildPushHTTPRequest } from "@pushforge/builder";

const key = (name, use) => webcrypto.subtle.generateKey({ name, namedCurve: "P-256" }, true, [use]);
const phone = await key("ECDH", "deriveBits");
const sender = await key("ECDSA", "sign");
const point = Buffer.from(await webcrypto.subtle.exportKey("raw", phone.publicKey));
const { headers } = await buildPushHTTPRequest({
  privateJWK: await webcrypto.subtle.exportKey("jwk", sender.privateKey),
  subscription: {
    endpoint: "https://push.example.org/a",
    keys: { p256dh: point.toString("base64url"), auth: Buffer.alloc(16).toString("base64url") },
  },
  message: { payload: { title: "hello" }, adminContact: "mailto:admin@example.org" },
});
for (const [name, value] of new Headers(headers)) console.log(`${name}: ${value}`);
JS
node send.mjs >pushforge

mkdir java
cat >java/pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.example</groupId>
  <artifactId>aesgcm</artifactId>
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
import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.security.KeyPairGenerator;
import java.security.Security;
import java.security.spec.ECGenParameterSpec;
import java.util.Base64;
import nl.martijndwars.webpush.Notification;
import nl.martijndwars.webpush.PushService;
import nl.martijndwars.webpush.Utils;
import org.bouncycastle.jce.interfaces.ECPublicKey;
import org.bouncycastle.jce.provider.BouncyCastleProvider;

class Send {
    public static void main(String[] args) throws Exception {
        var server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", exchange -> {
            for (var header : exchange.getRequestHeaders().entrySet())
                System.out.println(header.getKey().toLowerCase() + ": " + header.getValue().get(0));
            exchange.sendResponseHeaders(201, -1);
            exchange.close();
        });
        server.start();
        var endpoint = "http://127.0.0.1:" + server.getAddress().getPort() + "/a";

        Security.addProvider(new BouncyCastleProvider());
        var generator = KeyPairGenerator.getInstance("ECDH", "BC");
        generator.initialize(new ECGenParameterSpec("secp256r1"));
        var phone = (ECPublicKey) generator.generateKeyPair().getPublic();
        var text = Base64.getUrlEncoder().withoutPadding();
        var notification = new Notification(endpoint, text.encodeToString(Utils.encode(phone)),
            text.encodeToString(new byte[16]), "hello");
        new PushService(generator.generateKeyPair(), "mailto:admin@example.org").send(notification);
        server.stop(0);
    }
}
JAVA
mvn --quiet --batch-mode -Dstyle.color=never --file java/pom.xml -Dmaven.repo.local="$work/m2" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath -Dmdep.outputFile="$work/classpath"
java -version 2>&1 | head -1
java -cp "$(cat classpath)" java/Send.java >martijndwars 2>log

for library in martijndwars pushforge; do
    echo "$library:"
    grep -E '^(content-encoding|encryption|crypto-key):' $library | cut -c 1-72
    for header in 'content-encoding: aesgcm' 'encryption: salt=' 'crypto-key: .*dh='; do
        grep -q "^$header" $library || {
            echo 'the behaviour has changed' >&2
            exit 1
        }
    done
done
