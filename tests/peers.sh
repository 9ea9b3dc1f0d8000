#!/bin/sh
# Mints endpoints anew with the servers that people move from, and opens them: Prosody of this Debian,
# Prosody 13 and ejabberd of Debian 13's backports, each with its own mod_unified_push, and the library that
# `up` uses, from Maven Central. As root or with sudo. With --write, what was minted becomes what
# src/token/tests/peers.rs opens, too.
set -eu
cd "$(dirname "$0")/.."
work=target/peers
tree=$work/tree
. tests/packages.sh

# In a mount namespace of its own, so that nothing that is mounted below stays.
if [ "${1-}" != --inside ]; then
    need /usr/bin/mmdebstrap mmdebstrap
    need /usr/bin/prosody prosody
    need /usr/lib/prosody/modules/mod_unified_push prosody-modules
    need /usr/bin/mvn maven
    need /usr/bin/javac default-jdk-headless
    install_packages
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo unshare --mount sh "$0" --inside
    UNIFIED_PUSH_PEERS=$PWD/$work/peers.json cargo test --locked --lib token::tests::peers
    if [ "${1-}" = --write ]; then
        cp $work/peers.json src/token/tests/peers.json
    fi
    exit
fi

make_tree() {
    mirror=http://deb.debian.org/debian
    mmdebstrap --quiet --format=directory --variant=minbase \
        --aptopt='APT::Default-Release "trixie-backports"' \
        --include=prosody,prosody-modules,ejabberd,ejabberd-mod-unified-push \
        trixie $tree.new "deb $mirror trixie main" "deb $mirror trixie-backports main"
    mv $tree.new $tree
}

# A server runs while the rest of the arguments does, which may have to wait for it.
during() {
    command=$1
    shift
    sh -c "exec $command" >$work/log 2>&1 &
    server=$!
    "$@" || {
        cat $work/log $work/data/*.log $tree/peers/*.log >&2 || true
        kill $server
        exit 1
    }
    kill $server
    wait $server || true
}

# mint KIND SERVICE KEY SERVER: what the phone gets, and the key that it rests on.
mint() {
    until phone=$(python3 tests/peers/mint.py 21522 example.org "$2" 2>$work/refused); do
        attempts=$((${attempts:-0} + 1))
        [ $attempts -lt 50 ] || {
            cat $work/refused >&2
            return 1
        }
        sleep 0.2
    done
    attempts=0
    echo "$phone" | jq --arg kind "$1" --arg key "$3" --arg server "$4" \
        '. + {$kind, $key, $server}' >>$work/minted
}

configure() {
    rm -rf "$1"
    mkdir --parents "$1"
    {
        echo "local DIR, PASETO = \"$2\", $3"
        cat tests/peers/prosody.cfg.lua
    } >"$1/prosody.cfg.lua"
}

# of_prosody DATA VERSION: with both back ends that every Prosody has. Of storage, the key is its file.
of_prosody() {
    name="Prosody $2"
    mint prosody-jwt jwt.example.org "a secret of Prosody's" "$name" || return
    mint prosody-storage storage.example.org '' "$name" || return
    file=$(find "$1" -path '*storage*' -name '*.dat' ! -name '%5f*')
    jq --slurp --rawfile file "$file" --arg name "$(basename "$file")" \
        '.[-1] += {key: $file, $name} | .[]' $work/minted >$work/minted.new
    mv $work/minted.new $work/minted
}

of_prosody_13() {
    of_prosody $tree/peers "$1"
    mint prosody-paseto paseto.example.org '' "Prosody $1" || return
    file=$(find $tree/peers -path '*paseto*' -name '%5fprivate.dat')
    jq --slurp --rawfile file "$file" '.[-1].key = $file | .[]' $work/minted >$work/minted.new
    mv $work/minted.new $work/minted
}

of_up() {
    [ -e $work/jars ] ||
        mvn --batch-mode --quiet --file tests/peers/pom.xml dependency:copy-dependencies \
            -DoutputDirectory="$PWD/$work/jars"
    key=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=
    last=$(jq --slurp '.[-1] | {owner, application, instance, expires}' $work/minted)
    field() {
        echo "$last" | jq --raw-output ".$1"
    }
    token=$(java -cp "$work/jars/*" tests/peers/Up.java $key "$(field owner)" "$(field application)" \
        "$(field instance)" "$(field expires)000")
    echo "$last" | jq --arg key $key --arg endpoint "https://up.example.org/push/$token" \
        '. + {$endpoint, kind: "up", $key, server: "jpaseto 0.7.0"}' >>$work/minted
}

version() {
    dpkg-query --admindir="$1/var/lib/dpkg" --showformat='${Version}' --show "$2"
}

mkdir --parents $work
[ -e $tree ] || make_tree
: >$work/minted
configure $work/data "$PWD/$work/data" false
during "prosody --config $PWD/$work/data/prosody.cfg.lua -F" of_prosody $work/data "$(version / prosody)"

mount --rbind /proc $tree/proc
mount --rbind /dev $tree/dev
configure $tree/peers /peers true
during "chroot $tree prosody --config /peers/prosody.cfg.lua -F" of_prosody_13 "$(version $tree prosody)"

cp tests/peers/ejabberd.yml $tree/peers/
libraries=$(sed -n "s/^ERL_LIBS='\(.*\)'$/\1/p" $tree/usr/sbin/ejabberdctl)
during "chroot $tree env HOME=/peers ERL_LIBS=$libraries EJABBERD_CONFIG_PATH=/peers/ejabberd.yml \
    EJABBERD_LOG_PATH=/peers/ejabberd.log \
    erl -noinput +Bd -start_epmd false -mnesia dir '\"/peers/mnesia\"' -s ejabberd" \
    mint ejabberd example.org '{"kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}' \
    "ejabberd $(version $tree ejabberd)"
of_up
jq --slurp . $work/minted >$work/peers.json
jq --raw-output '.[] | "\(.server): \(.kind), \(.endpoint | length) bytes"' $work/peers.json
