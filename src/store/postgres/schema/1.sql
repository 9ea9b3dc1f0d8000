-- Times are milliseconds since the Unix epoch. Texts compare by their bytes, as in SQLite.

-- Registrations of the back end "storage". No bearer lies here: a token is recomputed from its
-- row and the secret.
CREATE TABLE unified_push_registrations (
    number      bigint GENERATED ALWAYS AS IDENTITY,    -- the order of insertion
    id          bytea PRIMARY KEY,              -- SHA-256 of the token's random-looking half
    key         bytea NOT NULL,                 -- the secret that the token rests on
    generation  bytea NOT NULL,                 -- random, so that a dead URL never comes back
    owner       text COLLATE "C" NOT NULL,      -- bare JID
    jid         text COLLATE "C" NOT NULL,      -- as it registered, in general a full JID
    application bytea NOT NULL,
    instance    bytea NOT NULL,
    issued      bigint NOT NULL,
    expires     bigint NOT NULL,
    revoked     boolean NOT NULL DEFAULT false  -- kept until it expires, for `inspect`
);

-- Without the revoked, so that an account cannot make its own look-ups slow.
CREATE INDEX unified_push_registrations_by_owner
    ON unified_push_registrations (owner, application, instance, expires) WHERE NOT revoked;
CREATE INDEX unified_push_registrations_by_expiry ON unified_push_registrations (expires);

-- What was revoked before its time, for every back end. An empty application and instance stand
-- for all of the owner's.
CREATE TABLE unified_push_revocations (
    owner       text COLLATE "C" NOT NULL,
    application bytea NOT NULL,
    instance    bytea NOT NULL,
    at          bigint NOT NULL,
    until       bigint NOT NULL,
    PRIMARY KEY (owner, application, instance)
);

CREATE INDEX unified_push_revocations_by_until ON unified_push_revocations (until);

-- The secrets that issued tokens, and until when some of these may live.
CREATE TABLE unified_push_issuers (
    key         bytea PRIMARY KEY,
    live_until  bigint NOT NULL
);

-- One row: how often revocations or issuers have changed.
CREATE TABLE unified_push_changes (
    changes     bigint NOT NULL
);
INSERT INTO unified_push_changes VALUES (0);

-- Messages that wait for their phones.
CREATE TABLE unified_push_queue (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,    -- the order of insertion
    key         bytea NOT NULL UNIQUE,          -- stanzas carry it
    id          bytea NOT NULL UNIQUE,          -- the message resource's
    account     text COLLATE "C" NOT NULL,      -- bare JID
    application bytea NOT NULL,
    instance    bytea NOT NULL,
    owner       text COLLATE "C" NOT NULL,      -- where it goes, in general a full JID
    owner_key   bytea NOT NULL,                 -- its bytes; an index takes no JID of 3071
    issued      bigint NOT NULL,                -- when the phone last registered
    registration_expires bigint NOT NULL,
    topic       text COLLATE "C",
    urgency     smallint NOT NULL,              -- from 0, very low, to 3, high
    payload     bytea NOT NULL,
    arrived     bigint NOT NULL,
    expires     bigint NOT NULL,
    attempts    integer NOT NULL DEFAULT 0,
    sent        bigint,                         -- the last attempt
    held_until  bigint NOT NULL,
    claimed_until bigint NOT NULL DEFAULT 0     -- a lease, which ends by itself
);

-- Payloads are encrypted by their senders: to compress them is in vain.
ALTER TABLE unified_push_queue ALTER COLUMN payload SET STORAGE EXTERNAL;

CREATE UNIQUE INDEX unified_push_queue_by_topic
    ON unified_push_queue (account, application, instance, topic) WHERE topic IS NOT NULL;
-- What gives way first.
CREATE INDEX unified_push_queue_by_endpoint
    ON unified_push_queue (account, application, instance, urgency, arrived, number);
-- What is sent first.
CREATE INDEX unified_push_queue_by_owner
    ON unified_push_queue (owner_key, urgency DESC, arrived, number);
CREATE INDEX unified_push_queue_by_lease
    ON unified_push_queue (owner_key, claimed_until) WHERE claimed_until > 0;
CREATE INDEX unified_push_queue_by_expiry ON unified_push_queue (expires);
