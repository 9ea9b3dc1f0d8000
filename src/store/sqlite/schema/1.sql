-- Times are milliseconds since the Unix epoch.

-- Registrations of the back end "storage". No bearer lies here: a token is recomputed from its
-- row and the secret.
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

-- Without the revoked, so that an account cannot make its own look-ups slow.
CREATE INDEX registrations_by_owner ON registrations (owner, application, instance, expires)
    WHERE NOT revoked;
CREATE INDEX registrations_by_expiry ON registrations (expires);

-- What was revoked before its time, for every back end. An empty application and instance stand
-- for all of the owner's.
CREATE TABLE revocations (
    owner       TEXT NOT NULL,
    application BLOB NOT NULL,
    instance    BLOB NOT NULL,
    at          INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    UNIQUE (owner, application, instance)
) STRICT;

CREATE INDEX revocations_by_until ON revocations (until);

-- The secrets that issued tokens, and until when some of these may live.
CREATE TABLE issuers (
    key         BLOB NOT NULL UNIQUE,
    live_until  INTEGER NOT NULL
) STRICT;
