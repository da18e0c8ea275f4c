-- +goose Up
-- The same as in postgres/.
ALTER TABLE users ADD COLUMN disabled_at timestamp CHECK (disabled_at IS NULL
    OR is_active IS NOT TRUE AND password_hash IS NULL AND otp IS NULL);
ALTER TABLE users ADD COLUMN disabled_hash text;
ALTER TABLE users ADD COLUMN disabled_active boolean;

-- +goose Down
ALTER TABLE users DROP COLUMN disabled_active;
ALTER TABLE users DROP COLUMN disabled_hash;
ALTER TABLE users DROP COLUMN disabled_at;
