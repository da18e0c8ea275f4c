-- The same tables as in postgres/; SQLite never held a database of the previous release.
-- +goose Up
CREATE TABLE users (
    id             text PRIMARY KEY,
    username       text NOT NULL,
    full_name      text,
    password_hash  text,
    avatar_url     text,
    is_active      boolean DEFAULT false,
    otp            text,
    otp_expired_at timestamp,
    role_hash      text,
    created_at     timestamp NOT NULL,
    updated_at     timestamp NOT NULL,
    deleted_at     timestamp
);
CREATE INDEX idx_users_role_hash ON users (role_hash);

CREATE TABLE plans (
    id          text PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    code        text NOT NULL UNIQUE,
    description text,
    max_usage   integer NOT NULL DEFAULT 0,
    created_at  timestamp NOT NULL,
    updated_at  timestamp NOT NULL,
    deleted_at  timestamp
);

CREATE TABLE subscriptions (
    id            text PRIMARY KEY,
    user_id       text NOT NULL REFERENCES users (id),
    plan_id       text NOT NULL REFERENCES plans (id),
    status        text NOT NULL CHECK (status IN ('active', 'trialing', 'past_due', 'cancelled', 'expired')),
    trial_ends_at timestamp,
    starts_at     timestamp NOT NULL,
    ends_at       timestamp,
    cancelled_at  timestamp,
    created_at    timestamp NOT NULL,
    updated_at    timestamp NOT NULL,
    deleted_at    timestamp
);

-- +goose Down
DROP TABLE subscriptions;
DROP TABLE plans;
DROP TABLE users;
