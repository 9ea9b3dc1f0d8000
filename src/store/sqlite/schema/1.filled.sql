-- A database of schema 1 as `sqlite3 unified-push.db .dump` wrote it, with something in each table.
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE registrations (
    id          BLOB NOT NULL UNIQUE,           -- SHA-256 of the token's random-looking half
    key         BLOB NOT NULL,                  -- the secret that the token rests on
    generation  BLOB NOT NULL,                  -- random, so that a dead URL never comes back
    owner       TEXT NOT NULL,                  -- bare JID
    jid         TEXT NOT NULL,                  -- as it registered, in general a full JID
    application BLOB NOT NULL,
    instance    BLOB NOT NULL,
    issued      INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    revoked     INTEGER NOT NULL DEFAULT 0      -- kept until it expires, for `inspect`
) STRICT;
INSERT INTO registrations VALUES(X'0101010101010101010101010101010101010101010101010101010101010101',X'0101010101010101',X'01010101010101010101010101010101','romeo@example.org','romeo@example.org/orchard',X'0101010101010101010101010101010101010101010101010101010101010101',X'0909090909090909090909090909090909090909090909090909090909090909',1764000000000,1764604800000,1);
INSERT INTO registrations VALUES(X'0202020202020202020202020202020202020202020202020202020202020202',X'0202020202020202',X'02020202020202020202020202020202','juliet@example.org','juliet@example.org/balcony',X'0202020202020202020202020202020202020202020202020202020202020202',X'0909090909090909090909090909090909090909090909090909090909090909',1764000001000,1764604801000,0);
CREATE TABLE revocations (
    owner       TEXT NOT NULL,
    application BLOB NOT NULL,
    instance    BLOB NOT NULL,
    at          INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    UNIQUE (owner, application, instance)
) STRICT;
INSERT INTO revocations VALUES('romeo@example.org',X'0101010101010101010101010101010101010101010101010101010101010101',X'0909090909090909090909090909090909090909090909090909090909090909',1764000005000,1764604801000);
INSERT INTO revocations VALUES('nurse@example.org',X'',X'',1764000006000,1764604801000);
CREATE TABLE issuers (
    key         BLOB NOT NULL UNIQUE,
    live_until  INTEGER NOT NULL
) STRICT;
INSERT INTO issuers VALUES(X'0101010101010101',1764604800000);
INSERT INTO issuers VALUES(X'0202020202020202',1764604801000);
CREATE INDEX registrations_by_owner ON registrations (owner, application, instance, expires)
    WHERE NOT revoked;
CREATE INDEX registrations_by_expiry ON registrations (expires);
CREATE INDEX revocations_by_until ON revocations (until);
COMMIT;
PRAGMA user_version = 1;
