-- Messages that were accepted and that no phone has acknowledged yet.
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

-- What there is to send, most urgent and oldest first; the last two columns spare a look at the row.
CREATE INDEX queue_by_owner ON queue (owner, urgency DESC, arrived, seq, expires, held_until);
-- What counts against the caps, in the order in which it gives way.
CREATE INDEX queue_by_endpoint
    ON queue (account, application, instance, urgency, arrived, seq, expires);
CREATE UNIQUE INDEX queue_by_topic ON queue (account, application, instance, topic)
    WHERE topic IS NOT NULL;
CREATE INDEX queue_by_expiry ON queue (expires);
CREATE INDEX queue_claimed ON queue (owner, claimed_until) WHERE claimed_until > 0;

-- The sums over the queue, which are needed for each message: one row, kept by the triggers.
CREATE TABLE queue_totals (
    messages    INTEGER NOT NULL,
    bytes       INTEGER NOT NULL                -- of the payloads, and 512 for each message
) STRICT;

INSERT INTO queue_totals VALUES (0, 0);

CREATE TRIGGER queue_grows AFTER INSERT ON queue BEGIN
    UPDATE queue_totals SET messages = messages + 1, bytes = bytes + 512 + length(new.payload);
END;

CREATE TRIGGER queue_shrinks AFTER DELETE ON queue BEGIN
    UPDATE queue_totals SET messages = messages - 1, bytes = bytes - 512 - length(old.payload);
END;
