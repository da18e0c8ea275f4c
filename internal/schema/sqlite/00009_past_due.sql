-- Since when a subscription is past due: without an end it stays in force for PAST_DUE_GRACE from then on.
-- +goose Up
ALTER TABLE subscriptions ADD COLUMN past_due_since timestamp;

-- +goose Down
ALTER TABLE subscriptions DROP COLUMN past_due_since;
