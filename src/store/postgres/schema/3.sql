-- The only key that may sign messages to the endpoint, as a hash; NULL: nobody has to.
ALTER TABLE unified_push_registrations ADD COLUMN signer bytea;
