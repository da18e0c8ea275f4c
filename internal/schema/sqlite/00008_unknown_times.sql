-- +goose Up
-- Nothing: SQLite never held a database of the previous release, and every row of ours has its times.
SELECT 1;

-- +goose Down
SELECT 1;
