-- +goose Up
-- The indexes of postgres/: SQLite changes a row where it is.
CREATE INDEX outbox_by_key ON outbox (seal_key) WHERE failed_at IS NULL AND seal_key IS NOT NULL;
CREATE INDEX legacy_mails_by_key ON legacy_mails (seal_key) WHERE failed_at IS NULL AND seal_key IS NOT NULL;

-- +goose Down
DROP INDEX legacy_mails_by_key;
DROP INDEX outbox_by_key;
