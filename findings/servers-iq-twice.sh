#!/bin/sh
# Prosody and ejabberd: one IQ is answered by the phone, and later, in the phone's name, by the server with an error.
#
# One would guess that an IQ gets one answer: the server passes the phone's result on itself, so it knows that
# the phone has had the IQ.
#
# In fact stream management (XEP-0198) counts on its own. What the phone has not acknowledged with <a/> when its
# session ends, at the latest after the time in which it could have been resumed, counts as undelivered, and
# an IQ among it is bounced to the sender, whatever came back meanwhile. A phone whose connection breaks just
# after its answer is such a case. The error may come minutes after the result, has the same id and
# the phone's address, and says that the recipient is not there. Who acts on it, a push server for example by
# sending again or giving the phone up, does so about a push that the phone has shown.
#
# Tested with Prosody 0.12.3 and ejabberd 23.01 (Debian 12), 13.0.1 and 24.12 (Debian 13).
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/sbin/ejabberdctl ejabberd
need /usr/bin/prosody prosody
install_packages

work=$(mktemp -d)
prosody=
ejabberd=
stop() {
    for pid in $prosody $ejabberd; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
dpkg-query --show ejabberd prosody
python3 - >ports <<'PYTHON'
import socket

listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*(listener.getsockname()[1] for listener in listeners))
PYTHON
read -r prosody_clients prosody_components ejabberd_clients ejabberd_components <ports

cat >prosody.cfg.lua <<LUA
run_as_root = true
daemonize = false
pidfile = "$work/prosody.pid"
data_path = "$work"
modules_enabled = { "saslauth", "smacks" }
modules_disabled = { "s2s" }
c2s_require_encryption = false
interfaces = { "127.0.0.1" }
c2s_ports = { $prosody_clients }
component_ports = { $prosody_components }
log = { info = "$work/prosody.log" }
VirtualHost "example.org"
    authentication = "anonymous"
    -- By default ten minutes.
    smacks_hibernation_time = 3
Component "push.example.org"
    component_secret = "secret"
LUA
prosody --config "$work/prosody.cfg.lua" >prosody.out 2>&1 &
prosody=$!

cat >ejabberd.yml <<YAML
hosts: ["example.org"]
loglevel: info
auth_method: anonymous
anonymous_protocol: sasl_anon
access_rules:
  c2s: {allow: all}
modules:
  # By default five minutes.
  mod_stream_mgmt: {resume_timeout: 3}
listen:
  - {port: $ejabberd_clients, ip: "127.0.0.1", module: ejabberd_c2s, access: c2s}
  - {port: $ejabberd_components, ip: "127.0.0.1", module: ejabberd_service, password: secret}
YAML
# What `ejabberdctl foreground` runs, without its change of user and without a name for the node.
HOME="$work" ERL_LIBS=$(sed -n "s/^ERL_LIBS='\(.*\)'$/\1/p" /usr/sbin/ejabberdctl) \
    ERL_CRASH_DUMP="$work/crash.dump" EJABBERD_CONFIG_PATH="$work/ejabberd.yml" \
    EJABBERD_LOG_PATH="$work/ejabberd.log" \
    erl -noinput -start_epmd false -mnesia dir "\"$work/mnesia\"" -s ejabberd >ejabberd.out 2>&1 &
ejabberd=$!

cat >answers.py <<'PYTHON'
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
    """A phone's link, whose session may be resumed, and its JID."""
    link = Link(port)
    stream = STREAM % ("client", "example.org")
    link.ask(stream, "</stream:features>")
    link.ask("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>", "<success")
    link.ask(stream, "</stream:features>")
    answer = link.ask("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "</iq>")
    link.ask("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", "<enabled [^>]*/>")
    return link, re.search("<jid>(.*)</jid>", answer)[1]

def answer(push):
    """Type and error of the next answer, and whether it is to the IQ below and from the phone."""
    stanza = push.ask("", r"<iq [^>]*/>|</iq>")
    kind = re.search(r" type=['\"](\w+)", stanza)[1]
    condition = re.search(r"<error [^>]*>\s*<([\w-]+)", stanza)
    return kind, condition and condition[1], bool(re.search(r" id=['\"]push['\"]", stanza)) and jid in stanza

failed = False
for name, clients, components, condition in (
        ("Prosody", *sys.argv[1:3], "recipient-unavailable"), ("ejabberd", *sys.argv[3:5], "service-unavailable")):
    push = component(int(components))
    link, jid = phone(int(clients))
    push.socket.sendall(f"<iq type='set' id='push' from='push.example.org' to='{jid}'>"
                        "<query xmlns='urn:example'/></iq>".encode())
    link.ask("", "</iq>")
    link.socket.sendall(b"<iq type='result' id='push' to='push.example.org'/>")
    first = answer(push)
    link.socket.close()
    since = time.monotonic()
    second = answer(push)
    print(f"{name}: the phone answers, and its connection breaks; the component gets {first[0]},"
          f" and {time.monotonic() - since:.0f} s later {second[0]} ({second[1]})")
    failed |= first != ("result", None, True) or second != ("error", condition, True)
sys.exit(failed)
PYTHON
python3 answers.py "$prosody_clients" "$prosody_components" "$ejabberd_clients" "$ejabberd_components" || {
    echo 'the behaviour has changed' >&2
    exit 1
}
