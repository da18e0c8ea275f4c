-- +goose Up
-- The same as in postgres/.
CREATE INDEX users_to_erase ON users (deleted_at, id) WHERE deleted_at IS NOT NULL AND erased_at IS NULL;
CREATE INDEX code_requests_of_user ON code_requests (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_of_address ON audit_entries (lower(address), at) WHERE address IS NOT NULL;
CREATE INDEX audit_reasons ON audit_entries (at) WHERE reason IS NOT NULL;
CREATE INDEX outbox_of_event ON outbox (event_id);
CREATE INDEX limits_known_by_age ON limits (last_at) WHERE kind = 'known';
CREATE INDEX limits_tried_by_age ON limits (last_at) WHERE kind <> 'known';
DROP INDEX limits_by_age;
CREATE INDEX subscriptions_remind_3 ON subscriptions (trial_ends_at)
    WHERE status = 'trialing' AND deleted_at IS NULL
        AND (reminded_for IS NULL OR reminded_for <> trial_ends_at OR reminded_days > 3);
CREATE INDEX subscriptions_remind_1 ON subscriptions (trial_ends_at)
    WHERE status = 'trialing' AND deleted_at IS NULL
        AND (reminded_for IS NULL OR reminded_for <> trial_ends_at OR reminded_days > 1);
CREATE INDEX subscriptions_end_by_status ON subscriptions (status, ends_at)
    WHERE status IN ('active', 'trialing', 'past_due') AND deleted_at IS NULL;
DROP INDEX subscriptions_end;

-- +goose Down
CREATE INDEX subscriptions_end ON subscriptions (ends_at)
    WHERE status IN ('active', 'trialing', 'past_due') AND deleted_at IS NULL;
DROP INDEX subscriptions_end_by_status;
DROP INDEX subscriptions_remind_1;
DROP INDEX subscriptions_remind_3;
CREATE INDEX limits_by_age ON limits (last_at);
DROP INDEX limits_tried_by_age;
DROP INDEX limits_known_by_age;
DROP INDEX outbox_of_event;
DROP INDEX audit_reasons;
DROP INDEX audit_of_address;
DROP INDEX code_requests_of_user;
DROP INDEX users_to_erase;
