#!/bin/sh
# PgBouncer: in transaction mode a LISTEN and an advisory lock succeed, and belong to somebody else.
#
# One would guess that what needs a session is refused in transaction mode, or at worst does nothing,
# and that an advisory lock ends with the client that took it.
#
# In fact both reach the server connection and stay on it. The client that said LISTEN hears nothing. A
# notification goes to whichever client is using that server connection, which never said LISTEN, and is
# thrown away while nobody does. A lock outlives the client that took it, and any client that is
# given the same server connection has it too: pg_try_advisory_lock() says true to two clients at once.
#
# Tested with PgBouncer 1.18.0 and PostgreSQL 15.18 (Debian 12), psycopg 3.2.10.
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
bouncer=
stop() {
    [ -z "$bouncer" ] || kill $bouncer
    $user "$bin/pg_ctl" --pgdata "$work/data" --mode immediate stop >"$work/stop" 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet 'psycopg[binary]==3.2.10'
$user "$bin/initdb" --pgdata data --username postgres --auth trust >initdb.log
$user "$bin/pg_ctl" --pgdata data --log server.log --wait start --options \
    "-c listen_addresses= -c unix_socket_directories=$work" >/dev/null
cat >pgbouncer.ini <<INI
[databases]
postgres = host=$work user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = $work
listen_port = 6432
logfile = $work/pgbouncer.log
auth_type = any
pool_mode = transaction
INI
$user /usr/sbin/pgbouncer --version | head -1
$user /usr/sbin/pgbouncer --quiet pgbouncer.ini &
bouncer=$!

for _ in $(seq 100); do
    [ ! -S .s.PGSQL.6432 ] || break
    sleep 0.1
done

cat >clients.py <<'PYTHON'
import sys
import time

import psycopg

def connect(port=6432):
    return psycopg.connect(host=sys.argv[1], port=port, user="postgres", dbname="postgres",
                           autocommit=True, prepare_threshold=None)

def value(client, statement):
    return client.execute(statement).fetchone()[0]

direct = connect(5432)
print("PostgreSQL", value(direct, "SHOW server_version"))

heard = {"listener": [], "bystander": []}
listener, bystander = connect(), connect()
listener.add_notify_handler(lambda n: heard["listener"].append(n.payload))
bystander.add_notify_handler(lambda n: heard["bystander"].append(n.payload))
listener.execute("LISTEN news")
direct.execute("NOTIFY news, 'while the server connection is idle'")
# Time for it to get as far as PgBouncer.
time.sleep(1)
value(listener, "SELECT 1")
value(bystander, "SELECT 1")
with bystander.transaction():
    value(bystander, "SELECT 1")
    direct.execute("NOTIFY news, 'while it is in use'")
value(listener, "SELECT 1")
print("heard:", heard)
deaf = heard == {"listener": [], "bystander": ["while it is in use"]}

first, second = connect(), connect()
taken = [value(c, "SELECT pg_try_advisory_lock(1)") for c in (first, second)]
print("two clients try for one lock:", taken)
for client in first, second, listener, bystander:
    client.close()
left = value(direct, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
print("after all have closed, locks held:", left)
sys.exit(not (deaf and taken == [True, True] and left == 1))
PYTHON
venv/bin/python clients.py "$work" || {
    echo 'the behaviour has changed' >&2
    exit 1
}
