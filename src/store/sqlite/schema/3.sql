-- An endpoint is accepted for a grace beyond the expiry that its phone was told. These columns hold
-- the end of the grace from now on, and what is there gets the default one of 28 days.
UPDATE registrations SET expires = min(expires, 9000000000000000000) + 2419200000;
UPDATE revocations SET until = min(until, 9000000000000000000) + 2419200000;
UPDATE issuers SET live_until = min(live_until, 9000000000000000000) + 2419200000;
