-- +goose Up
-- 00002 took the unique constraint on username, and its index with it: the previous release still looks people up so.
CREATE INDEX users_username ON users (username);

-- A single row's readers recognise no repeats: it is published alone, and deleted before the next (docs/adr/0006).
ALTER TABLE outbox ADD COLUMN single boolean NOT NULL DEFAULT false;

-- What the comparison of stamped topic copies with their fanout copies has found, once per event.
CREATE TABLE mail_shadows (
    event_id    text PRIMARY KEY,
    differing   text NOT NULL, -- names of differing fields, comma-separated; empty: a match
    compared_at timestamptz NOT NULL
);
CREATE INDEX mail_shadows_by_age ON mail_shadows (compared_at);

-- Every process says which phase it is in.
CREATE TABLE processes (
    id         uuid PRIMARY KEY, -- v7, minted at the start
    role       text NOT NULL,    -- api, consumer
    version    text NOT NULL,
    phase      text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    stopped_at timestamptz       -- set by an orderly stop
);
CREATE INDEX processes_by_age ON processes (seen_at);

-- +goose Down
DROP TABLE processes;
DROP TABLE mail_shadows;
ALTER TABLE outbox DROP COLUMN single;
DROP INDEX users_username;
