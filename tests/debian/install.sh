#!/bin/sh
# Runs inside the machine that tests/debian.sh boots: what docs/install-debian.md says.
set -eu
# shellcheck source=tests/machine/guest.sh
. /check/machine.sh
# shellcheck source=tests/debian/documents.sh
. /check/documents.sh
document=docs/install-debian.md

in_state() {
    find /var/lib/private/unified-push "$@"
}
remains() {
    find /etc/unified-push /etc/systemd /var/lib/systemd /usr/lib/systemd /usr/bin /usr/share/doc \
        /var/lib/unified-push /var/lib/private /run/systemd/system -name '*unified-push*' 2>/dev/null
}
prosodyctl register juliet example.org password >register.log 2>&1

step "it is installed, and waits for its configuration"
told Install
zcat /usr/share/man/man5/unified-push-config.5.gz | grep --quiet component.domain
[ -s /usr/share/man/man1/unified-push-send.1.gz ]
[ -s /usr/share/bash-completion/completions/unified-push ]
[ -s /usr/share/zsh/vendor-completions/_unified-push ]
[ -s /usr/share/fish/vendor_completions.d/unified-push.fish ]
grep --quiet 'component.domain: is missing' log.told
grep --quiet 'systemctl restart unified-push' log.told
[ "$(property ActiveState)" = inactive ]
[ "$(stat --format '%a %U' /etc/unified-push/component-secret)" = '600 root' ]
[ "$(wc --bytes </etc/unified-push/component-secret)" -gt 32 ]
echo yes
step "without one it says what is missing, and does not try again"
refute systemctl start unified-push.service 2>/dev/null
[ "$(property Result) $(property NRestarts)" = 'exit-code 0' ]
journalctl --no-pager --unit=unified-push.service --output=cat | grep -A 1 'component.domain'

step "it is ready, and says so itself"
configure
[ "$(property Type) $(property ActiveState)" = 'notify active' ]
step "systemd finds no fault with it"
said=$(systemd-analyze verify unified-push.service unified-push.socket 2>&1) || { echo "$said"; exit 1; }
[ -z "$said" ]
# In tenths.
systemd-analyze --no-pager security --threshold=15 unified-push.service | tail -n 1 | sed 's/^[^O]*//'

step "pushes reach a phone"
$relay --endpoint first
step "nothing is lost while it restarts"
$relay --during 'for i in 1 2 3; do systemctl restart unified-push.service; done'
step "nor while the phone is away"
$relay --away --during 'systemctl restart unified-push.service'
step "nor while it reads its configuration anew"
main=$(property MainPID)
reload
[ "$(property MainPID) $(property ActiveState)" = "$main active" ]
step "nor when it hangs"
# For haste.
mkdir --parents /run/systemd/system/unified-push.service.d
printf '[Service]\nWatchdogSec=5\n' >/run/systemd/system/unified-push.service.d/haste.conf
[ "$(property WatchdogUSec)" = 30s ]
systemctl daemon-reload
systemctl restart unified-push.service
hang
rm -r /run/systemd/system/unified-push.service.d
systemctl daemon-reload

step "the commands run beside it, as root"
unified-push registrations list >/dev/null
unified-push queue drop juliet@example.org >/dev/null
unified-push inspect - <first | grep 'state: *valid'
step "and leave the daemon its files"
[ "$(in_state -uid 0 | wc --lines)" = 0 ]
[ "$(stat --format %a /var/lib/private/unified-push)" = 700 ]
echo yes
step "the sandbox holds"
status() {
    sed -n "s/^$1:[[:space:]]*//p" "/proc/$(property MainPID)/status"
}
[ "$(status Seccomp) $(status NoNewPrivs)" = '2 1' ]
[ "$(status CapEff) $(status CapBnd)" = '0000000000000000 0000000000000000' ]
[ "$(status Uid | cut -f 1)" -ge 61184 ]
[ "$(property LimitCORE) $(property MemoryMax)" = "0 $((512 << 20))" ]
grep --quiet '^Max core file size  *0  *0 ' "/proc/$(property MainPID)/limits"
refute as_nobody cat /etc/unified-push/component-secret 2>/dev/null
echo yes

step "an upgrade loses nothing"
echo '# Mine.' >>/etc/unified-push/config.toml
cp --recursive --preserve=mode /etc/unified-push before
pid=$(property MainPID)
$relay --during 'apt-get --quiet --yes install /root/new/unified-push_99.0_*.deb >upgrade.log 2>&1'
step "it changes no setting"
[ "$(dpkg-query --showformat='${Version}' --show unified-push)" = 99.0 ]
[ "$(property MainPID)" != "$pid" ]
diff --recursive before /etc/unified-push
[ "$(stat --format %a /etc/unified-push/component-secret)" = 600 ]
echo yes
step "a version that does not take the configuration leaves the old daemon alone"
pid=$(property MainPID)
echo 'unknown = 1' >>/etc/unified-push/config.toml
apt-get --quiet --yes install --reinstall /root/new/unified-push_99.0_*.deb >upgrade.log 2>&1
[ "$(property MainPID)" = "$pid" ]
grep 'is not a known option' upgrade.log
sed --in-place '$d' /etc/unified-push/config.toml
step "one that was disabled stays so"
systemctl disable --quiet --now unified-push.service unified-push.socket
apt-get --quiet --yes install --reinstall /root/new/unified-push_99.0_*.deb >upgrade.log 2>&1
[ "$(property ActiveState)" = inactive ]
systemctl enable --quiet unified-push.service
systemctl start unified-push.service
systemctl is-active unified-push.socket

step "without the package there is no service"
apt-get --quiet --yes remove unified-push >remove.log 2>&1
[ "$(property LoadState)" = masked ]
refute pidof unified-push
diff --recursive before /etc/unified-push
[ -e /var/lib/private/unified-push/unified-push.db ]
echo yes
step "with it again, all is as before"
apt-get --quiet --yes install /root/new/unified-push_99.0_*.deb >install.log 2>&1
systemctl is-active --quiet unified-push.service
path=$(sed 's|https://[^/]*||' first)
[ "$(code --header 'Host: up.example.org' --data hello "http://127.0.0.1:8080$path")" = 201 ]
$relay
step "a purge leaves nothing"
told Remove
[ -z "$(remains)" ] || { remains; exit 1; }
refute pidof unified-push
[ -z "$(systemctl list-unit-files --no-legend 'unified-push*')" ]
echo yes

step "it runs without the package"
told 'Without the package'
configure
$relay
