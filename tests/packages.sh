# shellcheck shell=sh
# Sourced: `need FILE PACKAGE` for each, then install_packages, as root or with sudo.

packages=
need() {
    [ -e "$1" ] || packages="$packages $2"
}

install_packages() {
    [ -n "$packages" ] || return 0
    echo "installing$packages"
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update --quiet
    # shellcheck disable=SC2086 # a list of names
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install --quiet --yes --no-install-recommends $packages
}
