#!/bin/sh
# ejabberd: what is sent to a component while its link is down leaves the server, and later stanzas overtake it.
#
# A component of the same machine is restarted and is away for a second. One would guess that a phone which asks
# it something meanwhile gets an error at once, as Prosody gives one, or that the stanza waits for the
# component.
#
# In fact ejabberd knows a component's name only while its link is up. Without it, the name is one of another
# domain: ejabberd looks it up in the DNS and opens a connection between servers to the address that it
# finds, for a push server the host that takes the pushes. The stanza waits there, 30 seconds if that host
# accepts and says nothing (two minutes in 24.12), and does not come back to the component, which has long
# been there again and gets what the phone sends next. The phone's answers to pushes go the same way. Where
# the name is not in the DNS, the phone gets remote-server-not-found, an error of type cancel, as if there
# were no such service.
#
# Tested with ejabberd 23.01 (Debian 12) and 24.12 (Debian 13). In a network namespace, as root or where
# user namespaces are allowed.
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/sbin/ejabberdctl ejabberd
install_packages

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
dpkg-query --show ejabberd
cat >ejabberd.yml <<YAML
hosts: ["example.org"]
loglevel: info
auth_method: anonymous
anonymous_protocol: sasl_anon
access_rules:
  c2s: {allow: all}
listen:
  - {port: 5222, ip: "127.0.0.1", module: ejabberd_c2s, access: c2s}
  - {port: 5347, ip: "127.0.0.1", module: ejabberd_service, password: secret}
YAML
# The component's name has an address, as that of a push server has, and nobody but this file knows it.
printf '127.0.0.1 localhost\n127.0.0.5 push.example.org\n' >hosts
printf 'nameserver 127.0.0.9\n' >resolv.conf

cat >away.py <<'PYTHON'
import threading
import hashlib
import re
import socket
import sys
import time

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
                raise SystemExit(f"closed: {got}")
            got += more
        return got.decode()

STREAM = "<stream:stream xmlns='jabber:%s' to='%s' version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>"

def component(port):
    link = Link(port)
    stream = link.ask(STREAM % ("component:accept", "push.example.org"), r"<stream:stream [^>]*>")
    name = re.search(r" id=['\"]([^'\"]+)", stream)[1]
    link.ask(f"<handshake>{hashlib.sha1((name + 'secret').encode()).hexdigest()}</handshake>", "<handshake/>")
    return link

def phone(port):
    link = Link(port)
    stream = STREAM % ("client", "example.org")
    link.ask(stream, "</stream:features>")
    link.ask("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>", "<success")
    link.ask(stream, "</stream:features>")
    link.ask("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "</iq>")
    return link

connections = []

def serve():
    """The host that the DNS gives for the component's name accepts and says nothing."""
    listener = socket.create_server(("127.0.0.5", 5269))
    while True:
        link, _ = listener.accept()
        connections.append((link, link.recv(4096).decode()))

threading.Thread(target=serve, daemon=True).start()

def ask(name):
    client.socket.sendall(f"<iq type='set' id='{name}' to='push.example.org'><query xmlns='urn:example'/></iq>".encode())

client = phone(5222)
client.socket.settimeout(240)
push = component(5347)
ask("before")
push.ask("", "id=['\"]before")
push.socket.close()
# Until ejabberd has noticed.
time.sleep(1)
client.socket.sendall(b"<iq type='result' id='push' to='push.example.org'/>")
time.sleep(1)
print("the phone answers a push; connections to the host of the component's name:", len(connections))
answers_leave = bool(connections)
ask("meanwhile")
since = time.monotonic()
time.sleep(1)
push = component(5347)
ask("after")
assert "after" in push.ask("", "</iq>")
print(f"the component gets what the phone sent after it was back, {time.monotonic() - since:.0f} s later than the other")
for _, stream in connections:
    print("the host of its name gets:", re.search("<stream:stream.*", stream)[0])
answer = client.ask("", "</iq>")
took = time.monotonic() - since
condition = re.search(r"<error [^>]*>\s*<([\w-]+)", answer)[1]
print(f"the phone gets, {took:.0f} s after it asked: {condition}")
push.socket.settimeout(3)
try:
    late = push.socket.recv(4096)
except TimeoutError:
    late = b""
print("the component gets in the end:", late.decode() or "nothing")
sys.exit(not (answers_leave and "to='push.example.org'" in connections[0][1] and took > 10 and not late
              and condition == "remote-server-timeout" and "meanwhile" in answer))
PYTHON
cat >inside.sh <<'SH'
set -eu
mount --bind hosts /etc/hosts
mount --bind resolv.conf /etc/resolv.conf
ip link set lo up
# What `ejabberdctl foreground` runs, without its change of user and without a name for the node.
HOME="$PWD" ERL_LIBS=$(sed -n "s/^ERL_LIBS='\(.*\)'$/\1/p" /usr/sbin/ejabberdctl) \
    ERL_CRASH_DUMP="$PWD/crash.dump" EJABBERD_CONFIG_PATH="$PWD/ejabberd.yml" \
    EJABBERD_LOG_PATH="$PWD/ejabberd.log" \
    erl -noinput -start_epmd false -mnesia dir "\"$PWD/mnesia\"" -s ejabberd >ejabberd.out 2>&1 &
ejabberd=$!
status=0
python3 away.py || status=$?
kill $ejabberd
wait $ejabberd 2>/dev/null || true
exit $status
SH
user=
[ "$(id -u)" = 0 ] || user=--map-root-user
unshare $user --net --mount --propagation private sh inside.sh || {
    echo 'the behaviour has changed' >&2
    exit 1
}
