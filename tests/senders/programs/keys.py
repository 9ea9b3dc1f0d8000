"""Prints a phone's p256dh, auth and private key, and two senders' public and private keys.

The first sender's pair is written to the working directory as private.pem, the other one's as
other.pem, which some libraries want.
"""
import base64
import os

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, PublicFormat)


def text(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def pair(name):
    key = ec.generate_private_key(ec.SECP256R1())
    if name:
        # SEC 1, which all libraries read.
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        with open(f"{name}.pem", "wb") as file:
            file.write(pem)
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return text(point), text(key.private_numbers().private_value.to_bytes(32, "big"))


p256dh, phone = pair(None)
print(p256dh, text(os.urandom(16)), phone, *pair("private"), *pair("other"))
