-- +goose Up
-- Legacy copies leave one at a time, by a relay of their own (docs/adr/0010). Until the column has gone nobody may commit
-- another one to the outbox, whose relay would not know what it is.
LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE;

CREATE TABLE legacy_mails (
    id           uuid PRIMARY KEY, -- v7
    event_id     text NOT NULL,
    headers      text NOT NULL,    -- JSON object of strings
    body         bytea NOT NULL,   -- sealed
    event_time   timestamptz NOT NULL,
    created_at   timestamptz NOT NULL,
    available_at timestamptz NOT NULL,
    lease_until  timestamptz,
    attempts     int NOT NULL DEFAULT 0,
    last_error   text, -- a class, never a text that could quote the body
    failed_at    timestamptz
);
CREATE INDEX legacy_mails_due ON legacy_mails (available_at, id) WHERE failed_at IS NULL;

INSERT INTO legacy_mails (id, event_id, headers, body, event_time, created_at, available_at, attempts, last_error, failed_at)
SELECT id, event_id, headers, body, event_time, created_at, available_at, attempts, last_error, failed_at
FROM outbox WHERE single;
DELETE FROM outbox WHERE single;
ALTER TABLE outbox DROP COLUMN single;

-- +goose Down
LOCK TABLE legacy_mails IN ACCESS EXCLUSIVE MODE;
ALTER TABLE outbox ADD COLUMN single boolean NOT NULL DEFAULT false;
INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, single, headers, body, sealed,
    event_time, created_at, available_at, attempts, last_error, failed_at)
SELECT id, event_id, 'smtp_send_email_exc', '', 'text/plain', true, true, headers, body, true,
    event_time, created_at, available_at, attempts, last_error, failed_at
FROM legacy_mails;
DROP TABLE legacy_mails;
