-- +goose Up
-- The same as in postgres/.
ALTER TABLE processes ADD COLUMN report text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE processes DROP COLUMN report;
