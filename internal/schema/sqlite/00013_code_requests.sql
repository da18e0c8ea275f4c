-- +goose Up
-- Codes belong to the request that asked for them, and no longer to the user: no release has had the table that goes.
DROP TABLE verification_codes;

CREATE TABLE code_requests (
    id            text PRIMARY KEY, -- uuid v7
    purpose       text NOT NULL,    -- verification, password_reset
    email         text NOT NULL,    -- as it was typed
    user_id       text,             -- whom the mail names; there may be no such user any more
    locale        text NOT NULL,    -- en or vi; what the user is written to in once the address is proved
    network       text NOT NULL,    -- of the client; '' when not known
    password_hash text,             -- pending: the user's once a code has proved the address
    password_tag  integer NOT NULL,     -- 16 bits of a keyed digest of that password
    created_at    timestamp NOT NULL,
    -- The newest code.
    digest        blob NOT NULL, -- HMAC with a key that is not in this database
    event_id      text NOT NULL,
    wrong_tries   integer NOT NULL,
    code_at       timestamp NOT NULL,
    expires_at    timestamp NOT NULL,
    used_at       timestamp
);
CREATE INDEX code_requests_of_address ON code_requests (lower(email), purpose);
CREATE INDEX code_requests_by_event ON code_requests (event_id);
CREATE INDEX code_requests_by_age ON code_requests (code_at);

-- The browsers that may spend the codes of a request.
CREATE TABLE code_request_browsers (
    request_id text NOT NULL REFERENCES code_requests (id) ON DELETE CASCADE,
    digest     blob NOT NULL, -- SHA-256 of 256 random bits
    PRIMARY KEY (request_id, digest)
);

-- When a user was last told that their address was registered, by which event.
CREATE TABLE account_notices (
    user_id    text PRIMARY KEY,
    event_id   text NOT NULL,
    claimed_at timestamp NOT NULL
);

-- Of a user whom this release has created and who has not been active yet.
ALTER TABLE users ADD COLUMN provisional boolean;
ALTER TABLE users ADD COLUMN tokens_valid_after timestamp; -- those issued earlier have ended
CREATE INDEX users_provisional ON users (created_at) WHERE provisional;

-- +goose Down
DROP INDEX users_provisional;
ALTER TABLE users DROP COLUMN tokens_valid_after;
ALTER TABLE users DROP COLUMN provisional;
DROP TABLE account_notices;
DROP TABLE code_request_browsers;
DROP TABLE code_requests;
CREATE TABLE verification_codes (
    user_id     text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose     text NOT NULL,
    digest      blob NOT NULL,
    event_id    text NOT NULL,
    wrong_tries integer NOT NULL DEFAULT 0,
    created_at  timestamp NOT NULL,
    expires_at  timestamp NOT NULL,
    used_at     timestamp,
    PRIMARY KEY (user_id, purpose)
);
