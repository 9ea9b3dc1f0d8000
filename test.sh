#!/bin/sh
# Runs every test, those against real Prosody, ejabberd, PostgreSQL and reverse proxies too. What they
# need comes from Debian's packages, as root or with sudo; no service is started. Arguments go to cargo
# test.
set -eu
cd "$(dirname "$0")"

packages=
need() {
    [ -e "$1" ] || packages="$packages $2"
}
need /usr/bin/cc gcc
need /usr/include/stdlib.h libc6-dev
need /usr/bin/prosody prosody
need /usr/lib/prosody/modules/mod_unified_push prosody-modules
need /usr/sbin/ejabberdctl ejabberd
need "$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | tail -n 1)" postgresql
need /usr/bin/promtool prometheus
need /usr/bin/sqlite3 sqlite3
need /usr/bin/openssl openssl
need /usr/bin/curl curl
need /usr/sbin/apache2 apache2
need /usr/bin/caddy caddy
need /usr/sbin/haproxy haproxy
need /usr/sbin/nginx nginx

# In a subshell, so that its trap ends with it.
install_packages() (
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap '$sudo rm -f $policy' EXIT
        # Not every shell runs that one when it is interrupted.
        trap 'exit 130' INT TERM HUP
        printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
        $sudo chmod 755 $policy
    fi
    $sudo apt-get update --quiet
    # shellcheck disable=SC2086 # a list of names
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install --quiet --yes --no-install-recommends $packages
    # Nor is any started by the next boot.
    if [ -d /run/systemd/system ]; then
        for package in $packages; do
            case $package in
            apache2) services='apache2 apache-htcacheclean' ;;
            ejabberd) services='ejabberd epmd.socket' ;;
            *) services=$package ;;
            esac
            # shellcheck disable=SC2086 # a list of names
            $sudo systemctl --quiet disable $services 2>/dev/null || true
        done
    fi
)

if [ -n "$packages" ]; then
    echo "installing$packages"
    install_packages
fi
UNIFIED_PUSH_TEST_REQUIRE=1 exec cargo test --locked "$@"
