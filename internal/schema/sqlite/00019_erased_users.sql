-- +goose Up
-- The same as in postgres/.
ALTER TABLE users ADD COLUMN erased_at timestamp CHECK (erased_at IS NULL OR deleted_at IS NOT NULL AND username = id
    AND full_name IS NULL AND avatar_url IS NULL AND password_hash IS NULL AND otp IS NULL
    AND disabled_hash IS NULL AND locale IS NULL);

-- +goose Down
ALTER TABLE users DROP COLUMN erased_at;
