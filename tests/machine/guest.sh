# shellcheck shell=sh
# Sourced inside the machine that tests/machine/host.sh boots, by a script with `set -eu`: says how it
# ended, with the journal when it failed, and turns the machine off.
cd /check || exit
trap 'end $?' EXIT
end() {
    if [ "$1" = 0 ]; then
        touch passed
    else
        journal
    fi
    systemctl poweroff
}
journal() {
    echo "FAILED; the journal:"
    systemctl --no-pager --full status unified-push prosody nginx || true
    curl --silent http://127.0.0.1:8081/metrics | grep -e queue -e pushes_total -e phones || true
    $unified_push queue list || true
    journalctl --no-pager --unit=unified-push --unit=unified-push.socket --unit=prosody --lines=60
}
step() {
    printf "%s: " "$*"
}
# `!` alone would not end the script.
refute() {
    if "$@"; then
        exit 1
    fi
}
as_nobody() {
    setpriv --reuid=nobody --clear-groups "$@"
}
property() {
    systemctl show --property="$1" --value unified-push.service
}
code() {
    curl --silent --output /dev/null --write-out '%{http_code}' --max-time 20 "$@"
}
relay=/check/relay.py
unified_push=unified-push

# The daemon stops to answer, and comes back while pushes are sent.
hang() {
    cat >hang <<'END'
before=$(systemctl show --property=NRestarts --value unified-push.service)
systemctl kill --signal=SIGSTOP --kill-who=main unified-push.service
until [ "$(systemctl show --property=NRestarts --value unified-push.service)" = $((before + 1)) ] &&
    systemctl is-active --quiet unified-push.service; do
    sleep 0.1
done
END
    $relay --during 'sh ./hang'
    journalctl --no-pager --unit=unified-push.service --grep='Watchdog timeout|watchdog' --output=cat |
        head -n 1
}

# It reads its configuration anew three times while pushes are sent. Each is awaited: signals that come at
# once may be one.
reload() {
    cat >reload <<'END'
for times in 1 2 3; do
    systemctl reload unified-push.service
    until [ "$(journalctl --no-pager --unit=unified-push.service --output=cat |
        grep --count '^reloaded')" = "$times" ]; do
        sleep 0.1
    done
done
END
    $relay --during 'sh ./reload'
}
