#!/bin/sh
# Express: no body parser of it reads a Web Push, not even the one for raw bytes.
#
# One would guess that express.raw(), told to take every type, hands over the bytes as they came, the more
# so with `inflate: false`.
#
# In fact the parser takes `Content-Encoding: aes128gcm`, a content coding like gzip by RFC 8188, for a
# compression that it lacks, and answers 415 before the handler is called. `inflate: false` means "refuse
# every coding", not "leave it alone". A push server in Express has to read the stream itself, and a sender
# that is tried out against express.raw() sees a 4xx, on which some forget the subscription.
#
# Tested with express 5.1.0 (body-parser 2.2.0, Node.js 20).
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
npm install --silent --no-audit --no-fund express@5.1.0 body-parser@2.2.0 web-push@3.6.7
cat >push.js <<'JS'
const crypto = require("node:crypto");
const express = require("express");
const webpush = require("web-push");

const phone = crypto.createECDH("prime256v1");
phone.generateKeys();
const push = webpush.generateRequestDetails({
  endpoint: "https://push.example.org/a",
  keys: { p256dh: phone.getPublicKey("base64url"), auth: Buffer.alloc(16).toString("base64url") },
}, "hello");

async function send(parser) {
  const app = express();
  app.use(parser);
  app.post("/a", (request, response) => response.sendStatus(201));
  // Its own handler would print the error as well.
  app.use((error, request, response, next) => response.status(error.status).send(error.message));
  const server = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/a`, {
    method: "POST",
    headers: { TTL: "60", "Content-Type": "application/octet-stream", "Content-Encoding": push.headers["Content-Encoding"] },
    body: push.body,
  });
  const text = await answer.text();
  server.close();
  return `${answer.status} ${text}`;
}

(async () => {
  console.log("express", require("express/package.json").version,
    "body-parser", require("body-parser/package.json").version);
  const raw = await send(express.raw({ type: () => true }));
  console.log("raw():", raw);
  const plain = await send(express.raw({ type: () => true, inflate: false }));
  console.log("raw({ inflate: false }):", plain);
  if (!raw.startsWith("415") || !plain.startsWith("415")) {
    console.error("the behaviour has changed");
    process.exit(1);
  }
})();
JS
node push.js
