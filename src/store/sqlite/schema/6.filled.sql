-- A database of schema 6 as `sqlite3 unified-push.db .dump` wrote it, with something in each table.
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE issuers (
    key         BLOB NOT NULL UNIQUE,
    live_until  INTEGER NOT NULL
) STRICT;
INSERT INTO issuers VALUES(X'0101010101010101',1767024000000);
INSERT INTO issuers VALUES(X'0202020202020202',1767024001000);
CREATE TABLE queue (
    seq         INTEGER PRIMARY KEY,            -- in the order in which they were stored
    key         BLOB NOT NULL UNIQUE,           -- what the ids of its stanzas carry
    id          BLOB NOT NULL UNIQUE,           -- of its message resource
    account     TEXT NOT NULL,                  -- bare JID
    owner       TEXT NOT NULL,                  -- where it goes, in general a full JID
    application BLOB NOT NULL,
    instance    BLOB NOT NULL,
    issued      INTEGER NOT NULL,               -- the registration's
    registration_expires INTEGER NOT NULL,
    topic       TEXT,
    urgency     INTEGER NOT NULL,               -- 0, very low, to 3, high
    payload     BLOB NOT NULL,
    arrived     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,               -- how often it was sent
    sent        INTEGER,                        -- when last
    held_until  INTEGER NOT NULL,
    claimed_until INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO queue VALUES(1,X'01010101010101010101010101010101',X'02020202020202020202020202020202','juliet@example.org','juliet@example.org/balcony',X'0202020202020202020202020202020202020202020202020202020202020202',X'0909090909090909090909090909090909090909090909090909090909090909',1764000001000,1764604801000,'news',2,X'7061796c6f6164',1764000010000,1764086410000,1,1764000011000,1764000911000,0);
CREATE TABLE queue_totals (
    messages    INTEGER NOT NULL,
    bytes       INTEGER NOT NULL                -- of the payloads, and 512 for each message
) STRICT;
INSERT INTO queue_totals VALUES(1,519);
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
, signer BLOB) STRICT;
INSERT INTO registrations VALUES(X'0101010101010101010101010101010101010101010101010101010101010101',X'0101010101010101',X'01010101010101010101010101010101','romeo@example.org','romeo@example.org/orchard',X'0101010101010101010101010101010101010101010101010101010101010101',X'0909090909090909090909090909090909090909090909090909090909090909',1764000000000,1767024000000,1,NULL);
INSERT INTO registrations VALUES(X'0202020202020202020202020202020202020202020202020202020202020202',X'0202020202020202',X'02020202020202020202020202020202','juliet@example.org','juliet@example.org/balcony',X'0202020202020202020202020202020202020202020202020202020202020202',X'0909090909090909090909090909090909090909090909090909090909090909',1764000001000,1767024001000,0,X'07070707070707070707070707070707');
CREATE TABLE revocations (
    owner       TEXT NOT NULL,
    application BLOB NOT NULL,
    instance    BLOB NOT NULL,
    at          INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    UNIQUE (owner, application, instance)
) STRICT;
INSERT INTO revocations VALUES('romeo@example.org',X'0101010101010101010101010101010101010101010101010101010101010101',X'0909090909090909090909090909090909090909090909090909090909090909',1764000005000,1767024001000);
INSERT INTO revocations VALUES('nurse@example.org',X'',X'',1764000006000,1767024001000);
CREATE TABLE clock (
    kept        TEXT NOT NULL
) STRICT;
INSERT INTO clock VALUES('{"now":1764000000000,"wall":1764000000000,"since_boot":{"secs":1000,"nanos":0},"boot":"1","steps":[{"since":0,"lead":0}]}');
CREATE TABLE copy (
    source      TEXT NOT NULL
) STRICT;
INSERT INTO copy VALUES('the store in the state directory');
CREATE INDEX registrations_by_owner ON registrations (owner, application, instance, expires)
    WHERE NOT revoked;
CREATE INDEX registrations_by_expiry ON registrations (expires);
CREATE INDEX revocations_by_until ON revocations (until);
CREATE INDEX queue_by_owner ON queue (owner, urgency DESC, arrived, seq, expires, held_until);
CREATE INDEX queue_by_endpoint
    ON queue (account, application, instance, urgency, arrived, seq, expires);
CREATE UNIQUE INDEX queue_by_topic ON queue (account, application, instance, topic)
    WHERE topic IS NOT NULL;
CREATE INDEX queue_by_expiry ON queue (expires);
CREATE INDEX queue_claimed ON queue (owner, claimed_until) WHERE claimed_until > 0;
CREATE TRIGGER queue_grows AFTER INSERT ON queue BEGIN
    UPDATE queue_totals SET messages = messages + 1, bytes = bytes + 512 + length(new.payload);
END;
CREATE TRIGGER queue_shrinks AFTER DELETE ON queue BEGIN
    UPDATE queue_totals SET messages = messages - 1, bytes = bytes - 512 - length(old.payload);
END;
COMMIT;
PRAGMA user_version = 6;
