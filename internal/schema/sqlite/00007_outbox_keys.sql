-- +goose Up
ALTER TABLE outbox ADD COLUMN seal_key text;
ALTER TABLE legacy_mails ADD COLUMN seal_key text;
CREATE INDEX outbox_due_rejected ON outbox (available_at, id) WHERE failed_at IS NULL AND last_error = 'rejected';

-- +goose Down
DROP INDEX outbox_due_rejected;
ALTER TABLE legacy_mails DROP COLUMN seal_key;
ALTER TABLE outbox DROP COLUMN seal_key;
