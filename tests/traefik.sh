#!/bin/sh
# Tests Traefik's sample in contrib/proxies with the real Traefik, which Debian does not have: builds it
# from its published Go module, without its 180 providers of DNS for ACME, and runs the tests of
# tests/proxies that need it. Needs Go, and 5 minutes the first time.
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/curl curl
need /usr/bin/openssl openssl
install_packages

tools=$PWD/target/traefik
if [ ! -x "$tools/traefik" ]; then
    rm -rf "$tools"
    mkdir -p "$tools"
    version=$(sed -n 's/.*go-acme\/lego\/v4 \(v[0-9.]*\).*/\1/p' tests/proxies/traefik/go.mod)
    lego=$(cd / && go mod download -json "github.com/go-acme/lego/v4@$version" |
        sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    cp -r "$lego" "$tools/lego"
    chmod -R u+w "$tools/lego"
    cp tests/proxies/traefik/dns.go "$tools/lego/providers/dns/zz_gen_dns_providers.go"
    (cd tests/proxies/traefik && nice go build -o "$tools/traefik" github.com/traefik/traefik/v3/cmd/traefik)
fi
UNIFIED_PUSH_TEST_TRAEFIK=$tools/traefik exec cargo test --locked --test proxies traefik::
