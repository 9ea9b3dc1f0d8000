// @pushforge/builder, as the README calls it.
import { buildPushHTTPRequest } from "@pushforge/builder";

const [endpoint, p256dh, auth, publicKey, privateKey, text] = process.argv.slice(2);
const point = Buffer.from(publicKey, "base64url");
const { headers, body } = await buildPushHTTPRequest({
  privateJWK: {
    kty: "EC",
    crv: "P-256",
    x: point.subarray(1, 33).toString("base64url"),
    y: point.subarray(33).toString("base64url"),
    d: privateKey,
  },
  subscription: { endpoint, keys: { p256dh, auth } },
  message: { payload: { text }, adminContact: "mailto:admin@example.org" },
});
const answer = await fetch(endpoint, { method: "POST", headers, body });
console.log(answer.ok ? "sent" : "failed", answer.status);
