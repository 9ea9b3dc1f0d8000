#!/bin/sh
# ModSecurity: the OWASP Core Rule Set, as it is installed, refuses every Web Push with a 403.
#
# One would guess that a firewall for web applications lets a standard request through at its most lenient
# level, which is the default, the more so when the body is ciphertext in which no attack can be seen.
#
# In fact two rules refuse it, each on its own. One forbids the header Content-Encoding in a request, which
# RFC 8291 requires of every encrypted push. The other one allows a few types of content, among which
# application/octet-stream, which libraries for Go and Node.js send, is not. Both are there to keep out
# what the rules cannot read. The application server sees a 403, and some take that for the end of the
# subscription. A push gets through when both rules are taken off the endpoints' path, not one alone.
#
# Tested with modsecurity-crs 3.3.4 and libapache2-mod-security2 2.9.7, Apache 2.4.71 (Debian 12).
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/sbin/apache2 apache2
need /usr/bin/curl curl
install_packages

work=$(mktemp -d)
server=
stop() {
    if [ -s "$work/pid" ]; then kill "$(cat "$work/pid")" || true; fi
    [ -z "$server" ] || kill "$server" || true
    # Until the first has ended, which removes its file.
    while [ -s "$work/pid" ]; do sleep 0.1; done
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
# Only unpacked: installed, the module would be part of an Apache that runs here already.
apt-get -q download libapache2-mod-security2 modsecurity-crs libyajl2 liblua5.1-0 >apt.log 2>&1
for package in *.deb; do dpkg -x "$package" tree; done
ls libapache2-mod-security2*.deb modsecurity-crs*.deb
apache2 -v | head -1

cat >server.py <<'PYTHON'
from http.server import BaseHTTPRequestHandler, HTTPServer
import socket

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
free = socket.create_server(("127.0.0.1", 0))
with open("ports", "w") as file:
    file.write(f"{server.server_port} {free.getsockname()[1]}\n")
free.close()
server.serve_forever()
PYTHON
python3 server.py &
server=$!
while [ ! -s ports ]; do sleep 0.1; done
read -r behind port <ports
modules=/usr/lib/apache2/modules
cat >apache.conf <<CONF
ServerRoot $work
ServerName localhost
DefaultRuntimeDir $work
PidFile $work/pid
ErrorLog $work/error.log
Listen 127.0.0.1:$port
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule unique_id_module $modules/mod_unique_id.so
LoadModule proxy_module $modules/mod_proxy.so
LoadModule proxy_http_module $modules/mod_proxy_http.so
LoadModule security2_module $work/tree$modules/mod_security2.so
User www-data
Group www-data
# The package's recommended settings, but for the engine, which only watches there.
SecRuleEngine On
SecRequestBodyAccess On
SecDataDir $work
SecTmpDir $work
SecAuditEngine Off
Include $work/tree/etc/modsecurity/crs/crs-setup.conf
Include $work/tree/usr/share/modsecurity-crs/rules/*.conf
ProxyPass / http://127.0.0.1:$behind/
<Location /without-920420>
  SecRuleRemoveById 920420
</Location>
<Location /without-920450>
  SecRuleRemoveById 920450
</Location>
<Location /without-both>
  SecRuleRemoveById 920420 920450
</Location>
CONF
chmod 755 .
LD_LIBRARY_PATH=$(dirname "$(find "$work/tree" -name 'libyajl.so.2')") apache2 -f "$work/apache.conf" -k start

# A push as RFC 8291 has it, but for the ciphertext.
head -c 256 /dev/zero >body
push() { # $1: the path
    curl --silent --retry 10 --retry-connrefused --output /dev/null --write-out '%{http_code}' \
        --header 'TTL: 60' --header 'Content-Encoding: aes128gcm' \
        --header 'Content-Type: application/octet-stream' --data-binary @body "http://localhost:$port/$1"
}
all=$(push endpoint)
for path in endpoint without-920420 without-920450 without-both; do
    echo "/$path: $(push $path)"
done >seen
cat seen
echo 'why:'
sed -n 's/.*\(\[id "[0-9]*"\] \[msg "[^"]*"\] \[data "[^"]*"\]\).*/\1/p' error.log | sort | uniq -c
if [ "$all" != 403 ] || [ "$(cut -d' ' -f2 seen | tr '\n' ' ')" != '403 403 403 201 ' ]; then
    echo 'the behaviour has changed' >&2
    exit 1
fi
