#!/bin/sh
# PgBouncer: when pool_mode changes from session to transaction, clients get each other's answers.
#
# One would guess that a change of the mode holds for connections that come later, or that clients which
# have prepared statements get an error that says so (26000, there is no such statement).
#
# In fact a reload changes the mode under the clients that are connected. Each transaction of theirs then
# goes to whichever server connection is free, and libraries count their statements' names from the same
# start (here _pg3_0), so the statement of this name is found there, prepared by another client. It is run
# in place of the one that was meant, with the same parameters, and nobody reports an error: a client that
# asks for its own name reads another one's.
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
pool_mode = session
INI
$user /usr/sbin/pgbouncer --version | head -1
$user /usr/sbin/pgbouncer --quiet pgbouncer.ini &
bouncer=$!

for _ in $(seq 100); do
    [ ! -S .s.PGSQL.6432 ] || break
    sleep 0.1
done

cat >clients.py <<'PYTHON'
import os
import pathlib
import signal
import sys
import time

import psycopg

work, bouncer = sys.argv[1], int(sys.argv[2])

def connect():
    return psycopg.connect(host=work, port=6432, user="postgres", dbname="postgres", autocommit=True)

names = ["romeo", "juliet"]
clients = {name: connect() for name in names}

def ask(name):
    question = f"SELECT '{name} was asked for ' || %s"
    return clients[name].execute(question, ["orchard"], prepare=True).fetchone()[0]

print("PostgreSQL", clients["romeo"].info.server_version)
before = [ask(name) for name in names]
print("in session mode:", before)

settings = pathlib.Path(work, "pgbouncer.ini")
settings.write_text(settings.read_text().replace("= session", "= transaction"))
os.kill(bouncer, signal.SIGHUP)
# Time for it to read them.
time.sleep(1)

# Each gives up the connection that it had, and then takes the one that was given up last.
after = [ask(name) for name in names + names]
print("in transaction mode:", after)
right = [f"{name} was asked for orchard" for name in names]
sys.exit(not (before == right and set(after) == set(right) and after != right + right))
PYTHON
venv/bin/python clients.py "$work" $bouncer || {
    echo 'the behaviour has changed' >&2
    exit 1
}
