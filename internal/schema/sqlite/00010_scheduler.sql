-- The same as in postgres/. SQLite never held a trial without an end.
-- +goose Up
ALTER TABLE users ADD COLUMN locale text;
ALTER TABLE subscriptions ADD COLUMN reminded_for timestamp;
ALTER TABLE subscriptions ADD COLUMN reminded_days integer;
CREATE INDEX subscriptions_trial_end ON subscriptions (trial_ends_at) WHERE status = 'trialing' AND deleted_at IS NULL;
CREATE INDEX subscriptions_trial_start ON subscriptions (starts_at)
    WHERE status = 'trialing' AND trial_ends_at IS NULL AND deleted_at IS NULL;
CREATE INDEX subscriptions_end ON subscriptions (ends_at)
    WHERE status IN ('active', 'trialing', 'past_due') AND deleted_at IS NULL;
CREATE INDEX subscriptions_past_due ON subscriptions (COALESCE(past_due_since, updated_at, starts_at))
    WHERE status = 'past_due' AND ends_at IS NULL AND deleted_at IS NULL;

-- +goose Down
DROP INDEX subscriptions_past_due;
DROP INDEX subscriptions_end;
DROP INDEX subscriptions_trial_start;
DROP INDEX subscriptions_trial_end;
ALTER TABLE subscriptions DROP COLUMN reminded_days;
ALTER TABLE subscriptions DROP COLUMN reminded_for;
ALTER TABLE users DROP COLUMN locale;
