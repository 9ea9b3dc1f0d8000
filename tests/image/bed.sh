# shellcheck shell=bash
# Sourced by image.sh and pods.sh: a Prosody outside the containers, a phone on it, and pushes.

COMPONENT=up.example.org PORT=18080 CLIENTS=15222
bed=$(mktemp -d)
children=
# Where pushes are sent, and how.
base=http://127.0.0.1:$PORT
curl=(curl --silent --output /dev/null --write-out '%{http_code}' --header 'TTL: 60')

fail() {
    echo "$0: $*" >&2
    exit 1
}

# Runs the command until it succeeds.
eventually() {
    for _ in $(seq 150); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    fail "in vain: $*"
}

# Ends what the bed started; after a failure, shows what it said.
clear_bed() {
    for child in $children; do
        kill "$child" 2>/dev/null || true
    done
    [ "$1" = 0 ] || tail -n 20 "$bed"/*.log || true
    rm -rf "$bed"
}

# $1: the address for components, $2: the component's secret.
start_prosody() {
    BED=$bed ADDRESS=$1 CLIENTS=$CLIENTS SECRET=$2 \
        prosody --config tests/image/prosody.cfg.lua -F >"$bed/prosody.out.log" 2>&1 &
    children="$children $!"
}

# Registers; sets $path, where pushes to this phone go.
start_phone() {
    mkfifo "$bed/phone"
    tests/image/phone.py 127.0.0.1 $CLIENTS "juliet@example.org/phone" $COMPONENT \
        >"$bed/phone" 2>"$bed/phone.log" &
    children="$children $!"
    exec 3<"$bed/phone"
    read -r -t 30 word endpoint <&3 || fail "the phone does not register"
    [ "$word" = endpoint ] || fail "the phone says $word"
    path=${endpoint#"https://$COMPONENT"}
    [ "$path" != "$endpoint" ] || fail "the endpoint is $endpoint"
}

push() {
    local status word text
    status=$("${curl[@]}" --data-binary "$1" "$base$path")
    [ "$status" = 201 ] || fail "$1: $status"
    read -r -t 30 word text <&3
    [ "$word $text" = "push $1" ] || fail "the phone got $word $text"
    echo "relayed: $text"
}
