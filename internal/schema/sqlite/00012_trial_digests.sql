-- +goose Up
CREATE TABLE trial_digests (
    digest blob PRIMARY KEY -- HMAC with a key that is not in this database
);
CREATE INDEX users_username_deleted ON users (lower(username)) WHERE deleted_at IS NOT NULL;

-- +goose Down
DROP INDEX users_username_deleted;
DROP TABLE trial_digests;
