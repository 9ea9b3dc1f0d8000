#!/bin/sh
# nginx: after a restart of the server behind it, `proxy_pass http://localhost:...` answers 502 for ten seconds
# more than `proxy_pass http://127.0.0.1:...`.
#
# One would guess that the two are the same, or that the name at worst costs a refused attempt at ::1.
#
# In fact a name with two addresses is a group of two servers to nginx, and max_fails and fail_timeout, which
# nothing here sets, are for groups. With the server away for a moment both members fail once, and each is left
# out for ten seconds: nginx answers 502 without asking ("no live upstreams") while the server is long
# back. A single address is asked each time. The two addresses of localhost come from /etc/hosts where the
# machine has IPv6, so the same configuration behaves in one way here and in the other there.
#
# Tested with nginx 1.22.1 (Debian 12). In a network namespace, as root or where user namespaces are allowed.
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/sbin/nginx nginx
need /usr/bin/curl curl
install_packages

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
cat >server.py <<'PYTHON'
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
PYTHON
cat >nginx.conf <<CONF
daemon off;
user root;
pid $work/pid;
error_log $work/error.log;
events {}
http {
    access_log off;
    client_body_temp_path $work/body;
    proxy_temp_path $work/proxy;
    fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi;
    scgi_temp_path $work/scgi;
    server {
        listen 127.0.0.1:8000;
        location /address { proxy_pass http://127.0.0.1:8080; }
        location /name { proxy_pass http://localhost:8080; }
    }
}
CONF
# As on any Debian with IPv6.
cat >hosts <<'HOSTS'
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
HOSTS
cat >inside.sh <<'SH'
set -eu
mount --bind hosts /etc/hosts
ip link set lo up
ip address add 192.0.2.1/32 dev lo
ip address add 2001:db8::1/128 dev lo
pids=
trap 'for pid in $pids; do kill "$pid" 2>/dev/null || true; done' EXIT
nginx -v
nginx -c "$PWD/nginx.conf" -e "$PWD/error.log" &
pids=$!
push() { # $1: the port and the path
    curl --silent --output /dev/null --write-out '%{http_code}' --data hello "http://127.0.0.1:$1" || true
}
until_up() { # $1: the port and the path
    for _ in $(seq 150); do
        [ "$(push "$1")" != 201 ] || return 0
        sleep 0.2
    done
    exit 1
}
start() {
    python3 server.py &
    server=$!
    pids="$pids $server"
    until_up 8080/
}
for where in address name; do
    start
    until_up 8000/$where
    kill "$server"
    wait "$server" 2>/dev/null || true
    echo "$where: while the server is away: $(push 8000/$where)"
    start
    since=$(date +%s)
    echo "$where: with the server back: $(push 8000/$where)"
    until_up 8000/$where
    took=$(($(date +%s) - since))
    echo "$where: answered 201 again $took s after the server was back"
    echo "$took" >>took
    kill "$server"
    wait "$server" 2>/dev/null || true
done
grep -o 'no live upstreams.*POST [^"]*' error.log | sort | uniq -c
SH
user=
[ "$(id -u)" = 0 ] || user=--map-root-user
unshare $user --net --mount --propagation private sh inside.sh
{ read -r address && read -r name; } <took
if [ "$address" -gt 3 ] || [ "$name" -lt 5 ]; then
    echo 'the behaviour has changed' >&2
    exit 1
fi
