#!/bin/sh
# pgpool-II: it takes writes, and says that it does not.
#
# Drivers ask `SHOW transaction_read_only` after connecting to learn whether a server is the one that takes
# writes (tokio-postgres and pgjdbc do for target_session_attrs=read-write and targetServerType=primary).
# One would guess that pgpool, which sends writes to the primary by itself, has the primary answer.
#
# In fact SHOW counts as a statement that only reads, so it is balanced over the standbys: a client that asks
# there is told `on`, in a session whose next statement is an INSERT that succeeds. Such a driver refuses the
# pool, always or now and then, by the weights of the backends.
#
# Tested with pgpool-II 4.3.5 and PostgreSQL 15.18 (Debian 12).
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
need "$initdb" postgresql
need /usr/sbin/pgpool pgpool2
install_packages
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
bin=${initdb%/initdb}

work=$(mktemp -d)
user=
if [ "$(id -u)" = 0 ]; then
    chown postgres "$work"
    user='setpriv --reuid postgres --regid postgres --clear-groups'
fi
pool=
stop() {
    [ -z "$pool" ] || kill "$pool" 2>/dev/null || true
    for node in standby primary; do
        $user "$bin/pg_ctl" --pgdata "$work/$node" --mode immediate stop >/dev/null 2>&1 || true
    done
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"

# Sockets in the folder: the ports are only names.
start() {
    $user "$bin/pg_ctl" --pgdata "$1" --log "$1.log" --wait \
        --options "-c listen_addresses= -c unix_socket_directories=$work -c port=$2" start >/dev/null
}
$user "$bin/initdb" --pgdata primary --username postgres --auth trust >initdb.log
start primary 5501
$user "$bin/pg_basebackup" --host "$work" --port 5501 --username postgres --pgdata standby \
    --write-recovery-conf --checkpoint fast
start standby 5502
cat >pgpool.conf <<EOF
backend_clustering_mode = 'streaming_replication'
listen_addresses = ''
port = 9999
unix_socket_directories = '$work'
socket_dir = '$work'
pcp_socket_dir = '$work'
wd_ipc_socket_dir = '$work'
pid_file_name = '$work/pool.pid'
logdir = '$work'
sr_check_user = 'postgres'
backend_hostname0 = '$work'
backend_port0 = 5501
backend_weight0 = 0
backend_hostname1 = '$work'
backend_port1 = 5502
backend_weight1 = 1
EOF
$user /usr/sbin/pgpool -n -f pgpool.conf >pool.log 2>&1 &
pool=$!
ask() {
    printf '%s;\n' "$@" | $user "$bin/psql" --host "$work" --port 9999 --username postgres --no-psqlrc \
        --quiet --tuples-only --no-align --dbname postgres
}
for _ in $(seq 100); do
    ask 'SELECT 1' >/dev/null 2>&1 && break
    sleep 0.2
done
$user /usr/sbin/pgpool --version 2>&1 | head -1
$user "$bin/postgres" --version
ask 'CREATE TABLE t (x int)'
said=$(ask 'SHOW transaction_read_only' 'INSERT INTO t VALUES (1) RETURNING x')
echo 'SHOW transaction_read_only, and an INSERT, in one session:'
echo "$said"
if [ "$said" != "on
1" ]; then
    echo 'the behaviour has changed' >&2
    exit 1
fi
