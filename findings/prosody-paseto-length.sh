#!/bin/sh
# Prosody 13: its PASETO tokens are standard up to 127 bytes of claims, and another format from there on.
#
# One would guess that a `v3.local` token is opened by any PASETO library which has the key, or by none.
#
# In fact Prosody keeps only the lower 7 bits of each length that goes into the authentication tag, where
# the specification clears only the highest of 64. Below 128 bytes of claims the two agree. From there on,
# where the claims of a UnifiedPush endpoint are, each side takes the other's tokens for forged, though
# the key is right. A program that takes over Prosody's endpoints has to know both tags, and a test with
# short claims does not show it.
#
# Tested with Prosody 13.0.1 (of Debian 12's backports) and pyseto 1.10.0.
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
need /usr/bin/lua5.4 lua5.4
install_packages

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cd "$work"

# Debian 12 has Prosody 13 in its backports, which few machines have among their sources: they are asked
# for here alone, from the mirror that this machine uses.
mkdir -p apt/lists/partial apt/cache/archives/partial
# shellcheck disable=SC2016 # apt's own variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Codename: bookworm' | head -1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm-backports main" >apt/sources.list
for command in update 'download prosody'; do
    # shellcheck disable=SC2086 # a command and its argument
    apt-get -q -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" $command >apt.log 2>&1 || {
        cat apt.log
        exit 1
    }
done
ls prosody_*.deb
dpkg -x prosody_*.deb unpacked
mkdir lua
ln -s "$work/unpacked/usr/lib/prosody" lua/prosody
python3 -m venv venv
venv/bin/pip install --quiet pyseto==1.10.0

cat >prosody.lua <<'LUA'
local key = "secret-token:paseto.v3.local:" .. ("0"):rep(64)
local sign, verify = require "prosody.util.paseto".v3_local.init(key)
if arg[1] == "sign" then
    print(sign({ sub = arg[2] }))
else
    local claims, problem = verify(arg[2])
    print(claims and "opened" or problem)
end
LUA
cat >pyseto.run.py <<'PYTHON'
import sys
import pyseto

key = pyseto.Key.new(version=3, purpose="local", key=bytes(32))
if sys.argv[1] == "sign":
    print(pyseto.encode(key, b'{"sub":"%s"}' % sys.argv[2].encode()).decode())
else:
    try:
        pyseto.decode(key, sys.argv[2])
        print("opened")
    except pyseto.PysetoError as error:
        print(error)
PYTHON
prosody() {
    LUA_PATH="lua/?.lua" LUA_CPATH="lua/?.so" lua5.4 prosody.lua "$@"
}
pyseto() {
    venv/bin/python pyseto.run.py "$@"
}

failed=
# {"sub":""} makes 10 bytes of the claims.
for length in 127 128; do
    subject=$(printf "%$((length - 10))s" '' | tr ' ' a)
    for from in prosody pyseto; do
        token=$($from sign "$subject")
        for to in prosody pyseto; do
            said=$($to open "$token")
            echo "$length bytes of claims, from $from to $to: $said"
            expected=opened
            [ $length = 127 ] || [ $from = $to ] || expected=
            case $said in
            opened) [ "$expected" = opened ] || failed=yes ;;
            *) [ -z "$expected" ] || failed=yes ;;
            esac
        done
    done
done
[ -z "$failed" ] || {
    echo 'the behaviour has changed' >&2
    exit 1
}
