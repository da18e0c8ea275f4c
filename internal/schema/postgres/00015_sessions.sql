-- +goose Up
-- What a login has opened. A token with `sid` is worth something while its row lives. Rows are purged 30 days after their
-- end and last use.
-- As in 00002 the lock that the references need is had after a moment or not waited for.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
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
CREATE TABLE sessions (
    id           uuid PRIMARY KEY, -- v7
    user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    remember     boolean NOT NULL,
    device_name  text NOT NULL, -- '' when the client did not say
    user_agent   text NOT NULL,
    ip_address   text NOT NULL, -- '' when not known
    network      text NOT NULL,
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL, -- written once a minute at most
    expires_at   timestamptz NOT NULL, -- the end, at the latest
    newest_iat   timestamptz NOT NULL, -- of its tokens that have been presented
    ended_at     timestamptz
);
CREATE INDEX sessions_of_user ON sessions (user_id, last_seen_at);
CREATE INDEX sessions_by_age ON sessions (last_seen_at);

-- Tokens without `sid` that were logged out before they expired. The phase complete takes no such token.
CREATE TABLE ended_tokens (
    user_id    uuid NOT NULL,
    jti        text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, jti)
);

-- +goose Down
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE users IN ACCESS EXCLUSIVE MODE;
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
DROP TABLE ended_tokens;
DROP TABLE sessions;
