# shellcheck shell=sh
# shellcheck disable=SC2154 # $tree is set by who sources it
# Sourced: a Debian with a systemd of its own, as root in a mount namespace of its own (`unshare
# --mount`). make_tree unpacks one into $tree; run_machine runs a guest.sh there, which sources
# tests/machine/guest.sh. It is the Debian that this machine has, unless DEBIAN names another, such as trixie.

debian=${DEBIAN:-$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)}
# The mirror's packages, kept for whoever wants a tree.
archive=target/machine/$debian.tar

need_machine() {
    need /usr/bin/systemd-nspawn systemd-container
    need /usr/bin/mmdebstrap mmdebstrap
}

make_tree() {
    mkdir --parents "$(dirname $archive)" "$tree"
    [ -e "$archive" ] || {
        # The Prosody of the backports is of the age of that in NixOS.
        # shellcheck disable=SC2016 # $1 is for the hook
        mmdebstrap --quiet --format=tar --variant=minbase \
            --setup-hook='sed -n "s/ '$debian' / '$debian'-backports /p" "$1/etc/apt/sources.list" >"$1/etc/apt/sources.list.d/backports.list"' \
            --include=systemd,systemd-sysv,dbus,curl,nginx-light,python3-minimal,libpython3-stdlib \
            --include=ejabberd,postgresql,sqlite3 \
            --include="prosody/$debian-backports,prosody-modules/$debian-backports" \
            "$debian" "$archive.new"
        mv "$archive.new" "$archive"
    }
    # In memory: it lives for seconds.
    mount -t tmpfs -o mode=755 tmpfs "$tree"
    tar --extract --file "$archive" --directory "$tree"
    # Whoever needs them starts them.
    systemctl --quiet --root="$tree" disable ejabberd.service epmd.socket postgresql.service
    mkdir "$tree/check"
    cp tests/machine/guest.sh "$tree/check/machine.sh"
    cp nix/tests/relay.py "$tree/check/"
}

# What a Prosody for the tests begins with.
prosody_settings() {
    cat <<END
modules_enabled = { "roster"; "saslauth"; "disco"; "ping"; "smacks" }
modules_disabled = { "s2s" }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
log = { info = "*console" }
END
}

# $1: a guest.sh, $2: a file for what the console says.
run_machine() {
    cp "$1" "$tree/check/guest.sh"
    cat >"$tree/etc/systemd/system/check.service" <<END
[Unit]
After=prosody.service nginx.service
[Service]
ExecStart=/check/guest.sh
StandardOutput=file:/check/log
StandardError=inherit
[Install]
WantedBy=multi-user.target
END
    systemctl --quiet --root="$tree" enable check.service
    boot "$2" || cat "$2"
    cat "$tree/check/log" || cat "$2"
    [ -e "$tree/check/passed" ]
}

# The guest has a network of its own. Where no systemd runs, nspawn has to be told to do without one,
# and to be given the one hierarchy of control groups that it knows.
boot() {
    console=$1
    set -- timeout --kill-after=10 300 systemd-nspawn --quiet --boot --private-network --register=no --console=pipe \
        --directory="$tree"
    if [ -d /run/systemd/system ]; then
        "$@"
    else
        SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 unshare --mount --cgroup sh -c '
            umount --recursive /sys/fs/cgroup
            mount -t cgroup2 none /sys/fs/cgroup
            exec "$@" --keep-unit' sh "$@"
    fi </dev/null >"$console" 2>&1
}
