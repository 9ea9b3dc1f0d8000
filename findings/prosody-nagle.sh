#!/bin/sh
# Prosody: a component that answers only some of its stanzas gets the others 40 ms late.
#
# One would guess that a server which writes a stanza has sent it, the more so on loopback, and that to answer
# less makes a component quicker.
#
# In fact Prosody leaves Nagle's algorithm on: while anything it has sent is unacknowledged, the kernel keeps
# back what does not fill a segment, which on loopback has 64 KiB. The kernel of a component that writes now
# and then delays its acknowledgements for 40 ms and more, in the hope of an answer to carry them. So whoever
# answers everything is served at once, and whoever is sent many stanzas that deserve no answer, such as a
# stranger's flood, gets everybody else's late, too. TCP_QUICKACK, set anew after each read, cures it on the
# component's side; `network_settings = { nagle = false }` should on Prosody's.
#
# Tested with Prosody 0.12.3 on Linux 6.18 (Debian 12): 41 of 200 stanzas came more than 30 ms late, and 3 of
# 200 with TCP_QUICKACK.
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

port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >prosody.cfg.lua <<LUA
run_as_root = true
daemonize = false
pidfile = "$work/prosody.pid"
data_path = "$work"
modules_disabled = { "s2s" }
c2s_ports = {}
interfaces = { "127.0.0.1" }
component_ports = { $port }
log = { info = "$work/prosody.log" }
VirtualHost "example.org"
Component "sends.example.org"
    component_secret = "secret"
Component "reads.example.org"
    component_secret = "secret"
LUA
prosody --config "$work/prosody.cfg.lua" >out 2>&1 &
prosody=$!

cat >components.py <<'PYTHON'
import hashlib
import re
import socket
import sys
import threading
import time

STANZAS = 200

def receive(link, end):
    got = b""
    while end not in got:
        got += link.recv(4096)
    return got

def component(name):
    for _ in range(100):
        try:
            link = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(b"<stream:stream xmlns='jabber:component:accept' "
                 b"xmlns:stream='http://etherx.jabber.org/streams' to='%s.example.org'>" % name)
    stream = re.search(rb" id='([^']+)'", receive(link, b"example.org"))[1]
    link.sendall(b"<handshake>%s</handshake>" % hashlib.sha1(stream + b"secret").hexdigest().encode())
    receive(link, b"<handshake/>")
    return link

def late(quickly):
    """How many of the stanzas come more than 30 ms after they were sent."""
    reads, sends = component(b"reads"), component(b"sends")
    sent, came, rest, answered = [], [], b"", 0
    def send():
        for number in range(STANZAS):
            sent.append(time.monotonic())
            sends.sendall(b"<message from='sends.example.org' to='reads.example.org' type='headline' id='n%d'/>"
                          % number)
            time.sleep(0.005)
    sender = threading.Thread(target=send)
    sender.start()
    while len(came) < STANZAS:
        rest += reads.recv(1 << 16)
        if quickly:
            reads.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        if len(came) >= answered + 10:
            answered = len(came)
            reads.sendall(b"<message from='reads.example.org' to='sends.example.org' type='headline'/>")
        *whole, rest = re.split(rb"(?<=/>)|(?<=</message>)", rest)
        came += [time.monotonic() for stanza in whole if b"id='n" in stanza]
    sender.join()
    reads.close()
    sends.close()
    return sum(arrival - departure > 0.03 for departure, arrival in zip(sent, came))

reading, quick = late(False), late(True)
print(f"a component that answers one stanza of ten: {reading} of {STANZAS} stanzas come more than 30 ms late")
print(f"and acknowledges at once: {quick} of {STANZAS}")
sys.exit(not (reading > STANZAS / 10 and quick < STANZAS / 20))
PYTHON
python3 components.py "$port" || {
    echo 'the behaviour has changed' >&2
    exit 1
}
