-- Since when a subscription is past due: without an end it stays in force for PAST_DUE_GRACE from then on. As in 00002 the
-- lock is had after a moment or not waited for.
-- +goose Up
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE subscriptions IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF try = 60 THEN
                RAISE EXCEPTION 'subscriptions stays locked: a session keeps a transaction open (see pg_stat_activity)';
            END IF;
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', '0', true);
END
$$;
-- +goose StatementEnd
ALTER TABLE subscriptions ADD COLUMN past_due_since timestamptz;

-- +goose Down
ALTER TABLE subscriptions DROP COLUMN past_due_since;
