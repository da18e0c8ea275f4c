-- +goose Up
-- Who did what to whom. Entries are neither changed nor removed, whoever asks; details can be removed.
CREATE TABLE audit_entries (
    id         uuid PRIMARY KEY,
    at         timestamptz NOT NULL,
    action     text NOT NULL,
    outcome    text NOT NULL, -- done, refused
    actor_id   uuid, -- the user who did it
    operator   text, -- who did it on the command line
    user_id    uuid, -- whom it was done to; no reference: an entry outlives its user
    subject_id text, -- what it was done to, when that is no user: a subscription, a plan, a batch, a session
    request_id text,
    -- The details, which alone can change, to NULL.
    address    text,
    ip_address text,
    user_agent text,
    reason     text
);
CREATE INDEX audit_by_age ON audit_entries (at, id);
CREATE INDEX audit_of_user ON audit_entries (user_id, at) WHERE user_id IS NOT NULL;
CREATE INDEX audit_by_actor ON audit_entries (actor_id, at) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_details ON audit_entries (at)
    WHERE address IS NOT NULL OR ip_address IS NOT NULL OR user_agent IS NOT NULL OR reason IS NOT NULL;

-- +goose StatementBegin
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.id, NEW.at, NEW.action, NEW.outcome, NEW.actor_id, NEW.operator, NEW.user_id, NEW.subject_id, NEW.request_id)
            IS NOT DISTINCT FROM
            (OLD.id, OLD.at, OLD.action, OLD.outcome, OLD.actor_id, OLD.operator, OLD.user_id, OLD.subject_id, OLD.request_id)
            AND (NEW.address IS NULL OR NEW.address IS NOT DISTINCT FROM OLD.address)
            AND (NEW.ip_address IS NULL OR NEW.ip_address IS NOT DISTINCT FROM OLD.ip_address)
            AND (NEW.user_agent IS NULL OR NEW.user_agent IS NOT DISTINCT FROM OLD.user_agent)
            AND (NEW.reason IS NULL OR NEW.reason IS NOT DISTINCT FROM OLD.reason)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit_entries is append-only: only details can be set to NULL';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_rows BEFORE UPDATE OR DELETE ON audit_entries FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_table BEFORE TRUNCATE ON audit_entries FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- Whether the first refusal in a row has been recorded.
-- As in 00002 the lock is had after a moment or not waited for.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR try IN 1..60 LOOP
        BEGIN
            LOCK TABLE limits IN ACCESS EXCLUSIVE MODE;
            ALTER TABLE limits ADD COLUMN refused boolean NOT NULL DEFAULT false;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF try = 60 THEN
                RAISE EXCEPTION 'limits stays locked: a session keeps a transaction open (see pg_stat_activity)';
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
            LOCK TABLE limits IN ACCESS EXCLUSIVE MODE;
            ALTER TABLE limits DROP COLUMN refused;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF try = 60 THEN
                RAISE EXCEPTION 'limits stays locked: a session keeps a transaction open (see pg_stat_activity)';
            END IF;
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', '0', true);
END
$$;
-- +goose StatementEnd
DROP TABLE audit_entries;
DROP FUNCTION audit_is_append_only;
