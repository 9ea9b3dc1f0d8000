-- From where `store copy` brings what is here; a row until it is all here.
CREATE TABLE copy (
    source      TEXT NOT NULL
) STRICT;
