#!/bin/sh
# PostgreSQL: with many rows waiting, a queue's 1 ms statement is compiled each time it runs, and takes 20 ms.
#
# A queue for many receivers asks for the next rows of some hundred of them with one statement, which reads
# a few rows of each by an index. One would guess that the JIT compiler, which is on by default, leaves it
# alone, as it is meant for statements that work for seconds; or that a prepared statement is compiled once.
#
# In fact the estimated cost decides before anything has run. Each subquery counts for every receiver with an
# average backlog, those in a branch of a CASE that is never taken included, so some hundred thousand rows that
# wait for others take the sum past jit_above_cost. Then all expressions are compiled, those of that branch
# too, and what was compiled is thrown away when the execution ends, also that of a prepared statement with
# a generic plan. So a backlog makes a queue slow just when it has to be fast. `SET jit = off` on the
# queue's connections ends it.
#
# Tested with PostgreSQL 15.18 (Debian 12). As root.
set -eu
cd "$(dirname "$0")/.."

. tests/packages.sh
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
need "$initdb" postgresql
install_packages
for initdb in /usr/lib/postgresql/*/bin/initdb; do :; done
bin=${initdb%/initdb}

work=$(mktemp -d)
chmod 755 "$work"
user='setpriv --reuid postgres --regid postgres --clear-groups'
stop() {
    $user "$bin/pg_ctl" --pgdata "$work/data" --mode immediate stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
mkdir data
chown postgres data
$user "$bin/initdb" --pgdata data --username postgres --auth trust --no-locale --encoding UTF8 >initdb.log
: >server.log
chown postgres server.log
$user "$bin/pg_ctl" --pgdata data --log server.log --wait start --options \
    "-c listen_addresses= -c unix_socket_directories=$work/data" >/dev/null
sql() {
    "$bin/psql" --host "$work/data" --username postgres --quiet --no-align --tuples-only \
        --set ON_ERROR_STOP=1 "$@"
}
"$bin/postgres" --version
[ "$(sql --command 'SELECT pg_jit_available()')" = t ] || { echo "this PostgreSQL has no JIT compiler" >&2; exit 1; }
echo "jit is $(sql --command 'SHOW jit') by default"

sql <<'SQL'
CREATE TABLE queue (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receiver int NOT NULL,
    urgency int NOT NULL,
    arrived bigint NOT NULL,
    expires bigint NOT NULL,
    held_until bigint NOT NULL,
    claimed_until bigint NOT NULL DEFAULT 0,
    payload bytea NOT NULL
);
-- A backlog of 700,000 rows for 200 receivers, and 5 rows for each of 150 others.
INSERT INTO queue (receiver, urgency, arrived, expires, held_until, payload)
    SELECT CASE WHEN n <= 700000 THEN 1000 + n % 200 ELSE n % 150 END,
        n % 4, n, 1000000, 0, decode(repeat('ab', 200), 'hex')
    FROM generate_series(1, 700750) AS n;
CREATE INDEX ON queue (receiver, urgency DESC, arrived, number);
VACUUM ANALYZE queue;
SQL

# The first row of each of 150 receivers, whether one is claimed, and when the next is free. Whoever has
# more than 128 rows is looked at by an index in another way; none of these has.
cat >claim.sql <<'SQL'
PREPARE claim (int[], bigint) AS
SELECT receiver,
    CASE WHEN many <= 128 THEN first
        ELSE (SELECT number FROM queue WHERE queue.receiver = asked.receiver AND held_until <= $2
            ORDER BY urgency DESC, arrived, number LIMIT 1) END,
    CASE WHEN many <= 128 THEN claimed
        ELSE (SELECT max(claimed_until) FROM queue
            WHERE queue.receiver = asked.receiver AND claimed_until > $2) END,
    CASE WHEN many <= 128 THEN free
        ELSE (SELECT min(held_until) FROM queue WHERE queue.receiver = asked.receiver) END
FROM unnest($1) AS asked (receiver)
    CROSS JOIN LATERAL (
        SELECT count(*) AS many, max(claimed_until) AS claimed, min(held_until) AS free,
            (array_agg(number ORDER BY urgency DESC, arrived, number))[1] AS first
        FROM (SELECT * FROM queue WHERE queue.receiver = asked.receiver LIMIT 129) AS few) AS few;
SQL
receivers=$(seq --separator=, 0 149)
run() {
    {
        echo "SET jit = $1; SET plan_cache_mode = force_generic_plan;"
        cat claim.sql
        for _ in 1 2 3 4 5; do
            echo "EXPLAIN (ANALYZE, TIMING off) EXECUTE claim ('{$receivers}', 1000);"
        done
    } | sql >"plan.$1"
}
run off
run on
last() {
    grep "$2" "plan.$1" | tail -n 1
}
off=$(last off '^Execution Time' | tr -dc '0-9.')
on=$(last on '^Execution Time' | tr -dc '0-9.')
echo "cost estimated: $(head -n 1 plan.on | sed 's/.*\.\.\([0-9.]*\) .*/\1/')"
echo "jit off: fifth run $off ms"
echo "jit on:  fifth run $on ms, of which most to compile $(last on '^ *Functions:' | tr -dc 0-9) functions"
python3 - "$off" "$on" "$(grep -c '^JIT:' plan.on)" <<'PYTHON'
import sys

off, on, compiled = map(float, sys.argv[1:])
assert compiled == 5, "compiled for each of the five runs"
assert on > 5 * off, "most of the time goes into compiling"
PYTHON
echo "As described: the prepared statement was compiled for each of its five runs."
