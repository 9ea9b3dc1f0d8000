#!/bin/sh
# PostgreSQL: no time limit ends a COMMIT that waits for a synchronous standby, and a statement that was
# cancelled there has taken effect.
#
# One would guess that statement_timeout ends such a COMMIT, that the server notices when its client is
# gone, and that a commit cut short has not happened.
#
# In fact the transaction is committed on the primary before the wait begins. Neither statement_timeout
# nor the client's death ends the wait, even with client_connection_check_interval set: the session
# keeps its place among max_connections. pg_cancel_backend() ends it with a warning, not an error: psql
# exits 0 and the row is stored. Nobody sees the row while its session waits, yet it survives a crash.
#
# Tested with PostgreSQL 15.18 (Debian 12).
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
need "$initdb" postgresql
install_packages
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
bin=${initdb%/initdb}

work=$(mktemp -d)
user=
if [ "$(id -u)" = 0 ]; then
    chown postgres "$work"
    user='setpriv --reuid postgres --regid postgres --clear-groups'
fi
trap '$user "$bin/pg_ctl" --pgdata "$work/data" --mode immediate stop >"$work/stop" 2>&1 || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
export PGHOST="$work" PGUSER=postgres PGDATABASE=postgres
$user "$bin/initdb" --pgdata data --username postgres --auth trust >initdb.log
start() {
    $user "$bin/pg_ctl" --pgdata data --log server.log --wait start --options \
        "-c listen_addresses= -c unix_socket_directories=$work $*" >/dev/null
}
sql() {
    "$bin/psql" --quiet --no-align --tuples-only --command "$1"
}
changed() {
    echo "the behaviour has changed: $1" >&2
    exit 1
}
# The process of the session that waits in COMMIT.
waiting() {
    sql "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
}
await_waiting() {
    for _ in $(seq 100); do
        [ -z "$(waiting)" ] || return 0
        sleep 0.1
    done
    changed 'no COMMIT waits'
}

start
sql 'SHOW server_version'
sql 'CREATE TABLE message (body text)'
$user "$bin/pg_ctl" --pgdata data --wait --mode fast stop >/dev/null
start -c synchronous_standby_names=gone

# One whose client stays.
PGOPTIONS='-c statement_timeout=500ms -c client_connection_check_interval=200ms' \
    "$bin/psql" --quiet --command "INSERT INTO message VALUES ('stays')" >stays.log 2>&1 &
client=$!
await_waiting
sleep 3
[ -n "$(waiting)" ] || changed 'a time limit ended the COMMIT'
echo "3 s into statement_timeout=500ms: still waiting, $(sql 'SELECT count(*) FROM message') rows seen"
[ "$(sql 'SELECT count(*) FROM message')" = 0 ] || changed 'the row was seen early'
sql "SELECT pg_cancel_backend($(waiting))" >/dev/null
status=0
wait $client || status=$?
echo "cancelled: psql exits $status, $(sql 'SELECT count(*) FROM message') row seen"
cat stays.log
if [ $status != 0 ] || [ "$(sql 'SELECT count(*) FROM message')" != 1 ]; then
    changed 'a cancelled COMMIT'
fi

# One whose client leaves.
PGOPTIONS='-c statement_timeout=500ms -c client_connection_check_interval=200ms' \
    "$bin/psql" --quiet --command "INSERT INTO message VALUES ('leaves')" >leaves.log 2>&1 &
client=$!
await_waiting
kill -9 $client
wait $client 2>/dev/null || true
sleep 3
[ -n "$(waiting)" ] || changed 'the session went with its client'
echo "3 s after its client was killed: session still waiting, $(sql 'SELECT count(*) FROM message') row seen"
[ "$(sql 'SELECT count(*) FROM message')" = 1 ] || changed 'the row was seen early'
$user "$bin/pg_ctl" --pgdata data --wait --mode immediate stop >/dev/null
start -c synchronous_standby_names=gone
echo "after a crash of the server: $(sql 'SELECT count(*) FROM message') rows seen"
[ "$(sql 'SELECT count(*) FROM message')" = 2 ] || changed 'the row was lost'
