#!/bin/sh
# Prosody on a current Expat: a stanza that has arrived to its last byte waits for the bytes after it.
#
# One would guess that a server acts on a stanza once its end tag is there, however TCP cut it up.
#
# In fact Expat does not look again at a start tag that was incomplete at the end of a segment before its
# input has about doubled (reparse deferral, new in Expat 2.6.0, in Debian's 2.5.0 since a security
# update). If the rest of the stanza is shorter than that, the stanza waits until enough of the next ones
# has come; one byte of white space does not help. So a component should write each stanza in one
# piece, and must not take a late answer to its ping for a dead link. Expat 2.5.0 as it was before answers
# at once in both cases.
#
# Tested with Prosody 0.12.3 and libexpat1 2.5.0-1+deb12u5 (Debian 12).
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
# The current one, whichever is installed.
apt-get -q download libexpat1 >apt.log 2>&1
dpkg -x libexpat1_*.deb expat
ls libexpat1_*.deb
dpkg-query --show prosody

port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >prosody.cfg.lua <<LUA
run_as_root = true
daemonize = false
pidfile = "$work/prosody.pid"
data_path = "$work"
modules_enabled = { "ping" }
modules_disabled = { "s2s" }
c2s_ports = {}
interfaces = { "127.0.0.1" }
component_ports = { $port }
log = { info = "$work/prosody.log" }
VirtualHost "example.org"
Component "push.example.org"
    component_secret = "secret"
LUA
LD_LIBRARY_PATH="$(dirname "$(find "$work/expat" -name libexpat.so.1 | head -1)")" \
    prosody --config "$work/prosody.cfg.lua" >out 2>&1 &
prosody=$!

cat >component.py <<'PYTHON'
import hashlib
import re
import socket
import sys
import time

for _ in range(100):
    try:
        link = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

def receive(end, seconds):
    """What comes until `end` is in it, or None if it has not come by then."""
    link.settimeout(seconds)
    got = b""
    try:
        while end not in got:
            got += link.recv(4096)
    except TimeoutError:
        return None
    return got

link.sendall(b"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'"
             b" to='push.example.org'>")
header = receive(b"push.example.org", 10)
stream = re.search(rb"id='([^']+)'", header)[1]
link.sendall(b"<handshake>%s</handshake>" % hashlib.sha1(stream + b"secret").hexdigest().encode())
assert receive(b"<handshake/>", 10)

def ping(name, *cuts):
    """Whether a ping is answered at once, and if not, what it waits for."""
    name = name + b"x" * 2000
    stanza = (b"<iq type='get' id='%s' from='push.example.org' to='example.org'>"
              b"<ping xmlns='urn:xmpp:ping'/></iq>" % name)
    for start, end in zip((0, *cuts), (*cuts, len(stanza))):
        link.sendall(stanza[start:end])
        # Long enough for each to be a read of its own at the other end.
        time.sleep(0.2)
    if receive(name, 3) is not None:
        return "answered at once"
    link.sendall(b" ")
    if receive(name, 3) is not None:
        return "answered after one more byte"
    # White space between stanzas is what keeps a link alive.
    link.sendall(b" " * 3000)
    return "not answered within 6 s, " + (
        "but after 3000 more bytes" if receive(name, 10) is not None else "nor after 3000 more bytes")

whole = ping(b"a")
pieces = ping(b"b", 500, 1000, 1500, 2000)
print("a ping in one segment:", whole)
print("a ping in five segments:", pieces)
sys.exit((whole, pieces) != ("answered at once", "not answered within 6 s, but after 3000 more bytes"))
PYTHON
python3 component.py "$port" || {
    echo 'the behaviour has changed' >&2
    exit 1
}
