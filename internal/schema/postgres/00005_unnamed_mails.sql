-- +goose Up
-- Mails of the previous release's api carry no id. For a short while it is remembered by a keyed digest of the body which
-- of them are being sent or have been: one that the broker hands out again is then recognised (docs/adr/0006).
CREATE TABLE unnamed_mails (
    digest     bytea PRIMARY KEY, -- HMAC-SHA256 with a key that is not in this database
    busy_until timestamptz,       -- somebody is at it until then
    sent_at    timestamptz,       -- a server has accepted it
    touched_at timestamptz NOT NULL
);
CREATE INDEX unnamed_mails_by_age ON unnamed_mails (touched_at);

-- +goose Down
DROP TABLE unnamed_mails;
