#!/bin/sh
# ejabberd: a second component of the same name is let in beside the first, and each gets a share.
#
# One would guess that the second link is refused, as Prosody does with <conflict/>, or that it takes the
# place of the first, which is how a daemon that has just been restarted comes back.
#
# In fact both links stay up, and for each stanza the server picks one of them, for the answers to the
# other one's IQs too. A daemon that was started twice, or an old link that the server has not missed
# yet, loses about half of the answers without any error.
#
# Tested with ejabberd 23.01 (Erlang 25) and Prosody 0.12.3 (Debian 12).
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

listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in listeners))
PYTHON
read -r prosody_port ejabberd_port <ports

cat >prosody.cfg.lua <<LUA
run_as_root = true
daemonize = false
pidfile = "$work/prosody.pid"
data_path = "$work"
modules_enabled = { "ping" }
modules_disabled = { "s2s" }
c2s_ports = {}
interfaces = { "127.0.0.1" }
component_ports = { $prosody_port }
log = { info = "$work/prosody.log" }
VirtualHost "example.org"
Component "push.example.org"
    component_secret = "secret"
LUA
prosody --config "$work/prosody.cfg.lua" >prosody.out 2>&1 &
prosody=$!

cat >ejabberd.yml <<YAML
hosts: ["example.org"]
loglevel: info
modules:
  mod_ping: {}
listen:
  - port: $ejabberd_port
    ip: "127.0.0.1"
    module: ejabberd_service
    password: secret
YAML
# What `ejabberdctl foreground` runs, without its change of user and without a name for the node.
HOME="$work" ERL_LIBS=$(sed -n "s/^ERL_LIBS='\(.*\)'$/\1/p" /usr/sbin/ejabberdctl) \
    ERL_CRASH_DUMP="$work/crash.dump" EJABBERD_CONFIG_PATH="$work/ejabberd.yml" \
    EJABBERD_LOG_PATH="$work/ejabberd.log" \
    erl -noinput -start_epmd false -mnesia dir "\"$work/mnesia\"" -s ejabberd >ejabberd.out 2>&1 &
ejabberd=$!

cat >components.py <<'PYTHON'
import hashlib
import re
import socket
import sys
import time

def receive(link, ends, seconds=20):
    link.settimeout(seconds)
    got = b""
    while not any(end in got for end in ends):
        more = link.recv(65536)
        if not more:
            break
        got += more
    return got

def join(port):
    """A link and what the server said to its handshake."""
    for _ in range(300):
        try:
            link = socket.create_connection(("127.0.0.1", port))
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    link.sendall(b"<stream:stream xmlns='jabber:component:accept' to='push.example.org'"
                 b" xmlns:stream='http://etherx.jabber.org/streams'>")
    stream = re.search(rb"id=['\"]([^'\"]+)", receive(link, [b"push.example.org"]))[1]
    link.sendall(b"<handshake>%s</handshake>" % hashlib.sha1(stream + b"secret").hexdigest().encode())
    said = receive(link, [b"<handshake/>", b"</stream:stream>", b"<conflict"])
    return link, "let in" if b"<handshake/>" in said else "conflict" if b"conflict" in said else said

prosody, ejabberd = map(int, sys.argv[1:])
links = [join(prosody), join(prosody)]
at_prosody = [said for _, said in links]
print("Prosody:", *at_prosody)
links = [join(ejabberd), join(ejabberd)]
at_ejabberd = [said for _, said in links]
print("ejabberd:", *at_ejabberd)

# The first one asks, and both look for the answers.
first, second = (link for link, _ in links)
for n in range(100):
    first.sendall(b"<iq type='get' id='n%d' from='push.example.org' to='example.org'>"
                  b"<ping xmlns='urn:xmpp:ping'/></iq>" % n)
answers = [0, 0]
deadline = time.monotonic() + 20
while sum(answers) < 100 and time.monotonic() < deadline:
    for i, link in enumerate((first, second)):
        link.settimeout(0.2)
        try:
            answers[i] += len(re.findall(rb"id=['\"]n", link.recv(65536)))
        except TimeoutError:
            pass
print("100 pings of the first: answers to the first", answers[0], "to the second", answers[1])
sys.exit((at_prosody, at_ejabberd) != (["let in", "conflict"], ["let in", "let in"])
         or answers[1] < 10 or sum(answers) != 100)
PYTHON
python3 components.py "$prosody_port" "$ejabberd_port" || {
    echo 'the behaviour has changed' >&2
    exit 1
}
