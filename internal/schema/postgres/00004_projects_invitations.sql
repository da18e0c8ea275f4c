-- +goose Up
-- Rows that are one of many leave behind those that stand for themselves, and can be withdrawn together.
ALTER TABLE outbox ADD COLUMN batch_id text;
CREATE INDEX outbox_batch ON outbox (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX outbox_due_alone ON outbox (available_at, id) WHERE failed_at IS NULL AND batch_id IS NULL;
CREATE INDEX outbox_due_batched ON outbox (available_at, id) WHERE failed_at IS NULL AND batch_id IS NOT NULL;
DROP INDEX outbox_due;

-- A project whose job.completed has been handed to the outbox. It outlives the outbox row, which is deleted with its
-- confirm: whoever sees the project done again finds it here.
CREATE TABLE project_completions (
    project_id   text PRIMARY KEY,
    event_id     text NOT NULL,
    completed_at timestamptz NOT NULL
);
CREATE INDEX project_completions_by_age ON project_completions (completed_at);

-- One bulk invitation. Together with its invitations and the mail ledger it is the truth; Redis follows.
CREATE TABLE invitation_batches (
    id              text PRIMARY KEY, -- the project id, proj_<uuidv7>
    admin_id        uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    idempotency_key text,             -- as the request had it
    request_digest  bytea,            -- SHA-256 of the request's body: the same key is not taken for another one
    locale          text NOT NULL,
    total           int NOT NULL,     -- invitations
    created_at      timestamptz NOT NULL,
    last_due_at     timestamptz NOT NULL, -- when its last mail may leave
    looked_at       timestamptz NOT NULL, -- when its progress was last compared with the ledger
    marked_at       timestamptz, -- when everything known of it was last counted again
    cancelled_at    timestamptz,
    completed_at    timestamptz
);
CREATE UNIQUE INDEX invitation_batches_idempotency ON invitation_batches (admin_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX invitation_batches_open ON invitation_batches (looked_at) WHERE completed_at IS NULL;

-- What was rejected, for a repeated request with the same key: gzipped JSON in parts, none of which is large.
CREATE TABLE invitation_reports (
    batch_id text NOT NULL REFERENCES invitation_batches (id) ON DELETE CASCADE,
    part     int NOT NULL,
    data     bytea NOT NULL,
    PRIMARY KEY (batch_id, part)
);

CREATE TABLE invitations (
    id           uuid PRIMARY KEY, -- v7
    batch_id     text NOT NULL REFERENCES invitation_batches (id) ON DELETE CASCADE,
    user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    event_id     text NOT NULL,  -- of its mail; also the item's id in the project
    digest       bytea NOT NULL, -- HMAC of the token with a key that is not in this database
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    accepted_at  timestamptz,
    cancelled_at timestamptz
);
CREATE UNIQUE INDEX invitations_by_digest ON invitations (digest);
CREATE UNIQUE INDEX invitations_by_event ON invitations (event_id);
CREATE INDEX invitations_by_batch ON invitations (batch_id, id);
CREATE INDEX invitations_by_user ON invitations (user_id);

-- When the next mail of any batch may leave: one row, one rate for all batches and processes.
CREATE TABLE mail_pace (
    name    text PRIMARY KEY,
    next_at timestamptz NOT NULL
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
