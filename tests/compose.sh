#!/bin/bash
# Brings contrib/compose up as docs/install-podman.md says, and then as docs/federating.md does, with Debian's Prosody and nginx in place of
# the images that a registry has, and sends a push from outside through nginx to a phone. As root;
# after tests/image.sh, whose image it uses.
set -euo pipefail
cd "$(dirname "$0")/.."

PODMAN_COMPOSE=1.6.0

. tests/packages.sh
need /usr/bin/mmdebstrap mmdebstrap
need /usr/share/doc/python3-venv python3-venv
need /usr/lib/python3/dist-packages/slixmpp python3-slixmpp
install_packages
. tests/image/host.sh
. tests/image/bed.sh

tools=$PWD/target/image
mkdir -p "$tools"
if [ ! -x "$tools/venv/bin/podman-compose" ]; then
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet "podman-compose==$PODMAN_COMPOSE"
fi
PATH=$tools/venv/bin:$PATH

export PROSODY_IMAGE=localhost/unified-push-test/prosody NGINX_IMAGE=localhost/unified-push-test/nginx
export CLIENTS SERVERS=15269 HTTPS=18443
if ! podman image exists $NGINX_IMAGE; then
    mmdebstrap --quiet --variant=minbase --include=prosody,lua-sec,nginx-light bookworm "$bed/servers.tar"
    podman import --quiet "$bed/servers.tar" $NGINX_IMAGE >/dev/null
    podman import --quiet --change 'USER prosody' "$bed/servers.tar" $PROSODY_IMAGE >/dev/null
    rm "$bed/servers.tar"
fi
fit_podman $NGINX_IMAGE "$bed"

root=$PWD
cp -r contrib/compose "$bed/compose"
mkdir "$bed/compose/certs"
for name in chat=example.org push=up.example.org; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=${name#*=}" \
        -addext "subjectAltName=DNS:${name#*=}" -keyout "$bed/compose/certs/${name%%=*}.key" \
        -out "$bed/compose/certs/${name%%=*}.pem" 2>/dev/null
done
# The containers' users read them.
chmod -R a+rX "$bed"

# What podman-compose is told of the file.
variant=
# shellcheck disable=SC2086 # none or two words
cleanup() {
    result=$?
    trap - EXIT
    cd "$bed/compose"
    [ $result = 0 ] || podman-compose $variant logs 2>&1 | tail -n 40 || true
    podman-compose $variant down --volumes >/dev/null 2>&1 || true
    cd "$root"
    clear_bed $result
    exit $result
}
trap cleanup EXIT

told=$(awk '/^## With Prosody/ { inside = 1 } /^```/ { block = inside && $0 == "```sh"; next } block' \
    docs/install-podman.md)
mapfile -t commands <<<"$told"
cd "$bed/compose"
eval "${commands[0]}"
eval "${commands[1]}" >"$bed/up.log" 2>&1 || fail "$(cat "$bed/up.log")"
# shellcheck disable=SC2086 # none or two words
link_is_up() {
    podman-compose $variant exec -T unified-push unified-push healthcheck 2>/dev/null | grep -q '"link":"up"'
}
eventually link_is_up
# shellcheck disable=SC2016 # no terminal here
eval "${commands[2]/exec/exec -T}" >"$bed/register.log" 2>&1 || fail "$(cat "$bed/register.log")"
cd "$root"

export PHONE_TLS=$bed/compose/certs/chat.pem
start_phone
base=https://$COMPONENT:$HTTPS
curl+=(--cacert "$bed/compose/certs/push.pem" --resolve "$COMPONENT:$HTTPS:127.0.0.1")
push "through nginx"
cd "$bed/compose"
podman-compose stop unified-push >/dev/null 2>&1
status=$("${curl[@]}" --data-binary text "$base$path")
case $status in
5??) echo "while the daemon is stopped: $status" ;;
*) fail "while the daemon is stopped: $status" ;;
esac

# Without an XMPP server of one's own. That a phone on another server gets its pushes then, tests/servers
# shows; here, other servers find Prosody's port and a certificate of the component's name.
podman-compose down --volumes >/dev/null 2>&1
for ending in crt=pem key=key; do
    cp "certs/push.${ending#*=}" "certs/$COMPONENT.${ending%=*}"
done
rm certs/chat.*
chmod -R a+rX certs
told=$(awk '/^## Containers/ { inside = 1 } /^## Kub/ { inside = 0 }
    /^```/ { block = inside && $0 == "```sh"; next } block' "$root/docs/federating.md")
mapfile -t commands <<<"$told"
variant="--file federated.yaml"
eval "${commands[0]}"
eval "${commands[1]}" >"$bed/federated.log" 2>&1 || fail "$(cat "$bed/federated.log")"
eventually link_is_up
eventually openssl s_client -connect "127.0.0.1:$SERVERS" -starttls xmpp-server -xmpphost "$COMPONENT" \
    -servername "$COMPONENT" -verify_hostname "$COMPONENT" -verify_return_error -CAfile certs/push.pem \
    </dev/null
echo "a Prosody without accounts carries the component, and shows its certificate"
echo "tests/compose.sh: all is well"
