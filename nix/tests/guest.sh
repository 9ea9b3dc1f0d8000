#!/bin/sh
# Runs inside the machine that nix/check.sh boots: the units of the module under a real systemd, with
# a real Prosody and a real nginx.
set -eu
# shellcheck source=tests/machine/guest.sh
. /check/machine.sh
unified_push=/check/bin/unified-push

prosodyctl register juliet example.org password >register.log 2>&1
step "it is ready, and says so itself"
systemctl start unified-push.service
[ "$(property Type) $(property ActiveState)" = "notify active" ]
curl --silent --fail http://127.0.0.1:8081/readyz
echo

step "pushes reach a phone"
$relay --endpoint /check/first
step "pushes reach it through nginx"
$relay --http 127.0.0.1:80
step "nginx lets as much through as the daemon takes"
head -c 4096 /dev/zero >largest
head -c 4097 /dev/zero >too-large
path=$(sed 's|https://[^/]*||' first)
via_nginx() {
    code --header 'Host: up.example.org' "$@"
}
[ "$(via_nginx --data-binary @too-large "http://127.0.0.1:80$path")" = 413 ]
# The phone is away: only nginx would answer anything else.
case $(via_nginx --data-binary @largest "http://127.0.0.1:80$path") in
201 | 503) echo yes ;;
*) exit 1 ;;
esac

step "nginx lets a Matrix server's whole events through"
[ "$(via_nginx http://127.0.0.1:80/_matrix/push/v1/notify)" = 200 ]
printf '{"notification":{"devices":[{"pushkey":"https://other.example/"}],"content":"%s"}}' \
    "$(head -c 200000 /dev/zero | tr '\0' x)" >event
[ "$(via_nginx --data-binary @event http://127.0.0.1:80/_matrix/push/v1/notify)" = 200 ]
echo yes

step "nothing is lost while it restarts"
$relay --during 'systemctl restart unified-push.service'
step "nor when it restarts again and again"
$relay --during 'for i in 1 2 3 4 5; do systemctl restart unified-push.service; done'
step "nor while the phone is away"
$relay --away --during 'systemctl restart unified-push.service'
step "nor while Prosody restarts"
$relay --during 'systemctl restart prosody.service'
step "nor behind nginx"
$relay --http 127.0.0.1:80 --during 'systemctl restart unified-push.service'

step "nor while it reads its configuration anew"
main=$(property MainPID)
sed -i 's/^level = .*/level = "debug"/' /etc/unified-push/config.toml
reload
[ "$(property MainPID)" = "$main" ]
sed -i 's/^level = .*/level = "info"/' /etc/unified-push/config.toml
systemctl reload unified-push.service
[ "$(property ActiveState)" = active ]

step "the watchdog restarts it when it hangs"
[ "$(property NRestarts)" = 0 ]
hang

step "the endpoint is the same as in the beginning"
$relay --endpoint /check/last >/dev/null
cmp first last
echo yes

step "a connection starts it"
systemctl stop unified-push.service 2>/dev/null
[ "$(property Result)" = success ]
[ "$(code http://127.0.0.1:8080/)" = 200 ]
# The answer may be there before systemd hears of it.
until [ "$(property ActiveState)" = active ]; do sleep 0.1; done
echo yes
step "nginx answers for a daemon that is down"
systemctl stop unified-push.socket unified-push-admin.socket unified-push.service
[ "$(via_nginx --data hello "http://127.0.0.1:80$path")" = 502 ]
echo 502
systemctl start unified-push.socket unified-push-admin.socket unified-push.service
$relay --refuses >/dev/null

step "the sandbox holds"
main=$(property MainPID)
status() {
    sed -n "s/^$1:[[:space:]]*//p" "/proc/$main/status"
}
[ "$(status Seccomp) $(status NoNewPrivs)" = '2 1' ]
[ "$(status CapEff) $(status CapBnd)" = '0000000000000000 0000000000000000' ]
[ "$(status Uid | cut -f 1)" -ge 61184 ]
[ "$(property LimitCORE) $(property MemoryMax)" = "0 $((512 << 20))" ]
grep --quiet '^Max core file size  *0  *0 ' "/proc/$main/limits"
[ "$(stat --format %a /var/lib/private/unified-push)" = 700 ]
echo yes
step "no secret is in its environment, its arguments or the store's configuration"
secret=$(cat /var/lib/secrets/unified-push-component)
token_secret=$(cat /var/lib/secrets/unified-push)
cat "/proc/$main/environ" "/proc/$main/cmdline" /nix/store/*.toml /etc/prosody/*.lua >public
grep --quiet --text 'secret_file = "component-secret"' public
refute grep --text --fixed-strings -e "$secret" -e "$token_secret" public
as_nobody cat /nix/store/*-unified-push.toml >/dev/null
refute as_nobody cat /run/credentials/unified-push.service/secret 2>/dev/null
echo yes

step "the sandbox takes no metric away"
metrics() {
    curl --silent --fail "http://$1/metrics" | sed -n 's/^# TYPE \(process_[a-z_]*\) .*/\1/p'
}
metrics 127.0.0.1:8081 >inside
program=$(property ExecStart | sed 's/.*path=\([^ ;]*\).*/\1/')
UNIFIED_PUSH_CONFIG=/dev/null UNIFIED_PUSH_STATE_DIR=/check/free \
    UNIFIED_PUSH_HTTP__LISTEN=127.0.0.1:9080 \
    UNIFIED_PUSH_ADMIN__LISTEN=127.0.0.1:9081 UNIFIED_PUSH_COMPONENT__DOMAIN=free.example.org \
    UNIFIED_PUSH_COMPONENT__SECRET=secret "$program" >/dev/null 2>&1 &
free=$!
mkdir --parents free
until metrics 127.0.0.1:9081 >outside && [ -s outside ]; do sleep 0.1; done
kill $free
[ "$(wc -l <outside)" -ge 5 ]
diff inside outside
[ "$(curl --silent http://127.0.0.1:8081/metrics | sed -n 's/^process_max_fds //p')" = 11024 ]
wc --lines <inside
step "nor does it refuse anything"
journalctl --no-pager --unit=unified-push.service --output=cat >log.daemon
grep --quiet 'connected to the XMPP server' log.daemon
refute grep -e 'ermission denied' -e 'not permitted' -e 'Read-only' -e SIGSYS -e panic log.daemon
echo yes

step "the commands run beside it"
$unified_push check-config | grep 'is valid'
$unified_push healthcheck
$unified_push registrations list | grep juliet@example.org
$unified_push queue list >/dev/null
$unified_push inspect - <first | grep 'state: *valid'
refute as_nobody $unified_push registrations list 2>refusal
grep 'run it as root' refusal
[ "$($unified_push gen-secret | wc -c)" -gt 32 ]
$unified_push registrations revoke juliet@example.org
until [ "$(code --data hello "http://127.0.0.1:8080$path")" = 404 ]; do sleep 0.1; done
step "and leave the daemon its state"
$relay

step "prosodyctl reads its configuration"
prosodyctl check config >prosodyctl.log 2>&1 || { cat prosodyctl.log; exit 1; }
refute grep -e unified -e io.open -e component_secret prosodyctl.log
echo yes
step "no unit has failed"
systemctl is-active --quiet unified-push.service prosody.service nginx.service
systemctl --failed --no-legend --plain >failed
refute grep -e unified-push -e prosody -e nginx failed
echo yes
