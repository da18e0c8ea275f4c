-- +goose NO TRANSACTION
-- +goose Up
-- The queues that send mail and that a person has paused. A row is deleted when they are resumed. Every statement can be
-- repeated.
CREATE TABLE IF NOT EXISTS lane_pauses (
    queue     text PRIMARY KEY,
    paused_by text NOT NULL, -- as they call themselves
    reason    text NOT NULL, -- '': not said
    since     timestamptz NOT NULL
);

-- The record is searched by who did it on the command line, and by what it was done to. Nobody waits: an index is built beside
-- the writers, and one that a build has left behind unfinished is dropped first.
DROP INDEX CONCURRENTLY IF EXISTS audit_by_operator;
CREATE INDEX CONCURRENTLY audit_by_operator ON audit_entries (operator, at, id) WHERE operator IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS audit_of_subject;
CREATE INDEX CONCURRENTLY audit_of_subject ON audit_entries (subject_id, at, id) WHERE subject_id IS NOT NULL;

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS audit_of_subject;
DROP INDEX CONCURRENTLY IF EXISTS audit_by_operator;
DROP TABLE IF EXISTS lane_pauses;
