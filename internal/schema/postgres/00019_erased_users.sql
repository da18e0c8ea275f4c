-- +goose Up
-- When the data of a deleted user were erased; the row stays, for what names its id.
-- As in 00002 the lock is had after a moment or not waited for.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE users IN ACCESS EXCLUSIVE MODE;
            -- A pod of the previous release that has read the row before writes all of its columns: it cannot.
            ALTER TABLE users ADD COLUMN erased_at timestamptz,
                ADD CONSTRAINT users_erased CHECK (erased_at IS NULL OR deleted_at IS NOT NULL AND username = id::text
                    AND full_name IS NULL AND avatar_url IS NULL AND password_hash IS NULL AND otp IS NULL
                    AND disabled_hash IS NULL AND locale IS NULL) NOT VALID; -- no row has erased_at yet
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
            ALTER TABLE users DROP COLUMN erased_at;
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
