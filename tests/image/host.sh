# shellcheck shell=sh
# Sourced by image.sh: what it takes to build and to run containers on this machine.

# Or podman 5 says so in each call.
export PODMAN_IGNORE_CGROUPSV1_WARNING=1

# Where the limits or the cgroups are those of a container already, podman's own defaults ask for
# more than there is. $1: an image to try, $2: a directory for the remedy.
fit_podman() {
    # Newer versions ask for less when they run a container than when they build an image.
    command podman run --rm "$1" true >/dev/null 2>&1 &&
        tried=$(printf 'FROM %s\nRUN true\n' "$1" | command podman build --quiet - 2>/dev/null) &&
        command podman rmi "$tried" >/dev/null && return
    modest_podman >"$2/containers.conf"
    export CONTAINERS_CONF="$2/containers.conf"
}

modest_podman() {
    cat <<EOF
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
EOF
}

# A builder without a registry: a Debian tree made by its own tools, and this machine's Rust. What
# cargo compiles is kept for the next time.
# Prints the arguments of `podman build` for it. $1: its name.
stand_in_builder() {
    if ! podman image exists "$1"; then
        tree=$(mktemp --suffix .tar)
        mmdebstrap --quiet --variant=minbase --include=ca-certificates,gcc,libc6-dev \
            bookworm "$tree" >&2
        podman import --quiet \
            --change 'ENV PATH=/usr/local/cargo/bin:/usr/local/bin:/usr/bin:/bin' \
            --change 'ENV RUSTUP_HOME=/usr/local/rustup' \
            --change 'ENV CARGO_HOME=/usr/local/cargo' "$tree" "$1" >&2
        rm "$tree"
    fi
    rustup=$(rustup show home)
    cargo=${CARGO_HOME:-$HOME/.cargo}
    certificates=/etc/ssl/certs/ca-certificates.crt
    mkdir -p "$cargo/registry" target/image/cargo
    # On the machine's own network: nothing here is about containers', which may lack a way out.
    echo "--network host --build-arg RUST_IMAGE=$1 --volume $rustup:/usr/local/rustup:ro" \
        "--volume $cargo/bin:/usr/local/cargo/bin:ro" \
        "--volume $cargo/registry:/usr/local/cargo/registry" \
        "--volume $certificates:$certificates:ro" \
        "--volume $PWD/target/image/cargo:/src/target"
}
