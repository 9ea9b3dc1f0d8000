-- So many of each account are kept.
CREATE INDEX registrations_revoked ON registrations (owner, issued) WHERE revoked;
