-- +goose Up
CREATE INDEX users_username ON users (username);

ALTER TABLE outbox ADD COLUMN single boolean NOT NULL DEFAULT false;

CREATE TABLE mail_shadows (
    event_id    text PRIMARY KEY,
    differing   text NOT NULL,
    compared_at timestamp NOT NULL
);
CREATE INDEX mail_shadows_by_age ON mail_shadows (compared_at);

CREATE TABLE processes (
    id         text PRIMARY KEY,
    role       text NOT NULL,
    version    text NOT NULL,
    phase      text NOT NULL,
    started_at timestamp NOT NULL,
    seen_at    timestamp NOT NULL,
    stopped_at timestamp
);
CREATE INDEX processes_by_age ON processes (seen_at);

-- +goose Down
DROP TABLE processes;
DROP TABLE mail_shadows;
ALTER TABLE outbox DROP COLUMN single;
DROP INDEX users_username;
