#!/bin/sh
# ejabberd: a component's listener with `tls: true` takes no certificate from `certfiles`, and says nothing.
#
# One would guess that the certificates of `certfiles`, which every other listener uses, serve here as well,
# or that the lack of one is an error at the start or in the log.
#
# In fact the port is open and every TLS handshake ends at once, and the log has a line for the connection, but none
# for its end. With `certfile` in the listener itself, the certificate and the key in one file, it works.
#
# Tested with ejabberd 23.01 (Erlang 25) and OpenSSL 3.0 (Debian 12).
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/sbin/ejabberdctl ejabberd
need /usr/bin/openssl openssl
install_packages

work=$(mktemp -d)
ejabberd=
stop() {
    [ -z "$ejabberd" ] || {
        kill "$ejabberd" 2>/dev/null || true
        wait "$ejabberd" 2>/dev/null || true
    }
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
dpkg-query --show ejabberd openssl
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=example.org \
    -addext subjectAltName=DNS:example.org -keyout key.pem -out cert.pem 2>/dev/null
cat cert.pem key.pem >both.pem
python3 - >ports <<'PYTHON'
import socket

listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in listeners))
PYTHON
read -r without with <ports

cat >ejabberd.yml <<YAML
hosts: ["example.org"]
loglevel: info
certfiles: ["$work/both.pem"]
listen:
  - port: $without
    ip: "127.0.0.1"
    module: ejabberd_service
    tls: true
    password: secret
  - port: $with
    ip: "127.0.0.1"
    module: ejabberd_service
    tls: true
    certfile: "$work/both.pem"
    password: secret
YAML
# What `ejabberdctl foreground` runs, without its change of user and without a name for the node.
HOME="$work" ERL_LIBS=$(sed -n "s/^ERL_LIBS='\(.*\)'$/\1/p" /usr/sbin/ejabberdctl) \
    ERL_CRASH_DUMP="$work/crash.dump" EJABBERD_CONFIG_PATH="$work/ejabberd.yml" \
    EJABBERD_LOG_PATH="$work/ejabberd.log" \
    erl -noinput -start_epmd false -mnesia dir "\"$work/mnesia\"" -s ejabberd >ejabberd.out 2>&1 &
ejabberd=$!

# The protocol that was agreed on, or nothing.
handshake() {
    for _ in $(seq 300); do
        openssl s_client -connect "127.0.0.1:$1" -servername example.org </dev/null >shaken 2>&1 || true
        grep -q 'Connection refused' shaken || break
        sleep 0.1
    done
    sed -n 's/^New, \(.*\), Cipher is .*/\1/p' shaken
}
with_own=$(handshake "$with")
lines=$(wc -l <ejabberd.log)
with_global=$(handshake "$without")
sleep 1
tail -n "+$((lines + 1))" ejabberd.log >said
echo "certfile in the listener: $with_own"
echo "certfiles alone: $with_global"
echo "what the log says of the latter:"
cat said
if [ "$with_own" != TLSv1.3 ] || [ "$with_global" != "(NONE)" ] || grep -qiE 'certif|error|warn|fail' said; then
    echo 'the behaviour has changed' >&2
    exit 1
fi
