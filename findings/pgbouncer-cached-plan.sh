#!/bin/sh
# PgBouncer: an error that a changed table gives to one prepared statement outlives the client, for an hour.
#
# In transaction mode PgBouncer 1.24 keeps prepared statements itself by default. PostgreSQL refuses one
# whose columns are others after an ALTER TABLE ("cached plan must not change result type"). One would guess
# that an application which is started again prepares it anew and is well, as it is without a pooler.
#
# In fact PgBouncer knows the statement by its text, and gives a new client the one that it prepared on its
# server connection before the change. So whoever asks the same, even a program that was first started after
# the migration, gets the error of the old plan for as long as that connection lives, which is up to
# server_lifetime, an hour. RECONNECT on PgBouncer's console ends it at once; it belongs after each migration.
#
# Tested with PgBouncer 1.24.1 (Debian 13), PostgreSQL 15.18 (Debian 12) and psycopg 3.2.10. As root.
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
need "$initdb" postgresql
need /usr/bin/mmdebstrap mmdebstrap
install_packages
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
bin=${initdb%/initdb}

work=$(mktemp -d)
chmod 755 "$work"
user='setpriv --reuid postgres --regid postgres --clear-groups'
bouncer=
stop() {
    [ -z "$bouncer" ] || kill $bouncer
    $user "$bin/pg_ctl" --pgdata "$work/data" --mode immediate stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet 'psycopg[binary]==3.2.10'
mmdebstrap --quiet --variant=minbase --include=pgbouncer trixie tree
python3 - >ports <<'PYTHON'
import socket

listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in listeners))
PYTHON
read -r database pool <ports
mkdir data
chown postgres data
$user "$bin/initdb" --pgdata data --username postgres --auth trust >initdb.log
: >server.log
chown postgres server.log
$user "$bin/pg_ctl" --pgdata data --log server.log --wait start --options \
    "-c listen_addresses=127.0.0.1 -c port=$database -c unix_socket_directories=" >/dev/null
cat >tree/pgbouncer.ini <<INI
[databases]
postgres = host=127.0.0.1 port=$database user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pool
unix_socket_dir =
auth_type = any
admin_users = postgres
pool_mode = transaction
INI
chroot tree pgbouncer --version | head -1
chroot --userspec=65534:65534 tree pgbouncer --quiet /pgbouncer.ini &
bouncer=$!

cat >clients.py <<'PYTHON'
import sys
import time

import psycopg

def connect(port, database="postgres"):
    for _ in range(100):
        try:
            return psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname=database, autocommit=True)
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise SystemExit("no connection")

database, pool = map(int, sys.argv[1:])
direct = connect(database)
print("PostgreSQL", direct.info.server_version)
direct.execute("CREATE TABLE message (id int, body text)")

def ask(client):
    try:
        client.execute("SELECT * FROM message WHERE id = %s", [1], prepare=True)
        return "ok"
    except psycopg.errors.FeatureNotSupported as error:
        return error.diag.message_primary

seen = []

def show(when, port):
    with connect(port) as client:
        seen.append(ask(client))
        print(when, seen[-1])

show("before the change, through the pool:", pool)
old = connect(database)
ask(old)
direct.execute("ALTER TABLE message ADD COLUMN urgency int")
print("after it, in a session of before, without a pool:", ask(old))
show("after it, a new client without a pool:", database)
show("after it, a new client of the pool:", pool)
show("another new client of the pool:", pool)
console = connect(pool, "pgbouncer")
console.pgconn.exec_(b"RECONNECT")
time.sleep(1)
show("after RECONNECT, a new client of the pool:", pool)
error = "cached plan must not change result type"
sys.exit(seen != ["ok", "ok", error, error, "ok"])
PYTHON
venv/bin/python clients.py "$database" "$pool" || {
    echo 'the behaviour has changed' >&2
    exit 1
}
