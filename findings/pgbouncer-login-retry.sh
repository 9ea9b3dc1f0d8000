#!/bin/sh
# PgBouncer: an outage of a moment lasts for a quarter of a minute.
#
# One would guess that a client which comes when the database is back is served, as it is without a pooler,
# or that it waits in PgBouncer's queue until then.
#
# In fact one login that failed while the database was away is remembered: for the 15 seconds of
# server_login_retry PgBouncer does not ask the database again and refuses each new client at once, with the
# error of that login. With server_login_retry = 1 the outage is hardly longer than the database's own.
#
# Tested with PgBouncer 1.18.0 and PostgreSQL 15.18 (Debian 12).
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
need "$initdb" postgresql
need /usr/sbin/pgbouncer pgbouncer
install_packages
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
bin=${initdb%/initdb}

work=$(mktemp -d)
user=
if [ "$(id -u)" = 0 ]; then
    chown postgres "$work"
    user='setpriv --reuid postgres --regid postgres --clear-groups'
fi
bouncers=
database() {
    $user "$bin/pg_ctl" --pgdata "$work/data" --log "$work/server.log" --wait "$@" >/dev/null
}
stop() {
    for pid in $bouncers; do kill "$pid" 2>/dev/null || true; done
    database --mode immediate stop 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
$user "$bin/initdb" --pgdata data --username postgres --auth trust >initdb.log
start="-c listen_addresses= -c unix_socket_directories=$work"
database --options "$start" start

# Each with a port of its own: the name of its socket.
bouncer() {
    port=$1
    shift
    printf '%s\n' '[databases]' "postgres = host=$work user=postgres" '[pgbouncer]' 'listen_addr =' \
        "unix_socket_dir = $work" "listen_port = $port" "logfile = $work/$port.log" 'auth_type = any' \
        'pool_mode = session' "$@" >"$port.ini"
    $user /usr/sbin/pgbouncer --quiet "$port.ini" &
    bouncers="$bouncers $!"
    for _ in $(seq 100); do
        [ ! -S ".s.PGSQL.$port" ] || break
        sleep 0.1
    done
}
$user /usr/sbin/pgbouncer --version | head -1
$user "$bin/postgres" --version
bouncer 6432
bouncer 6433 'server_login_retry = 1'

answers() {
    $user timeout 3 "$bin/psql" --host "$work" --port "$1" --username postgres \
        --no-psqlrc --tuples-only --command 'SELECT 1' >"said.$1" 2>&1
}
# How long after the database is back a new client is served, in seconds.
back_after() {
    answers "$1"
    database --mode fast stop
    if answers "$1"; then exit 1; fi
    database --options "$start" start
    answers 5432
    since=$(date +%s)
    until answers "$1"; do
        cp "said.$1" refused
        sleep 0.2
    done
    took=$(($(date +%s) - since))
}
back_after 6433
echo "server_login_retry = 1: served again $took s after the database is"
quick=$took
back_after 6432
echo "by default: served again $took s after the database is; until then:"
cat refused
if [ "$quick" -gt 4 ] || [ "$took" -lt 10 ]; then
    echo 'the behaviour has changed' >&2
    exit 1
fi
