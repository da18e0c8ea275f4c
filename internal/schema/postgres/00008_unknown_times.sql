-- +goose NO TRANSACTION
-- +goose Up
-- The tables are as loose as the previous release's, whoever has created them: its rows may lack their times, and its pods
-- go by its defaults. As in 00002 all are locked at once, for an instant, or after a moment none. The rows are filled
-- afterwards, 5,000 in a transaction. Every statement can be repeated.
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
-- +goose StatementBegin
DO $$
DECLARE
    target text;
    first  text;
    last   uuid;
    ids    uuid[];
BEGIN
    FOREACH target IN ARRAY ARRAY['users', 'plans', 'subscriptions'] LOOP
        first := CASE target WHEN 'subscriptions' THEN 'starts_at,' ELSE '' END;
        last := '00000000-0000-0000-0000-000000000000';
        LOOP
            EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (SELECT id FROM %I
                WHERE id > $1 AND (created_at IS NULL OR updated_at IS NULL) ORDER BY id LIMIT 5000) batch', target)
                INTO ids USING last;
            EXIT WHEN ids IS NULL;
            EXECUTE format('UPDATE %1$I SET created_at = COALESCE(created_at, %2$s updated_at, ''epoch''),
                updated_at = COALESCE(updated_at, %2$s created_at, ''epoch'') WHERE id = ANY($1)', target, first)
                USING ids;
            COMMIT; -- a write to one of these rows waits no longer than for this
            last := ids[cardinality(ids)];
        END LOOP;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- Nothing: what was unknown is no loss, and the previous release can work with either.
SELECT 1;
