#!/bin/sh
# tokio-postgres: connect_timeout does not end an attempt to connect to a server that accepts and says nothing.
#
# The crate takes libpq's connection strings, connect_timeout among them, and several hosts of which the
# next one is tried when one fails. One would guess that the time limit is for the whole attempt, as it is
# in libpq, so that a server, pooler or proxy that hangs costs two seconds here, and the next host serves.
#
# In fact it ends the opening of the TCP connection alone, which the kernel of the hanging server completes
# by itself. The greeting after it is waited for without end: connect() neither fails nor comes to the
# second host, which works. psql is there after two seconds with the same string. Whoever uses the crate
# has to put a time limit around connect(), and one for each host, or the list is of no use.
#
# Needs cargo.
# Tested with tokio-postgres 0.7.18 and PostgreSQL 15.18 (Debian 12).
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
hanging=
stop() {
    [ -z "$hanging" ] || kill "$hanging"
    $user "$bin/pg_ctl" --pgdata "$work/data" --mode immediate stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "connect"
version = "0.1.0"
edition = "2021"

[dependencies]
tokio = { version = "1", features = ["macros", "net", "rt", "time"] }
tokio-postgres = "=0.7.18"

[workspace]
TOML
cat >src/main.rs <<'RUST'
use std::time::{Duration, Instant};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).expect("a connection string");
    let start = Instant::now();
    let attempt = tokio_postgres::connect(&url, tokio_postgres::NoTls);
    match tokio::time::timeout(Duration::from_secs(20), attempt).await {
        Err(_) => println!("tokio-postgres: still connecting after {} s", start.elapsed().as_secs()),
        Ok(Err(error)) => println!("tokio-postgres: {error} after {} s", start.elapsed().as_secs()),
        Ok(Ok(_)) => println!("tokio-postgres: connected after {} s", start.elapsed().as_secs()),
    }
}
RUST
cargo build --quiet
connect() {
    CARGO_NET_OFFLINE=true cargo run --quiet -- "$1"
}

# The kernel accepts for it, as for every process that listens and is stopped.
cat >hanging.py <<'PYTHON'
import signal
import socket

hanging, free = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
with open("ports", "w") as file:
    file.write(f"{hanging.getsockname()[1]} {free.getsockname()[1]}\n")
free.close()
signal.pause()
PYTHON
python3 hanging.py &
hanging=$!
while [ ! -s ports ]; do sleep 0.1; done
read -r hung port <ports
$user "$bin/initdb" --pgdata data --username postgres --auth trust >initdb.log
$user "$bin/pg_ctl" --pgdata data --log server.log --wait --options \
    "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=$work" start >/dev/null
$user "$bin/postgres" --version

common='user=postgres dbname=postgres connect_timeout=2'
works="host=127.0.0.1 port=$port $common"
hangs="host=127.0.0.1 port=$hung $common"
both="host=127.0.0.1,127.0.0.1 port=$hung,$port $common"
echo 'connect_timeout=2, and the server works:'
connect "$works" | tee works
echo 'it hangs:'
connect "$hangs" | tee hangs
echo 'the first of two hangs:'
connect "$both" | tee both
start=$(date +%s)
"$bin/psql" "$both" --no-psqlrc --tuples-only --no-align --command "SELECT 'psql: connected'" | tee psql
took=$(($(date +%s) - start))
echo "after $took s"
if ! grep -q 'connected after [0-3] s' works || ! grep -q still hangs || ! grep -q still both ||
    ! grep -q connected psql || [ "$took" -gt 8 ]; then
    echo 'the behaviour has changed' >&2
    exit 1
fi
