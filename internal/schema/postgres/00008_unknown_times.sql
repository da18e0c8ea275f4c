-- +goose NO TRANSACTION
-- +goose Up
-- The tables are as loose as the previous release's, whoever has created them: its rows may lack their times, and its pods
-- go by its defaults. As in 00002 all are locked at once, for an instant, or after a moment none. The rows are filled
-- afterwards, with nothing locked but themselves. Every statement can be repeated.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE users, plans, subscriptions IN ACCESS EXCLUSIVE MODE;
            ALTER TABLE users
                ALTER is_active SET DEFAULT true,
                ALTER created_at DROP NOT NULL, ALTER created_at SET DEFAULT now(),
                ALTER updated_at DROP NOT NULL, ALTER updated_at SET DEFAULT now();
            ALTER TABLE plans
                ALTER max_usage DROP NOT NULL, ALTER max_usage SET DEFAULT 3,
                ALTER created_at DROP NOT NULL, ALTER created_at SET DEFAULT now(),
                ALTER updated_at DROP NOT NULL, ALTER updated_at SET DEFAULT now();
            ALTER TABLE subscriptions
                ALTER created_at DROP NOT NULL, ALTER created_at SET DEFAULT now(),
                ALTER updated_at DROP NOT NULL, ALTER updated_at SET DEFAULT now();
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    RAISE EXCEPTION 'users, plans or subscriptions stay locked: a session keeps a transaction open (see pg_stat_activity)';
END
$$;
-- +goose StatementEnd

-- An unknown time is the first one that is known, and else the epoch: such rows are older than all others.
-- database.FillTimes reads those that pods of the previous release may still add.
UPDATE users SET created_at = COALESCE(created_at, updated_at, 'epoch'), updated_at = COALESCE(updated_at, created_at, 'epoch')
    WHERE created_at IS NULL OR updated_at IS NULL;
UPDATE plans SET created_at = COALESCE(created_at, updated_at, 'epoch'), updated_at = COALESCE(updated_at, created_at, 'epoch')
    WHERE created_at IS NULL OR updated_at IS NULL;
UPDATE subscriptions
    SET created_at = COALESCE(created_at, starts_at, updated_at, 'epoch'), updated_at = COALESCE(updated_at, starts_at, created_at, 'epoch')
    WHERE created_at IS NULL OR updated_at IS NULL;

-- +goose Down
-- Nothing: what was unknown is no loss, and the previous release can work with either.
SELECT 1;
