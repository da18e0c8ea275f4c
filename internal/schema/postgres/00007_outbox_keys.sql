-- +goose Up
-- Which key a row was sealed with, so that a process with another one leaves it alone; and the rows that the broker
-- refuses, which a relay claims apart from all others. Adding a column locks both tables for an instant; building the
-- index holds up inserts into the outbox while its rows are read, milliseconds for thousands.
ALTER TABLE outbox ADD COLUMN seal_key text;
ALTER TABLE legacy_mails ADD COLUMN seal_key text;
CREATE INDEX outbox_due_rejected ON outbox (available_at, id) WHERE failed_at IS NULL AND last_error = 'rejected';

-- +goose Down
DROP INDEX outbox_due_rejected;
ALTER TABLE legacy_mails DROP COLUMN seal_key;
ALTER TABLE outbox DROP COLUMN seal_key;
