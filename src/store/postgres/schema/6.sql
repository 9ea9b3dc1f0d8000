-- So many of each account are kept.
CREATE INDEX unified_push_registrations_revoked
    ON unified_push_registrations (owner, issued) WHERE revoked;
