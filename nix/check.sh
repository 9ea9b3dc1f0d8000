#!/bin/sh
# Checks the NixOS module on Debian 12, without nixpkgs: what it accepts and refuses, its units by
# systemd-analyze, and then under a real systemd with a real Prosody. tests/options makes its options.
# Needs root or sudo. The argument is the program; without one it is built.
#
# NIXPKGS_LIB=DIRECTORY takes the `lib` of a checkout of nixpkgs in place of our stand-in.
set -eu
cd "$(dirname "$0")/.."
work=target/nix-check
tree=$work/tree
. tests/machine/host.sh
. tests/packages.sh

# Each with what the expressions want to know.
with_arguments() {
    [ -z "${NIXPKGS_LIB-}" ] || set -- "$@" --argstr nixpkgsLib "$(realpath "$NIXPKGS_LIB")"
    "$@" --argstr binary "$binary"
}
build() {
    with_arguments nix-build --no-out-link nix/tests -A "$1"
}
evaluate() {
    with_arguments nix eval "$1" --file nix/tests "$2"
}
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# What package.nix builds and tests compiles from the files that it names, without others.
build_package() {
    rm -rf $work/source
    mkdir --parents $work/source
    # shellcheck disable=SC2046 # no name has a space
    cp --recursive $(sed -n 's|^ *\.\./\([^ ;]*\)$|\1|p' nix/package.nix) $work/source
    # Of another version, or cargo would take what is compiled here for the project's own, edits unseen.
    sed -i '0,/^version = /s/^version = ".*"/version = "0.0.0"/' $work/source/Cargo.toml \
        $work/source/testbed/Cargo.toml
    CARGO_TARGET_DIR=$PWD/target cargo test --offline --quiet --lib --no-run \
        --manifest-path $work/source/Cargo.toml
}

# With the stand-in in place of nixpkgs, and so without the machines that it would boot.
check_flake() {
    # Of what git has: no more is in a flake.
    nix flake check --no-build --no-write-lock-file \
        --override-input nixpkgs "path:$PWD/nix/tests/nixpkgs" >$work/log 2>&1 ||
        fail "$(cat $work/log)"
    locked=$(nix flake metadata --json | tr , '\n' | grep --count '"narHash":"sha256-')
    [ "$locked" -ge 1 ] || fail "flake.lock locks nothing"
    build machines >$work/log 2>&1 || fail "$(cat $work/log)"
    for script in prosody ejabberd postgresql; do
        evaluate --raw "scripts.$script" | python3 -c 'import ast, sys; ast.parse(sys.stdin.read())'
    done
}

check_documentation() {
    faults=$(evaluate --json documentation.faults)
    [ "$faults" = '[]' ] || fail "$faults"
    build documentation.configurations >$work/log 2>&1 || fail "$(cat $work/log)"
}

check_accepted() {
    build accepted >$work/accepted 2>$work/log || fail "$(cat $work/log)"
    echo "accepted: $(wc -l <$work/accepted)"
}

# Spaces and line ends are all the same.
squeeze() {
    tr --squeeze-repeats ' \n' '  '
}

check_refused() {
    evaluate --raw messages >$work/messages
    while read -r name message; do
        if build "refused.$name" >$work/log 2>&1; then
            fail "$name is accepted"
        fi
        squeeze <$work/log | grep --silent --fixed-strings -e "$message" ||
            fail "$name is refused without \"$message\": $(cat $work/log)"
    done <$work/messages
    echo "refused: $(wc -l <$work/messages)"
}

check_units() {
    while read -r system; do
        # Without a service when the module is disabled.
        [ -e "$system/units/unified-push.service" ] || continue
        said=$(systemd-analyze verify "$system"/units/unified-push* 2>&1) || fail "$said"
        # Of units of the machine's own it may have something to say, too.
        said=$(printf '%s' "$said" | grep --invert-match '^\(/usr\)\?/lib/systemd/system/' || true)
        [ -z "$said" ] || fail "$said"
        # In tenths.
        systemd-analyze security --offline=yes --threshold=15 \
            "$system/units/unified-push.service" >$work/log || fail "$(tail -n 1 $work/log)"
        sh -n "$system/bin/unified-push"
    done <$work/accepted
    tail -n 1 $work/log
}

fill_tree() {
    system=$1
    mkdir --parents $tree/nix/store
    nix-store --query --requisites "$system" | while read -r path; do
        cp --archive "$path" $tree/nix/store/
    done

    units=$tree/etc/systemd/system
    cp --recursive "$system"/units/* $units/
    cp --recursive --no-preserve=mode "$system"/etc/* $tree/etc/
    systemctl --quiet --root=$tree enable unified-push.service \
        unified-push.socket unified-push-admin.socket

    # Where NixOS puts the lines: at the end of the global section.
    {
        prosody_settings
        cat "$system/prosody.cfg.lua"
        echo 'VirtualHost "example.org"'
    } >$tree/etc/prosody/prosody.cfg.lua
    rm -f $tree/etc/nginx/sites-enabled/default
    cp "$system/nginx.conf" $tree/etc/nginx/conf.d/unified-push.conf

    # As docs/install-nixos.md says.
    chroot $tree sh -euc '
        install --directory --mode=700 /var/lib/secrets
        (umask 077; head -c 32 /dev/urandom | base64 >/var/lib/secrets/unified-push-component)
    '
    cp "$binary" $tree/usr/local/bin/unified-push
    chroot $tree sh -euc '
        (umask 077; unified-push gen-secret >/var/lib/secrets/unified-push)
    '
    rm $tree/usr/local/bin/unified-push
    cp --recursive "$system/bin" $tree/check/
}

check_guest() {
    make_tree
    build guest >$work/guest 2>$work/log || fail "$(cat $work/log)"
    fill_tree "$(cat $work/guest)"
    run_machine nix/tests/guest.sh $work/console || fail "the machine's check"
}

# As root, and with mounts that end with the script.
if [ "${1-}" != --inside ]; then
    [ $# != 0 ] || build_package
    [ $# != 0 ] || cargo build --locked
    program=$(realpath "${1:-target/debug/unified-push}")
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    exec $sudo env NIXPKGS_LIB="${NIXPKGS_LIB-}" \
        unshare --mount "$PWD/nix/check.sh" --inside "$program"
fi
binary=$2
mkdir --parents $work
need /usr/bin/nix-build nix-bin
need /usr/bin/systemd-analyze systemd
need_machine
install_packages
# Nothing is fetched, and nobody is asked to build.
export NIX_CONFIG='experimental-features = nix-command flakes
build-users-group =
sandbox = false
substituters ='

for check in flake documentation accepted refused units guest; do
    start=$(date +%s)
    echo "== $check"
    check_$check
    echo "   $(($(date +%s) - start)) s"
done
