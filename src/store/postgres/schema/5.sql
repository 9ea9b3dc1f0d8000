-- From where `store copy` brings what is here; a row until it is all here.
CREATE TABLE unified_push_copy (
    source      text NOT NULL
);

-- By how much the time that all here is dated by is ahead of this server's clock, and was, as JSON. No
-- row: it never was.
CREATE TABLE unified_push_clock (
    leads       text NOT NULL
);
