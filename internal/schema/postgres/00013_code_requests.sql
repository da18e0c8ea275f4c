-- +goose Up
CREATE TABLE code_requests (
    id            uuid PRIMARY KEY, -- v7
    purpose       text NOT NULL,    -- verification, password_reset
    email         text NOT NULL,    -- as it was typed
    user_id       uuid,             -- whom the mail names; there may be no such user any more
    locale        text NOT NULL,    -- en or vi; what the user is written to in once the address is proved
    network       text NOT NULL,    -- of the client; '' when not known
    password_hash text,             -- pending: the user's once a code has proved the address
    password_tag  int NOT NULL,     -- 16 bits of a keyed digest of that password
    created_at    timestamptz NOT NULL,
    -- The newest code.
    digest        bytea NOT NULL, -- HMAC with a key that is not in this database
    event_id      text NOT NULL,
    wrong_tries   int NOT NULL,
    code_at       timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    used_at       timestamptz
);
CREATE INDEX code_requests_of_address ON code_requests (lower(email), purpose);
CREATE INDEX code_requests_by_event ON code_requests (event_id);
CREATE INDEX code_requests_by_age ON code_requests (code_at);

-- The browsers that may spend the codes of a request.
CREATE TABLE code_request_browsers (
    request_id uuid NOT NULL REFERENCES code_requests (id) ON DELETE CASCADE,
    digest     bytea NOT NULL, -- SHA-256 of 256 random bits
    PRIMARY KEY (request_id, digest)
);

-- When a user was last told that their address was registered, by which event.
CREATE TABLE account_notices (
    user_id    uuid PRIMARY KEY,
    event_id   text NOT NULL,
    claimed_at timestamptz NOT NULL
);

-- As in 00002 the lock is had after a moment or not waited for.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE users IN ACCESS EXCLUSIVE MODE;
            -- Codes belong to the request that asked for them, and no longer to the user, to whom the old table refers: no
            -- release has had it.
            DROP TABLE verification_codes;
            -- Of a user whom this release has created and who has not been active yet.
            ALTER TABLE users ADD COLUMN provisional boolean,
                ADD COLUMN tokens_valid_after timestamptz; -- those issued earlier have ended
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF try = 60 THEN
                RAISE EXCEPTION 'users stays locked: a session keeps a transaction open (see pg_stat_activity)';
            END IF;
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', '0', true);
END
$$;
-- +goose StatementEnd
CREATE INDEX users_provisional ON users (created_at) WHERE provisional;

-- +goose Down
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE users IN ACCESS EXCLUSIVE MODE;
            ALTER TABLE users DROP COLUMN tokens_valid_after, DROP COLUMN provisional; -- with its index
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF try = 60 THEN
                RAISE EXCEPTION 'users stays locked: a session keeps a transaction open (see pg_stat_activity)';
            END IF;
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', '0', true);
END
$$;
-- +goose StatementEnd
DROP TABLE account_notices;
DROP TABLE code_request_browsers;
DROP TABLE code_requests;
CREATE TABLE verification_codes (
    user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose     text NOT NULL,
    digest      bytea NOT NULL,
    event_id    text NOT NULL,
    wrong_tries int NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    PRIMARY KEY (user_id, purpose)
);
