-- +goose Up
-- The same as in postgres/.
CREATE TABLE sessions (
    id           text PRIMARY KEY, -- uuid v7
    user_id      text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    remember     boolean NOT NULL,
    device_name  text NOT NULL, -- '' when the client did not say
    user_agent   text NOT NULL,
    ip_address   text NOT NULL, -- '' when not known
    network      text NOT NULL,
    created_at   timestamp NOT NULL,
    last_seen_at timestamp NOT NULL, -- written once a minute at most
    expires_at   timestamp NOT NULL, -- the end, at the latest
    newest_iat   timestamp NOT NULL, -- of its tokens that have been presented
    ended_at     timestamp
);
CREATE INDEX sessions_of_user ON sessions (user_id, last_seen_at);
CREATE INDEX sessions_by_age ON sessions (last_seen_at);

-- Tokens without `sid` that were logged out before they expired. The phase complete takes no such token.
CREATE TABLE ended_tokens (
    user_id    text NOT NULL,
    jti        text NOT NULL,
    expires_at timestamp NOT NULL,
    PRIMARY KEY (user_id, jti)
);

-- +goose Down
DROP TABLE ended_tokens;
DROP TABLE sessions;
