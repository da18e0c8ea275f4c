-- +goose Up
-- Accounts that an administrator has taken out of use.
-- As in 00002 the lock is had after a moment or not waited for.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE users IN ACCESS EXCLUSIVE MODE;
            -- While it is, is_active is FALSE, and password_hash and otp are NULL: pods of the previous release know no more
            -- of an account, and can neither open nor revive it. What these were is here.
            ALTER TABLE users ADD COLUMN disabled_at timestamptz, ADD COLUMN disabled_hash text,
                ADD COLUMN disabled_active boolean,
                ADD CONSTRAINT users_disabled CHECK (disabled_at IS NULL
                    OR is_active IS NOT TRUE AND password_hash IS NULL AND otp IS NULL) NOT VALID; -- no row has disabled_at yet
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

-- +goose Down
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE users IN ACCESS EXCLUSIVE MODE;
            ALTER TABLE users DROP COLUMN disabled_active, DROP COLUMN disabled_hash, DROP COLUMN disabled_at;
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
