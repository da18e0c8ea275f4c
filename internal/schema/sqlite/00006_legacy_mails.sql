-- +goose Up

CREATE TABLE legacy_mails (
    id           text PRIMARY KEY,
    event_id     text NOT NULL,
    headers      text NOT NULL,
    body         blob NOT NULL,
    event_time   timestamp NOT NULL,
    created_at   timestamp NOT NULL,
    available_at timestamp NOT NULL,
    lease_until  timestamp,
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text,
    failed_at    timestamp
);
CREATE INDEX legacy_mails_due ON legacy_mails (available_at, id) WHERE failed_at IS NULL;

INSERT INTO legacy_mails (id, event_id, headers, body, event_time, created_at, available_at, attempts, last_error, failed_at)
SELECT id, event_id, headers, body, event_time, created_at, available_at, attempts, last_error, failed_at
FROM outbox WHERE single;
DELETE FROM outbox WHERE single;
ALTER TABLE outbox DROP COLUMN single;

-- +goose Down
ALTER TABLE outbox ADD COLUMN single boolean NOT NULL DEFAULT false;
INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, single, headers, body, sealed,
    event_time, created_at, available_at, attempts, last_error, failed_at)
SELECT id, event_id, 'smtp_send_email_exc', '', 'text/plain', true, true, headers, body, true,
    event_time, created_at, available_at, attempts, last_error, failed_at
FROM legacy_mails;
DROP TABLE legacy_mails;
