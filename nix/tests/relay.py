#!/usr/bin/env python3
"""A phone and an application server in one: registers over XMPP, pushes over HTTP, and fails when a
push that was accepted does not arrive. With --during it pushes all the while a command runs."""

import argparse
import base64
import hashlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit
from xml.etree.ElementTree import XMLPullParser

PUSH = "http://gultsch.de/xmpp/drafts/unified-push"
PATIENCE = 60
# A message that may have reached the phone is held back for minutes, unless the phone comes anew.
BEFORE_COMING_ANEW = 10
# What a sender keeps its subscription on, and tries again.
TEMPORARY = (429, 500, 502, 503, 504)


def digest(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class Phone(threading.Thread):
    """Registers once, acknowledges pushes, and comes back when its connection is lost."""

    def __init__(self, options):
        super().__init__(daemon=True)
        self.options = options
        self.user, self.domain = options.account.split("@")
        self.endpoint = None
        self.arrived = []
        self.changed = threading.Condition()
        self.at_home = threading.Event()
        self.at_home.set()

    def run(self):
        while True:
            self.at_home.wait()
            try:
                self.connect()
                self.live()
            except (OSError, EOFError):
                time.sleep(0.1)

    def connect(self):
        self.socket = socket.create_connection(self.options.server, timeout=PATIENCE)
        self.open()
        plain = base64.b64encode(f"\0{self.user}\0{self.options.password}".encode()).decode()
        sasl = "urn:ietf:params:xml:ns:xmpp-sasl"
        self.send(f"<auth xmlns='{sasl}' mechanism='PLAIN'>{plain}</auth>")
        if not self.receive().tag.endswith("success"):
            raise OSError("the server does not let the phone in")
        self.open()
        bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>phone</resource></bind>"
        self.send(f"<iq type='set' id='bind'>{bind}</iq><presence/>")
        self.send(f"<presence to='{self.options.component}'/>")
        self.socket.settimeout(None)
        if not self.endpoint:
            self.register()

    def leave(self):
        self.at_home.clear()
        self.send("</stream:stream>")

    def come_back(self):
        self.at_home.set()

    def live(self):
        while True:
            stanza = self.receive()
            if stanza.tag != "{jabber:client}iq":
                continue
            push = stanza.find(f"{{{PUSH}}}push")
            registered = stanza.find(f"{{{PUSH}}}registered")
            if push is not None:
                with self.changed:
                    self.arrived.append(base64.b64decode(push.text))
                    self.changed.notify_all()
                self.send(f"<iq type='result' id='{stanza.get('id')}' to='{stanza.get('from')}'/>")
            elif registered is not None:
                with self.changed:
                    self.endpoint = registered.get("endpoint")
                    self.changed.notify_all()
            elif stanza.get("id") == "register":
                # The component's link is not up yet.
                time.sleep(0.1)
                self.register()

    def register(self):
        names = f"application='{digest('app')}' instance='{digest(self.options.account)}'"
        register = f"<register xmlns='{PUSH}' {names}/>"
        self.send(f"<iq type='set' id='register' to='{self.options.component}'>{register}</iq>")

    def open(self):
        self.parser = XMLPullParser(("start", "end"))
        self.depth = 0
        self.stanzas = []
        self.send(
            f"<?xml version='1.0'?><stream:stream to='{self.domain}' version='1.0' "
            "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        self.receive()

    def send(self, xml):
        self.socket.sendall(xml.encode())

    def receive(self):
        while not self.stanzas:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.parser.feed(data)
            for event, element in self.parser.read_events():
                self.depth += 1 if event == "start" else -1
                if event == "end" and self.depth == 1:
                    self.stanzas.append(element)
                elif self.depth == 0:
                    raise EOFError
        return self.stanzas.pop(0)

    def wait_a_little(self, condition):
        with self.changed:
            return self.changed.wait_for(condition, BEFORE_COMING_ANEW)

    def wait(self, condition, what):
        with self.changed:
            if not self.changed.wait_for(condition, PATIENCE):
                sys.exit(f"FAILED: {what()}")


class Sender:
    def __init__(self, options, endpoint):
        url = urlsplit(endpoint)
        self.address, self.host, self.path = options.http, url.netloc, url.path
        self.accepted = []
        self.again = {}

    def push(self):
        """One push, until it is accepted."""
        body = f"push {len(self.accepted)} of {time.time()}".encode()
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            outcome = self.post(body)
            if outcome == 201:
                self.accepted.append(body)
                return
            if isinstance(outcome, int) and outcome not in TEMPORARY:
                sys.exit(f"FAILED: a push was answered {outcome}")
            self.again[outcome] = self.again.get(outcome, 0) + 1
            time.sleep(0.1)
        sys.exit(f"FAILED: no push was accepted for {PATIENCE} s: {self.again}")

    def post(self, body):
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        try:
            connection.request("POST", self.path, body, {"Host": self.host, "TTL": "3600"})
            return connection.getresponse().status
        except ConnectionRefusedError:
            return "refused connection"
        except (OSError, http.client.HTTPException):
            return "broken connection"
        finally:
            connection.close()


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--account", default="juliet@example.org")
    arguments.add_argument("--password", default="password")
    arguments.add_argument("--component", default="up.example.org")
    arguments.add_argument("--server", type=address, default=("127.0.0.1", 5222))
    arguments.add_argument("--http", type=address, default=("127.0.0.1", 8080))
    arguments.add_argument("--during", help="a command that pushes have to survive")
    arguments.add_argument("--also", help="what the command pushes, and has to arrive as well")
    arguments.add_argument("--away", action="store_true", help="with a phone that is offline")
    arguments.add_argument("--refuses", action="store_true", help="refused connections are right")
    arguments.add_argument("--endpoint", help="write the endpoint into this file")
    options = arguments.parse_args()

    phone = Phone(options)
    phone.start()
    phone.wait(lambda: phone.endpoint, lambda: "the phone gets no endpoint")
    if options.endpoint:
        with open(options.endpoint, "w") as file:
            file.write(phone.endpoint)

    sender = Sender(options, phone.endpoint)
    for _ in range(10):
        sender.push()
    if options.away:
        phone.leave()
    if options.during:
        command = subprocess.Popen(options.during, shell=True)
        while command.poll() is None:
            sender.push()
        if command.returncode:
            sys.exit(f"FAILED: {options.during}")
        for _ in range(10):
            sender.push()
    if options.also:
        sender.accepted.append(options.also.encode())
    phone.come_back()

    lost = lambda: set(sender.accepted) - set(phone.arrived)
    late = 0
    if not phone.wait_a_little(lambda: not lost()):
        late = len(lost())
        phone.leave()
        phone.come_back()
    phone.wait(
        lambda: not lost(),
        lambda: f"{len(lost())} of {len(sender.accepted)} accepted pushes did not arrive: {lost()}",
    )
    if "refused connection" in sender.again and not options.refuses:
        sys.exit(f"FAILED: refused: {sender.again}")
    again = ", ".join(f"{count} after {why}" for why, count in sender.again.items())
    twice = len(phone.arrived) - len(set(phone.arrived))
    print(
        f"{len(sender.accepted)} accepted, all arrived, {twice} twice, {late} when the phone came anew; "
        f"tried again: {again or 'none'}"
    )


if __name__ == "__main__":
    main()
