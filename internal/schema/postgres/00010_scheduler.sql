-- +goose NO TRANSACTION
-- +goose Up
-- What the scheduler of subscriptions looks for, and whom it has reminded of which end of a trial. As in 00008 all are
-- locked at once, for an instant, or after a moment none; every statement can be repeated.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE users, subscriptions IN ACCESS EXCLUSIVE MODE;
            ALTER TABLE users ADD COLUMN IF NOT EXISTS locale varchar(8); -- NULL: en
            ALTER TABLE subscriptions
                ADD COLUMN IF NOT EXISTS reminded_for timestamptz, ADD COLUMN IF NOT EXISTS reminded_days integer;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    RAISE EXCEPTION 'users or subscriptions stay locked: a session keeps a transaction open (see pg_stat_activity)';
END
$$;
-- +goose StatementEnd

-- A trial without an end ends 14 days after its start.
UPDATE subscriptions SET trial_ends_at = COALESCE(ends_at, starts_at + interval '336 hours')
    WHERE status = 'trialing' AND trial_ends_at IS NULL AND deleted_at IS NULL;

-- Nobody changes a subscription meanwhile, a second or two for a million rows. They are read, and people log in.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE subscriptions IN SHARE MODE;
            CREATE INDEX IF NOT EXISTS subscriptions_trial_end ON subscriptions (trial_ends_at)
                WHERE status = 'trialing' AND deleted_at IS NULL;
            CREATE INDEX IF NOT EXISTS subscriptions_trial_start ON subscriptions (starts_at)
                WHERE status = 'trialing' AND trial_ends_at IS NULL AND deleted_at IS NULL;
            CREATE INDEX IF NOT EXISTS subscriptions_end ON subscriptions (ends_at)
                WHERE status IN ('active', 'trialing', 'past_due') AND deleted_at IS NULL;
            CREATE INDEX IF NOT EXISTS subscriptions_past_due ON subscriptions (COALESCE(past_due_since, updated_at, starts_at))
                WHERE status = 'past_due' AND ends_at IS NULL AND deleted_at IS NULL;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    RAISE EXCEPTION 'subscriptions stays locked: a session keeps a transaction open (see pg_stat_activity)';
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP INDEX IF EXISTS subscriptions_past_due, subscriptions_end, subscriptions_trial_start, subscriptions_trial_end;
ALTER TABLE subscriptions DROP COLUMN IF EXISTS reminded_days, DROP COLUMN IF EXISTS reminded_for;
ALTER TABLE users DROP COLUMN IF EXISTS locale;
