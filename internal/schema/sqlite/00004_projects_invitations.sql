-- +goose Up
ALTER TABLE outbox ADD COLUMN batch_id text;
CREATE INDEX outbox_batch ON outbox (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX outbox_due_alone ON outbox (available_at, id) WHERE failed_at IS NULL AND batch_id IS NULL;
CREATE INDEX outbox_due_batched ON outbox (available_at, id) WHERE failed_at IS NULL AND batch_id IS NOT NULL;
DROP INDEX outbox_due;
CREATE TABLE project_completions (
    project_id   text PRIMARY KEY,
    event_id     text NOT NULL,
    completed_at timestamp NOT NULL
);
CREATE INDEX project_completions_by_age ON project_completions (completed_at);
CREATE TABLE invitation_batches (
    id              text PRIMARY KEY,
    admin_id        text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    idempotency_key text,
    request_digest  blob,
    locale          text NOT NULL,
    total           integer NOT NULL,
    created_at      timestamp NOT NULL,
    last_due_at     timestamp NOT NULL,
    looked_at       timestamp NOT NULL,
    marked_at       timestamp,
    cancelled_at    timestamp,
    completed_at    timestamp
);
CREATE UNIQUE INDEX invitation_batches_idempotency ON invitation_batches (admin_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX invitation_batches_open ON invitation_batches (looked_at) WHERE completed_at IS NULL;

CREATE TABLE invitation_reports (
    batch_id text NOT NULL REFERENCES invitation_batches (id) ON DELETE CASCADE,
    part     integer NOT NULL,
    data     blob NOT NULL,
    PRIMARY KEY (batch_id, part)
);
CREATE TABLE invitations (
    id           text PRIMARY KEY,
    batch_id     text NOT NULL REFERENCES invitation_batches (id) ON DELETE CASCADE,
    user_id      text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    event_id     text NOT NULL,
    digest       blob NOT NULL,
    created_at   timestamp NOT NULL,
    expires_at   timestamp NOT NULL,
    accepted_at  timestamp,
    cancelled_at timestamp
);
CREATE UNIQUE INDEX invitations_by_digest ON invitations (digest);
CREATE UNIQUE INDEX invitations_by_event ON invitations (event_id);
CREATE INDEX invitations_by_batch ON invitations (batch_id, id);
CREATE INDEX invitations_by_user ON invitations (user_id);
CREATE TABLE mail_pace (
    name    text PRIMARY KEY,
    next_at timestamp NOT NULL
);

-- +goose Down
DROP TABLE mail_pace;
DROP TABLE invitations;
DROP TABLE invitation_reports;
DROP TABLE invitation_batches;
DROP TABLE project_completions;
CREATE INDEX outbox_due ON outbox (available_at, id) WHERE failed_at IS NULL;
DROP INDEX outbox_due_batched;
DROP INDEX outbox_due_alone;
DROP INDEX outbox_batch;
ALTER TABLE outbox DROP COLUMN batch_id;
