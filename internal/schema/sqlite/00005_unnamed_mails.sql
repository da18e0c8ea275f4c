-- +goose Up
CREATE TABLE unnamed_mails (
    digest     blob PRIMARY KEY,
    busy_until timestamp,
    sent_at    timestamp,
    touched_at timestamp NOT NULL
);
CREATE INDEX unnamed_mails_by_age ON unnamed_mails (touched_at);

-- +goose Down
DROP TABLE unnamed_mails;
