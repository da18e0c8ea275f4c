-- +goose NO TRANSACTION
-- +goose Up
-- A relay leases each row before it publishes it. Where the page of a row has room for the leased one no index changes. It
-- waits for a vacuum at most, and holds up neither readers nor writers; rows that are there stay where they are.
ALTER TABLE outbox SET (fillfactor = 50);

-- Rows that a relay cannot open are looked for every ten seconds, between the keys that it has. As in 00022 nobody waits, and
-- every statement can be repeated.
DROP INDEX CONCURRENTLY IF EXISTS outbox_by_key;
CREATE INDEX CONCURRENTLY outbox_by_key ON outbox (seal_key) WHERE failed_at IS NULL AND seal_key IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS legacy_mails_by_key;
CREATE INDEX CONCURRENTLY legacy_mails_by_key ON legacy_mails (seal_key) WHERE failed_at IS NULL AND seal_key IS NOT NULL;

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS legacy_mails_by_key;
DROP INDEX CONCURRENTLY IF EXISTS outbox_by_key;
ALTER TABLE outbox RESET (fillfactor);
