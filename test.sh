#!/bin/sh
# Runs every test, those against real Prosody, ejabberd, PostgreSQL, reverse proxies and Chromium too.
# What they need comes from Debian's packages, as root or with sudo; no service is started. Arguments go
# to cargo test.
set -eu
cd "$(dirname "$0")"

. tests/packages.sh
need /usr/bin/cc gcc
need /usr/include/stdlib.h libc6-dev
need /usr/bin/prosody prosody
need /usr/lib/prosody/modules/mod_unified_push prosody-modules
need /usr/sbin/ejabberdctl ejabberd
need /usr/share/doc/lua-unbound lua-unbound
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
need "$initdb" postgresql
need /usr/sbin/pgbouncer pgbouncer
need /usr/bin/promtool prometheus
need /usr/bin/sqlite3 sqlite3
need /usr/bin/openssl openssl
need /usr/bin/curl curl
need /usr/sbin/apache2 apache2
need /usr/bin/caddy caddy
need /usr/sbin/haproxy haproxy
need /usr/sbin/nginx nginx
need /usr/bin/chromium chromium
need /usr/bin/chromedriver chromium-driver
install_packages

UNIFIED_PUSH_TEST_REQUIRE=1 exec cargo test --locked "$@"
