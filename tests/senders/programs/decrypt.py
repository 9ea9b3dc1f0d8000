"""What an app does with a push: decrypts standard input and prints the text.

Arguments: the phone's private key and auth. The body is aes128gcm (RFC 8291), or the older aesgcm with
its two headers in front.
"""
import base64
import sys

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec


def octets(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def parameter(header, name):
    fields = [field.strip() for field in header.replace(",", ";").split(";")]
    return octets(next(f[len(name) + 1:] for f in fields if f.startswith(name + "=")).strip('"'))


phone, auth = sys.argv[1:]
key = ec.derive_private_key(int.from_bytes(octets(phone), "big"), ec.SECP256R1())
body = sys.stdin.buffer.read()
if body.startswith(b"aesgcm\n"):
    _, encryption, crypto_key, body = body.split(b"\n", 3)
    body = http_ece.decrypt(
        body, version="aesgcm", private_key=key, auth_secret=octets(auth),
        salt=parameter(encryption.decode().split(": ", 1)[1], "salt"),
        dh=parameter(crypto_key.decode().split(": ", 1)[1], "dh"))
else:
    body = http_ece.decrypt(
        body, version="aes128gcm", private_key=key, auth_secret=octets(auth))
sys.stdout.buffer.write(body)
