-- The daemon's own time, for its next start: one row, as JSON.
CREATE TABLE clock (
    kept        TEXT NOT NULL
) STRICT;
