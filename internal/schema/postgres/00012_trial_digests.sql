-- +goose Up
-- One row per address that has had its trial, whatever has become of its account: it grows by 32 bytes per person, and
-- nothing purges it.
CREATE TABLE trial_digests (
    digest bytea PRIMARY KEY -- HMAC with a key that is not in this database
);

-- Finds the addresses of deleted users. users is read once and written by nobody meanwhile, a second for a million rows.
-- As in 00002 the lock is had after a moment or not waited for.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE users IN SHARE MODE;
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
CREATE INDEX users_username_deleted ON users (lower(username)) WHERE deleted_at IS NOT NULL;

-- +goose Down
DROP INDEX users_username_deleted;
DROP TABLE trial_digests;
