-- The tables as the previous release left them (docs/compatibility.md): created on an empty database, found on an old one.
-- +goose Up
CREATE TABLE IF NOT EXISTS users (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    username       varchar(255) NOT NULL UNIQUE,
    full_name      varchar(100),
    password_hash  varchar(255),
    avatar_url     varchar(255),
    is_active      boolean DEFAULT false,
    otp            varchar(6),
    otp_expired_at timestamptz,
    role_hash      text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    deleted_at     timestamptz
);
CREATE INDEX IF NOT EXISTS idx_users_role_hash ON users (role_hash);

CREATE TABLE IF NOT EXISTS plans (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        varchar(50) NOT NULL UNIQUE,
    code        varchar(50) NOT NULL UNIQUE,
    description text,
    max_usage   int NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz
);

-- +goose StatementBegin
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_type WHERE typname = 'subscription_status') THEN
        CREATE TYPE subscription_status AS ENUM ('active', 'trialing', 'past_due', 'cancelled', 'expired');
    END IF;
END
$$;
-- +goose StatementEnd

CREATE TABLE IF NOT EXISTS subscriptions (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id       uuid NOT NULL REFERENCES users (id),
    plan_id       uuid NOT NULL REFERENCES plans (id),
    status        subscription_status NOT NULL,
    trial_ends_at timestamptz,
    starts_at     timestamptz NOT NULL,
    ends_at       timestamptz,
    cancelled_at  timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    deleted_at    timestamptz
);

-- +goose Down
-- Nothing: these tables are the previous release's data, and going back means going back to it.
SELECT 1;
