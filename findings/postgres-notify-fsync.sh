#!/bin/sh
# PostgreSQL: NOTIFY in a transaction that writes switches group commit off for the whole cluster.
#
# One would guess that NOTIFY costs a little CPU: its queue is never fsynced, and here nobody listens.
# Sessions that commit at the same time share an fsync of the write-ahead log, whatever else they do.
#
# In fact a transaction that has called NOTIFY takes a lock of the whole cluster before it commits, and
# keeps it until its commit is on disk. No two such commits share an fsync, even if each notifies another
# channel. The same NOTIFY sent on its own after the commit writes no log, so it needs no fsync, and
# the commits share theirs again.
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
# With a commit_delay the sessions that are about to commit are waited for, which makes the count
# independent of how fast this disk is. It is off by default, where the difference is the same one.
# Nothing but the sessions below is to write.
$user "$bin/pg_ctl" --pgdata data --log server.log --wait start --options \
    "-c listen_addresses= -c unix_socket_directories=$work -c commit_delay=2000 -c commit_siblings=1 \
    -c autovacuum=off -c bgwriter_lru_maxpages=0 -c wal_writer_delay=10s" >/dev/null
"$bin/psql" --quiet --no-align --tuples-only --command 'SHOW server_version'
"$bin/psql" --quiet --command 'CREATE TABLE message (id bigserial PRIMARY KEY, body text)'

cat >insert.sql <<'SQL'
INSERT INTO message (body) VALUES ('hello');
SQL
cat >insert-notify.sql <<'SQL'
BEGIN;
INSERT INTO message (body) VALUES ('hello');
SELECT pg_notify('channel_' || :client_id, '');
COMMIT;
SQL
cat >insert-then-notify.sql <<'SQL'
INSERT INTO message (body) VALUES ('hello');
SELECT pg_notify('channel_' || :client_id, '');
SQL

# Prints how many fsyncs of the log came on 100 stored rows, and leaves it in $percent.
measure() {
    "$bin/psql" --quiet --command 'TRUNCATE message' --command 'CHECKPOINT' \
        --command "SELECT pg_stat_reset_shared('wal')" >/dev/null
    "$bin/pgbench" --no-vacuum --client 16 --jobs 2 --transactions 100 --file "$1.sql" >pgbench.log 2>&1
    # A session reports its figures when it ends, at the latest.
    while [ "$("$bin/psql" -Atc "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'")" != 0 ]; do
        sleep 0.1
    done
    rows=$("$bin/psql" -Atc 'SELECT count(*) FROM message')
    [ "$rows" = 1600 ]
    fsyncs=$("$bin/psql" -Atc 'SELECT wal_sync FROM pg_stat_wal')
    percent=$((100 * fsyncs / rows))
    echo "$1: $fsyncs fsyncs for $rows rows"
}

measure insert
together=$percent
measure insert-notify
inside=$percent
measure insert-then-notify
after=$percent
if [ "$together" -gt 40 ] || [ "$inside" -lt 90 ] || [ "$after" -gt 40 ]; then
    echo 'the behaviour has changed' >&2
    exit 1
fi
