#!/bin/sh
# Runs inside the machine that tests/debian.sh boots: what the documents for operators say, with the
# installed package, Prosody, ejabberd, PostgreSQL and nginx.
set -eu
# shellcheck source=tests/machine/guest.sh
. /check/machine.sh
# shellcheck source=tests/debian/documents.sh
. /check/documents.sh

configuration=/etc/unified-push/config.toml
# Adds to what the machine began with: options, and sections from standard input.
reconfigure() {
    { printf '%s\n' "$@"; cat basis.toml -; } >$configuration
    systemctl restart unified-push.service
}
drop_in() {
    mkdir --parents /etc/systemd/system/unified-push.service.d
    { echo '[Service]'; cat; } >>/etc/systemd/system/unified-push.service.d/override.conf
    systemctl daemon-reload
}
# What the daemon says from now on, until it says this.
since() {
    cursor=$(journalctl --show-cursor --lines=0 --quiet | sed 's/^-- cursor: //')
}
says() {
    for _ in $(seq 100); do
        journalctl --unit=unified-push --after-cursor="$cursor" --output=cat --no-pager >said
        ! grep --quiet --fixed-strings -e "$1" said || break
        sleep 0.2
    done
    quoted "$1" said
}
to_prosody() {
    cat >/etc/prosody/conf.d/unified-push.cfg.lua
    systemctl restart prosody
}
# To an endpoint that is in a file.
post() {
    code --header 'Host: up.example.org' --data "$2" "http://127.0.0.1:${3-8080}$(sed 's|https://[^/]*||' "$1")"
}
# The same as a script for the relay.
posting() {
    echo "curl --silent --fail --header 'Host: up.example.org' --data '$2' http://127.0.0.1:$3$(sed 's|https://[^/]*||' "$1")" >posting
}
inspect() {
    unified-push inspect - <"$1" | grep 'state: *valid'
}

# It is restarted more often here than systemd lets pass on a fast machine.
mkdir --parents /etc/systemd/system/prosody.service.d
printf '[Unit]\nStartLimitIntervalSec=0\n' >/etc/systemd/system/prosody.service.d/often.conf
systemctl daemon-reload

apt-get --quiet --yes install /root/target/debian/unified-push_*.deb >install.log 2>&1
prosodyctl register juliet example.org password >register.log 2>&1
echo 'the component secret' >/etc/unified-push/component-secret
{ echo 'acl = ["example.org"]'; sed 's/^#domain = /domain = /' $configuration; } >basis.toml

document=docs/xmpp-servers.md
step "ejabberd takes the documented lines"
systemctl stop prosody
sed --in-place 's/^  - localhost/  - example.org/; s/starttls_required: true/starttls_required: false/' \
    /etc/ejabberd/ejabberd.yml
systemctl start ejabberd
ejabberdctl register juliet example.org password >register.log
blocks yaml ejabberd >component.yml
sed --in-place '/^listen:/r component.yml' /etc/ejabberd/ejabberd.yml
ejabberdctl reload_config
reconfigure </dev/null
linked
$relay
systemctl stop ejabberd epmd.socket epmd.service
step "so does Prosody"
blocks lua Prosody | to_prosody
linked
$relay --endpoint first

document=docs/conversations.md
step "a registration is seen"
told 'See that it works'
grep 'accepted"} [1-9]' log.told

document=docs/troubleshooting.md
step "the first look"
printf '[http]\npublic_url = "https://push.example.org"\n' | reconfigure
sed -n '1,/^## /p' docs/troubleshooting.md >preface.md
printf '## All\n' | cat - preface.md >all.md
document=all.md
told All
document=docs/troubleshooting.md
grep 'unified-push starts' log.told
step "the URL of endpoints"
told "The endpoint's URL is wrong"
grep 'public_url' log.told
step "a daemon that does not start"
since
unified-push serve >said 2>&1 || true
quoted 'cannot listen on' said
env UNIFIED_PUSH_HTTP__LISTEN=127.0.0.1:9080 UNIFIED_PUSH_ADMIN__LISTEN=127.0.0.1:9081 unified-push serve >said 2>&1 || true
quoted 'not started:' said
quoted 'is held by another daemon' said
step "no link"
since
echo 'another secret' >/etc/unified-push/component-secret
reconfigure </dev/null
says "the component secret differs from the server's"
echo 'the component secret' >/etc/unified-push/component-secret
sed --in-place 's/"up.example.org"/"upp.example.org"/' $configuration
systemctl restart unified-push.service
says 'the server has no such component'
echo 'port = 5222' | reconfigure
says 'This server does not serve'
reconfigure </dev/null
linked
UNIFIED_PUSH_STATE_DIR=/check/other UNIFIED_PUSH_HTTP__LISTEN=127.0.0.1:9080 \
    UNIFIED_PUSH_ADMIN__LISTEN=127.0.0.1:9081 unified-push serve >second.log 2>&1 &
second=$!
until grep --quiet --no-messages 'no link' second.log; do sleep 0.1; done
kill $second
quoted "another connection holds this component's name" second.log
systemctl stop prosody
says 'nothing listens on'
systemctl start prosody
linked
echo yes
step "a registration that is refused"
sed --in-place 's/^acl = .*/acl = ["example.net"]/' $configuration
systemctl restart unified-push.service
linked
timeout 3 $relay >/dev/null 2>&1 || true
told 'The app gets no endpoint'
quoted 'the sender is not in the ACL' log.told
grep --quiet 'forbidden"} [1-9]' log.told
reconfigure </dev/null
linked
step "what endpoints are answered"
cp first /root/endpoint.txt
told 'Pushes get 404'
grep --quiet 'state: *valid' log.told
curl --silent --data hello http://127.0.0.1:8080/push/none >answer
quoted 'There is no such endpoint.' answer
echo https://up.example.org/push/none >none
unified-push inspect - <none 2>said || true
quoted 'this is not an endpoint of this server' said
told 'Pushes get 502 or 503'
grep --quiet 'bad-token"} 1' log.told
for _ in $(seq 31); do curl --silent --data hello http://127.0.0.1:8080/push/none >/dev/null; done
[ "$(post none hello)" = 429 ]
echo yes
step "the queue is seen, and dropped"
[ "$(post first hello)" = 201 ]
told 'Pushes come late'
grep --quiet juliet@example.org log.told
told 'Pushes are answered 201 and never come'
grep --quiet 'stored"} [1-9]' log.told
told 'The queue grows'
grep 'dropped . message' log.told
told 'Metrics are missing'

document=docs/operating.md
step "the secret is changed, twice"
told 'The secret' 1
drop_in <<END
LoadCredential=secret:/etc/unified-push/secret
LoadCredential=previous-secrets:/etc/unified-push/previous-secrets
END
reconfigure 'secret_file = "secret"' 'previous_secrets_file = "previous-secrets"' </dev/null
inspect first
linked
$relay --endpoint second
sed --in-place 's|/var/lib/unified-push/secret|/etc/unified-push/secret|' docs/operating.md
told 'The secret' 1
systemctl restart unified-push.service
inspect first
inspect second
[ "$(stat --format '%a' /etc/unified-push/secret)" = 600 ]

document=docs/troubleshooting.md
step "a wrong secret does not pass"
systemctl stop unified-push.service unified-push.socket
reconfigure 'backend = "storage"' 'secret_file = "secret"' 'previous_secrets_file = "previous-secrets"' </dev/null
linked
$relay --endpoint third >/dev/null
systemctl stop unified-push.service unified-push.socket
unified-push gen-secret >/etc/unified-push/secret
unified-push serve >said 2>&1 || true
quoted 'the configuration lacks the secret of endpoints that are still in use' said
echo yes

document=docs/store.md
step "a backup is restored"
rm -r /etc/systemd/system/unified-push.service.d /etc/unified-push/previous-secrets /etc/unified-push/secret
systemctl daemon-reload
systemctl stop unified-push.service unified-push.socket
rm -r /var/lib/private/unified-push
reconfigure 'backend = "storage"' </dev/null
linked
$relay --endpoint third >/dev/null
[ "$(post third waits)" = 201 ]
told 'Back up SQLite'
[ "$(stat --format %a /root/unified-push-backup.db /root/unified-push-backup.secret | uniq)" = 600 ]
systemctl stop unified-push.service unified-push.socket
rm -r /var/lib/private/unified-push
systemctl start unified-push.service
told 'Restore SQLite'
inspect third
linked
$relay --also waits --during true
[ "$(find /var/lib/private/unified-push -uid 0 | wc --lines)" = 0 ]

step "PostgreSQL is the store"
systemctl start postgresql
told PostgreSQL 1
told PostgreSQL 2
told 'From SQLite to PostgreSQL, and back' 1
grep 'Counts and digests are the same' log.told
drop_in <<END
LoadCredential=secret:/etc/unified-push/secret
LoadCredential=store-url:/etc/unified-push/store-url
END
printf '[store]\nurl_file = "store-url"\n' | reconfigure 'backend = "storage"' 'secret_file = "secret"'
inspect third
linked
step "it is copied to SQLite and back"
told 'From SQLite to PostgreSQL, and back' 2
grep 'Counts and digests are the same' log.told
reconfigure 'backend = "storage"' 'secret_file = "secret"' </dev/null
inspect third
linked
[ "$(find /var/lib/private/unified-push -uid 0 | wc --lines)" = 0 ]
printf '[store]\nurl_file = "store-url"\n' | reconfigure 'backend = "storage"' 'secret_file = "secret"'
linked
$relay --endpoint fourth
step "it is away for a while"
cluster=$(pg_lsclusters --no-header | awk '{ print "postgresql@" $1 "-" $2 }')
systemctl stop "$cluster"
since
systemctl restart unified-push.service 2>/dev/null || true
document=docs/store.md
says 'no connection to'
systemctl start "$cluster"
until systemctl is-active --quiet unified-push.service; do sleep 0.1; done
linked
[ "$(property ExecMainStatus)" = 0 ]
inspect fourth
step "its backup is restored"
[ "$(post fourth 'it waits')" = 201 ]
told PostgreSQL 3
[ "$(stat --format %a /root/unified-push.dump)" = 600 ]
unified-push queue drop juliet@example.org
unified-push registrations revoke juliet@example.org
told PostgreSQL 4
inspect fourth
linked
$relay --also 'it waits' --during true
step "two daemons share it"
document=docs/xmpp-servers.md
blocks lua Prosody 1 | to_prosody
document=docs/store.md
linked
# Until the standby takes over there is time for more than an endpoint keeps by default.
UNIFIED_PUSH_HTTP__LISTEN=127.0.0.1:9080 UNIFIED_PUSH_ADMIN__LISTEN=127.0.0.1:9081 \
    UNIFIED_PUSH_DELIVERY__MAX_QUEUED_PER_ENDPOINT=1000 unified-push serve >standby.log 2>&1 &
standby=$!
until grep --quiet --no-messages 'no link' standby.log; do sleep 0.1; done
quoted conflict standby.log
linked
[ "$(post fourth 'to the standby' 9080)" = 201 ]
cat >over <<'END'
systemctl stop unified-push.service unified-push.socket
UNIFIED_PUSH_ADMIN__LISTEN=127.0.0.1:9081
export UNIFIED_PUSH_ADMIN__LISTEN
until unified-push healthcheck | grep --quiet '"link":"up"'; do sleep 0.1; done
END
$relay --http 127.0.0.1:9080 --also 'to the standby' --during 'sh ./over'
kill $standby
wait $standby

document=docs/moving.md
systemctl stop postgresql
# What Prosody gave to a phone stays valid: the phone gets what is sent to it. The first command is for
# before Prosody's configuration changes.
moved() {
    blocks sh "$2" >commands
    head --lines=1 commands >first
    (cd /root && sh -eux /check/first)
    blocks lua 'What to change in Prosody' >/etc/prosody/conf.d/unified-push.cfg.lua
    tail --lines=+2 commands >rest
    (cd /root && sh -eux /check/rest)
    linked
    inspect "of-$1"
    posting "of-$1" "$1" 8080
    $relay --also "$1" --during 'sh ./posting'
}
# A machine that never had us, and Prosody with its module.
former() {
    step "endpoints of mod_unified_push with $1 stay valid"
    rm -rf /etc/systemd/system/unified-push.service.d /etc/unified-push/former-key
    systemctl daemon-reload
    systemctl stop unified-push.service unified-push.socket
    rm -rf /var/lib/private/unified-push
    cp basis.toml $configuration
    systemctl start unified-push.socket unified-push.service
    to_prosody <<END
http_interfaces = { "127.0.0.1" }
Component "up.example.org" "unified_push"
    unified_push_acl = { "example.org" }
    unified_push_backend = "$1"
    unified_push_secret = "a secret of Prosody's"
    http_external_url = "https://up.example.org/"
END
    $relay --http 127.0.0.1:5280 --endpoint "of-$1" >/dev/null
}
former paseto
grep --quiet push/v3.local of-paseto
moved paseto 'From Prosody with paseto'
former jwt
grep --quiet push/eyJ of-jwt
moved jwt 'From Prosody with jwt'
former storage
moved storage 'From Prosody with storage'
# Whatever the date is: what was minted for the tests has an end.
minted() {
    python3 -c "import json, sys; print(*(m['$2'] for m in json.load(sys.stdin) if m['kind'] == '$1'))" \
        <minted.json
}
opened() {
    step "endpoints of $1 are known"
    rm -f /etc/systemd/system/unified-push.service.d/import.conf
    cp basis.toml $configuration
    told "$2"
    linked
    minted "$1" endpoint >"of-$1"
    (unified-push inspect - <"of-$1" || true) | grep "back end: *$1 (imported)"
}
mkdir --parents /opt/up
printf '{"component": {}, "registration": {"sharedSecret": "%s"}}\n' "$(minted up key)" >/opt/up/config.json
opened up 'From up'
printf '  mod_unified_push:\n    jwk: %s\n' "$(minted ejabberd key)" >>/etc/ejabberd/ejabberd.yml
opened ejabberd 'From ejabberd'

cat >/etc/nginx/conf.d/unified-push.conf <<'END'
server {
    listen 80;
    location / {
        proxy_pass http://127.0.0.1:8080;
    }
}
END
rm --force /etc/nginx/sites-enabled/default
systemctl reload nginx

document=docs/monitoring.md
step "Prometheus takes its files"
mkdir --parents /etc/prometheus
blocks yaml Prometheus >/etc/prometheus/prometheus.yml
told Prometheus
grep SUCCESS log.told
told 'Without Prometheus'
grep '"ready":true' log.told
# nginx reads its configuration in its own time.
for _ in $(seq 100); do
    [ "$(code http://127.0.0.1/push/made-up)" != 200 ] || exit 0
    sleep 0.1
done
exit 1
