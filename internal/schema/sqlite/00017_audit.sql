-- +goose Up
-- The same as in postgres/.
CREATE TABLE audit_entries (
    id         text PRIMARY KEY,
    at         timestamp NOT NULL,
    action     text NOT NULL,
    outcome    text NOT NULL, -- done, refused
    actor_id   text, -- the user who did it
    operator   text, -- who did it on the command line
    user_id    text, -- whom it was done to; no reference: an entry outlives its user
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
CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit_entries
WHEN NOT (NEW.id IS OLD.id AND NEW.at IS OLD.at AND NEW.action IS OLD.action AND NEW.outcome IS OLD.outcome
    AND NEW.actor_id IS OLD.actor_id AND NEW.operator IS OLD.operator AND NEW.user_id IS OLD.user_id AND NEW.subject_id IS OLD.subject_id AND NEW.request_id IS OLD.request_id
    AND (NEW.address IS NULL OR NEW.address IS OLD.address) AND (NEW.ip_address IS NULL OR NEW.ip_address IS OLD.ip_address)
    AND (NEW.user_agent IS NULL OR NEW.user_agent IS OLD.user_agent) AND (NEW.reason IS NULL OR NEW.reason IS OLD.reason))
BEGIN
    SELECT RAISE(ABORT, 'audit_entries is append-only: only details can be set to NULL');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_kept BEFORE DELETE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'audit_entries is append-only: only details can be set to NULL');
END;
-- +goose StatementEnd

-- Whether the first refusal in a row has been recorded.
ALTER TABLE limits ADD COLUMN refused boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE limits DROP COLUMN refused;
DROP TABLE audit_entries;
