-- An endpoint is accepted for a grace beyond the expiry that its phone was told. These columns hold
-- the end of the grace from now on, and what is there gets the default one of 28 days.
UPDATE unified_push_registrations SET expires = least(expires, 9000000000000000000) + 2419200000;
UPDATE unified_push_revocations SET until = least(until, 9000000000000000000) + 2419200000;
UPDATE unified_push_issuers SET live_until = least(live_until, 9000000000000000000) + 2419200000;
