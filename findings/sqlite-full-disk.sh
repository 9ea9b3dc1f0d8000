#!/bin/sh
# SQLite in WAL mode: on a full disk nothing can be deleted, and no checkpoint gives the log's space back.
#
# One would guess that a queue which has filled its disk is cured by deleting from it: new rows take the
# pages of deleted ones, and a checkpoint empties the log.
#
# In fact a DELETE first has to append the pages that it changes to the log, so it fails with SQLITE_FULL as
# the INSERT did. A checkpoint fails as well: it moves pages into the database file, which would have to
# grow before the log may shrink. Closing and opening again changes nothing. Reading goes on all the
# while, so a health check that only reads finds nothing wrong. A little space from elsewhere, here a
# file kept for the purpose, lets the checkpoint and the DELETE through.
#
# Tested with SQLite 3.54.1 (apsw 3.54.1.0). Mounts a tmpfs in a namespace of its own, as root or where
# user namespaces are allowed.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet apsw==3.54.1.0
mkdir disk
cat >full.py <<'PYTHON'
import os
import sys

import apsw

print("SQLite", apsw.sqlite_lib_version())
with open("disk/kept", "wb") as file:
    file.write(bytes(6 << 20))

def attempt(statement):
    try:
        return next(iter(database.execute(statement)), "done")
    except apsw.FullError:
        return "full"

database = apsw.Connection("disk/queue.db")
database.execute("PRAGMA journal_mode = wal")
database.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, body BLOB)")
while attempt("INSERT INTO message (body) VALUES (zeroblob(1000))") == "done":
    pass

COUNT = "SELECT count(*) FROM message"
DELETE = "DELETE FROM message"
CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"
seen = []

def show(when, *statements):
    for statement in statements:
        seen.append(attempt(statement))
        print(f"{when}: {statement}: {seen[-1]}")

show("full", COUNT, DELETE, CHECKPOINT)
database.close()
database = apsw.Connection("disk/queue.db")
show("opened again", COUNT, DELETE, CHECKPOINT)
os.remove("disk/kept")
show("with the kept file removed", CHECKPOINT, DELETE, CHECKPOINT, COUNT)
rows = seen[0]
done = (0, 0, 0)
sys.exit(rows[0] == 0 or seen != [rows, "full", "full"] * 2 + [done, "done", done, (0,)])
PYTHON
user=
[ "$(id -u)" = 0 ] || user=--map-root-user
unshare $user --mount sh -c \
    'mount -t tmpfs -o size=18m tmpfs disk && exec venv/bin/python full.py' || {
    echo 'the behaviour has changed' >&2
    exit 1
}
