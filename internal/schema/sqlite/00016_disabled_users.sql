-- +goose Up
-- The same as in postgres/.
ALTER TABLE users ADD COLUMN disabled_at timestamp;
ALTER TABLE users ADD COLUMN disabled_hash text;
ALTER TABLE users ADD COLUMN disabled_active boolean;

-- +goose Down
ALTER TABLE users DROP COLUMN disabled_active;
ALTER TABLE users DROP COLUMN disabled_hash;
ALTER TABLE users DROP COLUMN disabled_at;
