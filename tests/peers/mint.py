#!/usr/bin/python3
"""A phone that registers with a push server and says what it got, as one line of JSON.

mint.py PORT DOMAIN SERVICE [RESOURCE]
"""

import base64
import hashlib
import json
import re
import socket
import sys
from datetime import datetime

NS = "http://gultsch.de/xmpp/drafts/unified-push"
# Digests, as Conversations makes them.
APPLICATION, INSTANCE = (
    base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()
    for name in ("application", "instance")
)

port, domain, service = sys.argv[1:4]
resource = sys.argv[4] if sys.argv[4:] else "phone"
link = socket.create_connection(("127.0.0.1", int(port)), timeout=20)


def ask(stanza, answer):
    """Sends it and waits for what matches."""
    link.sendall(stanza.encode())
    text = ""
    while not (found := re.search(answer, text, re.DOTALL)):
        received = link.recv(65536).decode()
        if not received:
            sys.exit(f"the server closed the stream after {text}")
        text += received
    return found


def stream():
    ask(
        f"<stream:stream to='{domain}' version='1.0' xmlns='jabber:client' "
        "xmlns:stream='http://etherx.jabber.org/streams'>",
        "</stream:features>",
    )


stream()
secret = base64.b64encode(b"\0romeo\0any password").decode()
sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'"
ask(f"<auth {sasl}>{secret}</auth>", "<success")
stream()
bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
jid = ask(
    f"<iq type='set' id='bind'>{bind}<resource>{resource}</resource></bind></iq>",
    "<jid>(.*?)</jid>",
)[1]
digests = f"application='{APPLICATION}' instance='{INSTANCE}'"
answer = ask(
    f"<iq type='set' id='up' to='{service}'><register xmlns='{NS}' {digests}/></iq>",
    r"<iq [^>]*id=['\"]up['\"].*?(</iq>|/>$)",
)[0]
if "<registered" not in answer:
    sys.exit(f"not registered: {answer}")
endpoint = re.search(r"endpoint=['\"](.*?)['\"]", answer)[1]
expiration = re.search(r"expiration=['\"](.*?)['\"]", answer)[1]
minted = {
    "endpoint": endpoint,
    "owner": jid,
    "application": APPLICATION,
    "instance": INSTANCE,
    "expires": int(datetime.fromisoformat(expiration.replace("Z", "+00:00")).timestamp()),
}
print(json.dumps(minted))
