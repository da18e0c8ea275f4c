-- +goose Up
CREATE UNIQUE INDEX users_username_live ON users (lower(username)) WHERE deleted_at IS NULL;

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

ALTER TABLE subscriptions ADD COLUMN version integer NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX subscriptions_one_live ON subscriptions (user_id)
    WHERE deleted_at IS NULL AND status IN ('active', 'trialing', 'past_due');
CREATE INDEX subscriptions_by_user ON subscriptions (user_id, version);

CREATE TABLE subscription_versions (
    user_id text PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    version integer NOT NULL
);

CREATE TABLE outbox (
    id           text PRIMARY KEY,
    event_id     text NOT NULL,
    exchange     text NOT NULL,
    routing_key  text NOT NULL,
    content_type text NOT NULL,
    mandatory    boolean NOT NULL,
    headers      text NOT NULL,
    body         blob NOT NULL,
    sealed       boolean NOT NULL,
    event_time   timestamp NOT NULL,
    created_at   timestamp NOT NULL,
    available_at timestamp NOT NULL,
    lease_until  timestamp,
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text,
    failed_at    timestamp
);
CREATE INDEX outbox_due ON outbox (available_at, id) WHERE failed_at IS NULL;
CREATE INDEX outbox_failed ON outbox (failed_at) WHERE failed_at IS NOT NULL;

CREATE TABLE mail_deliveries (
    event_id     text PRIMARY KEY,
    state        text NOT NULL,
    lease_until  timestamp,
    attempts     integer NOT NULL,
    resends      integer NOT NULL DEFAULT 0,
    message_id   text NOT NULL,
    error_class  text,
    created_at   timestamp NOT NULL,
    updated_at   timestamp NOT NULL
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
