#!/usr/bin/python3
"""A phone: logs in, registers, prints the endpoint and then each push, which it acknowledges.

phone.py HOST PORT JID SERVICE; with TLS if $PHONE_TLS names a certificate to trust.
"""

import base64
import hashlib
import inspect
import os
import sys

import slixmpp
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

# Digests, as Conversations makes them.
NAMES = {
    name: base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()
    for name in ("application", "instance")
}
NS = "http://gultsch.de/xmpp/drafts/unified-push"


class Phone(slixmpp.ClientXMPP):
    def __init__(self, jid, service):
        super().__init__(jid, "any password")
        self["feature_mechanisms"].unencrypted_plain = True
        self.service = service
        self.add_event_handler("session_start", self.register)
        self.add_event_handler("failed_all_auth", lambda _: sys.exit("not logged in"))
        push = MatchXPath("{jabber:client}iq/{%s}push" % NS)
        self.register_handler(Callback("push", push, self.pushed))

    async def register(self, _):
        self.send_presence()
        request = self.make_iq_set(ito=self.service)
        request.append(slixmpp.ET.Element(f"{{{NS}}}register", **NAMES))
        answer = await request.send(timeout=20)
        print("endpoint", answer.xml[0].get("endpoint"), flush=True)

    def pushed(self, iq):
        print("push", base64.b64decode(iq.xml[0].text).decode(), flush=True)
        iq.reply().send()


host, port, jid, service = sys.argv[1:]
phone = Phone(jid, service)
phone.ca_certs = os.environ.get("PHONE_TLS")
phone.enable_direct_tls = False
phone.enable_starttls = bool(phone.ca_certs)
phone.enable_plaintext = not phone.ca_certs
if "address" in inspect.signature(phone.connect).parameters:
    # Debian 12's slixmpp.
    phone.connect((host, int(port)), disable_starttls=not phone.ca_certs)
else:
    phone.connect(host, int(port))
phone.loop.run_forever()
