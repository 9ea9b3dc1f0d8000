# shellcheck shell=sh
# Sourced in the machine of tests/debian.sh: runs and loads what the documents in /check/docs say.
export DEBIAN_FRONTEND=noninteractive HOME=/root
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# `apt` is for people: it warns in scripts.
sed --in-place 's/^apt /apt-get --quiet --yes /' docs/install-debian.md

# The blocks of a language in a section of $document, or one of them by its number.
blocks() {
    awk -v language="$1" -v section="## $2" -v number="${3-}" '
        /^## / { inside = $0 == section }
        /^```/ { block = inside && $0 == "```" language; count += block; next }
        inside && block && (number == "" || count == number)' "$document" >blocks
    [ -s blocks ] || { echo "$document has no such block: $*"; exit 1; }
    cat blocks
}

# Runs the commands of a section, or of one of its blocks, in root's home.
told() {
    blocks sh "$@" >told
    (cd /root && sh -eux /check/told) >log.told 2>&1 </dev/null || { cat log.told; exit 1; }
}

# What is said, and that $document says so.
quoted() {
    tr '\n' ' ' <"$document" | grep --quiet --fixed-strings -e "$1" || { echo "$document says nothing of: $1"; exit 1; }
    grep --fixed-strings -e "$1" "$2" >found || { echo "not said: $1"; cat "$2"; exit 1; }
}

linked() {
    until unified-push healthcheck | grep --quiet '"link":"up"'; do sleep 0.1; done
}

configure() {
    sed --in-place 's/^#domain = /domain = /' /etc/unified-push/config.toml
    document=docs/install-debian.md
    told Configure
    told Start
    # Prosody may have been starting.
    linked
}
