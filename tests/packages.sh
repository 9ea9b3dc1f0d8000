# shellcheck shell=sh
# Sourced: `need FILE PACKAGE` for each, then install_packages, as root or with sudo. No service that
# comes with them is started, now or by the next boot.

packages=
need() {
    [ -e "$1" ] || packages="$packages $2"
}

# In a subshell, so that its trap ends with it.
install_packages() (
    [ -n "$packages" ] || exit 0
    echo "installing$packages"
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
    if [ -d /run/systemd/system ]; then
        for package in $packages; do
            case $package in
            apache2) services='apache2 apache-htcacheclean' ;;
            ejabberd) services='ejabberd epmd.socket' ;;
            podman) services='podman podman.socket podman-restart podman-auto-update.timer' ;;
            *) services=$package ;;
            esac
            # shellcheck disable=SC2086 # a list of names
            $sudo systemctl --quiet disable $services 2>/dev/null || true
        done
    fi
)
