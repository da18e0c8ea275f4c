-- +goose NO TRANSACTION
-- +goose Up
-- What keeps the time of a statement from growing with its table. Nobody waits: indexes are built beside the writers, one
-- after the other, while pods of the previous release work on. Every statement can be repeated; an index that a build has
-- left behind unfinished is dropped first.

-- Users who were deleted and are not erased yet, and what names them.
DROP INDEX CONCURRENTLY IF EXISTS users_to_erase;
CREATE INDEX CONCURRENTLY users_to_erase ON users (deleted_at, id) WHERE deleted_at IS NOT NULL AND erased_at IS NULL;
DROP INDEX CONCURRENTLY IF EXISTS code_requests_of_user;
CREATE INDEX CONCURRENTLY code_requests_of_user ON code_requests (user_id) WHERE user_id IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS audit_of_address;
CREATE INDEX CONCURRENTLY audit_of_address ON audit_entries (lower(address), at) WHERE address IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS audit_reasons;
CREATE INDEX CONCURRENTLY audit_reasons ON audit_entries (at) WHERE reason IS NOT NULL;

-- The row of an event that waits.
DROP INDEX CONCURRENTLY IF EXISTS outbox_of_event;
CREATE INDEX CONCURRENTLY outbox_of_event ON outbox (event_id);

-- Networks that are known are kept for longer than the rest: a purge of the rest must not read them.
DROP INDEX CONCURRENTLY IF EXISTS limits_known_by_age;
CREATE INDEX CONCURRENTLY limits_known_by_age ON limits (last_at) WHERE kind = 'known';
DROP INDEX CONCURRENTLY IF EXISTS limits_tried_by_age;
CREATE INDEX CONCURRENTLY limits_tried_by_age ON limits (last_at) WHERE kind <> 'known';
DROP INDEX CONCURRENTLY IF EXISTS limits_by_age;

-- Trials of whose end nobody has been reminded three days and one day before: the scheduler looks every five seconds.
DROP INDEX CONCURRENTLY IF EXISTS subscriptions_remind_3;
CREATE INDEX CONCURRENTLY subscriptions_remind_3 ON subscriptions (trial_ends_at)
    WHERE status = 'trialing' AND deleted_at IS NULL
        AND (reminded_for IS NULL OR reminded_for <> trial_ends_at OR reminded_days > 3);
DROP INDEX CONCURRENTLY IF EXISTS subscriptions_remind_1;
CREATE INDEX CONCURRENTLY subscriptions_remind_1 ON subscriptions (trial_ends_at)
    WHERE status = 'trialing' AND deleted_at IS NULL
        AND (reminded_for IS NULL OR reminded_for <> trial_ends_at OR reminded_days > 1);

-- A status has an order of its own: among those of another one there are none that end.
DROP INDEX CONCURRENTLY IF EXISTS subscriptions_end_by_status;
CREATE INDEX CONCURRENTLY subscriptions_end_by_status ON subscriptions (status, ends_at)
    WHERE status IN ('active', 'trialing', 'past_due') AND deleted_at IS NULL;
DROP INDEX CONCURRENTLY IF EXISTS subscriptions_end;

-- Rows that have been updated or deleted are vacuumed when they are a twentieth of the table and not a fifth: beyond that
-- statements pass more and more of them. It waits for a vacuum at most, and holds up neither readers nor writers.
ALTER TABLE users SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE code_requests SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE limits SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE sessions SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE subscriptions SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE subscription_versions SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE mail_deliveries SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.05);

-- +goose Down
ALTER TABLE outbox RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE mail_deliveries RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE subscription_versions RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE subscriptions RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE sessions RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE limits RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE code_requests RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE users RESET (autovacuum_vacuum_scale_factor);
DROP INDEX CONCURRENTLY IF EXISTS subscriptions_end;
CREATE INDEX CONCURRENTLY subscriptions_end ON subscriptions (ends_at)
    WHERE status IN ('active', 'trialing', 'past_due') AND deleted_at IS NULL;
DROP INDEX CONCURRENTLY IF EXISTS subscriptions_end_by_status;
DROP INDEX CONCURRENTLY IF EXISTS subscriptions_remind_1;
DROP INDEX CONCURRENTLY IF EXISTS subscriptions_remind_3;
DROP INDEX CONCURRENTLY IF EXISTS limits_by_age;
CREATE INDEX CONCURRENTLY limits_by_age ON limits (last_at);
DROP INDEX CONCURRENTLY IF EXISTS limits_tried_by_age;
DROP INDEX CONCURRENTLY IF EXISTS limits_known_by_age;
DROP INDEX CONCURRENTLY IF EXISTS outbox_of_event;
DROP INDEX CONCURRENTLY IF EXISTS audit_reasons;
DROP INDEX CONCURRENTLY IF EXISTS audit_of_address;
DROP INDEX CONCURRENTLY IF EXISTS code_requests_of_user;
DROP INDEX CONCURRENTLY IF EXISTS users_to_erase;
