-- +goose Up
-- Pods of the previous release work on meanwhile. Both tables are locked at once or, after a moment, neither: who holds
-- one and waits for the other can deadlock with them, and behind one who waits long for a lock everybody else waits too.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE users, subscriptions IN ACCESS EXCLUSIVE MODE;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    RAISE EXCEPTION 'users or subscriptions stay locked: somebody keeps a transaction open (see pg_stat_activity)';
END
$$;
-- +goose StatementEnd

-- Addresses are unique among living users whatever their case; a deleted user no longer blocks a registration.
ALTER TABLE users DROP CONSTRAINT IF EXISTS users_username_key;
CREATE UNIQUE INDEX users_username_live ON users (lower(username)) WHERE deleted_at IS NULL;

CREATE TABLE verification_codes (
    user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose     text NOT NULL,
    digest      bytea NOT NULL, -- HMAC with a key that is not in this database
    event_id    text NOT NULL,
    wrong_tries int NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    PRIMARY KEY (user_id, purpose)
);

ALTER TABLE subscriptions ADD COLUMN version bigint NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX subscriptions_one_live ON subscriptions (user_id)
    WHERE deleted_at IS NULL AND status IN ('active', 'trialing', 'past_due');
CREATE INDEX subscriptions_by_user ON subscriptions (user_id, version);

CREATE TABLE subscription_versions (
    user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    version bigint NOT NULL
);

-- One row is one copy of one message, complete. A confirmed row is deleted.
CREATE TABLE outbox (
    id           uuid PRIMARY KEY, -- v7
    event_id     text NOT NULL,
    exchange     text NOT NULL,
    routing_key  text NOT NULL,
    content_type text NOT NULL,
    mandatory    boolean NOT NULL,
    headers      text NOT NULL, -- JSON object of strings
    body         bytea NOT NULL,
    sealed       boolean NOT NULL,
    event_time   timestamptz NOT NULL,
    created_at   timestamptz NOT NULL,
    available_at timestamptz NOT NULL,
    lease_until  timestamptz,
    attempts     int NOT NULL DEFAULT 0,
    last_error   text, -- a class, never a text that could quote the body
    failed_at    timestamptz
);
CREATE INDEX outbox_due ON outbox (available_at, id) WHERE failed_at IS NULL;
CREATE INDEX outbox_failed ON outbox (failed_at) WHERE failed_at IS NOT NULL;

CREATE TABLE mail_deliveries (
    event_id     text PRIMARY KEY,
    state        text NOT NULL, -- sending, accepted, failed, expired, superseded
    lease_until  timestamptz,   -- only in sending: somebody is at it until then
    attempts     int NOT NULL,
    resends      int NOT NULL DEFAULT 0, -- sent again without knowing whether the first was accepted (RFC 1047)
    message_id   text NOT NULL,
    error_class  text,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);
CREATE INDEX mail_deliveries_by_age ON mail_deliveries (updated_at);

-- +goose Down
DROP TABLE mail_deliveries;
DROP TABLE outbox;
DROP TABLE subscription_versions;
DROP INDEX subscriptions_by_user;
DROP INDEX subscriptions_one_live;
ALTER TABLE subscriptions DROP COLUMN version;
DROP TABLE verification_codes;
DROP INDEX users_username_live;
ALTER TABLE users ADD CONSTRAINT users_username_key UNIQUE (username);
