-- +goose Up
-- A mail has its row from the commit on that asks for it. Rows of before have no kind and no recipient.
-- As in 00002 the lock is had after a moment or not waited for.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE mail_deliveries IN ACCESS EXCLUSIVE MODE;
            ALTER TABLE mail_deliveries
                ADD COLUMN kind text NOT NULL DEFAULT '', -- verification, invitation, ...; '' when not known
                ADD COLUMN recipient bytea,               -- of the address: HMAC with a key that is not in this database
                ADD COLUMN due_at timestamptz;            -- when it may leave at the earliest; NULL: created_at
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF try = 60 THEN
                RAISE EXCEPTION 'mail_deliveries stays locked: a session keeps a transaction open (see pg_stat_activity)';
            END IF;
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', '0', true);
END
$$;
-- +goose StatementEnd
CREATE INDEX mail_deliveries_owed ON mail_deliveries (COALESCE(due_at, created_at)) WHERE state IN ('owed', 'sending');
CREATE INDEX mail_deliveries_of_recipient ON mail_deliveries (recipient) WHERE recipient IS NOT NULL;

-- +goose Down
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE mail_deliveries IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF try = 60 THEN
                RAISE EXCEPTION 'mail_deliveries stays locked: a session keeps a transaction open (see pg_stat_activity)';
            END IF;
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', '0', true);
END
$$;
-- +goose StatementEnd
DELETE FROM mail_deliveries WHERE state IN ('owed', 'legacy'); -- no try has touched them
DROP INDEX mail_deliveries_of_recipient;
DROP INDEX mail_deliveries_owed;
ALTER TABLE mail_deliveries DROP COLUMN due_at, DROP COLUMN recipient, DROP COLUMN kind;
