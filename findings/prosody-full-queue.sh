#!/bin/sh
# Prosody: more than 500 stanzas for a phone that is away, and the first ones vanish without a word.
#
# The phone's session may be resumed (XEP-0198), so what comes meanwhile is queued, 500 stanzas at most by
# default. One would guess that the next IQ is refused when the queue is full, or that the one which has to
# leave it is bounced, as all are that are in it when the session ends: an IQ gets an answer.
#
# In fact the oldest one is dropped and its sender hears nothing, not even when all the others are bounced. The
# phone that comes back in time cannot resume the session that is no longer whole, and is not told so, but
# disconnected. A component that waits for each answer waits for the first ones for ever: it needs a time
# limit of its own, and a limit on what it has under way for one phone.
#
# Tested with Prosody 0.12.3 (Debian 12).
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
    """Sends so many to a phone that is away. Returns what it is told when it is back and which were bounced."""
    phone = login(clients)
    answer = phone.ask("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "</iq>")
    jid = re.search("<jid>(.*)</jid>", answer)[1]
    enabled = phone.ask("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", "<enabled [^>]*/>")
    session = re.search(r" id=['\"]([^'\"]+)", enabled)[1]
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
    phone = login(clients)
    try:
        phone.ask(f"<resume xmlns='urn:xmpp:sm:3' previd='{session}' h='0'/>", "<resumed")
        sender.socket.close()
        return "resumes its session", set()
    except Closed as closed:
        told = f"gets {closed.args[0]!r} and is disconnected"
    sender.socket.settimeout(10)
    got = b""
    try:
        while True:
            got += sender.socket.recv(65536)
    except TimeoutError:
        pass
    return told, {int(n) for n in re.findall(rb"id='of%d-(\d+)'" % stanzas, got)}

clients, components = map(int, sys.argv[1:])
within = push(500)
print("500 stanzas: the phone", within[0])
told, bounced = push(600)
missing = sorted(set(range(600)) - bounced)
print(f"600 stanzas: the phone {told}, {len(bounced)} are bounced,"
      f" nothing is heard of number {missing[0] + 1} to {missing[-1] + 1}")
sys.exit(not within[0].startswith("resumes") or "disconnected" not in told or missing != list(range(100)))
PYTHON
python3 overflow.py "$clients" "$components" || {
    echo 'the behaviour has changed' >&2
    exit 1
}
