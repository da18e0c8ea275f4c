-- +goose Up
-- The same as in postgres/.
CREATE TABLE lane_pauses (
    queue     text PRIMARY KEY,
    paused_by text NOT NULL, -- as they call themselves
    reason    text NOT NULL, -- '': not said
    since     timestamp NOT NULL
);
CREATE INDEX audit_by_operator ON audit_entries (operator, at, id) WHERE operator IS NOT NULL;
CREATE INDEX audit_of_subject ON audit_entries (subject_id, at, id) WHERE subject_id IS NOT NULL;

-- +goose Down
DROP INDEX audit_of_subject;
DROP INDEX audit_by_operator;
DROP TABLE lane_pauses;
