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
INSERT INTO registrations VALUES(X'ac106de70e989dc12c61068bfccedc7d7ee82bc3c7259a29b536c7e8d5c35d21',X'43578eee4a1c4112',X'3993a74c93e2c4d2781cc6cdcb13e19d','juliet@example.org','juliet@example.org/phone',X'9eb6320543b4177e688a50ab5955acd95a6ddc63f20d6ef844cbc55f281b9a53',X'80e6d7164055bd84f4605086f92acdb03f4c2d350f2070545ba3f3aa58ec26be',1795842508143,4949442508000,0);
INSERT INTO registrations VALUES(X'c3aded1ff1f82446f9844c62e17f4d495efedad5efeb06ccf4789f72958eca0f',X'43578eee4a1c4112',X'3e40826e662f0d6d8849aca88804a4ef','romeo@example.org','romeo@example.org/phone',X'db945cccccc0da206b0adb4927c0aa44b7d300c96d4f6d0c45f78162e2549ab5',X'd1447c966b919066e8d6a8d586d7cf159e96ffc0fcdd4d212719844cd0e12ce4',1795842508156,4949442508000,1);
CREATE TABLE revocations (
    owner       TEXT NOT NULL,
    application BLOB NOT NULL,
    instance    BLOB NOT NULL,
    at          INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    UNIQUE (owner, application, instance)
) STRICT;
INSERT INTO revocations VALUES('romeo@example.org',X'706930571642497b1ba7e2c54f6fa49b4ea41d02643b3c2cd4b4bbc964606dc6',X'd1447c966b919066e8d6a8d586d7cf159e96ffc0fcdd4d212719844cd0e12ce4',1795842507721,4949528907000);
INSERT INTO revocations VALUES('romeo@example.org',X'9753bc0bb37d27b96881a07661bffef5e029b9a14b8a04eacab5d9ac3454610a',X'd1447c966b919066e8d6a8d586d7cf159e96ffc0fcdd4d212719844cd0e12ce4',1795842507919,4949528907000);
INSERT INTO revocations VALUES('romeo@example.org',X'db945cccccc0da206b0adb4927c0aa44b7d300c96d4f6d0c45f78162e2549ab5',X'd1447c966b919066e8d6a8d586d7cf159e96ffc0fcdd4d212719844cd0e12ce4',1795842508156,4949528908000);
CREATE TABLE issuers (
    key         BLOB NOT NULL UNIQUE,
    live_until  INTEGER NOT NULL
) STRICT;
INSERT INTO issuers VALUES(X'5da1f06c71e4e7be',4949528907000);
INSERT INTO issuers VALUES(X'43578eee4a1c4112',4949528908000);
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
INSERT INTO queue VALUES(1,X'41b8fa34e311e1eed75c1f1a7a2812b5',X'0e57c6a1921c04484034f2743f941719','juliet@example.org','juliet@example.org/phone',X'd32e704202076e28799a9275f734b16c86ca59497a80c5e2ff199f3dbed9661a',X'80e6d7164055bd84f4605086f92acdb03f4c2d350f2070545ba3f3aa58ec26be',1795842507598,4949442507000,NULL,2,X'7468697320776169747320666f722070617365746f2d756e6465722d7468652d70726576696f75732d736563726574',1795842508391,3943326156391,1,1795842508391,0,0);
INSERT INTO queue VALUES(2,X'1b8b8987658c7a7cad9472306e0af1c8',X'b175808e1c7b846f33ec6b235cacff52','juliet@example.org','juliet@example.org/phone',X'51f52bc59eec21cd88e7a2b85be6bdb6fc5cbead849bac4a86560ca3c086fd56',X'80e6d7164055bd84f4605086f92acdb03f4c2d350f2070545ba3f3aa58ec26be',1795842507709,4949442507000,NULL,2,X'7468697320776169747320666f722070617365746f',1795842508417,3943326156417,0,NULL,0,0);
INSERT INTO queue VALUES(3,X'c64a6758e8e4cc82d60d2d357af851d8',X'60ad10fef6ae1e2b867c5166456910c8','juliet@example.org','juliet@example.org/phone',X'56689314dc7af8809fd2543a572fef001a39923e815f0e5f3dba01de890e8b67',X'80e6d7164055bd84f4605086f92acdb03f4c2d350f2070545ba3f3aa58ec26be',1795842507917,4949442507000,NULL,2,X'7468697320776169747320666f72206a7774',1795842508426,3943326156426,0,NULL,0,0);
INSERT INTO queue VALUES(4,X'57d100923a552331c39f1c7ba90a6369',X'8574dfe75dc33a28fec81b83e356a21d','juliet@example.org','juliet@example.org/phone',X'9eb6320543b4177e688a50ab5955acd95a6ddc63f20d6ef844cbc55f281b9a53',X'80e6d7164055bd84f4605086f92acdb03f4c2d350f2070545ba3f3aa58ec26be',1795842508143,4949442508000,NULL,2,X'7468697320776169747320666f722073746f72616765',1795842508430,3943326156430,0,NULL,0,0);
CREATE TABLE queue_totals (
    messages    INTEGER NOT NULL,
    bytes       INTEGER NOT NULL                -- of the payloads, and 512 for each message
) STRICT;
INSERT INTO queue_totals VALUES(4,2156);
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
PRAGMA user_version = 2;
