-- The previous release's tables column for column (docs/compatibility.md).
CREATE TABLE users (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    username       varchar(255) UNIQUE NOT NULL,
    full_name      varchar(100),
    password_hash  varchar(255),
    avatar_url     varchar(255),
    is_active      boolean DEFAULT TRUE,
    otp            varchar(6),
    otp_expired_at timestamptz,
    role_hash      text,
    created_at     timestamptz DEFAULT now(),
    updated_at     timestamptz DEFAULT now(),
    deleted_at     timestamptz
);
CREATE INDEX idx_users_role_hash ON users (role_hash);

CREATE TABLE plans (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        varchar(50) UNIQUE NOT NULL,
    code        varchar(50) UNIQUE NOT NULL,
    description text,
    max_usage   int DEFAULT 3,
    created_at  timestamptz DEFAULT now(),
    updated_at  timestamptz DEFAULT now(),
    deleted_at  timestamptz
);

CREATE TYPE subscription_status AS ENUM ('active', 'trialing', 'past_due', 'cancelled', 'expired');
CREATE TABLE subscriptions (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id       uuid NOT NULL REFERENCES users (id),
    plan_id       uuid NOT NULL REFERENCES plans (id),
    status        subscription_status NOT NULL,
    trial_ends_at timestamptz,
    starts_at     timestamptz NOT NULL,
    ends_at       timestamptz,
    cancelled_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now(),
    deleted_at    timestamptz
);
