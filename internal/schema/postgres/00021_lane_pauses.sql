-- +goose Up
-- The queues that send mail and that a person has paused. A row is deleted when they are resumed.
CREATE TABLE lane_pauses (
    queue     text PRIMARY KEY,
    paused_by text NOT NULL, -- as they call themselves
    reason    text NOT NULL, -- '': not said
    since     timestamptz NOT NULL
);

-- The record is searched by who did it on the command line, and by what it was done to.
-- As in 00002 the lock is had after a moment or not waited for.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE audit_entries IN SHARE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF try = 60 THEN
                RAISE EXCEPTION 'audit_entries stays locked: a session keeps a transaction open (see pg_stat_activity)';
            END IF;
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', '0', true);
END
$$;
-- +goose StatementEnd
CREATE INDEX audit_by_operator ON audit_entries (operator, at, id) WHERE operator IS NOT NULL;
CREATE INDEX audit_of_subject ON audit_entries (subject_id, at, id) WHERE subject_id IS NOT NULL;

-- +goose Down
DROP INDEX audit_of_subject;
DROP INDEX audit_by_operator;
DROP TABLE lane_pauses;
