-- +goose Up
ALTER TABLE mail_deliveries ADD COLUMN kind text NOT NULL DEFAULT '';
ALTER TABLE mail_deliveries ADD COLUMN recipient blob;
ALTER TABLE mail_deliveries ADD COLUMN due_at timestamp;
CREATE INDEX mail_deliveries_owed ON mail_deliveries (COALESCE(due_at, created_at)) WHERE state IN ('owed', 'sending');
CREATE INDEX mail_deliveries_of_recipient ON mail_deliveries (recipient) WHERE recipient IS NOT NULL;

-- +goose Down
DELETE FROM mail_deliveries WHERE state IN ('owed', 'legacy');
DROP INDEX mail_deliveries_of_recipient;
DROP INDEX mail_deliveries_owed;
ALTER TABLE mail_deliveries DROP COLUMN due_at;
ALTER TABLE mail_deliveries DROP COLUMN recipient;
ALTER TABLE mail_deliveries DROP COLUMN kind;
