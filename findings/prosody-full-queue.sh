#!/bin/sh
# Prosody: more than 500 stanzas for a phone that is away, and the first ones vanish without a word.
#
# The phone's session may be resumed (XEP-0198), so what comes meanwhile is queued, 500 stanzas at most by
# default. One would guess that the next IQ is refused when the queue is full, or that the one which has to
# leave it is bounced, as all are that are in it when the session ends: an IQ gets an answer.
#
# In fact the oldest one is dropped and its sender hears nothing, not even when all the others are bounced. Nor
# can the phone that comes back in time resume the session that is no longer whole. A component that waits
# for each answer waits for the first ones for ever: it needs a time limit of its own, and a limit on what
# it has under way for one phone.
#
# Tested with Prosody 0.12.3 (Debian 12) and 13.0.1 (Debian 13).
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/prosody prosody
install_packages

work=$(mktemp -d)
prosody=
stop() {
    [ -z "$prosody" ] || kill $prosody 2>/dev/null || true
    [ -z "$prosody" ] || wait $prosody 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
dpkg-query --show prosody
python3 - >ports <<'PYTHON'
import socket

listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in listeners))
PYTHON
read -r clients components <ports
mkdir -p example%2eorg/accounts
echo 'return { ["password"] = "secret" };' >example%2eorg/accounts/romeo.dat
cat >prosody.cfg.lua <<LUA
run_as_root = true
daemonize = false
pidfile = "$work/prosody.pid"
data_path = "$work"
modules_enabled = { "saslauth", "smacks" }
modules_disabled = { "s2s" }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
-- By default ten minutes.
smacks_hibernation_time = 6
interfaces = { "127.0.0.1" }
c2s_ports = { $clients }
component_ports = { $components }
log = { info = "$work/prosody.log" }
VirtualHost "example.org"
Component "push.example.org"
    component_secret = "secret"
LUA
prosody --config "$work/prosody.cfg.lua" >prosody.out 2>&1 &
prosody=$!

cat >overflow.py <<'PYTHON'
import base64
import hashlib
import re
import socket
import sys
import time

class Closed(Exception):
    pass

class Link:
    def __init__(self, port):
        for _ in range(300):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        self.socket.settimeout(20)

    def ask(self, stanza, end):
        """Sends it, if any, and returns what comes up to `end`."""
        self.socket.sendall(stanza.encode())
        got = b""
        while not re.search(end, got.decode(errors="ignore")):
            more = self.socket.recv(65536)
            if not more:
                raise Closed(got.decode())
            got += more
        return got.decode()

STREAM = "<stream:stream xmlns='jabber:%s' to='%s' version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>"

def component(port):
    link = Link(port)
    stream = link.ask(STREAM % ("component:accept", "push.example.org"), r"<stream:stream [^>]*>")
    name = re.search(r" id=['\"]([^'\"]+)", stream)[1]
    link.ask(f"<handshake>{hashlib.sha1((name + 'secret').encode()).hexdigest()}</handshake>", "<handshake/>")
    return link

def login(port):
    link = Link(port)
    stream = STREAM % ("client", "example.org")
    link.ask(stream, "</stream:features>")
    password = base64.b64encode(b"\0romeo\0secret").decode()
    link.ask(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{password}</auth>", "<success")
    link.ask(stream, "</stream:features>")
    return link

def push(stanzas):
    """Sends so many to a phone that is away, and returns the component's link and the name of the session."""
    phone = login(clients)
    answer = phone.ask("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "</iq>")
    jid = re.search("<jid>(.*)</jid>", answer)[1]
    enabled = phone.ask("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", "<enabled [^>]*/>")
    phone.socket.close()
    # Until Prosody has noticed.
    time.sleep(1)
    sender = component(components)
    for n in range(stanzas):
        sender.socket.sendall(f"<iq type='set' id='of{stanzas}-{n}' from='push.example.org' to='{jid}'>"
                              "<query xmlns='urn:example'/></iq>".encode())
    # It is answered behind the others.
    sender.ask("<iq type='get' id='last' from='push.example.org' to='example.org'>"
               "<query xmlns='urn:example'/></iq>", "id=['\"]last")
    return sender, re.search(r" id=['\"]([^'\"]+)", enabled)[1]

def resume(stanzas):
    """What the phone is told that wants to resume its session in time."""
    sender, session = push(stanzas)
    sender.socket.close()
    try:
        answer = login(clients).ask(f"<resume xmlns='urn:xmpp:sm:3' previd='{session}' h='0'/>",
                                    "<resumed|</failed>")
    except Closed:
        return "disconnected"
    return "resumed" if "<resumed" in answer else re.search(r"<failed.*?<([\w-]+) xmlns='urn:ietf", answer)[1]

def bounced(stanzas):
    """The numbers of those that come back when the session is over."""
    sender, _ = push(stanzas)
    sender.socket.settimeout(15)
    got = b""
    try:
        while True:
            got += sender.socket.recv(65536)
    except TimeoutError:
        pass
    return [int(n) for n in re.findall(rb"id=.of%d-(\d+)" % stanzas, got)]

clients, components = map(int, sys.argv[1:])
told = [resume(500), resume(501)]
print("to resume the session after 500 and 501 stanzas:", *told)
few, many = bounced(499), bounced(600)
missing = sorted(set(range(600)) - set(many))
print(f"of 499 stanzas {len(few)} are bounced")
print(f"of 600 stanzas {len(many)} are bounced, nothing is heard of number {missing[0] + 1} to {missing[-1] + 1}")
sys.exit(told[0] != "resumed" or told[1] not in ("disconnected", "resource-constraint")
         or len(few) != 499 or missing != list(range(100)))
PYTHON
python3 overflow.py "$clients" "$components" || {
    echo 'the behaviour has changed' >&2
    exit 1
}
