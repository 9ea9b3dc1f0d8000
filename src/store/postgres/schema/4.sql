-- Messages come and go: what they leave is taken away before it makes claims slow, however large the
-- table is, and without the pauses that spare others.
ALTER TABLE unified_push_queue SET (
    fillfactor = 80,                            -- a claim writes its row again, beside itself
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_analyze_threshold = 1000
);
-- One row, which every revocation writes.
ALTER TABLE unified_push_changes SET (
    fillfactor = 10,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 200
);
