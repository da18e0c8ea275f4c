-- What the billing service reported last about a user, by which a late report is told from a new one.
-- +goose Up
ALTER TABLE subscription_versions ADD COLUMN billed_at timestamp;
ALTER TABLE subscription_versions ADD COLUMN billed_state text;

-- +goose Down
ALTER TABLE subscription_versions DROP COLUMN billed_state;
ALTER TABLE subscription_versions DROP COLUMN billed_at;
