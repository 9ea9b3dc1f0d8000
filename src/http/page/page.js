"use strict";

const main = document.querySelector("main");
// What endpoints begin with, as the URL parser writes it.
const prefix = new URL(main.dataset.url + "/push/").href;
// The same place as the browser reaches it: nothing is ever sent to another origin.
const base = location.pathname.replace(/\/?$/, "/");
const language = document.documentElement.lang;

function word(name, values = {}) {
  const text = document.querySelector(`[data-word="${name}"]`).textContent;
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

function duration(seconds) {
  const units = [[172800, 86400, "day"], [7200, 3600, "hour"], [120, 60, "minute"], [0, 1, "second"]];
  const [, size, unit] = units.find(([least]) => seconds >= least);
  const style = { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 };
  return new Intl.NumberFormat(language, style).format(seconds / size);
}

// Why nothing was sent, and which field is to blame.
class Mistake extends Error {
  constructor(name, field, values) {
    super(word(name, values));
    this.field = field;
  }
}

// Where to send: on this page's own origin, whatever name the daemon has for itself.
function target(field) {
  let url;
  try {
    url = new URL(field.value.trim());
  } catch {
    throw new Mistake("no-url", field);
  }
  if (url.href.startsWith(prefix) && url.href.length > prefix.length) {
    return base + "push/" + url.href.slice(prefix.length);
  }
  if (url.origin !== new URL(prefix).origin) {
    throw new Mistake("foreign", field, { url: prefix });
  }
  if (url.pathname.length < 20) {
    throw new Mistake("no-url", field);
  }
  return url.pathname;
}

async function post(path, headers, body) {
  const response = await fetch(path, {
    method: "POST", headers, body,
    credentials: "omit", cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(30000),
  });
  const said = (await response.text()).trim();
  return explain(response, said.startsWith("<") ? "" : said.slice(0, 300));
}

// The answer in words, and whether it is good, may become good, or is bad.
async function explain(response, said) {
  const { status, headers } = response;
  if (status === 201) {
    return await accepted(headers);
  }
  const after = Number(headers.get("Retry-After"));
  const again = after ? " " + word("again", { time: duration(after) }) : "";
  const names = {
    0: "proxy", 400: "malformed", 401: "unsigned", 403: "unsigned", 404: "gone", 405: "no-url",
    410: "gone", 413: "large", 429: "guesses", 502: "proxy", 503: "busy", 504: "proxy",
  };
  const kind = status === 503 || status === 429 ? "wait" : "bad";
  const text = word(names[status] ?? "failed", { status, said });
  return { kind, status, text: text + again };
}

async function accepted(headers) {
  const ttl = Number(headers.get("TTL"));
  if (ttl === 0) {
    return { kind: "wait", status: 201, text: word("unconfirmed") };
  }
  const message = (headers.get("Location") ?? "").split("/message/")[1];
  // Without its own resource nobody knows more than that it was taken.
  const look = message
    && await fetch(base + "message/" + message, { cache: "no-store" }).catch(() => null);
  if (look && look.status === 200) {
    return { kind: "wait", status: 201, text: word("kept", { time: duration(ttl) }) };
  }
  const isDelivered = look && look.status === 404;
  return { kind: "good", status: 201, text: word(isDelivered ? "delivered" : "accepted") };
}

function bytesOf(base64) {
  const standard = base64.trim().replace(/=+$/, "").replace(/-/g, "+").replace(/_/g, "/");
  try {
    return Uint8Array.from(atob(standard), (char) => char.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

function concat(...parts) {
  const arrays = parts.map((part) =>
    typeof part === "string" ? new TextEncoder().encode(part) : new Uint8Array(part));
  return Uint8Array.from(arrays.flatMap((array) => [...array]));
}

async function hkdf(salt, input, info, length) {
  const key = await crypto.subtle.importKey("raw", input, "HKDF", false, ["deriveBits"]);
  const how = { name: "HKDF", hash: "SHA-256", salt, info };
  return await crypto.subtle.deriveBits(how, key, length * 8);
}

// RFC 8291: the body of a Web Push in one record.
async function encrypt(message, p256dh, auth) {
  const curve = { name: "ECDH", namedCurve: "P-256" };
  const point = bytesOf(p256dh.value);
  const secret = bytesOf(auth.value);
  const theirs = await crypto.subtle.importKey("raw", point, curve, false, []).catch(() => {
    throw new Mistake("bad-p256dh", p256dh);
  });
  if (secret.length !== 16) {
    throw new Mistake("bad-auth", auth);
  }
  const pair = await crypto.subtle.generateKey(curve, false, ["deriveBits"]);
  const ours = await crypto.subtle.exportKey("raw", pair.publicKey);
  const agreement = { name: "ECDH", public: theirs };
  const shared = await crypto.subtle.deriveBits(agreement, pair.privateKey, 256);
  const input = await hkdf(secret, shared, concat("WebPush: info\0", point, ours), 32);
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const key = await hkdf(salt, input, concat("Content-Encoding: aes128gcm\0"), 16);
  const iv = await hkdf(salt, input, concat("Content-Encoding: nonce\0"), 12);
  const cipher = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  // The 2 ends the last record (RFC 8188).
  const plaintext = concat(message, [2]);
  const record = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, cipher, plaintext);
  const size = new DataView(new ArrayBuffer(4));
  size.setUint32(0, Math.max(4096, record.byteLength));
  return concat(salt, size.buffer, [65], ours, record);
}

async function sendPlain({ endpoint }) {
  const headers = { TTL: "3600", Topic: "test", "Content-Type": "text/plain;charset=utf-8" };
  return await post(target(endpoint), headers, word("hello"));
}

async function sendEncrypted({ endpoint, p256dh, auth, message, ttl }) {
  const path = target(endpoint);
  if (!crypto.subtle) {
    throw new Mistake("insecure");
  }
  const body = await encrypt(message.value, p256dh, auth);
  const headers = { TTL: ttl.value, "Content-Encoding": "aes128gcm" };
  return await post(path, headers, body);
}

function show(form, kind, text, status) {
  const result = form.querySelector("[role=status]");
  result.className = kind;
  result.textContent = status ? `${status}: ${text}` : text;
}

function serve(form, send) {
  let isBusy = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isBusy) {
      return;
    }
    isBusy = true;
    for (const field of form.elements) {
      field.removeAttribute("aria-invalid");
    }
    show(form, "", word("sending"));
    try {
      const { kind, status, text } = await send(form.elements);
      show(form, kind, text, status);
    } catch (error) {
      const isMistake = error instanceof Mistake;
      show(form, "bad", isMistake ? error.message : word("network"));
      if (error.field) {
        error.field.setAttribute("aria-invalid", "true");
        error.field.focus();
      }
    }
    isBusy = false;
  });
}

async function copy() {
  const code = document.getElementById("domain");
  let name = "copied";
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    getSelection().selectAllChildren(code);
    name = "selected";
  }
  document.getElementById("copied").textContent = word(name);
}

document.getElementById("copy").addEventListener("click", copy);
serve(document.getElementById("plain"), sendPlain);
serve(document.getElementById("encrypted"), sendEncrypted);
for (const element of document.querySelectorAll("main [hidden]")) {
  element.hidden = false;
}
