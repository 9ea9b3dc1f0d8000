#!/bin/sh
# The long run of the crash harness: tests/long.sh [HOURS [WORD]]. Pieces of 15 minutes (PIECE seconds, if
# that is set) follow each other until they add up to HOURS, or to 6. They go through servers, stores and
# numbers of daemons, each with all faults and then with those that leave the daemons' processes alone, in
# which memory and descriptors must not grow. A WORD, such as ejabberd, picks the pieces that have it; calls
# with different words can go on side by side. What was done is in target/long/WORD.ledger: the next call
# goes on from there. The number of a piece is its seed. Nothing may be compiled here meanwhile. After
# ./test.sh, which installs the servers.
set -eu
cd "$(dirname "$0")/.."
hours=${1:-6}
word=${2:-all}
piece=${PIECE:-900}

setups='prosody sqlite 1
ejabberd sqlite 1
prosody postgres 2
ejabberd postgres 2
ejabberd postgres 3'
[ "$word" = all ] || setups=$(echo "$setups" | grep --word-regexp --fixed-strings -e "$word")
count=$(echo "$setups" | wc --lines)
mkdir -p target/long
ledger=target/long/$word.ledger
touch "$ledger"

# What a report says, for a line of the ledger: of several daemons, the slopes of each, and none of
# processes that were too young.
figures() {
    awk '/ faults in .* s$/ { faults = $(NF - 4); seconds = $(NF - 1) }
        $1 " " $2 == "answered 201" { accepted = $3 }
        $1 == "lost" { lost = $2 }
        $1 == "KiB" && $NF == "hour" { memory = memory "," $(NF - 2) }
        $1 == "descriptors" && $NF == "hour" { descriptors = descriptors "," $(NF - 2) }
        END {
            print seconds + 0, faults + 0, accepted + 0, lost + 0,
                memory ? substr(memory, 2) : "-", descriptors ? substr(descriptors, 2) : "-"
        }' "$1"
}
table() {
    { echo "commit seed server store daemons faults s faults 201 lost KiB/h descriptors/h"; cat "$ledger"; } |
        awk '{ printf "%-16s %4s %-8s %-8s %7s %-7s %5s %6s %7s %4s %-26s %-18s %s\n",
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 }'
}
# Of the pieces that passed: how many, their seconds, faults and pushes.
sums() {
    awk '$NF == "passed" { pieces++; seconds += $7; faults += $8; accepted += $9; lost += $10 }
        END { print pieces + 0, seconds + 0, faults + 0, accepted + 0, lost + 0 }' "$ledger"
}
# One piece's slope is mostly chance; the mean of many says more.
means() {
    awk '$NF == "passed" && $11 != "-" {
            daemons = split($11, memory, ","); split($12, descriptors, ",")
            for (i = 1; i <= daemons; i++) { count++; kib += memory[i]; open += descriptors[i] }
        }
        END { if (count) printf "lasting processes: %d, with mean slopes of %+.1f KiB and %+.1f descriptors an hour\n",
            count, kib / count, open / count }' "$ledger"
}

cargo test --locked --quiet --test faults --no-run
while
    # shellcheck disable=SC2046 # five words
    set -- $(sums)
    [ "$2" -lt $((hours * 3600)) ]
do
    number=$1
    seed=$((number + 1))
    echo "== piece $seed; $(($2 / 60)) of $((hours * 60)) minutes are done"
    # shellcheck disable=SC2046 # three words
    set -- $(echo "$setups" | sed -n "$((number / 2 % count + 1))p")
    faults=all lasting=
    [ $((number % 2)) = 0 ] || faults=lasting lasting=--lasting
    log=target/long/$word-$seed.log
    result=passed
    # shellcheck disable=SC2086 # an option or none
    cargo test --locked --quiet --test faults -- --on "$1" --store "$2" --replicas "$3" \
        --seconds "$piece" --seed $seed $lasting >"$log" 2>&1 || result=FAILED
    echo "$(git describe --always --dirty) $seed $* $faults $(figures "$log") $result" >>"$ledger"
    tail -n 1 "$ledger"
    if [ $result = FAILED ]; then
        echo "FAILED: seed $seed, see $log" >&2
        exit 1
    fi
done
table
means
echo "$1 pieces passed: $2 s, $3 faults, $4 pushes accepted, $5 lost"
