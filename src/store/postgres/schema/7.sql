-- A claim looks through the few messages of an account anyway, and finds their leases there. Without an
-- index that a claim changes, PostgreSQL writes the row beside itself and leaves all indexes as they are.
DROP INDEX unified_push_queue_by_lease;
